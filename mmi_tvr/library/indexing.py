"""One indexing run: scan the folders, hash new files, forget vanished ones, look at new ones, embed what is pending.

The order of commits makes a kill harmless at any moment. Features are durable before vectors, vectors before the
catalogue says `indexed`, and rows leave the index before their content leaves the catalogue. What a kill leaves in
between is put right by `reconcile` and by going on with whatever is `pending`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from ..errors import MediaError, MissingExtra, ModelNotFound, UnreadableFile, UsageError
from ..features.cache import FeatureCache, Source
from ..features.embed import Embedder, Result
from ..features.extract import FIRST_SECONDS
from ..index import publish
from ..protocols import Index, SnapshotIndex
from ..skeletons.store import SKELETONS_FILE, SkeletonStore
from ..types import Embeddings, IdArray, Video, row_ids, video_of
from ..utils.progress import Progress
from ..utils.wording import library_option
from .attributes import VideoAttributes
from .catalogue import Catalogue, Content, File
from .components import Components
from .duplicates import compare_new_items, note_new_items
from .facts import known_facts
from .file_tags import Tag, count_tags, is_final, known_spelling
from .first_look import embed_first
from .hashing import read_files
from .pairing import forget_unpaired, note_unpaired, pair_files
from .probing import CHANGED, probe_contents, unknown_contents
from .report import IndexReport, TranslationReport
from .survey import survey
from .translated import ShownLog, translated_contents
from .translating import StoredVectors, Translation
from .turns import TurnTakingModel

FEATURES = "features"


class Indexing:
    """The writer's side of a library. Whoever uses it holds the writer's lock."""

    def __init__(self, folder: Path, catalogue: Catalogue, components: Components, progress: Progress) -> None:
        """Args: the library's folder, its catalogue (or a rebuild's), its model and index, and where to report to."""
        self.folder = folder
        self.catalogue = catalogue
        self.components = components
        self.progress = progress
        self.cache = FeatureCache(folder / FEATURES)
        self._index: Index | None = None
        self._reasons: dict[int, str] = {}  # why contents go on waiting, by number

    def close(self) -> None:
        if self._index is not None:
            self._index.close()

    def run(
        self,
        paths: Sequence[Path],
        exclude: Sequence[str] | None,
        retry: bool,
        present: Catalogue,
        settle: float = 0.0,
    ) -> IndexReport:
        """Bring the library up to date with these files and folders (none: all that it knows).

        Args:
            paths, exclude, retry, settle: as `Library.index` has them.
            present: what searches read; another one than that of a rebuild.
        """
        started = time.monotonic()
        worklist = survey(self.folder, self.catalogue, paths, exclude, self.progress)
        if worklist.scan.files and self.catalogue.meta("fingerprint") is None:
            self.components.load()  # a model that cannot be had should say so before hours of hashing
        self.reconcile()
        if retry:
            with self.catalogue.transaction():
                self.catalogue.set_pending(state="quarantined")
        waiting = {content.number for content in self.catalogue.pending_contents()}
        read = read_files(self.catalogue, self.progress, worklist.scan, worklist.files, settle)
        tags = read.tags
        removed = self.forget(worklist.vanished, tags)
        first = embed_first(self)
        is_paired_anew = self.probe(unknown_contents(self.catalogue)) or bool(first)
        self.prune()
        embedded, translation = self._make_vectors(present)
        embedded += first
        if not embedded and self.catalogue.meta("fingerprint") is not None:
            self._check_vectors()
        if self._index is not None:
            publish(self._index)
            compare_new_items(self.folder, self.catalogue, self._index, self.cache, self.progress)
        files = self.catalogue.files() if is_paired_anew else worklist.files
        unusable = read.unreachable | self._unusable_files(tags, files)
        resumed = {path for path in tags if files[path].content in waiting}
        return IndexReport(
            **count_tags({path: tag for path, tag in tags.items() if path not in unusable}, resumed),
            removed=tuple(sorted(removed)),
            quarantined=tuple(sorted(unusable.items())),
            unreadable=tuple(sorted(worklist.scan.unreadable.items())),
            without_videos=tuple(worklist.without_videos()),
            unsettled=tuple(read.unsettled),
            embedded=embedded,
            seconds=time.monotonic() - started,
            translation=translation,
            people=None,  # faces are looked for behind it,
            channels=None,  # and channels read behind that
        )

    def _check_vectors(self) -> None:
        """Raise IndexMismatch where the model is not the one any more that made the vectors: no search would use them.

        Without the model (its checkpoint, or the package that it comes from, is not here) nobody can say so, and files
        can be forgotten all the same.
        """
        with suppress(ModelNotFound, MissingExtra, UsageError):
            self.components.load()

    # Files -> contents

    def forget(self, vanished: Sequence[Path], tags: dict[Path, Tag]) -> list[Path]:
        """Drop vanished files and return those that are removed.

        Where the bytes of one turned up under a new path, that path is tagged as moved instead of as a copy.
        """
        if not vanished:
            return []
        files = self.catalogue.files()
        copies = defaultdict(list)  # new paths by the content that they lead to
        for path, tag in tags.items():
            if tag == "copies":
                copies[files[path].content].append(path)
        removed = []
        for path in dict.fromkeys(vanished):
            new_paths = copies[files[path].content]
            if new_paths:
                tags[new_paths.pop()] = "moved"
            else:
                removed.append(path)
        with self.catalogue.transaction():
            self.catalogue.drop_files(vanished)
            note_unpaired(self.catalogue, vanished)
        return removed

    def remove(self, paths: Sequence[Path], tidy: bool = True) -> tuple[Path, ...]:
        """Forget these files and all below these folders, and return them; with a main file its companion goes, too.

        UsageError for an unknown path.

        tidy: forget their features and skeletons, too; not where another catalogue says which of them are needed.
        """
        files, roots = self.catalogue.files(), self.catalogue.roots()
        paths = [known_spelling(path, [*files, *(root.path for root in roots)]) for path in paths]
        removed: set[Path] = set()
        for path in paths:
            below = [file for file in files if file.is_relative_to(path)]
            if not below and all(root.path != path for root in roots):
                command = f"mmi-tvr status {library_option(self.folder)}"
                raise UsageError(f"{path}: the library knows nothing of it; see what it knows: {command}")
            removed.update(below)
        removed.update(path for path, file in files.items() if file.main in removed)
        with self.catalogue.transaction():
            self.catalogue.drop_files(removed)
            for root in roots:
                if any(root.path.is_relative_to(path) for path in paths):
                    self.catalogue.drop_root(root.path)
        if tidy:
            self.prune()
        else:
            self._drop_orphans()
        return tuple(sorted(removed))

    # Contents -> vectors

    def _make_vectors(self, present: Catalogue) -> tuple[int, TranslationReport | None]:
        """Embed what waits for it, and where a rebuild is to translate, translate the rest.

        What has translated vectors is embedded after all else, but never before these can be searched. Returns how
        many contents were embedded, and what was translated.
        """
        size = self.catalogue.meta("translate")
        if size is None:
            contents = sorted(self.catalogue.pending_contents(), key=lambda content: content.kind != "image")
            if self.catalogue.meta("rebuilding") is None:
                contents += translated_contents(self.catalogue, ShownLog(self.folder).numbers().tolist())
            return self.embed(contents), None
        former = StoredVectors.of_library(self.folder, present)
        with closing(Translation(self.folder, self.catalogue, former, self.progress)) as translation:
            embedded = self.embed(translation.contents_to_embed(size))
            return embedded, translation.run(self._index, self.components.load().model.scoring.blocks)

    def embed(self, candidates: Sequence[Content]) -> int:
        """Embed contents, batch by batch, and return how many can be searched for it."""
        files = self.catalogue.files() if candidates else {}
        contents, sources = [], []
        self._settle_unseen(candidates)
        for content in candidates:
            if content.kind == "audio" or content.number in self._reasons:  # nobody could look what the latter is
                continue
            path = next((path for path in content.paths if path.exists()), None)
            if path is not None:  # without a file at hand (its disk is away) a content goes on waiting
                contents.append(content)
                video = Video(path, picture=content.kind == "image")
                sources.append(Source(video, content.sha256, files[path].stamp))
        if not contents:
            return 0
        loaded = self.components.load()
        self.progress.begin("embedding", len(contents))
        embedded = 0
        model = TurnTakingModel(loaded.model, self.components.models.turn)
        for batch in Embedder(model, loaded.key_image_method, self.cache).batches(sources, FIRST_SECONDS):
            final = [(position, outcome) for position, outcome in batch if is_final(sources[position], outcome)]
            for position, outcome in batch:
                if isinstance(outcome, UnreadableFile):
                    self._reasons[contents[position].number] = outcome.reason
            embedded += self._commit(contents, final)
            self.cache.merge_small_shards()
            self.progress.advance(len(batch))
        return embedded

    def _settle_unseen(self, candidates: Sequence[Content]) -> None:
        """Say of recordings that wait for a rebuild that there is nothing to see in them."""
        recordings = [content.number for content in candidates if content.kind == "audio"]
        if recordings:
            facts = known_facts(self.catalogue.connection, recordings)
            with self.catalogue.transaction():
                for number in recordings:
                    self.catalogue.set_unseen(number, facts[number].seconds)

    def _commit(self, contents: Sequence[Content], batch: Sequence[Result]) -> int:
        """Write a batch to the index, then to the catalogue, and return how many contents were embedded."""
        embedded, refused = [], []
        for position, outcome in batch:
            number = contents[position].number
            if isinstance(outcome, MediaError):
                refused.append((number, outcome))
            else:
                embedded.append((number, outcome))
        if embedded:
            ids = np.concatenate([row_ids(number, len(embeddings.moments)) for number, embeddings in embedded])
            vectors = np.vstack(
                [rows for _, embeddings in embedded for rows in (embeddings.video, embeddings.moments)]
            )  # (N, D)
            if self._index is None:
                self._index = self.components.make_index(vectors.shape[1])
            self._index.upsert(ids, vectors)
            self._index.flush()
            note_new_items(self.folder, [contents[position].sha256 for position, _ in batch])
        attributes = VideoAttributes(self.catalogue)
        surplus = self._surplus_ids(embedded)
        with self.catalogue.transaction():
            for number, embeddings in embedded:
                self.catalogue.set_indexed(number, embeddings)
                attributes.put(number, embeddings.attributes)
            for number, error in refused:
                self.catalogue.set_quarantined(number, error.reason)
        if len(surplus) and self._index is not None:
            self._index.delete(surplus)
            self._index.flush()
            self.catalogue.note_other_vectors()
        return len(embedded)

    def _surplus_ids(self, embedded: Sequence[tuple[int, Embeddings]]) -> IdArray:
        """Return the ids of key images that contents with translated vectors had and have no more."""
        before = self.catalogue.entries(number for number, _ in embedded)
        surplus = [
            row_ids(number, len(before[number].segments))[1 + len(embeddings.moments) :]
            for number, embeddings in embedded
            if number in before
        ]
        return np.concatenate(surplus) if surplus else np.empty(0, np.int64)

    # Catalogue and index

    def reconcile(self) -> None:
        """Make catalogue and index agree after a kill: the catalogue says what should be in the index."""
        index = self._index = self.components.open_index(create=True)
        stored = np.empty(0, np.int64) if index is None else index.ids()
        lost = np.setdiff1d(self.catalogue.expected_ids(), stored)
        if len(lost):
            with self.catalogue.transaction():
                self.catalogue.set_pending(np.unique(video_of(lost)).tolist())
        extra = np.setdiff1d(stored, self.catalogue.expected_ids())
        if index is not None and len(extra):
            index.delete(extra)
            index.flush()
            self.catalogue.note_other_vectors()
        elif isinstance(index, SnapshotIndex):
            index.flush()  # builds what the settings want built and is not there: they have changed, or a kill came

    def probe(self, contents: Sequence[Content]) -> bool:
        """Look at contents, decide which files are one item, and return whether there was anything to decide.

        What is no item by itself any more loses its vectors, and waits.
        """
        self._reasons |= probe_contents(self.catalogue, self.progress, contents)
        numbers = pair_files(self.catalogue)
        if numbers is None:
            return False
        self._delete_vectors(numbers)
        with self.catalogue.transaction(is_searched=bool(numbers)):
            self.catalogue.set_pending(numbers)
            forget_unpaired(self.catalogue)
        return True

    def _delete_vectors(self, numbers: Sequence[int]) -> None:
        """Remove the vectors of contents from the index, durably."""
        if self._index is not None and numbers:
            stored = self.catalogue.expected_ids()
            self._index.delete(stored[np.isin(video_of(stored), numbers)])
            self._index.flush()

    def prune(self) -> None:
        """Forget contents to which no file leads: their vectors, they themselves, their skeletons, their features."""
        self._drop_orphans()
        hashes = self.catalogue.content_hashes()
        if (self.folder / SKELETONS_FILE).is_file():
            with SkeletonStore(self.folder / SKELETONS_FILE) as store:
                store.keep(hashes)
        self.cache.discard([key for key in self.cache if key.partition("-")[0] not in hashes])

    def _drop_orphans(self) -> None:
        orphans = self.catalogue.orphans()
        if orphans:
            self._delete_vectors(orphans)
            with self.catalogue.transaction():
                self.catalogue.drop_contents(orphans)

    def _unusable_files(self, paths: Iterable[Path], files: Mapping[Path, File]) -> dict[Path, str]:
        """Return those of these files that are quarantined or not embedded yet, with the reason."""
        reasons = dict(self.catalogue.quarantined_files())
        states = self.catalogue.content_states()
        waiting = {number: self._reasons.get(number, CHANGED) for number, state in states.items() if state == "pending"}
        unusable = {path: reasons[path] for path in paths if path in reasons}
        for path in paths:
            content = files[path].content
            if content in waiting and files[path].main is None:
                unusable[path] = waiting[content]
        return unusable
