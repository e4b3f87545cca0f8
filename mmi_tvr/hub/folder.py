"""A model folder made ready for others: no path of this machine in it, and nothing that it needs left behind."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import models, plugins
from ..config import Section
from ..encoders import hub
from ..errors import UsageError, one_line
from ..evaluation import saved
from ..features.embed import embedding_fingerprint
from ..people import KEYS_FILE, PEOPLE_FILE
from ..types import PRECOMPUTED
from ..utils.files import write_atomically
from . import card

_PEFT_SETTINGS = "adapter_config.json"
_CARRIED = {".safetensors", ".json", ".txt", ".model", ".jinja"}  # of a base: nothing pickled
_SHARED = ("git", "python", "torch", "saved", "step", "validation", "train", "data")  # of what is known of the training


@dataclass(frozen=True, slots=True)
class Prepared:
    """A folder as it will be on the hub: `card` is the text of its README.md, `files` are (name, bytes), by name."""

    folder: Path
    repository: str
    card: str
    files: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        return sum(size for _, size in self.files)


def prepare(
    weights: str | Path,
    repository: str,
    folder: Path,
    *,
    reports: Sequence[Path] = (),
    base: str | None = None,
    license: str | None = None,
    note: str = "",
    text: str | None = None,
) -> Prepared:
    """Write the trained model `weights` (a folder, or a bundled model's name) into the new `folder`, with its card.

    reports: what `evaluate --output` wrote; each must be of this very model (UsageError). base: the hub name under
    which others find the base checkpoint, where it is a folder of this machine and shall not go along. license: as the
    hub spells it, such as apache-2.0. note: a sentence for the card. text: a card to use instead of the generated one.

    Names and faces never leave the machine: a folder that holds a library's people is refused (UsageError).
    """
    check_name(repository)
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder}: not empty; what goes to the hub is written to a folder of its own")
    source = models.find(str(weights))
    refuse_people(source)
    settings = models.read_resolved(source).as_dict()
    measured = [(saved.read(path), path) for path in reports]
    for document, path in measured:
        _check_report(document, path, source)
    inside, revision = _bases(settings, base)
    for checkpoint in inside.values():
        refuse_people(checkpoint)
    settings["origin"] = _shareable(settings["origin"])
    if text is None:
        documents = [document for document, _ in measured]
        text = card.render(repository, settings, documents, revision=revision, license=license, note=note)
    folder.mkdir(parents=True, exist_ok=True)
    _copy(source, settings, folder, inside)
    write_atomically(folder / "README.md", text.encode())
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = tuple((path.relative_to(folder).as_posix(), path.stat().st_size) for path in files)
    return Prepared(folder, repository, text, sizes)


def refuse_people(folder: Path) -> None:
    """Raise UsageError where a folder, or one below it, holds whom a library knows."""
    for name in (PEOPLE_FILE, KEYS_FILE):
        for path in folder.rglob(f"{name}*"):
            raise UsageError(
                f"{path}: names and faces of people never leave this machine, and the hub is asked to take their "
                f"folder; move the model to a folder of its own"
            )


def check_name(repository: str) -> None:
    """UsageError where it is no OWNER/NAME that the hub would take."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repository)
        if repository.count("/") != 1:
            raise HFValidationError("the owner is missing")
    except HFValidationError as error:
        reason = one_line(error)
        raise UsageError(f"{repository!r}: not a name on the hub, which is OWNER/NAME ({reason})") from error


def _bases(settings: dict[str, Any], name: str | None) -> tuple[dict[str, Path], str | None]:
    """Have the settings name the checkpoints as others find them; `name` is the hub name of the first one, the base.

    Returns which folders go along, by the name that they get, and the revision of the base that is referred to, where
    this machine has it in its cache.
    """
    options = settings["options"]
    places = models.checkpoint_options(settings["name"])
    base_option = next(iter(places), None)
    if name is not None and base_option is not None:
        check_name(name)
        models.set_option(options, base_option, name)
    inside: dict[str, Path] = {}
    for option, subfolder in places.items():
        checkpoint = models.get_option(options, option)
        if not checkpoint or checkpoint == PRECOMPUTED:
            continue
        folder = next((path for path in (Path(checkpoint), hub.BUNDLED / checkpoint) if path.is_dir()), None)
        if folder is not None and (cached := _cached_name(folder)):
            models.set_option(options, option, cached)
        elif folder is not None:
            inside[subfolder] = folder
            models.set_option(options, option, subfolder)
        elif Path(checkpoint).is_absolute() or checkpoint.startswith("."):
            raise UsageError(f"{checkpoint}: the model's base was here and is gone; say where others find it: --base")
    base = None if base_option is None else models.get_option(options, base_option)
    if base_option is None or not base or places[base_option] in inside:
        return inside, None
    return inside, _revision(base)


def _cached_name(folder: Path) -> str | None:
    """The hub name of a snapshot in a Hugging Face cache: .../models--OWNER--NAME/snapshots/REVISION."""
    kind, _, name = folder.parent.parent.name.partition("--")
    return name.replace("--", "/") if folder.parent.name == "snapshots" and kind == "models" else None


def _revision(name: str) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(name, "config.json")
    return Path(path).parent.name if isinstance(path, str) else None


def _shareable(origin: Mapping[str, Any]) -> dict[str, Any]:
    """What others should know of the training: no commands, and no paths of this machine (decision)."""
    settings = origin.get("settings") or {}
    known = {key: settings[key] for key in ("train", "data") if key in settings} | dict(origin)
    return {key: _without_paths(known[key]) for key in _SHARED if key in known}


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_paths(inner) for key, inner in value.items() if not _is_path(inner)}
    if isinstance(value, list):
        return [_without_paths(inner) for inner in value if not _is_path(inner)]
    return value


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and any(mark in value for mark in "/\\")


def _copy(source: Path, settings: Mapping[str, Any], folder: Path, inside: Mapping[str, Path]) -> None:
    """Write the settings, the trained files, and the checkpoints that go along (subfolder -> where it is now)."""

    def foreign(parent: str, names: list[str]) -> list[str]:
        return [name for name in names if not (Path(parent, name).is_dir() or Path(name).suffix in _CARRIED)]

    write_atomically(folder / models.SETTINGS, json.dumps(settings, indent=1, sort_keys=True).encode())
    for path in models.trained_files(settings["name"], source):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.name == _PEFT_SETTINGS:
            _copy_adapter_settings(path, target, settings)
        else:
            shutil.copyfile(path, target)
    for subfolder, base in inside.items():
        shutil.copytree(base, folder / subfolder, ignore=foreign)


def _copy_adapter_settings(source: Path, target: Path, settings: Mapping[str, Any]) -> None:
    """An adapter names its base, which is the first checkpoint of the model."""
    adapter = json.loads(source.read_text(encoding="utf-8"))
    base_option = next(iter(models.checkpoint_options(settings["name"])))
    adapter["base_model_name_or_path"] = models.get_option(settings["options"], base_option)
    write_atomically(target, json.dumps(adapter, indent=1, sort_keys=True).encode())


def _check_report(document: Mapping[str, Any], path: Path, source: Path) -> None:
    """A card never shows numbers that another model made: the report's fingerprint is made again, from these files."""
    section = models.trained_section(os.fspath(source))
    evaluated = dict(document["config"]["model"])
    name = evaluated.pop("name")
    if name != section.name:
        raise UsageError(f"{path}: an evaluation of {name}, not of the model in {source}")
    images = Section(**document["config"]["keyimages"])
    method = plugins.build("keyimages", images.name, images.options)
    model = models.make(Section(name=name, **{**evaluated, **section.options}), "cpu")
    fingerprint = embedding_fingerprint(model, method)
    if fingerprint != document["fingerprint"]:
        raise UsageError(
            f"{path}: an evaluation of another model ({document['fingerprint']}) than the one in {source} "
            f"({fingerprint}); evaluate this one: mmi-tvr evaluate ... --checkpoint {source} --output DIR"
        )
