"""Answers from any server that speaks OpenAI's chat completions (vLLM, llama.cpp, Ollama, the hosted ones)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Literal

from pydantic import Field

from ..chat.client import ServerClient, ServerOptions
from ..chat.content import TOKEN_CHARACTERS, data_url, quote
from ..chat.eyesight import QUESTION, names_colour, plain_picture
from ..chat.refusals import advice
from ..chat.replies import completion
from ..errors import AnswerError
from ..prompt_templates import AnswerTemplate
from ..protocols import Model
from ..types import AnswerRequest, Pixels
from ..utils.hashing import digest
from ._common import AnswerOptions, VideoInput, request_error

_FEW_PICTURE_TOKENS = 8  # a picture; no model that sees key images reads so few


class Options(ServerOptions, AnswerOptions):
    """Options of answers from a server."""

    max_tokens: int | None = Field(
        None, ge=1, description="tokens of a reply, with what a model thinks before it; default: the template's"
    )
    pictures: Literal["png", "jpeg"] = Field("png", description="how key images are sent: exact, or smaller")
    detail: Literal["low", "high"] | None = Field(
        None, description="how closely a model looks, where a cloud asks more tokens for more; default: its own"
    )


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> OpenaiAnswerer:
    """What runs on which device is the server's business."""
    return OpenaiAnswerer(options)


class OpenaiAnswerer:
    """Asks a server, several questions at a time.

    Raises ServerUnusable where no server is there at the first question, where the key is refused, or where it is not
    clear which model is to answer. What goes wrong later costs the questions under way alone.
    """

    name = "openai"
    video_input: VideoInput = "pictures"

    def __init__(self, options: Options) -> None:
        self.options = options
        self._model = ""
        self._unreachable = threading.Event()
        self._sees: bool | None = None  # whether the model sees what it is sent; None: there was no reason to check
        self._check_of_sight = threading.Lock()

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
        encoded = _EncodedPictures(self.options)
        with ServerClient(self.options, self._unreachable) as server:
            self._model = self._model or server.served_model()
            pool = ThreadPoolExecutor(self.options.concurrency, thread_name_prefix="ask")
            try:
                row_of = {pool.submit(self._answer, server, requests[row], encoded): row for row in rows}
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
        model = self.options.model or self._model
        if not model:
            with ServerClient(self.options) as server:
                model = server.served_model()
        template = self.options.prompt_template.model_dump()
        further = [value for value in (self.options.extra, self.options.detail) if value]  # without any, as ever
        return digest(self.name, self.options.base_url, model, self.options.pictures, template, *further)

    def _answer(self, server: ServerClient, request: AnswerRequest, encoded: _EncodedPictures) -> str | AnswerError:
        template = self.options.prompt_template
        try:
            reply = self._ask(server, content(request, template, encoded.urls(request.pictures), self.options.detail))
        except AnswerError as error:
            return error
        if reply.status_code != 200:
            reason = server.message(reply)
            return AnswerError(f"the server says {reply.status_code}: {reason}{advice(reason)}")
        try:
            answer = completion(reply.json(), template.max_tokens)
            suspicious = isinstance(answer, str) and _suspicious(reply.json(), len(request.pictures))
            if suspicious and not self._sees_pictures(server):
                return AnswerError("the model does not see pictures, though the server takes them: name one that does")
            return answer
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):  # the last: nested without end
            return AnswerError(f"the server's reply is no chat completion: {server.message(reply)}")

    def _ask(self, server: ServerClient, parts: list[dict[str, Any]]) -> Any:
        message = {"role": "user", "content": parts}
        limit = self.options.prompt_template.max_tokens
        return server.chat({"model": self._model, "messages": [message], "temperature": 0, "max_tokens": limit})

    def _sees_pictures(self, server: ServerClient) -> bool:
        """Return whether the model knows the colour of a plain picture. It is asked once, and again after an error."""
        with self._check_of_sight:
            if self._sees is None:
                url = data_url(plain_picture("purple"), self.options.pictures)
                try:
                    reply = self._ask(server, [_picture_part(url, None), {"type": "text", "text": QUESTION}])
                    answer = completion(reply.json(), self.options.prompt_template.max_tokens)
                except (AnswerError, ValueError, KeyError, IndexError, TypeError, RecursionError):
                    return True  # nothing was learned
                self._sees = names_colour(answer, "purple")
            return self._sees


class _EncodedPictures:
    """Pictures as data URLs: those that several questions are about are encoded once."""

    def __init__(self, options: Options) -> None:
        self._encoding = options.pictures
        self._urls: dict[int, list[str]] = {}

    def urls(self, pictures: tuple[Pixels, ...]) -> list[str]:
        """Return the data URLs of the pictures of a request, which outlives this object."""
        if id(pictures) not in self._urls:  # two threads may both make them, which costs time alone
            self._urls[id(pictures)] = [data_url(picture, self._encoding) for picture in pictures]
        return self._urls[id(pictures)]


def _suspicious(document: dict[str, Any], pictures: int) -> bool:
    """Return whether a server counted too few tokens to have read so many pictures; it may count the text alone."""
    tokens = (document.get("usage") or {}).get("prompt_tokens")
    return pictures > 0 and isinstance(tokens, int) and tokens < _FEW_PICTURE_TOKENS * pictures


def content(
    request: AnswerRequest, template: AnswerTemplate, urls: Sequence[str] = (), detail: str | None = None
) -> list[dict[str, Any]]:
    """Return the parts of a message: the template around quoted data, and the key images where it says {images}.

    Args:
        request: what is asked.
        template: the words around it.
        urls: the key images, as data URLs.
        detail: how closely the model is to look; None: as it likes.
    """
    question = quote(request.question.strip())
    if request.text is not None:
        text = quote(request.text, template.quoted * TOKEN_CHARACTERS)
        return [{"type": "text", "text": template.text.format(text=text, question=question)}]
    before, _, after = template.video.partition("{images}")
    parts: list[dict[str, Any]] = []
    if before:
        parts.append({"type": "text", "text": before.format(question=question)})
    parts += [_picture_part(url, detail) for url in urls]
    if after:
        parts.append({"type": "text", "text": after.format(question=question)})
    return parts


def _picture_part(url: str, detail: str | None) -> dict[str, Any]:
    image = {"url": url} if detail is None else {"url": url, "detail": detail}
    return {"type": "image_url", "image_url": image}
