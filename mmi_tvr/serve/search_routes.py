"""Searching: `GET /api/search` for a sentence or what is like an item, `POST /api/search` for all that a search of a
library takes, `POST /api/search/example` for what is like a picture that is sent."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from ..errors import MediaError, UsageError
from ..library.search_options import MAX_MORE
from ..queries import checked_query, parse_where
from ..types import ItemMoment, QueryExample, as_where
from ..types import Query as SearchQuery
from ..utils.seconds import parse_seconds
from .answers import JsonResponse, TheService
from .parameters import described, read_parameters
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


class SearchParameters(BaseModel):
    """What an address says of a search."""

    q: str = Field("", description="what happens in the video that is looked for, or is to be there besides")
    top: Top = 5
    min_relevance: Relevance = None
    without: list[str] = Field([], description="what is not to be there")
    person: list[str] = Field([], description="names of people, all of whom are to be there")
    fold: bool = Field(True, description="near-duplicates of a hit are shown as one with it")
    more: int = Field(1, ge=1, le=MAX_MORE, description="moments of each hit, at most")
    where: list[str] = Field([], description="LEVEL=NAME; only what shows this")
    kind: list[str] = Field([], description="some of image, video, audio")
    since: str | None = Field(None, description="taken then or later: 2024, 2024-05, 2024-05-01")
    until: str | None = Field(None, description="taken then or before")
    folder: list[str] = Field([], description="below which it lies")
    longer: str | None = Field(None, description="seconds at least, or 1:30")
    shorter: str | None = Field(None, description="seconds at most")
    place: str | None = Field(None, description="LAT,LON,KM or SOUTH,WEST,NORTH,EAST")

    def request(self, **more: Any) -> SearchRequest:
        """Return the request that this and `more` make."""
        classes = {level: sorted(names) for level, names in parse_where(self.where).items()}
        values = {name: value for name, value in self if name in SearchRequest.model_fields}
        return SearchRequest(**{**values, "query": self.q, "persons": self.person, "where": classes, **more})


class SentenceParameters(SearchParameters):
    """What `GET /api/search` takes."""

    like: str | None = Field(None, description="ID@SECONDS or ID: an item of the library that hits are like")
    rerank: bool | None = None


class PictureParameters(SearchParameters):
    """What `POST /api/search/example` takes besides the picture."""

    name: str = Field("picture", max_length=1000, description="what the picture is called")


@router.get("/search", openapi_extra=described(SentenceParameters))
async def search(request: Request, service: TheService) -> JsonResponse:
    """The best moments for a sentence: the JSON of `mmi-tvr search --json`."""
    parameters = read_parameters(request, SentenceParameters)
    body = parameters.request(like=_item_moment(parameters.like), rerank=parameters.rerank)
    return await answer(request, service, body)


@router.post("/search")
async def search_by(request: Request, service: TheService, body: Annotated[SearchRequest, Body()]) -> JsonResponse:
    """The same, with everything that a search of a library takes."""
    return await answer(request, service, body)


@router.post("/search/example", openapi_extra=described(PictureParameters))
async def search_by_example(request: Request, service: TheService) -> JsonResponse:
    """What is like the picture that is the body of the request: the bytes of a file (JPEG, PNG, WebP, ...)."""
    parameters = read_parameters(request, PictureParameters)
    content = await request.body()
    if not content:
        raise HTTPException(422, "the body is to be a picture, and it is empty")
    try:
        picture = await service.uploads.decode(content)
    except MediaError as error:
        raise HTTPException(422, f"{parameters.name}: {error.reason}") from error
    return await answer(request, service, parameters.request(), QueryExample(parameters.name, (picture,)))


async def answer(
    request: Request, service: Service, body: SearchRequest, example: QueryExample | None = None
) -> JsonResponse:
    """Return the JSON of a search.

    Args:
        request: whose client waits for it.
        service: searches.
        body: what is looked for, and how.
        example: a picture that hits are to be like.
    """
    sentence = SearchQuery(body.query, where=as_where(body.where), example=example)
    query = checked_query(sentence, body.like is not None)
    options: dict[str, Any] = {name: value for name, value in body if name not in ("query", "where", "like")}
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
