"""Our models among mteb's, and our data sets among its tasks: held against our own evaluation, by mteb's own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeBlockModel, FakeModel, colour_video

from mmi_tvr import plugins
from mmi_tvr.datasets import moving_shapes
from mmi_tvr.encoder import Encoder
from mmi_tvr.errors import MediaError, UsageError
from mmi_tvr.evaluation.evaluate import evaluate_model, pair_scores
from mmi_tvr.types import Sample, Video

mteb = pytest.importorskip("mteb")
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # torch's own

from mmi_tvr.integrations.mteb import MtebModel, contrast_task, retrieval_task  # noqa: E402

TEXTS = {
    "blue": ("blue", "nothing that is named"),
    "green": ("green", "green cyan"),
    "red": ("red", "another thing"),
    "yellow": ("yellow", "red yellow white", "whatever"),
}


class Listed:
    """A data set that is a list of samples."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def samples(self) -> Sequence[Sample]:
        return self._samples


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("colours")
    for name in TEXTS:
        colour_video(folder / f"{name}.mp4", name)
    return [Sample(name, Video(folder / f"{name}.mp4"), texts) for name, texts in TEXTS.items()]


def encoder(model: Any) -> Encoder:
    return Encoder(model, plugins.build("keyimages", "disparity", {}))


def scores_of(model: Any, task: Any, cache: Any = None) -> dict[str, float]:
    (result,) = mteb.evaluate(model, [task], cache=cache, show_progress_bar=False).task_results
    scores: dict[str, float] = result.scores["test"][0]
    return scores


@pytest.mark.parametrize("kind", [FakeModel, FakeBlockModel])
def test_retrieval_gives_our_numbers(kind: type[FakeModel], samples: list[Sample]) -> None:
    """Key images that count and blocks that count otherwise for videos that ask are those of our evaluation."""
    ours = encoder(kind())
    report = evaluate_model(ours.model, samples, ours.embed)
    model = MtebModel(ours)
    for direction, metrics in (("t2v", report.t2v), ("v2t", report.v2t)):
        scores = scores_of(model, retrieval_task(Listed(samples), f"Colours{direction}", direction))
        assert scores["main_score"] == pytest.approx(metrics.r1 / 100, abs=1e-5)  # mteb rounds
        assert scores["hit_rate_at_5"] == pytest.approx(metrics.r5 / 100, abs=1e-5)
    assert 0 < report.t2v.r1 < 100  # a task that tells right from wrong


def test_a_contrast_set_gives_our_accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path))
    ours = encoder(FakeModel())
    task = contrast_task("colour", pairs=3)
    scores = scores_of(MtebModel(ours), task)
    options = moving_shapes.Options(split="colour", count=6)
    pairs = pair_scores(ours.model, moving_shapes.build(options).samples(), ours.embed)
    assert scores["accuracy"] == pytest.approx(moving_shapes.contrast_accuracy(pairs).accuracy / 100, abs=1e-5)
    again = scores_of(MtebModel(ours), task)  # mteb unloads a task after each evaluation
    assert again["accuracy"] == scores["accuracy"]


def test_results_that_mteb_kept_are_never_those_of_other_data(samples: list[Sample], tmp_path: Path) -> None:
    """Under one name: other captions, the other direction, another number of pairs."""
    cache, model = mteb.ResultCache(tmp_path), MtebModel(encoder(FakeModel()))
    few = [Sample("red", samples[2].video, ("red",)), Sample("blue", samples[0].video, ("blue",))]
    wrong = [replace(few[0], captions=("blue",)), replace(few[1], captions=("red",))]
    right = scores_of(model, retrieval_task(Listed(few), "Colours"), cache)
    assert scores_of(model, retrieval_task(Listed(wrong), "Colours"), cache)["main_score"] < right["main_score"] == 1
    tasks = [retrieval_task(Listed(few), "Colours"), retrieval_task(Listed(few), "Colours", "v2t")]
    tasks += [contrast_task("colour", pairs=pairs) for pairs in (1, 2)]
    assert len({task.metadata.revision for task in tasks}) == len(tasks)
    assert all(task.hf_subsets == [task.metadata.revision] for task in tasks)
    again = retrieval_task(Listed(few), "Colours")
    scores_of(model, again, cache)
    mteb.evaluate(model, again, cache=cache, overwrite_strategy="only-cache")  # raises where nothing is kept


def test_the_protocols_of_mteb_are_kept(samples: list[Sample]) -> None:
    from mteb.models import EncoderProtocol, SearchProtocol

    ours = encoder(FakeModel())
    model = MtebModel(ours, "somebody/colours")
    assert isinstance(model, EncoderProtocol)
    assert isinstance(model, SearchProtocol)
    meta = model.mteb_model_meta
    assert (meta.name, meta.revision, meta.embed_dim) == ("somebody/colours", ours.fingerprint, 4)
    assert MtebModel(ours).mteb_model_meta.name == "mmi-tvr/fake"


@pytest.mark.parametrize("name", ["", "colours", "somebody/", "/colours", " / "])
def test_a_model_has_a_name_that_mteb_takes(name: str) -> None:
    with pytest.raises(UsageError, match="it needs owner/model"):
        MtebModel(encoder(FakeModel()), name)


def rows(**columns: Any) -> Any:
    from datasets import Dataset

    return Dataset.from_dict({"id": [str(number) for number in range(len(next(iter(columns.values()))))], **columns})


def loaded(task: Any) -> Any:
    """What a task measures."""
    task.load_data()
    (subset,) = task.dataset.values()
    return subset["test"]


def embedded(model: MtebModel, data: Any, category: str = "t2v", side: str | None = None) -> np.ndarray:
    """What mteb gets of a data loader of these rows."""
    from mteb.types import PromptType
    from torch.utils.data import DataLoader

    task = retrieval_task(Listed([]), "Colours")  # of which no data are looked at
    metadata = task.metadata.model_copy(update={"category": category})
    prompt_type = PromptType(side) if side else None
    return model.encode(
        DataLoader(data), task_metadata=metadata, hf_split="test", hf_subset="default", prompt_type=prompt_type
    )


def test_vectors_are_the_encoders(samples: list[Sample]) -> None:
    """Of files, of videos that a data set carries, of pictures, and of documents with a title."""
    from datasets import Image as ImageColumn
    from datasets import Video as VideoColumn
    from PIL import Image

    ours = encoder(FakeModel())
    model = MtebModel(ours)
    files = [sample.video.path for sample in samples]
    expected = ours.encode_video(files)
    by_path = rows(video=[str(path) for path in files]).cast_column("video", VideoColumn())
    np.testing.assert_array_equal(embedded(model, by_path, side="document"), expected)
    carried = rows(video=[{"bytes": path.read_bytes(), "path": path.name} for path in files])
    carried = carried.cast_column("video", VideoColumn())
    np.testing.assert_array_equal(embedded(model, carried), expected)
    pictures = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
    shown = embedded(model, rows(image=pictures).cast_column("image", ImageColumn()))
    np.testing.assert_allclose(shown, ours.encode_query(["red", "blue"]), atol=0.02)
    documents = rows(text=["sky", "blue"], title=["blue", ""])
    np.testing.assert_array_equal(
        embedded(model, documents, "v2t", "document"), ours.encode_query(["blue sky", "blue"])
    )
    pairwise = np.asarray(model.similarity_pairwise(expected, expected[::-1]))
    np.testing.assert_allclose(pairwise, np.diag(np.asarray(model.similarity(expected, expected[::-1]))), atol=1e-6)


def test_tasks_of_mteb_in_their_own_ways_of_handing_over_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of pictures and sentences come as a data set of torch, in whose place others have one of `datasets`."""
    from mteb.mocks.mock_tasks.pair_classification import MockImageTextPairClassificationTask
    from mteb.mocks.mock_tasks.retrieval import MockAny2AnyRetrievalT2ITask

    monkeypatch.setattr("mmi_tvr.integrations.mteb._BLOCK_SIZE", 1)
    for task in (MockImageTextPairClassificationTask(), MockAny2AnyRetrievalT2ITask()):
        assert 0 <= scores_of(MtebModel(encoder(FakeModel())), task)["main_score"] <= 1


def test_a_search_keeps_the_best_or_those_that_it_is_given(samples: list[Sample]) -> None:
    ours = encoder(FakeModel())
    model = MtebModel(ours)
    task = retrieval_task(Listed(samples), "Colours")
    split = loaded(task)
    arguments = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "default", "encode_kwargs": {}}
    with pytest.raises(UsageError, match="index a corpus"):
        model.search(split["queries"], top_k=1, **arguments)
    model.index(split["corpus"], num_proc=None, **arguments)
    hits = model.search(split["queries"], top_k=2, **arguments)
    assert next(iter(hits["red-4"])) == "red"
    assert {len(best) for best in hits.values()} == {2}
    chosen = model.search(split["queries"], top_k=5, top_ranked={"red-4": ["green", "blue"]}, **arguments)
    assert set(chosen["red-4"]) == {"green", "blue"}
    assert chosen["blue-0"] == {}


@pytest.mark.parametrize("block_size", [256, 3])
def test_a_search_scores_as_ours_does_whoever_asks(
    samples: list[Sample], monkeypatch: pytest.MonkeyPatch, block_size: int
) -> None:
    monkeypatch.setattr("mmi_tvr.integrations.mteb._BLOCK_SIZE", block_size)
    ours = encoder(FakeBlockModel(moment_weight=0.3))
    model = MtebModel(ours)
    videos = ours.embed([sample.video for sample in samples])
    captions = [caption for sample in samples for caption in sample.captions]
    for direction in ("t2v", "v2t"):
        task = retrieval_task(Listed(samples), "Colours", direction)
        split = loaded(task)
        model.index(split["corpus"], task_metadata=task.metadata)
        hits = model.search(split["queries"], task_metadata=task.metadata, top_k=99)
        expected = ours.similarity(ours.encode_query(captions), videos, direction)
        if direction == "v2t":
            expected = expected.T
        rows = [[hits[query][document] for document in split["corpus"]["id"]] for query in split["queries"]["id"]]
        np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_what_cannot_be_read_is_said(samples: list[Sample], tmp_path: Path) -> None:
    model = MtebModel(encoder(FakeModel()))
    with pytest.raises(UsageError, match="Colours: a row is text and video; our models read one text"):
        embedded(model, rows(text=["a"], video=["a.mp4"]))
    with pytest.raises(UsageError, match="a row is audio"):
        embedded(model, rows(audio=["a.wav"]), "a2t", "query")
    with pytest.raises(UsageError, match="a row is none of text, image, video, audio"):
        embedded(model, rows(label=[1]))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match="broken"):
        embedded(model, rows(video=[str(tmp_path / "broken.mp4")]))
    with pytest.raises(UsageError, match="a row is a conversation"):
        embedded(model, rows(text=[["a man runs", "faster"]]), "t2t", "query")
    with pytest.raises(UsageError, match="the query is empty"):
        embedded(model, rows(text=["red", None]), "t2t", "query")
    with pytest.raises(UsageError, match="row 1 has no video"):
        embedded(model, rows(video=[str(samples[0].video.path), None]))
    with pytest.raises(UsageError, match="Colours: no video to embed"):
        embedded(model, rows(video=[str(samples[0].video.path)]).select([]))


def test_what_is_no_task_is_said(samples: list[Sample]) -> None:
    picture = Sample("picture", Video(samples[0].video.path, picture=True), ("blue",))
    for listed, message in (
        ([Sample("part", Video(samples[0].video.path, 0.5, 1.0), ("blue",))], "part is a part of a video"),
        ([picture], "picture is a picture"),
        ([samples[0], replace(samples[1], id=samples[0].id)], "Odd: several samples are called blue"),
        ([replace(samples[0], captions=())], "Odd: no video of the data set has a caption"),
        ([], "Odd: no video of the data set has a caption"),
    ):
        with pytest.raises(UsageError, match=message):
            retrieval_task(Listed(listed), "Odd").load_data()
    for name in ("", "..", "a/b", "x" * 201, "短" * 80):
        with pytest.raises(UsageError, match="is no name of a task"):
            retrieval_task(Listed(samples), name)
    with pytest.raises(UsageError, match="no direction is called 'v2v'; there are: t2v, v2t"):
        retrieval_task(Listed(samples), "Odd", "v2v")  # type: ignore[arg-type]
    for contrast, pairs, message in (
        ("test", 3, "no contrast is called 'test'; there are: order"),
        ("order", 0, "count"),
        ("order", 99_999, "order has 500 videos"),
    ):
        with pytest.raises(UsageError, match=message):
            contrast_task(contrast, pairs)


def test_a_document_that_says_nothing_is_like_nothing() -> None:
    model = MtebModel(encoder(FakeModel()))
    documents = embedded(model, rows(text=["red", " ", None, "blue"]), "t2t", "document")
    assert documents[[0, 3]].any(axis=1).all()
    queries = embedded(model, rows(text=["red", "blue"]), "t2t", "query")
    scores = np.asarray(model.similarity(queries, documents))
    assert not scores[:, 1:3].any()
    assert scores.argmax(axis=1).tolist() == [0, 3]
