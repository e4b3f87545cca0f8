"""Prompts of the language model: the templates in prompts/answer.yaml, judge.yaml, visual.yaml, generate.yaml and
expand.yaml."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from . import config, plugins
from .errors import ConfigError, UsageError, one_line
from .utils.textfiles import decode

T = TypeVar("T", bound="_Template")


@dataclass(frozen=True, slots=True)
class _Placeholders:
    """The names in braces that a template must hold."""

    names: frozenset[str]


def _placeholders(*names: str) -> _Placeholders:
    return _Placeholders(frozenset(names))


class _Template(plugins.BaseOptions):
    @model_validator(mode="after")
    def _check_placeholders(self) -> _Template:
        """Raise ValueError where a field lacks one of its placeholders, or holds another one."""
        for name, field in type(self).model_fields.items():
            for rule in field.metadata:
                if not isinstance(rule, _Placeholders):
                    continue
                parts = string.Formatter().parse(getattr(self, name))
                if {placeholder for _, placeholder, _, _ in parts if placeholder is not None} != rule.names:
                    required = ", ".join(f"{{{placeholder}}}" for placeholder in sorted(rule.names))
                    raise ValueError(f"{name} must hold {required}, each of them and nothing else in braces")
        return self


class AnswerTemplate(_Template):
    """A question about a text or about key images."""

    text: Annotated[str, _placeholders("text", "question")] = Field(description="a question about a text")
    video: Annotated[str, _placeholders("images", "question")] = Field(description="a question about key images")
    max_tokens: int = Field(ge=1, le=512, description="tokens of an answer")
    quoted: int = Field(ge=1, description="tokens of a text that are read")


class JudgeTemplate(_Template):
    """The joint score's question and its two answers."""

    prompt: Annotated[str, _placeholders("text", "video")] = Field(description="the question about two skeletons")
    positive: str = Field("yes", min_length=1, description="the answer that counts for the pair")
    negative: str = Field("no", min_length=1, description="the answer that counts against it")
    quoted: int = Field(ge=1, description="tokens of a skeleton that are read")

    @property
    def halves(self) -> tuple[str, str]:
        """The prompt before and after the video skeleton; {text} is in the first."""
        before, _, after = self.prompt.partition("{video}")
        return before, after

    def prompts(self, quote: Callable[[str, int], str], texts: Sequence[str], videos: Sequence[str]) -> list[str]:
        """Return the question about each pair of skeletons (as plain text), which `quote` cuts to `quoted` tokens."""
        return [
            self.prompt.format(text=quote(text, self.quoted), video=quote(video, self.quoted))
            for text, video in zip(texts, videos, strict=True)
        ]

    @model_validator(mode="after")
    def _text_first(self) -> JudgeTemplate:
        if "{text}" not in self.halves[0]:
            raise ValueError("prompt must hold {text} before {video}: candidates of a query share what comes first")
        return self


class VisualTemplate(_Template):
    """The question whether a video shows what a text says, and its two answers."""

    prompt: Annotated[str, _placeholders("images", "text")] = Field(description="the question about key images")
    positive: str = Field("yes", min_length=1, description="the answer that counts for the video")
    negative: str = Field("no", min_length=1, description="the answer that counts against it")
    quoted: int = Field(ge=1, description="tokens of a text that are read")

    def parts(self, quote: Callable[[str, int], str], text: str) -> tuple[str, str]:
        """Return the question about a text, which `quote` cuts to `quoted` tokens, before and after the key images."""
        before, _, after = self.prompt.partition("{images}")
        quoted = quote(text, self.quoted)
        return before.format(text=quoted), after.format(text=quoted)


class GenerateTemplate(_Template):
    """A request for new questions."""

    text: Annotated[str, _placeholders("texts")] = Field(description="from captions")
    video: Annotated[str, _placeholders("images")] = Field(description="from key images")
    samples: int = Field(ge=1, description="captions, or key images, that are shown")
    max_tokens: int = Field(ge=1, le=512, description="tokens of a question")

    @property
    def before(self) -> str:
        """The words before the captions: part of the text that is asked about."""
        return self.text.partition("{texts}")[0].strip()

    def request(self, about: Literal["text", "video"]) -> str:
        """Return the request itself, as a question (`AnswerTemplate`) about captions or about key images."""
        if about == "text":
            return self.text.partition("{texts}")[2].strip()
        return self.video.replace("{images}", "").strip()


class ExpandTemplate(_Template):
    """Requests for other wordings of a query."""

    wordings: tuple[str, ...] = Field(min_length=1, description="in its language; the first N are asked")
    chinese: str = Field(min_length=1, description="for its translation, where it is not Chinese")
    english: str = Field(min_length=1, description="for its translation, where it is Chinese")


@cache
def answer(path: str = "answer") -> AnswerTemplate:
    """Return the template of a file: a path, or a name in prompts/.

    This and the next four raise UsageError or ConfigError where it cannot be used.
    """
    return _read(AnswerTemplate, path)


@cache
def judge(path: str = "judge") -> JudgeTemplate:
    return _read(JudgeTemplate, path)


@cache
def visual(path: str = "visual") -> VisualTemplate:
    return _read(VisualTemplate, path)


@cache
def generate(path: str = "generate") -> GenerateTemplate:
    return _read(GenerateTemplate, path)


@cache
def expand(path: str = "expand") -> ExpandTemplate:
    return _read(ExpandTemplate, path)


def shown(path: str) -> str:
    """Return how a template's file is called: a packaged one by its place in prompts/.

    >>> shown("judge"), shown("mine/judge.yaml")
    ('prompts/judge.yaml', 'mine/judge.yaml')
    """
    packaged = config.PACKAGED / "prompts" / f"{path}.yaml"
    return f"prompts/{packaged.name}" if packaged.parent.name == "prompts" and packaged.is_file() else path


def _read(template: type[T], path: str) -> T:
    file = config.find("prompts", path)
    try:
        return template(**(yaml.safe_load(decode(file.read_bytes(), file)) or {}))
    except (yaml.YAMLError, RecursionError, TypeError) as error:
        raise UsageError(f"{file}: not readable as YAML: {one_line(error, limit=None)}") from error
    except ValidationError as error:
        raise ConfigError(str(file), plugins.explain(error, template)) from error
