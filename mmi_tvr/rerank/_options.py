"""The options that all ways of re-ranking share, and what they do with the sections of who answers and judges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from .. import plugins
from ..config import RERANK_ROOMS, Section
from ..errors import UsageError
from ..plugins import BaseOptions
from ..protocols import AnsweringModel, Model
from ..utils.wording import model_title
from . import DEFAULT_JUDGE, DEFAULTS
from ._budget import BudgetOptions

_VERBS = {"answerer": "answer", "judge": "judge"}


class RerankOptions(BaseOptions):
    """Options of every way of re-ranking by a judge."""

    depth: int = Field(20, ge=1, description="how many of the best candidates are looked at, M")
    lambda_r: float = Field(0.6, ge=0, description="weight of the cosine")
    judge: Section = Field(
        Section(name=DEFAULT_JUDGE), description="who judges, and its options; default: the model that searches"
    )
    alpha: float = Field(
        1.0, ge=0, description="how much of what a judge says to videos whatever is asked is taken off; 0: not asked"
    )
    budget: BudgetOptions = Field(BudgetOptions(), description="the most that one query may spend")

    @model_validator(mode="before")
    @classmethod
    def _default_names(cls, values: Any) -> Any:
        """`{answerer: {batch: 8}}` is about the default answerer; the same of the judge."""
        if not isinstance(values, dict):
            return values
        sections = {key: {"name": name, **values[key]} for key, name in DEFAULTS.items() if _is_section(values, key)}
        return {**values, **sections}

    @model_validator(mode="after")
    def _known_sections(self) -> RerankOptions:
        for part, section in self.sections.items():
            try:
                plugins.options(RERANK_ROOMS[part], section.name, section.options)
            except UsageError as error:
                raise ValueError(str(error)) from error
        return self

    @property
    def sections(self) -> dict[str, Section]:
        """Who answers and who judges, as far as this way of re-ranking needs them."""
        return {"judge": self.judge}


def _is_section(values: Mapping[str, Any], key: str) -> bool:
    return isinstance(values.get(key), dict)


def require_language(options: RerankOptions, model: Model) -> None:
    """Raise UsageError, with what to do, where the model that searches is to answer or to judge and has no language."""
    if isinstance(model, AnsweringModel):
        return
    missing = [part for part, section in options.sections.items() if _means_searching_model(part, section)]
    if not missing:
        return
    verbs = " and ".join(_VERBS[part] for part in missing)
    names, urls = (
        " ".join(f"--set rerank.{part}.{option}" for part in missing) for option in ("name=openai", "base_url=URL")
    )
    raise UsageError(
        f"{model_title(model)} has no language model to re-rank with: search without --rerank; or let a server "
        f"{verbs}, with {names}, and {urls} where it is not http://127.0.0.1:8000/v1; or index with a model that has "
        "one: mmi-tvr index DIR --model moving-shapes --rebuild"
    )


def _means_searching_model(part: str, section: Section) -> bool:
    return section.name == DEFAULTS[part] and not section.options.get("weights")
