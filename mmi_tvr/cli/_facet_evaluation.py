"""How often the facets of a model are right, and the thresholds that keep a precision (`evaluate facets`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.markup import escape

from .. import models
from ..errors import MediaError, MetricsError, UsageError
from ..evaluation import facets
from ..lexicon.vocabulary import LABELS_OF, level_names
from ..protocols import Dataset, Model, ModelWithAttributes, ModelWithLabels, TrainedModel
from ..train.labels import read_labels
from ..types import Attributes, LabelSource
from ..utils import array_cache
from ..utils.progress import Progress
from ..utils.wording import counted, model_title
from ._console import say
from ._evaluation_data import EvaluationModel


def measured(
    system: EvaluationModel, dataset: Dataset, title: str, precision: float | None, progress: Progress
) -> tuple[dict[str, Any], str]:
    """Return how often a model's facets are right, as a document and as text.

    Args:
        system: the model, with its key images.
        dataset: videos of which it is known, or said in captions, what they show.
        title: names them.
        precision: where given, thresholds that keep it are chosen on these very videos first, and written into the
            model's folder.
        progress: hears how far the work is.

    Raises:
        UsageError: the model has no facets, or nothing to measure them by.
    """
    model = system.model
    if not isinstance(model, ModelWithAttributes) or not (names := model.attribute_names()):
        raise UsageError(f"{model_title(model)} offers no facets: it reads no classes off videos")
    folder = None if precision is None else _folder(model)
    attributes, truth = _read(system, dataset, title, progress)
    if folder is not None and precision is not None:
        data = f"{title}, {counted(len(attributes), 'video')}"
        calibration = facets.calibrate(attributes, truth, precision, data)
        models.write_facets(folder, calibration, model.fingerprint())
        say(f"thresholds: {escape(str(folder / models.FACETS))}")
    else:
        stored = model.facet_calibration()
        if stored is None:
            raise UsageError(
                f"{model_title(model)}: nobody has measured which probabilities are to be believed; choose thresholds "
                "on validation data first: --split val --calibrate"
            )
        calibration = stored
    rows = facets.measure(attributes, truth, names, calibration)
    document: dict[str, Any] = {"precision": calibration.precision, "data": calibration.data, "videos": len(attributes)}
    document["facets"] = {
        level: {"reliable" if row.reliable else "others": row.as_dict() for row in rows if row.level == level}
        for level in names
    }
    remark = " (the same videos: look at others, too)" if precision is not None else ""
    head = (
        f"{model_title(model)}: facets of {counted(len(attributes), 'video')}, thresholds for a precision of "
        f"{100 * calibration.precision:.0f} % on {calibration.data}{remark}"
    )
    return document, "\n".join([head, *facets.table(rows)])


def _folder(model: Model) -> Path:
    weights = model.weights if isinstance(model, TrainedModel) else None
    if weights is None:
        raise UsageError(f"{model_title(model)} has no trained weights beside which thresholds could be written")
    return models.find(weights)


def _read(
    system: EvaluationModel, dataset: Dataset, title: str, progress: Progress
) -> tuple[list[Attributes], list[facets.Truth]]:
    """Return what the model reads off the videos that can be read, and what they show."""
    model = system.model
    samples = dataset.samples()
    videos = [samples[number].video for number in range(len(samples))]
    embedded = system.embedder(dataset, title, progress)(videos)
    readable = {number: one for number, one in enumerate(embedded) if not isinstance(one, MediaError)}
    if not readable:
        raise MetricsError("none of the videos can be read: there is nothing to measure facets by")
    source: LabelSource = "parsed"
    parses = None
    if isinstance(model, ModelWithLabels):
        source, parses = model.label_source, model.parses
    labels = read_labels(source, parses, dataset, [*readable], array_cache.folder(), progress)
    truth = [
        {level: level_names(labels[number].video, kind) for level, kind in LABELS_OF.items()} for number in readable
    ]
    return [one.attributes for one in readable.values()], list(truth)
