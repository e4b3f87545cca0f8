"""Embeddings as a `datasets.Dataset` of Hugging Face: of a library, or of a data set with its captions.

Columns: `path`, `start` and `end` (seconds), `embedding` (D,); with `moments`, also `moments` (K, D) and `segments`
(K, 3: start, end, time of each key image). A data set's rows also have `id` and `captions`, a library's `also` (paths
of copies). Which model made the vectors stands in `dataset.info.description`, as JSON: model and fingerprint.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import config, plugins
from ..encoder import Encoder
from ..errors import LibraryBusy, MediaError, UsageError
from ..library.catalogue import Catalogue
from ..library.components import Components
from ..library.core import CATALOGUE
from ..protocols import Index
from ..scoring.similarity import Gallery
from ..types import Embeddings, Sample, row_ids
from ..utils.progress import Progress

_EXTRA = "export"
_BLOCK = 1024  # videos that are read together
Row = dict[str, Any]


def of_library(library: str | os.PathLike[str], *, moments: bool = False) -> Any:
    """A row for each indexed video of the library in this folder, by number. Loads no model.

    UsageError where there is no library or nothing in it, LibraryBusy where another process changes it meanwhile.
    """
    folder = Path(os.path.expanduser(library))
    catalogue = Catalogue(folder / CATALOGUE)
    try:
        index = Components(folder, catalogue, config.from_values({}), None).open_index(create=False)
        numbers = catalogue.searchable()
        if index is None or not numbers:
            raise UsageError(
                f"{folder}: nothing is indexed here; index something: mmi-tvr index DIR --library {folder}"
            )
        try:
            rows = _library_rows(catalogue, index, numbers)
            made = {"model": catalogue.meta("model"), "fingerprint": catalogue.meta("fingerprint")}
            return _dataset(rows, index.dim, made, {"also": "texts"}, moments)
        except KeyError as error:
            raise LibraryBusy(f"{folder}: another process changed the library meanwhile; try again") from error
        finally:
            index.close()
    finally:
        catalogue.close()


def of_samples(
    samples: Sequence[Sample],
    encoder: Encoder,
    *,
    moments: bool = False,
    skip_unreadable: bool = False,
    progress: bool | Progress = False,
) -> Any:
    """A row for each sample of a data set, in order, with its captions.

    A video that cannot be used raises its MediaError; with `skip_unreadable` it is left out, and named in the
    dataset's description.
    """
    found = encoder.embed([sample.video for sample in samples], progress=progress)
    pairs = list(zip(samples, found, strict=True))
    failed = {sample.id: each for sample, each in pairs if isinstance(each, MediaError)}
    if failed and not skip_unreadable:
        raise next(iter(failed.values()))
    if len(failed) == len(samples):
        raise UsageError("no video is left to export")
    rows = [
        {"id": sample.id, "captions": list(sample.captions)}
        | _row(sample.video.path, sample.video.start, sample.video.end, each)
        for sample, each in pairs
        if isinstance(each, Embeddings)
    ]
    made: dict[str, Any] = {"model": encoder.model.name, "fingerprint": encoder.fingerprint}
    if failed:
        made["unreadable"] = {name: error.reason for name, error in failed.items()}
    return _dataset(rows, len(rows[0]["embedding"]), made, {"id": "text", "captions": "texts"}, moments)


def _library_rows(catalogue: Catalogue, index: Index, numbers: Sequence[int]) -> Iterator[Row]:
    for first in range(0, len(numbers), _BLOCK):
        entries = catalogue.entries(numbers[first : first + _BLOCK])
        for number, ((path, *also), segments) in entries.items():
            gallery = Gallery.from_index(index, row_ids(number, len(segments)))
            vectors = Embeddings(gallery.videos[0], gallery.moments, segments)
            yield {"also": [str(each) for each in also]} | _row(path, 0.0, float(segments[-1, 1]), vectors)


def _row(path: Path, start: float, end: float | None, vectors: Embeddings) -> Row:
    return {
        "path": str(path),
        "start": start,
        "end": end,
        "embedding": vectors.video,
        "moments": vectors.moments,
        "segments": vectors.segments,
    }


def _dataset(
    rows: Iterator[Row] | Sequence[Row], width: int, made: Mapping[str, Any], more: Mapping[str, str], moments: bool
) -> Any:
    """Rows as a Dataset in memory, made block by block, so that they are never all Python objects at once."""
    datasets = plugins.require("datasets", _EXTRA)
    text, number = datasets.Value("string"), datasets.Value("float64")
    vector = datasets.List(datasets.Value("float32"), length=width)
    kinds = {"text": text, "texts": datasets.List(text)}
    columns = {name: kinds[kind] for name, kind in more.items()}
    columns |= {"path": text, "start": number, "end": number, "embedding": vector}
    if moments:
        columns |= {"moments": datasets.List(vector), "segments": datasets.List(datasets.List(number, length=3))}
    about, parts = json.dumps(dict(made), ensure_ascii=False), []
    info = datasets.DatasetInfo(description=about, features=datasets.Features(columns))
    for block in _blocks(rows):
        table = {name: [_plain(row[name]) for row in block] for name in columns}
        parts.append(datasets.Dataset.from_dict(table, info=info.copy()))
    return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts, info=info)


def _plain(value: Any) -> Any:
    """Matrices as lists of rows, which is what nested columns take."""
    return list(value) if isinstance(value, np.ndarray) and value.ndim == 2 else value


def _blocks(rows: Iterator[Row] | Sequence[Row]) -> Iterator[list[Row]]:
    block: list[Row] = []
    for row in rows:
        block.append(row)
        if len(block) == _BLOCK:
            yield block
            block = []
    if block:
        yield block
