"""A small LLaVA from nothing: its files, its data, and the three stages from end to end."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pretraining_inputs import VIDEOS, features, split, tokenizers
from transformers import AutoTokenizer, CLIPModel, LlavaForConditionalGeneration

from mmi_tvr import config, plugins
from mmi_tvr.datasets.moving_shapes import (
    ACTIONS,
    COLOURS,
    SHAPES,
    MovingShapes,
    captions,
    stills,
    visible_shapes,
)
from mmi_tvr.experiments.pretrain import layout
from mmi_tvr.experiments.pretrain.data import ClipBatches, ConversationBatches, FrameBatches, text_numbers
from mmi_tvr.experiments.pretrain.facts import SIZES, FactReader, PlaceReader, facts, latest_events, places
from mmi_tvr.experiments.pretrain.frames import encode
from mmi_tvr.experiments.pretrain.options import PretrainOptions
from mmi_tvr.experiments.pretrain.run import parts, pretrain
from mmi_tvr.experiments.pretrain.tokens import ConversationTokenizer

SHORT = {"steps": 2, "batch": 8, "rate": 1e-3}


@pytest.fixture(scope="module")
def dataset() -> MovingShapes:
    return split()


@pytest.fixture(scope="module")
def words(dataset: MovingShapes) -> tuple[Any, Any]:
    return tokenizers(dataset)


def test_any_text_comes_back_from_the_tokenizers(words: tuple[Any, Any], dataset: MovingShapes) -> None:
    """Byte level: also what was never seen. CLIP's lowers the case and separates words, as CLIP's does."""
    for text in (*captions(dataset.specs()[0]), "a zebra, 斑马 🦓"):
        ids = words[1].encode(text, add_special_tokens=False)
        assert words[1].decode(ids) == text
        assert words[0].unk_token_id not in words[0].encode(text, add_special_tokens=False)
    assert words[1].encode("red")[0] == words[1].bos_token_id
    assert len(words[1]) <= layout.VOCABULARY


def test_saved_files_load_in_plain_transformers(words: tuple[Any, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    clip = layout.new_clip(words[0])
    llava = layout.new_llava(clip, words[1])
    layout.save(tmp_path, clip, words[0], llava, words[1])
    again = LlavaForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32)
    towers = CLIPModel.from_pretrained(tmp_path / "clip", dtype=torch.float32)
    for name, weight in llava.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight, atol=1e-3, rtol=1e-3)  # stored in float16
    for name, weight in towers.vision_model.state_dict().items():
        assert torch.equal(again.model.vision_tower.state_dict()[name], weight)
    assert again.get_output_embeddings().weight is again.get_input_embeddings().weight
    text = "a red ring grows"
    for place, tokenizer in ((tmp_path, words[1]), (tmp_path / "clip", words[0])):
        assert AutoTokenizer.from_pretrained(place)(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 12.5e6


def test_frame_batches_say_what_is_shown(dataset: MovingShapes) -> None:
    data = FrameBatches(dataset, 8, seed=3)
    first, again = (next(data.epoch(0)) for _ in range(2))
    torch.testing.assert_close(first["pixels"], again["pixels"])
    assert first["texts"] == again["texts"]
    assert [batch["texts"] for batch in data.epoch(0, skip=1)] == [batch["texts"] for batch in list(data.epoch(0))[1:]]
    assert first["pixels"].shape == (8, 3, layout.IMAGE_SIZE, layout.IMAGE_SIZE)
    assert first["pixels"].abs().max() <= 1
    for row, name, cell in zip(first["ids"], first["names"], first["cells"].tolist(), strict=True):
        spec = dataset.specs()[row]
        cells = {
            (shown.name, min(2, int(3 * shown.centre[1])) * 3 + min(2, int(3 * shown.centre[0])))
            for time in np.arange(0, spec.duration / 1000, 0.02)
            for shown in visible_shapes(spec, float(time))
        }
        assert (name, cell) in cells or name == "nothing"


def test_workers_draw_the_same_batches(dataset: MovingShapes, words: tuple[Any, Any]) -> None:
    """In the same order, epoch after epoch, and from where a run was stopped."""
    tokenize = ConversationTokenizer(words[1], "<image>", layout.TOKENS**2)
    for make in (
        lambda workers: FrameBatches(dataset, 8, 3, workers),
        lambda workers: ConversationBatches(dataset, features(VIDEOS), 8, 3, workers, tokenize=tokenize),
    ):
        alone, ahead = make(0), make(2)
        for number, skip in ((0, 0), (1, 1), (0, 0)):
            expected, drawn = (list(data.epoch(number, skip)) for data in (alone, ahead))
            assert len(expected) == len(drawn) == 2 - skip
            for one, other in zip(expected, drawn, strict=True):
                assert one.keys() == other.keys()
                for name, value in one.items():
                    same = torch.equal if isinstance(value, torch.Tensor) else operator.eq
                    assert name == "video" or same(value, other[name])


def test_clip_batches_describe_their_key_image(dataset: MovingShapes) -> None:
    videos = features(VIDEOS)
    batch = next(ClipBatches(dataset, videos, 8, seed=0).epoch(0))
    for at, row in enumerate(batch["ids"]):
        spec = dataset.specs()[row]
        assert batch["texts"][at] in captions(spec)
        time = float(videos[row].segments[batch["places"][at], 2])
        assert batch["stills"][at] in stills(spec, time)
    assert batch["video"]["image"].shape[0] == 8


def test_clauses_tell_a_relation_and_its_opposite(dataset: MovingShapes) -> None:
    batch = next(ClipBatches(dataset, features(VIDEOS), 8, seed=0).epoch(0))
    half = len(batch["clauses"]) // 2
    assert half
    placed = batch["placed"]
    assert (placed[:, :-5] == -100).all()
    assert (placed[:half, -4:-2] == placed[half:, -2:]).all()  # who was on the left is on the right
    for text, (*_, axis, colour, shape, other_colour, other_shape) in zip(
        batch["clauses"], placed.tolist(), strict=True
    ):
        if text.isascii():
            one, other = f"{COLOURS[colour]} {SHAPES[shape]}", f"{COLOURS[other_colour]} {SHAPES[other_shape]}"
            ways = (("above", "over"), ("below", "under")) if axis else (("left",), ("right",))
            forwards = text.index(one) < text.index(other)
            assert any(way in text for way in ways[0 if forwards else 1])


def test_facts_are_those_of_the_spec(dataset: MovingShapes) -> None:
    """Told again from the class numbers, and compared with what the captions say."""
    assert len(dataset.specs()) == VIDEOS
    for spec in dataset.specs():
        classes, shown = (facts([spec], from_captions=captioned)[0].tolist() for captioned in (True, False))
        assert len(classes) == len(SIZES)
        assert all(number in range(size) or number == -100 for number, size in zip(classes, SIZES, strict=True))
        for at, event in enumerate(spec.events):
            action, colour, shape = classes[3 * at : 3 * at + 3]
            actor = spec.things[event.actor]
            assert (ACTIONS[action], COLOURS[colour], SHAPES[shape]) == (event.action, actor.colour, actor.shape)
        assert classes[3 * len(spec.events) : 9] == [len(ACTIONS), len(COLOURS), len(SHAPES)] * (3 - len(spec.events))
        if spec.relation:
            axis, colour, shape = shown[-5:-2]
            first = f"{COLOURS[colour]} {SHAPES[shape]}"
            two = [f"{thing.colour} {thing.shape}" for thing in spec.things[:2]]
            assert first == two[spec.relation in ("right", "below")]
            assert axis == (spec.relation in ("above", "below"))
        assert classes[-5:] == (shown[-5:] if spec.relation_stated else [-100] * 5)


def test_the_latest_event_is_the_one_that_began_last(dataset: MovingShapes) -> None:
    assert len(dataset.specs()) == VIDEOS
    for spec in dataset.specs():
        before, *rows = latest_events(spec, [0.0, *(start / 1000 + 0.3 * spec.length / 1000 for start in spec.starts)])
        assert before == [len(ACTIONS), len(COLOURS), len(SHAPES), 0]
        classes = facts([spec], from_captions=True)[0].tolist()
        assert rows == [[*classes[3 * at : 3 * at + 3], at + 1] for at in range(len(spec.events))]


def test_equal_sentences_are_read_once(words: tuple[Any, Any]) -> None:
    torch.manual_seed(0)
    clip = layout.new_clip(words[0]).double()
    texts = ["a red ring", "a blue star grows, then a red ring moves to the left", "a red ring", "a red ring grows"]
    alone = torch.cat([encode(clip, words[0], [text]) for text in texts])
    read: list[int] = []
    clip.text_model.register_forward_pre_hook(
        lambda _, args, inputs: read.append(len(inputs["input_ids"])), with_kwargs=True
    )
    together = encode(clip, words[0], texts)
    assert sum(read) == 3
    torch.testing.assert_close(together, alone)
    weight = clip.text_projection.weight
    one, other = (torch.autograd.grad(vectors.square().sum(), weight)[0] for vectors in (together, alone))
    torch.testing.assert_close(one, other)


def test_facts_can_be_read_from_a_vector_that_holds_them(dataset: MovingShapes) -> None:
    torch.manual_seed(0)
    classes = facts(dataset.specs(), from_captions=True)
    vectors = torch.nn.functional.one_hot(torch.arange(len(classes)), 192).float()
    reader = FactReader(192)
    losses = [
        torch.nn.functional.cross_entropy(scores, labels, ignore_index=-100)
        for scores, labels in zip(reader.read(vectors).split(list(SIZES), dim=1), classes.T, strict=True)
    ]
    torch.testing.assert_close(reader(vectors, classes), torch.stack(losses).mean())  # each fact by itself
    optimiser = torch.optim.Adam(reader.parameters(), lr=0.1)
    first = reader(vectors, classes).item()
    for _ in range(60):
        optimiser.zero_grad()
        reader(vectors, classes).backward()
        optimiser.step()
    assert reader(vectors, classes).item() < 0.02 * first


def test_places_are_the_means_of_what_is_visible(dataset: MovingShapes) -> None:
    for spec in dataset.specs():
        time = spec.starts[0] / 1000
        values = places(spec, time)
        for row, word in enumerate((*COLOURS, *SHAPES)):
            shown = [shape for shape in visible_shapes(spec, time) if word in (shape.colour, shape.shape)]
            assert bool(values[row, 0]) == bool(shown)
            if shown:
                expected = [(*shape.centre, shape.radius, shape.turned) for shape in shown]
                np.testing.assert_allclose(values[row, 1:], np.mean(expected, axis=0), atol=1e-6)
    reader = PlaceReader(192)
    assert reader(torch.zeros(4, 192), torch.stack([values] * 4)).isfinite()


def test_equal_texts_have_equal_numbers() -> None:
    assert text_numbers(["a", "b", "a"])[0] == text_numbers(["a", "b", "a"])[2] != text_numbers(["b"])[0]


def test_stages_make_a_checkpoint_and_can_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path / "cache"))
    options = PretrainOptions(videos=VIDEOS, frames=SHORT, clips=SHORT, language=SHORT, precision="float32")
    measures = pretrain(tmp_path / "run", options, cache=tmp_path / "features", cpu=True)
    assert set(measures) == {"frames", "clips", "language"}
    assert all(0 <= value <= 100 for value in measures.values())
    weights = tmp_path / "run" / "base" / "model.safetensors"
    before = weights.read_bytes()
    assert pretrain(tmp_path / "run", options, cache=tmp_path / "features", cpu=True) == measures
    assert weights.read_bytes() == before
    values = {"llava": {"checkpoint": str(tmp_path / "run" / "base"), "attention": "eager"}, "heads": {"heads": 6}}
    model = plugins.build("models", "mmi", values, device="cpu")
    seen_by = model.encode_images([np.zeros((48, 48, 3), np.uint8)])
    assert {name: array.shape for name, array in seen_by.items()} == {
        "image": (1, 192), "regions": (1, 9, 192), "patches": (1, 4, 192),
    }  # fmt: skip


def test_towers_that_are_not_asked_for_places_are_asked_for_all_else() -> None:
    [with_places], [without] = parts("frames", 7), parts("frames", 7, places=False)
    assert with_places.weights == {**without.weights, "places": 2.0}
    assert with_places.steps == without.steps == 7
    assert parts("clips", 10) == parts("clips", 10, places=False)
    assert [part.steps for part in parts("clips", 10)] == [4, 6]


def test_one_number_of_a_stage_is_changed_alone() -> None:
    options = config.read(PretrainOptions, None, ["language.steps=5", "seed=3"])
    assert options.language == PretrainOptions().language.model_copy(update={"steps": 5})
    assert (options.seed, options.frames) == (3, PretrainOptions().frames)
