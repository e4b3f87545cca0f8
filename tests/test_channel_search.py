"""Searching what is seen, said and written at once: one order, how each hit was found, and what cannot be searched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeChannel, FakeModel, clipped, colour_video, word_vectors
from media_files import make_sound

from mmi_tvr.cli import search as command
from mmi_tvr.cli._hits import print_hits
from mmi_tvr.errors import MissingExtra
from mmi_tvr.library import Library
from mmi_tvr.library.channels import ChannelStore
from mmi_tvr.queries import PreparedQuery
from mmi_tvr.search.text_queries import TextQuery
from mmi_tvr.types import ChannelMoment, Passage, Query, Span

LINES = {
    "red": "0 the ship leaves the harbour at seven\n4 nobody has seen the umbrella",
    "green": "1 a lecture about moss and stones\n9 the ship is late",
    "blue": "",
    "white": "",
}
WRITTEN = {"blue": "2 exit to platform nine"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for colour, lines in LINES.items():
        colour_video(folder / f"{colour}.mp4", colour, seconds=0.5)
        (folder / f"{colour}.said").write_text(lines)
    return folder


class Writing(FakeChannel):
    """Reads FILE.mp4's lines of WRITTEN."""

    def moments(self, source, start=0.0):  # type: ignore[no-untyped-def]
        for line in filter(None, [WRITTEN.get(source.path.stem)]):
            second, _, text = line.partition(" ")
            span = Span(float(second), float(second) + 1, float(second))
            yield Passage(0.0, 10.0, [ChannelMoment(span, word_vectors([text])[0], text)])


@pytest.fixture(autouse=True)
def fake_channels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path / "cache"))
    for name, channel in (("heard", FakeChannel("heard")), ("read", Writing("read", ("image", "video")))):
        monkeypatch.setattr(f"mmi_tvr.channels.{name}.build", lambda options, channel=channel: channel)
        monkeypatch.setattr(f"mmi_tvr.channels.{name}.embed_queries", channel.embed_queries)


@pytest.fixture
def library(tmp_path: Path, clips: Path) -> Iterator[Library]:
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as opened:
        opened.index([clips], channels=["heard", "read"])
        yield opened


def test_one_search_finds_what_is_seen_said_and_written(library: Library) -> None:
    by_sight = library.search("red", top=3)
    assert (by_sight[0].path.stem, by_sight[0].found_by) == ("red", ("seen",))
    spoken = library.search("the ship leaves the harbour at seven")[0]
    assert (spoken.path.stem, spoken.found_by[0], spoken.start) == ("red", "heard", 0.0)
    moments = [(one.found_by, one.start, one.text) for one in spoken.moments]
    assert ("heard", 0.0, "the ship leaves the harbour at seven") in moments
    written = library.search("exit to platform nine")[0]
    assert (written.path.stem, written.found_by[0], written.start, written.end) == ("blue", "read", 2.0, 3.0)
    document = written.as_dict()
    assert document["found_by"][0] == "read"
    text = {"start": 2.0, "end": 3.0, "found_by": "read", "text": "exit to platform nine"}
    assert text in document["moments"]
    assert json.dumps(document)
    absent = {hit.path.stem: hit for hit in library.search("nobody has seen the umbrella", top=9)}["red"]
    assert (absent.start, absent.found_by[0]) == (4.0, "heard")  # what is said is not read as "without"


def test_a_kept_result_is_given_out_until_a_channel_has_read_more(tmp_path: Path, clips: Path) -> None:
    path = tmp_path / "library"
    with (
        Library(path, model=FakeModel(), relevance=clipped) as writer,
        Library(path, model=FakeModel(), relevance=clipped) as keeping,
    ):
        writer.index([clips])
        keeping.remember_results(100)
        for channels in (["heard"], ["read"], []):
            for _ in range(2):
                kept = keeping.search("the ship leaves the harbour at seven", 9, 0.0).as_dict() | {"seconds": {}}
                with Library(path, model=FakeModel(), relevance=clipped) as other:
                    fresh = other.search("the ship leaves the harbour at seven", 9, 0.0).as_dict() | {"seconds": {}}
                assert kept == fresh
            assert len(keeping._reader.answers) == 1
            writer.index(channels=channels)
        assert "heard" in kept["hits"][0]["found_by"]


def test_a_folder_of_channels_that_is_replaced_or_removed_is_noticed(library: Library, tmp_path: Path) -> None:
    """The catalogue is as it was, and a file that is open is not the one that lies there."""
    library.remember_results(100)
    channels, backup = library.path / "channels", tmp_path / "backup"

    def found_by() -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
        """Return how hits were found, and what was said of the search; a new object finds the same."""
        result = library.search("exit to platform nine", 9, 0.0)
        assert library.search("exit to platform nine", 9, 0.0).hits == result.hits
        with Library(library.path, model=FakeModel(), relevance=clipped) as other:
            fresh = other.search("exit to platform nine", 9, 0.0)
        assert (result.hits, result.remarks) == (fresh.hits, fresh.remarks)
        return [hit.found_by for hit in result], result.remarks

    whole = found_by()
    assert whole[0][0][0] == "read"
    shutil.move(channels, backup)
    assert {name for names in found_by()[0] for name in names} == {"seen"}
    shutil.copytree(backup, channels)
    assert found_by() == whole
    shutil.rmtree(channels)
    channels.mkdir()
    (channels / "texts.sqlite").write_bytes(b"no database" * 1000)
    assert "remove the folder" in found_by()[1][0]
    shutil.rmtree(channels)
    assert found_by()[1] == ()
    shutil.copytree(backup, channels)
    assert found_by() == whole


def test_words_in_quotation_marks_must_be_there(library: Library) -> None:
    result = library.search('"the ship"', top=9)
    assert sorted(hit.path.stem for hit in result) == ["green", "red"]
    assert result.decision.reason == 'texts have the words "the ship"'
    assert {hit.path.stem: hit.found_by for hit in result}["green"] == ("heard",)
    assert [hit.relevance for hit in library.search('"the ship"', top=9, min_relevance=0.9)] == [1.0, 1.0]
    assert {hit.path.stem: hit.start for hit in result} == {"green": 9.0, "red": 0.0}
    nothing = library.search('red "the ships"', top=9)
    assert not nothing
    assert nothing.decision.reason == 'no text has the words "the ships"'
    assert nothing.closest is None
    assert "to exclude words: --not" in library.search('a talk without "the ship"').remarks[-1]
    assert not library.search('"the ship" 没有').remarks


def test_a_list_of_queries_and_a_least_relevance(library: Library) -> None:
    one, other = library.search(["exit to platform nine", "green"], top=2, min_relevance=0.5)
    assert one[0].path.stem == "blue"
    assert other[0].path.stem == "green"
    assert all(hit.relevance >= 0.5 for hit in (*one, *other))
    everything = library.search("a lecture", top=9, min_relevance=0)
    assert len(everything) == 4


def test_what_is_not_there_is_not_found_by_texts_either(library: Library, tmp_path: Path, clips: Path) -> None:
    text = "zebras paint violins"
    with Library(tmp_path / "seen only", model=FakeModel(), relevance=clipped) as plain:
        plain.index([clips])
        assert library.search(text).is_found == plain.search(text).is_found


def test_without_channels_a_search_is_as_it_was(library: Library, tmp_path: Path, clips: Path) -> None:
    with Library(tmp_path / "seen only", model=FakeModel(), relevance=clipped) as plain:
        plain.index([clips])
        for text in ("red", "blue and white", "zebras"):
            alone, other_hits = plain.search(text, min_relevance=0), library.search(text, min_relevance=0)
            assert "texts" not in alone.seconds
            for hit, other in zip(alone, other_hits, strict=True):
                assert (hit.path, hit.score, hit.found_by[-1]) == (other.path, other.score, "seen")
                assert hit.as_dict()["moments"] == [
                    {"start": round(hit.start, 3), "end": round(hit.end, 3), "found_by": "seen", "text": None}
                ]


def test_a_search_sees_what_has_been_read_meanwhile(library: Library, clips: Path, tmp_path: Path) -> None:
    assert not library.search('"fresh words"')
    folder = tmp_path / "more"
    colour_video(folder / "cyan.mp4", "cyan", seconds=0.5)
    (folder / "cyan.said").write_text("0 fresh words")
    with Library(library.path, model=FakeModel(), relevance=clipped) as writer:
        writer.index([folder])
    assert library.search('"fresh words"')[0].path.stem == "cyan"
    with Library(library.path, model=FakeModel(), relevance=clipped) as writer:
        writer.remove([folder])
    assert not library.search('"fresh words"')


def test_a_library_on_a_read_only_disk_is_searched(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.close()
    for module in ("mmi_tvr.fulltext.database", "mmi_tvr.library.catalogue_file", "mmi_tvr.library.status"):
        monkeypatch.setattr(f"{module}.is_writable", lambda path: False)
    assert library.search("exit to platform nine")[0].path.stem == "blue"


def test_without_the_packages_of_a_channel_its_words_are_searched(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*arguments: object) -> None:
        raise MissingExtra("faster_whisper", "speech", "pip install")

    monkeypatch.delattr("mmi_tvr.channels.heard.embed_queries")
    monkeypatch.setattr("mmi_tvr.channels.heard.build", missing)
    library.close()
    assert library.search('"the umbrella"')[0].path.stem == "red"


def test_without_the_full_text_extra_what_is_seen_is_searched(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(module: str, extra: str) -> None:
        raise MissingExtra(module, extra, "pip install")

    library.close()
    monkeypatch.setattr("mmi_tvr.fulltext.folding.require", missing)
    result = library.search("red")
    assert result[0].path.stem == "red"
    assert result.remarks[-1] == "what is said and written is not searched: opencc is not installed: pip install"


def test_a_library_of_recordings_is_searched_by_what_is_said(tmp_path: Path) -> None:
    (tmp_path / "sound").mkdir()
    for name, seconds, line in (("a", 1.0, "0 the ship is late"), ("b", 2.0, "3 a talk about bees")):
        make_sound(tmp_path / "sound" / f"{name}.m4a", seconds)
        (tmp_path / "sound" / f"{name}.said").write_text(line)
    with Library(tmp_path / "recordings", model=FakeModel(), relevance=clipped) as library:
        library.index([tmp_path / "sound"], channels=["heard"])
        [hit] = library.search("a talk about bees", min_relevance=0.5)
        assert (hit.path.name, hit.kind, hit.found_by, hit.start) == ("b.m4a", "audio", ("heard",), 3.0)
        assert library.search("a talk about bees").coverage.searched == 2
        without = library.search('"talk"', without="bees", min_relevance=0)
        assert (without.hits, without.without) == ((), ("bees",))
        assert not library.search("a talk, no bees", min_relevance=0.5)
        absent = library.search("zebras")
        assert not absent
        assert absent.decision.reason == "nothing that is said or written comes near it"
        assert library.search("a talk about bees", longer=1.5).among == 1
        refused = library.search("a talk about bees", longer=60)
        assert (refused.hits, refused.filters, refused.among) == ((), {"longer": "60 s"}, 0)
        assert refused.decision.reason == "no item of this library passes longer 60 s (0 items)"


def test_near_duplicates_are_one_hit_also_where_texts_find_them(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = {hit.path.stem: hit.id for hit in library.search("ship", top=9, min_relevance=0)}
    groups = {by_name["green"]: 1, by_name["red"]: 1}
    monkeypatch.setattr(library._reader._duplicates, "groups", lambda catalogue, revision: groups)
    [hit] = library.search('"the ship"', top=9)
    assert [one.id for one in hit.similar] == [number for number in groups if number != hit.id]
    assert len(library.search('"the ship"', top=9, fold=False)) == 2


def spoken(library: Library, text: str, **more: Any) -> list[str]:
    """Return the names of the files that a search finds by what is said in them, the best first."""
    result = library.search(text, top=9, min_relevance=0, **more)
    return [hit.path.stem for hit in result if hit.found_by[0] == "heard"]


def test_texts_that_say_what_is_excluded_are_not_found_by_it(library: Library) -> None:
    assert sorted(spoken(library, '"the ship"')) == ["green", "red"]
    assert spoken(library, '"the ship"', without="the harbour") == ["green"]
    assert (
        spoken(library, '"the ship"', without=["harbour", "moss"]) == []
    )  # said elsewhere in the file, it counts, too
    assert sorted(spoken(library, '"the ship"', without='"at the harbour"')) == ["green", "red"]
    assert spoken(library, '"the ship"', without='"leaves the harbour"') == ["green"]
    assert "red" not in spoken(library, "the ship leaves at seven, no harbour")
    result = library.search("the ship leaves at seven, no harbour", top=9, min_relevance=0)
    assert result.without == ("harbour",)


def test_what_is_excluded_by_the_meaning_of_it(library: Library) -> None:
    library.search("the ship")
    channels = library._reader._channels.present(
        library._reader.catalogue(), library._reader.catalogue().data_version()
    )
    assert channels is not None
    scales = {"words of its own": 0.05, "the ship leaves": 0.9, "the ship": 0.8}
    vectors = {text: (number * word_vectors(["the ship is late"])[0]) for text, number in scales.items()}
    channel = channels._channels["heard"]
    alone = channel.search(TextQuery("the ship"), vectors, 5)
    lowered = channel.search(TextQuery("the ship", ("the ship leaves",)), vectors, 5)
    unchanged = channel.search(TextQuery("the ship", ("words of its own",)), vectors, 5)
    assert [one.relevance for one in unchanged] == pytest.approx([one.relevance for one in alone], abs=1e-6)
    assert lowered[0].relevance < alone[0].relevance
    assert lowered[0].moments[0][1] == lowered[0].relevance


def test_what_is_quoted_without_marks_is_found_for_certain(library: Library) -> None:
    for text in ("the ship leaves the harbour", "LEAVES the harbour, at seven!"):
        first = library.search(text, min_relevance=0.9)[0]
        assert (first.path.stem, first.found_by[0], first.relevance) == ("red", "heard", 1.0)
    assert library.search("the harbour leaves the ship", min_relevance=0)[0].relevance < 1  # not in this order
    assert library.search("the ship leaves", min_relevance=0)[0].relevance < 1  # too few to be a quotation


def test_a_sentence_with_its_no_is_found_where_it_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    for colour, line in (
        ("red", "soup without any onions"),
        ("green", "soup with onions"),
        ("blue", "soup of the day"),
    ):
        colour_video(folder / f"{colour}.mp4", colour, seconds=0.5)
        (folder / f"{colour}.said").write_text(f"0 {line}")
    with Library(tmp_path / "soups", model=FakeModel(), relevance=clipped) as library:
        library.index([folder], channels=["heard"])
        assert spoken(library, "soup without any onions") == ["red"]
        assert spoken(library, '"soup"', without="onions") == ["blue"]
        (folder / "white.said").write_text("0 這道湯裡有洋蔥")
        (folder / "cyan.said").write_text("0 这道汤里没有肉")
        for colour in ("white", "cyan"):
            colour_video(folder / f"{colour}.mp4", colour, seconds=0.5)
        library.index(channels=["heard"])
        assert sorted(spoken(library, '"这道汤里"')) == ["cyan", "white"]  # traditional for simplified
        assert spoken(library, '"这道汤里"', without="洋葱") == ["cyan"]
        assert "green" in spoken(library, "soup without any onions", literal=True)


def test_an_empty_text_asks_no_channel(library: Library) -> None:
    channels = library._reader._channels.present(library._reader.catalogue(), 0)
    assert channels is not None
    assert channels.search([PreparedQuery(Query(""), Query(""))], 5) == [{}]


def test_hits_say_how_they_were_found(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    result = library.search("exit to platform nine")
    command._say_remarks(result, False, library.path)
    print_hits(result)
    out = capsys.readouterr().out
    assert 'read 0:02: "exit to platform nine"' in out


def test_what_a_run_under_way_has_read_is_searched(library: Library) -> None:
    """The catalogue is as it was: the channels alone have changed."""
    assert_read_meanwhile(library)


def test_what_a_run_under_way_has_read_is_searched_where_nothing_may_be_written(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.close()
    database = "mmi_tvr.fulltext.database.is_writable"
    monkeypatch.setattr(database, lambda path: False)
    assert_read_meanwhile(library, lambda: monkeypatch.setattr(database, lambda path: True))


def assert_read_meanwhile(library: Library, before_writing: Callable[[], None] = lambda: None) -> None:
    """Search, have another one write to a channel, and see that a search finds it."""
    assert not library.search('"fresh words"')
    white = next(hit for hit in library.search("white", top=9, min_relevance=0) if hit.path.stem == "white")
    content = library._reader.catalogue().hashes_of([white.id or 0])[white.id or 0]
    before_writing()
    with ChannelStore.open_to_write(library.path) as store:
        fingerprint = store.remembered()["heard"].fingerprint or ""
        store.texts.begin(content, "heard", f"{fingerprint} again")
        moment = ChannelMoment(Span(0, 1, 0), word_vectors(["fresh words"])[0], "fresh words")
        store.texts.append(content, "heard", Passage(0, 1, [moment]))
    hits = {hit.path.stem: hit for hit in library.search("fresh words", top=9, min_relevance=0)}
    assert "fresh words" in [one.text for one in hits["white"].moments]
