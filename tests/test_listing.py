"""What a folder of media holds: which names are passed over, and which files are one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmi_tvr.library.people.photos import list_photos
from mmi_tvr.media.listing import MediaItem, items, visible


def test_what_is_passed_over() -> None:
    names = ["a.jpg", "._a.jpg", ".git", "@eaDir", "#recycle", "$RECYCLE.BIN", ".Trash-1000", "b", "a.jpg.xmp"]
    assert visible(names) == ["a.jpg", "a.jpg.xmp", "b"]
    for mark in (".nomedia", ".trackerignore"):
        assert visible([*names, mark]) == []


def test_photos_of_people_are_looked_for_as_elsewhere(tmp_path: Path) -> None:
    for name in ("a.jpg", ".nomedia", "@eaDir/thumb.jpg", "left out/.nomedia", "left out/b.jpg", "below/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    photos = [photo.path.relative_to(tmp_path).as_posix() for photo in list_photos([tmp_path])]
    assert photos == ["a.jpg", "below/c.jpg"]  # the folder that was named is meant, whatever is in it


@pytest.mark.parametrize(
    ("names", "ids", "expected"),
    [
        (["IMG_1.HEIC", "img_1.mov"], {}, {"IMG_1.HEIC": "img_1.mov"}),
        (["IMG_1.HEIC", "IMG_1.avi"], {}, {"IMG_1.HEIC": None, "IMG_1.avi": None}),
        (["a.jpg", "b.mov"], {"a.jpg": "X", "b.mov": "X"}, {"a.jpg": "b.mov"}),
        (["a.jpg", "a.mov"], {"a.jpg": "X", "a.mov": "Y"}, {"a.jpg": None, "a.mov": None}),
        (["a.jpg", "a.mov"], {"a.jpg": "X"}, {"a.jpg": "a.mov"}),
        (["a.jpg", "a.png", "a.mov"], {}, {"a.jpg": None, "a.png": None, "a.mov": None}),
        (["a.jpg", "a.NEF"], {}, {"a.jpg": "a.NEF"}),
        (["a.NEF"], {}, {"a.NEF": None}),
        (["a.NEF", "a.mov"], {}, {"a.NEF": None, "a.mov": None}),
        (["IMG_1.jpg", "IMG_E1.jpg", "IMG_1.mov"], {}, {"IMG_1.jpg": "IMG_1.mov", "IMG_E1.jpg": None}),
        (["a.jpg", "a.jpg.xmp", "a.aae"], {}, {"a.jpg": None}),
    ],
)
def test_which_files_are_one(names: list[str], ids: dict[str, str], expected: dict[str, str | None]) -> None:
    assert items(names, ids) == [MediaItem(name, expected[name]) for name in sorted(expected)]
