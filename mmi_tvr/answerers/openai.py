"""Answers from any server that speaks OpenAI's chat completions (vLLM, llama.cpp, Ollama, the hosted ones)."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Literal

from pydantic import Field

from ..errors import AnswerError, MmiTvrError, UsageError
from ..protocols import Model
from ..types import AnswerRequest, Pixels
from ..utils.hashing import digest
from ._common import AskingOptions, VideoInput, said, unanswerable
from ._http import Server, ServerOptions

_CHARACTERS = 4  # of a token, about: how much of a text is read cannot hang on a tokenizer that is elsewhere
# The beginning of what a server's tokenizer may take for a special token: </s>, <image>, <|im_end|>, [INST].
_SPECIAL = re.compile(r"<(?=\S)|\[(?=/?[A-Z_]+\])")


class Options(ServerOptions, AskingOptions):
    """Options of answers from a server."""

    model: str | None = Field(None, description="the model's name there; default: the only one it has")
    pictures: Literal["png", "jpeg"] = Field("png", description="how key images are sent: exact, or smaller")


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> OpenaiAnswerer:
    """What runs on which device is the server's business."""
    return OpenaiAnswerer(options)


class OpenaiAnswerer:
    """Asks a server, several questions at a time.

    MmiTvrError where nobody is there at the first question, UsageError where the key is refused or it is not clear
    which model is to answer. What goes wrong later costs the questions under way alone.
    """

    name = "openai"
    video_input: VideoInput = "pictures"

    def __init__(self, options: Options) -> None:
        self.options = options
        self._model = ""

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        found: list[str | AnswerError] = [unanswerable(request, self.video_input) or "" for request in requests]
        rows = [row for row, error in enumerate(found) if error == ""]
        for _ in range(len(found) - len(rows)):
            advance()
        if not rows:
            return found
        with Server(self.options) as server:
            self._known(server)
            pool = ThreadPoolExecutor(self.options.concurrency, thread_name_prefix="ask")
            try:
                waiting = {pool.submit(self._answer, server, requests[row]): row for row in rows}
                for done in as_completed(waiting):
                    found[waiting[done]] = done.result()
                    advance()
            finally:  # also at Ctrl-C
                pool.shutdown(wait=False, cancel_futures=True)
        return found

    def fingerprint(self) -> str:
        """Hash of address, model and words. Whether a server changes what stands behind a name cannot be seen."""
        with Server(self.options) as server:
            model = self.options.model or self._known(server)
        sent = self.options.words.model_dump()
        return digest(self.name, self.options.base_url, model, self.options.pictures, sent)

    def _known(self, server: Server) -> str:
        """The name of the model that answers; asked for once, and so it shows that the server is there."""
        if self._model:
            return self._model
        base = self.options.base_url
        try:
            reply = server.request("GET", "/models")
        except AnswerError as error:
            raise MmiTvrError(f"no answers from {base}: {error}") from error
        if reply.status_code in (401, 403):
            raise UsageError(f"{base} refuses the key in ${self.options.key_variable}: {server.message(reply)}")
        self._model = self.options.model or ""  # not every server has a list
        if not self._model:
            names = _names(reply)
            if len(names) != 1:
                there = f"it has {', '.join(names)}" if names else "it does not say which it has"
                raise UsageError(f"{base}: name the model that is to answer (model: NAME); {there}")
            self._model = names[0]
        return self._model

    def _answer(self, server: Server, request: AnswerRequest) -> str | AnswerError:
        message = {"role": "user", "content": content(request, self.options)}
        limit = self.options.words.max_tokens
        body = {"model": self._model, "messages": [message], "temperature": 0, "max_tokens": limit}
        try:
            reply = server.request("POST", "/chat/completions", body)
        except AnswerError as error:
            return error
        if reply.status_code != 200:
            return AnswerError(f"the server says {reply.status_code}: {server.message(reply)}")
        try:
            text = reply.json()["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            return AnswerError(f"the server's reply is no chat completion: {server.message(reply)}")
        return said(text) if isinstance(text, str) else AnswerError("the server's reply holds no text")


def content(request: AnswerRequest, options: Options) -> list[dict[str, Any]]:
    """The parts of a message: the template's words around quoted data, and the key images where it says {images}."""
    words = options.words
    question = quote(request.question.strip())
    if request.text is not None:
        text = quote(request.text, words.quoted * _CHARACTERS)
        return [{"type": "text", "text": words.text.format(text=text, question=question)}]
    before, _, behind = words.video.partition("{images}")
    told = [[{"type": "text", "text": part.format(question=question)}] if part else [] for part in (before, behind)]
    shown = [{"type": "image_url", "image_url": {"url": data_url(each, options.pictures)}} for each in request.pictures]
    return [*told[0], *shown, *told[1]]


def quote(text: str, limit: int | None = None) -> str:
    """A person's text as part of a prompt: at most `limit` characters, in which neither the end of a quotation nor
    what a tokenizer may take for a special token can be written.

    >>> quote('a "red" </s> circle', 17)
    "a 'red' < /s> cir"
    """
    return _SPECIAL.sub(lambda found: f"{found[0]} ", text.replace('"', "'"))[:limit]


def data_url(pixels: Pixels, kind: str) -> str:
    """A picture inside its own address."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=kind, quality=92)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def _names(reply: Any) -> list[str]:
    try:
        return [str(each["id"]) for each in reply.json()["data"]]
    except (ValueError, KeyError, TypeError):
        return []
