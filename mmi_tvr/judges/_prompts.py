"""Closed questions as a tokenizer of the Hugging Face layout takes them: chat templates, thinking, answer words."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..chat.answer_words import spellings
from ..chat.content import Content, around_pictures, quote
from ..chat.replies import is_still_thinking
from ..encoders.quoting import TOKEN_CHARACTERS, first_tokens
from ..errors import AnswerError, ModelNotFound, UsageError, one_line
from ..prompt_templates import JudgeTemplate, VisualTemplate
from ..types import Judgement
from ._common import neither

Reading = Judgement | AnswerError | str  # the last: the likeliest token, where that begins neither answer
_PICTURE = {"type": "image"}  # in a message
# The token by which a model begins to think by itself -> what stands in a prompt where it has thought of nothing.
_EMPTY_THOUGHTS = {"<think>": "<think>\n\n</think>\n\n", "<|channel|>": "<|channel|>final<|message|>"}
_END_OF_THINKING = "\n</think>\n\n"


class PromptMaker:
    """Questions about pairs of skeletons as prompts of one model.

    Args:
        tokenizer: of transformers.
        folder: of the checkpoint, where older ones keep the chat template of a processor.
        template: the question.

    Raises:
        ModelNotFound: where the chat template takes no text from a user.
    """

    def __init__(self, tokenizer: Any, folder: Path, template: JudgeTemplate) -> None:
        self._tokenizer, self._folder, self._template = tokenizer, folder, template
        self._chat_template = tokenizer.chat_template or _processor_template(folder)
        self.thought = ""  # put behind each prompt of a model that would think otherwise
        self._as_parts = False
        if self._chat_template:
            self._as_parts = self._takes_parts("a question: yes or no?", folder)

    def prompts(self, text: str, videos: Sequence[str]) -> list[str]:
        """Return the prompt of one text skeleton with each video skeleton."""
        questions = self._template.prompts(self._quote, [text] * len(videos), videos)
        return [self._rendered(question) + self.thought for question in questions]

    def judge(
        self, text: str, videos: Sequence[str], read: Callable[[Sequence[str]], Sequence[Reading]]
    ) -> list[Judgement | AnswerError]:
        """Return the judgement of one text skeleton with each of N video skeletons; `read` as in `ask`."""
        return self.ask(lambda: self.prompts(text, videos), read, self._template)

    def ask(
        self,
        prompts: Callable[[], Sequence[str]],
        read: Callable[[Sequence[str]], Sequence[Reading]],
        template: JudgeTemplate | VisualTemplate,
    ) -> list[Judgement | AnswerError]:
        """Return the judgement of each question.

        A model that begins to think by itself is asked again behind an empty thought, and so from then on.

        Args:
            prompts: makes N questions.
            read: from N prompts to their judgements, or the likeliest token where that begins neither answer.
            template: has the two answers.
        """
        judgements = read(prompts())
        if not self.thought and (thought := empty_thought(judgements)):
            self.thought = thought
            judgements = read(prompts())
        return [neither(item, template) if isinstance(item, str) else item for item in judgements]

    def visual_prompts(
        self, template: VisualTemplate, text: str, pictures: Sequence[int], image_token: str
    ) -> list[str]:
        """Return the question about a text and each of N videos.

        Args:
            template: the question.
            text: is asked about.
            pictures: how many are shown of each video.
            image_token: stands for a picture where no chat template says what does.

        Raises:
            ModelNotFound: where the chat template takes no pictures.
        """
        before, after = template.parts(self._quote, text)
        return [self._with_pictures(before, count, after, image_token) + self.thought for count in pictures]

    def _with_pictures(self, before: str, count: int, after: str, image_token: str) -> str:
        from jinja2 import TemplateError

        inline = f"{before}{image_token * count}{after}"
        if not self._chat_template:
            return inline
        with suppress(TemplateError, TypeError, ValueError):
            prompt = self._chat(around_pictures(before, [_PICTURE] * count, after), after)
            if str(_PICTURE) not in prompt and prompt != self._chat(around_pictures(before, [], after), after):
                return prompt
        with suppress(TemplateError, TypeError, ValueError):
            prompt = self._chat(inline, after)
            if prompt.count(image_token) == count:
                return prompt
        raise ModelNotFound(f"{self._folder}: its chat template takes no pictures")

    def ids(self, prompts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each prompt."""
        encoded = self._tokenizer(list(prompts), add_special_tokens=self.adds_special_tokens)
        return [list(ids) for ids in encoded["input_ids"]]

    @property
    def adds_special_tokens(self) -> bool:
        """Whether the tokenizer is to write the first token: a chat template writes it itself."""
        return not self._chat_template

    def _quote(self, text: str, limit: int) -> str:
        return first_tokens(self._tokenizer, quote(text, TOKEN_CHARACTERS * limit), limit)

    def _rendered(self, question: str) -> str:
        if not self._chat_template:
            return question
        return self._chat([{"type": "text", "text": question}] if self._as_parts else question, question)

    def _chat(self, content: Content, end: str) -> str:
        """Return what a user says as the chat template has it, up to the model's answer; `end` is its last text."""
        prompt = str(
            self._tokenizer.apply_chat_template(
                [{"role": "user", "content": content}], chat_template=self._chat_template, tokenize=False,
                add_generation_prompt=True, enable_thinking=False,
            )
        )  # fmt: skip
        behind = prompt[prompt.rfind(end.strip()) + len(end.strip()) :]
        return prompt + _END_OF_THINKING if is_still_thinking(behind) else prompt

    def _takes_parts(self, question: str, folder: Path) -> bool:
        """Return whether the chat template wants a message in parts, as those of models that see do."""
        from jinja2 import TemplateError

        reason = "it leaves out what a user says"
        for self._as_parts in (False, True):
            try:
                if question in self._rendered(question):
                    return self._as_parts
            except (TemplateError, TypeError, ValueError) as error:
                reason = one_line(error)
        raise ModelNotFound(f"{folder}: its chat template takes no question ({reason})")


def empty_thought(judgements: Sequence[object]) -> str:
    """Return the empty thought of a model that begins to think in most of its replies; empty where it does not.

    Args:
        judgements: of which a text is the first token of a reply that is neither answer.
    """
    tokens = [item.strip() for item in judgements if isinstance(item, str)]
    return next((text for token, text in _EMPTY_THOUGHTS.items() if 2 * tokens.count(token) > len(judgements)), "")


def answer_token_ids(tokenizer: Any, template: JudgeTemplate | VisualTemplate) -> tuple[list[int], list[int]]:
    """Return the tokens that are, or begin, the positive answer, and those of the negative one.

    All spellings that are one token count; where a word has none, the first token of each. Raises UsageError where both
    answers begin alike.
    """
    sides = [_first_tokens_of(tokenizer, word) for word in (template.positive, template.negative)]
    positive, negative = sides[0] - sides[1], sides[1] - sides[0]
    if not positive or not negative:
        raise UsageError(
            f"for this model {template.positive!r} and {template.negative!r} begin alike; name other answers in a "
            "template of your own (template: FILE)"
        )
    return sorted(positive), sorted(negative)


def _first_tokens_of(tokenizer: Any, word: str) -> set[int]:
    encoded = [tokenizer.encode(spelling, add_special_tokens=False) for spelling in spellings(word)]
    pieces = [[token for token in ids if tokenizer.decode([token]).strip()] for ids in encoded]
    known = [ids for ids in pieces if ids and ids[0] != tokenizer.unk_token_id]
    return {ids[0] for ids in known if len(ids) == 1} or {ids[0] for ids in known}


def _processor_template(folder: Path) -> str | None:
    """Return the chat template that a checkpoint keeps for its processor alone; None where it has none."""
    path = folder / "chat_template.json"
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["chat_template"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelNotFound(f"{path}: no chat template ({one_line(error)})") from error
