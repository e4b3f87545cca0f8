"""The heads: parity with the paper's equations as loops, what padding cannot do, what the untrained model is."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmi_tvr.errors import UsageError
from mmi_tvr.nn.attention import RelationAttention, RelationEncoder, RelationLayer, cosine_similarities, distance_kernel
from mmi_tvr.nn.options import HeadOptions
from mmi_tvr.nn.pooling import SegmentPooling, VideoPooling
from mmi_tvr.nn.spatial import SpatialHead
from mmi_tvr.nn.temporal import TemporalHead, differences
from mmi_tvr.nn.video import VideoHead, one_frame_per_segment

WIDTH, HEADS, GRID = 16, 4, 2
OPTIONS = HeadOptions(key_images=6, grid=GRID, heads=HEADS, layers=2, expansion=2, dropout=0.0)
ABLATIONS = {
    "full": {},
    "no temporal": {"temporal": False},
    "no spatial": {"spatial": False},
    "no heads": {"temporal": False, "spatial": False},
    "plain": {"plain": True},
    "no changes": {"changes": False},
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def shaken(module: torch.nn.Module) -> torch.nn.Module:
    """The module in float64 with every parameter away from its start, so that nothing is hidden by a zero."""
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return module.eval()


def some_videos(lengths: list[int], frames: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Unit frame vectors (B, F, D), regions (B, F, R, D) and mask (B, F) of videos with so many frames, float64."""
    frames = frames or max(lengths)
    mask = torch.arange(frames) < torch.tensor(lengths)[:, None]
    vectors = torch.randn(len(lengths), frames, 1 + GRID**2, WIDTH, dtype=torch.float64)
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    return vectors[:, :, 0], vectors[:, :, 1:], mask


def softmax(scores: list[float]) -> list[float]:
    powers = [math.exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


def naive_attention(head: RelationAttention, query: Tensor, key_value: Tensor, positions: Tensor) -> Tensor:
    """The attention equation for one video without padding, one number at a time. (Q, D), (L, D) -> (Q, D)."""
    length, width = len(key_value), WIDTH // HEADS
    output = torch.zeros(len(query), WIDTH, dtype=torch.float64)
    for h in range(HEADS):
        rows = slice(h * width, (h + 1) * width)

        def apply(layer: torch.nn.Linear, vector: Tensor, rows: slice = rows) -> Tensor:
            return layer.weight[rows] @ vector + layer.bias[rows]

        keys = [apply(head.key, vector) for vector in key_value]
        values = [apply(head.value, vector) for vector in key_value]
        mixed = list(keys)
        for i in range(0 if head.plain else length):
            kernel = [math.exp(-math.dist(positions[i].tolist(), position.tolist())) for position in positions]
            mixed[i] = torch.zeros(width, dtype=torch.float64)
            for j in range(length):
                cosine = key_value[i] @ key_value[j] / (key_value[i].norm() * key_value[j].norm())
                prior = kernel[j] / sum(kernel) + head.correction[h, i, j]
                mixed[i] += (prior + head.similarity[h] * cosine) * keys[j]
        for q, vector in enumerate(query):
            projected = apply(head.query, vector)
            weights = softmax([float(projected @ key) / math.sqrt(width) for key in mixed])
            output[q, rows] = sum(weight * value for weight, value in zip(weights, values, strict=True))
    return output @ head.output.weight.T + head.output.bias


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    "positions", [torch.arange(5)[:, None], torch.cartesian_prod(torch.arange(3), torch.arange(3))], ids=["H", "G"]
)
@torch.no_grad()
def test_attention_is_the_equation(plain: bool, positions: Tensor) -> None:
    prior = None if plain else distance_kernel(positions.double())
    head = shaken(RelationAttention(WIDTH, HEADS, prior, 0.0))
    query, key_value = torch.randn(2, 3, WIDTH).double(), torch.randn(2, len(positions), WIDTH).double()
    no_padding = torch.ones(2, len(positions), dtype=torch.bool)
    output = head(query, key_value, cosine_similarities(key_value), no_padding)
    for video in range(2):
        expected = naive_attention(head, query[video], key_value[video], positions)
        torch.testing.assert_close(output[video], expected, atol=1e-6, rtol=0)


def test_a_relation_starts_at_the_kernel_and_the_similarities_over_their_number() -> None:
    prior = distance_kernel(torch.arange(4.0)[:, None])
    head = RelationAttention(WIDTH, HEADS, prior, 0.0)
    similarity = torch.rand(2, 4, 4)
    relation = head.relation(similarity, torch.ones(2, 4, dtype=torch.bool))
    expected = prior + similarity / 4
    torch.testing.assert_close(relation, expected[:, None].expand(2, HEADS, 4, 4))


def test_learned_positions_and_cls_start_small() -> None:
    """Beside layer-normed tokens, of length sqrt(D), they change little."""
    sizes = {"heads": HEADS, "layers": 1, "expansion": 2, "dropout": 0.0, "plain": False}
    encoder = RelationEncoder(64, torch.arange(50)[:, None], **sizes)
    assert float(encoder.positions.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert float(encoder.summary.detach().std()) == pytest.approx(0.02, rel=0.5)


def test_attention_weights_drop_out_in_training_alone() -> None:
    head = RelationAttention(WIDTH, HEADS, None, 0.5)
    tokens, mask = torch.randn(1, 6, WIDTH), torch.ones(1, 6, dtype=torch.bool)
    similarity = cosine_similarities(tokens)
    head.eval()
    assert torch.equal(head(tokens, tokens, similarity, mask), head(tokens, tokens, similarity, mask))
    head.train()
    assert not torch.equal(head(tokens, tokens, similarity, mask), head(tokens, tokens, similarity, mask))


@torch.no_grad()
def test_a_layer_is_attention_then_a_feed_forward_part_behind_norms_and_residuals() -> None:
    layer = shaken(RelationLayer(WIDTH, HEADS, distance_kernel(torch.arange(3.0).double()[:, None]), 2, 0.0))
    tokens, mask = torch.randn(2, 4, WIDTH).double(), torch.tensor([[True, True, True], [True, True, False]])
    similarity = cosine_similarities(tokens[:, 1:])
    normed = layer.norm_attention(tokens)
    attended = tokens + layer.attention(normed, normed[:, 1:], similarity, mask)
    expected = attended + layer.feed(layer.norm_feed(attended))
    torch.testing.assert_close(layer(tokens, similarity, mask), expected)
    torch.testing.assert_close(layer(tokens, similarity, mask, query_count=1), expected[:, :1])


@torch.no_grad()
def test_an_encoder_gives_the_state_of_cls_behind_all_layers() -> None:
    """With the last layer on all tokens, and the relation of what `content` says, not of the tokens."""
    encoder = RelationEncoder(
        WIDTH, torch.arange(5)[:, None], heads=HEADS, layers=3, expansion=2, dropout=0.0, plain=False
    )
    shaken(encoder)
    tokens, content = torch.randn(2, 2, 4, WIDTH).double()
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    states = torch.cat([encoder.summary.expand(2, 1, -1), tokens + encoder.positions[:4]], dim=1)
    for layer in encoder.layers:
        states = layer(states, cosine_similarities(content), mask)
    torch.testing.assert_close(encoder(tokens, content, mask), encoder.norm(states)[:, 0])


@torch.no_grad()
def test_pooling_is_the_equation() -> None:
    segments, videos = SegmentPooling(WIDTH), VideoPooling(WIDTH)
    shaken(segments), shaken(videos)
    frames, regions, _ = some_videos([7, 4])
    belongs = torch.tensor([[0, 0, 1, 1, 1, 2, 2], [0, 1, 1, 1, -1, -1, -1]])
    images, mask, pooled_regions = segments(frames, belongs, 3, regions)
    video, beta = videos(images, mask)
    w_i = torch.eye(WIDTH) + segments.project.correction.weight
    w_v = torch.eye(WIDTH) + videos.project.correction.weight
    for b, count in enumerate([3, 2]):
        for k in range(count):
            inside = [i for i in range(7) if belongs[b, i] == k]
            alpha = softmax([float(segments.score.weight[0] @ w_i @ frames[b, i]) for i in inside])
            expected = sum(a * (w_i @ frames[b, i]) for a, i in zip(alpha, inside, strict=True))
            torch.testing.assert_close(images[b, k], expected, atol=1e-6, rtol=0)
            expected = sum(a * (regions[b, i] @ w_i.T) for a, i in zip(alpha, inside, strict=True))
            torch.testing.assert_close(pooled_regions[b, k], expected, atol=1e-6, rtol=0)
        weights = softmax([float(videos.score.weight[0] @ images[b, k]) for k in range(count)])
        expected = sum(weight * (w_v @ images[b, k]) for k, weight in enumerate(weights))
        torch.testing.assert_close(video[b], expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(beta[b, :count], torch.tensor(weights).double(), atol=1e-6, rtol=0)
    assert mask.tolist() == [[True, True, True], [True, True, False]]
    assert beta[1, 2] == 0
    assert not images[1, 2].any()


@pytest.mark.parametrize("switches", ABLATIONS.values(), ids=ABLATIONS.keys())
@torch.no_grad()
def test_untrained_is_the_mean_of_the_key_images(switches: dict[str, bool]) -> None:
    frames, regions, mask = some_videos([6, 3, 1])
    frames, regions = frames.float(), regions.float()
    head = VideoHead(WIDTH, OPTIONS.model_copy(update=switches)).eval()
    encoding = head(frames, regions, one_frame_per_segment(mask))
    for b, count in enumerate([6, 3, 1]):
        torch.testing.assert_close(encoding.video[b], frames[b, :count].mean(dim=0), atol=1e-6, rtol=0)
        torch.testing.assert_close(encoding.images[b, :count], frames[b, :count], atol=1e-6, rtol=0)
    segments = torch.tensor([[0, 0, 0, 1, 1, 2], [0, 0, 1, -1, -1, -1], [0, -1, -1, -1, -1, -1]])
    expected = torch.stack([frames[0, :3].mean(dim=0), frames[0, 3:5].mean(dim=0), frames[0, 5]]).mean(dim=0)
    torch.testing.assert_close(head(frames, regions, segments).video[0], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("switches", ABLATIONS.values(), ids=ABLATIONS.keys())
@settings(max_examples=8, deadline=None)
@given(length=st.integers(1, 6), extra=st.integers(1, 4), rubbish=st.sampled_from([0.0, 1e6, math.inf, math.nan]))
def test_padding_changes_nothing(switches: dict[str, bool], length: int, extra: int, rubbish: float) -> None:
    """Alone, and as the shorter video of a batch whose padding holds rubbish: the same vectors, no gradient to it."""
    torch.manual_seed(length)
    head = shaken(VideoHead(WIDTH, OPTIONS.model_copy(update={**switches, "key_images": 10})))
    frames, regions, mask = some_videos([length, length + extra])
    alone = head(frames[:1, :length], regions[:1, :length], one_frame_per_segment(mask[:1, :length]))
    frames[~mask], regions[~mask] = rubbish, rubbish
    frames.requires_grad_(), regions.requires_grad_()
    both = head(frames, regions, one_frame_per_segment(mask))
    torch.testing.assert_close(both.video[:1], alone.video, atol=1e-9, rtol=0)
    torch.testing.assert_close(both.images[:1, :length], alone.images, atol=1e-9, rtol=0)
    assert not both.weights[~mask].any()
    both.video.square().sum().backward()
    assert not frames.grad[~mask].any()
    assert frames.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters())
    if switches.get("spatial", True):
        assert not regions.grad[~mask].any()
        assert regions.grad[mask].any()


def test_each_head_by_itself_is_safe_from_padding() -> None:
    frames, regions, mask = some_videos([4, 2])
    heads = [shaken(head) for head in (TemporalHead(WIDTH, OPTIONS), SpatialHead(WIDTH, OPTIONS), VideoPooling(WIDTH))]
    temporal, spatial, pooling = heads

    def outputs(rubbish: float) -> list[Tensor]:
        frames[~mask], regions[~mask] = rubbish, rubbish
        return [temporal(frames, mask), spatial(regions, mask), pooling(frames, mask)[0]]

    clean, dirty = outputs(0.0), outputs(math.nan)
    assert all(torch.equal(one, other) for one, other in zip(clean, dirty, strict=True))
    assert not clean[1][1, 2:].any()
    sum(output.sum() for output in dirty).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for head in heads for p in head.parameters())


@torch.no_grad()
def test_a_row_of_padding_alone_gives_numbers() -> None:
    head = VideoHead(WIDTH, OPTIONS).double().eval()
    frames, regions, mask = some_videos([3, 0])
    encoding = head(frames, regions, one_frame_per_segment(mask))
    assert encoding.video.isfinite().all()
    assert not encoding.weights[1].any()


@torch.no_grad()
def test_padding_is_not_in_the_keys_of_others() -> None:
    """H with columns left in would pass this by the mask of the softmax alone: the relation itself is looked at."""
    head = shaken(RelationAttention(WIDTH, HEADS, distance_kernel(torch.arange(4.0).double()[:, None]), 0.0))
    frames, _, mask = some_videos([4, 2])
    relation = head.relation(cosine_similarities(frames), mask)
    assert not relation[1, :, :, 2:].any()
    assert relation[0].all()


@pytest.mark.parametrize("switches", [{}, {"plain": True}, {"changes": False}], ids=["H", "plain", "no changes"])
@torch.no_grad()
def test_the_temporal_head_sees_order_and_the_untrained_whole_does_not(switches: dict[str, bool]) -> None:
    options = OPTIONS.model_copy(update=switches)
    frames, regions, mask = some_videos([6])
    turned = frames.flip(1), regions.flip(1)
    head = TemporalHead(WIDTH, options).double().eval()
    assert (head(frames, mask) - head(turned[0], mask)).abs().max() > 1e-3
    whole = VideoHead(WIDTH, options).double().eval()
    same = whole(frames, regions, one_frame_per_segment(mask)).video, whole(*turned, one_frame_per_segment(mask)).video
    torch.testing.assert_close(*same, atol=1e-9, rtol=0)


@torch.no_grad()
def test_the_spatial_head_sees_where_things_are() -> None:
    head = SpatialHead(WIDTH, OPTIONS).double().eval()
    _, regions, mask = some_videos([2])
    mirrored = regions.unflatten(2, (GRID, GRID)).flip(3).flatten(2, 3)
    assert (head(regions, mask) - head(mirrored, mask)).abs().max() > 1e-3
    torch.testing.assert_close(head(regions, mask)[:, :1], head(regions[:, :1], mask[:, :1]))


@pytest.mark.parametrize(("temporal", "spatial"), [(True, True), (True, False), (False, True), (False, False)])
@torch.no_grad()
def test_a_switch_takes_its_own_head_away_and_not_the_other(temporal: bool, spatial: bool) -> None:
    """The order of key images counts exactly with the temporal head, the layout of regions with the spatial one."""
    head = shaken(VideoHead(WIDTH, OPTIONS.model_copy(update={"temporal": temporal, "spatial": spatial})))
    frames, regions, mask = some_videos([4])
    segments = one_frame_per_segment(mask)
    video = head(frames, regions, segments).video
    reordered = head(frames.flip(1), regions.flip(1), segments).video
    mirrored = head(frames, regions.flip(2), segments).video
    assert ((video - reordered).abs().max() > 1e-4) == temporal
    assert ((video - mirrored).abs().max() > 1e-4) == spatial


@torch.no_grad()
def test_fusion_adds_both_heads_vectors_to_the_pooled_video() -> None:
    """h_v = h_v0 + MLP([h_t ; h_s]), h_s the key images' spatial vectors under beta."""
    head = shaken(VideoHead(WIDTH, OPTIONS))
    frames, regions, mask = some_videos([5, 3])
    encoding = head(frames, regions, one_frame_per_segment(mask))
    images, images_mask, pooled = head.segments(frames, one_frame_per_segment(mask), 5, regions)
    base, beta = head.pooling(images, images_mask)
    h_s = (beta[..., None] * head.spatial(pooled, mask)).sum(dim=1)
    hidden, _, _, output = head.fusion.mlp
    branches = torch.cat([head.temporal(images, mask), h_s], dim=-1)
    expected = base + output(torch.nn.functional.gelu(hidden(branches)))
    torch.testing.assert_close(encoding.video, expected)
    torch.testing.assert_close(encoding.images, images)
    torch.testing.assert_close(encoding.weights, beta)
    assert torch.equal(encoding.mask, mask)


@torch.no_grad()
def test_the_temporal_head_reads_images_and_their_scaled_differences() -> None:
    head = shaken(TemporalHead(WIDTH, OPTIONS))
    frames, _, mask = some_videos([4])
    steps = torch.cat([torch.zeros(1, 1, WIDTH).double(), frames[:, 1:] - frames[:, :-1]], dim=1)
    tokens = head.picture(head.norm(frames)) + head.change(steps * math.sqrt(WIDTH))
    torch.testing.assert_close(head(frames, mask), head.reasoner(tokens, frames, mask))


@torch.no_grad()
def test_the_spatial_head_reads_regions_and_relates_them_as_they_are() -> None:
    head = shaken(SpatialHead(WIDTH, OPTIONS))
    _, regions, mask = some_videos([3])
    no_padding = torch.ones(3, GRID**2, dtype=torch.bool)
    expected = head.reasoner(head.picture(head.norm(regions[0])), regions[0], no_padding)
    torch.testing.assert_close(head(regions, mask)[0], expected)
    cells = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    prior = head.reasoner.layers[0].attention.distance_prior
    torch.testing.assert_close(prior, distance_kernel(cells.float()).double())


@torch.no_grad()
def test_a_segment_number_without_frames_is_padding() -> None:
    frames, regions, _ = some_videos([4])
    images, mask, pooled = SegmentPooling(WIDTH).double()(frames, torch.tensor([[0, 0, 2, 2]]), 3, regions)
    assert mask.tolist() == [[True, False, True]]
    assert not images[0, 1].any()
    assert not pooled[0, 1].any()


def test_plain_differs_in_the_relation_alone() -> None:
    related = {name for name, _ in TemporalHead(WIDTH, OPTIONS).named_parameters()}
    plain = {name for name, _ in TemporalHead(WIDTH, OPTIONS.model_copy(update={"plain": True})).named_parameters()}
    assert plain < related
    assert {name.rpartition(".")[2] for name in related - plain} == {"correction", "similarity"}


def test_the_kernel_falls_with_distance_and_differences_are_to_the_image_before() -> None:
    kernel = distance_kernel(torch.arange(3.0)[:, None])
    assert torch.allclose(kernel.sum(dim=1), torch.ones(3))
    torch.testing.assert_close(kernel[0, 1] / kernel[0, 0], torch.tensor(math.exp(-1)))
    torch.testing.assert_close(kernel[0, 2] / kernel[0, 0], torch.tensor(math.exp(-2)))
    frames, _, _ = some_videos([3])
    assert not differences(frames)[:, 0].any()
    torch.testing.assert_close(differences(frames)[:, 1:], frames[:, 1:] - frames[:, :-1])


@pytest.mark.parametrize("switches", [{}, {"plain": True}], ids=["H", "plain"])
def test_the_heads_learn_order_that_no_mean_can_tell(switches: dict[str, bool]) -> None:
    """Two events in both orders: the mean is the same; past the zero layer the gradient must reach the heads."""
    options = OPTIONS.model_copy(update={**switches, "spatial": False, "layers": 1})
    head = VideoHead(WIDTH, options)
    classifier = torch.nn.Linear(WIDTH, 1)
    optimiser = torch.optim.AdamW([*head.parameters(), *classifier.parameters()], lr=3e-3)
    still, first, second = torch.nn.functional.normalize(torch.randn(3, WIDTH), dim=-1)
    segments = one_frame_per_segment(torch.ones(64, 6, dtype=torch.bool))

    def batch() -> tuple[Tensor, Tensor]:
        order = torch.rand(64) < 0.5
        base = still + 0.1 * torch.randn(64, 6, WIDTH)
        events = torch.where(order[:, None, None], torch.stack([first, second]), torch.stack([second, first]))
        base[:, 1], base[:, 4] = base[:, 1] + events[:, 0], base[:, 4] + events[:, 1]
        return base, order.float()

    for _ in range(100):
        frames, order = batch()
        logits = classifier(head(frames, None, segments).video).squeeze(-1)
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(logits, order).backward()
        optimiser.step()
    frames, order = batch()
    logits = classifier(head.eval()(frames, None, segments).video).squeeze(-1)
    assert ((logits > 0) == order.bool()).float().mean() > 0.95


def test_every_parameter_can_learn() -> None:
    """After one step away from the zero layer, each parameter has a gradient."""
    head = shaken(VideoHead(WIDTH, OPTIONS))
    frames, regions, mask = some_videos([6, 4])
    segments = torch.where(
        mask, one_frame_per_segment(mask) // 2, -1
    )  # two frames per key image, so that alpha has a say
    head(frames, regions, segments).video.square().sum().backward()
    idle = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


def test_bfloat16_stays_bfloat16() -> None:
    frames, regions, mask = some_videos([3, 2])
    head = VideoHead(WIDTH, OPTIONS).bfloat16()
    video = head(frames.bfloat16(), regions.bfloat16(), one_frame_per_segment(mask)).video
    assert video.dtype == torch.bfloat16
    assert video.isfinite().all()


def test_wrong_shapes_are_one_line() -> None:
    frames, regions, mask = some_videos([7])
    head = VideoHead(WIDTH, OPTIONS).double()
    with pytest.raises(UsageError, match="built for 6 positions and got 7"):
        head(frames, regions, one_frame_per_segment(mask))
    with pytest.raises(UsageError, match="needs 4 regions per frame and got 3"):
        head(frames[:, :2], regions[:, :2, :3], one_frame_per_segment(mask[:, :2]))
    with pytest.raises(UsageError, match="got none"):
        head(frames[:, :2], None, one_frame_per_segment(mask[:, :2]))
    with pytest.raises(UsageError, match="5 attention heads cannot share the embedding width 16"):
        VideoHead(WIDTH, OPTIONS.model_copy(update={"heads": 5}))


def test_a_still_stretch_adds_nothing_by_its_changes() -> None:
    change = TemporalHead(WIDTH, OPTIONS).change
    assert change is not None
    assert not change(torch.zeros(1, 3, WIDTH)).any()
