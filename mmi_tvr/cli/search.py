"""`search`: one sentence, and the moments of a library that it describes."""

from __future__ import annotations

import codecs
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .. import config
from ..errors import LibraryMissing, UsageError
from ..library.search_options import MAX_MORE
from ..queries import Expansion, parse_where
from ..report import facet_text, search_page, time_range
from ..search import Coverage, SearchResult
from ..skeletons.expansion import MAX_WORDINGS
from ..utils import files
from ..utils.printable import decoded, printable
from ..utils.wording import counted, library_option
from ._console import (
    MIN_SCORE_NOTICE,
    NOTHING_INDEXED,
    ConfigOption,
    ForceOption,
    JsonOption,
    LibraryOption,
    MinScoreOption,
    SetOption,
    WhereOption,
    fail,
    print_json,
    say,
    stderr_is_terminal,
)
from ._filters import (
    InOption,
    KindOption,
    LongerOption,
    NotOption,
    PlaceOption,
    ShorterOption,
    SinceOption,
    UntilOption,
    filter_keywords,
)
from ._hit_export import PATHS, ExportOption, check_export, write_export
from ._hits import print_hits
from ._last_search import remember
from ._libraries import open_library
from ._pools import say_unread_pools
from ._terminal import current_terminal, working_folder

_MAX_STDIN = 1 << 20  # bytes of a query
_SHOWN_END = 30  # characters of a long query, where its reading ended


TextArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TEXT",
        help="what happens in the video you look for, in quotes, people in [brackets]; - reads standard input",
    ),
]
MinRelevanceOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="drop hits of smaller relevance (0..1; 0: none); default: say so if even the best is not convincing",
    ),
]
RerankOption = Annotated[
    bool | None,
    typer.Option(
        "--rerank/--no-rerank", help="order the best by what they and TEXT answer; default: as the library says"
    ),
]
LiteralOption = Annotated[
    bool | None,
    typer.Option("--literal/--no-literal", help="look for all that TEXT names, also what it excludes; default: no"),
]
ExpandOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MAX_WORDINGS,
        help="search by so many paraphrases of TEXT, too, and by a translation, which a language model writes",
    ),
]
ExactOption = Annotated[
    bool, typer.Option("--exact", help="go on until no other video can be among them, also past an index's graph")
]
LevelsOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=X", help="let a level of the model (a block) count X times as much; may be repeated"),
]
LikeOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE[@SECONDS]",
        help="look for what is like a picture, a video, or the moment of one (@75, @1:15); TEXT may say more",
    ),
]
MoreOption = Annotated[
    int, typer.Option(min=1, max=MAX_MORE, metavar="N", help="at most so many moments of each file, the best first")
]
UnfoldOption = Annotated[
    bool, typer.Option("--unfold", help="show each near-duplicate that mmi-tvr duplicates lists as a hit of its own")
]
PersonOption = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="somebody who is to be in the video; may be repeated")
]
OnlyOption = Annotated[
    bool, typer.Option("--only", help="only where people were recognised, also with a model that reads faces")
]


@dataclass(frozen=True, slots=True)
class _Outputs:
    """Where the result of a search goes: on stdout, and into files that --html and --export name."""

    html: Path | None
    export: str | None
    force: bool
    as_json: bool

    def check(self) -> None:
        """Raise UsageError or MissingExtra where something could not be written."""
        if self.html:
            files.check_output(self.html, files.PAGE_MARK, self.force)
        check_export(self.export, self.force, self.as_json)

    def write(self, result: SearchResult, explain: bool) -> None:
        """Write a result, and print it, unless it is on stdout then. Raises Exit where nothing is indexed yet."""
        write_export(result, self.export, self.force)
        if self.html:
            files.write_output(self.html, search_page(result).encode(), files.PAGE_MARK, self.force)
            say(f"page: {escape(str(self.html))}")
        if self.as_json:
            print_json(result.as_dict())
        elif result.coverage.searched and self.export != PATHS:
            print_hits(result, explain)
        if not result.coverage.searched:
            raise typer.Exit(NOTHING_INDEXED)


def register(app: typer.Typer) -> None:
    app.command()(search)


def search(
    text: TextArgument = None,
    *,
    library: LibraryOption,
    like: LikeOption = None,
    without: NotOption = None,
    top: Annotated[int, typer.Option(min=1, help="at most so many videos")] = 5,
    more: MoreOption = 1,
    unfold: UnfoldOption = False,
    min_relevance: MinRelevanceOption = None,
    min_score: MinScoreOption = None,
    rerank: RerankOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="show these answers (re-ranks)")] = False,
    literal: LiteralOption = None,
    expand: ExpandOption = None,
    exact: ExactOption = False,
    levels: LevelsOption = None,
    where: WhereOption = None,
    kind: KindOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    folder: InOption = None,
    longer: LongerOption = None,
    shorter: ShorterOption = None,
    place: PlaceOption = None,
    person: PersonOption = None,
    me: Annotated[str | None, typer.Option(metavar="NAME", help='who "me" is in TEXT')] = None,
    only: OnlyOption = False,
    html: Annotated[Path | None, typer.Option(help="write the hits as one self-contained page")] = None,
    export: ExportOption = None,
    force: ForceOption = False,
    settings: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the moment that TEXT describes, or that is like an example.

    Exit code 0: hits, or nothing found; 3: nothing is indexed yet, or there is no library; 2: wrong use; 1: failed.
    """
    persons = [decoded(name) for name in person or ()]
    query = "" if like is not None and not text and not persons else _one_text(text or [], persons)
    if explain and rerank is False:
        raise UsageError("--explain shows what --rerank found; leave out --no-rerank")
    if min_score is not None:
        say(MIN_SCORE_NOTICE)
        min_relevance = min_score if min_relevance is None else min_relevance
    outputs = _Outputs(html, export, force, as_json)
    outputs.check()
    if rerank or explain:
        say_unread_pools(library)
    try:
        with open_library(library, config.load(settings, set_ or ())) as opened:
            result = opened.search(
                query,
                top,
                min_relevance,
                rerank=explain or rerank,
                literal=literal,
                expand=expand,
                exact=exact,
                levels=_level_factors(levels or ()),
                where=parse_where(map(decoded, where or ())),
                persons=persons,
                me=None if me is None else decoded(me),
                only=only,
                like=None if like is None else _from_here(decoded(like)),
                without=[decoded(one) for one in without or ()],
                more=more,
                fold=not unfold,
                preview=None if as_json else _say_first,
                **filter_keywords(kind, since, until, folder, longer, shorter, place),
            )
    except LibraryMissing as error:
        fail(str(error), NOTHING_INDEXED)
    remember(library, result)
    _say_remarks(result, exact, library)
    outputs.write(result, explain)


def _from_here(path: str) -> str:
    """Return a path as it is from the folder in which the person stands."""
    return str(working_folder() / Path(os.path.expanduser(path)))


def _one_text(words: Sequence[str], persons: Sequence[str]) -> str:
    """Return the query; a shell makes several words of one without quotes. - stands for standard input.

    Without a text, the people are all that is looked for.
    """
    if not words:
        if not persons:
            raise UsageError('what is to be in the video? mmi-tvr search "a dog catches a ball", or --person NAME')
        return " ".join(f"[{name}]" for name in persons)
    if len(words) > 1:
        raise UsageError(f'put the text in quotes: mmi-tvr search "{" ".join(words)}"')
    return _query_from_stdin() if words[0] == "-" else decoded(words[0])


def _level_factors(texts: Sequence[str]) -> dict[str, float]:
    """Return name -> factor of NAME=X. Several may stand in one text, with commas."""
    factors: dict[str, float] = {}
    for text in ",".join(texts).split(",") if texts else ():
        name, equals, number = text.strip().partition("=")
        try:
            if not equals or not name or name in factors:
                raise ValueError
            factors[name] = float(number)
        except ValueError as error:
            raise UsageError(f"--levels takes NAME=X, such as relation=2, once a name; not {text!r}") from error
    return factors


def _query_from_stdin() -> str:
    """Return standard input as one query (decision: its lines are one text; many queries are for `batch search`)."""
    try:
        client = current_terminal()
        stdin = sys.stdin.buffer if client is None else client.stdin
        start = stdin.read(_MAX_STDIN)
        decoder = codecs.getincrementaldecoder("utf-8-sig")()  # forgives a character that the end of `start` cuts
        return " ".join(decoder.decode(start, final=len(start) < _MAX_STDIN).split())
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input is not text in UTF-8 ({error.reason} at byte {error.start})") from error


def _say_remarks(result: SearchResult, exact: bool, library: Path) -> None:
    """Say what a reader of the hits should know: how the query was read, and what could not be done."""
    say_read(result)
    if result.filters and result.among:
        parts = ", ".join(f"{name} {text}" for name, text in result.filters.items())
        say(escape(printable(f"only {parts}: {counted(result.among, 'item')}")))
    for facet in result.facets:
        say(escape(f"only {facet_text(facet)}"))
    for name, videos in result.people.items():
        say(escape(f"{printable(name)} was recognised in {counted(videos, 'file')}"))
    _say_excluded(result, exact)
    if result.expansion:
        _say_expansion(result.expansion)
    _say_unranked(result)
    _say_coverage(result.coverage, library)


def say_read(result: SearchResult) -> None:
    """Say how much of the query was read, where it was not all of it."""
    if result.characters_read is not None:
        end = result.query.text[: result.characters_read][-_SHOWN_END:]
        say(
            f"[yellow]only the first {result.characters_read:,} characters of the query were read[/], up to "
            f"{escape(repr(end))}; a sentence or two is what the model was made for"
        )
    for remark in result.remarks:
        say(f"[yellow]note[/]: {escape(printable(remark))}")


def _say_excluded(result: SearchResult, exact: bool) -> None:
    """Say what the query excludes, and, where it was to be exact, that this keeps it from being certified."""
    if result.without:
        is_of_sentence = any(text in result.query.text for text in result.without)
        advice = " (--literal looks for it, too)" if is_of_sentence else ""
        say(escape(f"without: {', '.join(map(printable, result.without))}{advice}"))
        if exact:
            say("not certified: what a query excludes changes the order; --literal --exact certifies it as it stands")


def _say_unranked(result: SearchResult) -> None:
    """Say for how many hits re-ranking failed, and the reason of most."""
    explanations = [hit.explanation for hit in result if hit.explanation]
    failures = Counter(explanation.failure for explanation in explanations if explanation.failure)
    if failures:
        reason = failures.most_common(1)[0][0]
        count = f"{failures.total()} of {counted(len(explanations), 'hit')}"
        stays = "which keeps its place" if failures.total() == 1 else "which keep their places"
        say(f"[yellow]no joint score for {count}[/], {stays}: {escape(reason)}")


def _say_expansion(expansion: Expansion) -> None:
    """Say by which other wordings a query was searched, and what is missing of them."""
    for wording in expansion.wordings:
        say(f"also: {escape(printable(wording))}")
    if expansion.problem:
        say(f"[yellow]not expanded as asked[/]: {escape(printable(expansion.problem))}")


def _say_first(result: SearchResult) -> None:
    """Say what comes first before a re-ranking begins, to somebody who may have to wait for it."""
    if not stderr_is_terminal():
        return
    for rank, hit in enumerate(result, 1):
        say(f"[dim]{rank:>2} {time_range(hit)}  {escape(str(hit.path))}[/]")
    if result:
        say("[dim]so far; re-ranking ...[/]")
    if client := current_terminal():
        client.release()


def _say_coverage(coverage: Coverage, library: Path) -> None:
    """Say what a search could not look at, and what to do."""
    option = escape(library_option(library))
    if not coverage.searched:
        unusable = counted(coverage.quarantined, "file")
        why = f" ({unusable} cannot be used: mmi-tvr status {option} says why)" if coverage.quarantined else ""
        folders = "" if coverage.pending else "DIR "
        say(f"nothing is indexed yet in {escape(str(library))}{why}: mmi-tvr index {folders}{option}")
    if coverage.pending:
        pending = counted(coverage.pending, "video")
        say(f"not indexed yet: {pending}; mmi-tvr index {option} goes on")
    if coverage.translated:
        share = f"{coverage.translated:,} of {counted(coverage.searched, 'vector')}"
        verb = "is" if coverage.translated == 1 else "are"
        say(f"{share} {verb} translated; mmi-tvr index {option} embeds these videos")
