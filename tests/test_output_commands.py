"""Commands and what they write: odd names in every output, reports before pictures, nothing over files of others."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from fakes import FakeModel, colour_video
from test_printable import ODD, is_safe
from typer.testing import CliRunner, Result

from mmi_tvr import models, report
from mmi_tvr.cli import _evaluation_output, _libraries, evaluation, library, search
from mmi_tvr.errors import MissingExtra, MmiTvrError, UsageError
from mmi_tvr.utils import environment, files
from mmi_tvr.utils.printable import printable

NAMES = [*ODD, "<script>alert('x')\".mp4", "[bold]x[-b].mp4"]


class Shell:
    """Runs commands in this process, in a folder of its own; an error of ours is raised as `main` would get it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.library = folder, folder / "library"
        self.app = typer.Typer()
        library.register(self.app)
        search.register(self.app)
        evaluation.register(self.app)

    def __call__(self, *words: object, stdin: str | bytes = "") -> Result:
        done = CliRunner().invoke(self.app, list(map(str, words)), input=stdin)
        if isinstance(done.exception, MmiTvrError):
            raise done.exception
        assert done.exit_code == 0, f"{words}: {done.output}{done.exception!r}"
        return done

    def json(self, *words: object) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self(*words, "--json").stdout_bytes.decode("utf-8", "strict"))
        return document


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A library over videos of odd names, and one that cannot be used; the model knows colours."""
    run = Shell(tmp_path_factory.mktemp("outputs"))
    videos = run.folder / "videos"
    colours = ["red", "green", "blue", "yellow", "cyan", "magenta", "white", "black"]
    for name, colour in zip(NAMES, colours, strict=True):
        colour_video(videos / "plain.mp4", colour, seconds=0.5)
        os.rename(videos / "plain.mp4", videos / name)
    (videos / "broken\udcff\x1b.mp4").write_bytes(b"no video")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "make", lambda chosen, device="auto": FakeModel())
        patch.setenv(environment.MODEL, "label_bridge")
        done = run("index", videos, "--library", run.library)
    assert is_safe(done.output.replace("\n", ""))
    assert r"broken\xff\x1b.mp4" in done.stderr
    return run


@pytest.fixture(autouse=True)
def _colour_model(monkeypatch: pytest.MonkeyPatch, shell: Shell) -> None:
    monkeypatch.chdir(shell.folder)
    monkeypatch.setattr(models, "make", lambda chosen, device="auto": FakeModel())
    monkeypatch.setenv(environment.MODEL, "label_bridge")


def file_of(document: dict[str, Any]) -> str:
    return os.fsdecode(base64.b64decode(document["path_bytes"])) if "path_bytes" in document else document["path"]


def test_odd_names_are_shown_safely_and_lead_to_their_files(shell: Shell) -> None:
    place = ("--library", shell.library)
    printed = shell("search", "red", *place, "--top", 20, "--min-relevance", 0)
    assert is_safe(printed.output.replace("\n", ""))
    for name in NAMES:
        assert printable(name) in printed.stdout
    hits = shell.json("search", "red", *place, "--top", 20, "--min-relevance", 0)["hits"]
    paths = {file_of(hit) for hit in hits} | {path for hit in hits for path in hit["also"]}
    assert {os.path.basename(path) for path in paths} >= set(NAMES)
    assert all(os.path.lexists(path) for path in paths)
    status = shell("status", *place)
    assert is_safe(status.output.replace("\n", ""))
    (bad,) = shell.json("status", *place)["quarantined"]
    assert os.path.basename(file_of(bad)) == "broken\udcff\x1b.mp4"


def test_a_page_of_odd_names_is_safe_html(shell: Shell, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    words = ("search", "red", "--library", shell.library, "--top", 20, "--min-relevance", 0, "--html", page)
    shell(*words)
    text = page.read_bytes().decode("utf-8", "strict")
    assert is_safe(text.replace("\n", ""))
    assert "<script>" not in text
    assert "&lt;script&gt;alert(&#39;x&#39;)&#34;.mp4" in text
    assert r"two\nlines\r.mp4" in text
    assert "%FF%FE.mp4#t=" in text  # the link leads to the file itself
    shell(*words)  # over a page of ours
    page.write_text("mine")
    with pytest.raises(UsageError, match="mmi-tvr did not write it"):
        shell(*words)
    assert page.read_text() == "mine"
    shell(*words, "--force")
    assert files.PAGE_MARK in page.read_bytes()


def test_a_page_that_could_not_be_written_is_said_before_the_search(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_libraries, "Library", None)
    with pytest.raises(UsageError, match=r"none/page\.html: its folder does not exist"):
        shell("search", "red", "--library", shell.library, "--html", tmp_path / "none" / "page.html")


@pytest.mark.parametrize("stdin", ["red", "  red\n", "\ufeffred\r\n", "\n\nred"])
def test_a_query_is_read_from_standard_input(shell: Shell, stdin: str) -> None:
    done = shell("search", "-", "--library", shell.library, "--json", stdin=stdin)
    assert json.loads(done.stdout)["query"] == "red"


def test_lines_of_standard_input_are_one_query(shell: Shell) -> None:
    done = shell("search", "-", "--library", shell.library, "--json", stdin="red\nand blue\n")
    assert json.loads(done.stdout)["query"] == "red and blue"
    with pytest.raises(UsageError, match="standard input is not text in UTF-8"):
        shell("search", "-", "--library", shell.library, stdin=b"\xff\xfe")


@pytest.fixture
def captioned(tmp_path: Path, shell: Shell) -> Path:
    for name in NAMES[:4]:
        shutil.copy(shell.folder / "videos" / name, tmp_path / f"{NAMES.index(name)}.mp4")
    rows = [f"{number}.mp4\t{colour}" for number, colour in enumerate(("red", "green", "blue", "yellow"))]
    (tmp_path / "captions.tsv").write_text("\n".join(["file\tcaption", *rows]))
    return tmp_path


def test_a_limit_takes_the_first_videos_of_a_folder(shell: Shell, captioned: Path) -> None:
    (captioned / "3.mp4").unlink()  # beyond the limit, so nobody misses it
    document = shell.json("evaluate", "retrieval", captioned, "--limit", 2)
    assert (document["n"], document["videos"], document["config"]["dataset"]) == (2, 2, {"limit": "2"})
    assert document["t2v"]["ci95"]["R@10"][0] < 50  # Wilson's: two right answers prove little


def test_a_report_is_there_before_its_pictures(shell: Shell, captioned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = captioned / "new" / "reports"

    def draw(result: object) -> bytes:
        assert json.loads((reports / "report.json").read_text())["n"] == 4
        raise OSError(28, "No space left on device", "heatmap.png")

    monkeypatch.setattr(report, "heat_map", draw)
    done = CliRunner().invoke(shell.app, ["evaluate", "retrieval", str(captioned), "--output", str(reports)])
    assert isinstance(done.exception, OSError)
    assert "text-to-video" in done.stdout  # the numbers are printed, too
    assert os.listdir(reports) == ["report.json"]


def test_without_matplotlib_the_picture_alone_is_missing(
    shell: Shell, captioned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def require(module: str, extra: str) -> None:
        raise MissingExtra(module, extra, "pip install matplotlib")

    monkeypatch.setattr(_evaluation_output, "require", require)
    done = shell("evaluate", "retrieval", captioned, "--output", captioned / "reports")
    assert "the report will have no heat map: matplotlib" in done.stderr
    assert sorted(os.listdir(captioned / "reports")) == ["report.html", "report.json"]
    assert "Similarities" not in (captioned / "reports" / "report.html").read_text()


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="the extra plots is not installed")
def test_a_report_goes_over_reports_of_ours_alone(shell: Shell, captioned: Path) -> None:
    words = ("evaluate", "retrieval", captioned, "--output", captioned / "reports")
    for _ in range(2):
        shell(*words)
    for name in ("report.json", "report.html", "heatmap.png"):
        content = (captioned / "reports" / name).read_bytes()
        (captioned / "reports" / name).write_bytes(b"mine")
        with pytest.raises(UsageError, match=f"{name}: is there"):
            shell(*words)
        (captioned / "reports" / name).write_bytes(content)


def test_a_stream_of_ascii_gets_every_command(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A whole process under LANG=C: nothing that is printed can be refused."""
    import subprocess

    plain = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "mmi_tvr.cli", "status", "--library", str(shell.library), "--json"],
        env={**os.environ, **plain}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    document = json.loads(done.stdout.decode("ascii"))
    assert os.path.basename(file_of(document["quarantined"][0])) == "broken\udcff\x1b.mp4"
