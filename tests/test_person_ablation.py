"""The ablation table of models that read faces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from mmi_tvr import models, plugins
from mmi_tvr.errors import MediaError
from mmi_tvr.experiments import component_ablation
from mmi_tvr.experiments.component_ablation import persons
from mmi_tvr.people.faces import fake
from mmi_tvr.types import Embeddings, EvaluationQuery, FloatArray, Person, PersonPicture, Query, Sample, Video
from mmi_tvr.utils.progress import Silent

CONFIG = Path(__file__).parent.parent / "configs" / "clip-pad-moving-things.yaml"
COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255)}


def test_rows_are_asked_by_names_faces_and_both(tmp_path: Path) -> None:
    stages = "[{name: a, steps: 2, weights: {contrastive: 1.0}}]"
    overrides = [
        "data.train.count=12", "data.validation=null", "data.batch=4", f"train.stages={stages}",
        "data.train.pictures=2", "data.persons.pictures=2",
    ]  # fmt: skip

    def ablate() -> str:
        return component_ablation.ablate(
            CONFIG, tmp_path / "rows", seeds=1, variants=("full", "untrained"), overrides=overrides, limit=6,
            cache=tmp_path / "features", cpu=True,
        )  # fmt: skip

    markdown = ablate()
    lines = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in markdown.splitlines() if "|" in line]
    titles = [models.variants("clip_pad")[name].title for name in ("full", "untrained")]
    assert [(line[0], line[1]) for line in lines[2:]] == [
        (title, cue) for title in titles for cue in ("names", "faces", "names and faces")
    ]
    assert "compound/seen: R@1" in lines[0]
    assert "2 steps of 4 pairs" in markdown.splitlines()[-1]
    result = json.loads((tmp_path / "rows" / "full" / "seed-0" / "result.json").read_text())
    assert {len(numbers["ranks"]) for numbers in result["persons"].values()} == {len(result["groups"])}
    stamp = (tmp_path / "rows" / "full" / "seed-0" / "result.json").stat().st_mtime_ns
    assert ablate() == markdown
    assert (tmp_path / "rows" / "full" / "seed-0" / "result.json").stat().st_mtime_ns == stamp


def test_rows_of_clip_pad_are_options_that_there_are() -> None:
    from mmi_tvr.train.settings import load

    settings = load(CONFIG)
    variants = models.variants("clip_pad")
    assert {"full", "untrained"} <= variants.keys()
    for name, variant in variants.items():
        changed = component_ablation.variant_settings(settings, variant, 0)
        assert (changed.model == settings.model and changed.data == settings.data) == (name in ("full", "untrained"))
        plugins.options("models", "clip_pad", changed.model.options)


class Faces:
    """Four pictures: red, blue, nobody, red; asked for red and for blue by faces, and for the last picture by text."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for number, colour in enumerate(("red", "blue", "grey", "red")):
            self._draw(str(number), COLOURS.get(colour, (128, 128, 128)))
        for name, colour in COLOURS.items():
            self._draw(name, colour)

    def _draw(self, name: str, colour: tuple[int, ...]) -> None:
        picture = Image.new("RGB", (64, 64), (120, 130, 120))
        picture.paste(colour, (16, 16, 48, 48))
        picture.save(self._folder / f"{name}.png")

    def _video(self, name: str) -> Video:
        return Video(self._folder / f"{name}.png", picture=True)

    def samples(self) -> list[Sample]:
        return [Sample(str(number), self._video(str(number)), ("",)) for number in range(4)]

    def person_pictures(self) -> dict[str, list[PersonPicture]]:
        return {name: [PersonPicture(self._video(name))] for name in COLOURS}

    def evaluation_queries(self) -> list[EvaluationQuery]:
        people = {name: Person(np.zeros((0, 0), np.float32), "", "Ann") for name in COLOURS}
        return [
            EvaluationQuery(Query("[red] sits", persons={"red": people["red"]}), frozenset("3"), "compound/seen"),
            EvaluationQuery(Query("[blue]", persons={"blue": people["blue"]}), frozenset("1"), "single/seen"),
            EvaluationQuery(Query("sits"), frozenset("3"), "text_only"),
        ]


class Words:
    """A model whose text finds what sits best on the last picture, then on the third; whoever it is."""

    name = "words"
    reads = frozenset({"text", "persons"})
    image_size = 64

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.persons: list[list[tuple[str, int]]] = []  # of each call the persons' names and numbers of faces

    def face_encoder(self) -> fake.FakeFaces:
        return fake.FakeFaces(fake.Options())

    def embed_queries(self, queries: Sequence[Query]) -> FloatArray:
        self.texts = [query.spoken for query in queries]
        self.persons.append([(who.name, len(who.faces)) for query in queries for who in query.persons.values()])
        return np.array([[0.1, 0.2, 0.3, 0.9]] * len(queries), np.float32)

    def fingerprint(self) -> str:
        return "words"

    @property
    def scoring(self) -> Any:
        from mmi_tvr.types import Scoring

        return Scoring()


def test_two_stages_are_sightings_and_then_text(tmp_path: Path) -> None:
    model = Words()

    def embed(videos: Sequence[Video]) -> list[Embeddings]:
        rows = np.eye(4, dtype=np.float32)
        return [Embeddings(row, row[None], np.array([[0, 1, 0.5]])) for row in rows[: len(videos)]]

    method = plugins.build("keyimages", "uniform", {"count": 1})
    result = persons.evaluated(cast("Any", model), cast("Any", Faces(tmp_path)), embed, method, True, Silent())
    assert result["persons"]["name"]["ranks"] == [1, 3, 1]  # text alone: pictures 3, 2, 1, 0
    assert result["persons"]["two-stage"]["ranks"] == [1, 1, 1]
    assert model.persons == [[("Ann", 0)] * 2, [("", 1)] * 2, [("Ann", 1)] * 2, []]  # name, face, both, two stages
    assert model.texts == ["a person sits", "a person", "sits"]  # which knows nobody by name
    rows = {"untrained": models.variants("clip_pad")["untrained"]}
    table = persons.table(rows, {"untrained": [{**result, "seed": None}, {**result, "seed": None}]})
    last = table.splitlines()[-1]
    assert "sightings, then text" in last
    assert "(sd 0.0)" in last


def test_what_cannot_be_read_is_no_candidate_in_any_row(tmp_path: Path) -> None:
    dataset = Faces(tmp_path)
    for name in ("1", "red"):  # the answer of the second query, and the picture that says who red is
        (tmp_path / f"{name}.png").write_bytes(b"no picture")

    def embed(videos: Sequence[Video]) -> list[Embeddings | MediaError]:
        rows = np.eye(4, dtype=np.float32)
        vectors: list[Embeddings | MediaError] = [Embeddings(row, row[None], np.array([[0, 1, 0.5]])) for row in rows]
        return [vectors[0], MediaError(videos[1].path, "no picture"), *vectors[2:]]

    method = plugins.build("keyimages", "uniform", {"count": 1})
    result = persons.evaluated(cast("Any", Words()), cast("Any", dataset), embed, method, True, Silent())
    assert result["groups"] == ["compound/seen", "text_only"]
    assert result["people"] == ["('red',)", "1"]
    assert {cue: numbers["ranks"] for cue, numbers in result["persons"].items()} == {
        cue: [1, 1] for cue in persons.CUES
    }
