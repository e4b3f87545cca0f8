"""Arrays of texts in .npy files: names of videos, words of a vocabulary. Of a pickle nothing is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import UsageError, one_line


def read_text_array(path: Path) -> list[str]:
    """Return the texts of a .npy file. Raises UsageError where it is none: of Python objects, damaged, or no texts."""
    try:
        with path.open("rb") as stream:
            values = np.load(stream, allow_pickle=False)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file") from error
    except Exception as error:  # whatever a damaged header makes of numpy's reader: TokenError, BadZipFile, ...
        if isinstance(error, ValueError) and "allow_pickle" in str(error):
            raise UsageError(
                f"{path}: holds pickled Python objects, which are not loaded, since that may run code; who trusts the "
                f"file saves it again as texts: np.save(PATH, np.load(PATH, allow_pickle=True).astype(str))"
            ) from error
        raise UsageError(f"{path}: no .npy file of texts, or a damaged one ({one_line(error)})") from error
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "US":
        raise UsageError(f"{path}: a row of texts is expected")
    try:
        return [str(value, "utf-8") if isinstance(value, bytes) else str(value) for value in values.tolist()]
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: its texts are no UTF-8 ({one_line(error)})") from error
