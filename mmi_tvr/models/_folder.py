"""Model folders: what training writes, the hub carries, and `--model FOLDER` reads.

    model.json        the model's name, its options, and the settings sections that go with it
    *.safetensors ... the files that the model's module lists in `TRAINED`
    base/, clip/ ...  checkpoints that travel with it (`CheckpointModule.CHECKPOINTS`)

A folder without `model.json` whose settings are called NAME.json after a model is read as that model's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from .. import config, plugins
from ..config import RERANK
from ..encoders import hub
from ..errors import ModelNotFound, one_line
from ..protocols import CheckpointModule
from ..types import Availability
from ..utils import array_cache
from ..utils.files import write_atomically
from ..utils.loading import late_property
from ..utils.wording import counted

SETTINGS = "model.json"
# What options were called in a NAME.json.
_FORMER_OPTIONS = {"moments": "moment_weight", "top": "top_moments", "found": "min_relevance"}


class TrainedOptions(plugins.BaseOptions):
    """Base of the options of a model that can be trained.

    With `weights`, every option that is not set is as it was trained.
    """

    weights: str | None = Field(
        None,
        description="a folder that training wrote, its name on the hub, or a bundled model's name; default: untrained",
    )

    @model_validator(mode="before")
    @classmethod
    def _as_trained(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not values.get("weights"):
            return values
        return config.merge(read_resolved(find(str(values["weights"]))).options, values)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What `model.json` says. `keyimages` and `rerank` are settings sections; `origin` is about the training, and
    `about` says in a few words what the model knows."""

    name: str
    options: Mapping[str, Any]
    keyimages: Mapping[str, Any] | None = None
    rerank: Mapping[str, Any] | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, which may be changed."""
        return deepcopy(
            {
                "name": self.name,
                "options": dict(self.options),
                "keyimages": None if self.keyimages is None else dict(self.keyimages),
                "rerank": None if self.rerank is None else dict(self.rerank),
                "origin": dict(self.origin),
                **({"about": self.about} if self.about else {}),
            }
        )


class FromModelFolder:
    """Base of a model that `weights` may be given to: what it says of that folder (`protocols.TrainedModel`)."""

    options: TrainedOptions

    @property
    def weights(self) -> str | None:
        """The trained weights that it was made from: a folder, a hub name, or a bundled model's name."""
        return self.options.weights

    def key_image_section(self) -> Mapping[str, Any] | None:
        """Return the settings section of the key images that the weights were trained on."""
        return self._settings.keyimages if self._settings else None

    @property
    def _folder(self) -> Path | None:
        return find(self.options.weights) if self.options.weights else None

    @late_property
    def _settings(self) -> ModelSettings | None:
        return read(self._folder) if self._folder else None


def settings_file(folder: Path) -> Path | None:
    """Return the file with a model folder's settings; None where the folder is none."""
    return next((folder / name for name in settings_names() if (folder / name).is_file()), None)


def cached_checkpoints(cached: Sequence[hub.Cached], advice: str) -> list[Availability]:
    """Return a line for each of these checkpoints of the local cache; without any, the advice."""
    return [
        Availability(True, f"{one.name} ({one.model_type}, {one.size / 1e6:,.0f} MB, in the local cache)", one.name)
        for one in cached
    ] or [Availability(False, advice)]


def settings_names() -> tuple[str, ...]:
    """Return the names that the settings of a model folder may have."""
    return (SETTINGS, *(f"{name}.json" for name in plugins.names("models")))


def local_folder() -> Path:
    """Return where scripts put trained models that the package is too small for: `models` in the user's cache."""
    return array_cache.folder() / "models"


def find(weights: str) -> Path:
    """Return the folder of trained weights: a path, the name of a bundled or a local model, or a hub name in the local
    cache.

    ModelNotFound where it is none of them.
    """
    for folder in (Path(weights), hub.BUNDLED / weights, local_folder() / weights):
        if settings_file(folder):
            return folder
    if weights.count("/") == 1 and not Path(weights).exists() and not Path(weights).is_absolute():
        folder = hub.locate(weights)
        if settings_file(folder):
            return folder
    raise ModelNotFound(f"{weights}: no trained model here ({SETTINGS} is missing), and none is bundled of that name")


def read(folder: Path) -> ModelSettings:
    """Return a model folder's settings as they stand there. ModelNotFound where they are damaged."""
    path = settings_file(folder) or folder / SETTINGS
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        options = dict(values["options"])
        if path.name != SETTINGS:
            values["name"] = path.stem
            options = {_FORMER_OPTIONS.get(key, key): value for key, value in options.items()}
        return ModelSettings(
            str(values["name"]),
            options,
            values.get("keyimages"),
            _with_judge(values.get("rerank")),
            values.get("origin") or {},
            str(values.get("about", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelNotFound(f"{path}: not what a training run wrote") from error


def _with_judge(rerank: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return a section of re-ranking in which who judges is a section, where it was an option called `weights`."""
    if not rerank or rerank.get("name") != RERANK.name or "weights" not in rerank:
        return rerank
    section = {key: value for key, value in rerank.items() if key != "weights"}
    if rerank["weights"]:
        section["judge"] = {"name": "llava", "weights": rerank["weights"]}
    return section


def read_resolved(folder: Path) -> ModelSettings:
    """Return what `read` does, with the places of checkpoints that lie in the folder itself as absolute paths."""
    settings = read(folder)
    values = settings.as_dict()
    for option, inside in checkpoint_options(settings.name).items():
        if get_option(values["options"], option) == inside and (folder / inside).is_dir():
            set_option(values["options"], option, str(folder.absolute() / inside))
    return ModelSettings(**values)


def write(folder: Path, settings: ModelSettings) -> None:
    """Write `model.json`, with the places of checkpoints as absolute paths, so that the folder works from anywhere."""
    values = settings.as_dict()
    for option in checkpoint_options(settings.name):
        place = get_option(values["options"], option)
        if place and not (folder / place).is_dir() and Path(place).is_dir():  # what lies in the folder moves with it
            set_option(values["options"], option, str(Path(place).absolute()))
    write_atomically(folder / SETTINGS, json.dumps(values, indent=1).encode())


def save_tensors(network: Any, path: Path, names: Collection[str] | None = None) -> None:
    """Write tensors of a `torch.nn.Module` as a safetensors file.

    Args:
        network: has them.
        path: of the file, in a model folder.
        names: of the parameters and buffers that are written; None: of all.
    """
    from safetensors.torch import save

    state = network.state_dict()
    tensors = {name: state[name].contiguous().cpu() for name in (state if names is None else names)}
    write_atomically(path, save(tensors))


def keep_unchanged(source: Path, folder: Path, weights: str, *settings: str) -> None:
    """Give a file that was written again, and in which no number changed, the bytes that it had.

    Fingerprints go by bytes, and what was read in 16 bits is written in 32: without this, an index and answers would
    be made anew.

    Args:
        source: the folder that was read.
        folder: the one that was written.
        weights: the file of tensors, by its name in both; nothing happens where one of them has none.
        settings: files that go with it.
    """
    before, after = source / weights, folder / weights
    if before.is_file() and after.is_file() and _same_values(before, after):
        for name in (weights, *settings):
            write_atomically(folder / name, (source / name).read_bytes())


def _same_values(path: Path, other: Path) -> bool:
    import torch
    from safetensors.torch import load_file

    tensors, others = load_file(path), load_file(other)
    return tensors.keys() == others.keys() and all(
        torch.equal(tensor.float(), others[name].float()) for name, tensor in tensors.items()
    )


def load_tensors(
    network: Any,
    path: Path,
    names: Collection[str] | None = None,
    fit: Callable[[str, Any], Any] = lambda name, tensor: tensor,
) -> None:
    """Load what `save_tensors` wrote into a `torch.nn.Module`.

    Args:
        network: gets them.
        path: a safetensors file of a model folder.
        names: of the parameters and buffers that it must hold, no more and no less; None: all of the network's.
        fit: makes of a tensor, by its name, one of the network's size, where that can be.

    Raises:
        ModelNotFound: the file is missing or damaged, or was written with other options.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = path.parent
    if not path.is_file():
        raise ModelNotFound(f"{folder}: no trained weights here ({path.name} is missing)")
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelNotFound(f"{path}: damaged ({one_line(error)}); copy it once more, or train again") from error
    state = network.state_dict()
    expected = state.keys() if names is None else set(names)
    if wrong := sorted(expected ^ tensors.keys()):
        raise ModelNotFound(
            f"{folder}: trained with other switches; {counted(len(wrong), 'different tensor')}, first {wrong[0]}"
        )
    tensors = {name: fit(name, tensor) for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if tensor.shape != state[name].shape:
            raise ModelNotFound(
                f"{folder}: of another size: {name} is {_size(tensor)} there, and {_size(state[name])} by these "
                f"options; load it with the towers and options that it was trained with"
            )
    network.load_state_dict(tensors, strict=False)


def _size(tensor: Any) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"


def checkpoint_options(name: str) -> Mapping[str, str]:
    """Return the dotted options of a model that name checkpoints, with the folder that each travels in."""
    module = plugins.load("models", name)
    return module.CHECKPOINTS if isinstance(module, CheckpointModule) else {}


def get_option(options: Mapping[str, Any], dotted: str) -> Any:
    """Return the value of a dotted option; None where it, or a section on the way, is not there.

    >>> get_option({"llava": {"clip": "a"}}, "llava.clip"), get_option({}, "llava.clip")
    ('a', None)
    """
    *sections, last = dotted.split(".")
    for section in sections:
        options = options.get(section) or {}
    return options.get(last)


def set_option(options: dict[str, Any], dotted: str, value: Any) -> None:
    """Set a dotted option in place; the sections on the way must be there."""
    *sections, last = dotted.split(".")
    for section in sections:
        options = options[section]
    options[last] = value
