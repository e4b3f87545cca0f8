"""Whether a video shows what a query says: the head, what it is trained on, and the file that it travels in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import FakeModel
from torch import Tensor

from mmi_tvr.config import ConfigError
from mmi_tvr.errors import ModelNotFound, UsageError
from mmi_tvr.models import mmi
from mmi_tvr.nn.matching import MatchingHead, matching_loss
from mmi_tvr.nn.options import QueryHeadOptions
from mmi_tvr.train import matching as training
from mmi_tvr.train import settings
from mmi_tvr.train.settings import MatchingOptions
from mmi_tvr.types import (
    Embeddings,
    Features,
    FloatArray,
    MatchLaw,
    PartialQuery,
    Query,
    Sample,
    Scoring,
    Video,
)
from mmi_tvr.utils.progress import Silent

WIDTH, MOST, BATCH = 8, 5, 12
SMALL = QueryHeadOptions(width=16, layers=1, heads=2)


def pairs(seed: int, count: int = BATCH) -> dict[str, Tensor]:
    """Queries and videos of one to MOST key images; padding is NaN, so that whoever reads it shows."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, MOST + 1, (count,), generator=generator)
    mask = torch.arange(MOST) < counts[:, None]
    cuts = torch.rand(count, MOST + 1, generator=generator).add(0.2).cumsum(dim=1)
    segments = torch.stack([cuts[:, :-1], cuts[:, 1:], (cuts[:, :-1] + cuts[:, 1:]) / 2], dim=-1)
    vectors = torch.nn.functional.normalize(torch.randn(count, MOST + 2, WIDTH, generator=generator), dim=-1)
    return {
        "queries": vectors[:, 0],
        "videos": vectors[:, 1],
        "images": vectors[:, 2:].masked_fill(~mask[..., None], torch.nan),
        "segments": segments.masked_fill(~mask[..., None], torch.nan),
        "mask": mask,
    }


def test_a_pair_does_not_depend_on_its_batch_or_on_what_stands_in_its_padding() -> None:
    torch.manual_seed(0)
    head = MatchingHead(WIDTH, SMALL).eval()
    inputs = pairs(4)
    with torch.no_grad():
        together = head(**inputs)
        assert together.isfinite().all()
        for row, count in enumerate(inputs["mask"].sum(dim=1).tolist()):
            alone = {name: values[row : row + 1] for name, values in inputs.items()}
            alone |= {name: alone[name][:, :count] for name in ("images", "segments", "mask")}
            torch.testing.assert_close(head(**alone)[0], together[row], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["queries", "videos", "images", "segments"])
def test_the_head_reads_all_that_it_is_given(name: str) -> None:
    torch.manual_seed(0)
    head, inputs, others = MatchingHead(WIDTH, SMALL).eval(), pairs(0), pairs(1)
    with torch.no_grad():
        changed = inputs | {name: torch.where(inputs["mask"][..., None], others[name].nan_to_num(0.5), torch.nan)
                            if others[name].dim() == 3 else others[name]}  # fmt: skip
        assert not torch.allclose(head(**changed), head(**inputs), atol=1e-3)


def test_the_loss_weighs_both_answers_alike() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 3.0])
    matches = torch.tensor([True, False, False, False])
    right = float(np.log1p(np.exp(-2.0)))
    wrong = float(np.mean([np.log1p(np.exp(x)) for x in (-1.0, 0.5, 3.0)]))
    assert float(matching_loss(logits, matches)) == pytest.approx((right + wrong) / 2)
    assert float(matching_loss(logits[1:], matches[1:])) == pytest.approx(wrong / 2)  # a batch of one answer alone


def test_it_learns_what_no_score_can_tell() -> None:
    """A query matches where the first key image is like it, and none where the last is; the video's vector is noise."""
    torch.manual_seed(0)
    head = MatchingHead(WIDTH, SMALL)
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-3)

    def example(seed: int) -> tuple[dict[str, Tensor], Tensor]:
        inputs = pairs(seed, 64)
        inputs["mask"][:, :2] = True
        spare = pairs(seed + 10_000, 64)
        for name in ("images", "segments"):
            inputs[name] = torch.where(inputs[name].isnan(), spare[name].nan_to_num(0.5), inputs[name])
        matches = torch.arange(64) % 2 == 0
        last = inputs["mask"].sum(dim=1) - 1
        place = torch.where(matches, 0, last)
        inputs["images"][torch.arange(64), place] = inputs["queries"]
        return inputs, matches

    for step in range(120):
        inputs, matches = example(step)
        loss = matching_loss(head(**inputs), matches)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    inputs, matches = example(5_000)
    with torch.no_grad():
        assert ((head(**inputs) > 0) == matches).float().mean() > 0.9


# What it is trained on


class Shapes:
    """Four videos; the captions of 0 are true of 1 as well, and one short query is true of 1 and 3."""

    def samples(self) -> Sequence[Sample]:
        texts = [(f"whole {number} a", f"whole {number} b", f"whole {number} c") for number in range(5)]
        return [Sample(str(number), Video(Path(f"{number}.mp4")), texts[number]) for number in range(5)]

    def describes(self, captions_of: int, video: int) -> bool:
        return (captions_of, video) == (0, 1) or captions_of == video

    def partial_queries(self, rounds: int = 1) -> dict[str, list[PartialQuery]]:
        return {"short": [PartialQuery(f"short {round}", 1, (1, 2, 3)) for round in range(rounds)]}


USABLE = (0, 1, 3, 4)  # video 2 cannot be read


def features() -> list[Features]:
    dice = np.random.default_rng(0)
    return [
        Features(np.arange(3.0 * (1 + number)).reshape(-1, 3), {"mean": dice.uniform(0, 255, (1 + number, 3))})
        for number in range(5)
    ]


def batches(batch: int = 6, **options: int) -> training.MatchingBatches:
    chosen = MatchingOptions(**{"captions": 2, "rounds": 2, "candidates": 2, "negatives": 2} | options)
    return training.MatchingBatches(
        FakeModel(), Shapes(), features(), USABLE, chosen, batch=batch, seed=0, progress=Silent()
    )


def test_pairs_are_true_and_false_and_hold_the_vectors_of_both() -> None:
    model, videos = FakeModel(), FakeModel().embed_videos(features())
    drawn = [batch for number in range(3) for batch in batches(negatives=1).epoch(number)]
    pairs_of: dict[str, set[tuple[int, bool]]] = {}
    for batch in drawn:
        inputs = batch["matching"]
        assert set(inputs) == {"queries", "videos", "images", "segments", "mask", "matches"}
        for row, id_ in enumerate(batch["ids"]):
            number, _, text = id_.partition(": ")
            pairs_of.setdefault(text, set()).add((int(number), bool(inputs["matches"][row])))
            video = videos[int(number)]
            np.testing.assert_allclose(inputs["queries"][row], model.embed_queries([Query(text)])[0], atol=1e-6)
            np.testing.assert_allclose(inputs["videos"][row], video.video, atol=1e-6)
            count = len(video.segments)
            assert inputs["mask"][row].tolist() == [k < count for k in range(inputs["mask"].shape[1])]
            np.testing.assert_allclose(inputs["images"][row, :count], video.moments, atol=1e-6)
            np.testing.assert_allclose(inputs["segments"][row, :count], video.segments)
    whole = {text: met for text, met in pairs_of.items() if text.startswith("whole")}
    assert len(whole) <= 2 * len(USABLE)
    assert {text.split()[1] for text in whole} == {"0", "1", "3", "4"}
    for text, met in whole.items():
        owner = int(text.split()[1])
        assert {number for number, is_true in met if is_true} <= {owner}
        assert owner not in {number for number, is_true in met if not is_true}
        if owner == 0:
            assert (1, False) not in met, "its captions are true of that video as well"
    short = set.union(*(met for text, met in pairs_of.items() if text.startswith("short")))
    assert short <= {(1, True), (3, True), (0, False), (4, False)}
    assert {(1, True), (3, True)} <= short
    others = [met for text, met in pairs_of.items() if not text.startswith(("whole", "short"))]
    assert others
    assert not any(is_true for met in others for _, is_true in met)


def test_negatives_are_the_best_of_the_search_that_are_wrong() -> None:
    drawn, model = batches(candidates=1), FakeModel()
    videos = model.embed_videos(features())
    assert len(drawn._queries) > 0
    for query, nearest in zip(drawn._queries, drawn._false[:, 0].tolist(), strict=True):
        [vector] = model.embed_queries([Query(query.text)])
        wrong = [row for row in range(len(USABLE)) if row not in query.videos]
        if query.sample == 0:
            wrong.remove(1)  # the position of video 1
        scores = {row: score_of(model, vector, videos[USABLE[row]]) for row in wrong}
        assert nearest == max(scores, key=scores.get)


def score_of(model: FakeModel, query: FloatArray, video: Embeddings) -> float:
    return 0.5 * float(video.video @ query) + 0.5 * float((video.moments @ query).max())


def test_an_epoch_hangs_on_its_number_alone_and_goes_on_where_it_stopped() -> None:
    drawn = batches()
    first, second = ([batch["ids"] for batch in drawn.epoch(number)] for number in (0, 1))
    assert first != second
    assert [batch["ids"] for batch in batches().epoch(0)] == first
    assert [batch["ids"] for batch in drawn.epoch(0, skip=3)] == first[3:]


def test_what_cannot_be_trained_on_says_so() -> None:
    with pytest.raises(UsageError, match="too few for a batch of 100000"):
        batches(batch=100_000)
    always_true = training.MatchingQuery("everywhere", (0, 1))
    gallery = training.Gallery.pack(FakeModel().embed_videos(features())[:2])
    with pytest.raises(UsageError, match="'everywhere' is true of every video"):
        training.hard_negatives(FakeModel(), Shapes(), (0, 1), [always_true], np.ones((1, 4), np.float32), gallery, 1)
    with pytest.raises(UsageError, match="1 usable video of the validation data"):
        training.MatchingValidation(FakeModel(), Shapes(), features(), (0,), Silent())


class Knowing(FakeModel):
    """A model with a head that says `answer` of every pair, or the score where it is None."""

    def __init__(self, answer: float | None, **options: Any) -> None:
        super().__init__("knowing", Scoring(moment_weight=0.5, match_law=MatchLaw(0.0, 1.0)), **options)
        self.answer, self.pairs = answer, 0

    def match(self, queries: FloatArray, videos: Sequence[Embeddings]) -> FloatArray:
        self.pairs += len(videos)
        scores = [score_of(self, query, video) for query, video in zip(queries, videos, strict=True)]
        return np.array(scores) if self.answer is None else np.full(len(videos), self.answer)


def test_validation_is_the_mean_area_over_the_kinds_of_queries() -> None:
    validation = training.MatchingValidation(Knowing(None), Shapes(), features(), USABLE, Silent())
    areas = []
    model, videos = validation._model, validation._videos
    for vectors, (false, best) in validation._sets:
        right = [score_of(model, query, videos[row]) for query, row in zip(vectors, best, strict=True)]
        wrong = [score_of(model, query, videos[row]) for query, row in zip(vectors, false[:, 0], strict=True)]
        areas.append(np.mean([[1.0 if a > b else 0.5 if a == b else 0.0 for b in wrong] for a in right]))
    assert len(areas) == 2
    assert validation(None) == pytest.approx(100 * np.mean(areas))
    blind = training.MatchingValidation(Knowing(1.0), Shapes(), features(), USABLE, Silent())
    assert blind(None) == 50


def test_the_term_has_a_run_of_its_own() -> None:
    config = Path(__file__).parent.parent / "configs" / "moving_shapes_matching.yaml"
    assert settings.load(config).data.matching.candidates > 1
    both = "train.stages=[{name: both, steps: 2, weights: {matching: 1.0, contrastive: 1.0}}]"
    with pytest.raises(ConfigError, match="the head of the term `matching` is trained on vectors that stand still"):
        settings.load(config, [both])


# The head of the bundled kind of model


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model as training writes it, with a matching head that nobody has trained."""
    folder = tmp_path_factory.mktemp("trained")
    options = mmi.Options(weights="moving-shapes", matching_head=SMALL, new_matching_head=True)
    mmi.trainable(options, device="cpu").save(folder)
    return folder


def test_a_head_travels_in_a_file_of_its_own_and_changes_no_vector(trained: Path, tmp_path: Path) -> None:
    with_head = mmi.build(mmi.Options(weights=str(trained)), device="cpu")
    plain = mmi.build(mmi.Options(weights=str(trained), matching_head=None), device="cpu")
    assert with_head.fingerprint() == plain.fingerprint()
    vectors = np.eye(192, dtype=np.float32)[:3]
    segments = np.array([[0, 1, 0.5], [1, 2, 1.5], [2, 3, 2.5]])
    videos = [Embeddings(vectors[0], vectors[: 1 + number], segments[: 1 + number]) for number in range(3)]
    values = with_head.match(vectors, videos)
    assert values is not None
    assert with_head.match(vectors[2:], videos[2:]) == pytest.approx(values[2:], abs=1e-5)
    assert len({round(float(value), 4) for value in values}) == 3
    assert plain.match(vectors, videos) is None
    assert with_head.scoring.match_law == MatchLaw(0.0, 1.0)
    assert plain.scoring.match_law is None
    plain.save(tmp_path)
    assert not (tmp_path / mmi.MATCHING).exists()
    assert "matching_head" not in (tmp_path / "model.json").read_text()


def test_its_law_goes_with_the_scores_that_it_was_measured_with(trained: Path) -> None:
    document = json.loads((trained / "model.json").read_text())
    assert not {"new_matching_head", "match_law"} & set(document["options"])
    law = {"middle": 1.5, "slope": 0.7, "score_weight": 3.0}
    known = mmi.Options(weights=str(trained), match_law=law)
    assert mmi.build(known, device="cpu").scoring.match_law == MatchLaw(1.5, 0.7, 3.0)
    other = mmi.Options(weights=str(trained), match_law=law, moment_weight=0.5)
    assert mmi.build(other, device="cpu").scoring.match_law is None


def test_a_head_that_is_missing_is_begun_by_training_alone(trained: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(trained, copied)
    (copied / mmi.MATCHING).unlink()
    video = Embeddings(np.eye(192, dtype=np.float32)[0], np.eye(192, dtype=np.float32)[:1], np.array([[0.0, 1.0, 0.5]]))
    with pytest.raises(ModelNotFound, match=r"matching\.safetensors is missing"):
        mmi.build(mmi.Options(weights=str(copied)), device="cpu").match(np.eye(192)[:1], [video])
    assert mmi.trainable(mmi.Options(weights=str(copied)), device="cpu").match(np.eye(192)[:1], [video]) is not None
