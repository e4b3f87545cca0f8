"""Rows of an ablation of models that read faces: queries say persons by names, by faces, and by both.

Beside them stands the plain way of two stages: the samples on which the face encoder recognises the person, in the
order of a text model that knows of nobody.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from ... import keyimages
from ...evaluation import metrics
from ...evaluation.evaluate import Embed, embed_samples
from ...evaluation.queries import evaluate_queries
from ...evaluation.query_metrics import people_of, query_metrics
from ...evaluation.query_report import QueryDetails
from ...people.portraits import PersonCue, Portraits, portraits, with_faces
from ...protocols import Dataset, FaceEncoder, KeyImageMethod, Model, ModelReadingFaces, QueryDataset
from ...types import FloatArray, Sample, Variant
from ...utils.progress import Progress
from ...utils.tables import interval, markdown_table
from .table import Result

CUES = {"name": "names", "face": "faces", "both": "names and faces", "two-stage": "sightings, then text"}
_SIGHTED = 4.0  # above any cosine: who was seen comes before who was not
# Columns: the group of queries, and the number of it. A group that a data set does not have is left out.
_COLUMNS = (
    ("single/seen", "mAP"),
    ("single/unseen", "mAP"),
    ("text_only", "mAP"),
    *((f"compound/{who}", number) for who in ("seen", "unseen") for number in ("mAP", "R@1", "R@5")),
)


def evaluated(
    model: Model, dataset: Dataset, embed: Embed, method: KeyImageMethod, two_stage: bool, progress: Progress
) -> dict[str, Any]:
    """Return the ranks and precisions of a data set's queries, by what they say of persons.

    Args:
        model: reads faces.
        dataset: has queries with persons, and samples, whose files are there.
        embed: embeds videos with the model.
        method: chooses the key images on which faces are looked for.
        two_stage: whether the plain way of two stages is measured, too, with this model's text tower.
        progress: follows the work.
    """
    assert isinstance(dataset, QueryDataset)
    assert isinstance(model, ModelReadingFaces)
    queries, samples = list(dataset.evaluation_queries()), dataset.samples()
    handles = {handle for query in queries for handle in query.query.persons}
    pictures = {handle: shown for handle, shown in dataset.person_pictures().items() if handle in handles}
    seen = portraits(pictures, model.face_encoder(), progress)
    embeddings = embed_samples(samples, embed)

    def ranked(cue: PersonCue) -> QueryDetails:
        details = evaluate_queries(model, samples, with_faces(queries, seen, cue), lambda _: embeddings).details
        assert details is not None
        return details

    by_cue = {cue: ranked(cue) for cue in get_args(PersonCue)}
    numbers = {cue: _numbers(details.ranks, details.precisions) for cue, details in by_cue.items()}
    details = by_cue["name"]  # what was ranked, and by which queries, is the same for all
    if two_stage:
        numbers["two-stage"] = _two_stage(model, details, seen, method, progress)
    people = [str(person) for person in people_of(details.queries)]
    return {"persons": numbers, "groups": details.groups, "people": people}


def table(rows: Mapping[str, Variant], results: Mapping[str, Sequence[Result]]) -> str:
    """Return the table in Markdown: means of all seeds with 95 % intervals over persons, and the spread over seeds."""
    groups = {group for runs in results.values() for run in runs for group in run["groups"]}
    columns = [(group, number) for group, number in _COLUMNS if group in groups]
    titles = [f"{group.replace('_', ' ')}: {number}" for group, number in columns]
    lines = [["trained", "persons said by", "seeds", *titles]]
    for name, variant in rows.items():
        runs = results[name]
        for cue in CUES:
            of_cue = [run for run in runs if cue in run["persons"]]
            if of_cue:
                cells = [_cell(of_cue, cue, group, number) for group, number in columns]
                lines.append([variant.title, CUES[cue], str(len(of_cue)), *cells])
    return "\n".join(markdown_table(lines))


def _cell(runs: Sequence[Result], cue: str, group: str, number: str) -> str:
    by_seed, ranks, precisions, people = [], [], [], []
    for run in runs:
        rows = np.flatnonzero([name == group for name in run["groups"]])
        of_run = np.array(run["persons"][cue]["ranks"])[rows], np.array(run["persons"][cue]["precisions"])[rows]
        names = [run["people"][row] for row in rows]
        by_seed.append(query_metrics(*of_run, names).values[number])
        ranks.append(of_run[0])
        precisions.append(of_run[1])
        people += names
    pooled = query_metrics(np.concatenate(ranks), np.concatenate(precisions), people)
    spread = f" (sd {statistics.stdev(by_seed):.1f})" if len(by_seed) > 1 else ""
    return interval(pooled.values[number], *pooled.ci95[number]) + spread


def _numbers(ranks: Any, precisions: Any) -> dict[str, list[Any]]:
    return {"ranks": np.asarray(ranks).tolist(), "precisions": np.round(np.asarray(precisions), 4).tolist()}


def _two_stage(
    model: Model, details: QueryDetails, seen: Portraits, method: KeyImageMethod, progress: Progress
) -> dict[str, list[Any]]:
    """Return the numbers of a text search among the samples on which a person was recognised.

    Args:
        model: has the text tower, and the face encoder.
        details: of an evaluation of the same queries: what was ranked for them, and what is right.
        seen: faces of the persons in the queries.
        method: chooses the key images on which faces are looked for.
        progress: follows the work.
    """
    assert isinstance(model, ModelReadingFaces)
    queries = [query.query for query in details.queries]
    nameless = [
        replace(query, persons={handle: replace(person, name="") for handle, person in query.persons.items()})
        for query in queries
    ]
    vectors = model.embed_queries([replace(query, text=query.spoken, persons={}) for query in nameless])
    scores = details.gallery.score(vectors, details.scoring)
    sighted = _sightings(details.samples, seen, model.face_encoder(), method, model.image_size, progress)
    for row, query in enumerate(queries):
        for handle in query.persons.keys() & sighted.keys():
            scores[row] += _SIGHTED * sighted[handle]
    ranks = metrics.ranks([scores], details.ground_truth, metrics.SCORE_TOLERANCE)
    return _numbers(ranks, metrics.average_precision([scores], details.ground_truth, metrics.SCORE_TOLERANCE))


def _sightings(
    samples: Sequence[Sample],
    seen: Portraits,
    encoder: FaceEncoder,
    method: KeyImageMethod,
    size: int,
    progress: Progress,
) -> dict[str, FloatArray]:
    """Return 1 for each sample (M,) on which a person is recognised, by handle; 0 for the others."""
    handles = list(seen.faces)
    means = np.stack([seen.faces[handle].mean(axis=0) for handle in handles])  # (P, F)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    best = np.full((len(handles), len(samples)), -1.0, np.float32)
    progress.begin("sightings", len(samples))
    for column, sample in enumerate(samples):
        for image in keyimages.from_video(sample.video, method, size)[1]:
            faces = encoder.detect(image.pixels)
            if faces:
                cosines = (means @ encoder.describe(image.pixels, faces).T).max(axis=1)
                best[:, column] = np.maximum(best[:, column], cosines)
        progress.advance()
    recognised = (best >= encoder.threshold).astype(np.float32)
    return dict(zip(handles, recognised, strict=True))
