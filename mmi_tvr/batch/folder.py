"""The directory of one long piece of work: what was asked, the list of items, and what became of each.

    manifest.json             what was asked, settings and fingerprints, and a tally of every finished shard
    items.jsonl               every item, one a line; written once, cut into shards of equally many lines
    work/SHARD/journal.jsonl  of an unfinished shard: which items were begun, finished, or failed, and why
    done/SHARD.jsonl          of a finished shard: what became of each item, in order; the last thing that is written
    leases/                   who works on what (`leases`)

A journal line is on disk before its items are worked on, so an item that kills its worker has been tried all the same.
What counts is `done/` and the journals; the tallies of the manifest are a summary of them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from ..errors import IndexMismatch, UsageError
from ..utils.files import write_atomically
from .inputs import Item
from .leases import LOCK_SECONDS

MANIFEST, ITEMS = "manifest.json", "items.jsonl"
FORMAT = 1
TRIES = 2  # then an item is quarantined
DIED = "its worker died while working on it"
Outcome = dict[str, Any]  # JSON; with "reason" where the item is quarantined


@dataclass(frozen=True)
class State:
    """How far a piece of work is: items in all, good ones, quarantined ones, and shards."""

    items: int
    good: int
    quarantined: int
    open: int
    shards: int

    @property
    def finished(self) -> int:
        return self.good + self.quarantined


class Folder:
    """A directory that `create` has made, or that is there already. UsageError where it is not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.manifest = self._read()
        except FileNotFoundError:
            raise UsageError(f"{path}: nothing was begun here") from None
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path / MANIFEST}: not readable ({error}); it was not written by this program") from None

    @classmethod
    def create(
        cls,
        path: Path,
        job: str,
        asked: Mapping[str, Any],
        plan: Callable[[], tuple[Mapping[str, Any], Sequence[Item]]],
        shard: int,
    ) -> Folder:
        """The directory of this work. Only the first process calls `plan` for settings and items.

        UsageError where other work was begun there: its list of items and its settings are kept as they were.
        """
        if path.is_dir() and not (path / MANIFEST).exists() and any(not p.name.startswith(".") for p in path.iterdir()):
            raise UsageError(f"{path}: not empty, and nothing was begun here; name a new or empty folder")
        path.mkdir(parents=True, exist_ok=True)
        with cls._lock(path):
            if not (path / MANIFEST).exists():
                settings, items = plan()
                write_atomically(path / ITEMS, b"".join(json_line(item) for item in items))
                document = {
                    "format": FORMAT,
                    "job": job,
                    "asked": dict(asked),
                    "settings": dict(settings),
                    "made": None,
                    "items": len(items),
                    "shard": shard,
                    "shards": {},
                }
                write_atomically(path / MANIFEST, _pretty(document))
        found = cls(path)
        found._refuse_other(job, asked)
        return found

    @property
    def settings(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.manifest["settings"]
        return found

    def lock(self) -> FileLock:
        """Held while something is written that several workers write."""
        return self._lock(self.path)

    def bind(self, made: Mapping[str, str]) -> None:
        """Note what makes the results, or raise IndexMismatch where the earlier ones were made by something else."""
        with self.lock():
            self.manifest = self._read()
            if self.manifest["made"] is None:
                self.manifest["made"] = dict(made)
                write_atomically(self.path / MANIFEST, _pretty(self.manifest))
        before = self.manifest["made"]
        if before != dict(made):
            differs = [f"{key} {before.get(key)}, now {made.get(key)}" for key in made if made[key] != before.get(key)]
            raise IndexMismatch(f"{self.path}: begun with {'; '.join(differs)}: name a new folder")

    # Shards

    def shards(self) -> list[str]:
        count = -(-self.manifest["items"] // self.manifest["shard"])
        return [f"{number:06d}" for number in range(count)]

    def open_shards(self) -> list[str]:
        done = self._done()
        return [shard for shard in self.shards() if shard not in done]

    def is_done(self, shard: str) -> bool:
        return self._record(shard).exists()

    def work(self, shard: str) -> Path:
        """Where an unfinished shard keeps what it has."""
        return self.path / "work" / shard

    def items(self, shard: str) -> dict[int, Item]:
        """The items of a shard by their number in the whole list."""
        first = int(shard) * self.manifest["shard"]
        last = min(first + self.manifest["shard"], self.manifest["items"])
        with (self.path / ITEMS).open("rb") as stream:
            stream.seek(self._ends[first])
            lines = stream.read(int(self._ends[last] - self._ends[first])).splitlines()
        return dict(enumerate(map(json.loads, lines), start=first))

    def publish(self, shard: str, items: Mapping[int, Item], outcomes: Mapping[int, Outcome]) -> None:
        """The shard is finished, with these outcomes."""
        self._record(shard).parent.mkdir(exist_ok=True)
        lines = [json_line({"id": item["id"], **outcomes[number]}) for number, item in items.items()]
        write_atomically(self._record(shard), b"".join(lines))
        self.settle()

    def outcomes(self, shard: str) -> list[Outcome]:
        """What became of each item of a finished shard, in order; its "id" says which item."""
        return [json.loads(line) for line in self._record(shard).read_bytes().splitlines()]

    def settle(self) -> None:
        """Make the manifest's tallies those of the shards that are finished."""
        with self.lock():
            self.manifest = self._read()
            done, known = self._done(), self.manifest["shards"]
            if done != set(known):
                self.manifest["shards"] = {each: known.get(each) or self._tally(each) for each in sorted(done)}
                write_atomically(self.path / MANIFEST, _pretty(self.manifest))

    def reopen(self) -> int:
        """Shards with quarantined items are open again; returns how many. What their good items took is kept where the
        work keeps it (features, for videos)."""
        bad = [each for each in sorted(self._done()) if self._tally(each)["quarantined"]]
        for shard in bad:
            self._record(shard).unlink(missing_ok=True)
        self.settle()
        return len(bad)

    def forgive(self) -> None:
        """Take back the tries that no worker came back from: all workers were ended from outside."""
        for path in self.path.glob("work/*/journal.jsonl"):
            journal = Journal(path)
            lost = [
                number
                for number, tries in journal.tries.items()
                if tries and number not in journal.outcomes and journal.reasons[number] == DIED
            ]
            if lost:
                journal.withdraw(lost)

    def tidy(self) -> None:
        """Remove what workers left behind that were killed between finishing a shard and clearing up."""
        done = self._done()
        for path in self.path.glob("work/*"):
            if path.name in done:
                shutil.rmtree(path, ignore_errors=True)
        for path in self.path.glob("leases/*.json"):
            if path.stem in done:
                path.unlink(missing_ok=True)

    def state(self) -> State:
        """Read from the disk, with what other processes have done."""
        tallies = self._read()["shards"]
        done = self._done()
        found = [tallies.get(each) or self._tally(each) for each in done]
        for path in self.path.glob("work/*/journal.jsonl"):
            if path.parent.name not in done:
                found.append(_tally(Journal(path).outcomes.values()))
        good, bad = (sum(each[key] for each in found) for key in ("good", "quarantined"))
        shards = self.shards()
        return State(self.manifest["items"], good, bad, len(shards) - len(done), len(shards))

    def quarantined(self) -> list[tuple[str, str]]:
        """(id, reason) of every quarantined item of the finished shards."""
        return [
            (outcome["id"], outcome["reason"])
            for shard, tally in sorted(self._read()["shards"].items())
            if tally["quarantined"]
            for outcome in self.outcomes(shard)
            if "reason" in outcome
        ]

    # Parts

    @staticmethod
    def _lock(path: Path) -> FileLock:
        return FileLock(path / ".manifest.lock", timeout=LOCK_SECONDS)

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"its format is {found['format']}, this version reads {FORMAT}")
        return found

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """Where each line of the list begins, and where the last one ends: (items + 1,)."""
        newlines = np.flatnonzero(np.fromfile(self.path / ITEMS, np.uint8) == ord("\n"))
        return np.concatenate([[0], newlines + 1]).astype(np.int64)

    def _record(self, shard: str) -> Path:
        return self.path / "done" / f"{shard}.jsonl"

    def _done(self) -> set[str]:
        return {path.stem for path in self.path.glob("done/[0-9]*.jsonl")}

    def _tally(self, shard: str) -> dict[str, int]:
        return _tally(self.outcomes(shard))

    def _refuse_other(self, job: str, asked: Mapping[str, Any]) -> None:
        before = {"job": self.manifest["job"], **self.manifest["asked"]}
        now = {"job": job, **asked}
        differs = [f"{key} {before.get(key)!r}, now {now[key]!r}" for key in now if now[key] != before.get(key)]
        if differs:
            raise UsageError(f"{self.path}: begun with {'; '.join(differs)}: ask the same, or name a new folder")


class Journal:
    """What has been tried of one shard. A torn last line, as a kill leaves it, counts as not written.

    `tries` of items that were begun and neither finished nor given back; `reasons` why their last try failed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[int, Outcome] = {}
        self.tries: dict[int, int] = {}
        self.reasons: dict[int, str] = {}
        text = path.read_bytes() if path.exists() else b""
        self._torn = bool(text) and not text.endswith(b"\n")
        for line in text.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            self._apply(event)

    def begin(self, numbers: Iterable[int]) -> None:
        self._write({"begin": list(numbers)})

    def finish(self, outcomes: Mapping[int, Outcome]) -> None:
        self._write({"done": {str(number): outcome for number, outcome in outcomes.items()}})

    def fail(self, reasons: Mapping[int, str]) -> None:
        self._write({"failed": {str(number): reason for number, reason in reasons.items()}})

    def withdraw(self, numbers: Iterable[int]) -> None:
        """These were begun, and are given back: it was not their fault."""
        self._write({"withdrawn": list(numbers)})

    def _apply(self, event: Mapping[str, Any]) -> None:
        for number in event.get("begin", ()):
            self.tries[number] = self.tries.get(number, 0) + 1
            self.reasons[number] = DIED
        for number, outcome in event.get("done", {}).items():
            self.outcomes.setdefault(int(number), outcome)
        for number, reason in event.get("failed", {}).items():
            self.reasons[int(number)] = reason
        for number in event.get("withdrawn", ()):
            self.tries[number] = max(0, self.tries.get(number, 0) - 1)

    def _write(self, event: Mapping[str, Any]) -> None:
        line = (b"\n" if self._torn else b"") + json_line(event)
        with self.path.open("ab") as stream:
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
        self._torn = False
        self._apply(event)


def _tally(outcomes: Iterable[Outcome]) -> dict[str, int]:
    bad = ["reason" in outcome for outcome in outcomes]
    return {"good": len(bad) - sum(bad), "quarantined": sum(bad)}


def json_line(value: Mapping[str, Any]) -> bytes:
    """One line of JSON; half characters, as odd file names have them, are escaped."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _pretty(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace") + b"\n"
