"""Evaluation of retrieval, by captions or by a data set's own queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .. import models
from ..errors import UsageError
from ..evaluation.evaluate import evaluate_model
from ..evaluation.query_report import QueryReport
from ..evaluation.report import Report
from ..protocols import DatasetWithFeatures, FoldedDataset, GradedDataset
from ..utils.progress import Progress
from . import _reranking
from ._evaluation_data import EvaluationData, EvaluationModel, ModelChoice, load_model
from ._query_evaluation import PersonCue, evaluated, refuse_captions_only


@dataclass(frozen=True, slots=True)
class Measurements:
    """What is measured: `people` is what queries say of people, where the test set has people in them; the others as
    `evaluate_model` has them."""

    max_unreadable: float
    transductive: Sequence[str]
    rerank: bool
    moments: bool
    merge_captions: bool
    people: PersonCue


def query_report(
    target: str, data: EvaluationData, choice: ModelChoice, measurements: Measurements, progress: Progress
) -> tuple[EvaluationModel, QueryReport]:
    """Measure a data set by its queries. UsageError for what is measured of captions alone."""
    refuse_captions_only(
        target,
        {
            "--rerank": measurements.rerank,
            "--moments": measurements.moments,
            "--merge-captions": measurements.merge_captions,
            "--transductive": bool(measurements.transductive),
        },
    )
    system = load_model(choice, target)
    return system, evaluated(target, data, system, measurements.people, measurements.max_unreadable, progress)


def caption_report(
    target: str, data: EvaluationData, choice: ModelChoice, measurements: Measurements, progress: Progress
) -> tuple[EvaluationModel, Report]:
    """Measure a data set by its captions. UsageError where it has no videos that could be re-ranked."""
    from ..features.embed import embedding_fingerprint

    dataset, rerank = data.dataset, None
    if measurements.rerank and isinstance(dataset, DatasetWithFeatures):
        raise UsageError(f"{target} brings features and no videos: leave out --rerank, which looks at them")
    system = load_model(choice)
    embed = system.embedder(dataset, target, progress)
    if measurements.rerank:
        rerank = _reranking.reranking(system.settings, system.model, system.method, progress)
    report = evaluate_model(
        system.model,
        dataset.samples(),
        embed,
        fingerprint=embedding_fingerprint(system.model, system.method),
        max_unreadable=measurements.max_unreadable,
        transductive=measurements.transductive,
        rerank=rerank,
        moments=data.moments(target) if measurements.moments else None,
        merge_captions=measurements.merge_captions,
        relevance=dataset.relevance if isinstance(dataset, GradedDataset) else None,
        folds=dataset.folds() if isinstance(dataset, FoldedDataset) else (),
    )
    name = models.spelled(system.settings.model)
    return system, replace(report, model=name, missing=data.missing, remarks=data.remarks)
