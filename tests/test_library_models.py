"""A library and its model: another one is refused, a rebuild changes it, settings stay."""

from __future__ import annotations

import pytest
from fakes import FakeModel, best, clipped, counts
from test_library import NAMES

from mmi_tvr import models
from mmi_tvr.config import Section, Settings
from mmi_tvr.errors import IndexMismatch, ModelNotFound, UsageError
from mmi_tvr.index import _codes
from mmi_tvr.library import Library
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.rebuild import catalogue_to_write


def test_another_model_is_refused_and_rebuild_changes_it(folder, library):
    library.index(folder)
    for model in (FakeModel(head=2), FakeModel("other", vision=1)):
        changed = Library(library.path, model=model, relevance=clipped)
        for attempt in (lambda library=changed: library.index(folder), lambda library=changed: library.search("red")):
            with pytest.raises(IndexMismatch, match=f"--library .* --model {model.name} --rebuild"):
                attempt()
    same_tower = FakeModel("heads", head=2)
    changed = Library(library.path, model=same_tower, relevance=clipped)
    assert counts(changed.index(folder, rebuild=True)) == {"added": 4, "embedded": 4}
    assert same_tower.images_encoded == 0
    assert [best(changed, name) for name in NAMES] == list(NAMES)
    assert changed.status().model == "heads"
    assert len(list((library.path / "vectors").iterdir())) == 1
    with pytest.raises(IndexMismatch):
        library.search("red")


def test_vectors_of_former_weights_are_not_called_unchanged(folder, library, monkeypatch):
    library.index(folder)
    at_hand = [FakeModel()]
    monkeypatch.setattr(models, "make", lambda *_: at_hand[-1])
    assert counts(Library(library.path, relevance=clipped).index()) == {"unchanged": 4}
    at_hand.append(FakeModel(head=2))  # of the same name, trained anew
    with pytest.raises(IndexMismatch, match="with other weights or settings"):
        Library(library.path, relevance=clipped).index()

    def nowhere(*_):
        raise ModelNotFound("its checkpoint is on another disk")

    monkeypatch.setattr(models, "make", nowhere)
    assert counts(Library(library.path, relevance=clipped).index()) == {"unchanged": 4}  # nobody can say


def test_other_bits_of_an_index_are_made_of_the_vectors_that_are_there(folder, library, monkeypatch):
    monkeypatch.setattr(_codes, "_LEAST_ROWS", 1)
    library.index(folder)
    for index, built in ((Section(name="flat", bits=8), "codes8"), (Section(name="flat"), None)):
        model = FakeModel()
        changed = Library(library.path, model=model, settings=Settings(index=index), relevance=clipped)
        assert counts(changed.index()) == {"unchanged": 4}
        assert model.images_encoded == 0
        graphs = [path.stem.split("-")[-1] for path in library.path.glob("vectors/*/graph-*")]
        assert graphs == ([built] if built else [])
        assert [best(library, name) for name in NAMES] == list(NAMES)  # by what the library remembers now
    coded = Library(library.path, model=FakeModel(), settings=Settings(index=Section(name="flat", bits=8)))
    with pytest.raises(IndexMismatch, match=r"its index is flat, not flat \(bits: 8\); to change that: mmi-tvr index"):
        coded.search("red")  # a search changes no library


def test_a_rebuild_that_was_interrupted_goes_on(folder, library):
    class Stops(FakeModel):
        left = 1

        def embed_videos(self, features):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().embed_videos(features[:1]) if len(features) == 1 else super().embed_videos(features)

    library.index(folder / "part0")
    rewritten = Library(library.path, model=Stops(vision=1), relevance=clipped)
    rewritten._model.left = 0
    with pytest.raises(KeyboardInterrupt):
        rewritten.index(folder, rebuild=True)
    state = rewritten.status()
    assert (state.videos, state.pending, state.rebuilding) == (2, 0, 4)
    assert [best(library, name) for name in ("blue", "red")] == ["blue", "red"]  # what was there still answers
    model = FakeModel(vision=1)
    assert counts(Library(library.path, model=model).index(folder, rebuild=True))["embedded"] == 4
    assert model.images_encoded == 0  # the features of the interrupted run were kept
    again = Library(library.path, model=FakeModel(vision=1), relevance=clipped)
    assert again.status().rebuilding is None
    assert counts(again.index(folder)) == {"unchanged": 4}
    assert best(again, "red") == "red"


def test_what_was_there_answers_until_a_rebuild_is_done(folder, library):
    """A reader in the middle of a rebuild finds everything as before, and the new state right after it."""

    class Asks(FakeModel):
        def embed_videos(self, features):
            answers.append([best(reader, name) for name in NAMES])
            return super().embed_videos(features)

    answers: list[list[str]] = []
    library.index(folder)
    reader = Library(library.path, relevance=clipped, model=FakeModel())
    changed = Library(library.path, model=Asks(vision=1), relevance=clipped)
    assert counts(changed.index(folder, rebuild=True))["embedded"] == 4
    assert answers
    assert all(names == list(NAMES) for names in answers)
    with pytest.raises(IndexMismatch):
        reader.search("red")
    assert best(changed, "red") == "red"
    assert len(list((library.path / "vectors").iterdir())) == 1


def test_files_are_forgotten_at_once_in_the_middle_of_a_rebuild(folder, library):
    class Stops(FakeModel):
        def embed_videos(self, features):
            raise KeyboardInterrupt

    library.index(folder)
    with pytest.raises(KeyboardInterrupt):
        Library(library.path, model=Stops(vision=1)).index(rebuild=True)
    assert len(library.remove(folder / "part0")) == 2
    assert library.status().rebuilding == 2
    assert len(library.search("red", top=9, min_relevance=0)) == 2
    rebuilt = Library(library.path, model=FakeModel(vision=1), relevance=clipped)
    rebuilt.index(folder / "part1", rebuild=True)
    assert len(rebuilt.search("red", top=9, min_relevance=0)) == 2


def test_a_file_that_an_unfinished_rebuild_does_not_know_is_forgotten(folder, library):
    class Stops(FakeModel):
        def embed_videos(self, features):
            raise KeyboardInterrupt

    library.index(folder)
    red = folder / "part0" / "red.mp4"
    aside = red.rename(folder.parent / "red.mp4")
    with pytest.raises(KeyboardInterrupt):
        Library(library.path, model=Stops(vision=1)).index(rebuild=True)
    aside.rename(red)
    assert library.remove(red) == (red.resolve(),)
    assert library.status().rebuilding == 3


def test_a_library_in_which_nothing_is_found_yet_is_rebuilt_in_place(tmp_path):
    catalogue = Catalogue(tmp_path / "catalogue.sqlite", create=True)
    catalogue.set_meta(rebuilding="fingerprint")
    with catalogue_to_write(tmp_path, catalogue, rebuild=True) as written:
        assert written is catalogue
        assert catalogue.meta("rebuilding") == "fingerprint"
    assert catalogue.meta("rebuilding") is None
    catalogue.close()


def test_a_rebuild_that_cannot_begin_leaves_nothing(folder, library):
    library.index(folder)
    with pytest.raises(UsageError, match="no model is called 'none'"):
        library.index(model="none", rebuild=True)
    assert library.status().rebuilding is None
    assert best(library, "red") == "red"


def test_settings_are_kept_and_a_change_is_refused(folder, library):
    library.index(folder)
    plain = Library(library.path, model=FakeModel(), settings=Settings(), relevance=clipped)
    assert counts(plain.index(folder)) == {"unchanged": 4}
    uniform = Settings(keyimages=Section(name="uniform"))
    with pytest.raises(IndexMismatch, match="--rebuild"):
        Library(library.path, model=FakeModel(), settings=uniform).index(folder)
    milvus = Settings(index=Section(name="milvus"))
    with pytest.raises(IndexMismatch, match="index is auto, not milvus"):
        Library(library.path, model=FakeModel(), settings=milvus).index(folder)
    faiss = Settings(index=Section(name="faiss"))
    changed = Library(library.path, model=FakeModel(), settings=faiss, relevance=clipped)
    assert counts(changed.index(folder)) == {"unchanged": 4}  # over the same vectors
    assert changed.status().index == "faiss"
    assert best(changed, "green") == "green"
    auto = Library(library.path, model=FakeModel(), settings=Settings(index=Section(name="auto")), relevance=clipped)
    assert counts(auto.index(folder, rebuild=True))["embedded"] == 4
    assert auto.status().index == "auto"


def test_auto_keeps_the_library_s_own_model(folder, library):
    library.index(folder)
    for settings in (Settings(), Settings(model=Section(name="auto"))):
        assert counts(Library(library.path, settings=settings).index(folder)) == {"unchanged": 4}
    with pytest.raises(UsageError, match="no model is called 'fake'"):
        Library(library.path).search("red")


def test_the_same_model_under_another_name_is_the_same(folder, library):
    library.index(folder)
    renamed = Library(library.path, model=FakeModel("alias"), relevance=clipped)
    assert counts(renamed.index(folder)) == {"unchanged": 4}
