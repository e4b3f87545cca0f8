"""The application: routes, and what errors become."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, MutableMapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.routing import Route

from .. import __version__
from ..errors import (
    LibraryBusy,
    LibraryMissing,
    LibraryReadOnly,
    MediaError,
    MissingExtra,
    MmiTvrError,
    ModelNotFound,
    UnreadableQuery,
    UsageError,
)
from ..library.items import ItemMissing
from . import collection_routes, item_routes, page, people_routes, pool_routes, search_routes, service_routes
from .answers import JsonResponse
from .search_queue import Overloaded
from .security import Guard, Message, Receive, Send, TooSlow
from .service import ClientGone, Service

_LOGGER = logging.getLogger(__name__)
_STATUSES: dict[type[MmiTvrError], int] = {
    ItemMissing: 404,
    LibraryMissing: 404,
    LibraryBusy: 503,
    LibraryReadOnly: 409,
    ModelNotFound: 503,
    MissingExtra: 501,
    MediaError: 422,
    UsageError: 400,
}
_MONITORING = frozenset({"/healthz", "/metrics"})  # whoever asks these again and again keeps no service alive
_GONE = 499  # nobody reads it


def make_app(service: Service) -> Guard:
    """Return the ASGI application of a service, behind its guard."""
    app = FastAPI(
        title="mmi-tvr",
        version=__version__,
        summary="Describe a moment in a sentence; get the right file, at the right second.",
        redirect_slashes=False,
        docs_url=None,  # they load scripts of another host
        redoc_url=None,
        openapi_url="/api/openapi.json",
        default_response_class=JsonResponse,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.service = service
    for routes in (search_routes, item_routes, people_routes, pool_routes, collection_routes, service_routes, page):
        app.include_router(routes.router)
    app.mount("/static", StaticFiles(directory=page.STATIC))
    app.add_exception_handler(MmiTvrError, _package_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Overloaded, _overloaded)
    app.add_exception_handler(ClientGone, _client_gone)
    app.add_exception_handler(Exception, _internal_error)
    return Guard(RequestCounter(app, service), service.access)


class RequestCounter:
    """ASGI middleware that counts requests by route and status."""

    def __init__(self, app: FastAPI, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        status = _GONE

        async def counted_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        counts = scope["path"] not in _MONITORING
        self._service.in_flight += counts
        try:
            await self._app(scope, receive, counted_send)
        except (ConnectionError, TooSlow):  # nobody is there to hear of it
            pass
        finally:
            self._service.in_flight -= counts
            if counts:
                self._service.last_request = time.monotonic()
            route = scope.get("route")
            self._service.metrics.count_request(route.path if isinstance(route, Route) else "other", status)


async def _package_error(request: Request, error: Exception) -> Response:
    status = next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), 500)
    if isinstance(error, UnreadableQuery):
        return JsonResponse({"error": str(error), "reason": error.reason}, status)
    return _problem(status, str(error), {"retry-after": "5"} if status == 503 else None)


async def _validation_error(request: Request, error: Exception) -> Response:
    """Say which parts of a request do not fit, without what was sent."""
    assert isinstance(error, RequestValidationError)
    return _problem(422, "; ".join(map(_validation_line, error.errors()[:5])))


def _validation_line(error: Mapping[str, Any]) -> str:
    where, *inside = map(str, error["loc"])
    if error["type"] == "json_invalid":
        return f"the body is no JSON, from character {inside[0]} on"
    return f"{'.'.join(inside) or where}: {error['msg']}"


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem(error.status_code, str(error.detail), error.headers)


async def _overloaded(request: Request, error: Exception) -> Response:
    assert isinstance(error, Overloaded)
    return _problem(503, str(error), {"retry-after": str(error.seconds)})


async def _client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=_GONE)


async def _internal_error(request: Request, error: Exception) -> Response:
    _LOGGER.error("a request failed", exc_info=error)
    return _problem(500, "a mistake of this program; its log says more")


def _problem(status: int, reason: str, headers: Mapping[str, str] | None = None) -> JsonResponse:
    return JsonResponse({"error": reason}, status, headers)
