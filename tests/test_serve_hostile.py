"""What strangers write into addresses, sentences and uploads: one line, or a search like any other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from fakes import FakeModel, clipped, colour_video
from serving import Client, served

from mmi_tvr.library import Library

# Each says nothing; the line that refuses it is short.
PARAMETERS = [
    "top=1e9",
    "top=-1",
    "top=NaN",
    "top=0",
    "top=501",
    "top=",
    "top=%D9%A3",
    "top=5&top=x",
    "min_relevance=NaN",
    "min_relevance=Infinity",
    "min_relevance=2",
    "more=99999999999999999999",
    "more=0",
    "fold=maybe",
    "since=9999-99-99",
    "since=0000",
    "since=%00",
    "until=2024-02-30",
    "since=2025&until=2024",
    "longer=NaN",
    "longer=inf",
    "longer=-5",
    "longer=1:99:99",
    "shorter=1e400",
    "place=999,999,1",
    "place=NaN,0,1",
    "place=0,0,-1",
    "place=10,10,5,5",
    "place=0,0,inf",
    "kind=exe",
    "kind=",
    "kind=%00",
    "where=a",
    "where==",
    "person=%00",
    "without=",
    "like=1@",
    "like=1@NaN",
    "like=1@1e999",
    "like=-1@0",
    "like=1%00@0",
    "folder=%00",
]
LONG_PARAMETERS = [
    "longer=" + "1:" * 500 + "1",
    "place=" + "1," * 5_000,
    "since=" + "9" * 9_000,
    "like=" + "9" * 400,
    "&".join(f"without=a{number}" for number in range(500)),
    "&".join(f"person=a{number}" for number in range(500)),
]
HARMLESS_PARAMETERS = [
    "folder=" + "a" * 5_000,
    "folder=~nobody/films",
    "folder=../..",
    "folder=/proc/self/root",
    "folder=%ED%A0%80",
    "without=" + "x" * 9_000,
    "&".join(["kind=video"] * 3_000),
    "&".join(f"x{number}=1" for number in range(3_000)),
]
SENTENCES = [
    "a" * 30_000,
    "(" * 5_000,
    "a" * 2_000 + "!" * 2_000,
    "not " * 2_000,
    "without " * 1_500,
    "没有" * 1_500,
    "[[" * 2_000,
    "[anna]" * 1_000,
    "and " * 3_000,
    "e" + "\u0301" * 3_000,
    "\ufdfa" * 1_000,
    "1" * 5_000,
    " " * 5_000 + "a",
    "\u202egnp.exe",
    "<script>alert(1)</script>",
    "\x1b[31m",
    "${HOME} {{7*7}} `id` '; DROP TABLE contents; --",
    "\r\nX-Evil: 1",
]
UPLOADS = [
    b"P6 99999 99999 255\n",
    b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n(/etc/passwd) (r) file",
    b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
    b"\xff\xd8\xff\xe0" + b"\xff" * 100,
    b"II*\0\xff\xff\xff\xff",
    b"\0\0\0\x1cftypheic" + b"\xff" * 500,
    b"RIFF\xff\xff\xff\xffWEBPVP8 " + b"\xff" * 100,
    b"\0" * 100_000,
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("hostile")
    colour_video(folder / "films" / "red.mp4", "red")
    with Library(folder / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(folder / "films")
        with served(library) as one:
            yield one


def test_parameters_that_say_nothing_are_refused_in_one_line(client: Client) -> None:
    for parameters in PARAMETERS + LONG_PARAMETERS:
        reply = client.get(f"/api/search?q=red&{parameters}")
        assert reply.status in (400, 422), parameters
        assert len(reply.body) < 400
        assert list(reply.json()) == ["error"]


def test_parameters_that_are_only_odd_are_searched_by(client: Client) -> None:
    for parameters in HARMLESS_PARAMETERS:
        assert client.get(f"/api/search?q=red&{parameters}").status == 200, parameters


def test_no_sentence_takes_long_or_becomes_part_of_an_answer(client: Client) -> None:
    for sentence in SENTENCES:
        started = time.process_time()  # of the service, too: it is a thread of this process
        reply = client.get(f"/api/search?q={quote(sentence)}&min_relevance=0")
        assert time.process_time() - started < 2
        assert reply.status == 200
        page = client.get(f"/?q={quote(sentence[:1_000])}")
        assert page.status == 200
        assert b"<script>alert" not in page.body
        assert "x-evil" not in reply.headers.keys() | page.headers.keys()


def test_uploads_that_are_no_picture(client: Client) -> None:
    """What names a file of this machine is not followed."""
    for content in UPLOADS:
        reply = client.request("POST", "/api/search/example", content)
        assert reply.status == 422
        assert reply.json()["error"].startswith("picture: is ")
