"""The parts of MCSAN against plain loops over single numbers."""

import math

import pytest
import torch
from torch import nn

from mmi_tvr.lexicon.roles import ROLES
from mmi_tvr.nn.hole import Hole, correlation
from mmi_tvr.nn.levels import (
    AttributeHeads,
    FrameAttention,
    LevelInput,
    RelationBlock,
    TemporalConvolution,
    TwoWayGru,
    pool_frames,
)
from mmi_tvr.nn.positions import sinusoids
from mmi_tvr.nn.role_graph import RoleGraphEncoder

LENGTHS = (5, 1, 3)


def sequences(width, seed=0):
    """Return random sequences of the lengths above, whose padding is NaN, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(len(LENGTHS), max(LENGTHS), width, generator=generator, dtype=torch.float64)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return values.masked_fill(~mask[..., None], math.nan), mask


@pytest.mark.parametrize("width", [1, 2, 7, 8, 192])
def test_the_correlation_is_the_printed_sum(width):
    generator = torch.Generator().manual_seed(width)
    video, text = torch.randn(2, 3, width, generator=generator, dtype=torch.float64)
    naive = torch.zeros(3, width, dtype=torch.float64)
    for row in range(3):
        for k in range(width):
            naive[row, k] = sum(video[row, i] * text[row, (k + i) % width] for i in range(width))
    assert torch.allclose(correlation(video, text), naive, atol=1e-12)
    if width > 2:
        assert not torch.allclose(correlation(text, video), naive)  # the order counts


def test_a_query_of_hole_scores_as_the_linear_map_of_the_correlation():
    torch.manual_seed(0)
    hole = Hole(9).double()
    nn.init.normal_(hole.weight)
    video, text = torch.randn(2, 4, 9, dtype=torch.float64)
    by_correlation = correlation(video, text) @ hole.weight
    assert torch.allclose((video * hole(text)).sum(dim=-1), by_correlation, atol=1e-12)


def test_hole_starts_as_a_cosine_and_reads_halves_in_float32():
    video, text = nn.functional.normalize(torch.randn(2, 4, 8), dim=-1)
    assert torch.allclose((video * Hole(8, scale=6.0)(text)).sum(-1), 6 * (video * text).sum(-1), atol=1e-5)
    assert Hole(8)(text.bfloat16()).dtype == torch.float32


def test_gradients_of_hole():
    torch.manual_seed(1)
    text, weight = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 5), (5,)))
    assert torch.autograd.gradcheck(correlation, (weight, text))


def naive_role_graph(encoder, words, masks, roles, edges):
    """One node at a time, as HANet's code reads."""
    nodes = []
    for mask, role in zip(masks, roles, strict=True):
        members = [word for word, member in zip(words, mask, strict=True) if member]
        if members:
            nodes.append(torch.stack(members).max(dim=0).values * encoder.roles.weight[role])
        else:
            nodes.append(torch.zeros_like(words[0]))
    out = []
    for i, node in enumerate(nodes):
        if not masks[i].any():
            out.append(torch.zeros_like(node))
            continue
        neighbours = [j for j in range(len(nodes)) if edges[i, j] > 0]
        context = torch.zeros_like(node)
        if neighbours:
            query = encoder.query(node)
            scores = [query @ encoder.key(nodes[j]) / math.sqrt(len(node) / 2) for j in neighbours]
            weights = torch.softmax(torch.stack(scores), dim=0)
            context = sum(weight * nodes[j] for weight, j in zip(weights, neighbours, strict=True))
        out.append(encoder.norm(node + encoder.context(context)))
    return torch.stack(out)


def test_the_role_graph_is_its_plain_loop():
    torch.manual_seed(2)
    encoder = RoleGraphEncoder(6, len(ROLES)).double().eval()
    nn.init.normal_(encoder.roles.weight)
    words = torch.randn(2, 4, 6, dtype=torch.float64)
    masks = torch.zeros(2, 5, 4, dtype=torch.bool)
    masks[0, 0, 1] = masks[0, 2, 0] = masks[0, 3, 2] = masks[0, 3, 3] = True
    masks[1, 0, :2] = True  # a verb without neighbours; the second sentence has no phrase
    roles = torch.randint(0, len(ROLES), (2, 5))
    edges = torch.zeros(2, 5, 5, dtype=torch.float64)
    edges[0, 0, 2] = edges[0, 0, 3] = 0.5
    edges[0, 2, 0] = edges[0, 3, 0] = 1.0
    encoded = encoder(words, masks, roles, edges)
    for row in range(2):
        expected = naive_role_graph(encoder, words[row], masks[row], roles[row], edges[row])
        assert torch.allclose(encoded[row], expected, atol=1e-12)


def test_roles_change_nothing_until_they_are_learned():
    encoder = RoleGraphEncoder(4, len(ROLES)).eval()
    words, masks, edges = torch.randn(1, 2, 4), torch.eye(2, dtype=torch.bool)[None], torch.zeros(1, 2, 2)
    one, other = (encoder(words, masks, torch.full((1, 2), role), edges) for role in (0, 5))
    assert torch.equal(one, other)


def test_frame_attention_scales_frames_and_starts_as_nothing():
    frames, mask = sequences(4)
    attention = FrameAttention(4).double()
    assert torch.allclose(attention(frames, mask)[mask], frames[mask])
    nn.init.normal_(attention.score.weight)
    scaled = attention(frames, mask)
    for row, length in enumerate(LENGTHS):
        weights = [math.exp(float(frames[row, i] @ attention.score.weight[0].detach())) for i in range(length)]
        for i in range(length):
            expected = frames[row, i] * weights[i] / sum(weights) * length
            assert torch.allclose(scaled[row, i], expected)
    assert not scaled[~mask].any()


@pytest.mark.parametrize("summary", [True, False])
def test_the_gru_reads_the_real_places_alone(summary):
    torch.manual_seed(3)
    sequence, mask = sequences(3)
    reader = TwoWayGru(3, 4, summary=summary).double()
    read = reader(sequence.nan_to_num(7.0), mask)
    for row, length in enumerate(LENGTHS):
        states, last = reader.gru(sequence[row, :length])
        if summary:
            assert torch.allclose(read[row], torch.cat([last[0], last[1]]))
            width = 2
            assert torch.allclose(read[row], torch.cat([states[-1, :width], states[0, width:]]))  # h_N, and h_1
        else:
            assert torch.allclose(read[row, :length], (states[:, :4] + states[:, 4:]) / 2)


@pytest.mark.parametrize("kernels", [(1,), (2, 3, 5)])
def test_convolutions_are_their_plain_loops(kernels):
    torch.manual_seed(4)
    frames, mask = sequences(3)
    module = TemporalConvolution(3, 4, kernels).double()
    assert module.balance.tolist() == pytest.approx([1 / len(kernels)] * len(kernels))
    with torch.no_grad():
        module.balance.copy_(torch.rand(len(kernels)))
    convolved = module(frames, mask)
    for row, length in enumerate(LENGTHS):
        for place in range(length):
            expected = torch.zeros(4, dtype=torch.float64)
            for balance, convolution, kernel in zip(module.balance, module.convolutions, kernels, strict=True):
                total = convolution.bias.clone()
                for tap in range(kernel):
                    source = place + tap - (kernel - 1) // 2
                    if 0 <= source < length:
                        total += convolution.weight[:, :, tap] @ frames[row, source]
                expected += balance * total.clamp(min=0)
            assert torch.allclose(convolved[row, place], expected)
    assert not convolved[~mask].any()


def naive_relation(module, sequence):
    """The block on one unpadded sequence (N, D), one head and one place at a time."""
    block, attention = module.block, module.block.self_attn
    states = module.project(sequence) + sinusoids(len(sequence), module.project.out_features)
    width, heads = states.shape[1], attention.num_heads
    q, k, v = (states @ attention.in_proj_weight.T + attention.in_proj_bias).split(width, dim=1)
    attended = torch.zeros_like(states)
    for head in range(heads):
        part = slice(head * width // heads, (head + 1) * width // heads)
        for place in range(len(states)):
            scores = torch.stack([q[place, part] @ key[part] / math.sqrt(width / heads) for key in k])
            attended[place, part] = torch.softmax(scores, dim=0) @ v[:, part]
    states = block.norm1(states + attention.out_proj(attended))
    states = block.norm2(states + block.linear2(torch.relu(block.linear1(states))))
    return states.sum(dim=0) / len(states)


@pytest.mark.parametrize("training", [True, False])
def test_the_relation_block_is_its_plain_loop(training):
    torch.manual_seed(5)
    sequence, mask = sequences(3)
    module = RelationBlock(3, 8, heads=2, dropout=0.0).double().train(training)
    assert module.block.linear1.out_features == 32
    with torch.no_grad():  # without a gradient, torch takes another way through the block
        related = module(sequence, mask)
        for row, length in enumerate(LENGTHS):
            assert torch.allclose(related[row], naive_relation(module, sequence[row, :length]), atol=1e-6)


def test_positions_are_sines_and_cosines():
    positions = sinusoids(6, 5)
    for place in range(6):
        for channel in range(5):
            angle = place / 10_000 ** ((channel // 2 * 2) / 5)
            assert positions[place, channel] == pytest.approx(math.cos(angle) if channel % 2 else math.sin(angle))


def test_a_level_reads_the_frames_and_what_it_adds():
    module, frames = LevelInput(3), torch.randn(2, 4, 3)
    expected = (frames + frames @ module.linear.weight.T + module.linear.bias).clamp(min=0)
    assert torch.allclose(module(frames), expected)


@pytest.mark.parametrize("kind", ["topk", "max", "mean"])
def test_pooling_of_frames(kind):
    lengths = (1, 8, 9, 17)
    frames = torch.randn(4, 17, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(17) < torch.tensor(lengths)[:, None]
    pooled = pool_frames(frames, mask, kind)
    for row, (length, largest) in enumerate(zip(lengths, (1, 1, 2, 3), strict=True)):
        count = {"topk": largest, "max": 1, "mean": length}[kind]
        for channel in range(3):
            values = sorted(frames[row, :length, channel].tolist(), reverse=True)[:count]
            assert pooled[row, channel].item() == pytest.approx(sum(values) / count)
    pooled.sum().backward()
    assert frames.grad is not None
    assert not frames.grad[~mask].any()


def test_heads_are_one_for_both_modalities_or_one_each():
    sizes, features = {"entity": 4, "action": 2}, torch.randn(3, 5)
    shared, separate = AttributeHeads(5, sizes), AttributeHeads(5, sizes, shared=False)
    assert torch.equal(shared("action", features, "text"), shared("action", features, "video"))
    assert shared("entity", features, "text").shape == (3, 4)
    assert not torch.equal(separate("action", features, "text"), separate("action", features, "video"))
    count = sum(parameter.numel() for parameter in shared.parameters())
    assert sum(parameter.numel() for parameter in separate.parameters()) == 2 * count


def test_before_training_every_label_is_unlikely():
    heads = AttributeHeads(5, {"entity": 4, "action": 2}, shared=False)
    for side in ("text", "video"):
        for level in ("entity", "action"):
            assert torch.allclose(torch.sigmoid(heads(level, torch.zeros(1, 5), side)), torch.tensor(0.01))
