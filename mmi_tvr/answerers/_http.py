"""A server that is asked over HTTP with patience: attempts, pauses, and words for what went wrong.

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

from .. import plugins
from ..errors import AnswerError
from ..plugins import BaseOptions

_PASSING = frozenset({408, 409, 425, 429})  # and 5xx: a later attempt may succeed
_LONGEST_PAUSE = 60.0  # seconds between two attempts, whatever a server asks for
_SHOWN = 200  # characters of a server's own message


class ServerOptions(BaseOptions):
    """Where a server is, and how patient we are with it."""

    base_url: str = Field("http://127.0.0.1:8000/v1", description="where the server is, with the /v1")
    key_variable: str = Field("MMI_TVR_API_KEY", description="environment variable with the key, where one is needed")
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


class Server:
    """Open connections to a server; safe to use from several threads. MissingExtra where the client is not installed.

    Once the attempts of one request have run out without any reply, every further request has a single one, until
    there is a reply again (decision): a server that died is not waited for a thousand times.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self._http = plugins.require("httpx2", "server")
        self._key = os.environ.get(options.key_variable, "").strip()
        self._away = threading.Event()
        self._client = self._http.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=options.timeout,
            limits=self._http.Limits(max_connections=options.concurrency),
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The reply (of httpx2), whatever its status; that of the last attempt, where there were several.

        AnswerError where there is none.
        """
        most = 1 if self._away.is_set() else 1 + self.options.retries
        attempt = 0
        while True:
            attempt += 1
            asked = 0.0
            try:
                reply = self._client.request(method, self.options.base_url + path, json=body)
                self._away.clear()
                if attempt >= most or not (reply.status_code in _PASSING or reply.status_code >= 500):
                    return reply
                asked = pause_of(reply.headers.get("retry-after"))
            except self._http.HTTPError as error:
                if attempt >= most:
                    self._away.set()
                    raise AnswerError(self._reason(error)) from error
            # Random, so that those who were turned away together do not come back together.
            pause = self.options.backoff * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
            time.sleep(min(_LONGEST_PAUSE, max(pause, asked)))

    def message(self, reply: Any) -> str:
        """What a server says of an error, as one short line."""
        try:
            told = reply.json()
            for key in ("error", "message"):
                told = told.get(key, told) if isinstance(told, dict) else told
        except ValueError:
            told = reply.text
        return self._line(str(told)) or "nothing"

    def _reason(self, error: Exception) -> str:
        if isinstance(error, (self._http.ConnectError, self._http.ConnectTimeout)):
            return f"nobody is there ({self._line(str(error))}); is the server running?"
        if isinstance(error, self._http.TimeoutException):
            return f"no reply within {self.options.timeout:g} s"
        return f"the connection broke ({self._line(str(error)) or type(error).__name__})"

    def _line(self, text: str) -> str:
        """One short line, without the key, should somebody repeat it."""
        line = " ".join(text.split())
        return (line.replace(self._key, "***") if self._key else line)[:_SHOWN]


def pause_of(header: str | None) -> float:
    """Seconds that a Retry-After header asks for, as a number or a date; 0 where it says neither.

    >>> pause_of("3"), pause_of("soon"), pause_of("Thu, 01 Jan 1970 00:00:00 GMT")
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
