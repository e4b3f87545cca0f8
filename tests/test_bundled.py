"""The model that the package carries: its files, what it knows, and that plain transformers loads it."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, CLIPModel, LlavaForConditionalGeneration

from mmi_tvr import config, models, plugins
from mmi_tvr.cli import _reranking
from mmi_tvr.datasets.moving_shapes import contrast_accuracy, truth
from mmi_tvr.encoders import hub, llava
from mmi_tvr.encoders.options import LlavaOptions
from mmi_tvr.evaluation import nothing_found
from mmi_tvr.evaluation.evaluate import evaluate_model, pair_scores
from mmi_tvr.features.cache import FeatureCache
from mmi_tvr.features.embed import embed_all
from mmi_tvr.judges.llava import LlavaJudge
from mmi_tvr.questions import pool, selection
from mmi_tvr.types import Query
from mmi_tvr.utils import array_cache
from mmi_tvr.utils.progress import Silent

FOLDER = hub.BUNDLED / "moving-shapes"


@pytest.fixture(scope="module")
def setup():
    section = models.section("moving-shapes")
    images = models.key_images(section)
    assert images is not None
    model = models.make(section, "cpu")
    return model, plugins.build("keyimages", images.name, images.options)


def embedder(setup):
    model, method = setup
    return lambda videos: embed_all(videos, model, method, FeatureCache(array_cache.folder() / "features"))


def shapes(split: str, count: int):
    dataset = plugins.build("datasets", "moving_shapes", {"split": split, "captions": 1, "count": count})
    dataset.generate()
    return dataset


def samples(split: str, count: int):
    return shapes(split, count).samples()


def test_it_is_small_and_has_a_card() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 18e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md", ".txt", ".jinja"}
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for word in ("24,000", "seed", "T2V R@1", "Limits", "knows nothing else"):
        assert word in card
    known = (FOLDER / "model.json").read_text(encoding="utf-8")
    assert not re.search(r'"/|\.\./', known), "a path of some machine"
    assert json.loads(known)["options"]["llava"]["checkpoint"] in ("base", "moving-shapes/base")


def test_plain_transformers_loads_it() -> None:
    base = FOLDER / "base"
    model = LlavaForConditionalGeneration.from_pretrained(base, dtype=torch.float32)
    towers = CLIPModel.from_pretrained(base / "clip", dtype=torch.float32)
    for name, weight in towers.vision_model.state_dict().items():
        assert torch.equal(model.model.vision_tower.state_dict()[name], weight)
    assert AutoTokenizer.from_pretrained(base).convert_tokens_to_ids("<image>") == model.config.image_token_id


def test_it_merges_into_a_plain_llava(tmp_path) -> None:
    options = LlavaOptions(checkpoint="moving-shapes/base", attention="eager")
    llava.merge(options, FOLDER / "adapter", tmp_path / "merged")
    tuned = llava.load(options, device="cpu", adapter=FOLDER / "adapter")
    plain = llava.load(options.model_copy(update={"checkpoint": str(tmp_path / "merged")}), device="cpu")
    texts = ["a red ring moves left", "红色圆环向左移动"]
    with torch.no_grad():
        torch.testing.assert_close(plain.encode(texts), tuned.encode(texts), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_captions_find_their_videos(setup) -> None:
    """The card says what is measured on everything; here on a part, with room for that."""
    few = shapes("test", 40).moments()
    report = evaluate_model(setup[0], samples("test", 100), embedder(setup), moments=few)
    assert report.t2v.r1 >= 97
    assert report.v2t.r1 >= 97
    assert report.moments is not None
    events, captions = (report.moments.sets[name].values for name in ("events", "captions"))
    assert min(events["pointing"], events["R1@0.5"], captions["R1@0.7"]) >= 88
    assert min(events["mIoU"], captions["mIoU"]) >= 75


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "least"),
    [("order", 92), ("direction", 97), ("relation", 95), ("colour", 97), ("shape", 95), ("count", 97), ("order3", 90)],
)
def test_twins_are_told_apart(setup, kind: str, least: float) -> None:
    contrast = contrast_accuracy(pair_scores(setup[0], samples(kind, 60), embedder(setup)))
    assert contrast.accuracy >= least


@pytest.mark.slow
def test_questions_are_answered_as_they_are_true(setup) -> None:
    model, method = setup
    document, _ = _reranking.answers(config.Settings(device="cpu"), shapes("test", 40), model, method, Silent())
    right = {
        about: {kind: each["accuracy"] for kind, each in kinds.items()} for about, kinds in document["answers"].items()
    }
    assert right["text"]["all"] >= 94
    assert right["video"]["all"] >= 88
    assert min(right["text"]["order"], right["video"]["order"]) >= 85
    assert right["video"]["entities"] >= 85
    assert right["video"]["relations"] >= 80


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "least"), [("order", 95), ("direction", 95), ("shape", 75), ("colour", 90), ("count", 95)]
)
def test_skeletons_of_twins_are_judged_apart(setup, kind: str, least: float) -> None:
    """What is true of a caption, beside what is true of its own video and of its twin, asked the chosen questions."""
    dataset = plugins.build("datasets", "moving_shapes", {"split": kind, "count": 60})
    skeletons = {
        about: [
            "; ".join(
                truth(each.text, about)(spec, about == "text")
                for each in selection.selected_questions(pool.load(about))
            )
            for spec in dataset.specs()
        ]
        for about in ("text", "video")
    }
    judge = LlavaJudge(setup[0])

    def prefers(text: str, right: str, wrong: str) -> bool:
        first, second = judge.judge(text, [right, wrong])
        return first.probability > second.probability

    own_first = [
        prefers(skeletons["text"][video], skeletons["video"][video], skeletons["video"][twin])
        for pair in dataset.groups()
        for video, twin in itertools.permutations(pair)
    ]
    assert len(own_first) == 60
    assert 100 * np.mean(own_first) >= least


def test_it_says_when_nothing_is_there(setup) -> None:
    model = setup[0]
    assert model.scoring.score_law is not None  # whoever makes another copy: scripts/nothing_found.py --law
    dataset = samples("test", 60)
    vectors = embedder(setup)([sample.video for sample in dataset])
    captions = model.embed_queries([Query(sample.captions[0]) for sample in dataset])
    queries = nothing_found.QuerySet(captions, np.arange(60), {})
    [trials] = [nothing_found.trials(model, vectors, queries, 30)]
    threshold = model.scoring.min_relevance
    assert trials.rejected(nothing_found.CAPTIONS, threshold) >= 0.7  # every second video has a twin among the 60
    assert trials.lost(threshold) <= 0.05


def test_it_does_not_refuse_queries_that_say_a_part(setup) -> None:
    model, dataset = setup[0], plugins.build("datasets", "moving_shapes", {"split": "test", "count": 60})
    vectors = embedder(setup)([sample.video for sample in samples("test", 60)])
    partial_queries = dataset.partial_queries()
    assert partial_queries
    for queries in partial_queries.values():
        true = np.array([[video in query.videos for video in range(60)] for query in queries])
        texts = model.embed_queries([Query(query.text) for query in queries])
        partial = nothing_found.QuerySet(texts, np.array([query.sample for query in queries]), {}, true)
        trials = nothing_found.trials(model, vectors, partial, 30)
        assert trials.lost(model.scoring.min_relevance) <= 0.08


@pytest.mark.parametrize("changes", [{"inductive": False}, {"moment_weight": 0.5}, {"heads": {"layers": 1}}], ids=str)
def test_its_law_of_scores_is_not_that_of_others(changes) -> None:
    section = models.section("moving-shapes")
    other = config.Section(**{**section.model_dump(), **changes})
    assert models.make(section, "cpu").scoring.score_law is not None
    assert models.make(other, "cpu").scoring.score_law is None


def test_lat_stands_on_the_towers_of_the_other_one() -> None:
    folder = hub.BUNDLED / "lat-shapes"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 3e6
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors", ".md"}
    settings = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert settings["options"]["checkpoint"] == "moving-shapes/base/clip"
    assert not re.search(r'"/|\.\./', json.dumps(settings)), "a path of some machine"
    section = models.section("lat-shapes")
    model, images = models.make(section, "cpu"), models.key_images(section)
    assert images is not None
    method = plugins.build("keyimages", images.name, images.options)
    report = evaluate_model(model, samples("test", 40), embedder((model, method)))
    assert min(report.t2v.r1, report.v2t.r1) >= 90
