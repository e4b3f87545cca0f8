"""Checkpoints: one folder each, whole or absent, with nothing pickled.

    checkpoints/step-00000500/
        trained.safetensors   every parameter that is trained and every persistent buffer, under the model's own names
        loop.safetensors      what only resuming needs: optimiser moments, temperature, each process's generators
        state.json            step, place in the data, best validation, settings, fingerprints, hashes of the other
                              two files, where it came from

A folder is written under another name and renamed when everything in it is on the disk.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import Tensor, nn

from ..errors import UsageError
from ..utils import files
from ..utils.hashing import file_digest
from ..utils.wording import counted

_FORMAT = 1
CHECKPOINTS = "checkpoints"  # their folder, in that of a run
TRAINED, LOOP, STATE = "trained.safetensors", "loop.safetensors", "state.json"
_HASHES = {TRAINED: "weights", LOOP: "loop"}  # their names in the state; the oldest checkpoints have no `loop`
_WITHOUT_IT = "move its folder away, and --resume goes on from the checkpoint before"


def folder_of(root: Path, step: int) -> Path:
    """Return the folder of a step's checkpoint, written or not."""
    return root / f"step-{step:08d}"


def save(
    root: Path, step: int, trained: Mapping[str, Tensor], loop: Mapping[str, Tensor], state: dict[str, Any]
) -> Path:
    """Write the checkpoint of a step, replacing one of the same step.

    Args:
        root: the folder of all checkpoints.
        step: steps made.
        trained: tensors of the model (`trained_state`).
        loop: tensors that only resuming needs.
        state: plain values for `state.json`, besides those that every checkpoint has.

    Returns:
        The checkpoint's folder.
    """
    root.mkdir(parents=True, exist_ok=True)
    for stale in root.glob(".step-*"):  # what a kill left behind
        shutil.rmtree(stale)
    final = folder_of(root, step)
    draft = root / f".{final.name}.{os.getpid()}.tmp"
    draft.mkdir()
    for name, tensors in ((TRAINED, trained), (LOOP, loop)):
        plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        files.write_atomically(draft / name, serialised(plain))
    hashes = {entry: file_digest(draft / name) for name, entry in _HASHES.items()}
    record = {"format": _FORMAT, "step": step, **state, **hashes, "origin": origin()}
    files.write_atomically(draft / STATE, json.dumps(record, indent=1, ensure_ascii=False).encode())
    if final.exists():
        os.replace(final, root / f".{final.name}.old")
    files.publish(draft, final)
    shutil.rmtree(root / f".{final.name}.old", ignore_errors=True)
    return final


def list_checkpoints(root: Path) -> list[Path]:
    """Return the checkpoints below `root`, oldest step first."""
    return sorted(path for path in root.glob("step-*") if (path / STATE).is_file())


def check_resuming(folder: Path, checkpoints: Sequence[object], resume: bool) -> None:
    """Raise UsageError where the folder of a run that is to begin from nothing has checkpoints."""
    if checkpoints and not resume:
        raise UsageError(f"{folder} holds a run's checkpoints: resume it, or take another folder")


def prune(root: Path, keep: int, best: int | None) -> None:
    """Remove all but the `keep` newest checkpoints and the one of step `best`."""
    spared = None if best is None else folder_of(root, best)
    for path in list_checkpoints(root)[:-keep]:
        if path != spared:
            hidden = path.with_name(f".{path.name}.old")
            os.replace(path, hidden)  # a kill in the middle leaves no half checkpoint that looks whole
            shutil.rmtree(hidden)


def read_state(folder: Path) -> dict[str, Any]:
    """Return the values of `state.json`. Raises UsageError where it is no checkpoint of this format."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder}: not a checkpoint ({STATE} is missing or unreadable)") from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise UsageError(f"{folder}: a checkpoint of another format; this version reads format {_FORMAT}")
    return state


def resumable_state(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of `state.json`. Raises UsageError, besides, where the run that is to go on has other settings
    than the one that was saved."""
    state = read_state(folder)
    if changed := differences(state["settings"], settings):
        raise UsageError(
            f"{folder}: made with other settings, so it cannot be resumed: {'; '.join(changed)}; "
            "resume it with those of before, or take another folder"
        )
    return state


def read_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """Return all tensors of one file of a checkpoint, on the CPU.

    Raises UsageError where it is missing or damaged, or not the file that was written.
    """
    written = read_state(folder).get(_HASHES[name])
    try:
        tensors: dict[str, Tensor] = load_file(folder / name)
        is_written = written is None or file_digest(folder / name) == written
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{folder / name}: missing or damaged; {_WITHOUT_IT}") from error
    if not is_written:
        raise UsageError(f"{folder / name}: not what was saved (its hash differs); {_WITHOUT_IT}")
    return tensors


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the trained state of a model: parameters that require a gradient, and persistent buffers. Not copied."""
    persistent = model.state_dict().keys()
    tensors: dict[str, Tensor] = {
        name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    tensors |= {name: buffer for name, buffer in model.named_buffers() if name in persistent}
    return tensors


def load_trained(model: nn.Module, folder: Path) -> None:
    """Put a checkpoint's trained state into a model of the same architecture, in place.

    Raises UsageError where the weights are not the ones that were written, or names or shapes differ; the model is
    then as it was.
    """
    saved, current = read_tensors(folder, TRAINED), trained_state(model)
    wrong = sorted(set(saved) ^ set(current))
    if not wrong:
        wrong = [name for name in current if current[name].shape != saved[name].shape]
    if wrong:
        raise UsageError(
            f"{folder}: of another architecture; {counted(len(wrong), 'tensor')} "
            f"of other shapes: {', '.join(wrong[:4])}"
        )
    with torch.no_grad():
        for name, tensor in current.items():
            tensor.copy_(saved[name])


def optimizer_tensors(optimizers: Iterable[torch.optim.Optimizer], names: Mapping[Tensor, str]) -> dict[str, Tensor]:
    """Return the optimisers' states as tensors named `KEY/PARAMETER`."""
    tensors = {}
    for optimizer in optimizers:
        for parameter, state in optimizer.state.items():
            for key, value in state.items():
                tensors[f"{key}/{names[parameter]}"] = torch.as_tensor(value)
    return tensors


def load_optimizers(
    optimizers: Iterable[torch.optim.Optimizer], names: Mapping[Tensor, str], tensors: Mapping[str, Tensor]
) -> None:
    """Put back the states that `optimizer_tensors` returned. Learning rates and the like come from the settings."""
    for optimizer in optimizers:
        order = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
        numbers = {name: number for number, name in enumerate(order)}  # torch numbers parameters over all groups
        state: dict[int, dict[str, Tensor]] = {}
        for entry, tensor in tensors.items():
            key, _, name = entry.partition("/")
            if name in numbers:
                state.setdefault(numbers[name], {})[key] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted names at which two nested settings differ, with both values.

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 0})
    ['a.c: 2 -> 3', 'd: None -> 0']
    """
    changed = []
    for key in dict.fromkeys((*old, *new)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            changed += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            changed.append(f"{prefix}{key}: {before!r} -> {after!r}")
    return changed


def origin() -> dict[str, Any]:
    """Return where a file comes from: commit, command, versions, time."""
    return {
        "git": _git("rev-parse", "HEAD"),
        "git_changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "command": shlex.join(sys.orig_argv),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "saved": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _git(*arguments: str) -> str | None:
    """Return what git prints about the checkout that this package lies in; None where it lies in none."""
    command: Sequence[str] = ("git", "-C", str(Path(__file__).parent), *arguments)
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
