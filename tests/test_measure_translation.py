"""The script that measures translated vectors, on models of which one is a rotation of the other."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from fakes import FakeModel
from test_blocks import MCSAN, stored, unit
from test_query_scripts import script

from mmi_tvr import plugins
from mmi_tvr.errors import UsageError
from mmi_tvr.types import Block, Embeddings, Query, Scoring
from mmi_tvr.utils.progress import Silent

WIDTH, LEARNING, LIBRARY = 8, 40, 20
SEGMENTS = np.array([[0.0, 1.0, 0.5], [1.0, 2.0, 1.5]])


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    return script("measure_translation")


def embedded(rows: np.ndarray) -> list[Embeddings]:
    return [Embeddings(row, np.stack([row, row]), SEGMENTS) for row in rows.astype(np.float32)]


def sides(measure: ModuleType, blocks: Sequence[Block] = ()):
    """An old model that knows all but what the last numbers of a caption say, and a new one, turned, that knows it."""
    rng = np.random.default_rng(0)
    rows = unit(rng, LEARNING + LIBRARY, WIDTH)
    turn = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
    captions = np.repeat(rows[LEARNING:], 3, axis=0)
    blurred = captions + 0.5 * rng.standard_normal(captions.shape)
    old = measure.ModelVectors("old", Scoring(), embedded(rows[:LEARNING]), embedded(rows[LEARNING:]), blurred)
    if blocks:
        vectors = stored(rng, LEARNING + LIBRARY, blocks)
        queries = np.repeat(vectors[LEARNING:], 3, axis=0)
    else:
        vectors, queries = rows @ turn, captions @ turn
    new = measure.ModelVectors(
        "new", Scoring(blocks=tuple(blocks)), embedded(vectors[:LEARNING]), embedded(vectors[LEARNING:]), queries
    )
    return old, new


def test_a_rotation_is_translated_and_gains_what_the_new_model_knows(measure: ModuleType) -> None:
    old, new = sides(measure)
    lines = measure.table_of_sizes(old, new, [10, LEARNING])
    assert lines[0] == "60 captions, 20 videos; R@1 by vectors of its own:"
    former, latter = (float(line.split()[1]) for line in lines[1:3])
    assert former < latter == 100.0
    cells = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    assert cells[0] == str(LEARNING)
    assert cells[1].startswith("100.0 [91.2")
    assert [float(cells[column].split()[0]) for column in (2, 3, 5)] == pytest.approx([100, 100, 100], abs=2)
    assert float(cells[4].split()[0]) == pytest.approx(latter - former, abs=0.1)
    assert cells[6] == "100.0 / 100.0 / 100.0"


@pytest.mark.parametrize("blocks", [(), MCSAN], ids=["whole", "blocks"])
def test_every_way_scores_all_captions(measure: ModuleType, blocks: Sequence[Block]) -> None:
    old, new = sides(measure, blocks)
    scores = {title: way(old, new, LEARNING) for title, way in measure.WAYS.items()}
    assert {of_way.shape for of_way in scores.values()} == {(3 * LIBRARY, LIBRARY)}
    recalls = {title: measure.metrics_of(measure.ranks(of_way)).r1 for title, of_way in scores.items()}
    if not blocks:
        assert min(recalls.values()) > 60
        assert recalls["the same, always drawn to zero"] == 100


def test_a_mixture_has_its_share_of_true_vectors_evenly_spread(measure: ModuleType) -> None:
    old, new = sides(measure)
    for share, count in ((0.1, 2), (0.5, 10), (0.9, 18)):
        mixed = measure.mixture(old.library, new.library, share)
        places = [place for place, video in enumerate(mixed) if video is new.library[place]]
        assert len(places) == count
        assert np.diff(places).max() <= np.ceil(1 / share)
        assert all(mixed[place] is old.library[place] for place in set(range(LIBRARY)) - set(places))


def test_common_counts_those_of_the_ten_best(measure: ModuleType) -> None:
    scores = np.arange(24.0).reshape(2, 12)
    assert measure.common(scores, scores) == 100
    assert measure.common(scores, -scores) == 80  # of twelve, all but the two best and the two worst


def test_validation_videos_are_learned_from_or_searched(measure: ModuleType) -> None:
    model, method = FakeModel(), plugins.build("keyimages", "uniform", {"count": 2})
    system = SimpleNamespace(model=model, method=method)
    val, test = (measure.vectors("fake", system, split, 10, Silent()) for split in ("val", "test"))
    assert [len(side) for side in (val.learning, val.library, val.captions)] == [6, 4, 12]
    assert [len(side) for side in (test.learning, test.library, test.captions)] == [10, 10, 30]
    for number, video in enumerate([*val.learning, *val.library]):
        np.testing.assert_array_equal(video.video, test.learning[number].video)
    dataset = plugins.build("datasets", "moving_shapes", {"split": "val", "captions": 3, "count": 10})
    [of_first] = model.embed_queries([Query(dataset.samples()[6].captions[0])])
    np.testing.assert_array_equal(val.captions[0], of_first)  # that of the first video of the library


def test_a_model_that_names_no_key_images_takes_those_of_the_other(
    measure: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "load_model", lambda choice: SimpleNamespace(choice=choice))
    for names in (("clip4clip:moving-shapes/base/clip", "moving-shapes"), ("moving-shapes", "label_bridge")):
        chosen = {system.choice.model: system.choice.settings for system in measure.load_models(*names)}
        assert "keyimages" not in chosen["moving-shapes"].model_fields_set  # its folder names them
        [other] = chosen.keys() - {"moving-shapes"}
        assert chosen[other].keyimages.options["min_length"] == 0.5
        assert "keyimages" in chosen[other].model_fields_set  # else those of the package would be taken


def test_too_few_videos_are_refused(measure: ModuleType) -> None:
    for words in (["--limit", "9"], ["--sizes", "100", "9"]):
        with pytest.raises(UsageError, match=f"{words[0]} 9: at least 10"):
            measure.main(words)
