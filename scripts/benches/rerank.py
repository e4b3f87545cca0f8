"""Re-ranking with the bundled model: pairs per second of the judge, and a search with and without it, by stage.

The judged skeletons are true answers about generated videos, so that they are as long and as alike as they should be.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch

from mmi_tvr import models, plugins
from mmi_tvr.datasets.moving_shapes import truth
from mmi_tvr.judges.llava import LlavaJudge
from mmi_tvr.library import Library
from mmi_tvr.questions import pool, selection

from .timing import rounds, table

CANDIDATES = 20
BUNDLED = "moving-shapes"


def run(args: Namespace) -> Iterator[str]:
    model = models.make(models.section(BUNDLED), "cpu")
    yield from _judge(LlavaJudge(model), args.repeats)
    with tempfile.TemporaryDirectory() as folder:
        yield from _search(Path(folder), model, 6 if args.small else 100, args.repeats)


def _judge(judge: LlavaJudge, repeats: int) -> Iterator[str]:
    text, *videos = skeletons(CANDIDATES)
    network = judge.model.network

    def naive(together: int) -> None:
        with torch.inference_mode():
            for first in range(0, len(videos), together):
                batch = videos[first : first + together]
                network.judge_logits([text] * len(batch), batch)

    ours = "shared prefix, batched"
    contenders = {
        ours: lambda: judge.judge(text, videos),
        "one prompt at a time": lambda: naive(1),
        "one batch, nothing shared": lambda: naive(len(videos)),
    }
    measured = rounds(contenders, repeats)
    title = f"judge: one query, {len(videos)} candidates ({len(set(videos))} different skeletons)"
    yield from table(title, measured, ours)
    for name, seconds in measured.items():
        yield f"  {name:<28} {len(videos) / statistics.median(seconds):10.0f} pairs/s"


def skeletons(videos: int) -> list[str]:
    """The text skeleton of a caption, then those of so many videos."""
    specs = plugins.build("datasets", "moving_shapes", {"count": videos}).specs()
    questions = {about: selection.selected_questions(pool.load(about)) for about in ("text", "video")}

    def skeleton(about: str, number: int) -> str:
        of_text = about == "text"
        return "; ".join(truth(question.text, about)(specs[number], of_text) for question in questions[about])

    return [skeleton("text", 0), *(skeleton("video", number) for number in range(videos))]


def _search(folder: Path, model: object, videos: int, repeats: int) -> Iterator[str]:
    dataset = plugins.build("datasets", "moving_shapes", {"count": videos, "root": folder})
    dataset.generate()
    queries = itertools.cycle(sample.captions[0] for sample in dataset.samples())
    with Library(folder / "library", model) as library:
        library.index([sample.video.path for sample in dataset.samples()])
        described = library.describe()
        rate = videos / described.seconds
        yield f"describing {videos} videos: {rate:.1f} videos/s, {described.answers / described.seconds:.0f} answers/s"
        stages: dict[str, dict[str, list[float]]] = {"plain": defaultdict(list), "re-ranked": defaultdict(list)}

        def search(name: str) -> None:
            results = library.search(next(queries), min_relevance=0, rerank=name == "re-ranked")
            for stage, seconds in results.seconds.items():
                stages[name][stage].append(seconds)

        contenders = {name: (lambda name=name: search(name)) for name in stages}
        yield from table(f"search among {videos} videos, a new query each time", rounds(contenders, repeats), "plain")
    for name, stage_seconds in stages.items():
        parts = ", ".join(
            f"{stage} {statistics.median(seconds) * 1000:.1f}" for stage, seconds in stage_seconds.items()
        )
        yield f"  {name}: ms by stage: {parts}"
