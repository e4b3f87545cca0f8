"""What is in the repository: no photo or clip of a trial run comes in with `git add`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent
TOP_LEVEL = {
    ".ci", ".dockerignore", ".gitignore", "CHANGELOG.md", "CITATION.cff", "Dockerfile", "LICENSE", "README.md",
    "configs", "constraints.txt", "docs", "mmi_tvr", "prompts", "pyproject.toml", "scripts", "tests",
}  # fmt: skip
MADE_BY_US = {"docs/page.webp", "tests/data/speech.ogg", "tests/data/scripts.png", "tests/data/text.png"}
MEDIA = {
    ".aac", ".avi", ".avif", ".bmp", ".flac", ".gif", ".heic", ".jpeg", ".jpg", ".m4a", ".mkv", ".mov", ".mp3", ".mp4",
    ".mpg", ".ogg", ".opus", ".png", ".tif", ".tiff", ".wav", ".webm", ".webp", ".wmv",
}  # fmt: skip


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="no checkout")
def test_nothing_is_in_it_that_does_not_belong_there() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [PurePosixPath(name) for name in listed.split("\0") if name]
    assert len(paths) > 500
    assert {path.parts[0] for path in paths} <= TOP_LEVEL
    assert {str(path) for path in paths if path.suffix.lower() in MEDIA} == MADE_BY_US
