"""The words in which the language model is spoken to: what is wrong with a file is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmi_tvr import prompt_templates
from mmi_tvr.errors import ConfigError, UsageError


def test_the_packaged_templates_can_be_used() -> None:
    answer, score, generate = prompt_templates.answer(), prompt_templates.judge(), prompt_templates.generate()
    assert answer.text.format(text="a ring", question="Who?") == 'Text: "a ring" Question: Who? Answer:'
    assert "<image>" in answer.video.format(images="<image>", question="Who?")
    before, behind = score.halves
    assert before + "{video}" + behind == score.prompt
    assert '"{text}"' in before
    assert before.endswith('"')
    assert behind.startswith('"')
    assert (score.positive, score.negative) == ("yes", "no")
    assert "{texts}" in generate.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "text: '{text} Answer:'\nvideo: '{images} {question}'\nmax_tokens: 8\nquoted: 8\n",
            "must hold {question}",
        ),
        (
            "text: '{text} {question} {answer}'\nvideo: '{images} {question}'\nmax_tokens: 8\nquoted: 8\n",
            "nothing else",
        ),
        ("text: '{text} {question}'\nvideo: '{images} {question}'\nmax_tokens: 0\nquoted: 8\n", "max_tokens"),
        ("text: '{text} {question}'\nvideo: '{images} {question}'\nmax_tokens: 8\nquotes: 8\n", "quotes"),
    ],
)
def test_what_is_wrong_with_a_template_is_said(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        prompt_templates.answer(str(tmp_path / "own.yaml"))
    assert message in str(caught.value)


def test_the_text_comes_before_the_video(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("prompt: '{video} {text}'\nquoted: 8\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="before"):
        prompt_templates.judge(str(tmp_path / "own.yaml"))


def test_a_question_about_a_video_has_two_parts(tmp_path: Path) -> None:
    before, after = prompt_templates.visual().parts(lambda text, tokens: f"{text} {tokens}", "a ring")
    assert (before, after) == ("", ' Does this video show: "a ring 96"? Answer yes or no:')
    (tmp_path / "own.yaml").write_text("prompt: 'is it {text}?'\nquoted: 8\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"prompt must hold \{images\}, \{text\}"):
        prompt_templates.visual(str(tmp_path / "own.yaml"))


def test_no_mapping_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("yes: no\n", encoding="utf-8")  # YAML reads a truth value as the key
    with pytest.raises(UsageError, match="not readable"):
        prompt_templates.judge(str(tmp_path / "own.yaml"))
    with pytest.raises(UsageError, match="no such file"):
        prompt_templates.judge(str(tmp_path / "missing.yaml"))
