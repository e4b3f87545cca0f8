"""Vision features: decoded and encoded once for each content and way of sampling, then read from safetensors shards.

A cache is a folder of shards (several videos each) and `manifest.jsonl`, one line a shard. A shard appears whole
(written aside, synced, renamed) and its own header says which keys it holds, so the manifest only saves opening every
shard at the start: a torn line, a lost manifest or a shard that never reached it is put right when the cache is opened.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import MediaError
from ..protocols import KeyImageMethod, Model
from ..types import Features, Video
from ..utils.files import naming, write_atomically
from ..utils.hashing import digest, file_digest

MANIFEST = "manifest.jsonl"
_FINGERPRINTS = "fingerprints"
_MANY = 64  # small shards, from which they are merged
_LARGE_KEYS, _LARGE_BYTES = 256, 16 << 20  # of a shard that is not small: reading a video's features reads its header
_STALE_SECONDS = 3600.0  # a file written aside that is older than this belongs to no living process


@dataclass(frozen=True, slots=True)
class Source:
    """A video to be read: `content` is the SHA-256 of its file (needed by a cache only).

    With a `stamp` (`stamp_of` the file when it was hashed), a file that has changed since is refused, so that
    features are never filed under the hash of other bytes.
    """

    video: Video
    content: str = ""
    stamp: tuple[int, int] | None = None


def stamp_of(path: Path) -> tuple[int, int]:
    """Return size in bytes and time of modification in nanoseconds: a file with the same stamp counts as unchanged."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def source_of(video: Video) -> Source | MediaError:
    """Return a video with the hash of its file, or why it cannot be read."""
    try:
        stamp = stamp_of(video.path)  # first: a change while the file is hashed shows later
        return Source(video, file_digest(video.path), stamp)
    except OSError as error:
        return MediaError(video.path, error.strerror or str(error))


def sampling_fingerprint(model: Model, method: KeyImageMethod) -> str:
    """Return the hash of all that changes the features of a given file."""
    return digest(model.vision_fingerprint(), method.fingerprint(), model.image_size)


def feature_key(source: Source, sampling: str) -> str:
    """Return the name of a source's features in a cache: content hash, then sampling and span."""
    return f"{source.content}-{digest(sampling, source.video.start, source.video.end)}"


class FeatureCache:
    """Features by key in a folder that is made on demand. Damaged or lost shards read as "not there".

    tidy: remove what a kill left over, and set the manifest right; a reader beside a writer leaves both alone.
    """

    def __init__(self, root: str | Path, tidy: bool = True) -> None:
        self.root = Path(root)
        self._shards: dict[str, str] = {}  # key -> the shard that holds it
        self._open(tidy)

    def __contains__(self, key: str) -> bool:
        return key in self._shards

    def __len__(self) -> int:
        return len(self._shards)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._shards))

    def get(self, key: str) -> Features | None:
        """Return the features under this key; None where there are none, or their shard cannot be read any more."""
        features = self._read(key)
        if features is None and key in self._shards and self._merged_shard(key) is not None:
            features = self._read(key)
        if features is None:
            self._shards.pop(key, None)
        return features

    def _read(self, key: str) -> Features | None:
        """Return the features of a key's shard; None where it is lost or damaged, or holds none of this key."""
        try:
            with safe_open(self.root / self._shards[key], framework="numpy") as stored:
                names = [name for name in stored.keys() if name.startswith(f"{key}/")]  # noqa: SIM118 (not a mapping)
                arrays = {name[len(key) + 1 :]: stored.get_tensor(name) for name in names}
            segments, fingerprints = arrays.pop("segments"), arrays.pop(_FINGERPRINTS, None)
        except (FileNotFoundError, SafetensorError, KeyError):
            return None
        return Features(segments, {name.partition("/")[2]: array for name, array in arrays.items()}, fingerprints)

    def fingerprints(self, keys: Iterable[str]) -> dict[str, NDArray[np.uint8]]:
        """Return the fingerprints of the features under these keys, without the features, of those that have any."""
        present = [key for key in keys if key in self._shards]
        fingerprints = self._read_fingerprints(present)
        lost = [key for key in present if key not in fingerprints]
        moved = [self._merged_shard(key) for key in lost]  # those of one shard are found again together
        if any(moved):
            fingerprints |= self._read_fingerprints(lost)
        return fingerprints

    def _read_fingerprints(self, keys: Iterable[str]) -> dict[str, NDArray[np.uint8]]:
        """Return fingerprints by key; each shard is opened once."""
        keys_by_shard: dict[str, list[str]] = defaultdict(list)
        for key in keys:
            keys_by_shard[self._shards[key]].append(key)
        fingerprints: dict[str, NDArray[np.uint8]] = {}
        for shard, some in keys_by_shard.items():
            with suppress(FileNotFoundError, SafetensorError), safe_open(self.root / shard, "numpy") as stored:
                names = {f"{key}/{_FINGERPRINTS}": key for key in some}
                fingerprints |= {names[name]: stored.get_tensor(name) for name in names.keys() & set(stored.keys())}
        return fingerprints

    def _merged_shard(self, key: str) -> str | None:
        """Return the shard to which the writer has moved a key meanwhile; None where it has not."""
        if (self.root / self._shards[key]).exists():
            return None
        for shard, keys in _read_manifest(self.root / MANIFEST).items():
            if (self.root / shard).exists():
                self._shards.update(dict.fromkeys((one for one in keys if one in self._shards), shard))
        return self._shards[key]

    def put(self, batch: Mapping[str, Features]) -> None:
        """Keep these features as one shard; durable when this returns. Keys that are there already are left as is."""
        fresh = {key: features for key, features in batch.items() if key not in self._shards}
        if fresh:
            self._write(fresh)

    def discard(self, keys: Iterable[str]) -> int:
        """Delete the features of these keys, and return how many there were; what else their shards hold is kept."""
        deleted = {key for key in keys if key in self._shards}
        old_shards = {self._shards[key] for key in deleted}
        survivors: dict[str, dict[str, Features]] = defaultdict(dict)  # by old shard
        for key, shard in list(self._shards.items()):
            if shard in old_shards and key not in deleted and (features := self.get(key)) is not None:
                survivors[shard][key] = features
        # New shards first: a kill in between leaves a key in two shards, and opening the cache settles on one.
        for batch in survivors.values():
            self._write(batch)
        for key in deleted:
            del self._shards[key]
        for shard in old_shards:
            (self.root / shard).unlink(missing_ok=True)
        return len(deleted)

    def merge_small_shards(self) -> None:
        """Put small shards together where there are many of them, so that their number stays bounded.

        Only for the one process that writes here; others read on, and find again what was moved.
        """
        keys_by_shard: dict[str, list[str]] = defaultdict(list)
        for key, shard in self._shards.items():
            keys_by_shard[shard].append(key)
        small = {}
        for shard, keys in keys_by_shard.items():
            size = _size(self.root / shard)
            if len(keys) < _LARGE_KEYS and size < _LARGE_BYTES:
                small[shard] = size
        if len(small) < _MANY:
            return
        group: list[str] = []
        for shard in small:
            group.append(shard)
            whole = sum(len(keys_by_shard[one]) for one in group) >= _LARGE_KEYS
            if whole or sum(small[one] for one in group) >= _LARGE_BYTES:
                self._merge(group, keys_by_shard)
                group = []
        if len(group) > 1:
            self._merge(group, keys_by_shard)

    def _merge(self, shards: Sequence[str], keys_by_shard: Mapping[str, Sequence[str]]) -> None:
        """Write one shard in the place of several. It comes first: after a kill in between, opening settles on one."""
        stored = {key: self.get(key) for shard in shards for key in keys_by_shard[shard]}
        batch = {key: features for key, features in stored.items() if features is not None}
        if batch:
            self._write(batch)
        for shard in set(shards) - set(self._shards.values()):
            (self.root / shard).unlink(missing_ok=True)

    def _write(self, batch: Mapping[str, Features]) -> None:
        tensors = {}
        for key, features in batch.items():
            tensors[f"{key}/segments"] = np.ascontiguousarray(features.segments)
            if features.fingerprints is not None:
                tensors[f"{key}/{_FINGERPRINTS}"] = np.ascontiguousarray(features.fingerprints)
            for name, array in features.arrays.items():
                tensors[f"{key}/arrays/{name}"] = np.ascontiguousarray(array)
        shard = f"{digest(*sorted(batch))}.safetensors"
        self.root.mkdir(parents=True, exist_ok=True)
        write_atomically(self.root / shard, save(tensors, metadata={"keys": json.dumps(list(batch))}))
        with naming(self.root / MANIFEST), (self.root / MANIFEST).open("a", encoding="utf-8") as manifest:
            manifest.write(_manifest_line(shard, list(batch)))
        self._shards.update(dict.fromkeys(batch, shard))

    def _open(self, tidy: bool) -> None:
        """Read the manifest and hold it against the shards that are really there."""
        listed = _read_manifest(self.root / MANIFEST)
        present = sorted(path.name for path in self.root.glob("*.safetensors"))
        keys_by_shard = {shard: listed[shard] if shard in listed else self._header(shard) for shard in present}
        for shard, keys in keys_by_shard.items():
            for key in keys:
                self._shards.setdefault(key, shard)
        if not tidy:
            return
        used = set(self._shards.values())
        for shard in set(keys_by_shard) - used:  # damaged, or left over from a kill
            (self.root / shard).unlink(missing_ok=True)
            del keys_by_shard[shard]
        if keys_by_shard != listed:
            lines = [_manifest_line(shard, keys) for shard, keys in keys_by_shard.items()]
            write_atomically(self.root / MANIFEST, "".join(lines).encode())
        for leftover in self.root.glob(".*.tmp"):
            if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                leftover.unlink(missing_ok=True)

    def _header(self, shard: str) -> list[str]:
        """Return the keys that a shard's own header names; none where it is no whole safetensors file."""
        try:
            with safe_open(self.root / shard, framework="numpy") as stored:
                return list(json.loads(stored.metadata()["keys"]))
        except (SafetensorError, FileNotFoundError, KeyError, TypeError, ValueError):
            return []


def _size(path: Path) -> int:
    """Return bytes; 0 where there is no file any more."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _manifest_line(shard: str, keys: list[str]) -> str:
    return json.dumps({"shard": shard, "keys": keys}) + "\n"


def _read_manifest(path: Path) -> dict[str, list[str]]:
    """Return shard -> keys of every line that is whole."""
    if not path.exists():
        return {}
    entries = {}
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            entry = json.loads(line)
            entries[str(entry["shard"])] = list(entry["keys"])
        except (ValueError, KeyError, TypeError):
            continue
    return entries
