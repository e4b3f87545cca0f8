"""What a sentence excludes: the grammar on sentences of each kind, and what a search makes of it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from fakes import ClippedScore, FakeModel, clipped, colour_video
from hypothesis import given
from hypothesis import strategies as st

from mmi_tvr import config
from mmi_tvr.datasets.moving_shapes import Options, build
from mmi_tvr.errors import UsageError
from mmi_tvr.index import open_index
from mmi_tvr.library import Library
from mmi_tvr.queries import Expansion, prepare, query_vectors
from mmi_tvr.queries.negation import QueryParts, split
from mmi_tvr.report import search_page
from mmi_tvr.scoring.background_sentences import sentences
from mmi_tvr.search import Searcher, SearchResult, VideoEntry
from mmi_tvr.types import Query, row_ids

SPLIT = """
a dog, but no person | a dog | person
a dog but no people | a dog | people
A DOG, BUT NO PERSON | A DOG | PERSON
a beach without people | a beach | people
a beach without any people at sunset | a beach at sunset | people
a street with no cars in the rain | a street in the rain | cars
a street without cars or people | a street | cars; people
a street with neither cars nor people | a street | cars; people
a beach without people, dogs or umbrellas | a beach | people; dogs; umbrellas
a forest with no buildings, no cars, and no people | a forest | buildings; cars; people
the red circle moves left, but nothing spins | the red circle moves left | something spins
a street but nobody walks | a street | somebody walks
a room with no one in it | a room | people
a street where there are no people | a street | people
A street. There are no people. | A street. | people
a room that has no windows | a room | windows
a cat, not a dog | a cat | a dog
a man not wearing a hat | a man | wearing a hat
a man who is not wearing a shirt is running | a man is running | wearing a shirt
a man without a shirt on is talking | a man is talking | a shirt
a car without a driver drives down a road | a car drives down a road | a driver
a man with no shoes is shoveling snow | a man is shoveling snow | shoes
a cake without candles on it, on a table | a cake, on a table | candles
without people, a beach | a beach | people
a playground without children playing | a playground | children playing
first a car, then a bike, but no bus | first a car, then a bike | bus
没有人的街道 | 街道 | 人
一条没有人的街道 | 一条街道 | 人
一棵没有叶子的树 | 一棵树 | 叶子
一双没有鞋带的鞋 | 一双鞋 | 鞋带
街上没有红色的汽车 | 街上 | 红色的汽车
没有动物的公园 | 公园 | 动物
海滩上没有人 | 海滩上 | 人
一只狗，但没有人 | 一只狗 | 人
街上没有人在跑 | 街上 | 人在跑
在没有车的路上奔跑的男人 | 在路上奔跑的男人 | 车
一只狗，没有红色的球 | 一只狗 | 红色的球
街道上没有汽车和行人 | 街道上 | 汽车; 行人
街道上没有汽车，也没有行人 | 街道上 | 汽车; 行人
一个男人没穿裤子在跑步 | 一个男人在跑步 | 穿裤子
不戴帽子的男人 | 男人 | 戴帽子
有猫而不是狗 | 有猫 | 狗
红色圆形向左移动，但没有东西旋转 | 红色圆形向左移动 | 东西旋转
"""
WHOLE = """
a car and then a bike
a man plays the piano in a casino near a volcano
a no-hitter
scores nothing but net
a woman wearing nothing but a towel
a red circle and nothing else
not only a dog but also a cat
a dog that is not barking
no people
no people, just a beach
nothing spins
nobody
it without people
a video with no people
a dog with or without a collar
a man with and without a hat
whether or not a dog runs
he says no
yes and no
a sign that says "no parking"
a poster of 'a beach without people'
a street with no parking sign
a man holding a no smoking sign
a player with no 7 on the shirt
a shirt with no. 7
a man rides a bike with no hands
a man talks, no sound
a man sings without stopping
without a doubt a dog
a man with no name
a cat but no one cares
a street unless there are no cars
no longer a dog, but a wolf
last but not least a dog
not a cloud in the sky
a dog, but no
a dog without
, no person
um homem, no parque
un perro, no un gato
ein Hund ohne Mann
没有人
画面中没有人
没有红色的球
有没有人
没有人不喜欢的狗
红色的没有窗户的房子
骑没有刹车的自行车
如何没有钥匙开门
除了狗没有别的
球没有进
门没有关
没有礼貌的人
并非没有人
一个人没有说话
没有什么问题
他没有我高
无人机在飞
黑白无声电影
雨伞被淹没在水中
没完没了的雨
不停地叫的狗
非常大的狗用不锈钢锅
墙上写着“没有人的街道”
《没有人的街道》的海报
"""


@pytest.mark.parametrize("line", SPLIT.strip().splitlines())
def test_what_is_excluded_is_split_off(line: str) -> None:
    text, positive, excluded = line.split(" | ")
    assert split(text) == QueryParts(positive, tuple(excluded.split("; ")))


@pytest.mark.parametrize("text", WHOLE.strip().splitlines())
def test_a_sentence_that_excludes_nothing_for_sure_is_the_very_same(text: str) -> None:
    parts = split(text)
    assert parts.positive is text
    assert parts.excluded == ()


def test_captions_and_background_sentences_exclude_nothing() -> None:
    texts = [caption for sample in build(Options(split="val", count=40)).samples() for caption in sample.captions]
    texts += [text for lines in sentences().values() for text in lines]
    assert len(texts) > 1500
    assert not [text for text in texts if split(text).excluded]


WORDS = (
    "a dog no without but and , . with nothing not person people there is neither nor or any in the rain who wearing "
    "hat 没有 人 的 街道 ， 狗 但 “ ” \" '"
)
word_lists = st.lists(st.sampled_from(WORDS.split()), max_size=14)


@given(st.one_of(word_lists.map(" ".join), st.text(max_size=60)))
def test_parts_are_made_of_the_sentence_and_never_empty(text: str) -> None:
    parts = split(text)
    assert parts.positive is text or (parts.excluded and parts.positive.strip())
    assert all(part.strip() and len(part) <= 120 for part in parts.excluded)
    letters = set(text.lower()) | set("peoplsmbdyhing")  # people, somebody, something
    assert set(parts.positive.lower()) | set("".join(parts.excluded).lower()) <= letters


def test_a_sentence_of_megabytes_costs_no_time() -> None:
    started = time.process_time()
    for text in ("no " * 10**6, "a dog, " * 10**5 + "but no cat", "'\"" * 10**5, " " * 10**6, "没有" * 10**5):
        assert split(text).positive is text
    for text in ("a dog" + ", no cat" * 48, "a dog" + " without" * 45, "'" * 400, "a" + " " * 399, "没有人的" * 90):
        split(text)
    assert time.process_time() - started < 2


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Red, red and then blue, and blue."""
    colour_video(tmp_path / "videos" / "red.mp4", "red")
    colour_video(tmp_path / "videos" / "both.mp4", "red", "blue")
    colour_video(tmp_path / "videos" / "blue.mp4", "blue")
    return tmp_path / "videos"


def test_a_search_counts_what_is_excluded_against_a_video(mixed: Path, tmp_path: Path) -> None:
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(mixed)
        plain = library.search("red", top=9, min_relevance=0)
        result = library.search("red without blue", top=9, min_relevance=0)
        assert result.without == ("blue",)
        assert result.query.text == "red without blue"
        by_name = {hit.path.stem: hit for hit in plain}
        excluded = {hit.path.stem: hit for hit in library.search("blue", top=9, min_relevance=0)}
        for hit in result:
            name = hit.path.stem
            assert hit.scores["excluded"] == pytest.approx(-0.5 * excluded[name].score, abs=1e-6)
            assert hit.score == pytest.approx(by_name[name].score - 0.5 * excluded[name].score, abs=1e-6)
            assert hit.relevance == by_name[name].relevance
        assert [hit.score for hit in result] == sorted((hit.score for hit in result), reverse=True)
        literal = library.search("red without blue", top=9, min_relevance=0, literal=True)
        assert literal.without == ()
        assert (literal[0].path.stem, result[0].path.stem) == ("both", "red")
        assert "excluded" not in literal[0].scores
        with pytest.raises(UsageError, match="literal is True or False"):
            library.search("red", literal="no")  # type: ignore[call-overload]
    settings = config.load(None, ["search.literal=true"])
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped, settings=settings) as library:
        assert library.search("red without blue").without == ()
        assert library.search("red without blue", literal=False).without == ("blue",)


def test_plain_queries_are_as_they_were_to_the_bit(mixed: Path, tmp_path: Path) -> None:
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(mixed)
        queries = ["red", "a man plays the piano", "blue and no"]
        alone = library.search(queries, top=9, min_relevance=0, literal=True)
        together = library.search([*queries, "red without blue"], top=9, min_relevance=0)
        assert min(map(len, alone)) > 1
        for one, other in zip(alone, together[:3], strict=True):
            assert list(one) == list(other)
            assert one.without == other.without == ()


def test_vectors_of_several_wordings() -> None:
    model = FakeModel()
    plain, none = query_vectors(model, [prepare("red")])
    np.testing.assert_array_equal(plain, model.embed_queries([Query("red")]))
    assert none[0].shape == (0, plain.shape[1])
    vectors, excluded = query_vectors(
        model, [prepare("red"), prepare("green, but no blue and no red"), prepare("blue")]
    )
    np.testing.assert_array_equal(vectors[0], plain[0])
    np.testing.assert_array_equal(vectors, model.embed_queries([Query(name) for name in ("red", "green", "blue")]))
    assert [len(rows) for rows in excluded] == [0, 2, 0]
    np.testing.assert_array_equal(excluded[1], model.embed_queries([Query("blue"), Query("red")]))
    _, excluded = query_vectors(model, [prepare("red without blue"), prepare("green without red")])
    np.testing.assert_array_equal(np.concatenate(excluded), model.embed_queries([Query("blue"), Query("red")]))
    assert prepare("red without blue", literal=True).positive.text == "red without blue"


def test_a_page_says_what_a_query_was_taken_for() -> None:
    result = SearchResult(
        (), Query("a <b> without c"), "fake", {"total": 0.1}, without=("<c>",), expansion=Expansion(("<d>", "e"))
    )
    page = search_page(result)
    assert "Without: &lt;c&gt;." in page
    assert "Also searched as: &lt;d&gt;; e." in page
    assert "Without" not in search_page(SearchResult((), Query("a"), "fake", {"total": 0.1}))


def test_what_is_excluded_may_fill_the_first_candidates(tmp_path: Path) -> None:
    """The sixty best videos hold what is excluded; one behind them does not."""
    wants, excludes = np.float32([1, 0, 0]), np.float32([0, 1, 0])

    class TwoWords(FakeModel):
        def embed_queries(self, queries):  # type: ignore[no-untyped-def]
            return np.stack([wants if query.text == "red" else excludes for query in queries])

    index = open_index("flat", path=tmp_path / "index", dim=3, fingerprint="f")
    for number in range(1, 121):
        vector = np.float32([0.8, 0.6, 0] if number <= 60 else [0.7, 0, 0.714143])
        index.add(row_ids(number, 1), np.stack([vector, vector]))
    segments = np.array([[0.0, 1.0, 0.5]])
    searcher = Searcher(
        TwoWords(),
        index,
        lambda numbers: {number: VideoEntry((Path(f"{number}.mp4"),), segments) for number in numbers},
        ClippedScore(),
    )
    assert int(searcher.search("red", top=1, min_relevance=0)[0].path.stem) <= 60
    assert int(searcher.search("red without blue", top=1, min_relevance=0)[0].path.stem) > 60
    assert [searcher.search(text, exact=True).exact for text in ("red", "red without blue")] == [True, False]
    index.close()
