"""A small folder of the layout in which HGR and HANet publish features, about videos that nobody has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_files import document

h5py: Any = pytest.importorskip("h5py")

KIND, WIDTH = "resnet152.pth", 12
NOUNS, VERBS = ("dog", "cat", "bird"), ("runs", "sleeps", "eats", "sings")
COUNTS = {"train": 12, "val": 6, "test": 6}
FILES = {"train": "trn", "val": "val", "test": "tst"}
SPECIAL = ("<sos>", "<eos>", "<unk>")
FREQUENCIES = {
    "noun": {"dog": 30, "cat": 20, "bird": 10},
    "verb": {"run": 9, "sleep": 8, "eat": 7, "sing": 6},
}


def caption(video: int, place: int) -> str:
    """The first caption of a video is shared by all videos that show the same."""
    noun, verb = NOUNS[video % 3], VERBS[video % 4]
    return f"a {noun} {verb}" if place == 0 else f"the {noun} {verb} in video {video % 5}"


def graph(sentence: str) -> Any:
    """What HGR's role labelling says of such a sentence."""
    words = sentence.split()
    nodes = {
        "ROOT": {"words": words, "spans": list(range(len(words))), "role": "ROOT"},
        "1": {"role": "V", "spans": [2], "words": words[2:3]},
        "2": {"role": "ARG0", "spans": [0, 1], "words": words[:2]},
    }
    return [nodes, [["1", "2", "ARG0"]]]


def frames(video: int, width: int = WIDTH) -> Any:
    """Vectors of the frames of a video: what it shows, and noise; between 3 and 30 frames."""
    dice = np.random.default_rng(video)
    rows = np.abs(dice.standard_normal((3 + 9 * (video % 4), width))).astype(np.float32) / 4
    rows[:, video % 3] += 2
    rows[:, 3 + video % 4] += 2
    return rows


def names(split: str) -> list[str]:
    """The names of a split's videos; one of them has a slash in it."""
    start = {"train": 0, "val": 12, "test": 24}[split]
    return [
        f"part/video{number}" if number % 6 == 5 else f"video{number}" for number in range(start, start + COUNTS[split])
    ]


def number_of(name: str) -> int:
    return int(name.rpartition("video")[2])


def make(root: Path, *, labels: bool = True, kinds: Sequence[str] = (KIND,)) -> Path:
    """Write the folder, with HANet's labels or without."""
    annotation = root / "annotation" / "RET"
    everything = [name for split in FILES for name in names(split)]
    texts = {name: [caption(number_of(name), place) for place in range(2)] for name in everything}
    document(annotation / "ref_captions.json", texts)
    sentences = sorted({text for listed in texts.values() for text in listed})
    document(annotation / "sent2rolegraph.augment.json", {text: graph(text) for text in sentences})
    words = [*SPECIAL, *sorted({word for text in sentences for word in text.split()})]
    np.save(annotation / "int2word.npy", np.array(words))
    document(annotation / "word2int.json", {word: number for number, word in enumerate(words)})
    (root / "public_split").mkdir()
    for split, short in FILES.items():
        np.save(root / "public_split" / f"{short}_names.npy", np.array(names(split)))
        for kind in kinds:
            path = root / "ordered_feature" / "SA" / kind / f"{short}_ft.hdf5"
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                for name in names(split):
                    file[name.replace("/", "_")] = frames(number_of(name))
    if labels:
        _hanet(root / "annotation")
    return root


def _hanet(folder: Path) -> None:
    for kind, count in (("noun", 3), ("verb", 4)):
        of_videos = {name: number_of(name) % count for name in names("train")}
        document(folder / f"{kind}_gt.json", {name: [[label], [label]] for name, label in of_videos.items()})
        document(folder / f"{kind}_gt_all.json", {name: {str(label): 1.0} for name, label in of_videos.items()})
        document(folder / f"{kind}_words_freq.json", FREQUENCIES[kind])


def change(root: Path, split: str, name: str, rows: Any, kind: str = KIND) -> None:
    """Give a video other frames; None: none at all."""
    path = root / "ordered_feature" / "SA" / kind / f"{FILES[split]}_ft.hdf5"
    with h5py.File(path, "a") as file:
        del file[name.replace("/", "_")]
        if rows is not None:
            file[name.replace("/", "_")] = rows


def rewrite(path: Path, change_document: Any) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(change_document(content)), encoding="utf-8")
