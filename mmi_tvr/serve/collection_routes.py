"""The collection: how far it is, what it shows, what is asked of it; and bringing it up to date."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, HTTPException
from pydantic import BaseModel, ConfigDict

from .answers import JsonResponse, TheService

router = APIRouter(prefix="/api", tags=["collection"])


class IndexRequest(BaseModel):
    """How the library is brought up to date. Which folders belong to it, the command line says."""

    model_config = ConfigDict(extra="forbid")

    retry: bool = False


@router.get("/status")
async def status(service: TheService) -> JsonResponse:
    """What is in the library: the JSON of `mmi-tvr status --json`."""
    return JsonResponse((await service.in_turn(service.overview.status)).as_dict())


@router.get("/facets")
async def facets(service: TheService) -> JsonResponse:
    """What the videos show, as classes that a search can be restricted to: the JSON of `mmi-tvr facets --json`."""
    return JsonResponse((await service.in_turn(service.library.facets)).as_dict())


@router.get("/index")
async def indexing(service: TheService) -> JsonResponse:
    """How far the indexing run of this service is."""
    return JsonResponse(service.indexing.as_dict())


@router.post("/index", status_code=202)
async def index(service: TheService, body: Annotated[IndexRequest, Body()] = IndexRequest()) -> JsonResponse:  # noqa: B008
    """Bring the library up to date with its folders."""
    if not service.library.exists:
        await service.in_turn(service.overview.status)  # says that there is none
    if not service.indexing.start(body.retry):
        raise HTTPException(409, "it is being indexed already")
    return JsonResponse(service.indexing.as_dict(), 202)


@router.post("/index/pause", status_code=202)
async def pause(service: TheService) -> JsonResponse:
    """Have the run end at its next step; nothing is lost."""
    if not service.indexing.pause():
        raise HTTPException(409, "nothing is being indexed")
    return JsonResponse(service.indexing.as_dict(), 202)


@router.post("/index/resume", status_code=202)
async def resume(service: TheService) -> JsonResponse:
    """Go on where a paused run ended."""
    if not service.indexing.start():
        raise HTTPException(409, "it is being indexed already")
    return JsonResponse(service.indexing.as_dict(), 202)
