"""The Python API prints nothing of its own or of its libraries, and leaves their settings as it found them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import huggingface_hub.utils as hub
from media_files import BLUE, make_video
from transformers.utils import logging as transformers_logging

from mmi_tvr.encoders.quiet import quiet_loading

PROGRAM = """
from mmi_tvr import Library
with Library("library", model="moving-shapes") as library:
    library.index("clip.mp4")
    assert len(library.search("a blue square", min_relevance=0)) == 1
"""
PROGRAMS_LOG = {"TRANSFORMERS_VERBOSITY", "HF_HUB_DISABLE_PROGRESS_BARS"}  # the command line's way to be quiet


def test_a_program_that_searches_prints_nothing(tmp_path: Path) -> None:
    make_video(tmp_path / "clip.mp4", colours=[BLUE])
    environment = {name: value for name, value in os.environ.items() if name not in PROGRAMS_LOG}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def settings() -> tuple[object, ...]:
    return (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
        hub.are_progress_bars_disabled(),
        logging.getLogger("bitsandbytes").level,
        tuple(warnings.filters),
    )


def test_settings_are_as_before_even_where_loading_fails() -> None:
    transformers_logging.set_verbosity_warning()
    transformers_logging.enable_progress_bar()
    before = settings()
    try:
        with quiet_loading():
            assert settings()[:4] == (logging.ERROR, False, True, logging.ERROR)
            raise ZeroDivisionError
    except ZeroDivisionError:
        assert settings() == before


def test_a_verbosity_that_a_program_chose_stays_and_other_warnings_come_through() -> None:
    transformers_logging.set_verbosity_info()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with quiet_loading():
                assert transformers_logging.get_verbosity() == logging.INFO
                warnings.warn("of this program", FutureWarning, stacklevel=1)
        assert [str(warning.message) for warning in caught] == ["of this program"]
    finally:
        transformers_logging.set_verbosity_warning()
