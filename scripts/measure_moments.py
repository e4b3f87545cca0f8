"""Compare ways to say when in a video something happens: `measure_moments.py`.

Single events of moving shapes are described alone, the right video given. Without a head a moment is found by pictures
alone, with one by the model's own. A closer look decodes denser frames where the key images around the span of each
are, and cuts them anew, into as many as make 12 in all, or as they were; then the moment is found again. Below that,
R1@0.5 by kind of event, the hardest first. [low, high]: 95 % bootstrap over videos.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmi_tvr import config, plugins
from mmi_tvr.cli._console import command, out, show_progress
from mmi_tvr.cli._evaluation_data import EvaluationModel, ModelChoice, load_model
from mmi_tvr.errors import MediaError
from mmi_tvr.evaluation.bootstrap import mean_with_ends, numbered_groups
from mmi_tvr.evaluation.moments import MEAN_IOU, NAMES, moment_metrics, span_outcomes
from mmi_tvr.experiments.moving_shapes_split import SplitFeatures, split_features
from mmi_tvr.features.cache import Source
from mmi_tvr.features.extract import extract
from mmi_tvr.protocols import LocatingModel, Model
from mmi_tvr.scoring.blocks import similarities
from mmi_tvr.scoring.moments import locate, locate_by_pictures
from mmi_tvr.types import DescribedMoment, Embeddings, Features, FloatArray, Query, Span, Video
from mmi_tvr.utils.progress import Progress
from mmi_tvr.utils.tables import interval, markdown_table

_SHOWN = ("pointing", "R1@0.5", "R1@0.7", MEAN_IOU)
_KIND = "R1@0.5"
_DISPARITY = "disparity"
_MOST = 12  # key images of a video, which the heads of the package's own model are built for

Locate = Callable[[FloatArray, Sequence[Embeddings]], list[Span]]  # queries (N, D), and the video of each


@dataclass(frozen=True)
class Look:
    """A closer look: frames a second, the least length of a segment in seconds, and by how much of a span it reaches
    beyond it on either side."""

    fps: float
    min_length: float
    reach: float


LOOKS = {"fine": Look(10, 0.2, 0.5), "mild": Look(8, 0.3, 1.0)}


@dataclass(frozen=True)
class Events:
    """N descriptions of single events, and in the same order their kinds, their queries (N, D), and of each one's video
    the file, the features and the embeddings."""

    moments: Sequence[DescribedMoment]
    kinds: Sequence[str]
    queries: FloatArray
    videos: Sequence[Video]
    features: Sequence[Features]
    embeddings: Sequence[Embeddings]

    def outcomes(self, spans: Sequence[Span]) -> FloatArray:
        """Return what counts of the spans (N, 5), 0..1."""
        return span_outcomes(spans, self.moments)


def main(arguments: Sequence[str] | None = None) -> None:
    args = _arguments(arguments)
    system = load_model(ModelChoice(args.model, None, False, config.load()))
    with show_progress() as progress:
        videos = split_features(args.split, system.model, system.method, progress, limit=args.limit, captions=1)
        events = described_events(videos, system.model)
        outcomes = {title: events.outcomes(spans) for title, spans in located(system, events, progress).items()}
    out.print("\n".join([*table(events, outcomes), "", *table_of_kinds(events, outcomes)]), markup=False)


def described_events(split: SplitFeatures, model: Model) -> Events:
    """Return the events of a split that are described alone, in one sentence each."""
    features, specs = split.features[:], split.dataset.specs()
    embeddings = model.embed_videos(features)
    described = split.dataset.moments()["events"]
    return Events(
        list(described),
        [specs[number].events[event].action for number, event in described.places],
        np.asarray(model.embed_queries([Query(moment.text) for moment in described]), np.float32),
        [split.samples[moment.sample].video for moment in described],
        [features[moment.sample] for moment in described],
        [embeddings[moment.sample] for moment in described],
    )


def located(system: EvaluationModel, events: Events, progress: Progress) -> dict[str, list[Span]]:
    """Return the spans of events by each way to find them; with a head only of a model that has one."""
    model = system.model
    pairs = _pairs(events.queries, events.embeddings)
    spans = {"the picture most alike": [_most_alike(system, *pair) for pair in pairs]}
    ways: dict[str, Locate] = {
        "without a head": lambda queries, videos: [
            locate_by_pictures(query, video, model.scoring) for query, video in _pairs(queries, videos)
        ]
    }
    if isinstance(model, LocatingModel) and model.locate(events.queries[:1], events.embeddings[:1]) is not None:
        ways["with the head"] = lambda queries, videos: locate(model, queries, videos)
    for title, way in ways.items():
        spans[title] = way(events.queries, events.embeddings)
        for name, look in LOOKS.items():
            progress.begin(f"{title}, {name}", len(spans[title]))
            closer = closer_embeddings(system, look, events, spans[title], progress.advance)
            spans[f"{title}, and a closer look, {name}"] = way(events.queries, closer)
    return spans


def around(span: Span, video: Embeddings, look: Look) -> slice:
    """Return which key images of a video a closer look at a span cuts anew: all that it reaches into."""
    margin = look.reach * (span.end - span.start)
    starts, ends = video.segments[:, 0], video.segments[:, 1]
    reached = np.flatnonzero((starts < span.end + margin) & (ends > span.start - margin))
    return slice(int(reached[0]), int(reached[-1]) + 1)


def closer_embeddings(
    system: EvaluationModel, look: Look, events: Events, spans: Sequence[Span], advance: Callable[[int], object]
) -> list[Embeddings]:
    """Return the embeddings of the video of each event after a closer look at its span.

    advance: Is called with the number of spans that were looked at since the call before.
    """
    images = system.settings.keyimages
    usual = images.options if images.name == _DISPARITY else {}
    rows = [around(span, video, look) for span, video in zip(spans, events.embeddings, strict=True)]
    rooms = [
        of_video.stop - of_video.start + max(0, _MOST - len(video.segments))
        for of_video, video in zip(rows, events.embeddings, strict=True)
    ]
    closer: dict[int, Embeddings] = {}
    for room in sorted(set(rooms)):
        options = {**usual, "fps": look.fps, "min_length": look.min_length, "count": room}
        method = plugins.build("keyimages", _DISPARITY, options)
        numbers = [number for number, of_event in enumerate(rooms) if of_event == room]
        stretches = [_stretch(events.videos[number], events.embeddings[number], rows[number]) for number in numbers]
        for batch in extract(stretches, system.model, method):
            for position, dense in batch:
                if isinstance(dense, MediaError):
                    raise dense
                number = numbers[position]
                features = spliced(events.features[number], rows[number], dense)
                [closer[number]] = system.model.embed_videos([features])
            advance(len(batch))
    return [closer[number] for number in range(len(spans))]


def spliced(features: Features, rows: slice, dense: Features) -> Features:
    """Return the features of a video in which those of a stretch of it take the place of some rows."""

    def joined(usual: FloatArray, closer: FloatArray) -> FloatArray:
        return np.concatenate([usual[: rows.start], closer, usual[rows.stop :]])

    arrays = {name: joined(array, dense.arrays[name]) for name, array in features.arrays.items()}
    return Features(joined(features.segments, dense.segments), arrays)


def _stretch(video: Video, embeddings: Embeddings, rows: slice) -> Source:
    segments = embeddings.segments[rows]
    return Source(Video(video.path, float(segments[0, 0]), float(segments[-1, 1])))


def table(events: Events, outcomes: Mapping[str, FloatArray]) -> list[str]:
    """Return the lines of a table with a row for each way; a closer look has the difference that it makes to mIoU."""
    groups = numbered_groups(events.videos, len(events.videos))
    videos = int(groups.max()) + 1
    rows = [[f"n = {len(groups):,} events of {videos:,} videos", *_SHOWN, f"{MEAN_IOU} by the look"]]
    for title, values in outcomes.items():
        metrics = moment_metrics(values, groups)
        cells = [interval(metrics.values[name], *metrics.ci95[name]) for name in _SHOWN]
        usual, comma, _ = title.partition(",")
        gain = 100 * (values - outcomes[usual])[:, NAMES.index(MEAN_IOU)]
        rows.append([title, *cells, interval(*mean_with_ends(gain, events.videos), signed=True) if comma else "-"])
    return markdown_table(rows, padded=True)


def table_of_kinds(events: Events, outcomes: Mapping[str, FloatArray]) -> list[str]:
    """Return the lines of a table with a row for each kind of event, the hardest for the last plain way first."""
    title = [title for title in outcomes if "," not in title][-1]
    kinds = np.array(events.kinds)
    rows = []
    for kind in sorted(set(events.kinds)):
        videos = [video for video, of_event in zip(events.videos, events.kinds, strict=True) if of_event == kind]
        metrics = moment_metrics(outcomes[title][kinds == kind], numbered_groups(videos, len(videos)))
        cell = interval(metrics.values[_KIND], *metrics.ci95[_KIND])
        rows.append((metrics.values[_KIND], [kind, str(metrics.n), cell]))
    return markdown_table([[f"event, {title}", "n", _KIND], *(row for _, row in sorted(rows))], padded=True)


def _most_alike(system: EvaluationModel, query: FloatArray, video: Embeddings) -> Span:
    best = int(similarities(video.moments, query, system.model.scoring).argmax())
    return Span(*video.segments[best].tolist())


def _pairs(queries: FloatArray, videos: Sequence[Embeddings]) -> list[tuple[FloatArray, Embeddings]]:
    return list(zip(queries, videos, strict=True))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="moving-shapes")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--limit", type=int, help="only the first so many videos")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with command():
        main()
