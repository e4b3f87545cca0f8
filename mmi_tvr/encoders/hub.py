"""Checkpoints on disk: a folder, or the Hugging Face cache. Nothing is fetched unless `fetch` is called."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelNotFound, one_line
from ..utils.hashing import digest

# What a checkpoint needs: weights without pickles, settings, tokenizer files, chat templates.
_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
BUNDLED = Path(__file__).parents[1] / "_bundled"  # trained models that the package carries, a folder each
_BLOCKS, _BLOCK = 64, 1 << 16
_TIMEOUT = 10.0  # seconds to ask the hub for a size


@dataclass(frozen=True, slots=True)
class Cached:
    """A model repository in the Hugging Face cache."""

    name: str
    model_type: str
    folder: Path
    size: int  # bytes on disk


def locate(name: str) -> Path:
    """Return the folder of a checkpoint: a path, a bundled one (moving-shapes/base), or a repository in the cache.

    ModelNotFound where it is none of them.
    """
    for folder in (Path(name), BUNDLED / name):
        if folder.is_dir():
            return folder
    if Path(name).is_absolute() or name.startswith(".") or name.count("/") > 1:
        raise ModelNotFound(f"{name}: no such folder; a checkpoint is a folder, or a hub name such as 'owner/model'")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True, allow_patterns=_FILES))
    except HFValidationError as error:
        raise ModelNotFound(f"{name!r} is neither a folder nor a hub name such as 'owner/model'") from error
    except LocalEntryNotFoundError as error:
        raise ModelNotFound(f"{name} is not on this machine; --download fetches it ({describe(name)})") from error
    if not any(folder.glob("*.safetensors")):
        raise ModelNotFound(f"{name}: only part of it is in the local cache; --download fetches the rest")
    return folder


def describe(name: str) -> str:
    """Say in words what fetching a repository would cost, or why the hub cannot tell."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

    try:
        siblings = HfApi().model_info(name, files_metadata=True, timeout=_TIMEOUT).siblings or []
    except RepositoryNotFoundError:
        return "the hub knows no such model"
    except (OSError, HfHubHTTPError, OfflineModeIsEnabled):
        return "its size is unknown: the hub cannot be reached from here"
    except Exception as error:  # the hub client's transport raises its own kinds, which differ between versions
        return f"its size is unknown: {type(error).__name__}"
    suffixes = tuple(pattern.removeprefix("*") for pattern in _FILES)
    size = sum(file.size or 0 for file in siblings if file.rfilename.endswith(suffixes))
    return f"{size / 1e6:,.0f} MB"


def fetch(name: str) -> Path:
    """Download a repository's weights, settings and tokenizer into the cache (resumes by itself)."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=_FILES))
    except Exception as error:  # as in `describe`: the transport's errors have no common base
        raise ModelNotFound(f"{name} could not be fetched: {one_line(error)}") from error


def cached(model_types: frozenset[str]) -> list[Cached]:
    """Return the models of these types in the local cache that could be loaded, the largest first."""
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return []
    models = []
    for repository in repositories:
        if repository.repo_type != "model":
            continue
        for revision in repository.revisions:
            model_type = _loadable_type(revision.snapshot_path)
            if model_type in model_types:
                models.append(Cached(repository.repo_id, model_type, revision.snapshot_path, revision.size_on_disk))
    return sorted(models, key=lambda model: (-model.size, model.name))


def _loadable_type(folder: Path) -> str | None:
    """The model type of a checkpoint that has weights, tokenizer and picture settings; None where something is missing.

    A cache often holds parts: another program may have needed the tokenizer alone.
    """
    needed = ("*.safetensors", "preprocessor_config.json", "tokenizer_config.json")
    if not all(any(folder.glob(pattern)) for pattern in needed):
        return None
    try:
        model_type = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return None
    return model_type if isinstance(model_type, str) else None


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
