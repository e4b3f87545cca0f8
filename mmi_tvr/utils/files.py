"""Writing files so that, at any moment and after a power cut, they are the old ones or the new ones, whole.

Every file that the package writes goes through here. What a person names as an output goes through `write_output`,
which writes over nothing but what this program wrote: each kind of file carries a mark near its start.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shlex
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import UsageError

# Marks of our outputs, by which we know them again.
PAGE_MARK = b'<meta name="generator" content="mmi-tvr">'
PICTURE_MARK = b"Software\0mmi-tvr"  # a text chunk of PNG
SOFTWARE = {"Software": "mmi-tvr"}  # what writes it, as matplotlib's `metadata`
_START = 4096  # bytes in which a mark stands
_DRAFT = re.compile(r"\.(\d+)-[0-9a-f]{8}\.tmp")


def write_output(path: Path, content: bytes, mark: bytes, force: bool = False) -> None:
    """Write a file that a person named, whole or not at all.

    Args:
        path: where; a link is followed, and the permissions of a file that is replaced stay.
        content: what; it holds the mark near its start.
        mark: by which the file is known as ours.
        force: write over a file of others, too.
    Raises:
        UsageError: as `check_output` does.
        OSError: it cannot be written; `filename` is the path.
    """
    check_output(path, mark, force)
    write_atomically(path, content)


def check_output(path: Path, mark: bytes, force: bool = False) -> None:
    """Raise UsageError where an output could not be written, before the work that it is the output of.

    That is where its folder is missing, it is a folder, or it is a file that does not carry the mark: somebody else
    wrote it. An empty file may be written over (decision: nothing is lost), and so may pipes and devices.
    """
    try:
        if path.is_dir():
            raise UsageError(f"{path}: a folder is there; name a file")
        if not path.exists():
            folder = Path(os.path.realpath(path)).parent
            if not folder.is_dir():
                raise UsageError(
                    f"{path}: its folder does not exist; make it first: mkdir -p {shlex.quote(str(folder))}"
                )
            if not os.access(folder, os.W_OK | os.X_OK):
                raise UsageError(f"{path}: nothing may be written to its folder; name another place")
            return
        if not path.is_file():
            return
        if not os.access(path, os.W_OK):
            raise UsageError(f"{path}: may not be written; name another file")
        if not force and not is_ours(path, mark):
            raise UsageError(
                f"{path}: is there, and mmi-tvr did not write it; name another file, or replace it with --force"
            )
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise UsageError(f"{path}: {error.strerror}; name another file") from error


def check_folder(path: Path) -> None:
    """Raise UsageError where a folder of outputs could not be made, or not be written, before the work."""
    existing = next((folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder)), path)
    if not existing.is_dir():
        raise UsageError(f"{path}: {'a file is there' if existing == path else f'{existing} is a file'}; name a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: nothing may be written to {existing}; name another folder")


def is_ours(path: Path, mark: bytes) -> bool:
    """Return whether a file carries the mark, or is empty."""
    with path.open("rb") as stream:
        start = stream.read(_START)
    return not start or mark in start


# That a file cannot be read now, whatever its bytes are. FFmpeg's own EINVAL and ENOSYS are about bytes.
_FILE_SYSTEM_ERRORS = frozenset(
    {
        errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE,
        errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNRESET,
        errno.EMFILE, errno.ENFILE, errno.ELOOP,
    }
)  # fmt: skip


def is_file_system_error(error: OSError) -> bool:
    """Return whether an error says that a file cannot be read now, and nothing about its bytes."""
    return error.errno in _FILE_SYSTEM_ERRORS


def write_atomically(path: Path, content: bytes) -> None:
    """Write or replace a file. Its folder must exist. Raises OSError, whose `filename` is the path."""
    with draft_of(path) as draft:
        draft.write_bytes(content)


@contextmanager
def naming(place: Path | str) -> Iterator[None]:
    """Have an OSError that names no file name this place: a full disk does not say what could not be written."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(place)) from error


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Yield where to write a file that then takes the place of `path`; after an error the old one is as it was.

    A link is followed, and a replaced file leaves its permissions to the new one. What is no regular file (a pipe, a
    device) is written to itself. Raises OSError, whose `filename` is the path.
    """
    draft = path
    try:
        mode = _mode(path)
        if mode is not None and not stat.S_ISREG(mode):
            yield path
            return
        if mode is not None and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        target = Path(os.path.realpath(path))
        draft = target.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.tmp")
        try:
            yield draft
            if mode is not None:
                os.chmod(draft, stat.S_IMODE(mode))
            publish(draft, target)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
    except OSError as error:
        if error.filename not in (None, str(draft)):
            raise  # of another file, which was read for this one
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def writer_of_draft(path: Path) -> int | None:
    """Return the number of the process that writes (or wrote, and was killed) a draft; None where it is none.

    >>> writer_of_draft(Path("a/.17-0a1b2c3d.tmp")), writer_of_draft(Path("a/.17.tmp"))
    (17, None)
    """
    match = _DRAFT.fullmatch(path.name)
    return int(match[1]) if match else None


@contextmanager
def draft_of_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to fill, which then takes the place of `path`, a new folder or an empty one.

    After an error nothing of it is left. A link is followed. Raises OSError.
    """
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        draft.mkdir(parents=True)
        yield draft
        if target.exists():
            target.rmdir()
        publish(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def publish(draft: Path, path: Path) -> None:
    """Give a finished draft its final name, durably."""
    sync(draft)
    os.replace(draft, path)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file (or a folder's list of names) is on the disk."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one of the same name; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def change_stamp(path: Path) -> tuple[int, ...] | None:
    """Return what is another one once a file was replaced or written; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _mode(path: Path) -> int | None:
    """Return type and permissions of what is at a path; None where nothing is."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None
