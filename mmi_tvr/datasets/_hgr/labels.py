"""HANet's labels of the training captions: numbers of frequent nouns and verbs.

{noun,verb}_gt.json          {video: [[number, ...] of each caption]}
{noun,verb}_gt_all.json      {video: {number: share of its captions}}
{noun,verb}_words_freq.json  {word: count}, most frequent first: what the numbers mean; it is in HANet's repository
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...types import Labels
from ...utils.textfiles import read_json_object
from .files import ENTRIES, HgrFolder

_KINDS = ("noun", "verb")


class CaptionLabels:
    """Entities (nouns) and actions (verbs) of captions and videos. HANet has no relations."""

    def __init__(self, folder: HgrFolder, names: Sequence[str]) -> None:
        """Read the files that `available` looks for; UsageError where they are not of these videos."""
        self._captions: dict[str, dict[str, list[list[str]]]] = {}
        self._videos: dict[str, dict[str, list[str]]] = {}
        for kind in _KINDS:
            path = folder.annotation(f"{kind}_gt.json")
            assert path is not None
            of_captions = read_json_object(path, ENTRIES)
            of_videos_path = folder.annotation(f"{kind}_gt_all.json")
            of_videos = read_json_object(of_videos_path, ENTRIES) if of_videos_path else None
            words = _Words(folder, kind)
            if lacking := [name for name in names if name not in of_captions]:
                raise UsageError(f"{path}: without labels of {lacking[0]} and {len(lacking) - 1:,} other videos")
            self._captions[kind] = {name: words.of_captions(of_captions[name], path, name) for name in names}
            self._videos[kind] = {
                name: words.of_video(of_videos, of_videos_path, name, self._captions[kind][name]) for name in names
            }

    @staticmethod
    def available(folder: HgrFolder, split: str) -> bool:
        """Return whether there are such files for a split: HANet has them of the training videos."""
        return split == "train" and all(folder.annotation(f"{kind}_gt.json") for kind in _KINDS)

    def video(self, name: str) -> Labels:
        """Return the labels of a video."""
        return Labels(tuple(self._videos["noun"][name]), tuple(self._videos["verb"][name]))

    def caption(self, name: str, place: int) -> Labels:
        """Return the labels of one caption of a video, as `ref_captions.json` numbers them. UsageError where it has
        none."""
        try:
            return Labels(
                tuple(self._captions["noun"][name][place]),
                tuple(self._captions["verb"][name][place]),
            )
        except IndexError:
            raise UsageError(
                f"{name}: has more captions than labels of captions (noun_gt.json, verb_gt.json)"
            ) from None


class _Words:
    """What the numbers of one kind of labels mean; without the file of frequencies they are noun 0, noun 1 ..."""

    def __init__(self, folder: HgrFolder, kind: str) -> None:
        path = folder.annotation(f"{kind}_words_freq.json")
        self._kind = kind
        self._words = list(read_json_object(path, "an object with an entry for each word")) if path else None

    def of_captions(self, captions: Any, path: Path, name: str) -> list[list[str]]:
        try:
            return [list(dict.fromkeys(self._word(number) for number in numbers)) for numbers in captions]
        except (TypeError, ValueError, LookupError) as error:
            raise UsageError(f"{path}: {name}: numbers of labels for each caption are expected ({error})") from error

    def of_video(self, document: Any, path: Path | None, name: str, captions: list[list[str]]) -> list[str]:
        """Return a video's labels; without a file, those of its captions."""
        if document is None:
            return list(dict.fromkeys(chain.from_iterable(captions)))
        try:
            return [self._word(number) for number in document[name]]
        except (TypeError, ValueError, LookupError) as error:
            raise UsageError(f"{path}: {name}: labels by their numbers are expected ({error})") from error

    def _word(self, number: Any) -> str:
        place = int(number)
        if place < 0:
            raise ValueError(f"{place} is no label's number")
        return f"{self._kind} {place}" if self._words is None else self._words[place]
