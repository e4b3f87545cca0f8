"""What is read: lines that stay, films in passages, pages, and the real recogniser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import media_files as files
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from recognisers import DATA, Reader, reads, texts

from mmi_tvr import plugins
from mmi_tvr.channels import read
from mmi_tvr.channels._ocr import RapidOcr, TextLine, is_of_unknown_script
from mmi_tvr.errors import MediaError
from mmi_tvr.fulltext.folding import tokens
from mmi_tvr.media.guarded import DecoderPool
from mmi_tvr.types import MediaFile
from mmi_tvr.utils.installation import installed


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds instead of minutes."""
    monkeypatch.setattr(read, "_PASSAGE", 48.0)


LEVELS = (40, 100, 160, 220)


def film(path: Path, levels: Sequence[int], seconds: float) -> Path:
    """A film that shows each level of grey for so many seconds."""
    pictures = [np.full((64, 96, 3), level, np.uint8) for level in levels for _ in range(round(seconds))]
    return files.make_video(path, fps=1, pictures=pictures, options={"qp": "10"})


def test_lines_that_stay_are_one_moment_and_those_that_come_and_go_together_one_text(tmp_path: Path) -> None:
    title, watermark = "Chapter one", "CHANNEL 5"
    channel, reader = reads(
        {
            40: [(watermark, 0.99)],
            100: [(title, 0.9), ("The storm", 0.99), (watermark, 0.99)],
            160: [("Chapter 0ne", 0.95), ("The storm", 0.9), ("CHANNEL S", 0.95)],
            220: [(watermark, 0.99)],
        }
    )
    (passage,) = channel.moments(MediaFile(film(tmp_path / "a.mp4", LEVELS, 8), "video"))
    assert texts([passage]) == [(0, 32, watermark), (8, pytest.approx(24, abs=1), "Chapter 0ne The storm")]
    assert (passage.start, passage.end) == (0, 32)
    assert reader.calls == 4  # sixteen pictures, four that differ


def test_noise_is_not_read(tmp_path: Path) -> None:
    channel, _ = reads({40: [("unsure", 0.5), ("l", 0.99), ("...|", 0.99), ("ok", 0.9), ("车", 0.99), ("红车", 0.99)]})
    (passage,) = channel.moments(MediaFile(film(tmp_path / "a.mp4", [40], 4), "video"))
    assert texts([passage]) == [(0, 4, "ok 红车")]


def test_a_long_film_is_read_passage_by_passage_and_from_any_of_them(tmp_path: Path) -> None:
    channel, reader = reads({40: [("one", 0.99)], 220: [("two", 0.99)]})
    path = film(tmp_path / "a.mp4", [40, 220], 32)
    passages = list(channel.moments(MediaFile(path, "video")))
    assert [(passage.start, passage.end) for passage in passages] == [(0, 48), (48, 64)]
    assert texts(passages) == [(0, 32, "one"), (32, 48, "two"), (48, 64, "two")]
    assert reader.calls == 2
    assert texts(list(channel.moments(MediaFile(path, "video"), 48.0))) == [(48, 64, "two")]
    assert list(channel.moments(MediaFile(path, "video"), 64.0)) == []  # cut off before it could be said to be whole


def test_a_film_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    channel, _ = reads({40: [("one", 0.99)], 220: [("two", 0.99)]})
    whole = files.make_video(
        tmp_path / "a.mp4",
        fps=1,
        pictures=[np.full((64, 96, 3), level, np.uint8) for level in (40, 220) for _ in range(40)],
        gop=1,
        options={"qp": "10"},
        container_options={"movflags": "faststart"},
    )
    for share in (0.9, 0.75):
        cut = files.truncate(whole, tmp_path / f"{share}.mp4", share)
        passages = list(channel.moments(MediaFile(cut, "video")))
        assert [text for _, _, text in texts(passages)][:2] == ["one", "two"]
        assert passages[-1].end < 80


def test_however_often_a_film_is_looked_at_few_pictures_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, sample = [], DecoderPool.sample

    def counted(pool: DecoderPool, *arguments: Any) -> Any:
        info, frames = sample(pool, *arguments)
        counts.append(len(frames))
        return info, frames

    monkeypatch.setattr(DecoderPool, "sample", counted)
    path = film(tmp_path / "a.mp4", [40, 220], 32)
    for interval, least in ((0.5, 60), (2.0, 30), (1e6, 1)):
        counts.clear()
        channel, _ = reads({40: [("one", 0.99)], 220: [("two", 0.99)]}, interval=interval)
        assert texts(list(channel.moments(MediaFile(path, "video"))))[0][2] == "one"
        assert max(counts) <= 16
        assert sum(counts) >= least


def test_a_line_that_changes_in_one_corner_is_read_again() -> None:
    last, picture = read.LastPicture(), np.full((720, 1280, 3), 90, np.uint8)
    assert last.differs(picture)
    assert not last.differs(picture + 3)
    written = Image.fromarray(picture)
    ImageDraw.Draw(written).text((1100, 650), "seven", font=ImageFont.load_default(24), fill=(255, 255, 255))
    assert last.differs(np.asarray(written))
    assert last.differs(np.full((64, 64, 3), 90, np.uint8))


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_text_is_read_whichever_way_it_lies(turn: int) -> None:
    with Image.open(DATA / "text.png") as picture:
        pixels = np.asarray(picture.convert("RGB").rotate(turn, expand=True))
    lines = OCR.recognise(pixels)
    assert {tuple(tokens(line.text)) for line in lines} >= {
        tuple("今日特价红烧牛肉面"),
        ("open", "from", "9", "to", "17"),
    }
    assert min(line.confidence for line in lines) > 0.9


OCR = RapidOcr(736, 1) if installed("rapidocr") else None


def test_pictures_are_read(tmp_path: Path) -> None:
    channel = plugins.build("channels", "read")
    (passage,) = channel.moments(MediaFile(DATA / "text.png", "image"))
    assert [moment.text for moment in passage.moments] == ["今日特价：红烧牛肉面 Open from 9 to 17"]
    assert (passage.start, passage.end, passage.moments[0].span.start) == (0, 1, 0)
    with pytest.raises(MediaError):
        list(channel.moments(MediaFile(Path(__file__), "image")))
    assert OCR is not None
    assert OCR.recognise(np.zeros((4, 400, 3), np.uint8)) == []
    assert OCR.recognise(np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)) == []


def test_of_ten_scripts_those_are_read_that_the_recogniser_knows_and_nothing_is_made_up() -> None:
    """Latin, Chinese, Japanese; Korean, Cyrillic, Greek, Hebrew, Arabic, Georgian and Armenian, a line each."""
    (passage,) = plugins.build("channels", "read").moments(MediaFile(DATA / "scripts.png", "image"))
    assert [moment.text for moment in passage.moments] == [
        "The museum opens at nine 博物馆九点开门 はくぶつかんは九時に開く"
    ]
    assert is_of_unknown_script("Το μουσείο ανοίγει")
    assert not any(map(is_of_unknown_script, ("Łódź: 5 kΩ, 3 µm", "ラーメン", "ＡＢＣ 々〆", "Δt = 4", "x² ﬁne")))


def test_pages_and_animated_pictures_are_read_as_films_are(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((60, 80, 3), level, np.uint8)) for level in (10, 120, 240)]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:], duration=1_000)
    lines = {10: [("first page", 0.99)], 120: [("second page", 0.99)], 240: []}
    for name in ("a.tiff", "a.gif"):
        channel = read.ReadText(read.Options(), Reader(lines))
        passages = list(channel.moments(MediaFile(tmp_path / name, "image")))
        assert texts(passages) == [(0.0, 1.0, "first page"), (1.0, 2.0, "second page")]
        assert passages[-1].end == 3.0
    many = [Image.fromarray(np.full((60, 80, 3), 10 + 220 * (page % 2), np.uint8)) for page in range(60)]
    many[0].save(tmp_path / "many.tiff", save_all=True, append_images=many[1:])
    channel = read.ReadText(read.Options(), Reader({10: [("odd", 0.99)], 230: [("even", 0.99)]}))
    passages = list(channel.moments(MediaFile(tmp_path / "many.tiff", "image")))
    assert [one.end for one in passages] == [48.0, 60.0]
    assert sum(len(one.moments) for one in passages) == 60
    assert next(channel.moments(MediaFile(tmp_path / "many.tiff", "image"), 48.0)).start == 48.0


def test_two_lines_that_read_the_same_stay_two() -> None:
    tracks, exits = read.LineTracks(), [TextLine("Exit", 0.9), TextLine("Exit", 0.9)]
    for start in range(0, 8, 2):
        tracks.add(start, start + 2, exits)
    assert [(track.start, track.end) for track in tracks.tracks] == [(0, 8), (0, 8)]
