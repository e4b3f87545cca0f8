"""CLIP-PAD: a face stands as a word in every layout of towers, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_towers
import torch

from mmi_tvr import models, plugins
from mmi_tvr.config import Section
from mmi_tvr.encoders.clip_words import ClipWordTowers
from mmi_tvr.errors import UsageError
from mmi_tvr.models import clip_pad
from mmi_tvr.models.clip_pad import ClipPad
from mmi_tvr.protocols import ModelLearningFaces
from mmi_tvr.types import Features, FloatArray, PartialQueries, Person, Query, ScoreLaw

LAYOUTS = tuple(tiny_towers.LAYOUTS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {layout: tiny_towers.make(layout, tmp_path_factory.mktemp(layout)) for layout in LAYOUTS}


def a_model(folder: Path, trained: bool = False, **options: Any) -> ClipPad:
    """A model on small towers with the faces of tests; its words for faces are random where it is `trained`."""
    values = {"checkpoint": str(folder), "faces": {"name": "fake"}, "hidden": 8, **options}
    model = models.make(Section(name="clip_pad", **values), "cpu")
    assert isinstance(model, ClipPad)
    if trained:
        with torch.no_grad():
            model.network.mlp[2].weight.normal_(generator=torch.Generator().manual_seed(1))
    return model


def somebody(model: ClipPad, seed: int = 0, count: int = 1, name: str = "") -> Person:
    encoder = model.face_encoder()
    faces = np.random.default_rng(seed).standard_normal((count, encoder.width)).astype(np.float32)
    return Person(faces / np.linalg.norm(faces, axis=1, keepdims=True), encoder.fingerprint(), name)


@pytest.fixture(params=LAYOUTS)
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


def test_untrained_it_is_clip4clip_on_the_spoken_sentence_in_every_layout(folder: Path) -> None:
    model, plain = a_model(folder), models.make(Section(name="clip4clip", checkpoint=str(folder)), "cpu")
    people = {"a": somebody(model), "b": somebody(model, 1)}
    queries = [
        Query("[a] waves to [b], then [a] sits", persons=people),
        Query("a dog, [a]", persons={"a": people["a"]}),
        Query("Red dogs [c]"),
        Query("a dog " * 60),
    ]
    np.testing.assert_allclose(model.embed_queries(queries), plain.embed_queries(queries), atol=1e-6)
    assert model.vision_fingerprint() == plain.vision_fingerprint()  # features are shared
    assert isinstance(model, ModelLearningFaces)
    assert "persons" in model.reads


def test_a_trained_face_moves_its_own_word_and_no_other_in_every_layout(folder: Path) -> None:
    model = a_model(folder, trained=True)
    tokenizer = model.towers._sentences._tokenizer
    people = {"a": somebody(model), "b": somebody(model, 1)}
    query = Query("dogs see [a] and [b]s and [a]", persons=people)
    inputs, faces = model._read([query])
    assert faces.shape == (1, 2, 6)
    ids, numbers = inputs["input_ids"][0], inputs["vectors"][0]
    words = [tokenizer.decode(ids[numbers == number]).replace(" ", "").replace("▁", "") for number in (0, 1)]
    assert words == ["personperson", "person"]
    with_faces = model.embed_queries([query, Query("a dog")])
    other = model.embed_queries([Query(query.text, persons={**people, "b": somebody(model, 2)}), Query("a dog")])
    assert np.abs(with_faces[0] - other[0]).max() > 1e-3
    np.testing.assert_allclose(with_faces[1], other[1], atol=1e-6)
    swapped = Query(query.text, persons={"a": people["b"], "b": people["a"]})
    assert np.abs(model.embed_queries([swapped])[0] - with_faces[0]).max() > 1e-3


def test_a_moved_word_equals_a_tower_with_that_word_vector(folders: dict[str, Path]) -> None:
    """The hook against the same sum in the embedding's own table, for a token that the sentence has once."""
    towers = ClipWordTowers(folders["clip"], "cpu")
    from mmi_tvr.encoders.clip_words import joined

    inputs = towers.tokens([joined(["dog ", ("x", 0, "x"), " red"])])
    move = torch.randn(1, 1, towers.word_width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        hooked = towers.text_features(inputs, move)
        token = inputs["input_ids"][inputs["vectors"] >= 0]
        assert len(token) == 1
        towers._words.weight[token] += move[0, 0]
        summed = towers.text_features(inputs, move[:, :0])
    torch.testing.assert_close(hooked, summed)


def test_several_faces_count_as_their_mean_and_the_length_of_a_descriptor_counts_nothing(
    folders: dict[str, Path],
) -> None:
    model = a_model(folders["clip"], trained=True)
    two = somebody(model, count=2)
    mean = Person(3 * two.faces.mean(axis=0, keepdims=True), two.maker)
    vectors = model.embed_queries([Query("[a]", persons={"a": person}) for person in (two, mean)])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_a_name_is_replaced_or_stands_before_the_face(folders: dict[str, Path]) -> None:
    replacing, after = (a_model(folders["clip"], place=place) for place in ("replace", "after"))
    query = Query("[a] waves", persons={"a": somebody(replacing, name="anna")})
    plain = models.make(Section(name="clip4clip", checkpoint=str(folders["clip"])), "cpu")
    texts = ("a person waves", "anna a person waves", "anna waves")
    expected = plain.embed_queries([Query(text) for text in texts])
    no_face = Query("[a] waves", persons={"a": Person(np.zeros((0, 0), np.float32), "", "anna")})
    np.testing.assert_allclose(replacing.embed_queries([no_face])[0], expected[2], atol=1e-6)
    np.testing.assert_allclose(replacing.embed_queries([query])[0], expected[0], atol=1e-6)
    np.testing.assert_allclose(after.embed_queries([query])[0], expected[1], atol=1e-6)
    assert (
        len({replacing.fingerprint(), after.fingerprint(), a_model(folders["clip"], word="somebody").fingerprint()})
        == 3
    )


@pytest.mark.parametrize(
    ("text", "change", "message"),
    [
        ("[a] waves", {"maker": "another"}, r"\[a\] was described by another encoder \(another\)"),
        ("[a] waves", {"faces": np.ones(6, np.float32)}, r"\[a\] has descriptors of the shape \(6,\)"),
        ("[a] waves", {"faces": np.ones((1, 128), np.float32)}, r"one or more of 6 finite numbers"),
        ("[a] waves", {"faces": np.full((1, 6), np.nan, np.float32)}, r"one or more of 6 finite numbers"),
        ("[a] waves", {"faces": np.array([[1, 0, 0, 0, 0, 0], [-1, 0, 0, 0, 0, 0]])}, r"\[a\]: the descriptors cancel"),
        ("she waves", {}, r"\[a\] stands nowhere in the query"),
        ("dog " * 60 + "[a]", {}, r"\[a\] stands behind the 77 tokens"),
        ("dog " * 4000 + "[a]", {}, r"\[a\] stands behind the 77 tokens"),
    ],
)
def test_persons_that_cannot_be_read_are_one_line(
    folders: dict[str, Path], text: str, change: dict[str, Any], message: str
) -> None:
    model = a_model(folders["clip"])
    person = somebody(model)
    changed = Person(**{"faces": person.faces, "maker": person.maker, **change})
    with pytest.raises(UsageError, match=message) as caught:
        model.embed_queries([Query(text, persons={"a": changed})])
    assert "\n" not in str(caught.value)


def test_brackets_without_a_person_are_text_and_long_sentences_with_one_are_cut_behind_it(
    folders: dict[str, Path],
) -> None:
    model = a_model(folders["siglip"], trained=True)
    plain = models.make(Section(name="clip4clip", checkpoint=str(folders["siglip"])), "cpu")
    text = [Query("[a] [] ][ [b]"), Query("")]
    np.testing.assert_allclose(model.embed_queries(text), plain.embed_queries(text), atol=1e-6)
    long = [Query("[a]" + " dog" * count, persons={"a": somebody(model)}) for count in (16, 200)]
    np.testing.assert_allclose(*model.embed_queries(long), atol=1e-5)
    assert model.embed_queries([]).shape == (0, 32)


def test_things_are_described_by_the_image_tower(folders: dict[str, Path]) -> None:
    model = a_model(folders["clip"], faces={"name": "things"})
    encoder, picture = model.face_encoder(), np.full((20, 30, 3), 90, np.uint8)
    [face] = encoder.detect(picture)
    np.testing.assert_allclose(encoder.describe(picture, [face]), model.encode_images([picture])["image"], atol=1e-6)
    assert encoder.describe(picture, []).shape == (0, encoder.width)
    assert face.box == (0, 0, 30, 20)
    with pytest.raises(UsageError, match="things has no options, such as size"):
        a_model(folders["clip"], faces={"name": "things", "size": 3}).face_encoder()
    with pytest.raises(UsageError, match="end in a letter"):
        a_model(folders["clip"], word="a person.")


@pytest.mark.parametrize("train", ["mlp", "text", "both"])
def test_what_was_trained_is_saved_and_read_again(folders: dict[str, Path], tmp_path: Path, train: str) -> None:
    options = plugins.options(
        "models",
        "clip_pad",
        {"checkpoint": str(folders["clip"]), "faces": {"name": "fake"}, "hidden": 8, "train": train},
    )
    model = clip_pad.trainable(options, device="cpu")
    with torch.no_grad():
        for parameters in model.network.parameter_groups().values():
            for parameter in parameters:
                parameter.add_(0.1)
    model.save(tmp_path)
    again = models.make(models.trained_section(str(tmp_path)), "cpu")
    query = Query("[a] waves", persons={"a": somebody(model)})
    np.testing.assert_allclose(again.embed_queries([query]), model.embed_queries([query]), atol=1e-6)
    assert again.fingerprint() != model.fingerprint()
    files = [path.name for path in models.trained_files("clip_pad", tmp_path)]
    assert files == ([clip_pad.PERSONS] if train == "mlp" else [clip_pad.PERSONS, clip_pad.TEXT])
    assert again.options.faces == model.options.faces
    names = {name for name, group in model.network.parameter_groups().items() if list(group)}
    assert names == ({"mlp", "text"} if train == "both" else {train})


def test_a_trained_folder_names_the_file_of_its_face_encoder_from_anywhere(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("faces.safetensors").touch()
    model = a_model(folders["clip"])
    elsewhere = model.options.model_copy(update={"faces": Section(name="drawn", weights="faces.safetensors")})
    model.network  # noqa: B018 (loaded with the faces of tests)
    model.options = elsewhere
    model.save(tmp_path / "model")
    assert models.read(tmp_path / "model").options["faces"]["weights"] == str(tmp_path / "faces.safetensors")


def features(model: ClipPad, count: int) -> list[Features]:
    random = np.random.default_rng(count)
    arrays: list[FloatArray] = [random.standard_normal((2, model.towers.joint_width)) for _ in range(count)]
    segments = np.array([[0, 1, 0.5], [1, 2, 1.5]])
    return [Features(segments, {"image": array.astype(np.float32)}) for array in arrays]


def test_gradients_reach_what_learns_and_chunks_change_none(folders: dict[str, Path]) -> None:
    from mmi_tvr.nn.losses import Temperature
    from mmi_tvr.train.objective import Objective

    model = a_model(folders["chinese_clip"], trained=True)
    queries = [Query("[a] waves", persons={"a": somebody(model, seed)}) for seed in range(3)] + [Query("a dog")]
    batch = {"ids": list("abcd"), **model.query_batch(queries, features(model, 4), [0, 1, 2, 0])}
    gradients = []
    for chunk in (None, 2):
        model.network.zero_grad()
        objective = Objective(model.network, Temperature(), chunk=chunk, bf16=False, device=torch.device("cpu"))
        objective.backward(batch, {"contrastive": 1.0})
        learned = [(name, value) for name, value in model.network.named_parameters() if value.requires_grad]
        gradients.append({name: value.grad for name, value in learned if value.grad is not None})
    assert {name.split(".")[0] for name in gradients[0]} == {"mlp", "towers"}
    assert not any("vision" in name or "logit" in name for name in gradients[0])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-4)
    text_only = model.query_batch([Query("a dog")], features(model, 1), [0])
    assert text_only["faces"].shape == (1, 1, 6)  # so that all processes have gradients of the same parameters


def test_a_law_of_scores_comes_with_the_weights_that_it_was_measured_with(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    a_model(folders["clip"], trained=True).save(tmp_path / "trained")
    settings = models.read(tmp_path / "trained")
    partial = {"middle": 0.2, "growth": 0.02, "weights": [0.5, -1.0], "bias": 0.1}
    law = {"middle": 0.6, "slope": 20.0, "partial": partial}
    models.write(tmp_path / "trained", replace(settings, options={**settings.options, "score_law": law}))
    section = models.trained_section(str(tmp_path / "trained"))
    model = models.make(section, "cpu")
    assert isinstance(model, ClipPad)
    assert model.scoring.score_law == ScoreLaw(0.6, 20.0, PartialQueries(0.2, 0.02, (0.5, -1.0), 0.1))
    other = models.make(Section(name="clip_pad", **{**section.options, "word": "somebody"}), "cpu")
    assert other.scoring.score_law is None  # its scores are others
    untrained = {"checkpoint": str(folders["clip"]), "faces": {"name": "fake"}, "score_law": law}
    assert models.make(Section(name="clip_pad", **untrained), "cpu").scoring.score_law is None
    model.save(tmp_path / "further")
    assert "score_law" not in models.read(tmp_path / "further").options
