"""A library as tools of an assistant: the package's own client speaks to the command, and what an answer leaves out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from fakes import FakeModel, clipped, colour_video
from serving import served

from mmi_tvr.errors import LibraryBusy, MmiTvrError, UnreadableQuery
from mmi_tvr.library import Library
from mmi_tvr.serve import shared as sharing
from mmi_tvr.serve.assistants import AssistantTools, run
from mmi_tvr.serve.shared import SharedLibrary
from mmi_tvr.utils import strict_json

# The command, with the model that knows colours; what a careless library prints must not reach the assistant.
PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from fakes import FakeModel, clipped
from mmi_tvr.cli import mcp
from mmi_tvr.cli.app import run
from mmi_tvr.library import Library

class Noisy(FakeModel):
    def embed_queries(self, queries):
        print("a careless print")
        return super().embed_queries(queries)

mcp.Library = lambda path: Library(path, Noisy(), None, clipped)
run()
"""
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("search", {"query": "red", "top": 2}),
    ("search", {"query": "red", "top": 0}),
    ("search", {"query": "  "}),
    ("search", {"query": "red", "where": ["colour"]}),
    ("moments", {"id": 1}),
    ("moments", {"id": 99}),
    ("describe", {"id": 1}),
    ("status", {}),
    ("search", {"query": "red", "kind": ["image"], "since": "2001"}),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assistants")
    colour_video(folder / "films" / os.fsdecode(b"red \xff\n.mp4"), "red")
    colour_video(folder / "films" / "blue.mp4", "blue")
    (folder / "films" / "broken.mp4").write_bytes(b"no film")
    with Library(folder / "library", FakeModel(), relevance=clipped) as library:
        library.index(folder / "films")
    return folder


@pytest.fixture(scope="module")
def program() -> list[str]:
    return [sys.executable, "-c", PROGRAM.format(tests=str(Path(__file__).parent))]


@pytest.fixture(scope="module")
def answers(folder: Path, program: list[str]) -> SimpleNamespace:
    """What the package's own client hears of one process: the tools, and the answers to CALLS."""
    mcp = pytest.importorskip("mcp")

    async def talk() -> SimpleNamespace:
        server = mcp.StdioServerParameters(
            command=program[0], args=[*program[1:], "mcp", "--library", str(folder / "library")], env=dict(os.environ)
        )
        async with mcp.Client(server) as client:
            tools = (await client.list_tools()).tools
            calls = [await client.call_tool(name, arguments) for name, arguments in CALLS]
            return SimpleNamespace(tools=tools, calls=calls, instructions=client.instructions)

    return anyio.run(talk)


def test_the_tools_are_there_and_only_read(answers: SimpleNamespace) -> None:
    tools = {tool.name: tool for tool in answers.tools}
    assert set(tools) == {"search", "moments", "describe", "status"}
    assert all(tool.annotations.read_only_hint and tool.description for tool in tools.values())
    assert tools["search"].input_schema["required"] == ["query"]
    assert tools["search"].input_schema["properties"]["top"]["maximum"] == 50
    assert "sentence" in answers.instructions


def test_a_search_answers_with_moments(answers: SimpleNamespace, folder: Path) -> None:
    reply = answers.calls[0]
    assert not reply.is_error
    hit = reply.structured_content["hits"][0]
    assert hit["path"].endswith("red \\xff\n.mp4")  # as people see it, and its bytes
    assert strict_json.loads(json.dumps(hit))["path"] == str(folder / "films" / os.fsdecode(b"red \xff\n.mp4"))
    assert {"id", "start", "end", "time", "relevance"} <= set(hit)
    assert json.loads(reply.content[0].text) == reply.structured_content


@pytest.mark.parametrize(
    ("number", "words"), [(1, "greater than or equal to 1"), (2, "empty"), (3, "LEVEL=NAME"), (5, "99")]
)
def test_wrong_use_is_an_answer_of_one_line(answers: SimpleNamespace, number: int, words: str) -> None:
    reply = answers.calls[number]
    assert reply.is_error
    assert words in reply.content[0].text


def test_a_search_among_pictures_alone(answers: SimpleNamespace) -> None:
    assert answers.calls[8].structured_content["hits"] == []


def test_moments_and_what_is_known_of_a_file(answers: SimpleNamespace) -> None:
    moments, description, status = (answers.calls[number].structured_content for number in (4, 6, 7))
    assert moments["id"] == description["id"] == 1
    assert {"start", "end", "time"} == set(moments["moments"][0])
    assert not {"sha256", "date_source"} & (set(moments) | set(description))
    assert description["moments"] == len(moments["moments"])
    assert description["description"] is None
    assert (status["videos"], status["set_aside_files"]) == (2, 1)
    assert status["set_aside"][0]["path"].endswith("broken.mp4")


def test_nothing_but_the_protocol_is_on_stdout(folder: Path, program: list[str]) -> None:
    """Also where a model prints, and a line is no message."""
    pytest.importorskip("mcp")
    start = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    lines = [
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": start}),
        json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        "no message",
        json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
                    "params": {"name": "search", "arguments": {"query": "blue"}}}),
    ]  # fmt: skip
    with subprocess.Popen(
        [*program, "mcp", "--library", str(folder / "library")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n".join(lines) + "\n")
        process.stdin.flush()
        replies = [json.loads(process.stdout.readline()) for _ in range(2)]
        rest, errors = process.communicate(timeout=60)
    assert [reply.get("id") for reply in replies] == [1, 2]
    assert replies[1]["result"]["structuredContent"]["hits"][0]["path"].endswith("blue.mp4")
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in rest.splitlines())
    assert "a careless print" in errors
    assert process.returncode == 0


def test_without_a_library_it_says_so(tmp_path: Path) -> None:
    shared = SharedLibrary(Library(tmp_path / "none"))
    for tool in (AssistantTools(shared).status, lambda: AssistantTools(shared).search("red")):
        with pytest.raises(MmiTvrError, match="no library is here; make one"):
            tool()
    shared.close()


class Answering:
    """Stands for a library whose search has one document, or one error."""

    def __init__(self, document: dict[str, Any] | Exception) -> None:
        self.document = document

    def search(self, query: str, **options: Any) -> dict[str, Any]:
        if isinstance(self.document, Exception):
            raise self.document
        return self.document


def searched(query: str, with_texts: bool = False) -> dict[str, Any]:
    """Return what an assistant sees of a search that anna berg and ben are known in."""
    people = [{"name": name, "from": 1.0, "to": 2.0, "confidence": 0.7} for name in ("anna berg", "ben", "carl")]
    document = {
        "query": "[anna berg] dances",
        "found": True,
        "found_reason": "anna berg is in 3 videos",
        "remarks": ["[anna] is read as anna berg"],
        "people": [{"name": "anna berg", "videos": 3}, {"name": "ben", "videos": 1}],
        "coverage": {},
        "hits": [{
            "id": 1, "path": "/a.mp4", "people": people, "skeleton": {}, "future": "carl",
            "moments": [{"start": 1.0, "end": 2.0, "found_by": "heard", "text": "carl says hello"}],
        }],
    }  # fmt: skip
    return AssistantTools(Answering(document), with_texts).search(query)  # type: ignore[arg-type]


def test_people_are_named_where_the_question_names_them() -> None:
    answer = searched("[Anna  Berg] dances with [ben]")
    assert [one["name"] for one in answer["hits"][0]["people"]] == ["anna berg", "ben"]  # who else is there is not said
    assert answer["reason"] == "anna berg is in 3 videos"
    for query in ("[anna] dances", "somebody dances"):
        answer = searched(query)
        assert "people" not in answer["hits"][0]
        assert answer["reason"] == "somebody is in 3 videos"
        assert not any(name in json.dumps(answer) for name in ("berg", "ben", "carl"))


def test_what_is_said_is_passed_on_where_somebody_chose_that() -> None:
    assert searched("x")["hits"][0]["moments"] == [{"start": 1.0, "end": 2.0, "found_by": "heard"}]
    assert searched("x", with_texts=True)["hits"][0]["moments"][0]["text"] == "carl says hello"


def test_who_else_is_known_is_not_said() -> None:
    tools = AssistantTools(Answering(UnreadableQuery("[x]: known are anna, ben", "[x]: nobody is known")))  # type: ignore[arg-type]
    with pytest.raises(MmiTvrError) as error:
        tools.search("[x] dances")
    assert str(error.value) == "[x]: nobody is known"


@pytest.fixture
def shared(folder: Path) -> Iterator[SharedLibrary]:
    library = SharedLibrary(Library(folder / "library", FakeModel(), relevance=clipped))
    yield library
    library.close()


def test_a_running_service_is_asked_and_has_the_model(
    shared: SharedLibrary, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one, without one, and with one again: the same answers, by one process."""
    alone = shared.search("red", top=3)
    assert shared._holds_model
    with Library(folder / "library", FakeModel(), relevance=clipped) as library, served(library) as client:
        assert shared.service()["url"] == client.running.url  # type: ignore[index]
        with monkeypatch.context() as patch:
            patch.setattr(shared.library, "search", None)  # of this process
            served_document = shared.search("red", top=3)
        assert not shared._holds_model
        with pytest.raises(MmiTvrError, match="empty"):
            shared.search(" ")
        monkeypatch.setattr(sharing, "__version__", "0.0")
        assert shared.service() is None  # of another version: not asked
        monkeypatch.undo()
    for document in (alone, served_document):
        del document["seconds"]
    assert served_document == alone
    assert shared.search("red", top=3)["hits"] == alone["hits"]  # it is gone: alone again


def test_what_a_service_cannot_do_now_is_the_same_error(shared: SharedLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SharedLibrary, "service", lambda self: {})
    for status, body, kind in (
        (503, b'{"error": "full"}', LibraryBusy),
        (500, b"<html>", MmiTvrError),
        (400, b'{"error": "x", "reason": "y"}', UnreadableQuery),
    ):
        monkeypatch.setattr(
            sharing, "request", lambda *a, status=status, body=body, **o: SimpleNamespace(status=status, body=body)
        )
        with pytest.raises(kind):
            shared.search("red")
    monkeypatch.setattr(sharing, "request", lambda *a, **o: None)
    assert shared.search("red")["hits"]  # it ended in the middle: this process answers


def test_the_extra_is_named_where_it_is_missing(shared: SharedLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server", None)
    with pytest.raises(MmiTvrError, match="mcp"):
        run(shared)
