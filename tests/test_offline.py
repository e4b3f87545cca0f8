"""A model's name asks the network nothing, whether the model is here or not; only downloading does.

One process runs every command and call that takes a name, with its sockets watched; the hub that it, and its children,
would ask counts as well.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_towers
from fakes import colour_video
from hub_server import HubServer

PROGRAM = """
import contextlib, io, json, socket, sys, traceback

connections = []

def refuse(self, address, *rest):
    connections.append(repr(address))
    raise OSError("no network in this test")

socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = lambda host, *rest, **options: refuse(None, host)

from mmi_tvr import cli
from mmi_tvr.encoder import Encoder
from mmi_tvr.library import Library

def command(*words):
    sys.argv = ["mmi-tvr", *words]
    try:
        cli.main()
    except SystemExit as stop:
        return stop.code or 0

def call(function):
    try:
        function()
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0

results = []
for words in json.loads(sys.argv[1]):
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        from mmi_tvr.cli import _console
        _console._err.process.file = errors
        if words[0] == "Encoder":
            code = call(lambda: Encoder.from_pretrained(words[1]).encode_query("a dog"))
        elif words[0] == "Library":
            from mmi_tvr.config import Section, Settings
            chosen = Settings(model=Section(name="clip4clip", checkpoint=words[1]))
            code = call(lambda: Library(words[2], settings=chosen).index(words[3]))
        else:
            code = command(*words)
    results.append([code, errors.getvalue()])
print(json.dumps({"results": results, "connections": connections}))
"""


def write_files(here: Path) -> None:
    """Write a folder with a video and its caption, another one like it, and a cache of the hub with a whole and a
    partial model."""
    colour_video(here / "videos" / "red.mp4", "red", seconds=1.0)
    (here / "videos" / "captions.tsv").write_text("file\tcaption\nred.mp4\ta red circle\n")
    shutil.copytree(here / "videos", here / "others")
    repository = here / "home" / "hub" / "models--someone--tiny"
    tiny_towers.make("siglip2", repository / "snapshots" / ("1" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("1" * 40)
    partial = here / "home" / "hub" / "models--someone--partial"
    shutil.copytree(repository, partial)
    (partial / "snapshots" / ("1" * 40) / "model.safetensors").unlink()


def write_training(here: Path) -> Path:
    """Write the settings of a training whose model is not here."""
    data = {
        "train": {"name": "folder", "root": str(here / "videos")},
        "validation": {"name": "folder", "root": str(here / "others")},
    }
    stages = [{"name": "joint", "steps": 1, "weights": {"contrastive": 1.0}}]
    model = {"name": "mmi", "llava": {"checkpoint": "owner/nothing"}}
    path = here / "train.yaml"
    path.write_text(json.dumps({"model": model, "data": data, "train": {"stages": stages}}))
    return path


def commands(here: Path) -> dict[str, list[str]]:
    """Return what is run: a command's words, or a class and what its call is given."""
    videos = str(here / "videos")

    def index(name: str) -> list[str]:
        return ["index", videos, "--library", str(here / name.replace("/", "-")), "--model", name]

    return {
        "index": index("owner/nothing"),
        "index partial": index("someone/partial"),
        "evaluate": ["evaluate", videos, "--model", "owner/nothing"],
        "cluster": ["prompts", "cluster", "--model", "owner/nothing"],
        "extract": ["batch", "extract", videos, "--output", str(here / "out"), "--model", "owner/nothing"],
        "train": ["train", "--config", str(write_training(here)), "--output", str(here / "run"), "--cpu"],
        "Encoder": ["Encoder", "owner/nothing"],
        "Library": ["Library", "owner/nothing", str(here / "api"), videos],
        "get by its short name": index("siglip2-base"),
        "tiny": index("someone/tiny"),
        "tiny Encoder": ["Encoder", "someone/tiny"],
        "with a language model": index("moving-shapes"),
        "models": ["models"],
        "card": ["hub", "card", "moving-shapes", "someone/copy"],
    }


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each command ended with, what it messages, and what was asked of the network."""
    here = tmp_path_factory.mktemp("offline")
    write_files(here)
    words = commands(here)
    with HubServer({}) as hub:
        hidden = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "MMI_TVR_MODEL"}
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        environment |= {
            "HF_HOME": str(here / "home"),
            "HF_ENDPOINT": hub.url,
            "HF_HUB_CACHE": str(here / "home" / "hub"),
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(list(words.values()))],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout.splitlines()[-1])
    return {
        "results": dict(zip(words, document["results"], strict=True)),
        "connections": document["connections"],
        "requests": hub.requests,
        "children": done.stderr,
    }


def test_no_name_of_a_model_asks_the_network(outcome: dict[str, Any]) -> None:
    assert (outcome["connections"], outcome["requests"]) == ([], [])


@pytest.mark.parametrize("name", ["index", "evaluate", "cluster", "extract", "train", "Encoder", "Library"])
def test_a_model_that_is_not_here_is_one_line_with_the_command_that_gets_it(name: str, outcome: dict[str, Any]) -> None:
    code, errors = outcome["results"][name]
    assert code == 1, errors
    messages = outcome["children"] if name == "extract" else errors
    (line,) = [line for line in messages.splitlines() if "owner/nothing" in line]
    assert "to fetch it: mmi-tvr models get owner/nothing" in line


def test_so_is_one_that_is_here_in_part_and_one_of_the_short_list(outcome: dict[str, Any]) -> None:
    assert "mmi-tvr models get someone/partial" in outcome["results"]["index partial"][1]
    assert "models get google/siglip2-base-patch16-224" in outcome["results"]["get by its short name"][1]


@pytest.mark.parametrize(
    "name",
    [
        "tiny",
        "tiny Encoder",
        "with a language model",
        "models",
        "card",
    ],
)
def test_what_is_here_works(name: str, outcome: dict[str, Any]) -> None:
    code, errors = outcome["results"][name]
    assert code == 0, errors
