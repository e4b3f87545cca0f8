"""Models come from the hub by one command alone; a hub on this machine is asked."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import tiny_towers
from hub_server import HubServer
from typer.testing import CliRunner

from mmi_tvr import models
from mmi_tvr.cli import models as commands
from mmi_tvr.cli.app import app
from mmi_tvr.config import Section
from mmi_tvr.encoders import curated, hub
from mmi_tvr.encoders.download import fetch
from mmi_tvr.errors import ModelNotFound, UsageError
from mmi_tvr.types import Query
from mmi_tvr.utils import environment
from mmi_tvr.utils.progress import Silent

LAYOUTS = {
    "siglip2-base": "siglip2",
    "metaclip2-b32": "metaclip2",
    "clip-b32": "clip",
    "chinese-clip-b16": "chinese_clip",
}


class Recorder(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.total = self.steps = 0

    def begin(self, stage: str, total: int) -> None:
        self.total = total

    def advance(self, steps: int = 1) -> None:
        self.steps += steps

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every curated repository, small and random."""
    folders = {}
    for model in curated.CURATED:
        folders[model.repository] = tiny_towers.make(LAYOUTS[model.name], tmp_path_factory.mktemp(model.name))
    return folders


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    monkeypatch.delenv(environment.MODEL, raising=False)
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    return folder


def use(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    return server


def test_every_curated_model_is_fetched_by_its_name_and_loaded(
    folders: dict[str, Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revisions = {model.repository: model.revision for model in curated.CURATED if model.revision != "main"}
    assert models.resolve(Section()).name == models.FALLBACK
    with use(HubServer(folders, revisions=revisions), monkeypatch) as server:
        for model in reversed(curated.CURATED):
            (folders[model.repository] / "pytorch_model.bin").write_bytes(b"a pickle")
            (folders[model.repository] / "open_clip_model.safetensors").write_bytes(b"the same once more")
            progress = Recorder()
            snapshot = fetch(curated.repository(model.name), progress)
            assert progress.lines == [f"fetching {model.repository} (0 MB) into {cache}"]
            assert {path.name for path in snapshot.iterdir()}.isdisjoint(
                {"pytorch_model.bin", "open_clip_model.safetensors"}
            )
            assert models.resolve(Section()).options["checkpoint"] == model.repository, "the best of the list so far"
            loaded = models.make(models.section(model.name))
            assert loaded.embed_queries([Query("a dog")]).shape[0] == 1
        assert not [path for method, path in server.requests if "open_clip" in path or "pickle" in path]
        server.requests.clear()
        fetch("google/siglip2-base-patch16-224")
        assert not [path for _, path in server.requests if "/resolve/" in path], "what is here is not fetched again"


def test_get_ends_with_what_to_write(
    folders: dict[str, Path], cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    group = commands.group
    with use(HubServer({**folders, "someone/clip": folders["openai/clip-vit-base-patch32"]}), monkeypatch):
        done = CliRunner().invoke(group, ["get", "recommended"])
        assert done.exit_code == 0, done.output
        assert "--model clip4clip:google/siglip2-base-patch16-224" in done.stdout
        done = CliRunner().invoke(group, ["get", "someone/clip"])
        assert "--model clip4clip:someone/clip" in done.stdout
        assert "To use it: --model clip4clip:someone/clip" in capsys.readouterr().err + done.output
    listed = CliRunner().invoke(group, ["list"]).stdout
    assert "siglip2-base       1.5 GB  recommended, on this machine" in listed
    assert "clip-b32           0.6 GB\n" in listed
    assert app is not group


def test_weights_of_the_hubs_own_converter_are_taken_where_main_has_pickles_and_nobody_elses(
    folders: dict[str, Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"someone/old": folders["OFA-Sys/chinese-clip-vit-base-patch16"]}
    with use(HubServer(one, revisions={"someone/old": "refs/pr/3"}, converter="SFconvertbot"), monkeypatch) as server:
        fetch("someone/old")
        assert hub.locate("someone/old").is_dir()
        assert models.resolve(Section()).options == {"checkpoint": "someone/old"}
        shutil.rmtree(cache)
        server.converter = "a stranger"
        with pytest.raises(ModelNotFound, match="no weights as safetensors"):
            fetch("someone/old")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("someone/nothing", "someone/nothing: the hub knows no such model, or it is private"),
        ("someone/pickles", "someone/pickles: has no weights as safetensors, and nothing else is loaded"),
        ("not a name", "'not a name' is neither a folder nor a hub name"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(
    name: str, message: str, folders: dict[str, Path], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickles = shutil.copytree(folders["openai/clip-vit-base-patch32"], tmp_path / "pickles")
    for path in pickles.glob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    with use(HubServer({"someone/pickles": pickles}), monkeypatch), pytest.raises(ModelNotFound) as caught:
        fetch(name)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert not cache.exists(), "nothing is left behind"


def test_no_hub_a_full_disk_and_a_wrong_name_are_one_line(
    folders: dict[str, Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with use(HubServer(folders), monkeypatch) as server:
        usage = shutil.disk_usage("/")
        monkeypatch.setattr("shutil.disk_usage", lambda folder: usage._replace(free=1000))
        with pytest.raises(ModelNotFound, match=r"needs 0 MB, and .* has 0 MB free; HF_HOME can name another disk"):
            fetch("google/siglip2-base-patch16-224")
        assert not [path for _, path in server.requests if "/resolve/" in path]
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(ModelNotFound, match="the hub cannot be reached"):
        fetch("google/siglip2-base-patch16-224")
    with pytest.raises(UsageError, match="there are: recommended, siglip2-base, metaclip2-b32"):
        curated.repository("siglip")


def test_a_download_that_broke_off_goes_on(
    folders: dict[str, Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "google/siglip2-base-patch16-224"
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the tries of the hub's client
    with use(HubServer(folders, cut_after=1000), monkeypatch) as server:
        with pytest.raises(ModelNotFound, match=r"could not be fetched: .*; the same command goes on where it was"):
            fetch(name)
        with pytest.raises(ModelNotFound, match=f"to fetch it: mmi-tvr models get {name}"):
            hub.locate(name)
        assert models.resolve(Section()).name == models.FALLBACK, "part of a checkpoint is none"
        whole = {path.name for path in cache.glob("*/snapshots/*/*")}  # the file that broke off may have stopped others
        server.cut_after = None
        server.requests.clear()
        fetch(name)
        files = [path for method, path in server.requests if method == "GET" and "/resolve/" in path]
        fetched = {file.rpartition("/")[2] for file in files}
        assert "model.safetensors" in fetched
        assert fetched.isdisjoint(whole), "what is here is not fetched again"
    assert hub.locate(name).is_dir()
