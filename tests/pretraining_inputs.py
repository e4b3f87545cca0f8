"""What tests of pretraining start from: videos of moving shapes, tokenizers of their words, features that are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmi_tvr import plugins, prompt_templates
from mmi_tvr.datasets.moving_shapes import MovingShapes
from mmi_tvr.experiments.pretrain import layout
from mmi_tvr.experiments.pretrain.data import answers, corpus
from mmi_tvr.types import Features

VIDEOS = 16


def split() -> MovingShapes:
    dataset = plugins.build("datasets", "moving_shapes", {"split": "train", "count": VIDEOS})
    assert isinstance(dataset, MovingShapes)
    return dataset


def tokenizers(dataset: MovingShapes) -> tuple[Any, Any]:
    """Return CLIP's tokenizer, and the language model's."""
    texts = list(corpus(dataset.specs()))
    language = [*texts, *answers(dataset.specs()), prompt_templates.judge().prompt]
    return layout.clip_tokenizer(texts), layout.language_tokenizer(f" {text}" for text in language)


def features(count: int) -> list[Features]:
    random = np.random.default_rng(0)
    sizes = random.integers(2, 6, count)
    videos = []
    for size in sizes:
        edges = np.arange(size + 1.0)
        arrays = {
            "image": random.normal(size=(size, 192)).astype(np.float32),
            "regions": random.normal(size=(size, 9, 192)).astype(np.float16),
            "patches": random.normal(size=(size, 4, 192)).astype(np.float16),
        }
        videos.append(Features(np.stack([edges[:-1], edges[1:], edges[:-1] + 0.5], axis=1), arrays))
    return videos
