"""Answers of the bundled model: many together, against one at a time."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np

from .timing import rounds, table

QUESTIONS = (
    "What colour is the first shape?",
    "What happens?",
    "Which events take place in this scene, and in which order do they take place?",
    "How many shapes are there?",
)
SENTENCE = "the red circle moves left, then the blue square grows, and after that the green triangle spins "
KEY_IMAGES = 12
TOGETHER = "together"


def run(args: argparse.Namespace) -> Iterator[str]:
    count = 8 if args.small else 96
    for about in ("texts", "videos"):
        yield from _compare(about, count, 1 if args.small else args.repeats)


def _compare(about: str, count: int, repeats: int) -> Iterator[str]:
    from mmi_tvr import models, plugins

    model = models.make(models.section("moving-shapes"), "cpu")
    asks = _asks(model, about, count)
    answerers = {
        name: plugins.build("answerers", "transformers", {"batch": batch}, device="cpu", model=model)
        for name, batch in ((TOGETHER, 32), ("one at a time", 1))
    }
    answers = [list(map(str, answerer.answer(asks))) for answerer in answerers.values()]
    same = sum(one == other for one, other in zip(*answers, strict=True))
    contenders = {name: (lambda answerer=each: answerer.answer(asks)) for name, each in answerers.items()}
    seconds = rounds(contenders, repeats, warm_up=False)
    yield from table(f"answers of transformers: {count} questions about {about}", seconds, TOGETHER)
    rates = ", ".join(f"{name} {count / statistics.median(times):.1f}" for name, times in seconds.items())
    yield f"  answers/s: {rates}; {same} of {count} are the same"


def _asks(model: Any, about: str, count: int) -> list[Any]:
    from mmi_tvr.types import AnswerRequest, Features

    random = np.random.default_rng(0)
    requests = []
    for number in range(count):
        question = QUESTIONS[number % len(QUESTIONS)]
        if about == "texts":
            requests.append(AnswerRequest(question, text=SENTENCE * random.integers(1, 4)))
            continue
        shown = int(random.integers(1, KEY_IMAGES + 1))
        pictures = random.integers(0, 256, (shown, model.image_size, model.image_size, 3), dtype=np.uint8)
        requests.append(
            AnswerRequest(question, features=Features(np.zeros((shown, 3)), model.encode_images(list(pictures))))
        )
    return requests
