"""A library that reads what is said and written: what is read when, what a kill leaves, and what goes wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from fakes import FakeChannel, FakeModel, RecordedProgress, clipped, colour_video
from typer.testing import CliRunner

from mmi_tvr.cli import library as commands
from mmi_tvr.config import Settings, from_values
from mmi_tvr.errors import ConfigError, MissingExtra, UsageError
from mmi_tvr.library import Library
from mmi_tvr.library.channels import ChannelStore
from mmi_tvr.types import Query

TEXTS = {
    "red": "0 the ship leaves the harbour\n4 nobody has seen the umbrella",
    "green": "1 a lecture about moss",
    "blue": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for colour, lines in TEXTS.items():
        colour_video(tmp_path / "clips" / f"{colour}.mp4", colour, seconds=0.5)
        (tmp_path / "clips" / f"{colour}.said").write_text(lines)
    return tmp_path / "clips"


def installed_channel(channel: FakeChannel, monkeypatch: pytest.MonkeyPatch) -> FakeChannel:
    """Put a channel in the place of the real one of its name."""
    monkeypatch.setattr(f"mmi_tvr.channels.{channel.name}.build", lambda options: channel)
    monkeypatch.setattr(f"mmi_tvr.channels.{channel.name}.embed_queries", channel.embed_queries)
    return channel


@pytest.fixture(autouse=True)
def cache_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path / "cache"))  # vectors of background sentences are the fakes' own


@pytest.fixture
def speech(monkeypatch: pytest.MonkeyPatch) -> FakeChannel:
    return installed_channel(FakeChannel("heard"), monkeypatch)


@pytest.fixture
def writing(monkeypatch: pytest.MonkeyPatch) -> FakeChannel:
    return installed_channel(FakeChannel("read", ("image", "video")), monkeypatch)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as opened:
        yield opened


def states(library: Library) -> dict[str, tuple[int, int, int]]:
    channels = library.status().as_dict()["channels"]
    return {name: (one["done"], one["pending"], one["quarantined"]) for name, one in channels.items()}


def stored(library: Library, name: str = "heard") -> list[str]:
    """The texts of a channel, of which each has its vector, and no other vector is there."""
    store = ChannelStore.open_to_read(library.path)
    assert store is not None
    with store:
        channel = store.remembered()[name]
        vectors = store.open_vectors(name, channel, create=False)
        assert vectors is not None
        ids = store.texts.ids(name, channel.fingerprint or "")
        assert vectors.ids().tolist() == ids.tolist()
        texts = {one.text or "": one.id for one in store.texts.moments(ids.tolist()).values()}
        for text, number in texts.items():
            assert vectors.get(np.array([number])) == pytest.approx(FakeChannel().embed_queries([Query(text)]))
        vectors.close()
        return sorted(texts)


def test_channels_read_where_somebody_asks_and_then_remembered(
    folder: Path, library: Library, speech: FakeChannel
) -> None:
    assert library.index([folder]).channels is None
    assert states(library) == {"seen": (3, 0, 0)}
    assert not (library.path / "channels").exists()
    progress = RecordedProgress()
    report = library.index(channels=["heard"], progress=progress).channels
    assert report is not None
    assert (report.channels["heard"].files, report.channels["heard"].moments) == (3, 3)
    assert progress.stages[-1] == ("reading: heard", 3)
    assert progress.steps[-1] == 3
    assert states(library) == {"seen": (3, 0, 0), "heard": (3, 0, 0)}
    assert stored(library) == ["a lecture about moss", "nobody has seen the umbrella", "the ship leaves the harbour"]
    colour_video(folder / "cyan.mp4", "cyan", seconds=0.5)
    again = library.index().channels
    assert again is not None
    assert again.channels["heard"].files == 1
    assert sorted(name for name, _ in speech.read) == ["blue.mp4", "cyan.mp4", "green.mp4", "red.mp4"]
    off = library.index(channels=[]).channels
    assert off is not None
    assert off.channels == {}
    colour_video(folder / "white.mp4", "white", seconds=0.5)
    assert library.index().channels is None
    assert states(library) == {"seen": (5, 0, 0), "heard": (4, 1, 0)}


def test_another_channel_does_only_its_own_work(
    folder: Path, library: Library, speech: FakeChannel, writing: FakeChannel
) -> None:
    library.index([folder], channels=["heard"])
    report = library.index(channels=["heard", "read"])
    assert (report.unchanged, report.embedded) == (3, 0)
    assert (len(speech.read), len(writing.read)) == (3, 3)
    assert states(library) == {"seen": (3, 0, 0), "heard": (3, 0, 0), "read": (3, 0, 0)}
    speech.version = 1  # another size of the recogniser
    assert states(library)["heard"] == (3, 0, 0)  # as far as anybody knows who loads nothing
    library.index()
    assert (len(speech.read), len(writing.read)) == (6, 3)
    assert len(stored(library)) == 3
    folders = [path for path in (library.path / "channels").iterdir() if path.is_dir()]
    assert len(folders) == 2  # vectors of the former one are gone


def test_what_is_gone_from_the_library_is_gone_from_its_channels(
    folder: Path, library: Library, speech: FakeChannel
) -> None:
    library.index([folder], channels=["heard"])
    library.remove([folder / "red.mp4"])
    assert stored(library) == ["a lecture about moss"]
    (folder / "green.mp4").unlink()
    library.index(channels=[])  # also where channels are off
    assert stored(library) == []


def test_a_moved_file_is_not_read_again(folder: Path, library: Library, speech: FakeChannel) -> None:
    library.index([folder], channels=["heard"])
    (folder / "red.mp4").rename(folder / "rouge.mp4")
    library.index()
    assert len(speech.read) == 3


def test_a_rebuild_reads_nothing_again(folder: Path, library: Library, speech: FakeChannel) -> None:
    library.index([folder], channels=["heard"])
    library.index(model=FakeModel(vision=1), rebuild=True)
    assert len(speech.read) == 3
    assert len(stored(library)) == 3


def test_a_run_that_is_cut_off_goes_on_at_the_passage(folder: Path, library: Library, speech: FakeChannel) -> None:
    (folder / "red.said").write_text("0 first\n10 second\n20 a kill\n30 third")
    with pytest.raises(KeyboardInterrupt):
        library.index([folder], channels=["heard"])
    assert library.status().channels.channels["heard"].pending > 0
    speech.unkillable = True
    library.index()  # which channels are on is remembered by the run that was cut off
    assert [start for name, start in speech.read if name == "red.mp4"] == [0.0, 11.0]
    assert stored(library) == ["a kill", "a lecture about moss", "first", "second", "third"]


def test_what_cannot_be_read_is_set_aside_and_tried_again(folder: Path, library: Library, speech: FakeChannel) -> None:
    (folder / "red.said").write_text("0 first\n1 cannot be read")
    report = library.index([folder], channels=["heard"]).channels
    assert report is not None
    problems = ((folder / "red.mp4", "cannot be read"),)
    assert report.channels["heard"].status.problems == problems
    assert states(library)["heard"] == (2, 0, 1)
    assert library.status().channels.channels["heard"].problems == problems
    library.index()
    assert len(speech.read) == 3
    (folder / "red.said").write_text("0 first\n1 second")
    library.index(retry=True)
    assert states(library)["heard"] == (3, 0, 0)
    assert stored(library) == ["a lecture about moss", "first", "second"]


def test_a_channel_that_cannot_be_used_says_so_and_the_others_go_on(
    folder: Path, library: Library, speech: FakeChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(options: object) -> None:
        raise MissingExtra("rapidocr", "ocr", "pip install '.[ocr]'")

    monkeypatch.setattr("mmi_tvr.channels.read.build", missing)
    report = library.index([folder], channels=["read", "heard"]).channels
    assert report is not None
    assert report.channels["read"].unusable == "rapidocr is not installed: pip install '.[ocr]'"
    assert report.channels["read"].status.pending == 3
    assert report.channels["heard"].files == 3
    assert states(library) == {"seen": (3, 0, 0), "heard": (3, 0, 0), "read": (0, 3, 0)}


def test_without_the_full_text_extra_everything_else_goes_on(
    folder: Path, library: Library, speech: FakeChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(module: str, extra: str) -> None:
        raise MissingExtra(module, extra, "pip install '.[fulltext]'")

    with monkeypatch.context() as without:
        without.setattr("mmi_tvr.fulltext.folding.require", missing)
        report = library.index([folder], channels=["heard"])
        assert report.embedded == 3
        assert report.channels is not None
        assert report.channels.error == "opencc is not installed: pip install '.[fulltext]'"
    library.index(channels=["heard"])
    monkeypatch.setattr("mmi_tvr.fulltext.folding.require", missing)
    assert library.status().channels.error == "opencc is not installed: pip install '.[fulltext]'"
    library.remove([folder / "red.mp4"])


def test_wrong_names_and_options_are_one_line_before_any_work(folder: Path, library: Library) -> None:
    with pytest.raises(UsageError, match="no channel is called 'hears'; there are: heard, read"):
        library.index([folder], channels=["hears"])
    assert not library.exists or library.status().videos == 0
    with pytest.raises(UsageError, match="channels are names"):
        library.index([folder], channels=[7])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match=r"channels.read: unknown option 'sides'"):
        from_values({"channels": {"read": {"sides": 7}}})


def test_options_are_remembered(
    folder: Path, tmp_path: Path, speech: FakeChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    languages = []

    def build(options):  # type: ignore[no-untyped-def]
        languages.append(options.language)
        return speech

    monkeypatch.setattr("mmi_tvr.channels.heard.build", build)
    settings = Settings(channels={"heard": {"language": "de"}})
    for options in (settings, Settings()):
        with Library(tmp_path / "library", model=FakeModel(), settings=options) as library:
            library.index([folder], channels=["heard"])
    assert languages == ["de", "de"]


def test_lost_vectors_are_made_again(folder: Path, library: Library, speech: FakeChannel) -> None:
    library.index([folder], channels=["heard"])
    for path in (library.path / "channels").iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    library.index()
    assert sorted(name for name, _ in speech.read[3:]) == ["green.mp4", "red.mp4"]
    assert len(stored(library)) == 3


def test_the_command_line_says_what_channels_did(
    folder: Path, tmp_path: Path, speech: FakeChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmi_tvr.models.label_bridge.build", lambda options, **more: FakeModel())
    (folder / "red.said").write_text("0 cannot be read")
    path, runner, app = tmp_path / "library", CliRunner(), typer.Typer()
    commands.register(app)
    options = ["--library", str(path), "--model", "label_bridge"]
    run = runner.invoke(app, ["index", str(folder), *options, "--channels", "heard"])
    assert run.exit_code == 0, run.output
    assert "heard: 3 files read, 1 moment stored" in run.stderr
    assert "1 file not read by heard" in run.stderr
    text = runner.invoke(app, ["status", "--library", str(path)]).stdout
    assert "heard        2 files read, 0 pending, 1 set aside" in text
    assert "1 file that heard cannot read" in text
    off = runner.invoke(app, ["index", *options, "--no-channels"])
    assert "files are read by no channel any more" in off.stderr
    status = json.loads(runner.invoke(app, ["status", "--library", str(path), "--json"]).stdout)["channels"]
    assert {name: one["on"] for name, one in status.items()} == {"seen": True, "heard": False}
    assert status["heard"]["problems"] == [{"path": str(folder / "red.mp4"), "reason": "cannot be read"}]
    both = runner.invoke(app, ["index", *options, "--no-channels", "--channels", "heard"])
    assert isinstance(both.exception, UsageError)


def test_a_recording_of_ten_hours_is_stored_with_all_its_moments(
    folder: Path, library: Library, speech: FakeChannel
) -> None:
    """A sentence every five seconds: more than a block of ids holds."""
    hours = [f"{second} sentence {second}" for second in range(0, 36_000, 5)]
    (folder / "red.said").write_text("\n".join(hours))
    speech.lines = 500
    library.index([folder], channels=["heard"])
    store = ChannelStore.open_to_read(library.path)
    assert store is not None
    with store:
        channel = store.remembered()["heard"]
        ids = store.texts.ids("heard", channel.fingerprint or "")
        vectors = store.open_vectors("heard", channel, create=False)
        assert vectors is not None
        assert len(ids) == len(set(ids.tolist())) == len(hours) + 1
        assert vectors.ids().tolist() == ids.tolist()
        assert len(store.texts.blocks("heard")) == 3  # two of the recording, one of another file
        vectors.close()
    assert library.search('"sentence 35995"')[0].start == 35_995
    assert {hit.path.stem for hit in library.search("lecture about moss sentence", top=3, min_relevance=0)} >= {"green"}


def test_a_run_can_be_left_between_two_passages(folder: Path, library: Library, speech: FakeChannel) -> None:
    class Impatient(RecordedProgress):
        def advance(self, steps: int = 1) -> None:
            super().advance(steps)
            if self.stages[-1][0].startswith("reading: heard") and not steps:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        library.index([folder], channels=["heard"], progress=Impatient())
    library.index()
    assert len(stored(library)) == 3


def test_a_damaged_file_of_texts_costs_the_channels_alone(folder: Path, library: Library, speech: FakeChannel) -> None:
    library.index([folder], channels=["heard"])
    library.close()
    texts = library.path / "channels" / "texts.sqlite"
    for log in texts.parent.glob("texts.sqlite-*"):
        log.unlink()
    texts.write_bytes(b"no database, but long enough to be taken for one" * 200)
    advice = f"remove the folder {texts.parent}, and all is read again by the next run of mmi-tvr index"
    assert library.search("red")[0].path.stem == "red"
    assert library.search("red").remarks[-1].endswith(advice)
    report = library.index()
    assert report.unchanged == 3
    assert report.channels is not None
    assert (report.channels.error or "").endswith(advice)
    assert (library.status().channels.error or "").endswith(advice)
    shutil.rmtree(texts.parent)
    library.index(channels=["heard"])
    assert len(stored(library)) == 3
