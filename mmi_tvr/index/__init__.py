"""Vector indexes behind one protocol (`mmi_tvr.protocols.Index`). One file per index.

`auto` is exact search up to AUTO_GRAPH_FROM vectors, and an HNSW graph over the same files beyond (decision: on
two cores, exact search of so many 384-d vectors takes about 10 ms, and most of a query's time goes elsewhere).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import plugins
from ..protocols import Index

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
