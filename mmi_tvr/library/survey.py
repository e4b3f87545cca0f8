"""What an indexing run has to look at: the files of its folders, and those that are missing.

What is missing because its disk is away is not deleted. So what is known of these is kept until it is removed from the
library: of a root of which nothing is left, below a mount point on which nothing is mounted, in the empty or missing
folder of a file that was named by hand, behind a link into such a folder.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError
from ..utils.progress import Progress
from ..utils.wording import counted, library_option
from .catalogue import Catalogue, File
from .scan import Root, Scan, is_away, owner, owners, real_path, scan


@dataclass(slots=True)
class Worklist:
    """What a run works through: the files that the catalogue knows, the folders that were walked, the files that are in
    these, and those that are missing."""

    files: Mapping[Path, File] = field(default_factory=dict)
    roots: list[Root] = field(default_factory=list)
    scan: Scan = field(default_factory=Scan)
    vanished: list[Path] = field(default_factory=list)

    def without_videos(self) -> Iterator[tuple[Path, str]]:
        """Yield the walked folders below which no medium is or was, with what they hold."""
        scanned = self.scan
        for root in sorted(root.path for root in self.roots):
            known = (*scanned.files, *self.vanished, *scanned.unreadable)
            if not any(path.is_relative_to(root) for path in known):
                yield root, scanned.contents_without_media(root)


def survey(
    folder: Path, catalogue: Catalogue, paths: Sequence[Path], exclude: Sequence[str] | None, progress: Progress
) -> Worklist:
    """Walk folders and stat files, and return what there is to do. Roots and mount points are remembered.

    Args:
        folder: of the library.
        catalogue: what it knows; the caller holds the writer's lock.
        paths: folders and files; none: all that it knows.
        exclude: replaces the patterns of these folders, and leaves out files of this list; None keeps the patterns.
        progress: hears what is left out.

    Raises:
        UsageError: nothing is known of a missing file, or nothing was named and nothing is known.
    """
    roots = {root.path: root for root in catalogue.roots()}
    files = catalogue.files()
    targets = [real_path(path) for path in paths]
    if not targets:
        single_files = (path for path, root in owners(files, roots).items() if root is None)
        targets = [*roots, *single_files]
    if not targets:
        command = f"mmi-tvr index DIR {library_option(folder)}"
        raise UsageError(f"nothing to index: {folder} knows no folder yet; name one: {command}")
    worklist, excluded = Worklist(files), []
    for path in targets:
        if path.is_dir() or path in roots:
            earlier = roots.get(path, Root(path))
            roots[path] = earlier if exclude is None else Root(path, tuple(exclude))
        elif exclude is not None and Root(Path(path.anchor), tuple(exclude)).excludes(path):
            excluded.append(path)
        else:
            _add_file(path, worklist, catalogued=path in files)
    if excluded:
        progress.say(f"left out by --exclude: {len(excluded)} of the files that were named")
        worklist.vanished += [path for path in excluded if path in files]
    worklist.roots = [root for root in roots.values() if any(root.path.is_relative_to(path) for path in targets)]
    with catalogue.transaction(is_searched=False):
        for root in worklist.roots:
            catalogue.add_root(root)
    walked = scan(worklist.roots, known=roots, skip=folder)
    worklist.scan.files.update(walked.files)
    worklist.scan.refused.update(walked.refused)
    worklist.scan.unreadable.update(walked.unreadable)
    worklist.scan.others.update(walked.others)
    _note_mounts(catalogue, walked, worklist)
    worklist.vanished += _vanished(worklist, roots, files)
    return worklist


def _add_file(path: Path, worklist: Worklist, catalogued: bool) -> None:
    """Add a single file, or that it is missing. UsageError where nothing was ever known of it."""
    try:
        worklist.scan.add(path)
    except FileNotFoundError:
        if not catalogued:
            raise UsageError(f"{path}: no such file or folder") from None
        if is_away(path):
            worklist.scan.unreadable[path] = "its folder is gone or empty; what is known of it is kept"
        else:
            worklist.vanished.append(path)


def _note_mounts(catalogue: Catalogue, walked: Scan, worklist: Worklist) -> None:
    """Remember the mount points below the walked roots; those on which nothing is mounted now count as unreadable."""
    known = {Path(mount) for mount in catalogue.meta("mounts", [])}
    roots = {root.path for root in worklist.roots}
    elsewhere = {mount for mount in known if owner(mount, roots) is None}
    bare = {mount for mount in known - walked.mounts - elsewhere if is_away(mount / "anything")}
    for mount in bare:
        worklist.scan.unreadable.setdefault(mount, "nothing is mounted there now; what is known of it is kept")
    present = walked.mounts | elsewhere | bare
    if present != known:
        with catalogue.transaction(is_searched=False):
            catalogue.set_meta(mounts=sorted(map(str, present)))


def _vanished(worklist: Worklist, roots: Collection[Path], files: Iterable[Path]) -> list[Path]:
    """Return the catalogued files of the walked roots that are gone, but for those in unreadable folders.

    A root of which nothing is left counts as unreadable: an unplugged disk looks like this. Whoever means it can
    remove the folder from the library.
    """
    unreadable = worklist.scan.unreadable
    walked = {root.path for root in worklist.roots}
    roots_with_files = {*owners(worklist.scan.files, roots).values()}
    missing = defaultdict(list)
    for path, root in owners(files, roots).items():
        if root in walked and path not in worklist.scan.files:
            missing[root].append(path)
    for root, paths in missing.items():
        if root not in roots_with_files:
            reason = f"nothing of it is there any more; {counted(len(paths), 'file')} of it stay in the library"
            unreadable.setdefault(root, reason)
    candidates = [path for paths in missing.values() for path in paths]
    return [path for path in candidates if owner(path, unreadable) is None]
