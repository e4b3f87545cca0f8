"""`prompts` commands that choose questions: they are proposed, clustered and chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from .. import config, models, prompt_templates
from ..config import Section
from ..protocols import Model
from ..questions import editing, selection
from ..questions.pool import Pool
from ..utils import files, strict_json
from ..utils.printable import printable
from ..utils.wording import counted
from ._answering import (
    GENERATED_DATA,
    AnswererOption,
    AnswererSetOption,
    DataOption,
    answering_setup,
    load_model,
    load_samples,
)
from ._console import (
    DownloadOption,
    ForceOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    out,
    print_json,
    say,
    show_progress,
)
from ._pools import AboutChoice, AboutOption, PoolChoice, PoolOption

if TYPE_CHECKING:
    from ..questions.clustering import Clustering
    from ..questions.trials import Trial

_REPORT_MARK, _TABLE_MARK = b'"generator": "mmi-tvr"', b"what `mmi-tvr prompts choose` tried"
_PROPOSAL_WIDTH = 100  # characters of a dropped proposal that are printed


class RuleChoice(str, Enum):
    """How one question of a cluster is chosen."""

    closest = "closest"
    first_satisfying = "first_satisfying"
    argmin = "argmin"


ClustersOption = Annotated[
    int | None, typer.Option("--clusters", "-k", min=1, help="how many; default: the best silhouette of 2..12")
]
SeedOption = Annotated[int, typer.Option(min=0, help="another seed draws other starts")]
RuleOption = Annotated[RuleChoice, typer.Option(help="closest to the centre, or after trying them on examples")]
LimitsOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="A=B", help="change one limit of the rule, such as answer=20")
]
ReportOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="write what was tried and why one was taken: JSON, and FILE.txt")
]


@dataclass(frozen=True, slots=True)
class _ChosenPool:
    """A pool, the selection of its questions, and the trials that it rests on; none with the rule `closest`."""

    pool: Pool
    lock: selection.Selection
    trials: Sequence[Trial]


def register(group: typer.Typer) -> None:
    """Add the commands to the group `prompts`."""
    for command in (generate, cluster, choose):
        group.command()(command)


def generate(
    about: Annotated[AboutChoice, typer.Option("--about", help="which pool gets them")],
    *,
    library: LibraryOption,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="how many are asked for")] = 20,
    model: ModelOption = None,
    answerer: AnswererOption = "transformers",
    answerer_set: AnswererSetOption = None,
    data: DataOption = GENERATED_DATA,
    limit: Annotated[int, typer.Option(min=1, help="videos of the training split that are drawn from")] = 24,
    template: Annotated[str, typer.Option(help="how they are asked for: a file")] = "generate",
    seed: SeedOption = 0,
    similar: Annotated[float, typer.Option(min=0, max=1, help="likeness from which a proposal is dropped")] = 0.7,
    file: PoolOption = None,
    download: DownloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let a language model propose questions from captions (text) or key images (video). They arrive disabled."""
    from ..questions import proposals

    choice = PoolChoice(about, file, library)
    (pool,) = choice.load()
    prompt = prompt_templates.generate(template)
    with show_progress() as progress:
        setup = answering_setup(model, download, answerer, answerer_set, {"max_tokens": prompt.max_tokens})
        examples = setup.examples(load_samples(data, "train", limit, progress), progress)
        progress.begin("asking", count)
        result = proposals.generate(
            pool, examples, setup.answerer, setup.model, prompt, count,
            origin=setup.origin, template_name=template, seed=seed, similar=similar, advance=progress.advance,
        )  # fmt: skip
    if result.kept:
        pool = editing.add(choice.editable(pool).path, result.kept)
    if as_json:
        kept = [asdict(question) for question in result.kept]
        dropped = [{"text": text, "reason": reason} for text, reason in result.dropped]
        print_json({"pool": str(pool.path), "proposed": result.proposed, "kept": kept, "dropped": dropped})
        return
    for question in result.kept:
        out.print(f"{question.id:<5} {question.kind:<11} {question.text}", markup=False)
    for text, reason in result.dropped:
        out.print(f"dropped: {reason}: {text[:_PROPOSAL_WIDTH]}", markup=False, style="dim")
    say(f"{result.proposed} proposed, {len(result.kept)} kept, {len(result.dropped)} dropped; {escape(str(pool.path))}")
    if result.kept:
        say(f"they are disabled; a good one is let in by: mmi-tvr prompts enable {result.kept[0].id}")


def cluster(
    *,
    about: AboutOption = None,
    library: LibraryOption,
    clusters: ClustersOption = None,
    seed: SeedOption = 0,
    model: ModelOption = None,
    file: PoolOption = None,
    download: DownloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show which questions ask for the same, without choosing anything."""
    pools = PoolChoice(about, file, library).load()
    section, embedder = load_model(model, download, library)
    documents: dict[str, Any] = {}
    for pool in pools:
        lock = _lock(pool, _clustered(pool, embedder, clusters, seed), section, embedder, RuleChoice.closest, seed)
        documents[pool.about] = asdict(lock)
        if not as_json:
            _print_clusters(pool, lock)
    if as_json:
        print_json(documents)


def choose(
    *,
    about: AboutOption = None,
    library: LibraryOption,
    rule: RuleOption = RuleChoice.closest,
    clusters: ClustersOption = None,
    seed: SeedOption = 0,
    model: ModelOption = None,
    answerer: AnswererOption = "transformers",
    answerer_set: AnswererSetOption = None,
    data: DataOption = GENERATED_DATA,
    limit: Annotated[int, typer.Option(min=1, help="videos of the training split that questions are tried on")] = 16,
    set_: LimitsOption = None,
    report: ReportOption = None,
    force: ForceOption = False,
    file: PoolOption = None,
    download: DownloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Choose one question of each cluster, and write that beside the pool (text.lock.yaml).

    The former choice is kept there, too (text.lock.yaml.bak).
    """
    from ..questions import trials

    limits = config.read(trials.TrialOptions, None, set_ or ())
    if report:
        files.check_output(report, _REPORT_MARK, force)
        files.check_output(_table_path(report), _TABLE_MARK, force)
    choice = PoolChoice(about, file, library)
    pools = choice.load()
    chosen: list[_ChosenPool] = []
    if rule is RuleChoice.closest:
        section, embedder = load_model(model, download, library)
        for pool in pools:
            lock = _lock(pool, _clustered(pool, embedder, clusters, seed), section, embedder, rule, seed)
            chosen.append(_ChosenPool(pool, lock, ()))
    else:
        with show_progress() as progress:
            setup = answering_setup(model, download, answerer, answerer_set, library=library)
            examples = setup.examples(load_samples(data, "train", limit, progress), progress)
            for pool in pools:
                clustering = _clustered(pool, setup.model, clusters, seed)
                progress.begin(pool.about, len(pool.enabled) * len(examples))
                outcomes = trials.run_trials(
                    pool, clustering, examples, setup.answerer, setup.model, rule.value, limits, progress.advance
                )
                ids = trials.chosen_ids(outcomes)
                lock = _lock(pool, clustering, setup.section, setup.model, rule, seed, ids)
                chosen.append(_ChosenPool(pool, lock, outcomes))
    documents = _written(chosen, choice)
    if report:
        _write_report(report, documents, chosen, force)
    if as_json:
        print_json(documents)
    else:
        _print_choices(documents, chosen)


def _written(chosen: Sequence[_ChosenPool], choice: PoolChoice) -> dict[str, Any]:
    """Write the selections beside their pools, and return what each is, by what the pool is about."""
    from ..questions import trials

    return {
        item.pool.about: {
            **asdict(item.lock),
            "lock": str(selection.write(item.lock, choice.editable(item.pool))),
            "tried": trials.as_dicts(item.trials),
        }
        for item in chosen
    }


def _print_choices(documents: Mapping[str, Any], chosen: Sequence[_ChosenPool]) -> None:
    for item in chosen:
        lock, path = item.lock, documents[item.pool.about]["lock"]
        say(f"{escape(path)}: {counted(lock.k, 'cluster')} by {lock.model}, chosen by {lock.rule}")
        for group in lock.clusters:
            text = item.pool[group.chosen].text
            out.print(f"{group.chosen:<5} of {len(group.questions):>2}: {text}", markup=False)


def _clustered(pool: Pool, model: Model, k: int | None, seed: int) -> Clustering:
    from ..questions import clustering

    points = clustering.question_vectors([question.text for question in pool.enabled], model)
    return clustering.cluster(points, k, seed)


def _lock(
    pool: Pool,
    clustering: Clustering,
    section: Section,
    model: Model,
    rule: RuleChoice,
    seed: int,
    chosen: Sequence[str] | None = None,
) -> selection.Selection:
    return selection.from_clustering(
        pool,
        clustering,
        chosen,
        model=models.spelled(section),
        fingerprint=model.fingerprint(),
        rule=rule.value,
        seed=seed,
    )


def _table_path(report: Path) -> Path:
    return report.with_name(f"{report.name}.txt")


def _write_report(path: Path, documents: Mapping[str, Any], chosen: Sequence[_ChosenPool], force: bool) -> None:
    """Write what was tried and why one was chosen, as JSON and, beside it, as tables.

    Args:
        path: of the JSON.
        documents: by what the questions are about.
        chosen: the same as objects.
        force: whether files of others are replaced.
    """
    from ..questions import trials

    tables = ["what `mmi-tvr prompts choose` tried\n"]
    for item in chosen:
        table = trials.trial_table(item.trials) if item.trials else selection.cluster_list(item.pool, item.lock)
        tables.append(f"{printable(item.pool.path)}\n{table}\n")
    content = strict_json.dumps({"generator": "mmi-tvr", **documents}, indent=1).encode()
    files.write_output(path, content, _REPORT_MARK, force)
    files.write_output(_table_path(path), "\n".join(tables).encode(), _TABLE_MARK, force)
    say(f"report: {escape(str(path))} and {escape(path.name)}.txt")


def _print_clusters(pool: Pool, lock: selection.Selection) -> None:
    silhouettes = ", ".join(f"{k}: {value:.3f}" for k, value in lock.silhouettes.items())
    title = f"{printable(pool.path)}: {counted(lock.k, 'cluster')} by {lock.model}"
    out.print(title, markup=False, style="bold")
    out.print(f"adjusted Rand index over seeds {lock.stability:.2f}", markup=False, style="dim")
    if silhouettes:
        out.print(f"silhouettes {silhouettes}", markup=False, style="dim")
    out.print(selection.cluster_list(pool, lock), markup=False)
