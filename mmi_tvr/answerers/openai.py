"""Answers from any server that speaks OpenAI's chat completions (vLLM, llama.cpp, Ollama, the hosted ones)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Literal

from pydantic import Field

from ..chat.client import ServerClient, ServerOptions
from ..chat.content import TOKEN_CHARACTERS, data_url, quote
from ..chat.refusals import advice
from ..chat.replies import completion
from ..errors import AnswerError
from ..protocols import Model
from ..types import AnswerRequest
from ..utils.hashing import digest
from ._common import AnswerOptions, VideoInput, request_error


class Options(ServerOptions, AnswerOptions):
    """Options of answers from a server."""

    max_tokens: int | None = Field(
        None, ge=1, description="tokens of a reply, with what a model thinks before it; default: the template's"
    )
    pictures: Literal["png", "jpeg"] = Field("png", description="how key images are sent: exact, or smaller")


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
            self._model = self._model or server.served_model()
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
        model = self.options.model or self._model
        if not model:
            with ServerClient(self.options) as server:
                model = server.served_model()
        template = self.options.prompt_template.model_dump()
        extra = [self.options.extra] if self.options.extra else []  # without one, as ever
        return digest(self.name, self.options.base_url, model, self.options.pictures, template, *extra)

    def _answer(self, server: ServerClient, request: AnswerRequest) -> str | AnswerError:
        message = {"role": "user", "content": content(request, self.options)}
        limit = self.options.prompt_template.max_tokens
        body = {"model": self._model, "messages": [message], "temperature": 0, "max_tokens": limit}
        try:
            reply = server.chat(body)
        except AnswerError as error:
            return error
        if reply.status_code != 200:
            reason = server.message(reply)
            return AnswerError(f"the server says {reply.status_code}: {reason}{advice(reason)}")
        try:
            return completion(reply.json(), limit)
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):  # the last: nested without end
            return AnswerError(f"the server's reply is no chat completion: {server.message(reply)}")


def content(request: AnswerRequest, options: Options) -> list[dict[str, Any]]:
    """Return the parts of a message: the template around quoted data, and the key images where it says {images}."""
    template = options.prompt_template
    question = quote(request.question.strip())
    if request.text is not None:
        text = quote(request.text, template.quoted * TOKEN_CHARACTERS)
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
