"""From a base and a trained run to the folder that the package carries: in float16, measured, with a model card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ... import models, plugins
from ...config import Section
from ...datasets.moving_shapes import CONTRASTS, contrast_accuracy
from ...encoders import hub
from ...errors import MediaError
from ...evaluation.evaluate import evaluate_model, pair_scores
from ...evaluation.report import Report
from ...features.cache import FeatureCache
from ...features.embed import embed_all
from ...protocols import Model
from ...types import Embeddings, Video
from ...utils import array_cache
from ...utils.device import processors
from ...utils.files import write_atomically
from ...utils.progress import Progress, Silent
from ...utils.tables import interval, markdown_row
from ...utils.wording import counted
from .options import NAME

BASE, CARD = "base", "README.md"
Embed = Callable[[Sequence[Video]], list["Embeddings | MediaError"]]
_SETS = (*CONTRASTS, "order3")  # contrast sets that the card has
ABOUT = "knows coloured shapes that move, nothing else"


def bundle(
    base: Path,
    trained: Path,
    folder: Path,
    *,
    limit: int | None = None,
    note: str = "",
    progress: Progress | None = None,
) -> int:
    """Write the package's own model from a checkpoint that `pretrain` made and a model folder that training wrote.

    Args:
        base: the checkpoint, which travels along as BASE.
        trained: the model folder.
        folder: replaced by what is written. It can be moved: its base is named as it lies in it.
        limit: videos of each split that the card measures; None takes all.
        note: what the card should say about how this copy was made.

    Returns:
        The folder's bytes.
    """
    settings = models.read(trained).as_dict()
    option = base_option(settings["name"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(base, folder / BASE)
    for source in models.trained_files(settings["name"], trained):
        target = folder / source.relative_to(trained)
        target.parent.mkdir(exist_ok=True)
        if source.suffix == ".safetensors":
            halve(source, target)
        else:
            adapter = json.loads(source.read_text(encoding="utf-8"))
            write_json(target, adapter | {"base_model_name_or_path": BASE})
    models.set_option(settings["options"], option, BASE)
    origin = settings["origin"]
    settings["origin"] = {key: origin[key] for key in ("git", "python", "torch", "saved", "step", "validation")}
    settings["origin"]["train"] = origin["settings"]["train"]
    settings["about"] = ABOUT
    write_json(folder / models.SETTINGS, settings)
    card = _card(folder, settings, limit, note, progress or Silent())
    write_atomically(folder / CARD, card.encode())
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def install(folder: Path, target: Path) -> None:
    """Put a copy of a bundled model in the place of another one; that one stays until the copy is there.

    Args:
        folder: of the model.
        target: of the package.
    """
    draft, former = (target.with_name(f".{target.name}.{state}") for state in ("draft", "former"))
    for leftover in (draft, former):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(folder, draft)
    if target.exists():
        target.rename(former)
    draft.rename(target)
    shutil.rmtree(former, ignore_errors=True)


def halve(source: Path, target: Path) -> None:
    """Write the tensors of a file in float16."""
    from safetensors.torch import load_file, save

    write_atomically(target, save({name: tensor.half().contiguous() for name, tensor in load_file(source).items()}))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values as JSON, in one order."""
    write_atomically(path, (json.dumps(values, indent=1, sort_keys=True) + "\n").encode())


def _card(folder: Path, settings: Mapping[str, Any], limit: int | None, note: str, progress: Progress) -> str:
    model, embed = loaded(folder, settings, progress)
    return _TEXT.format(
        size=megabytes(folder),
        steps=settings["origin"]["step"],
        validation=settings["origin"]["validation"]["value"],
        note=f"\n- {note}" if note else "",
        hardware=_hardware(),
        measured=measured(model, embed, limit),
    )


def _hardware() -> str:
    """Return what this machine computes with."""
    import torch

    cores = counted(processors(), "processor core")
    return f"{cores}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else f"{cores}, no GPU"


def measured(model: Model, embed: Embed, limit: int | None) -> str:
    """Measure a model on the test split in both languages, and on the contrast sets, as sections of a card.

    Args:
        model: that is measured.
        embed: videos -> their vectors by this model.
        limit: videos of each split; None takes all.
    """
    test = rendered("test", limit).samples()
    report = evaluate_model(model, test, embed)
    bilingual = plugins.build("datasets", "moving_shapes", {"split": "test", "count": limit}).samples()
    chinese = [replace(sample, captions=sample.captions[-1:]) for sample in bilingual]  # the last caption is Chinese
    contrasts = [
        (kind, contrast_accuracy(pair_scores(model, rendered(kind, limit).samples(), embed))) for kind in _SETS
    ]
    rows = [markdown_row([kind, interval(accuracy.accuracy, *accuracy.ci95)]) for kind, accuracy in contrasts]
    return _MEASURED.format(
        n=report.n,
        english=markdown_row(["English", *_recalls(report)]),
        chinese=markdown_row(["Chinese", *_recalls(evaluate_model(model, chinese, embed))]),
        contrasts="\n".join(rows),
    )


def loaded(folder: Path, settings: Mapping[str, Any], progress: Progress) -> tuple[Model, Embed]:
    """Return the model of a bundle, wherever its folder lies, and what embeds videos with it."""
    options = models.trained_section(str(folder)).options
    *sections, last = base_option(settings["name"]).split(".")
    base: Any = {last: str(folder / BASE)}
    for part in reversed(sections):
        base = {part: base}
    section = Section(name=settings["name"], **options, **base)
    model = models.make(section)
    return model, embedding(model, section, progress)


def base_option(name: str) -> str:
    """Return the dotted option of a model that names its base."""
    return next(iter(models.checkpoint_options(name)))


def embedding(model: Model, section: Section, progress: Progress) -> Embed:
    """Return what embeds videos by a trained model, from the key images that it was trained on."""
    images = models.key_images(section)
    assert images is not None
    method = plugins.build("keyimages", images.name, images.options)

    def embed(videos: Sequence[Video]) -> list[Embeddings | MediaError]:
        return embed_all(videos, model, method, FeatureCache(array_cache.folder() / "features"), progress)

    return embed


def megabytes(folder: Path) -> float:
    """Return the size of all tensors below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors")) / 1e6


def package_megabytes(folder: Path) -> float:
    """Return the size of all weights of the package with a copy of its own model in the place of the present one."""
    return megabytes(hub.BUNDLED.parent) - megabytes(hub.BUNDLED / NAME) + megabytes(folder)


def rendered(split: str, limit: int | None, seed: int = 0) -> Any:
    """Return the first videos of a split of moving shapes, with one caption each and with their files."""
    dataset = plugins.build("datasets", "moving_shapes", {"split": split, "captions": 1, "count": limit, "seed": seed})
    dataset.generate()
    return dataset


def _recalls(report: Report) -> list[str]:
    sides = (report.t2v, report.v2t)
    return [interval(side.values()[key], *side.ci95[key]) for side in sides for key in ("R@1", "R@5")]


_MEASURED = """## Measured

Test split, {n} videos, one caption each, half of the videos with a twin that differs in one thing; percent, 95 %
bootstrap over videos, inductive.

| captions | T2V R@1 | T2V R@5 | V2T R@1 | V2T R@5 |
|---|---|---|---|---|
{english}
{chinese}

Contrast sets, 250 pairs of videos that differ in one thing: how many captions prefer their own video (chance 50).

| set | percent [95 %] |
|---|---|
{contrasts}"""

_TEXT = """# moving-shapes: the small MMI-TVR that the package carries

A LLaVA of 6 million parameters (with CLIP towers, projector, language model, LoRA adapter, temporal and spatial heads),
{size:.1f} MB in float16, in the Hugging Face layout. It was made from nothing by this project's own code, on generated
videos of coloured shapes, and **knows nothing else**: real videos are noise to it.

- Data: `datasets.moving_shapes`, 24,000 training videos, 15 English and 5 Chinese captions each. No description of the
  validation or test split is in the training split.
- Base: `scripts/pretrain_tiny.py` (seed 0; towers on single pictures, text tower on events, language model on captions
  and answers). Then `scripts/train.py --config configs/moving_shapes.yaml` (seed 0): step {steps}, with
  a SumR of {validation:.1f} (of 600) on the validation split.
- Hardware: {hardware}.{note}

{measured}

## Limits

48-pixel pictures, up to three shapes of eight colours and six kinds, up to three events, two languages as far as the
captions use them. Anything else has no meaning for it. Its language model answers the questions of the training data
and no others. Licence: Apache-2.0, as the package.
"""
