"""The MCSAN that the package carries: small, on the bundled towers, and as good as its card says."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mmi_tvr import models, plugins
from mmi_tvr.encoders import hub
from mmi_tvr.evaluation.evaluate import evaluate_model
from mmi_tvr.features.cache import FeatureCache
from mmi_tvr.features.embed import embed_all
from mmi_tvr.protocols import ModelWithAttributes
from mmi_tvr.types import Query
from mmi_tvr.utils import array_cache

NAME = "mcsan-shapes"
FOLDER = hub.BUNDLED / NAME
LEVELS = ("global", "entity", "action", "relation")


def test_it_is_small_has_a_card_and_stands_on_the_bundled_towers() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files if path.suffix == ".safetensors") <= 3.0e6
    assert {path.suffix for path in files} == {".json", ".safetensors", ".md"}
    assert {tensor.dtype for tensor in load_file(FOLDER / "mcsan.safetensors").values()} == {torch.float16}
    known = (FOLDER / "model.json").read_text(encoding="utf-8")
    assert json.loads(known)["options"]["vision"] == "moving-shapes/base/clip"
    assert not re.search(r'"/|\.\./', known), "a path of some machine"
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for words in (f"# {NAME}", "T2V R@1", "Limits", "knows nothing else", "| relation |"):
        assert words in card
    assert NAME in models.bundled()
    assert list(models.checkpoints(models.section(NAME))) == []


def test_captions_find_their_videos_in_both_languages() -> None:
    section = models.section(NAME)
    model = models.make(section, "cpu")
    assert [block.name for block in model.scoring.blocks] == list(LEVELS)
    images = models.key_images(section)
    assert images is not None
    method = plugins.build("keyimages", images.name, images.options)
    dataset = plugins.build("datasets", "moving_shapes", {"split": "test", "captions": 1, "count": 100})
    dataset.generate()
    cache = FeatureCache(array_cache.folder() / "features")
    report = evaluate_model(model, dataset.samples(), lambda videos: embed_all(videos, model, method, cache))
    assert report.t2v.r1 >= 93
    assert report.v2t.r1 >= 93
    assert set(report.levels) == set(LEVELS)
    english, chinese = model.embed_queries([Query("the red circle moves left"), Query("红色的圆向左移动")])
    other = model.embed_queries([Query("the blue star spins, then the green ring grows")])[0]
    units = [np.concatenate([part / np.linalg.norm(part) for part in np.split(row, 4)])
             for row in (english, chinese, other)]  # fmt: skip
    assert units[0] @ units[1] > units[0] @ units[2]


@pytest.mark.parametrize("level", LEVELS[1:])
def test_it_reads_classes_off_videos_with_measured_thresholds(level: str) -> None:
    model = models.make(models.section(NAME), "cpu")
    assert isinstance(model, ModelWithAttributes)
    calibration = model.facet_calibration()
    assert calibration is not None
    assert "val" in calibration.data
    assert level in calibration.classes
