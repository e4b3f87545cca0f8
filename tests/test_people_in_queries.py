"""People in queries: handles in brackets, and what readers of text alone are told."""

from __future__ import annotations

import numpy as np
import pytest

from mmi_tvr.queries.checks import checked_query
from mmi_tvr.types import Person, Query

FACES = np.eye(1, 4, dtype=np.float32)


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("[a] waves to [b]", "Anna Berg waves to a person"),
        ("[a], [a]!", "Anna Berg, Anna Berg!"),
        ("[c] and [] and [[a]] and a", "[c] and [] and [Anna Berg] and a"),
        ("[a]在海边", "Anna Berg在海边"),
        ("[ a ]", "[ a ]"),
    ],
)
def test_names_stand_at_the_places_of_handles(text, spoken):
    query = Query(text, persons={"a": Person(FACES, "fake", "Anna Berg"), "b": Person(FACES, "fake")})
    assert query.spoken == spoken


def test_brackets_without_a_person_are_text():
    assert Query("a [red] ring").spoken == "a [red] ring"


def test_a_checked_query_keeps_everything():
    person = Person(FACES, "fake")
    checked = checked_query(Query("  [a] dances ", where={"action": "spins"}, persons={"a": person}))
    assert checked.text == "[a] dances"
    assert checked.where == {"action": frozenset({"spins"})}
    assert checked.persons["a"] is person
    assert checked_query(Query("[a] " + "x" * 100_000, persons={"a": person})).persons["a"] is person
