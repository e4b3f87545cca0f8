"""Compare ways to have what is excluded count against a text: `measure_text_exclusions.py FOLDER`.

Each row of excluded_sentences.tsv is a topic of which four sentences speak: two of them say one thing besides, two
another one, each once in these words and once otherwise. Each sentence is a file that espeak-ng speaks and a picture of
its words; they are made and read into a library, where FOLDER has none. A query is a topic without one of its two
things; right are the files of the two other sentences. Each way takes the strength that is best on the first half of
the topics (validation), and is reported there and on the second half (test).
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from make_spoken_clips import lettered, rows, speech
from PIL import Image

from mmi_tvr import Library
from mmi_tvr.cli._console import command, out, show_progress
from mmi_tvr.evaluation.bootstrap import mean_with_ends
from mmi_tvr.evaluation.metrics import average_precision
from mmi_tvr.scoring.fusion import BELIEVED, STRICTNESS
from mmi_tvr.search.text_queries import TextChannel
from mmi_tvr.types import FloatArray, Query
from mmi_tvr.utils.tables import interval, markdown_table

SENTENCES = Path(__file__).with_name("excluded_sentences.tsv")
_COLUMNS = ("first_one", "first_other", "second_one", "second_other")
_KINDS = {"heard": "wav", "read": "png"}  # channel -> the files that it reads
_RATE, _HEIGHT, _WIDTH = 22_050, 480, 854


@dataclass(frozen=True)
class TextScores:
    """What a channel thinks of the M files of a half for a sentence: scores, shares of words, and contributions."""

    scores: FloatArray
    shares: FloatArray
    relevances: FloatArray


@dataclass(frozen=True)
class TextExclusion:
    """A topic without something, as a channel sees it, and which of its files are right, by their places."""

    target: TextScores
    excluded: TextScores
    sentence: TextScores  # "TOPIC without SOMETHING"
    right: frozenset[int]


Way = Callable[[TextExclusion, float], FloatArray]  # a strength -> what orders the files of a query (M,)


def whole_sentence(query: TextExclusion, strength: float) -> FloatArray:
    return query.sentence.scores


def less_score(query: TextExclusion, strength: float) -> FloatArray:
    return query.target.scores - strength * query.excluded.scores


def less_contribution(query: TextExclusion, strength: float) -> FloatArray:
    """Both contributions are powers of relevances, that of what is excluded of so large a share of the exponent."""
    return _product(query, query.excluded.relevances ** (strength * STRICTNESS))


def by_words(query: TextExclusion, strength: float) -> FloatArray:
    """What has so large a share of the words is left out."""
    return _product(query, np.where(query.excluded.shares >= strength, 1.0, 0.0))


def by_meaning_and_words(query: TextExclusion, strength: float) -> FloatArray:
    surely = np.where(query.excluded.shares >= strength, 1.0, query.excluded.relevances**STRICTNESS)
    return _product(query, surely)


def left_out(query: TextExclusion, strength: float) -> FloatArray:
    return _product(query, np.where(query.excluded.relevances**STRICTNESS >= BELIEVED, 1.0, 0.0))


WAYS: Mapping[str, tuple[Way, tuple[float, ...]]] = {
    '"TOPIC without THING" as one sentence': (whole_sentence, (0,)),
    "what is looked for alone": (less_score, (0,)),
    "score less score": (less_score, (0.25, 0.5, 0.75, 1)),
    "left out where the channel has found it": (left_out, (0,)),
    "left out by its share of words": (by_words, (0.5, 0.6, 0.7, 0.8, 0.9, 1)),
    "contribution x (1 - contribution)": (less_contribution, (0.01, 0.03, 0.1, 0.3, 1)),
    "the same, and left out by its share of words": (by_meaning_and_words, (0.5, 0.6, 0.7, 0.8, 0.9, 1)),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    topics = rows(SENTENCES)
    middle = len(topics) // 2
    val, test = (
        measured(options.folder / name, some)
        for name, some in (("validation", topics[:middle]), ("test", topics[middle:]))
    )
    header = ["mAP", "strength", f"validation (n={len(val)})", f"test (n={len(test)})"]
    lines = []
    for name, (way, strengths) in WAYS.items():
        strength = max(strengths, key=lambda strength: precisions(val, way, strength).mean())
        cells = [interval(*mean_with_ends(precisions(half, way, strength))) for half in (val, test)]
        lines.append([name, f"{strength:g}" if len(strengths) > 1 else "", *cells])
    out.print("\n".join(markdown_table([header, *lines], padded=True)), markup=False)


def measured(folder: Path, topics: Sequence[Mapping[str, str]]) -> list[TextExclusion]:
    """Return the queries of some topics as both channels see them; files and library are made where there are none."""
    if not (folder / "library").exists():
        write_files(folder / "files", topics)
    with Library(folder / "library", model="moving-shapes") as library, show_progress() as progress:
        library.index(folder / "files", channels=[*_KINDS], progress=progress)
        reader = library._reader
        catalogue = reader.catalogue()
        channels = reader._channels.present(catalogue, catalogue.data_version())
        assert channels is not None
        names = {content.sha256: content.paths[0].name for content in catalogue.contents_with("state = 'indexed'")}
        queries = []
        for channel in channels._channels.values():
            embed = channels._embedders[channel.name]
            assert embed is not None
            places = {
                f"{number:02}-{column}.{_KINDS[channel.name]}": number * len(_COLUMNS) + place
                for number in range(len(topics))
                for place, column in enumerate(_COLUMNS)
            }
            for number, topic in enumerate(topics):
                for place, thing in enumerate((topic["first"], topic["second"])):
                    texts = (topic["topic"], thing, f"{topic['topic']} without {thing}")
                    target, excluded, sentence = (
                        _scores(channel, text, row, names, places)
                        for text, row in zip(texts, embed([Query(text) for text in texts]), strict=True)
                    )
                    first = number * len(_COLUMNS) + 2 * (1 - place)
                    queries.append(TextExclusion(target, excluded, sentence, frozenset((first, first + 1))))
        return queries


def write_files(folder: Path, topics: Sequence[Mapping[str, str]]) -> None:
    """Write each sentence as a recording and as a picture."""
    folder.mkdir(parents=True, exist_ok=True)
    black = np.zeros((_HEIGHT, _WIDTH, 3), np.uint8)
    for number, topic in enumerate(topics):
        for column in _COLUMNS:
            stem = folder / f"{number:02}-{column}"
            Image.fromarray(lettered(black, topic[column])).save(stem.with_suffix(".png"))
            stem.with_suffix(".wav").write_bytes(_wav(speech(topic[column], "en-us")))


def precisions(queries: Sequence[TextExclusion], way: Way, strength: float) -> FloatArray:
    """Return the average precision of each query in percent (Q,)."""
    return np.concatenate([average_precision([way(one, strength)[None]], [one.right]) for one in queries])


def _product(query: TextExclusion, surely: FloatArray) -> FloatArray:
    contributions: FloatArray = query.target.relevances**STRICTNESS * (1 - surely)
    return contributions


def _scores(
    channel: TextChannel, text: str, vector: FloatArray, names: Mapping[str, str], places: Mapping[str, int]
) -> TextScores:
    scores, shares = np.zeros(len(places)), np.zeros(len(places))
    for item in channel.searcher.search(text, vector, len(places)):
        scores[places[names[item.content]]] = item.score
        shares[places[names[item.content]]] = item.share
    return TextScores(scores, shares, channel.law.relevance(scores, scores))


def _wav(samples: FloatArray) -> bytes:
    import wave

    target = io.BytesIO()
    with wave.open(target, "wb") as output:
        output.setnchannels(1)
        output.setsampwidth(2)
        output.setframerate(_RATE)
        output.writeframes(samples.tobytes())
    return target.getvalue()


if __name__ == "__main__":
    with command():
        main()
