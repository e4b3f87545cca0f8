"""A Hugging Face hub on this machine, with folders as its repositories; it speaks as much of the hub's language as a
download needs, and keeps what it was asked."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_API = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)(?:/(?P<what>revision|tree)/(?P<revision>[^/]+))?$")
_DISCUSSIONS = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)/discussions$")
_FILE = re.compile(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)$")


class HubServer:
    """`with HubServer({"owner/name": folder}) as hub`: `hub.url` is for HF_ENDPOINT; `requests` (method, path).

    `revisions` names the revision of a repository that has its weights, where it is not main. `converter` is who
    opened the pull request that is `refs/pr/N`. With `cut_after`, weight files break off after so many bytes.
    """

    def __init__(
        self, repositories: dict[str, Path], *, revisions: dict[str, str] | None = None, converter: str = "",
        cut_after: int | None = None,
    ) -> None:  # fmt: skip
        self.repositories = repositories
        self.revisions = revisions or {}
        self.converter = converter
        self.cut_after = cut_after
        self.requests: list[tuple[str, str]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def log_message(self, *arguments: Any) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        path = urlsplit(request.path).path
        self.requests.append((request.command, unquote(request.path)))
        api, file, discussions = _API.match(path), _FILE.match(path), _DISCUSSIONS.match(path)
        name = (api or file or discussions or {"name": ""})["name"]
        folder = self.repositories.get(name)
        if folder is None:
            return self._reply(request, 401, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
        commit = hashlib.sha1(name.encode()).hexdigest()
        if discussions:
            return self._reply(request, 200, self._pull_requests(name), {}, body)
        if api and api["what"] == "revision" and api["revision"] == "main" and name in self.revisions:
            return self._reply(
                request, 200, json.dumps({"id": name, "sha": "0" * 40, "siblings": []}).encode(), {}, body
            )
        expected = {self.revisions.get(name, "main"), commit}
        if api and (api["revision"] is None or unquote(api["revision"]) in expected):
            return self._reply(request, 200, self._listing(name, folder, commit, api["what"] == "tree"), {}, body)
        if file and unquote(file["revision"]) in expected and (folder / unquote(file["path"])).is_file():
            return self._file(request, folder / unquote(file["path"]), commit, body)
        return self._reply(request, 404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)

    def _pull_requests(self, name: str) -> bytes:
        number = self.revisions.get(name, "refs/pr/1").rpartition("/")[2]
        request = {
            "num": int(number), "title": "Adding `safetensors` variant of this model", "status": "open",
            "isPullRequest": True, "author": {"name": self.converter}, "createdAt": "2024-01-01T00:00:00.000Z",
            "repo": {"name": name, "type": "model"}, "pinned": False, "numComments": 0,
        }  # fmt: skip
        requests = [request] if self.converter and name in self.revisions else []
        return json.dumps({"discussions": requests, "count": len(requests), "start": 0}).encode()

    def _listing(self, name: str, folder: Path, commit: str, tree: bool) -> bytes:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        if tree:
            files = [
                {"type": "file", "path": str(path.relative_to(folder)), "size": path.stat().st_size, "oid": _etag(path)}
                for path in paths
            ]
            return json.dumps(files).encode()
        siblings = [{"rfilename": str(path.relative_to(folder)), "size": path.stat().st_size} for path in paths]
        return json.dumps({"id": name, "modelId": name, "sha": commit, "siblings": siblings, "tags": []}).encode()

    def _file(self, request: BaseHTTPRequestHandler, path: Path, commit: str, body: bool) -> None:
        content = path.read_bytes()
        headers = {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        status, total = 200, len(content)
        partial = re.match(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        weights = path.suffix == ".safetensors" and body
        if partial:
            start = int(partial[1])
            status, content = 206, content[start : int(partial[2]) + 1 if partial[2] else None]
            headers["Content-Range"] = f"bytes {start}-{start + len(content) - 1}/{total}"
        if weights and self.cut_after is not None:
            self._cut(request, status, content, headers)
        else:
            self._reply(request, status, content, headers, body)

    def _cut(self, request: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str]) -> None:
        """Promise the whole, send a part, and hang up: for ever after, or until `cut_after` is None."""
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            request.send_header(name, value)
        request.end_headers()
        with suppress(OSError):
            request.wfile.write(content[: self.cut_after])
            request.wfile.flush()
        request.close_connection = True

    def _reply(
        self, request: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str], body: bool
    ) -> None:
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            request.send_header(name, value)
        request.end_headers()
        if body:
            with suppress(OSError):
                request.wfile.write(content)


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
