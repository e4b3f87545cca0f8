"""Which actor is in a film clip, by pictures of the film's cast.

Sources: CLIP-PAD's data (Korbar and Zisserman, BMVC 2022): the tracks of a clip are named, and the clip is the most
confident actor's; Brown et al., "Automated Video Labelling", ICMI 2021: a track is somebody's whose mean descriptor is
near enough, and a tenth nearer than anybody else's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..protocols import FaceEncoder
from ..types import PersonPicture
from ..utils.progress import Progress
from .films import FilmFaces
from .naming import MARGIN, name_faces
from .portraits import portraits

Gallery = Mapping[str, NDArray[np.float32]]  # actor -> the mean descriptor (1, F)


@dataclass(frozen=True, slots=True)
class CastTrack:
    """A face track of a clip: seconds, the box where it is seen best (shares of the picture's sides), how many pictures
    have it, and whose it is.

    `actor` is None where nobody is near enough, or `problem` says why the face was not described; `nearest` is the
    actor whose cosine `similarity` is.
    """

    start: float
    end: float
    time: float
    box: tuple[float, float, float, float]
    frames: int
    actor: str | None
    nearest: str | None
    similarity: float
    problem: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "time": round(self.time, 3),
            "box": [round(edge, 4) for edge in self.box],
            "frames": self.frames,
            "actor": self.actor,
            "nearest": self.nearest,
            "similarity": round(self.similarity, 4),
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True)
class CastGallery:
    """The mean descriptors of the actors of each film, and why some pictures of them show nobody."""

    films: Mapping[str, Gallery]
    problems: Mapping[str, str]

    def of_film(self, film: str | None) -> Gallery:
        """Return the actors of a film; those of all films, where it is not known which one it is."""
        if film is not None:
            return self.films[film]
        together: dict[str, list[NDArray[np.float32]]] = {}
        for gallery in self.films.values():
            for actor, descriptor in gallery.items():
                together.setdefault(actor, []).append(descriptor)
        return {actor: _mean(np.concatenate(descriptors)) for actor, descriptors in together.items()}


def cast_gallery(
    cast: Mapping[str, Mapping[str, Sequence[PersonPicture]]], encoder: FaceEncoder, progress: Progress
) -> CastGallery:
    """Return the descriptors of a cast: film -> actor -> pictures."""
    pictures = {
        f"{film}\0{actor}": shown for film, actors in cast.items() for actor, shown in actors.items()
    }  # a handle for each actor of each film
    seen = portraits(pictures, encoder, progress)
    films: dict[str, dict[str, NDArray[np.float32]]] = {film: {} for film in cast}
    for handle, descriptors in seen.faces.items():
        film, _, actor = handle.partition("\0")
        films[film][actor] = _mean(descriptors)
    return CastGallery(films, {str(path): reason for path, reason in seen.problems.items()})


def film_of(clip: PurePath, films: Sequence[str], table: Mapping[str, str]) -> str | None:
    """Return which film a clip is from; None where nothing says it.

    Args:
        clip: its path in the folder of clips.
        films: those of the cast.
        table: clip, by name without suffix or path -> film.
    """
    for name in (clip.as_posix(), clip.name, clip.stem):
        if name in table:
            return table[name]
    return next((part for part in clip.parts[:-1] if part in films), None)


def cast_tracks(faces: FilmFaces, gallery: Gallery, threshold: float, margin: float = MARGIN) -> list[CastTrack]:
    """Return the face tracks of a clip with their names (`naming.name_faces`)."""
    width, height = faces.sides
    described = [track.descriptor for track in faces.tracks if track.descriptor is not None]
    namings = iter(name_faces(np.stack(described), gallery, threshold, margin) if described else ())
    tracks = []
    for track in faces.tracks:
        naming = next(namings) if track.descriptor is not None else None
        left, top, right, bottom = track.box
        tracks.append(
            CastTrack(
                track.start,
                track.end,
                track.time,
                (left / width, top / height, right / width, bottom / height),
                track.frames,
                naming.name if naming else None,
                naming.nearest if naming else None,
                naming.similarity if naming else 0.0,
                None if naming else track.quality.problem or "not described",
            )
        )
    return tracks


def most_confident(tracks: Sequence[CastTrack]) -> CastTrack | None:
    """Return the named track whose similarity is largest; None where nobody is named."""
    return max((track for track in tracks if track.actor is not None), key=lambda track: track.similarity, default=None)


def _mean(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of unit rows (n, F) as a unit row (1, F)."""
    mean = descriptors.mean(axis=0, keepdims=True)
    unit: NDArray[np.float32] = (mean / max(1e-12, float(np.linalg.norm(mean)))).astype(np.float32)
    return unit
