"""Write the corpus of odd and broken films, pictures and recordings, and say what becomes of each (tab-separated)."""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import odd_media
import odd_pictures
import odd_sounds
from media_damage import mutants, whole_files
from odd_films import Odd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where to; must not exist")
    parser.add_argument("--seed", type=int, default=0, help="of the random damage")
    parser.add_argument("--mutants", type=int, default=0, help="so many randomly damaged films in a folder beside them")
    args = parser.parse_args()
    if args.folder.exists():
        parser.error(f"{args.folder} is there already")
    print("kind", "file", "what becomes of it", sep="\t")
    for film in odd_media.corpus(args.folder / "films", args.seed):
        _print(film.kind, film.name, _outcome(film))
    for picture in odd_pictures.write(args.folder / "pictures"):
        _print("picture", picture.name, picture.reason or "works")
    for sound in odd_sounds.write(args.folder / "sounds"):
        length = f"{'up to ' if sound.damaged else ''}{sound.seconds:g} s"
        _print(f"sound: {sound.kind}", sound.name, sound.reason or f"{sound.medium}, {length}")
    if args.mutants:
        (args.folder / "mutants").mkdir()
        for name, content in islice(mutants(whole_files(args.folder), args.seed), args.mutants):
            (args.folder / "mutants" / name).write_bytes(content)


def _outcome(film: Odd) -> str:
    if film.outcome is None:
        return "walked: it is a folder"
    if isinstance(film.outcome, str):
        return film.outcome
    return f"key images: {film.outcome}{' or more' if film.damaged else ''}"


def _print(kind: str, name: str, outcome: str) -> None:
    print(kind, ascii(name)[1:-1], outcome, sep="\t")


if __name__ == "__main__":
    main()
