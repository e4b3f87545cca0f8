"""Odd and broken media files, each with what indexing must make of it. Deterministic: the same seed, the same bytes.

`corpus(folder, seed)` writes them and returns the list. The test, the bench and scripts/make_odd_media.py share this
module; random damage without end is in media_damage.py.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import damaged_films
import whole_films
from media_damage import whole_files
from odd_films import Odd

from mmi_tvr.library import IndexReport, Library
from mmi_tvr.media import guarded

MOST_MEMORY = 400  # megabytes that a decoding process may have in memory, whatever file of the corpora it reads


def corpus(folder: Path, seed: int = 0) -> list[Odd]:
    """Write every file into a folder (made if need be) and say what they are."""
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder talks to the terminal
    folder.mkdir(parents=True, exist_ok=True)
    whole = whole_files(folder)
    odd = [*whole_films.recipes(whole), *damaged_films.recipes(whole, random.Random(seed))]
    for file in odd:
        file.make(folder / file.name)
    return odd


def outcomes(library: Library, report: IndexReport) -> dict[str, int | str]:
    """What indexing made of each file, by name: its number of key images, or the reason why there are none."""
    catalogue = library._reader.catalogue()
    by_name: dict[str, int | str] = {path.name: reason for path, reason in report.quarantined}
    for content in catalogue.contents_with("kind = 'audio' AND state = 'indexed'"):
        by_name |= {path.name: 0 for path in content.paths}
    for entry in catalogue.entries(catalogue.searchable()).values():
        by_name |= {path.name: len(entry.segments) for path in entry.paths}
    return by_name


def most_memory() -> int:
    """The most megabytes that a decoding process, of those that wait for the next file, has had in memory (Linux)."""
    statuses = [Path(f"/proc/{worker._process.pid}/status").read_text() for worker in guarded._idle._workers]
    return max(int(status.partition("VmHWM:")[2].split()[0]) // 1024 for status in statuses)
