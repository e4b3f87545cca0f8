"""The labels of training pairs: of the caption that was drawn, and of its video, ready before the network is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from test_pairs import Packs

from mmi_tvr.errors import UsageError
from mmi_tvr.lexicon.parsing import ParsedText, Token
from mmi_tvr.train import labels as train_labels
from mmi_tvr.train.pairs import PairBatches
from mmi_tvr.types import Labels, Sample, Video
from mmi_tvr.utils.progress import Silent

SAMPLES = [Sample(str(n), Video(Path(str(n))), (f"dog {n}", f"cat {n}")) for n in range(6)]


class Plain:
    """A data set without labels."""

    def samples(self) -> Sequence[Sample]:
        return SAMPLES


class Labelled(Plain):
    def video_labels(self, number: int) -> Labels:
        return Labels(entities=("dog", "cat", str(number)))

    def caption_labels(self, number: int) -> list[Labels]:
        return [Labels(entities=("dog", str(number))), Labels(entities=("cat", str(number)))]


class Learner(Packs):
    """A model that records what it is prepared for, and whose label batches are the labels themselves."""

    def __init__(self, label_source: Literal["parsed", "exact"], parses: str | None = None) -> None:
        self.parses = parses
        self.label_source: Literal["parsed", "exact"] = label_source
        self.prepared: list[tuple[list[str], list[Labels]]] = []

    def prepare(self, captions: Sequence[str], labels: Sequence[Labels]) -> None:
        self.prepared.append((list(captions), list(labels)))

    def label_batch(self, captions: Sequence[Labels], videos: Sequence[Labels]) -> dict[str, Any]:
        return {"text": list(captions), "video": list(videos)}


class Nouns:
    """Parses every word as a noun, and counts."""

    parsed = 0

    def parse(self, texts: Sequence[str]) -> Iterator[ParsedText]:
        for text in texts:
            Nouns.parsed += 1
            yield tuple(Token(word, word, "NOUN", "dep", 0) for word in text.split()[:1])

    def fingerprint(self) -> str:
        return "nouns"


@pytest.mark.parametrize("captions", ["one", "all"])
def test_a_batch_has_the_labels_of_its_captions_and_videos(captions: Literal["one", "all"], tmp_path: Path) -> None:
    model, usable = Learner("exact"), [0, 1, 2, 4, 5]
    pair_labels = train_labels.prepare(model, Labelled(), usable, tmp_path, Silent())
    features: Any = [None] * 6
    data = PairBatches(model, SAMPLES, features, usable, None, batch=2, seed=0, captions=captions, labels=pair_labels)
    drawn = set()
    for epoch in range(20):
        for batch in data.epoch(epoch):
            for text, caption_labels, video_labels in zip(
                batch["texts"], batch["labels"]["text"], batch["labels"]["video"], strict=True
            ):
                assert caption_labels.entities == tuple(text.split())
                assert video_labels.entities == ("dog", "cat", text.split()[1])
                drawn.add(text)
    assert len(drawn) == 10
    assert list(tmp_path.iterdir()) == []  # nothing was parsed


def test_the_model_is_prepared_for_the_captions_that_take_part(tmp_path: Path) -> None:
    model = Learner("exact")
    train_labels.prepare(model, Labelled(), [0, 3], tmp_path, Silent())
    ((captions, caption_labels),) = model.prepared
    assert captions == ["dog 0", "cat 0", "dog 3", "cat 3"]
    assert [one.entities for one in caption_labels] == [("dog", "0"), ("cat", "0"), ("dog", "3"), ("cat", "3")]


def test_parsed_labels_are_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_labels, "SpacyParser", Nouns)
    Nouns.parsed = 0
    for _ in range(2):
        batch = train_labels.prepare(Learner("parsed"), Plain(), [0, 3], tmp_path, Silent()).batch([3, 0], [1, 0])
        assert batch["text"] == [Labels(("cat",)), Labels(("dog",))]
        assert batch["video"] == [Labels(("dog", "cat"))] * 2
        assert Nouns.parsed == 4


def test_exact_labels_of_a_data_set_without_any(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no exact labels"):
        train_labels.prepare(Learner("exact"), Plain(), [0], tmp_path, Silent())


def test_labels_of_a_file_of_parses(tmp_path: Path) -> None:
    lines = [f"1\t{word}\t{word}\tNOUN\t_\t_\t0\troot\t_\t_\n2\t{n}\t{n}\tNUM\t_\t_\t1\tnummod\t_\t_\n"
             for n in range(6) for word in ("dog", "cat")]  # fmt: skip
    (tmp_path / "parses.conllu").write_text("\n".join(lines))
    model = Learner("parsed", str(tmp_path / "parses.conllu"))
    train_labels.prepare(model, Plain(), range(6), tmp_path, Silent())
    assert [caption.entities for caption in model.prepared[0][1]] == [("dog",), ("cat",)] * 6
    (tmp_path / "parses.conllu").write_text("\n".join(lines[:-1]))
    with pytest.raises(UsageError, match="has no parse of 'cat 5': parse all captions"):
        train_labels.prepare(model, Plain(), range(6), tmp_path, Silent())
