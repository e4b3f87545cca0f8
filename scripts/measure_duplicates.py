"""Near-duplicates of films, measured on real ones: copies that were saved again, cut and framed anew, and false pairs.

    python scripts/measure_duplicates.py CLIPS COPIES

makes copies of all films in the folder CLIPS (their first 12 seconds, at most 180 pixels high), keeps them in the
folder COPIES, and compares each with its original as `mmi-tvr duplicates` does. The line from which two films are alike
is chosen on every second clip (by name), and what it finds is measured on the others.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mmi_tvr.media.names import VIDEO_SUFFIXES
from mmi_tvr.media.video import sample_with_info
from mmi_tvr.scoring.fingerprints import LEAST, MOST_PICTURES, may_be_copies, video_fingerprints, video_likeness
from mmi_tvr.types import Video
from mmi_tvr.utils.intervals import wilson

Edit = Callable[[Image.Image], Image.Image]
SECONDS = 12.0  # of a clip, at most
HEIGHT = 180


def as_it_is(picture: Image.Image) -> Image.Image:
    return picture


def scaled(share: float) -> Edit:
    return lambda picture: picture.resize((round(picture.width * share), round(picture.height * share)))


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

HALVES = ("first half", "second half")
NOT_COPIES = ("different clips", "halves of a clip")


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
    likenesses["different clips"] = np.array(
        [
            likeness(originals[one], films[kind][other])
            for one, other in itertools.combinations(clips, 2)
            for kind in COPIES
            if kind not in HALVES
        ]
    )
    likenesses["halves of a clip"] = np.array([likeness(*(films[half][clip] for half in HALVES)) for clip in clips])
    return likenesses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="a folder of films")
    parser.add_argument("copies", type=Path, help="where copies are kept; those that are there are not made again")
    args = parser.parse_args()
    paths = sorted(path for path in args.clips.iterdir() if path.suffix in VIDEO_SUFFIXES)
    if len(paths) < 4:
        parser.error(f"{args.clips}: {len(paths)} films, and two halves of them have to have pairs: four at least")
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
    print(
        f"{len(names[1::2])} other clips, LEAST = {LEAST}: share of pairs, 95 % interval (Wilson), n; lowest, highest"
    )
    for kind, values in measured_on.items():
        count = int((values >= LEAST).sum())
        low, high = wilson(count / len(values), len(values))
        print(
            f"  {kind:<28} {100 * count / len(values):6.1f} [{low:.1f}, {high:.1f}], n = {len(values)};"
            f" {values.min():.3f}, {values.max():.3f}"
        )


if __name__ == "__main__":
    main()
