"""`probe`: what a file holds, what we see of it, and why it was set aside."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..media.file_report import FileReport, Picture, PictureOptions
from ..media.guarded import DecoderPool, limits
from ..media.picture_facts import PictureFacts, Position
from ..media.tracks import Track
from ..media.video import MediaInfo
from ..types import Pixels
from ..utils import files as output_files
from ..utils.printable import printable
from ..utils.wording import counted
from ._console import ForceOption, JsonOption, end_with_files, out

_DEFAULTS = PictureOptions()
_SOURCES = {"exif": "by its EXIF data", "gps": "by the satellites", "file": "of the file"}
_TITLE = 11  # characters of a line's title


def register(app: typer.Typer) -> None:
    app.command()(probe)


def probe(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="films and pictures")],
    *,
    frames: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="write sampled pictures there, as TIME.png; several files: a folder each"),
    ] = None,
    fps: Annotated[float, typer.Option(help="pictures per second, with --frames", min=0.001)] = _DEFAULTS.fps,
    limit: Annotated[int, typer.Option(help="at most so many pictures of a file", min=1)] = _DEFAULTS.limit,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what FILE... hold, and what indexing sees of them. Exit code 1: one of them cannot be used, and why."""
    options = PictureOptions(fps, limit) if frames else None
    folders = _folders(frames, files) if frames else [None] * len(files)
    documents = []
    with DecoderPool(limits()) as pool:
        for path, folder in zip(files, folders, strict=True):
            report = pool.report(path, options)
            paths = _write(report.pictures, folder, force) if folder and report.pictures else []
            documents.append(_document(report, paths))
            if not as_json:
                _print(report, paths)
    end_with_files(documents, as_json)


def _folders(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Where the pictures of each file go: one file's into the folder, those of several each into one of its name."""
    if len(files) == 1:
        return [folder]
    uses: Counter[str] = Counter()
    folders = []
    for path in files:
        name = path.name or "file"
        uses[name] += 1
        folders.append(folder / (f"{name}-{uses[name]}" if uses[name] > 1 else name))
    return folders


def _write(pictures: Sequence[Picture], folder: Path, force: bool) -> list[Path]:
    """Write pictures as TIME.png, seconds with leading zeros, so that names sort as the times do."""
    names = [f"{time:09.3f}.png" for time, _ in pictures]
    if len(set(names)) < len(names):  # more than a thousand frames a second
        names = [f"{time:012.6f}.png" for time, _ in pictures]
    paths = [folder / name for name in names]
    output_files.check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        output_files.check_output(path, output_files.PICTURE_MARK, force)
    for path, (_, pixels) in zip(paths, pictures, strict=True):
        output_files.write_output(path, _png(pixels), output_files.PICTURE_MARK, force)
    return paths


def _png(pixels: Pixels) -> bytes:
    tags = PngInfo()
    for name, text in output_files.SOFTWARE.items():
        tags.add_text(name, text)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=tags)
    return buffer.getvalue()


def _document(report: FileReport, paths: Sequence[Path]) -> dict[str, Any]:
    info = report.info
    return {
        "path": str(report.path),
        "kind": report.kind,
        "container": report.container,
        "duration": info and round(info.duration, 3),
        "start": info and round(info.start, 3),
        "width": info and info.width,
        "height": info and info.height,
        "rotation": info and info.rotation,
        "mirrored": info and info.mirrored,
        "fps": info and round(info.fps, 3),
        "codec": info and info.codec,
        "tracks": [asdict(track) for track in report.tracks],
        "picture": report.facts and report.facts.as_dict(),
        "frames": [
            {"time": round(time, 6), "path": str(path)} for (time, _), path in zip(report.pictures, paths, strict=True)
        ],
        "error": report.error,
    }


def _print(report: FileReport, paths: Sequence[Path]) -> None:
    lines = [("container", report.container)] if report.container and not report.facts else []
    if report.facts:
        lines += _photo(report.facts)
    elif report.info:
        lines += _summary(report.info)
    lines += [("track", _line(track)) for track in report.tracks]
    if paths:
        lines.append(("pictures", f"{len(paths)} in {paths[0].parent}"))
    if report.error:
        lines.append(("error", report.error))
    out.print(printable(report.path), markup=False)
    for title, text in lines:
        out.print(f"  {title:<{_TITLE}}{printable(text)}", markup=False)


def _photo(facts: PictureFacts) -> list[tuple[str, str]]:
    """What a picture says of itself."""
    shape = f"{facts.format}, {facts.width}x{facts.height}"
    if facts.orientation > 1:
        shape += f", turned upright (EXIF orientation {facts.orientation})"
    if facts.frames > 1:
        shape += f", {counted(facts.frames, 'page' if facts.format == 'TIFF' else 'frame')} in {facts.seconds:.2f} s"
    lines = [("picture", shape)]
    if facts.date and facts.date_source:
        date = facts.date.isoformat(" ", "auto" if facts.date_source == "exif" else "seconds")
        lines.append(("date", f"{date} ({_SOURCES[facts.date_source]})"))
    if facts.position:
        lines.append(("place", _place(facts.position)))
    lines += [("camera", facts.camera)] if facts.camera else []
    lines += [("live photo", facts.content_id)] if facts.content_id else []
    return lines + [("odd", problem) for problem in facts.odd]


def _place(position: Position) -> str:
    """A position as maps have it: 48.858370 N, 2.294480 E, 35 m."""
    north, east = "N" if position.latitude >= 0 else "S", "E" if position.longitude >= 0 else "W"
    height = "" if position.altitude is None else f", {position.altitude:.0f} m"
    return f"{abs(position.latitude):.6f} {north}, {abs(position.longitude):.6f} {east}{height}"


def _summary(info: MediaInfo) -> list[tuple[str, str]]:
    turned = [f"turned by {info.rotation} degrees counter-clockwise"] if info.rotation else []
    mirrored = ["mirrored"] if info.mirrored else []
    shape = ", ".join([f"{info.width}x{info.height}", *mirrored, *turned])
    return [
        ("duration", f"{info.duration:.3f} s, first picture at {info.start:.3f} s"),
        ("picture", f"{shape}; {_rate(info.fps)} frames a second, {info.codec}"),
    ]


def _line(track: Track) -> str:
    words = [f"{track.index}: {track}"]
    if track.fps:
        words.append(f"{_rate(track.fps)} fps")
    if track.channels:
        words.append(counted(track.channels, "channel"))
    if track.duration:
        words.append(f"{track.duration:.2f} s")
    if track.language:
        words.append(track.language)
    if track.flags:
        words.append(f"({', '.join(track.flags)})")
    reason = f": {track.reason}" if track.reason else ""
    if track.chosen:
        return f"{' '.join(words)} - chosen{reason}"
    return f"{' '.join(words)} - not looked at{reason}" if track.kind == "video" else " ".join(words)


def _rate(fps: float) -> str:
    return f"{fps:.3f}".rstrip("0").rstrip(".") if fps else "unknown"
