"""What the channels of a library have stored, in a folder of its own:

    channels/texts.sqlite          moments with their texts, how far each file is, which channels are on
    channels/NAME-FINGERPRINT/     the vectors of these moments, under the same ids

All of it goes by the hashes of contents, so that it stays whatever becomes of the catalogue. Vectors are durable before
the moments that they belong to; vectors without a moment are what a kill left, and nobody sees them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import index
from ...errors import IndexMissing, MissingExtra, MmiTvrError, UsageError
from ...fulltext.index import TextIndex
from ...protocols import Index
from ...types import MEDIA_KINDS, MediaKind
from ...utils.sqlite import FileStamp, file_stamp

if TYPE_CHECKING:
    from typing_extensions import Self

CHANNELS = "channels"  # the folder's name in that of a library
_TEXTS = "texts.sqlite"
_REMEMBERED = "channels"  # setting of the file: name -> RememberedChannel


@dataclass(frozen=True, slots=True)
class RememberedChannel:
    """A channel as a library remembers it: whether runs of `index` read new files, with which options, and of which
    kinds; `fingerprint` and `width` of the vectors are None as long as it never could be used."""

    is_on: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str | None = None
    width: int | None = None
    kinds: Sequence[MediaKind] = MEDIA_KINDS


class ChannelStore:
    """What the channels of a library have stored, open (`open_to_write`, `open_to_read`)."""

    def __init__(self, folder: Path, texts: TextIndex) -> None:
        self.folder = folder
        self.texts = texts

    @classmethod
    def open_to_write(cls, library: Path) -> Self:
        """Open what a library has, or make it. Raises as `TextIndex`, and LibraryReadOnly at the first write."""
        folder = library / CHANNELS
        folder.mkdir(exist_ok=True)
        return cls(folder, TextIndex(folder / _TEXTS))

    @classmethod
    def open_to_read(cls, library: Path) -> Self | None:
        """Open what a library has; None where it never had channels. Raises as `TextIndex`."""
        return cls(library / CHANNELS, TextIndex(library / CHANNELS / _TEXTS)) if has_channels(library) else None

    def close(self) -> None:
        self.texts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    # Which channels there are

    def remembered(self) -> dict[str, RememberedChannel]:
        """Return the channels that a library ever had, by name."""
        stored = self.texts.setting(_REMEMBERED, {})
        return {name: RememberedChannel(**values) for name, values in stored.items()}

    def remember(self, channels: Mapping[str, RememberedChannel]) -> None:
        """Store what is to be known of channels by the next run; nothing is written where that is known."""
        known = self.remembered()
        if {**known, **channels} != known:
            changed = {**known, **channels}
            self.texts.set_setting(_REMEMBERED, {name: asdict(channel) for name, channel in changed.items()})

    # Vectors

    def open_vectors(self, name: str, channel: RememberedChannel, create: bool) -> Index | None:
        """Return the open index of a channel's vectors; None where there are none (yet), and none are to be made."""
        path = self._vectors_folder(name, channel)
        if path is None:
            return None
        assert channel.width is not None
        assert channel.fingerprint is not None
        fingerprint, width = channel.fingerprint, channel.width
        try:
            return index.open_index("auto", path=path, dim=width, fingerprint=fingerprint, create=create)
        except IndexMissing:  # also of what a kill left half made
            if create:
                raise
            return None

    def settle_vectors(self, name: str, channel: RememberedChannel, vectors: Index) -> None:
        """Make vectors and moments agree after a kill, or after files were forgotten.

        Vectors without a moment are deleted. A file of whose moments one lost its vector is to be read again.
        """
        assert channel.fingerprint is not None
        expected, stored = self.texts.ids(name, channel.fingerprint), vectors.ids()
        extra, lost = np.setdiff1d(stored, expected), np.setdiff1d(expected, stored)
        if len(extra):
            vectors.delete(extra)
            vectors.flush()
        for content in {moment.content for moment in self.texts.moments(lost.tolist()).values()}:
            self.texts.forget(content, name)

    def discard_unused_vectors(self) -> None:
        """Remove vectors of other fingerprints than the channels have now."""
        used = {self._vectors_folder(name, channel) for name, channel in self.remembered().items()}
        for path in self.folder.iterdir():
            if path.is_dir() and path not in used:
                index.discard(path)

    def keep_contents(self, contents: Collection[str]) -> None:
        """Remove what is stored of all other contents."""
        self.texts.keep_contents(contents)
        for name, channel in self.remembered().items():
            vectors = self.open_vectors(name, channel, create=False)
            if vectors is not None:
                self.settle_vectors(name, channel, vectors)
                vectors.close()

    def _vectors_folder(self, name: str, channel: RememberedChannel) -> Path | None:
        if channel.fingerprint is None:
            return None
        return self.folder / f"{re.sub(r'[^0-9A-Za-z_]', '_', name)}-{channel.fingerprint}"


def has_channels(library: Path) -> bool:
    """Return whether a library has, or ever had, channels."""
    return (library / CHANNELS / _TEXTS).is_file()


def texts_stamp(library: Path) -> FileStamp:
    """Return what changes whenever somebody writes to the channels' file of texts, replaces it or removes it."""
    return file_stamp(library / CHANNELS / _TEXTS)


def remembered_channels(library: Path) -> dict[str, RememberedChannel]:
    """Return the channels that a library ever had, by name. Raises as `TextIndex`."""
    store = ChannelStore.open_to_read(library)
    if store is None:
        return {}
    with store:
        return store.remembered()


def what_to_do(error: MmiTvrError, library: Path) -> str:
    """Return why the file of texts cannot be opened, and where it is damaged, the way out."""
    if isinstance(error, MissingExtra | UsageError):
        return str(error)
    return f"{error}; remove the folder {library / CHANNELS}, and all is read again by the next run of mmi-tvr index"
