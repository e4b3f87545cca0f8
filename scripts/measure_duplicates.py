"""Near-duplicates, measured on real films and their pictures: copies that were changed, and false pairs.

    python scripts/measure_duplicates.py CLIPS COPIES

makes copies of all films in the folder CLIPS (their first 12 seconds, at most 180 pixels high) that were saved again,
cut and framed anew, keeps them in the folder COPIES, and compares each with its original as `mmi-tvr duplicates` does.
The line from which two films are alike is chosen on every second clip (by name), and what it finds is measured on the
others.

    python scripts/measure_duplicates.py CLIPS --pictures

does the same with three pictures of each film, by the line that is in use, and keeps nothing.
"""

from __future__ import annotations

import argparse
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mmi_tvr.media.names import VIDEO_SUFFIXES
from mmi_tvr.media.video import sample_with_info
from mmi_tvr.scoring.fingerprints import (
    LEAST,
    MOST_PICTURES,
    fingerprint,
    may_be_copies,
    still_likenesses,
    video_fingerprints,
    video_likeness,
)
from mmi_tvr.types import Video
from mmi_tvr.utils.intervals import wilson

Edit = Callable[[Image.Image], Image.Image]
SECONDS = 12.0  # of a clip, at most
HEIGHT = 180


def as_it_is(picture: Image.Image) -> Image.Image:
    return picture


def scaled(share: float) -> Edit:
    return lambda picture: picture.resize((round(picture.width * share), round(picture.height * share)))


def squeezed(picture: Image.Image) -> Image.Image:
    return picture.resize((round(0.9 * picture.width), picture.height))


def brighter(picture: Image.Image) -> Image.Image:
    return picture.point([min(255, round(1.15 * value)) for value in range(256)] * 3)


def cropped(share: float) -> Edit:
    def crop(picture: Image.Image) -> Image.Image:
        left, top = round(share * picture.width), round(share * picture.height)
        return picture.crop((left, top, picture.width - left, picture.height - top))

    return crop


def framed(width: float, height: float) -> Edit:
    """With black at the sides, or above and below: the whole is so many times as wide and high."""

    def frame(picture: Image.Image) -> Image.Image:
        whole = Image.new("RGB", (round(width * picture.width), round(height * picture.height)))
        whole.paste(picture, ((whole.width - picture.width) // 2, (whole.height - picture.height) // 2))
        return whole

    return frame


def with_logo(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    width, height = picture.size
    box = (round(0.82 * width), round(0.05 * height), round(0.97 * width), round(0.15 * height))
    ImageDraw.Draw(picture).rectangle(box, fill="white")
    return picture


def both(first: Edit, second: Edit) -> Edit:
    return lambda picture: second(first(picture))


# Name -> how pictures change, share of the film that is cut off in front and behind, quality (x264's crf), and how many
# of its pictures are kept.
COPIES: dict[str, tuple[Edit, float, float, int, int]] = {
    "original": (as_it_is, 0, 0, 18, 1),
    "saved again": (as_it_is, 0, 0, 38, 1),
    "half the size": (scaled(0.5), 0, 0, 30, 1),
    "a third of the pictures": (as_it_is, 0, 0, 28, 3),
    "brighter": (brighter, 0, 0, 28, 1),
    "3 % cropped": (cropped(0.03), 0, 0, 28, 1),
    "logo": (with_logo, 0, 0, 28, 1),
    "letterboxed": (framed(1, 1.34), 0, 0, 28, 1),
    "pillarboxed": (framed(1.78, 1), 0, 0, 28, 1),
    "5 % off the start": (as_it_is, 0.05, 0, 28, 1),
    "10 % off the end": (as_it_is, 0, 0.1, 28, 1),
    "8 % off both": (as_it_is, 0.08, 0.08, 28, 1),
    "small, letterboxed, trimmed": (both(scaled(0.5), framed(1, 1.34)), 0.06, 0.04, 32, 1),
    "first half": (as_it_is, 0, 0.5, 28, 1),  # these two are films of their own
    "second half": (as_it_is, 0.5, 0, 28, 1),
}

# Name -> how a picture changes, and the quality of the JPEG that it is saved as.
PICTURE_COPIES: dict[str, tuple[Edit, int]] = {
    "JPEG at quality 30": (as_it_is, 30),
    "half as wide and high": (scaled(0.5), 95),
    "both, at quality 40": (scaled(0.5), 40),
    "15 % brighter": (brighter, 95),
    "squeezed by a tenth": (squeezed, 95),
    "3 % cropped off each side": (cropped(0.03), 95),
    "5 % cropped off each side": (cropped(0.05), 95),
    "10 % cropped off each side": (cropped(0.1), 95),
}
PICTURES = 3  # of a film
COLUMNS = "share of pairs that are alike, 95 % interval (Wilson), pairs; lowest, highest"

HALVES = ("first half", "second half")
DIFFERENT = "different clips"
NOT_COPIES = (DIFFERENT, "halves of a clip")


def make_copies(clip: Path, folder: Path) -> None:
    """Write all copies of a clip that are not there yet."""
    targets = {name: folder / name / f"{clip.name}.mp4" for name in COPIES}
    if all(path.exists() for path in targets.values()):
        return
    with av.open(str(clip)) as source:
        stream = source.streams.video[0]
        rate = Fraction(stream.average_rate or 25).limit_denominator(1000)
        frames = [
            frame.reformat(*_size(frame), format="rgb24").to_image()
            for frame in itertools.islice(source.decode(stream), round(SECONDS * rate))
        ]
    for name, (edit, start, end, quality, step) in COPIES.items():
        kept = frames[round(start * len(frames)) : round((1 - end) * len(frames)) : step]
        _write(targets[name], kept, rate / step, edit, quality)


def _size(frame: av.VideoFrame) -> tuple[int, int]:
    share = min(1.0, HEIGHT / frame.height)
    return round(frame.width * share / 2) * 2, round(frame.height * share / 2) * 2


def _write(path: Path, frames: list[Image.Image], rate: Fraction, edit: Edit, quality: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part.mp4")
    with av.open(str(draft), "w") as output:
        options = {"crf": str(quality), "preset": "ultrafast", "threads": "1"}
        stream = output.add_stream("libx264", rate=rate, options=options)
        for number, picture in enumerate(frames):
            changed = edit(picture)
            if number == 0:
                stream.width, stream.height = changed.width // 2 * 2, changed.height // 2 * 2
                stream.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_image(changed)
            frame.pts, frame.time_base = number, 1 / rate
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    draft.rename(path)


# Measuring


@dataclass(frozen=True)
class Film:
    """A film as it is compared."""

    fingerprints: NDArray[np.uint8]
    seconds: float


def read(path: Path) -> Film:
    info, frames = sample_with_info(Video(path), 2.0, MOST_PICTURES, 128)
    return Film(video_fingerprints(frames, info.duration), info.duration)


def likeness(one: Film, other: Film) -> float:
    if not may_be_copies(one.seconds, other.seconds):
        return -1.0
    return video_likeness(one.fingerprints, other.fingerprints, one.seconds, other.seconds)


def measure(films: dict[str, dict[str, Film]], clips: list[str]) -> dict[str, NDArray[np.float64]]:
    """How alike copies of clips are to their originals, by kind; different clips; the two halves of a clip."""
    originals = films["original"]
    likenesses = {
        kind: np.array([likeness(originals[clip], films[kind][clip]) for clip in clips])
        for kind in COPIES
        if kind not in ("original", *HALVES)
    }
    likenesses[DIFFERENT] = np.array(
        [
            likeness(originals[one], films[kind][other])
            for one, other in itertools.combinations(clips, 2)
            for kind in COPIES
            if kind not in HALVES
        ]
    )
    likenesses["halves of a clip"] = np.array([likeness(*(films[half][clip] for half in HALVES)) for clip in clips])
    return likenesses


def pictures_of(path: Path) -> list[Image.Image]:
    """Return pictures of a film at equal distances, at most 720 pixels in size."""
    _, frames = sample_with_info(Video(path), 2.0, PICTURES, 720)
    return [Image.fromarray(pixels) for pixels in frames.pixels]


def measure_pictures(clips: Sequence[Sequence[Image.Image]]) -> dict[str, NDArray[np.float64]]:
    """How alike copies of the pictures of clips are to their originals, by kind; of other clips; of the same clip."""
    originals = [[fingerprint(np.asarray(picture)) for picture in clip] for clip in clips]
    rows = np.concatenate(originals)
    likenesses = {
        kind: still_likenesses(
            rows, np.stack([fingerprint(_saved(edit(picture), quality)) for clip in clips for picture in clip])
        )
        for kind, (edit, quality) in PICTURE_COPIES.items()
    }
    clip_of = np.repeat(np.arange(len(clips)), [len(clip) for clip in clips])
    left, right = np.triu_indices(len(rows), 1)
    pairs = still_likenesses(rows[left], rows[right])
    is_same = clip_of[left] == clip_of[right]
    return likenesses | {DIFFERENT: pairs[~is_same], "another time of the clip": pairs[is_same]}


def _saved(picture: Image.Image, quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def report(likenesses: Mapping[str, NDArray[np.float64]], clips: int | None = None) -> None:
    """Print a line for each kind of pairs; clips: how many trials the intervals are of, else as many as pairs."""
    for kind, values in likenesses.items():
        if not len(values):
            continue
        share = float(np.mean(values >= LEAST))
        low, high = wilson(share, clips or len(values))
        print(
            f"  {kind:<28} {100 * share:6.1f} [{low:.1f}, {high:.1f}], n = {len(values)};"
            f" {values.min():.3f}, {values.max():.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="a folder of films")
    parser.add_argument(
        "copies", type=Path, nargs="?", help="where copies are kept; those that are there are not made again"
    )
    parser.add_argument("--pictures", action="store_true", help="of pictures of the films, of which nothing is kept")
    args = parser.parse_args()
    if args.pictures == (args.copies is not None):
        parser.error("either COPIES, a folder for copies of the films, or --pictures")
    if not args.clips.is_dir():
        parser.error(f"{args.clips}: no such folder")
    paths = sorted(path for path in args.clips.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if len(paths) < 4:
        parser.error(f"{args.clips}: {len(paths)} films, and two halves of them have to have pairs: four at least")
    if args.pictures:
        print(f"pictures of {len(paths)} clips, LEAST = {LEAST}: {COLUMNS}")
        report(measure_pictures([pictures_of(path) for path in paths]), len(paths))
        return
    for path in paths:
        make_copies(path, args.copies)
    names = [path.name for path in paths]
    films = {kind: {name: read(args.copies / kind / f"{name}.mp4") for name in names} for kind in COPIES}
    chosen_on, measured_on = measure(films, names[::2]), measure(films, names[1::2])
    copies = np.concatenate([chosen_on[kind] for kind in COPIES if kind in chosen_on])
    print(f"{len(names[::2])} clips to choose on: LEAST, recall of copies, different clips, halves of a clip")
    for least in (0.8, 0.85, 0.88, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96):
        shares = [np.mean(values >= least) for values in (copies, *(chosen_on[kind] for kind in NOT_COPIES))]
        print(f"  {least:.2f} " + " ".join(f"{100 * share:6.1f}" for share in shares))
    print(f"{len(names[1::2])} other clips, LEAST = {LEAST}: {COLUMNS}")
    report(measured_on)


if __name__ == "__main__":
    main()
