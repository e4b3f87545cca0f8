"""Answers from any server that speaks OpenAI's chat completions (vLLM, llama.cpp, Ollama, the hosted ones)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from pydantic import Field

from ..chat.client import ServerClient, ServerOptions
from ..chat.content import TOKEN_CHARACTERS, PictureEncoder, SentPictureOptions, around_pictures, quote
from ..chat.eyesight import BlindnessCheck
from ..chat.refusals import advice
from ..chat.replies import NOT_A_COMPLETION, completion
from ..errors import AnswerError
from ..prompt_templates import AnswerTemplate
from ..protocols import Model
from ..types import AnswerRequest, VideoInput
from ..utils.hashing import digest
from ._common import AnswerOptions, request_error


class Options(ServerOptions, SentPictureOptions, AnswerOptions):
    """Options of answers from a server."""

    max_tokens: int | None = Field(
        None, ge=1, description="tokens of a reply, with what a model thinks before it; default: the template's"
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
        self._blindness = BlindnessCheck(options.pictures, options.prompt_template.max_tokens)

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
        encoder = PictureEncoder(self.options)
        with ServerClient(self.options, self._unreachable) as server:
            self._model = self._model or server.served_model()
            pool = ThreadPoolExecutor(self.options.concurrency, thread_name_prefix="ask")
            try:
                row_of = {pool.submit(self._answer, server, requests[row], encoder): row for row in rows}
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

    def _answer(self, server: ServerClient, request: AnswerRequest, encoder: PictureEncoder) -> str | AnswerError:
        template = self.options.prompt_template
        try:
            reply = self._ask(server, content(request, template, encoder.parts(request.pictures)))
        except AnswerError as error:
            return error
        if reply.status_code != 200:
            reason = server.message(reply)
            return AnswerError(f"the server says {reply.status_code}: {reason}{advice(reason)}")
        try:
            document = reply.json()
            answer = completion(document, template.max_tokens)
            if isinstance(answer, AnswerError):
                return answer
            return self._blindness.error(server, self._model, document, len(request.pictures)) or answer
        except NOT_A_COMPLETION:
            return AnswerError(f"the server's reply is no chat completion: {server.message(reply)}")

    def _ask(self, server: ServerClient, parts: Sequence[Mapping[str, Any]]) -> Any:
        message = {"role": "user", "content": parts}
        limit = self.options.prompt_template.max_tokens
        return server.chat({"model": self._model, "messages": [message], "temperature": 0, "max_tokens": limit})


def content(
    request: AnswerRequest, template: AnswerTemplate, pictures: Sequence[Mapping[str, Any]] = ()
) -> list[Mapping[str, Any]]:
    """Return the parts of a message: the template around quoted data, and the key images (parts, too) where it says
    {images}."""
    question = quote(request.question.strip())
    if request.text is not None:
        text = quote(request.text, template.quoted * TOKEN_CHARACTERS)
        return [{"type": "text", "text": template.text.format(text=text, question=question)}]
    before, _, after = template.video.partition("{images}")
    return around_pictures(before.format(question=question), pictures, after.format(question=question))
