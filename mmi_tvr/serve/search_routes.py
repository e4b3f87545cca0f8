"""Searching: `GET /api/search` for a sentence, `POST /api/search` for all that a search of a library takes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from ..queries import checked_query, parse_where
from ..types import Query as SearchQuery
from ..types import as_where
from .answers import JsonResponse, TheService
from .service import Service

router = APIRouter(prefix="/api", tags=["search"])
_MOST = 500  # hits of a search

Top = Annotated[int, Field(ge=1, le=_MOST, description="at most so many hits")]
Relevance = Annotated[float | None, Field(ge=0, le=1, description="the least relevance of a hit; default: the model's")]


class SearchRequest(BaseModel):
    """What `Library.search` takes, as JSON."""

    model_config = ConfigDict(extra="forbid")

    query: str
    top: Top = 5
    min_relevance: Relevance = None
    rerank: bool | None = None
    literal: bool | None = None
    expand: int | None = Field(None, ge=0, le=8)
    exact: bool = False
    levels: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}
    where: dict[str, list[str]] = {}
    persons: list[str] = []
    me: str | None = None
    only: bool = False


@router.get("/search")
async def search(
    request: Request,
    service: TheService,
    q: Annotated[str, Query(description="what happens in the video that is looked for")],
    top: Top = 5,
    min_relevance: Annotated[float | None, Query(ge=0, le=1)] = None,
    rerank: bool | None = None,
    where: Annotated[list[str] | None, Query(description="LEVEL=NAME; only what shows this")] = None,
) -> JsonResponse:
    """The best moments for a sentence: the JSON of `mmi-tvr search --json`."""
    classes = {level: sorted(names) for level, names in parse_where(where or ()).items()}
    body = SearchRequest(query=q, top=top, min_relevance=min_relevance, rerank=rerank, where=classes)
    return await answer(request, service, body)


@router.post("/search")
async def search_by(request: Request, service: TheService, body: Annotated[SearchRequest, Body()]) -> JsonResponse:
    """The same, with everything that a search of a library takes."""
    return await answer(request, service, body)


async def answer(request: Request, service: Service, body: SearchRequest) -> JsonResponse:
    """Return the JSON of a search."""
    query = checked_query(SearchQuery(body.query, where=as_where(body.where)))
    options: dict[str, Any] = body.model_dump(exclude={"query", "where"})
    result = await service.search(request, query, options)
    return JsonResponse(result.as_dict())
