"""Parameters of an address that a model reads at once.

FastAPI reads the parameters of a model one by one, each with a look at its type: with as many as a search has, that
takes longer than the search itself where its result is kept.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, get_origin

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

AnyParameters = TypeVar("AnyParameters", bound=BaseModel)


def read_parameters(request: Request, model: type[AnyParameters]) -> AnyParameters:
    """Return what the address of a request says, as a model has it; of one that stands there twice, the last holds.

    Raises RequestValidationError.
    """
    sent: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in _lists(model):
            sent.setdefault(name, []).append(value)
        else:
            sent[name] = value
    try:
        return model.model_validate(sent)
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("query", *one["loc"])} for one in error.errors()]) from error


def described(model: type[BaseModel]) -> dict[str, Any]:
    """Return how OpenAPI describes the parameters of a model (`openapi_extra` of a route)."""
    parameters = []
    for name, schema in model.model_json_schema()["properties"].items():
        parameter = {"name": name, "in": "query", "required": False, "schema": schema}
        parameters.append(parameter | {key: schema[key] for key in ("description",) if key in schema})
    return {"parameters": parameters}


@cache
def _lists(model: type[BaseModel]) -> frozenset[str]:
    """Return the names of the parameters that may stand there several times."""
    return frozenset(name for name, field in model.model_fields.items() if get_origin(field.annotation) is list)
