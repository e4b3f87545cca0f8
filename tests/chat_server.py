"""A chat server on this machine that behaves as a word in the question says: good, busy, ill, slow, nonsense."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REPLIES: dict[str, bytes] = {
    "garbage": b"<html>this is no JSON</html>",
    "latin": "<p>caf\xe9</p>".encode("latin-1"),
    "nochoices": b'{"choices": []}',
    "alist": b"[1, 2]",
    "nested": b"[" * 100_000,
    "stream": b'data: {"choices": [{"delta": {"content": "red"}}]}\n\ndata: [DONE]\n',
}


def completion(content: Any, finish_reason: Any = "stop", **message: Any) -> bytes:
    """A chat completion as servers write it."""
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish_reason}
    return json.dumps({"choices": [choice]}).encode()


THOUGHT = "<think>\nIt may be blue. No, </think> is how I stop.\n</think>\n\n"
REPLIES |= {
    "null": completion(None),
    "silence": completion(" \n"),
    "number": completion(3),
    "thoughtful": completion(f"{THOUGHT}red circle"),
    "halfthought": completion("<think>\nIt may be blue", "length"),
    "unending": completion("<think>\nIt may be blue"),
    "onlythought": completion(THOUGHT),
    "overlong": completion("a red circle that", "length"),
    "bodiless": completion(None, "length", reasoning_content="It may be"),
    "parts": completion(
        [{"type": "thinking", "thinking": "hm"}, *({"type": "text", "text": text} for text in ("red ", "circle"))]
    ),
    "pictures": completion([{"type": "image_url", "image_url": {"url": "x"}}]),
    "bentpieces": completion([{"type": "text", "text": None}]),
    "refused": completion(None, refusal="I cannot say\nthat"),
    "filtered": completion("", "content_filter"),
    "surrogate": completion("a \ud83d\0 cafe\u0301"),
}


class ChatServer:
    """`with ChatServer() as server`: `server.url`; `requests` (method, path, key, body) as they came.

    A good answer is "about " and the texts of the message. A question with the word `busy` is turned away once
    (429), with `ill` always (500), with `bad` refused (400, the key repeated), with `cut` cut off once, with `slow`
    answered after `slow` seconds, with `drip` a byte at a time without end; with `huge` by a reply that is as large
    as anybody reads, with `trickle` by one that does not end; with `last` it is answered, and is the last one. It
    lists `models`, and wants the `key`. With `counted N` its reply counts N tokens. After `dies` questions nobody
    is there.
    """

    def __init__(self, models: tuple[str, ...] = ("tiny",), key: str = "", slow: float = 0.5) -> None:
        self.models, self.key, self.slow = models, key, slow
        self.requests: list[tuple[str, str, str, Any]] = []
        self.most = 0  # requests under way at once
        self.retry_after = "0"
        self.dies: int | None = None
        self.written = 0  # bytes of replies without end
        self._seen: Counter[str] = Counter()
        self._under_way = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.record(self, None)
                if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
                    return server.reply(self, 401, b'{"error": {"message": "who are you?"}}')
                return server.reply(self, 200, json.dumps({"data": [{"id": name} for name in server.models]}).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.record(self, body)
                server.chat(self, body)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # who asked has gone: that is what some tests are about
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> ChatServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """From now on nobody is there; what is under way is finished."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def request_count(self, word: str) -> int:
        """How often a question with this word came."""
        return sum(word in prompt_text(body) for method, _, _, body in self.requests if method == "POST")

    def record(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        key = handler.headers.get("Authorization", "")
        with self._lock:
            self.requests.append((handler.command, handler.path, key, body))

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self._lock:
            self._under_way += 1
            self.most = max(self.most, self._under_way)
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def chat(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        text = prompt_text(body)
        with self._lock:
            self._seen[text] += 1
            first = self._seen[text] == 1
            dead = self.dies is not None and self._seen.total() > self.dies
        if dead:
            handler.connection.close()
            return None
        for word, reply in REPLIES.items():
            if word in text:
                return self.reply(handler, 200, reply)
        if "busy" in text and first:
            return self.reply(handler, 429, b"{}", {"Retry-After": self.retry_after})
        if "ill" in text:
            return self.reply(handler, 500, b"out of order")
        if "bad" in text:
            key = handler.headers.get("Authorization", "")
            return self.reply(handler, 400, json.dumps({"error": {"message": f"bad request by {key}"}}).encode())
        if "cut" in text and first:
            handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n{")
            return None
        self._take_time(handler, text)
        if "huge" in text or "trickle" in text:
            return self._reply_without_end(handler, 0.0 if "huge" in text else 0.02)
        if "last" in text:
            self.stop()
        document: dict[str, Any] = {"choices": [{"message": {"content": f" about {text}\n"}}]}
        if counted := re.search(r"counted (\d+)", text):
            document["usage"] = {"total_tokens": int(counted[1])}
        return self.reply(handler, 200, json.dumps(document).encode())

    def _take_time(self, handler: BaseHTTPRequestHandler, text: str) -> None:
        if "drip" in text:
            for byte in b"HTTP/1.0 200 OK\r\nX: " + b"y" * 10_000:
                handler.wfile.write(bytes([byte]))
                time.sleep(0.02)
        if "slow" in text:
            with self.counted():  # over before the reply: who has it may ask the next
                time.sleep(self.slow)

    def _reply_without_end(self, handler: BaseHTTPRequestHandler, pause: float) -> None:
        """Write the beginning of a reply, and then blanks until the other side goes."""
        handler.wfile.write(b'HTTP/1.0 200 OK\r\n\r\n{"choices": ')
        for _ in range(20_000):
            handler.wfile.write(b" " if pause else b" " * 4096)
            self.written += 1 if pause else 4096
            time.sleep(pause)

    @staticmethod
    def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


def prompt_text(body: Any) -> str:
    """The words of a request."""
    return "".join(part["text"] for part in body["messages"][0]["content"] if part["type"] == "text")
