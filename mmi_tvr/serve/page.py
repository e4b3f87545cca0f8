"""The page: what a browser shows of a library. Works without scripts."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

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


@router.get("/", response_class=HTMLResponse)
async def page(request: Request, service: TheService, q: Annotated[str, Query(max_length=8192)] = "") -> HTMLResponse:
    """The search field, and the moments that it finds."""
    result, problem = None, ""
    if q.strip():
        try:
            result = await _result(request, service, q)
        except MmiTvrError as error:
            problem = str(error)
    status = None
    if service.library.exists:
        status = await service.in_turn(service.library.status)
    text = _template("page.html.j2").render(
        query=q,
        result=result,
        problem=problem,
        status=status,
        library_option=library_option(service.library.path),
    )
    return HTMLResponse(text)


@router.get(SIGN_IN, response_class=HTMLResponse)
async def sign_in() -> HTMLResponse:
    """The field for the token."""
    return HTMLResponse(_template("sign_in.html.j2").render())


async def _result(request: Request, service: Service, text: str) -> SearchResult:
    return await service.search(request, checked_query(SearchQuery(text)), {"top": _HITS, "min_relevance": None})


@cache
def _template(name: str) -> Template:
    environment = Environment(loader=PackageLoader("mmi_tvr.serve", "templates"), autoescape=True, trim_blocks=True)
    environment.filters["printable"] = printable
    return environment.get_template(name)
