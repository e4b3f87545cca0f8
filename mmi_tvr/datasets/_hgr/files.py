"""The folders and annotation files of the layout.

annotation/RET/ref_captions.json                      {video: [caption, ...]}
annotation/RET/sent2rolegraph.augment.json            role graphs by caption
annotation/RET/{int2word.npy, word2int.json}          the words of its word vectors: the option `word_list` of mcsan
annotation/{noun,verb}_gt.json, {noun,verb}_gt_all.json   HANet's labels, in annotation/RET for VATEX
public_split/{trn,val,tst}_names.npy                  names of videos
ordered_feature/SA/KIND/{trn,val,tst}_ft.hdf5         {video: (frames, width)}; "/" in a name is "_" here
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...utils.text_arrays import read_text_array
from ...utils.textfiles import read_json_object
from ...utils.wording import counted

SPLITS = {"train": "trn", "val": "val", "test": "tst"}
ENTRIES = "an object with an entry for each video"  # what most files of annotations are
_MAX_NAMED = 5  # videos in a message


class HgrFolder:
    """A folder of the layout. Raises UsageError for whatever of it cannot be read."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser()
        if not self.root.is_dir():
            raise UsageError(f"{root}: no such folder")
        self._captions: dict[str, list[Any]] | None = None

    def names(self, split: str) -> list[str]:
        """Return the names of a split's videos, in order."""
        path = self.root / "public_split" / f"{SPLITS[split]}_names.npy"
        names = read_text_array(path)
        if not names:
            raise UsageError(f"{path}: names no video")
        if len(set(names)) < len(names):
            repeated = next(name for place, name in enumerate(names) if name in names[:place])
            raise UsageError(f"{path}: names {repeated} twice")
        return names

    def captions(self, names: Sequence[str]) -> list[list[str]]:
        """Return the captions of videos, as they stand in the file."""
        path = self.root / "annotation" / "RET" / "ref_captions.json"
        if self._captions is None:
            self._captions = read_json_object(path, ENTRIES)
        if lacking := [name for name in names if name not in self._captions]:
            more = ", ..." if len(lacking) > _MAX_NAMED else ""
            raise UsageError(
                f"{path}: without captions of {counted(len(lacking), 'video')} that the split names: "
                f"{', '.join(lacking[:_MAX_NAMED])}{more}"
            )
        for name in names:
            texts = self._captions[name]
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise UsageError(f"{path}: {name}: a list of captions is expected, not {str(texts)[:60]}")
        return [self._captions[name] for name in names]

    def chosen_kinds(self, kinds: Sequence[str] | None) -> list[str]:
        """Return the kinds of features that are meant: those of these names, else the only one that there is."""
        available = sorted(path.name for path in self._feature_folder().iterdir() if path.is_dir())
        if kinds is None and len(available) == 1:
            return available
        listing = ", ".join(available) or "none"
        if kinds is None:
            raise UsageError(f"{self._feature_folder()}: which features? Set `features` (there are: {listing})")
        if unknown := [kind for kind in kinds if kind not in available]:
            raise UsageError(f"{self._feature_folder()}: no features {', '.join(unknown)}; there are: {listing}")
        return list(kinds)

    def feature_files(self, split: str, kinds: Sequence[str]) -> list[Path]:
        """Return the files of a split's features, one of each kind."""
        return [self._feature_folder() / kind / f"{SPLITS[split]}_ft.hdf5" for kind in kinds]

    def role_graphs(self) -> Path | None:
        """Return the file of role graphs, the one with nouns of sentences without verbs before the one without."""
        names = ("sent2rolegraph.augment.json", "sent2rolegraph.json")
        return next((path for path in map(self.annotation, names) if path is not None), None)

    def annotation(self, name: str) -> Path | None:
        """Return a file below `annotation`, wherever of the two places it lies; None where it is in neither."""
        folders = (self.root / "annotation", self.root / "annotation" / "RET")
        return next((folder / name for folder in folders if (folder / name).is_file()), None)

    def _feature_folder(self) -> Path:
        """The folder of features by frame; HANet's VATEX has `VATEX_` in front of its name."""
        folders = [self.root / "ordered_feature", *sorted(self.root.glob("*_ordered_feature"))]
        for folder in folders:
            if (folder / "SA").is_dir():
                return folder / "SA"
        raise UsageError(f"{self.root}: has no ordered_feature/SA, where HGR has its features by frame")
