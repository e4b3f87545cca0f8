"""Vision features: decoded and encoded once for each content and way of sampling, then read from safetensors shards.

A cache is a folder of shards (several videos each) and `manifest.jsonl`, one line a shard. A shard appears whole
(written aside, synced, renamed) and its own header says which keys it holds, so the manifest only saves opening every
shard at the start: a torn line, a lost manifest or a shard that never reached it is put right when the cache is opened.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .. import keyimages
from ..errors import MediaError, MmiTvrError
from ..media.guarded import Decoders, limits
from ..protocols import KeyImageMethod, Model
from ..types import Features, KeyImage, Video
from ..utils.files import write_atomically
from ..utils.hashing import digest, file_digest

In = TypeVar("In")
Out = TypeVar("Out")

MANIFEST = "manifest.jsonl"
BATCH_VIDEOS = 8  # videos encoded and committed together
BATCH_SECONDS = 10.0  # or fewer, once so much time has passed: what a kill may cost
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
    """Size in bytes and time of modification in nanoseconds: a file with the same stamp is taken to be unchanged."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def source_of(video: Video) -> Source | MediaError:
    """A video and the hash of its file, or why it cannot be read."""
    try:
        stamp = stamp_of(video.path)  # first: a change while the file is hashed shows later
        return Source(video, file_digest(video.path), stamp)
    except OSError as error:
        return MediaError(video.path, error.strerror or str(error))


def sampling_fingerprint(model: Model, method: KeyImageMethod) -> str:
    """Hash of all that changes the features of a given file."""
    return digest(model.vision_fingerprint(), method.fingerprint(), model.image_size)


def feature_key(source: Source, sampling: str) -> str:
    """The name of a source's features in a cache: content hash, then sampling and span."""
    return f"{source.content}-{digest(sampling, source.video.start, source.video.end)}"


class FeatureCache:
    """Features by key in a folder that is made on demand. Damaged or lost shards read as "not there".

    tidy: remove what a kill left over, and set the manifest right; a reader beside a writer leaves both alone.
    """

    def __init__(self, root: str | Path, tidy: bool = True) -> None:
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self._shards: dict[str, str] = {}  # key -> the shard that holds it
        self._open(tidy)

    def __contains__(self, key: str) -> bool:
        return key in self._shards

    def __len__(self) -> int:
        return len(self._shards)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._shards))

    def get(self, key: str) -> Features | None:
        """The features under this key; None where there are none, or where their shard cannot be read any more."""
        shard = self._shards.get(key)
        if shard is None:
            return None
        try:
            with safe_open(self.root / shard, framework="numpy") as stored:
                own = [name for name in stored.keys() if name.startswith(f"{key}/")]  # noqa: SIM118 (not a mapping)
                arrays = {name[len(key) + 1 :]: stored.get_tensor(name) for name in own}
            segments = arrays.pop("segments")
        except (FileNotFoundError, SafetensorError, KeyError):
            del self._shards[key]
            return None
        return Features(segments, {name.partition("/")[2]: array for name, array in arrays.items()})

    def put(self, batch: Mapping[str, Features]) -> None:
        """Keep these features as one shard; durable when this returns. Keys that are there already are left as is."""
        fresh = {key: features for key, features in batch.items() if key not in self._shards}
        if fresh:
            self._write(fresh)

    def discard(self, keys: Iterable[str]) -> int:
        """Forget these keys; returns how many were there. What else their shards hold is kept."""
        gone = {key for key in keys if key in self._shards}
        touched = {self._shards[key] for key in gone}
        rest = [key for key, shard in self._shards.items() if shard in touched and key not in gone]
        kept = {key: features for key in rest if (features := self.get(key)) is not None}
        # New shards first: a kill in between leaves a key in two shards, and opening the cache settles on one.
        by_shard: dict[str, dict[str, Features]] = defaultdict(dict)
        for key, features in kept.items():
            by_shard[self._shards[key]][key] = features
        for survivors in by_shard.values():
            self._write(survivors)
        for key in gone:
            del self._shards[key]
        for shard in touched:
            (self.root / shard).unlink(missing_ok=True)
        return len(gone)

    def _write(self, batch: Mapping[str, Features]) -> None:
        tensors = {}
        for key, features in batch.items():
            tensors[f"{key}/segments"] = np.ascontiguousarray(features.segments)
            for name, array in features.arrays.items():
                tensors[f"{key}/arrays/{name}"] = np.ascontiguousarray(array)
        shard = f"{digest(*sorted(batch))}.safetensors"
        write_atomically(self.root / shard, save(tensors, metadata={"keys": json.dumps(list(batch))}))
        with (self.root / MANIFEST).open("a", encoding="utf-8") as manifest:
            manifest.write(_line(shard, list(batch)))
        self._shards.update(dict.fromkeys(batch, shard))

    def _open(self, tidy: bool) -> None:
        """Read the manifest and hold it against the shards that are really there."""
        listed = _read_manifest(self.root / MANIFEST)
        present = sorted(path.name for path in self.root.glob("*.safetensors"))
        held = {shard: listed[shard] if shard in listed else self._header(shard) for shard in present}
        for shard, keys in held.items():
            for key in keys:
                self._shards.setdefault(key, shard)
        if not tidy:
            return
        used = set(self._shards.values())
        for shard in [shard for shard in held if shard not in used]:  # damaged, or left over from a kill
            (self.root / shard).unlink(missing_ok=True)
            del held[shard]
        if held != listed:
            write_atomically(self.root / MANIFEST, "".join(_line(*entry) for entry in held.items()).encode())
        for leftover in self.root.glob(".*.tmp"):
            if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                leftover.unlink(missing_ok=True)

    def _header(self, shard: str) -> list[str]:
        """The keys that a shard's own header names; none where it is no whole safetensors file."""
        try:
            with safe_open(self.root / shard, framework="numpy") as stored:
                return list(json.loads(stored.metadata()["keys"]))
        except (SafetensorError, FileNotFoundError, KeyError, TypeError, ValueError):
            return []


def _line(shard: str, keys: list[str]) -> str:
    return json.dumps({"shard": shard, "keys": keys}) + "\n"


def _read_manifest(path: Path) -> dict[str, list[str]]:
    """Shard -> keys of every line that is whole."""
    entries = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
            entries[str(entry["shard"])] = list(entry["keys"])
        except (ValueError, KeyError, TypeError):
            continue
    return entries


def extract(
    sources: Sequence[Source], model: Model, method: KeyImageMethod
) -> Iterator[list[tuple[int, Features | MediaError]]]:
    """Decode and encode: batches of (position in `sources`, features or why there are none), in order, none missing.

    Worker processes (`media.guarded`) decode the videos that come next while the model works on these; at most two
    batches of pictures are held at a time. A file that hangs or crashes its decoder is one more MediaError.
    """
    decoders = Decoders(limits())

    def decode(source: Source) -> list[KeyImage] | MediaError:
        return _decode(source, method, model.image_size, decoders.sample)

    position = 0
    ahead = _ahead(decode, sources, BATCH_VIDEOS, decoders.limits.workers, decoders.stop)
    for batch in _batches(ahead, BATCH_VIDEOS, BATCH_SECONDS):
        yield list(enumerate(_encode(batch, model), start=position))
        position += len(batch)


def stored(
    videos: Sequence[Video],
    model: Model,
    method: KeyImageMethod,
    cache: FeatureCache,
    advance: Callable[[int], object] = lambda steps: None,
) -> Stored:
    """The features of every video, made where the cache does not have them; durable batch by batch.

    `advance` hears how many more are done. A video that cannot be used is among the `failures` of the result.
    """
    sampling = sampling_fingerprint(model, method)
    sources: dict[int, Source] = {}
    failures: dict[int, MediaError] = {}
    for at, video in enumerate(videos):
        source = source_of(video)
        if isinstance(source, MediaError):
            failures[at] = source
        else:
            sources[at] = source
    keys = {at: feature_key(source, sampling) for at, source in sources.items()}
    missing = [at for at, key in keys.items() if key not in cache]
    advance(len(videos) - len(missing))
    for batch in extract([sources[at] for at in missing], model, method):
        made = {missing[position]: found for position, found in batch}
        failures |= {at: found for at, found in made.items() if isinstance(found, MediaError)}
        cache.put({keys[at]: found for at, found in made.items() if isinstance(found, Features)})
        advance(len(batch))
    return Stored(cache, [keys.get(at, "") for at in range(len(videos))], failures)


class Stored(Sequence[Features]):
    """Features by number, read from the cache when they are asked for, and kept while there is room.

    A thousand videos of CLIP ViT-L with twelve key images take about half a gigabyte; `room` is in bytes.
    """

    def __init__(
        self, cache: FeatureCache, keys: Sequence[str], failures: Mapping[int, MediaError], room: int = 4 << 30
    ) -> None:
        self.failures = failures  # by number; asking for one of them raises it
        self._cache, self._keys, self._room = cache, keys, room
        self._held: dict[int, Features] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, number: int) -> str:
        """What the features are stored under: a hash of the file's content, its span and how it was sampled."""
        return self._keys[number]

    @overload
    def __getitem__(self, number: int) -> Features: ...

    @overload
    def __getitem__(self, number: slice) -> list[Features]: ...

    def __getitem__(self, number: int | slice) -> Features | list[Features]:
        if isinstance(number, slice):
            return [self[each] for each in range(len(self))[number]]
        at = range(len(self))[number]
        if at in self._held:
            return self._held[at]
        if at in self.failures:
            raise self.failures[at]
        found = self._cache.get(self._keys[at])
        if found is None:
            raise MmiTvrError(f"{self._cache.root}: features that were there are gone; run the same command again")
        size = sum(array.nbytes for array in found.arrays.values())
        if size <= self._room:
            self._room -= size
            self._held[at] = found
        return found


def _decode(source: Source, method: KeyImageMethod, size: int, sample: keyimages.Sample) -> list[KeyImage] | MediaError:
    path = source.video.path
    try:
        _, images = keyimages.from_video(source.video, method, size, sample)
        if source.stamp is not None and stamp_of(path) != source.stamp:
            return MediaError(path, "the file changed while it was being read")
    except OSError as error:
        return MediaError(path, error.strerror or str(error))
    except MediaError as error:
        return error
    return images or MediaError(path, "no picture could be decoded")


def _encode(batch: Sequence[list[KeyImage] | MediaError], model: Model) -> list[Features | MediaError]:
    """One call to the model for all pictures of the batch, cut back into videos."""
    pictures = [image.pixels for images in batch if not isinstance(images, MediaError) for image in images]
    arrays = {name: np.asarray(array) for name, array in model.encode_images(pictures).items()} if pictures else {}
    results: list[Features | MediaError] = []
    first = 0
    for images in batch:
        if isinstance(images, MediaError):
            results.append(images)
            continue
        last = first + len(images)
        segments = np.array([(image.start, image.end, image.time) for image in images], dtype=np.float64)  # (K, 3)
        results.append(Features(segments, {name: array[first:last] for name, array in arrays.items()}))
        first = last
    return results


def _ahead(
    work: Callable[[In], Out],
    items: Iterable[In],
    ahead: int,
    threads: int = 1,
    stop: Callable[[], object] = lambda: None,
) -> Iterator[Out]:
    """Results in order, from threads that run at most `ahead` items in front of the one that is asked for.

    `stop` is called at the end, also at an early one; it may cut short what still runs.
    """
    pool = ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="decode")
    waiting: deque[Future[Out]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also when the consumer stops early or Ctrl-C arrives
        stop()
        pool.shutdown(wait=True, cancel_futures=True)


def _batches(items: Iterable[Out], size: int, seconds: float) -> Iterator[list[Out]]:
    """Lists of at most `size` items; a list is closed early once it has been open for `seconds`."""
    batch: list[Out] = []
    opened = time.monotonic()
    for item in items:
        batch.append(item)
        if len(batch) >= size or time.monotonic() - opened >= seconds:
            yield batch
            batch, opened = [], time.monotonic()
    if batch:
        yield batch
