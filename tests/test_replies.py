"""What counts as an answer: a reply without its trimmings, and never a refusal; and what an error's message advises."""

from __future__ import annotations

import pytest

from mmi_tvr.chat.refusals import advice
from mmi_tvr.chat.replies import as_answer
from mmi_tvr.errors import AnswerError


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("Yes.", "Yes"),
        ("是。", "是"),
        ("**Yes**", "Yes"),
        ("Answer: a red circle.", "a red circle"),
        ("**答案：** 蓝色。", "蓝色"),
        ("“blue”", "blue"),
        ("The dog runs. It is brown.", "The dog runs. It is brown."),
        ("a dog...", "a dog..."),
        ("3.5", "3.5"),
        ("'s is a letter", "'s is a letter"),
        ("*", "*"),
        ("<think>no</think> Yes.", "Yes"),
        ('{"answer": "yes"}', '{"answer": "yes"}'),
    ],
)
def test_an_answer_is_bare(reply: str, answer: str) -> None:
    assert as_answer(reply) == answer
    assert as_answer(answer) == answer  # and stays so


@pytest.mark.parametrize(
    "reply",
    [
        "I'm sorry, but I can't assist with that.",
        "Sorry, I can’t help with that.",
        "I apologize, but I cannot view images.",
        "Unfortunately, I am not able to process images.",
        "I am unable to view images directly.",
        "I cannot determine the answer without the image.",
        "I don't see any image in your message. Please upload it.",
        "It looks like you haven't attached an image.",
        "There are no images provided.",
        "No image was provided.",
        "Please provide the image.",
        "As a text-based model, I do not have eyes.",
        "抱歉，我无法查看图片。",
        "作为一个AI语言模型，我不能看图。",
        "我无法看到图片",
        "请上传图片",
        "您没有提供图片",
        "<think>What do they want?</think>\nI'm sorry, but I can't see it.",
    ],
)
def test_a_refusal_is_no_answer(reply: str) -> None:
    assert str(as_answer(reply)).startswith("the model refuses: ")
    assert isinstance(as_answer(reply), AnswerError)


@pytest.mark.parametrize(
    "reply",
    [
        "There is no dog",
        "There is no image on the wall",
        "No people",
        "I cannot swim",
        "a man who says: sorry",
        "a sign that says please",
        "I don't see a dog",
        "没有狗",
        "请坐",
        "不是",
        "a photo of a woman",
    ],
)
def test_what_may_be_true_of_a_film_is_an_answer(reply: str) -> None:
    assert as_answer(reply) == reply


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("tiny is not a multimodal model", "reads no pictures"),  # vLLM
        ("image input is not supported - hint: you may need to provide the mmproj", "reads no pictures"),  # llama.cpp
        ("Invalid content type. image_url is only supported by certain models.", "reads no pictures"),  # OpenAI
        ("At most 1 image(s) may be provided in one prompt.", "several pictures"),  # vLLM
        ("This model's maximum context length is 2048 tokens.", "longer context"),  # vLLM, OpenAI
        ("the request exceeds the available context size", "longer context"),  # llama.cpp
        ("out of order", ""),
        ("unknown model", ""),
    ],
)
def test_what_to_do_about_an_error(message: str, says: str) -> None:
    assert says in advice(message)
    assert bool(advice(message)) == bool(says)
