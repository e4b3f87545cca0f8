"""The door for other packages: a real one, installed into an environment of its own, and ones that do not work."""

from __future__ import annotations

import json
import os
import re
import shutil
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmi_tvr import datasets, models, plugins, protocols
from mmi_tvr.config import Section
from mmi_tvr.errors import UsageError
from mmi_tvr.protocols import (
    AblatedModule,
    AvailableModule,
    GeneratedDataset,
    GroupedDataset,
    TrainableModule,
    TrainedModel,
)

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tests" / "plugin_package"
UNIFORM = ("--set", "keyimages.name=uniform", "--set", "keyimages.count=2")
TRAINING = {
    "model": {"name": "colour", "width": 8},
    "keyimages": {"name": "uniform", "count": 2},
    "data": {
        "train": {"name": "colour_clips", "split": "train"},
        "validation": {"name": "colour_clips", "split": "val"},
        "batch": 8,
    },
    "train": {
        "stages": [{"name": "colours", "steps": 6, "weights": {"contrastive": 1.0}}],
        "learning_rates": {"heads": 0.01, "temperature": 0.001},
        "validate_every": 3,
        "save_every": 3,
    },
}


class Environment:
    """A virtual environment that has mmi_tvr's own packages, and the plug-in installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        self.python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.packages = Path(self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        # What mmi_tvr needs, and mmi_tvr itself, are looked up where these tests run; nothing is fetched.
        (self.packages / "mmi_tvr.pth").write_text("\n".join([str(ROOT), *site.getsitepackages(), ""]))
        source = shutil.copytree(PACKAGE, folder / "package")  # building writes into it
        self.run("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", source)

    def __call__(self, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MMI_TVR_MODEL")}
        environment |= {"HF_HUB_OFFLINE": "1", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        finished = subprocess.run(
            [self.python, "-m", "mmi_tvr.cli", *map(str, words)],
            capture_output=True, text=True, env=environment, cwd=self.folder, timeout=180, check=False,
        )  # fmt: skip
        assert finished.returncode == code, f"{words}: exit {finished.returncode}\n{finished.stdout}{finished.stderr}"
        assert "Traceback" not in finished.stderr, finished.stderr
        return finished

    def json(self, *words: object) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self(*words, "--json").stdout)
        return document

    def run(self, *words: object) -> str:
        finished = subprocess.run([self.python, *words], capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("plugin"))


@pytest.fixture(scope="module")
def trained(environment: Environment) -> Path:
    """The folder of a run that was stopped after its first checkpoint, and resumed to the end."""
    config = environment.folder / "colour.yaml"
    config.write_text(yaml.safe_dump(TRAINING))
    run = environment.folder / "run"
    finished = environment("train", "--cpu", "--config", config, "--output", run)
    assert "6 steps, best validation" in finished.stdout
    assert f"try: mmi-tvr evaluate colour_clips --model {run / 'model'}" in finished.stdout
    shutil.rmtree(run / "checkpoints" / "step-00000006")
    shutil.rmtree(run / "model")
    environment("train", "--cpu", "--config", config, "--output", run, "--resume")
    return run


def test_only_the_plugin_is_installed_there(environment: Environment) -> None:
    distributions = {path.name for path in environment.packages.glob("*.dist-info")}
    assert distributions == {"colour_search-0.1.dist-info"}


def test_the_model_is_listed_with_its_package(environment: Environment) -> None:
    listed = [model for model in environment.json("models")["models"] if model["name"] == "colour"]
    assert listed == [
        {"name": "colour", "ready": True, "detail": "knows 8 colours and nothing else (from colour-search)"}
    ]


def test_doctor_names_every_plugin_with_its_package(environment: Environment) -> None:
    checks = {check["name"]: check for check in environment.json("doctor")["checks"]}
    for name in (
        "models.colour",
        "datasets.colour_clips",
        "index.memory",
        "answerers.colour_words",
        "judges.colour_agreement",
    ):
        assert checks[f"plug-in {name}"] == {"name": f"plug-in {name}", "ok": True, "detail": "from colour-search"}
    assert checks["model colour"]["ok"]


def test_a_library_is_indexed_and_searched_with_model_and_index(environment: Environment) -> None:
    clips, library = environment.folder / "clips", environment.folder / "library"
    environment("evaluate", "colour_clips", "--model", "colour", "--option", f"root={clips}")  # renders them
    options = ("--library", library, "--model", "colour", *UNIFORM, "--set", "index.name=memory")
    report = environment.json("index", clips, *options)
    assert (report["added"], report["quarantined"]) == (16, [])
    hits = environment.json("search", "red then green", "--library", library)["hits"]
    assert Path(hits[0]["path"]).stem == "red-green"
    assert list((library / "vectors").rglob("*.npz"))


def test_an_unknown_option_is_one_line_with_the_known_ones(environment: Environment) -> None:
    changes = ("--set", "index.name=memory", "--set", "index.size=3")
    assert "unknown option 'size' (there are: compress)" in environment("search", "red", *changes, code=2).stderr
    words = ("evaluate", "colour_clips", "--model", "colour", "--annotations", "somewhere")
    assert "unknown option 'annotations' (there are: split, limit, root)" in environment(*words, code=2).stderr


def test_the_dataset_is_evaluated_with_the_model(environment: Environment) -> None:
    (environment.folder / "colour_clips").mkdir()  # the name of a data set comes before a folder
    report = environment.json("evaluate", "colour_clips", *UNIFORM, "--model", "colour", "--split", "val", "--moments")
    assert report["moments"]["events"]["pointing"] == 100.0
    assert (report["n"], report["videos"], report["model"]) == (16, 16, "colour")
    assert report["t2v"]["R@1"] > 50
    assert report["config"]["dataset"] == {"split": "val"}


def test_a_trained_folder_is_a_model(environment: Environment, trained: Path) -> None:
    settings = json.loads((trained / "model" / "model.json").read_text())
    assert settings["name"] == "colour"
    assert settings["options"]["width"] == 8
    assert settings["keyimages"] == {"name": "uniform", "count": 2}
    assert settings["origin"]["step"] == json.loads((trained / "best.json").read_text())["step"]
    report = environment.json("evaluate", "colour_clips", "--checkpoint", trained / "model", "--split", "val")
    assert report == environment.json("evaluate", "colour_clips", "--model", trained / "model", "--split", "val")
    assert report["model"] == f"colour:{trained / 'model'}"
    assert report["config"]["keyimages"] == {"name": "uniform", "count": 2}
    recalls = [report[direction][f"R@{k}"] for direction in ("t2v", "v2t") for k in (1, 5, 10)]
    assert sum(recalls) == pytest.approx(json.loads((trained / "best.json").read_text())["value"], abs=0.1)


def test_training_goes_on_where_it_stopped(trained: Path) -> None:
    steps = [json.loads(line)["step"] for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert steps == [3, 6]
    assert (trained / "checkpoints" / "step-00000006").is_dir()


@pytest.mark.parametrize(("model", "judge"), [("moving-shapes", "llava"), ("colour", "colour_agreement")])
def test_the_answerer_makes_the_skeletons_of_a_reranking(environment: Environment, model: str, judge: str) -> None:
    """The bundled model judges what the plug-in answers; or its own judge does, for a model without language."""
    report = environment.json(
        *("evaluate", "colour_clips", "--model", model, "--rerank", "--limit", "4", "--set", "rerank.depth=2"),
        *("--set", "rerank.answerer.name=colour_words", "--set", f"rerank.judge.name={judge}"),
    )
    section = report["config"]["rerank"]
    assert (section["answerer"], section["judge"]) == ({"name": "colour_words"}, {"name": judge})


def test_the_index_keeps_the_contract_of_every_index(environment: Environment) -> None:
    words = ("-m", "pytest", "-p", "no:cacheprovider", ROOT / "tests" / "test_index.py", "-k", "memory")
    assert re.search(r"\d passed", environment.run(*words))


def test_a_model_folder_whose_plugin_is_not_installed_says_so(trained: Path) -> None:
    with pytest.raises(UsageError, match="trained as the model 'colour', which is not installed here; there are"):
        models.section(str(trained / "model"))


@pytest.fixture
def site_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of Python's path into which tests put packages."""
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins._entry_points.cache_clear()
    yield tmp_path
    plugins._entry_points.cache_clear()


def install(folder: Path, package: str, group: str, name: str, code: str) -> None:
    """Write what an installer leaves of a package with one module and one entry point."""
    module = package.replace("-", "_")
    (folder / f"{module}.py").write_text(code)
    information = folder / f"{module}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[mmi_tvr.{group}]\n{name} = {module}\n")
    plugins._entry_points.cache_clear()


WHOLE = """
'''Nothing, told in one line.

And more.'''
from mmi_tvr.plugins import BaseOptions

class Options(BaseOptions):
    size: int = 1

def build(options, **context):
    return options.size
"""


def third_party() -> list[plugins.Plugin]:
    return [plugin for plugin in plugins.third_party() if plugin.package != "colour-search"]


def test_a_plugin_is_built_from_its_options(site_folder: Path) -> None:
    install(site_folder, "whole-package", "models", "whole", WHOLE)
    assert "whole" in plugins.names("models")
    assert plugins.origin("models", "whole") == "whole-package"
    assert plugins.build("models", "whole", {"size": 3}, device="cpu") == 3
    assert third_party() == [plugins.Plugin("models", "whole", "whole-package", None)]
    lines = [line for name, line in models.availability() if name == "whole"]
    assert [(line.ready, line.detail) for line in lines] == [(True, "Nothing, told in one line. (from whole-package)")]


def test_a_plugin_that_cannot_be_imported_is_one_line(site_folder: Path) -> None:
    install(site_folder, "broken-package", "models", "broken", "raise RuntimeError('no\\nluck')")
    problem = "models 'broken' of broken-package cannot be loaded: no luck"
    with pytest.raises(UsageError, match=f"^{problem}$"):
        plugins.load("models", "broken")
    assert third_party() == [plugins.Plugin("models", "broken", "broken-package", problem)]
    lines = [line for name, line in models.availability() if name == "broken"]
    assert [(line.ready, line.detail) for line in lines] == [(False, f"{problem} (from broken-package)")]


def test_a_broken_model_is_in_nobodys_way(site_folder: Path) -> None:
    install(site_folder, "broken-package", "models", "broken", "import nothing_of_this_name")
    assert models.resolve(Section()).name == models.FALLBACK
    assert models.section("label_bridge") == Section(name="label_bridge")
    with pytest.raises(UsageError, match="broken-package cannot be loaded: No module named 'nothing_of_this_name'"):
        models.make(models.section("broken"))


def test_a_broken_data_set_is_in_nobodys_way(site_folder: Path) -> None:
    install(site_folder, "broken-package", "datasets", "broken", "raise RuntimeError")
    assert "msrvtt" in datasets.benchmark_names()
    assert "broken" not in datasets.benchmark_names()


@pytest.mark.parametrize(
    "code",
    [
        "def build(options): ...",
        "from mmi_tvr.plugins import BaseOptions as Options",
        "from pydantic import BaseModel as Options\ndef build(options): ...",
        "from mmi_tvr.plugins import BaseOptions as Options\nbuild = 3",
    ],
    ids=["no Options", "no build", "Options of another kind", "build is no function"],
)
def test_a_module_without_options_or_build_is_no_plugin(site_folder: Path, code: str) -> None:
    install(site_folder, "half-package", "index", "half", code)
    problem = (
        "index 'half' of half-package is no plug-in: half_package must offer a class Options (of "
        "mmi_tvr.plugins.BaseOptions) and a function build"
    )
    with pytest.raises(UsageError, match=f"^{re.escape(problem)}$"):
        plugins.options("index", "half")
    assert third_party() == [plugins.Plugin("index", "half", "half-package", problem)]


def test_an_implementation_of_ours_comes_before_a_plugin_of_its_name(site_folder: Path) -> None:
    install(site_folder, "other-package", "index", "flat", WHOLE)
    assert plugins.names("index").count("flat") == 1
    assert plugins.load("index", "flat").__name__ == "mmi_tvr.index.flat"
    assert plugins.origin("index", "flat") is None
    problem = "never used: mmi_tvr has index 'flat' of its own, which comes first"
    assert third_party() == [plugins.Plugin("index", "flat", "other-package", problem)]


def test_of_two_plugins_of_one_name_the_first_on_the_path_is_used(
    site_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site_folder, "later-package", "datasets", "twice", WHOLE)
    first_folder = tmp_path / "first"
    first_folder.mkdir()
    monkeypatch.syspath_prepend(str(first_folder))
    install(first_folder, "earlier-package", "datasets", "twice", WHOLE)
    assert plugins.origin("datasets", "twice") == "earlier-package"
    assert plugins.load("datasets", "twice").__name__ == "earlier_package"
    assert {plugin.package: plugin.problem for plugin in third_party()} == {
        "earlier-package": None,
        "later-package": "never used: datasets 'twice' of earlier-package comes first",
    }


@pytest.mark.parametrize("file", ["pyproject.toml", "colour_search/answerer.py", "colour_search/model.py"])
def test_the_page_shows_the_package_as_it_is(file: str) -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    language = "toml" if file.endswith(".toml") else "python"
    assert f"```{language}\n{(PACKAGE / file).read_text(encoding='utf-8')}```\n" in page


def test_the_page_names_every_room_and_every_capability() -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    capabilities = [
        name
        for name in vars(protocols)
        if re.search(r"(Module|Dataset|Model\w*|(?:Exact|Published|Snapshot)Index)$", name)
    ]
    assert len(capabilities) > 10
    assert not [name for name in (*plugins.ROOMS, *capabilities) if f"`{name}`" not in page]


def test_the_example_offers_what_the_capability_table_says() -> None:
    sys.path.insert(0, str(PACKAGE))
    try:
        from colour_search import dataset, model
    finally:
        sys.path.remove(str(PACKAGE))
    assert isinstance(model, AvailableModule)
    assert isinstance(model, TrainableModule)
    assert isinstance(model, AblatedModule)
    assert isinstance(model.build(model.Options(), device="cpu"), TrainedModel)
    clips = dataset.build(dataset.Options())
    assert isinstance(clips, GeneratedDataset)
    assert isinstance(clips, GroupedDataset)
