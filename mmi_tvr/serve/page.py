"""The page: what a browser shows of a library. Searching works without scripts; other views say that they need them.

Each view is an address of its own, so that the browser's history, bookmarks and middle clicks work as people know them.
"""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, Template

from ..errors import MmiTvrError
from ..queries import checked_query
from ..search import SearchResult
from ..types import Query as SearchQuery
from ..utils.printable import printable
from ..utils.wording import library_option
from .answers import TheService
from .security import SIGN_IN
from .service import Service

STATIC = Path(__file__).parent / "static"
router = APIRouter(include_in_schema=False)
_HITS = 24
_TIMEOUT = 1.5  # seconds that the page waits for a search
_VIEWS = (
    ("/", "search", "Search"),
    ("/people", "people", "People"),
    ("/collection", "collection", "Collection"),
    ("/pools", "pools", "Questions"),
)
_COMMANDS = {"people": "mmi-tvr people list", "collection": "mmi-tvr status", "pools": "mmi-tvr prompts list"}


@router.get("/", response_class=HTMLResponse)
async def page(request: Request, service: TheService, q: Annotated[str, Query(max_length=8192)] = "") -> HTMLResponse:
    """The search field, and the moments that it finds.

    While the model is being loaded, the page comes without hits: its scripts search by themselves, and a browser
    without scripts looks again.
    """
    result, problem, is_late = None, "", False
    if q.strip():
        try:
            result = await asyncio.wait_for(_result(request, service, q), _TIMEOUT)
        except asyncio.TimeoutError:
            is_late = True
        except MmiTvrError as error:
            problem = str(error)
    counts = await anyio.to_thread.run_sync(service.items.counts) if service.library.exists else None
    values = {"query": q, "result": result, "problem": problem, "is_late": is_late, "counts": counts}
    return _html(service, "search.html.j2", "search", **values)


@router.get("/people", response_class=HTMLResponse)
async def people(service: TheService) -> HTMLResponse:
    """Whom the library knows."""
    return _view(service, "people")


@router.get("/collection", response_class=HTMLResponse)
async def collection(service: TheService) -> HTMLResponse:
    """What is in the library, and how far it is."""
    return _view(service, "collection")


@router.get("/pools", response_class=HTMLResponse)
async def pools(service: TheService) -> HTMLResponse:
    """The questions that are asked."""
    return _view(service, "pools")


@router.get(SIGN_IN, response_class=HTMLResponse)
async def sign_in() -> HTMLResponse:
    """The field for the token."""
    return HTMLResponse(sign_in_html())


def sign_in_html(is_wrong: bool = False) -> str:
    """Return the page with the field for the token; is_wrong: somebody sent another one."""
    return _template("sign_in.html.j2").render(is_wrong=is_wrong)


async def _result(request: Request, service: Service, text: str) -> SearchResult:
    return await service.search(request, checked_query(SearchQuery(text)), {"top": _HITS, "min_relevance": None})


def _view(service: Service, view: str) -> HTMLResponse:
    """Return a view that scripts fill; without a library, the page that says how to begin."""
    if not service.library.exists:
        return _html(service, "search.html.j2", view)
    title = next(title for _, name, title in _VIEWS if name == view)
    return _html(service, "view.html.j2", view, title=title, command=_COMMANDS[view])


def _html(service: Service, template: str, view: str, **values: Any) -> HTMLResponse:
    text = _template(template).render(
        views=_VIEWS,
        view=view,
        has_library=service.library.exists,
        library_option=library_option(service.library.path),
        **values,
    )
    return HTMLResponse(text)


@cache
def _template(name: str) -> Template:
    environment = Environment(loader=PackageLoader("mmi_tvr.serve", "templates"), autoescape=True, trim_blocks=True)
    environment.filters["printable"] = printable
    return environment.get_template(name)
