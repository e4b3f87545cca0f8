"""The question pools of a library: listed, edited, checked, grouped, chosen anew, and what an edit does to a ranking.

Edits go into the library's own pools alone; the packaged ones are copied there first. All edits of a request are tried
on a copy, and take its place together or not at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import numpy as np
from fastapi import APIRouter, Body, Query, Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from .. import models
from ..errors import LibraryReadOnly, UsageError
from ..library import editable_pool, library_model, own_pool, pool_drafts, pools_folder
from ..protocols import Model
from ..queries import checked_query
from ..questions import checking, clustering, editing, plots, pool, selection
from ..questions.pool import About, Pool, PoolQuestion
from ..types import Query as SearchQuery
from .answers import JsonResponse, TheService
from .service import Service

router = APIRouter(prefix="/api/pools", tags=["pools"])
_MOST = 100  # edits of a request
_writing = threading.Lock()  # an edit reads a file, and writes it
Text = Annotated[str, Field(max_length=pool.MAX_LENGTH)]


class PoolEdit(BaseModel):
    """A question that is added (`text`, `kind`), changed (`id`, and what is to be other), or removed (`id`)."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["add", "change", "remove"]
    id: str | None = Field(None, max_length=40)
    text: Text | None = None
    kind: str | None = Field(None, max_length=40)
    note: Text | None = None
    language: str | None = Field(None, max_length=40)
    enabled: bool | None = None


class EditRequest(BaseModel):
    """Edits of one of the two pools."""

    model_config = ConfigDict(extra="forbid")

    about: About
    edits: list[PoolEdit] = Field(min_length=1, max_length=_MOST)


class ChooseRequest(BaseModel):
    """One question is chosen of each of so many groups; None: as many as before, or else those with the best
    silhouette."""

    model_config = ConfigDict(extra="forbid")

    about: About
    groups: int | None = Field(None, ge=1, le=50)


class CompareRequest(BaseModel):
    """A query, and edits whose effect on its ranking is of interest; `choose`: the questions are chosen anew, too."""

    model_config = ConfigDict(extra="forbid")

    query: str
    about: About
    edits: list[PoolEdit] = Field(default=[], max_length=_MOST)
    choose: bool = False
    top: int = Field(10, ge=1, le=50)


@router.get("")
async def pools(service: TheService) -> JsonResponse:
    """The questions that are asked of texts and videos: the JSON of `mmi-tvr prompts list --json`."""
    return JsonResponse(await anyio.to_thread.run_sync(lambda: _documents(service.library.path)))


@router.get("/check")
async def check(service: TheService, similar: bool = False) -> JsonResponse:
    """What is wrong with the pools: the JSON of `mmi-tvr prompts check --json`. `similar`: compare meanings, too."""

    def checked() -> dict[str, Any]:
        model = checking.comparing_model() if similar else None
        files = pool.in_folder(pools_folder(service.library.path)).values()
        documents = [checking.check_document(file, model) for file in files]
        return {"ok": not any(document["problems"] for document in documents), "pools": documents}

    return JsonResponse(await service.in_turn(checked))


@router.get("/groups")
async def groups(service: TheService, about: Annotated[About, Query()] = "text") -> JsonResponse:
    """The groups that the questions were chosen from, with a place in the plane for each enabled question."""

    def drawn(model: Model) -> dict[str, Any]:
        questions = own_pool(service.library.path, about)
        lock = selection.read(questions)
        if lock is None:
            raise UsageError(f"{questions.path}: no questions are chosen yet")
        places = plots.in_two_dimensions(_vectors(questions, model))
        group_of = {id: number for number, group in enumerate(lock.clusters) for id in group.questions}
        points = [
            {"id": one.id, "group": group_of.get(one.id), "chosen": one.id in lock.chosen, "x": x, "y": y}
            for one, (x, y) in zip(questions.enabled, places.tolist(), strict=True)
        ]
        return {"about": about, "groups": lock.k, "stale": selection.stale_reason(lock, questions), "points": points}

    return JsonResponse(await service.in_turn(lambda: service.library.with_model(drawn)))


@router.post("/edit")
async def edit(service: TheService, body: Annotated[EditRequest, Body()]) -> JsonResponse:
    """Edit the library's own pool; answers with its questions, and whether they should be chosen anew."""

    def write() -> dict[str, Any]:
        library = service.library.path
        with _writing, pool_drafts(library) as drafts:
            edited = _edited(drafts / f"{body.about}.yaml", body.edits)
            path = _written(library, lambda: editable_pool(library, body.about))
            _written(library, lambda: editing.put(path, edited))
        questions = pool.load(path)
        return {
            "pool": str(path),
            body.about: _questions(questions),
            "warning": checking.selection_warning(questions),
        }

    await _library_there(service)
    return JsonResponse(await service.in_turn(write))


@router.post("/choose")
async def choose(service: TheService, body: Annotated[ChooseRequest, Body()]) -> JsonResponse:
    """Choose the questions anew (rule `closest`), with the library's model: the lock file beside the library's pool."""

    def write(model: Model) -> dict[str, Any]:
        library = service.library.path
        with _writing:
            path = _written(library, lambda: editable_pool(library, body.about))
            questions = pool.load(path)
            chosen = _choice(questions, model, library, body.groups)
            _written(library, lambda: selection.write(chosen, questions))
        return {"pool": str(path), body.about: _questions(questions), "groups": chosen.k}

    return JsonResponse(await service.in_turn(lambda: service.library.with_model(write)))


@router.post("/compare")
async def compare(request: Request, service: TheService, body: Annotated[CompareRequest, Body()]) -> JsonResponse:
    """The re-ranked hits of a query with the pools as they are, and with edits; nothing is written but new answers."""
    query = checked_query(SearchQuery(body.query))
    options = {"top": body.top, "min_relevance": 0.0, "rerank": True}
    await _library_there(service)
    with ExitStack() as stack:
        drafts = await service.in_turn(lambda: stack.enter_context(pool_drafts(service.library.path)))
        file = drafts / f"{body.about}.yaml"

        def edited() -> dict[str, Any]:
            before = _chosen(file)
            _edited(file, body.edits)
            if body.choose:
                service.library.with_model(choose_again)
            return {"before": before, "after": _chosen(file)}

        def choose_again(model: Model) -> None:
            questions = pool.load(file)
            selection.write(_choice(questions, model, service.library.path), questions)

        chosen = await service.in_turn(edited)
        before = await service.search(request, query, options)
        after = await service.search(request, query, {**options, "pools": drafts})
    return JsonResponse({"about": body.about, "asked": chosen, "before": before.as_dict(), "after": after.as_dict()})


def _documents(library: Path) -> dict[str, list[dict[str, Any]]]:
    return {about: _questions(own_pool(library, about)) for about in pool.ABOUT}


def _questions(questions: Pool) -> list[dict[str, Any]]:
    chosen = selection.chosen_ids(questions)
    return [selection.question_document(question, chosen) for question in questions.questions]


def _chosen(file: Path) -> list[dict[str, str]]:
    """Return the questions of a pool that are asked, by id and text."""
    return [{"id": question.id, "text": question.text} for question in selection.selected_questions(pool.load(file))]


def _edited(file: Path, edits: Sequence[PoolEdit]) -> str:
    """Carry out edits on a pool's file, and return its text. Raises UsageError where the result would be no pool."""
    for one in edits:
        values = one.model_dump(exclude={"action", "id"}, exclude_none=True)
        if one.action == "add":
            if one.id is not None or not one.text or not one.kind:
                raise UsageError("a question that is added has a text and a kind; its id is given to it")
            editing.add(file, [PoolQuestion(editing.free_id(pool.load(file)), **values)])
        elif one.id is None or (not values) != (one.action == "remove"):
            raise UsageError("name the question (id), and what is to be other of one that is changed")
        elif one.action == "change":
            editing.change(file, [one.id], values)
        else:
            editing.remove(file, [one.id])
    return pool.read_text(file)


def _choice(questions: Pool, model: Model, library: Path, groups: int | None = None) -> selection.Selection:
    """Return a choice of one question of each group. Decision: as many groups as before, so that an edit is compared
    with the choice that there is."""
    section, lock = library_model(library), selection.read(questions)
    if groups is None and lock is not None:
        groups = min(lock.k, len(questions.enabled))
    return selection.from_clustering(
        questions,
        clustering.cluster(_vectors(questions, model), groups),
        model=models.spelled(section) if section else model.name,
        fingerprint=model.fingerprint(),
    )


def _vectors(questions: Pool, model: Model) -> NDArray[np.float64]:
    return clustering.question_vectors([question.text for question in questions.enabled], model)


def _written(library: Path, write: Callable[[], Path]) -> Path:
    """Return what a function that writes into the library returns. Raises LibraryReadOnly where nothing can be written
    there."""
    try:
        return write()
    except OSError as error:
        raise LibraryReadOnly(library, error.strerror or str(error)) from error


async def _library_there(service: Service) -> None:
    """Raise LibraryMissing where there is no library (yet): its folder is not for us to make."""
    await service.in_turn(service.overview.status)
