"""Translators against torch's decoder and against the equations written out; masks, starts, the cycle error."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from mmi_tvr.errors import UsageError
from mmi_tvr.nn.options import TranslatorOptions
from mmi_tvr.nn.positions import sinusoids
from mmi_tvr.nn.translator import DecoderLayer, Tokens, Translator, cycle_error

WIDTH, QUERIES = 8, 5
KINDS = ("decoder", "transformer", "linear")


def options(**changes: object) -> TranslatorOptions:
    return TranslatorOptions(**{"depth": 2, "heads": 2, "feed_forward": 12, "dropout": 0.0, **changes})


def tokens(width: int = WIDTH, lengths: tuple[int, ...] = (4, 2, 3), seed: int = 0) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(len(lengths), max(lengths), width, generator=generator)
    return Tokens(states, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])


def translator(source: int = WIDTH, target: int = WIDTH, **changes: object) -> Translator:
    torch.manual_seed(1)
    return Translator(source, target, QUERIES, options(**changes)).eval()


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_a_layer_is_torchs_decoder_layer_where_nothing_is_added_to_queries_and_keys(norm: str) -> None:
    torch.manual_seed(0)
    ours = DecoderLayer(options(norm=norm), WIDTH).eval()
    theirs = nn.TransformerDecoderLayer(WIDTH, 2, 12, 0.0, batch_first=True, norm_first=norm == "pre").eval()
    parts = {
        "self_attention": "self_attn", "cross_attention": "multihead_attn", "hidden": "linear1", "output": "linear2",
        "norms.0": "norm1", "norms.1": "norm2", "norms.2": "norm3",
    }  # fmt: skip
    for name, parameter in ours.named_parameters():
        nn.init.normal_(parameter, std=0.3)
        part = next(part for part in parts if name.startswith(f"{part}."))
        theirs.get_parameter(parts[part] + name.removeprefix(part)).data.copy_(parameter)
    source, states = tokens(), torch.randn(3, QUERIES, WIDTH)
    zero = torch.zeros(QUERIES, WIDTH)
    expected = theirs(states, source.states, memory_key_padding_mask=~source.mask)
    actual = ours(states, zero, source.states, source.states, source.mask)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def attention(module: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Multi-head attention of one row, head by head: (N, D), (L, D), (L, D) -> (N, D)."""
    projected = []
    for part, tensor in enumerate((query, key, value)):
        columns = slice(part * WIDTH, (part + 1) * WIDTH)
        projected.append(tensor @ module.in_proj_weight[columns].T + module.in_proj_bias[columns])
    q, k, v = projected
    heads = []
    for head in range(module.num_heads):
        columns = slice(head * WIDTH // 2, (head + 1) * WIDTH // 2)
        weights = (q[:, columns] @ k[:, columns].T / (WIDTH // 2) ** 0.5).softmax(dim=1)
        heads.append(weights @ v[:, columns])
    return torch.cat(heads, dim=1) @ module.out_proj.weight.T + module.out_proj.bias


def test_the_decoder_is_detrs_written_out_row_by_row() -> None:
    """x_0 = 0; queries are added where states ask, places to the keys alone; padding is never read."""
    model = translator()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    source = tokens()
    output = model(source)
    assert output.mask.all()
    for row, length in enumerate(source.mask.sum(dim=1).tolist()):
        src, q = source.states[row, :length], model.body.queries
        keys = src + sinusoids(length, WIDTH)
        x = torch.zeros(QUERIES, WIDTH)
        for layer in model.body.layers:
            first, second, third = layer.norms
            x = x + attention(layer.self_attention, x + q, x + q, x)
            x = layer_norm(x, (WIDTH,), first.weight, first.bias)
            x = x + attention(layer.cross_attention, x + q, keys, src)
            x = layer_norm(x, (WIDTH,), second.weight, second.bias)
            x = x + layer.output(layer.hidden(x).clamp(min=0))
            x = layer_norm(x, (WIDTH,), third.weight, third.bias)
        x = layer_norm(x, (WIDTH,), model.body.norm.weight, model.body.norm.bias)
        torch.testing.assert_close(output.states[row], x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_the_rest_of_a_batch_change_nothing(kind: str, norm: str) -> None:
    model, source = translator(6, 10, kind=kind, norm=norm, width=WIDTH), tokens(6)
    whole = model(source)
    noisy = Tokens(source.states.masked_fill(~source.mask[..., None], 9.0), source.mask)
    torch.testing.assert_close(model(noisy).levels(), whole.levels(), atol=1e-5, rtol=0)
    alone = model(Tokens(source.states[1:2, :2], source.mask[1:2, :2]))
    assert alone.states.shape[2] == 10
    torch.testing.assert_close(alone.levels()[0], whole.levels()[1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_identity_as_start_a_translation_is_the_source_until_it_is_trained(kind: str) -> None:
    model, source = translator(kind=kind, start="identity"), tokens()
    torch.testing.assert_close(model(source).levels(), source.levels(), atol=1e-6, rtol=0)
    loss = (model(source).levels() - tokens(seed=5).levels()).square().sum()
    loss.backward()
    assert model.output.weight.grad.abs().sum() > 0
    nn.init.normal_(model.output.weight)
    assert (model(source).levels() - source.levels()).abs().max() > 0.1


def test_of_kind_none_tokens_stay_as_they_are_and_there_is_nothing_to_train() -> None:
    model, source = translator(kind="none"), tokens()
    assert model(source) is source
    assert not list(model.parameters())


@pytest.mark.parametrize("changes", [{"start": "identity"}, {"kind": "none"}])
def test_tokens_of_another_width_cannot_stand_for_others(changes: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="tokens of 6 numbers cannot stand for tokens of 10"):
        translator(6, 10, **changes)


def test_heads_that_do_not_share_the_width_are_one_line() -> None:
    with pytest.raises(UsageError, match="3 attention heads cannot share the translator's width 8"):
        translator(heads=3)


def test_the_decoder_knows_the_order_of_tokens_and_the_perceptron_does_not() -> None:
    source = tokens(lengths=(4,))
    order = [0, 3, 2, 1]
    turned = Tokens(source.states[:, order], source.mask)
    for kind, differs in (("decoder", True), ("transformer", True), ("linear", False)):
        model = translator(kind=kind)
        gap = (model(turned).levels() - model(source).levels()).abs().max().item()
        assert (gap > 1e-3) == differs, kind


def test_levels_are_the_first_token_and_the_mean_of_the_others() -> None:
    source = tokens()
    for row, length in enumerate((4, 2, 3)):
        first, mean = source.levels()[row]
        torch.testing.assert_close(first, source.states[row, 0])
        torch.testing.assert_close(mean, source.states[row, 1:length].mean(dim=0))
    single = Tokens(source.states[:, :1], source.mask[:, :1])
    torch.testing.assert_close(single.levels()[:, 1], single.levels()[:, 0])


def test_the_cycle_error_is_the_mean_square_of_each_row_and_level() -> None:
    torch.manual_seed(0)
    returned, original = (torch.randn(3, 2, 4, requires_grad=True) for _ in range(2))
    for row in range(3):
        expected = sum(
            sum((returned[row, level, place] - original[row, level, place]).item() ** 2 for place in range(4)) / 4
            for level in range(2)
        )
        assert cycle_error(returned, original)[row].item() == pytest.approx(expected, rel=1e-5)
    cycle_error(returned, original, detach=True).sum().backward()
    assert returned.grad is not None
    assert original.grad is None


def test_places_are_sines_and_cosines() -> None:
    places = sinusoids(3, 5)
    assert places.shape == (3, 5)
    torch.testing.assert_close(
        places[2, :2], torch.tensor([2.0, 2.0]).sin().where(torch.tensor([True, False]), torch.tensor(2.0).cos())
    )
    torch.testing.assert_close(places[0], torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0]))
