"""A client of a server over HTTP: retries with backoff, and one line for what went wrong.

The client is httpx2: huggingface_hub brings it along, it is typed and maintained, and it neither follows redirects nor
reads ~/.netrc by itself, so the key goes to no one else. OpenAI's own package would add a dozen dependencies for one
call.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from ..errors import AnswerError, MmiTvrError, UsageError
from ..plugins import BaseOptions
from ..types import clean_text
from ..utils.environment import API_KEY
from ..utils.installation import require

_RETRIED = frozenset({408, 409, 425, 429})  # and 5xx: a later attempt may succeed
_MAX_PAUSE = 60.0  # seconds between two attempts, whatever a server asks for
_MESSAGE_LENGTH = 200  # characters of a server's own message that are shown,
_LOOKED_AT = 10_000  # and that are looked at


class ServerOptions(BaseOptions):
    """Where a server is, and how patient we are with it."""

    base_url: str = Field("http://127.0.0.1:8000/v1", description="where the server is, with the /v1")
    model: str | None = Field(None, description="the model's name there; default: the only one it has")
    key_variable: str = Field(API_KEY, description="environment variable with the key, where one is needed")
    concurrency: int = Field(8, ge=1, le=256, description="questions under way at once")
    timeout: float = Field(60.0, gt=0, description="seconds without a reply before an attempt is given up")
    retries: int = Field(4, ge=0, description="further attempts where the server is busy, ill or away")
    backoff: float = Field(0.5, gt=0, description="seconds before the second attempt; doubled for each further one")

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
    """Open connections to a server; safe to use from several threads.

    Raises MissingExtra where the HTTP client is not installed.

    Once the attempts of one request have run out without any reply, every further request has a single one, until
    there is a reply again (decision): a server that died is not waited for a thousand times.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self._http = require("httpx2", "server")
        self._key = os.environ.get(options.key_variable, "").strip()
        self._unreachable = threading.Event()
        self._client = self._http.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=options.timeout,
            limits=self._http.Limits(max_connections=options.concurrency),
        )

    def __enter__(self) -> ServerClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the reply (of httpx2), whatever its status; that of the last attempt, where there were several.

        Raises AnswerError where there is none.
        """
        attempts = 1 if self._unreachable.is_set() else 1 + self.options.retries
        attempt = 0
        while True:
            attempt += 1
            requested_pause = 0.0
            try:
                reply = self._client.request(method, self.options.base_url + path, json=body)
                self._unreachable.clear()
                if attempt >= attempts or not (reply.status_code in _RETRIED or reply.status_code >= 500):
                    return reply
                requested_pause = retry_after(reply.headers.get("retry-after"))
            except self._http.HTTPError as error:
                if attempt >= attempts:
                    self._unreachable.set()
                    raise AnswerError(self._reason(error)) from error
            # Random, so that those who were turned away together do not come back together.
            pause = self.options.backoff * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
            time.sleep(min(_MAX_PAUSE, max(pause, requested_pause)))

    def served_model(self) -> str:
        """Return the name of the model that answers: that of the options, else the only one that the server lists.

        The request shows that the server is there.

        Raises:
            MmiTvrError: It is not there.
            UsageError: It refuses the key, or it is not clear which model is to answer.
        """
        base = self.options.base_url
        try:
            reply = self.request("GET", "/models")
        except AnswerError as error:
            raise MmiTvrError(f"no answers from {base}: {error}") from error
        if reply.status_code in (401, 403):
            raise UsageError(f"{base} refuses the key in ${self.options.key_variable}: {self.message(reply)}")
        if self.options.model:
            return self.options.model  # not every server has a list
        names = _names(reply)
        if len(names) != 1:
            offer = f"it has {', '.join(names)}" if names else "it does not say which it has"
            raise UsageError(f"{base}: name the model that is to answer (model: NAME); {offer}")
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


def _names(reply: Any) -> list[str]:
    """Return the models that a server lists; none where its reply is no list."""
    try:
        return [str(model["id"]) for model in reply.json()["data"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
