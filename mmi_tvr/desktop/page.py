"""The page of a library: that of a running service, else one is started, which ends when nobody uses it."""

from __future__ import annotations

import sys
import time

from ..errors import MmiTvrError
from ..serve.shared import SharedLibrary
from ..utils.installation import require
from .players import launch

_IDLE_SECONDS = 900
_START_SECONDS = 30.0
_LOOK_SECONDS = 0.2


def page_url(library: SharedLibrary) -> str:
    """Return the address of the page. Raises MmiTvrError where no service can be started."""
    url = _url(library)
    if url is not None:
        return url
    require("fastapi", "serve")
    program = [sys.executable, "-m", "mmi_tvr.cli", "serve"]
    launch([*program, "--library", str(library.path), "--idle-exit", str(_IDLE_SECONDS)])
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        url = _url(library)
        if url is not None:
            return url
    raise MmiTvrError(f"no page came up in {_START_SECONDS:.0f} s; try: mmi-tvr serve --open")


def _url(library: SharedLibrary) -> str | None:
    service = library.service()
    url = service.get("url") if service is not None else None
    return url if isinstance(url, str) else None
