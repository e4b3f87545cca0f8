"""Queries with several right answers: mAP and recalls by group, people by face or by name, and what is an error."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from fakes import unit
from people_data import FaceModel, cip
from typer.testing import CliRunner

from mmi_tvr import config, plugins
from mmi_tvr.cli import evaluation
from mmi_tvr.cli._evaluation_data import EvaluationData, EvaluationModel
from mmi_tvr.cli._query_evaluation import PersonCue, evaluated
from mmi_tvr.errors import MediaError, MetricsError, UsageError
from mmi_tvr.evaluation import metrics, number_tables, published, saved
from mmi_tvr.evaluation.compare import compare
from mmi_tvr.evaluation.identity import identity_accuracy
from mmi_tvr.evaluation.queries import evaluate_queries
from mmi_tvr.evaluation.query_metrics import query_differences, query_metrics
from mmi_tvr.evaluation.query_report import QueryReport
from mmi_tvr.report import query_page
from mmi_tvr.types import Embeddings, EvaluationQuery, Person, Query, Sample, Scoring, Video
from mmi_tvr.utils.progress import Silent

WIDTH, SAMPLES = 6, 12
BASE = "clip4clip:moving-shapes/base/clip"
GROUPS = ("single/seen", "single/unseen", "text_only")


class Vectors:
    """A model whose queries are vectors that it knows by their text."""

    name, reads, image_size = "vectors", frozenset({"text"}), 0
    scoring = Scoring(moment_weight=0.0)

    def __init__(self, vectors: Any) -> None:
        self.vectors = vectors

    def embed_queries(self, queries: Any) -> Any:
        return np.stack([self.vectors[query.text] for query in queries])

    def fingerprint(self) -> str:
        return "f" * 16


def world(seed: int = 0) -> tuple[Any, list[Sample], list[EvaluationQuery], list[Embeddings]]:
    """Random vectors; two queries of each of four people, and four of nobody."""
    random = np.random.default_rng(seed)
    samples = [Sample(f"s{number}", Video(Path(f"s{number}.mp4")), ()) for number in range(SAMPLES)]
    nobody = np.zeros((0, 0), np.float32)
    queries = []
    for number in range(12):
        right = frozenset(f"s{one}" for one in random.choice(SAMPLES, size=1 + number % 4, replace=False))
        person = {f"p{number // 2}": Person(nobody, "")} if number < 8 else {}
        queries.append(EvaluationQuery(Query(f"query {number}", persons=person), right, GROUPS[number // 4]))
    vectors = unit(random.standard_normal((SAMPLES + len(queries), WIDTH)))
    embeddings = [Embeddings(vector, vector[None], np.zeros((1, 3))) for vector in vectors[:SAMPLES]]
    model = Vectors({query.query.text: vector for query, vector in zip(queries, vectors[SAMPLES:], strict=True)})
    return model, samples, queries, embeddings


def by_hand(model: Any, samples: Any, queries: Any, embeddings: Any) -> dict[str, list[tuple[int, float]]]:
    """The rank and the average precision of each query, by group."""
    results: dict[str, list[tuple[int, float]]] = {}
    for query in queries:
        scores = [float(model.vectors[query.query.text] @ one.video) for one in embeddings]
        order = [samples[place].id for place in np.argsort(np.negative(scores))]
        places = [place for place, name in enumerate(order, start=1) if name in query.right]
        precision = 100 * np.mean([number / place for number, place in enumerate(places, start=1)])
        results.setdefault(query.group, []).append((places[0], float(precision)))
    return results


def test_the_numbers_of_each_group_are_those_of_its_queries() -> None:
    model, samples, queries, embeddings = world()
    report = evaluate_queries(model, samples, queries, lambda videos: embeddings)
    for group, pairs in by_hand(model, samples, queries, embeddings).items():
        numbers = report.groups[group]
        ranks, precisions = (np.array(column) for column in zip(*pairs, strict=True))
        values = (precisions.mean(), 100 * np.mean(ranks <= 1), 100 * np.mean(ranks <= 5))
        assert tuple(numbers.values.values()) == pytest.approx(values)
        assert numbers.n == 4
        for name, value in numbers.values.items():
            low, high = numbers.ci95[name]
            assert low - 1e-9 <= value <= high + 1e-9
    document = report.as_dict()
    assert {"seen", "unseen"} == document["single"].keys()
    assert document["single"]["seen"].keys() == {"n", "mAP", "R@1", "R@5", "ci95"}
    assert document["text_only"]["ci95"]["mAP"] == list(report.groups["text_only"].ci95["mAP"])
    assert json.loads(json.dumps(document, allow_nan=False))["persons"] == {"queries": 8, "by_face": 0, "spoken": 8}


def test_queries_of_one_person_are_drawn_together() -> None:
    ranks, precisions = np.array([1, 1, 1, 9, 9, 9]), np.array([100.0, 100, 100, 10, 10, 10])
    alone = query_metrics(ranks, precisions, list(range(6)))
    together = query_metrics(ranks, precisions, ["a"] * 3 + ["b"] * 3)
    assert together.ci95["mAP"] == pytest.approx((10, 100))
    assert together.ci95["mAP"][0] < alone.ci95["mAP"][0]
    of_one = query_metrics(ranks, precisions, ["a"] * 6)  # nobody else to draw: each query by itself
    assert of_one.ci95 == alone.ci95
    certain = query_metrics(ranks[:3], precisions[:3], ["a", "a", "b"])
    assert certain.ci95["R@1"][0] == pytest.approx(metrics.wilson(1.0, 2)[0])  # two people


def test_a_tie_counts_against_the_right_sample() -> None:
    model, samples, queries, embeddings = world()
    same = [embeddings[0]] * SAMPLES
    report = evaluate_queries(model, samples, queries[:1], lambda videos: same)
    assert report.details is not None
    assert report.details.ranks.tolist() == [SAMPLES]


def test_unreadable_samples_are_no_candidates_and_queries_without_others_are_counted() -> None:
    model, samples, queries, embeddings = world()
    alone = next(query for query in queries if len(query.right) == 1)
    broken = int(next(iter(alone.right))[1:])
    results: list[Any] = list(embeddings)
    results[broken] = MediaError(Path("s.mp4"), "cut off")
    report = evaluate_queries(model, samples, queries, lambda videos: results)
    lost = sum(query.right == alone.right for query in queries)
    assert (report.samples, report.n, report.left_out) == (SAMPLES - 1, 12 - lost, lost)
    assert report.as_dict()["left_out"]["samples"] == {f"s{broken}": "cut off"}
    assert f"left out: 1 unreadable sample and {lost}" in report.table()
    results[(broken + 1) % SAMPLES] = MediaError(Path("s.mp4"), "cut off")
    with pytest.raises(MetricsError, match="2 of 12"):
        evaluate_queries(model, samples, queries, lambda videos: results)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"right": frozenset()}, "has no right sample"),
        ({"right": frozenset({"s1", "elsewhere", "there"})}, "2 samples that the data set has not, the first: elsewhe"),
        ({"group": "single"}, "one holds the other"),
        ({"group": "model"}, "cannot be called 'model'"),
        ({"group": "single//seen"}, "cannot be called"),
    ],
)
def test_what_cannot_be_measured_is_one_line(change: Any, message: str) -> None:
    model, samples, queries, embeddings = world()
    queries[-1] = replace(queries[-1], **change)
    with pytest.raises(UsageError, match=message) as error:
        evaluate_queries(model, samples, queries, lambda videos: embeddings)
    assert "\n" not in str(error.value)


def test_samples_of_one_id_and_no_queries_are_errors() -> None:
    model, samples, queries, embeddings = world()
    with pytest.raises(UsageError, match="1 id of several samples, the first: s0"):
        evaluate_queries(model, [samples[0], *samples[:-1]], queries, lambda videos: embeddings)
    with pytest.raises(UsageError, match="no queries"):
        evaluate_queries(model, samples, [], lambda videos: embeddings)


def test_identity_accuracy_counts_those_whose_picture_is_first() -> None:
    eye = np.eye(4, dtype=np.float32)
    pictures = [Embeddings(vector, vector[None], np.zeros((1, 3))) for vector in eye]
    assert identity_accuracy(eye, pictures, Scoring()) == 100
    assert identity_accuracy(eye[[0, 1, 3, 2]], pictures, Scoring()) == 50
    assert identity_accuracy(eye[[1, 0]], pictures[:2], Scoring()) == 0
    assert identity_accuracy(np.ones((4, 4), np.float32) / 2, pictures, Scoring()) == 0  # ties are misses
    with pytest.raises(MetricsError, match="3 queries and 4 pictures"):
        identity_accuracy(eye[:3], pictures, Scoring())


@pytest.fixture(scope="module")
def celebrities(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return plugins.build("datasets", "cip", {"root": cip(tmp_path_factory.mktemp("cip"))})


def measured(dataset: Any, model: Any, cue: PersonCue = PersonCue.both) -> QueryReport:
    system = EvaluationModel(config.load(None, ()), model, plugins.build("keyimages", "uniform", {"count": 1}))
    return evaluated("cip", EvaluationData(dataset, {}), system, cue, 0.02, Silent())


def test_a_model_that_reads_faces_knows_who_is_meant(celebrities: Any) -> None:
    model = FaceModel()
    report = measured(celebrities, model, PersonCue.face)
    assert report.groups["single/seen"].values == {"mAP": 100, "R@1": 100, "R@5": 100}
    person = model.queries[0].persons["Ann Red"]
    assert (person.faces.shape, person.name, person.maker) == ((1, 6), "", model.face_encoder().fingerprint())
    assert report.as_dict()["persons"] == {"queries": 9, "by_face": 9, "spoken": 0}
    measured(celebrities, model, PersonCue.both)
    assert model.queries[0].persons["Ann Red"].name == "Ann Red"
    report = measured(celebrities, model, PersonCue.name)
    assert not len(model.queries[0].persons["Ann Red"].faces)
    assert '9 queries about people without a face: names, or "a person"' in report.table()


def test_a_model_that_reads_text_alone_is_told_the_names_and_the_report_says_so(celebrities: Any) -> None:
    report = measured(celebrities, FaceModel(reads_faces=False))
    assert report.groups["single/seen"].values["mAP"] == 100  # its names are colours
    assert report.as_dict()["persons"] == {"queries": 9, "by_face": 0, "spoken": 9}
    assert 'reads text alone: in 9 queries it was told names of people, or "a person"' in report.table()


def test_a_face_that_nobody_reads_counts_as_spoken() -> None:
    model, samples, queries, embeddings = world()
    face = {"p": Person(np.eye(1, 6, dtype=np.float32), "fake", "Ann")}
    shown = [replace(query, query=replace(query.query, persons=face)) for query in queries]
    report = evaluate_queries(model, samples, shown, lambda videos: embeddings)
    assert report.as_dict()["persons"] == {"queries": 12, "by_face": 0, "spoken": 12}


def test_the_page_shows_right_hits_in_green_and_wrong_ones_in_red(celebrities: Any) -> None:
    report = measured(celebrities, FaceModel())
    page = query_page(report, {}, "CiP", celebrities.person_pictures())
    first = page[page.index("an image of Ann Red") :]
    first = first[: first.index('<div class="query">')]
    kinds = [part.split('"')[0] for part in first.split('<figure class="')[1:]]
    assert kinds == ["person", "right", "right", *["wrong"] * 5]
    assert first.count("data:image/jpeg") == 8
    assert "http" not in page.replace("http-equiv", "")


def saved_run(folder: Path, report: QueryReport) -> Path:
    assert report.details is not None
    folder.mkdir()
    config_of_run = {"target": "cip", "model": {"name": "tiny"}, "keyimages": {"name": "uniform"}}
    document = {**report.as_dict(), "config": config_of_run, "queries": report.details.as_dict()}
    (folder / "report.json").write_text(json.dumps(document))
    return folder


def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs of the same queries, the second with other vectors of the samples."""
    model, samples, queries, embeddings = world()
    first = saved_run(tmp_path / "one", evaluate_queries(model, samples, queries, lambda videos: embeddings))
    others = world(seed=1)[3]
    return first, saved_run(tmp_path / "other", evaluate_queries(model, samples, queries, lambda videos: others))


def test_runs_are_compared_query_by_query_in_each_group(tmp_path: Path) -> None:
    first, other = runs(tmp_path)
    comparison = compare(first, other)
    assert comparison.n == dict.fromkeys(GROUPS, 4)
    one, two = (json.loads((folder / "report.json").read_text()) for folder in (first, other))
    for group, differences in comparison.differences.items():
        before, after = (saved.group_metrics(document)[group] for document in (one, two))
        for name, gap in differences.items():
            assert gap.value == pytest.approx(after[name] - before[name])
            assert gap.low <= gap.value <= gap.high
    two["queries"].reverse()
    (other / "report.json").write_text(json.dumps(two))
    assert compare(first, other) == comparison
    assert "single, seen, n = 4" in comparison.table()
    two["queries"][0]["query"] = "another"
    (other / "report.json").write_text(json.dumps(two))
    with pytest.raises(UsageError, match="2 differ"):
        compare(first, other)


def test_few_people_are_little_evidence_of_a_difference() -> None:
    one, other = (np.array([1]), np.array([100.0])), (np.array([2]), np.array([50.0]))
    assert query_differences(other, one, ["a"])["mAP"] == (50, 50, 50, 1)
    certain = [(side[0].repeat(20), side[1].repeat(20)) for side in (other, one)]
    assert query_differences(certain[0], certain[1], list(range(20)))["mAP"].p < 0.001
    assert query_differences(certain[0], certain[1], [number % 3 for number in range(20)])["mAP"].p == 0.25


def test_runs_of_queries_and_of_captions_are_not_compared(tmp_path: Path) -> None:
    from test_saved_evaluations import save_run

    first, other = runs(tmp_path)
    save_run(tmp_path / "captions", 1.0)
    with pytest.raises(UsageError, match="one is of captions"):
        compare(first, tmp_path / "captions")
    with pytest.raises(UsageError, match="some are of captions"):
        number_tables.are_of_queries([first, tmp_path / "captions"])
    document = json.loads((other / "report.json").read_text())
    del document["single"]
    (other / "report.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match="not a saved evaluation"):
        saved.read(other)


def test_runs_are_rows_of_one_table_beside_the_papers(tmp_path: Path) -> None:
    first, other = runs(tmp_path)
    (table,) = number_tables.measured([first, other])
    assert list(table.columns)[:3] == ["single seen mAP (n = 4)", "R@1", "R@5"]
    numbers = saved.group_metrics(saved.read(first))["single/seen"]
    assert table.rows[0].values[:3] == [numbers[name] for name in ("mAP", "R@1", "R@5")]
    assert "single seen mAP against the first row" in table.rows[1].note
    text = number_tables.text([table, *number_tables.quoted("cip")])
    assert "| CLIP-PAD          | 86.7         | 86.6       | -      | text and image" in text
    assert text.splitlines()[-1].startswith("Quoted: published numbers of others' runs, not ours")


def test_the_papers_tables_are_quoted_whole() -> None:
    cip_tables, cia_tables = number_tables.quoted("cip"), number_tables.quoted("cia")
    assert [len(table.rows) for table in (*cip_tables, *cia_tables)] == [5, 5, 3, 5, 5]
    for table in (*cip_tables, *cia_tables):
        assert all(len(row.values) == len(table.columns) for row in table.rows)
        assert table.source == "Korbar and Zisserman, BMVC 2022"
    assert number_tables.quoted("msvd") == published.quoted("cip") == []
    assert cia_tables[-1].rows[-1].values == [65.0, 85.4, 71.5, 88.6, 66.3, 82.7]


def call(*words: object) -> str:
    """What a command prints on stdout; what goes wrong is raised."""
    app = typer.Typer()
    evaluation.register(app)
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False, standalone_mode=False).stdout


def test_moving_faces_are_evaluated_as_the_contract_says(tmp_path: Path) -> None:
    words = ("evaluate", "moving_faces", "--limit", 6, "-o", "kind=pictures", "--model", BASE)
    document = json.loads(call(*words, "--output", tmp_path / "one", "--json"))
    for numbers in (*document["single"].values(), *document["compound"].values(), document["text_only"]):
        assert numbers.keys() == {"n", "mAP", "R@1", "R@5", "ci95"}
        assert numbers["ci95"].keys() == {"mAP", "R@1", "R@5"}
    assert document["config"]["people"] == "both"
    assert document["persons"]["by_face"] == 0
    assert (document["config"]["dataset"], document["samples"]) == ({"kind": "pictures", "limit": "6"}, 6)
    assert '<figure class="right">' in (tmp_path / "one" / "report.html").read_text()
    shown = call("compare", tmp_path / "one", tmp_path / "one")
    assert "paired bootstrap over queries, those of one person together" in shown
    table = call("table", tmp_path / "one", "--quoted", "cia")
    assert "moving_faces, test" in table
    assert "CiA, Celebrities in Action, table 5" in table


@pytest.mark.parametrize("option", ["--rerank", "--moments", "--merge-captions"])
def test_options_of_captions_are_refused(tmp_path: Path, option: str) -> None:
    with pytest.raises(UsageError, match=f"leave out {option}"):
        call("evaluate", "cip", "--root", cip(tmp_path), "--model", BASE, option)
