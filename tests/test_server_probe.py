"""`doctor --server`: what is said of servers as there are, and of those that take what they cannot do."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from model_server import PROFILES, Behaviour, Completion, ModelServer, wait_for

from mmi_tvr import config
from mmi_tvr.chat import probes
from mmi_tvr.chat.client import ServerOptions
from mmi_tvr.chat.probes import ServerProbe
from mmi_tvr.cli.doctor import closed_questions
from mmi_tvr.cli.doctor import doctor as command
from mmi_tvr.errors import UsageError

GOOD = {
    "answers_about_texts": True,
    "answers_about_pictures": True,
    "judge": "log-probabilities",
    "expansion": True,
}


class Diagnosis:
    """What is said of a server: details by name, of what is fine and of what is not."""

    def __init__(self, url: str, model: str | None = None) -> None:
        options = ServerOptions(base_url=url, model=model)
        probe = ServerProbe(options, closed_questions())
        checks = list(probe.checks())
        self.fine = {check.name: check.detail for check in checks if check.ok}
        self.wrong = {check.name: check.detail for check in checks if not check.ok}
        self.good_for = probe.abilities.good_for()
        self.settings = probe.abilities.settings(options)
        assert all("\n" not in check.detail for check in checks)


def diagnosis(behaviour: Behaviour, model: str | None = None) -> Diagnosis:
    with ModelServer(behaviour) as server:
        return Diagnosis(server.url, model)


def with_(**changes: Any) -> Behaviour:
    return replace(Behaviour(), **changes)


@pytest.mark.parametrize(
    ("profile", "differs", "wrong"),
    [
        ("vllm", {}, set()),
        ("ollama", {}, set()),
        ("ollama_small", {"judge": "choice", "answers_about_pictures": False}, {"context", "log-probabilities"}),
        ("llama.cpp", {}, set()),
        ("llama.cpp_text", {"answers_about_pictures": False}, {"pictures"}),
        ("lm_studio", {"judge": "choice"}, {"log-probabilities"}),
        ("openai_thinking", {"judge": "choice"}, {"log-probabilities", "thinking"}),
    ],
)
def test_servers_as_there_are(profile: str, differs: dict[str, Any], wrong: set[str]) -> None:
    said_of_it = diagnosis(PROFILES[profile])
    assert set(said_of_it.wrong) == wrong
    assert said_of_it.good_for == GOOD | differs


def test_a_cloud_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMI_TVR_API_KEY", raising=False)
    assert diagnosis(PROFILES["openai"]).wrong == {
        "key": "a key is needed; it is read from $MMI_TVR_API_KEY (Incorrect API key provided)"
    }
    monkeypatch.setenv("MMI_TVR_API_KEY", "another")
    assert "the key is refused" in diagnosis(PROFILES["openai"]).wrong["key"]
    monkeypatch.setenv("MMI_TVR_API_KEY", "secret-key")
    assert diagnosis(PROFILES["openai"]).wrong == {"model": "name the one to check (--model NAME): gpt-4o, gpt-4o-mini"}
    assert "it has no 'gpt-5'" in diagnosis(PROFILES["openai"], "gpt-5").wrong["model"]
    complete = diagnosis(PROFILES["openai"], "gpt-4o")
    assert complete.wrong == {}
    assert "secret-key" not in str(complete.fine) + str(complete.settings)
    assert complete.settings["rerank.judge.model"] == "gpt-4o"


@pytest.mark.parametrize(
    ("behaviour", "name", "says"),
    [
        (with_(blind="400"), "pictures", "is not a multimodal model (it reads no pictures: name a model that does)"),
        (with_(blind="500"), "pictures", "mmproj (it reads no pictures"),
        (with_(blind="silent"), "pictures", "a green picture: 'Blue': it does not see what it is sent"),
        (with_(blind="refuses"), "pictures", "the model refuses: I'm unable to view images."),
        (with_(pictures=1), "12 pictures at once", "At most 1 image(s) may be provided in one prompt. (a video is"),
        (with_(refuses=True), "answers about texts", "the model refuses: I'm sorry, but I can't assist with that."),
        (with_(streams=True), "answers about texts", "it answers in a stream alone: data:"),
        (with_(page="<html><title>Router</title></html>"), "reachable", "no list of models, but <html>"),
        (with_(redirect="https://elsewhere/v1"), "reachable", "it sends elsewhere (https://elsewhere/v1)"),
        (with_(chinese=False), "Chinese", "红: '?'"),
        (with_(context=2048), "context", "2048 tokens. (fewer key images, or a longer context"),
        (with_(context=2048, cuts=True), "context", "is cut to 2,048 tokens, and nothing says so (Ollama"),
        (
            with_(context=2048, cuts=True, usage=False),
            "context",
            "the beginning of a prompt of 2,400 words is not read",
        ),
        (with_(picture_tokens=576, context=4096), "12 pictures at once", "maximum context length is 4096 tokens"),
        (with_(listing={"max_model_len": 700}), "context", "700 tokens, as it says; a video needs 980"),
    ],
)
def test_what_a_server_cannot_do_is_one_line(behaviour: Behaviour, name: str, says: str) -> None:
    assert says in diagnosis(behaviour).wrong[name]


@pytest.mark.parametrize("usage", ["n/a", [1], {"completion_tokens_details": ["x"], "completion_tokens": -3}], ids=str)
def test_counts_that_are_none_say_nothing(usage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Completion, "_completion", _with(usage, Completion._completion))
    seen = diagnosis(replace(PROFILES["vllm"], listing={"max_model_len": -1}))
    assert seen.good_for == GOOD
    assert "tokens a second" not in seen.fine["speed"]
    assert "tokens a picture" not in seen.fine["12 pictures at once"]
    assert seen.fine["context"].startswith("at least 7,112 tokens")


def _with(usage: Any, completion: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    return lambda *values: {**completion(*values), "usage": usage}


def test_a_reply_of_another_shape_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    reply = {"choices": [{"message": "red", "finish_reason": "length"}]}
    monkeypatch.setattr(Completion, "_completion", lambda *values: reply)
    assert diagnosis(PROFILES["vllm"]).wrong["answers about texts"].startswith("the reply is no chat completion: ")


def test_a_context_that_is_long_enough_for_this_model() -> None:
    """2,048 tokens hold a question about 12 pictures of 64 tokens each; a prompt that is cut is said all the same."""
    small = diagnosis(with_(context=2048, cuts=True))
    assert "context" in small.wrong
    assert small.good_for["answers_about_pictures"]


@pytest.mark.parametrize(("yes", "no"), [("Yes.", "No."), ("是", "否"), ("**yes**", "**no**")])
def test_the_answer_words_in_every_spelling(yes: str, no: str) -> None:
    without = with_(yes=yes, no=no, logprobs=False, choice=())
    assert diagnosis(without).good_for["judge"] == "samples"


def test_an_older_field_for_a_choice() -> None:
    assert diagnosis(with_(logprobs=False, choice=("guided_choice",))).fine["choice"] == "guided_choice"
    assert diagnosis(with_(logprobs=False, choice=())).wrong["choice"] == "replies cannot be held to two answers"


@pytest.mark.parametrize("thinks", ["tags", "field"])
def test_thinking_is_switched_off_where_that_works(thinks: str) -> None:
    quiet = diagnosis(with_(thinks=thinks))
    assert "enable_thinking" in quiet.fine["thinking"]
    assert quiet.settings["rerank.answerer.extra"] == {"chat_template_kwargs": {"enable_thinking": False}}
    assert quiet.good_for == GOOD


def test_nobody_there_and_a_wrong_path() -> None:
    with ModelServer(Behaviour()) as gone:
        pass
    started = time.monotonic()
    assert "nobody is there" in Diagnosis(gone.url).wrong["reachable"]
    assert time.monotonic() - started < 2
    unlisted = diagnosis(with_(lists=False))
    assert unlisted.wrong == {"model": "name the one to check (--model NAME): it does not say which it has"}
    assert diagnosis(with_(lists=False), "tiny").wrong == {}


def test_all_checks_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("TOTAL_SECONDS", 1.0), ("_FIRST_SECONDS", 0.6), ("_SECONDS", 0.3)):
        monkeypatch.setattr(probes, name, seconds)
    started = time.monotonic()
    assert "no reply within" in diagnosis(with_(hangs=True)).wrong["reachable"]
    assert "no reply within" in diagnosis(with_(delay=5)).wrong["answers about texts"]
    slow = diagnosis(with_(delay=0.25))
    assert "seconds of all checks are over" in str(slow.wrong)
    assert time.monotonic() - started < 4


# The command


def doctor(*words: str) -> list[str]:
    return [sys.executable, "-m", "mmi_tvr.cli", "doctor", "--server", *words]


def test_the_command_prints_what_to_set_and_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    with ModelServer(Behaviour(thinks="tags")) as server:
        command(server=server.url, as_json=True)
        document = json.loads(capsys.readouterr().out)["server"]
        command(server=server.url)
        printed = capsys.readouterr().out
    assert set(document) == {"url", "models", "checks", "good_for", "settings"}
    assert (document["url"], document["models"], document["good_for"]) == (server.url, ["tiny"], GOOD)
    assert all(set(check) == {"name", "ok", "detail"} for check in document["checks"])
    lines = [shlex.split(line)[1] for line in printed.splitlines() if "--set" in line]
    settings = config.load(None, lines)  # what is printed can be pasted
    assert settings.rerank is not None
    answerer = settings.rerank.options["answerer"]
    assert answerer == {
        "name": "openai", "base_url": server.url, "model": "tiny",
        "extra": {"chat_template_kwargs": {"enable_thinking": False}},
    }  # fmt: skip
    with pytest.raises(UsageError, match="add --server URL"):
        command(model="tiny")
    with pytest.raises(UsageError, match="must be an http or https address"):
        command(server="localhost:8000")


def test_ctrl_c_ends_it_at_once() -> None:
    with ModelServer(Behaviour(delay=60)) as server:
        process = subprocess.Popen(doctor(server.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: server.bodies, 60)
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        _, messages = process.communicate(timeout=30)
    assert time.monotonic() - started < 5
    assert process.returncode == 130
    assert "Traceback" not in messages
