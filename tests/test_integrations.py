"""A library in other frameworks: retrievers of LangChain and LlamaIndex, and embeddings as a Hugging Face dataset."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fakes import FakeModel

from mmi_tvr import plugins
from mmi_tvr.encoder import Encoder
from mmi_tvr.errors import MediaError, MissingExtra, UsageError
from mmi_tvr.integrations import _documents
from mmi_tvr.integrations import datasets as exports
from mmi_tvr.library import Library
from mmi_tvr.types import Answer, Explanation, Hit, Sample, Video

KEYS = {"path", "start", "end", "time", "score", "relevance", "also", "explanation"}
NEEDS = {"langchain": "langchain_core", "llamaindex": "llama_index.core"}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of four colours."""
    from fakes import colour_video

    here = tmp_path_factory.mktemp("shelf")
    for name in ("blue", "green", "red", "yellow"):
        colour_video(here / "videos" / f"{name}.mp4", name)
    (here / "videos" / "broken.mp4").write_bytes(b"no video")
    with Library(here / "library", model=FakeModel()) as library:
        library.index(here / "videos")
    return here / "library"


def module(name: str) -> ModuleType:
    pytest.importorskip(NEEDS[name])
    return importlib.import_module(f"mmi_tvr.integrations.{name}")


@pytest.fixture
def lang(shelf: Path) -> Iterator[Any]:
    made = module("langchain").VideoRetriever(library=str(shelf), model=FakeModel(), top=2, min_relevance=0.0)
    yield made
    made.close()


@pytest.fixture
def llama(shelf: Path) -> Iterator[Any]:
    made = module("llamaindex").VideoRetriever(shelf, model=FakeModel(), top=2, min_relevance=0.0)
    yield made
    made.close()


def expected(shelf: Path, text: str) -> list[Hit]:
    with Library(shelf, model=FakeModel()) as library:
        return list(library.search(text, top=2, min_relevance=0.0).hits)


def test_langchain_gives_the_hits_of_the_library(shelf: Path, lang: Any) -> None:
    from langchain_core.retrievers import BaseRetriever

    assert isinstance(lang, BaseRetriever)
    found = lang.invoke("red")
    hits = expected(shelf, "red")
    assert [document.metadata["path"] for document in found] == [str(hit.path) for hit in hits]
    first, hit = found[0], hits[0]
    assert set(first.metadata) == KEYS
    assert (first.metadata["start"], first.metadata["end"]) == (hit.start, hit.end)
    assert (first.metadata["score"], first.metadata["relevance"]) == pytest.approx((hit.score, hit.relevance))
    assert first.metadata["explanation"] is None
    assert first.page_content.startswith("red.mp4, 0.0 s to ")
    assert len({document.id for document in found}) == 2
    json.dumps(first.metadata)


def test_langchain_is_a_runnable(lang: Any) -> None:
    chain = lang | (lambda documents: Path(documents[0].metadata["path"]).stem)
    assert chain.invoke("blue") == "blue"
    assert chain.batch(["red", "green", "yellow"]) == ["red", "green", "yellow"]  # from threads of its own
    assert asyncio.run(chain.ainvoke("green")) == "green"


def test_llamaindex_gives_the_hits_of_the_library(shelf: Path, llama: Any) -> None:
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import MetadataMode

    assert isinstance(llama, BaseRetriever)
    found = llama.retrieve("red")
    hits = expected(shelf, "red")
    assert [each.node.metadata["path"] for each in found] == [str(hit.path) for hit in hits]
    assert [each.score for each in found] == pytest.approx([hit.relevance for hit in hits])
    node = found[0].node
    assert set(node.metadata) == KEYS
    assert "explanation" not in node.get_content(MetadataMode.LLM)
    assert "red.mp4" in node.get_content(MetadataMode.LLM)
    json.dumps(node.metadata)


def test_llamaindex_answers_in_an_event_loop_and_from_threads(llama: Any) -> None:
    async def several() -> list[str]:
        found = await asyncio.gather(*(llama.aretrieve(colour) for colour in ("red", "blue")))
        return [Path(nodes[0].node.metadata["path"]).stem for nodes in found]

    assert asyncio.run(several()) == ["red", "blue"]
    with ThreadPoolExecutor(3) as pool:
        assert [Path(nodes[0].metadata["path"]).stem for nodes in pool.map(llama.retrieve, ["green", "red"])] == [
            "green",
            "red",
        ]


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_what_is_not_there_is_said_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no library is here"):
        module(name).VideoRetriever(library=str(tmp_path / "none"))
    with pytest.raises(AttributeError, match="AudioRetriever"):
        _ = module(name).AudioRetriever


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_without_the_framework_the_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.import_module(f"mmi_tvr.integrations.{name}")  # which needs nothing
    found._made.cache_clear()
    for loaded in [each for each in sys.modules if each.startswith(NEEDS[name])]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr(plugins.importlib, "import_module", _missing)
    with pytest.raises(MissingExtra, match=rf"mmi-tvr\[{name}\]"):
        _ = found.VideoRetriever
    found._made.cache_clear()


def _missing(name: str) -> ModuleType:
    raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_an_explanation_is_text_for_a_language_model_and_data_for_a_program() -> None:
    lines = (
        Answer("v1", "What moves?", "a red circle", (1.0, 2.0)),
        Answer("v2", "Where?", "", (), "no answer came"),
    )
    why = Explanation((Answer("t1", "What?", "circle"),), lines, 0.9, 0.5, 0.57)
    hit = Hit(Path("/films/a.mp4"), 1.0, 2.5, 1.5, 0.5, 0.8, copies=(Path("/films/b.mp4"),), explanation=why)
    assert _documents.content(hit) == "a.mp4, 1.0 s to 2.5 s\nWhat moves? a red circle"
    found = json.loads(json.dumps(_documents.metadata(hit)))
    assert found["also"] == ["/films/b.mp4"]
    assert (found["explanation"]["probability"], found["explanation"]["joint"]) == (0.9, 0.57)
    assert found["explanation"]["video"][0] == {
        "question": "What moves?",
        "answer": "a red circle",
        "times": [1.0, 2.0],
    }


# As a dataset


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(FakeModel(), plugins.build("keyimages", "disparity", {}))


def test_a_library_as_a_dataset(shelf: Path, encoder: Encoder) -> None:
    pytest.importorskip("datasets")
    found = exports.of_library(shelf, moments=True).with_format("numpy")
    assert sorted(Path(path).stem for path in found["path"]) == ["blue", "green", "red", "yellow"]
    paths = [Path(path) for path in found["path"]]
    np.testing.assert_allclose(np.stack(found["embedding"][:]), encoder.encode_video(paths), atol=1e-6)
    for row, one in zip(found, encoder.embed(paths), strict=True):
        assert not isinstance(one, MediaError)
        np.testing.assert_allclose(np.stack(row["moments"]), one.moments, atol=1e-6)
        np.testing.assert_allclose(np.stack(row["segments"]), one.segments)
        assert (row["start"], row["end"]) == (0.0, one.segments[-1, 1])
    about = json.loads(found.info.description)
    assert about == {"model": "fake", "fingerprint": encoder.fingerprint}
    assert "moments" not in exports.of_library(shelf).column_names


def test_a_large_library_is_made_in_blocks(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    whole = exports.of_library(shelf)
    monkeypatch.setattr(exports, "_BLOCK", 3)
    parts = exports.of_library(shelf)
    assert parts.to_list() == whole.to_list()
    assert parts.info.description == whole.info.description


def test_a_dataset_of_a_data_set_survives_the_disk(shelf: Path, encoder: Encoder, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    videos = shelf.parent / "videos"
    samples = [
        Sample("one", Video(videos / "red.mp4"), ("red", "a red picture")),
        Sample("two", Video(videos / "blue.mp4", 0.5, 1.5), ("蓝色",)),
    ]
    exports.of_samples(samples, encoder).save_to_disk(str(tmp_path / "saved"))
    found = datasets.load_from_disk(str(tmp_path / "saved"))
    assert found["id"][:] == ["one", "two"]
    assert found["captions"][:] == [["red", "a red picture"], ["蓝色"]]
    assert (found[1]["start"], found[1]["end"], found[0]["end"]) == (0.5, 1.5, None)
    expected = encoder.encode_video([sample.video for sample in samples])
    np.testing.assert_array_equal(np.array(found["embedding"][:], dtype=np.float32), expected)
    assert json.loads(found.info.description)["fingerprint"] == encoder.fingerprint


def test_unreadable_samples_raise_or_are_named(shelf: Path, encoder: Encoder) -> None:
    pytest.importorskip("datasets")
    videos = shelf.parent / "videos"
    samples = [Sample(name, Video(videos / f"{name}.mp4"), (name,)) for name in ("broken", "red")]
    with pytest.raises(MediaError, match=r"broken\.mp4"):
        exports.of_samples(samples, encoder)
    found = exports.of_samples(samples, encoder, skip_unreadable=True)
    assert found["id"][:] == ["red"]
    assert list(json.loads(found.info.description)["unreadable"]) == ["broken"]
    with pytest.raises(UsageError, match="no video"):
        exports.of_samples(samples[:1], encoder, skip_unreadable=True)


def test_nothing_to_export_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no library is here"):
        exports.of_library(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with Library(tmp_path / "library", model=FakeModel()) as library:
        library.index(tmp_path / "empty")
    with pytest.raises(UsageError, match="nothing is indexed"):
        exports.of_library(tmp_path / "library")
