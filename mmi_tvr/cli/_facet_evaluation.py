"""How often the facets of a model are right, as a document and as text (`evaluate facets`)."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from .. import models
from ..errors import UsageError
from ..evaluation import facets
from ..experiments import facet_precision
from ..protocols import Dataset
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
    model = facet_precision.reads_attributes(system.model)
    calibration = model.facet_calibration()
    if precision is not None:
        facet_precision.facets_folder(system.model)  # that there is one to write into, before the videos are embedded
    elif calibration is None:
        raise UsageError(
            f"{model_title(system.model)}: nobody has measured which probabilities are to be believed; choose "
            "thresholds on validation data first: --split val --calibrate"
        )
    embed = system.embedder(dataset, title, progress)
    read = facet_precision.labelled_attributes(system.model, dataset, embed, progress)
    if precision is not None:
        calibration = facet_precision.calibrate(system.model, read, title, precision)
        say(f"thresholds: {escape(str(facet_precision.facets_folder(system.model) / models.FACETS))}")
    assert calibration is not None
    rows = facet_precision.measure(model, read, calibration)
    document: dict[str, Any] = {"precision": calibration.precision, "data": calibration.data}
    document["videos"] = len(read.attributes)
    document["facets"] = {
        level: {"reliable" if row.reliable else "others": row.as_dict() for row in rows if row.level == level}
        for level in model.attribute_names()
    }
    remark = " (the same videos: look at others, too)" if precision is not None else ""
    head = (
        f"{model_title(system.model)}: facets of {counted(len(read.attributes), 'video')}, thresholds for a precision "
        f"of {100 * calibration.precision:.0f} % on {calibration.data}{remark}"
    )
    return document, "\n".join([head, *facets.table(rows)])
