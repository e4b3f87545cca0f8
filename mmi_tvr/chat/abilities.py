"""What a server was seen to be able to do, what that makes it good for, and the settings to use it with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..types import JudgedBy
from .client import ServerOptions

THINKING_TOKENS = 1024  # with which a model that thinks comes to an answer


@dataclass(frozen=True, slots=True)
class ServerCheck:
    """One thing that was checked; `detail` says what was seen, and what to do where it is not `ok`."""

    name: str
    ok: bool
    detail: str


@dataclass
class ServerAbilities:
    """What the checks have shown so far."""

    models: list[str] = field(default_factory=list)
    model: str = ""
    texts: bool = False
    pictures: bool = False
    key_images: bool = False
    judged_by: JudgedBy | None = None
    context: bool = True  # long enough for a video; also where it could not be checked
    chinese: bool = False
    thinks: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
    picture_tokens: int | None = None

    def good_for(self) -> dict[str, Any]:
        """Return what the server is good for (a documented contract: `good_for` of `doctor --server --json`)."""
        return {
            "answers_about_texts": self.texts,
            "answers_about_pictures": self.texts and self.key_images and self.context,
            "judge": self.judged_by,
            "expansion": self.texts,
        }

    def settings(self, options: ServerOptions) -> dict[str, Any]:
        """Return the settings to use the server with, dotted names and values; none where it is good for nothing."""
        defaults = type(options)()
        server: dict[str, Any] = {"name": "openai", "base_url": options.base_url, "model": self.model}
        if options.key_variable != defaults.key_variable:
            server["key_variable"] = options.key_variable
        if self.extra:
            server["extra"] = self.extra
        good_for = self.good_for()
        values: dict[str, Any] = {}
        if good_for["answers_about_pictures"]:
            values |= {f"rerank.answerer.{name}": value for name, value in server.items()}
            if self.thinks:
                values["rerank.answerer.max_tokens"] = 4 * THINKING_TOKENS
        if self.judged_by is not None:
            values |= {f"rerank.judge.{name}": value for name, value in server.items()}
        return values
