"""How the language model is spoken to: the words of prompts/answer.yaml, judge.yaml and generate.yaml."""

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

T = TypeVar("T", bound="_Template")


@dataclass(frozen=True, slots=True)
class _Places:
    """What stands in braces in a template."""

    names: frozenset[str]


def _holding(*names: str) -> _Places:
    return _Places(frozenset(names))


class _Template(plugins.BaseOptions):
    @model_validator(mode="after")
    def _places(self) -> _Template:
        """Every place that is to be filled is there, and no other."""
        for name, field in type(self).model_fields.items():
            wanted = [each.names for each in field.metadata if isinstance(each, _Places)]
            if not wanted:
                continue
            found = {place for _, place, _, _ in string.Formatter().parse(getattr(self, name)) if place is not None}
            if found != wanted[0]:
                there = ", ".join(f"{{{place}}}" for place in sorted(wanted[0]))
                raise ValueError(f"{name} must hold {there}, each of them and nothing else in braces")
        return self


class AnswerTemplate(_Template):
    """A question about a text or about key images."""

    text: Annotated[str, _holding("text", "question")] = Field(description="a question about a text")
    video: Annotated[str, _holding("images", "question")] = Field(description="a question about key images")
    max_tokens: int = Field(ge=1, le=512, description="tokens of an answer")
    quoted: int = Field(ge=1, description="tokens of a text that are read")


class JudgeTemplate(_Template):
    """The joint score's question and its two answers."""

    prompt: Annotated[str, _holding("text", "video")] = Field(description="the question about two skeletons")
    positive: str = Field("yes", min_length=1, description="the answer that counts for the pair")
    negative: str = Field("no", min_length=1, description="the answer that counts against it")
    quoted: int = Field(ge=1, description="tokens of a skeleton that are read")

    @property
    def halves(self) -> tuple[str, str]:
        """The prompt before and behind the video skeleton; {text} is in the first."""
        before, _, behind = self.prompt.partition("{video}")
        return before, behind

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


class GenerateTemplate(_Template):
    """A request for new questions."""

    text: Annotated[str, _holding("texts")] = Field(description="from captions")
    video: Annotated[str, _holding("images")] = Field(description="from key images")
    samples: int = Field(ge=1, description="captions, or key images, that are shown")
    max_tokens: int = Field(ge=1, le=512, description="tokens of a question")

    @property
    def before(self) -> str:
        """What stands before the captions: part of the text that is asked about."""
        return self.text.partition("{texts}")[0].strip()

    def asked(self, about: Literal["text", "video"]) -> str:
        """The request itself, as a question (`AnswerTemplate`) about captions or about key images."""
        return (self.text.partition("{texts}")[2] if about == "text" else self.video.replace("{images}", "")).strip()


@cache
def answer(path: str = "answer") -> AnswerTemplate:
    """The template of a file: a path, or a name in prompts/. UsageError or ConfigError where it cannot be used."""
    return _read(AnswerTemplate, path)


@cache
def judge(path: str = "judge") -> JudgeTemplate:
    return _read(JudgeTemplate, path)


@cache
def generate(path: str = "generate") -> GenerateTemplate:
    return _read(GenerateTemplate, path)


def _read(kind: type[T], path: str) -> T:
    found = config.find("prompts", path)
    try:
        return kind(**(yaml.safe_load(found.read_text(encoding="utf-8")) or {}))
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        raise UsageError(f"{found}: not readable as YAML: {one_line(error, limit=None)}") from error
    except ValidationError as error:
        raise ConfigError(str(found), plugins.explain(error, kind)) from error
