"""What strangers send to a service: who is let in, what every answer carries; nothing leaks, and nothing dies."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import pytest
from fakes import FakeModel, clipped, colour_video
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import Client, Reply, parsed, served

from mmi_tvr.library import Library
from mmi_tvr.serve import connections, security
from mmi_tvr.serve.page import _VIEWS
from mmi_tvr.serve.security import Access

SECRET = b"do not tell: 8c1f"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "secret.txt").write_bytes(SECRET)
    (folder / "films").mkdir()
    (folder / "films" / "notes.txt").write_bytes(SECRET)
    colour_video(folder / "films" / "red.mp4", "red")
    with Library(folder / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(folder / "films")
        yield library


@pytest.fixture(scope="module")
def client(opened: Library) -> Iterator[Client]:
    with served(opened) as one:
        yield one


@pytest.fixture(scope="module")
def open_client(opened: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A service that other machines can reach (here it is asked from this one), of another library."""
    folder = tmp_path_factory.mktemp("open")
    colour_video(folder / "films" / "red.mp4", "red")
    with Library(folder / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(folder / "films")
        with served(library, host="0.0.0.0") as one:
            yield one


def token_of(client: Client) -> str:
    return client.running.token_file.read_text(encoding="ascii").strip()


def test_every_answer_carries_the_headers(client: Client) -> None:
    for reply in (
        client.get("/"),
        client.get("/api/search?q=red"),
        client.get("/nothing"),
        client.get("/", Host="evil"),
    ):
        assert reply.headers["x-content-type-options"] == "nosniff"
        policy = reply.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert not any(name.startswith("access-control") for name in reply.headers)
        assert "server" not in reply.headers
    assert client.request("OPTIONS", "/api/search", headers={"Origin": "http://evil.example"}).status in (403, 405)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("127.8.8.8:80", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("192.0.2.7", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.", 200),
        ("LocalHost:", 200),
        ("evil@localhost:80", 421),
        ("localhost@evil.example", 421),
        ("localhost/evil.example", 421),
        ("localhost#@evil.example", 421),
        ("localhost\\@evil.example", 421),
        ("localhost:80:80", 421),
        ("localhost:port", 421),
        ("localhost,evil.example", 421),
        ("localhost evil.example", 421),
        ("lo\xe7alhost", 421),
        ("0.0.0.0", 421),
        ("0", 421),
        ("127.1", 421),
        ("2130706433", 421),
        ("0x7f.1", 421),
        ("[::]", 421),
        ("::1", 421),
        ("[::1%25lo]", 421),
        ("[fe80::1]", 421),
        ("", 421),
        ("[", 421),
        ("[]", 421),
    ],
)
def test_a_name_that_was_made_to_point_here_is_refused(client: Client, host: str, status: int) -> None:
    assert client.get("/healthz", Host=host).status == status


def test_changes_come_from_this_site_alone(client: Client) -> None:
    same = {"Origin": f"http://{client.host}", "Sec_Fetch_Site": "same-origin"}
    assert client.post("/api/index/pause", **same).status == 409  # let in: nothing is being indexed
    assert client.post("/api/index/pause").status == 409  # no browser
    for foreign in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://{client.host}.evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
    ):
        assert client.post("/api/index/pause", **foreign).status == 403
    embedded = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}
    assert client.get("/api/items/1/thumbnail", **embedded).status == 403
    assert client.get("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200  # a link leads here


def test_beyond_this_machine_a_token_is_needed(open_client: Client) -> None:
    token = token_of(open_client)
    assert open_client.running.needs_token
    for target in (
        "/api/search?q=red",
        "/api/items",
        "/api/items/1/media",
        "/api/pools",
        "/metrics",
        "/api/openapi.json",
        "/docs",
    ):
        assert open_client.get(target).status == 401
        assert open_client.get(f"{target}{'&' if '?' in target else '?'}token={token}").status == 401  # never in a URL
        for wrong in ("Bearer", f"Basic {token}", "Bearer x", f"Bearer {token[:-1]}", "Bearer \xff"):
            assert open_client.get(target, Authorization=wrong).status == 401
    assert open_client.get("/api/search?q=red", Authorization=f"Bearer {token}").json()["found"]
    assert open_client.get("/healthz").json() == {"status": "ok"}
    for page in ("/?q=red", "/people", "/collection", "/pools"):
        assert b"Sign in" in open_client.get(page).body
    assert {path for path, _, _ in _VIEWS} == security.PAGES
    assert open_client.post("/api/pools/edit", {"about": "text", "edits": []}).status == 401
    assert open_client.get("/static/page.css").status == 200
    assert open_client.get("/static/../api/items").status in (401, 404)
    assert open_client.get("/healthz", Host="evil.example").status == 421


def test_a_browser_signs_in_with_a_cookie_that_scripts_cannot_read(open_client: Client) -> None:
    assert open_client.post("/api/session", {"token": "wrong"}).status == 401
    assert (
        open_client.post("/api/session", {"token": token_of(open_client)}, Origin="http://evil.example").status == 403
    )
    reply = open_client.post("/api/session", {"token": token_of(open_client)})
    cookie = reply.headers["set-cookie"]
    assert reply.status == 204
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
    assert token_of(open_client) not in cookie
    pair = cookie.partition(";")[0]
    assert open_client.get("/api/items", Cookie=pair).status == 200
    assert open_client.get("/api/items", Cookie=pair[:-1]).status == 401
    form = f"token={token_of(open_client)}".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert open_client.request("POST", "/api/session", form, headers).status == 303
    wrong = open_client.request("POST", "/api/session", b"token=wrong", headers)
    assert wrong.status == 401
    assert b"This is another token" in wrong.body
    assert "set-cookie" not in wrong.headers


def test_names_of_a_machine() -> None:
    here, everywhere_else = Access("127.0.0.1", "t"), Access("192.0.2.1", "t")
    assert here.names_this_machine("localhost")
    assert not here.names_this_machine("192.0.2.1")
    assert everywhere_else.names_this_machine("192.0.2.1:8080")
    assert not everywhere_else.names_this_machine("evil.example:8080")


TRAVERSALS = [
    f"{start}{middle}{end}"
    for start in ("/static/", "/api/items/", "/", "/api/items/1/media/", "//", "/api/items/1/thumbnail/")
    for middle in (
        "../" * 8,
        "..%2f" * 8,
        "%2e%2e/" * 8,
        "..%5c" * 8,
        "....//" * 8,
        "%252e%252e%252f" * 4,
        "/",
        "..\x00/",
    )
    for end in ("etc/passwd", "secret.txt", "films/notes.txt", "catalogue.sqlite", "service.token")
]


def leaks(reply: Reply, client: Client) -> bool:
    return any(
        secret in reply.body for secret in (SECRET, b"root:", b"SQLite format", b"Traceback", token_of(client).encode())
    )


def test_no_path_leads_out(client: Client, opened: Library) -> None:
    for target in TRAVERSALS:
        reply = client.raw(
            f"GET {target} HTTP/1.1\r\nHost: {client.host}\r\nConnection: close\r\n\r\n".encode("latin-1")
        )
        assert not leaks(reply, client)
        assert reply.status in (0, 400, 404, 422)


HOSTILE_BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'{"query": "\\ud800"}',
    b'{"query": "\xff\xfe"}',
    b'{"query": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    b"[" * 60_000,
    b'{"query": "red", "top": 1e400}',
    b'{"query": "red", "top": NaN}',
    b'{"query": "red", "top": ' + b"9" * 5_000 + b"}",
    b'{"query": "red", "levels": {"a": NaN}}',
    b'{"query": "red", "where": {"a": {"b": 1}}}',
    b'{"query": "red", "unknown": "\x00"}',
    b'{"query": "' + b"a" * 60_000 + b'"}',
    b"a" * 100_000,
    b'{"query": "a", "query": {"$ne": ""}}',
    b'{"about": "../../text", "edits": [{"action": "remove", "id": "../t01"}], "query": "red"}',
    b'{"about": "text", "edits": [{"action": "add", "text": "!!python/object:os.system", "kind": {}}], "query": "red"}',
    b'{"about": "text", "edits": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    b'{"query": "red", "folder": ["\\ud800"]}',
    b'{"query": "red", "folder": ["' + b"a" * 5_000 + b'", "~nobody/films", "\\u0000"]}',
    b'{"query": "red", "persons": ["", "\\u0000"], "me": "\\ud800"}',
    b'{"query": "red", "place": [1e308, 0, 1], "since": "99999", "longer": -1e308}',
    b'{"__proto__": {"top": 5}, "query": "red"}',
    b'{"query": "red"} {"query": "blue"}',
    b'{"query": "red", "where": {' + b",".join(b'"a%d": ["b"]' % number for number in range(3_000)) + b"}}",
    b'{"query": "red", "without": [' + b'"a", ' * 5_000 + b'"b"]}',
]


@pytest.mark.parametrize("body", HOSTILE_BODIES, ids=range(len(HOSTILE_BODIES)))
def test_hostile_documents_are_refused_in_one_line(client: Client, body: bytes) -> None:
    pools = ("/api/pools/edit", "/api/pools/choose", "/api/pools/compare")
    for target in ("/api/search", "/api/index", "/api/session", "/api/people/forget", *pools):
        if target == "/api/index" and body in (b"", b"null"):
            continue  # that is a wish to index
        reply = client.request("POST", target, body)
        assert not leaks(reply, client)
        assert reply.status < 500
        if reply.status >= 400:
            assert list(reply.json()) == ["error"]
            assert len(reply.body) < 1_000
    assert client.get("/healthz").status == 200


def test_no_kind_of_body_may_be_larger(client: Client) -> None:
    for kind in ("image/png", "application/json", "application/x-www-form-urlencoded"):
        assert client.request("POST", "/api/session", b"a" * 100_000, {"Content-Type": kind}).status == 413


HEADS = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
    b"GET /healthz\r\n\r\n",
    b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999\r\n\r\n",
    b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
    b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /api/pools/edit HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"POST /api/pools/compare HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n\r\n{",
    b"GET /api/pools/groups?about=%2e%2e%2fetc HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /api/items?id=1&id=-1&id=x%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /pools/../api/items HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: " + b"a" * 70_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X%d: 1\r\n" % n for n in range(5_000)) + b"\r\n",
    b"GET /%ff%fe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /api/search?q=%ff%00%0d%0aX-Evil:1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /api/items/1/media HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nRange: bytes="
    + b",".join(b"0-%d" % n for n in range(2_000))
    + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"CONNECT evil:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"POST /command HTTP/1.0\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
]


@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
def test_hostile_heads(client: Client, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "_BODY_SECONDS", 0.2)
    monkeypatch.setattr(connections, "_HEAD_SECONDS", 0.3)
    reply = client.raw(head if b"\r\n\r\n" in head else head + b"\r\n")
    assert "x-evil" not in reply.headers
    assert not leaks(reply, client)
    assert reply.status < 500
    assert client.get("/healthz").status == 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "X"]),
    parts=st.lists(
        st.sampled_from(
            ["api", "items", "search", "1", "media", "..", "%2e%2e", "static", "command", "", "index", "pools", "edit"]
        )
        | st.text(max_size=8),
        max_size=6,
    ),
    query=st.text(max_size=12),
    body=st.binary(max_size=60) | st.recursive(st.none() | st.text(max_size=5), st.lists, max_leaves=5).map(json.dumps),
)
def test_anything_at_all_gets_an_answer_that_is_no_mistake_of_ours(
    client: Client, method: str, parts: list[str], query: str, body: bytes | str
) -> None:
    target = "/" + "/".join(parts).replace(" ", "%20")
    content = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    if target == "/api/index" and method == "POST":
        return
    line = f"{method} {target}?q={query}".encode("utf-8", "surrogatepass").replace(b"\r", b"").replace(b"\n", b"")
    head = (
        f"Host: {client.host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    )
    reply = client.raw(line + b" HTTP/1.1\r\n" + head.encode() + b"\r\n\r\n" + content)
    assert reply.status < 500
    assert not leaks(reply, client)


def test_slow_clients_are_left(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_HEAD_SECONDS", 0.2)
    monkeypatch.setattr(security, "_BODY_SECONDS", 0.2)
    head = f"POST /api/search HTTP/1.1\r\nHost: {client.host}\r\nContent-Type: application/json"
    half_a_body = f"{head}\r\nContent-Length: 9\r\n\r\n{{"
    for start in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: ", half_a_body.encode()):
        with closing(socket.create_connection(client.address, timeout=10)) as connection:
            connection.sendall(start)
            started = time.monotonic()
            while connection.recv(4096):
                pass
            assert time.monotonic() - started < 5


def test_a_thousand_broken_requests(client: Client) -> None:
    """Bytes of requests are lost, doubled and changed; who sent them hears an answer, or nothing."""
    random = Random(7)
    heads = [head for head in HEADS if len(head) < 1_000]
    statuses = set()
    for _ in range(1_000):
        content = bytearray(random.choice(heads))
        for _ in range(random.randrange(1, 6)):
            first = random.randrange(len(content) + 1)
            last = first + random.randrange(1, 12)
            replacement = random.choice([b"", content[first:last] * 2, random.randbytes(3), b"\r\n", b"\x00", b"%2e/"])
            content[first:last] = replacement
        with closing(socket.create_connection(client.address, timeout=20)) as connection:
            connection.sendall(content + b"\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            received = b""
            with suppress(ConnectionError):
                while block := connection.recv(1 << 16):
                    received += block
        reply = parsed(received)
        statuses.add(reply.status)
        assert not leaks(reply, client)
        assert reply.status < 500
        assert "x-evil" not in reply.headers
    assert {400, 421} <= statuses
    assert client.get("/healthz").status == 200


def test_ten_thousand_connections_in_turn(client: Client) -> None:
    """Some say nothing, some half a request, some leave before the answer; no handle stays open."""
    starts = (
        b"",
        b"GET / HT",
        f"GET /api/search?q=red HTTP/1.1\r\nHost: {client.host}\r\n\r\n".encode(),
        b"\xff\r\n\r\n",
    )
    before = open_handles()
    for number in range(10_000):
        with closing(socket.create_connection(client.address, timeout=30)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends without a word
            if number % 10 == 0:
                connection.sendall(starts[number // 10 % len(starts)])
    end = time.monotonic() + 20
    while client.get("/healthz").status != 200 or open_handles() > before + 8:  # 503 while more than it takes are open
        assert time.monotonic() < end
        time.sleep(0.05)


def open_handles() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_many_connections_at_once(client: Client) -> None:
    held = [socket.create_connection(client.address, timeout=10) for _ in range(200)]
    assert client.get("/healthz").status == 200
    for connection in held:
        connection.close()


def test_a_client_that_never_reads_holds_no_film_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left after a while, and others are served meanwhile."""
    film = colour_video(tmp_path / "films" / "red.mp4", "red")
    with film.open("r+b") as stream:
        stream.truncate(96 << 20)  # nothing but zeros behind it
    monkeypatch.setattr(security, "_WRITE_SECONDS", 0.5)
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(tmp_path / "films")
        with served(library) as client, closing(socket.create_connection(client.address, timeout=30)) as connection:
            memory = resident_megabytes(client)
            connection.sendall(f"GET /api/items/1/media HTTP/1.1\r\nHost: {client.host}\r\n\r\n".encode())
            assert connection.recv(16).startswith(b"HTTP/1.1 200")
            end = time.monotonic() + 20
            while handles_of(film):
                assert client.get("/healthz").status == 200
                assert resident_megabytes(client) < memory + 32
                assert time.monotonic() < end
                time.sleep(0.05)


def resident_megabytes(client: Client) -> float:
    metrics = client.get("/metrics").body.decode()
    return float(metrics.partition("\nmmi_tvr_resident_memory_bytes ")[2].split()[0]) / 1e6


def handles_of(path: Path) -> int:
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(link) == str(path) for link in links)


def test_what_the_catalogue_holds_of_paths_cannot_be_asked_for(client: Client, opened: Library) -> None:
    for number in ("0", "-1", "1e0", "0x1", "1%00", "null", "%2e", str(Path(opened.path) / "catalogue.sqlite")):
        assert client.get(f"/api/items/{number}/media").status in (404, 422)
