"""Files are hashed one by one, and committed together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmi_tvr.library import hashing
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.scan import Scan
from mmi_tvr.utils.progress import Silent


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    opened = Catalogue(tmp_path / "catalogue.sqlite", create=True)
    yield opened
    opened.close()


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """Three files more than are committed together, of which the last two have the same bytes."""
    scan = Scan()
    for number in range(hashing._TOGETHER + 3):
        path = tmp_path / f"{number:03}.mp4"
        path.write_text(str(min(number, hashing._TOGETHER + 1)))
        scan.add(path)
    return scan


@pytest.fixture
def unread(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many files the catalogue calls unread, commit by commit."""
    counts: list[int] = []
    set_meta = catalogue.set_meta

    def noted(**values: Any) -> None:
        counts.extend(number for name, number in values.items() if name == "unread")
        set_meta(**values)

    monkeypatch.setattr(catalogue, "set_meta", noted)
    return counts


def test_files_are_committed_together_and_what_is_unread_is_counted(
    catalogue: Catalogue, scan: Scan, unread: list[int]
) -> None:
    read = hashing.read_files(catalogue, Silent(), scan, {})
    assert unread == [hashing._TOGETHER + 3, 3, 0]
    assert [*catalogue.files()] == [*scan.files]
    assert [*read.tags.values()] == ["added"] * (hashing._TOGETHER + 2) + ["copies"]


def test_what_takes_long_is_committed_by_itself(
    catalogue: Catalogue, scan: Scan, unread: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "_SECONDS", 0.0)
    hashing.read_files(catalogue, Silent(), scan, {})
    assert unread == [*range(hashing._TOGETHER + 3, -1, -1)]


def test_what_was_committed_before_an_interruption_stays(
    catalogue: Catalogue, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_file, last = hashing.hash_file, [*scan.files][-1]

    def interrupted(path: Path, scanned: Scan) -> tuple[str | None, str | None]:
        if path == last:
            raise KeyboardInterrupt
        return hash_file(path, scanned)

    with monkeypatch.context() as patch:
        patch.setattr(hashing, "hash_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            hashing.read_files(catalogue, Silent(), scan, {})
    files = catalogue.files()
    assert [*files] == [*scan.files][: hashing._TOGETHER]
    assert catalogue.meta("unread") == 3
    read = hashing.read_files(catalogue, Silent(), scan, files)
    assert [*read.tags.values()].count("unchanged") == hashing._TOGETHER
    assert catalogue.meta("unread") == 0
