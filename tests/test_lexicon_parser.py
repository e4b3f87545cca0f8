"""The parser of the extra `mcsan`, against the parses that the other tests go by."""

from __future__ import annotations

from test_lexicon import PARSES

from mmi_tvr.lexicon.parsing import SpacyParser, unparsed

CHINESE = "红色的圆 向左移动"


def test_the_parser_reads_what_is_on_record() -> None:
    parser = SpacyParser()
    texts = [*list(PARSES)[:6], CHINESE, "", *list(PARSES)[6:]]
    expected = [PARSES.get(text, unparsed(text)) for text in texts]
    assert list(parser.parse(texts)) == expected
    assert len(parser.fingerprint()) == 16


def test_odd_sentences_are_parsed_too() -> None:
    odd = ["dog " * 5000, "?!", "a\u00a0dog  runs", "42", "🙂 a dog", "A DOG RUNS"]
    parsed = list(SpacyParser().parse(odd))
    assert [len(one) > 0 for one in parsed] == [True] * 6
    assert [token.text for token in parsed[2]] == ["a", "dog", "runs"]
    assert all(0 <= token.head < len(one) for one in parsed for token in one)
