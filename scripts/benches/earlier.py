"""The code of an earlier commit, to be measured in the same run."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

# Before searches left transformers out and runs committed early. There is no newer release.
BASELINE = "6cd254e"
_CHECKOUT = Path(__file__).parents[2]


def codes(commit: str, folder: Path) -> dict[str, Path]:
    """Return what PYTHONPATH names for the package as it is, "now", and for that of a commit, "then", which is written
    below a folder; without "then" where the repository has no such commit."""
    then = _unpacked(commit, folder)
    return {"now": _CHECKOUT} if then is None else {"now": _CHECKOUT, "then": then}


def _unpacked(commit: str, folder: Path) -> Path | None:
    """Write the package as it was at a commit below a folder, and return what PYTHONPATH names then; None where the
    repository has no such commit (a shallow clone, an archive)."""
    archive = subprocess.run(
        ["git", "archive", commit, "mmi_tvr", "configs", "prompts"], cwd=_CHECKOUT, check=False, capture_output=True
    )
    if archive.returncode:
        return None
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as content:
        content.extractall(folder, filter="data")
    return folder
