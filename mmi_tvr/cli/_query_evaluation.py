"""Evaluation of the queries that a data set brings along (`protocols.QueryDataset`), people in them included."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from .. import models
from ..errors import UsageError
from ..evaluation.queries import PERSONS, evaluate_queries
from ..evaluation.query_report import QueryReport
from ..protocols import Model, ModelReadingFaces, QueryDataset
from ..types import EvaluationQuery
from ..utils.progress import Progress
from ..utils.wording import counted
from ._evaluation_data import EvaluationData, EvaluationModel


class PersonCue(str, Enum):
    """What a query says of a person."""

    name = "name"
    face = "face"
    both = "both"


def refuse_captions_only(target: str, options: dict[str, bool]) -> None:
    """Raise UsageError where an option was given that a data set with queries of its own has no use for."""
    if given := [option for option, is_set in options.items() if is_set]:
        raise UsageError(f"{target} has queries of its own, not captions: leave out {', '.join(given)}")


def evaluated(
    target: str,
    data: EvaluationData,
    system: EvaluationModel,
    cue: PersonCue,
    max_unreadable: float,
    progress: Progress,
) -> QueryReport:
    """Return how well a model finds what the queries of a data set are about.

    Args:
        target: the data set's name.
        data: the data set, which is a `QueryDataset`.
        system: the model, with its key images.
        cue: what the queries say of people, to a model that reads faces.
        max_unreadable: as `evaluate_queries` has it.
        progress: follows the work.

    Raises:
        UsageError: the model reads faces, and shows no face encoder for them.
    """
    from ..features.embed import embedding_fingerprint

    assert isinstance(data.dataset, QueryDataset)
    queries, remarks = queries_with_faces(data.dataset, system.model, cue, progress)
    report = evaluate_queries(
        system.model,
        data.dataset.samples(),
        queries,
        system.embedder(data.dataset, target, progress),
        fingerprint=embedding_fingerprint(system.model, system.method),
        max_unreadable=max_unreadable,
    )
    return replace(
        report,
        model=models.spelled(system.settings.model),
        missing=data.missing,
        remarks=(*data.remarks, *remarks),
    )


def queries_with_faces(
    dataset: QueryDataset, model: Model, cue: PersonCue, progress: Progress
) -> tuple[list[EvaluationQuery], list[str]]:
    """Return the queries of a data set with faces, where the model reads them, and what a reader should know of these.

    UsageError where the model reads persons, and has no face encoder.
    """
    from ..people.portraits import portraits, with_faces

    queries = list(dataset.evaluation_queries())
    if PERSONS not in model.reads or cue is PersonCue.name:
        return queries, []
    if not isinstance(model, ModelReadingFaces):
        raise UsageError(f"{model.name} reads persons, and has no face encoder; use --people name")
    handles = {handle for query in queries for handle in query.query.persons}
    pictures = {handle: shown for handle, shown in dataset.person_pictures().items() if handle in handles}
    seen = portraits(pictures, model.face_encoder(), progress)
    remarks = []
    if seen.problems:
        path, reason = next(iter(seen.problems.items()))
        remarks.append(
            f"pictures of people without a usable face: {counted(len(seen.problems), 'picture')}, the first: "
            f"{path}: {reason}"
        )
    return with_faces(queries, seen, cue.value), remarks
