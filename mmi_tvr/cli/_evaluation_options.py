"""Options of `evaluate`, some of which `gap` has, too."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ._query_evaluation import PersonCue


class Normalisation(str, Enum):
    """Scores that look at all test queries together."""

    dual_softmax = "dual-softmax"
    query_bank = "query-bank"


class AnswerRows(str, Enum):
    """What answers are counted by."""

    kind = "kind"
    question = "question"


TargetArgument = Annotated[
    str, typer.Argument(metavar="DIR|NAME", help="folder of videos with captions; moving_shapes; or a benchmark")
]
GeneratedArgument = Annotated[str, typer.Argument(metavar="NAME", help="the data set: moving_shapes")]
SplitOption = Annotated[str, typer.Option(help="of a data set: val, test")]
CaptionsOption = Annotated[Path | None, typer.Option(help="the table (.tsv with a header, or .jsonl)")]
LimitOption = Annotated[int | None, typer.Option(min=1, help="only the first so many videos")]
TrecOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="write TREC runs and qrels of both directions"),
]
CheckpointOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="a model folder that training wrote (RUN/model)")
]
ColumnOption = Annotated[str | None, typer.Option(help="which column holds the captions; * for all")]
TransductiveOption = Annotated[
    list[Normalisation] | None, typer.Option(help="show this normalisation, too; may be repeated")
]
RerankOption = Annotated[
    bool, typer.Option("--rerank/--no-rerank", help="re-rank the best by the joint score, and say what that adds")
]
AnswerRowsOption = Annotated[AnswerRows, typer.Option(help="a row for each kind of question, or for each question")]
MergeCaptionsOption = Annotated[
    bool, typer.Option("--merge-captions", help="besides: equal captions are one query with several right videos")
]
PeopleCueOption = Annotated[
    PersonCue, typer.Option(help="of a data set with people in its queries: say who by name, by face, or by both")
]
MomentsOption = Annotated[
    bool, typer.Option("--moments", help="measure the spans, too: is it the right second of the video?")
]
OutputOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="write report.json (for compare), report.html, heatmap.png")
]
SkipMissingOption = Annotated[bool, typer.Option("--skip-missing", help="leave out files that are not there")]
MaxUnreadableOption = Annotated[float, typer.Option(min=0, max=1, help="share of videos that may be unreadable")]
