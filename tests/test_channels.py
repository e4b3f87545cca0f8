"""What channels have in common: fingerprints, missing extras, vectors of texts, and `transcribe`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import typer
from recognisers import DATA, Listener, hears, reads
from test_sound import recording, tone
from typer.testing import CliRunner

from mmi_tvr import plugins
from mmi_tvr.channels import _common, _whisper, heard
from mmi_tvr.cli import transcribe
from mmi_tvr.errors import MissingExtra, MmiTvrError, UsageError
from mmi_tvr.protocols import Channel
from mmi_tvr.types import FloatArray, Query, Span
from mmi_tvr.utils.installation import installed


def test_fingerprints_say_what_changes_a_moment() -> None:
    assert hears().fingerprint() == heard.HeardSpeech(heard.Options(threads=4), Listener()).fingerprint()
    assert hears().fingerprint() != heard.HeardSpeech(heard.Options(language="en"), Listener()).fingerprint()
    assert reads({})[0].fingerprint() == reads({}, threads=2)[0].fingerprint()
    assert reads({})[0].fingerprint() != reads({}, interval=1.0)[0].fingerprint()


@pytest.mark.parametrize("name", ["heard", "read"])
def test_channels_are_plugins_of_one_space(name: str) -> None:
    if name == "heard" and not installed("faster_whisper"):
        pytest.skip("the extra speech is not installed")
    channel = plugins.build("channels", name)
    assert isinstance(channel, Channel)
    assert (channel.name, channel.embed_queries([Query("a dog")]).shape) == (name, (1, channel.width))
    assert channel.fingerprint() == plugins.build("channels", name).fingerprint()


def test_a_missing_extra_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_whisper, "require", _missing)
    monkeypatch.setattr("mmi_tvr.channels._ocr.require", _missing)
    for name, extra in (("heard", "speech"), ("read", "ocr")):
        with pytest.raises(MissingExtra, match=f"{extra}"):
            plugins.build("channels", name)


def _missing(module: str, extra: str) -> None:
    raise MissingExtra(module, extra, f"pip install {extra}")


def test_chinese_is_embedded_in_simplified_characters_and_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    embedded: list[str] = []

    def encode(texts: Sequence[str]) -> FloatArray:
        embedded.extend(texts)
        return np.zeros((len(texts), _common.WIDTH), np.float32)

    monkeypatch.setattr(_common.e5, "encode", encode)
    [moment] = _common.text_moments([Span(0, 1, 0)], ["設定 29 度"])
    _common.query_vectors([Query("設定"), Query("時刻を設定する")])
    assert embedded == ["设定 29 度", "设定", "時刻を設定する"]  # the last one is Japanese
    assert moment.text == "設定 29 度"


def transcribed(*words: object, code: int = 0) -> str:
    """Run `transcribe` in this process, and return what it prints."""
    app = typer.Typer()
    app.callback()(lambda: None)
    transcribe.register(app)
    result = CliRunner().invoke(app, ["transcribe", *map(str, words)])
    if isinstance(result.exception, MmiTvrError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def test_transcribe_prints_what_is_written_and_why_a_file_cannot_be_used(tmp_path: Path) -> None:
    silent = recording(tmp_path / "a.flac", [(0.0, tone(0.2, 8000))], rate=8000, layout="mono")
    words = (DATA / "text.png", tmp_path / "none.mp4", silent, "--channels", "read")
    picture, missing, sound = json.loads(transcribed(*words, "--json", code=1))["files"]
    assert picture["channels"]["read"][0]["text"].startswith("今日特价")
    assert (picture["kind"], missing["kind"], sound["kind"]) == ("image", None, "audio")
    assert (picture["error"], missing["error"], sound["channels"]) == (None, "no such file", {})
    text = transcribed(*words, code=1)
    assert "  read                 今日特价：红烧牛肉面 Open from 9 to 17" in text
    assert "  error  no such file" in text


def test_transcribe_takes_what_is_installed_and_names_what_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_whisper, "require", _missing)
    printed = transcribed(DATA / "text.png")
    assert "今日特价" in printed
    with pytest.raises(MissingExtra, match="pip install speech"):
        transcribed(DATA / "text.png", "--channels", "heard")
    monkeypatch.setattr("mmi_tvr.channels._ocr.require", _missing)
    with pytest.raises(MissingExtra):
        transcribed(DATA / "text.png")
    for words, reason in (
        (("--channels", "smell"), "no channel"),
        (("--channels", ","), "none of"),
        (("--set", "smell.a=1"), "unknown option"),
        (("--set", "read.b=1"), "unknown option"),
    ):
        monkeypatch.undo()
        with pytest.raises(UsageError, match=reason):
            transcribed(DATA / "text.png", *words)
