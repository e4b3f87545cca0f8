"""The environment variables that the package reads; docs/configuration.md says what each does."""

from __future__ import annotations

import os
from pathlib import Path

LIBRARY = "MMI_TVR_LIBRARY"  # the folder of the library where --library is left out
MODEL = "MMI_TVR_MODEL"  # models: what `auto` means
CACHE = "MMI_TVR_CACHE"  # utils.array_cache: where what can be made again lies
DECODE_SECONDS = "MMI_TVR_DECODE_SECONDS"  # media.guarded: how long one file may take
DECODE_WORKERS = "MMI_TVR_DECODE_WORKERS"  # media.guarded: how many processes decode
API_KEY = "MMI_TVR_API_KEY"  # answerers.openai: the server's key, unless the option key_variable names another
MILVUS_TOKEN = "MILVUS_TOKEN"  # index.milvus: user:password, or an API key


def default_library() -> Path:
    """Return $MMI_TVR_LIBRARY, else a folder in the user's data folder."""
    if folder := os.environ.get(LIBRARY):
        return Path(folder)
    from platformdirs import user_data_dir

    return Path(user_data_dir("mmi-tvr")) / "library"
