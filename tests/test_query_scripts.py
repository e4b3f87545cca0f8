"""The scripts that measure tables of queries and choose between runs, on ranks that are known."""

from __future__ import annotations

import importlib.util
import json
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from fakes import FakeModel

from mmi_tvr import models
from mmi_tvr.errors import UsageError
from mmi_tvr.evaluation import score_laws
from mmi_tvr.evaluation.query_sets import CAPTIONS, QuerySet
from mmi_tvr.library import Library
from mmi_tvr.types import Embeddings, Scoring

SCRIPTS = Path(__file__).parent.parent / "scripts"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    return script("measure_queries")


def table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["query\tgroup\tfiles", *rows, ""]), encoding="utf-8")
    return path


def test_ranks_and_answers_of_a_table(measure: ModuleType, folder: Path, library: Library, tmp_path: Path) -> None:
    library.index(folder)
    rows = (
        "red\tone\tpart0/red.mp4",
        "blue\tone\tpart1/green.mp4 | part0/blue.mp4",
        "blue\ttwo\tpart1/yellow.mp4",
        "red\ttwo\t",
    )
    queries = measure.read_table(table(tmp_path / "queries.tsv", *rows), folder)
    outcomes = measure.search_all(library, queries)
    assert [outcome.rank for outcome in outcomes[:2]] == [1, 1]
    assert outcomes[2].rank in (2, 3, 4)
    assert outcomes[3].rank is None
    printed = "\n".join(measure.report(outcomes))
    assert "| one | 2 | 100.0 [34.2, 100.0] | 100.0" in printed
    assert "| all | 3 | 66.7 [" in printed
    assert "| two | 1 | 0.0 [0.0, 79.3] |" in printed.splitlines()[-1], "red is found where nothing should be"


def test_what_the_threshold_loses_is_counted(measure: ModuleType, folder: Path, tmp_path: Path) -> None:
    query = measure.read_table(table(tmp_path / "queries.tsv", "red\tone\tpart0/red.mp4"), folder)[0]
    outcomes = [measure.Outcome(query, 1, answered) for answered in (True, False)]
    assert (
        "| one | 2 | 100.0 [34.2, 100.0] | 100.0 [34.2, 100.0] | 50.0 [9.5, 90.5] | 50.0 [9.5, 90.5] |"
        in measure.report(outcomes)
    )


def test_a_table_that_does_not_fit_the_folder_is_refused(measure: ModuleType, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"line 3: .*none.mp4 is not there"):
        measure.read_table(table(tmp_path / "queries.tsv", "red\tone\tpart0/red.mp4", "red\tone\tnone.mp4"), folder)
    for row, reason in (
        (" \tone\t", "line 2: the query is empty"),
        ("red\tall\t", "line 2: a group cannot be called all"),
    ):
        with pytest.raises(UsageError, match=reason):
            measure.read_table(table(tmp_path / "queries.tsv", row), folder)
    with pytest.raises(UsageError, match="no queries"):
        measure.read_table(table(tmp_path / "queries.tsv"), folder)
    (tmp_path / "other.tsv").write_text("query\tfiles\nred\tpart0/red.mp4\n")
    with pytest.raises(UsageError, match="no column group"):
        measure.read_table(tmp_path / "other.tsv", folder)


def test_the_short_queries_have_few_words_and_are_there_once(measure: ModuleType) -> None:
    lines = (SCRIPTS / "short_queries.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines[1:]]
    assert lines[0].split("\t") == ["query", "group", "files"]
    assert len({row[0] for row in rows}) == len(rows) >= 30
    assert all(len(query.split()) <= 3 for query, _, _ in rows)


def test_cross_validation_takes_what_the_other_videos_prefer() -> None:
    module = script("cross_validate")
    videos = np.array([0, 0, 1, 1, 2, 2])
    ranks = np.array([[1, 1, 2, 2, 9, 9], [4, 4, 1, 1, 2, 2]], dtype=np.float64)
    held_out, chosen = module.cross_validated(ranks, videos)
    assert chosen.tolist() == [1, 1, 0, 0, 0, 0]
    assert held_out.tolist() == [4, 4, 2, 2, 9, 9]
    lines = module.report(["a", "b"], ranks, videos)
    assert lines[2:] == [
        "| a | 33.3 | 66.7 | 0.537 | 2 |",
        "| b | 33.3 | 100.0 | 0.583 | 1 |",
        "| what is chosen, on videos left out | 0.0 | 66.7 | 0.287 |  |",
    ]

    with pytest.raises(UsageError, match="of a single video"):
        module.report(["a", "b"], ranks[:, :2], videos[:2])


def test_runs_with_other_captions_are_not_compared(tmp_path: Path) -> None:
    module = script("cross_validate")
    numbers = dict.fromkeys(("R@1", "R@5", "R@10", "MdR", "MnR"), 1.0)
    direction = {**numbers, "ci95": {name: [1.0, 1.0] for name in numbers}}
    for name, caption in (("one", "a"), ("two", "a"), ("three", "b")):
        queries = [{"id": "v.mp4", "caption": caption, "rank": 3}]
        section = {"name": "x"}
        document = {
            "n": 1, "videos": 1, "model": "m", "fingerprint": "f", "left_out": {"videos": {}}, "t2v": direction,
            "config": {"model": section, "keyimages": section, "target": "t"}, "v2t": direction,
            "queries": {"t2v": queries, "v2t": queries},
        }  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(document))
    ranks, videos = module.read_ranks([tmp_path / "one", tmp_path / "two"])
    assert ranks.tolist() == [[3], [3]]
    assert videos.tolist() == [0]
    with pytest.raises(UsageError, match=r"three: it has other captions than .*one"):
        module.read_ranks([tmp_path / "one", tmp_path / "three"])


@pytest.mark.parametrize(
    "options",
    ["--law", "--folds 3", "--lost 100", "--lost nan", "--threshold 7", "--threshold nan", "--limit 1",
     "--shuffles 0", "--lost 5 --folds 1", "--lost-parts 5", "--lost 5 --lost-parts 100",
     "--save", "--lost 5 --law --train 5", "--lost 5 --captions a.csv --lost-parts 5",
     "--sizes 10 0", "--sentences nowhere.txt"],
)  # fmt: skip
def test_wrong_options_are_named_before_any_video_is_read(options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("nothing_found")
    monkeypatch.setattr(sys, "argv", ["nothing_found.py", "nowhere", "--model", "nobody", *options.split()])
    with pytest.raises(UsageError, match=rf"{options.rpartition('--')[2].split()[0]}|nowhere.txt: no such file"):
        module.main()


def test_sizes_beyond_all_videos_are_one() -> None:
    module = script("nothing_found")
    vectors = np.eye(4, dtype=np.float32)
    embeddings = [Embeddings(vector, vector[None], np.zeros((1, 3))) for vector in vectors]
    chosen = SimpleNamespace(model=FakeModel(scoring=Scoring()))
    sets = {CAPTIONS: QuerySet(vectors, np.arange(4), {})}
    raw = partial(score_laws.margins, score_laws.RAW)
    assert [trial.size for trial in module._measure(chosen, embeddings, sets, [2, 9, 4, 7], 1, raw)[CAPTIONS]] == [2, 4]


def test_a_law_is_written_into_the_folder_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("nothing_found")
    (tmp_path / "model").mkdir()
    models.write(tmp_path / "model", models.ModelSettings("clip_pad", {"checkpoint": "towers"}, origin={"step": 7}))
    vectors = np.eye(4, dtype=np.float32)
    embeddings = [Embeddings(vector, vector[None], np.zeros((1, 3))) for vector in vectors]
    weights = {"weights": str(tmp_path / "model")}
    model = FakeModel(scoring=Scoring())
    chosen = SimpleNamespace(model=model, settings=SimpleNamespace(model=SimpleNamespace(options=weights)))
    sets = {CAPTIONS: QuerySet(vectors, np.arange(4), {})}

    def measure(calibrate):
        return module._measure(chosen, embeddings, sets, [2, 4], 1, calibrate)

    args = SimpleNamespace(save=True, score_weight=0.0)
    module._fit_law(chosen, args, score_laws.RAW, measure, {CAPTIONS: 0.0})
    settings = models.read(tmp_path / "model")
    assert settings.options["checkpoint"] == "towers"
    assert settings.options["score_law"]["middle"] == 1.0
    assert settings.origin == {"step": 7}
    weights.clear()
    with pytest.raises(UsageError, match="--save: the model has no folder"):
        module._fit_law(chosen, args, score_laws.RAW, measure, {CAPTIONS: 0.0})
    monkeypatch.setattr(module, "load_model", lambda choice: chosen)
    monkeypatch.setattr(module, "load_data", lambda *_: pytest.fail("data are read for a law that cannot be saved"))
    monkeypatch.setattr(
        sys, "argv", ["nothing_found.py", "moving_shapes", "--model", "m", "--lost", "5", "--law", "--save"]
    )
    with pytest.raises(UsageError, match="--save: the model has no folder"):
        module.main()
