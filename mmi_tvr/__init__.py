"""Text-video retrieval: describe a moment in a sentence, get the right video at the right second.

```python
from mmi_tvr import Library

with Library("holidays") as library:
    library.index("Videos")
    for hit in library.search("a dog runs on the beach", top=5):
        print(hit.path, hit.start, hit.end)
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .encoder import Encoder
    from .errors import (
        IndexMismatch,
        LibraryBusy,
        MediaError,
        MetricsError,
        MissingExtra,
        MmiTvrError,
        ModelNotFound,
        UsageError,
    )
    from .evaluation.matrices import evaluate_embeddings
    from .library import IndexReport, Library, Status
    from .search import SearchResult
    from .types import Hit, Query, Video

__version__ = "0.1.0"
__all__ = [
    "Encoder",
    "Hit",
    "IndexMismatch",
    "IndexReport",
    "Library",
    "LibraryBusy",
    "MediaError",
    "MetricsError",
    "MissingExtra",
    "MmiTvrError",
    "ModelNotFound",
    "Query",
    "SearchResult",
    "Status",
    "UsageError",
    "Video",
    "evaluate_embeddings",
]

# Where each name lives; all others are errors. Nothing is imported before it is used: `import mmi_tvr` costs nothing.
_HOMES = {
    "encoder": {"Encoder"},
    "evaluation.matrices": {"evaluate_embeddings"},
    "library": {"Library", "IndexReport", "Status"},
    "search": {"SearchResult"},
    "types": {"Hit", "Query", "Video"},
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'mmi_tvr' has no attribute {name!r}")
    import importlib

    home = next((module for module, names in _HOMES.items() if name in names), "errors")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
