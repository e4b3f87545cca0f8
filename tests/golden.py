"""A golden run: the bundled model on 40 generated clips, stage by stage, held against numbers that are on record.

It goes the whole way (render, encode, decode, key images, towers, heads, language model, ranks) and notes a few numbers
of each stage for each clip, so that a change says where it happened. What is compared survives another machine:

- `times`: the key images' times; those of a few clips may differ (one changed pixel can tip a choice);
- `vision`, `video`, `query`: the projection of a stage's vector on a fixed direction, within a tolerance;
- `score`: of a caption with its own video, within a tolerance;
- `rank`: exactly, where the nearest wrong answer is far enough away (`margin`).

Run as a program, this puts the numbers on record, after the bundled model was made anew: `golden.py [--output FILE]`.

Nothing is read from or written to a cache: a changed stage must not hide behind features of yesterday.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mmi_tvr import models, plugins
from mmi_tvr.cli._console import command
from mmi_tvr.datasets import moving_shapes
from mmi_tvr.encoders import hub
from mmi_tvr.errors import MediaError, UsageError
from mmi_tvr.evaluation import metrics
from mmi_tvr.features.cache import Source
from mmi_tvr.features.extract import extract
from mmi_tvr.protocols import KeyImageMethod, Model
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.types import Embeddings, Features, FloatArray, Query, Sample, Video
from mmi_tvr.utils.files import write_atomically
from mmi_tvr.utils.hashing import digest, file_digest

RECORD = Path(__file__).parent / "data" / "golden.json"
MODEL = "moving-shapes"
CLIPS = 40
# Decisions, from changes measured on 8 clips (the largest, and the mean). Another number of threads: nothing at all. A
# step of 1 up or down in every value of the pictures: vision 0.00014 and 0.00003, video 0.0026 and 0.0005, score 0.0019
# and 0.00005. Another filter for resizing: vision 0.0022 and 0.0014, score 0.03 and 0.008. Pictures normalised by means
# that are 1 % off: vision 0.0005 and 0.0003. A tenth of mean pooling: video 0.011 and 0.002.
TOLERANCES = {"vision": 0.0004, "video": 0.004, "query": 0.0005, "score": 0.004}
MEANS = {"vision": 0.0001, "video": 0.001, "query": 0.0001, "score": 0.001}
TIPPED = 0.2  # share of clips whose key images may be others
MARGIN, LOOSE_MARGIN = 0.01, 0.05  # a lead above this is clear; the second where key images of some clip are others

Record = dict[str, Any]


def parts() -> tuple[Model, KeyImageMethod]:
    """Return the bundled model and its key images."""
    section = models.section(MODEL)
    images = models.key_images(section)
    assert images is not None
    return models.make(section, "cpu"), plugins.build("keyimages", images.name, images.options)


def samples(folder: Path) -> list[Sample]:
    """Write clips of the test split and as many of the hardest contrast set into a folder, one caption each.

    The second half is there because the model finds all of the first: a number at its end stop shows no change. The
    files are lossless, so that they show the same pictures whichever encoder wrote them.
    """
    clips: list[Sample] = []
    for split in ("test", "order"):
        dataset = plugins.build("datasets", "moving_shapes", {"split": split, "captions": 1, "count": CLIPS // 2})
        for spec, sample in zip(dataset.specs(), dataset.samples(), strict=True):
            path = folder / f"{sample.id}.mp4"
            path.write_bytes(moving_shapes.encode(spec, dataset.options.size, dataset.options.fps, lossless=True))
            clips.append(replace(sample, video=Video(path)))
    return clips


def run(model: Model, method: KeyImageMethod, clips: Sequence[Sample]) -> Record:
    """Return what the record holds of these clips. MediaError where one cannot be read."""
    features = _features(model, method, clips)
    embeddings = model.embed_videos(features)
    queries = np.asarray(model.embed_queries([Query(clip.captions[0]) for clip in clips]))
    scores = Gallery.pack(embeddings).score(queries, model.scoring)
    ground_truth = [{number} for number in range(len(clips))]
    ranks = metrics.both_directions(lambda: [scores], ground_truth)
    rows = [_row(*stages) for stages in zip(clips, features, embeddings, queries, strict=True)]
    for number, row in enumerate(rows):
        row["score"] = round(float(scores[number, number]), 5)
        row["t2v"] = {"rank": int(ranks.t2v[number]), "margin": _margin(scores[number], number)}
        row["v2t"] = {"rank": int(ranks.v2t[number]), "margin": _margin(scores[:, number], number)}
    summaries = {
        "t2v": metrics.summary(ranks.t2v, resamples=0).values(),
        "v2t": metrics.summary(ranks.v2t, resamples=0).values(),
    }
    return {"model": MODEL, "weights": weights(), "metrics": summaries, "clips": rows}


def differences(golden: Record, now: Record) -> list[str]:
    """Return what moved by more than noise, the earliest stage first; empty where nothing did.

    `now` may be of the first clips alone: its ranks, which depend on the collection, are then left out.
    """
    before = {row["id"]: row for row in golden["clips"]}
    if unknown := [row["id"] for row in now["clips"] if row["id"] not in before]:
        return [f"clips: {unknown[0]} is not on record; other clips were generated"]
    pairs = [(before[row["id"]], row) for row in now["clips"]]
    moved = [*_tipped(pairs)]
    for stage in TOLERANCES:
        moved += _moved(stage, pairs)
    return moved + (_ranked(pairs) if len(pairs) == len(before) else [])


def read(path: Path) -> Record:
    """Return a record, if it is of the bundled weights. UsageError where it is of others: the model was made anew."""
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    if record["weights"] != weights():
        raise UsageError(
            f"{path}: of other weights than those in the package. If the bundled model was made anew on purpose, and "
            "its own tests pass: python tests/golden.py"
        )
    return record


def weights() -> str:
    """Return the hash of the bundled tensors. Settings are not in it: a change of theirs must show in the numbers."""
    folder = hub.BUNDLED / MODEL
    return digest(*(file_digest(path) for path in sorted(folder.rglob("*.safetensors"))))


def dumps(record: Record) -> str:
    """Return a record as JSON, one line for each clip, so that a difference of two records can be read."""
    lines = ",\n".join("  " + json.dumps(row) for row in record["clips"])
    head = json.dumps({key: value for key, value in record.items() if key != "clips"}, indent=1)
    return f'{head[:-2]},\n "clips": [\n{lines}\n ]\n}}\n'


def _features(model: Model, method: KeyImageMethod, clips: Sequence[Sample]) -> list[Features]:
    features = []
    for batch in extract([Source(clip.video) for clip in clips], model, method):
        for _, result in batch:
            if isinstance(result, MediaError):
                raise result
            features.append(result)
    return features


def _row(sample: Sample, features: Features, embeddings: Embeddings, query: FloatArray) -> Record:
    return {
        "id": sample.id,
        "times": [round(float(time), 3) for time in features.segments[:, 2]],
        "vision": _projection(_seen(features)),
        "video": _projection(embeddings.video),
        "query": _projection(query),
    }


def _seen(features: Features) -> FloatArray:
    """All that the vision tower said, as one unit vector: each array's mean over the key images has one share."""
    means = [np.asarray(features.arrays[name], np.float64).mean(axis=0).ravel() for name in sorted(features.arrays)]
    parts = np.concatenate([mean / np.linalg.norm(mean) for mean in means])
    return np.asarray(parts / np.linalg.norm(parts))


def _projection(vector: FloatArray) -> float:
    """The part of a unit vector (D,) along a fixed direction."""
    direction = np.cos(np.arange(1, len(vector) + 1) ** 2)
    return round(float(vector @ direction / np.linalg.norm(direction)), 5)


def _margin(scores: FloatArray, right: int) -> float:
    """By how much the right one leads the best wrong one; negative where it does not."""
    return round(float(scores[right] - np.delete(scores, right).max()), 5) if len(scores) > 1 else 0.0


Pairs = Sequence[tuple[Record, Record]]


def _tipped(pairs: Pairs) -> Iterator[str]:
    others = [was["id"] for was, now in pairs if was["times"] != now["times"]]
    if len(others) > TIPPED * len(pairs):
        yield f"key images: {len(others)} of {len(pairs)} clips have others, the first: {others[0]}"


def _moved(stage: str, pairs: Pairs) -> Iterator[str]:
    """A stage whose numbers moved, each or in the mean. A clip whose key images tipped has a right to."""
    same = [(was, now) for was, now in pairs if was["times"] == now["times"]]
    if not same:
        return
    apart = np.array([now[stage] - was[stage] for was, now in same])
    worst = int(np.abs(apart).argmax())
    if abs(apart[worst]) > TOLERANCES[stage]:
        name = same[worst][0]["id"]
        yield f"{stage}: {name} moved by {apart[worst]:+.5f}, more than {TOLERANCES[stage]}"
    if abs(apart.mean()) > MEANS[stage]:
        yield f"{stage}: moved by {apart.mean():+.5f} in the mean of {len(same)} clips, more than {MEANS[stage]}"


def _ranked(pairs: Pairs) -> list[str]:
    margin = MARGIN if all(was["times"] == now["times"] for was, now in pairs) else LOOSE_MARGIN
    moved = []
    for side in ("t2v", "v2t"):
        clear = [(was, now) for was, now in pairs if abs(was[side]["margin"]) > margin]
        others = [was["id"] for was, now in clear if was[side]["rank"] != now[side]["rank"]]
        if others:
            moved.append(f"ranks, {side}: {len(others)} clear ones of {len(clear)} are others, the first: {others[0]}")
        firsts = [sum(row[side]["rank"] == 1 for row in rows) for rows in zip(*pairs, strict=True)]
        unclear = len(pairs) - len(clear)
        if abs(firsts[0] - firsts[1]) > unclear:
            moved.append(f"R@1, {side}: {firsts[1]} of {len(pairs)} come first instead of {firsts[0]}")
    return moved


def main() -> None:
    """Write the record, and print the metrics that it holds."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, default=RECORD, help="another file than the tests'")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        record = run(*parts(), samples(Path(folder)))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(arguments.output, dumps(record).encode())
    for side, numbers in record["metrics"].items():
        print(side, ", ".join(f"{name} {value:.2f}" for name, value in numbers.items()))
    print(arguments.output)


if __name__ == "__main__":
    with command():
        main()
