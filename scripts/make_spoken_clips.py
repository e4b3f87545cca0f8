"""Make clips of which it is known what is seen, said and written: `make_spoken_clips.py FOLDER`.

Two folders, `validation` and `test`, which share no sentence and no scene: moving shapes, of which every fourth clip
has a sentence that is spoken (espeak-ng, in three accents), every fourth one that is written (white on black, along the
lower edge), every fourth both, and every fourth neither. With `--clips`, the files of a folder take the place of the
moving shapes, and the sentences are those of the test half. `clips.tsv` says what is in each.
"""

from __future__ import annotations

import argparse
import csv
import io
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mmi_tvr.datasets import moving_shapes
from mmi_tvr.media.video import sample_with_info
from mmi_tvr.types import Pixels, Video

SENTENCES = Path(__file__).with_name("spoken_sentences.tsv")
COLUMNS = ("file", "seen", "spoken", "spoken_paraphrase", "written", "written_paraphrase")
SEPARATOR = " | "  # between several sentences of what is seen
_ACCENTS = ("en-us", "en-gb", "en-gb-scotland")
_SIDE, _FPS, _CAPTIONS = 480, 10, 4
_RATE = 22_050  # of espeak-ng
_LEAD = 0.5  # seconds of silence before a sentence
_MOST = 8.0  # seconds of a real clip


@dataclass(frozen=True)
class Scene:
    """Pictures (N, H, W, 3) at `_FPS` a second, and what is seen in them, in words."""

    name: str
    pictures: NDArray[np.uint8]
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Sentence:
    """What is said or written, and how somebody may ask for it who does not know the words."""

    text: str
    paraphrase: str


NOTHING = Sentence("", "")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=40, help="clips of each half")
    parser.add_argument("--clips", type=Path, help="folder of real clips with captions.tsv: file, caption_en, ...")
    options = parser.parse_args(arguments)
    sentences = [Sentence(row["sentence"], row["paraphrase"]) for row in rows(SENTENCES)]
    half = len(sentences) // 2
    if options.clips:
        write_clips(options.folder, real_scenes(options.clips), sentences[half:])
        return
    for folder, split, some in (("validation", "val", sentences[:half]), ("test", "test", sentences[half:])):
        write_clips(options.folder / folder, shape_scenes(split, options.count), some)


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table with tabs."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def shape_scenes(split: str, count: int) -> Iterator[Scene]:
    """Yield the scenes of moving shapes, of which each has a twin that is left out."""
    items = moving_shapes.build(moving_shapes.Options.model_validate({"split": split, "count": 2 * count})).items
    for number, item in enumerate(items[::2]):
        times = np.arange(item.spec.duration * _FPS // 1000) / _FPS
        pictures = moving_shapes.render_frames(item.spec, times.tolist(), _SIDE)
        yield Scene(f"clip{number:03}", pictures, tuple(moving_shapes.captions(item.spec)[:_CAPTIONS]))


def real_scenes(folder: Path) -> Iterator[Scene]:
    """Yield the beginnings of real clips, with their captions in English."""
    for row in rows(folder / "captions.tsv"):
        video = Video(folder / row["file"], end=_MOST)
        _, frames = sample_with_info(video, _FPS, round(_MOST * _FPS), _SIDE)
        captions = tuple(row[name] for name in ("caption_en", "paraphrase_en") if row.get(name))
        yield Scene(Path(row["file"]).name, frames.pixels, captions)


def write_clips(folder: Path, scenes: Iterator[Scene], sentences: Sequence[Sentence]) -> None:
    """Write clips with sentences, each of which is said or written once, and the table of what is in them."""
    folder.mkdir(parents=True, exist_ok=True)
    remaining = iter(sentences)
    with (folder / "clips.tsv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None)
        table.writerow(COLUMNS)
        for number, scene in enumerate(scenes):
            spoken = next(remaining, NOTHING) if number % 4 in (0, 2) else NOTHING
            written = next(remaining, NOTHING) if number % 4 in (1, 2) else NOTHING
            name = f"{scene.name}.mp4"
            sound = speech(spoken.text, _ACCENTS[number % 3]) if spoken.text else np.zeros(0, np.int16)
            pictures = [lettered(picture, written.text) for picture in scene.pictures]
            missing = round(len(sound) / _RATE * _FPS) - len(pictures)
            (folder / name).write_bytes(mp4([*pictures, *[pictures[-1]] * max(0, missing)], sound))
            seen = SEPARATOR.join(scene.captions)
            table.writerow([name, seen, spoken.text, spoken.paraphrase, written.text, written.paraphrase])
            print(name, file=sys.stderr)


def speech(text: str, accent: str) -> NDArray[np.int16]:
    """Return a sentence as espeak-ng speaks it, with silence around."""
    wave = subprocess.run(["espeak-ng", "-v", accent, "-s", "150", "--stdout", text], check=True, stdout=-1).stdout
    silence = np.zeros(round(_LEAD * _RATE), np.int16)
    return np.concatenate([silence, np.frombuffer(wave[44:], "<i2"), silence])


def lettered(picture: Pixels, text: str) -> Pixels:
    """Return a picture with a text along its lower edge."""
    if not text:
        return picture
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    size = image.height // 16
    lines = _wrapped(text, ImageFont.truetype("DejaVuSans.ttf", size), image.width - size)
    top = image.height - round(1.3 * size * len(lines)) - size // 2
    draw.rectangle((0, top - size // 4, image.width, image.height), fill="black")
    draw.multiline_text((size // 2, top), "\n".join(lines), "white", ImageFont.truetype("DejaVuSans.ttf", size))
    return np.asarray(image)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def mp4(pictures: Sequence[Pixels], sound: NDArray[np.int16]) -> bytes:
    """Return pictures and sound as a file."""
    target = io.BytesIO()
    height, width = (length // 2 * 2 for length in pictures[0].shape[:2])
    with av.open(target, "w", format="mp4") as output:
        video = output.add_stream("libx264", rate=_FPS, options={"crf": "20", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = output.add_stream("aac", rate=_RATE, layout="mono") if len(sound) else None
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
            output.mux(video.encode(frame))
        output.mux(video.encode())
        for first in range(0, len(sound), 1024) if audio is not None else ():
            samples = av.AudioFrame.from_ndarray(sound[None, first : first + 1024], format="s16", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = _RATE, first, Fraction(1, _RATE)
            output.mux(audio.encode(samples))
        if audio is not None:
            output.mux(audio.encode())
    return target.getvalue()


if __name__ == "__main__":
    main()
