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
from mmi_tvr.batch import infer
from mmi_tvr.encoder import Encoder
from mmi_tvr.errors import MediaError, MissingExtra, UsageError
from mmi_tvr.integrations import _documents
from mmi_tvr.integrations import datasets as exports
from mmi_tvr.library import Library
from mmi_tvr.scoring.decision import Decision, nobody_is_there, people_are_there
from mmi_tvr.search import SearchResult
from mmi_tvr.types import Answer, Appearance, Explanation, Hit, Query, Sample, Video

KEYS = {"path", "start", "end", "time", "score", "relevance", "found", "reason", "also", "explanation"}
NEEDS = {"langchain": "langchain_core", "llamaindex": "llama_index.core"}
CLASSES = {"langchain": "LangChainVideoRetriever", "llamaindex": "LlamaIndexVideoRetriever"}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of four colours."""
    from fakes import colour_video

    folder = tmp_path_factory.mktemp("library")
    for name in ("blue", "green", "red", "yellow"):
        colour_video(folder / "videos" / f"{name}.mp4", name)
    (folder / "videos" / "broken.mp4").write_bytes(b"no video")
    with Library(folder / "library", model=FakeModel()) as opened:
        opened.index(folder / "videos")
    return folder / "library"


def module(name: str) -> ModuleType:
    pytest.importorskip(NEEDS[name])
    return importlib.import_module(f"mmi_tvr.integrations.{name}")


def retriever_class(name: str) -> Any:
    return getattr(module(name), CLASSES[name])


@pytest.fixture
def lang(library: Path) -> Iterator[Any]:
    retriever = retriever_class("langchain")(library=str(library), model=FakeModel(), top=2, min_relevance=0.0)
    yield retriever
    retriever.close()


@pytest.fixture
def llama(library: Path) -> Iterator[Any]:
    retriever = retriever_class("llamaindex")(library, model=FakeModel(), top=2, min_relevance=0.0)
    yield retriever
    retriever.close()


def expected(library: Path, text: str) -> list[Hit]:
    with Library(library, model=FakeModel()) as opened:
        return list(opened.search(text, top=2, min_relevance=0.0).hits)


def test_langchain_gives_the_hits_of_the_library(library: Path, lang: Any) -> None:
    from langchain_core.retrievers import BaseRetriever

    assert isinstance(lang, BaseRetriever)
    retrieved = lang.invoke("red")
    hits = expected(library, "red")
    assert [document.metadata["path"] for document in retrieved] == [str(hit.path) for hit in hits]
    first, hit = retrieved[0], hits[0]
    assert set(first.metadata) == KEYS
    assert (first.metadata["start"], first.metadata["end"]) == (hit.start, hit.end)
    assert (first.metadata["score"], first.metadata["relevance"]) == pytest.approx((hit.score, hit.relevance))
    assert first.metadata["explanation"] is None
    assert first.page_content.startswith("red.mp4, 0.0 s to ")
    assert len({document.id for document in retrieved}) == 2
    json.dumps(first.metadata)


def test_langchain_is_a_runnable(lang: Any) -> None:
    chain = lang | (lambda documents: Path(documents[0].metadata["path"]).stem)
    assert chain.invoke("blue") == "blue"
    assert chain.batch(["red", "green", "yellow"]) == ["red", "green", "yellow"]  # from threads of its own
    assert asyncio.run(chain.ainvoke("green")) == "green"


def test_llamaindex_gives_the_hits_of_the_library(library: Path, llama: Any) -> None:
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import MetadataMode

    assert isinstance(llama, BaseRetriever)
    nodes = llama.retrieve("red")
    hits = expected(library, "red")
    assert [node.node.metadata["path"] for node in nodes] == [str(hit.path) for hit in hits]
    assert [node.score for node in nodes] == pytest.approx([hit.relevance for hit in hits])
    node = nodes[0].node
    assert set(node.metadata) == KEYS
    assert "explanation" not in node.get_content(MetadataMode.LLM)
    assert "red.mp4" in node.get_content(MetadataMode.LLM)
    json.dumps(node.metadata)


def test_llamaindex_answers_in_an_event_loop_and_from_threads(llama: Any) -> None:
    async def several() -> list[str]:
        results = await asyncio.gather(*(llama.aretrieve(colour) for colour in ("red", "blue")))
        return [Path(nodes[0].node.metadata["path"]).stem for nodes in results]

    assert asyncio.run(several()) == ["red", "blue"]
    with ThreadPoolExecutor(3) as pool:
        assert [Path(nodes[0].metadata["path"]).stem for nodes in pool.map(llama.retrieve, ["green", "red"])] == [
            "green",
            "red",
        ]


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_what_is_not_there_is_said_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no library is here"):
        retriever_class(name)(library=str(tmp_path / "none"))
    with pytest.raises(AttributeError, match="AudioRetriever"):
        _ = module(name).AudioRetriever


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_without_the_framework_the_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    integration = importlib.import_module(f"mmi_tvr.integrations.{name}")  # which needs nothing
    monkeypatch.setattr(integration, "_retriever_class", integration._retriever_class.__wrapped__)  # not loaded yet
    for loaded in [name_ for name_ in sys.modules if name_.startswith(NEEDS[name])]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr(plugins.importlib, "import_module", _missing)
    with pytest.raises(MissingExtra, match=rf"\[{name}\]"):
        getattr(integration, CLASSES[name])


def _missing(name: str) -> ModuleType:
    raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_an_explanation_is_text_for_a_language_model_and_data_for_a_program() -> None:
    lines = (
        Answer("v1", "What moves?", "a red circle", (1.0, 2.0)),
        Answer("v2", "Where?", "", (), "no answer came"),
    )
    why = Explanation((Answer("t1", "What?", "circle"),), lines, 0.9, 0.5, 0.57)
    hit = Hit(Path("/films/a.mp4"), 1.0, 2.5, 1.5, 0.5, 0.8, copies=(Path("/films/b.mp4"),), explanation=why)
    assert _documents.page_text(hit) == "a.mp4, 1.0 s to 2.5 s\nWhat moves? a red circle"
    result = SearchResult((hit,), Query("circle"), "mmi", {}, decision=Decision(True, "why"))
    values = json.loads(json.dumps(_documents.metadata(result, hit)))
    assert values.pop("found") is True
    assert values["also"] == ["/films/b.mp4"]
    assert (values["explanation"]["probability"], values["explanation"]["joint"]) == (0.9, 0.57)
    assert values["explanation"]["video"][0] == {
        "question": "What moves?",
        "answer": "a red circle",
        "times": [1.0, 2.0],
    }


def test_who_is_in_a_hit_goes_neither_to_documents_nor_to_files_of_a_batch() -> None:
    people = (Appearance("Annegret", 1.0, 2.0, 0.9),)
    hit = Hit(Path("/films/a.mp4"), 1.0, 2.5, 1.5, 0.5, 0.8, people=people)
    decision = people_are_there({"Annegret": 1})
    result = SearchResult((hit,), Query("circle"), "mmi", {}, decision=decision, people={"Annegret": 1})
    assert result.as_dict()["found_reason"] == "Annegret was recognised in 1 file"
    assert _documents.metadata(result, hit)["reason"] == "the people of the query were recognised"
    leaving = [
        _documents.page_text(hit),
        _documents.metadata(result, hit),
        infer._hit_rows(result, [("a", "/films/a.mp4")]),
    ]
    assert "Annegret" not in json.dumps(leaving)


def test_an_empty_list_of_documents_says_in_the_log_why_and_names_nobody(caplog: pytest.LogCaptureFixture) -> None:
    empty = SearchResult((), Query("[Annegret]"), "mmi", {}, decision=nobody_is_there({"Annegret": 0, "Ben": 2}, 3, 1))
    with caplog.at_level("INFO", "mmi_tvr.integrations"):
        assert _documents._logged(empty) is empty
    (record,) = caplog.records
    assert record.getMessage() == (
        "nothing matches: 1 of the people of the query is in none of these 3 files; in 1 of them nobody has "
        "looked for faces yet"
    )
    both = nobody_is_there({"Annegret": 1, "Ben": 2}, 3, 0).public_reason
    assert both == "no file shows all of the people of the query, and nobody who is excluded"
    assert nobody_is_there({}, 3, 0).public_reason == "everybody is excluded"


# As a dataset


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(FakeModel(), plugins.build("keyimages", "disparity", {}))


def test_a_library_as_a_dataset(library: Path, encoder: Encoder) -> None:
    pytest.importorskip("datasets")
    dataset = exports.of_library(library, moments=True).with_format("numpy")
    assert sorted(Path(path).stem for path in dataset["path"]) == ["blue", "green", "red", "yellow"]
    paths = [Path(path) for path in dataset["path"]]
    np.testing.assert_allclose(np.stack(dataset["embedding"][:]), encoder.encode_video(paths), atol=1e-6)
    for row, embeddings in zip(dataset, encoder.embed(paths), strict=True):
        assert not isinstance(embeddings, MediaError)
        np.testing.assert_allclose(np.stack(row["moments"]), embeddings.moments, atol=1e-6)
        np.testing.assert_allclose(np.stack(row["segments"]), embeddings.segments)
        assert (row["start"], row["end"]) == (0.0, embeddings.segments[-1, 1])
    origin = json.loads(dataset.info.description)
    assert origin == {"model": "fake", "fingerprint": encoder.fingerprint}
    assert "moments" not in exports.of_library(library).column_names


def test_a_large_library_is_made_in_blocks(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    at_once = exports.of_library(library)
    monkeypatch.setattr(exports, "_BLOCK_SIZE", 3)
    parts = exports.of_library(library)
    assert parts.to_list() == at_once.to_list()
    assert parts.info.description == at_once.info.description


def test_a_dataset_of_a_data_set_survives_the_disk(library: Path, encoder: Encoder, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    videos = library.parent / "videos"
    samples = [
        Sample("one", Video(videos / "red.mp4"), ("red", "a red picture")),
        Sample("two", Video(videos / "blue.mp4", 0.5, 1.5), ("蓝色",)),
    ]
    exports.of_samples(samples, encoder).save_to_disk(str(tmp_path / "saved"))
    dataset = datasets.load_from_disk(str(tmp_path / "saved"))
    assert dataset["id"][:] == ["one", "two"]
    assert dataset["captions"][:] == [["red", "a red picture"], ["蓝色"]]
    assert (dataset[1]["start"], dataset[1]["end"], dataset[0]["end"]) == (0.5, 1.5, None)
    expected = encoder.encode_video([sample.video for sample in samples])
    np.testing.assert_array_equal(np.array(dataset["embedding"][:], dtype=np.float32), expected)
    assert json.loads(dataset.info.description)["fingerprint"] == encoder.fingerprint


def test_unreadable_samples_raise_or_are_named(library: Path, encoder: Encoder) -> None:
    pytest.importorskip("datasets")
    videos = library.parent / "videos"
    samples = [Sample(name, Video(videos / f"{name}.mp4"), (name,)) for name in ("broken", "red")]
    with pytest.raises(MediaError, match=r"broken\.mp4"):
        exports.of_samples(samples, encoder)
    dataset = exports.of_samples(samples, encoder, skip_unreadable=True)
    assert dataset["id"][:] == ["red"]
    assert list(json.loads(dataset.info.description)["unreadable"]) == ["broken"]
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
