"""What `prompts` needs a model for: questions are proposed, clustered, chosen, tried, drawn and scored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from .. import config, models, plugins, prompt_templates
from ..config import Section, Settings
from ..errors import UsageError
from ..protocols import Answerer, KeyImageMethod, Model
from ..questions import editing, selection
from ..questions.pool import Pool, PoolQuestion
from ..rerank import DEFAULT_ANSWERER, rerank_section
from ..types import Answer, Sample, Skeleton, Video
from ..utils import array_cache
from ..utils.files import write_atomically
from ..utils.tables import bounds
from ._console import DownloadOption, JsonOption, ModelOption, ProgressBars, chosen_model, out, print_json, say
from .prompts import About, AboutOption, PoolOption, pools, writable

if TYPE_CHECKING:
    from ..questions.clustering import Clustering
    from ..questions.examples import Example
    from ..questions.trials import Trial

_GENERATED = "moving_shapes"
_SHOWN = 100  # characters of a proposal that was dropped


class Rule(str, Enum):
    """How one question of a cluster is chosen."""

    closest = "closest"
    first_satisfying = "first_satisfying"
    argmin = "argmin"


class Method(str, Enum):
    """How many dimensions become two."""

    pca = "pca"
    tsne = "tsne"


ClustersOption = Annotated[
    int | None, typer.Option("--clusters", "-k", min=1, help="how many; default: the best silhouette of 2..12")
]
SeedOption = Annotated[int, typer.Option(min=0, help="another seed draws other starts")]
AnswererOption = Annotated[str, typer.Option("--answerer", help="who answers: transformers, vllm, openai or fake")]
AnswererSetOption = Annotated[
    list[str] | None, typer.Option("--answerer-set", metavar="A=B", help="change one option of the answerer")
]
DataOption = Annotated[
    str, typer.Option("--data", metavar="TARGET", help="moving_shapes, or a folder with a table of captions")
]


def generate(
    about: Annotated[About, typer.Option("--about", help="which pool gets them")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="how many are asked for")] = 20,
    model: ModelOption = None,
    answerer: AnswererOption = "transformers",
    answerer_set: AnswererSetOption = None,
    data: DataOption = _GENERATED,
    limit: Annotated[int, typer.Option(min=1, help="videos of the training split that are drawn from")] = 24,
    template: Annotated[str, typer.Option(help="how they are asked for: a file, or a name in prompts/")] = "generate",
    seed: SeedOption = 0,
    similar: Annotated[float, typer.Option(min=0, max=1, help="likeness from which a proposal is dropped")] = 0.7,
    file: PoolOption = None,
    download: DownloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let a language model propose questions from captions (text) or key images (video). They arrive disabled."""
    from ..questions import proposals

    (found,) = pools(about, file)
    words = prompt_templates.generate(template)
    with ProgressBars() as watch:
        asking = _asking(model, download, answerer, answerer_set, {"max_tokens": words.max_tokens})
        examples = asking.examples(_samples(data, "train", limit, watch), watch)
        watch.begin("asking", count)
        made = proposals.generate(
            found, examples, asking.answerer, asking.model, words, count,
            origin=asking.origin, template_name=template, seed=seed, similar=similar, advance=watch.advance,
        )  # fmt: skip
    if made.kept:
        found = editing.add(writable(found).path, made.kept)
    if as_json:
        kept = [asdict(question) for question in made.kept]
        dropped = [{"text": text, "reason": reason} for text, reason in made.dropped]
        print_json({"pool": str(found.path), "proposed": made.proposed, "kept": kept, "dropped": dropped})
        return
    for question in made.kept:
        out.print(f"{question.id:<5} {question.kind:<11} {question.text}", markup=False)
    for text, reason in made.dropped:
        out.print(f"dropped: {reason}: {text[:_SHOWN]}", markup=False, style="dim")
    say(f"{made.proposed} proposed, {len(made.kept)} kept, {len(made.dropped)} dropped; {escape(str(found.path))}")
    if made.kept:
        say(f"they are disabled; a good one is let in by: mmi-tvr prompts enable {made.kept[0].id}")


def cluster(
    about: AboutOption = None,
    clusters: ClustersOption = None,
    seed: SeedOption = 0,
    model: ModelOption = None,
    file: PoolOption = None,
    download: DownloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show which questions ask for the same, without choosing anything."""
    section, made = _model(model, download)
    documents = {}
    for found in pools(about, file):
        grouped = _clustered(found, made, clusters, seed)
        documents[found.about] = selection.from_clustering(found, grouped, **_maker(section, made), seed=seed)
        if not as_json:
            _print_clusters(found, documents[found.about])
    if as_json:
        print_json({name: asdict(each) for name, each in documents.items()})


def choose(
    about: AboutOption = None,
    rule: Annotated[Rule, typer.Option(help="closest to the centre, or after trying them on examples")] = Rule.closest,
    clusters: ClustersOption = None,
    seed: SeedOption = 0,
    model: ModelOption = None,
    answerer: AnswererOption = "transformers",
    answerer_set: AnswererSetOption = None,
    data: DataOption = _GENERATED,
    limit: Annotated[int, typer.Option(min=1, help="videos of the training split that questions are tried on")] = 16,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="A=B", help="change one limit of the rule, such as answer=20")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write what was tried and why one was taken: JSON, and FILE.txt")
    ] = None,
    file: PoolOption = None,
    download: DownloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Choose one question of each cluster, and write that beside the pool (text.lock.yaml)."""
    from ..questions import trials

    limits = config.read(trials.TrialOptions, None, set_ or ())
    asked = pools(about, file)
    chosen: list[tuple[Pool, selection.Selection, list[Trial]]] = []
    with ProgressBars() as watch:
        if rule is Rule.closest:
            section, made = _model(model, download)
        else:
            asking = _asking(model, download, answerer, answerer_set)
            section, made = asking.section, asking.model
            examples = asking.examples(_samples(data, "train", limit, watch), watch)
        for found in asked:
            grouped = _clustered(found, made, clusters, seed)
            outcomes: list[Trial] = []
            if rule is not Rule.closest:
                watch.begin(found.about, len(found.enabled) * len(examples))
                outcomes = trials.run_trials(
                    found, grouped, examples, asking.answerer, made, rule.value, limits, watch.advance
                )
            ids = trials.chosen_ids(outcomes) or None
            lock = selection.from_clustering(found, grouped, ids, **_maker(section, made), rule=rule.value, seed=seed)
            chosen.append((found, lock, outcomes))
    documents = {}
    for found, lock, outcomes in chosen:
        documents[found.about] = {
            **asdict(lock),
            "lock": str(selection.write(lock, writable(found))),
            "tried": trials.as_dicts(outcomes),
        }
    if report:
        _report(report, documents, chosen)
    if as_json:
        print_json(documents)
        return
    for found, lock, _ in chosen:
        say(f"{escape(documents[found.about]['lock'])}: {lock.k} clusters by {lock.model}, chosen by {lock.rule}")
        for group in lock.clusters:
            out.print(f"{group.chosen:<5} of {len(group.questions):>2}: {found[group.chosen].text}", markup=False)


def _report(
    path: Path, documents: Mapping[str, Any], chosen: Sequence[tuple[Pool, selection.Selection, Sequence[Trial]]]
) -> None:
    """What was tried and why one was taken, as JSON and, beside it, as tables."""
    from ..questions import trials

    tables = [
        f"{found.path}\n{trials.trial_table(outcomes) if outcomes else _listing(found, lock)}\n"
        for found, lock, outcomes in chosen
    ]
    write_atomically(path, json.dumps(documents, ensure_ascii=False, indent=1).encode())
    write_atomically(path.with_name(f"{path.name}.txt"), "\n".join(tables).encode())
    say(f"report: {escape(str(path))} and {escape(path.name)}.txt")


def preview(
    text: Annotated[str | None, typer.Option(help="a query or caption that answers the text questions")] = None,
    video: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="that answers the video questions")
    ] = None,
    model: ModelOption = None,
    answerer: AnswererOption = "transformers",
    answerer_set: AnswererSetOption = None,
    download: DownloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask the chosen questions of a text and of a video, and show the answers side by side."""
    from ..skeletons.skeletons import text_skeleton, video_skeleton

    if text is None and video is None:
        raise UsageError("say what is asked: --text TEXT, --video FILE, or both")
    wanted = [about for about, given in ((About.text, text), (About.video, video)) if given is not None]
    asked = {about.value: _chosen(pools(about, None)[0]) for about in wanted}
    skeletons: dict[str, Skeleton] = {}
    with ProgressBars() as watch:
        asking = _asking(model, download, answerer, answerer_set)
        if text is not None:
            skeletons["text"] = text_skeleton(text, asked["text"], asking.answerer)
        if video is not None:
            (example,) = asking.examples([Sample(str(video), Video(video.absolute()), ("",))], watch)
            skeletons["video"] = video_skeleton(example.view, asked["video"], asking.answerer)
    if as_json:
        print_json({name: [_answer_json(answer) for answer in skeleton] for name, skeleton in skeletons.items()})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in skeletons:
        table.add_column(f"{name} question", style="dim", overflow="fold")
        table.add_column(name, overflow="fold")
    for lines in zip_longest(*skeletons.values()):
        cells = [(line.question, line.text or f"({line.error})") if line else ("", "") for line in lines]
        table.add_row(*(Text(word) for cell in cells for word in cell))
    out.print(table, soft_wrap=False)


def _answer_json(answer: Answer) -> dict[str, Any]:
    return {
        "question": answer.question_id,
        "asked": answer.question,
        "text": answer.text,
        "times": list(answer.times),
        "error": answer.error,
    }


def plot(
    target: Annotated[Path, typer.Argument(metavar="FILE.png", help="where the picture goes")],
    about: Annotated[About, typer.Option("--about", help="which pool")] = About.text,
    method: Annotated[Method, typer.Option(help="PCA keeps distances; t-SNE keeps neighbours")] = Method.pca,
    model: ModelOption = None,
    file: PoolOption = None,
    download: DownloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw the questions in two dimensions, coloured by cluster, the chosen ones marked; needs the extra plots."""
    from ..questions import clustering, plots

    plugins.require("matplotlib", "plots")
    (found,) = pools(about if file is None else None, file)
    lock = selection.read(found)
    if lock is None:
        raise UsageError(f"{found.path}: no questions are chosen yet; run: {selection.choose_command(found)}")
    _, made = _model(model or lock.model, download)
    if reason := selection.stale_reason(lock, found, made.fingerprint()):
        say(f"[yellow]{escape(reason)}[/]")
    points = clustering.question_vectors([question.text for question in found.enabled], made)
    write_atomically(target, plots.selection_png(found, lock, points, method.value))
    if as_json:
        print_json({"picture": str(target), "about": found.about, "questions": len(points), "clusters": lock.k})
    else:
        say(f"picture: {escape(str(target))}")


def score(
    about: AboutOption = None,
    every: Annotated[bool, typer.Option("--all", help="all enabled questions instead of the chosen ones")] = False,
    model: ModelOption = None,
    answerer: AnswererOption = "transformers",
    answerer_set: AnswererSetOption = None,
    data: DataOption = _GENERATED,
    limit: Annotated[int, typer.Option(min=2, help="videos of the validation split")] = 50,
    file: PoolOption = None,
    download: DownloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say by how much R@1 falls where a question is left out.

    The mean of the answers' vectors is the query, and the videos of a validation split are ranked by it. A drop is
    R@1 with all questions minus R@1 without this one, in points, with a 95 % bootstrap interval over videos.
    """
    from ..questions.leave_one_out import leave_one_out

    asked = [(found, found.enabled if every else _chosen(found)) for found in pools(about, file)]
    with ProgressBars() as watch:
        asking = _asking(model, download, answerer, answerer_set)
        examples = asking.examples(_samples(data, "val", limit, watch), watch)
        scores = {}
        for found, questions in asked:
            watch.begin(found.about, len(examples))
            scores[found.about] = leave_one_out(
                examples, questions, found.about, asking.answerer, asking.model, watch.advance
            )
    if as_json:
        print_json({name: each.as_dict() for name, each in scores.items()})
        return
    for name, each in scores.items():
        out.print(f"[bold]{name}[/]: R@1 {each.r1:.1f} with all {len(each.questions)} questions, n = {each.n}")
        out.print("id     drop  [95 %]          alone  hedged  question", style="dim", markup=False)
        for one in sorted(each.questions, key=lambda one: -one.drop):
            numbers = f"{one.drop:>5.1f}  {bounds(one.low, one.high):<14} {one.alone:>6.1f}  {one.hedged:>6.0%}"
            out.print(f"{one.question:<5} {numbers}  {one.text}", markup=False)


@dataclass(frozen=True)
class _Asking:
    """Who answers, and who embeds."""

    section: Section
    model: Model
    answerer: Answerer

    @property
    def origin(self) -> str:
        """For the provenance: the answerer and, where it says so, whose words it speaks."""
        options = getattr(self.answerer, "options", None)
        own = getattr(options, "model", None)
        if hasattr(options, "weights"):  # it speaks through the model, unless it has weights of its own
            own = options.weights or models.spelled(self.section)
        return f"{self.answerer.name}: {own}" if own else self.answerer.name

    def examples(self, samples: Sequence[Sample], watch: ProgressBars) -> list[Example]:
        from ..features.cache import FeatureCache
        from ..questions.examples import prepare_examples

        watch.begin("videos", len(samples))
        found = prepare_examples(
            samples, self.model, self._method(), FeatureCache(array_cache.folder() / "features"), watch.advance
        )
        if len(found) < len(samples):
            watch.say(f"{len(samples) - len(found)} of {len(samples)} videos cannot be used and are left out")
        return found

    def _method(self) -> KeyImageMethod:
        section = models.key_images(self.section) or Settings().keyimages
        made: KeyImageMethod = plugins.build("keyimages", section.name, section.options)
        return made


def _model(text: str | None, download: bool) -> tuple[Section, Model]:
    section = models.resolve(chosen_model(text, Settings(), download) or Section())
    return section, models.make(section)


def _asking(
    model: str | None,
    download: bool,
    answerer: str,
    changes: Sequence[str] | None,
    defaults: Mapping[str, Any] | None = None,
) -> _Asking:
    """The model, and the answerer with its options; `defaults` are those that it has and nobody changed."""
    module = plugins.load("answerers", answerer)
    options = config.read(module.Options, None, changes or ())
    own = {
        name: value
        for name, value in (defaults or {}).items()
        if name in module.Options.model_fields and name not in options.model_fields_set
    }
    section, made = _model(model, download)
    carried = {"name": DEFAULT_ANSWERER, **rerank_section(None, made).options.get("answerer", {})}
    if carried.pop("name") == answerer:  # what nobody changed is as the model came
        options = module.Options(**config.merge(carried, options.model_dump(exclude_unset=True)))
    built: Answerer = module.build(options.model_copy(update=own), device=Settings().device, model=made)
    return _Asking(section, made, built)


def _samples(data: str, split: str, limit: int, watch: ProgressBars) -> list[Sample]:
    """So many samples with a caption: the first of the generated split, or evenly spread over a folder's table."""
    if data == _GENERATED and not Path(data).is_dir():
        dataset = plugins.build("datasets", _GENERATED, {"split": split, "captions": 1, "count": limit})
        watch.begin("rendering", len(dataset.pending()))
        dataset.generate(advance=watch.advance)
        return list(dataset.samples())
    listed = plugins.build("datasets", "folder", {"root": data}).samples()
    step = max(1, len(listed) // limit)
    return list(listed[::step][:limit])


def _clustered(found: Pool, model: Model, k: int | None, seed: int) -> Clustering:
    from ..questions import clustering

    return clustering.cluster(
        clustering.question_vectors([question.text for question in found.enabled], model), k, seed
    )


def _maker(section: Section, model: Model) -> dict[str, str]:
    return {"model": models.spelled(section), "fingerprint": model.fingerprint()}


def _chosen(found: Pool) -> tuple[PoolQuestion, ...]:
    """The questions that are asked, and a word where they should be chosen anew."""
    asked = selection.selected_questions(found)
    lock = selection.read(found)
    if lock is not None and (reason := selection.stale_reason(lock, found)):
        say(f"[yellow]{escape(reason)}[/]")
    return asked


def _print_clusters(found: Pool, made: selection.Selection) -> None:
    tried = ", ".join(f"{k}: {value:.3f}" for k, value in made.silhouettes.items())
    out.print(f"{found.path}: {made.k} clusters by {made.model}", markup=False, style="bold")
    out.print(f"adjusted Rand index over seeds {made.stability:.2f}", markup=False, style="dim")
    if tried:
        out.print(f"silhouettes {tried}", markup=False, style="dim")
    out.print(_listing(found, made), markup=False)


def _listing(found: Pool, made: selection.Selection) -> str:
    """Clusters with their questions, the closest to the centre first."""
    lines = []
    for number, group in enumerate(made.clusters, 1):
        lines.append(f"cluster {number}")
        for id, distance in group.questions.items():
            lines.append(f"{'*' if id == group.chosen else ' '} {id:<5} {distance:6.3f}  {found[id].text}")
    return "\n".join(lines)
