"""Whom a library knows: `mmi-tvr people`, with the same JSON. Adding somebody by photos is the command line's.

Pictures of faces, and answers about people, are kept nowhere: neither here, nor by a browser (`no-store`, which every
answer says that does not say otherwise). A face is cut out of its film's picture, which any item has.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Annotated, TypeVar

import anyio
import numpy as np
from fastapi import APIRouter, Body, HTTPException, Path, Query
from fastapi.responses import Response
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from ..library.people import People
from ..report import face_crop
from .answers import JsonResponse, TheService
from .service import Service
from .thumbnails import encoded

router = APIRouter(prefix="/api/people", tags=["people"])
_SIDE = 480  # pixels of the shorter side of the picture that a face is cut out of
_MOST = 1000  # people, or sightings, of one change
Who = Annotated[str, Field(max_length=200, description="a name, or the number of somebody without one")]
SightingNumber = Annotated[int, Field(ge=0, le=2**53)]
Answer = TypeVar("Answer")


class _Change(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NameRequest(_Change):
    """Who somebody without a name is."""

    who: Who
    name: str = Field(max_length=200)


class MergeRequest(_Change):
    """Two who are one person; `who` keeps the name."""

    who: Who
    other: Who


class SplitRequest(_Change):
    """Sightings that are of somebody else, who has no name yet."""

    who: Who
    sightings: list[SightingNumber] = Field(min_length=1, max_length=_MOST)


class HideRequest(_Change):
    """People who are left out of lists, or with `undo` listed again."""

    who: list[Who] = Field(min_length=1, max_length=_MOST)
    undo: bool = False


class ForgetRequest(_Change):
    """One person, or `all`: everybody, and that faces were looked for."""

    who: Who | None = None
    all: bool = False
    prove: bool = False


@router.get("")
async def people(service: TheService, hidden: bool = False) -> JsonResponse:
    """Those with a name, and the groups of faces without one: the JSON of `mmi-tvr people list --json`."""
    named, unnamed = await _of_people(service, lambda known: known.listed(hidden))
    documents = {"people": named, "unnamed": unnamed}
    return JsonResponse({key: [person.as_dict() for person in persons] for key, persons in documents.items()})


@router.get("/sightings")
async def sightings(service: TheService, who: Annotated[str, Query(max_length=200)]) -> JsonResponse:
    """Where somebody is seen: the JSON of `mmi-tvr people list WHO --json`."""
    seen = await _of_people(service, lambda known: known.sightings(who))
    return JsonResponse({"sightings": [one.as_dict() for one in seen]})


@router.get("/sightings/{number}/face", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
async def face(service: TheService, number: Annotated[int, Path(ge=0, le=2**53)]) -> Response:
    """The face of a sighting, as JPEG."""
    seen = await _of_people(service, lambda known: known.sighting(number))
    if seen is None:
        raise HTTPException(404, f"no sighting has the number {number}")
    content, sighting = seen
    item = await anyio.to_thread.run_sync(service.items.item_of_content, content)
    picture = await service.thumbnails.get(item, sighting.time, _SIDE)

    def cut() -> bytes:
        with Image.open(io.BytesIO(picture)) as whole:
            return encoded(face_crop(np.asarray(whole), sighting.box))

    return Response(await anyio.to_thread.run_sync(cut), media_type="image/jpeg")


@router.post("/name")
async def name(service: TheService, body: Annotated[NameRequest, Body()]) -> JsonResponse:
    """Say who somebody without a name is; answers with the person."""
    return JsonResponse((await _of_people(service, lambda known: known.name(body.who, body.name))).as_dict())


@router.post("/merge")
async def merge(service: TheService, body: Annotated[MergeRequest, Body()]) -> JsonResponse:
    """Say that two are one person; answers with that one."""
    return JsonResponse((await _of_people(service, lambda known: known.merge(body.who, body.other))).as_dict())


@router.post("/split")
async def split(service: TheService, body: Annotated[SplitRequest, Body()]) -> JsonResponse:
    """Say that some sightings are of somebody else; answers with that one."""
    return JsonResponse((await _of_people(service, lambda known: known.split(body.who, body.sightings))).as_dict())


@router.post("/hide")
async def hide(service: TheService, body: Annotated[HideRequest, Body()]) -> JsonResponse:
    """Leave people out of lists: passers-by, faces on posters."""
    persons = await _of_people(service, lambda known: known.hide(body.who, not body.undo))
    return JsonResponse({"people": [person.as_dict() for person in persons]})


@router.post("/forget")
async def forget(service: TheService, body: Annotated[ForgetRequest, Body()]) -> JsonResponse:
    """Forget a person: name, faces, sightings, and the keys to all copies of them: the JSON of `people forget`."""
    who = body.who
    if (who is None) != body.all:
        raise HTTPException(400, "name one person (who), or all")
    forgotten = await _of_people(
        service, lambda known: known.forget_all(body.prove) if who is None else known.forget(who, body.prove)
    )
    return JsonResponse(forgotten.as_dict())


async def _of_people(service: Service, function: Callable[[People], Answer]) -> Answer:
    """Return the result of a function of the library's people, in its turn."""
    return await service.in_turn(lambda: function(People(service.library.path)))
