"""What `mmi-tvr search` says of re-ranking: what it spent, and why hits have no joint score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmi_tvr.cli import _hits
from mmi_tvr.cli import search as command
from mmi_tvr.search import SearchResult
from mmi_tvr.types import Explanation, Hit, Query
from mmi_tvr.utils.budget import Usage

AWAY, BLIND = "no answers from http://x: nobody is there", "the model does not see pictures"


def result(*failures: str | None, usage: Usage | None = None) -> SearchResult:
    hits = [
        Hit(Path(f"{number}.mp4"), 0, 1, 0, 0.5, 0.9, explanation=Explanation((), (), None, 0.5, None, failure))
        for number, failure in enumerate(failures)
    ]
    return SearchResult(tuple(hits), Query("a dog"), "fake", {"total": 0.25}, usage=usage or Usage())


def printed(of: SearchResult, capsys: pytest.CaptureFixture[str]) -> str:
    command._say_unranked(of)
    _hits.print_hits(of)
    return " ".join(capsys.readouterr().err.split())


def test_one_line_says_why_most_hits_have_no_joint_score(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no joint score for 3 of 4 hits, which keep their places: the model does not see" in printed(
        result(AWAY, BLIND, BLIND, None), capsys
    )
    assert "joint score" not in printed(result(None), capsys)
    plain = result("x")
    assert "joint score" not in printed(replace(plain, hits=(replace(plain[0], explanation=None),)), capsys)


def test_what_was_spent_is_said_where_it_is_something(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(result(None, usage=Usage(26, 3456, 1.0, 14)), capsys).endswith(
        "250 ms; 26 calls of language models, 3,456 tokens, 14 answers known before"
    )
    assert printed(result(None), capsys).endswith("250 ms")


def test_the_document_always_has_the_usage() -> None:
    assert result(None).as_dict()["usage"] == {"calls": 0, "tokens": 0, "seconds": 0.0, "cached": 0}
