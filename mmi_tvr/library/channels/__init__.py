"""The channels of a library besides what is seen: which are on, how far each has come, and what they found."""

from __future__ import annotations

from .reading import ChannelReading
from .status import channels_status, forget_other_contents
from .store import CHANNELS, ChannelStore

__all__ = ["CHANNELS", "ChannelReading", "ChannelStore", "channels_status", "forget_other_contents"]
