"""Vectors and ids on disk: two append-only files, and a manifest that says how many of their rows count.

    manifest.json            fingerprint, dim, generation, count, serial; replaced atomically
    vectors-GENERATION.f32   rows of dim float32
    ids-GENERATION.i64       one int64 per row; DEAD where the row is deleted

Rows beyond the manifest's count are leftovers of a killed writer: never read, and overwritten by the next one.
A commit first writes rows, then the manifest, then the tombstones of what the rows replace; where a kill comes in
between, an id is there twice and its last row holds. A row that counts is never changed within a generation but
for its tombstone, so readers may have the files open meanwhile: they keep the state that they opened.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import IndexMissing, LibraryBusy
from ..types import FloatArray, IdArray
from ..utils.files import naming, sync, write_atomically
from ..utils.wording import counted
from ._common import damaged, nothing_there, refuse_foreign, refuse_other_index

DEAD = -1
_COMPACT_ROWS, _COMPACT_SHARE = 1_024, 0.25  # so many dead rows, and such a share, are worth a rewrite
_BLOCK = 16_384  # rows copied at once


@dataclass(frozen=True)
class Manifest:
    """`generation` names the files; `serial` grows with every commit."""

    fingerprint: str
    dim: int
    generation: str
    count: int = 0
    serial: int = 0
    store: str = "flat"
    format: int = 1

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Return the manifest of a folder. IndexMissing where there is none that can be read."""
        path = folder / "manifest.json"
        try:
            manifest = cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise nothing_there(folder) from None
        except (ValueError, TypeError) as error:
            raise damaged(folder, f"manifest.json: {error}") from error
        if (manifest.store, manifest.format) != ("flat", 1):
            raise damaged(folder, f"its format is {manifest.store} {manifest.format}, this version reads flat 1")
        return manifest

    @property
    def maker(self) -> tuple[str, int]:
        """Fingerprint and dim of the vectors."""
        return self.fingerprint, self.dim

    def write(self, folder: Path) -> None:
        write_atomically(folder / "manifest.json", json.dumps(asdict(self), indent=1).encode())


class VectorStore:
    """The rows of one folder: `ids` (R,), DEAD where deleted, and `vectors` (R, dim), a read-only memory map.

    `rows` counts all of them, `dead` the deleted ones. A row keeps its number as long as `epoch` stays the same.
    """

    def __init__(self, folder: Path, dim: int, fingerprint: str, create: bool) -> None:
        """Open the store in a folder, or make it there where `create` is true.

        Raises IndexMissing where there is none, IndexMismatch where another `fingerprint` or `dim` made it.
        """
        self.folder = folder
        self.epoch = 0
        self.rows = self.dead = 0
        self.manifest: Manifest
        self._ids: IdArray
        self._map: FloatArray
        self._tombstones: list[int]  # deleted rows that the ids file does not show as DEAD yet
        self._pending = False  # whether there is something to commit
        refuse_other_index(folder, "manifest.json")
        if create and not (folder / "manifest.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            fresh = Manifest(fingerprint, dim, secrets.token_hex(4))
            nothing = np.empty(0, np.int64)
            _write_rows(folder, fresh.generation, nothing, np.empty((0, dim), np.float32), nothing)
            fresh.write(folder)
        refuse_foreign(folder, Manifest.read(folder).maker, (fingerprint, dim))
        self._load()

    @property
    def ids(self) -> IdArray:
        return self._ids[: self.rows]

    @property
    def live(self) -> int:
        """Count the rows that are not deleted."""
        return self.rows - self.dead

    @property
    def vectors(self) -> FloatArray:
        if len(self._map) < self.rows:
            self._map = self._mapped(self.rows)
        return self._map[: self.rows]

    @property
    def generation(self) -> str:
        return self.manifest.generation

    def is_outdated(self) -> bool:
        """Return whether another process has committed since this state was read, or the files are gone."""
        try:
            return Manifest.read(self.folder) != self.manifest
        except IndexMissing:
            return True

    def begin_writing(self) -> None:
        """Before a write: take over what others have written meanwhile, and remove what killed writers left."""
        if self._pending:
            return
        present = Manifest.read(self.folder)
        if present != self.manifest:
            refuse_foreign(self.folder, present.maker, self.manifest.maker)
            self._load()
        self._remove_leftovers()

    def append(self, ids: IdArray, vectors: FloatArray) -> int:
        """Append rows, not yet committed, and return the number of the first."""
        first, end = self.rows, self.rows + len(ids)
        _write_at(self._file("vectors"), first * self.manifest.dim * 4, vectors.astype("<f4", copy=False).tobytes())
        _write_at(self._file("ids"), first * 8, ids.astype("<i8", copy=False).tobytes())
        if end > len(self._ids):
            self._ids = np.concatenate([self.ids, np.empty(max(end, 1_024), np.int64)])
        self._ids[first:end] = ids
        self.rows, self._pending = end, True
        return first

    def mark_deleted(self, rows: IdArray) -> None:
        """Delete rows, not yet committed."""
        self._ids[rows] = DEAD
        self._tombstones.extend(rows.tolist())
        self.dead += len(rows)
        self._pending = True

    def commit(self) -> None:
        """Make everything since the last commit durable. Where many rows are deleted, the others are renumbered.

        Raises LibraryBusy where another process has written here since; what was not committed is lost.
        """
        if not self._pending:
            return
        if Manifest.read(self.folder) != self.manifest:
            self._load()
            raise LibraryBusy(f"{self.folder}: another process has written here meanwhile; run this again")
        if self.dead > max(_COMPACT_ROWS, _COMPACT_SHARE * self.rows):
            self._compact()
            return
        for name in ("vectors", "ids"):
            sync(self._file(name))
        fresh = replace(self.manifest, count=self.rows, serial=self.manifest.serial + 1)
        fresh.write(self.folder)
        self.manifest = fresh
        self._write_tombstones()
        self._pending = False

    def release_map(self) -> None:
        """Let go of the memory map."""
        self._map = self._mapped(0)

    def _file(self, name: str) -> Path:
        return _file(self.folder, name, self.manifest.generation)

    def _load(self) -> None:
        """Read one consistent state, while another process may be committing or compacting."""
        while True:
            self.manifest = Manifest.read(self.folder)
            with suppress(FileNotFoundError):  # compacted away since the manifest was read: it has changed
                ids = np.fromfile(self._file("ids"), "<i8", self.manifest.count).astype(np.int64, copy=False)
                size = self._file("vectors").stat().st_size // (4 * self.manifest.dim)
                self._map = self._mapped(min(size, self.manifest.count))
                # A tombstone is written after its commit, so an unchanged manifest means that none is ahead of it.
                if Manifest.read(self.folder) == self.manifest:
                    break
            if Manifest.read(self.folder) == self.manifest:
                raise damaged(self.folder, f"the files of generation {self.manifest.generation} are missing")
        if min(len(ids), size) < self.manifest.count:
            raise damaged(self.folder, f"fewer than the {counted(self.manifest.count, 'row')} it should have")
        self._ids, self.rows = ids, len(ids)
        self.epoch += 1
        # Where a kill came before the tombstones, an id is there twice: the last row holds.
        live = np.flatnonzero(ids != DEAD)[::-1]
        last = live[np.unique(ids[live], return_index=True)[1]]
        self._tombstones = np.setdiff1d(live, last, assume_unique=True).tolist()
        self._ids[self._tombstones] = DEAD
        self.dead = self.rows - len(last)
        self._pending = False

    def _mapped(self, rows: int) -> FloatArray:
        if not rows:  # an empty file cannot be mapped
            return np.empty((0, self.manifest.dim), np.float32)
        # asarray: slices of the subclass np.memmap are slow to make.
        return np.asarray(np.memmap(self._file("vectors"), "<f4", "r", shape=(rows, self.manifest.dim)))

    def _remove_leftovers(self) -> None:
        for path in [*self.folder.glob("vectors-*.f32"), *self.folder.glob("ids-*.i64"), *self.folder.glob("*.tmp")]:
            if path not in (self._file("vectors"), self._file("ids")):
                with suppress(PermissionError):  # Windows, while a reader maps it: the next writer removes it
                    path.unlink(missing_ok=True)

    def _write_tombstones(self) -> None:
        """Write DEAD over the ids of deleted rows.

        In order of rows: an id that is there twice loses its old row first, so no old vector comes back.
        """
        rows = np.unique(np.array(self._tombstones, np.int64))
        for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
            if len(run):
                _write_at(self._file("ids"), int(run[0]) * 8, np.full(len(run), DEAD, "<i8").tobytes())
        if len(rows):
            sync(self._file("ids"))
        self._tombstones = []

    def _compact(self) -> None:
        """Copy the live rows, in their order, into a new generation."""
        live = np.flatnonzero(self.ids != DEAD)
        fresh = replace(
            self.manifest, generation=secrets.token_hex(4), count=len(live), serial=self.manifest.serial + 1
        )
        _write_rows(self.folder, fresh.generation, self.ids, self.vectors, live)
        fresh.write(self.folder)
        self._load()  # lets the old map go, so that its file can be removed
        self._remove_leftovers()


def _file(folder: Path, name: str, generation: str) -> Path:
    return folder / f"{name}-{generation}.{'f32' if name == 'vectors' else 'i64'}"


def _write_rows(folder: Path, generation: str, ids: IdArray, vectors: FloatArray, rows: IdArray) -> None:
    """Write the files of a new generation, holding these rows of `ids` and `vectors`."""
    path = _file(folder, "vectors", generation)
    with naming(path), path.open("wb") as stream:
        for first in range(0, len(rows), _BLOCK):
            stream.write(vectors[rows[first : first + _BLOCK]].astype("<f4", copy=False).tobytes())
    path = _file(folder, "ids", generation)
    with naming(path):
        path.write_bytes(ids[rows].astype("<i8", copy=False).tobytes())
    for name in ("vectors", "ids"):
        sync(_file(folder, name, generation))


def _write_at(path: Path, offset: int, content: bytes) -> None:
    with naming(path), path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(content)
