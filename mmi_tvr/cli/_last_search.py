"""The hits of the last search of each library, for `open`: paths and seconds, in the user's state folder.

Files for their owner alone; neither the query nor who is in a hit stands there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_state_path

from ..errors import UsageError
from ..search import SearchResult
from ..utils import strict_json
from ..utils.files import draft_of
from ..utils.hashing import digest
from ..utils.wording import counted, library_option
from ._terminal import working_folder


@dataclass(frozen=True, slots=True)
class RememberedHit:
    """A hit: the paths of its file, and the second at which its moment begins (0 in a still)."""

    paths: tuple[Path, ...]
    second: float

    @property
    def path(self) -> Path:
        """The first of its paths at which a file is. Raises UsageError where none is."""
        path = next((path for path in self.paths if path.exists()), None)
        if path is None:
            raise UsageError(f"{self.paths[0]}: this file is away")
        return path


def remember(library: Path, result: SearchResult) -> None:
    """Remember the hits of a search. Where nothing can be written, nothing is remembered: a search fails for more."""
    hits = [
        {"paths": [os.path.abspath(path) for path in (hit.path, *hit.copies)], "second": hit.start} for hit in result
    ]
    file = _file(library)
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = strict_json.dumps({"hits": hits}).encode()
        with draft_of(file) as draft, open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(content)


def remembered_hit(library: Path, number: int) -> RememberedHit:
    """Return a hit of the last search of a library, counted from 1. Raises UsageError where there is none."""
    try:
        documents = strict_json.loads(_file(library).read_bytes())["hits"]
        hits = [RememberedHit(tuple(map(Path, one["paths"])), float(one["second"])) for one in documents]
    except FileNotFoundError:
        option = library_option(library)
        raise UsageError(f'nothing was searched for in this library yet: mmi-tvr search "..." {option}') from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError("the last search cannot be read; search again") from error
    if not 1 <= number <= len(hits):
        raise UsageError(f"the last search had {counted(len(hits), 'hit')}; there is no hit {number}")
    return hits[number - 1]


def forget(library: Path) -> bool:
    """Forget the last search of a library; return whether there was one."""
    file = _file(library)
    was_there = file.exists()
    file.unlink(missing_ok=True)
    return was_there


def _file(library: Path) -> Path:
    """Return where the hits of a library lie; libraries are told apart by their paths."""
    folder = os.path.realpath(working_folder() / library.expanduser())
    name = digest(os.fsencode(folder).hex())
    return user_state_path("mmi-tvr") / "last-search" / f"{name}.json"
