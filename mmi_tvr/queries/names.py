"""Names of people in a sentence: in brackets, and bare, as those that somebody knows.

"[anna] dances" is always about a person; "anna dances" is where exactly one known person is called so. Decision: a bare
name is a whole one, as a word of its own, and outside quotes; in brackets a part that only one name has will do, too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..errors import UsageError
from ..utils.names import nearest_names

ME = "me"  # who asks, in brackets or bare
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|‘[^’]*’|(?<!\w)'[^']*'(?!\w)|«[^»]*»|「[^」]*」|『[^』]*』")
_GAP = re.compile(r"[\s_]+")
# Scripts that write no spaces between words: a name ends where it ends.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
_LEAST = 2  # characters of a name that is recognised without brackets
_LISTED = 5  # names that an error lists


@dataclass(frozen=True, slots=True)
class NamedText:
    """A sentence with the `names` of the people in it in brackets, as they are known; `remarks` say what was read so
    without being written so."""

    text: str
    names: frozenset[str] = frozenset()
    remarks: tuple[str, ...] = ()


def read_names(text: str, known: Collection[str], me: str | None = None, bare: bool = True) -> NamedText:
    """Return a sentence with the known people that it names.

    Args:
        text: the sentence.
        known: names, none of which holds a bracket.
        me: the name of who asks; None: who is called "me", if somebody is.
        bare: whether names count outside brackets, too.

    Raises:
        UsageError: brackets hold a name that nobody has, or a part that several have. Where nobody is known at all,
            brackets are text like any other.

    >>> read_names("[Anna] waves to ben", ["anna", "ben"]).text
    '[anna] waves to [ben]'
    """
    if not known:
        return NamedText(text)
    names, remarks, pieces, last = set(), [], [], 0
    for brackets in _BRACKETS.finditer(text):
        written = _GAP.sub(" ", brackets[1]).strip()
        if not written:
            continue
        name = known_name(written, known, me)
        if folded(name) != folded(written):
            remarks.append(f"[{written}] is read as {name}")
        names.add(name)
        pieces += [text[last : brackets.start()], f"[{name}]"]
        last = brackets.end()
    read = "".join([*pieces, text[last:]])
    if bare:
        read, further = _bare_names(read, known, me)
        names |= further.keys()
        remarks += further.values()
    return NamedText(read, frozenset(names), tuple(dict.fromkeys(remarks)))


def known_name(written: str, known: Collection[str], me: str | None = None) -> str:
    """Return the known name that somebody means: the whole of it, or a word that it alone has.

    Capital letters and underscores make no difference. UsageError where nobody, or more than one, is called so.
    """
    if me is not None and folded(written) == ME:
        return me
    exact = [name for name in known if folded(name) == folded(written)]
    partial = [name for name in known if f" {folded(written)} " in f" {folded(name)} "]
    fitting = exact or partial
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UsageError(f"[{written}]: which of {_listed(sorted(fitting))}? write the whole name")
    words = {word: name for name in sorted(known) for word in folded(name).split()}
    words |= {folded(name): name for name in known}
    nearest = list(dict.fromkeys(nearest_names(folded(written), words)))
    who = f"nearest: {_listed(nearest)}" if nearest else f"known are {_listed(sorted(known))}"
    raise UsageError(f"[{written}]: nobody is known by that name; {who}; without brackets, words are words")


def folded(name: str) -> str:
    """Return a name as names are compared.

    >>> folded("Lin_Manuel  Miranda")
    'lin manuel miranda'
    """
    return _GAP.sub(" ", unicodedata.normalize("NFC", name)).strip().casefold()


def _bare_names(text: str, known: Collection[str], me: str | None) -> tuple[str, Mapping[str, str]]:
    """Return a sentence with bare names in brackets, and for each name a remark that says so."""
    opaque = _QUOTED.sub(lambda quoted: "\0" * len(quoted[0]), text)
    opaque = _BRACKETS.sub(lambda brackets: "\0" * len(brackets[0]), opaque)
    by_fold: dict[str, list[str]] = {}
    for name in known:
        by_fold.setdefault(folded(name), []).append(name)
    if me is not None:
        by_fold[ME] = [me]
    places: list[tuple[int, int, str, str]] = []
    for fold, names in sorted(by_fold.items(), key=lambda item: (-len(item[0]), item[0])):  # the longest first
        if len(names) > 1 or len(fold) < _LEAST:
            continue
        words = [ME] if fold == ME else _GAP.split(names[0].strip())
        for place in re.finditer(r"[\s_]+".join(map(re.escape, words)), opaque, re.IGNORECASE):
            if _stands_alone(opaque, place.start(), place.end()):
                places.append((place.start(), place.end(), names[0], place[0]))
                opaque = opaque[: place.start()] + "\0" * len(place[0]) + opaque[place.end() :]
    pieces, last, remarks = [], 0, {}
    for start, end, name, written in sorted(places):
        pieces += [text[last:start], f"[{name}]"]
        last = end
        whom = "the person" if folded(name) == folded(written) else name
        remarks[name] = f'{written} is read as {whom}; write it in quotes ("{written}") to look for the word'
    return "".join([*pieces, text[last:]]), remarks


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Return whether a stretch of a text is a word of its own, or in a script that writes no spaces."""
    before, after = text[start - 1 : start], text[end : end + 1]
    begins = _is_unspaced(text[start]) or not _goes_on(before)
    ends = _is_unspaced(text[end - 1]) or not _goes_on(after)
    return begins and ends


def _goes_on(character: str) -> bool:
    """Return whether a character belongs to the word beside it: a letter, a mark on one, a digit, or what joins two."""
    if not character or _is_unspaced(character):
        return False
    return character in "-‐‑_" or unicodedata.category(character)[0] in "LMN"


def _is_unspaced(character: str) -> bool:
    return not character.isascii() and unicodedata.name(character, "").startswith(_UNSPACED)


def _listed(names: Collection[str]) -> str:
    shown = [*names][:_LISTED]
    return ", ".join(shown) + (" and others" if len(names) > len(shown) else "")
