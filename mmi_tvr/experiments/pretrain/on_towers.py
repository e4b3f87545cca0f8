"""A model that was trained on the bundled towers, into a folder that the package carries: in float16, with a card.

The towers stay where they are: its options name them (`moving-shapes/base/clip`).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ... import models
from ...config import Section
from ...encoders import hub
from ...errors import MediaError, UsageError
from ...evaluation.facets import table
from ...protocols import Model, ModelWithAttributes
from ...types import FloatArray, Query
from ...utils.files import write_atomically
from ...utils.progress import Progress, Silent
from ...utils.wording import counted
from .. import facet_precision
from .bundle import ABOUT, CARD, Embed, embedding, halve, measured, megabytes, rendered, write_json

MAX_DIFFERENCE = 1e-3  # of any number of a unit vector, between the weights as trained and in float16
_COMPARED = 100  # videos, and as many captions


def bundle_on_towers(
    trained: Path, folder: Path, *, limit: int | None = None, note: str = "", progress: Progress | None = None
) -> float:
    """Write a bundled model from a model folder that training wrote.

    Args:
        trained: the model folder.
        folder: replaced by what is written; its name is the model's.
        limit: videos of each split that the card measures; None takes all.
        note: what the card should say about how this copy was made.
        progress: of the measuring.

    Returns:
        The largest difference of a number between unit vectors of the trained weights and those in float16.

    Raises:
        UsageError: the model does not stand on bundled towers, nothing was validated, or float16 changes its vectors
            by more than MAX_DIFFERENCE. What was there before is then lost.
    """
    settings = models.read(trained).as_dict()
    origin, name = settings["origin"], settings["name"]
    options = [models.get_option(settings["options"], option) for option in models.checkpoint_options(name)]
    places = [str(place) for place in options if place]
    bundled = hub.BUNDLED.resolve()
    if not places or not all((bundled / place).resolve().is_relative_to(bundled) for place in places):
        raise UsageError(f"{trained}: its towers are not bundled: {', '.join(places)}")
    if not (origin.get("settings") and origin.get("validation")):
        raise UsageError(f"{trained}: no run with validation data wrote it, and the card says how good it was there")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for source in models.trained_files(name, trained):
        if source.name == models.FACETS:  # measured of the weights as trained; `_facets` measures these
            continue
        (halve if source.suffix == ".safetensors" else shutil.copyfile)(source, folder / source.name)
    run = origin["settings"]
    settings["origin"] = {key: origin[key] for key in ("git", "python", "torch", "saved", "step", "validation")}
    settings["origin"] |= {"train": run["train"], "data": run["data"]}
    settings["about"] = f"{name} on the towers of moving-shapes; {ABOUT}"
    write_json(folder / models.SETTINGS, settings)
    return _measure(trained, folder, settings, limit, note, progress or Silent())


def _measure(
    trained: Path, folder: Path, settings: dict[str, Any], limit: int | None, note: str, progress: Progress
) -> float:
    """Compare both copies, and write the card."""
    copies = [_loaded(place, progress) for place in (trained, folder)]
    videos = rendered("test", min(limit or _COMPARED, _COMPARED)).samples()
    vectors = [_vectors(*copy, videos) for copy in copies]
    difference = max(float(np.abs(one - other).max()) for one, other in zip(*vectors, strict=True))
    if difference > MAX_DIFFERENCE:
        raise UsageError(f"{trained}: in float16 its vectors differ by {difference:.1e}, more than {MAX_DIFFERENCE:g}")
    model, embed = copies[1]
    stages = settings["origin"]["train"]["stages"]
    card = _TEXT.format(
        title=folder.name,
        summary=models.summary(settings["name"]),
        size=megabytes(folder),
        videos=settings["origin"]["data"]["train"].get("count") or 24_000,
        batch=settings["origin"]["data"]["batch"],
        steps=sum(stage["steps"] for stage in stages),
        step=settings["origin"]["step"],
        name=settings["name"],
        seed=settings["origin"]["train"]["seed"],
        validation=settings["origin"]["validation"]["value"],
        difference=difference,
        note=f"\n- {note}" if note else "",
        measured=measured(model, embed, limit) + _facets(model, embed, limit, progress),
    )
    write_atomically(folder / CARD, card.encode())
    return difference


def _facets(model: Model, embed: Embed, limit: int | None, progress: Progress) -> str:
    """Choose thresholds of a model's facets on the validation split, write them, and return how often they are right on
    the test split, for the card; nothing of a model without facets."""
    if not isinstance(model, ModelWithAttributes) or not model.attribute_names():
        return ""
    validation, test = (
        facet_precision.labelled_attributes(model, rendered(split, limit), embed, progress) for split in ("val", "test")
    )
    calibration = facet_precision.calibrate(model, validation, "moving_shapes val")
    lines = table(facet_precision.measure(model, test, calibration))
    head = f"Facets, with thresholds that keep a precision of {100 * calibration.precision:.0f} % on {calibration.data}"
    return "\n".join(["", "", f"{head}; on {counted(len(test.attributes), 'test video')}:", "", "```", *lines, "```"])


def _loaded(folder: Path, progress: Progress) -> tuple[Model, Embed]:
    section: Section = models.trained_section(str(folder))
    model = models.make(section)
    return model, embedding(model, section, progress)


def _vectors(model: Model, embed: Embed, samples: Any) -> tuple[FloatArray, FloatArray]:
    """Unit vectors of the first captions and of the videos of samples, (N, D) each: queries may have any length."""
    videos = []
    for result in embed([sample.video for sample in samples]):
        if isinstance(result, MediaError):
            raise result
        videos.append(result.video)
    queries = np.asarray(model.embed_queries([Query(sample.captions[0]) for sample in samples]))
    return queries / np.linalg.norm(queries, axis=1, keepdims=True), np.stack(videos)


_TEXT = """# {title}

{summary}

{size:.1f} MB in float16, on the frozen CLIP towers of the bundled model `moving-shapes`, which it refers to. It was
trained by this project's own code, on generated videos of coloured shapes, and **knows nothing else**: real videos are
noise to it.

- Data: `datasets.moving_shapes`, {videos:,} training videos, 15 English and 5 Chinese captions each. No description of
  the validation or test split is in the training split.
- Training: `scripts/train.py --config configs/{name}-moving-shapes.yaml` (seed {seed}),
  {steps:,} steps of {batch} pairs; step {step:,} has a SumR of {validation:.1f} (of 600) on the validation split.
- Hardware: one processor core, no GPU.
- Its vectors differ from those of the weights as trained by {difference:.1e} at most.{note}

{measured}

## Limits

48-pixel pictures, up to three shapes of eight colours and six kinds, up to three events, two languages as far as the
captions use them. Anything else has no meaning for it. Licence: Apache-2.0, as the package.
"""
