"""Other wordings of a query: what a language model may reply, what it costs where it cannot, and what is stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, clipped

from mmi_tvr import config, prompt_templates
from mmi_tvr.answerers.fake import FakeAnswerer, Options
from mmi_tvr.errors import ConfigError, UsageError
from mmi_tvr.library import Library
from mmi_tvr.queries import Expansion, PreparedQuery, prepare, query_vectors
from mmi_tvr.skeletons.expansion import MAX_WORDINGS, QueryExpander, wording_in
from mmi_tvr.skeletons.store import SkeletonStore
from mmi_tvr.types import Query

TEMPLATE = prompt_templates.expand()
FIRST, SECOND = TEMPLATE.wordings[:2]
DOG = "a dog runs on a beach"


def writer(*replies: str, translation: str = "一只狗在海滩上奔跑", **options: object) -> FakeAnswerer:
    """Return an answerer that gives these wordings, and a translation."""
    answers = {TEMPLATE.chinese: translation, **dict(zip(TEMPLATE.wordings, replies, strict=False))}
    return FakeAnswerer(Options(answers=answers, **options))


def expanded(answerer: FakeAnswerer, text: str = DOG, count: int = 1, **store: SkeletonStore) -> PreparedQuery:
    [query] = QueryExpander(answerer, TEMPLATE, **store).expand([prepare(text)], count)
    assert query.query.text == text
    assert query.expansion is not None
    return query


def problem(query: PreparedQuery) -> str:
    assert query.expansion is not None
    return query.expansion.problem or ""


def test_the_template_has_a_request_for_each_wording() -> None:
    assert len(set(TEMPLATE.wordings)) == MAX_WORDINGS


def test_wordings_are_paraphrases_and_the_other_language() -> None:
    answerer = writer("a puppy runs along the shore", "a dog is running by the sea")
    query = expanded(answerer, count=2)
    assert query.wordings == ("a puppy runs along the shore", "a dog is running by the sea", "一只狗在海滩上奔跑")
    assert problem(query) == ""
    assert {request.text for request in answerer.requests} == {DOG}
    chinese = FakeAnswerer(Options(answers={TEMPLATE.english: "a dog runs", FIRST: "小狗在跑"}))
    assert expanded(chinese, "一只狗在奔跑").wordings == ("小狗在跑", "a dog runs")
    without = writer("a dog on the sand")
    assert expanded(without, "a dog on a beach without people").excluded == ("people",)
    assert {request.text for request in without.requests} == {"a dog on a beach"}  # what is excluded is not expanded


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("I'm sorry, but I cannot do that.", "the model refuses"),
        ("抱歉，我无法回答", "the model refuses"),
        ("yes", "too short"),
        ("a dog " * 40, "too long"),
        ("一只狗在海滩上奔跑", "not in the language of the query"),
        ("What does the dog do on the beach?", "a question"),
        ("a dog runs on a beach without people", "it excludes something"),
        ("<think>hmm", "still thinking"),
        ("  ", "said nothing"),
    ],
)
def test_a_bad_reply_costs_its_wording_alone(reply: str, says: str) -> None:
    query = expanded(writer(reply))
    assert query.wordings == ("一只狗在海滩上奔跑",)
    assert problem(query).startswith("1 of 2 wordings missing: ")
    assert says in problem(query)


def test_the_same_words_are_no_other_wording() -> None:
    query = expanded(writer("A dog runs on a beach.", "a dog runs, on a beach", translation="A dog."), count=2)
    assert query.wordings == ()
    assert "not in Chinese: 'A dog'" in problem(query)


@pytest.mark.parametrize(
    ("reply", "wording"),
    [
        ('Sure! Here is the caption: "A dog runs."', "A dog runs."),
        ("Caption: a dog", "a dog"),
        ("“一只狗”", "一只狗"),
        ("好的，译文：一只狗", "一只狗"),
        ("a sign: a dog", "a sign: a dog"),
    ],
)
def test_preambles_and_quotation_marks_go(reply: str, wording: str) -> None:
    assert wording_in(reply) == wording


def test_an_answerer_that_dies_costs_the_wordings_and_nothing_else() -> None:
    query = expanded(writer("a puppy runs", dies=1), count=2)
    assert query.wordings == ()
    assert "3 of 3 wordings missing: the fake answerer died" in problem(query)
    late = expanded(writer("a puppy runs along", late=(FIRST,)))
    assert late.wordings == ("一只狗在海滩上奔跑",)
    assert "no answer in time" in problem(late)


def test_writing_ends_with_its_seconds() -> None:
    slow = writer("a puppy runs along the shore", "a dog is running by the sea", delay=5.0)
    [query] = QueryExpander(slow, TEMPLATE).expand([prepare(DOG)], 2, seconds=0.05)
    assert query.wordings == ("a puppy runs along the shore",)  # which began in time
    assert "this query has spent its 0.05 seconds (search.seconds)" in problem(query)


def test_every_wording_is_asked_for_once(tmp_path: Path) -> None:
    with SkeletonStore(tmp_path / "expansions.sqlite") as store:
        first = writer("a puppy runs along the shore", fail=(TEMPLATE.chinese,))
        assert problem(expanded(first, store=store))
        assert len(first.requests) == 2
        again = writer("a puppy runs along the shore", fail=(TEMPLATE.chinese,))
        query = expanded(again, store=store)
        assert [request.question for request in again.requests] == [TEMPLATE.chinese]  # a failure is asked for again
        assert query.expansion is not None
        assert (query.expansion.usage.cached, query.wordings) == (1, ("a puppy runs along the shore",))
        other = writer("another answerer, another wording of it")
        assert expanded(other, store=store).wordings[0] == "another answerer, another wording of it"


def test_the_query_itself_has_the_larger_share_of_the_vector() -> None:
    model = FakeModel()
    query = PreparedQuery(Query("red"), Query("red"), ("yellow",), Expansion(("green", "blue")))
    [vector], [excluded] = query_vectors(model, [query])
    red, green, blue, yellow = model.embed_queries([Query(name) for name in ("red", "green", "blue", "yellow")])
    expected = 0.7 * red + 0.15 * (green + blue)
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), rtol=1e-6)
    np.testing.assert_array_equal(excluded[0], yellow)


def test_a_library_searches_by_all_wordings(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path / "cache"))
    answers = {FIRST: "all is green and green", TEMPLATE.chinese: "红色 green"}
    settings = config.from_values({"search": {"answerer": {"name": "fake", "answers": answers}}})
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped, settings=settings) as library:
        library.index(folder)
        plain = library.search("something red", top=9, min_relevance=0)
        assert plain.expansion is None
        result = library.search("something red", top=9, min_relevance=0, expand=1)
        assert result.expansion is not None
        assert result.expansion.wordings == ("all is green and green", "红色 green")
        green = [next(hit.score for hit in hits if hit.path.stem == "green") for hits in (plain, result)]
        assert result[0].path.stem == "red"
        assert green[0] < green[1]
        assert (result.seconds["expand"], result.usage.calls) > (0, 1)
        assert library.search("something red", expand=1).usage.calls == 0  # both are stored
        assert (tmp_path / "cache" / "expansions.sqlite").is_file()
        with pytest.raises(UsageError, match="expand is a number from 0 to 8, not 9"):
            library.search("red", expand=9)
    with pytest.raises(ConfigError, match="no answerer is called 'nobody'"):
        config.from_values({"search": {"answerer": {"name": "nobody"}}})


def test_where_nobody_can_write_the_hits_are_as_without(folder: Path, tmp_path: Path) -> None:
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(folder)
        plain, result = library.search("red", min_relevance=0), library.search("red", min_relevance=0, expand=2)
        assert list(result) == list(plain)
        assert result.expansion is not None
        assert "nobody to ask: fake has no language model" in (result.expansion.problem or "")
