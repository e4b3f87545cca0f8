"""Tests keep out of the user's cache: they have one of their own, shared by a run and its processes."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest

_CACHE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_CACHE] = os.environ["MMI_TVR_CACHE"] = tempfile.mkdtemp(prefix="mmi-tvr-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_CACHE], ignore_errors=True)
