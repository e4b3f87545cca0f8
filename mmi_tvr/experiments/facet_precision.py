"""How often a model is right about what the videos of a data set show, and thresholds that keep a precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import models
from ..errors import MediaError, MetricsError, UsageError
from ..evaluation import facets
from ..evaluation.evaluate import Embed, embed_samples
from ..evaluation.facets import LevelPrecision, Truth
from ..lexicon.vocabulary import names_by_level
from ..protocols import Dataset, Model, ModelWithAttributes, ModelWithLabels, TrainedModel
from ..train.labels import read_labels
from ..types import Attributes, FacetCalibration, LabelSource, Query
from ..utils import array_cache
from ..utils.progress import Progress
from ..utils.wording import counted, model_title

PRECISION = 0.9  # that thresholds are chosen to keep, unless somebody says otherwise


@dataclass(frozen=True, slots=True)
class LabelledAttributes:
    """What a model reads off the videos of a data set, and what they show, in one order; `queries` and `named` are the
    same of the first caption of each."""

    attributes: Sequence[Attributes]
    truth: Sequence[Truth]
    queries: Sequence[Attributes]
    named: Sequence[Truth]


def reads_attributes(model: Model) -> ModelWithAttributes:
    """Return a model as one with facets. UsageError where it has none."""
    if not isinstance(model, ModelWithAttributes) or not model.attribute_names():
        raise UsageError(f"{model_title(model)} offers no facets: it reads no classes off videos")
    return model


def labelled_attributes(model: Model, dataset: Dataset, embed: Embed, progress: Progress) -> LabelledAttributes:
    """Return what a model reads off the videos of a data set that can be read, and what they show.

    Args:
        model: says where its labels come from (`ModelWithLabels`); those of another one are parsed captions.
        dataset: the data set.
        embed: embeds its videos.
        progress: is told how many captions are parsed.

    Raises:
        UsageError: exact labels of a data set that has none.
        MetricsError: no video can be read.
        MissingExtra: captions have to be parsed, and the parser is not installed.
    """
    samples = dataset.samples()
    embedded = enumerate(embed_samples(samples, embed))
    readable = {number: one for number, one in embedded if not isinstance(one, MediaError)}
    if not readable:
        raise MetricsError("none of the videos can be read: there is nothing to measure facets by")
    source: LabelSource = "parsed"
    parses = None
    if isinstance(model, ModelWithLabels):
        source, parses = model.label_source, model.parses
    labels = read_labels(source, parses, dataset, [*readable], array_cache.folder(), progress)
    captioned = [number for number in readable if samples[number].captions]
    return LabelledAttributes(
        [one.attributes for one in readable.values()],
        [names_by_level(labels[number].video) for number in readable],
        reads_attributes(model).query_attributes([Query(samples[number].captions[0]) for number in captioned]),
        [names_by_level(labels[number].captions[0]) for number in captioned],
    )


def facets_folder(model: Model) -> Path:
    """Return the folder of a model's weights, where its thresholds belong. UsageError where it has none."""
    weights = model.weights if isinstance(model, TrainedModel) else None
    if weights is None:
        raise UsageError(f"{model_title(model)} has no trained weights beside which thresholds could be written")
    return models.find(weights)


def calibrate(model: Model, read: LabelledAttributes, title: str, precision: float = PRECISION) -> FacetCalibration:
    """Choose thresholds on validation data, write them beside the model's weights, and return them.

    Args:
        model: whose weights lie in a folder.
        read: of the validation data.
        title: names the data.
        precision: 0..1, which the thresholds are to keep.
    """
    data = f"{title}, {counted(len(read.attributes), 'video')}"
    calibration = facets.calibrate(read.attributes, read.truth, precision, data)
    queries = facets.reliable_thresholds(read.queries, read.named, precision)
    calibration = replace(calibration, queries=queries)
    models.write_facets(facets_folder(model), calibration, model.fingerprint())
    return calibration


def measure(
    model: ModelWithAttributes, read: LabelledAttributes, calibration: FacetCalibration
) -> list[LevelPrecision]:
    """Return how often the facets of a model are right, by level."""
    return facets.measure(read.attributes, read.truth, model.attribute_names(), calibration)
