"""Retrieval models (`mmi_tvr.protocols.Model`). One file, or one package, per system."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import config, plugins
from ..config import AUTO, CommonSettings, Section, contradictions, merge
from ..encoders import curated, hub
from ..errors import ModelNotFound, UsageError
from ..protocols import (
    AblatedModule,
    AutomaticModule,
    AvailableModule,
    CheckpointModule,
    Model,
    TrainableModel,
    TrainableModule,
)
from ..types import PRECOMPUTED, Availability, Variant
from ..utils import environment
from ..utils.loading import LOADING
from ._facets import FACETS, write_facets
from ._folder import (
    SETTINGS,
    ModelSettings,
    TrainedOptions,
    checkpoint_options,
    find,
    get_option,
    local_folder,
    read,
    read_resolved,
    set_option,
    settings_file,
    settings_names,
    write,
)

__all__ = [
    "FACETS",
    "FALLBACK",
    "SETTINGS",
    "ModelSettings",
    "TrainedOptions",
    "availability",
    "bundled",
    "changed",
    "checkpoint_options",
    "checkpoints",
    "find",
    "get_option",
    "key_images",
    "key_images_by",
    "local",
    "local_folder",
    "make",
    "overrides",
    "read",
    "read_resolved",
    "resolve",
    "section",
    "set_option",
    "settings_file",
    "spelled",
    "summary",
    "trainable",
    "trained_files",
    "trained_places",
    "trained_section",
    "variants",
    "with_settings",
    "write",
    "write_facets",
]

FALLBACK = "label_bridge"
WEIGHTS = "weights"  # the option of a model that can be trained that names a model folder


def section(text: str) -> Section:
    """Return what `--model TEXT` means: NAME, NAME:CHECKPOINT, or a checkpoint alone.

    A checkpoint is a bundled or local model's name, a model folder (or its hub name, once it is in the local cache), a
    name of `encoders.curated`, or a checkpoint that a model says it reads (`CheckpointModule.reads_checkpoint`).

    >>> section("clip4clip:openai/clip-vit-base-patch32").options
    {'checkpoint': 'openai/clip-vit-base-patch32'}
    >>> section("moving-shapes").options, section("chinese-clip-b16").options
    ({'weights': 'moving-shapes'}, {'checkpoint': 'OFA-Sys/chinese-clip-vit-base-patch16'})
    """
    listed = curated.find(text)
    text = listed.repository if listed else text
    name, colon, checkpoint = text.partition(":")
    if text == AUTO:
        return Section(name=text)
    if name in plugins.names("models"):
        return _with_checkpoint(name, checkpoint) if colon else Section(name=name)
    if text in _trained_names() or settings_file(Path(text)) or _trained_in_cache(text):
        return trained_section(text)
    if "/" in text or Path(text).is_dir():
        for reader in plugins.names("models"):
            module = plugins.load("models", reader) if plugins.origin("models", reader) is None else None
            if isinstance(module, CheckpointModule) and module.reads_checkpoint(text):
                return _with_checkpoint(reader, text)
    known = ", ".join((*plugins.names("models"), *_trained_names()))
    raise UsageError(f"no model is called {text!r}; there are: {known}, auto, or a checkpoint's folder or hub name")


def trained_section(weights: str) -> Section:
    """Return the section of a model folder, a bundled model's name, or the hub name of one in the local cache."""
    name = read(find(weights)).name
    if name not in plugins.names("models"):
        known = ", ".join(plugins.names("models"))
        raise UsageError(f"{weights}: trained as the model {name!r}, which is not installed here; there are: {known}")
    return Section(name=name, **{WEIGHTS: weights})


def changed(named: Section, settings: Section) -> Section:
    """Return a model that was named, as by --model, with the options that settings give it besides.

    >>> changed(section("moving-shapes"), Section(moment_head=None)).options
    {'weights': 'moving-shapes', 'moment_head': None}

    Args:
        named: which model.
        settings: the section `model` of settings, which names the same model or none.

    Raises:
        UsageError: the settings name another model or checkpoint, or an option that this model has not.
    """
    present, requested = _without_auto(named), _without_auto(settings)
    for key, value, other in contradictions(present, requested):
        first, second = (config.overrides("model", {key: one})[0] for one in (value, other))
        raise UsageError(f"{spelled(named)} means {first}, and the settings say {second}: give one of the two")
    both = Section(**merge({"name": AUTO, **present}, requested))
    if settings.options and both.name != AUTO:
        plugins.options("models", both.name, both.options)
    return both


def with_settings(model: Section | None, settings: Section) -> Section:
    """Return the model of an argument, which goes before one that settings name; where these name none, their options
    change it (`changed`)."""
    if model is None:
        return settings
    return changed(model, settings) if settings.name == AUTO else model


def resolve(chosen: Section) -> Section:
    """Return a section whose name is not `auto`, without loading weights: that of $MMI_TVR_MODEL, else of the model
    with the largest `AUTOMATIC` that can be used on this machine.

    UsageError where options were given to `auto`, and nothing names the model that has them.
    """
    if chosen.name != AUTO:
        return chosen
    if (configured := os.environ.get(environment.MODEL, "")) not in ("", AUTO):
        return changed(section(configured), chosen)
    if chosen.options:
        raise UsageError(
            f"model: of which model is {', '.join(chosen.options)} an option? name it: --model, or model.name of the "
            f"settings, or ${environment.MODEL}"
        )
    modules = {name: module for name, module in _modules().items() if isinstance(module, AutomaticModule)}
    for name in sorted(modules, key=lambda name: -modules[name].AUTOMATIC):
        options = modules[name].automatic()
        if options is not None:
            return Section(name=name, **options)
    return Section(name=FALLBACK)


def spelled(chosen: Section) -> str:
    """Return what to write after --model to mean this one.

    >>> spelled(section("moving-shapes")), spelled(section("clip4clip:openai/clip-vit-base-patch32"))
    ('moving-shapes', 'clip4clip:openai/clip-vit-base-patch32')
    """
    option = _checkpoint_option(chosen.name)
    weights = chosen.options.get(WEIGHTS)
    if weights and (weights in _trained_names() or option != WEIGHTS):
        return str(weights)
    checkpoint = chosen.options.get(option) if option else None
    return f"{chosen.name}:{checkpoint}" if checkpoint else chosen.name


def overrides(chosen: Section) -> list[str]:
    """Return what to write after --set, besides `spelled` after --model, to mean this one.

    >>> overrides(Section(name="mmi", weights="moving-shapes", moment_head=None))
    ['model.moment_head=null']
    """
    naming = (WEIGHTS,) if chosen.options.get(WEIGHTS) else (_checkpoint_option(chosen.name),)
    return config.overrides("model", {key: value for key, value in chosen.options.items() if key not in naming})


def bundled() -> tuple[str, ...]:
    """Return the names of the trained models that the package carries."""
    return tuple(sorted(path.parent.name for path in hub.BUNDLED.glob(f"*/{SETTINGS}")))


def local() -> tuple[str, ...]:
    """Return the names of the trained models that scripts put on this machine (`local_folder`)."""
    return tuple(sorted(path.parent.name for path in local_folder().glob(f"*/{SETTINGS}")))


def availability() -> Iterator[tuple[str, Availability]]:
    """Yield (name, one way of using it) of every model: bundled and local ones, ours, and those of other packages.

    A plug-in that cannot be loaded is not ready, and its line says why.
    """
    for name in bundled():
        yield name, Availability(True, f"bundled; {read(find(name)).about}")
    for name in local():
        yield name, _local_availability(name)
    for name in plugins.names("models"):
        package = plugins.origin("models", name)
        try:
            lines = _availability(name)
        except UsageError as error:
            lines = [Availability(False, str(error))]
        for line in lines:
            detail = f"{line.detail} (from {package})" if package else line.detail
            yield name, Availability(line.ready, detail, line.checkpoint)


def key_images(chosen: Section) -> Section | None:
    """Return the key images that a model folder was trained on, as a settings section; None where any will do."""
    weights = chosen.options.get(WEIGHTS)
    keyimages = read(find(str(weights))).keyimages if weights else None
    return Section(**keyimages) if keyimages else None


def key_images_by(settings: CommonSettings, chosen: Section) -> Section:
    """Return the key images that settings name; else those that a model was trained on, with the options that settings
    give without a name; else the default.

    UsageError where these have not the options that settings give.
    """
    trained_on, images = key_images(chosen), settings.keyimages
    if trained_on is not None and "keyimages" not in settings.model_fields_set:
        images = trained_on
    elif trained_on is not None and not images.is_named:
        images = trained_on.changed_by(images)
    plugins.options("keyimages", images.name, images.options)
    return images


def checkpoints(chosen: Section) -> Iterator[str]:
    """Yield the checkpoints that a model is loaded from: folders, or hub names; what the package carries is left out.

    Trained weights come before the base that they refer to, and must be there when the next one is asked for.

    >>> list(checkpoints(Section(name="mmi", llava={"checkpoint": "llava-hf/llava-1.5-7b-hf", "clip": "openai/clip"})))
    ['llava-hf/llava-1.5-7b-hf', 'openai/clip']
    >>> list(checkpoints(section("moving-shapes")))
    []
    """
    options: Mapping[str, Any] = chosen.options
    if weights := options.get(WEIGHTS):
        if not Path(weights).is_dir() and weights not in _trained_names():
            yield str(weights)
        options = merge(read_resolved(find(str(weights))).options, options)
    places = [get_option(options, option) for option in checkpoint_options(chosen.name)]
    named = (str(place) for place in places if place and place != PRECOMPUTED)
    yield from (place for place in named if not (hub.BUNDLED / place).is_dir())


def make(chosen: Section, device: str = "auto") -> Model:
    """Load a model. ModelNotFound where its checkpoint is not on this machine: nothing is ever fetched here."""
    concrete = resolve(chosen)
    with LOADING:
        model: Model = plugins.build("models", concrete.name, concrete.options, device=device)
    return model


def trainable(chosen: Section, device: str) -> TrainableModel:
    """Load a model with what training changes. UsageError where it has nothing to train."""
    module = plugins.load("models", chosen.name)
    if not isinstance(module, TrainableModule):
        raise UsageError(f"model {chosen.name} has nothing to train")
    with LOADING:
        options = plugins.options("models", chosen.name, chosen.options)
        model: TrainableModel = module.trainable(options, device=device)
    return model


def trained_files(name: str, folder: Path) -> list[Path]:
    """Return the files of a model folder that training wrote, apart from its settings, by name."""
    return sorted({path for pattern in _trained(name) for path in folder.glob(pattern)})


def trained_places(name: str) -> list[str]:
    """Return the files, and folders with a slash behind, in which a model's trained weights lie.

    >>> trained_places("mmi")
    ['heads.safetensors', 'moments.safetensors', 'matching.safetensors', 'adapter/', 'judge/']
    """
    places: dict[str, None] = {}
    for pattern in _trained(name):
        place, slash, _ = pattern.partition("/")
        places[place + slash] = None
    return list(places)


def summary(name: str) -> str:
    """Return what a model is, in one line: the first of its module's docstring."""
    return (plugins.load("models", name).__doc__ or "").strip().partition("\n")[0]


def variants(name: str) -> Mapping[str, Variant]:
    """Return the rows of a model's ablation table. UsageError where it has none."""
    module = plugins.load("models", name)
    if not isinstance(module, AblatedModule):
        raise UsageError(f"model {name} has no ablation table (VARIANTS)")
    rows: Mapping[str, Variant] = module.VARIANTS
    return rows


def _without_auto(chosen: Section) -> dict[str, Any]:
    """Return a section's options, with its name where it has one."""
    return chosen.options if chosen.name == AUTO else {"name": chosen.name, **chosen.options}


def _with_checkpoint(name: str, checkpoint: str) -> Section:
    option = _checkpoint_option(name)
    if option is None:
        raise UsageError(f"model {name} is not made from a checkpoint: leave out ':{checkpoint}'")
    return Section(name=name, **{option: checkpoint})


def _checkpoint_option(name: str) -> str | None:
    """Return the option that NAME:CHECKPOINT sets; None where the model is not made from a checkpoint."""
    if name not in plugins.names("models"):
        return None
    module = plugins.load("models", name)
    if isinstance(module, CheckpointModule):
        option: str = module.CHECKPOINT
        return option
    return WEIGHTS if isinstance(module, TrainableModule) else None


def _local_availability(name: str) -> Availability:
    try:
        return Availability(True, f"made on this machine; {read(find(name)).about}")
    except ModelNotFound as error:
        return Availability(False, str(error))


def _trained_names() -> tuple[str, ...]:
    """Return the names of trained models that stand for their folders."""
    return *bundled(), *local()


def _trained(name: str) -> Sequence[str]:
    module = plugins.load("models", name)
    patterns: Sequence[str] = module.TRAINED if isinstance(module, TrainableModule) else ()
    return patterns


def _modules() -> dict[str, Any]:
    """The modules of all models that can be loaded."""
    modules = {}
    for name in plugins.names("models"):
        try:
            modules[name] = plugins.load("models", name)
        except UsageError:  # a broken plug-in of another package: `availability` shows it
            continue
    return modules


def _availability(name: str) -> Sequence[Availability]:
    module = plugins.load("models", name)
    if isinstance(module, AvailableModule):
        lines: Sequence[Availability] = module.availability()
        return lines
    return [Availability(True, summary(name) or "ready")]


def _trained_in_cache(name: str) -> bool:
    """Whether this is the hub name of a model folder that is in the local cache. Asks no network."""
    if name.count("/") != 1 or Path(name).exists():
        return False
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return any(isinstance(try_to_load_from_cache(name, file), str) for file in settings_names())
    except HFValidationError:
        return False
