"""The channels of a library besides what is seen: which are on, how far each has come, and what they found."""

from __future__ import annotations

from .fusing import FusedSearch, needed_hits, with_texts
from .reading import ChannelReading
from .searching import ChannelsReader
from .status import channels_status, forget_other_contents
from .store import CHANNELS, ChannelStore

__all__ = [
    "CHANNELS",
    "ChannelReading",
    "ChannelStore",
    "ChannelsReader",
    "FusedSearch",
    "channels_status",
    "forget_other_contents",
    "needed_hits",
    "with_texts",
]
