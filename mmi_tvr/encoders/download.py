"""Repositories from the Hugging Face hub into its cache: the one place that asks the network for a model."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ..errors import ModelNotFound, one_line
from ..utils.progress import Progress, Silent
from . import curated
from .hub import FILES, IGNORED, repository_folder

_TIMEOUT = 10.0  # seconds to ask the hub what a repository holds
_LOOK = 0.5  # seconds between two looks at how far a download is
_MB = 1_000_000
_CONVERTER = "SFconvertbot"  # of the hub: opens pull requests that add safetensors


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Download a repository's weights, settings and tokenizer into the cache; what is there is not fetched again.

    A download that was cut off goes on where it was. Before the first byte its size is said, and that there is room.

    Args:
        name: on the hub; a folder on this machine is returned as it is.
        progress: is told the size, and counts megabytes.

    Returns:
        The folder of the files.

    Raises:
        ModelNotFound: where the hub has no such model or cannot be reached, its weights are not safetensors, or the
            disk has no room.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.utils.tqdm import tqdm

    progress = progress or Silent()
    revision, size = _find(name)
    cache = Path(constants.HF_HUB_CACHE)
    blobs = repository_folder(name) / "blobs"
    missing = size - _bytes_in(blobs)
    progress.say(f"fetching {name} ({_megabytes(size)}) into {cache}")
    _require_room(name, missing, cache)

    class NoBar(tqdm):  # drawn by `progress` instead
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})  # type: ignore[no-untyped-call]

    def download() -> str:
        return snapshot_download(
            name, revision=revision, allow_patterns=FILES, ignore_patterns=IGNORED, tqdm_class=NoBar
        )

    try:
        return Path(_follow(download, blobs, size, progress))
    except Exception as error:  # the hub client's transport raises its own kinds, which differ between versions
        raise ModelNotFound(
            f"{name} could not be fetched: {one_line(error)}; the same command goes on where it was"
        ) from error


def _find(name: str) -> tuple[str, int]:
    """Return the revision with safetensors, and the bytes of what `fetch` fetches. ModelNotFound where there is none,
    or the hub does not say."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled, RepositoryNotFoundError

    try:
        for revision in _revisions(name):
            siblings = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=_TIMEOUT).siblings or []
            files = [file for file in siblings if _is_fetched(file.rfilename)]
            if any(file.rfilename.endswith(".safetensors") for file in files):
                return revision, sum(file.size or 0 for file in files)
    except HFValidationError as error:
        raise ModelNotFound(f"{name!r} is neither a folder nor a hub name such as 'owner/model'") from error
    except RepositoryNotFoundError as error:
        raise ModelNotFound(f"{name}: the hub knows no such model, or it is private: hf auth login") from error
    except OfflineModeIsEnabled as error:
        raise ModelNotFound(f"{name} could not be fetched: HF_HUB_OFFLINE forbids it") from error
    except Exception as error:  # as in `fetch`
        raise ModelNotFound(f"{name} could not be fetched: the hub cannot be reached: {one_line(error)}") from error
    raise ModelNotFound(f"{name}: has no weights as safetensors, and nothing else is loaded")


def _revisions(name: str) -> Iterator[str]:
    """The revisions that may have safetensors: the known one, and the pull request of the hub's own converter.

    Many older repositories have pickles alone, and an unmerged pull request of that program with the same weights. Of
    anyone else's pull requests none is taken.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    yield curated.revision(name)
    try:
        discussions = list(HfApi().get_repo_discussions(name, author=_CONVERTER, discussion_type="pull_request"))
    except HfHubHTTPError:  # a repository may have them switched off
        return
    for discussion in discussions:
        if discussion.author == _CONVERTER and discussion.git_reference and "safetensors" in discussion.title:
            yield discussion.git_reference


def _is_fetched(file: str) -> bool:
    return any(fnmatch(file, pattern) for pattern in FILES) and not any(fnmatch(file, one) for one in IGNORED)


def _require_room(name: str, size: int, cache: Path) -> None:
    disk = next(folder for folder in (cache, *cache.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(disk).free
    if size > free:
        raise ModelNotFound(
            f"{name} needs {_megabytes(size)}, and {disk} has {_megabytes(free)} free; HF_HOME can name another disk"
        )


def _megabytes(size: int) -> str:
    return f"{max(size, 0) / _MB:,.0f} MB"


def _bytes_in(blobs: Path) -> int:
    """Bytes of the blobs of a repository, whole or not."""
    total = 0
    for path in blobs.glob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # was renamed when it was whole
            continue
    return total


def _follow(work: Callable[[], str], blobs: Path, size: int, progress: Progress) -> str:
    """Run a download in a thread and report from this one how far it is, by the files that grow.

    Decision: the hub's client has several ways to transfer files, each with bars of its own; the files are the same.
    """
    outcome: Future[str] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    progress.begin("megabytes", max(1, round(size / _MB)))
    reported = 0
    thread = threading.Thread(target=run, name="download", daemon=True)  # Ctrl-C must not wait for it
    thread.start()
    while True:
        thread.join(_LOOK)
        running = thread.is_alive()
        megabytes = round(min(_bytes_in(blobs), size) / _MB)
        if megabytes > reported:
            progress.advance(megabytes - reported)
            reported = megabytes
        if not running:
            return outcome.result()
