"""Whether a search has found something, and why, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..types import Facet
from ..utils.wording import counted

MATCHES = 0.5  # how well the best hit has to match, by the law of a model's matching head
_MOST_DECIMALS = 6
_THEM = "the people of the query"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a search has found something; the `reason` is a clause without a full stop, and `nameless` the same for
    what leaves the machine, where the reason names people."""

    is_found: bool
    reason: str
    nameless: str = ""

    @property
    def public_reason(self) -> str:
        """The reason without names of people."""
        return self.nameless or self.reason


NOTHING_INDEXED = Decision(False, "nothing is indexed yet")
_NOTHING_SEARCHED = Decision(False, "there was no video to search among")


def nothing_shows(facets: Sequence[Facet]) -> Decision:
    """Return the decision where no video shows all of what the search was restricted to.

    >>> from mmi_tvr.types import FacetThreshold
    >>> facets = [Facet("action", "spins", 4, FacetThreshold()), Facet("entity", "red ring", 1, FacetThreshold())]
    >>> nothing_shows(facets).reason
    'no video counts as showing all of action=spins (4 videos), entity=red ring (1 video)'
    """
    if len(facets) == 1:
        return Decision(False, f"no video counts as showing {facets[0].level}={facets[0].name}")
    parts = [f"{facet.level}={facet.name} ({counted(facet.videos, 'video')})" for facet in facets]
    return Decision(False, f"no video counts as showing all of {', '.join(parts)}")


def nobody_is_there(counts: Mapping[str, int], videos: int, unseen: int) -> Decision:
    """Return the decision where no video shows all whom a query looks for, and nobody whom it excludes.

    Args:
        counts: In how many videos each of the people is who are looked for.
        videos: How many were looked at.
        unseen: In how many of these nobody has looked for faces.

    >>> nobody_is_there({"anna": 0}, 38, 0).reason, nobody_is_there({"anna": 3, "ben": 1}, 38, 2).reason
    ('anna is in none of these 38 files', 'no file shows all of anna (3 files), ben (1 file), and nobody who is \
excluded; in 2 of them nobody has looked for faces yet')
    >>> nobody_is_there({"anna": 0}, 38, 0).public_reason
    '1 of the people of the query is in none of these 38 files'
    """
    absent = [name for name, count in counts.items() if not count]
    if absent:
        there = f"{'is' if len(absent) == 1 else 'are'} in none of these {counted(videos, 'file')}"
        reason, nameless = f"{' and '.join(absent)} {there}", f"{len(absent):,} of the people of the query {there}"
    elif counts:
        parts = ", ".join(f"{name} ({counted(count, 'file')})" for name, count in counts.items())
        reason, nameless = (f"no file shows all of {who}, and nobody who is excluded" for who in (parts, _THEM))
    else:
        reason = nameless = "everybody is excluded"
    pending = f"; in {unseen:,} of them nobody has looked for faces yet" if unseen else ""
    return Decision(False, reason + pending, nameless + pending)


def people_are_there(counts: Mapping[str, int]) -> Decision:
    """Return the decision where a query asks for nothing but people, and videos show them.

    >>> people_are_there({"anna": 3}).reason
    'anna was recognised in 3 files'
    """
    parts = [f"{name} was recognised in {counted(count, 'file')}" for name, count in counts.items()]
    return Decision(True, ", ".join(parts), f"{_THEM} were recognised")


def decide(best: float | None, least: float | None, model: str, model_least: float, match: float | None) -> Decision:
    """Decide whether the best of all hits is good enough.

    Args:
        best: Its relevance, 0..1, by the search's own score; None where there was no video.
        least: The least relevance that the caller asks for. None, and 0, which every hit has, leave the decision to the
            model (decision): whoever looks at all hits still learns whether they are to be believed.
        model: What the user calls the model.
        model_least: The relevance from which the model's hits are to be believed.
        match: How well it matches the query, 0..1, by the model's matching head, which then decides in the place of the
            relevance; None where the model has none.
    """
    if best is None:
        return _NOTHING_SEARCHED
    if least:
        best_text, line_text = _distinct(best, least)
        return Decision(best >= least, f"the best hit has a relevance of {best_text}, and {line_text} is asked for")
    if match is None:
        best_text, line_text = _distinct(best, model_least)
        subject, is_found = f"the best hit has a relevance of {best_text}", best >= model_least
    else:
        best_text, line_text = _distinct(match, MATCHES)
        subject, is_found = f"the best hit matches the query by {best_text}", match >= MATCHES
    return Decision(is_found, f"{subject}, and {model} is to be believed from {line_text} on")


def _distinct(relevance: float, line: float) -> tuple[str, str]:
    """Return a relevance and a line with as few decimals, from two on, as show the line whole and tell the two apart.

    >>> _distinct(0.25, 0.3), _distinct(0.7, 0.999), _distinct(0.29996, 0.3)
    (('0.25', '0.30'), ('0.700', '0.999'), ('0.29996', '0.30000'))
    """
    for decimals in range(2, _MOST_DECIMALS + 1):
        rounded = round(relevance, decimals), round(line, decimals)
        if rounded[1] == line and (rounded[0] != rounded[1] or relevance == line):
            break
    return f"{relevance:.{decimals}f}", f"{line:.{decimals}f}"
