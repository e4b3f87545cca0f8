"""The script that measures the package's own models again: what it keeps, and that its commands run."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from test_query_scripts import script

from mmi_tvr.cli._console import command
from mmi_tvr.errors import MmiTvrError, UsageError

ROOT = Path(__file__).parent.parent
_SMALL = 12


@pytest.fixture
def measure_bundled(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with two quick measurements and one that fails in the place of its own."""
    module = script("measure_bundled")
    quick = {
        "msvd": module.Measurement("docs/results.md", ("table", "--quoted", "msvd"), limited=False),
        "cip": module.Measurement("docs/results.md", ("table", "--quoted", "cip"), limited=False),
        "nothing": module.Measurement("docs/results.md", ("compare", "{run}/one", "{run}/two"), limited=False),
    }
    monkeypatch.setattr(module, "MEASUREMENTS", quick)
    return module


def test_what_is_printed_is_kept_with_its_command(
    measure_bundled: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    measure_bundled.measure(run, ["msvd", "cip"], None)
    page = (run / "measurements.md").read_text()
    assert page.index("## msvd") < page.index("mmi-tvr table --quoted msvd") < page.index("mmi-tvr table --quoted cip")
    assert (run / "cip.txt").read_text().strip() in page
    assert "step 1 of 2, msvd" in capsys.readouterr().err
    (run / "msvd.txt").write_text("from before")
    measure_bundled.measure(run, ["msvd", "cip"], None)  # what is there is not measured again
    assert "from before" in (run / "measurements.md").read_text()
    assert "of 2" not in capsys.readouterr().err


def test_what_fails_is_not_kept_and_what_was_measured_is(measure_bundled: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(MmiTvrError, match="mmi-tvr stopped with exit code 2"):
        measure_bundled.measure(tmp_path, ["cip", "nothing"], None)
    assert [path.name for path in tmp_path.glob("*.txt")] == ["cip.txt"]
    assert "## cip" in (tmp_path / "measurements.md").read_text()


def test_measurements_of_other_videos_are_not_mixed(measure_bundled: ModuleType, tmp_path: Path) -> None:
    measure_bundled.measure(tmp_path, ["cip"], 3)
    with pytest.raises(UsageError, match=r"of 3 videos, models .*, not of all videos, models .*; take another folder"):
        measure_bundled.measure(tmp_path, ["cip"], None)


def test_measurements_of_other_weights_are_not_mixed(
    measure_bundled: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure_bundled.measure(tmp_path / "run", ["cip"], None)
    (tmp_path / "moving-shapes").mkdir()
    (tmp_path / "moving-shapes" / "model.safetensors").write_bytes(b"others")
    monkeypatch.setattr("mmi_tvr.encoders.hub.BUNDLED", tmp_path)
    with pytest.raises(UsageError, match="take another folder"):
        measure_bundled.measure(tmp_path / "run", ["cip"], None)


def test_names_come_before_and_behind_options(
    measure_bundled: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["cip", "--limit", "10"], ["--limit", "10", "msvd"]):
        monkeypatch.setattr(sys, "argv", ["measure_bundled.py", str(tmp_path / "run"), *words])
        measure_bundled.main()
    assert (tmp_path / "run" / "msvd.txt").is_file()
    monkeypatch.setattr(sys, "argv", ["measure_bundled.py", str(tmp_path / "run"), "other"])
    with pytest.raises(SystemExit), command():
        measure_bundled.main()
    assert "no measurement is called other; there are msvd, cip, nothing" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["measure_bundled.py", str(tmp_path / "run"), "--limit", "9"])
    with pytest.raises(SystemExit), command():
        measure_bundled.main()
    assert "--limit is 10 or more" in capsys.readouterr().err


def test_numbers_stand_on_pages_that_there_are() -> None:
    measurements = script("measure_bundled").MEASUREMENTS
    pages = {page for measurement in measurements.values() for page in measurement.pages.split(", ")}
    assert pages
    assert all((ROOT / page).is_file() for page in pages)


@pytest.mark.slow
def test_every_kind_of_measurement_runs(tmp_path: Path) -> None:
    module = script("measure_bundled")
    alike = ("contrast-", "lat-", "mcsan-minus", "keyimages-", "gap-", "nothing-found-", "weights", "answers-")
    alike += ("translation-", "wordings-", "descriptions-")  # one of a kind is enough
    unlimited = ("exclusions", "exclusions-mean")
    names = [name for name in module.MEASUREMENTS if not name.startswith(alike) and name not in unlimited]
    names += ["contrast-order3", "lat-shapes", "lat-paper", "keyimages-scenes", "gap-mean", "nothing-found-1"]
    names.sort(key=list(module.MEASUREMENTS).index)
    module.measure(tmp_path, names, _SMALL)
    page = (tmp_path / "measurements.md").read_text()
    assert [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")] == names
    for name in names:
        assert any(character.isdigit() for character in (tmp_path / f"{name}.txt").read_text()), name
