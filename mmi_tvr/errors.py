"""Every error that the package raises on purpose.

    MmiTvrError                 one clear line: what is wrong, and what to do
    ├── UsageError              a wrong name, option, setting or argument (exit code 2)
    │   ├── ConfigError         several of them in one settings file, shown together
    │   ├── UnreadableQuery     a query that cannot be searched as it is written, whatever becomes of others
    │   ├── LibraryMissing      no library where one should be
    │   └── IndexMissing        no readable vectors where an index should be
    ├── MediaError              a file that cannot be used as a video, with the reason
    │   └── UnreadableFile      one that cannot be read now, whatever its bytes are
    ├── MissingExtra            an optional dependency is not installed; carries the command that installs it
    ├── ModelNotFound           a checkpoint is neither on disk nor in the cache
    ├── IndexMismatch           vectors of different makers would be mixed
    ├── TranslationRefused      vectors of another model cannot be predicted well enough from those that are there
    ├── LibraryBusy             another process is writing to the library
    ├── LibraryReadOnly         the library lies where nothing can be written
    ├── AnswerError             a question that got no answer, with the reason
    ├── ServerUnusable          a server that cannot be asked at all: away, a refused key, no clear model
    └── MetricsError            numbers that cannot be ranked (NaN, empty ground truth)

The command line prints the message of an `MmiTvrError` as one line; anything else is a bug of ours.
"""

from __future__ import annotations

from collections.abc import Sequence

_MESSAGE_LENGTH = 200  # characters of a foreign error that are shown


class MmiTvrError(Exception):
    """Base of every error that the package raises on purpose."""


class MmiTvrWarning(UserWarning):
    """Base of every warning that the package gives on purpose. The command line prints it as one line."""


class StaleSelection(MmiTvrWarning):
    """Questions that are asked were chosen from another pool or with another model; the message says which, and how to
    choose again."""


class PoorRecall(MmiTvrWarning):
    """An index is made in such a way that searches will miss hits; the message says what to choose instead."""


class UsageError(MmiTvrError):
    """A name, option or argument that does not exist or does not fit."""


class ConfigError(UsageError):
    """All that is wrong with a settings file, shown at once."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{source}: " + "; ".join(self.problems))


class UnreadableQuery(UsageError):
    """A query that cannot be searched as it is written: it names somebody who is not known, or only what is not to be
    there. Others can. `reason` says so without the names of people who are known."""

    def __init__(self, message: str, reason: str | None = None) -> None:
        self.reason = message if reason is None else reason
        super().__init__(message)


class LibraryMissing(UsageError):
    """There is no library where one should be."""


class IndexMissing(UsageError):
    """There is no vector index where one should be, or it cannot be read."""


class MediaError(MmiTvrError):
    """A file that cannot be used as a video. `reason` is a short phrase that a person understands."""

    def __init__(self, path: object, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{path}: {reason}")

    def __reduce__(self) -> tuple[type[MediaError], tuple[str, str]]:
        return type(self), (self.path, self.reason)  # crosses process borders whole


class UnreadableFile(MediaError):
    """A file that cannot be read now (permissions, the disk, a share that is away), whatever its bytes are."""


class MissingExtra(MmiTvrError):
    """An optional dependency is needed and not installed."""

    def __init__(self, module: str, extra: str, command: str) -> None:
        self.module = module
        self.extra = extra
        self.command = command
        super().__init__(f"{module} is not installed: {command}")

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str, str]]:
        return type(self), (self.module, self.extra, self.command)  # crosses process borders whole


class ModelNotFound(MmiTvrError):
    """A checkpoint is neither a folder nor in the local cache, and downloading was not asked for."""


class IndexMismatch(MmiTvrError):
    """Vectors made by one model, adapter or setting would be mixed with those of another."""


class TranslationRefused(MmiTvrError):
    """Vectors of another model cannot be predicted well enough from those that a library has."""


class LibraryBusy(MmiTvrError):
    """Another process holds the writer's lock of a library."""


class LibraryReadOnly(MmiTvrError):
    """A library cannot be written where it lies: a read-only disk, a snapshot, a folder of somebody else."""

    def __init__(self, folder: object, reason: str) -> None:
        super().__init__(f"{folder}: this library cannot be written here ({reason}); it can be searched")


class AnswerError(MmiTvrError):
    """A question that got no answer. The others of its batch have theirs."""


class ServerUnusable(MmiTvrError):
    """A server that cannot be asked at all: away, a refused key, or no word on which of its models is to answer.

    It costs a search the joint scores, never the hits.
    """


class MetricsError(MmiTvrError):
    """Similarities or ground truth that cannot be ranked honestly."""


# What an answerer or a judge that cannot work may raise: ours, the network's and the disk's, torch's.
MODEL_FAILURES = (MmiTvrError, OSError, RuntimeError)


def one_line(error: BaseException, limit: int | None = _MESSAGE_LENGTH) -> str:
    """Return an error's message as one line of at most `limit` characters (None: all); its type where it has none.

    >>> one_line(ValueError("a message\\n  of two lines")), one_line(KeyboardInterrupt())
    ('a message of two lines', 'KeyboardInterrupt')
    """
    return " ".join(str(error).split())[:limit] or type(error).__name__
