"""Vector indexes behind one protocol (`mmi_tvr.protocols.Index`). One file per index.

The checks, filters and errors that every index shares can be imported from here, by indexes of other packages, too.

`auto` is exact search up to AUTO_GRAPH_FROM vectors, and an HNSW graph over the same files beyond (decision: on
two cores, exact search of so many 384-d vectors takes about 10 ms, and most of a query's time goes elsewhere).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import plugins
from ..config import AUTO, AUTO_INDEX, Section
from ..errors import MmiTvrError
from ..protocols import Index, PublishedIndex
from . import _milvus_folder, faiss, flat
from ._common import (
    checked_ids,
    checked_limit,
    checked_pairs,
    checked_queries,
    checked_vectors,
    damaged,
    in_use,
    matches,
    nothing_found,
    nothing_there,
    refuse_foreign,
)
from ._milvus_plan import MilvusPlan, choose_milvus_plan, milvus_plan

__all__ = [
    "AUTO_GRAPH_FROM",
    "MilvusPlan",
    "checked_ids",
    "checked_limit",
    "checked_pairs",
    "checked_queries",
    "checked_vectors",
    "choose_milvus_plan",
    "damaged",
    "discard",
    "in_use",
    "matches",
    "milvus_plan",
    "nothing_found",
    "nothing_there",
    "open_index",
    "publish",
    "refuse_foreign",
    "serves",
    "share_files",
]

AUTO_GRAPH_FROM = 200_000
_SHARING = (AUTO, "flat", "faiss")  # one format on disk


def open_index(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    path: Path,
    dim: int,
    fingerprint: str,
    create: bool = True,
) -> Index:
    """Open or make the index that a settings section names; `flat`, `faiss` and `auto` share one format on disk.

    Args:
        name: `auto`, or a file of this room.
        options: those of the named index; `auto` takes those of faiss.
        path: the folder of the index.
        dim: the width D of its vectors.
        fingerprint: of the model that makes them.
        create: whether to make the index where nothing is there.

    Raises:
        UsageError: an unknown name or option.
        IndexMissing: nothing is there and `create` is false, or it cannot be read.
        IndexMismatch: another model made its vectors, or another kind of index lies in the folder.
        LibraryBusy: another process holds it.
    """
    if name == AUTO:
        name, options = AUTO_INDEX, {"graph_from": AUTO_GRAPH_FROM, **(options or {})}
    index: Index = plugins.build("index", name, options, path=path, dim=dim, fingerprint=fingerprint, create=create)
    return index


def share_files(first: Section, second: Section) -> bool:
    """Return whether two settings of an index mean the same files of vectors: one becomes the other at a `flush`."""
    return first.name in _SHARING and second.name in _SHARING


def serves(present: Section, requested: Section) -> bool:
    """Return whether what an index built by `present` settings is what a search by `requested` ones looks into.

    True where it looks at the vectors alone, and where the two share no files: opening them says what is wrong there.
    """
    if not share_files(present, requested):
        return True
    return _built(requested) in ("", _built(present))


def _built(section: Section) -> str:
    """Return what settings build of the vectors, as a part of a file's name; nothing where that is nothing."""
    if section.name == "flat":
        return flat.built(flat.Options(**section.options))
    return faiss.built(faiss.Options(**section.options))


def publish(index: Index) -> None:
    """Say that everything is in an index. Where others know it by a name, the name means this one from now on."""
    if isinstance(index, PublishedIndex):
        index.publish()


def discard(path: Path) -> None:
    """Remove the index in a folder, and what it has elsewhere.

    Where a server does not answer, the folder stays, so that this can be tried again.
    """
    with suppress(MmiTvrError):
        _milvus_folder.discard(path)
        shutil.rmtree(path, ignore_errors=True)
