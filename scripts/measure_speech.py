"""Measure the channel heard on recordings of which it is known what is said: `measure_speech.py LIBRARY FOLDER`.

FOLDER has recordings and `transcripts.tsv` (language, file, text; no text where nobody speaks), and LIBRARY was made of
it: `mmi-tvr index FOLDER --library LIBRARY --channels heard`. Printed is, by language, the share of words (Chinese:
characters) that were recognised wrongly, missed or made up, as searches fold them, and how often a search for what is
said has the recording first; and all that was recognised where nobody speaks.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from make_spoken_clips import rows

from mmi_tvr import Library
from mmi_tvr.cli._console import command, out
from mmi_tvr.errors import UsageError
from mmi_tvr.fulltext.folding import tokens
from mmi_tvr.library.channels import ChannelStore
from mmi_tvr.utils.intervals import wilson
from mmi_tvr.utils.tables import interval, markdown_table

_DRAWS = 10_000


@dataclass(frozen=True)
class Recording:
    """What is said in a recording and what was recognised, whether a search has it first, and whether it believes
    that."""

    text: str
    recognised: str
    is_first: bool
    is_believed: bool

    @property
    def words(self) -> int:
        return len(tokens(self.text))

    @property
    def errors(self) -> int:
        return edits(tokens(self.text), tokens(self.recognised))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("library", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--show", action="store_true", help="print each recording that was not recognised exactly")
    options = parser.parse_args(arguments)
    by_language = measured(options.library, options.folder)
    header = ["language", "recordings", "words", "wrong, %", "exact", "first, %", "first and believed, %"]
    lines = [[language, *_row(of_language)] for language, of_language in by_language.items()]
    out.print("\n".join(markdown_table([header, *lines], padded=True)), markup=False)
    for of_language in by_language.values():
        for one in of_language:
            if (options.show and one.errors) or (one.recognised and not one.text):
                out.print(f"{one.text!r}: {one.recognised!r}", markup=False)


def measured(library: Path, folder: Path) -> dict[str, list[Recording]]:
    """Return the recordings of a folder by language, as a library has recognised and finds them."""
    by_language = defaultdict(list)
    store = ChannelStore.open_to_read(library)
    if store is None:
        raise UsageError(f"{library}: nothing is known of what is said: index it with --channels heard")
    with store, Library(library) as opened:
        contents = opened._reader.catalogue().contents_with("state = 'indexed'")
        hashes = {path.name: content.sha256 for content in contents for path in content.paths}
        for row in rows(folder / "transcripts.tsv"):
            recognised = " ".join(moment.text or "" for moment in store.texts.texts(hashes[row["file"]], "heard"))
            is_first = is_believed = False
            if row["text"]:
                result = opened.search(row["text"], top=1, min_relevance=0)
                is_first = bool(result) and row["file"] in {path.name for path in (result[0].path, *result[0].copies)}
                is_believed = result.is_found
            by_language[row["language"]].append(Recording(row["text"], recognised, is_first, is_first and is_believed))
    return by_language


def edits(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many words must be changed, added or left out to make one of the other (Levenshtein).

    >>> edits("abcd", "xbc")
    2
    """
    row = list(range(len(other) + 1))
    for number, word in enumerate(one, 1):
        before, row[0] = row[0], number
        for place, counterpart in enumerate(other, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (word != counterpart))
    return row[-1]


def _row(recordings: Sequence[Recording]) -> list[str]:
    words, errors = (np.array([getattr(one, name) for one in recordings]) for name in ("words", "errors"))
    if not words.sum():
        texts = sum(bool(one.recognised) for one in recordings)
        return [str(len(recordings)), "0", f"{texts} with a text", "", "", ""]
    draws = np.random.default_rng(0).integers(len(recordings), size=(_DRAWS, len(recordings)))
    low, high = np.percentile(100 * errors[draws].sum(axis=1) / words[draws].sum(axis=1), (2.5, 97.5))
    cells = [str(len(recordings)), str(words.sum()), interval(100 * errors.sum() / words.sum(), low, high)]
    cells.append(str(int((errors == 0).sum())))
    for hits in ([one.is_first for one in recordings], [one.is_believed for one in recordings]):
        cells.append(interval(100 * float(np.mean(hits)), *wilson(float(np.mean(hits)), len(hits))))
    return cells


if __name__ == "__main__":
    with command():
        main()
