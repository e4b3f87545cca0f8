"""One indexing run: look, hash what is new, forget what is gone, embed what is pending.

The order of commits makes a kill harmless at any moment. Features are durable before vectors, vectors before the
catalogue says `indexed`, and rows leave the index before their content leaves the catalogue. What a kill leaves in
between is put right by `reconcile` and by going on with whatever is `pending`.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import MediaError, UsageError
from ..features.cache import FeatureCache, Source, stamp_of
from ..features.embed import Embedder, Result
from ..index import publish
from ..protocols import Index
from ..skeletons.store import SKELETONS_FILE, SkeletonStore
from ..types import Embeddings, Video, row_ids, video_of
from ..utils.hashing import file_digest
from ..utils.progress import Progress
from .binding import Binding
from .catalogue import Catalogue, Content, File
from .report import IndexReport
from .scan import UNREADABLE, Root, Scan, owner, real_path, scan

FEATURES = "features"
_UNFINISHED = "changed while it was being read; index it again"
Tag = Literal["added", "unchanged", "moved", "changed", "copies"]


@dataclass(slots=True)
class Plan:
    """What a run looks at: folders to walk, single files, and what is missing."""

    roots: list[Root] = field(default_factory=list)
    found: Scan = field(default_factory=Scan)
    vanished: list[Path] = field(default_factory=list)


class Indexing:
    """The writer's side of a library. Whoever uses it holds the writer's lock."""

    def __init__(self, folder: Path, catalogue: Catalogue, binding: Binding, progress: Progress) -> None:
        self.folder = folder
        self.catalogue = catalogue
        self.binding = binding
        self.progress = progress
        self.cache = FeatureCache(folder / FEATURES)
        self._index: Index | None = None

    def close(self) -> None:
        if self._index is not None:
            self._index.close()

    def run(self, paths: Sequence[Path], exclude: Sequence[str] | None, retry: bool) -> IndexReport:
        """Bring the library up to date with these files and folders (none: all that it knows)."""
        started = time.monotonic()
        plan = self.look(paths, exclude)
        if plan.found.files and self.catalogue.meta("fingerprint") is None:
            self.binding.load()  # a model that cannot be had should say so before hours of hashing
        self.reconcile()
        if retry:
            with self.catalogue.change():
                self.catalogue.set_pending(state="quarantined")
        waiting = {content.number for content in self.catalogue.pending()}
        tags = self.read(plan.found, retry)
        removed = self.forget(plan.vanished, tags)
        self.prune()
        embedded = self.embed()
        if self._index is not None:
            publish(self._index)
        return self._report(plan.found, tags, waiting, removed, embedded, started)

    # What is there

    def look(self, paths: Sequence[Path], exclude: Sequence[str] | None) -> Plan:
        """Walk the folders and stat the files. Roots are remembered; `exclude` replaces their patterns if given."""
        known = {root.path: root for root in self.catalogue.roots()}
        files = self.catalogue.files()
        given = [real_path(path) for path in paths]
        given = given or [*known, *(path for path in files if owner(path, known) is None)]
        if not given:
            raise UsageError(f"nothing to index: {self.folder} knows no folder yet; name one: mmi-tvr index DIR")
        plan = Plan()
        for path in given:
            if path.is_dir() or path in known:
                earlier = known.get(path, Root(path))
                known[path] = earlier if exclude is None else Root(path, tuple(exclude))
            else:
                self._look_at_file(path, plan, known=path in files)
        plan.roots = [root for root in known.values() if any(root.path.is_relative_to(path) for path in given)]
        with self.catalogue.change():
            for root in plan.roots:
                self.catalogue.add_root(root)
        walked = scan(plan.roots, known=known, skip=self.folder)
        plan.found.files.update(walked.files)
        plan.found.refused.update(walked.refused)
        plan.found.unreadable.update(walked.unreadable)
        plan.vanished += self._vanished(plan, known, files)
        return plan

    def _look_at_file(self, path: Path, plan: Plan, known: bool) -> None:
        try:
            plan.found.look(path)
        except FileNotFoundError:
            if not known:
                raise UsageError(f"{path}: no such file or folder") from None
            plan.vanished.append(path)

    def _vanished(self, plan: Plan, known: Collection[Path], files: Iterable[Path]) -> list[Path]:
        """Catalogued files of the walked roots that were not seen again, unless nobody could have seen them."""
        unreadable = plan.found.unreadable
        walked = {root.path for root in plan.roots}
        alive = {owner(path, known) for path in plan.found.files}
        missing = defaultdict(list)
        for path in files:
            if path not in plan.found.files and (root := owner(path, known)) in walked:
                missing[root].append(path)
        for root, paths in missing.items():
            if root not in alive:
                # An unplugged disk looks like this. Whoever means it can remove the folder from the library.
                reason = f"nothing of it is there any more; its {len(paths)} files are kept in the library"
                unreadable.setdefault(root, reason)
        lost = [path for paths in missing.values() for path in paths]
        return [path for path in lost if owner(path, unreadable) is None]

    # Files -> contents

    def read(self, found: Scan, retry: bool) -> dict[Path, Tag]:
        """Hash every file whose stamp is new and put it into the catalogue; says what each file is."""
        files, states = self.catalogue.files(), self.catalogue.states()
        tags: dict[Path, Tag] = {}
        for path, stamp in found.files.items():
            before = files.get(path)
            if before is not None and before.stamp == stamp and not (retry and before.content is None):
                tags[path] = "unchanged"
        fresh = [path for path in found.files if path not in tags]
        if fresh:
            self.progress.begin("reading", len(fresh))
        for path in fresh:
            content, reason = _hash(path, found)
            with self.catalogue.change():
                number = None if content is None else self.catalogue.content(content)
                self.catalogue.put_file(path, found.files[path], number, reason)
                if number is not None and path in files and states.get(number) == "quarantined":
                    self.catalogue.set_pending([number])  # written again with the same bytes: worth another look
            tags[path] = _tag(files.get(path), number, number in states)
            if number is not None:
                states.setdefault(number, "pending")
            self.progress.advance()
        return tags

    def forget(self, vanished: Sequence[Path], tags: dict[Path, Tag]) -> list[Path]:
        """Drop files that are gone. Where their bytes turned up under a new path, that one was moved, not copied."""
        if not vanished:
            return []
        files = self.catalogue.files()
        arrived = defaultdict(list)
        for path, tag in tags.items():
            if tag == "copies":
                arrived[files[path].content].append(path)
        removed = []
        for path in dict.fromkeys(vanished):
            if new := arrived[files[path].content]:
                tags[new.pop()] = "moved"
            else:
                removed.append(path)
        with self.catalogue.change():
            self.catalogue.drop_files(vanished)
        return removed

    # Contents -> vectors

    def embed(self) -> int:
        """Embed every pending content, a batch at a time; returns how many can be searched for it."""
        pending = self.catalogue.pending()
        files = self.catalogue.files() if pending else {}
        waiting, sources = [], []
        for content in pending:
            # Without a file at hand (its disk is away) a content goes on waiting.
            if path := next((path for path in content.paths if path.exists()), None):
                waiting.append(content)
                sources.append(Source(Video(path), content.sha256, files[path].stamp))
        if not waiting:
            return 0
        model, method, _ = self.binding.load()
        self.progress.begin("embedding", len(waiting))
        done = 0
        for batch in Embedder(model, method, self.cache).batches(sources):
            done += self._commit(waiting, [(at, found) for at, found in batch if _final(sources[at], found)])
            self.progress.advance(len(batch))
        return done

    def remove(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """Forget these files and all below these folders; returns the files. UsageError for an unknown path."""
        files, roots = self.catalogue.files(), self.catalogue.roots()
        gone: set[Path] = set()
        for path in paths:
            below = [file for file in files if file.is_relative_to(path)]
            if not below and all(root.path != path for root in roots):
                raise UsageError(f"{path}: the library knows nothing of it; see what it knows: mmi-tvr status")
            gone.update(below)
        with self.catalogue.change():
            self.catalogue.drop_files(gone)
            for root in roots:
                if any(root.path.is_relative_to(path) for path in paths):
                    self.catalogue.drop_root(root.path)
        self.prune()
        return tuple(sorted(gone))

    def _commit(self, waiting: Sequence[Content], batch: Sequence[Result]) -> int:
        good = [(waiting[at].number, found) for at, found in batch if isinstance(found, Embeddings)]
        bad = [(waiting[at].number, found) for at, found in batch if isinstance(found, MediaError)]
        if good:
            vectors = np.concatenate([np.vstack([found.video[None], found.moments]) for _, found in good])
            if self._index is None:
                self._index = self.binding.make_index(vectors.shape[1])
            self._index.upsert(np.concatenate([row_ids(number, len(found.moments)) for number, found in good]), vectors)
            self._index.flush()
        with self.catalogue.change():
            for number, found in good:
                self.catalogue.set_indexed(number, found)
            for number, error in bad:
                self.catalogue.set_quarantined(number, error.reason)
        return len(good)

    # Order

    def reconcile(self) -> None:
        """Make catalogue and index agree after a kill: the catalogue says what should be there."""
        index = self._index = self.binding.open_index(create=True)
        stored = np.empty(0, np.int64) if index is None else index.ids()
        lost = np.setdiff1d(self.catalogue.expected_ids(), stored)
        if len(lost):
            with self.catalogue.change():
                self.catalogue.set_pending(np.unique(video_of(lost)).tolist())
        extra = np.setdiff1d(stored, self.catalogue.expected_ids())
        if index is not None and len(extra):
            index.delete(extra)
            index.flush()

    def prune(self) -> None:
        """Forget contents to which no file leads: their vectors, they themselves, their skeletons, their features."""
        orphans = self.catalogue.orphans()
        if orphans:
            if self._index is not None:
                stored = self.catalogue.expected_ids()
                self._index.delete(stored[np.isin(video_of(stored), orphans)])
                self._index.flush()
            with self.catalogue.change():
                self.catalogue.drop_contents(orphans)
        alive = self.catalogue.hashes()
        if (self.folder / SKELETONS_FILE).is_file():
            with SkeletonStore(self.folder / SKELETONS_FILE) as store:
                store.keep(alive)
        self.cache.discard([key for key in self.cache if key.partition("-")[0] not in alive])

    def _report(
        self,
        found: Scan,
        tags: dict[Path, Tag],
        waiting: set[int],
        removed: Sequence[Path],
        embedded: int,
        started: float,
    ) -> IndexReport:
        files, states = self.catalogue.files(), self.catalogue.states()
        bad = {path: reason for path, reason in self.catalogue.quarantined() if path in tags}
        pending = {number for number, state in states.items() if state == "pending"}
        bad |= {path: _UNFINISHED for path in tags if files[path].content in pending}
        counts: Counter[str] = Counter()
        for path, tag in tags.items():
            if path in bad:
                continue
            resumed = tag == "unchanged" and files[path].content in waiting
            counts["added" if resumed else tag] += 1
        return IndexReport(
            **counts,
            removed=tuple(sorted(removed)),
            quarantined=tuple(sorted(bad.items())),
            unreadable=tuple(sorted(found.unreadable.items())),
            embedded=embedded,
            seconds=time.monotonic() - started,
        )


def _hash(path: Path, found: Scan) -> tuple[str | None, str | None]:
    """SHA-256 of a file, or the reason why there is none."""
    if found.files[path] == UNREADABLE:
        return None, found.refused[path]
    try:
        return file_digest(path), None
    except OSError as error:
        return None, error.strerror or str(error)


def _final(source: Source, found: Embeddings | MediaError) -> bool:
    """Whether a result is about the bytes that were hashed; if not, their content goes on waiting."""
    if isinstance(found, Embeddings):
        return True
    try:
        return stamp_of(source.video.path) == source.stamp
    except OSError:
        return False


def _tag(before: File | None, number: int | None, known: bool) -> Tag:
    """What a freshly read file is, from what was catalogued of its path and whether its bytes were."""
    if before is None:
        return "copies" if known else "added"
    if before.content == number:
        return "unchanged"
    return "added" if before.content is None else "changed"
