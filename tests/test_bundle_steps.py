"""Long work as steps, the steps of the bundled model, and what a copy of it has to reach."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mmi_tvr.encoders import hub
from mmi_tvr.errors import MmiTvrError, UsageError
from mmi_tvr.experiments import steps
from mmi_tvr.experiments.pretrain import acceptance, bundle_steps, heads
from mmi_tvr.experiments.pretrain.bundle import install, megabytes, package_megabytes
from mmi_tvr.experiments.steps import ScriptRun, Spent, Step, run_at_once, run_steps
from mmi_tvr.utils.files import write_atomically
from mmi_tvr.utils.interruption import Interrupted

ROOT = Path(__file__).parent.parent
# Saves when it is asked to stop, and needs a while for it.
STEP = """
import signal, sys, time
from pathlib import Path
def stop(*_):
    time.sleep(0.2)
    Path("saved").touch()
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
Path("ready").touch()
time.sleep(20)
"""
RUNNER = """
import sys
from pathlib import Path
from mmi_tvr.experiments.steps import Step, ScriptRun, run_steps
run_steps(Path("work"), [Step("one", [ScriptRun([script], lambda: False) for script in sys.argv[1:]])], print)
"""
TOUCH = "import sys; from pathlib import Path; Path(sys.argv[1]).touch()"


def touching(name: str, path: Path, seconds: float = 60.0) -> Step:
    return Step(name, [ScriptRun(["-c", TOUCH, str(path)], path.exists)], seconds)


def test_steps_are_run_in_order_and_what_is_finished_is_left_out(tmp_path: Path) -> None:
    lines: list[str] = []
    plan = [touching("first", tmp_path / "a", 10), touching("second", tmp_path / "b", 30)]
    times = run_steps(tmp_path / "work", plan, lines.append)
    assert list(times) == ["first", "second"]
    assert all(spent.clock > 0 and spent.processors > 0 for spent in times.values())
    assert lines[0] == "step 1 of 2, first; about 40 s left for all"
    assert lines[2].startswith("step 2 of 2, second; about ")
    (tmp_path / "b").unlink()
    again = run_steps(tmp_path / "work", plan, lines.append)
    assert again["first"] == times["first"]
    assert again["second"].clock > times["second"].clock  # both times count
    assert [line.split(";")[0] for line in lines[4:5]] == ["step 2 of 2, second"]
    missing = Step("third", [ScriptRun(["-c", "pass"], (tmp_path / "c").exists)])
    with pytest.raises(MmiTvrError, match="third: its scripts ended, and what they make is not there"):
        run_steps(tmp_path / "work", [missing], lines.append)


def test_the_time_that_is_left_follows_the_pace_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / steps.TIMES).write_text('{"first": {"clock": 20.0, "processors": 1.0}}')
    lines: list[str] = []
    run_steps(tmp_path, [touching("first", tmp_path / "a", 10), touching("second", tmp_path / "b", 30)], lines.append)
    assert lines[0] == "step 2 of 2, second; about 60 s left for all"


def test_of_tasks_that_run_at_once_those_that_are_finished_are_left_out(tmp_path: Path) -> None:
    finished, pending = tmp_path / "finished", tmp_path / "pending"
    finished.touch()
    tasks = [
        ScriptRun(["-c", "raise SystemExit(5)"], finished.exists),
        ScriptRun(["-c", TOUCH, str(pending)], pending.exists),
    ]
    run_steps(tmp_path, [Step("both", tasks)], lambda line: None)
    assert pending.exists()


def test_what_a_task_prints_is_kept_once_it_has_ended_well(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    run_at_once([ScriptRun(["-c", f"print({number})"], p.is_file, output=p) for number, p in enumerate((one, two))])
    assert (one.read_text(), two.read_text()) == ("0\n", "1\n")
    with pytest.raises(MmiTvrError):
        run_at_once([ScriptRun(["-c", "print(2); raise SystemExit(1)"], lambda: False, output=one)])
    assert one.read_text() == "0\n"


def test_processes_that_train_together_know_of_each_other(tmp_path: Path) -> None:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")
    write = f"import json, os; from pathlib import Path; values = [os.environ.get(name) for name in {names!r}]; "
    write += f"Path({str(tmp_path)!r}, 'rank' + values[0]).write_text(json.dumps(values))"
    run_steps(tmp_path, [Step("two", [ScriptRun(["-c", write], (tmp_path / "rank1").exists, 2)])], lambda line: None)
    first, second = (json.loads((tmp_path / f"rank{rank}").read_text()) for rank in range(2))
    assert first[:5] == ["0", "0", "2", "2", "127.0.0.1"]
    assert second[:2] == ["1", "1"]
    assert first[2:] == second[2:]
    assert int(first[5]) > 1024
    assert int(first[6]) == max(1, len(os.sched_getaffinity(0)) // 2)


@pytest.fixture
def runner(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts a process that works through one step of several commands."""
    (tmp_path / "step.py").write_text(STEP)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(*commands: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", RUNNER, *commands]
        return subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)

    return start


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("written", range(3))
def test_a_part_that_is_cut_off_on_its_way_into_the_folder_is_not_taken_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    def change(draft: Path) -> None:
        (draft / "part.safetensors").write_text("weights")
        (draft / "model.json").write_text("new")

    def interrupted(path: Path, content: bytes) -> None:
        nonlocal written
        if path.parent == tmp_path / "bundle":
            if not written:
                raise KeyboardInterrupt
            written -= 1
        write_atomically(path, content)

    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "README.md").write_text("8.1 MB in float16\n\n## Limits\n")
    (folder / "model.json").write_text("old")
    arguments: tuple[Any, ...] = (("part.safetensors", "model.json"), "Part", change, lambda draft: ("good\n", 1))
    with monkeypatch.context() as patch:
        patch.setattr(heads, "write_atomically", interrupted)
        patch.setattr(heads, "megabytes", lambda draft: 8.2)
        with pytest.raises(KeyboardInterrupt):
            heads.rewrite(folder, *arguments)
        assert not (folder / "part.safetensors").exists()
    monkeypatch.setattr(heads, "megabytes", lambda draft: 8.2)
    assert heads.rewrite(folder, *arguments) == 1
    assert (folder / "part.safetensors").read_text() == "weights"
    assert (folder / "model.json").read_text() == "new"
    assert "## Part" in (folder / "README.md").read_text()


def test_a_stop_while_a_process_is_being_started_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "step.py").write_text(STEP)
    start = subprocess.Popen

    def start_and_stop(*words: object, **options: object) -> subprocess.Popen[bytes]:
        process = start(*words, cwd=tmp_path, **options)  # type: ignore[call-overload]
        wait_for(tmp_path / "ready")
        os.kill(os.getpid(), signal.SIGTERM)
        return process  # type: ignore[no-any-return]

    monkeypatch.setattr("mmi_tvr.experiments.steps.subprocess.Popen", start_and_stop)
    with pytest.raises(Interrupted):
        run_at_once([ScriptRun(["step.py"], lambda: False)])
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"first": 1}', '{"first": {"clock": null}}', "\xff"])
def test_times_that_are_damaged_are_forgotten(tmp_path: Path, content: str) -> None:
    (tmp_path / steps.TIMES).write_bytes(content.encode("latin-1"))
    run_steps(tmp_path, [touching("first", tmp_path / "a")], lambda line: None)
    assert list(steps.read_times(tmp_path)) == ["first"]


def test_a_step_that_is_asked_to_stop_saves_before_it_ends(
    tmp_path: Path, runner: Callable[..., subprocess.Popen[str]]
) -> None:
    with runner("step.py") as process:
        wait_for(tmp_path / "ready")
        process.terminate()
        assert process.wait(20) == 130
    assert (tmp_path / "saved").exists()
    assert json.loads((tmp_path / "work" / steps.TIMES).read_text())["one"]["clock"] > 0


def test_one_that_fails_ends_the_others_which_save(
    tmp_path: Path, runner: Callable[..., subprocess.Popen[str]]
) -> None:
    (tmp_path / "fails.py").write_text(
        "import os, time\nwhile not os.path.exists('ready'):\n    time.sleep(0.05)\nraise SystemExit(4)"
    )
    with runner("step.py", "fails.py") as process:
        _, errors = process.communicate(timeout=20)
    assert "fails.py stopped with exit code 4; the same command again goes on" in errors
    assert (tmp_path / "saved").exists()


def test_what_outlives_a_kill_saves_and_keeps_others_away_until_then(
    tmp_path: Path, runner: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with runner("step.py") as process:
        wait_for(tmp_path / "ready")
        monkeypatch.setattr(steps, "_GRACE", 0.0)
        with pytest.raises(UsageError, match="somebody works there already"):
            run_steps(tmp_path / "work", [], print)
        process.send_signal(signal.SIGKILL)
        process.wait()
    monkeypatch.setattr(steps, "_GRACE", 10.0)
    run_steps(tmp_path / "work", [], print)  # waits for the one that is left
    assert (tmp_path / "saved").exists()


def test_the_plan_of_the_bundled_model(tmp_path: Path) -> None:
    scripts = ROOT / "scripts"
    plan = bundle_steps.plan(tmp_path, scripts, processes=2, cpu=True)
    commands = [task.words for step in plan for task in step.tasks]
    assert all(Path(words[0]).is_file() and "--cpu" in words for words in commands if "train" in Path(words[0]).stem)
    assert {task.processes for step in plan[:2] for task in step.tasks} == {2}
    assert all(step.pending() == step.tasks for step in plan)
    assert sum(step.seconds for step in plan) <= 3 * 3600
    assert len({step.name for step in plan}) == len(plan)
    small = bundle_steps.plan(tmp_path, scripts, small=True, processes=1)
    assert "language.steps=2" in small[0].tasks[0].words
    assert not any("language.steps=2" in task.words for task in plan[0].tasks)
    configs = [words[words.index("--config") + 1] for words in commands if "--config" in words]
    assert [Path(config).is_file() for config in configs] == [True] * 3
    behind = bundle_steps.plan_on_towers(tmp_path, scripts)
    outputs = [Path(task.words[task.words.index("--output") + 1]).name for step in behind for task in step.tasks]
    assert outputs == ["lat", "lat-shapes", "mcsan", "mcsan-shapes"]


def test_what_is_asked_of_a_copy(tmp_path: Path) -> None:
    good: Mapping[str, float] = {
        "t2v_r1": 98.5,
        "order": 96.0,
        "order3": 95.2,
        "video_answers": 92.0,
        "t2v_gain": 0.0,
        "v2t_gain": 0.3,
        "noise": 0.11,
        "repeated": 0.9,
        "megabytes": 24.7,
    }
    assert acceptance.missed(good) == []
    worse = {**good, "noise": 0.21, "t2v_gain": -0.1}
    assert acceptance.missed(worse) == ["t2v_gain", "noise"]
    acceptance.write(tmp_path / acceptance.FILE, worse)
    assert acceptance.read(tmp_path / acceptance.FILE) == worse
    table = "\n".join(acceptance.table(worse))
    assert "| p of skeletons that say nothing, mean of the worst kind | at most 0.2 | 0.21 | no |" in table
    assert "| text-to-video R@1, percent | at least 98.5 | 98.5 | yes |" in table
    with pytest.raises(KeyError):
        acceptance.write(tmp_path / acceptance.FILE, {"noise": 0.1})


def test_what_steps_took_is_a_table_with_a_sum() -> None:
    assert bundle_steps.log({"base": Spent(60, 120), "judge": Spent(30, 30)})[2:] == [
        "| base | 1.0 | 2.0 |",
        "| judge | 0.5 | 0.5 |",
        "| all | 1.5 | 2.5 |",
    ]


def test_a_copy_takes_the_place_of_the_former_one(tmp_path: Path) -> None:
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    install(tmp_path / "new", tmp_path / "old")
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["new"]
    assert (tmp_path / "new" / "new").exists()
    shutil.rmtree(tmp_path / "old")
    install(tmp_path / "new", tmp_path / "old")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_a_copy_takes_the_place_of_the_present_one_in_the_packages_size(tmp_path: Path) -> None:
    whole, present = megabytes(hub.BUNDLED.parent), megabytes(hub.BUNDLED / "moving-shapes")
    assert package_megabytes(hub.BUNDLED / "moving-shapes") == pytest.approx(whole)
    assert package_megabytes(tmp_path) == pytest.approx(whole - present)
    assert 0 < present < whole < 26
