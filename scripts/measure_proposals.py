"""Compare our question pools with pools that a model proposes itself: `measure_proposals.py --model moving-shapes`.

Figure 3(a) of the paper. Videos of moving shapes are searched by the mean of key images, and re-ranked with the chosen
questions of the package's pools, with as many of theirs that are closest to the centres of clusters, and with as many
that the model proposes from captions, or from key images, of the training split (`prompts generate`, then `prompts
choose`). Printed are R@1 of each, with the paired difference to the search alone; how many proposals were kept; and the
questions. [low, high]: 95 %, bootstrap over videos; other proposals (`--seed`) are not in it. No pool is written;
answers about videos are kept in the user's cache.
"""

from __future__ import annotations

import argparse

from mmi_tvr import config
from mmi_tvr.cli._answering import GENERATED_DATA, load_samples
from mmi_tvr.cli._console import command, out, show_progress
from mmi_tvr.cli._evaluation_data import ModelChoice, load_model
from mmi_tvr.experiments import question_ablation, question_proposals
from mmi_tvr.experiments.question_inputs import split_inputs
from mmi_tvr.features.cache import FeatureCache
from mmi_tvr.questions import pool
from mmi_tvr.questions.examples import prepare_examples
from mmi_tvr.rerank import skeleton_options
from mmi_tvr.skeletons.store import SKELETONS_FILE, SkeletonStore
from mmi_tvr.utils import array_cache
from mmi_tvr.utils.progress import Progress

EXAMPLES = 100  # videos of the training split that questions are proposed from
CHOSEN = 6  # questions a side, as many as of the package's pools


def main() -> None:
    args = _arguments()
    with show_progress() as progress:
        tables = measured_tables(args.model, args.set, args.limit, args.count, args.seed, progress)
    for table in tables:
        out.print(table, markup=False)
        out.print()


def measured_tables(model: str, changes: list[str], limit: int, count: int, seed: int, progress: Progress) -> list[str]:
    """Return the tables of R@1, of the number of proposals, and of the questions.

    Args:
        model: Answers, judges and proposes.
        changes: Of settings.
        limit: Only the first so many test videos.
        count: Requests for a question, of each source.
        seed: Of the draws of captions and videos, and of the clusters.
        progress: Of all stages.

    Raises:
        UsageError: The model cannot be measured so, or fewer than `CHOSEN` different questions were proposed.
    """
    system = load_model(ModelChoice(model, None, False, config.load(None, changes)))
    options = skeleton_options(system.settings.rerank, system.model)
    texts, videos = pool.load(options.text), pool.load(options.video)
    with SkeletonStore(array_cache.folder() / SKELETONS_FILE) as store:
        shared = split_inputs(
            "test", system.model, system.method, options, store, progress,
            limit=limit, mean=True, device=system.settings.device,
        )  # fmt: skip
        samples = load_samples(GENERATED_DATA, "train", EXAMPLES, progress)
        progress.begin("features of train", len(samples))
        cache = FeatureCache(array_cache.folder() / "features")
        examples = prepare_examples(samples, system.model, system.method, cache, progress.advance)
        proposer = question_proposals.proposer(options.answerer, system.model, system.settings.device)
        proposed = [
            question_proposals.propose(
                about, examples, proposer, system.model, progress, count=count, questions=CHOSEN, seed=seed
            )
            for about in pool.ABOUT
        ]
        cases = question_proposals.compared_cases(texts, videos, proposed, system.model, CHOSEN, seed)
        results = question_ablation.ablate(shared, cases, progress=progress)
    counts, questions = question_proposals.counts_table(proposed), question_proposals.questions_table(cases)
    return [question_ablation.table(results, paper={}), "\n".join(counts), "\n".join(questions)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="moving-shapes", help="answers, judges and proposes")
    parser.add_argument("--limit", type=int, default=300, help="only the first so many videos of the test split")
    parser.add_argument("--count", type=int, default=100, help="requests for a question, of each source")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other captions and videos")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="change one setting")
    return parser.parse_args()


if __name__ == "__main__":
    with command():
        main()
