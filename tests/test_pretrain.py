"""A small LLaVA from nothing: its files, its data, and the three stages from end to end."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, CLIPModel, LlavaForConditionalGeneration

from mmi_tvr import config, plugins, prompt_templates
from mmi_tvr.datasets.moving_shapes import (
    ACTIONS,
    COLOURS,
    SHAPES,
    MovingShapes,
    captions,
    questions,
    seen,
    stills,
    truth,
)
from mmi_tvr.encoders.llava import Llava
from mmi_tvr.experiments.pretrain import layout
from mmi_tvr.experiments.pretrain.data import (
    ClipBatches,
    FrameBatches,
    TalkBatches,
    answers,
    corpus,
    judge,
    look,
    proposal,
    propose,
    read,
    rival,
    same,
)
from mmi_tvr.experiments.pretrain.facts import SIZES, FactReader, PlaceReader, facts, latest, places
from mmi_tvr.experiments.pretrain.language import (
    DESCRIBE,
    Speaker,
    Talk,
    about_skeleton,
    asked,
    compared,
    right_replies,
)
from mmi_tvr.experiments.pretrain.options import PretrainOptions
from mmi_tvr.experiments.pretrain.run import pretrain
from mmi_tvr.types import Features

VIDEOS = 16
SHORT = {"steps": 2, "batch": 8, "rate": 1e-3}


@pytest.fixture(scope="module")
def dataset() -> MovingShapes:
    made = plugins.build("datasets", "moving_shapes", {"split": "train", "count": VIDEOS})
    assert isinstance(made, MovingShapes)
    return made


@pytest.fixture(scope="module")
def words(dataset: MovingShapes) -> tuple[Any, Any]:
    texts = list(corpus(dataset.specs()))
    said = [*texts, *answers(dataset.specs()), prompt_templates.judge().prompt]
    return layout.clip_tokenizer(texts), layout.language_tokenizer(f" {text}" for text in said)


def features(count: int) -> list[Features]:
    random = np.random.default_rng(0)
    sizes = random.integers(2, 6, count)
    found = []
    for size in sizes:
        edges = np.arange(size + 1.0)
        arrays = {
            "image": random.normal(size=(size, 192)).astype(np.float32),
            "regions": random.normal(size=(size, 9, 192)).astype(np.float16),
            "patches": random.normal(size=(size, 4, 192)).astype(np.float16),
        }
        found.append(Features(np.stack([edges[:-1], edges[1:], edges[:-1] + 0.5], axis=1), arrays))
    return found


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
    assert [each["texts"] for each in data.epoch(0, skip=1)] == [each["texts"] for each in list(data.epoch(0))[1:]]
    assert first["pixels"].shape == (8, 3, layout.IMAGE_SIZE, layout.IMAGE_SIZE)
    assert first["pixels"].abs().max() <= 1
    for row, name, cell in zip(first["ids"], first["names"], first["cells"].tolist(), strict=True):
        spec = dataset.specs()[row]
        cells = {
            (shown.name, min(2, int(3 * shown.centre[1])) * 3 + min(2, int(3 * shown.centre[0])))
            for time in np.arange(0, spec.duration / 1000, 0.02)
            for shown in seen(spec, float(time))
        }
        assert (name, cell) in cells or name == "nothing"


def test_clip_batches_describe_their_key_image(dataset: MovingShapes) -> None:
    made = features(VIDEOS)
    batch = next(ClipBatches(dataset, made, 8, seed=0).epoch(0))
    for at, row in enumerate(batch["ids"]):
        spec = dataset.specs()[row]
        assert batch["texts"][at] in captions(spec)
        time = float(made[row].segments[batch["places"][at], 2])
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


def test_talks_are_true(dataset: MovingShapes) -> None:
    dice = np.random.default_rng(0)
    for spec in dataset.specs():
        own = {each.text: each.answer for each in questions(spec)}
        for about, talk in (("video", look(spec, dice)), ("text", read(spec, dice))):
            looks = about == "video"
            assert talk.looks == looks
            assert looks or talk.context[len('Text: "') : -1] in captions(spec)
            for prompt, reply in talk.turns:
                if prompt == DESCRIBE:
                    assert reply in captions(spec)
                    continue
                if prompt == asked(prompt_templates.generate().asked("video"), True):
                    assert reply in own
                    continue
                question = prompt.removeprefix(" Question: ").removesuffix(" Answer:")
                assert reply == own.get(question, truth(question, about)(spec, not looks))
                assert looks or spec.told or "left of" not in reply  # a caption that says nothing is not asked


def test_questions_are_proposed_in_the_words_that_ask_for_them(dataset: MovingShapes) -> None:
    """What is trained is the prompt of `prompts generate`: captions as a text, the request as a question about it."""
    specs, template = dataset.specs()[:3], prompt_templates.generate()
    talk = propose(specs, np.random.default_rng(0))
    ((request, reply),) = talk.turns
    said = talk.context.removeprefix(f'Text: "{template.before} ').removesuffix('"')
    assert said in {"; ".join(each) for each in itertools.product(*map(captions, specs))}
    question = template.text.partition("{texts}")[2].strip()
    text = f"{template.before} {said}"
    assert talk.context + request == prompt_templates.answer().text.format(text=text, question=question)
    assert reply in [each.text for each in questions(specs[0])]
    assert len({proposal(spec) for spec in dataset.specs()}) > 1  # other videos, other questions


def test_skeletons_are_judged_by_what_is_true(dataset: MovingShapes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmi_tvr.experiments.pretrain.data._MISTAKEN", 0)
    dice = np.random.default_rng(0)
    specs = dataset.specs()
    replies = []
    for spec, other in itertools.pairwise(specs):
        talk = judge(spec, [other] * 3 + [spec], dice)
        *_, own = talk.turns
        assert own[1] == "yes"  # whichever of the two equal ones is taken
        said = talk.context.partition('"')[2].removesuffix('"')
        for prompt, reply in talk.turns:
            shown = prompt.partition('"')[2].partition('"')[0]
            assert talk.context + prompt == prompt_templates.judge().prompt.format(text=said, video=shown)
            replies.append(reply)
    assert {"yes", "no"} == set(replies)


def test_skeletons_hold_mistakes_that_do_not_change_what_is_right(
    dataset: MovingShapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = dataset.specs()

    def replies(mistaken: float) -> tuple[list[str], list[str]]:
        monkeypatch.setattr("mmi_tvr.experiments.pretrain.data._MISTAKEN", mistaken)
        talks = [judge(spec, [other], np.random.default_rng(7)) for spec, other in itertools.pairwise(specs)]
        return [talk.turns[0][1] for talk in talks], [talk.turns[0][0] for talk in talks]

    right, clean = replies(0)
    still_right, mistaken = replies(1)
    assert right == still_right
    assert clean != mistaken


def test_rivals_do_the_same_the_other_way_round(dataset: MovingShapes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmi_tvr.experiments.pretrain.data._REORDERED", 1)
    anyone, twin = dataset.specs()[:2]
    found = [rival(spec, twin, anyone, np.random.default_rng(0)) for spec in dataset.specs()]
    for spec, other in zip(dataset.specs(), found, strict=True):
        if len(spec.events) == 1:
            assert other in (twin, anyone)
        else:
            assert (other.things, other.events) == (spec.things, spec.events[::-1])
    assert {len(spec.events) == 1 for spec in dataset.specs()} == {True, False}


def test_answers_of_a_skeleton_agree_up_to_the_first_token_that_does_not(words: tuple[Any, Any]) -> None:
    prompt, reply, spans = compared(["a red ring", "two"], ["a red star", "two"], same=False)
    assert reply == prompt_templates.judge().negative
    assert [prompt[span.start : span.end] for span in spans] == ["a red ring;", 'two"']
    assert [prompt[span.start : span.agreed] for span in spans] == ["a red ", 'two"']
    llava = Llava(layout.new_llava(layout.new_clip(words[0]), words[1]), words[1], 2).eval()
    video = {"mask": torch.zeros(1, 1, dtype=torch.bool), "patches": torch.zeros(1, 1, llava.tokens_per_image, 1)}
    talk = Talk(about_skeleton("a red star"), False, [(prompt, reply)], [spans])
    (part,) = Speaker(llava).read({"talks": [talk], "video": video})
    ids = words[1].encode(talk.context + prompt)
    for known, text in ((1, 'a red two"'), (0, "ring;")):
        places = (part.agrees[0] == known).nonzero().flatten().tolist()
        assert "".join(words[1].decode(ids[place]) for place in places).strip() == text


def test_turns_do_not_see_each_other(words: tuple[Any, Any], dataset: MovingShapes) -> None:
    """A question among others gets the states that it gets alone, in the words of the template."""
    torch.manual_seed(0)
    llava = Llava(layout.new_llava(layout.new_clip(words[0]), words[1]), words[1], 2).eval()
    data = TalkBatches(dataset, features(VIDEOS), 8, seed=0, looking=0.4, reading=0.3)
    batch = data.batch(range(12), np.random.default_rng(1))
    parts = Speaker(llava).read(batch)
    assert sorted(row for part in parts for row in part.rows) == [*range(12)]
    found = {row: (part.states[at], int(part.ends[at])) for part in parts for at, row in enumerate(part.rows)}
    template = prompt_templates.answer()
    compared = {"text": 0, "video": 0, "judged": 0}
    for at, talk in enumerate(batch["talks"]):
        images = int(batch["video"]["mask"][at].sum()) if talk.looks else 0
        visual = llava.project(batch["video"]["patches"][at, :images]) if talk.looks else None
        states, place = found[at]
        for prompt, reply in talk.turns:
            said = len(words[1].encode(prompt, add_special_tokens=False))
            replied = len(words[1].encode(f" {reply}", add_special_tokens=False)) + 1
            question = prompt.removeprefix(" Question: ").removesuffix(" Answer:")
            whole = f"{llava.image_token * images if talk.looks else talk.context}{prompt}"
            if talk.looks and prompt != DESCRIBE:
                assert whole == template.video.format(images=llava.image_token * images, question=question)
            alone = llava(llava.inputs([whole], visual))
            torch.testing.assert_close(states[place + said][None], alone, atol=1e-5, rtol=1e-4)
            place += said + replied
            compared["video" if talk.looks else "judged" if talk.answers else "text"] += 1
    assert min(compared.values()) > 3


def test_facts_are_those_of_the_spec(dataset: MovingShapes) -> None:
    """Told again from the class numbers, and compared with what the captions say."""
    for spec in dataset.specs():
        told, shown = (facts([spec], told=each)[0].tolist() for each in (True, False))
        assert len(told) == len(SIZES)
        assert all(own in range(size) or own == -100 for own, size in zip(told, SIZES, strict=True))
        for at, event in enumerate(spec.events):
            action, colour, shape = told[3 * at : 3 * at + 3]
            actor = spec.things[event.actor]
            assert (ACTIONS[action], COLOURS[colour], SHAPES[shape]) == (event.action, actor.colour, actor.shape)
        assert told[3 * len(spec.events) : 9] == [len(ACTIONS), len(COLOURS), len(SHAPES)] * (3 - len(spec.events))
        if spec.relation:
            axis, colour, shape = shown[-5:-2]
            first = f"{COLOURS[colour]} {SHAPES[shape]}"
            two = [f"{thing.colour} {thing.shape}" for thing in spec.things[:2]]
            assert first == two[spec.relation in ("right", "below")]
            assert axis == (spec.relation in ("above", "below"))
        assert told[-5:] == (shown[-5:] if spec.told else [-100] * 5)


def test_the_latest_event_is_the_one_that_began_last(dataset: MovingShapes) -> None:
    for spec in dataset.specs():
        before, *rows = latest(spec, [0.0, *(start / 1000 + 0.3 * spec.length / 1000 for start in spec.starts)])
        assert before == [len(ACTIONS), len(COLOURS), len(SHAPES), 0]
        told = facts([spec], told=True)[0].tolist()
        assert rows == [[*told[3 * at : 3 * at + 3], at + 1] for at in range(len(spec.events))]


def test_events_are_read_behind_each_key_image(words: tuple[Any, Any], dataset: MovingShapes) -> None:
    """The reader sees no state but that of a key image's last token, in the rows that are shown any."""
    torch.manual_seed(0)
    speaker = Speaker(Llava(layout.new_llava(layout.new_clip(words[0]), words[1]), words[1], 2))
    batch = TalkBatches(dataset, features(VIDEOS), 8, seed=0).batch(range(12), np.random.default_rng(1))
    asked: list[tuple[torch.Tensor, torch.Tensor]] = []
    grouped = speaker.parameter_groups()
    assert {each.ndim for each in grouped["layers"]} == {2}
    assert len(grouped["layers"]) == 4 * 7 + 2  # of each block: four of attention, three of the feed-forward part
    speaker.events.register_forward_hook(lambda _, inputs, __: asked.append(inputs))
    terms = speaker.loss_terms(batch, ("replies", "judged", "agrees", "facts", "events"))
    assert set(terms) == {"replies", "judged", "agrees", "facts", "events"}
    looking = [at for at, talk in enumerate(batch["talks"]) if talk.looks]
    images = sum(int(batch["video"]["mask"][at].sum()) for at in looking)
    (states, told) = asked[0]
    assert len(states) == len(told) == images > 0
    found = {row: part.states[at] for part in speaker.read(batch) for at, row in enumerate(part.rows)}
    first = found[looking[0]]
    picture = words[1].convert_tokens_to_ids("<image>")
    ids = torch.tensor(speaker._row(batch["talks"][looking[0]], int(batch["video"]["mask"][looking[0]].sum())).ids)
    last = (ids == picture).nonzero()[:, 0][speaker.llava.tokens_per_image - 1 :: speaker.llava.tokens_per_image]
    assert any(torch.allclose(first[last[0]], state, atol=1e-6) for state in states)
    assert len(last) == int(batch["video"]["mask"][looking[0]].sum())


def test_facts_can_be_read_from_a_vector_that_holds_them(dataset: MovingShapes) -> None:
    torch.manual_seed(0)
    wanted = facts(dataset.specs(), told=True)
    vectors = torch.nn.functional.one_hot(torch.arange(len(wanted)), 192).float()
    reader = FactReader(192)
    optimiser = torch.optim.Adam(reader.parameters(), lr=0.1)
    first = reader(vectors, wanted).item()
    for _ in range(60):
        optimiser.zero_grad()
        reader(vectors, wanted).backward()
        optimiser.step()
    assert reader(vectors, wanted).item() < 0.02 * first


def test_places_are_the_means_of_what_is_visible(dataset: MovingShapes) -> None:
    for spec in dataset.specs():
        time = spec.starts[0] / 1000
        found = places(spec, time)
        for row, word in enumerate((*COLOURS, *SHAPES)):
            shown = [each for each in seen(spec, time) if word in (each.colour, each.shape)]
            assert bool(found[row, 0]) == bool(shown)
            if shown:
                wanted = [(*each.centre, each.radius, each.turned) for each in shown]
                np.testing.assert_allclose(found[row, 1:], np.mean(wanted, axis=0), atol=1e-6)
    reader = PlaceReader(192)
    assert reader(torch.zeros(4, 192), torch.stack([found] * 4)).isfinite()


def test_equal_texts_have_equal_numbers() -> None:
    assert same(["a", "b", "a"])[0] == same(["a", "b", "a"])[2] != same(["b"])[0]


def test_replies_are_counted_whole(words: tuple[Any, Any], dataset: MovingShapes) -> None:
    """Labels are the replies' tokens and ends alone; a model that knows them all is 100 % right."""
    torch.manual_seed(0)
    clip = layout.new_clip(words[0])
    speaker = Speaker(Llava(layout.new_llava(clip, words[1]), words[1], 2))
    batch = next(TalkBatches(dataset, features(VIDEOS), 8, seed=0).epoch(0))
    parts = speaker.read(batch)
    tokenizer = words[1]
    for part in parts:
        for row, labels in zip(part.rows, part.labels, strict=True):
            told = tokenizer.decode(labels[labels >= 0])
            assert told == "".join(f" {reply}</s>" for _, reply in batch["talks"][row].turns)
    assert right_replies(speaker, batch) < 50
    labels_of = iter([part.labels for part in parts])

    def knows(states: torch.Tensor) -> torch.Tensor:
        perfect = torch.zeros(*states.shape[:2], len(tokenizer))
        following = next(labels_of)[:, 1:].clamp(min=0)
        perfect[:, :-1].scatter_(2, following[..., None], 1.0)
        return perfect

    speaker.llava.logits = knows  # type: ignore[method-assign]
    assert right_replies(speaker, batch) == 100


def test_stages_make_a_checkpoint_and_can_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path / "cache"))
    options = PretrainOptions(videos=VIDEOS, frames=SHORT, clips=SHORT, language=SHORT, precision="float32")
    found = pretrain(tmp_path / "run", options, cache=tmp_path / "features", cpu=True)
    assert set(found) == {"frames", "clips", "language"}
    assert all(0 <= value <= 100 for value in found.values())
    weights = tmp_path / "run" / "base" / "model.safetensors"
    before = weights.read_bytes()
    assert pretrain(tmp_path / "run", options, cache=tmp_path / "features", cpu=True) == found
    assert weights.read_bytes() == before
    values = {"llava": {"checkpoint": str(tmp_path / "run" / "base"), "attention": "eager"}, "heads": {"heads": 6}}
    model = plugins.build("models", "mmi", values, device="cpu")
    seen_by = model.encode_images([np.zeros((48, 48, 3), np.uint8)])
    assert {name: array.shape for name, array in seen_by.items()} == {
        "image": (1, 192), "regions": (1, 9, 192), "patches": (1, 4, 192),
    }  # fmt: skip


def test_one_number_of_a_stage_is_changed_alone() -> None:
    options = config.read(PretrainOptions, None, ["language.steps=5", "seed=3"])
    assert options.language == PretrainOptions().language.model_copy(update={"steps": 5})
    assert (options.seed, options.frames) == (3, PretrainOptions().frames)
