"""The directory of one long piece of work: what was requested, the list of items, and what became of each.

    manifest.json             what was requested, settings and fingerprints, and a tally of every finished shard
    items.jsonl               every item, one a line; written once, cut into shards of equally many lines
    work/SHARD/journal.jsonl  of an unfinished shard: which items were begun, finished, or failed, and why
    done/SHARD.jsonl          of a finished shard: what became of each item, in order; the last thing that is written
    leases/                   who works on what (`leases`)

A journal line is on disk before its items are worked on, so an item that kills its worker has been tried all the same.
What counts is `done/` and the journals; the tallies of the manifest are a summary of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from ..errors import IndexMismatch, UsageError
from ..utils import files, strict_json
from ..utils.files import write_atomically
from ..utils.loading import late_property
from .inputs import Item
from .journal import CRASHED, Journal, Outcome, json_line
from .leases import LOCK_SECONDS, Holder, machine

MANIFEST, ITEMS = "manifest.json", "items.jsonl"
FORMAT = 1
# Keys of a request and of settings that older manifests spell otherwise.
_FORMER_KEYS = {"min_score": "min_relevance"}


@dataclass(frozen=True)
class BatchState:
    """How far a piece of work is: items in all, succeeded and quarantined ones; open shards, and shards in all."""

    items: int
    succeeded: int
    quarantined: int
    open_shards: int
    shards: int

    @property
    def finished(self) -> int:
        return self.succeeded + self.quarantined


class BatchFolder:
    """A directory that `create` has made, or that is there already. UsageError where it is not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.manifest = self._read_manifest()
        except FileNotFoundError:
            raise UsageError(f"{path}: nothing was begun here") from None
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path / MANIFEST}: not readable ({error}); it was not written by this program") from None

    @classmethod
    def create(
        cls,
        path: Path,
        job: str,
        request: Mapping[str, Any],
        plan: Callable[[], tuple[Mapping[str, Any], Sequence[Item]]],
        shard_size: int,
    ) -> BatchFolder:
        """Return the directory of this work, made where it is not there yet.

        Args:
            path: the directory; it may be empty or hold this work, and nothing else.
            job: which kind of work (`extract.JOB`, `infer.JOB`).
            request: what the user named. Later processes have to name the same.
            plan: returns settings and items; called by the first process alone, whose list and settings are kept.
            shard_size: items in a shard.
        Raises:
            UsageError: other work was begun there, or something else is there.
        """
        if shard_size < 1:
            raise UsageError(f"a shard holds at least 1 item, not {shard_size}")
        if path.is_dir() and not (path / MANIFEST).exists() and any(not p.name.startswith(".") for p in path.iterdir()):
            raise UsageError(f"{path}: not empty, and nothing was begun here; name a new or empty folder")
        path.mkdir(parents=True, exist_ok=True)
        with _manifest_lock(path):
            if not (path / MANIFEST).exists():
                settings, items = plan()
                write_atomically(path / ITEMS, b"".join(json_line(item) for item in items))
                manifest = {
                    "format": FORMAT,
                    "job": job,
                    "asked": dict(request),
                    "settings": dict(settings),
                    "made": None,
                    "items": len(items),
                    "shard": shard_size,
                    "shards": {},
                }
                write_atomically(path / MANIFEST, _pretty_json(manifest))
        folder = cls(path)
        folder._refuse_other_request(job, request)
        return folder

    @property
    def settings(self) -> Mapping[str, Any]:
        settings: Mapping[str, Any] = self.manifest["settings"]
        return settings

    def lock(self) -> FileLock:
        """Return the lock to hold while something is written that several workers write."""
        return _manifest_lock(self.path)

    def bind(self, fingerprints: Mapping[str, str]) -> None:
        """Note what the results depend on; raise IndexMismatch where the earlier results depend on something else."""
        with self.lock():
            self.manifest = self._read_manifest()
            if self.manifest["made"] is None:
                self.manifest["made"] = dict(fingerprints)
                write_atomically(self.path / MANIFEST, _pretty_json(self.manifest))
        before = self.manifest["made"]
        if before != dict(fingerprints):
            differences = _differences(before, fingerprints, str)
            raise IndexMismatch(f"{self.path}: begun with {differences}: name a new folder")

    # Shards

    def shards(self) -> list[str]:
        count = -(-self.manifest["items"] // self.manifest["shard"])
        return [f"{number:06d}" for number in range(count)]

    def open_shards(self) -> list[str]:
        finished = self._finished_shards()
        return [shard for shard in self.shards() if shard not in finished]

    def is_finished(self, shard: str) -> bool:
        return self._outcomes_file(shard).exists()

    def workdir(self, shard: str) -> Path:
        """Return where an unfinished shard keeps its journal and its partial results."""
        return self.path / "work" / shard

    def items(self, shard: str) -> dict[int, Item]:
        """Return the items of a shard by their number in the whole list."""
        first = int(shard) * self.manifest["shard"]
        last = min(first + self.manifest["shard"], self.manifest["items"])
        with (self.path / ITEMS).open("rb") as stream:
            stream.seek(self._line_offsets[first])
            lines = stream.read(int(self._line_offsets[last] - self._line_offsets[first])).split(b"\n")[:-1]
        return dict(enumerate(map(strict_json.loads, lines), start=first))

    def publish(self, shard: str, items: Mapping[int, Item], outcomes: Mapping[int, Outcome]) -> None:
        """Write what became of each item of a shard: from now on it is finished."""
        self._outcomes_file(shard).parent.mkdir(exist_ok=True)
        lines = [json_line({"id": item["id"], **outcomes[number]}) for number, item in items.items()]
        write_atomically(self._outcomes_file(shard), b"".join(lines))
        self.update_tallies()

    def outcomes(self, shard: str) -> list[Outcome]:
        """Return what became of each item of a finished shard, in order; its "id" says which item."""
        return [strict_json.loads(line) for line in self._outcomes_file(shard).read_bytes().split(b"\n")[:-1]]

    def update_tallies(self) -> None:
        """Make the manifest's tallies those of the shards that are finished."""
        with self.lock():
            self.manifest = self._read_manifest()
            finished, known = self._finished_shards(), self.manifest["shards"]
            if finished != set(known):
                self.manifest["shards"] = {
                    shard: known.get(shard) or _tally(self.outcomes(shard)) for shard in sorted(finished)
                }
                write_atomically(self.path / MANIFEST, _pretty_json(self.manifest))

    def reopen(self) -> int:
        """Open the shards with quarantined items again; returns how many.

        What their succeeded items took is kept where the work keeps it (features, for videos).
        """
        shards = [shard for shard in sorted(self._finished_shards()) if _tally(self.outcomes(shard))["quarantined"]]
        for shard in shards:
            self._outcomes_file(shard).unlink(missing_ok=True)
        self.update_tallies()
        return len(shards)

    def withdraw_crashed_tries(self) -> None:
        """Take back the tries that no worker came back from: all workers were ended from outside."""
        for path in self.path.glob("work/*/journal.jsonl"):
            journal = Journal(path)
            crashed = [
                number
                for number, tries in journal.tries.items()
                if tries and number not in journal.outcomes and journal.reasons[number] == CRASHED
            ]
            if crashed:
                journal.withdraw(crashed)

    def remove_leftovers(self) -> None:
        """Remove what workers left behind that were killed: between finishing a shard and clearing up, or while they
        wrote a file."""
        finished = self._finished_shards()
        for path in self.path.glob("work/*"):
            if path.name in finished:
                shutil.rmtree(path, ignore_errors=True)
        for path in self.path.glob("leases/*.json"):
            if path.stem in finished:
                path.unlink(missing_ok=True)
        for path in self.path.glob("*/.*.tmp"):
            pid = files.writer_of_draft(path)
            if pid is not None and Holder("", pid, machine()).is_dead():
                path.unlink(missing_ok=True)

    def state(self) -> BatchState:
        """Read from the disk how far the work is, with what other processes have done."""
        known = self._read_manifest()["shards"]
        finished = self._finished_shards()
        tallies = [known.get(shard) or _tally(self.outcomes(shard)) for shard in finished]
        for path in self.path.glob("work/*/journal.jsonl"):
            if path.parent.name not in finished:
                tallies.append(_tally(Journal(path).outcomes.values()))
        succeeded = sum(tally["good"] for tally in tallies)
        quarantined = sum(tally["quarantined"] for tally in tallies)
        shards = len(self.shards())
        return BatchState(self.manifest["items"], succeeded, quarantined, shards - len(finished), shards)

    def quarantined(self) -> list[tuple[str, str]]:
        """Return (id, reason) of every quarantined item of the finished shards."""
        return [
            (outcome["id"], outcome["reason"])
            for shard, tally in sorted(self._read_manifest()["shards"].items())
            if tally["quarantined"]
            for outcome in self.outcomes(shard)
            if "reason" in outcome
        ]

    # Parts

    def _read_manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = strict_json.loads((self.path / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']}, this version reads {FORMAT}")
        for section in (manifest["asked"], manifest["settings"]):
            for former, key in _FORMER_KEYS.items():
                if former in section:
                    section[key] = section.pop(former)
        return manifest

    @late_property
    def _line_offsets(self) -> NDArray[np.int64]:
        """Where each line of the list begins, and where the last one ends, in bytes: (items + 1,)."""
        newlines = np.flatnonzero(np.fromfile(self.path / ITEMS, np.uint8) == ord("\n"))
        return np.concatenate([[0], newlines + 1]).astype(np.int64)

    def _outcomes_file(self, shard: str) -> Path:
        return self.path / "done" / f"{shard}.jsonl"

    def _finished_shards(self) -> set[str]:
        return {path.stem for path in self.path.glob("done/[0-9]*.jsonl")}

    def _refuse_other_request(self, job: str, request: Mapping[str, Any]) -> None:
        before = {"job": self.manifest["job"], **self.manifest["asked"]}
        differences = _differences(before, {"job": job, **request}, repr)
        if differences:
            raise UsageError(f"{self.path}: begun with {differences}: ask the same, or name a new folder")


def _manifest_lock(path: Path) -> FileLock:
    return FileLock(path / ".manifest.lock", timeout=LOCK_SECONDS)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], spell: Callable[[Any], str]) -> str:
    """Name each key of `now` that had another value before, with both values; empty where there is none."""
    return "; ".join(
        f"{key} {spell(before.get(key))}, now {spell(value)}" for key, value in now.items() if value != before.get(key)
    )


def _tally(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Count outcomes as the manifest has them: {"good", "quarantined"}."""
    failed = ["reason" in outcome for outcome in outcomes]
    return {"good": len(failed) - sum(failed), "quarantined": sum(failed)}


def _pretty_json(document: Mapping[str, Any]) -> bytes:
    return strict_json.dumps(document, indent=1).encode() + b"\n"
