"""The moment head: its answer and its loss by their definitions, what it learns, how it joins model and training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import FakeModel, RecordedProgress
from torch import Tensor

from mmi_tvr.errors import ModelNotFound, UsageError
from mmi_tvr.models import mmi
from mmi_tvr.nn.moments import MomentHead, MomentProposals, best_spans, moment_loss
from mmi_tvr.nn.options import QueryHeadOptions
from mmi_tvr.scoring.moments import locate
from mmi_tvr.train.moments import MomentBatches, MomentValidation, moments_of
from mmi_tvr.types import DescribedMoment, Embeddings, Features, FloatArray, Query, Scoring, Span
from mmi_tvr.utils.progress import Progress, Silent

WIDTH, MOST, BATCH = 8, 5, 16
SMALL = QueryHeadOptions(width=16, layers=1, heads=2)


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    common = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    lengths = max(0.0, one[1] - one[0]) + max(0.0, other[1] - other[0])
    return common / (lengths - common) if lengths else 0.0


def videos(seed: int, count: int = BATCH) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries, key images, segments and mask of videos with 1 to `MOST` key images; what is padding is NaN."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, MOST + 1, (count,), generator=generator)
    mask = torch.arange(MOST) < counts[:, None]
    cuts = torch.rand(count, MOST + 1, generator=generator).add(0.2).cumsum(dim=1)
    segments = torch.stack([cuts[:, :-1], cuts[:, 1:], (cuts[:, :-1] + cuts[:, 1:]) / 2], dim=-1)
    vectors = torch.nn.functional.normalize(torch.randn(count, MOST + 1, WIDTH, generator=generator), dim=-1)
    images = vectors[:, 1:].masked_fill(~mask[..., None], torch.nan)
    return vectors[:, 0], images, segments.masked_fill(~mask[..., None], torch.nan), mask


def proposals(seed: int, mask: Tensor) -> MomentProposals:
    generator = torch.Generator().manual_seed(seed)
    starts = torch.rand(mask.shape, generator=generator) * 3
    ends = starts + torch.rand(mask.shape, generator=generator) * 2
    times = torch.rand(mask.shape, generator=generator) * 6
    logits = torch.randn(mask.shape, generator=generator).masked_fill(~mask, torch.finfo(torch.float32).min / 2)
    return MomentProposals(logits, torch.stack([starts, ends, times], dim=-1))


def test_the_answer_is_the_mean_of_those_that_agree_with_the_one_that_most_agree_with() -> None:
    _, _, segments, mask = videos(0, 60)
    proposed = proposals(1, mask)
    answers = best_spans(proposed, segments, mask).tolist()
    assert len(answers) == 60
    for row, answer in enumerate(answers):
        images = [k for k in range(MOST) if mask[row, k]]
        spans = proposed.spans[row].tolist()
        weights = np.exp([float(proposed.logits[row, k]) for k in images])
        votes = [sum(w * iou(spans[k], spans[j]) for j, w in zip(images, weights, strict=True)) for k in images]
        winner = images[int(np.argmax(votes))]
        agreeing = [
            (k, w) for k, w in zip(images, weights, strict=True) if k == winner or iou(spans[winner], spans[k]) >= 0.5
        ]
        total = sum(w for _, w in agreeing)
        start, end = (sum(w * spans[k][side] for k, w in agreeing) / total for side in (0, 1))
        time = spans[max(agreeing, key=lambda pair: pair[1])[0]][2]
        video = float(segments[row, 0, 0]), float(segments[row, images[-1], 1])
        start, end = (min(max(bound, video[0]), video[1]) for bound in (start, end))
        assert answer == pytest.approx([start, end, min(max(time, start), end)], abs=1e-4)


def test_proposals_without_a_length_are_a_time() -> None:
    mask = torch.ones(1, 3, dtype=torch.bool)
    spans = torch.tensor([[[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [4.0, 4.0, 4.0]]])
    segments = torch.tensor([[[0.0, 1.0, 0.5], [1.0, 2.0, 1.5], [2.0, 5.0, 3.0]]])
    answer = best_spans(MomentProposals(torch.tensor([[5.0, 0.0, 0.0]]), spans), segments, mask)
    assert answer.tolist() == [[1.0, 1.0, 1.0]]
    outside = spans + torch.tensor([-3.0, 30.0, -9.0])
    answer = best_spans(MomentProposals(torch.zeros(1, 3), outside), segments, mask)
    assert answer.tolist() == [[0.0, 5.0, 0.0]]
    backwards = spans + torch.tensor([2.0, 0.0, 0.0])
    answer = best_spans(MomentProposals(torch.tensor([[5.0, 0.0, 0.0]]), backwards), segments, mask)
    assert answer.tolist() == [[1.0, 3.0, 1.0]]


def test_the_loss_is_that_of_its_definition() -> None:
    _, _, segments, mask = videos(2)
    proposed, segments = proposals(3, mask), segments.nan_to_num()
    events = torch.full((BATCH, 2, 2), torch.nan)
    events[:, 0] = torch.tensor([0.0, 1.1])  # at 0 stands what is padding, too
    events[::2, 1] = torch.tensor([1.6, 2.4])
    spans = torch.stack([events[:, 0, 0], events[..., 1].nan_to_num(-1).amax(dim=1)], dim=1)
    total = 0.0
    for row in range(BATCH):
        images = [k for k in range(MOST) if mask[row, k]]
        stretches = [stretch for stretch in events[row].tolist() if stretch[0] == stretch[0]]
        times = {k: float(segments[row, k, 2]) for k in images}
        right = [k for k in images if any(start <= times[k] <= end for start, end in stretches)]

        def distances(k: int, stretches: Any = stretches, times: Any = times) -> list[float]:
            return [abs(times[k] - sum(stretch) / 2) for stretch in stretches]

        right = right or [min(images, key=lambda k: min(distances(k)))]
        logs = proposed.logits[row, images].log_softmax(dim=0).tolist()
        duration = float(segments[row, images[-1], 1] - segments[row, 0, 0])
        for k in right:
            centre = sum(stretches[int(np.argmin(distances(k)))]) / 2
            truth = [*spans[row].tolist(), centre]
            error = sum(abs(ours - true) for ours, true in zip(proposed.spans[row, k].tolist(), truth, strict=True))
            total += (error / (0.1 * duration) - logs[images.index(k)]) / len(right)
        start, end = (
            sum(np.exp(log) * float(proposed.spans[row, k, side]) for k, log in zip(images, logs, strict=True))
            for side in (0, 1)
        )
        true_start, true_end = spans[row].tolist()
        total += 1 - (min(end, true_end) - max(start, true_start)) / (max(end, true_end) - min(start, true_start))
    assert float(moment_loss(proposed, segments, mask, spans, events)) == pytest.approx(total / BATCH, rel=1e-4)


def test_a_video_does_not_depend_on_its_batch_or_on_what_stands_in_its_padding() -> None:
    torch.manual_seed(0)
    head = MomentHead(WIDTH, SMALL).eval()
    queries, images, segments, mask = videos(4)
    with torch.no_grad():
        together = best_spans(head(queries, images, segments, mask), segments, mask)
        assert len(together) == BATCH
        for row, count in enumerate(mask.sum(dim=1).tolist()):
            part = images[row : row + 1, :count], segments[row : row + 1, :count], mask[row : row + 1, :count]
            alone = best_spans(head(queries[row : row + 1], *part), part[1], part[2])
            torch.testing.assert_close(alone[0], together[row], atol=1e-4, rtol=1e-4)


def test_it_learns_which_key_image_and_when() -> None:
    """What happens is the key image that is like the query, and a quarter of the video after its middle."""
    torch.manual_seed(0)
    head = MomentHead(WIDTH, SMALL)
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-3)

    def example(seed: int) -> tuple[tuple[Tensor, ...], Tensor]:
        _, images, segments, mask = videos(seed, 64)
        chosen = (torch.rand(mask.shape, generator=torch.Generator().manual_seed(seed)) * mask).argmax(dim=1)
        rows = torch.arange(64)
        duration = segments[..., 1].nan_to_num(0).amax(dim=1) - segments[:, 0, 0]
        start = segments[rows, chosen, 2] + 0.02 * duration
        return (images[rows, chosen], images, segments, mask), torch.stack([start, start + 0.25 * duration], dim=1)

    for step in range(90):
        inputs, spans = example(step)
        loss = moment_loss(head(*inputs), inputs[2].nan_to_num(), inputs[3], spans, spans[:, None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    inputs, spans = example(1000)
    with torch.no_grad():
        answers = best_spans(head(*inputs), inputs[2], inputs[3]).tolist()
    assert np.mean([iou(answer, span) for answer, span in zip(answers, spans.tolist(), strict=True)]) > 0.7
    assert (
        np.mean([span[0] <= answer[2] <= span[1] for answer, span in zip(answers, spans.tolist(), strict=True)]) > 0.8
    )


def moment_batches(
    sentences: int = 400,
    batch: int = 8,
    usable: Sequence[int] = (0, 1, 3),
    begin: float = 0.5,
    progress: Progress | None = None,
) -> MomentBatches:
    """Batches of two sets: one event of each of four videos, which have one to four key images, and the whole of it."""
    features = [
        Features(np.arange(3.0 * (1 + number)).reshape(-1, 3), {"mean": np.full((1 + number, 3), 60.0 * number)})
        for number in range(4)
    ]
    single = [DescribedMoment(f"e {number} {n}", number, begin, 2.0) for number in range(4) for n in range(20)]
    whole = [
        DescribedMoment(f"c {number} {n}", number, begin, 5.0, ((begin, 2.0), (4.0, 5.0)))
        for number in range(4)
        for n in range(10)
    ]
    return MomentBatches(
        FakeModel(),
        {"events": single, "captions": whole, "none": []},
        features,
        usable,
        batch=batch,
        sentences=sentences,
        seed=0,
        progress=progress or Silent(),
    )


def test_batches_of_moments_hold_the_vectors_of_their_sentences_and_videos() -> None:
    drawn = list(moment_batches().epoch(0))
    assert len(drawn) == 90 // 8
    ids = [id_ for batch in drawn for id_ in batch["ids"]]
    assert len(set(ids)) == len(ids) == 88
    assert {id_[:4] for id_ in ids} == {f"{number}: {kind}" for number in (0, 1, 3) for kind in "ec"}
    model = FakeModel()
    for batch in drawn:
        moments = batch["moments"]
        for row, id_ in enumerate(batch["ids"]):
            number, text = int(id_[0]), id_[3:]
            assert text[2] == id_[0]
            np.testing.assert_array_equal(moments["queries"][row], model.embed_queries([Query(text)])[0])
            count = 1 + number
            assert moments["mask"][row].tolist() == [k < count for k in range(moments["mask"].shape[1])]
            segments = np.arange(3.0 * count).reshape(-1, 3)
            np.testing.assert_array_equal(moments["segments"][row, :count], segments)
            video = Features(segments, {"mean": np.full((count, 3), 60.0 * number)})
            np.testing.assert_array_equal(moments["images"][row, :count], model.embed_videos([video])[0].moments)
            assert moments["spans"][row].tolist() == [0.5, 2.0 if text[0] == "e" else 5.0]
            assert moments["events"][row, 0].tolist() == [0.5, 2.0]
            if text[0] == "c":
                assert moments["events"][row, 1].tolist() == [4.0, 5.0]
            else:
                assert bool(moments["events"][row, 1:].isnan().all())


def test_an_epoch_of_moments_hangs_on_its_number_alone_and_goes_on_where_it_stopped() -> None:
    batches = moment_batches()
    first, second = ([batch["ids"] for batch in batches.epoch(number)] for number in (0, 1))
    assert first != second
    assert [batch["ids"] for batch in moment_batches().epoch(0)] == first
    assert [batch["ids"] for batch in batches.epoch(0, skip=4)] == first[4:]
    few = [id_ for batch in moment_batches(sentences=40).epoch(0) for id_ in batch["ids"]]
    assert len(few) <= 40
    assert set(few) <= {id_ for batch in moment_batches(batch=1).epoch(0) for id_ in batch["ids"]}


def test_too_few_moments_are_an_error_that_says_so() -> None:
    with pytest.raises(UsageError, match="0 moments in usable videos: too few for a batch of 8"):
        moment_batches(usable=())
    with pytest.raises(UsageError, match="30 moments in usable videos: too few for a batch of 40"):
        moment_batches(batch=40, usable=(0, 1), begin=1.0)  # of 60, those of video 0 begin where it ends
    with pytest.raises(UsageError, match="folder does not say when"):
        moments_of(object(), "folder")


def test_moments_behind_the_end_of_their_video_are_left_out_and_counted() -> None:
    progress = RecordedProgress()
    batches = moment_batches(batch=1, begin=1.0, progress=progress)
    assert {id_[0] for batch in batches.epoch(0) for id_ in batch["ids"]} == {"1", "3"}
    assert progress.messages == ["left out: 30 moments that begin behind the end of the video"]


def test_validation_is_the_mean_over_the_sets_of_the_mean_overlap() -> None:
    features = [Features(np.array([[0.0, 4.0, 1.0]]), {"mean": np.zeros((1, 3))}) for _ in range(3)]
    sets = {
        "events": [DescribedMoment("a", 0, 0.0, 4.0), DescribedMoment("b", 1, 0.0, 2.0), DescribedMoment("c", 2, 0, 1)],
        "none": [],
        "captions": [DescribedMoment("a", 1, 0.0, 1.0)],
    }
    validation = MomentValidation(FakeModel(), sets, features, [0, 1], Silent())
    assert validation(None) == pytest.approx(100 * (0.75 + 0.25) / 2)  # without a head, the one segment is the answer
    with pytest.raises(UsageError, match="no moment of the validation data"):
        MomentValidation(FakeModel(), sets, features, [], Silent())


class Locating:
    """A model with a head that always answers the same, or with none."""

    scoring = Scoring()

    def __init__(self, answer: Span | None) -> None:
        self.answer = answer

    def locate(self, queries: FloatArray, videos: Sequence[Embeddings]) -> list[Span] | None:
        return None if self.answer is None else [self.answer] * len(videos)


def test_a_search_takes_the_span_of_the_head_where_there_is_one() -> None:
    video = Embeddings(np.eye(3)[0], np.eye(3), np.array([[0, 1, 0.5], [1, 2, 1.5], [2, 3, 2.5]]))
    head: Any = Locating(Span(0.2, 2.2, 1.0))
    without: Any = Locating(None)
    assert locate(head, np.eye(3)[1:2], [video]) == [(0.2, 2.2, 1.0)]
    assert locate(without, np.eye(3)[1:2], [video]) == [(1.0, 2.0, 1.5)]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Span(-1.0, 2.2, -1.0), (0.0, 2.2, 0.0)),
        (Span(2.2, 3.0001, 3.00005), (2.2, 3.0, 3.0)),
        (Span(2.0, 1.0, 1.5), (1.0, 2.0, 1.5)),  # from here on the scores say where
        (Span(1.2, 1.2, 1.2), (1.0, 2.0, 1.5)),
        (Span(7.0, 9.0, 8.0), (1.0, 2.0, 1.5)),
        (Span(np.nan, 2.0, 1.5), (1.0, 2.0, 1.5)),
        (Span(0.0, np.nan, 1.5), (1.0, 2.0, 1.5)),
        (Span(0.0, 2.0, np.nan), (1.0, 2.0, 1.5)),
    ],
)
def test_a_span_lies_in_its_video_whatever_a_head_says(answer: Span, expected: tuple[float, float, float]) -> None:
    video = Embeddings(np.eye(3)[0], np.eye(3), np.array([[0, 1, 0.5], [1, 2, 1.5], [2, 3, 2.5]]))
    head: Any = Locating(answer)
    assert locate(head, np.eye(3)[1:2], [video]) == [expected]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model as training writes it, with its moment head."""
    folder = tmp_path_factory.mktemp("trained")
    mmi.trainable(mmi.Options(weights="moving-shapes"), device="cpu").save(folder)
    return folder


def test_a_head_travels_in_a_file_of_its_own_and_changes_no_vector(trained: Path, tmp_path: Path) -> None:
    plain = mmi.build(mmi.Options(weights=str(trained), moment_head=None), device="cpu")
    with_head = mmi.build(mmi.Options(weights=str(trained)), device="cpu")
    assert with_head.fingerprint() == plain.fingerprint()
    vectors = np.eye(192, dtype=np.float32)[:2]
    video = Embeddings(vectors[0], np.eye(192, dtype=np.float32)[:3], np.array([[0, 1, 0.5], [1, 2, 1.5], [2, 3, 2.5]]))
    assert plain.locate(vectors, [video, video]) is None
    spans = with_head.locate(vectors, [video, video])
    assert spans is not None
    assert all(span.start <= span.time <= span.end for span in spans)
    again = with_head.locate(vectors[1:], [video])
    assert again is not None
    assert again[0] == pytest.approx(spans[1], abs=1e-5)
    plain.save(tmp_path)
    assert not (tmp_path / mmi.MOMENTS).exists()
    assert "moment_head" not in (tmp_path / "model.json").read_text()
    (trained / mmi.MOMENTS).rename(tmp_path / "elsewhere")
    broken = mmi.build(mmi.Options(weights=str(trained)), device="cpu")
    with pytest.raises(ModelNotFound, match=r"moments\.safetensors is missing"):
        broken.locate(vectors[:1], [video])
    new = mmi.trainable(mmi.Options(weights=str(trained)), device="cpu")  # one that has yet to be trained
    assert new.locate(vectors[:1], [video]) is not None
    (tmp_path / "elsewhere").rename(trained / mmi.MOMENTS)
    beginning = mmi.trainable(mmi.Options(weights=str(trained), new_moment_head=True), device="cpu")
    former, begun = (model.network.state_dict()["moments.score.weight"] for model in (with_head, beginning))
    assert not torch.equal(former, begun)
    beginning.save(tmp_path / "begun")
    assert "new_moment_head" not in (tmp_path / "begun" / "model.json").read_text()
