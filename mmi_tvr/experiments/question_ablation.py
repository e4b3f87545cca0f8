"""The knowledge rows of the paper's table 3 and its figure 3, on our data: what the questions add to the search.

    FOLDER/knowledge.json     every rank and number
    FOLDER/knowledge.md       the table and the curve
    FOLDER/knowledge.png      the curve (extra `plots`)

All cases share the search's scores, and every question is put once: answers about videos are stored in a file, answers
about captions in memory.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnswerError, UsageError
from ..evaluation.evaluate import evaluate
from ..evaluation.metrics import DirectionBlocks
from ..evaluation.report import Report
from ..evaluation.rerank import reranked
from ..protocols import Answerer, Judge, Model
from ..questions import clustering, selection
from ..questions.pool import Pool, PoolQuestion
from ..skeletons import dataset
from ..skeletons.skeletons import Describer
from ..types import Answer, AnswerRequest, Judgement, Sample, Skeleton
from ..utils.files import SOFTWARE, write_atomically
from ..utils.installation import require
from ..utils.progress import Progress, Silent
from ..utils.tables import interval, markdown_table
from ..utils.wording import counted
from .question_inputs import SharedInputs

BASE, FULL = "no-knowledge", "full"
# Published, text-to-video and video-to-text R@1 on MSR-VTT (table 3).
PAPER = {
    BASE: (51.5, 49.2),
    FULL: (52.4, 51.2),
    "no-textual": (52.3, 50.4),
    "no-visual": (52.2, 50.6),
    "no-clustering": (52.7, 50.8),
}
PLAIN_QUESTION = PoolQuestion("plain", "What happens in this video?", "actions")
MAX_VIDEO_QUESTIONS = 10  # of the curve
_SIDES = ("t2v", "v2t")
_PUBLISHED = "paper (MSR-VTT, quoted)"


@dataclass(frozen=True, slots=True)
class Case:
    """One row: the questions about captions and about videos. Without text questions, the caption speaks for itself;
    without video questions, one plain question (`PLAIN_QUESTION`) takes their place (decision). lambda_s: another
    weight of p than the options'."""

    name: str
    title: str
    texts: Sequence[PoolQuestion]
    videos: Sequence[PoolQuestion]
    lambda_s: float | None = None


def cases(
    texts: Pool,
    videos: Pool,
    model: Model,
    *,
    seeds: int = 3,
    other_pools: Mapping[str, tuple[Pool, Pool]] | None = None,
    weights: Sequence[float] = (),
) -> list[Case]:
    """Return the rows: all questions, without either side, random ones, 1 to 10 video questions, other pools.

    Args:
        texts: the pool of questions about captions.
        videos: the pool of questions about videos.
        model: embeds the questions, which are clustered.
        seeds: how many times as many questions as are chosen are drawn at random.
        other_pools: two further pools by the name of their row (figure 3a): their chosen questions, or all of them
            where none are chosen.
        weights: further weights lambda_s of the probability, of all questions.
    """
    text, video = selection.selected_questions(texts), selection.selected_questions(videos)
    rows = [
        Case(f"lambda_s-{weight:g}", f"full knowledge, lambda_s {weight:g}", text, video, weight) for weight in weights
    ]
    rows += [
        Case(FULL, "full knowledge", text, video),
        Case("no-textual", "no textual knowledge", (), video),
        Case("no-visual", "no visual knowledge", text, ()),
    ]
    for seed in range(seeds):
        dice = np.random.default_rng(seed)
        random_texts, random_videos = _draw(texts, len(text), dice), _draw(videos, len(video), dice)
        title = f"no clustering: random questions, seed {seed}"
        rows.append(Case(f"no-clustering-{seed}", title, random_texts, random_videos))
    points = clustering.question_vectors([question.text for question in videos.enabled], model)
    for count in range(1, min(MAX_VIDEO_QUESTIONS, len(videos.enabled)) + 1):
        nearest = [videos.enabled[number] for number in clustering.cluster(points, count).closest()]
        rows.append(Case(f"videos-{count}", counted(count, "video question"), text, nearest))
    for name, (other_texts, other_videos) in (other_pools or {}).items():
        rows.append(Case(name, name, _selected_or_all(other_texts), _selected_or_all(other_videos)))
    return rows


def _draw(pool: Pool, count: int, dice: np.random.Generator) -> list[PoolQuestion]:
    return [pool.enabled[number] for number in dice.permutation(len(pool.enabled))[:count]]


def _selected_or_all(pool: Pool) -> Sequence[PoolQuestion]:
    if selection.read(pool):
        return selection.selected_questions(pool)
    return pool.enabled or pool.questions


def ablate(
    shared: SharedInputs, rows: Sequence[Case], folder: Path | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Return every case's numbers beside the search's own, with paired differences to it.

    Args:
        shared: what all cases share.
        rows: the cases.
        folder: where the numbers are written after every case; None: nowhere.
        progress: of the answers.

    Raises:
        UsageError: two cases have one name.
    """
    if len({case.name for case in rows}) < len(rows):
        raise UsageError("two cases have one name")
    progress = progress or Silent()
    shared = replace(shared, answerer=_CachingAnswerer(shared.answerer), judge=_CachingJudge(shared.judge))
    results: dict[str, Any] = {}
    for case in rows:
        progress.say(case.title)
        results[case.name] = _result(case, _report(shared, case, progress))
        if folder is not None:
            write(folder, results)
    return results


def table(results: Mapping[str, Mapping[str, Any]], paper: Mapping[str, tuple[float, float]] = PAPER) -> str:
    """Return the rows as Markdown.

    Args:
        results: by the names of the cases.
        paper: published R@1 of both directions by the name of a case; without any, the table has no column for them.
    """
    header = ["case", "questions (text, video)", "T2V R@1", "gain over none", "V2T R@1", "gain", _PUBLISHED]
    rows = [header]
    first = next(iter(results.values()), None)
    if first is not None:
        rows.append(_cells("no knowledge: the search alone", "-", first["searched"], None, paper.get(BASE)))
    for name, result in results.items():
        questions = f"{result['questions']['text']}, {result['questions']['video']}"
        published = paper.get(name.rstrip("-0123456789"))
        rows.append(_cells(result["title"], questions, result["reranked"], result["gains"], published))
    return "\n".join(markdown_table(rows if paper else [row[:-1] for row in rows]))


def write(folder: Path, results: Mapping[str, Any]) -> None:
    """Write knowledge.json and knowledge.md."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "knowledge.json", json.dumps(results).encode())
    write_atomically(folder / "knowledge.md", (table(results) + "\n").encode())


def curve(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw R@1 over the number of video questions, with the intervals, as a PNG."""
    pyplot = require("matplotlib.figure", "plots")
    counts = sorted(int(name.rpartition("-")[2]) for name in results if name.startswith("videos-"))
    figure = pyplot.Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for side, title in zip(_SIDES, ("text-to-video", "video-to-text"), strict=True):
        numbers = [results[f"videos-{count}"]["reranked"][side] for count in counts]
        values = np.array([metrics["R@1"] for metrics in numbers])
        bounds = np.array([metrics["ci95"]["R@1"] for metrics in numbers])
        axes.errorbar(counts, values, np.abs(bounds.T - values), marker="o", capsize=3, label=title)
        if counts:
            search_alone = results[f"videos-{counts[0]}"]["searched"][side]["R@1"]
            axes.axhline(search_alone, linestyle=":", color=axes.lines[-1].get_color() if axes.lines else None)
    axes.set_xlabel("questions asked of each video")
    axes.set_ylabel("R@1, % (dotted: without re-ranking)")
    axes.set_xticks(counts)
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata=SOFTWARE)
    write_atomically(path, buffer.getvalue())


def _report(shared: SharedInputs, case: Case, progress: Progress) -> Report:
    describer = Describer(case.texts, case.videos or (PLAIN_QUESTION,), shared.answerer, shared.store)
    options = shared.options
    if case.lambda_s is not None:
        options = options.model_copy(update={"lambda_s": case.lambda_s})

    def rerank(blocks: DirectionBlocks, captions: Sequence[str], samples: Sequence[Sample]) -> DirectionBlocks:
        texts, videos = dataset.describe(describer, captions, shared.views, progress.begin, progress.advance)
        if not case.texts:
            texts = [_caption_skeleton(caption) for caption in captions]
        probabilities = dataset.PairJudge(texts, videos, shared.judge).probabilities
        return reranked(blocks, probabilities, options.joint_score, progress)

    return evaluate(shared.samples, shared.embeddings, shared.queries, shared.model.scoring, rerank=rerank)


def _result(case: Case, report: Report) -> dict[str, Any]:
    assert report.search_alone is not None
    assert report.details is not None
    return {
        "title": case.title,
        "questions": {"text": len(case.texts), "video": len(case.videos)},
        "asked": {
            "text": [question.id for question in case.texts],
            "video": [question.id for question in case.videos],
        },
        "searched": {side: metrics.as_dict() for side, metrics in zip(_SIDES, report.search_alone, strict=True)},
        "reranked": {"t2v": report.t2v.as_dict(), "v2t": report.v2t.as_dict()},
        "gains": {side: differences["R@1"]._asdict() for side, differences in report.gains.items()},
        "ranks": {"t2v": report.details.t2v_ranks.tolist(), "v2t": report.details.v2t_ranks.tolist()},
    }


def _cells(
    title: str,
    questions: str,
    sides: Mapping[str, Any],
    gains: Mapping[str, Mapping[str, float]] | None,
    published: tuple[float, float] | None,
) -> list[str]:
    """Return the cells of a row.

    Args:
        title: of the case.
        questions: how many there are.
        sides: the metrics of both directions.
        gains: the differences to the search alone; None: this is the search alone.
        published: the paper's R@1 of both directions, where it has them.
    """
    cells = [title, questions]
    for side in _SIDES:
        cells.append(interval(sides[side]["R@1"], *sides[side]["ci95"]["R@1"]))
        gain = gains[side] if gains else None
        cells.append(interval(gain["value"], gain["low"], gain["high"], signed=True) if gain else "-")
    cells.append(f"{published[0]} / {published[1]}" if published else "-")
    return cells


def _caption_skeleton(caption: str) -> Skeleton:
    """Return a text skeleton that is the caption itself."""
    return (Answer("caption", "", caption),)


class _CachingAnswerer:
    """An answerer that puts each question about a text once; answers about videos are the store's business."""

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer
        self.name, self.video_input = answerer.name, answerer.video_input
        self._answers: dict[tuple[str, str], str] = {}  # by question and text

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        open_requests = [number for number, request in enumerate(requests) if self._cached(request) is None]
        answers = self._answerer.answer([requests[number] for number in open_requests], advance)
        fresh = dict(zip(open_requests, answers, strict=True))
        for number, answer in fresh.items():
            request = requests[number]
            if request.text is not None and isinstance(answer, str):
                self._answers[request.question, request.text] = answer
        results: list[str | AnswerError] = []
        for number, request in enumerate(requests):
            cached = self._cached(request)
            results.append(fresh[number] if cached is None or number in fresh else cached)
        return results

    def _cached(self, request: AnswerRequest) -> str | None:
        return None if request.text is None else self._answers.get((request.question, request.text))

    def fingerprint(self) -> str:
        return self._answerer.fingerprint()


class _CachingJudge:
    """A judge that judges each pair of skeletons once; what failed is judged again."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.name = judge.name
        self._cache: dict[tuple[str, str], Judgement] = {}  # by text and video skeleton

    def judge(
        self, text: str, videos: Sequence[str], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        open_videos = [video for video in dict.fromkeys(videos) if (text, video) not in self._cache]
        fresh = dict(zip(open_videos, self._judge.judge(text, open_videos), strict=True))
        for video, judgement in fresh.items():
            if isinstance(judgement, Judgement):
                self._cache[text, video] = judgement
        for _ in videos:
            advance()
        return [self._cache[text, video] if (text, video) in self._cache else fresh[video] for video in videos]

    def fingerprint(self) -> str:
        return self._judge.fingerprint()
