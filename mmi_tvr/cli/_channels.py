"""The channels of a library as people read of them: lines of `index` and of `status`."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from ..library.channel_report import ChannelsReport, ChannelsStatus, ChannelStatus
from ..types import SEEN
from ..utils.wording import counted, library_option
from ._console import say
from ._reasons import print_reasons, say_reasons


def say_channels(report: ChannelsReport, library: Path) -> None:
    """Say what a run did by each channel, and which of them cannot be used here."""
    option = escape(library_option(library))
    if report.error:
        say(f"[yellow]no channels[/]: {escape(report.error)}")
    elif not report.channels:
        say(f"files are read by no channel any more; what is known stays, and is searched: mmi-tvr status {option}")
    for name, channel in report.channels.items():
        if channel.unusable:
            say(f"[yellow]without {name}[/] ({channel.status.pending:,} pending): {escape(channel.unusable)}")
        if channel.files or not channel.unusable:
            say(f"{name}: {counted(channel.files, 'file')} read, {counted(channel.moments, 'moment')} stored")
        problems = channel.status.problems
        if problems:
            title = f"[yellow]{counted(len(problems), 'file')} not read by {name}[/] (--retry tries again)"
            say_reasons(title, problems, library)


def channel_rows(status: ChannelsStatus, library: Path) -> dict[str, str]:
    """Return a row of `status` for each channel but the one that every library has."""
    if status.error:
        return {"channels": status.error}
    return {name: _row(name, channel, library) for name, channel in status.channels.items() if name != SEEN}


def _row(name: str, channel: ChannelStatus, library: Path) -> str:
    counts = f"{counted(channel.done, 'file')} read, {channel.pending:,} pending"
    if channel.problems:
        counts += f", {len(channel.problems):,} set aside"
    switch = "" if channel.is_on else f" (off: mmi-tvr index --channels {name} {library_option(library)})"
    return counts + switch


def print_channel_problems(status: ChannelsStatus, index_command: str) -> None:
    """Print the files that channels cannot read."""
    for name, channel in status.channels.items():
        if name == SEEN or not channel.problems:
            continue
        count = counted(len(channel.problems), "file")
        print_reasons(f"{count} that {name} cannot read ({index_command} --retry tries again)", channel.problems)
