"""What skeletons are made from: question pools whose questions are all selected, and videos that are never decoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmi_tvr.errors import MediaError
from mmi_tvr.questions import pool, selection
from mmi_tvr.questions.pool import PoolQuestion
from mmi_tvr.skeletons.skeletons import VideoView
from mmi_tvr.types import Features


def questions(*texts: str) -> tuple[PoolQuestion, ...]:
    return tuple(PoolQuestion(f"q{at}", text, "entities") for at, text in enumerate(texts))


def pools(folder: Path, text_questions: Sequence[str], video_questions: Sequence[str]) -> dict[str, str]:
    """Two pools, all of whose questions are chosen: options of `rerank.skeleton`."""
    folder.mkdir(parents=True, exist_ok=True)
    for about, texts in (("text", text_questions), ("video", video_questions)):
        lines = (f"- {{id: {about}{at}, kind: entities, text: '{text}'}}\n" for at, text in enumerate(texts))
        (folder / f"{about}.yaml").write_text(f"about: {about}\nquestions:\n{''.join(lines)}", encoding="utf-8")
        loaded = pool.load(folder / f"{about}.yaml")
        groups = tuple(selection.QuestionCluster(question.id, {question.id: 0.0}) for question in loaded.enabled)
        selected = selection.Selection(
            about=loaded.about, pool=loaded.digest(), model="none", fingerprint="none", rule="closest", k=len(groups),
            seed=0, stability=1.0, silhouettes={}, clusters=groups,
        )  # fmt: skip
        selection.write(selected, loaded)
    return {about: str(folder / f"{about}.yaml") for about in ("text", "video")}


def view(content: str, key_images: int = 2, gone: bool = False) -> VideoView:
    """A video with so many key images, one a second; a `gone` one cannot be looked at."""

    def features() -> Features:
        if gone:
            raise MediaError(f"{content}.mp4", "the file is gone")
        return Features(np.zeros((key_images, 3)), {})

    times = tuple(map(float, range(key_images)))
    return VideoView(times, features, lambda: [np.zeros((4, 4, 3), np.uint8)] * key_images, content, "how")
