"""Full-text search: what is folded, what a query looks for, and the file of texts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmi_tvr.errors import LibraryReadOnly, MmiTvrError
from mmi_tvr.fulltext import folding
from mmi_tvr.fulltext.index import TextIndex
from mmi_tvr.fulltext.query import parse
from mmi_tvr.fulltext.shares import WordShares
from mmi_tvr.types import ChannelMoment, Passage, Span

VECTOR = np.zeros(1, np.float32)
WILD = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
# Words of several scripts, punctuation, what means something to FTS5 or SQL, and what folds to something longer.
WORDS = st.sampled_from(
    [*"红紅色車車を가ßİ", "car", "Cars", "AND", "NEAR(", '"', "'", "*", "--", "\0", "é", "e\u0301", "ﬁ", " ", ". "]
)
WILD_WORDS = st.lists(WORDS | WILD, max_size=12).map("".join)


def passage(*texts: str, start: float = 0.0) -> Passage:
    """Texts of a second each, one after the other."""
    spans = [Span(start + second, start + second + 1, start + second) for second in range(len(texts))]
    moments = [ChannelMoment(span, VECTOR, text) for span, text in zip(spans, texts, strict=True)]
    return Passage(start, start + len(texts), moments)


def stored(index: TextIndex, *texts: str, content: str = "film", channel: str = "heard") -> None:
    index.begin(content, channel, "f")
    index.append(content, channel, passage(*texts))
    index.finish(content, channel)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[TextIndex]:
    with TextIndex(tmp_path / "texts.sqlite") as opened:
        yield opened


def hits(index: TextIndex, query: str, **options: object) -> list[str]:
    return [hit.moment.text for hit in index.search(query, **options)]  # type: ignore[arg-type]


@given(WILD_WORDS)
def test_folding_twice_changes_nothing_more(text: str) -> None:
    folded = folding.fold(text)
    assert folding.fold(folded) == folded
    assert folding.tokens(" ".join(folding.tokens(text))) == folding.tokens(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("紅色的汽車", "红色的汽车"),
        ("STRASSE", "straße"),
        ("Crème", "CREME"),
        ("ｶﾞﾗｽ", "ガラス"),
        ("Ёлка", "елка"),
        ("①", "1"),
    ],
)
def test_what_counts_as_one_is_one(one: str, other: str) -> None:
    assert folding.tokens(one) == folding.tokens(other)


def test_marks_that_are_letters_of_their_script_stay() -> None:
    assert folding.tokens("आज मौसम") == ["आज", "मौसम"]
    assert folding.tokens("が") != folding.tokens("か")


def test_chinese_is_looked_for_by_pairs_within_a_run() -> None:
    assert parse("北京市 red 车").terms == ("北 京", "京 市", "red", "车")
    assert parse("北京abc上海").terms == ("北 京", "abc", "上 海")
    assert parse("北京，上海").terms == ("北 京", "京 上", "上 海")  # recognisers set commas as they like
    assert parse('“北京” 「上海」 "a b"').exact == ("北 京", "上 海", "a b")
    assert parse('an open "quote').exact == ()


def test_the_text_with_more_and_rarer_words_comes_first(index: TextIndex) -> None:
    stored(index, "a dog runs", "a man and a dog", "a man reads a newspaper", "红色的汽车停在桥上", "红色的自行车")
    assert hits(index, "the man's newspaper")[0] == "a man reads a newspaper"
    assert hits(index, "桥上的红色汽车") == ["红色的汽车停在桥上", "红色的自行车"]
    assert hits(index, "汽車") == ["红色的汽车停在桥上"]
    assert all(hit.score > 0 for hit in index.search("dog"))


def test_english_endings_do_not_count_but_in_quotation_marks(index: TextIndex) -> None:
    stored(index, "two dogs walked home", "a dog walks home")
    assert len(hits(index, "walking dog")) == 2
    assert hits(index, '"dog walks"') == ["a dog walks home"]
    assert hits(index, '"dog" two') == ["a dog walks home"]
    assert hits(index, '"walks dog"') == hits(index, '"dogs walk"') == []


@settings(max_examples=40, deadline=None)
@given(st.lists(WILD_WORDS, min_size=1, max_size=5), WILD_WORDS, st.data())
def test_wild_texts_are_stored_and_each_part_of_them_in_quotation_marks_is_found(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], query: str, data: st.DataObject
) -> None:
    with TextIndex(tmp_path_factory.getbasetemp() / "wild.sqlite") as index:
        index.forget("film")
        stored(index, *texts)
        index.search(query)
        index.search(f'"{query}')
        words = folding.tokens(texts[0])
        assume(words)
        start = data.draw(st.integers(0, len(words) - 1))
        part = " ".join(words[start : data.draw(st.integers(start + 1, len(words)))])
        assert texts[0] in hits(index, f'"{part}"', limit=100)
        assert texts[0] in hits(index, texts[0].replace('"', " "), limit=100) or '"' in texts[0]


def test_a_query_of_ten_thousand_words_is_answered(index: TextIndex) -> None:
    stored(index, "word0 and more")
    assert hits(index, " ".join(f"word{number}" for number in range(10_000))) == ["word0 and more"]


def test_channels_and_limits(index: TextIndex) -> None:
    stored(index, "a dog", channel="heard")
    stored(index, "dog food", channel="read")
    assert hits(index, "dog", channels=["read"]) == ["dog food"]
    assert len(hits(index, "dog", limit=1)) == 1
    assert hits(index, "dog", channels=[]) == hits(index, "dog", limit=0) == hits(index, "!?") == []


def test_reading_goes_on_where_it_was_cut_off_and_starts_again_for_another_fingerprint(index: TextIndex) -> None:
    assert index.begin("film", "heard", "one") == 0.0
    index.append("film", "heard", passage("first", "second"))
    assert index.begin("film", "heard", "one") == 2.0
    index.append("film", "heard", passage(start=2.0))
    index.append("film", "heard", passage("third", start=2.0))
    index.finish("film", "heard")
    assert index.begin("film", "heard", "one") is None
    assert [moment.text for moment in index.texts("film")] == ["first", "second", "third"]
    assert index.begin("film", "heard", "two") == 0.0
    assert index.texts("film") == []
    assert hits(index, "second") == []


def test_what_is_forgotten_is_not_found(index: TextIndex) -> None:
    stored(index, "a dog", content="one", channel="heard")
    stored(index, "a dog", content="one", channel="read")
    stored(index, "a dog", content="two")
    index.forget("one", "read")
    assert [(hit.moment.content, hit.moment.channel) for hit in index.search("dog")] == [
        ("one", "heard"),
        ("two", "heard"),
    ]
    index.forget("one")
    assert [hit.moment.content for hit in index.search("dog")] == ["two"]
    assert index.begin("one", "heard", "f") == 0.0


def test_a_passage_is_stored_whole_or_not_at_all(index: TextIndex) -> None:
    index.begin("film", "heard", "f")
    broken = [*passage("a dog").moments, ChannelMoment(Span(1.0, None, 1.0), VECTOR, "a cat")]  # type: ignore[arg-type]
    with pytest.raises(MmiTvrError):
        index.append("film", "heard", Passage(0.0, 2.0, broken))
    assert hits(index, "dog") == []
    assert index.begin("film", "heard", "f") == 0.0


def test_other_rules_of_folding_make_the_index_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "texts.sqlite"
    with monkeypatch.context() as other:
        other.setattr(folding, "tokens", lambda text: [text[::-1]])
        other.setattr(folding, "fingerprint", lambda: "other")
        with TextIndex(path) as index:
            stored(index, "Zwei Hunde")
            assert hits(index, "hunde") == []
    with TextIndex(path) as index:
        assert hits(index, "hunde") == ["Zwei Hunde"]


def test_a_file_that_cannot_be_written_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "texts.sqlite"
    with TextIndex(path) as index:
        stored(index, "a dog")
    monkeypatch.setattr("mmi_tvr.fulltext.database.is_writable", lambda path: False)
    with TextIndex(path) as index:
        assert hits(index, "dog") == ["a dog"]
        with pytest.raises(LibraryReadOnly):
            index.forget("film")


def test_a_file_of_others_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "texts.sqlite"
    path.write_bytes(b"no database, but long enough to be taken for one" * 20)
    with pytest.raises(MmiTvrError, match="not usable as a file of texts"):
        TextIndex(path)


def test_a_file_that_another_process_writes_to_for_long_is_one_line(
    index: TextIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmi_tvr.utils.sqlite.BUSY_SECONDS", 0.01)
    with closing(sqlite3.connect(index.path)) as other, TextIndex(index.path) as impatient:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(MmiTvrError, match="another process has been writing to it for 0 s; try again"):
            impatient.forget("film")


def agrees(path: Path) -> bool:
    """Whether the index of words holds what the table of texts does: FTS5 compares them, and raises."""
    with closing(sqlite3.connect(path)) as database:
        try:
            database.execute("INSERT INTO word_index (word_index, rank) VALUES ('integrity-check', 1)")
        except sqlite3.DatabaseError:
            return False
        return True


def test_the_index_agrees_with_the_texts(index: TextIndex) -> None:
    stored(index, "a dog", content="one")
    stored(index, "a cat", content="two")
    assert agrees(index.path)
    index.forget("one")
    assert agrees(index.path)
    with closing(sqlite3.connect(index.path)) as database, database:
        database.execute("DROP TRIGGER moment_removed")
    index.forget("two")
    assert not agrees(index.path)


def test_shares_of_a_query_count_rare_words_more(index: TextIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(index, "the dog runs", "the cats sleep", "the umbrella", content="one")
    stored(index, "the umbrella of the dogs", content="two", channel="read")
    ids = {moment.text: moment.id for content in ("one", "two") for moment in index.texts(content)}
    for counted in (4_096, 2):  # words that so many texts have are looked up of the candidates alone
        monkeypatch.setattr("mmi_tvr.fulltext.shares._COUNTED", counted)
        shares = WordShares(index)
        dog, cat, umbrella, both = shares.shares("the umbrella, dog", [*ids.values()]).tolist()
        assert both == pytest.approx(1)
        assert dog == pytest.approx(umbrella)
        assert 0 < cat < dog < 1
        assert shares.shares("zebra", [*ids.values()]).tolist() == [0, 0, 0, 0]
        assert shares.shares("dog", []).tolist() == shares.shares("!?", []).tolist() == []
    shares = WordShares(index)
    blocks = np.array([*index.blocks("heard"), *index.blocks("read")])
    assert shares.best("umbrella, dog", 1, blocks) == [ids["the umbrella of the dogs"]]
    assert shares.best("umbrella, cats", 9, np.array([*index.blocks("read")])) == [ids["the umbrella of the dogs"]]
    assert shares.best("zebra", 9, blocks) == []
