"""Reading the files of a library by its channels: `index --channels`.

Each file is read once by each channel, and stored passage by passage: a kill costs the passage that was under way. What
cannot be read is set aside with the reason, and read again by `retry`. A channel that cannot be used here (its extra is
not installed, its model is not on this machine) says so, and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from ... import plugins
from ...config import Settings
from ...errors import MediaError, MissingExtra, MmiTvrError, ModelNotFound, UnreadableFile, UsageError
from ...features.cache import stamp_of
from ...fulltext import folding
from ...protocols import Channel, Index
from ...types import FloatArray, IdArray, MediaFile
from ...utils.progress import Progress
from ..catalogue import Catalogue, Content, File
from ..channel_report import ChannelReport, ChannelsReport
from .searching import fit_laws
from .status import channel_files, channel_status
from .store import ChannelStore, RememberedChannel, has_channels, remembered_channels, what_to_do

_UNUSABLE = (MissingExtra, ModelNotFound)  # here and now; the library is as it was


class ChannelReading:
    """The writer's side of a library's channels. Whoever uses it holds the writer's lock."""

    def __init__(self, folder: Path, settings: Settings, requested: Sequence[str] | None) -> None:
        """Decide which channels read, and make them.

        Args:
            folder: of the library.
            settings: the options of channels that were set explicitly; else the library's own hold.
            requested: names of the channels that read files, from now on, and no others; None: as the library
                remembers.

        Raises:
            UsageError: there is no such channel, or an option does not fit.
        """
        self._folder = folder
        self._requested = requested
        self._usable: dict[str, Channel] = {}
        self._unusable: dict[str, str] = {}  # name -> why
        self._error: str | None = None  # why nothing can be stored
        known: Mapping[str, RememberedChannel] = {}
        try:
            if requested or has_channels(folder):
                folding.fingerprint()  # what texts are stored with
            known = remembered_channels(folder)
        except MmiTvrError as error:
            self._error = what_to_do(error, folder)
        self._remembered = _switched(known, settings.channels, requested)
        for name, channel in self._remembered.items():
            if channel.is_on and self._error is None:
                self._make(name, channel)

    def _make(self, name: str, remembered: RememberedChannel) -> None:
        try:
            channel: Channel = plugins.build("channels", name, remembered.options)
        except _UNUSABLE as error:
            self._unusable[name] = str(error)
        else:
            self._usable[name] = channel
            self._remembered[name] = replace(
                remembered, fingerprint=channel.fingerprint(), width=channel.width, kinds=sorted(channel.kinds)
            )

    def settle(self) -> None:
        """Remember which channels read, before anything is read: what takes up a killed run goes by it."""
        if self._error is None and (self._remembered or has_channels(self._folder)):
            with ChannelStore.open_to_write(self._folder) as store:
                store.remember(self._remembered)

    def run(self, catalogue: Catalogue, retry: bool, progress: Progress) -> ChannelsReport | None:
        """Read all files that can be searched and were not read; None where no channel is on, or ever was.

        Args:
            catalogue: of the library, up to date.
            retry: read those again that were set aside.
            progress: counts files.
        """
        started = time.monotonic()
        if self._error is not None:
            return ChannelsReport({}, error=self._error)
        if not has_channels(self._folder):
            return None
        reports = {name: ChannelReport(unusable=reason) for name, reason in self._unusable.items()}
        with ChannelStore.open_to_write(self._folder) as store:
            store.keep_contents(catalogue.content_hashes())
            for name in [*self._usable]:  # what a recogniser holds in memory goes before the next one comes
                files = _FileReading(store, name, self._usable.pop(name), self._remembered[name])
                reports[name] = files.run(catalogue, retry, progress)
                del files
            for name in self._unusable:
                status = channel_status(store, catalogue, name, self._remembered[name])
                reports[name] = replace(reports[name], status=status)
            store.discard_unused_vectors()
            fit_laws(store)
        if not reports and self._requested is None:
            return None
        return ChannelsReport(reports, time.monotonic() - started)


class _FileReading:
    """One channel reads the files of a library."""

    def __init__(self, store: ChannelStore, name: str, channel: Channel, remembered: RememberedChannel) -> None:
        assert remembered.fingerprint is not None
        self._store = store
        self._name = name
        self._channel = channel
        self._remembered = remembered
        self._fingerprint = remembered.fingerprint
        self._moments = 0  # that were stored

    def run(self, catalogue: Catalogue, retry: bool, progress: Progress) -> ChannelReport:
        """Read what is pending. Arguments as those of `ChannelReading.run`."""
        if retry:
            for sha256, reading in self._store.texts.readings(self._name, self._fingerprint).items():
                if reading.reason is not None:
                    self._store.texts.forget(sha256, self._name)
        vectors = self._store.open_vectors(self._name, self._remembered, create=True)
        assert vectors is not None
        unusable, files = None, 0
        with closing(vectors):
            self._store.settle_vectors(self._name, self._remembered, vectors)
            pending = self._pending(catalogue)
            stamps = catalogue.files() if pending else {}
            if pending:
                progress.begin(f"reading: {self._name}", len(pending))
            for content in pending:
                try:
                    files += self._read(content, stamps, vectors, progress)
                except _UNUSABLE as error:
                    unusable = str(error)
                    break
                progress.advance()
        status = channel_status(self._store, catalogue, self._name, self._remembered)
        return ChannelReport(files, self._moments, status, unusable)

    def _pending(self, catalogue: Catalogue) -> list[Content]:
        """Return the contents that this channel can read and has not."""
        readings = self._store.texts.readings(self._name, self._fingerprint)
        through = {content for content, one in readings.items() if one.is_complete or one.reason is not None}
        return [content for content in channel_files(catalogue, self._remembered) if content.sha256 not in through]

    def _read(self, content: Content, stamps: Mapping[Path, File], vectors: Index, progress: Progress) -> bool:
        """Read a file (on), and return whether it is through with it."""
        path = next((path for path in content.paths if path.exists()), None)
        if path is None or not _is_unchanged(path, stamps[path]):  # its disk is away, or it is written just now
            return False
        texts, sha256 = self._store.texts, content.sha256
        start = texts.begin(sha256, self._name, self._fingerprint)
        if start is None:
            return False

        def keep_vectors(ids: IdArray, rows: FloatArray) -> None:
            vectors.upsert(ids, rows)
            vectors.flush()

        try:
            for passage in self._channel.moments(MediaFile(path, content.kind), start):
                texts.append(sha256, self._name, passage, keep_vectors)
                self._moments += len(passage.moments)
                progress.advance(0)  # a long file can be left here: the next run goes on
        except UnreadableFile:
            return False
        except MediaError as error:
            texts.set_aside(sha256, self._name, error.reason)
            return True
        if not _is_unchanged(path, stamps[path]):  # of what was read, some may be of other bytes
            texts.forget(sha256, self._name)
            return False
        texts.finish(sha256, self._name)
        return True


def _switched(
    known: Mapping[str, RememberedChannel], options: Mapping[str, Mapping[str, Any]], requested: Sequence[str] | None
) -> dict[str, RememberedChannel]:
    """Return the channels of a library as they are from now on: on or off, with the options that were set changed."""
    names = {*known, *(requested or ())}
    for name in {*names, *options}:
        if name not in known and name not in plugins.names("channels"):
            raise UsageError(f"no channel is called {name!r}; there are: {', '.join(plugins.names('channels'))}")
    switched = {}
    for name in sorted(names):
        channel = known.get(name, RememberedChannel(is_on=False))
        is_on = channel.is_on if requested is None else name in requested
        changed = {**channel.options, **options.get(name, {})}
        switched[name] = replace(channel, is_on=is_on, options=changed)
    return switched


def _is_unchanged(path: Path, file: File) -> bool:
    try:
        return stamp_of(path) == file.stamp
    except OSError:
        return False
