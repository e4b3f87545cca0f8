"""A process that looks for faces is killed at any step: the next run sees everybody, and nobody is half forgotten."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, clipped
from killing import Run, driver
from people_files import files_of
from people_media import drawn, film

from mmi_tvr import plugins
from mmi_tvr.config import Section, Settings
from mmi_tvr.library import Library
from mmi_tvr.library.people import People, PeopleStore

FAKE = Settings(faces=Section(name="fake"))
DRIVER = """
from fakes import FakeModel
from killing import serve
from mmi_tvr.config import Section, Settings
from mmi_tvr.library import Library
import cryptography.hazmat.primitives.ciphers.aead

def work(folder):
    with Library(folder, model=FakeModel(), settings=Settings(faces=Section(name="fake"))) as library:
        library.index(people=True)

serve(work, ("open", "os.rename", "os.remove", "os.mkdir"), after_statements=True)
"""


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of three films that nobody has looked at, which knows anna and dora by a picture each."""
    folder = tmp_path_factory.mktemp("kill")
    film(folder / "films" / "both.mp4", ["anna"], ["anna", "ben"])
    film(folder / "films" / "ben.mp4", ["ben"], seconds=1.0)
    film(folder / "films" / "nobody.mp4", [], seconds=1.0)
    with Library(folder / "library", model=FakeModel(), settings=FAKE) as library:
        library.index([folder / "films"])
    encoder = plugins.build("people.faces", "fake", {})
    with PeopleStore.open_to_write(folder / "library") as store, store.transaction():
        store.bind(Section(name="fake"), encoder)
        for name in ("anna", "dora"):
            store.add(name, encoder.describe(drawn(name), encoder.detect(drawn(name))))
    return folder / "library"


@pytest.fixture(scope="module")
def looks() -> Iterator[Run]:
    """Look for faces in a process of its own, which kills itself before step `fatal`: None then, else its steps."""
    with driver(DRIVER, MMI_TVR_DECODE_WORKERS="0") as run:
        yield run


def seen(folder: Path) -> dict[str, list[tuple[str | None, int]]]:
    """Who is seen in each film, by name (None: nobody's), and how often."""
    with Library(folder, model=FakeModel(), settings=FAKE) as library:
        names = {content.sha256: content.paths[0].stem for content in library._reader.catalogue().contents_with("1")}
    with PeopleStore.open_to_read(folder) as store:
        counts = {content: Counter(one.name for one in films) for content, films in store.sightings().items()}
    return {names[content]: sorted(count.items(), key=str) for content, count in counts.items()}


def test_a_process_that_is_killed_while_it_looks_for_faces_loses_nobody(
    indexed: Path, tmp_path: Path, looks: Run
) -> None:
    work = tmp_path / "work"
    steps = looks(0, str(shutil.copytree(indexed, work)))
    assert steps is not None
    whole = seen(work)
    assert whole == {"both": [("anna", 2), (None, 1)], "ben": [(None, 1)]}
    partly = 0
    for fatal in np.unique(np.linspace(1, steps, 12).astype(int)).tolist():
        shutil.rmtree(work)
        shutil.copytree(indexed, work)
        assert looks(fatal, str(work)) is None
        left = seen(work)
        assert all(dict(whole[name]).keys() >= dict(counts).keys() - {None} for name, counts in left.items())
        partly += bool(left) and left != whole
        with Library(work, model=FakeModel(), settings=FAKE, relevance=clipped) as library:
            assert len(library.search("[dora]")) == 0
        copy = shutil.copytree(work, tmp_path / "forgetting")
        secrets = _secrets(copy)
        assert People(copy).forget("anna", prove=True).traces == ()
        files = files_of(copy)
        assert not [one for one in secrets if any(one in content for content in files.values())]
        shutil.rmtree(copy)
        assert looks(0, str(work)) is not None
        assert seen(work) == whole
    assert partly


def _secrets(folder: Path) -> list[bytes]:
    with PeopleStore.open_to_write(folder) as store:
        return store.secrets_of([store.find("anna").number])
