"""How far the channels of a library have come."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

from ...errors import MissingExtra, MmiTvrError
from ...types import SEEN
from ..catalogue import Catalogue, CatalogueCounts, Content
from ..channel_report import ChannelsStatus, ChannelStatus
from .store import ChannelStore, RememberedChannel, has_channels, what_to_do


def channel_files(catalogue: Catalogue, channel: RememberedChannel) -> list[Content]:
    """Return the contents of a library that a channel reads."""
    return [content for content in catalogue.contents_with("state = 'indexed'") if content.kind in channel.kinds]


def channel_status(store: ChannelStore, catalogue: Catalogue, name: str, channel: RememberedChannel) -> ChannelStatus:
    """Return how far one channel has come."""
    paths = {content.sha256: content.paths[0] for content in channel_files(catalogue, channel)}
    readings = store.texts.readings(name, channel.fingerprint) if channel.fingerprint else {}
    done = sum(readings[content].is_complete for content in paths if content in readings)
    problems = [
        (paths[content], one.reason) for content, one in readings.items() if content in paths and one.reason is not None
    ]
    return ChannelStatus(channel.is_on, done, len(paths) - done - len(problems), tuple(sorted(problems)))


def channels_status(folder: Path, catalogue: Catalogue, counts: CatalogueCounts) -> ChannelsStatus:
    """Return how far each channel of a library has come, `seen` among them. Loads nothing."""
    quarantined = tuple(catalogue.quarantined_files())
    seen = ChannelStatus(True, counts.indexed_contents, counts.pending, quarantined)
    try:
        store = ChannelStore.open_to_read(folder)
        if store is None:
            return ChannelsStatus({SEEN: seen})
        with closing(store):
            channels = store.remembered().items()
            others = {name: channel_status(store, catalogue, name, channel) for name, channel in channels}
    except MmiTvrError as error:
        return ChannelsStatus({SEEN: seen}, what_to_do(error, folder))
    return ChannelsStatus({SEEN: seen, **others})


def forget_other_contents(folder: Path, catalogue: Catalogue) -> None:
    """Forget what was read of files that a library has no more; where texts cannot be opened, the next run does it."""
    if has_channels(folder):
        with suppress(MissingExtra), ChannelStore.open_to_write(folder) as store:
            store.keep_contents(catalogue.content_hashes())
