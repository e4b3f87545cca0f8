"""The layout of HGR and HANet: read as published, broken folders said in one line, MCSAN trained on its features."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hgr_files as files
import numpy as np
import pytest
import torch
from fakes import FakeModel, colour_video
from hgr_files import h5py
from safetensors.torch import load_file
from test_benchmarks_cli import call

from mmi_tvr import models, plugins
from mmi_tvr.batch import extract as extraction
from mmi_tvr.batch.worker import Worker
from mmi_tvr.cli.training import _data_words
from mmi_tvr.config import Section
from mmi_tvr.errors import MediaError, UsageError
from mmi_tvr.features.embed import embed_all
from mmi_tvr.features.extract import reads_pictures
from mmi_tvr.features.precomputed import features_of
from mmi_tvr.lexicon.words import hgr as hgr_vectors
from mmi_tvr.library import Library
from mmi_tvr.library.turns import TurnTakingModel
from mmi_tvr.models.mcsan import captions
from mmi_tvr.models.mcsan.model import Mcsan
from mmi_tvr.models.mcsan.network import McsanNetwork, TowerWidths
from mmi_tvr.models.mcsan.options import Options
from mmi_tvr.protocols import DatasetWithFeatures, DatasetWithRoleGraphs, LabelledDataset
from mmi_tvr.train.run import run
from mmi_tvr.train.settings import load
from mmi_tvr.types import Labels, Query

CONFIGS = Path(__file__).parents[1] / "configs"
READ = {"vision": "precomputed", "precomputed": {"width": files.WIDTH, "frames": 5}}
SMALL = {**READ, "width": 8, "heads": 2, "word_width": 6, "labels": "exact"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files.make(tmp_path_factory.mktemp("hgr") / "MSRVTT")


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(published, tmp_path / "MSRVTT"))


def dataset(root: Path, **options: Any) -> Any:
    return plugins.build("datasets", "hgr", {"root": root, "split": "train", "frames": 5, **options})


def test_a_split_is_read_as_it_was_published(published: Path) -> None:
    data = dataset(published)
    samples = data.samples()
    assert [sample.id for sample in samples] == files.names("train")
    assert samples[4].captions == ("a cat runs", "the cat runs in video 4")
    assert isinstance(data, DatasetWithFeatures)
    assert data.vision == "resnet152.pth, 12 numbers a frame, at most 5 frames"
    for number in (0, 3, 5):  # 3 and 30 frames, and a name with a slash
        rows = files.frames(number)
        features = data.features(number)
        picked = np.round(np.linspace(0, len(rows) - 1, min(5, len(rows)))).astype(int)
        np.testing.assert_array_equal(features.arrays["image"], rows[picked])
        starts, ends, times = features.segments.T
        assert starts[0] == 0
        assert ends[-1] == len(rows)
        np.testing.assert_allclose(starts[1:], ends[:-1])
        assert ((starts <= times) & (times <= ends)).all()
    assert len({sample.video for sample in samples}) == len(samples)
    assert isinstance(data, DatasetWithRoleGraphs)
    assert data.role_graphs == published / "annotation" / "RET" / "sent2rolegraph.augment.json"
    assert dataset(published, graphs=False).role_graphs is None


def test_labels_of_hanet_are_those_of_the_training_captions(folder: Path) -> None:
    data = dataset(folder)
    assert isinstance(data, LabelledDataset)
    assert data.video_labels(5) == Labels(("bird",), ("sleep",))
    assert data.caption_labels(5) == [Labels(("bird",), ("sleep",))] * 2
    assert not isinstance(dataset(folder, split="val"), LabelledDataset)
    # An empty caption is left out, and the labels of the others stay with them.
    captions_file = folder / "annotation" / "RET" / "ref_captions.json"
    files.rewrite(captions_file, lambda texts: {**texts, "video0": ["  ", texts["video0"][1]]})
    files.rewrite(folder / "annotation" / "noun_gt.json", lambda labels: {**labels, "video0": [[1], [2, 2]]})
    for name in ("noun_words_freq.json", "verb_words_freq.json", "verb_gt_all.json"):
        (folder / "annotation" / name).unlink()
    data = dataset(folder)
    assert data.samples()[0].captions == ("the dog runs in video 0",)
    assert data.caption_labels(0) == [Labels(("noun 2",), ("verb 0",))]
    assert data.video_labels(0) == Labels(("noun 0",), ("verb 0",))
    assert data.remarks == ("without 1 empty caption",)


def test_several_kinds_stand_one_behind_the_other(tmp_path: Path) -> None:
    root = files.make(tmp_path / "TGIF", labels=False, kinds=("a", "b"))
    with pytest.raises(UsageError, match=r"which features\? Set `features` \(there are: a, b\)"):
        dataset(root)
    with pytest.raises(UsageError, match="no features c; there are: a, b"):
        dataset(root, features=("c",))
    data = dataset(root, features=("b", "a"))
    assert data.vision == "b + a, 24 numbers a frame, at most 5 frames"
    image = data.features(0).arrays["image"]
    np.testing.assert_array_equal(image[:, :12], image[:, 12:])
    files.change(root, "train", "video0", files.frames(1), kind="a")
    with pytest.raises(MediaError, match="different numbers of frames: 3 in b, 12 in a"):
        dataset(root, features=("b", "a")).features(0)
    (root / "ordered_feature").rename(root / "VATEX_ordered_feature")  # as HANet has it
    assert len(dataset(root, features=("a",)).samples()) == 12


def names_file(root: Path) -> Path:
    return root / "public_split" / "trn_names.npy"


def features_file(root: Path) -> Path:
    return root / "ordered_feature" / "SA" / files.KIND / "trn_ft.hdf5"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BROKEN: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: shutil.rmtree(root / "public_split"), r"trn_names\.npy: no such file$"),
    (lambda root: np.save(names_file(root), np.array(["a", None], object)), "pickled Python objects, .* may run code"),
    (lambda root: np.save(names_file(root), np.arange(3)), "a row of texts is expected"),
    (lambda root: np.save(names_file(root), np.array([["video1"]])), "a row of texts is expected"),
    (lambda root: np.save(names_file(root), np.array([], "U3")), "names no video"),
    (lambda root: np.save(names_file(root), np.array(["video1", "video1"])), "names video1 twice"),
    (lambda root: cut(names_file(root)), r"no \.npy file of texts, or a damaged one"),
    (lambda root: names_file(root).write_bytes(b""), r"no \.npy file of texts, or a damaged one"),
    (lambda root: names_file(root).write_bytes(b"PK\x03\x04"), r"no \.npy file of texts, or a damaged one"),
    (lambda root: np.save(names_file(root), np.array(["video1", "other"])), "without captions of 1 video .*: other"),
    (lambda root: (root / "annotation/RET/ref_captions.json").write_text("{"), "no JSON"),
    (lambda root: (root / "annotation/RET/ref_captions.json").write_text("[]"), "an object with an entry for each"),
    (
        lambda root: files.rewrite(root / "annotation/RET/ref_captions.json", lambda texts: {**texts, "video1": "a"}),
        "video1: a list of captions is expected, not a",
    ),
    (lambda root: shutil.rmtree(root / "ordered_feature"), "has no ordered_feature/SA"),
    (lambda root: features_file(root).unlink(), r"trn_ft\.hdf5: no such file$"),
    (lambda root: cut(features_file(root)), "no HDF5 file, or only a part of one: copy it once more"),
    (lambda root: features_file(root).write_text("x"), "no HDF5 file, or only a part of one"),
    (
        lambda root: [files.change(root, "train", name, None) for name in files.names("train")[:2]],
        "2 of 12 videos missing",
    ),
    (
        lambda root: files.rewrite(root / "annotation/verb_gt.json", lambda labels: {**labels, "video1": [["x"]]}),
        r"verb_gt\.json: video1: numbers of labels for each caption",
    ),
    (
        lambda root: files.rewrite(root / "annotation/noun_gt.json", lambda labels: {"video1": labels["video1"]}),
        r"noun_gt\.json: without labels of video0 and 10 other videos",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), BROKEN)
def test_a_broken_folder_is_one_line(damage: Callable[[Path], object], message: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(UsageError, match=message) as caught:
        dataset(folder)
    assert "\n" not in str(caught.value)


def with_nan() -> Any:
    rows = files.frames(3)
    rows[:2, 4] = np.nan
    return rows


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (with_nan(), "1 frame of 5 with numbers that are not finite"),
        (files.frames(3, width=11), "its frames have 11 numbers, and those of the others 12"),
        (np.zeros((0, 12), np.float32), r"frames of numbers are expected, \(frames, width\), not float32 \(0, 12\)"),
        (np.zeros(12, np.float32), "frames of numbers are expected"),
        (np.array([[b"a"] * 12]), "frames of numbers are expected"),
    ],
)
def test_a_broken_video_is_left_out_with_its_reason(rows: Any, reason: str, folder: Path) -> None:
    files.change(folder, "train", "video3", rows)
    data = dataset(folder)
    with pytest.raises(MediaError, match=reason):
        data.features(3)
    assert len(data.features(4).segments) == 3
    shown = call("data", "check", "hgr", "--root", folder)
    assert "unreadable, " in shown
    assert "video3" in shown


def test_what_lies_in_other_files_is_not_read(folder: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "elsewhere.hdf5", "w") as other:
        other["secret"] = files.frames(3)
    with h5py.File(features_file(folder), "a") as file:
        del file["video3"], file["video4"]
        file["video3"] = h5py.ExternalLink(tmp_path / "elsewhere.hdf5", "secret")
        layout = h5py.VirtualLayout((3, 12), "f4")
        layout[:] = h5py.VirtualSource(tmp_path / "elsewhere.hdf5", "secret", (3, 12))
        file.create_virtual_dataset("video4", layout)
    data = dataset(folder)
    for number in (3, 4):
        with pytest.raises(MediaError, match="an array in this very file is expected"):
            data.features(number)


def test_data_check_counts_what_is_there(folder: Path) -> None:
    files.change(folder, "test", "video24", None)
    names_file(folder).rename(folder / "public_split" / "trn.npy")
    result = json.loads(call("data", "check", "hgr", "--root", folder, "--json"))
    by_split = {split["split"]: split for split in result["splits"]}
    assert result["probed"] == 11
    assert by_split["test"]["missing"] == ["video24"]
    assert by_split["test"]["videos"] == 6
    assert "trn_names.npy: no such file" in by_split["train"]["error"]
    shown = call("data", "check", "hgr", "--root", folder, "--no-probe")
    assert "HGR: 11 arrays" in shown
    with pytest.raises(UsageError, match="unknown option 'annotations'"):
        call("data", "check", "hgr", "--root", folder, "--annotations", folder)


def test_models_and_data_sets_that_do_not_fit_say_so(published: Path, tmp_path: Path) -> None:
    data, model = dataset(published), Mcsan(Options(**SMALL))
    assert features_of(data, "hgr", model) is data
    other = Mcsan(Options(**{**SMALL, "precomputed": {"width": 2048, "frames": 5}}))
    with pytest.raises(
        UsageError, match=r"features of hgr are resnet152\.pth, 12 .* reads resnet152\.pth, 2048 .* agree"
    ):
        features_of(data, "hgr", other)
    with pytest.raises(UsageError, match=r"hgr brings features along .* looks at pictures: take a model that reads"):
        features_of(data, "hgr", FakeModel())
    videos = plugins.build("datasets", "moving_shapes", {"count": 2})
    assert features_of(videos, "moving_shapes", FakeModel()) is None
    with pytest.raises(UsageError, match=r"mcsan reads resnet152\.pth, .* and moving_shapes has videos alone"):
        features_of(videos, "moving_shapes", model)
    method = plugins.build("keyimages", "uniform", {})
    with pytest.raises(UsageError, match="which nothing here makes of a video file"):
        embed_all([videos.samples()[0].video], model, method)
    assert list(models.checkpoints(Section(name="mcsan", vision="precomputed"))) == []


def test_role_graphs_of_the_folder_are_read_without_a_parser(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "SpacyParser", None)  # whoever wants it fails
    data, model = dataset(published), Mcsan(Options(**SMALL), "cpu")
    model.use_role_graphs(data.role_graphs)
    texts = [text for sample in data.samples() for text in sample.captions]
    model.prepare(texts, [labels for number in range(12) for labels in data.caption_labels(number)])
    masks = model._texts(["the cat runs in video 4"])["graph"]["masks"][0]
    assert masks[0].nonzero().flatten().tolist() == [2]  # the verb
    assert masks[4].nonzero().flatten().tolist() == [0, 1]  # who does it
    with pytest.raises(TypeError):  # a sentence that is not in the file is the parser's
        model.embed_queries([Query("a cat flies")])


def test_word_vectors_of_hgr_are_tensors_and_nothing_else(published: Path, tmp_path: Path) -> None:
    listed = published / "annotation" / "RET" / "int2word.npy"
    words = np.load(listed).tolist()
    matrix = torch.randn(len(words), 6)
    path = tmp_path / "word_embeds.glove32b.th"
    torch.save({"text_encoder": {"embedding.we.weight": matrix}}, path)
    vectors = hgr_vectors(path, listed, ["dog", "zebra"])
    np.testing.assert_array_equal(vectors.rows[0], matrix[words.index("dog")].numpy())
    assert vectors.known.tolist() == [True, False]
    model = Mcsan(Options(**{**SMALL, "word_vectors": str(path), "word_list": listed, "graph": "attention"}), "cpu")
    model.prepare(["a dog runs"], [Labels(("dog",), ("run",))])
    row = model.lexicon.words.index("dog") + 2
    np.testing.assert_array_equal(model.network.text_levels.words.weight[row].detach(), matrix[words.index("dog")])
    with pytest.raises(UsageError, match="word_list: name the words"):
        plugins.options("models", "mcsan", {**SMALL, "word_vectors": str(path)})
    with pytest.raises(UsageError, match="has none of the 1 words"):
        hgr_vectors(path, listed, ["zebra"])
    for content, message in (
        ({"we": matrix[1:]}, r"one matrix with a row for each of the 1\d words is expected, not"),
        ({"we": matrix, "other": matrix}, "one matrix with a row"),
        ({"we": matrix * np.inf}, "numbers are finite"),
        ({"we": matrix.to_sparse()}, "one matrix with a row .*, not none"),
        ({"we": Path("a")}, "Python objects in it are not loaded"),
    ):
        torch.save(content, path)
        with pytest.raises(UsageError, match=message):
            hgr_vectors(path, listed, ["dog"])
    path.write_bytes(b"no file of torch")
    with pytest.raises(UsageError, match="no file of plain tensors, or a damaged one"):
        hgr_vectors(path, listed, ["dog"])
    torch.save({"we": torch.nn.Parameter(matrix)}, path, _use_new_zipfile_serialization=False)  # as HGR's torch did
    assert hgr_vectors(path, listed, ["dog"]).known.all()
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(UsageError, match="no file of plain tensors, or a damaged one"):
            hgr_vectors(path, listed, ["dog"])
    with pytest.raises(UsageError, match="cannot be read"):
        hgr_vectors(tmp_path / "nothing.th", listed, ["dog"])


def settings(root: Path) -> Any:
    stages = "[{name: levels, steps: 6, weights: {ranking: 1.0, attributes: 0.1, distribution: 0.001}}]"
    return load(
        CONFIGS / "mcsan-msrvtt.yaml",
        [f"data.train.root={root}", f"data.validation.root={root}", "data.train.frames=5", "data.validation.frames=5",
         "model.precomputed.width=12", "model.precomputed.frames=5", "model.width=16", "model.word_width=8",
         "model.labels=exact", "data.batch=12", "data.unreadable=0.1", f"train.stages={stages}",
         "train.learning_rates.heads=0.01", "train.validate_every=3", "train.save_every=3", "train.keep=2"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on twelve videos, one of which cannot be used."""
    root = Path(shutil.copytree(published, tmp_path_factory.mktemp("trained") / "MSRVTT"))
    files.change(root, "train", "video3", with_nan())
    assert run(settings(root), root.parent / "run", cache=root.parent / "cache", cpu=True).finished
    return root.parent


def test_a_run_on_features_is_resumed_bit_for_bit(trained: Path, tmp_path: Path) -> None:
    resumed = Path(shutil.copytree(trained / "run", tmp_path / "resumed"))
    shutil.rmtree(resumed / "model")
    shutil.rmtree(resumed / "checkpoints" / "step-00000006")
    assert run(settings(trained / "MSRVTT"), resumed, cache=tmp_path, cpu=True, resume=True).finished
    state, again = (load_file(path / "model" / "mcsan.safetensors") for path in (trained / "run", resumed))
    assert all(torch.equal(state[name], again[name]) for name in state)


def test_terms_that_look_at_videos_are_refused(published: Path, tmp_path: Path) -> None:
    options = settings(published)
    stage = options.train.stages[0].model_copy(update={"weights": {"skeleton": 1.0}})
    options = options.model_copy(update={"train": options.train.model_copy(update={"stages": (stage,)})})
    with pytest.raises(UsageError, match="the term `skeleton` looks at videos, and hgr brings features alone"):
        run(options, tmp_path / "run", cache=tmp_path, cpu=True)


def test_what_was_trained_is_evaluated_on_features(trained: Path) -> None:
    model, root = trained / "run" / "model", trained / "MSRVTT"
    words = ("evaluate", "hgr", "--root", root, "--option", "frames=5", "--checkpoint", model)
    result = json.loads(call(*words, "--merge-captions", "--json"))
    assert (result["n"], result["videos"]) == (12, 6)
    assert set(result["levels"]) == {"global", "entity", "action", "relation"}
    assert result["merged_captions"]["n"] == 12
    assert result["config"]["features"] == "resnet152.pth, 12 numbers a frame, at most 5 frames"
    call(*words, "--output", model.parent / "report")
    assert "mcsan:" in (row := call("table", model.parent / "report"))
    assert ", resnet152.pth, 12 numbers a frame, at most 5 frames" in row
    assert "disparity" not in row
    with pytest.raises(UsageError, match="hgr brings features and no videos: leave out --rerank"):
        call(*words, "--rerank")
    with pytest.raises(UsageError, match=r"reads resnet152\.pth, 12 .* agree"):
        call(*words[:4], "--checkpoint", model)


def test_a_library_of_video_files_is_not_made_with_it(trained: Path, tmp_path: Path) -> None:
    colour_video(tmp_path / "videos" / "red.mp4", "red", seconds=1.0)
    section = models.trained_section(str(trained / "run" / "model"))
    with (
        Library(tmp_path / "library", model=section) as library,
        pytest.raises(UsageError, match="which nothing here makes of a video file"),
    ):
        library.index([tmp_path / "videos"])
    proxy = TurnTakingModel(models.make(section, "cpu"), contextlib.nullcontext())
    assert not reads_pictures(proxy)
    assert reads_pictures(TurnTakingModel(FakeModel(), contextlib.nullcontext()))


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"name": "moving_shapes", "split": "train", "count": 4}, ["moving_shapes"]),
        ({"name": "folder", "root": "my videos"}, ["my videos"]),
        (
            {"name": "msrvtt", "root": "a", "annotations": "b", "split": "train", "protocol": "7k", "hold_out": True},
            ["msrvtt", "--root", "a", "--annotations", "b", "--option", "protocol=7k"],
        ),
        ({"name": "hgr", "root": "a", "frames": 30}, ["hgr", "--root", "a", "--option", "frames=30"]),
    ],
)
def test_a_finished_training_says_how_to_evaluate(section: dict[str, Any], words: list[str]) -> None:
    assert _data_words(Section(**section)) == words


def test_a_batch_takes_the_features(trained: Path, tmp_path: Path) -> None:
    model, root = trained / "run" / "model", trained / "MSRVTT"
    section = Section(name="hgr", root=str(root), split="train", frames=5)
    folder = extraction.create(
        tmp_path / "vectors", None, dataset=section, model=models.trained_section(str(model)), shard_size=8
    )
    Worker(folder, extraction.ExtractTask(folder, "cpu")).run()
    lines = [json.loads(line) for path in sorted((tmp_path / "vectors" / "done").glob("*.jsonl"))
             for line in path.read_text().splitlines()]  # fmt: skip
    assert [line["id"] for line in lines if "reason" in line] == ["video3"]
    shard = load_file(sorted((tmp_path / "vectors" / "embeddings").glob("*.safetensors"))[0])
    data = plugins.build("datasets", "hgr", section.options)
    expected = models.make(models.trained_section(str(model)), "cpu").embed_videos([data.features(0)])[0]
    np.testing.assert_allclose(shard["videos"][0].numpy(), expected.video, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "words", "parameters"), [("msrvtt", 10_510, 88_618_308), ("vatex", 10_424, 63_422_588)]
)
def test_published_settings_are_built_without_memory(name: str, words: int, parameters: int) -> None:
    """On the meta device, with HANet's words; a million of the numbers is in the settings file's note on memory."""
    path = CONFIGS / f"mcsan-{name}.yaml"
    options = Options(**load(path).model.options)
    sizes = options.vocabulary.model_dump()
    with torch.device("meta"):
        network = McsanNetwork(
            options, TowerWidths(options.precomputed.width, 384, 0, False), torch.empty(words - 1, 300), sizes
        )
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == parameters
    assert f"{count / 1e6:.1f} million numbers" in path.read_text(encoding="utf-8")
