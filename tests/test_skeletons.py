"""Skeletons: which questions are asked, which answers are stored, and what a missing answer leaves."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import colour_video
from hypothesis import given
from hypothesis import strategies as st
from skeleton_inputs import questions, view

from mmi_tvr import plugins
from mmi_tvr.errors import AnswerError, MediaError, MmiTvrError
from mmi_tvr.skeletons import skeletons
from mmi_tvr.skeletons.skeletons import Describer, VideoView, pictures_at, skeleton_text, text_skeleton, video_skeleton
from mmi_tvr.skeletons.store import SKELETONS_FILE, SkeletonStore
from mmi_tvr.types import Answer

WHAT, WHERE, WHEN = "What is there?", "Where is it?", "When is it?"


def fake(**options: Any) -> Any:
    return plugins.build("answerers", "fake", options)


@pytest.fixture
def store(tmp_path: Path):
    with SkeletonStore(tmp_path / SKELETONS_FILE) as opened:
        yield opened


def describer(answerer: Any, store: SkeletonStore | None, *texts: str) -> Describer:
    return Describer(questions(*texts), questions(*texts), answerer, store)


def test_a_skeleton_has_a_line_for_each_question() -> None:
    answerer = fake(answers={WHERE: "in  a\nfield"}, fail=(WHEN,))
    text = text_skeleton("a dog runs", questions(WHAT, WHERE, WHEN), answerer)
    assert text == (
        Answer("q0", WHAT, "a dog runs"),
        Answer("q1", WHERE, "in a field"),
        Answer("q2", WHEN, "", error="no answer, as it was told"),
    )
    assert [request.text for request in answerer.requests] == ["a dog runs"] * 3
    video = video_skeleton(view("a", key_images=3), questions(WHAT, WHEN), answerer)
    assert [(line.text, line.times) for line in video] == [("3 key images", (0, 1, 2)), ("", (0, 1, 2))]
    assert skeleton_text(text) == "a dog runs; in a field"
    assert skeleton_text(()) == ""


def test_an_answerer_that_takes_pictures_gets_pictures() -> None:
    answerer = fake(sees="pictures")
    video_skeleton(view("a", key_images=3), questions(WHAT), answerer)
    [request] = answerer.requests
    assert (len(request.pictures), request.features) == (3, None)


def test_a_video_is_asked_and_read_once(store: SkeletonStore) -> None:
    reads = []

    def features():
        reads.append(1)
        return view("a").features()

    answerer = fake()
    once = VideoView((0.0, 1.0), features, list, "a", "how")
    first = describer(answerer, store, WHAT, WHERE).video_skeletons([once])
    assert describer(answerer, store, WHAT, WHERE).video_skeletons([once]) == first
    assert (len(reads), len(answerer.requests), store.count()) == (1, 2, 2)


def test_only_what_changed_is_asked_again(store: SkeletonStore) -> None:
    views = [view("a"), view("b")]
    describer(fake(), store, WHAT, WHERE).video_skeletons(views)

    def new_questions(view_: list[VideoView], *texts: str, **options: Any) -> list[str]:
        answerer = fake(**options)
        describer(answerer, store, *texts).video_skeletons(view_)
        return [request.question for request in answerer.requests]

    assert new_questions(views, WHAT, WHEN) == [WHEN, WHEN]  # one question was edited
    assert new_questions(views, WHERE, WHAT) == []  # the answers of the old ones are still there, in any order
    assert new_questions([*views, view("c")], WHAT) == [WHAT]
    assert new_questions(views, WHAT, rule="another answerer") == [WHAT, WHAT]
    other = view("a")
    assert new_questions([VideoView(other.times, other.features, other.pictures, "a", "other key images")], WHAT) == [
        WHAT
    ]


def test_errors_are_not_stored(store: SkeletonStore) -> None:
    [first] = describer(fake(fail=(WHERE,), rule="one"), store, WHAT, WHERE).video_skeletons([view("a")])
    assert [line.error for line in first] == [None, "no answer, as it was told"]
    assert store.count() == 1
    answerer = SimpleNamespace(
        name="healed", video_input="features", fingerprint=fake(fail=(WHERE,), rule="one").fingerprint,
        answer=lambda requests: ["here"] * len(requests),
    )  # fmt: skip
    [second] = describer(answerer, store, WHAT, WHERE).video_skeletons([view("a")])
    assert [line.text for line in second] == ["one", "here"]


def test_a_video_that_is_gone_does_not_stop_the_others(store: SkeletonStore) -> None:
    missing, readable = describer(fake(), store, WHAT).video_skeletons([view("a", gone=True), view("b")])
    assert "the file is gone" in (missing[0].error or "")
    assert readable[0].text == "2 key images"
    stored = describer(fake(), store, WHAT).video_skeletons([view("b", gone=True)])
    assert stored[0][0].text == "2 key images"


def test_a_dead_answerer_costs_one_batch(store: SkeletonStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skeletons, "_VIDEO_BATCH", 4)
    views = [view(str(number)) for number in range(10)]
    done = []
    with pytest.raises(MmiTvrError, match="died after 13"):
        describer(fake(dies=13), store, WHAT, WHERE).video_skeletons(views, done.append)
    assert done == [4]
    assert store.count() == 8
    known = describer(fake(), store, WHAT, WHERE).stored_skeletons(views, "it died")
    assert [skeleton_text(lines) != "" for lines in known] == [True] * 4 + [False] * 6
    assert {line.error for lines in known[4:] for line in lines} == {"it died"}
    answerer = fake()
    describer(answerer, store, WHAT, WHERE).video_skeletons(views, done.append)
    assert len(answerer.requests) == 12
    assert done == [4, 4, 4, 2]


def test_nonsense_is_no_answer() -> None:
    answerer = SimpleNamespace(
        name="mad", video_input="features", fingerprint=lambda: "mad", answer=lambda requests: [None, 3]
    )
    assert [line.error for line in text_skeleton("a", questions(WHAT, WHERE), answerer)] == [
        "no answer, but NoneType",
        "no answer, but int",
    ]
    with pytest.raises(AnswerError, match="mad gave 2 answers to 1 question"):
        text_skeleton("a", questions(WHAT), answerer)
    raving = SimpleNamespace(
        name="mad", video_input="features", fingerprint=lambda: "", answer=lambda requests: ["x " * 10**5]
    )
    assert len(text_skeleton("a", questions(WHAT), raving)[0].text) <= 2000


@given(st.text(st.characters(exclude_categories=())))
def test_any_answer_is_one_line_that_can_be_written(text: str) -> None:
    answerer = SimpleNamespace(
        name="any", video_input="features", fingerprint=lambda: "any", answer=lambda requests: [text]
    )
    [line] = text_skeleton("a", questions(WHAT), answerer)
    assert line.text.encode().decode() == line.text
    assert "\0" not in line.text
    assert len(line.text.splitlines()) <= 1


def test_a_stored_skeleton_reads_as_it_was_answered(store: SkeletonStore) -> None:
    answers = {WHAT: '红色; "quoted" \N{PILE OF POO}', WHERE: "a ' b -- ); DROP TABLE answers"}
    maker = describer(fake(answers=answers), store, WHAT, WHERE)
    assert maker.video_skeletons([view("a")]) == maker.stored_skeletons([view("a")], "")


def test_queries_are_remembered_unless_something_failed() -> None:
    answerer = fake()
    queries = describer(answerer, None, WHAT)
    assert queries.text_skeleton("a dog") is queries.text_skeleton("a dog")
    assert len(answerer.requests) == 1
    answerer = fake(late=(WHAT,))
    queries = describer(answerer, None, WHAT)
    assert queries.text_skeleton("a dog") == queries.text_skeleton("a dog")
    assert len(answerer.requests) == 2


def test_readers_go_on_while_another_writes(tmp_path: Path) -> None:
    one, other = SkeletonStore(tmp_path / "s.sqlite"), SkeletonStore(tmp_path / "s.sqlite")
    one.put([("a", "k", "first")])
    writing = sqlite3.connect(tmp_path / "s.sqlite", isolation_level=None)
    writing.execute("BEGIN IMMEDIATE")
    writing.execute("INSERT INTO answers VALUES ('b', 'k', 'not yet')")
    assert other.get(["a", "b"], ["k"]) == {("a", "k"): "first"}
    writing.execute("COMMIT")
    assert other.get(["a", "b"], ["k"])[("b", "k")] == "not yet"
    other.keep(["b"])
    assert one.count() == 1
    for each in (one, other, writing):
        each.close()


def test_a_store_that_is_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "s.sqlite").write_bytes(b"not a database, not at all" * 99)
    with pytest.raises(MmiTvrError, match=r"s\.sqlite: not usable as a store of answers"):
        SkeletonStore(tmp_path / "s.sqlite")


def test_pictures_come_from_a_file_that_is_left(tmp_path: Path) -> None:
    here = colour_video(tmp_path / "here.mp4", "red")
    pictures = pictures_at([tmp_path / "gone.mp4", here], (0.0, 1.0))
    assert [picture.shape for picture in pictures] == [(48, 48, 3)] * 2
    with pytest.raises(MediaError, match=r"gone\.mp4"):
        pictures_at([tmp_path / "gone.mp4"], (0.0,))


def test_an_answer_of_a_file_without_a_digest_is_not_stored(store: SkeletonStore) -> None:
    answerer = fake()
    for _ in range(2):
        [skeleton] = describer(answerer, store, WHAT).video_skeletons([view("")])
        assert skeleton_text(skeleton) == "2 key images"
    assert store.count() == 0
    assert len(answerer.requests) == 2


def test_the_oldest_query_leaves_the_memory_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skeletons, "_QUERY_CACHE", 2)
    answerer = fake()
    queries = describer(answerer, None, WHAT)
    for text in ("one", "two", "three", "two", "three", "one"):
        queries.text_skeleton(text)
    assert [request.text for request in answerer.requests] == ["one", "two", "three", "one"]


def test_answers_are_found_by_content_and_key(store: SkeletonStore) -> None:
    store.put([("a", "k", "first"), ("a", "l", "other key"), ("b", "k", "other content")])
    assert store.get(["a"], ["k"]) == {("a", "k"): "first"}
    store.put([("a", "k", "second")])
    assert store.get(["a"], ["k"]) == {("a", "k"): "second"}
    store.keep(["a"])
    assert store.get(["a", "b"], ["k", "l"]) == {("a", "k"): "second", ("a", "l"): "other key"}


def test_answers_are_stored_all_or_none(store: SkeletonStore) -> None:
    rows = iter([("a", "k", "first"), ("b", "k", None)])
    with pytest.raises(MmiTvrError, match="not usable as a store"):
        store.put(rows)  # type: ignore[arg-type]
    assert store.count() == 0


def test_a_file_that_may_not_be_read_is_a_media_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[int] = []

    def frames_at(path: Path, times: object, size: int) -> None:
        sides.append(size)
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(skeletons, "frames_at", frames_at)
    with pytest.raises(MediaError, match=r"here\.mp4: Permission denied"):
        pictures_at([tmp_path / "here.mp4"], (0.0,))
    assert sides == [336]
    with pytest.raises(MediaError, match="no file is left of it"):
        pictures_at([], (0.0,))
