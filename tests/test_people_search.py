"""Searches for people: restricted to where they were recognised, at a time at which they are in the picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from fakes import ClippedScore, FakeModel

from mmi_tvr.errors import UsageError
from mmi_tvr.index import open_index
from mmi_tvr.scoring.appearances import locate_seen, merged, stretches
from mmi_tvr.scoring.personal import personal_law
from mmi_tvr.scoring.relevance import GumbelLaw
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.search import ResultOptions, Searcher, VideoEntry, calibration_of
from mmi_tvr.types import Appearance, Embeddings, Explanation, Features, Person, Query, ScoreLaw, Scoring, row_ids

COLOURS = ("red", "green", "blue", "white", "black")
SEGMENTS = np.array([[0.0, 4.0, 2.0], [4.0, 8.0, 6.0]])
SEEN: dict[str, dict[int, list[tuple[float, float]]]] = {
    "anna": {1: [(0.0, 1.0)], 2: [(5.0, 7.0)], 4: [(0.0, 8.0)]},
    "ben": {2: [(6.0, 8.0)], 3: [(0.0, 2.0)]},
    "carl": {},
}


class FakeAppearances:
    """Who is where, by SEEN; of one video nothing is known."""

    def appearances(self, person: Person) -> Mapping[int, Sequence[Appearance]]:
        if person.maker != "maker":
            raise UsageError("faces of another encoder")
        return {
            number: [Appearance(person.name, start, end, 0.5 + number / 10) for start, end in times]
            for number, times in SEEN[person.name].items()
        }

    def people(self, numbers: Iterable[int]) -> Mapping[int, Sequence[Appearance]]:
        everybody = {name: self.appearances(Person(np.zeros((0, 4), np.float32), "maker", name)) for name in SEEN}
        return {number: [one for seen in everybody.values() for one in seen.get(number, ())] for number in numbers}

    def unseen(self) -> int:
        return 1


class FaceReader(FakeModel):
    """A model that says that it reads faces itself."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = frozenset({"text", "persons"})


def of(text: str, *names: str, maker: str = "maker") -> Query:
    return Query(text, persons={name: Person(np.zeros((0, 4), np.float32), maker, name) for name in names})


def searcher_of(tmp_path: Path, model: FakeModel, known: bool = True, own_law: bool = False) -> Searcher:
    """Five videos, 1 to 5, of one colour each in the first half, and grey in the second."""
    index = open_index("flat", path=tmp_path, dim=4, fingerprint="f")
    for number, colour in enumerate(COLOURS, start=1):
        vectors = model.embed_queries([Query(colour), Query("nothing of that")])
        index.upsert(row_ids(number, 2), np.vstack([vectors[:1], vectors]))
    index.flush()
    lookup = lambda numbers: {n: VideoEntry((Path(f"{COLOURS[n - 1]}.mp4"),), SEGMENTS) for n in numbers}  # noqa: E731
    calibration = calibration_of(model, index) if own_law else ClippedScore()
    return Searcher(model, index, lookup, calibration, appearances=FakeAppearances() if known else None)


@pytest.fixture
def searcher(tmp_path: Path) -> Searcher:
    return searcher_of(tmp_path, FakeModel())


def names(searcher: Searcher, query: Query, **options: bool) -> list[str]:
    return [hit.path.stem for hit in searcher.search(query, top=9, min_relevance=0, **options)]


def test_text_is_looked_for_where_people_were_recognised(searcher: Searcher) -> None:
    assert names(searcher, of("green with [anna]", "anna"))[0] == "green"
    assert set(names(searcher, of("green with [anna]", "anna"))) == {"red", "green", "white"}
    assert names(searcher, of("white with [anna] and [ben]", "anna", "ben")) == ["green"]
    assert set(names(searcher, of("green but not [ben]", "ben"))) == {"red", "white", "black"}
    assert set(names(searcher, of("green with [anna] without [ben]", "anna", "ben"))) == {"red", "white"}
    assert names(searcher, of("green", "ben")) == ["green", "blue"]  # somebody who does not stand in the text
    assert names(searcher, Query("green"))[0] == "green"


def test_a_search_in_some_videos_is_restricted_further(searcher: Searcher) -> None:
    found_in = searcher.search(of("green [anna]", "anna"), videos=frozenset({1, 3}), min_relevance=0)
    assert [hit.path.stem for hit in found_in] == ["red"]
    nowhere = searcher.search(of("green [anna]", "anna"), videos=frozenset({3}), min_relevance=0)
    assert not nowhere


def test_queries_of_a_list_are_restricted_by_themselves(searcher: Searcher) -> None:
    results = searcher.search_all([of("[anna] red", "anna"), Query("red"), of("[ben] red", "ben")], ResultOptions(9, 0))
    assert [len(result) for result in results] == [3, 5, 2]
    assert [dict(result.people) for result in results] == [{"anna": 3}, {}, {"ben": 2}]


def test_people_of_hits_are_told_with_those_of_the_query_first(searcher: Searcher) -> None:
    (hit,) = searcher.search(of("green [ben] [anna]", "anna", "ben"), min_relevance=0)
    assert [(one.name, one.start, one.end, one.confidence) for one in hit.people] == [
        ("anna", 5.0, 7.0, 0.7),
        ("ben", 6.0, 8.0, 0.7),
    ]
    (first, *_) = searcher.search(Query("blue"), min_relevance=0)
    assert [one.name for one in first.people] == ["ben"]
    assert first.people[0].as_dict() == {"name": "ben", "from": 0.0, "to": 2.0, "confidence": 0.8}


def test_the_moment_is_one_with_the_people_in_the_picture(searcher: Searcher) -> None:
    plain = searcher.search(Query("green"), top=1, min_relevance=0)[0]
    with_anna = searcher.search(of("green [anna]", "anna"), top=1, min_relevance=0)[0]
    both = searcher.search(of("green [anna] [ben]", "anna", "ben"), top=1, min_relevance=0)[0]
    assert (plain.start, plain.end) == (0.0, 4.0)
    assert (with_anna.start, with_anna.end, with_anna.time) == (4.0, 8.0, 6.0)
    assert (both.start, both.end, both.time) == (4.0, 8.0, 6.0)


def test_somebody_who_is_nowhere_is_an_answer(searcher: Searcher) -> None:
    result = searcher.search(of("green [carl]", "carl"))
    assert not result
    assert not result.is_found
    assert result.decision.reason == ("carl is in none of these 5 files; in 1 of them nobody has looked for faces yet")
    assert dict(result.people) == {"carl": 0}
    together = searcher.search(of("[anna] and [ben] dance without [ben]", "anna", "ben"))
    assert together.decision.reason.startswith("no file shows all of anna (3 files), ben (2 files), and nobody who")
    excluded = searcher.search(of("red without [anna]", "anna"), videos=frozenset({1}))
    assert excluded.decision.reason.startswith("everybody is excluded")


def test_nothing_but_people_is_answered_by_how_long_they_are_there(searcher: Searcher) -> None:
    result = searcher.search(of("[anna]", "anna"))
    assert [hit.path.stem for hit in result] == ["white", "green", "red"]
    assert [hit.relevance for hit in result] == pytest.approx([0.9, 0.7, 0.6])
    assert result.decision.reason == "anna was recognised in 3 files"
    assert result.is_found
    assert [hit.path.stem for hit in searcher.search(of("[anna]", "anna"), min_relevance=0.65)] == ["white", "green"]
    assert [hit.path.stem for hit in searcher.search(of("[anna] and [ben]", "anna", "ben"))] == ["green"]


def test_without_appearances_somebody_cannot_be_looked_for(tmp_path: Path) -> None:
    searcher = searcher_of(tmp_path, FakeModel(), known=False)
    for query in (of("[anna] red", "anna"), of("red without [anna]", "anna")):
        with pytest.raises(UsageError, match="fake sees no faces, and nobody has looked for people"):
            searcher.search(query)
    assert names(searcher, Query("red"))[0] == "red"


def test_a_model_that_reads_faces_searches_everything_unless_it_is_to_go_by_appearances(tmp_path: Path) -> None:
    searcher = searcher_of(tmp_path / "known", FaceReader())
    query = of("blue [anna]", "anna")
    assert names(searcher, query)[0] == "blue"
    assert set(names(searcher, query, only=True)) == {"red", "green", "white"}
    assert "green" not in names(searcher, of("blue [anna] without [ben]", "anna", "ben"))
    assert len(names(searcher_of(tmp_path / "unknown", FaceReader(), known=False), query)) == 5


def test_a_model_that_reads_faces_of_another_encoder_gets_names_and_goes_by_sight(tmp_path: Path) -> None:
    class Described:
        def fingerprint(self) -> str:
            return "another maker"

    class OtherReader(FaceReader):
        def __init__(self) -> None:
            super().__init__()
            self.read: list[Query] = []

        def face_encoder(self):
            return Described()

        def embed_queries(self, queries):
            self.read += queries
            return super().embed_queries(queries)

    model = OtherReader()
    searcher = searcher_of(tmp_path, model)
    model.read.clear()
    query = Query("blue [anna]", persons={"anna": Person(np.eye(1, 4, dtype=np.float32), "maker", "anna")})
    result = searcher.search(query, top=9, min_relevance=0)
    assert {hit.path.stem for hit in result} == {"red", "green", "white"}
    assert all(not len(one.persons["anna"].faces) for one in model.read)
    assert "reads faces of another encoder" in result.remarks[0]
    assert len(result.query.persons["anna"].faces) == 1
    assert searcher_of(tmp_path / "own", FaceReader()).search(query, min_relevance=0).remarks == ()


def test_a_reranker_gets_no_names(searcher: Searcher) -> None:
    asked_for = []

    class Listener:
        depth, seconds = 3, {}

        def rerank(self, query, candidates, cosines):
            asked_for.append(query.spoken)
            return [Explanation((), (), 0.5, float(cosine), None) for cosine in cosines]

    searcher.search(of("red [anna]", "anna"), reranker=Listener(), min_relevance=0)
    assert asked_for == ["red a person"]


def test_relevance_counts_what_the_people_alone_make_of_a_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path / "cache"))

    class Dazzled(FakeModel):
        """Whoever is named makes every score larger."""

        def embed_queries(self, queries):
            vectors = super().embed_queries([Query(query.text.replace("[anna]", "")) for query in queries])
            return vectors * np.array([[1.5 if query.persons else 1.0] for query in queries], np.float32)

    model = Dazzled(scoring=Scoring())
    vectors = model.embed_queries([Query(colour) for colour in COLOURS])
    gallery = Gallery.pack([Embeddings(v / np.linalg.norm(v), v[None], SEGMENTS[:1]) for v in vectors])
    query = of("[anna] red", "anna")
    law = personal_law(model, gallery, 5, query)
    assert law == personal_law(model, gallery, 10, query) != personal_law(model, gallery, 11, query)
    scores = gallery.score(model.embed_queries([query]), model.scoring)[0]
    assert isinstance(law.law, GumbelLaw)
    assert law.shift != 0
    np.testing.assert_allclose(law.relevance(scores, vectors[0]), law.law.relevance(scores - law.shift, vectors[0]))
    searcher = searcher_of(tmp_path / "index", model, own_law=True)
    assert searcher.search(query, min_relevance=0)[0].path.stem == "red"


def test_appearances_of_a_person_that_nearly_touch_are_one() -> None:
    seen = [
        Appearance("b", 1, 2, 0.4),
        Appearance("a", 0, 2, 0.5),
        Appearance("a", 4, 5, 0.9),
        Appearance("a", 7.1, 8, 0.3),
    ]
    assert merged(seen) == [
        Appearance("a", 0, 5, 0.9),
        Appearance("b", 1, 2, 0.4),
        Appearance("a", 7.1, 8, 0.3),
    ]
    assert merged([]) == []


def test_people_are_looked_for_together_and_else_one_by_one() -> None:
    seen = [Appearance("a", 0, 4, 1), Appearance("a", 6, 9, 1), Appearance("b", 3, 7, 1), Appearance("c", 20, 21, 1)]
    assert stretches(seen, ["a"]) == [(0, 4), (6, 9)]
    assert stretches(seen, ["a", "b"]) == [(3, 4), (6, 7)]
    assert stretches(seen, ["a", "c"]) == [(0, 4), (6, 9), (20, 21)]
    assert stretches(seen, []) == []


def test_a_time_lies_in_a_stretch_wherever_the_pictures_say(searcher: Searcher) -> None:
    model = searcher.model
    vectors = model.embed_queries([Query("red"), Query("green")])
    video = model.embed_videos([Features(SEGMENTS, {"mean": np.array([[255.0, 0, 0], [0, 255, 0]])})])[0]
    for stretch in ([(0.5, 1.0)], [(4.5, 5.0)], [(3.9, 4.1)], [(0.0, 8.0)], [(7.9, 12.0)], [(1.0, 1.0)]):
        for vector in vectors:
            (span,) = locate_seen(model, vector[None], [video], [stretch])
            assert span.start <= span.time <= span.end
            assert any(start <= span.time <= end for start, end in stretch)
    (span,) = locate_seen(model, vectors[:1], [video], [[(30.0, 31.0)]])  # behind the end of the video
    assert (span.start, span.end) == (0.0, 4.0)


def test_a_law_that_was_measured_on_queries_by_a_face_takes_nothing_from_their_scores() -> None:
    model = FaceReader()
    vectors = model.embed_queries([Query(colour) for colour in COLOURS])
    gallery = Gallery.pack([Embeddings(v / np.linalg.norm(v), v[None], SEGMENTS[:1]) for v in vectors])
    person = Person(np.ones((1, 4), np.float32), "maker", "anna")
    by_face = Query("[anna] red", persons={"anna": person})
    assert personal_law(model, gallery, 5, by_face).shift != 0
    model.scoring = Scoring(score_law=ScoreLaw(0.5, 20.0))
    assert personal_law(model, gallery, 5, by_face).shift == 0
    assert personal_law(model, gallery, 5, by_face.without_faces()).shift != 0
