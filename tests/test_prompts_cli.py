"""`mmi-tvr prompts`: every command, in a folder of its own, with a model that knows colours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import typer
from fakes import FakeModel, colour_video
from skeleton_inputs import pools
from typer.testing import CliRunner

from mmi_tvr import config, models
from mmi_tvr.cli import _console, prompts
from mmi_tvr.errors import ConfigError, MmiTvrError, StaleSelection, UsageError
from mmi_tvr.questions import pool, selection
from mmi_tvr.utils import environment

COLOURS = ("red", "green", "blue", "yellow")


class Shell:
    """Runs `prompts` in this process; an error of ours is raised as the program's `main` would get it."""

    def __init__(self) -> None:
        self.app = typer.Typer()
        prompts.register(self.app)
        self.app.command("other")(lambda: None)  # so that `prompts` stays a word of its own

    def __call__(self, *words: object, code: int = 0) -> str:
        done = CliRunner().invoke(self.app, ["prompts", *map(str, words)])
        if isinstance(done.exception, MmiTvrError):
            raise done.exception
        assert done.exit_code == code, f"{words}: {done.output}{done.exception!r}"
        return done.stdout

    def json(self, *words: object, code: int = 0) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self(*words, "--json", code=code))
        return document


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """In an empty folder, with the colour model behind every name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "make", lambda chosen, device="auto": FakeModel())
    monkeypatch.setenv(environment.MODEL, "label_bridge")
    monkeypatch.setenv(environment.LIBRARY, str(tmp_path / "library"))
    for name in ("EDITOR", "VISUAL"):
        monkeypatch.delenv(name, raising=False)
    return Shell()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set of four videos of one colour each."""
    rows = ["file\tcaption"]
    for colour in COLOURS:
        colour_video(tmp_path / "data" / f"{colour}.mp4", colour, seconds=0.5)
        rows.append(f"{colour}.mp4\tsomething {colour}")
    (tmp_path / "data" / "captions.tsv").write_text("\n".join(rows))
    return tmp_path / "data"


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **variables}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=env, check=False, timeout=120)


def test_list(shell: Shell) -> None:
    listed = shell.json("list")
    enabled = {about: sum(question["enabled"] for question in questions) for about, questions in listed.items()}
    assert enabled == {"text": 50, "video": 50}
    assert set(listed["text"][0]) >= {"id", "text", "kind", "language", "enabled", "note", "provenance", "chosen"}
    (counts,) = shell.json("list", "--about", "video", "--kind", "counts").values()
    assert {each["kind"] for each in counts} == {"counts"}
    chosen = [each.id for each in selection.selected_questions(pool.load("text"))]
    assert sorted(each["id"] for each in shell.json("list", "--chosen")["text"]) == sorted(chosen)
    assert f"* {chosen[0]} " in shell("list", "--about", "text")


def test_a_question_comes_changes_and_goes(shell: Shell, tmp_path: Path) -> None:
    packaged = (config.PACKAGED / "prompts" / "text.yaml").read_bytes()
    added = shell.json("add", "Which door is open?", "--about", "text", "--kind", "places", "--note", "often")
    assert added["pool"] == str(tmp_path / "library" / "prompts" / "text.yaml")
    assert [each["id"] for each in added["added"]] == ["t51"]
    assert (config.PACKAGED / "prompts" / "text.yaml").read_bytes() == packaged
    assert "Which door is open?" in shell("show", "t51")
    (edited,) = shell.json("edit", "t51", "--text", "Which doors are open?", "--note", "")["changed"]
    assert (edited["text"], edited["note"]) == ("Which doors are open?", "")
    assert {each["pool"]: each["enabled"] for each in shell.json("disable", "t51", "v03")["pools"]} == {
        str(tmp_path / "library" / "prompts" / f"{name}.yaml"): count for name, count in (("text", 50), ("video", 49))
    }
    shell("enable", "v03")
    assert shell.json("show", "v03")["enabled"]
    shell("remove", "t51")
    assert (tmp_path / "library" / "prompts" / "text.yaml").read_bytes() == packaged
    assert b"Which doors" in (tmp_path / "library" / "prompts" / "text.yaml.bak").read_bytes()


def test_an_unknown_id_stops_all_before_anything_is_written(shell: Shell, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no question has the id 't99'"):
        shell("disable", "t01", "t99")
    assert not (tmp_path / "library").exists()
    for words, message in [
        (("add", "Who?"), "--about text or --about video"),
        (("add", "Who?", "--about", "text"), "--kind"),
        (("edit", "t01"), "no editor is set"),
        (("preview",), "--text TEXT, --video FILE"),
    ]:
        with pytest.raises(UsageError, match=message):
            shell(*words)


def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """$EDITOR is a program that rewrites the draft."""
    script = tmp_path / "editor.py"
    script.write_text(f"import pathlib, sys\npath = pathlib.Path(sys.argv[1])\ntext = path.read_text()\n{change}\n")
    monkeypatch.setenv("EDITOR", f"'{sys.executable}' '{script}'")


def test_edit_in_an_editor(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(tmp_path, monkeypatch, "path.write_text(text.replace('Which colours', 'Which hues'))")
    (changed,) = shell.json("edit", "t08")["changed"]
    assert changed["text"] == "Which hues are mentioned?"
    assert "# What they are like" in (tmp_path / "library" / "prompts" / "text.yaml").read_text()
    assert shell.json("edit", "t09")["changed"] == []
    before = (tmp_path / "library" / "prompts" / "text.yaml").read_bytes()
    for change, kind in [("path.write_text('id: [')", UsageError), ("path.write_text('id: t08')", ConfigError)]:
        editor(tmp_path, monkeypatch, change)
        with pytest.raises(kind):
            shell("edit", "t08")
    editor(tmp_path, monkeypatch, "sys.exit(3)")
    with pytest.raises(UsageError, match="ended with 3"):
        shell("edit", "t08")
    assert (tmp_path / "library" / "prompts" / "text.yaml").read_bytes() == before


def test_check_is_content_with_what_ships(shell: Shell) -> None:
    report = shell.json("check", "--no-similar")
    assert report["ok"]
    assert [(each["about"], each["enabled"], each["problems"]) for each in report["pools"]] == [
        ("text", 50, []), ("video", 50, []),
    ]  # fmt: skip


def test_check_says_what_is_wrong(shell: Shell, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "about: text\nquestions:\n  - {id: a, text: Who, kind: sorts}\n  - {id: a, text: Whom, kind: mood}\n"
    )
    report = shell.json("check", bad, "nowhere.yaml", code=1)
    assert not report["ok"]
    assert [each.partition(":")[0] for each in report["pools"][0]["problems"]] == ["line 3", "line 4"]
    assert "no such file" in report["pools"][1]["problems"][0]
    assert "line 4: the id 'a' is taken" in shell("check", bad, code=1)


def test_check_points_out_what_means_nearly_the_same_and_a_stale_choice(shell: Shell, tmp_path: Path) -> None:
    lines = ["about: text", "questions:"]
    for at, text in enumerate(("is red here", "was red there", "is blue here", "is green here", "is black here")):
        lines.append(f"  - {{id: q{at}, text: {text}, kind: mood}}")
    (tmp_path / "own.yaml").write_text("\n".join(lines))
    (checked,) = shell.json("check", "own.yaml", "--similar", "0.95")["pools"]
    assert "mmi-tvr prompts choose --pool own.yaml" in checked["warnings"][0]
    assert [each[:9] for each in checked["warnings"][1:]] == ["q0 and q1"]
    shell("choose", "--pool", "own.yaml", "-k", "2")
    assert not any("choose" in each for each in shell.json("check", "own.yaml")["pools"][0]["warnings"])
    shell("disable", "q3", "--pool", "own.yaml")
    assert "have changed" in shell.json("check", "own.yaml")["pools"][0]["warnings"][0]


def test_cluster_shows_and_choose_writes(shell: Shell, tmp_path: Path) -> None:
    shown = shell.json("cluster", "--about", "text", "-k", "5")
    assert not (tmp_path / "library").exists()
    chosen = shell.json("choose", "-k", "5")
    assert {key: chosen["text"][key] for key in shown["text"]} == shown["text"]
    for name, file in pool.in_folder(tmp_path / "library" / "prompts").items():
        loaded = pool.load(file)
        assert chosen[name]["lock"] == str(loaded.path.with_name(f"{name}.lock.yaml"))
        lock = selection.read(loaded)
        assert lock is not None
        assert (lock.k, len(lock.chosen), lock.model, lock.rule) == (5, 5, "label_bridge", "closest")
        assert all(group.chosen == next(iter(group.questions)) for group in lock.clusters)
        assert selection.stale_reason(lock, loaded, FakeModel().fingerprint()) is None
    with pytest.raises(UsageError, match="51 clusters cannot be made of 50 questions"):
        shell("cluster", "-k", "51")


@pytest.mark.parametrize("rule", ["first_satisfying", "argmin"])
def test_choose_by_trying(shell: Shell, data: Path, tmp_path: Path, rule: str) -> None:
    words = ("--about", "text", "-k", "3", "--rule", rule, "--answerer", "fake", "--data", data)
    chosen = shell.json("choose", *words, "--answerer-set", "rule=unknown", "--report", "tried.json")["text"]
    assert chosen["rule"] == rule
    assert [each["question"] for each in chosen["tried"] if each["chosen"]] == [
        group["chosen"] for group in chosen["clusters"]
    ]
    assert {each["hedged"] for each in chosen["tried"]} == {1.0}
    assert len(chosen["tried"][0]["demonstrations"]) == 4
    assert json.loads((tmp_path / "tried.json").read_text())["text"] == chosen
    assert sum(line.startswith("*") for line in (tmp_path / "tried.json.txt").read_text().splitlines()) == 3
    with pytest.raises(ConfigError, match="unknown option 'length'"):
        shell("choose", *words, "--set", "length=3")
    with pytest.raises(UsageError, match="no answerer is called 'nobody'"):
        shell("choose", "--rule", rule, "--answerer", "nobody")


def test_generate(shell: Shell, data: Path, tmp_path: Path) -> None:
    words = ("--about", "video", "-n", "3", "--answerer", "fake", "--data", data)
    generated = shell.json("generate", *words, "--answerer-set", "rule=Is a cat there?", "--similar", "1")
    assert (generated["proposed"], len(generated["kept"]), len(generated["dropped"])) == (3, 1, 2)
    (kept,) = generated["kept"]
    question = pool.load(tmp_path / "library" / "prompts" / "video.yaml")[kept["id"]]
    assert (question.id, question.text, question.enabled) == ("v51", "Is a cat there?", False)
    assert question.provenance["model"] == "fake"
    assert question.provenance["template"] == "generate"


def test_preview(shell: Shell, data: Path, tmp_path: Path) -> None:
    words = ("preview", "--text", "something [red]", "--video", data / "red.mp4", "--answerer", "fake")
    preview = shell.json(*words)
    for name in pool.ABOUT:
        assert [line["question"] for line in preview[name]] == [
            each.id for each in selection.selected_questions(pool.load(name))
        ]
    assert {line["text"] for line in preview["text"]} == {"something [red]"}
    assert {line["text"] for line in preview["video"]} == {f"{len(preview['video'][0]['times'])} key images"}
    assert "something [red]" in shell(*words)
    failing = shell.json(*words[:3], "--answerer", "fake", "--answerer-set", f"fail=['{preview['text'][0]['asked']}']")
    assert failing["text"][0]["error"] == "no answer, as it was told"


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_plot(shell: Shell, tmp_path: Path, method: str) -> None:
    pytest.importorskip("matplotlib")
    shell("choose", "--about", "text", "-k", "12")
    plotted = shell.json("plot", "text.png", "--about", "text", "--method", method)
    assert (plotted["questions"], plotted["clusters"]) == (50, 12)
    assert (tmp_path / "text.png").read_bytes().startswith(b"\x89PNG")


def test_score(shell: Shell, data: Path) -> None:
    words = ("score", "--about", "text", "--answerer", "fake", "--data", data)
    scores = shell.json(*words)["text"]
    selected = [each.id for each in selection.selected_questions(pool.load("text"))]
    assert [each["question"] for each in scores["questions"]] == selected
    assert (scores["n"], scores["r1"]) == (4, 100.0)
    assert {each["drop"] for each in scores["questions"]} == {0.0}
    assert len(shell.json(*words, "--all")["text"]["questions"]) == 50
    assert "R@1 100.0" in shell(*words)


def test_pools_of_the_working_folder_are_not_read_and_that_is_said(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    small = "about: text\nquestions:\n- {id: q1, kind: entities, text: 'Who is it?'}\n"
    for name in ("prompts/text.yaml", "text.yaml", "text"):
        (tmp_path / name).write_text(small)
    done = CliRunner().invoke(shell.app, ["prompts", "list", "--about", "text", "--json"])
    assert len(json.loads(done.stdout)["text"]) == 50
    target = tmp_path / "library" / "prompts"
    assert f"not read any more: prompts/text.yaml; give them to the library: mkdir -p {target}" in done.stderr
    target.mkdir(parents=True)
    (target / "text.yaml").write_text(small)
    done = CliRunner().invoke(shell.app, ["prompts", "list", "--about", "text", "--json"])
    assert [each["id"] for each in json.loads(done.stdout)["text"]] == ["q1"]
    assert done.stderr == ""
    assert shell.json("list", "--library", "other")["text"][0]["id"] == "t01"
    assert [each["id"] for each in shell.json("list", "--pool", "text.yaml", "--library", "other")["text"]] == ["q1"]


def test_a_folder_of_something_else_gets_no_pools(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "film.mp4").touch()
    with pytest.raises(UsageError, match="films: not a library, and not empty"):
        shell("disable", "t01", "--library", "films")
    assert os.listdir(tmp_path / "films") == ["film.mp4"]


def test_the_former_choice_is_kept(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "library" / "prompts"
    shell("choose", "--about", "text", "-k", "4")
    former, packaged = folder / "text.lock.yaml", config.PACKAGED / "prompts" / "text.lock.yaml"
    content = former.read_bytes()
    assert (folder / "text.lock.yaml.bak").read_bytes() == packaged.read_bytes()
    shell("choose", "--about", "text", "-k", "4")  # the same again
    assert (folder / "text.lock.yaml.bak").read_bytes() == packaged.read_bytes()
    shell("choose", "--about", "text", "-k", "5")
    assert (folder / "text.lock.yaml.bak").read_bytes() == content


def test_a_stale_choice_is_said_by_what_uses_it(shell: Shell, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--about", "text")
    examples = ("--answerer", "fake", "--data", data)
    shell("choose", *words, "-k", "3")
    using = [
        ("preview", "--text", "red", "--answerer", "fake"),
        ("score", *words, *examples),
        ("list", *words),
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", StaleSelection)
        for command in using:
            shell(*command)
        shell("score", *words, *examples, "--all")
    assert [warning.message for warning in caught if issubclass(warning.category, StaleSelection)] == []
    monkeypatch.setattr(models, "make", lambda chosen, device="auto": FakeModel(head=1))
    for command in using[:2]:
        with pytest.warns(
            StaleSelection, match=r"chosen with another model \(label_bridge\).*choose --about text --library"
        ):
            shell(*command)
    monkeypatch.setattr(models, "make", lambda chosen, device="auto": FakeModel())
    shell("add", "Who sings?", *words, "--kind", "people")
    for command in using:
        with pytest.warns(StaleSelection, match="have changed since they were chosen"):
            shell(*command)


def test_pools_of_a_folder_are_previewed(shell: Shell, tmp_path: Path) -> None:
    pools(tmp_path / "own", ["Who is it?"], ["Where is it?"])
    words = ("preview", "--text", "red", "--answerer", "fake", "--pools")
    assert [line["asked"] for line in shell.json(*words, "own")["text"]] == ["Who is it?"]
    with pytest.raises(UsageError, match=r"--pools none: neither text\.yaml nor video\.yaml is there"):
        shell(*words, "none")


def test_a_warning_of_ours_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with _console.command():
        for _ in range(2):
            warnings.warn(StaleSelection("choose again: mmi-tvr prompts choose"), stacklevel=1)
    assert capsys.readouterr().err == 2 * "choose again: mmi-tvr prompts choose\n"


def test_as_a_program(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("about: text\nquestions:\n\t- {}")
    done = run("-m", "mmi_tvr.cli", "prompts", "check", "--no-similar", str(tmp_path / "bad.yaml"))
    assert done.returncode == 1
    assert "line 3: not readable as YAML: a tab: indent with spaces" in done.stdout
    done = run("-m", "mmi_tvr.cli", "prompts", "show", "t99")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no question has the id 't99'")
    assert len(done.stderr.splitlines()) == 1


def test_looking_at_pools_loads_nothing_heavy() -> None:
    code = (
        "import sys; from mmi_tvr.cli import prompts; from mmi_tvr.cli.app import app;"
        " from mmi_tvr.questions import proposals, trials;"
        "from mmi_tvr.questions import leave_one_out, plots; prompts.register(app);"
        "app(['prompts', 'list', '--json'], standalone_mode=False);"
        "print(sorted({'torch', 'transformers', 'sklearn', 'matplotlib'} & set(sys.modules)), file=sys.stderr)"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]"
    assert set(json.loads(done.stdout)) == {"text", "video"}
