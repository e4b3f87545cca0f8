"""People over HTTP: the JSON of the commands, pictures of faces that stay nowhere, and who may change anything."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, clipped
from people_media import COLOURS, drawn, film
from PIL import Image
from serving import Client, served

from mmi_tvr import plugins
from mmi_tvr.config import Section, Settings
from mmi_tvr.library import Library
from mmi_tvr.library.people import People, PeopleStore
from mmi_tvr.library.people.recognition import recognise
from mmi_tvr.protocols import FaceEncoder

WRONG = [
    ("name", {"who": "999", "name": "Ben"}, 400, "no unnamed person has this number"),
    ("name", {"who": "anna", "name": "Ben"}, 400, "is somebody with a name"),
    ("name", {"who": "1", "name": "[x]"}, 400, "no brackets"),
    ("merge", {"who": "anna", "other": "anna"}, 400, "one person already"),
    ("split", {"who": "anna", "sightings": [999]}, 400, "no sighting of anna has this number"),
    ("split", {"who": "anna", "sightings": []}, 422, "sightings: "),
    ("hide", {"who": "anna"}, 422, "who: "),
    ("forget", {}, 400, "name one person (who), or all"),
    ("forget", {"who": "anna", "all": True}, 400, "name one person (who), or all"),
    ("forget", {"who": "nobody"}, 400, "nobody is called so here"),
    ("forget", {"who": "anna", "everybody": 1}, 422, "everybody: "),
]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """anna is known, ben is seen, and both are in one film."""
    film(tmp_path / "films" / "both.mp4", ["anna"], ["anna", "ben"])
    encoder: FaceEncoder = plugins.build("people.faces", "fake", {})
    settings = Settings(faces=Section(name="fake"))
    with Library(tmp_path / "library", FakeModel(), settings, clipped) as library:
        library.index(tmp_path / "films", people=True)
        with PeopleStore.open_to_write(library.path) as store:
            picture = drawn("anna")
            store.add("anna", encoder.describe(picture, encoder.detect(picture)))
            recognise(store, encoder.threshold)
        with served(library) as one:
            yield one


def test_people_are_listed_shown_named_and_forgotten(client: Client) -> None:
    folder = client.running.token_file.parent
    document = client.get("/api/people").json()
    (anna,) = document["people"]
    assert (anna["name"], anna["photos"], anna["sightings"]) == ("anna", 1, 2)  # a cut ends a sighting
    (other,) = document["unnamed"]
    assert document["unnamed"] == [person.as_dict() for person in People(folder).listed()[1]]
    seen, later = client.get("/api/people/sightings?who=anna").json()["sightings"]
    assert [seen, later] == [one.as_dict() for one in People(folder).sightings("anna")]
    assert client.get(f"/api/items/{seen['id']}").json()["paths"] == [seen["path"]]
    for one in (seen, later):
        assert strongest(client, one["sighting"]) == strongest_of("anna")
    (of_other,) = client.get(f"/api/people/sightings?who={other['cluster']}").json()["sightings"]
    assert strongest(client, of_other["sighting"]) == strongest_of("ben")
    named = client.post("/api/people/name", {"who": str(other["cluster"]), "name": "Ben"})
    assert (named.status, named.json()["name"]) == (200, "Ben")
    assert [hit["path"] for hit in client.get("/api/search?q=%5Bben%5D&min_relevance=0").json()["hits"]] == [
        seen["path"]
    ]
    split = client.post("/api/people/split", {"who": "Ben", "sightings": [of_other["sighting"]]}).json()
    assert client.post("/api/people/merge", {"who": "Ben", "other": str(split["cluster"])}).json()["sightings"] == 1
    hidden = client.post("/api/people/hide", {"who": ["anna"]}).json()["people"]
    assert [one["hidden"] for one in hidden] == [True]
    assert [one["name"] for one in client.get("/api/people").json()["people"]] == ["Ben"]
    assert len(client.get("/api/people?hidden=true").json()["people"]) == 2
    client.post("/api/people/hide", {"who": ["anna"], "undo": True})
    forgotten = client.post("/api/people/forget", {"who": "anna", "prove": True}).json()
    assert (forgotten["removed"]["people"], forgotten["traces"]) == (1, [])
    assert client.get(f"/api/people/sightings/{seen['sighting']}/face").status == 404
    assert client.get("/api/people/sightings?who=anna").status == 400
    assert client.post("/api/people/forget", {"all": True}).status == 200
    assert client.get("/api/people").json() == {"people": [], "unnamed": []}


def strongest(client: Client, sighting: int) -> int:
    """Return the strongest colour in the middle of a face; no browser may keep it."""
    reply = client.get(f"/api/people/sightings/{sighting}/face")
    assert (reply.status, reply.headers["content-type"], reply.headers["cache-control"]) == (
        200,
        "image/jpeg",
        "no-store",
    )
    with Image.open(io.BytesIO(reply.body)) as picture:
        pixels = np.asarray(picture)
    middle = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]
    assert pixels.shape[0] < 480 * 0.7  # a part of the picture
    return int(middle.argmax())


def strongest_of(name: str) -> int:
    return int(np.argmax(COLOURS[name]))


def test_what_does_not_fit_and_who_may_not_changes_nothing(client: Client) -> None:
    before = client.get("/api/people?hidden=true").json()
    for change, wish, status, words in WRONG:
        reply = client.post(f"/api/people/{change}", wish)
        assert (reply.status, list(reply.json())) == (status, ["error"]), change
        assert words in reply.json()["error"]
    wishes = {
        "name": {"who": str(before["unnamed"][0]["cluster"]), "name": "Eve"},
        "merge": {"who": "anna", "other": str(before["unnamed"][0]["cluster"])},
        "hide": {"who": ["anna"]},
        "forget": {"all": True},
    }
    for change, wish in wishes.items():
        for foreign in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
            assert client.post(f"/api/people/{change}", wish, **foreign).status == 403
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert client.request("POST", f"/api/people/{change}", b"who=anna&all=true", form).status == 422
        assert client.get(f"/api/people/{change}").status in (404, 405)
    embedded = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}
    assert client.get("/api/people/sightings/1/face", **embedded).status == 403
    assert client.get("/api/people/sightings/999/face").status == 404
    assert client.get("/api/people?hidden=true").json() == before


def test_a_library_that_knows_nobody_says_so(tmp_path: Path) -> None:
    film(tmp_path / "films" / "room.mp4", [])
    with Library(tmp_path / "library", FakeModel(), relevance=clipped) as library:
        library.index(tmp_path / "films")
        with served(library) as client:
            assert client.get("/api/people").json() == {"people": [], "unnamed": []}
            assert client.get("/api/people/sightings/1/face").status == 404
            reply = client.post("/api/people/forget", {"who": "anna"})
            assert (reply.status, "nobody is known in this library" in reply.json()["error"]) == (400, True)
    with served(Library(tmp_path / "none")) as client:
        assert client.get("/api/people").status == 404
