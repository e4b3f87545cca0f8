"""Checkpoints on disk: a folder, or the Hugging Face cache. Asks no network; `download` does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelNotFound, one_line
from ..utils.hashing import digest
from . import curated

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "config.json"
# What a checkpoint needs: weights without pickles, settings, tokenizer files, chat templates.
FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
IGNORED = ["open_clip*"]  # the same weights once more, for another library
# For every `from_pretrained`: the folder is all that is read, and no code in it is run, or asked about on the terminal.
LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_TOKENIZERS = ("tokenizer_config.json", "tokenizer.json", "vocab.txt", "spiece.model")
BUNDLED = Path(__file__).parents[1] / "_bundled"  # trained models that the package carries, a folder each
_BLOCKS, _BLOCK = 64, 1 << 16


@dataclass(frozen=True, slots=True)
class Cached:
    """A model repository in the Hugging Face cache."""

    name: str
    model_type: str
    folder: Path
    size: int  # bytes on disk


def locate(name: str) -> Path:
    """Return the folder of a checkpoint: a path, a bundled one (moving-shapes/base), or a repository in the cache.

    ModelNotFound where it is none of them. The network is never asked.
    """
    for folder in (Path(name), BUNDLED / name):
        if folder.is_dir():
            return folder
    if Path(name).is_absolute() or name.startswith(".") or name.count("/") > 1:
        raise ModelNotFound(f"{name}: no such folder; a checkpoint is a folder, or a hub name such as 'owner/model'")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    for revision in _cached_revisions(name):
        try:
            folder = Path(
                snapshot_download(
                    name, revision=revision, local_files_only=True, allow_patterns=FILES, ignore_patterns=IGNORED
                )
            )
        except HFValidationError as error:
            raise ModelNotFound(f"{name!r} is neither a folder nor a hub name such as 'owner/model'") from error
        except LocalEntryNotFoundError:
            continue
        if any(folder.glob("*.safetensors")):
            return folder
    raise ModelNotFound(
        f"{name} is not on this machine, or only part of it is; to fetch it: mmi-tvr models get {name}, or --download"
    )


def repository_folder(name: str) -> Path:
    """Return the folder of a hub name in the Hugging Face cache, whether it is there or not."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"


def _cached_revisions(name: str) -> list[str]:
    """The revisions to look for, in order: where weights are known to lie, main, and whatever else was fetched."""
    refs = repository_folder(name) / "refs"
    fetched = sorted(path.relative_to(refs).as_posix() for path in refs.rglob("*") if path.is_file())
    return list(dict.fromkeys((curated.revision(name), "main", *fetched)))


def cached(model_types: frozenset[str]) -> list[Cached]:
    """Return the models of these types in the local cache that could be loaded.

    In the order in which they are preferred: those of the curated list, in its order, then the largest.
    """
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return []
    models = []
    for repository in repositories:
        if repository.repo_type != "model":
            continue
        try:
            folder = locate(repository.repo_id)
        except ModelNotFound:
            continue
        kind = _loadable_type(folder)
        if kind in model_types:
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            models.append(Cached(repository.repo_id, kind, folder, size))
    order = {model.repository: place for place, model in enumerate(curated.CURATED)}
    return sorted(models, key=lambda model: (order.get(model.name, len(order)), -model.size, model.name))


def settings(folder: Path) -> dict[str, Any]:
    """Return what a checkpoint's `config.json` says; nothing where there is none, or it is damaged."""
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def model_type(folder: Path) -> str | None:
    """Return the model type that a checkpoint's settings name; None where they name none."""
    named = settings(folder).get("model_type")
    return named if isinstance(named, str) else None


def read_tensors(path: Path, prefixes: tuple[str, ...] = ("",)) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file. ModelNotFound where it cannot be read.

    prefixes: only of these, which the names are returned without.
    """
    from safetensors import SafetensorError, safe_open

    tensors = {}
    try:
        with safe_open(path, "pt") as stream:
            for name in stream.keys():  # noqa: SIM118 (not a mapping)
                prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
                if prefix is not None:
                    tensors[name.removeprefix(prefix)] = stream.get_tensor(name)
        return tensors
    except (OSError, SafetensorError) as error:
        raise ModelNotFound(f"{path}: its weights cannot be read: {one_line(error)}") from error


def checkpoint_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of all safetensors files of a checkpoint. ModelNotFound where one cannot be read."""
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= read_tensors(path)
    return tensors


def _loadable_type(folder: Path) -> str | None:
    """The model type of a checkpoint that has weights, tokenizer and picture settings; None where something is missing.

    A cache often holds parts: another program may have needed the tokenizer alone.
    """
    tokenizer = any((folder / name).is_file() for name in _TOKENIZERS)
    pictures = (folder / "preprocessor_config.json").is_file()
    return model_type(folder) if tokenizer and pictures and any(folder.glob("*.safetensors")) else None


def checkpoint_digest(folder: Path) -> str:
    """Return the hash of a checkpoint: small files whole, weights by size and 64 blocks spread over each file.

    Decision: reading gigabytes at every start to name a model is not worth it; training changes every block.
    """
    parts: list[object] = []
    for path in sorted(folder.iterdir()):
        if path.suffix in {".json", ".txt", ".model"}:
            parts.append((path.name, path.read_bytes().hex()))
        elif path.suffix == ".safetensors":
            parts.append((path.name, path.stat().st_size, _spread_blocks(path).hex()))
    return digest(*parts)


def _spread_blocks(path: Path) -> bytes:
    """64 blocks of a file at equal distances; a small file whole."""
    step = max(_BLOCK, path.stat().st_size // _BLOCKS)
    with path.open("rb") as stream:
        blocks = []
        for start in range(0, path.stat().st_size, step):
            stream.seek(start)
            blocks.append(stream.read(_BLOCK))
    return b"".join(blocks)
