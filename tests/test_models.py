"""The contract that every model keeps, and what is special about each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_llava
import tiny_multimodal
import tiny_towers
import torch
from fakes import FakeBlockModel

from mmi_tvr import models, plugins
from mmi_tvr.config import Section
from mmi_tvr.encoders import e5, efficientnet, hub
from mmi_tvr.errors import ModelNotFound, UsageError
from mmi_tvr.models import label_bridge
from mmi_tvr.protocols import Model, ModelWithLabels, TextLimitedModel
from mmi_tvr.scoring import background_sentences
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.types import Block, Features, Labels, Query, Scoring, Triplet
from mmi_tvr.utils import array_cache, environment

LAYOUTS = ("clip", "siglip", "chinese_clip")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small random checkpoints of the real layouts; test_towers.py has what is special about each."""
    return {name: tiny_towers.make(name, tmp_path_factory.mktemp(name)) for name in LAYOUTS}


@pytest.fixture(scope="module")
def every(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    by_name = {name: models.make(Section(name="clip4clip", checkpoint=str(path))) for name, path in checkpoints.items()}
    llava = {"checkpoint": str(tiny_llava.make(tmp_path_factory.mktemp("llava"))), "grid": 1}
    by_name["mmi"] = models.make(Section(name="mmi", llava=llava, heads={"heads": 2, "grid": 2}), "cpu")
    small = {"width": 16, "heads": 2, "feed_forward": 16}
    by_name["lat"] = models.make(Section(name="lat", checkpoint=str(checkpoints["clip"]), translator=small), "cpu")
    by_name["clip_pad"] = models.make(
        Section(name="clip_pad", checkpoint=str(checkpoints["clip"]), faces={"name": "things"}), "cpu"
    )
    levels = {"width": 16, "heads": 2, "word_width": 8, "graph": "attention", "labels": "exact"}
    mcsan = models.trainable(Section(name="mcsan", vision=str(checkpoints["clip"]), **levels), "cpu")
    assert isinstance(mcsan, ModelWithLabels)
    mcsan.prepare(["a dog runs"], [Labels(("dog",), ("run",), (Triplet("dog", "run", ""),))])
    by_name["mcsan"] = mcsan
    tiny = tiny_multimodal.make("qwen3_vl", tmp_path_factory.mktemp("qwen3_vl"))
    by_name["mllm"] = models.make(Section(name="mllm", checkpoint=str(tiny), image_size=64))
    return {**by_name, "label_bridge": models.make(Section(name="label_bridge")), "blocks": FakeBlockModel()}


JUDGE = {"name": "llava", "weights": "a"}  # who judges, in the settings of re-ranking


def test_every_model_is_tried() -> None:
    known = {"clip4clip", "clip_pad", "label_bridge", "lat", "mcsan", "mllm", "mmi"}
    assert set(plugins.names("models")) == known, "give the new model a place in `every`"


@pytest.fixture(params=[*LAYOUTS, "label_bridge", "mmi", "lat", "mcsan", "clip_pad", "mllm", "blocks"])
def model(request: pytest.FixtureRequest, every: dict[str, Model]) -> Model:
    return every[request.param]


def pictures(count: int, seed: int = 0, size: tuple[int, int] = (40, 56)) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


def features(model: Model, count: int, seed: int = 0) -> Features:
    edges = np.arange(count + 1.0)
    segments = np.stack([edges[:-1], edges[1:], edges[:-1] + 0.5], axis=1)
    return Features(segments, model.encode_images(pictures(count, seed)))


def test_model_offers_the_protocol(model: Model) -> None:
    assert isinstance(model, Model)
    assert model.image_size > 0
    assert 0 <= model.scoring.moment_weight <= 1


def test_features_have_one_row_per_picture_and_do_not_depend_on_the_batch(model: Model) -> None:
    whole = model.encode_images(pictures(5))
    single = model.encode_images(pictures(5)[3:4])
    assert whole.keys() == single.keys()
    assert len(whole) > 0
    for name, array in whole.items():
        assert len(array) == 5
        np.testing.assert_allclose(array[3], single[name][0], rtol=2e-2, atol=2e-3)


def test_embeddings_are_unit_vectors_of_one_space_and_their_blocks_equally_long(model: Model) -> None:
    first, second = model.embed_videos([features(model, 4), features(model, 1, seed=1)])
    queries = model.embed_queries([Query("a dog runs"), Query("一只狗"), Query("a cat sleeps " * 200)])
    assert first.moments.shape == (4, queries.shape[1])
    assert second.moments.shape == (1, queries.shape[1])
    blocks = model.scoring.blocks
    for vectors in (first.video[None], first.moments, second.video[None], queries):
        assert vectors.dtype == np.float32
        if vectors is not queries or not blocks:
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    ends = np.cumsum([block.width for block in blocks])
    assert not blocks or ends[-1] == queries.shape[1]
    for part in np.split(first.moments, ends[:-1], axis=1) if blocks else ():
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1 / np.sqrt(len(blocks)), atol=1e-5)
    np.testing.assert_array_equal(first.segments[:, 0], [0, 1, 2, 3])


def test_scores_of_a_model_are_those_of_its_blocks_or_cosines(model: Model) -> None:
    videos = model.embed_videos([features(model, 2), features(model, 3, seed=1)])
    queries = model.embed_queries([Query("a dog runs"), Query("red and blue")])
    assert len(queries) == len(videos) == 2
    for row, query in enumerate(queries):
        for column, video in enumerate(videos):
            whole = naive_similarity(query, video.video, model.scoring)
            best = sorted((naive_similarity(query, moment, model.scoring) for moment in video.moments), reverse=True)
            w = model.scoring.moment_weight
            expected = (1 - w) * whole + w * np.mean(best[: model.scoring.top_moments])
            score = Gallery.pack(videos).score(queries, model.scoring)[row, column]
            assert score == pytest.approx(expected, abs=1e-5)


def naive_similarity(query: np.ndarray, vector: np.ndarray, scoring: Scoring) -> float:
    blocks = scoring.blocks or (Block("all", len(query)),)
    total, start = 0.0, 0
    for block in blocks:
        z = float(query[start : start + block.width] @ vector[start : start + block.width]) * len(blocks) ** 0.5
        total += block.t2v * (z if block.squash is None else 1 / (1 + np.exp(-block.squash - z)))
        start += block.width
    return total


def test_same_input_gives_same_vectors(model: Model) -> None:
    one, two = (model.embed_videos([features(model, 3)])[0] for _ in range(2))
    np.testing.assert_array_equal(one.moments, two.moments)
    np.testing.assert_array_equal(*(model.embed_queries([Query("a red dog")]) for _ in range(2)))


def test_a_video_of_one_key_image_is_that_key_image(model: Model) -> None:
    video = model.embed_videos([features(model, 1)])[0]
    np.testing.assert_allclose(video.video, video.moments[0], atol=1e-6)


def test_fingerprints_tell_models_apart(every: dict[str, Model]) -> None:
    assert len({model.fingerprint() for model in every.values()}) == len(every)
    # clip_pad sees what clip4clip does: features of the one serve the other
    assert len({model.vision_fingerprint() for model in every.values()}) == len(every) - 1


def test_clip4clip_is_the_mean_of_what_transformers_says(checkpoints: dict[str, Path]) -> None:
    from transformers import AutoImageProcessor, AutoModel

    ours = models.make(models.section(f"clip4clip:{checkpoints['clip']}"))
    video = ours.embed_videos([features(ours, 3)])[0]
    inputs = AutoImageProcessor.from_pretrained(checkpoints["clip"])(images=pictures(3), return_tensors="pt")
    with torch.inference_mode():
        theirs = AutoModel.from_pretrained(checkpoints["clip"]).get_image_features(**inputs).pooler_output
    rows = torch.nn.functional.normalize(theirs, dim=-1)
    mean = torch.nn.functional.normalize(rows.mean(0), dim=-1).numpy()
    np.testing.assert_allclose(video.video, mean, atol=1e-5)


def test_weights_that_differ_anywhere_have_another_fingerprint(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    twin = shutil.copytree(checkpoints["clip"], tmp_path / "twin")
    assert hub.checkpoint_digest(twin) == hub.checkpoint_digest(checkpoints["clip"])
    weights = twin / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-7] ^= 1
    weights.write_bytes(content)
    assert hub.checkpoint_digest(twin) != hub.checkpoint_digest(checkpoints["clip"])


@pytest.mark.parametrize("name", ["owner/nothing-here", "/no/such/folder", "not a name/at all/ever"])
def test_a_checkpoint_that_is_not_here_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFound) as caught:
        models.make(Section(name="clip4clip", checkpoint=name))
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_a_folder_that_is_no_checkpoint_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="not a checkpoint"):
        models.make(Section(name="clip4clip", checkpoint=str(tmp_path)))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelNotFound, match="a bert checkpoint"):
        models.make(Section(name="clip4clip", checkpoint=str(tmp_path)))


def test_a_bundled_checkpoint_is_located_by_its_name_and_a_path_never_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hub.locate("moving-shapes/base") == hub.BUNDLED / "moving-shapes" / "base"
    assert hub.locate(str(tmp_path)) == tmp_path
    monkeypatch.setattr("huggingface_hub.snapshot_download", pytest.fail)
    for name in ("./nothing", "/no/such/folder", "a/b/c"):
        with pytest.raises(ModelNotFound, match="no such folder"):
            hub.locate(name)


def test_models_of_the_cache_come_largest_first_and_only_of_the_types_asked_for(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert hub.cached(frozenset({"clip", "siglip"})) == []
    _cached(tmp_path, "someone/small", checkpoints["clip"])
    _cached(tmp_path, "someone/siglip", checkpoints["siglip"])
    (shutil.copytree(checkpoints["clip"], tmp_path / "large") / "large.txt").write_bytes(bytes(1 << 20))
    _cached(tmp_path, "someone/large", tmp_path / "large")
    assert [model.name for model in hub.cached(frozenset({"clip"}))] == ["someone/large", "someone/small"]
    assert {model.model_type for model in hub.cached(frozenset({"siglip"}))} == {"siglip"}
    assert hub.locate("someone/small").name == "0123456789abcdef"
    (hub.locate("someone/small") / "model.safetensors").unlink()
    with pytest.raises(ModelNotFound, match="or only part of it is; to fetch it: mmi-tvr models get someone/small"):
        hub.locate("someone/small")


def test_model_names_on_the_command_line(tmp_path: Path) -> None:
    assert models.section("label_bridge") == Section(name="label_bridge")
    assert models.section(str(tmp_path)) == Section(name="clip4clip", checkpoint=str(tmp_path))
    assert models.section("openai/clip").options == {"checkpoint": "openai/clip"}
    with pytest.raises(UsageError, match="label_bridge"):
        models.section("label-bridge")


def _cached(home: Path, repository: str, checkpoint: Path) -> None:
    """A repository as the hub client lays it out in its cache."""
    folder = home / f"models--{repository.replace('/', '--')}"
    shutil.copytree(checkpoint, folder / "snapshots" / "0123456789abcdef")
    (folder / "blobs").mkdir()
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123456789abcdef")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"name": "skeleton", "weights": "a", "depth": 3}, {"name": "skeleton", "depth": 3, "judge": JUDGE}),
        ({"name": "skeleton", "weights": None}, {"name": "skeleton"}),
        ({"name": "of-others", "weights": "a"}, {"name": "of-others", "weights": "a"}),
        (None, None),
    ],
)
def test_who_judges_is_a_section_in_older_model_folders_too(tmp_path: Path, before: object, after: object) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"name": "mmi", "options": {}, "rerank": before}))
    assert models.read(tmp_path).rerank == after


def test_auto_takes_a_configured_then_a_cached_checkpoint_then_the_bridge(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv(environment.MODEL, raising=False)
    assert models.resolve(Section()).name == models.FALLBACK
    _cached(tmp_path, "someone/tiny-clip", checkpoints["clip"])
    assert models.resolve(Section()) == Section(name="clip4clip", checkpoint="someone/tiny-clip")
    for name, content in (("config.json", "{torn"), ("preprocessor_config.json", None)):
        broken = tmp_path / "models--someone--tiny-clip" / "snapshots" / "0123456789abcdef" / name
        whole = broken.read_text()
        broken.unlink()
        if content:
            broken.write_text(content)
        assert models.resolve(Section()).name == models.FALLBACK, "part of a checkpoint is none"
        broken.write_text(whole)
    assert models.resolve(Section()).name == "clip4clip"
    monkeypatch.setenv(environment.MODEL, "label_bridge")
    assert models.resolve(Section()).name == "label_bridge"


def test_shipped_class_vectors_are_current_and_right() -> None:
    path = label_bridge.SHIPPED / f"label-bridge-{label_bridge.text_fingerprint()}.safetensors"
    assert path.is_file(), "run scripts/make_class_vectors.py"
    shipped = array_cache.load_or_compute(
        "label-bridge", label_bridge.text_fingerprint(), dict, shipped=label_bridge.SHIPPED
    )
    for number in (0, 500, 999):
        name, description = efficientnet.classes()[number]
        texts = [template.format(name=name, description=description) for template in label_bridge.TEMPLATES]
        np.testing.assert_allclose(shipped["texts"][:, number], e5.encode(texts), atol=2e-3)


def test_bridge_matches_the_formula_written_out(every: dict[str, Model]) -> None:
    """Norouzi et al.'s convex combination and its twin in class space, one number after the other."""
    model = every["label_bridge"]
    video = features(model, 2)
    logits = video.arrays["logits"].astype(np.float64)  # (2, 2, 1000)
    likely = np.zeros(1000)
    for picture in logits:
        for view in picture:
            likely += np.exp(view) / np.exp(view).sum() / 4
    order = np.argsort(-likely)[:50]
    weights = np.zeros(1000)
    weights[order] = likely[order] ** (1 / 3)
    sentence = sum(weight * vector for weight, vector in zip(weights, model._classes, strict=True))
    expected = np.concatenate([sentence / np.linalg.norm(sentence), weights / np.linalg.norm(weights)]) / np.sqrt(2)
    np.testing.assert_allclose(model.embed_videos([video])[0].video, expected, atol=1e-4)


def test_a_query_of_the_bridge_matches_its_formula_written_out(every: dict[str, Model]) -> None:
    """A query without what all sentences of its language share, and how much each class has to do with it."""
    model = every["label_bridge"]
    for query in ("a dog runs", "一只狗在跑"):
        vector = e5.encode([query])[0].astype(np.float64)
        languages = model._languages.astype(np.float64)
        shared = max(languages, key=lambda language: vector @ language / np.linalg.norm(language))
        centred = vector - shared
        nearness = np.zeros(1000)
        for texts in model._texts.astype(np.float64):
            cosines = texts @ centred
            nearness += (cosines - cosines.mean()) / cosines.std()
        weights = np.maximum((nearness - nearness.mean()) / nearness.std(), 0) ** 3
        expected = np.concatenate([centred / np.linalg.norm(centred), weights / np.linalg.norm(weights)]) / np.sqrt(2)
        np.testing.assert_allclose(model.embed_queries([Query(query)])[0], expected, atol=1e-4)


def test_classes_of_the_bridge_are_their_two_texts_each_without_what_all_classes_share(every: dict[str, Model]) -> None:
    model = every["label_bridge"]
    expected = np.zeros((1000, e5.WIDTH))
    for texts in model._texts.astype(np.float64):
        centred = texts - texts.mean(axis=0)
        expected += centred / np.linalg.norm(centred, axis=1, keepdims=True)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(model._classes, expected, atol=1e-5)


@pytest.mark.parametrize("option", [{"temperature": 2.0}, {"classes": 40}, {"sharpness": 2.0}], ids=str)
def test_options_that_change_vectors_of_the_bridge_change_its_fingerprint(
    every: dict[str, Model], option: dict[str, float]
) -> None:
    usual, other = every["label_bridge"], models.make(Section(name="label_bridge", **option))
    assert other.fingerprint() != usual.fingerprint()
    assert other.vision_fingerprint() == usual.vision_fingerprint()
    video, query = features(usual, 1), [Query("a dog runs")]
    vectors = [
        np.concatenate([model.embed_videos([video])[0].video, model.embed_queries(query)[0]])
        for model in (usual, other)
    ]
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_options_that_change_scores_alone_keep_the_fingerprint_of_the_bridge(every: dict[str, Model]) -> None:
    scoring = {"moment_weight": 0.1, "top_moments": 1, "min_relevance": 0.9}
    other = models.make(Section(name="label_bridge", **scoring))
    assert other.fingerprint() == every["label_bridge"].fingerprint()
    assert (other.scoring.moment_weight, other.scoring.top_moments, other.scoring.min_relevance) == (0.1, 1, 0.9)


def test_the_classifier_reads_the_centre_square_and_the_whole_picture(every: dict[str, Model]) -> None:
    """Wide and tall: the first view sees the middle alone, the second the sides too; and more pictures than a batch."""
    net = every["label_bridge"]._classifier
    middle = pictures(1, size=(efficientnet.SIZE, efficientnet.SIZE))[0]
    for axis in (0, 1):
        sides = [np.full_like(middle, level) for level in (0, 255)]
        long = np.concatenate([sides[0], middle, sides[1]], axis=axis)
        logits = net.logits([middle, long])
        np.testing.assert_allclose(logits[1, 0], logits[0, 0], atol=1e-3)
        assert np.abs(logits[1, 1] - logits[0, 1]).max() > 1
    many = pictures(9, size=(30, 30))
    np.testing.assert_allclose(net.logits(many)[8], net.logits(many[8:])[0], atol=1e-3)


def test_a_sentence_is_read_up_to_its_end_and_no_sentence_is_no_vector() -> None:
    assert e5.encode([]).shape == (0, e5.WIDTH)
    np.testing.assert_array_equal(*e5.encode(["a dog\0 runs", "a dog  runs"]))
    one, other = e5.encode(["a dog\0 runs", "a dog"])
    assert np.abs(one - other).max() > 1e-3


def test_what_lies_behind_the_characters_that_are_read_changes_nothing(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(e5, "_LENGTH", 40)  # reading all 512 takes seconds
    assert isinstance(model, TextLimitedModel)
    words = "a dog runs a red cat sleeps " * 90
    read = model.characters_read(words)
    assert 10 < read < len(words)
    other = words[: read + 8] + "man" * 20_000  # behind the end of the word in which reading ended
    # The language model of an untrained mmi reads further than CLIP, and has no say yet.
    earlier = words[: 8 if model.name == "mmi" else read // 2] + "man " * 800
    vectors = model.embed_queries([Query(text) for text in (words, other, earlier)])
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-6)
    assert np.abs(vectors[2] - vectors[0]).max() > 1e-4
    assert [model.characters_read(text) for text in ("a dog", "狗", "")] == [5, 1, 0]


@pytest.mark.parametrize("file", ["config.json", "vocab.json", "model.safetensors"])
def test_a_checkpoint_of_other_content_has_another_digest(
    checkpoints: dict[str, Path], tmp_path: Path, file: str
) -> None:
    twin = shutil.copytree(checkpoints["clip"], tmp_path / "twin")
    path = next(twin.glob(file)) if list(twin.glob(file)) else twin / "tokenizer.json"
    path.write_bytes(path.read_bytes() + b" ")
    assert hub.checkpoint_digest(twin) != hub.checkpoint_digest(checkpoints["clip"])
    (twin / "notes.md").write_text("nothing that a model reads")
    path.write_bytes(path.read_bytes()[:-1])
    assert hub.checkpoint_digest(twin) == hub.checkpoint_digest(checkpoints["clip"])


def test_a_digest_of_large_weights_looks_at_blocks_all_over_the_file(tmp_path: Path) -> None:
    """64 blocks of 64 KB: of a file of 8 MB every second one."""
    weights = tmp_path / "model.safetensors"
    content = bytearray(8 << 20)
    weights.write_bytes(content)
    before = hub.checkpoint_digest(tmp_path)
    for place in (0, len(content) // 2 + 5, len(content) - (1 << 17)):
        content[place] ^= 1
        weights.write_bytes(content)
        after = hub.checkpoint_digest(tmp_path)
        assert after != before
        before = after


def test_what_a_batch_holds_changes_no_vector_of_clip(checkpoints: dict[str, Path]) -> None:
    one, many = (models.make(Section(name="clip4clip", checkpoint=str(checkpoints["clip"]), batch=n)) for n in (1, 32))
    texts = [Query(text) for text in ("a dog", "a cat sleeps", "red")]
    np.testing.assert_allclose(one.embed_queries(texts), many.embed_queries(texts), atol=1e-6)
    np.testing.assert_allclose(
        one.encode_images(pictures(3))["image"], many.encode_images(pictures(3))["image"], atol=1e-6
    )
    assert one.fingerprint() == many.fingerprint()


@pytest.mark.parametrize(
    ("query", "expected"),
    [("a dog", "dog"), ("一只猫", "cat"), ("someone plays the guitar", "guitar"), ("骑自行车", "bike")],
)
def test_queries_are_close_to_their_classes(every: dict[str, Model], query: str, expected: str) -> None:
    weights = every["label_bridge"].embed_queries([Query(query)])[0, e5.WIDTH :]
    best = [efficientnet.classes()[number][0] for number in np.argsort(-weights)[:25]]
    assert any(expected in name for name in best), best


def test_background_sentences_differ_and_come_in_pairs() -> None:
    sentences = background_sentences.sentences()
    assert len(set(sentences["en"])) > 0.9 * len(sentences["en"])
    assert len(sentences["en"]) == len(sentences["zh"])
    assert all(any("一" <= letter <= "鿿" for letter in text) for text in sentences["zh"])


def test_a_broken_cache_file_is_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path))
    calls = []

    def compute() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"x": np.arange(3.0)}

    for _ in range(2):
        np.testing.assert_array_equal(array_cache.load_or_compute("thing", "f", compute)["x"], [0, 1, 2])
    assert len(calls) == 1
    next(tmp_path.glob("thing-*")).write_bytes(b"torn")
    np.testing.assert_array_equal(array_cache.load_or_compute("thing", "f", compute)["x"], [0, 1, 2])
    assert len(calls) == 2
