"""What the language model is taught: conversations about shapes, their tokens, and what is learned from them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from pretraining_inputs import VIDEOS, features, split, tokenizers

from mmi_tvr import prompt_templates
from mmi_tvr.datasets.moving_shapes import (
    MovingShapes,
    captions,
    questions,
    truth,
)
from mmi_tvr.encoders.llava import Llava
from mmi_tvr.experiments.pretrain import frames, language, layout
from mmi_tvr.experiments.pretrain.conversations import (
    DESCRIBE,
    Conversation,
    caption_conversation,
    comparison,
    hard_negative,
    judging_conversation,
    proposed_question,
    proposing_conversation,
    question_prompt,
    skeleton_context,
    video_conversation,
)
from mmi_tvr.experiments.pretrain.data import ConversationBatches, corpus
from mmi_tvr.experiments.pretrain.frames import encode
from mmi_tvr.experiments.pretrain.language import LanguageStage, right_replies
from mmi_tvr.experiments.pretrain.tokens import groups_of_like_length


@pytest.fixture(scope="module")
def dataset() -> MovingShapes:
    return split()


@pytest.fixture(scope="module")
def words(dataset: MovingShapes) -> tuple[Any, Any]:
    return tokenizers(dataset)


def test_talks_are_true(dataset: MovingShapes) -> None:
    dice = np.random.default_rng(0)
    assert len(dataset.specs()) == VIDEOS
    for spec in dataset.specs():
        own_answers = {question.text: question.answer for question in questions(spec)}
        for about, conversation in (
            ("video", video_conversation(spec, dice)),
            ("text", caption_conversation(spec, dice)),
        ):
            with_images = about == "video"
            assert conversation.with_images == with_images
            assert with_images or conversation.context[len('Text: "') : -1] in captions(spec)
            for prompt, reply in conversation.turns:
                if prompt == DESCRIBE:
                    assert reply in captions(spec)
                    continue
                if prompt == question_prompt(prompt_templates.generate().request("video"), True):
                    assert reply in own_answers
                    continue
                question = prompt.removeprefix(" Question: ").removesuffix(" Answer:")
                assert reply == own_answers.get(question, truth(question, about)(spec, not with_images))
                assert (
                    with_images or spec.relation_stated or "left of" not in reply
                )  # a caption that says nothing is not asked


def test_questions_are_proposed_in_the_words_that_ask_for_them(dataset: MovingShapes) -> None:
    """What is trained is the prompt of `prompts generate`: captions as a text, the request as a question about it."""
    specs, template = dataset.specs()[:3], prompt_templates.generate()
    conversation = proposing_conversation(specs, np.random.default_rng(0))
    ((request, reply),) = conversation.turns
    quoted = conversation.context.removeprefix(f'Text: "{template.before} ').removesuffix('"')
    assert quoted in {"; ".join(captions_of) for captions_of in itertools.product(*map(captions, specs))}
    question = template.text.partition("{texts}")[2].strip()
    text = f"{template.before} {quoted}"
    assert conversation.context + request == prompt_templates.answer().text.format(text=text, question=question)
    assert reply in [question.text for question in questions(specs[0])]
    assert len({proposed_question(spec) for spec in dataset.specs()}) > 1  # other videos, other questions


def test_skeletons_are_judged_by_what_is_true(dataset: MovingShapes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmi_tvr.experiments.pretrain.conversations._MISTAKEN_SHARE", 0)
    dice = np.random.default_rng(0)
    specs = dataset.specs()
    replies = []
    for spec, other in itertools.pairwise(specs):
        conversation = judging_conversation(spec, [other] * 3 + [spec], dice)
        *_, same_video = conversation.turns
        assert same_video[1] == "yes"  # whichever of the two equal ones is taken
        quoted = conversation.context.partition('"')[2].removesuffix('"')
        for prompt, reply in conversation.turns:
            shown = prompt.partition('"')[2].partition('"')[0]
            assert conversation.context + prompt == prompt_templates.judge().prompt.format(text=quoted, video=shown)
            replies.append(reply)
    assert {"yes", "no"} == set(replies)


def test_skeletons_hold_mistakes_that_do_not_change_what_is_right(
    dataset: MovingShapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = dataset.specs()

    def replies(mistaken: float) -> tuple[list[str], list[str]]:
        monkeypatch.setattr("mmi_tvr.experiments.pretrain.conversations._MISTAKEN_SHARE", mistaken)
        conversations = [
            judging_conversation(spec, [other], np.random.default_rng(7)) for spec, other in itertools.pairwise(specs)
        ]
        return [conversation.turns[0][1] for conversation in conversations], [
            conversation.turns[0][0] for conversation in conversations
        ]

    right, clean = replies(0)
    still_right, mistaken = replies(1)
    assert right == still_right
    assert clean != mistaken


def test_rivals_do_the_same_the_other_way_round(dataset: MovingShapes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmi_tvr.experiments.pretrain.conversations._REORDERED_SHARE", 1)
    random_spec, twin = dataset.specs()[:2]
    negatives = [hard_negative(spec, twin, random_spec, np.random.default_rng(0)) for spec in dataset.specs()]
    for spec, other in zip(dataset.specs(), negatives, strict=True):
        if len(spec.events) == 1:
            assert other in (twin, random_spec)
        else:
            assert (other.things, other.events) == (spec.things, spec.events[::-1])
    assert {len(spec.events) == 1 for spec in dataset.specs()} == {True, False}


def test_answers_of_a_skeleton_agree_up_to_the_first_token_that_does_not(words: tuple[Any, Any]) -> None:
    prompt, reply, spans = comparison(["a red ring", "two"], ["a red star", "two"], same=False)
    assert reply == prompt_templates.judge().negative
    assert [prompt[span.start : span.end] for span in spans] == ["a red ring;", 'two"']
    assert [prompt[span.start : span.agreed] for span in spans] == ["a red ", 'two"']
    llava = Llava(layout.new_llava(layout.new_clip(words[0]), words[1]), words[1], 2).eval()
    video = {"mask": torch.zeros(1, 1, dtype=torch.bool), "patches": torch.zeros(1, 1, llava.tokens_per_image, 1)}
    conversation = Conversation(skeleton_context("a red star"), False, [(prompt, reply)], [spans])
    stage = LanguageStage(llava)
    tokenized = [stage.tokenize(conversation, 0)]
    (group,) = stage.read({"conversations": [conversation], "tokenized": tokenized, "video": video})
    ids = words[1].encode(conversation.context + prompt)
    for known, text in ((1, 'a red two"'), (0, "ring;")):
        places = (group.agrees[0] == known).nonzero().flatten().tolist()
        assert "".join(words[1].decode(ids[place]) for place in places).strip() == text


def test_turns_do_not_see_each_other(words: tuple[Any, Any], dataset: MovingShapes) -> None:
    """A question among others gets the states that it gets alone, in the words of the template."""
    torch.manual_seed(0)
    llava = Llava(layout.new_llava(layout.new_clip(words[0]), words[1]), words[1], 2).eval()
    stage = LanguageStage(llava)
    data = ConversationBatches(
        dataset, features(VIDEOS), 8, seed=0, tokenize=stage.tokenize, video_share=0.4, caption_share=0.3
    )
    batch = data.batch(range(12), np.random.default_rng(1))
    groups = stage.read(batch)
    assert sorted(row for group in groups for row in group.rows) == [*range(12)]
    states_of = {row: (group.states[at], int(group.ends[at])) for group in groups for at, row in enumerate(group.rows)}
    template = prompt_templates.answer()
    compared = {"text": 0, "video": 0, "judged": 0}
    for at, conversation in enumerate(batch["conversations"]):
        images = int(batch["video"]["mask"][at].sum()) if conversation.with_images else 0
        visual = llava.project(batch["video"]["patches"][at, :images]) if conversation.with_images else None
        states, place = states_of[at]
        for prompt, reply in conversation.turns:
            prompt_tokens = len(words[1].encode(prompt, add_special_tokens=False))
            replied = len(words[1].encode(f" {reply}", add_special_tokens=False)) + 1
            question = prompt.removeprefix(" Question: ").removesuffix(" Answer:")
            whole = f"{llava.image_token * images if conversation.with_images else conversation.context}{prompt}"
            if conversation.with_images and prompt != DESCRIBE:
                assert whole == template.video.format(images=llava.image_token * images, question=question)
            alone = llava(llava.inputs([whole], visual))
            torch.testing.assert_close(states[place + prompt_tokens][None], alone, atol=1e-5, rtol=1e-4)
            place += prompt_tokens + replied
            compared["video" if conversation.with_images else "judged" if conversation.answers else "text"] += 1
    assert min(compared.values()) > 3


def test_events_are_read_behind_each_key_image(words: tuple[Any, Any], dataset: MovingShapes) -> None:
    """The reader sees no state but that of a key image's last token, in the rows that are shown any."""
    torch.manual_seed(0)
    stage = LanguageStage(Llava(layout.new_llava(layout.new_clip(words[0]), words[1]), words[1], 2))
    data = ConversationBatches(dataset, features(VIDEOS), 8, seed=0, tokenize=stage.tokenize)
    batch = data.batch(range(12), np.random.default_rng(1))
    reader_inputs: list[tuple[torch.Tensor, torch.Tensor]] = []
    grouped = stage.parameter_groups()
    assert {parameter.ndim for parameter in grouped["layers"]} == {2}
    assert len(grouped["layers"]) == 4 * 7 + 2  # of each block: four of attention, three of the feed-forward part
    stage.events.register_forward_hook(lambda _, inputs, __: reader_inputs.append(inputs))
    terms = stage.loss_terms(batch, ("replies", "judged", "agrees", "facts", "events"))
    assert set(terms) == {"replies", "judged", "agrees", "facts", "events"}
    looking = [at for at, conversation in enumerate(batch["conversations"]) if conversation.with_images]
    images = sum(int(batch["video"]["mask"][at].sum()) for at in looking)
    (states, events) = reader_inputs[0]
    assert len(states) == len(events) == images > 0
    states_of = {row: group.states[at] for group in stage.read(batch) for at, row in enumerate(group.rows)}
    first = states_of[looking[0]]
    picture = words[1].convert_tokens_to_ids("<image>")
    ids = torch.tensor(batch["tokenized"][looking[0]].ids)
    last = (ids == picture).nonzero()[:, 0][stage.llava.tokens_per_image - 1 :: stage.llava.tokens_per_image]
    assert any(torch.allclose(first[last[0]], state, atol=1e-6) for state in states)
    assert len(last) == int(batch["video"]["mask"][looking[0]].sum())


def test_a_batch_in_one_piece_has_the_same_losses(
    words: tuple[Any, Any], dataset: MovingShapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As accelerators read it, with more padding and fewer starts."""
    torch.manual_seed(0)
    clip = layout.new_clip(words[0])
    stage = LanguageStage(Llava(layout.new_llava(clip, words[1]), words[1], 2)).eval()
    data = ConversationBatches(dataset, features(VIDEOS), 8, seed=0, tokenize=stage.tokenize, video_share=0.4)
    batch = data.batch(range(12), np.random.default_rng(1))
    texts = list(dict.fromkeys(itertools.islice(corpus(dataset.specs()), 80)))
    names = ("replies", "judged", "agrees", "facts", "events")
    losses, vectors = stage.loss_terms(batch, names), encode(clip, words[0], texts)
    assert len(stage.read(batch)) == 6
    for module in (language, frames):
        monkeypatch.setattr(
            module,
            "groups_of_like_length",
            lambda lengths, count, device: groups_of_like_length(lengths, count, torch.device("cuda")),
        )
    assert len(stage.read(batch)) == 1
    torch.testing.assert_close(stage.loss_terms(batch, names), losses)
    torch.testing.assert_close(encode(clip, words[0], texts), vectors)


def test_replies_are_counted_whole(words: tuple[Any, Any], dataset: MovingShapes) -> None:
    """Labels are the replies' tokens and ends alone; a model that knows them all is 100 % right."""
    torch.manual_seed(0)
    clip = layout.new_clip(words[0])
    stage = LanguageStage(Llava(layout.new_llava(clip, words[1]), words[1], 2))
    batch = next(ConversationBatches(dataset, features(VIDEOS), 8, seed=0, tokenize=stage.tokenize).epoch(0))
    groups = stage.read(batch)
    tokenizer = words[1]
    for group in groups:
        for row, labels in zip(group.rows, group.labels, strict=True):
            decoded = tokenizer.decode(labels[labels >= 0])
            assert decoded == "".join(f" {reply}</s>" for _, reply in batch["conversations"][row].turns)
    assert right_replies(stage, batch) < 50
    labels_of = iter([group.labels for group in groups])

    def knows(states: torch.Tensor) -> torch.Tensor:
        perfect = torch.zeros(*states.shape[:2], len(tokenizer))
        following = next(labels_of)[:, 1:].clamp(min=0)
        perfect[:, :-1].scatter_(2, following[..., None], 1.0)
        return perfect

    stage.llava.logits = knows  # type: ignore[method-assign]
    assert right_replies(stage, batch) == 100
