"""What is wrong with a pool, and what may be: for every door that shows it (`mmi-tvr prompts check`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, UsageError
from ..protocols import Model
from ..types import Query
from ..utils.wording import model_title
from . import pool as pools
from . import selection
from .clustering import similar_pairs
from .pool import Pool

SIMILAR = 0.7  # likeness from which two questions are pointed out
_MAX_PAIRS = 10  # pairs of similar questions that are named


def check_document(which: str | Path, model: Model | None, similar: float = SIMILAR) -> dict[str, Any]:
    """Return a pool's path, counts, problems and warnings (a documented contract: a pool of `prompts check --json`).

    Args:
        which: a file, or the name of a packaged pool.
        model: compares meanings; None: nobody does.
        similar: likeness from which two questions are pointed out, 0..1.
    """
    document: dict[str, Any] = {"path": str(which), "problems": [], "warnings": []}
    try:
        questions = pools.load(which)
        document |= {"path": str(questions.path), "about": questions.about}
        document |= {"questions": len(questions.questions), "enabled": len(questions.enabled)}
        warning = selection_warning(questions)
        if warning:
            document["warnings"].append(warning)
        if model is not None:
            document["warnings"] += _similar_warnings(questions, model, similar)
    except ConfigError as error:
        document["path"], document["problems"] = str(error).partition(": ")[0], list(error.problems)
    except UsageError as error:
        document["problems"] = [str(error)]
    return document


def selection_warning(questions: Pool) -> str | None:
    """Return why the questions should be chosen (again); None where the selection is current."""
    lock = selection.read(questions)
    if lock is None:
        return f"no questions are chosen yet; run: {selection.choose_command(questions)}"
    return selection.stale_reason(lock, questions)


def comparing_model(name: str | None = None) -> Model:
    """Return the model that compares meanings.

    Decision: the offline one where none is named, which reads sentences of many languages; a model that was trained on
    a few captions finds all other sentences alike.
    """
    from .. import models

    return models.make(models.section(name or models.FALLBACK))


def _similar_warnings(questions: Pool, model: Model, threshold: float) -> list[str]:
    """Return a line for each pair of enabled questions that mean nearly the same."""
    enabled = questions.enabled
    vectors = np.asarray(model.embed_queries([Query(question.text) for question in enabled]), dtype=np.float64)
    pairs = similar_pairs(vectors, threshold)
    warnings = []
    for first, second, cosine in pairs[:_MAX_PAIRS]:
        ids = f"{enabled[first].id} and {enabled[second].id}"
        texts = f"{enabled[first].text} / {enabled[second].text}"
        warnings.append(f"{ids} are nearly the same to {model_title(model)} ({cosine:.2f}): {texts}")
    if len(pairs) > _MAX_PAIRS:
        warnings.append(f"and {len(pairs) - _MAX_PAIRS} more such pairs")
    return warnings
