"""A short list of checkpoints worth downloading, the first choice of `auto` at the top."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError

RECOMMENDED = "recommended"


@dataclass(frozen=True, slots=True)
class CuratedModel:
    """A checkpoint on the hub, and what a person wants to know before fetching it.

    `revision` is where its weights lie as safetensors: a repository may have them in a pull request of the hub's own
    converter alone. Nothing but safetensors is ever loaded.
    """

    name: str
    repository: str
    size: int  # bytes, rounded; what is fetched says its own size
    languages: str
    licence: str
    strength: str
    revision: str = "main"


# Decision: many languages before one, because a query in a language that a model does not know is answered at random.
CURATED = (
    CuratedModel(
        "siglip2-base",
        "google/siglip2-base-patch16-224",
        1_540_000_000,
        "about 100",
        "Apache-2.0",
        "the default for most: best English of these, and many languages",
    ),
    CuratedModel(
        "metaclip2-b32",
        "facebook/metaclip-2-worldwide-b32",
        2_400_000_000,
        "300 and more",
        "CC-BY-NC-4.0 (not for commercial use)",
        "languages that few others know; fast on a CPU, large on disk",
    ),
    CuratedModel(
        "clip-b32",
        "openai/clip-vit-base-patch32",
        610_000_000,
        "English",
        "MIT",
        "small and fast: old laptops, and comparison with papers",
        "refs/pr/15",
    ),
    CuratedModel(
        "chinese-clip-b16",
        "OFA-Sys/chinese-clip-vit-base-patch16",
        755_000_000,
        "Chinese",
        "MIT",
        "Chinese queries, and things that are Chinese",
        "refs/pr/1",
    ),
)


def find(name: str) -> CuratedModel | None:
    """Return the curated model of this name, or of this hub name; None where it is none."""
    if name == RECOMMENDED:
        return CURATED[0]
    return next((model for model in CURATED if name in (model.name, model.repository)), None)


def repository(name: str) -> str:
    """Return the hub name that a short name, `recommended` or a hub name means. UsageError for any other word.

    >>> repository("recommended"), repository("someone/model")
    ('google/siglip2-base-patch16-224', 'someone/model')
    """
    if model := find(name):
        return model.repository
    if name.count("/") != 1:
        known = ", ".join((RECOMMENDED, *(model.name for model in CURATED)))
        raise UsageError(f"no curated model is called {name!r}; there are: {known}, and any hub name (owner/model)")
    return name


def revision(name: str) -> str:
    """Return the revision at which the safetensors of a hub name are known to lie.

    >>> revision("openai/clip-vit-base-patch32"), revision("someone/model")
    ('refs/pr/15', 'main')
    """
    model = find(name)
    return model.revision if model else "main"
