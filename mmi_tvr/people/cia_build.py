"""CiA from film clips and pictures of their casts: every clip looked through once, a line each in a journal, and at the
end the file that `datasets/cia.py` reads.

The journal is written clip by clip and flushed to the disk, so an interruption or a kill costs the clip that was under
way; a line that was cut off is cut away. Its first line says what the results depend on: another encoder, threshold or
cast is another folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..datasets.cia import CAST_FILE, ClipLabels, cast_of, clip_labels
from ..errors import MediaError, UsageError
from ..media.guarded import DecoderPool, limits
from ..media.names import VIDEO_SUFFIXES
from ..protocols import FaceEncoder
from ..types import PersonPicture, Video
from ..utils import strict_json
from ..utils.files import write_atomically
from ..utils.hashing import digest, file_digest
from ..utils.progress import Progress
from ..utils.textfiles import numbered_lines, tab_separated
from .casting import CastGallery, cast_gallery, cast_tracks, film_of, most_confident
from .films import SampleFrames, film_faces
from .naming import MARGIN

FPS = 4.0
Cast = Mapping[str, Mapping[str, Sequence[PersonPicture]]]  # film -> actor -> pictures
JOURNAL = "clips.jsonl"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class CiaOptions:
    """How clips are named.

    Attributes:
        clips: The folder of the clips; its sub-folders count.
        cast: Pictures of actors, <film>/<actor>/*.jpg.
        output: Where the results go.
        threshold: Cosine of a track with an actor, at least; None takes the encoder's.
        films: A table of clips and their films, tab-separated; None: a clip is of the film whose name one of its
            folders has, else of any.
        limit: Only the first so many clips.
    """

    clips: Path
    cast: Path
    output: Path
    threshold: float | None = None
    films: Path | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class CiaResult:
    """What was decided: a document for each clip, in the order of their names, and why others are set aside."""

    settings: Mapping[str, Any]
    clips: Sequence[Mapping[str, Any]]
    set_aside: Mapping[str, str]

    @property
    def named(self) -> list[Mapping[str, Any]]:
        """Those of the clips that have an actor."""
        return [clip for clip in self.clips if clip["actor"] is not None]


def build_cia(options: CiaOptions, encoder: FaceEncoder, progress: Progress) -> CiaResult:
    """Look through all clips that are not in the journal yet, and write `cia.json`.

    Raises:
        UsageError: A folder is none, there are no clips or no faces of a cast, the table of films is none, or the
            folder of the results has been made otherwise.
    """
    clips = _clips(options)
    cast = cast_of(options.cast)
    gallery = cast_gallery(cast, encoder, progress)
    if not any(gallery.films.values()):
        path, reason = next(iter(gallery.problems.items()))
        raise UsageError(f"{options.cast}: no picture shows a face; the first, {path}, {reason}")
    for path, reason in gallery.problems.items():
        progress.say(f"left out: {path}: {reason}")
    table = _film_table(options.films, list(gallery.films)) if options.films else {}
    threshold = encoder.threshold if options.threshold is None else options.threshold
    settings = _settings(encoder, threshold, cast, table)
    labels = clip_labels(_folder_of_lists(options.clips), (PurePosixPath(clip).stem for clip in clips))
    if (options.output / CAST_FILE).exists() and not (options.output / JOURNAL).exists():
        raise UsageError(
            f"{options.output / CAST_FILE}: is there, without its {JOURNAL}; name another folder (--output)"
        )
    options.output.mkdir(parents=True, exist_ok=True)
    with _ClipJournal(options.output / JOURNAL, settings) as journal:
        _look_through(clips, journal, _CastMatcher(encoder, gallery, table, threshold), progress)
        entries = {clip: journal.entries[clip] for clip in clips}
    result = CiaResult(
        settings,
        [
            _with_labels(entry, labels.get(PurePosixPath(clip).stem))
            for clip, entry in entries.items()
            if "reason" not in entry
        ],
        {clip: entry["reason"] for clip, entry in entries.items() if "reason" in entry},
    )
    document = {"version": _VERSION, "settings": settings, "clips": result.clips, "set_aside": result.set_aside}
    write_atomically(options.output / CAST_FILE, strict_json.dumps(document, indent=1).encode())
    return result


def _look_through(clips: Mapping[str, Path], journal: _ClipJournal, matcher: _CastMatcher, progress: Progress) -> None:
    """Name the actors of all clips that the journal has not, or has set aside, or has in another size."""
    progress.begin("clips", len(clips))
    with DecoderPool(limits(1)) as pool:
        for clip, path in clips.items():
            size = path.stat().st_size
            if not journal.has(clip, size):
                try:
                    outcome = matcher.match(clip, path, pool.sample)
                except MediaError as error:
                    outcome = {"reason": error.reason}
                    progress.say(f"set aside: {clip}: {error.reason}")
                journal.add(clip, {"clip": clip, "size": size, **outcome})
            progress.advance()


@dataclass(frozen=True, slots=True)
class _CastMatcher:
    """Names the actors of clips by the `gallery` of their film, which the table `films` may say."""

    encoder: FaceEncoder
    gallery: CastGallery
    films: Mapping[str, str]
    threshold: float

    def match(self, clip: str, path: Path, sample: SampleFrames) -> dict[str, Any]:
        """Return who is in a clip, as the journal has it. MediaError where it cannot be used."""
        film = film_of(PurePosixPath(clip), list(self.gallery.films), self.films)
        faces = film_faces(Video(path), self.encoder, sample, FPS)
        tracks = cast_tracks(faces, self.gallery.of_film(film), self.threshold)
        best = most_confident(tracks)
        return {
            "seconds": round(faces.seconds, 3),
            "film": film,
            "actor": best.actor if best else None,
            "confidence": round(best.similarity, 4) if best else None,
            "tracks": [track.as_dict() for track in tracks],
        }


class _ClipJournal:
    """The finished clips of a build, in a file that grows a line at a time; `entries` has the newest of each clip."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self._path = path
        self.entries: dict[str, dict[str, Any]] = {}
        if not path.exists():
            write_atomically(path, _line({"settings": settings}))
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):  # the last line was cut off by a kill
            write_atomically(path, whole)
        head, *entries = self._documents(whole)
        if head.get("settings") != json.loads(json.dumps(settings)):
            raise UsageError(
                f"{path.parent}: was made with another encoder, threshold or cast; name another folder (--output)"
            )
        self.entries = {entry["clip"]: entry for entry in entries}
        self._stream = path.open("ab")

    def _documents(self, content: bytes) -> list[dict[str, Any]]:
        try:
            documents: list[dict[str, Any]] = [json.loads(line) for line in content.splitlines()]
            if not documents or "settings" not in documents[0] or not all("clip" in one for one in documents[1:]):
                raise ValueError("other entries")
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"{self._path}: not the journal of build-cia ({error}); name another folder (--output)"
            ) from error
        return documents

    def __enter__(self) -> _ClipJournal:
        return self

    def __exit__(self, *reason: object) -> None:
        self._stream.close()

    def has(self, clip: str, size: int) -> bool:
        """Return whether a clip of this size is finished; what was set aside is not."""
        entry = self.entries.get(clip)
        return entry is not None and "reason" not in entry and entry["size"] == size

    def add(self, clip: str, entry: dict[str, Any]) -> None:
        """Keep what was decided of a clip, durably."""
        self._stream.write(_line(entry))
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.entries[clip] = entry


def _line(document: Mapping[str, Any]) -> bytes:
    return strict_json.dumps(document).encode() + b"\n"


def _clips(options: CiaOptions) -> dict[str, Path]:
    """Return the clips by their path in the folder, in order of name."""
    folder = options.clips
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder of clips")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if not files:
        raise UsageError(f"{folder}: there is no clip in it")
    return {path.relative_to(folder).as_posix(): path for path in files[: options.limit]}


def _folder_of_lists(clips: Path) -> Path:
    """Return the folder with Hollywood2's lists: that of the clips, or the one above it."""
    return next((folder for folder in (clips, clips.absolute().parent) if (folder / "ClipSets").is_dir()), clips)


def _film_table(path: Path, films: list[str]) -> dict[str, str]:
    """Return which film clips are from. UsageError for a line that is not a clip and a film of the cast."""
    table: dict[str, str] = {}
    try:
        with path.open("rb") as stream:
            for number, cells in tab_separated(numbered_lines(stream, path)):
                clip, *film = (cell.strip() for cell in cells)
                if len(film) != 1 or film[0] not in films:
                    raise UsageError(f"{path}, line {number}: a clip, a tab and a film of the cast, not {cells!r:.60}")
                table[clip] = film[0]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    return table


def _settings(encoder: FaceEncoder, threshold: float, cast: Cast, table: Mapping[str, str]) -> dict[str, Any]:
    """Return what the results depend on, besides the clips."""
    pictures = [
        (film, actor, [file_digest(picture.video.path) for picture in shown])
        for film, actors in cast.items()
        for actor, shown in actors.items()
    ]
    return {
        "encoder": encoder.name,
        "fingerprint": encoder.fingerprint(),
        "fps": FPS,
        "threshold": threshold,
        "margin": MARGIN,
        "cast": digest(pictures, sorted(table.items())),
    }


def _with_labels(entry: Mapping[str, Any], labels: ClipLabels | None) -> dict[str, Any]:
    """Return what is said of a clip, with its classes; without what only the journal needs."""
    classes = {
        "action": list(labels.actions) if labels else [],
        "scene": list(labels.scenes) if labels else [],
    }
    return {"clip": entry["clip"], **classes, **{name: entry[name] for name in entry if name not in ("clip", "size")}}
