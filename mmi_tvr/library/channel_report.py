"""Reports of channels: of a run that read files by them, and of how far each has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """How far a channel has come: files by state. `problems` are those that are set aside, with the reason; `is_on`
    says whether runs of `index` read new ones."""

    is_on: bool = True
    done: int = 0
    pending: int = 0
    problems: tuple[tuple[Path, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: one of `channels` of `mmi-tvr status --json`)."""
        return {
            "on": self.is_on,
            "done": self.done,
            "pending": self.pending,
            "quarantined": len(self.problems),
            "problems": [{"path": str(path), "reason": reason} for path, reason in self.problems],
        }


@dataclass(frozen=True, slots=True)
class ChannelsStatus:
    """The channels of a library by name, `seen` among them. `error` says why nothing is known of the others."""

    channels: Mapping[str, ChannelStatus]
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `channels` of `mmi-tvr status --json`)."""
        return {name: channel.as_dict() for name, channel in self.channels.items()}


@dataclass(frozen=True, slots=True)
class ChannelReport:
    """What a run did by one channel: it went through `files`, in which it found `moments`. `status` is how far it has
    come since; `unusable` says why it cannot be used here."""

    files: int = 0
    moments: int = 0
    status: ChannelStatus = ChannelStatus()
    unusable: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: one of `channels` of `mmi-tvr index --json`)."""
        return {"files": self.files, "moments": self.moments, **self.status.as_dict(), "unusable": self.unusable}


@dataclass(frozen=True, slots=True)
class ChannelsReport:
    """What a run did by each channel, by name. `error` says why none of them can be used, whichever they are."""

    channels: Mapping[str, ChannelReport]
    seconds: float = 0.0
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `channels` of `mmi-tvr index --json`)."""
        return {name: channel.as_dict() for name, channel in self.channels.items()}
