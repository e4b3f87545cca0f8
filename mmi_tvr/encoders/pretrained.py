"""Models of transformers from a checkpoint, whole: none with weights that the checkpoint has not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ModelNotFound
from ..utils.wording import counted
from .hub import LOCAL

_MAX_NAMED = 3


def load(kind: Any, folder: Path, **arguments: Any) -> Any:
    """Return the model of a checkpoint.

    transformers draws weights that it does not find at random, says so in a table on the screen, and goes on: vectors
    of such a model look like any others.

    Args:
        kind: a model class of transformers, or an Auto class.
        folder: of the checkpoint.
        arguments: of its `from_pretrained`.

    Raises:
        ModelNotFound: where weights are missing: a checkpoint of another layout, or a part of one.
        Exception: those of `unreadable`.
    """
    model, report = kind.from_pretrained(folder, use_safetensors=True, output_loading_info=True, **LOCAL, **arguments)
    require_weights(sorted(report["missing_keys"]), folder)
    return model


def tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a checkpoint.

    transformers makes one that knows no word where a folder has no file of it, and says nothing.

    Raises:
        ModelNotFound: where files of it are missing.
        Exception: those of `unreadable`, and ImportError.
    """
    from transformers import AutoTokenizer

    loaded: Any = AutoTokenizer.from_pretrained(folder, **LOCAL)
    require_words(loaded, folder)
    return loaded


def require_words(tokenizer: Any, folder: Path) -> None:
    """Raise ModelNotFound where a folder has no file that the words of its tokenizer could be from."""
    names = sorted({*tokenizer.vocab_files_names.values(), "tokenizer.json"})
    if not any((folder / name).is_file() for name in names):
        raise ModelNotFound(
            f"{folder}: its tokenizer is missing ({' or '.join(names)}); copy it from where the checkpoint comes from"
        )


def unreadable(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """Return what transformers raises of a damaged checkpoint (cut files, settings of another kind), and `more`."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    return OSError, ValueError, TypeError, RuntimeError, ArithmeticError, SafetensorError, StrictDataclassError, *more


def require_weights(missing: list[str], folder: Path) -> None:
    """Raise ModelNotFound, with the first few names, where weights of a checkpoint are missing."""
    if missing:
        names = ", ".join(missing[:_MAX_NAMED]) + (", ..." if len(missing) > _MAX_NAMED else "")
        raise ModelNotFound(f"{folder}: lacks {counted(len(missing), 'weight')} of its layout: {names}")
