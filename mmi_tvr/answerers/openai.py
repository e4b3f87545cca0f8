"""Answers from any server that speaks OpenAI's chat completions (vLLM, llama.cpp, Ollama, the hosted ones)."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from textwrap import shorten
from typing import Any, Literal

from pydantic import Field

from ..errors import AnswerError, MmiTvrError, UsageError
from ..protocols import Model
from ..types import AnswerRequest, Pixels, clean_text
from ..utils.hashing import digest
from ._common import AnswerOptions, VideoInput, as_answer, request_error
from ._http import ServerClient, ServerOptions

_TOKEN_CHARACTERS = 4  # on average: how much of a text is read cannot depend on a tokenizer that is elsewhere
# The beginning of what a server's tokenizer may take for a special token: </s>, <image>, <|im_end|>, [INST].
_LONGEST_SPECIAL = 32  # characters
_REFUSAL_LENGTH = 200  # characters of it that are shown
_TEXT_PARTS = ("text", "output_text")  # of a reply; others hold thinking, or pictures
_SPECIAL = re.compile(r"<(?=\S)|\[(?=/?[A-Z_]+\])")


class Options(ServerOptions, AnswerOptions):
    """Options of answers from a server."""

    model: str | None = Field(None, description="the model's name there; default: the only one it has")
    max_tokens: int | None = Field(
        None, ge=1, description="tokens of a reply, with what a model thinks before it; default: the template's"
    )
    pictures: Literal["png", "jpeg"] = Field("png", description="how key images are sent: exact, or smaller")


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> OpenaiAnswerer:
    """What runs on which device is the server's business."""
    return OpenaiAnswerer(options)


class OpenaiAnswerer:
    """Asks a server, several questions at a time.

    Raises MmiTvrError where no server is there at the first question, UsageError where the key is refused or it is not
    clear which model is to answer. What goes wrong later costs the questions under way alone.
    """

    name = "openai"
    video_input: VideoInput = "pictures"

    def __init__(self, options: Options) -> None:
        self.options = options
        self._model = ""

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        answers: list[str | AnswerError] = []
        rows = []  # of requests that are sent
        for row, request in enumerate(requests):
            error = request_error(request, self.video_input)
            answers.append(error or "")
            if error is None:
                rows.append(row)
            else:
                advance()
        if not rows:
            return answers
        with ServerClient(self.options) as server:
            self._served_model(server)
            pool = ThreadPoolExecutor(self.options.concurrency, thread_name_prefix="ask")
            try:
                row_of = {pool.submit(self._answer, server, requests[row]): row for row in rows}
                for future in as_completed(row_of):
                    answers[row_of[future]] = future.result()
                    advance()
            finally:  # also at Ctrl-C
                pool.shutdown(wait=False, cancel_futures=True)
        return answers

    def answering_model(self, search_model: str) -> str | None:
        """Return the model of the options; None where the server's only one answers."""
        return self.options.model

    def fingerprint(self) -> str:
        """Hash address, model and prompt template. A server that changes the weights of a name is not noticed."""
        with ServerClient(self.options) as server:
            model = self.options.model or self._served_model(server)
        template = self.options.prompt_template.model_dump()
        return digest(self.name, self.options.base_url, model, self.options.pictures, template)

    def _served_model(self, server: ServerClient) -> str:
        """Return the name of the model that answers.

        It is asked for once, which shows that the server is there. Raises MmiTvrError or UsageError where it is not.
        """
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
                offer = f"it has {', '.join(names)}" if names else "it does not say which it has"
                raise UsageError(f"{base}: name the model that is to answer (model: NAME); {offer}")
            self._model = names[0]
        return self._model

    def _answer(self, server: ServerClient, request: AnswerRequest) -> str | AnswerError:
        message = {"role": "user", "content": content(request, self.options)}
        limit = self.options.prompt_template.max_tokens
        body = {"model": self._model, "messages": [message], "temperature": 0, "max_tokens": limit}
        try:
            reply = server.request("POST", "/chat/completions", body)
        except AnswerError as error:
            return error
        if reply.status_code != 200:
            return AnswerError(f"the server says {reply.status_code}: {server.message(reply)}")
        try:
            return completion(reply.json(), limit)
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):  # the last: nested without end
            return AnswerError(f"the server's reply is no chat completion: {server.message(reply)}")


def completion(document: Any, limit: int) -> str | AnswerError:
    """Return the answer in a chat completion, or why it holds none.

    Decision: a reply that was cut off is none, because half an answer is another one.

    Args:
        document: the server's JSON.
        limit: the tokens that it was allowed, for the message.
    Raises:
        KeyError, IndexError, TypeError: it is no chat completion.
    """
    choice = document["choices"][0]
    message, end = choice["message"], choice.get("finish_reason")
    if end == "length":
        return AnswerError(f"the reply was cut off after {limit} tokens: give it more (max_tokens)")
    if end == "content_filter":
        return AnswerError("the server's filter kept the reply back")
    text = message.get("content")
    if isinstance(text, list):
        text = "".join(part["text"] for part in text if part.get("type") in _TEXT_PARTS)
    if isinstance(text, str):
        return as_answer(text)
    refusal = message.get("refusal")
    if refusal:
        return AnswerError(f"the model refuses: {shorten(clean_text(str(refusal)), _REFUSAL_LENGTH)}")
    return AnswerError("the server's reply holds no text")


def content(request: AnswerRequest, options: Options) -> list[dict[str, Any]]:
    """Return the parts of a message: the template around quoted data, and the key images where it says {images}."""
    template = options.prompt_template
    question = quote(request.question.strip())
    if request.text is not None:
        text = quote(request.text, template.quoted * _TOKEN_CHARACTERS)
        return [{"type": "text", "text": template.text.format(text=text, question=question)}]
    before, _, after = template.video.partition("{images}")
    parts: list[dict[str, Any]] = []
    if before:
        parts.append({"type": "text", "text": before.format(question=question)})
    for picture in request.pictures:
        parts.append({"type": "image_url", "image_url": {"url": data_url(picture, options.pictures)}})
    if after:
        parts.append({"type": "text", "text": after.format(question=question)})
    return parts


def quote(text: str, limit: int | None = None) -> str:
    """Return a person's text as part of a prompt: at most `limit` characters, in which neither the end of a quotation
    nor what a tokenizer may take for a special token can be written.

    >>> quote('a "red" </s> circle', 17)
    "a 'red' < /s> cir"
    """
    if limit is not None:
        text = text[: limit + _LONGEST_SPECIAL]  # what lies behind is not read, and not looked at
    return _SPECIAL.sub(lambda match: f"{match[0]} ", text.replace('"', "'"))[:limit]


def data_url(pixels: Pixels, encoding: str) -> str:
    """Return a picture as a data URL; `encoding` is png or jpeg."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=encoding, quality=92)
    return f"data:image/{encoding};base64,{base64.b64encode(stream.getvalue()).decode()}"


def _names(reply: Any) -> list[str]:
    """Return the models that a server lists; none where its reply is no list."""
    try:
        return [str(model["id"]) for model in reply.json()["data"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
