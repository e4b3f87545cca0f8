"""Losses against naive loops, in one process (`test_train` has the ones across processes)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmi_tvr.errors import UsageError
from mmi_tvr.nn import losses


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


@pytest.mark.parametrize("loss", ["info_nce", "masked_prediction"])
def test_losses_of_cosines_are_float32_under_autocast(loss: str) -> None:
    first, second = torch.randn(2, 2, 3, 8)
    mask = torch.ones(2, 3, dtype=torch.bool)

    def value() -> Tensor:
        if loss == "info_nce":
            return losses.info_nce(first[0], second[0], torch.tensor(50.0))
        return losses.masked_prediction(first, second, mask, mask, torch.tensor(50.0))

    expected = value()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(value(), expected)


def test_next_token_shifts_and_skips_what_is_no_target() -> None:
    logits = torch.randn(2, 4, 7)
    labels = torch.tensor(
        [[losses.IGNORE_INDEX, 3, 1, 6], [losses.IGNORE_INDEX, losses.IGNORE_INDEX, 2, losses.IGNORE_INDEX]]
    )
    expected = [
        -logits[row, place - 1].log_softmax(0)[labels[row, place]] for row, place in ((0, 1), (0, 2), (0, 3), (1, 2))
    ]
    torch.testing.assert_close(losses.next_token_cross_entropy(logits, labels), torch.stack(expected).mean())
    assert float(losses.next_token_cross_entropy(logits, torch.full((2, 4), losses.IGNORE_INDEX))) == 0


def test_skeleton_is_cross_entropy_of_yes_among_yes_and_no() -> None:
    yes, no = torch.randn(2, 5)
    match = torch.tensor([True, False, True, True, False])
    p = yes.exp() / (yes.exp() + no.exp())
    torch.testing.assert_close(
        losses.skeleton_cross_entropy(yes, no, match), functional.binary_cross_entropy(p, match.float())
    )


def test_temperature_is_a_scale_between_1_and_100() -> None:
    assert float(losses.Temperature()()) == pytest.approx(1 / 0.07)
    assert float(losses.Temperature(0.5)()) == pytest.approx(2)
    assert float(losses.Temperature(5.0)()) == 1
    assert float(losses.Temperature(0.001)()) == pytest.approx(100)


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
