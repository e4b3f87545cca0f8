"""A model is named in one place, and `--set model.A=B` changes it: commands, libraries, files, the environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import typer
from fakes import FakeModel, clipped
from typer.testing import CliRunner

from mmi_tvr import config, models
from mmi_tvr.batch import extract
from mmi_tvr.cli import evaluation
from mmi_tvr.cli.app import COMMANDS, app
from mmi_tvr.config import Section, Settings
from mmi_tvr.encoder import Encoder
from mmi_tvr.errors import MmiTvrError, UsageError
from mmi_tvr.library import Library
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.utils import environment

CHANGE = "model.classes=7"
BRIDGE = Section(name="label_bridge", classes=7)


class NeededModelError(MmiTvrError):
    """Instead of loading: the model that is needed."""


@pytest.fixture(autouse=True)
def no_named_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environment.MODEL, raising=False)


@pytest.fixture
def needed(monkeypatch: pytest.MonkeyPatch) -> list[Section]:
    """Every model that anything wants loaded; nothing is, and the command ends."""
    sections: list[Section] = []

    def refuse(section: Section, device: str = "auto") -> None:
        sections.append(section)
        raise NeededModelError

    monkeypatch.setattr(models, "make", refuse)
    monkeypatch.setattr(evaluation, "load_generated", lambda *_: None)
    return sections


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Section]:
    """Every model that was loaded: the same fake one, by whatever section."""
    sections: list[Section] = []

    def make(section: Section, device: str = "auto") -> FakeModel:
        sections.append(models.resolve(section))
        return FakeModel()

    monkeypatch.setattr(models, "make", make)
    return sections


@pytest.fixture
def captioned(folder: Path) -> Path:
    (folder / "captions.tsv").write_text("file\tcaption\npart0/blue.mp4\tblue\npart1/green.mp4\tgreen\n")
    return folder


def run(*words: object) -> None:
    done = CliRunner().invoke(app, list(map(str, words)))
    if isinstance(done.exception, MmiTvrError):
        raise done.exception
    assert done.exit_code == 0, f"{words}: {done.output}{done.exception!r}"


# Words of every command that takes both, without the model.
WORDS = {
    "evaluate retrieval": ("evaluate", "{videos}"),
    "evaluate contrast": ("evaluate", "contrast", "moving_shapes", "--kind", "order"),
    "evaluate answers": ("evaluate", "answers", "moving_shapes"),
    "evaluate facets": ("evaluate", "facets", "{videos}"),
    "index": ("index", "{videos}", "--library", "{videos}/../library"),
}


def settings_and_model(group: typer.core.TyperGroup, path: str = "") -> Iterator[str]:
    """Yield the commands that take a model and settings."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if isinstance(command, typer.core.TyperGroup):
            yield from settings_and_model(command, f"{path}{name} ")
        elif {"--config", "model"} <= {word for option in command.params for word in (*option.opts, option.name)}:
            yield f"{path}{name}"


def test_every_command_with_model_and_settings_is_tested_here() -> None:
    group = typer.main.get_group(app)
    assert set(group.list_commands(None)) == set(COMMANDS)
    assert set(settings_and_model(group)) == {*WORDS, "gap", "batch extract"}


@pytest.mark.parametrize("command", WORDS)
def test_a_set_option_changes_the_named_model(command: str, captioned: Path, needed: list[Section]) -> None:
    words = [word.format(videos=captioned) for word in WORDS[command]]
    file = captioned / "settings.yaml"
    file.write_text("model: {name: clip4clip, checkpoint: elsewhere, width: 64}\nkeyimages: {count: 3}\n")
    named = ("--model", "label_bridge", "--set", CHANGE)
    for config_words in ((), ("--config", file)):  # what the file names is put aside, with its options
        with pytest.raises(NeededModelError):
            run(*words, *named, *config_words)
        assert needed.pop() == BRIDGE
    with pytest.raises(UsageError, match=r"^label_bridge means model\.name=label_bridge, .* model\.name=mmi: give one"):
        run(*words, "--model", "label_bridge", "--set", "model.name=mmi")
    with pytest.raises(UsageError, match=r"models\.label_bridge: unknown option 'width'"):
        run(*words, "--model", "label_bridge", "--set", "model.width=64")
    with pytest.raises(UsageError, match=f"of which model is classes an option.*{environment.MODEL}"):
        run(*words, "--set", CHANGE)
    assert not needed


def test_gap_and_batch_take_the_changed_model(captioned: Path, needed: list[Section]) -> None:
    with pytest.raises(UsageError, match=r"keyimages\.disparity: unknown option 'threshold'"):
        run("gap", "label_bridge", captioned, "--set", "keyimages.threshold=3")
    assert not needed  # before anything is loaded
    with pytest.raises(NeededModelError):
        run("gap", "label_bridge", captioned, "--set", CHANGE)
    assert needed == [BRIDGE]
    with pytest.raises(UsageError, match=r"label_bridge means model\.name"):
        run("gap", "label_bridge", captioned, "--set", "model.name=mmi")
    settings = config.load(None, [CHANGE], model_is_named=True)
    listed = captioned / "list.txt"
    listed.write_text("part0/blue.mp4\n")
    work = extract.create(captioned / "out", listed, model=Section(name="label_bridge"), settings=settings)
    assert extract.ExtractSettings(**work.settings).model == BRIDGE
    words = ("batch", "extract", listed, "--output", captioned / "other", "--model", "label_bridge")
    with pytest.raises(UsageError, match=r"label_bridge means model\.name"):
        run(*words, "--set", "model.name=lat")


def test_a_checkpoint_is_changed_like_a_name(captioned: Path, needed: list[Section]) -> None:
    folder = models.find("lat-shapes")
    words = ("evaluate", captioned, "--checkpoint", folder)
    with pytest.raises(NeededModelError):
        run(*words, "--set", "model.retrieval=paper")
    assert needed.pop().options == {"weights": str(folder), "retrieval": "paper"}
    for contradiction in ("model.name=mmi", "model.weights=moving-shapes"):
        with pytest.raises(UsageError, match="give one of the two"):
            run(*words, "--set", contradiction)


@pytest.mark.parametrize(
    ("named", "changes", "section"),
    [
        ("moving-shapes", ["moment_head=null"], Section(name="mmi", weights="moving-shapes", moment_head=None)),
        ("moving-shapes", ["name=mmi", "top_moments=2"], Section(name="mmi", weights="moving-shapes", top_moments=2)),
        ("clip4clip:/c", ["width=64", "checkpoint=/c"], Section(name="clip4clip", checkpoint="/c", width=64)),
        ("auto", ["name=label_bridge", "classes=7"], BRIDGE),
        ("label_bridge", ["name=auto"], Section(name="label_bridge")),
    ],
)
def test_what_a_name_and_changes_mean_together(named: str, changes: list[str], section: Section) -> None:
    settings = config.load(None, [f"model.{change}" for change in changes], model_is_named=True)
    assert models.changed(models.section(named), settings.model) == section


@pytest.mark.parametrize(
    ("named", "change", "says"),
    [
        ("lat-shapes", "name=mmi", "lat-shapes means model.name=lat, and the settings say model.name=mmi"),
        ("clip4clip:/c", "checkpoint=/d", "clip4clip:/c means model.checkpoint=/c, .* model.checkpoint=/d"),
        ("moving-shapes", "weights=lat-shapes", "moving-shapes means model.weights=moving-shapes"),
        ("moving-shapes", "weights=null", "the settings say model.weights=null: give one"),
        ("moving-shapes", "retrieval=paper", "models.mmi: unknown option 'retrieval'"),
        ("label_bridge", "classes=0", "models.label_bridge: classes: .*greater than or equal to 1"),
    ],
)
def test_contradictions_are_one_line(named: str, change: str, says: str) -> None:
    settings = config.load(None, [f"model.{change}"], model_is_named=True)
    with pytest.raises(UsageError, match=says) as caught:
        models.changed(models.section(named), settings.model)
    assert "\n" not in str(caught.value)


def test_sections_within_options_are_changed_key_by_key() -> None:
    mmi = Section(name="mmi", llava={"checkpoint": "/c", "grid": 4})
    change = Section(llava={"dtype": "float32"})
    assert models.changed(mmi, change).options["llava"] == {"checkpoint": "/c", "grid": 4, "dtype": "float32"}
    with pytest.raises(UsageError, match=r"model\.llava\.grid=4.*model\.llava\.grid=8"):
        models.changed(mmi, Section(llava={"grid": 8}))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([], {"fps": 4, "count": 12}),
        (["keyimages.count=3"], {"fps": 4, "count": 3}),
        (["keyimages.name=disparity", "keyimages.count=3"], {"fps": None, "count": 3}),
    ],
)
def test_key_images_of_a_named_model_are_changed_likewise(changes: list[str], expected: dict[str, int | None]) -> None:
    settings = config.load(None, changes, model_is_named=True)
    images = models.key_images_by(settings, models.section("moving-shapes"))
    assert images.name == "disparity"
    assert {name: images.options.get(name) for name in expected} == expected
    assert models.key_images_by(settings, Section(name="label_bridge")) == settings.keyimages
    again = config.from_values(settings.model_dump(mode="json", exclude_unset=True))  # as work in batches keeps them
    assert models.key_images_by(again, models.section("moving-shapes")) == images


def test_an_option_that_no_model_has_is_found_before_anything_is_loaded() -> None:
    with pytest.raises(UsageError, match=r"model: unknown option 'widht' \(there are: name, .*width"):
        config.load(None, ["model.widht=64"])


def test_options_of_a_file_without_a_name_stay(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("model: {classes: 9, sharpness: 2}\n")
    settings = config.load(file, [CHANGE], model_is_named=True)
    assert models.changed(Section(name="label_bridge"), settings.model).options == {"classes": 7, "sharpness": 2}


def test_the_model_of_the_environment_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.MODEL, "label_bridge")
    assert models.resolve(config.load(None, [CHANGE]).model) == BRIDGE
    monkeypatch.setenv(environment.MODEL, "lat-shapes")
    with pytest.raises(UsageError, match=r"models\.lat: unknown option 'classes'"):
        models.resolve(config.load(None, [CHANGE]).model)


def test_the_environment_may_say_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.MODEL, "auto")
    assert models.resolve(Section()).name != "auto"
    with pytest.raises(UsageError, match="of which model is classes an option"):
        models.resolve(config.load(None, [CHANGE]).model)


def test_the_model_of_a_library_is_changed(folder: Path, tmp_path: Path, loaded: list[Section]) -> None:
    path = tmp_path / "library"
    Library(path, model="label_bridge", relevance=clipped).index(folder)
    settings = config.load(None, [CHANGE])
    assert Library(path, settings=settings, relevance=clipped).search("red").hits
    assert loaded == [Section(name="label_bridge"), BRIDGE]
    assert Library(path, relevance=clipped).search("red").hits  # one search changes no library
    assert loaded[-1] == Section(name="label_bridge")
    Library(path, settings=settings, relevance=clipped).index(rebuild=True)
    assert Library(path, relevance=clipped).search("red").hits
    assert loaded[-1] == BRIDGE
    with closing(Catalogue(path / "catalogue.sqlite")) as catalogue:
        assert catalogue.meta("settings")["model"] == BRIDGE.model_dump()


def test_in_python_an_argument_goes_before_named_settings(folder: Path, tmp_path: Path, loaded: list[Section]) -> None:
    path = tmp_path / "library"
    settings = Settings(model=Section(name="lat", weights="lat-shapes"))
    Library(path, model="label_bridge", settings=settings, relevance=clipped).index(folder)
    assert loaded.pop() == Section(name="label_bridge")
    unnamed = config.load(None, [CHANGE])
    Library(path, model="label_bridge", settings=unnamed, relevance=clipped).search("red")
    assert loaded.pop() == BRIDGE
    with pytest.raises(UsageError, match=r"models\.lat: unknown option 'classes'"):
        Library(path, model="lat-shapes", settings=unnamed).search("red")
    with pytest.raises(UsageError, match="ready model, whose options cannot be changed by settings: classes"):
        Library(path, model=FakeModel(), settings=unnamed).search("red")


def test_an_encoder_takes_options_of_its_model(loaded: list[Section]) -> None:
    encoder = Encoder.from_pretrained("moving-shapes", options={"moment_head": None}, keyimages={"count": 3})
    assert encoder.keyimages.fps == 4  # as the model was trained
    assert loaded == [Section(name="mmi", weights="moving-shapes", moment_head=None)]
    with pytest.raises(UsageError, match="give one of the two"):
        Encoder.from_pretrained("moving-shapes", options={"weights": "lat-shapes"})
