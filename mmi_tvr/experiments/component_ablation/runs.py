"""Trains and evaluates the rows of an ablation; what is finished stays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import config, models, plugins
from ...config import Section
from ...datasets.moving_shapes import CONTRAST_SETS, CONTRASTS, MovingShapes, contrast_accuracy
from ...errors import MediaError, MmiTvrError, UsageError
from ...evaluation.evaluate import evaluate_model, pair_scores
from ...evaluation.label_precision import mean_precisions
from ...evaluation.report import Details
from ...features.cache import FeatureCache
from ...features.embed import embed_all
from ...features.lazy import stored_features
from ...lexicon.vocabulary import names_by_level
from ...protocols import GeneratedDataset, LabellingModel, Model, TranslatingModel
from ...scoring.blocks import block_scores
from ...train import settings as train_settings
from ...train.run import MODEL, run
from ...train.settings import RunSettings
from ...types import Embeddings, Features, Query, Variant, Video
from ...utils.files import write_atomically
from ...utils.progress import Progress, Silent
from . import persons
from .table import Result, budget, table

RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class Study:
    """What all runs of one ablation share. `limit`: the first so many of the test split and of each contrast set;
    `against`: the row that differences are to."""

    settings: RunSettings
    folder: Path
    cache: Path
    limit: int | None
    contrasts: Sequence[str]
    cpu: bool
    progress: Progress
    against: str


def ablate(
    path: str | Path,
    folder: Path,
    *,
    seeds: int = 3,
    variants: Sequence[str] = (),
    overrides: Sequence[str] = (),
    limit: int | None = None,
    contrasts: Sequence[str] = CONTRASTS,
    against: str | None = None,
    cache: Path,
    cpu: bool = False,
    progress: Progress | None = None,
) -> str:
    """Train and evaluate the variants of a model with every seed, and return the table in Markdown.

    Args:
        path: a training settings file, the same for all variants but for what each takes away.
        folder: of all runs; see the package.
        seeds: runs of each variant, with seeds 0, 1, ...; an untrained baseline is evaluated once. The table has all
            seeds that are finished, these and earlier ones.
        variants: names of the rows; all of the model's without any.
        overrides: changes to the settings, as `--set` takes them.
        limit: the first so many videos of the test split and of each contrast set.
        contrasts: kinds of the contrast sets that are measured.
        against: the row that differences are to; None: the model's first, the full model.
        cache: folder of vision features.
        cpu: leave accelerators alone.

    Raises:
        UsageError: for an unknown variant or contrast set, a model without an ablation table, or settings that do not
            fit.
        MmiTvrError: where a run was stopped; the same call goes on.
    """
    settings = train_settings.load(path, overrides)
    rows = models.variants(settings.model.name)
    against = against or next(iter(rows))
    if unknown := [name for name in (*variants, against) if name not in rows]:
        raise UsageError(f"no variant is called {unknown[0]!r}; there are: {', '.join(rows)}")
    if unknown := sorted(set(contrasts) - set(CONTRAST_SETS)):
        raise UsageError(f"no contrast set is called {unknown[0]!r}; there are: {', '.join(CONTRAST_SETS)}")
    rows = {name: variant for name, variant in rows.items() if name in variants or not variants}
    study = Study(settings, folder, cache, limit, contrasts, cpu, progress or Silent(), against)
    for seed in range(seeds):  # seed by seed, so that an early look compares all variants
        for name, variant in rows.items():
            if variant.baseline is None or not seed:  # without training nothing is drawn
                _evaluate(study, name, variant, seed)
                _write_table(study)
    return _write_table(study)


def _write_table(study: Study) -> str:
    """Write the table of all that is finished in the folder, and its numbers, and return it."""
    rows = models.variants(study.settings.model.name)
    results = {name: _finished(study.folder / name) for name in rows}
    if study.settings.data.persons is not None:
        lines = persons.table(rows, results)
    else:
        lines = table(rows, results, study.against)
    text = f"{lines}\n\n{budget(study.settings, results.values())}"
    write_atomically(study.folder / "ablation.json", json.dumps(results).encode())
    write_atomically(study.folder / "ablation.md", (text + "\n").encode())
    return text


def _finished(folder: Path) -> list[Result]:
    """Return the results of one row, by seed."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob(f"seed-*/{RESULT}")]
    return sorted(runs, key=lambda run: run["seed"] or 0)


def variant_settings(settings: RunSettings, variant: Variant, seed: int) -> RunSettings:
    """Return the settings of one run; a stage that has no loss term left is dropped."""
    values = settings.model_dump(mode="json", exclude_unset=True)
    values["model"] = config.merge(values["model"], variant.changes)
    values = config.merge(values, variant.settings)
    values["train"] = {**values["train"], "seed": seed}
    if variant.without_terms or variant.with_terms:
        stages = []
        for stage in values["train"]["stages"]:
            weights = {term: weight for term, weight in stage["weights"].items() if term not in variant.without_terms}
            if weights:
                stages.append({**stage, "weights": {**weights, **variant.with_terms}})
        values["train"]["stages"] = stages
    return RunSettings(**values)


def _evaluate(study: Study, name: str, variant: Variant, seed: int) -> None:
    """Write the numbers of one run, where they are not there yet."""
    folder = _run_folder(study, name, seed)
    if not (folder / RESULT).is_file():
        study.progress.say(f"{variant.title}, seed {seed}")
        settings = variant_settings(study.settings, variant, seed)
        model = _model(study, settings, name, variant, seed)
        if settings.data.persons is not None:
            result = _evaluated_on_persons(study, settings, model, untrained=variant.baseline is not None)
        else:
            result = _evaluated(study, settings, model)
        row = {"variant": name, "seed": None if variant.baseline else seed}
        folder.mkdir(parents=True, exist_ok=True)
        document = {**row, **result, "settings": settings.model_dump(mode="json")}
        write_atomically(folder / RESULT, json.dumps(document).encode())


def _run_folder(study: Study, name: str, seed: int) -> Path:
    return study.folder / name / f"seed-{seed}"


def _model(study: Study, settings: RunSettings, name: str, variant: Variant, seed: int) -> Model:
    """Return the model of a row: untrained, trained now, or trained for another row and searched otherwise."""
    if variant.baseline is not None:
        section = Section(**variant.baseline(settings.model.options))
    elif variant.trained_as is not None:
        trained = models.variants(study.settings.model.name)[variant.trained_as]
        folder = _trained(study, variant_settings(study.settings, trained, seed), variant.trained_as, seed)
        section = models.trained_section(str(folder))
        section = Section(**config.merge(section.model_dump(), variant.changes))
    else:
        section = models.trained_section(str(_trained(study, settings, name, seed)))
    return models.make(section, "cpu" if study.cpu else settings.device)


def _trained(study: Study, settings: RunSettings, name: str, seed: int) -> Path:
    """Return the model folder of a run, which is trained, or goes on, where it is not finished."""
    folder = _run_folder(study, name, seed)
    if not (folder / RESULT).is_file():
        outcome = run(settings, folder, cache=study.cache, resume=True, cpu=study.cpu, progress=study.progress)
        if not outcome.finished:
            raise MmiTvrError(f"{folder}: stopped; run the same command again to go on")
    return folder / MODEL


def _evaluated(study: Study, settings: RunSettings, model: Model) -> dict[str, Any]:
    """Ranks on the test split, accuracies on the contrast sets, what translations do where the model translates, and
    how precisely labels are read where it reads some."""
    method = plugins.build("keyimages", settings.keyimages.name, settings.keyimages.options)
    cache = FeatureCache(study.cache)

    def embed(videos: Sequence[Video]) -> Sequence[Embeddings | MediaError]:
        return embed_all(videos, model, method, cache, study.progress)

    dataset = _dataset("test", study.limit)
    samples = dataset.samples()
    report = evaluate_model(model, samples, embed)
    assert report.details is not None
    pairs = None if study.limit is None else study.limit // 2 * 2  # whole pairs
    result = {
        "t2v": report.details.t2v_ranks.tolist(),
        "v2t": report.details.v2t_ranks.tolist(),
        "videos": list(report.details.video_ids),
        "contrast": {
            contrast: contrast_accuracy(pair_scores(model, _dataset(contrast, pairs).samples(), embed)).accuracy
            for contrast in study.contrasts
        },
    }
    if isinstance(model, TranslatingModel | LabellingModel):
        features = stored_features([sample.video for sample in samples], model, method, cache)[:]
    if isinstance(model, TranslatingModel):
        result["translation"] = _translation(model, report.details, features)
    if isinstance(model, LabellingModel) and model.label_counts():
        truth = [names_by_level(dataset.video_labels(number)) for number in range(len(samples))]
        result["labels"] = mean_precisions(model.label_probabilities(features), truth, model.label_counts())
    return result


def _evaluated_on_persons(study: Study, settings: RunSettings, model: Model, untrained: bool) -> dict[str, Any]:
    """Numbers of the queries of the test split of the data set that was trained on."""
    method = plugins.build("keyimages", settings.keyimages.name, settings.keyimages.options)
    train = settings.data.train
    options = (settings.data.validation or train).options
    dataset = plugins.build("datasets", train.name, {**options, "split": "test", "count": study.limit})
    if isinstance(dataset, GeneratedDataset):
        dataset.generate()

    def embed(videos: Sequence[Video]) -> Sequence[Embeddings | MediaError]:
        return embed_all(videos, model, method, FeatureCache(study.cache), study.progress)

    two_stage = untrained and settings.model.options.get("faces", {}).get("name") != "things"
    return persons.evaluated(model, dataset, embed, method, two_stage, study.progress)


def _translation(model: TranslatingModel, details: Details, features: Sequence[Features]) -> dict[str, list[float]]:
    """Mean cosines of a test set's pairs and of the others, in the space of videos and of texts, and cycle errors."""
    cosines = block_scores(details.query_vectors, details.gallery.videos, details.scoring).values()
    right = np.zeros((len(details.query_vectors), len(details.gallery)), dtype=bool)
    for row, columns in enumerate(details.ground_truth):
        right[row, list(columns)] = True
    queries = [Query(caption) for _, caption in details.captions]
    return {
        "pairs": [float(scores[right].mean()) for scores in cosines],
        "others": [float(scores[~right].mean()) for scores in cosines],
        "cycle": [
            float(model.video_cycle_errors(features).mean()),
            float(model.query_cycle_errors(queries).mean()),
        ],
    }


def _dataset(split: str, limit: int | None) -> MovingShapes:
    """Return a split with its files, and one caption a video, so that n is the number of videos."""
    options = {"split": split, "captions": 1, "count": limit}
    dataset: MovingShapes = plugins.build("datasets", "moving_shapes", options)
    dataset.generate()
    return dataset
