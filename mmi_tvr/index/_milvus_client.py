"""Connections to Milvus: a server by its address, Milvus Lite by a path; what goes wrong there as one line of ours."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import LibraryBusy, MmiTvrError
from ..utils.environment import MILVUS_TOKEN
from ..utils.installation import require
from ._common import nothing_there

_NO_COLLECTION = 100  # Milvus's code
_open_lite: Counter[str] = Counter()  # Milvus Lite databases that this process holds, by path


def is_remote(uri: str) -> bool:
    """Return whether this is a server's address; if not, it is a path for Milvus Lite."""
    return "://" in uri


def connect(uri: str, timeout: float, create: bool) -> Any:
    """Return a pymilvus client.

    Raises IndexMissing where a Milvus Lite path is absent and `create` is false, LibraryBusy where another process
    holds it, MmiTvrError where no server answers.
    """
    pymilvus = require("pymilvus", "milvus")
    if is_remote(uri):
        with milvus_errors(uri):
            return pymilvus.MilvusClient(uri, token=os.environ.get(MILVUS_TOKEN, ""), timeout=timeout)
    require("milvus_lite", "milvus")
    local = Path(uri)
    if not create and not local.exists():
        raise nothing_there(local)
    local.parent.mkdir(parents=True, exist_ok=True)
    if local.exists() and not os.access(local, os.W_OK):
        raise MmiTvrError(
            f"{local}: Milvus Lite writes where it reads, and cannot write here: copy the library, or use a server"
        )
    try:
        with _quiet():
            client = pymilvus.MilvusClient(uri)
    except pymilvus.exceptions.ConnectionConfigException as error:  # it carries no reason
        raise LibraryBusy(
            f"{local}: Milvus Lite cannot open it; another process probably holds it, as it serves one at a time: "
            "wait for that one, or use a Milvus server"
        ) from error
    _open_lite[os.path.abspath(uri)] += 1
    return client


def disconnect(client: Any, uri: str) -> None:
    """Close a client; the last to close a Milvus Lite database in this process also frees it for others."""
    client.close()
    if not is_remote(uri):
        key = os.path.abspath(uri)
        _open_lite[key] -= 1
        if _open_lite[key] <= 0:
            require("milvus_lite.server_manager", "milvus").server_manager_instance.release_server(uri)


@contextmanager
def milvus_errors(uri: str) -> Iterator[None]:
    """Raise Milvus's errors as one line: IndexMissing where a collection is not there, else MmiTvrError."""
    failures = require("pymilvus", "milvus").MilvusException
    try:
        with _quiet():
            yield
    except failures as error:
        if error.code == _NO_COLLECTION:
            raise nothing_there(uri) from error
        reason = " ".join(str(error.message).split())
        raise MmiTvrError(f"{uri}: Milvus says: {reason}; check uri, ${MILVUS_TOKEN}, and that it runs") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pymilvus and Milvus Lite from logging a traceback of what they raise."""
    loggers = [logging.getLogger("pymilvus"), logging.getLogger("milvus_lite")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
