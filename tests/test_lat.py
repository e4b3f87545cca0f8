"""LaT on small towers: what is compared, losses against loops, training, saving, options."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_towers
import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize

from mmi_tvr import models, plugins
from mmi_tvr.config import Section, merge
from mmi_tvr.errors import ModelNotFound, UsageError
from mmi_tvr.models import lat
from mmi_tvr.models.lat.network import LatNetwork
from mmi_tvr.nn.losses import Temperature, info_nce
from mmi_tvr.nn.options import TranslatorOptions
from mmi_tvr.nn.translator import Tokens
from mmi_tvr.protocols import TranslatingModel
from mmi_tvr.scoring.blocks import similarities
from mmi_tvr.train.objective import Objective
from mmi_tvr.train.run import run
from mmi_tvr.train.settings import load
from mmi_tvr.types import Features, Query

ROOT = Path(__file__).parent.parent
SMALL = {"depth": 1, "width": 16, "heads": 2, "feed_forward": 16, "dropout": 0.0}
TEXTS = ["a red dog", "a blue square grows", "red"]
COUNTS = (3, 1, 4)
LAYOUTS = ("clip", "siglip", "chinese_clip", "metaclip2")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {layout: tiny_towers.make(layout, tmp_path_factory.mktemp(layout)) for layout in LAYOUTS}


@pytest.fixture(scope="module")
def checkpoint(checkpoints: dict[str, Path]) -> Path:
    return checkpoints["clip"]


def options(checkpoint: Path, **changes: Any) -> lat.Options:
    translator = {**SMALL, **changes.pop("translator", {})}
    values = {"checkpoint": str(checkpoint), "translator": translator, "text_queries": 6, "video_queries": 4, **changes}
    options = plugins.options("models", "lat", values)
    assert isinstance(options, lat.Options)
    return options


def trainable(checkpoint: Path, **changes: Any) -> lat.Lat:
    torch.manual_seed(3)
    return lat.trainable(options(checkpoint, **changes), device="cpu")


def features(model: lat.Lat) -> list[Features]:
    videos = []
    for seed, count in enumerate(COUNTS):
        random = np.random.default_rng(seed)
        pictures = [random.integers(0, 256, (40, 56, 3), dtype=np.uint8) for _ in range(count)]
        edges = np.arange(count + 1.0)
        videos.append(Features(np.stack([edges[:-1], edges[1:], edges[:-1]], axis=1), model.encode_images(pictures)))
    return videos


def batch(model: lat.Lat) -> dict[str, Any]:
    return {"ids": ["a", "b", "c"], **model.batch(TEXTS, features(model), [0, 1, 2])}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_states_of_the_towers_projected_are_their_vectors(checkpoints: dict[str, Path], layout: str) -> None:
    """[CLS] of a text and each key image, in the common space, are what clip4clip compares."""
    model = lat.Lat(options(checkpoints[layout], space="joint"), "cpu")
    clip = models.make(Section(name="clip4clip", checkpoint=str(checkpoints[layout])), "cpu")
    data, videos = batch(model), features(model)
    expected = clip.embed_queries([Query(text) for text in TEXTS])
    for row, text in enumerate(TEXTS):
        alone = model.batch([text], videos[:1], [0])["text"]["states"][0, 0]
        for states in (alone, data["text"]["states"][row, 0]):
            np.testing.assert_allclose(normalize(states, dim=-1), expected[row], atol=2e-5)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 40, 56, 3), dtype=np.uint8)
    images = clip.encode_images(list(pictures))["image"]
    np.testing.assert_allclose(normalize(data["video"]["states"][0, 1:4], dim=-1), images, atol=2e-5)
    assert data["video"]["mask"].sum(dim=1).tolist() == [1 + count for count in COUNTS]
    lengths = data["text"]["states"].norm(dim=-1)[data["text"]["mask"]]
    torch.testing.assert_close(lengths, torch.full_like(lengths, data["text"]["states"].shape[-1] ** 0.5))


@pytest.mark.parametrize("translator", [{"kind": "none"}, {"start": "identity"}])
def test_untrained_in_the_common_space_it_is_the_mean_of_key_images(
    checkpoint: Path, translator: dict[str, str]
) -> None:
    changes = {"space": "joint", "translator": translator, "search_levels": "global"}
    clip = models.make(Section(name="clip4clip", checkpoint=str(checkpoint)), "cpu")
    model = lat.Lat(options(checkpoint, **changes), "cpu")
    videos, queries = features(model), [Query(text) for text in TEXTS]
    for state in (clip.encode_images, model.encode_images):
        assert state([np.zeros((40, 56, 3), np.uint8)])
    theirs = np.stack([
        clip.embed_videos([Features(video.segments, {"image": _images(clip, seed)})])[0].video
        for seed, video in enumerate(videos)
    ])  # fmt: skip
    ours = np.stack([embeddings.video for embeddings in model.embed_videos(videos)])
    scores = similarities(model.embed_queries(queries), ours, model.scoring)
    np.testing.assert_allclose(scores, clip.embed_queries(queries) @ theirs.T, atol=2e-5)


def _images(clip: Any, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    pictures = [random.integers(0, 256, (40, 56, 3), dtype=np.uint8) for _ in range(COUNTS[seed])]
    array: np.ndarray = clip.encode_images(pictures)["image"]
    return array


def test_losses_are_the_equations_written_out_pair_by_pair(checkpoint: Path) -> None:
    """Eq. 7 to 10 with G and F put in: cosines of each level, cross-entropy of each pair, squares of each cycle."""
    network = trainable(checkpoint).network.eval()
    data = batch(trainable(checkpoint))
    scale = Temperature(0.05)()
    text, video, groups, cycle = network.embed_batch(data)
    inter = info_nce(text, video, scale, groups, similarity=network.similarity).item()
    G, F = network.to_video, network.to_text
    t, v = (Tokens(data[side]["states"], data[side]["mask"]) for side in ("text", "video"))
    expected, squares = 0.0, 0.0
    for level in range(2):
        in_video, real_video = G(t).levels()[:, level], v.levels()[:, level]
        in_text, real_text = F(v).levels()[:, level], t.levels()[:, level]
        for row in range(3):
            for queries, targets in ((in_video, real_video), (in_text, real_text)):
                logits = torch.stack([
                    scale * torch.dot(queries[row], target) / queries[row].norm() / target.norm() for target in targets
                ])  # fmt: skip
                expected -= logits.log_softmax(dim=0)[row].item() / 2 / 3
            for back, real in ((G(F(v)), v), (F(G(t)), t)):
                difference = back.levels()[row, level] - real.levels()[row, level]
                squares += (difference @ difference).item() / len(difference) / 2 / 3
    assert inter == pytest.approx(expected, rel=1e-4)
    assert network.batch_terms([text, video, groups, cycle], ["cycle"])["cycle"].item() == pytest.approx(
        squares, rel=1e-4
    )


@pytest.mark.parametrize(("levels", "symmetric"), [("both", True), ("global", False), ("token", True)])
def test_levels_and_symmetry_say_which_cosines_are_compared(checkpoint: Path, levels: str, symmetric: bool) -> None:
    model = trainable(checkpoint, levels=levels, symmetric=symmetric)
    text, video, _, _ = model.network.embed_batch(batch(model))
    whole = trainable(checkpoint, symmetric=True)
    texts, videos, _, _ = whole.network.embed_batch(batch(whole))
    all_levels = whole.network.similarity(texts, videos, "t2v")  # G(t) v global, token, F(v) t global, token
    torch.testing.assert_close(all_levels, whole.network.similarity(texts, videos, "v2t"))
    chosen = {"both": [0, 1], "global": [0], "token": [1]}[levels]
    for direction, first in (("t2v", 0), ("v2t", 2)):
        rows = [space + level for space in (0, 2) for level in chosen] if symmetric else [first + n for n in chosen]
        torch.testing.assert_close(model.network.similarity(text, video, direction), all_levels[rows])


@pytest.mark.parametrize("search_levels", ["global", "token", "both"])
@pytest.mark.parametrize("retrieval", ["both", "paper", "t2v", "v2t"])
def test_scores_are_the_cosines_that_the_options_name(checkpoint: Path, retrieval: str, search_levels: str) -> None:
    model = lat.Lat(options(checkpoint, retrieval=retrieval, search_levels=search_levels), "cpu")
    data = batch(model)
    network: LatNetwork = model.network
    with torch.no_grad():
        texts, videos, _, _ = network.embed_batch(data)
        network._symmetric = True
        levels = network.similarity(texts, videos, "t2v").numpy()  # (4, T, V)
    at_levels = {"global": [0], "token": [1], "both": [0, 1]}[search_levels]
    among_videos, among_texts = (np.mean([levels[space + n] for n in at_levels], axis=0) for space in (0, 2))
    expected = {
        "both": [(among_videos + among_texts) / 2] * 2,
        "paper": [among_videos, among_texts],
        "t2v": [among_videos] * 2,
        "v2t": [among_texts] * 2,
    }[retrieval]
    queries = model.embed_queries([Query(text) for text in TEXTS])
    vectors = np.stack([embeddings.video for embeddings in model.embed_videos(features(model))])
    for direction, scores in zip(("t2v", "v2t"), expected, strict=True):
        np.testing.assert_allclose(similarities(queries, vectors, model.scoring, direction), scores, atol=1e-5)
    names = {"both": ["video", "text"], "paper": ["video", "text"], "t2v": ["video"], "v2t": ["text"]}[retrieval]
    assert [block.name for block in model.scoring.blocks] == names


def test_a_second_summary_says_how_key_images_change(checkpoint: Path) -> None:
    """Turned around it is its own negative; of a video in which nothing changes, or of one picture, it is the mean."""
    model = trainable(checkpoint, changes=True)
    several, one, _ = features(model)
    states = several.arrays["state"]
    turned = Features(several.segments, {"state": states[::-1].copy()})
    still = Features(several.segments, {"state": np.repeat(states[:1], 3, axis=0)})
    data = model.batch(["a"] * 4, [several, turned, still, one], [0, 1, 2, 3])["video"]
    mean, change = data["states"][:, 0], data["states"][:, 1]
    torch.testing.assert_close(change[0], -change[1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(mean[0], mean[1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(change[2:], mean[2:], atol=1e-4, rtol=1e-4)
    units = normalize(torch.from_numpy(states), dim=-1)
    torch.testing.assert_close(normalize(change[0], dim=-1), normalize(units[2] - units[0], dim=-1), atol=1e-4, rtol=0)
    assert data["mask"].sum(dim=1).tolist() == [2 + 3, 2 + 3, 2 + 3, 2 + 1]


@pytest.mark.parametrize("search_levels", ["global", "both"])
def test_with_changes_the_space_of_videos_has_a_cosine_more(checkpoint: Path, search_levels: str) -> None:
    model = trainable(checkpoint, changes=True, symmetric=True, search_levels=search_levels)
    network = model.network.eval()
    text, video, _, _ = network.embed_batch(batch(model))
    assert network.similarity(text, video, "t2v").shape == (3 + 2, 3, 3)
    videos, queries = model.embed_videos(features(model)), model.embed_queries([Query(text) for text in TEXTS])
    others = search_levels == "both"
    width, text_width = model.towers.widths
    assert [block.width for block in model.scoring.blocks] == [(2 + others) * width, (1 + others) * text_width]
    for vector in [embeddings.video for embeddings in videos] + [row / 2**0.5 for row in queries]:
        for block in np.split(vector, [(2 + others) * width]):
            assert np.linalg.norm(block) == pytest.approx(0.5**0.5, abs=1e-5)
    cosines = network.similarity(text, video, "t2v").detach().numpy()
    of_video, of_text = (cosines[:3], cosines[3:]) if others else (cosines[:2], cosines[3:4])
    expected = (of_video.mean(axis=0) + of_text.mean(axis=0)) / 2
    scores = similarities(queries, np.stack([embeddings.video for embeddings in videos]), model.scoring)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert model.fingerprint() != trainable(checkpoint, symmetric=True, search_levels=search_levels).fingerprint()


def test_a_key_image_is_a_video_of_one_picture(checkpoint: Path) -> None:
    model = lat.Lat(options(checkpoint), "cpu")
    video = features(model)[2]
    whole = model.embed_videos([video])[0]
    for place in range(4):
        part = Features(video.segments[place : place + 1], {"state": video.arrays["state"][place : place + 1]})
        np.testing.assert_allclose(model.embed_videos([part])[0].video, whole.moments[place], atol=1e-5)


def test_training_in_chunks_has_the_gradient_of_the_whole_batch(checkpoint: Path) -> None:
    gradients = []
    for chunk in (None, 1, 2):
        model = trainable(checkpoint)
        objective = Objective(model.network, Temperature(0.1), chunk=chunk, bf16=False, device=torch.device("cpu"))
        terms = objective.backward(batch(model), {"contrastive": 1.0, "cycle": 0.5}).terms
        assert set(terms) == {"contrastive", "cycle"}
        gradients.append([parameter.grad for parameter in model.network.parameters()])
    for other in gradients[1:]:
        for one, two in zip(gradients[0], other, strict=True):
            assert one is not None
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def test_without_cycle_there_is_no_such_term(checkpoint: Path) -> None:
    model = trainable(checkpoint, cycle=False)
    objective = Objective(model.network, Temperature(0.1), chunk=None, bf16=False, device=torch.device("cpu"))
    assert set(objective.backward(batch(model), {"contrastive": 1.0}).terms) == {"contrastive"}
    with pytest.raises(UsageError, match="no loss called cycle"):
        objective.backward(batch(model), {"contrastive": 1.0, "cycle": 1.0})


def test_unpaired_texts_and_videos_are_cycled_as_pairs_are(checkpoint: Path) -> None:
    model = trainable(checkpoint)
    data = batch(model)
    apart = {"text": data["text"], "video": {name: part.flip(0) for name, part in data["video"].items()}}
    terms = model.network.loss_terms({**data, "unpaired": apart}, ["unpaired"])
    *_, cycle = model.network.embed_batch(data)
    assert set(terms) == {"unpaired"}
    torch.testing.assert_close(terms["unpaired"], cycle.mean())
    assert model.network.loss_terms(data, []) == {}


def test_cycle_errors_are_those_of_the_loss_whatever_the_batch(checkpoint: Path) -> None:
    model = trainable(checkpoint, levels="global")
    model.network.eval()
    *_, cycle = model.network.embed_batch(batch(model))
    texts = model.query_cycle_errors([Query(text) for text in TEXTS])
    videos = model.video_cycle_errors(features(model))
    np.testing.assert_allclose((texts + videos) / 2, cycle.detach(), rtol=1e-4)
    alone = [model.query_cycle_errors([Query(text)])[0] for text in TEXTS]
    np.testing.assert_allclose(alone, texts, rtol=1e-4)
    assert model.query_cycle_errors([]).shape == model.video_cycle_errors([]).shape == (0,)
    assert isinstance(model, TranslatingModel)


@pytest.mark.parametrize("detach", [False, True])
def test_detached_cycles_push_no_tower_towards_what_is_easily_returned(checkpoint: Path, detach: bool) -> None:
    model = trainable(checkpoint, detach=detach)
    model.network.eval()
    text = Tokens(*batch(model)["text"].values())
    states = text.states.clone().requires_grad_()
    [gradient] = torch.autograd.grad(model.network.text_cycle_errors(Tokens(states, text.mask)).sum(), states)
    there = model.network.to_text(model.network.to_video(Tokens(states, text.mask))).levels()
    target = text.levels() if detach else Tokens(states, text.mask).levels()
    [expected] = torch.autograd.grad((there - target).square().mean(dim=-1).sum(), states)
    torch.testing.assert_close(gradient, expected)


def test_training_brings_pairs_together_and_cycles_back(checkpoint: Path) -> None:
    model = trainable(checkpoint)
    objective = Objective(model.network, Temperature(0.1), chunk=None, bf16=False, device=torch.device("cpu"))
    optimiser, data = torch.optim.AdamW(model.network.parameters(), lr=1e-2), batch(model)
    terms = []
    for _ in range(40):
        optimiser.zero_grad()
        terms.append(objective.backward(data, {"contrastive": 1.0, "cycle": 1.0}).terms)
        optimiser.step()
    assert terms[-1]["contrastive"] < terms[0]["contrastive"] / 3
    assert terms[-1]["cycle"] < terms[0]["cycle"] / 2


def test_saved_weights_come_back_exactly_with_all_options(checkpoint: Path, tmp_path: Path) -> None:
    model = trainable(checkpoint, retrieval="paper", search_levels="both")
    model.save(tmp_path / "run", {"name": "uniform", "count": 3}, {"step": 1})
    again = models.make(models.section(str(tmp_path / "run")), "cpu")
    assert isinstance(again, lat.Lat)
    assert again.options.model_copy(update={"weights": None}) == model.options
    assert models.trained_files("lat", tmp_path / "run") == [tmp_path / "run" / lat.TRANSLATORS]
    assert again.fingerprint() != lat.Lat(model.options, "cpu").fingerprint()
    queries = [Query(text) for text in TEXTS]
    np.testing.assert_array_equal(again.embed_queries(queries), model.embed_queries(queries))
    for one, other in zip(again.embed_videos(features(again)), model.embed_videos(features(model)), strict=True):
        np.testing.assert_array_equal(one.video, other.video)
    assert again.key_image_section() == {"name": "uniform", "count": 3}
    with pytest.raises(ModelNotFound, match="of another size"):
        _ = lat.Lat(options(checkpoint, weights=str(tmp_path / "run"), text_queries=7), "cpu").network
    with pytest.raises(ModelNotFound, match="trained with other switches"):
        _ = lat.Lat(options(checkpoint, weights=str(tmp_path / "run"), translator={"depth": 2}), "cpu").network
    path = tmp_path / "run" / lat.TRANSLATORS
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ModelNotFound, match="damaged"):
        _ = lat.Lat(options(checkpoint, weights=str(tmp_path / "run")), "cpu").network
    path.unlink()
    with pytest.raises(ModelNotFound, match="no trained weights here"):
        _ = lat.Lat(options(checkpoint, weights=str(tmp_path / "run")), "cpu").network


def test_untrained_translators_are_the_same_everywhere_and_follow_the_seed_in_training(checkpoint: Path) -> None:
    torch.manual_seed(5)
    one = lat.Lat(options(checkpoint), "cpu").embed_queries([Query("a dog")])
    draw = torch.rand(1)
    np.testing.assert_array_equal(lat.Lat(options(checkpoint), "cpu").embed_queries([Query("a dog")]), one)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), draw), "loading a model draws from nobody's random numbers"
    torch.manual_seed(6)
    model = lat.trainable(options(checkpoint), device="cpu")
    assert np.abs(model.embed_queries([Query("a dog")]) - one).max() > 1e-3


@pytest.mark.parametrize(
    "changes",
    [{"space": "joint"}, {"text_queries": 5}, {"video_queries": 5}, {"search_levels": "token"}, {"retrieval": "t2v"},
     {"translator": {"norm": "pre"}}],
    ids=str,
)  # fmt: skip
def test_options_that_change_vectors_change_the_fingerprint(checkpoint: Path, changes: dict[str, Any]) -> None:
    usual, other = lat.Lat(options(checkpoint), "cpu"), lat.Lat(options(checkpoint, **changes), "cpu")
    assert usual.fingerprint() != other.fingerprint()
    assert usual.vision_fingerprint() == other.vision_fingerprint()


def test_options_of_training_keep_the_fingerprint(checkpoint: Path) -> None:
    changes = {"levels": "global", "cycle": False, "symmetric": True, "moment_weight": 0.1}
    other = lat.Lat(options(checkpoint, **changes), "cpu")
    assert other.fingerprint() == lat.Lat(options(checkpoint), "cpu").fingerprint()


def test_what_cannot_be_is_one_line(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="nothing to train"):
        trainable(checkpoint, translator={"kind": "none"})
    with pytest.raises(UsageError, match="space: joint"):
        _ = LatNetwork(
            4, 6, text_queries=2, video_queries=2, translator=TranslatorOptions(**{**SMALL, "start": "identity"})
        )
    with pytest.raises(UsageError, match="checkpoint"):
        plugins.options("models", "lat", {})
    for translator in ({"kind": "linear"}, {"start": "identity"}):
        with pytest.raises(UsageError, match="changes"):
            options(checkpoint, changes=True, translator=translator)


def test_rows_of_the_ablation_are_options_that_there_are(checkpoint: Path) -> None:
    full = options(checkpoint, translator={"depth": 3}, symmetric=True)
    base = full.model_dump()
    variants = models.variants("lat")
    assert {"full", "no-changes"} <= variants.keys()
    for name, variant in variants.items():
        if variant.baseline is not None:
            section = Section(**variant.baseline(base))
            clip = models.make(Section(name="clip4clip", checkpoint=str(checkpoint)), "cpu")
            queries = models.make(section, "cpu").embed_queries([Query("a red dog")])
            np.testing.assert_allclose(np.split(queries[0], 2), clip.embed_queries([Query("a red dog")] * 2), atol=2e-5)
        else:
            changed = merge(base, dict(variant.changes))
            same_options = plugins.options("models", "lat", changed) == full
            as_full = name == "no-changes" or not variant.changes
            assert same_options == as_full, name
            assert name == "full" or variant.changes or variant.settings, name


def test_a_run_is_resumed_bit_for_bit_and_its_folder_is_a_model(tmp_path: Path) -> None:
    stages = "[{name: a, steps: 4, weights: {contrastive: 1.0, cycle: 1.0}}]"
    settings = load(
        ROOT / "configs" / "lat-moving-shapes.yaml",
        ["data.train.count=8", "data.validation.count=4", "data.batch=4", f"train.stages={stages}", "train.chunk=2",
         "train.validate_every=2", "train.save_every=2", "train.keep=2", "model.translator.dropout=0.1"],
    )  # fmt: skip
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert run(settings, whole, cache=tmp_path / "features", cpu=True).finished
    shutil.copytree(whole, resumed)
    shutil.rmtree(resumed / "model")
    shutil.rmtree(resumed / "checkpoints" / "step-00000004")
    assert run(settings, resumed, cache=tmp_path / "features", cpu=True, resume=True).finished
    state, again = (load_file(folder / "model" / lat.TRANSLATORS) for folder in (whole, resumed))
    assert all(torch.equal(state[name], again[name]) for name in state)
    section = models.section(str(whole / "model"))
    assert section.name == "lat"
    model = models.make(section, "cpu")
    assert [block.width for block in model.scoring.blocks] == [384, 160]
    images = models.key_images(section)
    assert images is not None
    assert images.options["count"] == 12
