"""Losses against naive loops, in one process (`test_train_gradients` has the ones across processes)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmi_tvr.errors import UsageError
from mmi_tvr.nn import losses
from mmi_tvr.nn.blocks import BlockSimilarity
from mmi_tvr.nn.distillation import distillation
from mmi_tvr.types import Block


def naive_info_nce(text: Tensor, video: Tensor, scale: float, groups: list[int]) -> float:
    """Every positive of a row against that row's negatives, in loops."""
    text, video = functional.normalize(text, dim=1), functional.normalize(video, dim=1)
    sides = []
    for rows, columns in ((text, video), (video, text)):
        row_losses = []
        for i, row in enumerate(rows):
            score = [scale * float(row @ column) for column in columns]
            negatives = sum(math.exp(s) for j, s in enumerate(score) if groups[j] != groups[i])
            positives = [math.exp(s) for j, s in enumerate(score) if groups[j] == groups[i]]
            row_losses.append(sum(-math.log(p / (p + negatives)) for p in positives) / len(positives))
        sides.append(sum(row_losses) / len(row_losses))
    return sum(sides) / 2


@pytest.mark.parametrize("groups", [[0, 1, 2, 3, 4], [7, 7, 2, 2, 2], [1, 0, 1, 3, 0]])
def test_info_nce_is_the_naive_loop(groups: list[int]) -> None:
    text, video = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    loss = losses.info_nce(text, video, torch.tensor(5.0), torch.tensor(groups))
    assert float(loss) == pytest.approx(naive_info_nce(text, video, 5.0, groups), rel=1e-5)


def test_info_nce_without_groups_is_cross_entropy_both_ways() -> None:
    text, video = functional.normalize(torch.randn(2, 6, 4), dim=-1)
    logits = 9 * text @ video.T
    plain = (
        functional.cross_entropy(logits, torch.arange(6)) + functional.cross_entropy(logits.T, torch.arange(6))
    ) / 2
    torch.testing.assert_close(losses.info_nce(text, video, torch.tensor(9.0)), plain)


def test_captions_of_one_video_alone_teach_nothing_and_break_nothing() -> None:
    text = torch.randn(3, 4, requires_grad=True)
    loss = losses.info_nce(text, torch.randn(3, 4), torch.tensor(100.0), torch.zeros(3, dtype=torch.int64))
    loss.backward()
    assert float(loss.detach()) == 0
    assert text.grad is not None
    assert text.grad.abs().max() == 0


def skewed(text: Tensor, video: Tensor, direction: str) -> Tensor:
    """No cosine: one that depends on who queries, and on the vectors' lengths."""
    return text @ video.T if direction == "t2v" else (text.flip(-1) @ video.T).sigmoid()


def naive_scores(text: Tensor, video: Tensor) -> tuple[list[list[float]], list[list[float]]]:
    """Rows of texts over videos, and rows of videos over texts, of `skewed`."""
    t2v = [[float(t @ v) for v in video] for t in text]
    v2t = [[1 / (1 + math.exp(-float(t.flip(0) @ v))) for t in text] for v in video]
    return t2v, v2t


def test_info_nce_with_a_similarity_and_a_bank_is_the_naive_loop() -> None:
    text, video, old_text, old_video = torch.randn(4, 5, 4, generator=torch.Generator().manual_seed(1))
    groups, old_groups = [3, 1, 3, 0, 2], [9, 1, 8, 3, 7]
    bank = losses.EmbeddedPairs(old_text, old_video, torch.tensor(old_groups))
    expected = []
    for rows in naive_scores(torch.cat([text, old_text]), torch.cat([video, old_video])):
        for i in range(5):
            score = [math.exp(2 * s) for s in rows[i]]
            numbers = groups + old_groups
            negatives = sum(s for s, group in zip(score, numbers, strict=True) if group != groups[i])
            positives = [score[j] for j in range(5) if groups[j] == groups[i]]  # never one of the bank
            expected.append(sum(-math.log(p / (p + negatives)) for p in positives) / len(positives))
    loss = losses.info_nce(
        text, video, torch.tensor(2.0), torch.tensor(groups), similarity=skewed, bank=bank
    )  # fmt: skip
    assert float(loss) == pytest.approx(sum(expected) / len(expected), rel=1e-5)
    plain = losses.info_nce(text, video, torch.tensor(2.0), torch.tensor(groups), bank=bank)
    longer = losses.info_nce(
        3 * text, video, torch.tensor(2.0), torch.tensor(groups), bank=bank._replace(video=7 * old_video)
    )
    torch.testing.assert_close(plain, longer)  # cosines, of the bank's vectors too


def test_blocks_are_compared_by_the_weights_of_who_asks() -> None:
    """LaT: a text looks for videos in one space, a video for texts in the other; the offset of a block is learned."""
    video = functional.normalize(torch.randn(2, 5, 4), dim=-1).transpose(0, 1).flatten(1) / math.sqrt(2)  # (5, 8)
    text = torch.randn(5, 8)
    blocks = BlockSimilarity(
        [Block("video", 4, t2v=1.0, v2t=0.0), Block("text", 4, t2v=0.0, v2t=1.0, squash=-0.5)], learned_offsets=True
    )
    loss = losses.info_nce(text, video, torch.tensor(3.0), similarity=blocks)
    t2v = 3 * math.sqrt(2) * text[:, :4] @ video[:, :4].T
    v2t = 3 * (math.sqrt(2) * video[:, 4:] @ text[:, 4:].T - 0.5).sigmoid()
    targets = torch.arange(5)
    torch.testing.assert_close(
        loss, (functional.cross_entropy(t2v, targets) + functional.cross_entropy(v2t, targets)) / 2
    )
    loss.backward()
    assert blocks.offsets.grad[1] != 0
    ranked = losses.ranking(text, video, 0.3, similarity=blocks)
    pairs = torch.eye(5, dtype=torch.bool)
    hinges = [(0.3 + s - s.diagonal()[:, None]).clamp(min=0).masked_fill(pairs, 0).amax(1) for s in (t2v / 3, v2t / 3)]
    torch.testing.assert_close(ranked, (hinges[0] + hinges[1]).mean())


@pytest.mark.parametrize("loss", ["info_nce", "ranking"])
def test_levels_have_a_loss_each(loss: str) -> None:
    text, video = torch.randn(2, 5, 6)

    def value(similarity: losses.Similarity) -> Tensor:
        if loss == "info_nce":
            return losses.info_nce(text, video, torch.tensor(3.0), similarity=similarity)
        return losses.ranking(text, video, 0.5, similarity=similarity)

    def both(text: Tensor, video: Tensor, direction: str) -> Tensor:
        return torch.stack([skewed(text[:, :4], video[:, :4], direction), skewed(text[:, 4:], video[:, 4:], direction)])

    alone = [value(lambda t, v, direction, part=part: skewed(t[:, part], v[:, part], direction))
             for part in (slice(0, 4), slice(4, 6))]  # fmt: skip
    torch.testing.assert_close(value(both), alone[0] + alone[1])


@pytest.mark.parametrize("mean_share", [0.0, 0.3, 1.0])
def test_ranking_is_the_naive_loop(mean_share: float) -> None:
    """Both ways; siblings of a video and texts that are true of a video are no negatives."""
    text, video = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(2))
    groups, true = [5, 1, 5, 0, 2, 3], {(1, 0), (3, 2)}  # (number of the text's video, of another video)
    expected = 0.0
    t2v, v2t = naive_scores(text, video)
    for i in range(6):
        for rows, false in (
            (t2v, lambda i, j: (groups[i], groups[j]) not in true),
            (v2t, lambda i, j: (groups[j], groups[i]) not in true),
        ):
            costs = [
                max(0.0, 0.8 + rows[i][j] - rows[i][i]) for j in range(6) if groups[j] != groups[i] and false(i, j)
            ]
            violators = [cost for cost in costs if cost > 0]
            mean = sum(violators) / max(1, len(violators))
            expected += (1 - mean_share) * max(costs) + mean_share * mean

    def true_of(texts: Tensor, videos: Tensor) -> Tensor:
        return torch.tensor([[(t, v) in true for v in videos.tolist()] for t in texts.tolist()])

    loss = losses.ranking(
        text, video, 0.8, torch.tensor(groups), similarity=skewed, true_of=true_of, mean_share=mean_share
    )
    assert float(loss) == pytest.approx(expected / 6, rel=1e-5)


def test_ranking_moves_a_pair_and_its_hardest_negatives_alone() -> None:
    text = torch.eye(3).requires_grad_()
    video = torch.tensor([[1.0, 0.9, 0.0], [0.0, 1.0, 0.1], [0.0, 0.0, 1.0]], requires_grad=True)
    losses.ranking(text, video, 0.2, similarity=lambda t, v, _: t @ v.T).backward()
    assert video.grad[2].abs().sum() == 0  # far from everything
    assert video.grad[0].tolist() == pytest.approx([-1 / 3, 2 / 3, 0])  # 0.1 too near the second text, either way
    assert video.grad[1].tolist() == pytest.approx([0, -1 / 3, 0])
    siblings = losses.ranking(text, video, 0.2, torch.zeros(3, dtype=torch.int64))
    assert float(siblings.detach()) == 0


def test_focal_is_the_naive_loop_and_bce_is_a_case_of_it() -> None:
    logits = torch.tensor([[-2.0, 0.5, 3.0], [1.0, -1.0, 0.0]])
    labels, weight = torch.tensor([[1, 0, 1], [0, 0, 1]]), torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    expected = 0.0
    for row in range(2):
        for column in range(3):
            p = 1 / (1 + math.exp(-float(logits[row, column])))
            positive = -0.3 * (1 - p) ** 1.5 * math.log(p)
            negative = -0.7 * p**1.5 * math.log(1 - p)
            expected += float(weight[row, column]) * (positive if labels[row, column] else negative)
    loss = losses.focal(logits, labels, 0.3, 1.5, weight=weight)
    assert float(loss) == pytest.approx(expected / 3, rel=1e-5)  # three labels hold
    plain = losses.focal(logits, labels.bool(), 1.0, 0.0, alpha_negative=1.0)
    summed = functional.binary_cross_entropy_with_logits(logits, labels.float(), reduction="sum")
    torch.testing.assert_close(plain, summed / 3)
    printed = losses.focal(logits, labels, 0.25, 2.0, alpha_negative=0.25)
    corrected = losses.focal(logits, labels, 0.25, 2.0)
    only_negatives = losses.focal(logits, torch.zeros(2, 3), 0.25, 2.0)
    assert float(printed) < float(corrected)
    assert float(only_negatives) > 0  # divided by one
    far = torch.tensor([[-200.0, 200.0]], requires_grad=True)
    losses.focal(far, torch.tensor([[1, 0]]), 0.25, 0.5).backward()
    assert far.grad.isfinite().all()
    assert far.grad.abs().min() > 0


def test_kl_is_the_naive_loop_by_kind() -> None:
    text, video = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(3))

    def divergence(p: Tensor, q: Tensor) -> float:
        """The mean over rows of KL(p || q), of softmax over columns."""
        total = 0.0
        for row, other in zip(p, q, strict=True):
            ps = [math.exp(float(x)) / sum(math.exp(float(y)) for y in row) for x in row]
            qs = [math.exp(float(x)) / sum(math.exp(float(y)) for y in other) for x in other]
            total += sum(a * math.log(a / b) for a, b in zip(ps, qs, strict=True))
        return total / len(p)

    assert float(losses.kl(text, video)) == pytest.approx(divergence(text, video), rel=1e-4)
    assert float(losses.kl(text, video, "batch")) == pytest.approx(divergence(text.T, video.T), rel=1e-4)
    symmetric = (divergence(text, video) + divergence(video, text)) / 2
    assert float(losses.kl(text, video, "symmetric")) == pytest.approx(symmetric, rel=1e-4)
    assert float(losses.kl(text, text)) == 0


def test_masked_prediction_is_the_naive_loop() -> None:
    generator = torch.Generator().manual_seed(3)
    states, keys = torch.randn(2, 3, 4, 5, generator=generator)
    keys[1, 2] = 2 * keys[1, 0]  # a still stretch: the same picture twice
    valid = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)
    masked = torch.tensor([[0, 1, 0, 1], [1, 0, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
    expected = []
    for i, k in masked.nonzero().tolist():
        state = functional.normalize(states[i, k], dim=0)
        scores = {}
        for j, m in valid.nonzero().tolist():
            is_copy = functional.cosine_similarity(keys[j, m], keys[i, k], dim=0) > 0.999
            if (j, m) == (i, k) or not is_copy:
                scores[j, m] = math.exp(3 * float(state @ functional.normalize(keys[j, m], dim=0)))
        expected.append(-math.log(scores[i, k] / sum(scores.values())))
    loss = losses.masked_prediction(states, keys, masked, valid, torch.tensor(3.0))
    assert float(loss) == pytest.approx(sum(expected) / len(expected), rel=1e-5)
    with pytest.raises(ValueError, match="padded"):
        losses.masked_prediction(states, keys, ~valid, valid, torch.tensor(3.0))


def test_masked_prediction_of_nothing_is_nothing() -> None:
    states, keys = torch.randn(2, 1, 3, 4)
    valid = torch.ones(1, 3, dtype=torch.bool)
    assert float(losses.masked_prediction(states, keys, ~valid, valid, torch.tensor(3.0))) == 0


def test_key_images_that_are_nearly_the_right_one_are_no_negatives() -> None:
    keys = torch.tensor([[[1.0, 0.0], [0.9, 0.43589], [0.0, 1.0]]])  # the cosine of the first two is 0.9
    states, valid = torch.randn(1, 3, 2), torch.ones(1, 3, dtype=torch.bool)
    masked = torch.tensor([[True, False, False]])
    scores = 3 * functional.normalize(states[0, 0], dim=0) @ keys[0].T
    two, three = scores[[0, 2]].log_softmax(0), scores.log_softmax(0)
    loss = losses.masked_prediction(states, keys, masked, valid, torch.tensor(3.0), copy=0.89)
    torch.testing.assert_close(loss, -two[0], atol=1e-4, rtol=0)
    loss = losses.masked_prediction(states, keys, masked, valid, torch.tensor(3.0), copy=0.91)
    torch.testing.assert_close(loss, -three[0], atol=1e-4, rtol=0)


def test_masked_prediction_moves_states_and_key_images() -> None:
    states, keys = torch.randn(2, 2, 3, 4).requires_grad_().unbind(0)
    states.retain_grad(), keys.retain_grad()
    valid = torch.ones(2, 3, dtype=torch.bool)
    masked = torch.tensor([[True, False, False], [False, True, False]])
    losses.masked_prediction(states, keys, masked, valid, torch.tensor(3.0)).backward()
    assert states.grad[masked].abs().sum(dim=-1).gt(0).all()
    assert not states.grad[~masked].any()
    assert keys.grad.abs().sum(dim=-1).gt(0).all()


@pytest.mark.parametrize("loss", ["info_nce", "ranking", "similarity", "masked_prediction"])
def test_losses_of_cosines_are_float32_under_autocast(loss: str) -> None:
    first, second = torch.randn(2, 2, 3, 8)
    mask = torch.ones(2, 3, dtype=torch.bool)

    def value() -> Tensor:
        if loss == "info_nce":
            return losses.info_nce(first[0], second[0], torch.tensor(50.0))
        if loss == "ranking":
            return losses.ranking(first[0], second[0], 0.5)
        if loss == "similarity":
            return losses.info_nce(first[0], second[0], torch.tensor(5.0), similarity=skewed)
        return losses.masked_prediction(first, second, mask, mask, torch.tensor(50.0))

    expected = value()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(value(), expected)


def test_next_token_is_the_mean_over_tokens() -> None:
    logits, tokens = torch.randn(4, 7), torch.tensor([3, 1, 6, 2])
    expected = [-of_token.log_softmax(0)[token] for of_token, token in zip(logits, tokens, strict=True)]
    torch.testing.assert_close(losses.next_token_cross_entropy(logits, tokens), torch.stack(expected).mean())
    assert float(losses.next_token_cross_entropy(logits[:0], tokens[:0])) == 0


def test_skeleton_is_cross_entropy_of_yes_among_yes_and_no() -> None:
    yes, no = torch.randn(2, 5)
    match = torch.tensor([True, False, True, True, False])
    p = yes.exp() / (yes.exp() + no.exp())
    torch.testing.assert_close(
        losses.skeleton_cross_entropy(yes, no, match), functional.binary_cross_entropy(p, match.float())
    )


def test_temperature_is_a_scale_between_1_and_100() -> None:
    assert float(losses.Temperature()().detach()) == pytest.approx(1 / 0.07)
    assert float(losses.Temperature(0.5)().detach()) == pytest.approx(2)
    assert float(losses.Temperature(5.0)().detach()) == 1
    assert float(losses.Temperature(0.001)().detach()) == pytest.approx(100)


def test_temperature_comes_back_from_beyond_its_limit() -> None:
    temperature = losses.Temperature(0.01)
    step = torch.optim.SGD(temperature.parameters(), lr=1.0)
    (-temperature()).backward()
    step.step()
    temperature.clamp_()
    assert float(temperature().detach()) == pytest.approx(100)
    step.zero_grad()
    temperature().backward()
    assert float(temperature.log_scale.grad) > 0  # the limit is no trap


def test_terms_are_summed_with_their_weights_and_others_left_out() -> None:
    terms = {"masked": torch.tensor(2.0), "caption": torch.tensor(3.0), "skeleton": torch.tensor(100.0)}
    assert float(losses.weighted_sum(terms, {"masked": 0.5, "caption": 2.0})) == 7


def test_a_weight_without_its_term_raises() -> None:
    with pytest.raises(UsageError, match="no loss called caption; it gave: masked"):
        losses.weighted_sum({"masked": torch.tensor(1.0)}, {"masked": 1.0, "caption": 1.0})


def test_losses_keep_their_names_and_descriptions() -> None:
    assert losses.info_nce.__name__ == "info_nce"
    assert losses.info_nce.__doc__.startswith("Return L_r")


def test_distillation_is_the_divergence_within_each_list() -> None:
    text, video = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    teacher, lists = torch.tensor([3.0, 1.0, 0.0, 2.0, 2.0, 9.0, -1.0]), torch.tensor([3, 3, 9, 3, 9, 1, 9])
    loss = distillation(text, video, torch.tensor(5.0), teacher, lists)
    expected = []
    for number in (1, 3, 9):
        rows = lists == number
        student = (5 * functional.cosine_similarity(text[rows], video[rows])).log_softmax(0)
        target = teacher[rows].softmax(0)
        expected.append((target * (target.log() - student)).sum())
    torch.testing.assert_close(loss, torch.stack(expected).mean())
    assert expected[0] == 0  # a query with one candidate
    taught = distillation(text, video, torch.tensor(5.0), 5 * functional.cosine_similarity(text, video), lists)
    assert float(taught.detach()) == pytest.approx(0, abs=1e-6)  # who says what the teacher says has nothing to learn
    levels = distillation(
        text, video, torch.tensor(5.0), teacher, lists, similarity=lambda t, v, _: torch.stack([t @ v.T, v @ t.T])
    )
    both = [
        distillation(text, video, torch.tensor(5.0), teacher, lists, similarity=similarity)
        for similarity in (lambda t, v, _: t @ v.T, lambda t, v, _: v @ t.T)
    ]
    torch.testing.assert_close(levels, both[0] + both[1])
