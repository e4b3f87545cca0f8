"""Shared by the `prompts` commands that ask questions: options of the answerer, and the videos they are tried on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import config, models, plugins
from ..config import Section, Settings
from ..library import library_model
from ..protocols import Answerer, KeyImageMethod, Model, ModelNamingAnswerer
from ..rerank import DEFAULT_ANSWERER, rerank_section
from ..types import Sample
from ..utils import array_cache
from ..utils.progress import Progress
from ..utils.wording import counted
from ._console import chosen_model

if TYPE_CHECKING:
    from ..questions.examples import Example

GENERATED_DATA = "moving_shapes"

AnswererOption = Annotated[str, typer.Option("--answerer", help="who answers: transformers, vllm, openai or fake")]
AnswererSetOption = Annotated[
    list[str] | None, typer.Option("--answerer-set", metavar="A=B", help="change one option of the answerer")
]
DataOption = Annotated[
    str, typer.Option("--data", metavar="TARGET", help="moving_shapes, or a folder with a table of captions")
]


@dataclass(frozen=True)
class AnsweringSetup:
    """The model that embeds, with its section of the settings, and the answerer."""

    section: Section
    model: Model
    answerer: Answerer

    @property
    def origin(self) -> str:
        """The answerer's name and, where it says so, the model that answers: for the provenance of a question."""
        answering_model = None
        if isinstance(self.answerer, ModelNamingAnswerer):
            answering_model = self.answerer.answering_model(models.spelled(self.section))
        return f"{self.answerer.name}: {answering_model}" if answering_model else self.answerer.name

    def examples(self, samples: Sequence[Sample], progress: Progress) -> list[Example]:
        """Return examples of the samples whose videos can be used; prints how many cannot."""
        from ..features.cache import FeatureCache
        from ..questions.examples import prepare_examples

        progress.begin("videos", len(samples))
        cache = FeatureCache(array_cache.folder() / "features")
        examples = prepare_examples(samples, self.model, self._key_image_method(), cache, progress.advance)
        if len(examples) < len(samples):
            progress.say(
                f"left out, because they cannot be used: "
                f"{len(samples) - len(examples)} of {counted(len(samples), 'video')}"
            )
        return examples

    def _key_image_method(self) -> KeyImageMethod:
        section = models.key_images(self.section) or Settings().keyimages
        method: KeyImageMethod = plugins.build("keyimages", section.name, section.options)
        return method


def load_model(name: str | None, download: bool, library: Path | None = None) -> tuple[Section, Model]:
    """Return the model of --model, else that of the library, else the best there is; with its section of the
    settings."""
    section = chosen_model(name, Settings(), download)
    if section is None and library is not None:
        section = library_model(library)
    section = models.resolve(section or Section())
    return section, models.make(section)


def answering_setup(
    model_name: str | None,
    download: bool,
    answerer_name: str,
    changes: Sequence[str] | None,
    defaults: Mapping[str, Any] | None = None,
    library: Path | None = None,
) -> AnsweringSetup:
    """Return the model and the answerer.

    Args:
        model_name: as --model gives it.
        download: whether the model's checkpoints are fetched.
        answerer_name: a module of `answerers/`.
        changes: NAME=VALUE, options of the answerer.
        defaults: options of the answerer where it has them and `changes` does not set them.
        library: whose model is taken where none is named.
    """
    module = plugins.load("answerers", answerer_name)
    options = config.read(module.Options, None, changes or ())
    command_defaults = {
        name: value
        for name, value in (defaults or {}).items()
        if name in module.Options.model_fields and name not in options.model_fields_set
    }
    section, model = load_model(model_name, download, library)
    carried = dict(rerank_section(None, model).options.get("answerer", {}))  # as the model came
    if carried.pop("name", DEFAULT_ANSWERER) == answerer_name:
        options = module.Options(**config.merge(carried, options.model_dump(exclude_unset=True)))
    options = options.model_copy(update=command_defaults)
    answerer: Answerer = module.build(options, device=Settings().device, model=model)
    return AnsweringSetup(section, model, answerer)


def load_samples(data: str, split: str, limit: int, progress: Progress) -> list[Sample]:
    """Return at most `limit` samples with a caption.

    They are the first of the generated split, or evenly spread over a folder's table.
    """
    if data == GENERATED_DATA and not Path(data).is_dir():
        dataset = plugins.build("datasets", GENERATED_DATA, {"split": split, "captions": 1, "count": limit})
        progress.begin("rendering", len(dataset.pending()))
        dataset.generate(advance=progress.advance)
        return list(dataset.samples())
    samples = plugins.build("datasets", "folder", {"root": data}).samples()
    step = max(1, len(samples) // limit)
    return list(samples[::step][:limit])
