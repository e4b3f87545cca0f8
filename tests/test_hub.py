"""Models to the hub and back, without a network: uploads go to a folder of the layout that the hub's cache has."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import tiny_llava
from fakes import FakeModel, colour_video
from huggingface_hub import ModelCard
from safetensors.numpy import load_file
from typer.testing import CliRunner

import mmi_tvr
from mmi_tvr import hub, models, plugins
from mmi_tvr.cli import hub as commands
from mmi_tvr.config import Section
from mmi_tvr.encoder import Encoder
from mmi_tvr.errors import MediaError, MmiTvrError, ModelNotFound, UsageError
from mmi_tvr.evaluation.evaluate import evaluate_model
from mmi_tvr.features.embed import embed_all, embedding_fingerprint
from mmi_tvr.hub import card
from mmi_tvr.models import mmi
from mmi_tvr.people import KEYS_FILE, PEOPLE_FILE
from mmi_tvr.types import Sample, Scoring, Video

NAME = "someone/colours"
KEY_IMAGES = {"name": "uniform", "count": 2}
SMALL = {"grid": 2, "heads": 2, "layers": 1, "key_images": 4}
ORIGIN = {
    "git": "0123456",
    "command": "train.py --output /home/someone/secret",
    "saved": "2026-01-02T03:04:05+00:00",
    "torch": "2.13.0",
    "step": 7,
    "validation": {"step": 7, "value": 321.5},
    "settings": {
        "data": {"train": {"name": "folder", "root": "/home/someone/films"}, "batch": 8},
        "train": {"seed": 3, "stages": [{"name": "joint", "steps": 7}]},
    },
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava.make(tmp_path_factory.mktemp("base") / "llava")


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training run leaves behind, from a base on this machine."""
    folder = tmp_path_factory.mktemp("run") / "model"
    llava = {"checkpoint": str(base), "attention": "eager", "lora": {"rank": 2, "targets": ["q_proj"]}}
    options = plugins.options("models", "mmi", {"llava": llava, "heads": SMALL})
    model = mmi.trainable(options, device="cpu")
    import torch

    with torch.no_grad():
        torch.manual_seed(1)
        for parameter in model.network.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save(folder, KEY_IMAGES, ORIGIN)
    return folder


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("colours")
    return [colour_video(folder / f"{name}.mp4", name, seconds=1.0) for name in ("red", "blue")]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, which `put` fills as a download would."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for module in ("constants", "file_download", "_snapshot_download"):
        if hasattr(getattr(huggingface_hub, module), "HF_HUB_CACHE"):
            monkeypatch.setattr(f"huggingface_hub.{module}.HF_HUB_CACHE", str(folder))
    return folder


def put(cache: Path, name: str, source: Path, revision: str = "a" * 40) -> Path:
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / revision
    shutil.copytree(source, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    return snapshot


class Hub:
    """The hub as `HfApi` and `snapshot_download` see it: pushed folders, kept until they are fetched."""

    def __init__(self, store: Path, cache: Path) -> None:
        self.store, self.cache = store, cache
        self.created: dict[str, dict[str, Any]] = {}
        self.fetched: list[str] = []

    def __call__(self, **options: Any) -> Hub:
        return self

    def create_repo(self, repository: str, **options: Any) -> Any:
        self.created[repository] = options
        return _Address(f"https://hub/{repository}", repository)

    def upload_folder(self, *, repo_id: str, folder_path: Path, **options: Any) -> None:
        shutil.copytree(folder_path, self.store / repo_id)

    def model_info(self, name: str, **options: Any) -> Any:
        return SimpleNamespace(siblings=[])

    def fetch(self, name: str, progress: object = None) -> Path:
        self.fetched.append(name)
        if not (self.store / name).is_dir():
            raise ModelNotFound(f"{name} could not be fetched")
        return put(self.cache, name, self.store / name)


class _Address(str):
    repo_id: str

    def __new__(cls, address: str, repository: str) -> _Address:
        instance = super().__new__(cls, address)
        instance.repo_id = repository
        return instance


@pytest.fixture
def remote(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    fake = Hub(tmp_path / "store", cache)
    monkeypatch.setattr(huggingface_hub, "HfApi", fake)
    monkeypatch.setattr("mmi_tvr.hub.transfer.fetch", fake.fetch)
    return fake


def report_of(weights: Path, videos: list[Path], folder: Path) -> Path:
    """What `evaluate --output` writes, as far as a card reads it."""
    model = models.make(Section(name="mmi", weights=str(weights)), "cpu")
    method = plugins.build("keyimages", "uniform", {"count": 2})
    samples = [Sample(path.stem, Video(path), (f"a {path.stem} circle",)) for path in videos]
    evaluation = evaluate_model(
        model,
        samples,
        lambda videos: embed_all(videos, model, method),
        fingerprint=embedding_fingerprint(model, method),
    )
    section = {"name": "mmi", "weights": str(weights)}
    about = {"target": "/home/someone/films", "split": "test", "model": section, "keyimages": KEY_IMAGES}
    folder.mkdir()
    (folder / "report.json").write_text(
        json.dumps({**evaluation.as_dict(), "config": about, "queries": evaluation.details.as_dict()}), encoding="utf-8"
    )
    return folder


# To the hub and back


def test_what_is_pushed_comes_back_the_same(trained: Path, remote: Hub, tmp_path: Path, colours: list[Path]) -> None:
    """From a base on this machine: it goes along, and the copy gives the very vectors of the original."""
    address = hub.push(hub.prepare(trained, NAME, tmp_path / "out"), private=True)
    assert address == f"https://hub/{NAME}"
    assert remote.created[NAME]["private"] is True
    with pytest.raises(ModelNotFound):
        Encoder.from_pretrained(NAME, device="cpu").encode_query("a")
    assert remote.fetched == []  # nothing is downloaded unless asked for
    ours = Encoder.from_pretrained(trained, device="cpu")
    theirs = Encoder.from_pretrained(NAME, download=True, device="cpu")
    assert remote.fetched == [NAME]
    assert theirs.fingerprint == ours.fingerprint
    texts = ["a red circle moves left", "a blue square"]
    np.testing.assert_array_equal(theirs.encode_query(texts), ours.encode_query(texts))
    np.testing.assert_array_equal(theirs.encode_video(colours), ours.encode_video(colours))
    assert Encoder.from_pretrained(NAME, device="cpu").fingerprint == ours.fingerprint  # from the cache alone
    assert models.section(NAME) == Section(name="mmi", weights=NAME)


def test_a_base_of_the_hub_is_named_and_fetched(trained: Path, base: Path, remote: Hub, tmp_path: Path) -> None:
    prepared = hub.prepare(trained, NAME, tmp_path / "out", base="someone/llava")
    assert not any(file.startswith("base/") for file, _ in prepared.files)
    assert "The base is not in it" in prepared.card
    assert ModelCard(prepared.card).data.base_model == "someone/llava"
    adapter = json.loads((prepared.folder / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert adapter["base_model_name_or_path"] == "someone/llava"
    hub.push(prepared)
    shutil.copytree(base, remote.store / "someone" / "llava")
    theirs = Encoder.from_pretrained(NAME, download=True, device="cpu")
    assert remote.fetched == [NAME, "someone/llava"]
    assert theirs.fingerprint == Encoder.from_pretrained(trained, device="cpu").fingerprint


def test_a_missing_base_is_said_by_name(trained: Path, cache: Path, remote: Hub, tmp_path: Path) -> None:
    prepared = hub.prepare(trained, NAME, tmp_path / "out", base="someone/llava")
    put(cache, NAME, prepared.folder)
    with pytest.raises(ModelNotFound, match="someone/llava"):
        Encoder.from_pretrained(NAME, device="cpu").encode_query("a")
    assert remote.fetched == []


def test_a_base_from_the_cache_is_known_by_its_hub_name(base: Path, trained: Path, cache: Path, tmp_path: Path) -> None:
    """Training writes the folder that it loaded from; when that is a snapshot, others find it by its name."""
    snapshot = put(cache, "someone/llava", base, "b" * 40)
    copy = shutil.copytree(trained, tmp_path / "model")
    known = json.loads((copy / "model.json").read_text(encoding="utf-8"))
    known["options"]["llava"]["checkpoint"] = str(snapshot)
    (copy / "model.json").write_text(json.dumps(known), encoding="utf-8")
    prepared = hub.prepare(copy, NAME, tmp_path / "out")
    assert ModelCard(prepared.card).data.base_model == "someone/llava"
    assert "b" * 40 in prepared.card
    assert models.read(prepared.folder).options["llava"]["checkpoint"] == "someone/llava"


def test_no_path_of_this_machine_is_pushed(trained: Path, base: Path, tmp_path: Path, colours: list[Path]) -> None:
    (trained / "notes.txt").write_text("private", encoding="utf-8")
    (base / "weights.bin").write_bytes(b"pickled")
    try:
        report = report_of(trained, colours, tmp_path / "report")
        prepared = hub.prepare(trained, NAME, tmp_path / "out", reports=[report])
    finally:
        (trained / "notes.txt").unlink()
        (base / "weights.bin").unlink()
    names = [name for name, _ in prepared.files]
    assert {"README.md", "model.json", "heads.safetensors", "adapter/adapter_model.safetensors"} <= set(names)
    assert not [name for name in names if name.endswith((".bin", "notes.txt"))]
    for path in prepared.folder.rglob("*"):
        if path.suffix in (".md", ".json"):
            text = path.read_text(encoding="utf-8")
            assert "/home/" not in text, path
            assert str(base) not in text, path


def test_a_pulled_model_can_be_pushed_again(trained: Path, cache: Path, remote: Hub, tmp_path: Path) -> None:
    first = hub.prepare(trained, NAME, tmp_path / "out")
    put(cache, NAME, first.folder)
    again = hub.prepare(NAME, "other/copy", tmp_path / "again")
    strip = [file for file in first.files if file[0] != "README.md"]
    assert [file for file in again.files if file[0] != "README.md"] == strip
    assert load_file(again.folder / "heads.safetensors").keys() == load_file(trained / "heads.safetensors").keys()


@pytest.mark.parametrize("name", ["colours", "a/b/c", "some one/colours", "/home/someone", ""])
def test_a_name_that_the_hub_would_refuse(trained: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="OWNER/NAME"):
        hub.prepare(trained, name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match="not empty"):
        hub.prepare(trained, NAME, tmp_path)


@pytest.mark.parametrize("file", [PEOPLE_FILE, KEYS_FILE, f"{PEOPLE_FILE}-journal"])
def test_a_folder_that_holds_people_is_refused(trained: Path, remote: Hub, tmp_path: Path, file: str) -> None:
    source = shutil.copytree(trained, tmp_path / "model")
    prepared = hub.prepare(source, NAME, tmp_path / "prepared", base="owner/base")
    (source / "adapter" / file).write_bytes(b"faces")
    with pytest.raises(UsageError, match="names and faces of people never leave this machine"):
        hub.prepare(source, NAME, tmp_path / "other", base="owner/base")
    assert not (tmp_path / "other").exists()
    (prepared.folder / file).write_bytes(b"faces")
    with pytest.raises(UsageError, match="names and faces of people never leave this machine"):
        hub.push(prepared)
    assert remote.created == {}


def test_a_refusal_of_the_hub_is_one_line(trained: Path, remote: Hub, tmp_path: Path, monkeypatch: Any) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise RuntimeError("401 Client Error\n\nInvalid credentials")

    monkeypatch.setattr(remote, "create_repo", refuse)
    with pytest.raises(MmiTvrError, match="hf auth login") as caught:
        hub.push(hub.prepare(trained, NAME, tmp_path / "out"))
    assert "\n" not in str(caught.value)


# The card


def test_the_card_says_what_was_measured(trained: Path, tmp_path: Path, colours: list[Path]) -> None:
    report = report_of(trained, colours, tmp_path / "report")
    document = json.loads((report / "report.json").read_text(encoding="utf-8"))
    prepared = hub.prepare(trained, NAME, tmp_path / "out", reports=[report], license="mit", note="Knows two colours.")
    card = ModelCard.load(prepared.folder / "README.md")
    assert (card.data.library_name, card.data.license) == ("mmi-tvr", "mit")
    assert "text-video-retrieval" in card.data.tags
    results = {(each.task_type, each.metric_type): each for each in card.data.eval_results}
    first = results["text-to-video-retrieval", "recall_at_1"]
    assert (first.metric_value, first.dataset_name) == (document["t2v"]["R@1"], "films")
    assert first.dataset_args == {"captions": 2, "videos": 2}
    low, high = document["v2t"]["ci95"]["R@1"]
    assert f"| {document['v2t']['R@1']:.1f} [{low:.1f}, {high:.1f}] |" in card.text
    for word in ("Knows two colours.", "step 7", "321.5 of 600", "seed: 3", "name: folder", "count: 2", "torch 2.13.0"):
        assert word in card.text, word
    assert "No licence was stated" not in card.text


def test_a_card_without_measurements_says_so(trained: Path, tmp_path: Path) -> None:
    card = hub.prepare(trained, NAME, tmp_path / "out").card
    assert "No evaluation was published" in card
    assert "No licence was stated" in card
    assert ModelCard(card).data.eval_results is None


def test_the_card_of_a_model_of_features_promises_no_base() -> None:
    text = card.render(NAME, {"name": "mcsan", "options": {"vision": "precomputed"}, "origin": {}})
    assert "no base: it reads vectors of frames that a data set brings along" in text
    assert "`precomputed/`" not in text


def test_numbers_of_another_model_are_refused(trained: Path, base: Path, tmp_path: Path, colours: list[Path]) -> None:
    report = report_of(trained, colours, tmp_path / "report")
    other = shutil.copytree(trained, tmp_path / "other")
    heads = bytearray((other / "heads.safetensors").read_bytes())
    heads[-1] ^= 1
    (other / "heads.safetensors").write_bytes(heads)
    with pytest.raises(UsageError, match="another model"):
        hub.prepare(other, NAME, tmp_path / "out", reports=[report])
    with pytest.raises(UsageError, match="not a saved evaluation"):
        hub.prepare(trained, NAME, tmp_path / "out", reports=[other / "model.json"])


# The commands


def run(*words: str) -> Any:
    import typer

    app = typer.Typer()
    commands.register(app)
    app.command()(lambda: None)  # with a single command typer would leave the group out
    return CliRunner().invoke(app, ["hub", *words], catch_exceptions=False)


def test_push_dry_run_sends_nothing(trained: Path, remote: Hub, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("push", str(trained), NAME, "--dry-run", "--output", str(out))
    assert done.exit_code == 0
    assert remote.created == {}
    assert (out / "README.md").read_text(encoding="utf-8") in done.stdout
    assert "base/model.safetensors" in done.output


def test_push_takes_an_edited_card(trained: Path, remote: Hub, tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.write_text(run("card", str(trained), NAME).stdout + "\nSigned by hand.\n", encoding="utf-8")
    done = run("push", str(trained), NAME, "--card", str(card), "--private")
    assert done.stdout.strip().endswith(f"https://hub/{NAME}")
    assert "Signed by hand." in (remote.store / NAME / "README.md").read_text(encoding="utf-8")
    assert remote.created[NAME]["private"] is True


def test_pull_says_what_to_write_after_model(trained: Path, remote: Hub, tmp_path: Path) -> None:
    hub.push(hub.prepare(trained, NAME, tmp_path / "out"))
    done = run("pull", NAME)
    assert remote.fetched == [NAME]
    spelled = done.stdout.strip().removeprefix("--model ")
    assert models.section(spelled) == Section(name="mmi", weights=NAME)


# The encoder


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(FakeModel(scoring=Scoring(moment_weight=0.5)), plugins.build("keyimages", "uniform", {"count": 2}))


def test_rows_are_unit_vectors_that_find_their_videos(encoder: Encoder, colours: list[Path]) -> None:
    queries = encoder.encode_query(["red", "blue", "red and blue"])
    videos = encoder.encode_video([*colours, Video(colours[0], 0.0, 0.5)])
    for rows in (queries, videos):
        assert (rows.dtype, rows.shape) == (np.float32, (3, 4))
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    similarities = encoder.similarity(queries, videos)
    assert similarities.shape == (3, 3)
    assert similarities[0].argmax() in (0, 2)
    assert similarities[1].argmax() == 1
    np.testing.assert_array_equal(encoder.encode_query("red"), queries[0])
    assert encoder.encode_query([]).shape[0] == encoder.encode_video([]).shape[0] == 0
    assert encoder.encode_video([]).shape[1] == 4


def test_similarity_of_embeddings_is_the_score_of_a_search(encoder: Encoder, tmp_path: Path) -> None:
    """Half of the score is that of the best key image, which shows one of the two colours alone."""
    both = encoder.embed([colour_video(tmp_path / "both.mp4", "red", "blue")])
    queries = encoder.encode_query(["red"])
    vectors = both[0]
    assert not isinstance(vectors, MediaError)
    best = (vectors.moments @ queries[0]).max()
    expected = 0.5 * (vectors.video @ queries[0]) + 0.5 * best
    assert encoder.similarity(queries, both)[0, 0] == pytest.approx(expected, abs=1e-6)
    assert best > vectors.video @ queries[0] + 0.1


def test_unreadable_videos_raise_or_give_none(encoder: Encoder, colours: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    videos = [colours[0], broken, colours[1], tmp_path / "gone.mp4"]
    with pytest.raises(MediaError, match=r"broken\.mp4"):
        encoder.encode_video(videos)
    rows = encoder.encode_video(videos, unreadable="none")
    assert [each is None for each in rows] == [False, True, False, True]
    np.testing.assert_array_equal(np.stack([rows[0], rows[2]]), encoder.encode_video(colours))
    with pytest.raises(MediaError):
        encoder.similarity(encoder.encode_query(["red"]), encoder.embed(videos))
    with pytest.raises(UsageError, match="unreadable"):
        encoder.encode_video(videos, unreadable="zeros")  # type: ignore[call-overload]


def test_a_bar_is_drawn_where_it_is_asked_for(encoder: Encoder, colours: list[Path], capsys: Any) -> None:
    encoder.encode_video(colours)
    assert capsys.readouterr().err == ""
    encoder.encode_video(colours, progress=True)
    assert "2/2" in capsys.readouterr().err


def test_a_cache_spares_the_vision_tower(colours: list[Path], tmp_path: Path) -> None:
    model = FakeModel()
    encoder = Encoder(model, plugins.build("keyimages", "uniform", {"count": 2}), tmp_path / "features")
    first = encoder.encode_video(colours)
    seen = model.images_encoded
    np.testing.assert_array_equal(encoder.encode_video(colours), first)
    assert model.images_encoded == seen > 0


def test_the_package_names_it_without_loading_anything() -> None:
    assert mmi_tvr.Encoder is Encoder
    with pytest.raises(UsageError, match="a list"):
        Encoder(FakeModel(), plugins.build("keyimages", "uniform", {})).encode_video("a.mp4")
    with pytest.raises(UsageError, match="empty"):
        Encoder(FakeModel(), plugins.build("keyimages", "uniform", {})).encode_query([" "])
    with pytest.raises(UsageError, match="nothing was trained"):
        Encoder(FakeModel(), plugins.build("keyimages", "uniform", {})).push_to_hub(NAME)


def test_push_to_hub_of_an_encoder(trained: Path, remote: Hub) -> None:
    encoder = Encoder.from_pretrained(trained, device="cpu")
    assert encoder.push_to_hub(NAME, license="mit") == f"https://hub/{NAME}"
    assert (remote.store / NAME / "heads.safetensors").read_bytes() == (trained / "heads.safetensors").read_bytes()
