"""Names of people in a sentence: in brackets, and bare, as those that somebody knows.

"[anna] dances" is always about a person; "anna dances" is where exactly one known person is called so. Decision: a bare
name is a whole one, as a word of its own, and outside quotes; in brackets a part that only one name has will do, too.
What is somebody's shows, but not them: of "anna's dog" and "安娜的狗", the name is a word. Brackets say that she is to
be seen: "[anna]'s dog". In "show me a dog", nobody is looked for.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from ..errors import UnreadableQuery
from ..utils.names import nearest_names

ME = "me"  # who asks, in brackets or bare
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|‘[^’]*’|(?<!\w)'[^']*'(?!\w)|«[^»]*»|「[^」]*」|『[^』]*』")
_GAP = re.compile(r"[\s_]+")
# Scripts that write no spaces between words: a name ends where it ends.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
# Behind a name: what is theirs follows. Not where 's is "is": before an article, a preposition or what somebody does.
_OWNS = re.compile(
    r"""['’ʼ＇]s\b(?!\s+(?:
        an?|the|not|just|only|also|here|there|about|across|against|along|among|around|at|behind|below|beneath|beside
        |between|by|down|from|in|inside|into|near|next|off|on|out|outside|over|through|under|up|with|without
        |(?!wedding|building|painting|drawing|morning|evening|clothing|ceiling|earring|string|spring|sibling|pudding
          |belonging|everything|something|nothing|anything)\w{3,}ing)\b)
    |(?<=[sxzSXZ])['’ʼ＇](?=\s+\w)|\s*[的之の]""",
    re.IGNORECASE | re.VERBOSE,
)
_REQUEST = re.compile(
    r"(?:^|\b(?:please|you|and)\b|[,.!?;:])\s*(?:show|find|fetch|get|give|bring|send|play|tell|let|help)\s+$",
    re.IGNORECASE,
)  # before "me"
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
        UnreadableQuery: brackets hold a name that nobody has, or a part that several have. Where nobody is known at
            all, brackets are text like any other.

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
        reading = _bare_names(read, known, me)
        read, names, remarks = reading.text, names | reading.names, [*remarks, *reading.remarks]
    return NamedText(read, frozenset(names), tuple(dict.fromkeys(remarks)))


def in_brackets(text: str) -> list[str]:
    """Return what a sentence has in brackets, in order.

    >>> in_brackets("[Anna]  waves to [ben berg], not []")
    ['Anna', 'ben berg']
    """
    written = (_GAP.sub(" ", brackets[1]).strip() for brackets in _BRACKETS.finditer(text))
    return [name for name in written if name]


def known_name(written: str, known: Collection[str], me: str | None = None) -> str:
    """Return the known name that somebody means: the whole of it, or a word that it alone has.

    Capital letters and underscores make no difference. UnreadableQuery where nobody, or more than one, is called so.
    """
    if me is not None and folded(written) == ME:
        return me
    exact = [name for name in known if folded(name) == folded(written)]
    partial = [name for name in known if f" {folded(written)} " in f" {folded(name)} "]
    fitting = exact or partial
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UnreadableQuery(
            f"[{written}]: which of {_listed(sorted(fitting))}? write the whole name",
            f"[{written}]: several people are called so; write the whole name",
        )
    words = {word: name for name in sorted(known) for word in folded(name).split()}
    words |= {folded(name): name for name in known}
    nearest = list(dict.fromkeys(nearest_names(folded(written), words)))
    who = f"nearest: {_listed(nearest)}" if nearest else f"known are {_listed(sorted(known))}"
    nobody, words_are = f"[{written}]: nobody is known by that name", "without brackets, words are words"
    raise UnreadableQuery(f"{nobody}; {who}; {words_are}", f"{nobody}; {words_are}")


def folded(name: str) -> str:
    """Return a name as names are compared.

    >>> folded("Lin_Manuel  Miranda")
    'lin manuel miranda'
    """
    return _GAP.sub(" ", unicodedata.normalize("NFC", name)).strip().casefold()


def _bare_names(text: str, known: Collection[str], me: str | None) -> NamedText:
    """Return a sentence with bare names in brackets, the names, and a remark on each of them."""
    opaque = _QUOTED.sub(lambda quoted: "\0" * len(quoted[0]), text)
    opaque = _BRACKETS.sub(lambda brackets: "\0" * len(brackets[0]), opaque)
    by_fold: dict[str, list[str]] = {}
    for name in known:
        by_fold.setdefault(folded(name), []).append(name)
    if me is not None:
        by_fold[ME] = [me]
    places: list[tuple[int, int, str]] = []
    remarks: dict[tuple[str, str], str] = {}  # the name, and how it is written
    for fold, names in sorted(by_fold.items(), key=lambda item: (-len(item[0]), item[0])):  # the longest first
        if len(names) > 1 or len(fold) < _LEAST:
            continue
        words = [ME] if fold == ME else _GAP.split(names[0].strip())
        for place in re.finditer(r"[\s_]+".join(map(re.escape, words)), opaque, re.IGNORECASE):
            if not _stands_alone(opaque, place.start(), place.end()):
                continue
            if word := _as_word(opaque, place, fold):
                shown = f"[{ME if fold == ME else names[0]}]"
                remarks[names[0], word] = f"{word} is read as a word; write {shown} if this person is to be seen"
            else:
                places.append((place.start(), place.end(), names[0]))
                whom = "the person" if folded(names[0]) == folded(place[0]) else names[0]
                remarks[names[0], ""] = (
                    f'{place[0]} is read as {whom}; write it in quotes ("{place[0]}") to look for the word'
                )
            opaque = opaque[: place.start()] + "\0" * len(place[0]) + opaque[place.end() :]
    pieces, last = [], 0
    for start, end, name in sorted(places):
        pieces += [text[last:start], f"[{name}]"]
        last = end
    return NamedText("".join([*pieces, text[last:]]), frozenset(name for *_, name in places), tuple(remarks.values()))


def _as_word(text: str, place: re.Match[str], fold: str) -> str:
    """Return a name as it is written where it only says whose something is; "" where it is of somebody who is seen."""
    if fold == ME:
        return place[0] if _REQUEST.search(text[: place.start()]) else ""
    owns = _OWNS.match(text, place.end())
    return f"{place[0]}{owns[0]}" if owns else ""


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
