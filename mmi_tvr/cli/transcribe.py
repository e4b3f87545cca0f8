"""`transcribe`: what is said and written in files, with its seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import create_model
from rich.markup import escape

from .. import config, plugins
from ..errors import MediaError, MissingExtra, UsageError
from ..media.guarded import DecoderPool, limits
from ..protocols import Channel
from ..report import clock_range
from ..types import ChannelMoment, MediaFile, MediaKind
from ..utils.printable import printable
from ._console import JsonOption, SetOption, end_with_files, out, say

_CHANNELS = ("heard", "read")


def register(app: typer.Typer) -> None:
    app.command()(transcribe)


def transcribe(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="pictures, recordings or videos")],
    *,
    channels: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="heard (speech), read (text in pictures); default: what is installed"),
    ] = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what is said and written in FILE..., and at which second. Exit code 1: a file cannot be used, and why."""
    chosen = _channels(channels, set_ or [])
    documents = []
    for path in files:
        document = _document(path, chosen)
        documents.append(document)
        if not as_json:
            _print(document)
    end_with_files(documents, as_json)


def _channels(names: str | None, settings: Sequence[str]) -> list[Channel]:
    """Return the channels that are named, or (None) those whose extras are installed."""
    known = plugins.names("channels")
    fields: dict[str, Any] = {name: (dict[str, Any], {}) for name in known}
    sections = create_model("ChannelSections", __base__=plugins.BaseOptions, **fields)
    options: Mapping[str, dict[str, Any]] = config.read(sections, None, settings).model_dump()
    chosen = _CHANNELS if names is None else [name.strip() for name in names.split(",") if name.strip()]
    if not chosen:
        raise UsageError(f"--channels names none of: {', '.join(known)}")
    usable, missing = [], []
    for name in dict.fromkeys(chosen):
        try:
            usable.append(plugins.build("channels", name, options.get(name)))
        except MissingExtra as error:
            if names is not None:
                raise
            missing.append(error)
            say(escape(f"without {name}: {error}"))
    if not usable:
        raise missing[0]
    return usable


def _document(path: Path, channels: Sequence[Channel]) -> dict[str, Any]:
    document: dict[str, Any] = {"path": str(path), "kind": None, "channels": {}, "error": None}
    try:
        kind = _kind(path)
        document["kind"] = kind
        for channel in channels:
            if kind in channel.kinds:
                passages = channel.moments(MediaFile(path, kind))
                moments = [_moment(moment) for passage in passages for moment in passage.moments]
                document["channels"][channel.name] = moments
    except MediaError as error:
        document["error"] = error.reason
    return document


def _kind(path: Path) -> MediaKind:
    """Return what a file is, by what it holds. MediaError for what has nothing to hear or to see."""
    with DecoderPool(limits(1)) as pool:
        report = pool.report(path)
    if report.kind is not None and report.info is not None:
        return report.kind
    if any(track.kind == "audio" for track in report.tracks):  # also of a film whose pictures cannot be used
        return "audio"
    raise MediaError(path, report.error or "holds neither pictures nor sound")


def _moment(moment: ChannelMoment) -> dict[str, Any]:
    return {"start": round(moment.span.start, 3), "end": round(moment.span.end, 3), "text": moment.text}


def _print(document: dict[str, Any]) -> None:
    out.print(printable(document["path"]), markup=False)
    for name, moments in document["channels"].items():
        for moment in moments:
            span = "" if document["kind"] == "image" else clock_range(moment["start"], moment["end"])
            out.print(f"  {name:<6} {span:<13} {printable(moment['text'])}", markup=False)
        if not moments:
            out.print(f"  {name:<6} nothing", markup=False)
    if document["error"]:
        out.print(f"  error  {printable(document['error'])}", markup=False)
