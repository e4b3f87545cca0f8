"""Embeddings as a `datasets.Dataset` of Hugging Face: of a library, or of a data set with its captions.

Columns: `path`, `start` and `end` (seconds), `embedding` (D,); with `moments`, also `moments` (K, D) and `segments`
(K, 3: start, end, time of each key image). A data set's rows also have `id` and `captions`, a library's `also` (paths
of copies). The model of the vectors stands in `dataset.info.description`, as JSON: model and fingerprint.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import config
from ..encoder import Encoder
from ..errors import LibraryBusy, MediaError, UsageError
from ..library.catalogue import Catalogue
from ..library.catalogue_file import CATALOGUE
from ..library.components import Components
from ..protocols import Index
from ..scoring.similarity import Gallery
from ..types import Embeddings, Sample, row_ids
from ..utils.installation import require
from ..utils.progress import Progress
from ..utils.wording import library_option

_EXTRA = "export"
_TEXT, _TEXTS = "text", "texts"  # what a column of texts holds
_BLOCK_SIZE = 1024  # videos that are read together
DatasetRow = dict[str, Any]


def of_library(library: str | os.PathLike[str], *, moments: bool = False) -> Any:
    """Return a dataset with a row for each indexed video of the library in this folder, by number. Loads no model.

    Whom the library knows is left out: names and faces stay on the machine.

    Raises UsageError where there is no library or nothing in it, LibraryBusy where another process changes it
    meanwhile.
    """
    folder = Path(os.path.expanduser(library))
    catalogue = Catalogue.open_to_read(folder / CATALOGUE)
    try:
        index = Components(folder, catalogue, config.from_values({}), None).open_index(create=False)
        numbers = catalogue.searchable()
        if index is None or not numbers:
            raise UsageError(
                f"{folder}: nothing is indexed here; index something: mmi-tvr index DIR {library_option(folder)}"
            )
        try:
            rows = _library_rows(catalogue, index, numbers)
            origin = {"model": catalogue.meta("model"), "fingerprint": catalogue.meta("fingerprint")}
            return _dataset(rows, index.dim, origin, {"also": _TEXTS}, moments)
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
    """Return a dataset with a row for each sample of a data set, in order, with its captions.

    Args:
        samples: with readable files.
        encoder: embeds them.
        moments: also the vectors and segments of the key images.
        skip_unreadable: leave out videos that cannot be used; the dataset's description names them.
        progress: True draws a bar on stderr; or an object that hears of it.
    Raises:
        MediaError: of the first video that cannot be used, unless such are skipped.
        UsageError: none is left.
    """
    embeddings = encoder.embed([sample.video for sample in samples], progress=progress)
    rows: list[DatasetRow] = []
    errors: dict[str, MediaError] = {}
    for sample, embedded in zip(samples, embeddings, strict=True):
        if isinstance(embedded, MediaError):
            errors[sample.id] = embedded
        else:
            row = _row(sample.video.path, sample.video.start, sample.video.end, embedded)
            rows.append({"id": sample.id, "captions": list(sample.captions)} | row)
    if errors and not skip_unreadable:
        raise next(iter(errors.values()))
    if not rows:
        raise UsageError("no video is left to export")
    origin: dict[str, Any] = {"model": encoder.model.name, "fingerprint": encoder.fingerprint}
    if errors:
        origin["unreadable"] = {name: error.reason for name, error in errors.items()}
    return _dataset(rows, len(rows[0]["embedding"]), origin, {"id": _TEXT, "captions": _TEXTS}, moments)


def _library_rows(catalogue: Catalogue, index: Index, numbers: Sequence[int]) -> Iterator[DatasetRow]:
    for first in range(0, len(numbers), _BLOCK_SIZE):
        entries = catalogue.entries(numbers[first : first + _BLOCK_SIZE])
        for number, entry in entries.items():
            (path, *also), segments = entry.paths, entry.segments
            gallery = Gallery.from_index(index, row_ids(number, len(segments)))
            vectors = Embeddings(gallery.videos[0], gallery.moments, segments)
            yield {"also": [str(copy) for copy in also]} | _row(path, 0.0, float(segments[-1, 1]), vectors)


def _row(path: Path, start: float, end: float | None, vectors: Embeddings) -> DatasetRow:
    return {
        "path": str(path),
        "start": start,
        "end": end,
        "embedding": vectors.video,
        "moments": vectors.moments,
        "segments": vectors.segments,
    }


def _dataset(
    rows: Iterable[DatasetRow], dim: int, origin: Mapping[str, Any], text_columns: Mapping[str, str], moments: bool
) -> Any:
    """Return rows as a Dataset in memory, built block by block, so that they are never all Python objects at once.

    Args:
        rows: as `_row` has them, with the text columns.
        dim: of the vectors.
        origin: model and fingerprint, for the description.
        text_columns: columns that come first; each holds _TEXT or _TEXTS.
        moments: also the columns of the key images.
    """
    datasets = require("datasets", _EXTRA)
    text, number = datasets.Value("string"), datasets.Value("float64")
    vector = datasets.List(datasets.Value("float32"), length=dim)
    text_types = {_TEXT: text, _TEXTS: datasets.List(text)}
    columns = {name: text_types[text_type] for name, text_type in text_columns.items()}
    columns |= {"path": text, "start": number, "end": number, "embedding": vector}
    if moments:
        columns |= {"moments": datasets.List(vector), "segments": datasets.List(datasets.List(number, length=3))}
    description, parts = json.dumps(dict(origin), ensure_ascii=False), []
    info = datasets.DatasetInfo(description=description, features=datasets.Features(columns))
    for block in _blocks(rows):
        table = {name: [_plain(row[name]) for row in block] for name in columns}
        parts.append(datasets.Dataset.from_dict(table, info=info.copy()))
    return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts, info=info)


def _plain(value: Any) -> Any:
    """Return a matrix as a list of rows, which is what nested columns take."""
    return list(value) if isinstance(value, np.ndarray) and value.ndim == 2 else value


def _blocks(rows: Iterable[DatasetRow]) -> Iterator[list[DatasetRow]]:
    block: list[DatasetRow] = []
    for row in rows:
        block.append(row)
        if len(block) == _BLOCK_SIZE:
            yield block
            block = []
    if block:
        yield block
