"""Many videos to disk, and a whole split as a folder in MSR-VTT's layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from joblib.externals.loky import ProcessPoolExecutor  # type: ignore[import-untyped]

from ...errors import UsageError
from ...types import Sample
from ...utils.device import processors
from ...utils.files import write_atomically

_FILES_PER_PROCESS = 64  # are rendered sooner than a process starts
_ANIMATION = 8  # among MSR-VTT's categories

Job = tuple[Callable[[], bytes], Path]  # what encodes a video, and its file; the first goes to other processes


def render(jobs: Sequence[Job], workers: int | None, advance: Callable[[], object]) -> None:
    """Render the files of all jobs, in several processes where there are many.

    Files are complete at any moment: stop and call again for the rest.

    Args:
        jobs: what encodes each video, and its file, whose folder must exist.
        workers: processes; None takes one for each processor.
        advance: called after each file.
    """
    count = min(workers or processors(), -(-len(jobs) // _FILES_PER_PROCESS))
    if count <= 1:
        for encoder, path in jobs:
            _render(encoder, path)
            advance()
        return
    # Started afresh, not forked: a fork of a process whose threads hold locks (torch has some) may hang. By loky:
    # multiprocessing would run the caller's script again in each process, and fail where that has no main guard.
    with ProcessPoolExecutor(count) as pool:
        running = [pool.submit(_render, encoder, path) for encoder, path in jobs]
        try:
            for done in as_completed(running):
                done.result()
                advance()
        except BaseException:
            for future in running:
                future.cancel()
            raise


def _render(encoder: Callable[[], bytes], path: Path) -> None:
    write_atomically(path, encoder())


TABLE = "captions.tsv"


def export(
    folder: Path,
    samples: Sequence[Sample],
    encoders: Sequence[Callable[[], bytes]],
    durations: Sequence[int],
    *,
    split: str,
    version: str,
    title: str,
    workers: int | None,
    begin: Callable[[int], object],
    advance: Callable[[], object],
) -> int:
    """Write samples as a folder: `videos/<id>.mp4`, `<split>_videodatainfo.json`, and `captions.tsv` at the end.

    Args:
        folder: where; it is made.
        samples: with their captions.
        encoders: what encodes the video of each.
        durations: of the videos, ms.
        split, version, title: as `annotation` has them.
        workers: processes; None takes one for each processor.
        begin: called with the number of files before they are rendered.
        advance: called after each.

    Returns:
        How many files were rendered; the others were there.

    Raises:
        UsageError: the folder holds other videos.
    """
    path, videos = folder / f"{split}_videodatainfo.json", folder / "videos"
    check(path, version)
    videos.mkdir(parents=True, exist_ok=True)
    write_atomically(path, annotation(samples, durations, split, version, title))
    targets = zip(encoders, (videos / _name(sample) for sample in samples), strict=True)
    jobs = [job for job in targets if not job[1].is_file()]
    begin(len(jobs))
    render(jobs, workers, advance)
    write_atomically(folder / TABLE, table(samples, videos.name))
    return len(jobs)


def annotation(samples: Sequence[Sample], durations: Sequence[int], split: str, version: str, title: str) -> bytes:
    """Return MSR-VTT's videodatainfo.json for these samples; the same bytes everywhere.

    Args:
        samples: with their captions.
        durations: of the same videos, ms.
        split: of the data set; MSR-VTT calls val validate, and contrast sets are tests.
        version: what `check` compares.
        title: of the data set.
    """
    part = {"train": "train", "val": "validate"}.get(split, "test")
    videos = [
        {
            "category": _ANIMATION,
            "url": "",
            "video_id": sample.id,
            "start time": 0.0,
            "end time": duration / 1000,
            "split": part,
            "id": number,
        }
        for number, (sample, duration) in enumerate(zip(samples, durations, strict=True))
    ]
    sentences = [(sample.id, caption) for sample in samples for caption in sample.captions]
    document = {
        "info": {
            "contributor": "mmi_tvr",
            "data_created": "",
            "version": version,
            "description": f"{title}, {split}",
            "year": "",
        },
        "videos": videos,
        "sentences": [
            {"sen_id": number, "video_id": name, "caption": caption} for number, (name, caption) in enumerate(sentences)
        ],
    }
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()


def table(samples: Sequence[Sample], folder: str) -> bytes:
    """Return captions.tsv, as `datasets.folder` reads it."""
    rows = [f"{folder}/{_name(sample)}\t{caption}" for sample in samples for caption in sample.captions]
    return "\n".join(["file\tcaption", *rows, ""]).encode()


def _name(sample: Sample) -> str:
    return sample.id + sample.video.path.suffix


def check(path: Path, version: str) -> None:
    """Refuse a folder that holds another split, the same one of another size or version, or a table of others."""
    other_splits = [file for file in path.parent.glob("*_videodatainfo.json") if file != path]
    if other_splits or (path.is_file() and _version(path) != version):
        name = other_splits[0].name if other_splits else path.name
        raise UsageError(f"{path.parent} holds other videos ({name}): name a new folder")
    if not path.is_file() and (path.parent / TABLE).exists():
        raise UsageError(f"{path.parent} holds a {TABLE} of others: name a new folder")


def _version(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["info"]["version"]
    except (ValueError, KeyError, TypeError):
        return None
