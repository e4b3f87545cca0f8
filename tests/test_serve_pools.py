"""Question pools over HTTP: edits of the library's own copy, checks, groups, and what an edit does to a ranking."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeModel, clipped, colour_video
from serving import Client, served

from mmi_tvr import config
from mmi_tvr.config import Section, Settings
from mmi_tvr.library import Library
from mmi_tvr.questions import pool

RERANK = Section(name="skeleton", answerer={"name": "fake"}, judge={"name": "fake"})
WRONG: list[tuple[str, dict[str, Any], int, str]] = [
    ("edit", {"about": "video", "edits": []}, 422, "edits: "),
    ("edit", {"about": "sound", "edits": [{"action": "remove", "id": "v01"}]}, 422, "about: "),
    ("edit", {"about": "video", "edits": [{"action": "write", "id": "v01"}]}, 422, "edits.0.action: "),
    ("edit", {"about": "video", "edits": [{"action": "remove", "id": "v999"}]}, 400, "no question has the id 'v999'"),
    ("edit", {"about": "video", "edits": [{"action": "change", "id": "v01"}]}, 400, "what is to be other"),
    ("edit", {"about": "video", "edits": [{"action": "add", "text": "What?"}]}, 400, "has a text and a kind"),
    ("edit", {"about": "video", "edits": [{"action": "add", "text": "What?", "kind": "x"}]}, 400, "kind"),
    ("edit", {"about": "video", "edits": [{"action": "change", "id": "v01", "text": " "}]}, 400, "empty"),
    ("edit", {"about": "video", "edits": [{"action": "change", "id": "v01", "text": "a" * 501}]}, 422, "text: "),
    ("edit", {"about": "video", "pool": "/etc/passwd", "edits": [{"action": "remove", "id": "v01"}]}, 422, "pool: "),
    ("choose", {"about": "video", "groups": 0}, 422, "groups: "),
    ("compare", {"about": "video", "query": ""}, 400, "the query is empty"),
    ("compare", {"about": "video", "query": "red", "pools": "/etc"}, 422, "pools: "),
]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pools") / "films"
    for name in ("blue", "green", "red"):
        colour_video(folder / f"{name}.mp4", name)
    return folder


@pytest.fixture
def client(films: Path, tmp_path: Path) -> Iterator[Client]:
    with Library(tmp_path / "library", FakeModel(), Settings(rerank=RERANK), clipped) as library:
        library.index(films)
        with served(library) as one:
            yield one


def edits(*changes: dict[str, Any], about: str = "video") -> dict[str, Any]:
    return {"about": about, "edits": list(changes)}


def packaged() -> dict[str, str]:
    folder = config.PACKAGED / "prompts"
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.yaml*")}


def test_an_edit_goes_into_the_librarys_own_copy(client: Client) -> None:
    before, library = packaged(), client.running.token_file.parent
    disabled = client.post("/api/pools/edit", edits({"action": "change", "id": "v08", "enabled": False})).json()
    assert disabled["pool"] == str(library / "prompts" / "video.yaml")
    assert "have changed since they were chosen" in disabled["warning"]
    question = {"action": "add", "text": "Which sport is it?", "kind": "purpose", "note": "Helps with matches."}
    added = client.post("/api/pools/edit", edits(question, {"action": "remove", "id": "v02"})).json()["video"]
    assert (added[-1]["id"], added[-1]["text"], added[-1]["enabled"]) == ("v51", "Which sport is it?", True)
    assert "v02" not in {one["id"] for one in added}
    assert client.get("/api/pools").json()["video"] == added
    assert pool.load(library / "prompts" / "video.yaml")["v08"].enabled is False
    assert (library / "prompts" / "video.yaml.bak").is_file()
    assert not (library / "prompts" / "text.yaml").exists()  # nobody edited that one
    assert packaged() == before


def test_all_edits_of_a_request_or_none(client: Client) -> None:
    library = client.running.token_file.parent
    good = {"action": "change", "id": "v01", "text": "What is it?"}
    assert client.post("/api/pools/edit", edits(good, {"action": "remove", "id": "v999"})).status == 400
    assert not (library / "prompts").exists()


def test_what_is_no_edit_changes_nothing(client: Client) -> None:
    for route, document, status, words in WRONG:
        reply = client.post(f"/api/pools/{route}", document)
        assert (reply.status, list(reply.json())) == (status, ["error"]), document
        assert words in reply.json()["error"]
    assert not (client.running.token_file.parent / "prompts").exists()


def test_who_may_not_edit_does_not(client: Client) -> None:
    removal = edits({"action": "remove", "id": "v01"})
    for foreign in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Host": "evil.example"}):
        for route in ("edit", "choose", "compare"):
            assert client.post(f"/api/pools/{route}", removal, **foreign).status in (403, 421)
    assert not (client.running.token_file.parent / "prompts").exists()


def test_checks_name_what_is_wrong(client: Client) -> None:
    assert client.get("/api/pools/check").json()["ok"]
    file = client.running.token_file.parent / "prompts" / "text.yaml"
    client.post("/api/pools/edit", edits({"action": "change", "id": "t01", "enabled": False}, about="text"))
    (text, _) = client.get("/api/pools/check").json()["pools"]
    assert (text["path"], text["enabled"], len(text["warnings"])) == (str(file), 49, 1)
    file.write_text(file.read_text(encoding="utf-8").replace("id: t02", "id: t01"), encoding="utf-8")
    document = client.get("/api/pools/check").json()
    assert (document["ok"], "t01" in document["pools"][0]["problems"][0]) == (False, True)
    assert client.get("/api/pools").status == 400


def test_groups_have_places_and_are_chosen_anew(client: Client) -> None:
    groups = client.get("/api/pools/groups?about=video").json()
    assert (len(groups["points"]), groups["stale"]) == (50, None)
    assert len({one["group"] for one in groups["points"] if one["chosen"]}) == groups["groups"]
    client.post("/api/pools/edit", edits({"action": "change", "id": "v08", "text": "Which colours are in it?"}))
    assert client.get("/api/pools/groups?about=video").json()["stale"]
    chosen = client.post("/api/pools/choose", {"about": "video"}).json()
    assert chosen["groups"] == groups["groups"]  # as many as before
    assert sum(one["chosen"] for one in chosen["video"]) == chosen["groups"]
    assert client.get("/api/pools/groups?about=video").json()["stale"] is None
    assert client.post("/api/pools/choose", {"about": "video", "groups": 3}).json()["groups"] == 3


def test_what_an_edit_does_to_a_ranking(client: Client) -> None:
    library = client.running.token_file.parent
    chosen = next(one for one in client.get("/api/pools").json()["text"] if one["chosen"])
    edit = {"action": "change", "id": chosen["id"], "text": "Is it red?"}
    answer = client.post("/api/pools/compare", {"query": "red", **edits(edit, about="text")}).json()
    assert {"id": chosen["id"], "text": "Is it red?"} in answer["asked"]["after"]
    assert {"id": chosen["id"], "text": chosen["text"]} in answer["asked"]["before"]
    questions = {side: asked_of_query(answer[side]) for side in ("before", "after")}
    assert questions["after"] - questions["before"] == {"Is it red?"}
    assert len(answer["before"]["hits"]) == len(answer["after"]["hits"]) == 3
    assert not (library / "prompts").exists()
    before = client.post("/api/search", {"query": "red", "rerank": True, "min_relevance": 0}).json()
    assert asked_of_query(before) == questions["before"]
    client.post("/api/pools/edit", edits(edit, about="text"))  # and now in earnest
    after = client.post("/api/search", {"query": "red", "rerank": True, "min_relevance": 0}).json()
    assert asked_of_query(after) == questions["after"]
    client.post("/api/pools/edit", edits({**edit, "text": "Is it blue?"}, about="text"))  # the same file once more
    once_more = client.post("/api/search", {"query": "red", "rerank": True, "min_relevance": 0}).json()
    assert asked_of_query(once_more) - questions["after"] == {"Is it blue?"}  # the service need not be started anew
    again = client.post("/api/pools/compare", {"query": "red", "about": "text", "choose": True}).json()
    assert len(again["asked"]["after"]) == len(again["asked"]["before"])


def asked_of_query(result: dict[str, Any]) -> set[str]:
    return {answer["question"] for answer in result["hits"][0]["skeleton"]["text"]}


def test_without_a_library_nothing_is_written(tmp_path: Path) -> None:
    with served(Library(tmp_path / "none")) as client:
        for route in ("edit", "choose", "compare"):
            document = {"edit": edits({"action": "remove", "id": "v01"}), "choose": {"about": "text"}}.get(route)
            assert client.post(f"/api/pools/{route}", document or {"about": "text", "query": "red"}).status == 404
    assert not (tmp_path / "none").exists()
