"""Which questions of a pool are asked: clusters and choice in a lock file beside it, and whether that is still current.

prompts/text.yaml          the pool
prompts/text.lock.yaml     made from it; never edited by hand
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ..errors import ConfigError, UsageError
from ..utils.files import write_atomically
from .clustering import Clustering
from .pool import About, Pool, PoolQuestion

Rule = Literal["closest", "first_satisfying", "argmin"]
_HEAD = "# Made by `mmi-tvr prompts choose` from {pool}; run that again instead of editing this.\n"


@dataclass(frozen=True, slots=True)
class QuestionCluster:
    """A cluster: ids with their distance to its centre, the closest first, and the one that was chosen."""

    chosen: str
    questions: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a lock file says. `pool` is the digest of the pool, `fingerprint` that of the `model` that embedded it."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    about: About
    pool: str
    model: str
    fingerprint: str
    rule: Rule
    k: int
    seed: int
    stability: float
    silhouettes: Mapping[int, float]
    clusters: tuple[QuestionCluster, ...] = Field(min_length=1)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The ids that are asked, in the order of the clusters."""
        return tuple(group.chosen for group in self.clusters)


def from_clustering(
    pool: Pool,
    found: Clustering,
    chosen: Sequence[str] | None = None,
    *,
    model: str,
    fingerprint: str,
    rule: Rule = "closest",
    seed: int = 0,
) -> Selection:
    """The choice that a clustering of `pool.enabled` gives: the `chosen` id of each cluster, or those closest to its
    centre."""
    asked = pool.enabled
    groups = []
    for at, members in enumerate(found.groups()):
        distances = {asked[each].id: float(found.distances[each]) for each in members}
        groups.append(QuestionCluster(chosen[at] if chosen else asked[members[0]].id, distances))
    return Selection(
        about=pool.about,
        pool=pool.digest(),
        model=model,
        fingerprint=fingerprint,
        rule=rule,
        k=found.k,
        seed=seed,
        stability=found.stability,
        silhouettes=dict(found.silhouettes),
        clusters=tuple(groups),
    )


def lock_path(pool: Path) -> Path:
    """The lock file of a pool's file."""
    return pool.with_name(f"{pool.stem}.lock.yaml")


def read(pool: Pool) -> Selection | None:
    """The choice that lies beside the pool; None where none was made. ConfigError where it cannot be read."""
    path = lock_path(pool.path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [f"not a text file in UTF-8; make it again: {choose_command(pool)}"]) from error
    try:
        found = TypeAdapter(Selection).validate_python(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigError(str(path), [f"not readable as YAML; make it again: {choose_command(pool)}"]) from error
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}" for each in error.errors()]
        raise ConfigError(str(path), [*problems, f"make it again: {choose_command(pool)}"]) from error
    if found.about != pool.about:
        raise ConfigError(
            str(path), [f"about {found.about}, and the pool is about {pool.about}: {choose_command(pool)}"]
        )
    return found


def write(choice: Selection, pool: Pool) -> Path:
    """Write the lock file beside the pool, whole or not at all."""
    path = lock_path(pool.path)
    values: dict[str, Any] = asdict(choice)
    values["clusters"] = [asdict(group) for group in choice.clusters]
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1 << 16)
    write_atomically(path, (_HEAD.format(pool=pool.path.name) + text).encode())
    return path


def stale_reason(choice: Selection, pool: Pool, fingerprint: str | None = None) -> str | None:
    """Why the choice is no longer what it would be if it were made now; None where it is current.

    fingerprint: of the model that would embed the questions; None where that does not matter.
    """
    if choice.pool != pool.digest():
        return f"questions of {pool.path} have changed since they were chosen; choose again: {choose_command(pool)}"
    if fingerprint is not None and choice.fingerprint != fingerprint:
        return f"the questions were chosen with another model ({choice.model}); choose again: {choose_command(pool)}"
    return None


def selected_questions(pool: Pool) -> tuple[PoolQuestion, ...]:
    """The chosen questions that are still enabled, in the order of the lock file.

    UsageError, with the command to run, where no choice was made or nothing of it is left.
    """
    found = read(pool)
    if found is None:
        raise UsageError(f"{pool.path}: no questions are chosen yet; run: {choose_command(pool)}")
    enabled = {question.id: question for question in pool.enabled}
    left = tuple(enabled[id] for id in found.chosen if id in enabled)
    if not left:
        raise UsageError(f"{pool.path}: none of the chosen questions is enabled any more; run: {choose_command(pool)}")
    return left


def choose_command(pool: Pool) -> str:
    """What makes the choice of a pool."""
    usual = pool.path.name == f"{pool.about}.yaml" and pool.path.parent.name == "prompts"
    return f"mmi-tvr prompts choose {f'--about {pool.about}' if usual else f'--pool {pool.path}'}"
