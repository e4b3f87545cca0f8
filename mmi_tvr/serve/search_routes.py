"""Searching: `GET /api/search` for a sentence or what is like an item, `POST /api/search` for all that a search of a
library takes, `POST /api/search/example` for what is like a picture that is sent."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from ..errors import MediaError, UsageError
from ..library.search_options import MAX_MORE
from ..queries import checked_query, parse_where
from ..types import ItemMoment, QueryExample, as_where
from ..types import Query as SearchQuery
from ..utils.seconds import parse_seconds
from .answers import JsonResponse, TheService
from .service import Service

router = APIRouter(prefix="/api", tags=["search"])
_MOST = 500  # hits of a search

Top = Annotated[int, Field(ge=1, le=_MOST, description="at most so many hits")]
Relevance = Annotated[float | None, Field(ge=0, le=1, description="the least relevance of a hit; default: the model's")]


class LikeRequest(BaseModel):
    """A moment of an item, by its `id`; without a second, all of it."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[int, Field(ge=0, le=2**53)]
    second: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None


class SearchRequest(BaseModel):
    """What `Library.search` takes, as JSON."""

    model_config = ConfigDict(extra="forbid")

    query: str = ""
    like: LikeRequest | None = None
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
    without: list[str] = []
    fold: bool = True
    more: Annotated[int, Field(ge=1, le=MAX_MORE)] = 1
    kind: list[str] = []
    since: str | None = None
    until: str | None = None
    folder: list[str] = []
    longer: str | float | None = None
    shorter: str | float | None = None
    place: str | list[float] | None = None


@router.get("/search")
async def search(
    request: Request,
    service: TheService,
    q: Annotated[str, Query(description="what happens in the video that is looked for")] = "",
    like: Annotated[
        str | None, Query(description="ID@SECONDS or ID: an item of the library that hits are like")
    ] = None,
    top: Top = 5,
    min_relevance: Annotated[float | None, Query(ge=0, le=1)] = None,
    rerank: bool | None = None,
    without: Annotated[list[str] | None, Query(description="what is not to be there")] = None,
    more: Annotated[int, Query(ge=1, le=MAX_MORE, description="moments of each hit, at most")] = 1,
    where: Annotated[list[str] | None, Query(description="LEVEL=NAME; only what shows this")] = None,
    kind: Annotated[list[str] | None, Query(description="some of image, video, audio")] = None,
    since: Annotated[str | None, Query(description="taken then or later: 2024, 2024-05, 2024-05-01")] = None,
    until: Annotated[str | None, Query(description="taken then or before")] = None,
    folder: Annotated[list[str] | None, Query(description="below which it lies")] = None,
    longer: Annotated[str | None, Query(description="seconds at least, or 1:30")] = None,
    shorter: Annotated[str | None, Query(description="seconds at most")] = None,
    place: Annotated[str | None, Query(description="LAT,LON,KM or SOUTH,WEST,NORTH,EAST")] = None,
) -> JsonResponse:
    """The best moments for a sentence: the JSON of `mmi-tvr search --json`."""
    classes = {level: sorted(names) for level, names in parse_where(where or ()).items()}
    moment = _item_moment(like)
    body = SearchRequest(
        query=q, like=moment, without=without or [], top=top, more=more, min_relevance=min_relevance, rerank=rerank,
        where=classes, kind=kind or [], since=since, until=until, folder=folder or [], longer=longer, shorter=shorter,
        place=place,
    )  # fmt: skip
    return await answer(request, service, body)


@router.post("/search")
async def search_by(request: Request, service: TheService, body: Annotated[SearchRequest, Body()]) -> JsonResponse:
    """The same, with everything that a search of a library takes."""
    return await answer(request, service, body)


@router.post("/search/example")
async def search_by_example(
    request: Request,
    service: TheService,
    q: Annotated[str, Query(description="what the hits are to show besides")] = "",
    name: Annotated[str, Query(max_length=1000, description="what the picture is called")] = "picture",
    top: Top = 5,
    min_relevance: Annotated[float | None, Query(ge=0, le=1)] = None,
) -> JsonResponse:
    """What is like the picture that is the body of the request: the bytes of a file (JPEG, PNG, WebP, ...)."""
    content = await request.body()
    if not content:
        raise HTTPException(422, "the body is to be a picture, and it is empty")
    try:
        picture = await service.uploads.decode(content)
    except MediaError as error:
        raise HTTPException(422, f"{name}: {error.reason}") from error
    query = checked_query(SearchQuery(q, example=QueryExample(name, (picture,))))
    result = await service.search(request, query, {"top": top, "min_relevance": min_relevance})
    return JsonResponse(result.as_dict())


async def answer(request: Request, service: Service, body: SearchRequest) -> JsonResponse:
    """Return the JSON of a search."""
    query = checked_query(SearchQuery(body.query, where=as_where(body.where)), body.like is not None)
    options: dict[str, Any] = body.model_dump(exclude={"query", "where", "like"})
    if body.like is not None:
        options["like"] = ItemMoment(body.like.id, body.like.second)
    result = await service.search(request, query, options)
    return JsonResponse(result.as_dict())


def _item_moment(text: str | None) -> LikeRequest | None:
    """Return what "ID@SECONDS" or "ID" means. Raises UsageError for anything else."""
    if text is None:
        return None
    number, at_sign, time = text.partition("@")
    second = parse_seconds(time) if at_sign else None
    if not (number.isascii() and number.isdigit() and len(number) < 16) or (at_sign and second is None):
        raise UsageError(f"like: ID@SECONDS or ID, such as 7@12.5, not {text!r:.60}")
    return LikeRequest(id=int(number), second=second)
