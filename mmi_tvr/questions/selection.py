"""The questions of a pool that are asked: clusters and the chosen questions in a lock file, and whether it is current.

text.yaml               the pool
text.lock.yaml          the selection from it; never edited by hand
text.lock.yaml.bak      the selection before that
"""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ..errors import ConfigError, StaleSelection, UsageError
from ..utils.files import write_atomically
from ..utils.wording import library_option
from .clustering import Clustering
from .pool import FOLDER, About, Pool, PoolQuestion, is_packaged

Rule = Literal["closest", "first_satisfying", "argmin"]
BACKUP = ".bak"  # behind the name of a file, of the file as it was
_HEADER = "# Made by `mmi-tvr prompts choose` from {pool}; run that again instead of editing this.\n"


@dataclass(frozen=True, slots=True)
class QuestionCluster:
    """One cluster: ids with their distance to its centre, the closest first, and the one that was chosen."""

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
        """The ids of the questions that are asked, in the order of the clusters."""
        return tuple(cluster.chosen for cluster in self.clusters)


def from_clustering(
    pool: Pool,
    clustering: Clustering,
    chosen: Sequence[str] | None = None,
    *,
    model: str,
    fingerprint: str,
    rule: Rule = "closest",
    seed: int = 0,
) -> Selection:
    """Return the selection that a clustering of `pool.enabled` gives.

    Args:
        pool: the pool.
        clustering: of its enabled questions, in their order.
        chosen: the id of each cluster's chosen question; default: those closest to the centres.
        model: spelling of the model that embedded the questions.
        fingerprint: of that model.
        rule: by which the questions were chosen.
        seed: of the clustering.
    """
    enabled = pool.enabled
    ids = chosen or [enabled[number].id for number in clustering.closest()]
    clusters = []
    for number, members in enumerate(clustering.groups()):
        distances = {enabled[member].id: float(clustering.distances[member]) for member in members}
        clusters.append(QuestionCluster(ids[number], distances))
    return Selection(
        about=pool.about,
        pool=pool.digest(),
        model=model,
        fingerprint=fingerprint,
        rule=rule,
        k=clustering.k,
        seed=seed,
        stability=clustering.stability,
        silhouettes=dict(clustering.silhouettes),
        clusters=tuple(clusters),
    )


def lock_path(pool: Path) -> Path:
    """Return the lock file of a pool's file."""
    return pool.with_name(f"{pool.stem}.lock.yaml")


def read(pool: Pool) -> Selection | None:
    """Return the selection in the pool's lock file; None without one. Raises ConfigError where it cannot be read."""
    path = lock_path(pool.path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [f"not a text file in UTF-8; make it again: {choose_command(pool)}"]) from error
    try:
        selection = TypeAdapter(Selection).validate_python(yaml.safe_load(text))
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(str(path), [f"not readable as YAML; make it again: {choose_command(pool)}"]) from error
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}" for item in error.errors()]
        raise ConfigError(str(path), [*problems, f"make it again: {choose_command(pool)}"]) from error
    if selection.about != pool.about:
        raise ConfigError(
            str(path), [f"about {selection.about}, and the pool is about {pool.about}: {choose_command(pool)}"]
        )
    return selection


def write(selection: Selection, pool: Pool) -> Path:
    """Write the pool's lock file, whole or not at all, and return its path; a former one is kept beside it as *.bak."""
    path = lock_path(pool.path)
    values: dict[str, Any] = asdict(selection)
    values["clusters"] = [asdict(cluster) for cluster in selection.clusters]
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1 << 16)
    content = (_HEADER.format(pool=pool.path.name) + text).encode()
    if path.is_file() and (former := path.read_bytes()) != content:
        write_atomically(path.with_name(path.name + BACKUP), former)
    write_atomically(path, content)
    return path


def stale_reason(selection: Selection, pool: Pool, fingerprint: str | None = None) -> str | None:
    """Return why the selection would be another one if it were made now; None where it is current.

    fingerprint: of the model that searches; None where that does not matter, and of a packaged choice, which goes with
    every model (decision).
    """
    if selection.pool != pool.digest():
        return f"questions of {pool.path} have changed since they were chosen; choose again: {choose_command(pool)}"
    if fingerprint is not None and selection.fingerprint != fingerprint and not is_packaged(pool.path):
        return f"the questions were chosen with another model ({selection.model}); choose again: {choose_command(pool)}"
    return None


def warn_if_stale(pool: Pool, fingerprint: str | None = None) -> None:
    """Warn (StaleSelection) where the pool's questions should be chosen again; the arguments are `stale_reason`'s."""
    selection = read(pool)
    if selection is not None and (reason := stale_reason(selection, pool, fingerprint)):
        warnings.warn(StaleSelection(reason), stacklevel=2)


def selected_questions(pool: Pool) -> tuple[PoolQuestion, ...]:
    """Return the chosen questions that are still enabled, in the order of the lock file.

    Raises UsageError, with the command to run, where none were chosen or none of them is enabled any more.
    """
    selection = read(pool)
    if selection is None:
        raise UsageError(f"{pool.path}: no questions are chosen yet; run: {choose_command(pool)}")
    enabled = {question.id: question for question in pool.enabled}
    questions = tuple(enabled[id] for id in selection.chosen if id in enabled)
    if not questions:
        raise UsageError(f"{pool.path}: none of the chosen questions is enabled any more; run: {choose_command(pool)}")
    return questions


def chosen_ids(pool: Pool) -> tuple[str, ...]:
    """Return the ids that are asked now; none where nothing was chosen."""
    lock = read(pool)
    if lock is None:
        return ()
    return tuple(id for id in lock.chosen if id in pool and pool[id].enabled)


def question_document(question: PoolQuestion, chosen: Collection[str]) -> dict[str, Any]:
    """Return a question as plain values for JSON (a documented contract: `mmi-tvr prompts list --json`)."""
    return {**asdict(question), "chosen": question.id in chosen}


def choose_command(pool: Pool) -> str:
    """Return the command that chooses the questions of a pool."""
    if is_packaged(pool.path):
        return f"mmi-tvr prompts choose --about {pool.about}"
    folder = pool.path.parent
    if folder.name == FOLDER and pool.path.name == f"{pool.about}.yaml":
        return f"mmi-tvr prompts choose --about {pool.about} {library_option(folder.parent)}"
    return f"mmi-tvr prompts choose --pool {shlex.quote(str(pool.path))}"


def cluster_list(pool: Pool, selection: Selection) -> str:
    """Return the clusters with their questions, the closest to the centre first; * is chosen."""
    lines = []
    for number, cluster in enumerate(selection.clusters, 1):
        lines.append(f"cluster {number}")
        for id, distance in cluster.questions.items():
            mark = "*" if id == cluster.chosen else " "
            lines.append(f"{mark} {id:<5} {distance:6.3f}  {pool[id].text}")
    return "\n".join(lines)
