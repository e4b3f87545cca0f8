"""Photos of 12 megapixels into a library, by stage, with the share of the model; near-duplicates among many; a large
library with nothing new.

The photos are generated (smooth shapes with a camera's noise, JPEG of quality 90); each has bytes of its own. The model
of the first run sees the mean colour alone, so that what is timed is reading, looking and decoding. Near-duplicates are
looked for with vectors and features as wide as those of label_bridge.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmi_tvr import models
from mmi_tvr.config import Settings
from mmi_tvr.index import publish
from mmi_tvr.library import Library
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.catalogue_file import CATALOGUE
from mmi_tvr.library.components import Components
from mmi_tvr.library.facts import put_facts
from mmi_tvr.library.scan import Root
from mmi_tvr.types import Embeddings, Features, MediaFacts, Pixels, Query, Scoring, row_ids

SIDES = (4000, 3000)
_DIFFERENT = 8  # pictures; the photos are copies of them with another comment
_A_FOLDER = 1000  # files in it


def run(args: argparse.Namespace) -> Iterator[str]:
    photos, files, model_photos, pictures = (12, 2_000, 4, 64) if args.small else (1_000, 100_000, 64, 20_000)
    sides = (800, 600) if args.small else SIDES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = _write_photos(folder / "photos", photos, sides)
        megapixels = sides[0] * sides[1] / 1e6
        yield f"{photos:,} photos of {megapixels:.1f} megapixels, {size / photos / 1e6:.1f} MB each"
        stages = _Stages()
        with Library(folder / "library", model=_MeanColour()) as library:
            library.index(folder / "photos", progress=stages)
        seconds = stages.seconds()
        total = sum(seconds.values())
        parts = ", ".join(f"{stage} {photos / spent:,.0f} a second" for stage, spent in seconds.items())
        yield f"  without a model   {photos / total:8.1f} photos a second ({parts})"
        yield _share_of_the_model(folder / "photos", model_photos, total / photos)
        yield _near_duplicates(folder, pictures, pictures // 20)
        yield from _nothing_new(folder, files)


class _MeanColour:
    """A model that costs nothing."""

    name, image_size, scoring = "mean colour", 224, Scoring()
    reads = frozenset({"text"})

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        return {"mean": np.stack([image[::16, ::16].mean(axis=(0, 1)) for image in images]).astype(np.float32)}

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        rows = [
            video.arrays["mean"] / np.linalg.norm(video.arrays["mean"], axis=1, keepdims=True) for video in features
        ]
        return [Embeddings(moments[0], moments, video.segments) for moments, video in zip(rows, features, strict=True)]

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[Any]:
        return np.full((len(queries), 3), 3**-0.5, np.float32)

    def vision_fingerprint(self) -> str:
        return "mean colour"

    def fingerprint(self) -> str:
        return "mean colour"


class _WideVectors(_MeanColour):
    """A model that costs nothing, whose vectors and features are as wide as those of label_bridge."""

    name = "wide vectors"
    _projection = np.random.default_rng(0).standard_normal((3, 1384)).astype(np.float32)

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        logits = np.zeros((len(images), 2, 1000), np.float16)
        return {"mean": super().encode_images(images)["mean"] @ self._projection, "logits": logits}


class _Stages:
    """A progress that takes the time of each stage, by the clock or by another one."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._begun: list[tuple[str, float]] = []

    def begin(self, stage: str, total: int) -> None:
        self._begun.append((stage, self._clock()))

    def advance(self, steps: int = 1) -> None:
        pass

    def say(self, message: str) -> None:
        pass

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each stage; the last one ends now."""
        ends = [begun for _, begun in self._begun[1:]] + [self._clock()]
        return {stage: end - begun for (stage, begun), end in zip(self._begun, ends, strict=True)}


def _write_photos(folder: Path, count: int, sides: tuple[int, int]) -> int:
    """Write photos and return how many bytes they have."""
    random, width, height = np.random.default_rng(0), *sides
    originals = []
    for _ in range(min(count, _DIFFERENT)):
        shapes = Image.fromarray(random.integers(0, 255, (9, 12, 3), np.uint8)).resize(sides, Image.Resampling.BICUBIC)
        noise = random.normal(0, 5, (height, width, 1)).astype(np.float32)
        pixels = (np.asarray(shapes, np.float32) + noise).clip(0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        originals.append(buffer.getvalue())
    folder.mkdir()
    total = 0
    for number in range(count):
        comment = f"{number:08d}".encode()
        original = originals[number % len(originals)]
        total += (folder / f"{number:06d}.jpg").write_bytes(
            original[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + original[2:]
        )
    return total


def _share_of_the_model(folder: Path, count: int, without: float) -> str:
    """Say what the model that is there without any download costs. without: seconds of a photo without a model."""
    model = models.make(models.resolve(models.section("label_bridge")), "cpu")
    pictures = []
    for path in sorted(folder.iterdir())[:count]:
        with Image.open(path) as photo:
            photo.draft("RGB", (model.image_size, model.image_size))
            pictures.append(np.asarray(photo.resize((model.image_size, model.image_size))))
    model.encode_images(pictures[:1])
    started = time.perf_counter()
    model.encode_images(pictures)
    each = (time.perf_counter() - started) / len(pictures)
    share = each / (each + without)
    return f"  model label_bridge {each * 1000:7.1f} ms a photo, {100 * share:.0f} % of both together"


def _near_duplicates(folder: Path, count: int, new: int) -> str:
    """Say what comparing `new` pictures with their neighbours in a library of `count` others costs."""
    pictures, stages = folder / "pictures", _Stages(time.process_time)
    with Library(folder / "compared", model=_WideVectors()) as library:
        _write_small_pictures(pictures, range(count))
        library.index(pictures)
        _write_small_pictures(pictures, range(count, count + new))
        library.index(pictures, progress=stages)
    spent = 1000 * stages.seconds()["looking for near-duplicates"] / new
    return f"  near-duplicates of {new:,} new pictures in a library of {count:,}: {spent:.2f} CPU ms each"


def _write_small_pictures(folder: Path, numbers: range) -> None:
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(numbers.start)
    for number in numbers:
        pixels = Image.fromarray(random.integers(0, 255, (6, 8, 3), np.uint8))
        pixels.resize((96, 72)).save(folder / f"{number:06d}.jpg")


def _nothing_new(folder: Path, count: int) -> Iterator[str]:
    """Say how long a run looks at a library in which nothing is new."""
    paths = []
    for first in range(0, count, _A_FOLDER):
        below = folder / "many" / f"{first:06d}"
        below.mkdir(parents=True)
        paths += [below / f"{number:06d}.jpg" for number in range(first, min(first + _A_FOLDER, count))]
    for path in paths[1:]:
        path.write_bytes(b"x")
    paths[0].write_bytes(next((folder / "photos").iterdir()).read_bytes())
    with Library(folder / "large", model=_MeanColour()) as library:
        library.index(paths[0])
    _fill(folder / "large", folder / "many", paths[1:])
    with Library(folder / "large", model=_MeanColour()) as library:
        for name in ("first", "second"):
            started = time.perf_counter()
            report = library.index()
            spent = time.perf_counter() - started
            yield f"  nothing new ({name}) {spent:6.2f} s for {report.unchanged:,} files"


def _fill(library: Path, root: Path, paths: Sequence[Path]) -> None:
    """Put files into a library as if they were indexed."""
    with closing(Catalogue(library / CATALOGUE)) as catalogue:
        index = Components(library, catalogue, Settings(), _MeanColour()).open_index(create=False)
        assert index is not None
        vectors = np.full((2, 3), 3**-0.5, np.float32)
        embeddings = Embeddings(vectors[0], vectors[1:], np.array([[0.0, 1.0, 0.0]]))
        ids = []
        with catalogue.transaction():
            catalogue.add_root(Root(root))
            for number, path in enumerate(paths):
                status = path.stat()
                content = catalogue.content_number(f"{number:064x}")
                catalogue.put_file(path, (status.st_size, status.st_mtime_ns), content)
                put_facts(catalogue.connection, content, MediaFacts("image", 0.0, *SIDES))
                catalogue.set_indexed(content, embeddings)
                ids.append(row_ids(content, 1))
        index.add(np.concatenate(ids), np.tile(vectors, (len(ids), 1)))
        index.flush()
        publish(index)
        index.close()
