"""Vector indexes behind one protocol (`mmi_tvr.protocols.Index`). One file per index.

`auto` is exact search up to AUTO_GRAPH_FROM vectors, and an HNSW graph over the same files beyond (decision: on
two cores, exact search of so many 384-d vectors takes about 10 ms, and most of a query's time goes elsewhere).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from .. import plugins
from ..errors import MmiTvrError
from ..protocols import Index
from ._milvus_plan import Plan, choose, plan

__all__ = ["AUTO_GRAPH_FROM", "Plan", "choose", "discard", "open_index", "plan", "publish"]

AUTO_GRAPH_FROM = 200_000


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

    Raises UsageError for an unknown name or option, or where `create` is false and nothing is there;
    IndexMismatch where the vectors are of another maker; LibraryBusy where another process holds it.
    """
    if name == "auto":
        name, options = "faiss", {"graph_from": AUTO_GRAPH_FROM}
    index: Index = plugins.build("index", name, options, path=path, dim=dim, fingerprint=fingerprint, create=create)
    return index


@runtime_checkable
class Published(Protocol):
    """An index that others know by a name of its own (`milvus`)."""

    def publish(self) -> None: ...


def publish(made: Index) -> None:
    """Say that everything is in an index. Where others know it by a name, the name means this one from now on."""
    if isinstance(made, Published):
        made.publish()


def discard(path: Path) -> None:
    """Remove the index in a folder, and what it has elsewhere.

    Where a server does not answer, the folder stays, so that this can be tried again.
    """
    from . import milvus

    with suppress(MmiTvrError):
        milvus.discard(path)
        shutil.rmtree(path, ignore_errors=True)
