"""Hits as people read them: lines of text."""

from __future__ import annotations

from textwrap import shorten

from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..report import (
    answer_table,
    clock_range,
    clock_time,
    key_image_times,
    level_text,
    people_text,
    time_range,
    verdict,
)
from ..search import SearchResult
from ..types import DescriptionMatch, Explanation, Hit, HitMoment
from ..utils.budget import Usage
from ..utils.printable import printable
from ..utils.wording import counted
from ._console import out, say

_SHOWN_DESCRIPTION = 90  # characters of what a video was described as
_SHOWN_TEXT = 120  # characters of what is said or written


def print_hits(result: SearchResult, explain: bool = False) -> None:
    """Print one line for each hit on stdout, with `explain` each with its explanation.

    Without a hit, print why, and name the closest video on stderr; if the best hit is not to be believed, say so there.
    """
    if not result:
        out.print(f"nothing found for {_title(result)}: {result.decision.reason}", markup=False)
        if closest := result.closest:
            place = f"{escape(str(closest.path))} {time_range(closest)}"
            say(f"closest: {place}, relevance {closest.relevance:.2f}; --min-relevance 0 shows what there is")
        return
    width = max(len(time_range(hit)) for hit in result)
    reranked = any(hit.explanation for hit in result)
    out.print(f"   {'moment':>{width}}  relevance  score  {'joint  ' if reranked else ''}file", style="dim")
    for rank, hit in enumerate(result, 1):
        joint_score = f"{_joint_score(hit):>5}  " if reranked else ""
        numbers = f"{rank:>2} {time_range(hit):>{width}}  {hit.relevance:9.2f}  {hit.score:5.3f}  {joint_score}"
        is_example = result.query.example is not None and hit.id is not None and hit.id == result.query.example.item
        itself = "  (the example itself)" if is_example else ""
        out.print(f"{numbers}{printable(hit.path)}{_file_remark(hit)}{itself}", markup=False)
        for moment in hit.moments:
            if moment.text is not None:
                out.print(f"   {_moment_line(moment)}", style="dim", markup=False)
        if len(hit.moments) > 1 and (others := [one for one in hit.moments[1:] if not one.text]):
            spans = ", ".join(clock_range(one.start, one.end) for one in others)
            out.print(f"   also at {spans}", style="dim", markup=False)
        if levels := level_text(result, hit):
            out.print(f"   {printable(levels)}", style="dim", markup=False)
        if hit.people:
            out.print(f"   {printable(people_text(hit))}", style="dim", markup=False)
        if hit.description and hit.description.words:
            out.print(f"   {_description_line(hit.description)}", style="dim", markup=False)
        if explain and hit.explanation:
            _print_explanation(hit.explanation)
    if not result.is_found:
        say(f"[yellow]not convincing[/]: {escape(result.decision.reason)}")
    certified = f", exact: {counted(result.candidates, 'video')} scored" if result.exact else ""
    say(f"[dim]{result.seconds['total'] * 1000:.0f} ms{certified}{_usage(result.usage)}[/]")


def _title(result: SearchResult) -> str:
    """Return what was looked for, the text in quotes."""
    text, example = result.query.text, result.query.example
    like = f"like {printable(example.title)}" if example else ""
    return ", ".join([*([repr(text)] if text else []), *([like] if like else [])])


def _moment_line(moment: HitMoment) -> str:
    """Return what is said or written at a moment, and when."""
    text = shorten(printable(moment.text or ""), _SHOWN_TEXT, placeholder=" ...")
    return f'{moment.found_by} {clock_time(moment.start)}: "{text}"'


def _usage(usage: Usage) -> str:
    """Return what a search spent on language models, in words; empty where that is nothing."""
    if not usage.calls and not usage.cached:
        return ""
    known = f", {counted(usage.cached, 'answer')} known before" if usage.cached else ""
    return f"; {counted(usage.calls, 'call')} of language models, {counted(usage.tokens, 'token')}{known}"


def _description_line(description: DescriptionMatch) -> str:
    """Return the beginning of what a video was described as, and the words that it has of the query."""
    text = shorten(printable(description.text), _SHOWN_DESCRIPTION, placeholder=" ...")
    return f"said of it: {text} (words: {', '.join(map(printable, description.words))})"


def _file_remark(hit: Hit) -> str:
    """Return what stands behind the path of a hit: whether its file is missing, its copies, and what belongs to it."""
    remarks = ["missing"] if hit.is_missing else []
    if hit.similar:
        remarks.append(f"+{counted(len(hit.similar), 'near-duplicate')}")
    if hit.copies:
        missing = sum(path in hit.missing for path in hit.copies)
        remarks.append(f"+{counted(len(hit.copies), 'copy', 'copies')}" + (f", {missing} missing" if missing else ""))
    remarks += [f"with {printable(path.name)}" for path in hit.companions]
    return f"  ({'; '.join(remarks)})" if remarks else ""


def _joint_score(hit: Hit) -> str:
    score = hit.explanation.joint_score if hit.explanation else None
    return "-" if score is None else f"{score:.3f}"


def _print_explanation(explanation: Explanation) -> None:
    """Print the verdict, both skeletons side by side, and when the key images are."""
    titles, rows = answer_table(explanation)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))  # not markup: answers are data
    seconds = ", ".join(f"{time:.1f}" for time in key_image_times(explanation))
    out.print(f"   {verdict(explanation)}", markup=False)
    if rows:
        out.print(Padding(table, (0, 0, 0, 3)), soft_wrap=False)
    if seconds:
        out.print(f"   key images at {seconds} s", style="dim")
