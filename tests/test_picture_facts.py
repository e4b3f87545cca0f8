"""What a picture says of itself: when, where and by which camera it was taken."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import picture_files as pictures
import pytest
import typer
from typer.testing import CliRunner

from mmi_tvr.cli import probe as probe_command
from mmi_tvr.media._picture_exif import camera_of, content_id_of, date_of, position_of
from mmi_tvr.media.picture_facts import PictureFacts, Position
from mmi_tvr.media.pictures import open_still

INDIA = timezone(timedelta(hours=5, minutes=30))
BEFORE = timezone(-timedelta(hours=5))


def dated(text: object, offset: object = None, parts: object = None, gps: dict[int, object] | None = None) -> object:
    return date_of({}, {36867: text, 36881: offset, 37521: parts}, gps or {})[0]


GPS = {29: "2024:05:06", 7: (12.0, 8.0, 9.0)}  # UTC


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (dated("2024:05:06 07:08:09"), datetime(2024, 5, 6, 7, 8, 9)),
        (dated("2024:05:06 07:08:09", "-05:00", "5"), datetime(2024, 5, 6, 7, 8, 9, 500_000, BEFORE)),
        (dated("2024:05:06 07:08:09\0", "+05:30\0", b"012\0"), datetime(2024, 5, 6, 7, 8, 9, 12_000, INDIA)),
        (dated("2024:05:06 07:08:09", "Z"), datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone.utc)),
        (dated("2024:05:06 07:08:09", "+99:00"), datetime(2024, 5, 6, 7, 8, 9)),
        (dated("2024:05:06 07:08:09", "   :  "), datetime(2024, 5, 6, 7, 8, 9)),
        (dated("2024:05:06 07:08:09", gps=GPS), datetime(2024, 5, 6, 7, 8, 9, tzinfo=BEFORE)),
        (dated("2024:05:06 07:28:09", gps=GPS), datetime(2024, 5, 6, 7, 28, 9)),  # a clock that was wrong
        (dated("2024-05-06T07:08:09.25"), datetime(2024, 5, 6, 7, 8, 9, 250_000)),
        (dated("2024/05/06 7:08"), datetime(2024, 5, 6, 7, 8)),
        (dated("2024:05:06"), datetime(2024, 5, 6)),
        (dated("0000:00:00 00:00:00"), None),
        (dated("    :  :     :  :  "), None),
        (dated("2024:13:45 99:00:00"), None),
        (dated("9024:05:06 07:08:09"), None),
        (dated("1024:05:06 07:08:09"), None),
        (dated(20240506), None),
        (dated(None, gps=GPS), datetime(2024, 5, 6, 12, 8, 9, tzinfo=timezone.utc)),
        (dated(None, gps={29: "2024:05:06", 7: (25.0, 0.0, 0.0)}), None),
    ],
)  # fmt: skip
def test_dates(value: object, expected: object) -> None:
    assert value == expected
    if isinstance(value, datetime) and isinstance(expected, datetime):
        assert value.utcoffset() == expected.utcoffset()


def test_the_first_date_that_can_be_counts() -> None:
    main, exif = {306: "2020:01:01 00:00:00"}, {36867: "0000:00:00 00:00:00", 36868: "2019:01:01 00:00:00"}
    assert date_of(main, exif, {}) == (datetime(2019, 1, 1), "exif")
    assert date_of(main, {}, GPS)[1] == "exif"
    assert date_of({}, {}, GPS)[1] == "gps"
    assert date_of({}, {}, {}) == (None, None)


@pytest.mark.parametrize(
    ("gps", "expected"),
    [
        ({1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.2)}, Position(48.8583333, 2.2945)),
        ({1: "S", 2: (48.0, 51.0, 30.0), 3: "W", 4: (2.0, 17.0, 40.2)}, Position(-48.8583333, -2.2945)),
        ({1: b"s\0", 2: (48.5,), 3: " w", 4: 2.5}, Position(-48.5, -2.5)),
        ({1: "N", 2: (-48.5,), 3: "S", 4: (2.5,)}, Position(-48.5, -2.5)),
        ({1: "S", 2: (-48.5,), 3: "W", 4: (-2.5,)}, Position(-48.5, -2.5)),
        ({2: (48.5,), 4: (2.5,)}, Position(48.5, 2.5)),
        ({1: "N", 2: (1.0, 2.0, 3.0), 3: "E", 4: (4.0, 5.0, 6.0), 5: b"\1", 6: 9.5}, Position(1.0341667, 4.085, -9.5)),
        ({1: "N", 2: (1.0,), 3: "E", 4: (2.0,), 6: float("nan")}, Position(1.0, 2.0)),
        ({1: "N", 2: (91.0,), 3: "E", 4: (2.0,)}, "no place on Earth"),
        ({1: "N", 2: (float("nan"), 1.0, 1.0), 3: "E", 4: (2.0,)}, "no place on Earth"),
        ({1: "N", 2: (1.0, 75.0, 0.0), 3: "E", 4: (2.0,)}, "no place on Earth"),
        ({1: "N", 2: "x", 3: "E", 4: (2.0,)}, "no place on Earth"),
        ({1: "N", 2: (1.0,)}, "no place on Earth"),
        ({1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}, "0, 0"),
        ({}, None),
    ],
)  # fmt: skip
def test_positions(gps: dict[int, object], expected: object) -> None:
    position, problem = position_of(gps)
    if isinstance(expected, str):
        assert position is None
        assert expected in str(problem)
    else:
        assert (position, problem) == (expected, None)


def test_a_camera_and_the_id_of_a_live_photo() -> None:
    assert camera_of({271: "Canon\0", 272: "Canon  EOS 5D"}) == "Canon EOS 5D"
    assert camera_of({271: "Apple", 272: "iPhone 12"}) == "Apple iPhone 12"
    assert camera_of({}) is None
    name = b"0F1E-2D3C\0"
    note = b"Apple iOS\0\0\1MM" + b"\0\1" + b"\0\x11\0\2\0\0\0\x0a\0\0\0\x20" + b"\0\0\0\0" + name
    assert note[32:] == name
    assert content_id_of({37500: note}) == "0F1E-2D3C"
    assert content_id_of({37500: note[:20]}) is None
    assert content_id_of({37500: b"Nikon\0"}) is None


def test_probe_says_what_a_picture_is(tmp_path: Path) -> None:
    tags = pictures.exif(
        t_271="Apple", t_272="iPhone 12", t_274=6, e_36867="2024:05:06 07:08:09", e_36881="+02:00", e_37521="12",
        g_1="N", g_2=(48.0, 51.0, 30.0), g_3="E", g_4=(2.0, 17.0, 40.2), g_5=b"\0", g_6=35.0,
    )  # fmt: skip
    app = typer.Typer()
    app.callback()(lambda: None)
    probe_command.register(app)
    image = pictures.drawn().transpose(pictures.STORED[6])
    (tmp_path / "a.jpg").write_bytes(pictures.jpeg(image, exif=tags))
    lines = CliRunner().invoke(app, ["probe", str(tmp_path / "a.jpg")]).output.splitlines()[1:]
    assert [line.strip() for line in lines] == [
        "picture    JPEG, 64x48, turned upright (EXIF orientation 6)",
        "date       2024-05-06 07:08:09.120000+02:00 (by its EXIF data)",
        "place      48.858333 N, 2.294500 E, 35 m",
        "camera     Apple iPhone 12",
    ]
    result = CliRunner().invoke(app, ["probe", str(tmp_path / "a.jpg"), "--json"])
    (document,) = json.loads(result.stdout)["files"]
    assert (document["kind"], document["error"], document["rotation"]) == ("image", None, 270)
    assert document["picture"]["date"] == "2024-05-06T07:08:09.120000+02:00"
    assert document["picture"]["position"] == {"latitude": 48.8583333, "longitude": 2.2945, "altitude": 35.0}
    facts = PictureFacts.from_dict(document["picture"])
    assert facts.as_dict() == document["picture"]


def test_a_picture_without_a_date_has_that_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(pictures.saved(pictures.drawn(), "PNG"))
    with open_still(tmp_path / "a.png") as picture:
        facts = picture.facts()
    assert facts.date_source == "file"
    assert facts.date is not None
    assert facts.date.timestamp() == pytest.approx((tmp_path / "a.png").stat().st_mtime)
