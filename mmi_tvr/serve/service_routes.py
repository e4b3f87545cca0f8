"""The service itself: whether it lives, what it counts, who signs in; and commands of the socket."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse

from .. import __version__
from .answers import JsonResponse, TheService
from .page import sign_in_html
from .security import is_of_socket

router = APIRouter(tags=["service"])


@router.get("/healthz")
async def healthz(request: Request, service: TheService) -> JsonResponse:
    """Whether the service lives; over the socket also its version, which library it holds, and the page's address."""
    document: dict[str, Any] = {"status": "ok"}
    if is_of_socket(request.scope):
        document |= {"version": __version__, "library": service.identity(), "url": service.url}
    return JsonResponse(document)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(service: TheService) -> PlainTextResponse:
    """What the service counts of itself, for Prometheus."""
    gauges = {
        "searches_waiting": float(len(service.queue)),
        "requests_in_flight": float(service.in_flight),
        "thumbnail_bytes": float(len(service.thumbnails)),
        "indexing": float(service.indexing.is_running),
    }
    return PlainTextResponse(service.metrics.text(gauges), media_type="text/plain; version=0.0.4")


@router.post("/api/session", status_code=204)
async def sign_in(request: Request, service: TheService) -> Response:
    """Sign in with the token: `{"token": "..."}`, or a form. The answer sets a cookie for this browser."""
    body = await request.body()
    is_form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    session = service.access.sign_in(_token_of(body, is_form))
    if session is None and is_form:
        return HTMLResponse(sign_in_html(is_wrong=True), 401)
    if session is None:
        raise HTTPException(401, "a wrong token")
    answer: Response = RedirectResponse("/", 303) if is_form else Response(status_code=204)
    answer.set_cookie(service.access.cookie, session, httponly=True, samesite="strict", path="/")
    return answer


@router.post("/command", include_in_schema=False)
async def command(request: Request, service: TheService) -> StreamingResponse:
    """Run a command for a client of the socket."""
    if service.commands is None or not is_of_socket(request.scope):
        raise HTTPException(404, "Not Found")
    document = _document(await request.body())
    return StreamingResponse(service.commands.answer(document), media_type="application/x-ndjson")


def _token_of(body: bytes, is_form: bool) -> object:
    if is_form:
        return parse_qs(body.decode("utf-8", "replace"), max_num_fields=4).get("token", [""])[0]
    return _document(body).get("token")


def _document(body: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises HTTPException 400 where it is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise HTTPException(400, "not a JSON object")
    return document
