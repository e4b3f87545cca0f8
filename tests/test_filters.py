"""Searches among some items of a library: by kind, date, folder, length and place."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeModel, clipped, colour_video

from mmi_tvr import Library
from mmi_tvr.batch import infer
from mmi_tvr.errors import UsageError
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.catalogue_file import CATALOGUE
from mmi_tvr.library.facts import put_facts
from mmi_tvr.library.filter_values import Place, parse_date, parse_length, parse_place
from mmi_tvr.types import MediaFacts


def utc(*parts: int) -> float:
    return datetime(*parts, tzinfo=timezone.utc).timestamp()  # type: ignore[arg-type]


TOKYO = 9 * 3600
FACTS = {
    "red": MediaFacts("image", 0.0, date=utc(2024, 5, 1, 14, 30), utc_offset=TOKYO, latitude=35.68, longitude=139.69),
    "blue": MediaFacts("video", 2.0, date=utc(2024, 5, 1, 15, 30), utc_offset=TOKYO, latitude=-16.5, longitude=179.9),
    "green": MediaFacts("video", 90.0, date=utc(2023, 12, 31, 23, 0), utc_offset=0, latitude=-16.5, longitude=-179.9),
    "white": MediaFacts("audio", 600.0),
    "black": MediaFacts("video", 4.0, date=time.mktime((2022, 7, 1, 0, 30, 0, 0, 0, -1))),  # by this machine's clock
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    folder = tmp_path_factory.mktemp("filters")
    for number, colour in enumerate(sorted(FACTS)):
        colour_video(folder / "films" / f"trip{number % 2}" / f"{colour}.mp4", colour)
    colour_video(folder / "films" / "trip" / "cyan.mp4", "cyan")
    with Library(folder / "library", model=FakeModel(), relevance=clipped) as opened:
        opened.index(folder / "films")
        catalogue = Catalogue(folder / "library" / CATALOGUE)
        with catalogue.transaction():
            for content in catalogue.contents_with("state = 'indexed'"):
                facts = FACTS.get(content.paths[0].stem)
                catalogue.connection.execute("DELETE FROM media_facts WHERE content = ?", (content.number,))
                if facts is not None:  # of cyan, nothing is known
                    put_facts(catalogue.connection, content.number, facts)
                    catalogue.connection.execute(
                        "UPDATE contents SET duration = ? WHERE id = ?", (facts.seconds, content.number)
                    )
        catalogue.close()
        yield opened


def found_names(library: Library, **options: Any) -> set[str]:
    return {hit.path.stem for hit in library.search("red", top=99, min_relevance=0, **options)}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, {*FACTS, "cyan"}),
        ({"kind": "image"}, {"red"}),
        ({"kind": "video,audio"}, {"blue", "green", "white", "black", "cyan"}),
        ({"kind": ["audio", "image"]}, {"red", "white"}),
        # The evening of the 1st of May in Tokyo, and half an hour behind midnight there.
        ({"since": "2024-05-01", "until": "2024-05-01"}, {"red"}),
        ({"since": "2024-05-02"}, {"blue"}),
        ({"since": "2024-05"}, {"red", "blue"}),
        ({"until": "2023"}, {"green", "black"}),
        ({"until": date(2023, 12, 30)}, {"black"}),
        ({"since": "2022-07-01", "until": "2022-07-01 00:30"}, {"black"}),
        ({"since": "2022-07-01 00:31", "until": "2022"}, set()),
        ({"longer": 60}, {"green", "white"}),
        ({"shorter": "0:04"}, {"blue", "black", "cyan"}),
        ({"longer": "1:30", "shorter": 90}, {"green"}),
        ({"place": "35.7,139.7,5"}, {"red"}),
        ({"place": (35.0, 139.0, 36.0, 140.0)}, {"red"}),
        ({"place": "-20,175,-10,-175"}, {"blue", "green"}),  # across the date line
        ({"place": "-16.5,180,15"}, {"blue", "green"}),
        ({"kind": "video", "place": "-16.5,179.9,1"}, {"blue"}),
    ],
)
def test_what_passes(library: Library, filters: dict[str, Any], expected: set[str]) -> None:
    result = library.search("red", top=99, min_relevance=0, **filters)
    assert {hit.path.stem for hit in result} == expected
    assert result.among == (len(expected) if filters else None)
    assert bool(result.filters) == bool(filters)


def test_folders(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    films = library.path.parent / "films"
    assert found_names(library, folder=films / "trip") == {"cyan"}  # and not what is in trip0 and trip1
    assert found_names(library, folder=[films / "trip", films / "trip1"]) == {"cyan", "blue", "red"}
    assert found_names(library, folder=films / "trip" / "cyan.mp4") == {"cyan"}
    monkeypatch.chdir(films)
    assert found_names(library, folder="trip/../trip") == {"cyan"}
    nowhere = library.search("red", folder="trip2")
    assert nowhere.decision.reason == f"no item of this library passes in {films / 'trip2'} (0 items)"


def test_what_leaves_nothing_says_how_many_each_part_leaves(library: Library) -> None:
    result = library.search("red", kind="image", since="2025")
    assert (len(result), result.is_found, result.among) == (0, False, 0)
    assert result.decision.reason == "no item of this library passes all of kind image (1 item), since 2025 (0 items)"
    assert result.coverage.searched == 6
    document = result.as_dict()
    assert document["filters"] == {"kind": "image", "since": "2025"}


def test_filters_go_with_people_and_classes_and_exact(library: Library) -> None:
    result = library.search("red", top=1, exact=True, kind="video", min_relevance=0)
    assert result.exact
    assert result[0].path.stem != "red"


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"kind": "picture"}, "kind is some of video, image, audio, not 'picture'"),
        ({"kind": 3}, "kind is some of"),
        ({"since": "last tuesday"}, "since is a date such as"),
        ({"since": "2024-13"}, "since is a date such as"),
        ({"until": "2023-02-29"}, "until is a date such as"),
        ({"since": "2024-06", "until": "2024-05"}, "since 2024-06 is after until 2024-05"),
        ({"longer": "long"}, "longer is a number of seconds"),
        ({"longer": -1}, "longer is a number of seconds"),
        ({"longer": 10, "shorter": 5}, "nothing can be both"),
        ({"place": "Berlin"}, "place is LATITUDE,LONGITUDE,KM"),
        ({"place": "91,0"}, "latitudes lie in -90..90"),
        ({"place": "1,2,0"}, "the radius is"),
        ({"place": "1,2,nan"}, "place is LATITUDE"),
        ({"place": "5,0,4,1"}, "5 lies north of 4"),
        ({"folder": 5}, "folder is a path"),
    ],
)
def test_what_says_nothing_is_one_line(library: Library, filters: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as raised:
        library.search("red", **filters)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_values() -> None:
    assert parse_date("2024-12", "until", end=True).wall_clock == datetime(2025, 1, 1)
    assert parse_date("2024", "until", end=True).wall_clock == datetime(2025, 1, 1)
    assert parse_date("9999", "since").as_utc > 0
    assert parse_date("today", "since").wall_clock.hour == 0
    assert parse_length("1:02:03", "longer") == 3723
    assert parse_place("10,20").km == 1.0
    assert not Place(0, 10, 1, 20).holds(0.5, 9)


def test_queries_of_a_batch_take_the_same_filters(library: Library, tmp_path: Path) -> None:
    table = tmp_path / "queries.txt"
    table.write_text("red\n")
    work = infer.create(tmp_path / "out", table, library.path, items={"kind": "audio", "longer": "1:00"})
    again = infer.create(tmp_path / "out", table, library.path, items={"kind": "audio", "longer": "1:00"})
    assert work.settings == again.settings
    assert work.settings["items"] == {"kind": "audio", "longer": "1:00"}
    with pytest.raises(UsageError, match="kind is some of"):
        infer.create(tmp_path / "other", table, library.path, items={"kind": "sound"})
