"""What captions say and videos show, for models that learn it: `batch["labels"]` of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..lexicon.conllu import ConlluParser
from ..lexicon.corpus import SampleLabels, sample_labels
from ..lexicon.parsing import ParsedText, SpacyParser
from ..lexicon.store import PARSES_FILE, ParseStore
from ..protocols import Dataset, ModelWithLabels
from ..types import Labels, LabelSource
from ..utils import distributed
from ..utils.progress import Progress


class PairLabels:
    """The labels of training pairs, as a model puts them into a batch."""

    def __init__(self, model: ModelWithLabels, labels: Mapping[int, SampleLabels]) -> None:
        """Serve the labels of samples, by their numbers."""
        self._model, self._labels = model, labels

    def batch(self, numbers: Sequence[int], places: Sequence[int]) -> Mapping[str, Any]:
        """Return the labels of B pairs: of the captions at these places of these samples, and of their videos."""
        samples = [self._labels[number] for number in numbers]
        captions = [sample.captions[place] for sample, place in zip(samples, places, strict=True)]
        return self._model.label_batch(captions, [sample.video for sample in samples])


def prepare(
    model: ModelWithLabels, dataset: Dataset, usable: Sequence[int], cache: Path, progress: Progress
) -> PairLabels:
    """Return the labels of a training set, and get the model ready for them (`ModelWithLabels.prepare`).

    Every process calls this. Where labels are parsed, process 0 does it, and the others read its parses.

    Args:
        model: has seen no `network` yet.
        dataset: the training set.
        usable: numbers of the samples that take part.
        cache: the folder for parses, shared by all runs.
        progress: is told how many captions are parsed.

    Raises:
        UsageError: exact labels of a data set that has none, a caption that `parses` does not have, or captions that
            the model cannot learn from.
        MissingExtra: captions have to be parsed, and the parser is not installed.
    """
    labels = read_labels(model.label_source, model.parses, dataset, usable, cache, progress)
    samples = dataset.samples()
    captions = [caption for number in usable for caption in samples[number].captions]
    caption_labels: list[Labels] = [caption for number in usable for caption in labels[number].captions]
    model.prepare(captions, caption_labels)
    return PairLabels(model, labels)


def read_labels(
    source: LabelSource, parses: str | None, dataset: Dataset, numbers: Sequence[int], cache: Path, progress: Progress
) -> dict[int, SampleLabels]:
    """Return the labels of samples by their numbers; every process calls this.

    Args:
        source: of the labels.
        parses: of parsed ones: a CoNLL-U file that has them; None: captions are parsed where `cache` has no parse.
        dataset: the data set.
        numbers: of the samples.
        cache: the folder for parses.
        progress: is told how many captions are parsed.

    Raises:
        UsageError, MissingExtra: as `prepare`.
    """
    if source == "exact":
        return dict(zip(numbers, sample_labels(dataset, numbers, "exact", _unused), strict=True))
    parser = ConlluParser(Path(parses)) if parses else SpacyParser()
    with ParseStore(cache / PARSES_FILE, parser) as store:

        def parse(texts: Sequence[str]) -> list[ParsedText]:
            distributed.from_first(lambda: parse_in_first(texts))
            return store.parsed(texts)

        def parse_in_first(texts: Sequence[str]) -> None:
            progress.begin("parsing", len(texts))
            store.parsed(texts, progress.advance)

        return dict(zip(numbers, sample_labels(dataset, numbers, "parsed", parse), strict=True))


def _unused(texts: Sequence[str]) -> list[ParsedText]:
    raise AssertionError("exact labels need no parser")
