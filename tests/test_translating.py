"""Another model by translated vectors: searchable at once, embedded later, refused below a floor, and the way back."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import COLOURS, LIBRARY_FILES, FakeBlockModel, FakeModel, best, clipped, colour_video, counts

from mmi_tvr import models
from mmi_tvr.cli import library as library_commands
from mmi_tvr.cli import search as search_commands
from mmi_tvr.config import Section, Settings
from mmi_tvr.errors import IndexMismatch, MmiTvrError, TranslationRefused, UsageError
from mmi_tvr.library import Library, translated, translating
from mmi_tvr.library.attributes import VideoAttributes
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.catalogue_file import CATALOGUE
from mmi_tvr.library.rebuild import REBUILD_FILE
from mmi_tvr.library.translated import ShownLog, count_translated, mark_translated, translated_contents

NAMES = sorted(COLOURS)
NEW = FakeModel(head=2, vision=1)


def uniform(count: int) -> Settings:
    return Settings(keyimages=Section(name="uniform", count=count))


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of videos of two colours each, by the model that knows colours, and their folder beside it."""
    folder = tmp_path_factory.mktemp("translating")
    for first, colour in enumerate(NAMES):
        for second in NAMES[first + 1 : first + 4]:
            colour_video(folder / "videos" / f"{colour}-{second}.mp4", colour, second, seconds=0.5)
    with Library(folder / "library", model=FakeModel(), settings=uniform(3)) as library:
        library.index(folder / "videos")
    return folder


@pytest.fixture
def folder(indexed: Path, tmp_path: Path) -> Path:
    """A copy of the library; its videos are those of all tests."""
    shutil.copytree(indexed / "library", tmp_path / "library")
    return tmp_path


@pytest.fixture(autouse=True)
def _low_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """What few videos of few colours show is no measure of a translation."""
    monkeypatch.setattr(translating, "FLOOR", 0.0)


def opened(folder: Path, model: Any = NEW) -> Library:
    return Library(folder / "library", model=model, relevance=clipped)


def answers(library: Library, text: str) -> dict[str, float]:
    return {hit.path.stem: hit.score for hit in library.search(text, top=99, min_relevance=0)}


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "library").iterdir())


def test_some_are_embedded_and_all_others_translated(folder: Path, indexed: Path) -> None:
    model = FakeModel(head=2, vision=1)
    with opened(folder, model) as library:
        report = library.index(translate=10)
        assert counts(report) == {"added": 18, "embedded": 10}
        translation = report.translation
        assert (translation.pairs, translation.translated, translation.quality.n) == (10, 8, 10)
        status = library.status()
        assert (status.videos, status.translated, status.pending, status.rebuilding) == (18, 8, 0, None)
        assert status.former == "fake"
        encoded = model.images_encoded
        result = library.search("red", top=3, min_relevance=0)
        assert all("red" in hit.path.stem for hit in result)
        assert (result.coverage.searched, result.coverage.translated) == (18, 8)
        before = answers(library, "red")
        assert model.images_encoded == encoded
        assert counts(library.index()) == {"unchanged": 18, "embedded": 8}  # the rest
        assert (library.status().translated, library.status().former) == (0, None)
        after = answers(library, "red")
    assert before.keys() == after.keys()
    assert 0 < max(abs(after[name] - before[name]) for name in after) < 0.3
    assert files_of(folder) == LIBRARY_FILES
    assert len(list((folder / "library" / "vectors").iterdir())) == 1
    with Library(folder / "fresh", NEW, uniform(3), relevance=clipped) as fresh:
        fresh.index(indexed / "videos")
        assert answers(fresh, "red") == pytest.approx(after)


def test_what_searches_showed_is_embedded_first(folder: Path) -> None:
    with opened(folder) as library:
        library.index(translate=8)
        with closing(Catalogue(folder / "library" / CATALOGUE)) as catalogue:
            waiting = {content.paths[0].stem for content in translated_contents(catalogue, ())}
        shown = [hit.path.stem for top in (2, 1) for hit in library.search("green", top=top)]
        with closing(Catalogue(folder / "library" / CATALOGUE)) as catalogue:
            numbers = ShownLog(folder / "library").numbers().tolist()
            order = [content.paths[0].stem for content in translated_contents(catalogue, numbers)]
    assert len(waiting) == len(order) == 10
    expected = [name for name in dict.fromkeys(shown) if name in waiting]
    assert order[: len(expected)] == expected
    assert expected


def test_what_is_not_good_enough_is_refused_and_nothing_is_changed(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(translating, "FLOOR", 99.0)
    with opened(folder, FakeModel()) as library:
        before, status = answers(library, "red"), library.status()
    names, vectors = files_of(folder), sorted((folder / "library" / "vectors").iterdir())
    with opened(folder) as library, pytest.raises(TranslationRefused, match=r"nothing was changed: of 8 videos .*99 %"):
        library.index(translate=8)
    assert (files_of(folder), sorted((folder / "library" / "vectors").iterdir())) == (names, vectors)
    with opened(folder, FakeModel()) as library:
        assert answers(library, "red") == before
        after = library.status()
        assert (after.fingerprint, after.translated, after.former) == (status.fingerprint, 0, None)
        assert counts(library.index()) == {"unchanged": 18}


def test_the_same_command_again_and_a_plain_run_go_on(folder: Path) -> None:
    with opened(folder) as library:
        library.index(translate=8)
        assert counts(library.index(translate=8)) == {"unchanged": 18, "embedded": 10}
        assert counts(library.index(translate=8)) == {"unchanged": 18}


def test_a_run_that_names_no_model_goes_on_with_the_present_one(folder: Path, monkeypatch) -> None:
    at_hand = {"fake": FakeModel(), "new": FakeModel("new", head=2, vision=1)}
    monkeypatch.setattr(models, "make", lambda section, *_: at_hand[section.name])
    with opened(folder, at_hand["new"]) as library:
        library.index(translate=8)
    with opened(folder, None) as library:
        assert counts(library.index()) == {"unchanged": 18, "embedded": 10}
        assert (library.status().model, library.status().translated) == ("new", 0)


def test_until_the_last_is_embedded_the_former_model_takes_it_back(folder: Path, indexed: Path, tmp_path: Path) -> None:
    with opened(folder, FakeModel()) as library:
        before = answers(library, "red")
    colour_video(tmp_path / "later" / "red.mp4", "red", seconds=0.25)
    with opened(folder) as library:
        library.index(translate=10)
        assert counts(library.index(tmp_path / "later", exclude=())) == {"added": 1, "embedded": 9}
        shutil.rmtree(tmp_path / "library")
    shutil.copytree(indexed / "library", tmp_path / "library")
    with opened(folder) as library:
        library.index(translate=10)
        library.remove(indexed / "videos" / "black-blue.mp4")
        with pytest.raises(IndexMismatch, match="--rebuild"):
            library.index(model=FakeModel(head=7))
        report = library.index(tmp_path / "later", model=FakeModel())
    with opened(folder, FakeModel()) as library:
        after = answers(library, "red")
        assert after.pop("red") > 0.9
        assert after == {name: score for name, score in before.items() if name != "black-blue"}
        assert counts(report) == {"added": 1, "embedded": 1}
        assert (library.status().translated, library.status().former) == (0, None)
        assert [root.path.name for root in library.status().roots] == ["later", "videos"]
    assert files_of(folder) == LIBRARY_FILES
    assert len(list((folder / "library" / "vectors").iterdir())) == 1


def test_new_files_are_embedded_and_not_translated(folder: Path, indexed: Path) -> None:
    extra = colour_video(folder / "extra" / "white.mp4", "white", seconds=0.25)
    with opened(folder) as library:
        report = library.index(extra, translate=8)
        assert counts(report) == {"added": 1, "embedded": 9}
        assert (report.translation.pairs, library.status().translated) == (8, 10)
        assert answers(library, "white")["white"] > 0.9


@pytest.mark.parametrize("model", [FakeBlockModel(), FakeModel(head=1)], ids=["blocks", "other"])
def test_vectors_of_any_layout_are_translated(folder: Path, model: FakeModel) -> None:
    with opened(folder, model) as library:
        report = library.index(translate=14)
        assert report.translation.translated == 4
        assert "red" in best(library, "red")
        catalogue = library._reader.catalogue()
        index = library._reader.searcher(catalogue).index
        assert index.ids().tolist() == catalogue.expected_ids().tolist()
        vectors = index.get(index.ids())
        start = 0
        for width in [block.width for block in model.scoring.blocks] or [vectors.shape[1]]:
            lengths = np.linalg.norm(vectors[:, start : start + width], axis=1)
            assert lengths == pytest.approx(1 / np.sqrt(max(1, len(model.scoring.blocks))), abs=1e-3)
            start += width


def test_key_images_that_are_no_more_leave_the_index(folder: Path) -> None:
    with Library(folder / "library", NEW, uniform(1), relevance=clipped) as library:
        library.index(translate=10)
        before = library.status().moments
        library.index()
        assert library.status().moments == 18 < before
        catalogue = library._reader.catalogue()
        stored = library._reader.searcher(catalogue).index.ids()
        assert stored.tolist() == catalogue.expected_ids().tolist()


def test_what_cannot_be_translated_is_said(folder: Path, indexed: Path, tmp_path: Path) -> None:
    with Library(tmp_path / "none", model=NEW) as empty, pytest.raises(UsageError, match="no vectors to translate yet"):
        empty.index(indexed / "videos", translate=8)
    assert not (tmp_path / "none").exists()
    with opened(folder) as library:
        with pytest.raises(UsageError, match="give one of both"):
            library.index(translate=8, rebuild=True)
        for number in (7, True, 2.5):
            with pytest.raises(UsageError, match="translate is a number of videos, 8 or more"):
                library.index(translate=number)
        library.index(translate=8)
        with pytest.raises(UsageError, match=r"10 videos still have translated vectors.*mmi-tvr index"):
            library.index(model=FakeModel(head=5), translate=8)
        assert library.status().translated == 10


def test_the_sample_is_of_videos_whose_files_are_present(indexed: Path, tmp_path: Path) -> None:
    present, away = tmp_path / "present", tmp_path / "away"
    for number, path in enumerate(sorted((indexed / "videos").iterdir())):
        folder = present if number % 2 else away
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder)
    with Library(tmp_path / "library", FakeModel(), uniform(3)) as library:
        library.index([present, away])
    away.rename(tmp_path / "disk")
    next(present.iterdir()).unlink()
    with Library(tmp_path / "library", NEW, relevance=clipped) as library:
        report = library.index(translate=8)
        assert (report.embedded, report.translation.pairs, report.translation.translated) == (8, 8, 9)
        assert library.status().videos == 17


def test_what_is_lost_is_said_before_anything_begins(folder: Path) -> None:
    with opened(folder) as library:
        library.index(translate=8)
        (folder / "library" / "former.sqlite").write_bytes(b"damaged" * 99)
        with pytest.raises(MmiTvrError, match=r"former\.sqlite: .*delete it, and all else goes on"):
            library.status()
        with pytest.raises(MmiTvrError, match="delete it"):
            library.index()
        (folder / "library" / "former.sqlite").unlink()
        assert library.index().embedded == 10
        shutil.rmtree(folder / "library" / "vectors")
        with pytest.raises(UsageError, match="vectors are lost, and cannot be translated"):
            library.index(model=FakeModel(head=5), translate=8)
        shutil.copy(folder / "library" / CATALOGUE, folder / "library" / REBUILD_FILE)  # killed before it began
        assert library.status().rebuilding is None
        assert library.index().added == 18


def test_a_run_that_was_killed_after_it_replaced_the_catalogue_keeps_the_way_back(folder: Path) -> None:
    with opened(folder, FakeModel()) as library:
        before = answers(library, "red")
    with opened(folder) as library:
        library.index(translate=8)
    with closing(Catalogue(folder / "library" / CATALOGUE)) as catalogue, catalogue.transaction():
        catalogue.set_meta(rebuilding=catalogue.meta("fingerprint"))
    shutil.copy(folder / "library" / CATALOGUE, folder / "library" / REBUILD_FILE)
    with opened(folder) as library:
        assert counts(library.index()) == {"unchanged": 18}  # the rest once they can be searched
    with opened(folder, FakeModel()) as library:
        assert counts(library.index()) == {"unchanged": 18}
        assert answers(library, "red") == before


def test_translating_all_is_a_rebuild(folder: Path) -> None:
    with opened(folder) as library:
        report = library.index(translate=500)
        assert (report.embedded, report.translation.translated, report.translation.quality) == (18, 0, None)
        assert (library.status().translated, library.status().former) == (0, None)


def test_the_commands_say_what_is_translated(folder: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("MMI_TVR_MODEL", "label_bridge")
    with opened(folder) as library:
        report = library.index(translate=10)
        result = library.search("red")
        state = library.status()
    library_commands._say_report(report, state, folder)
    printed = capsys.readouterr().err
    assert "8 vectors translated, learned from 10 videos; on videos left out: R@1 " in printed
    document = report.as_dict()["translation"]
    assert (document["pairs"], document["translated"], document["held_out"]) == (10, 8, 10)
    assert document["R@1_ci95"][0] <= document["R@1"] <= document["R@1_ci95"][1]
    assert document["recall@10"] == 100  # of ten
    search_commands._say_coverage(result.coverage, folder)
    assert "8 of 18 vectors are translated" in capsys.readouterr().err
    assert result.as_dict()["coverage"]["translated"] == 8
    library_commands.status(folder / "library", as_json=True)
    status = json.loads(capsys.readouterr().out)
    assert (status["translated"], status["translating"], status["former"]) == (8, None, "fake")
    library_commands.status(folder / "library")
    assert "8 of 18 vectors" in capsys.readouterr().out


def test_marks_and_what_was_shown(tmp_path: Path, monkeypatch) -> None:
    with closing(Catalogue(tmp_path / CATALOGUE, create=True)) as catalogue:
        with catalogue.transaction():
            numbers = [catalogue.content_number(str(digit) * 64) for digit in range(4)]
            for number in numbers:
                catalogue.put_file(tmp_path / f"{number}.mp4", (1, 1), number)
                catalogue.connection.execute("INSERT INTO moments VALUES (?, 0, 0, 1, 0.5)", (number,))
            VideoAttributes(catalogue).put(numbers[0], {"action": {"spins": 0.9}})
            mark_translated(catalogue, numbers[:3])
        assert VideoAttributes(catalogue).of(numbers) == {}  # the present model has yet to look
        assert catalogue.content_states() == dict.fromkeys(numbers[:3], "indexed") | {numbers[3]: "pending"}
        assert count_translated(catalogue) == 3
        with catalogue.transaction():
            catalogue.set_pending(numbers[:1])
            catalogue.drop_files([tmp_path / f"{numbers[1]}.mp4"])
            catalogue.drop_contents(numbers[1:2])
        assert count_translated(catalogue) == 1
        log = ShownLog(tmp_path)
        assert log.numbers().tolist() == []
        log.add(catalogue, [tmp_path / "none.mp4"])
        assert not log.path.exists()
        log.add(catalogue, [tmp_path / f"{numbers[2]}.mp4", tmp_path / f"{numbers[3]}.mp4"])
        with log.path.open("ab") as file:
            file.write(b"cut")
        assert log.numbers().tolist() == numbers[2:]
        monkeypatch.setattr(translated, "_MAX_SHOWN_BYTES", 8)
        log.add(catalogue, [tmp_path / f"{numbers[2]}.mp4"])
        assert log.numbers().tolist() == numbers[2:]
        log.discard()
        assert log.numbers().tolist() == []


def test_a_library_that_cannot_be_written_is_searched_all_the_same(folder: Path, monkeypatch) -> None:
    def closed(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    with opened(folder) as library:
        library.index(translate=8)
        monkeypatch.setattr(ShownLog, "add", closed)
        assert len(library.search("red", top=3, min_relevance=0)) == 3
