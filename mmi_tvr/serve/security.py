"""Who may ask a service, and what every answer carries.

- A request over the socket in the library comes from the user who started the service: only that user can open it.
- Over the network, the Host header names this machine (else a page of another site had its name point here, to read
  what it must not: DNS rebinding). What changes something comes from no other site (Origin, Sec-Fetch-Site). Where the
  service listens beyond this machine, every request but `/healthz` and the sign-in carries the token, in a header, or a
  session's cookie, never in an address.
- Bodies and waiting have limits, so that one client cannot hold what others need.
- Answers are for this site alone: no CORS, no frames, no inline scripts, no guessing of types.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

import anyio

from ..utils import strict_json

Scope = Mapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]

MAX_BODY = 64 << 10  # bytes of a document
MAX_EXAMPLE = 32 << 20  # bytes of a picture to search by
EXAMPLE = "/api/search/example"
MAX_COMMAND = 8 << 20  # bytes of a command with its standard input
_BODY_SECONDS = 20.0  # until the next piece of a body is here
_WRITE_SECONDS = 60.0  # until a client has taken the next piece of an answer
_SESSIONS = 64
OF_SOCKET = "of_socket"  # in the state of requests that came over the socket in the library
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
PAGES = frozenset({"/", "/people", "/collection", "/pools"})
SIGN_IN = "/sign-in"  # the page for the token, in the place of a page
_OPEN = frozenset({"/healthz", "/api/session", SIGN_IN})  # without a token: they have nothing of the library
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# A Host header, without what an address may have besides (user, path), nor an address that holds for one interface.
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::[0-9]{0,5})?", re.ASCII | re.IGNORECASE)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with less, a browser calls the origin of a form "null"
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class TooSlow(Exception):
    """A client sends nothing for too long."""


def is_loopback(host: str) -> bool:
    """Return whether a service that listens there can be reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Access:
    """The token of a service, the sessions of those who signed in with it, and the names of this machine."""

    def __init__(self, host: str, token: str) -> None:
        """host: where it listens. Only beyond this machine is the token needed; a wrong one is refused anywhere."""
        self.needs_token = not is_loopback(host)
        self.cookie = f"mmi_tvr_{secrets.token_hex(4)}"  # cookies know no ports: another service has another name
        self._token = token
        self._sessions: deque[str] = deque(maxlen=_SESSIONS)
        machine = socket.gethostname().lower()
        self._names = {"localhost", host.lower()} | ({machine, f"{machine}.local"} if self.needs_token else set())

    def sign_in(self, token: object) -> str | None:
        """Return the value of a new session's cookie; None for a wrong token."""
        if not isinstance(token, str) or not _same(token, self._token):
            return None
        session = secrets.token_urlsafe(32)
        self._sessions.append(session)
        return session

    def names_this_machine(self, host: str) -> bool:
        """Return whether a Host header means this machine: by address, or by a name that is its own.

        Beyond this machine any address will do; what may be read there, the token decides.
        """
        parts = _HOST.fullmatch(host)
        if parts is None:
            return False
        name = parts["address"] or parts["name"]
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name.lower().rstrip(".") in self._names
        return self.needs_token or address.is_loopback

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Return status and reason where a request over the network is refused; None where it is let in."""
        host = headers.get("host", "")
        if not self.names_this_machine(host):
            return 421, "this host name is not one of this machine's"
        if _is_foreign(method, host, headers):
            return 403, "this comes from another site"
        authorization = headers.get("authorization")
        if authorization is not None:
            kind, _, token = authorization.partition(" ")
            if kind.lower() != "bearer" or not _same(token.strip(), self._token):
                return 401, "a wrong token"
            return None
        if not self.needs_token or path in _OPEN or path.startswith("/static/"):
            return None
        if not any(_same(self._cookie_of(headers), session) for session in self._sessions):
            return 401, "a token is needed: Authorization: Bearer TOKEN (it lies in the file that `serve` names)"
        return None

    def _cookie_of(self, headers: Mapping[str, str]) -> str:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return morsel.value if morsel is not None else ""


def _is_foreign(method: str, host: str, headers: Mapping[str, str]) -> bool:
    """Return whether a browser says that another site has it send this request.

    A page of another site may lead here (a link), and may neither read, nor show, nor change anything.
    """
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return method not in _SAFE or headers.get("sec-fetch-mode") != "navigate"
    origin = headers.get("origin")
    return method not in _SAFE and origin is not None and origin not in (f"http://{host}", f"https://{host}")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


class Guard:
    """ASGI middleware in front of everything (see this module)."""

    def __init__(self, app: Application, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        headers = _headers(scope["headers"])
        if headers is None:
            refused: tuple[int, str] | None = (400, "a header stands there twice")
        else:
            refused = _body_refusal(headers, _most_bytes(scope))
            if refused is None and not is_of_socket(scope):
                refused = self._access.refusal(scope["method"], scope["path"], headers)
        if refused is not None and refused[0] == 401 and scope["path"] in PAGES:
            scope, refused = {**scope, "path": SIGN_IN, "raw_path": SIGN_IN.encode()}, None
        if refused is not None:
            await _answer(exchange.send, *refused)
            return
        await self._app(scope, exchange.receive, exchange.send)


def is_of_socket(scope: Scope) -> bool:
    """Return whether a request came over the socket in the library (`connections` marks those)."""
    return OF_SOCKET in scope.get("state", ())


_ONCE = frozenset({"host", "origin", "authorization", "content-length", "sec-fetch-site", "cookie", "range"})


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str] | None:
    """Return the headers as text; None where one that decides something stands there twice."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        if key in headers and key in _ONCE:
            return None
        headers[key] = value.decode("latin-1")
    return headers


def _most_bytes(scope: Scope) -> int:
    """Return how large the body of a request may be."""
    if scope["path"] == EXAMPLE:
        return MAX_EXAMPLE
    return MAX_COMMAND if is_of_socket(scope) else MAX_BODY


def _body_refusal(headers: Mapping[str, str], limit: int) -> tuple[int, str] | None:
    """Return status and reason where a body is larger than it may be, or does not say how large it is."""
    if "transfer-encoding" in headers:
        return 411, "say how long the body is: Content-Length"
    declared = headers.get("content-length", "0")
    if not declared.isdecimal() or len(declared) > 18 or int(declared) > limit:
        return 413, f"a body has at most {limit:,} bytes here"
    return None


class _Exchange:
    """One request and its answer: waits for no client longer than it should, and adds the headers of every answer."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._complete = False  # the body is here
        self._slow = False

    async def receive(self) -> Message:
        """Return the next message of the client. Raises TooSlow."""
        try:
            with anyio.fail_after(None if self._complete else _BODY_SECONDS):
                message = await self._receive()
        except TimeoutError:
            self._slow = True
            raise TooSlow from None
        self._complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer. Raises ConnectionError where the client takes nothing."""
        if message["type"] == "http.response.start":
            message = {**message, "headers": self._headers(message.get("headers", ()))}
        try:
            with anyio.fail_after(_WRITE_SECONDS):
                await self._send(message)
        except TimeoutError:
            raise ConnectionError("the client takes nothing") from None

    def _headers(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        present = dict(headers)
        added = {name.encode(): value.encode() for name, value in _HEADERS.items()}
        added[b"cache-control"] = b"no-store"
        if self._slow:
            added[b"connection"] = b"close"
        return [*headers, *((name, value) for name, value in added.items() if name not in present)]


async def _answer(send: Send, status: int, reason: str) -> None:
    body = strict_json.dumps({"error": reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
