"""Losses against naive loops, in one process (`test_train` has the ones across processes)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmi_tvr.errors import UsageError
from mmi_tvr.nn import losses


def naive_contrastive(text: Tensor, video: Tensor, scale: float, groups: list[int]) -> float:
    """Every positive of a row against that row's negatives, in loops."""
    text, video = functional.normalize(text, dim=1), functional.normalize(video, dim=1)
    sides = []
    for rows, columns in ((text, video), (video, text)):
        each_row = []
        for i, row in enumerate(rows):
            score = [scale * float(row @ column) for column in columns]
            negatives = sum(math.exp(s) for j, s in enumerate(score) if groups[j] != groups[i])
            positives = [math.exp(s) for j, s in enumerate(score) if groups[j] == groups[i]]
            each_row.append(sum(-math.log(p / (p + negatives)) for p in positives) / len(positives))
        sides.append(sum(each_row) / len(each_row))
    return sum(sides) / 2


@pytest.mark.parametrize("groups", [[0, 1, 2, 3, 4], [7, 7, 2, 2, 2], [1, 0, 1, 3, 0]])
def test_contrastive_is_the_naive_loop(groups: list[int]) -> None:
    text, video = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    found = losses.info_nce(text, video, torch.tensor(5.0), torch.tensor(groups))
    assert float(found) == pytest.approx(naive_contrastive(text, video, 5.0, groups), rel=1e-5)


def test_contrastive_without_groups_is_plain_info_nce() -> None:
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


def test_masked_prediction_is_the_naive_loop() -> None:
    generator = torch.Generator().manual_seed(3)
    states, keys = torch.randn(2, 3, 4, 5, generator=generator)
    keys[1, 2] = 2 * keys[1, 0]  # a still stretch: the same picture twice
    valid = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)
    masked = torch.tensor([[0, 1, 0, 1], [1, 0, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
    each = []
    for i, k in masked.nonzero().tolist():
        state = functional.normalize(states[i, k], dim=0)
        scores = {}
        for j, m in valid.nonzero().tolist():
            is_copy = functional.cosine_similarity(keys[j, m], keys[i, k], dim=0) > 0.999
            if (j, m) == (i, k) or not is_copy:
                scores[j, m] = math.exp(3 * float(state @ functional.normalize(keys[j, m], dim=0)))
        each.append(-math.log(scores[i, k] / sum(scores.values())))
    found = losses.masked_prediction(states, keys, masked, valid, torch.tensor(3.0))
    assert float(found) == pytest.approx(sum(each) / len(each), rel=1e-5)
    with pytest.raises(ValueError, match="padded"):
        losses.masked_prediction(states, keys, ~valid, valid, torch.tensor(3.0))


def test_next_token_shifts_and_skips_what_is_no_target() -> None:
    logits = torch.randn(2, 4, 7)
    labels = torch.tensor(
        [[losses.IGNORE_INDEX, 3, 1, 6], [losses.IGNORE_INDEX, losses.IGNORE_INDEX, 2, losses.IGNORE_INDEX]]
    )
    wanted = [-logits[row, at - 1].log_softmax(0)[labels[row, at]] for row, at in ((0, 1), (0, 2), (0, 3), (1, 2))]
    torch.testing.assert_close(losses.next_token_cross_entropy(logits, labels), torch.stack(wanted).mean())
    assert float(losses.next_token_cross_entropy(logits, torch.full((2, 4), losses.IGNORE_INDEX))) == 0


def test_skeleton_is_cross_entropy_of_yes_among_yes_and_no() -> None:
    yes, no = torch.randn(2, 5)
    match = torch.tensor([True, False, True, True, False])
    p = yes.exp() / (yes.exp() + no.exp())
    torch.testing.assert_close(
        losses.skeleton_cross_entropy(yes, no, match), functional.binary_cross_entropy(p, match.float())
    )


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


def test_a_weight_without_its_term_is_told() -> None:
    with pytest.raises(UsageError, match="no loss called caption; it gave: masked"):
        losses.weighted_sum({"masked": torch.tensor(1.0)}, {"masked": 1.0, "caption": 1.0})
