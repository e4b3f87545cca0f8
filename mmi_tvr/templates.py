"""How the language model is spoken to: the words of prompts/answer.yaml, score.yaml and generate.yaml."""

from __future__ import annotations

import string
from functools import cache
from typing import TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from . import config, plugins
from .errors import ConfigError, UsageError

T = TypeVar("T", bound="_Template")


class _Template(plugins.BaseOptions):
    @model_validator(mode="after")
    def _places(self) -> _Template:
        """Every place that is to be filled is there, and no other."""
        for name, field in type(self).model_fields.items():
            wanted = (field.json_schema_extra or {}).get("places") if isinstance(field.json_schema_extra, dict) else None
            if wanted is None:
                continue
            found = {place for _, place, _, _ in string.Formatter().parse(getattr(self, name)) if place is not None}
            if found != set(wanted):  # type: ignore[arg-type]
                there = ", ".join(f"{{{place}}}" for place in sorted(wanted))  # type: ignore[arg-type, type-var]
                raise ValueError(f"{name} must hold {there}, each of them and nothing else in braces")
        return self


def _text(*places: str, **more: str) -> str:
    return Field(json_schema_extra={"places": list(places)}, **more)  # type: ignore[no-any-return, arg-type]


class AnswerTemplate(_Template):
    """A question about a text or about key images."""

    text: str = _text("text", "question", description="a question about a text")
    video: str = _text("images", "question", description="a question about key images")
    max_tokens: int = Field(ge=1, le=512, description="tokens of an answer")
    quoted: int = Field(ge=1, description="tokens of a text that are read")


class ScoreTemplate(_Template):
    """The joint score's question and its two answers."""

    prompt: str = _text("text", "video", description="the question about two skeletons")
    positive: str = Field("yes", min_length=1, description="the answer that counts for the pair")
    negative: str = Field("no", min_length=1, description="the answer that counts against it")
    quoted: int = Field(ge=1, description="tokens of a skeleton that are read")

    @property
    def halves(self) -> tuple[str, str]:
        """The prompt before and behind the video skeleton; {text} is in the first."""
        before, _, behind = self.prompt.partition("{video}")
        return before, behind

    @model_validator(mode="after")
    def _text_first(self) -> ScoreTemplate:
        if "{text}" not in self.halves[0]:
            raise ValueError("prompt must hold {text} before {video}: candidates of a query share what comes first")
        return self


class GenerateTemplate(_Template):
    """A request for new questions."""

    text: str = _text("texts", description="from captions")
    video: str = _text("images", description="from key images")
    samples: int = Field(ge=1, description="captions, or key images, that are shown")
    max_tokens: int = Field(ge=1, le=512, description="tokens of a question")


@cache
def answer(path: str = "answer") -> AnswerTemplate:
    """The template of a file: a path, or a name in prompts/. UsageError or ConfigError where it cannot be used."""
    return _read(AnswerTemplate, path)


@cache
def score(path: str = "score") -> ScoreTemplate:
    return _read(ScoreTemplate, path)


@cache
def generate(path: str = "generate") -> GenerateTemplate:
    return _read(GenerateTemplate, path)


def _read(kind: type[T], path: str) -> T:
    found = config.find("prompts", path)
    try:
        return kind(**(yaml.safe_load(found.read_text(encoding="utf-8")) or {}))
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        raise UsageError(f"{found}: not readable as YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise ConfigError(str(found), plugins.explain(error, kind)) from error
