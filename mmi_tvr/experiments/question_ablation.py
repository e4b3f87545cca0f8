"""The knowledge rows of the paper's table 3 and its figure 3, on our data: what the questions add to the search.

    FOLDER/knowledge.json     every rank and number
    FOLDER/knowledge.md       the table and the curve
    FOLDER/knowledge.png      the curve (extra `plots`)

All cases share the search's scores, and every answer is asked for once: what videos answer is kept in a store, what
captions answer in memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import plugins
from ..errors import AnswerError, UsageError
from ..evaluation.evaluate import Rerank, evaluate
from ..evaluation.metrics import DirectionBlocks, MakeBlocks
from ..evaluation.report import Report
from ..evaluation.rerank import reranked
from ..protocols import Answerer, Judge, Model
from ..questions import clustering, selection
from ..questions.pool import Pool, PoolQuestion
from ..rerank.skeleton import Options
from ..skeletons import dataset
from ..skeletons.skeletons import Describer, VideoView
from ..skeletons.store import SkeletonStore
from ..types import Answer, AnswerRequest, Embeddings, FloatArray, Sample, Skeleton
from ..utils.files import write_atomically
from ..utils.progress import Progress, Silent
from ..utils.tables import interval, markdown_table

BASE, FULL = "no-knowledge", "full"
# Published, text-to-video and video-to-text R@1 on MSR-VTT (table 3).
PAPER = {
    BASE: (51.5, 49.2),
    FULL: (52.4, 51.2),
    "no-textual": (52.3, 50.4),
    "no-visual": (52.2, 50.6),
    "no-clustering": (52.7, 50.8),
}
PLAIN = PoolQuestion("plain", "What happens in this video?", "actions")
MOST = 10  # video questions of the curve


@dataclass(frozen=True, slots=True)
class Case:
    """One row: the questions that are asked. No text questions: the caption speaks for itself; no video questions: one
    plain question (`PLAIN`) is asked instead (decision). lambda_s: another weight of p than the options'."""

    name: str
    title: str
    texts: Sequence[PoolQuestion]
    videos: Sequence[PoolQuestion]
    lambda_s: float | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """What all cases share: a test set with one caption a video, its embeddings, views and query vectors, who answers
    and who judges. `model` is the one that searches."""

    model: Model
    samples: Sequence[Sample]
    embeddings: Sequence[Embeddings]
    queries: FloatArray
    seen: Sequence[VideoView]
    answerer: Answerer
    judge: Judge
    options: Options
    store: SkeletonStore | None = None


def cases(
    texts: Pool,
    videos: Pool,
    model: Model,
    *,
    seeds: int = 3,
    others: Mapping[str, tuple[Pool, Pool]] | None = None,
    weights: Sequence[float] = (),
) -> list[Case]:
    """The rows: everything, with other weights lambda_s of the probability, without either side, random questions (as
    many, `seeds` times), 1 to 10 video questions by clusters, and other pools under their names (figure 3a): their
    chosen questions, all of them where none are chosen."""
    text, video = selection.selected_questions(texts), selection.selected_questions(videos)
    weighed = [
        Case(f"lambda_s-{weight:g}", f"full knowledge, lambda_s {weight:g}", text, video, weight) for weight in weights
    ]
    found = [
        *weighed,
        Case(FULL, "full knowledge", text, video),
        Case("no-textual", "no textual knowledge", (), video),
        Case("no-visual", "no visual knowledge", text, ()),
    ]
    for seed in range(seeds):
        dice = np.random.default_rng(seed)
        drawn = [
            [pool.enabled[at] for at in dice.permutation(len(pool.enabled))[: len(chosen)]]
            for pool, chosen in ((texts, text), (videos, video))
        ]
        found.append(Case(f"no-clustering-{seed}", f"no clustering: random questions, seed {seed}", *drawn))
    points = clustering.question_vectors([question.text for question in videos.enabled], model)
    for count in range(1, min(MOST, len(videos.enabled)) + 1):
        groups = clustering.cluster(points, count).groups()
        few = [videos.enabled[members[0]] for members in groups]
        found.append(Case(f"videos-{count}", f"{count} video questions", text, few))
    for name, (one, other) in (others or {}).items():
        found.append(Case(name, name, _asked(one), _asked(other)))
    return found


def _asked(pool: Pool) -> Sequence[PoolQuestion]:
    return selection.selected_questions(pool) if selection.read(pool) else pool.enabled or pool.questions


def ablate(
    setting: Setting, rows: Sequence[Case], folder: Path | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Every case's numbers beside the search's own, with paired differences to it; written to `folder` case by case.

    UsageError where a name is there twice.
    """
    if len({case.name for case in rows}) < len(rows):
        raise UsageError("two cases have one name")
    progress = progress or Silent()
    setting = replace(setting, answerer=_Remembering(setting.answerer), judge=_Judged(setting.judge))
    results: dict[str, Any] = {}
    for case in rows:
        progress.say(case.title)
        results[case.name] = _result(case, _report(setting, case, progress))
        if folder is not None:
            write(folder, results)
    return results


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows as Markdown."""
    paper = "paper (MSR-VTT, quoted)"
    rows = [["case", "questions (text, video)", "T2V R@1", "gain over none", "V2T R@1", "gain", paper]]
    first = next(iter(results.values()), None)
    if first is not None:
        rows.append(_cells("no knowledge: the search alone", "-", first["searched"], None, PAPER[BASE]))
    for name, result in results.items():
        questions = f"{result['questions']['text']}, {result['questions']['video']}"
        published = PAPER.get(name.rstrip("-0123456789"))
        rows.append(_cells(result["title"], questions, result["reranked"], result["gains"], published))
    return "\n".join(markdown_table(rows))


def write(folder: Path, results: Mapping[str, Any]) -> None:
    """knowledge.json and knowledge.md."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "knowledge.json", json.dumps(results).encode())
    write_atomically(folder / "knowledge.md", (table(results) + "\n").encode())


def curve(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """R@1 over the number of video questions, with the intervals, as a PNG."""
    pyplot = plugins.require("matplotlib.figure", "plots")
    counts = sorted(int(name.rpartition("-")[2]) for name in results if name.startswith("videos-"))
    figure = pyplot.Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for side, title in (("t2v", "text-to-video"), ("v2t", "video-to-text")):
        found = [results[f"videos-{count}"]["reranked"][side] for count in counts]
        values = np.array([each["R@1"] for each in found])
        bounds = np.array([each["ci95"]["R@1"] for each in found])
        axes.errorbar(counts, values, np.abs(bounds.T - values), marker="o", capsize=3, label=title)
        if counts:
            alone = results[f"videos-{counts[0]}"]["searched"][side]["R@1"]
            axes.axhline(alone, linestyle=":", color=axes.lines[-1].get_color() if axes.lines else None)
    axes.set_xlabel("questions asked of each video")
    axes.set_ylabel("R@1, % (dotted: without re-ranking)")
    axes.set_xticks(counts)
    axes.legend()
    figure.savefig(path, dpi=120)


def _report(setting: Setting, case: Case, progress: Progress) -> Report:
    describer = Describer(case.texts, case.videos or (PLAIN,), setting.answerer, setting.store)
    options = setting.options
    if case.lambda_s is not None:
        options = options.model_copy(update={"lambda_s": case.lambda_s})

    def rerank(blocks: MakeBlocks, captions: Sequence[str], kept: Sequence[Sample]) -> DirectionBlocks:
        texts, videos = dataset.describe(describer, captions, setting.seen, progress.begin, progress.advance)
        if not case.texts:
            texts = [_itself(caption) for caption in captions]
        judged = dataset.PairJudge(texts, videos, setting.judge).probabilities
        return reranked(blocks, judged, options.joint_score, progress)

    made: Rerank = rerank
    return evaluate(setting.samples, setting.embeddings, setting.queries, setting.model.scoring, rerank=made)


def _result(case: Case, report: Report) -> dict[str, Any]:
    assert report.search_alone is not None
    assert report.details is not None
    return {
        "title": case.title,
        "questions": {"text": len(case.texts), "video": len(case.videos)},
        "asked": {"text": [each.id for each in case.texts], "video": [each.id for each in case.videos]},
        "searched": {side: each.as_dict() for side, each in zip(("t2v", "v2t"), report.search_alone, strict=True)},
        "reranked": {"t2v": report.t2v.as_dict(), "v2t": report.v2t.as_dict()},
        "gains": {side: found["R@1"]._asdict() for side, found in report.gains.items()},
        "ranks": {"t2v": report.details.t2v_ranks.tolist(), "v2t": report.details.v2t_ranks.tolist()},
    }


def _cells(
    title: str,
    questions: str,
    sides: Mapping[str, Any],
    gains: Mapping[str, Mapping[str, float]] | None,
    published: tuple[float, float] | None,
) -> list[str]:
    cells = [title, questions]
    for side in ("t2v", "v2t"):
        cells.append(interval(sides[side]["R@1"], *sides[side]["ci95"]["R@1"]))
        gain = gains[side] if gains else None
        cells.append(interval(gain["value"], gain["low"], gain["high"], signed=True) if gain else "-")
    cells.append(f"{published[0]} / {published[1]}" if published else "-")
    return cells


def _itself(caption: str) -> Skeleton:
    return (Answer("caption", "", caption),)


class _Remembering:
    """An answerer that is asked about each text once; answers about videos are the store's business."""

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer
        self.name, self.video_input = answerer.name, answerer.video_input
        self._known: dict[tuple[str, str], str] = {}

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        wanted = [
            at
            for at, request in enumerate(requests)
            if request.text is None or (request.question, request.text) not in self._known
        ]
        given = dict(zip(wanted, self._answerer.answer([requests[at] for at in wanted], advance), strict=True))
        for at, found in given.items():
            text = requests[at].text
            if text is not None and isinstance(found, str):
                self._known[requests[at].question, text] = found
        return [
            given[at] if at in given else self._known[request.question, str(request.text)]
            for at, request in enumerate(requests)
        ]

    def fingerprint(self) -> str:
        return self._answerer.fingerprint()


class _Judged:
    """A judge that is asked about each pair of skeletons once."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._known: dict[tuple[str, str], float] = {}

    def probabilities(self, text: str, videos: Sequence[str]) -> FloatArray:
        fresh = [video for video in dict.fromkeys(videos) if (text, video) not in self._known]
        for video, p in zip(fresh, self._judge.probabilities(text, fresh), strict=True):
            self._known[text, video] = float(p)
        return np.array([self._known[text, video] for video in videos], dtype=np.float32)

    def fingerprint(self) -> str:
        return self._judge.fingerprint()
