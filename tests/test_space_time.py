"""The space-time tower against plain loops, and against a ViT; towers of pixels behind LaT."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mmi_tvr.encoders.options import VideoTowerOptions
from mmi_tvr.encoders.space_time import SpaceTimeTower, fit_positions

SIZES = {"image_size": 12, "patch_size": 4, "width": 8, "layers": 2, "heads": 2, "expansion": 2, "frames": 3}


def tower(**changes: object) -> SpaceTimeTower:
    """A tower whose every parameter says something."""
    torch.manual_seed(0)
    model = SpaceTimeTower(VideoTowerOptions(**{**SIZES, "time_start": "random", **changes})).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def videos(count: int, number: int = 2, size: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (number, count, size, size, 3), dtype=torch.uint8, generator=generator)


def plain(model: SpaceTimeTower, video: Tensor) -> Tensor:
    """Frozen in Time's forward pass of one video, patch by patch, head by head: states by (picture, place), or None
    for [CLS]."""
    weights = dict(model.named_parameters())
    options = model.options
    side = options.image_size // options.patch_size
    pictures = (video.double() / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    states: dict[tuple[int, int] | None, Tensor] = {None: weights["cls_token"][0, 0] + weights["pos_embed"][0, 0]}
    for number, picture in enumerate(pictures):
        for place in range(side * side):
            row, column = place // side * options.patch_size, place % side * options.patch_size
            patch = picture[row : row + options.patch_size, column : column + options.patch_size].permute(2, 0, 1)
            embedded = (
                weights["patch_embed.proj.weight"].flatten(1) @ patch.flatten() + weights["patch_embed.proj.bias"]
            )
            states[number, place] = embedded + weights["pos_embed"][0, 1 + place] + weights["temporal_embed"][0, number]
    for block in range(options.layers):
        states = _plain_block(states, weights, f"blocks.{block}", options.heads)
    normed = _normed(states, weights, "norm")
    return torch.stack([normed[None], *(normed[key] for key in sorted(key for key in normed if key is not None))])


def _plain_block(states: dict, weights: dict[str, nn.Parameter], name: str, heads: int) -> dict:
    def attended(inputs: dict, part: str, neighbours: object) -> dict:
        w, b = weights[f"{name}.{part}.qkv.weight"], weights[f"{name}.{part}.qkv.bias"]
        query, key, value = ({at: (w @ x + b).chunk(3)[n] for at, x in inputs.items()} for n in range(3))
        results = {}
        for at in inputs:
            others = [other for other in inputs if at is None or other is None or neighbours(at, other)]
            pieces = []
            for head in range(heads):
                numbers = slice(head * 8 // heads, (head + 1) * 8 // heads)
                logits = torch.stack([query[at][numbers] @ key[other][numbers] for other in others])
                shares = (logits / math.sqrt(8 // heads)).softmax(0)
                pieces.append(sum(share * value[other][numbers] for share, other in zip(shares, others, strict=True)))
            results[at] = (
                weights[f"{name}.{part}.proj.weight"] @ torch.cat(pieces) + weights[f"{name}.{part}.proj.bias"]
            )
        return results

    over_time = attended(_normed(states, weights, f"{name}.norm3"), "timeattn", lambda a, b: a[1] == b[1])
    in_time = {at: states[at] + over_time[at] for at in states}
    over_space = attended(_normed(in_time, weights, f"{name}.norm1"), "attn", lambda a, b: a[0] == b[0])
    in_space = {at: states[at] + over_space[at] for at in states}
    hidden = _normed(in_space, weights, f"{name}.norm2")
    for at, state in hidden.items():
        inner = weights[f"{name}.mlp.fc1.weight"] @ state + weights[f"{name}.mlp.fc1.bias"]
        inner = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2
        in_space[at] = in_space[at] + weights[f"{name}.mlp.fc2.weight"] @ inner + weights[f"{name}.mlp.fc2.bias"]
    return in_space


def _normed(states: dict, weights: dict[str, nn.Parameter], name: str) -> dict:
    return {
        at: (x - x.mean()) / torch.sqrt(x.var(unbiased=False) + 1e-6) * weights[f"{name}.weight"]
        + weights[f"{name}.bias"]
        for at, x in states.items()
    }


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_tower_is_the_plain_forward_pass(count: int) -> None:
    model, batch = tower(), videos(count)
    with torch.no_grad():
        states = model(batch)
        assert states.shape == (2, 1 + count * 9, 8)
        for row in range(2):
            torch.testing.assert_close(states[row], plain(model, batch[row]), atol=2e-6, rtol=2e-6)


def test_time_attention_starts_without_effect_and_learns() -> None:
    """Without positions in time, pictures may change places; [CLS] still mixes them, in its own two attentions."""
    torch.manual_seed(0)
    model = SpaceTimeTower(VideoTowerOptions(**SIZES))
    for block in model.blocks:
        assert not block.timeattn.qkv.weight.any()
        assert (block.timeattn.proj.weight == 1).all()
    batch = videos(3)
    forward, backward = model(batch), model(batch.flip(1))
    torch.testing.assert_close(forward[:, 0], backward[:, 0], atol=1e-5, rtol=1e-4)
    patches = [states[:, 1:].unflatten(1, (3, 9)) for states in (forward, backward)]
    torch.testing.assert_close(patches[0], patches[1].flip(1), atol=1e-5, rtol=1e-4)
    forward[:, 1:].square().mul(torch.rand(27, 8)).sum().backward()
    assert model.blocks[0].timeattn.qkv.weight.grad.abs().max() > 0
    assert model.temporal_embed.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("longer", "count", "expected"),
    [
        ("zeros", 2, [0.0, 1.0]),
        ("interpolate", 2, [0.0, 1.0]),
        ("zeros", 3, [0.0, 1.0, 2.0]),
        ("zeros", 5, [0.0, 1.0, 2.0, 0.0, 0.0]),
        ("interpolate", 5, [0.0, 0.5, 1.0, 1.5, 2.0]),
    ],
)
def test_positions_in_time_are_cut_or_made_longer(longer: str, count: int, expected: list[float]) -> None:
    table = torch.arange(3.0)[None, :, None].expand(1, 3, 4)
    assert fit_positions(table, count, longer)[0, :, 0, 1].tolist() == expected


def test_a_video_longer_than_the_trained_ones_is_read() -> None:
    for longer in ("zeros", "interpolate"):
        assert torch.isfinite(tower(longer=longer)(videos(5))).all()


def test_sizes_that_do_not_go_together_are_refused() -> None:
    for changes, words in (({"image_size": 13}, "do not tile"), ({"heads": 3}, "cannot share the width")):
        with pytest.raises(ValueError, match=words):
            VideoTowerOptions(**{**SIZES, **changes})
