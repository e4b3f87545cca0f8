"""The real channels in a library: a recording and a picture are found by what is said and written in them.

The two files are those of `recognisers`. What has nothing to say costs nothing and is no error: silence, a chord.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, clipped
from recognisers import DATA, needs_whisper
from test_sound import recording, tone

from mmi_tvr.library import Library
from mmi_tvr.utils.installation import installed


@needs_whisper
@pytest.mark.skipif(not installed("rapidocr"), reason="the extra ocr is not installed")
def test_a_recording_and_a_picture_are_found_by_their_texts(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    for name in ("speech.ogg", "text.png"):
        shutil.copy(DATA / name, folder / name)
    recording(folder / "silence.flac", [(0.0, np.zeros(16_000, np.int16))], rate=8000, layout="mono")
    recording(folder / "chord.flac", [(0.0, tone(2.0, 8000))], rate=8000, layout="mono")
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        report = library.index([folder], channels=["heard", "read"])
        assert report.channels is not None
        channels = {name: (one.files, one.unusable) for name, one in report.channels.channels.items()}
        assert channels == {"heard": (3, None), "read": (1, None)}
        status = library.status().channels.channels
        assert [(status[name].done, status[name].pending, status[name].problems) for name in ("heard", "read")] == [
            (3, 0, ()),
            (1, 0, ()),
        ]
        spoken = library.search("nobody has seen the red umbrella")[0]
        assert (spoken.path.name, spoken.kind, spoken.found_by[0]) == ("speech.ogg", "audio", "heard")
        assert spoken.start == pytest.approx(5.9, abs=0.5)
        quoted = library.search('"red umbrella"')
        assert [hit.path.name for hit in quoted] == ["speech.ogg"]
        written = library.search('"紅燒牛肉麵"')[0]  # traditional for simplified
        assert (written.path.name, written.kind, written.found_by) == ("text.png", "image", ("read",))
        assert (written.start, written.end) == (0.0, 0.0)
