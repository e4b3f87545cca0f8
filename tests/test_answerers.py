"""Answerers: one contract for all, and what each of them owes besides."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_llava
import torch
import yaml
from chat_server import ChatServer
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration

from mmi_tvr import plugins, prompt_templates
from mmi_tvr.answerers import openai, vllm
from mmi_tvr.encoders import llava, towers
from mmi_tvr.encoders.llava import Llava
from mmi_tvr.encoders.options import LlavaOptions
from mmi_tvr.errors import AnswerError, MmiTvrError, UsageError
from mmi_tvr.models import mmi
from mmi_tvr.models.mmi import Mmi
from mmi_tvr.protocols import Answerer
from mmi_tvr.types import AnswerRequest, Features, Pixels, Query

HEADS = {"heads": 2, "layers": 1, "expansion": 2, "grid": 2, "dropout": 0.0}
GRID = 2
MOST = 6  # tokens of an answer
QUESTIONS = ["a red circle", "left then grows", "no", "yes a blue square moves right then grows left"]
QUICK = {"backoff": 0.001, "retries": 2, "timeout": 5.0}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return talkative(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Mmi:
    values = {"llava": {"checkpoint": str(checkpoint), "grid": GRID, "lora": None}, "heads": HEADS}
    return plugins.build("models", "mmi", values, device="cpu")


def talkative(folder: Path) -> Path:
    """A random LLaVA that says something else to each question: its layers outweigh the last word."""
    path = tiny_llava.make(folder) / "model.safetensors"
    weights = load_file(path)
    for name, weight in weights.items():
        if "language_model.model.layers" in name and weight.ndim > 1:
            weight *= 3
    save_file(weights, path, metadata={"format": "pt"})
    return folder


def pictures(count: int, seed: int) -> list[Pixels]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (32, 40, 3), dtype=np.uint8) for _ in range(count)]


def video(model: Mmi, question: str, count: int, seed: int = 0) -> AnswerRequest:
    """A question about a video, for every kind of answerer."""
    shown = pictures(count, seed)
    edges = np.arange(count + 1.0)
    segments = np.stack([edges[:-1], edges[1:], edges[:-1]], axis=1)
    return AnswerRequest(question, features=Features(segments, model.encode_images(shown)), pictures=tuple(shown))


def asks(model: Mmi) -> list[AnswerRequest]:
    """Texts and videos in turn, of all lengths."""
    requests = []
    for at, question in enumerate(QUESTIONS):
        requests.append(AnswerRequest(question, text="a red circle moves left then grows " * (1 + at % 2)))
        requests.append(video(model, question, 1 + (5 * at) % 4, seed=at))
    return requests


def transformers(model: Mmi, **values: Any) -> Answerer:
    answerer = plugins.build("answerers", "transformers", {"max_tokens": MOST, **values}, device="cpu", model=model)
    assert isinstance(answerer, Answerer)
    return answerer


def client(server: ChatServer, **values: Any) -> Answerer:
    answerer = plugins.build("answerers", "openai", {"base_url": server.url, **QUICK, **values})
    assert isinstance(answerer, Answerer)
    return answerer


def texts(*questions: str) -> list[AnswerRequest]:
    return [AnswerRequest(question, text="a red circle") for question in questions]


def readable(answers: list[str | AnswerError]) -> list[str]:
    """Answers, and errors as their messages with a mark, so that they can be compared."""
    return [each if isinstance(each, str) else f"! {each}" for each in answers]


# One contract for all


@pytest.fixture(params=["transformers", "openai", "fake that sees features", "fake that sees pictures"])
def answerer(request: pytest.FixtureRequest, model: Mmi, server: ChatServer) -> Answerer:
    if request.param == "transformers":
        return transformers(model)
    if request.param == "openai":
        return client(server)
    fake = plugins.build("answerers", "fake", {"sees": request.param.rpartition(" ")[2]})
    assert isinstance(fake, Answerer)
    return fake


def test_every_question_has_its_answer_or_its_error_in_its_place(answerer: Answerer, model: Mmi) -> None:
    good = asks(model)
    mixed = [
        AnswerRequest("", text="a red circle"), *good[:3],
        AnswerRequest("no", text=" \n"), AnswerRequest("no"), *good[3:],
        AnswerRequest("no", features=Features(np.zeros((0, 3)), {"patches": np.zeros((0, 4, 32))})),
    ]  # fmt: skip
    steps: list[int] = []
    answers = readable(answerer.answer(mixed, lambda: steps.append(1)))
    assert len(steps) == len(mixed)
    assert answers[0] == "! the question is empty"
    assert answers[4] == "! the text that is asked about is empty"
    assert (
        answers[5]
        == answers[-1]
        == f"! a question about a video that comes without {answerer.video_input} of key images"
    )
    alone = [readable(answerer.answer([ask]))[0] for ask in good]
    assert [*answers[1:4], *answers[6:-1]] == alone
    assert len(set(alone)) > 2, "different questions have different answers"
    assert all(text == " ".join(text.split()) for text in alone)
    assert answerer.answer([]) == []


def test_the_fingerprint_of_fake_answers_is_of_what_changes_them() -> None:
    def fingerprint(**options: Any) -> str:
        return plugins.build("answerers", "fake", options).fingerprint()  # type: ignore[no-any-return]

    assert fingerprint() == fingerprint(delay=1.0, dies=3)
    options: list[dict[str, Any]] = [
        {}, {"answers": {"a?": "b"}}, {"rule": "x"}, {"fail": ["a?"]}, {"late": ["a?"]}, {"sees": "pictures"},
    ]  # fmt: skip
    assert len({fingerprint(**values) for values in options}) == len(options)


# transformers


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_the_batch_size_changes_no_answer(model: Mmi, batch: int) -> None:
    one_by_one = readable(transformers(model, batch=1).answer(asks(model)))
    assert readable(transformers(model, batch=batch).answer(asks(model))) == one_by_one


def test_what_is_asked_about_matters(model: Mmi) -> None:
    """The same question about other key images, in another order, and about texts."""
    ask = video(model, "a red circle moves", 4)
    assert ask.features
    turned = {name: array[::-1] for name, array in ask.features.arrays.items()}
    backwards = AnswerRequest(ask.question, features=Features(ask.features.segments, turned))
    others = [video(model, ask.question, 4, seed) for seed in range(1, 6)]
    answers = transformers(model, max_tokens=12).answer([ask, *others])
    assert len(set(map(str, answers))) > 3
    reader = vllm.build(vllm.Options(), device="cpu", model=model)._reader
    one, other = reader.visual_tokens([ask]), reader.visual_tokens([backwards])
    assert torch.equal(one, other.flip(0))
    assert not torch.equal(one, other)


def test_a_question_too_long_fails_alone(model: Mmi) -> None:
    long = AnswerRequest("red " * 2500, text="a red circle")  # 10,000 characters
    many = video(model, "no", 32)
    answers = transformers(model).answer([*texts("a red circle"), long, many, *texts("yes")])
    assert isinstance(answers[0], str)
    assert isinstance(answers[3], str)
    assert {str(answers[1]), str(answers[2])} == {"too long: the model reads 122 tokens before it speaks"}
    room = tiny_llava.LANGUAGE["max_position_embeddings"]
    just = AnswerRequest("red " * 60, text="a")
    length = model.network.llava.token_counts(
        [prompt_templates.answer().text.format(question="red " * 59 + "red", text="a")]
    )[0]
    fits, fails = (transformers(model, max_tokens=room - length + more).answer([just])[0] for more in (0, 1))
    assert isinstance(fits, str)
    assert isinstance(fails, AnswerError)


def test_a_long_text_is_cut(model: Mmi) -> None:
    words = prompt_templates.answer()
    one, other = ("red " * words.quoted, "red " * words.quoted + "blue " * 5000)
    answers = transformers(model, max_tokens=1).answer([AnswerRequest("no", text=one), AnswerRequest("no", text=other)])
    assert str(answers[0]) == str(answers[1])


HOSTILE = st.lists(
    st.sampled_from(['"', "<image>", "</s>", "<s>", "<pad>", "{question}", "{", "red", "answer yes", "\n", " "])
).map("".join)


@given(text=HOSTILE, question=HOSTILE)
def test_what_people_write_is_data(model: Mmi, text: str, question: str) -> None:
    """No special token but the first, no image, and no end of the quotation, in text or question."""
    reader = vllm.build(vllm.Options(max_tokens=MOST), device="cpu", model=model)._reader
    about_text, about_video = AnswerRequest(f"a {question}", text=f"a {text}"), video_ask(model, f"a {question}")
    for ask, images, marks in ((about_text, 0, 2), (about_video, 2, 0)):
        (prompt,) = reader.prompts([ask], context=10_000)
        assert isinstance(prompt, str)
        ids = reader.llava.tokenizer(prompt)["input_ids"]
        assert (ids.count(4), ids.count(2), ids.count(0), ids.count(1)) == (images, 0, 0, 1)
        assert prompt.count('"') == marks
    parts = openai.content(about_text, openai.Options().prompt_template)
    assert parts[0]["text"].count('"') == 2
    assert not any(special in parts[0]["text"] for special in tiny_llava.SPECIAL)


def video_ask(model: Mmi, question: str, held: dict[str, AnswerRequest] = {}) -> AnswerRequest:  # noqa: B006 (made once: it is slow)
    if not held:
        held["video"] = video(model, "no", 2)
    return AnswerRequest(question, features=held["video"].features)


def test_nobody_to_ask_is_one_line(model: Mmi, checkpoint: Path) -> None:
    def build(values: dict[str, Any], model: Any) -> Any:
        return plugins.build("answerers", "transformers", values, device="cpu", model=model)

    with pytest.raises(UsageError, match="no model was given; name weights, for example moving-shapes"):
        build({}, None).answer(texts("no"))
    with pytest.raises(UsageError, match="clip4clip has no language model; name weights"):
        build({}, SimpleNamespace(name="clip4clip")).answer(texts("no"))
    with pytest.raises(UsageError, match="lvlm: false"):
        build({}, Mmi(model.options.model_copy(update={"lvlm": False}), "cpu")).answer(texts("no"))
    with pytest.raises(UsageError, match="moving-shapes has another vision tower than the model that makes"):
        build({"weights": "moving-shapes"}, model).answer(texts("no"))
    with pytest.raises(UsageError, match="unknown option 'temperature'"):
        build({"temperature": 1}, model)


def test_features_of_another_model_are_refused(model: Mmi) -> None:
    segments = np.zeros((2, 3))
    with pytest.raises(UsageError, match="hold no visual tokens"):
        transformers(model).answer([AnswerRequest("no", features=Features(segments, {"image": np.zeros((2, 24))}))])
    with pytest.raises(UsageError, match=r"\(9, 32\) a key image instead of \(4, 32\)"):
        transformers(model).answer(
            [AnswerRequest("no", features=Features(segments, {"patches": np.zeros((2, 9, 32))}))]
        )


def test_the_model_is_shared(model: Mmi) -> None:
    answerer = transformers(model)
    assert answerer._reader.llava is model.network.llava  # type: ignore[attr-defined]


def test_without_its_adapter_a_trained_model_answers_as_the_base_does(
    model: Mmi, checkpoint: Path, tmp_path: Path
) -> None:
    lora = {"rank": 4, "alpha": 8, "targets": ["q_proj", "down_proj"]}
    values = {"llava": {"checkpoint": str(checkpoint), "grid": GRID, "lora": lora}, "heads": HEADS}
    training = mmi.trainable(plugins.options("models", "mmi", values), device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in training.network.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    training.save(tmp_path)
    trained = plugins.build("models", "mmi", {"weights": str(tmp_path)}, device="cpu")
    requests, query = asks(model), [Query("a red circle")]
    before = trained.embed_queries(query)
    as_base, as_trained = transformers(trained, adapter=False), transformers(trained)
    answers = readable(as_base.answer(requests))
    assert answers == readable(transformers(model).answer(requests))
    assert answers != readable(as_trained.answer(requests))
    assert as_base.fingerprint() != as_trained.fingerprint()
    assert as_base.fingerprint() == transformers(model, adapter=False).fingerprint(), (
        "training costs the base no answer"
    )
    np.testing.assert_array_equal(trained.embed_queries(query), before)  # which is adapted, as ever


def test_the_fingerprint_follows_words_and_model(model: Mmi, tmp_path: Path) -> None:
    template = tmp_path / "own.yaml"
    template.write_text(
        'text: "{text}? {question}"\nvideo: "{images} {question}"\nmax_tokens: 6\nquoted: 8\n', encoding="utf-8"
    )
    coarser = model.options.llava.model_copy(update={"grid": 1})
    answerers = [
        transformers(model), transformers(model, max_tokens=7), transformers(model, template=str(template)),
        transformers(Mmi(model.options.model_copy(update={"llava": coarser}), "cpu")),
    ]  # fmt: skip
    assert len({each.fingerprint() for each in answerers}) == 4
    assert transformers(model, batch=1).fingerprint() == answerers[0].fingerprint()
    other_vectors = Mmi(model.options.model_copy(update={"inductive": False}), "cpu")
    assert other_vectors.fingerprint() != model.fingerprint()
    assert transformers(other_vectors).fingerprint() == answerers[0].fingerprint()


# Llava.generate


@pytest.mark.parametrize("most", [1, 9])
def test_generation_is_that_of_transformers_from_pixels(checkpoint: Path, most: int) -> None:
    whole = LlavaOptions(checkpoint=str(checkpoint), grid=tiny_llava.SIDE, lora=None)
    ours = llava.load(whole, device="cpu")
    pixels = torch.randn(3, 3, tiny_llava.IMAGE_SIZE, tiny_llava.IMAGE_SIZE, generator=torch.Generator().manual_seed(0))
    visual = ours.project(towers.load(whole, regions=GRID, device="cpu").pixel_features(pixels)["patches"])
    prompts = ["<image> a red circle moves left then grows", "<image><image> yes"]
    theirs = LlavaForConditionalGeneration.from_pretrained(checkpoint).eval()
    expected = []
    for prompt, images in zip(prompts, (pixels[:1], pixels[1:]), strict=True):
        ids = ours.inputs([prompt], torch.zeros(len(images), tiny_llava.SIDE**2, ours.width)).ids
        generated = theirs.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=images,
            max_new_tokens=most,
            do_sample=False,
        )
        expected.append(ours.tokenizer.decode(generated[0, ids.shape[1] :], skip_special_tokens=True))
    assert ours.generate(prompts, visual.detach(), most) == expected
    assert any(expected)


def test_generation_stops_at_an_end_token(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one row ends early the other goes on; nothing behind an end is said; there may be several ends."""
    model = llava.load(LlavaOptions(checkpoint=str(checkpoint), grid=GRID, lora=None), device="cpu")
    prompts = ["a red circle", "yes a blue square moves", "left"]
    whole = [reply.split() for reply in model.generate(prompts, None, 12)]
    row = next(row for row, words in enumerate(whole) if len(set(words)) > 1)
    end = next(word for word in whole[row] if word != whole[row][0])
    ids = [2, model.tokenizer.convert_tokens_to_ids(end)]
    monkeypatch.setattr(model.base.generation_config, "eos_token_id", ids)
    stopped = [reply.split() for reply in model.generate(prompts, None, 12)]
    for before, after in zip(whole, stopped, strict=True):
        length = before.index(end) if end in before else len(before)
        assert [word for word in after if word != end] == before[:length]
    assert stopped[row] != whole[row]


def test_lengths_count_pictures(model: Mmi) -> None:
    language_model: Llava = model.network.llava
    for prompt, images in (("<image><image> a red circle", 2), ("a red circle", 0)):
        visual = torch.zeros(images, GRID**2, language_model.width) if images else None
        assert language_model.token_counts([prompt]) == [language_model.inputs([prompt], visual).ids.shape[1]]
    assert language_model.token_counts([]) == []


# fake


def test_fake_says_what_it_was_told() -> None:
    values = {"answers": {"what": "a circle"}, "rule": "{question} of {about}", "fail": ["why"], "late": ["when"]}
    fake = plugins.build("answerers", "fake", {**values, "sees": "pictures"})
    seen = AnswerRequest("who", pictures=tuple(pictures(3, 0)))
    assert readable(fake.answer([*texts("what", "who", "why", "when"), seen])) == [
        "a circle", "who of a red circle", "! no answer, as it was told", "! no answer in time, as it was told",
        "who of 3 key images",
    ]  # fmt: skip
    assert [ask.question for ask in fake.requests] == ["what", "who", "why", "when", "who"]
    other = plugins.build("answerers", "fake", {**values, "rule": "{about}"})
    assert fake.fingerprint() != other.fingerprint()


def test_fake_dies_midway() -> None:
    steps: list[int] = []
    fake = plugins.build("answerers", "fake", {"dies": 2})
    with pytest.raises(MmiTvrError, match="died after 2 answers"):
        fake.answer(texts("a", "b", "c"), lambda: steps.append(1))
    assert len(steps) == 2


# The page


PAGE = (Path(__file__).parents[1] / "docs" / "answerers.md").read_text(encoding="utf-8")


def test_the_examples_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ask, merge = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(ask, {})
    assert "red" in capsys.readouterr().out
    exec(merge, {})
    assert (tmp_path / "runs" / "merged" / "config.json").is_file()


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL), ids=["openai", "vllm"])
def test_the_settings_of_the_page_are_options(text: str) -> None:
    values = yaml.safe_load(text)
    options = plugins.options("answerers", values.pop("name"), values)
    assert values.keys() <= options.model_fields_set
