"""Items: what is in the library, by number; their files and pictures of them."""

from __future__ import annotations

from typing import Annotated, Literal

import anyio
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from pydantic import Field

from ..library.items import MAX_ITEMS
from .answers import ItemNumber, JsonResponse, TheService
from .media import media_response

ItemId = Annotated[int, Field(ge=0, le=2**53)]
router = APIRouter(prefix="/api/items", tags=["items"])


@router.get("")
async def items(
    service: TheService,
    after: Annotated[int, Query(ge=0, le=2**53, description="the last id of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_ITEMS)] = 100,
    state: Literal["indexed", "pending", "quarantined"] | None = None,
    id: Annotated[
        list[ItemId] | None, Query(max_length=MAX_ITEMS, description="only these, with their moments")
    ] = None,
) -> JsonResponse:
    """A page of items by number; `next` is the `after` of the next page, null on the last one."""
    if id is not None:
        among = await anyio.to_thread.run_sync(service.items.among, id)
        return JsonResponse({"items": [one.with_moments() for one in among], "next": None})
    page = await anyio.to_thread.run_sync(service.items.page, after, limit, state)
    following = page[-1].id if len(page) == limit else None
    return JsonResponse({"items": [item.as_dict() for item in page], "next": following})


@router.get("/{number}")
async def item(service: TheService, number: ItemNumber) -> JsonResponse:
    """One item, with its moments: the stretches that its key images stand for."""
    one = await anyio.to_thread.run_sync(service.items.item, number)
    return JsonResponse(one.with_moments())


@router.get("/{number}/thumbnail", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
async def thumbnail(
    service: TheService,
    number: ItemNumber,
    second: Annotated[float, Query(ge=0, le=1e7, allow_inf_nan=False, description="on the player's clock")] = 0.0,
    size: Annotated[int, Query(ge=32, le=1080, description="pixels of the shorter side, at most")] = 270,
) -> Response:
    """What an item shows at a second, as JPEG."""
    one = await anyio.to_thread.run_sync(service.items.item, number)
    picture = await service.thumbnails.get(one, second, size)
    return Response(picture, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})


@router.head("/{number}/media", include_in_schema=False)
@router.get("/{number}/media", response_class=Response)
async def media(
    request: Request,
    service: TheService,
    number: ItemNumber,
    range_: Annotated[str | None, Header(alias="range", max_length=100)] = None,
    if_range: Annotated[str | None, Header(max_length=100)] = None,
) -> Response:
    """The file of an item, or a range of its bytes."""
    one = await anyio.to_thread.run_sync(service.items.item, number)
    return await anyio.to_thread.run_sync(media_response, one, request.method, range_, if_range)
