"""A client of a server over HTTP: retries with backoff, a budget that holds, and one line for what went wrong.

The client is httpx2: huggingface_hub brings it along, it is typed and maintained, and it neither follows redirects nor
reads ~/.netrc by itself, so the key goes to no one else. OpenAI's own package would add a dozen dependencies for one
call.

Requests run in an event loop in a thread of the client's own (anyio, which httpx2 brings along): there a request can be
cut off at any moment, whatever the server does, when the budget's seconds are over or somebody presses Ctrl-C.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import random
import re
import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from ..errors import AnswerError, ServerUnusable
from ..plugins import BaseOptions
from ..types import clean_text
from ..utils import budget as budgets
from ..utils.environment import API_KEY
from ..utils.installation import require
from .content import TOKEN_CHARACTERS
from .refusals import advice
from .replies import NOT_A_COMPLETION, counted_tokens

_RETRIED = frozenset({408, 409, 425, 429})  # and 5xx: a later attempt may succeed
_MAX_PAUSE = 60.0  # seconds between two attempts, whatever a server asks for
_MESSAGE_LENGTH = 200  # characters of a server's own message that are shown,
_LOOKED_AT = 10_000  # and that are looked at
_MAX_BYTES = 1 << 24  # of a reply: an answer has a few thousand, a list of log-probabilities less than a million
_OF_THE_TRANSFER = {"content-encoding", "content-length", "transfer-encoding"}  # headers of what is on its way
_NAMES, _NAME_LENGTH = 10, 80  # of a server's models that are shown, and characters of one
PICTURE_TOKENS = 576  # of a picture, where a server does not count them (LLaVA-1.5's)
_SPENT = "insufficient_quota"  # OpenAI's word for an account without money, which comes as "too many requests"
# A field, what a message says that refuses it (OpenAI's models that think), and its other name, where it has one.
_DIALECTS = (("max_tokens", "max_completion_tokens", "max_completion_tokens"), ("temperature", "temperature", None))
_DATA_URL = re.compile(r'data:image/[^"]*')


class ServerOptions(BaseOptions):
    """Where a server is, and how patient we are with it."""

    base_url: str = Field("http://127.0.0.1:8000/v1", description="where the server is, with the /v1")
    model: str | None = Field(None, description="the model's name there; default: the only one it has")
    key_variable: str = Field(API_KEY, description="environment variable with the key, where one is needed")
    concurrency: int = Field(8, ge=1, le=256, description="questions under way at once")
    timeout: float = Field(60.0, gt=0, description="seconds without a reply before an attempt is given up")
    retries: int = Field(4, ge=0, description="further attempts where the server is busy, ill or away")
    backoff: float = Field(0.5, gt=0, description="seconds before the second attempt; doubled for each further one")
    extra: dict[str, Any] = Field(
        {}, description="further fields of a request, for example {chat_template_kwargs: {enable_thinking: false}}"
    )

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("must be an http or https address")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must carry no name, password or query; a key comes from the environment")
        return url.rstrip("/")


class ServerClient:
    """Open connections to a server; safe to use from several threads, within a `with` block.

    A request counts as a call in `budget`, each of its attempts, and none starts or lasts longer than that allows: by
    default the budget that holds where the client is made.

    Raises MissingExtra where the HTTP client is not installed.

    Once the attempts of one request have run out without any reply, every further request has a single one, until
    there is a reply again (decision): a server that died is not waited for a thousand times.

    Args:
        options: where the server is.
        unreachable: whether it is so now; whoever makes several clients of a server gives each of them the same one.
    """

    def __init__(self, options: ServerOptions, unreachable: threading.Event | None = None) -> None:
        self.options = options
        self._http = require("httpx2", "server")
        self._anyio = require("anyio", "server")
        self._key = os.environ.get(options.key_variable, "").strip()
        self.budget = budgets.current()
        self._unreachable = unreachable or threading.Event()
        self._closed = threading.Event()
        self._context = ExitStack()

    def __enter__(self) -> ServerClient:
        from_thread = importlib.import_module("anyio.from_thread")
        self._portal = self._context.enter_context(from_thread.start_blocking_portal("asyncio"))
        self._client = self._portal.call(self._new_client)
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._portal.call(self._client.aclose)
        self._portal.call(self._portal.stop, True)  # what is under way is cancelled
        self._context.close()

    @property
    def has_key(self) -> bool:
        """Whether a key is sent."""
        return bool(self._key)

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None, retries: int | None = None) -> Any:
        """Send a request, several times where that may help.

        Args:
            method: GET or POST.
            path: behind the base URL.
            body: what is sent as JSON; with one, the request counts as a call of a model.
            retries: further attempts; None: those of the options.

        Returns:
            The reply (of httpx2), whatever its status; that of the last attempt, where there were several.

        Raises:
            AnswerError: there is no reply, or the budget is spent.
        """
        attempts = 1 if self._unreachable.is_set() else 1 + (self.options.retries if retries is None else retries)
        attempt = 0
        while True:
            attempt += 1
            requested_pause = 0.0
            if body is not None:
                self.budget.begin()
            try:
                reply = self._portal.call(self._send, method, self.options.base_url + path, body)
                self._unreachable.clear()
                if body is not None and reply.status_code == 200:
                    self.budget.add(tokens=tokens_of(body, reply))
                if attempt >= attempts or not self._may_pass(reply):
                    return reply
                requested_pause = retry_after(reply.headers.get("retry-after"))
            except TimeoutError as error:
                raise AnswerError(f"the reply was cut off: {self.budget.shortage}") from error
            except self._http.HTTPError as error:
                if attempt >= attempts:
                    self._unreachable.set()
                    raise AnswerError(self._reason(error)) from error
            # Random, so that those who were turned away together do not come back together.
            pause = self.options.backoff * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
            self._pause(min(_MAX_PAUSE, max(pause, requested_pause)))

    def chat(self, body: Mapping[str, Any]) -> Any:
        """Return the reply to a chat completion, as `request` does.

        A server that takes some field under another name, or not at all, and says so, gets the request as it likes it.
        """
        body = {**self.options.extra, **body}
        for _ in range(len(_DIALECTS)):
            reply = self.request("POST", "/chat/completions", body)
            other = _as_liked(body, self.message(reply)) if reply.status_code == 400 else None
            if other is None:
                return reply
            body = other
        return self.request("POST", "/chat/completions", body)

    def _may_pass(self, reply: Any) -> bool:
        """Return whether a later attempt may have another reply."""
        if reply.status_code >= 500:
            return not advice(self.message(reply))  # what it cannot do now it cannot do later
        return reply.status_code in _RETRIED and _SPENT not in reply.text

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, until the client is closed or the budget's seconds are over at most."""
        self._closed.wait(min(seconds, self.budget.remaining()))

    async def _new_client(self) -> Any:
        return self._http.AsyncClient(
            headers={"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
            timeout=self.options.timeout,
            limits=self._http.Limits(max_connections=self.options.concurrency),
        )

    async def _send(self, method: str, url: str, body: Mapping[str, Any] | None) -> Any:
        """Return the reply to one attempt, read whole.

        Raises TimeoutError where the budget's seconds are over before that, AnswerError where it is too large.
        """
        remaining = self.budget.remaining()
        with self._anyio.fail_after(None if math.isinf(remaining) else remaining):
            async with self._client.stream(method, url, json=body) as reply:
                content = await self._content(reply)
        headers = {name: value for name, value in reply.headers.items() if name not in _OF_THE_TRANSFER}
        return self._http.Response(reply.status_code, headers=headers, content=content, request=reply.request)

    async def _content(self, reply: Any) -> bytes:
        """Return the body of a reply. Decision: it is all there within `timeout`, so that a server which sends a byte
        now and then is given up as one that sends none."""
        content = bytearray()
        too_late = self._anyio.move_on_after(self.options.timeout)
        with too_late:
            async for part in reply.aiter_bytes():
                content += part
                if len(content) > _MAX_BYTES:
                    break
        if too_late.cancelled_caught:
            raise self._http.ReadTimeout("the reply did not end", request=reply.request)
        if len(content) > _MAX_BYTES:
            raise AnswerError(f"the reply is larger than {_MAX_BYTES >> 20} MB, which no answer is: it was not read")
        return bytes(content)

    def served_model(self) -> str:
        """Return the name of the model that answers: that of the options, else the only one that the server lists.

        The request shows that the server is there.

        In vain it is sent twice at most (decision: somebody waits). Raises ServerUnusable where nobody is there, where
        the key is refused, or where it is not clear which model is to answer.
        """
        base = self.options.base_url
        try:
            reply = self.request("GET", "/models", retries=min(1, self.options.retries))
        except AnswerError as error:
            raise ServerUnusable(f"no answers from {base}: {error}") from error
        if reply.status_code in (401, 403):
            raise ServerUnusable(f"{base} refuses the key in ${self.options.key_variable}: {self.message(reply)}")
        if self.options.model:
            return self.options.model  # not every server has a list
        names = list(listed_models(reply) or ())
        if len(names) != 1:
            models = f"it has {offer(names)}" if names else "it does not say which it has"
            raise ServerUnusable(f"{base}: name the model that is to answer (model: NAME); {models}")
        return names[0]

    def message(self, reply: Any) -> str:
        """Return what a server says of an error, as one short line."""
        try:
            content = reply.json()
            for key in ("error", "message"):
                if isinstance(content, dict):
                    content = content.get(key, content)
            text = str(content)
        except (ValueError, RecursionError):  # the second: nested without end
            text = reply.text
        return self._one_line(clean_text(text[:_LOOKED_AT])) or "nothing"

    def _reason(self, error: Exception) -> str:
        if isinstance(error, (self._http.ConnectError, self._http.ConnectTimeout)):
            return f"nobody is there ({self._one_line(str(error))}); is the server running?"
        if isinstance(error, self._http.TimeoutException):
            return f"no reply within {self.options.timeout:g} s"
        return f"the connection broke ({self._one_line(str(error)) or type(error).__name__})"

    def _one_line(self, text: str) -> str:
        """Return a text as one short line, without the key, should the server repeat it."""
        line = " ".join(text.split())
        return (line.replace(self._key, "***") if self._key else line)[:_MESSAGE_LENGTH]


def _as_liked(body: Mapping[str, Any], message: str) -> dict[str, Any] | None:
    """Return a request without the field that a server's message refuses; None where it refuses none."""
    for field, sign, other_name in _DIALECTS:
        if field in body and sign in message.lower() and "support" in message.lower():
            rest = {name: value for name, value in body.items() if name != field}
            return rest | ({other_name: body[field]} if other_name else {})
    return None


def tokens_of(body: Mapping[str, Any], reply: Any) -> int:
    """Return the tokens that a request and its reply count for: the server's number, else an estimate from above.

    Args:
        body: the request's JSON.
        reply: of httpx2.
    """
    try:
        tokens = counted_tokens(reply.json(), "total_tokens")
    except NOT_A_COMPLETION:
        tokens = None
    if tokens is not None:
        return tokens
    words, pictures = _DATA_URL.subn("", json.dumps(body))
    return pictures * PICTURE_TOKENS + (len(words) + len(reply.content)) // TOKEN_CHARACTERS


def retry_after(header: str | None) -> float:
    """Return the seconds that a Retry-After header asks for, as a number or a date; 0 where it says neither.

    >>> retry_after("3"), retry_after("soon"), retry_after("Thu, 01 Jan 1970 00:00:00 GMT")
    (3.0, 0.0, 0.0)
    """
    if not header:
        return 0.0
    try:
        if header.strip().isdecimal():
            return float(header)
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def listed_models(reply: Any) -> dict[str, Mapping[str, Any]] | None:
    """Return what a server says of each model that it lists, by name; None where its reply (of httpx2) is no list."""
    try:
        return {str(model["id"]): model for model in reply.json()["data"]}
    except NOT_A_COMPLETION:
        return None


def offer(names: Iterable[str]) -> str:
    """Return the models that a server has, as part of one line; empty where there are none.

    >>> offer(["a", "b"]), offer(map(str, range(40)))
    ('a, b', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 30 more')
    """
    lines = [" ".join(clean_text(name).split())[:_NAME_LENGTH] for name in names]
    more = len(lines) - _NAMES
    return ", ".join(lines[:_NAMES]) + (f" and {more:,} more" if more > 0 else "")
