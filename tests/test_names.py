"""Names of people in sentences: in brackets, and bare; what is excluded of people."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmi_tvr.errors import UsageError
from mmi_tvr.queries import names_people_only, prepare, read_names
from mmi_tvr.queries.names import known_name
from mmi_tvr.types import Person, Query

KNOWN = ("anna", "Ben", "安娜", "Ольга", "lin_manuel_miranda", "Anna Berg", "राम", "Zoë", "田中")
FACES = np.zeros((0, 4), np.float32)


def query(text: str, *names: str) -> Query:
    return Query(text, persons={name: Person(FACES, "maker", name) for name in names})


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("anna dances", "[anna] dances"),
        ("ANNA and BEN", "[anna] and [Ben]"),
        ("anna berg dances with anna", "[Anna Berg] dances with [anna]"),
        ("Lin Manuel Miranda sings", "[lin_manuel_miranda] sings"),
        ("[lin] sings", "[lin_manuel_miranda] sings"),
        ("[ Anna  berg ] sings", "[Anna Berg] sings"),
        ("annabel, joanna and anna-lena", "annabel, joanna and anna-lena"),
        ('"anna" dances', '"anna" dances'),
        ("‘ben’ is a word", "‘ben’ is a word"),
        ("[anna]'s dog", "[anna]'s dog"),
        ("安娜在海边", "[安娜]在海边"),
        ("我和田中在海边", "我和[田中]在海边"),
        ("Ольга танцует", "[Ольга] танцует"),
        ("Ольгана танцует", "Ольгана танцует"),
        ("राम नाच", "[राम] नाच"),
        ("रामा नाच", "रामा नाच"),  # a vowel sign is a part of the word
        ("ZOË swims", "[Zoë] swims"),
        ("Zoe\u0308 swims", "[Zoë] swims"),
        ("me at the beach", "me at the beach"),
        ("[] and [ ]", "[] and [ ]"),
    ],
)
def test_names_that_are_known_stand_in_brackets(text: str, read: str) -> None:
    assert read_names(Query(text).text, KNOWN).text == read


@pytest.mark.parametrize(
    "text",
    [
        "anna's dog",
        "ANNA’s dog and a cat",
        "a beach without anna's dog",
        "anna berg's wedding",
        "the painting of ben's",
        "安娜的狗",
        "安娜 的狗",
        "田中の犬",
        "a ring, zoë's",
    ],
)
def test_of_what_is_somebodys_the_name_is_a_word_and_that_is_said(text: str) -> None:
    reading = read_names(text, KNOWN)
    assert (reading.text, reading.names) == (text, frozenset())
    (remark,) = reading.remarks
    assert "is read as a word; write [" in remark


def test_names_that_end_in_s_own_things_too() -> None:
    assert read_names("hans' dog", ["Hans"]).names == frozenset()
    assert read_names("the word 'dog' and hans", ["Hans"]).names == {"Hans"}
    assert read_names("hans' ", ["Hans"]).names == {"Hans"}


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("anna's dancing in the rain", "[anna]'s dancing in the rain"),
        ("anna's at the beach", "[anna]'s at the beach"),
        ("anna’s the one with ben's hat", "[anna]’s the one with ben's hat"),
        ("anna waves to anna's dog", "[anna] waves to anna's dog"),
        ("安娜和田中的狗", "[安娜]和田中的狗"),
    ],
)
def test_whoever_does_something_is_seen(text: str, read: str) -> None:
    assert read_names(text, KNOWN).text == read


@pytest.mark.parametrize("text", ["show me a dog", "Please find me a dog", "can you get me the video of a dog"])
def test_a_request_looks_for_nobody(text: str) -> None:
    for known, me in (((*KNOWN, "me"), None), (KNOWN, "anna")):
        reading = read_names(text, known, me)
        assert (reading.text, reading.names) == (text, frozenset())
        assert reading.remarks == ("me is read as a word; write [me] if this person is to be seen",)
    assert read_names("ben shows me a dog", KNOWN, "anna").text == "[Ben] shows [anna] a dog"


def test_what_was_read_without_being_written_so_is_said() -> None:
    reading = read_names("[lin] and Ben", KNOWN)
    assert reading.names == {"lin_manuel_miranda", "Ben"}
    assert reading.remarks == (
        "[lin] is read as lin_manuel_miranda",
        'Ben is read as the person; write it in quotes ("Ben") to look for the word',
    )
    assert read_names("[anna]", KNOWN).remarks == ()
    assert read_names("anna", KNOWN, bare=False) == read_names("anna", ())


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("anne", r"\[anne\]: nobody is known by that name; nearest: anna"),
        ("xyz", r"nobody is known by that name; known are Anna Berg, Ben, .* and others"),
        ("Berg Anna", "nobody"),
    ],
)
def test_an_unknown_name_in_brackets_is_one_line_with_the_nearest(written: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        read_names(f"[{written}] dances", KNOWN)


def test_a_part_that_several_have_is_a_question() -> None:
    with pytest.raises(UsageError, match=r"\[anna\]: which of anna berg, anna klein\?"):
        known_name("anna", ["anna klein", "anna berg"])
    assert read_names("anna dances", ["anna klein", "anna berg"]).names == frozenset()
    assert read_names("anna b", ["anna b", "Anna_B"]).names == frozenset()  # two people are called so


def test_where_nobody_is_known_brackets_are_text() -> None:
    assert read_names("a [red] ring", ()).text == "a [red] ring"


def test_me_is_who_asks() -> None:
    assert read_names("Me at the beach", KNOWN, me="anna").text == "[anna] at the beach"
    assert read_names("[me] and some", KNOWN, me="anna").text == "[anna] and some"
    assert read_names("me at the beach", (*KNOWN, "me")).text == "[me] at the beach"
    with pytest.raises(UsageError, match="nobody is known"):
        read_names("[me]", KNOWN)


NAMES = st.text(
    st.characters(categories=["Lu", "Ll", "Lo"], exclude_characters="\u0345"), min_size=2, max_size=6
).filter(lambda name: Query(name).text == name)


@given(NAMES, NAMES, st.sampled_from(["{} waves to {}", "{}, {}", "{} without {}"]))
def test_brackets_survive_names_of_any_script(name: str, other: str, template: str) -> None:
    text = template.format(f"[{name}]", f"[{other}]")
    if name.casefold() == other.casefold():
        return
    reading = read_names(text, [name, other])
    assert (reading.text, reading.names) == (text, {name, other})
    prepared = prepare(query(text, name, other))
    assert set(prepared.positive.persons) | set(prepared.absent) == {name, other}
    assert prepared.absent == ((other,) if "without" in template else ())


@given(NAMES, st.sampled_from(["", "the ", "with "]))
def test_a_bare_name_is_a_word_of_its_own(name: str, before: str) -> None:
    assert f"[{name}]" in read_names(f"{before}{name} there", [name]).text
    assert read_names(f'{before}"{name}" there', [name]).names == frozenset()


@pytest.mark.parametrize(
    ("text", "positive", "excluded", "absent"),
    [
        ("[a] without [b]", "[a]", (), ("b",)),
        ("[a] dances, but not [b]", "[a] dances", (), ("b",)),
        ("[a] with neither [b] nor [c]", "[a]", (), ("b", "c")),
        ("[a] without [b] and [c]", "[a]", (), ("b", "c")),
        ("[a] not with [b]", "[a]", (), ("b",)),
        ("[a] without a hat", "[a]", ("a hat",), ()),
        ("a beach without [b] in the rain", "a beach in the rain", (), ("b",)),
        ("a dog without people or [b]", "a dog", ("people",), ("b",)),
        ("[a] is not dancing", "[a] is not dancing", (), ()),
        ("[a]没有[b]", "[a]", (), ("b",)),
        ("没有[b]的海滩", "海滩", (), ("b",)),
        ("[red] ring without [b]", "[red] ring", (), ("b",)),
    ],
)
def test_people_who_are_excluded_are_absent(
    text: str, positive: str, excluded: tuple[str, ...], absent: tuple[str, ...]
) -> None:
    prepared = prepare(query(text, "a", "b", "c"))
    assert (prepared.positive.text, prepared.excluded, prepared.absent) == (positive, excluded, absent)
    assert prepared.without == (*excluded, *absent)
    assert not set(absent) & prepared.positive.persons.keys()


def test_people_beside_the_text_stay_and_literal_queries_exclude_nobody() -> None:
    assert set(prepare(query("a beach without [b]", "a", "b")).positive.persons) == {"a"}
    literal = prepare(query("[a] without [b]", "a", "b"), literal=True)
    assert (literal.absent, set(literal.positive.persons)) == ((), {"a", "b"})


@pytest.mark.parametrize("text", ["without [b]", "no [b]", "没有[b]"])
def test_a_query_that_only_excludes_somebody_says_what_to_do(text: str) -> None:
    with pytest.raises(UsageError, match="say what is"):
        prepare(query(text, "b"))


def test_an_excluded_part_that_says_more_of_somebody_is_text() -> None:
    prepared = prepare(query("a street without [b]'s dog", "b"))
    assert prepared.excluded == ("[b]'s dog",)
    assert prepared.without == ("b's dog",)


@pytest.mark.parametrize(
    ("text", "alone"),
    [("[a]", True), ("[a] and [b]!", True), ("[a]、[b]", True), ("[a] dances", False), ("a dog", False)],
)
def test_queries_for_nothing_but_people_are_known(text: str, alone: bool) -> None:
    assert names_people_only(query(text, "a", "b")) == alone


def test_language_models_get_no_names() -> None:
    assert query("[a] waves", "a").without_names().spoken == "a person waves"
