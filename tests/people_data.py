"""Data sets of people in their published layouts, drawn: a coloured square is a face (`people.faces.fake`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fakes import COLOURS, FakeModel
from numpy.typing import NDArray
from PIL import Image

from mmi_tvr import plugins
from mmi_tvr.protocols import FaceEncoder
from mmi_tvr.types import Pixels, Query

_FACE_COLOURS = ("red", "green", "yellow", "blue", "magenta", "cyan")  # in the order of the fake encoder's numbers
GROUNDS = {"cave": 100, "beach": 150}  # between what is off and on for the fake encoder
HEADER = "picture\tcelebrity\tplace\tfaces\tdistractor\n"


def face_picture(colour: str, ground: int = 128, side: int = 24, left: int = 8) -> Pixels:
    """A face of a colour on a grey ground, (48, 64, 3), with something in it to be sharp."""
    pixels = np.full((48, 64, 3), ground, np.uint8)
    pixels[10 : 10 + side, left : left + side] = COLOURS[colour]
    return pixels


def write_picture(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def cip(root: Path) -> Path:
    """Three celebrities in two places, a picture of each, a distractor that says somebody, and portraits of all."""
    lines = [HEADER]
    for name, colour, faces in (
        ("Ann Red", "red", "seen"),
        ("Bo Green", "green", "unseen"),
        ("Cy Blue", "blue", "seen"),
    ):
        for place, ground in GROUNDS.items():
            file = f"{colour}_{place}.png"
            write_picture(root / "pictures" / file, face_picture(colour, ground))
            lines.append(f"{file}\t{name}\t{place}\t{faces}\t0\n")
        write_picture(root / "portraits" / name.replace(" ", "_") / "1.png", face_picture(colour, left=30))
    write_picture(root / "pictures" / "nobody.png", face_picture("white"))
    (root / "cip.tsv").write_text("".join([*lines, "nobody.png\tAnn Red\tcave\t\t1\n"]))
    return root


class FaceModel(FakeModel):
    """Knows colours as FakeModel does, and reads faces: somebody is the colour of the face."""

    def __init__(self, reads_faces: bool = True) -> None:
        super().__init__("faces")
        if reads_faces:
            self.reads = frozenset({"text", "persons"})
        self.queries: list[Query] = []

    def face_encoder(self) -> FaceEncoder:
        encoder: FaceEncoder = plugins.build("people.faces", "fake", {})
        return encoder

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[Any]:
        self.queries = list(queries)
        return self._embed(np.array([self._meant(query) for query in queries]))

    def _meant(self, query: Query) -> Any:
        faces = [person.faces[0] for person in query.persons.values() if len(person.faces)]
        if "persons" in self.reads and faces:
            return np.mean([COLOURS[_FACE_COLOURS[int(face.argmax())]] for face in faces], axis=0)
        return self._colour_of(query.spoken.lower())


def vggface2(root: Path) -> Path:
    """Three people in train, two in test, three pictures each; names as the release writes them, and boxes."""
    lists: dict[str, list[str]] = {"train": [], "test": []}
    boxes: dict[str, list[str]] = {"train": ["NAME_ID,X,Y,W,H"], "test": ["NAME_ID,X,Y,W,H"]}
    for number, colour in enumerate(("red", "green", "blue", "cyan", "yellow"), start=1):
        part = "train" if number <= 3 else "test"
        for picture in range(1, 4):
            name = f"n{number:06}/{picture:04}_01"
            write_picture(root / part / f"{name}.jpg", face_picture(colour, left=4 * picture))
            lists[part].append(f"{name}.jpg")
            boxes[part].append(f'"{name}",{4 * picture},10,24,24')
    for part in lists:
        (root / f"{part}_list.txt").write_text("\n".join(lists[part]) + "\n")
        (root / "bb_landmark").mkdir(exist_ok=True)
        (root / "bb_landmark" / f"loose_bb_{part}.csv").write_text("\n".join(boxes[part]) + "\n")
    rows = ['n000001, "Ann_Red", 3, 1,  f', 'n000002, "Green,_Bo", 3, 1,  m', "n000003, Cy_Blue, Jr., 3, 1,  m"]
    rows += ['n000004, "Di_Cyan", 3, 0,  f', 'n000005, "Ed_Yellow", 3, 0,  m']
    (root / "identity_meta.csv").write_text("\n".join(["Class_ID, Name, Sample_Num, Flag, Gender", *rows]) + "\n")
    return root


def hollywood2(root: Path, clips: dict[str, tuple[str, ...]]) -> Path:
    """Lists in Hollywood2's layout: every list of train and test has all clips of its part, with 1 or -1."""
    for name in {name for classes in clips.values() for name in classes}:
        for part in ("train", "test"):
            signs = (
                f"{clip}   {'1' if name in classes else '-1'}\n" for clip, classes in clips.items() if part in clip
            )
            folder = root / ("ClipSetsScenes" if "-" in name else "ClipSets")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}_{part}.txt").write_text("".join(signs))
    return root
