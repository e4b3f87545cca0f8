"""Which files a scan lists, on empty files: it reads names and stamps, and the first bytes of what may be source."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmi_tvr.library.scan import UNREADABLE, Root, Scan, owner, real_path, scan
from mmi_tvr.media.listing import HIDDEN


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def listed(root: Path, *exclude: str, **options) -> list[str]:
    """The files below a root that a scan lists, as text relative to it."""
    files = scan([Root(root, exclude)], **options).files
    return sorted(path.relative_to(root).as_posix() for path in files)


def test_videos_are_known_by_their_suffix_in_any_case(tmp_path):
    touch(tmp_path, "a.mp4", "B.MP4", "c.MkV", "d.txt", "mp4", "e.mp4.part")
    assert listed(tmp_path) == ["B.MP4", "a.mp4", "c.MkV"]


@pytest.mark.parametrize("name", [".a.mp4", ".trash/a.mp4", *(f"{name}/a.mp4" for name in sorted(HIDDEN))])
def test_hidden_files_and_folders_are_passed_over(tmp_path, name):
    touch(tmp_path, name, "b.mp4")
    assert listed(tmp_path) == ["b.mp4"]


@pytest.mark.parametrize(
    ("pattern", "excluded"),
    [
        ("drafts", {"drafts/a.mp4", "x/drafts/b.mp4"}),
        ("drafts/", {"drafts/a.mp4"}),  # with a slash: a path from the root
        ("/drafts", {"drafts/a.mp4"}),
        ("x/drafts", {"x/drafts/b.mp4"}),
        ("x/*.mp4", {"x/drafts/b.mp4", "x/c.mp4"}),  # a star crosses slashes
        ("c*", {"x/c.mp4"}),
        ("?.mp4", {"drafts/a.mp4", "x/drafts/b.mp4", "x/c.mp4"}),
    ],
)
def test_patterns_leave_out_names_and_paths(tmp_path, pattern, excluded):
    names = {"drafts/a.mp4", "x/drafts/b.mp4", "x/c.mp4", "longer.mp4"}
    touch(tmp_path, *names)
    assert set(listed(tmp_path, pattern)) == names - excluded


@pytest.mark.parametrize(
    ("content", "is_video"),
    [(b"Gabcd", True), (b"abcdG", True), (b"G", True), (b"abcd", False), (b"abcdeG", False), (b"", False)],
)
@pytest.mark.parametrize("suffix", [".ts", ".mts"])
def test_source_code_is_told_from_transport_streams_by_the_sync_byte(tmp_path, content, is_video, suffix):
    (tmp_path / f"a{suffix}").write_bytes(content)
    assert listed(tmp_path) == ([f"a{suffix}"] if is_video else [])


def test_stamps_are_size_and_time(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"12345")
    os.utime(tmp_path / "a.mp4", ns=(1, 1_234_567_890))
    assert scan([Root(tmp_path)]).files == {tmp_path / "a.mp4": (5, 1_234_567_890)}


def test_what_is_no_file_is_refused_with_its_reason(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "nowhere")
    result = scan([Root(tmp_path)])
    assert result.files == {tmp_path / "pipe.mp4": UNREADABLE, tmp_path / "link.mp4": UNREADABLE}
    assert result.refused == {
        tmp_path / "pipe.mp4": "not a regular file",
        tmp_path / "link.mp4": "a link that points to nothing",
    }


def test_a_file_whose_stat_fails_is_refused_with_what_the_system_says(tmp_path, monkeypatch):
    errors = {"a.mp4": OSError(5, "Input/output error"), "b.mp4": OSError("no number")}

    def stat(path: Path, **options: object) -> None:
        raise errors[path.name]

    result = Scan()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", stat)
        for name in errors:
            result.add(Path(name))
    assert result.refused == {Path("a.mp4"): "Input/output error", Path("b.mp4"): "no number"}
    assert set(result.files.values()) == {UNREADABLE}


def test_adding_a_file_that_is_not_there_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        Scan().add(tmp_path / "none.mp4")


def test_a_file_that_vanishes_after_it_was_listed_is_passed_over(tmp_path, monkeypatch):
    touch(tmp_path, "a.mp4", "b.mp4")
    add = Scan.add

    def vanishing(result: Scan, path: Path) -> None:
        if path.name == "a.mp4":
            path.unlink()
        add(result, path)

    monkeypatch.setattr(Scan, "add", vanishing)
    assert listed(tmp_path) == ["b.mp4"]


def test_a_folder_that_cannot_be_listed_is_named_with_its_reason(tmp_path):
    touch(tmp_path, "a.mp4")
    gone = tmp_path / "gone"
    result = scan([Root(tmp_path), Root(gone)])
    assert list(result.files) == [tmp_path / "a.mp4"]
    assert result.unreadable == {gone: "No such file or directory"}


def test_a_walk_stops_at_roots_of_their_own_and_at_the_skipped_folder(tmp_path):
    touch(tmp_path, "a.mp4", "inner/b.mp4", "library/c.mp4")
    assert listed(tmp_path, known=[tmp_path / "inner"], skip=tmp_path / "library") == ["a.mp4"]
    assert listed(tmp_path, skip=tmp_path / "library") == ["a.mp4", "inner/b.mp4"]
    assert listed(tmp_path) == ["a.mp4", "inner/b.mp4", "library/c.mp4"]


def test_an_inner_root_is_walked_with_its_own_patterns(tmp_path):
    touch(tmp_path, "a.mp4", "inner/a.mp4", "inner/b.mp4")
    files = scan([Root(tmp_path, ("b.mp4",)), Root(tmp_path / "inner", ("a.mp4",))]).files
    assert sorted(path.relative_to(tmp_path).as_posix() for path in files) == ["a.mp4", "inner/b.mp4"]


def test_links_are_followed_out_of_the_roots_once_and_last(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    touch(root, "z/a.mp4")
    touch(outside, "b.mp4")
    (root / "1 link out").symlink_to(outside)
    (root / "2 link out").symlink_to(outside)
    (root / "1 link in").symlink_to(root / "z")
    (root / "loop").symlink_to(root)
    (root / "circle").symlink_to(root / "circle")
    assert listed(root) == ["1 link out/b.mp4", "z/a.mp4"]


def test_folders_come_by_name_whatever_the_disk_says(tmp_path, monkeypatch):
    """Of two links to one folder, the first by name gives its files their path."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    touch(outside, "b.mp4")
    root.mkdir()
    for name in ("b", "a", "c"):
        (root / name).symlink_to(outside)

    class Reversed:
        def __init__(self, folder: Path) -> None:
            self.listing = scandir(folder)

        def __enter__(self):
            return sorted(self.listing, key=lambda entry: entry.name, reverse=True)

        def __exit__(self, *reason: object) -> None:
            self.listing.close()

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", Reversed)
    assert listed(root) == ["a/b.mp4"]


def test_the_owner_is_the_deepest_root(tmp_path):
    outer, inner = Path("/a"), Path("/a/b")
    assert owner(Path("/a/b/c.mp4"), [outer, inner]) == inner
    assert owner(Path("/a/c.mp4"), [outer, inner]) == outer
    assert owner(inner, [outer, inner]) == inner
    assert owner(Path("/x/c.mp4"), [outer, inner]) is None


def test_a_real_path_resolves_folders_and_keeps_the_name_of_a_linked_file(tmp_path):
    tmp_path = tmp_path.resolve()
    touch(tmp_path, "real/a.mp4")
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "link.mp4").symlink_to(tmp_path / "real" / "a.mp4")
    assert real_path(tmp_path / "alias") == tmp_path / "real"
    assert real_path(tmp_path / "alias" / "link.mp4") == tmp_path / "real" / "link.mp4"
    assert real_path(tmp_path / "real" / ".." / "real" / "none.mp4") == tmp_path / "real" / "none.mp4"
