"""The frame that every room stands on: plugins, settings, devices, fingerprints, relevance, imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import mmi_tvr
from mmi_tvr import config, plugins
from mmi_tvr.errors import ConfigError, MmiTvrError, UsageError
from mmi_tvr.index import open_index
from mmi_tvr.scoring import relevance
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.search import calibration_of
from mmi_tvr.types import Query, Scoring, moment_of, row_ids, video_of
from mmi_tvr.utils import device, hashing, tables

ROOT = Path(__file__).parent.parent
ROOMS = ("keyimages", "models", "index", "datasets")


@pytest.mark.parametrize("room", ROOMS)
def test_every_file_of_a_room_is_an_implementation_with_options(room: str) -> None:
    assert plugins.names(room)
    for name in plugins.names(room):
        module = plugins.load(room, name)
        assert issubclass(module.Options, plugins.BaseOptions)
        assert callable(module.build)
        for field, info in module.Options.model_fields.items():
            assert info.description, f"{room}.{name}.{field} needs its help text"


def test_unknown_names_and_options_say_what_there_is() -> None:
    with pytest.raises(UsageError, match="disparity, scenes, uniform"):
        plugins.build("keyimages", "best")
    with pytest.raises(UsageError, match=r"unknown option 'cuont'.*count"):
        plugins.options("keyimages", "disparity", {"cuont": 3})
    with pytest.raises(UsageError, match=r"checkpoint is missing, and has no default"):
        plugins.options("models", "clip4clip")
    with pytest.raises(UsageError, match="fps") as caught:
        plugins.options("keyimages", "disparity", {"fps": -1, "count": "many"})
    assert "count" in str(caught.value), "all problems stand in one message"


def test_settings_files_and_overrides(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("keyimages: {name: uniform, count: 5}\nmodel:\n  name: label_bridge\n")
    settings = config.load(file, ["keyimages.fps=4", "device=cpu", "model.classes=10"])
    assert settings.keyimages.options == {"count": 5, "fps": 4}
    assert settings.model.options == {"classes": 10}
    assert settings.device == "cpu"
    assert config.load(None, ["keyimages.count=3"]).keyimages.name == "disparity"


def test_the_shipped_default_is_the_default() -> None:
    shipped = config.load(ROOT / "configs" / "default.yaml")
    assert plugins.options("keyimages", shipped.keyimages.name, shipped.keyimages.options) == plugins.options(
        "keyimages", "disparity"
    )
    assert (shipped.model, shipped.index, shipped.device) == (
        config.Settings().model,
        config.Settings().index,
        config.Settings().device,
    )


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "configs").glob("*.yaml")))
def test_every_shipped_config_is_valid(name: str) -> None:
    assert config.load(name).model.name in {"auto", *plugins.names("models")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keyimages: [1", "not readable as YAML"),
        ("- a\n- b", "a mapping, not list"),
        ("keyimage: {name: uniform}", "unknown option 'keyimage'"),
        ("model: {name: auto, clases: 3}", "model: unknown option 'clases'.*classes"),
        ("index: {name: auto, bits: 7}", "faiss.*bits"),
        ("index: {name: auto, bits: 1}", "faiss.*bits.*an index that takes this: index.name=flat"),
        ("keyimages: {name: disparity, threshold: 3}", "keyimages.disparity: unknown option 'threshold'"),
        ("keyimages: {cout: 3}", "keyimages.disparity: unknown option 'cout'"),
        ("keyimages: {name: best}\nindex: {name: worst}", "best.*worst"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=says) as caught:
        config.load(file)
    assert "\n" not in str(caught.value)


def test_options_without_a_name_may_be_of_whatever_is_chosen_elsewhere() -> None:
    settings = config.load(None, ["index.bits=1", "keyimages.threshold=3"])
    assert (settings.index.options, settings.keyimages.options) == ({"bits": 1}, {"threshold": 3})
    for section in (settings.index, settings.keyimages):
        room = "index" if section is settings.index else "keyimages"
        with pytest.raises(UsageError, match="index.name=flat" if room == "index" else "unknown option 'threshold'"):
            config.check_section(room, section)


def test_the_index_auto_takes_the_options_of_its_graph() -> None:
    assert config.load(None, ["index.bits=8"]).index == config.Section(name="auto", bits=8)


@pytest.mark.parametrize("override", ["count", "=3", "a..b=1", "device.x=1", "keyimages.count=[1"])
def test_wrong_overrides_are_usage_errors(tmp_path: Path, override: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("device: cpu\n")
    with pytest.raises(UsageError):
        config.load(file, [override])


def test_config_errors_keep_their_problems() -> None:
    error = ConfigError("x.yaml", ["one", "two"])
    assert error.problems == ("one", "two")
    assert str(error) == "x.yaml: one; two"


def test_devices() -> None:
    assert device.available()[-1] == "cpu"
    assert device.resolve("cpu").type == "cpu"
    assert device.resolve("auto").type == device.available()[0]
    with pytest.raises(UsageError, match="unknown"):
        device.resolve("quantum")
    with pytest.raises(UsageError, match=r"there is: .*cpu"):
        device.resolve("xpu")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_digest_depends_on_the_value_alone(value: object) -> None:
    assert hashing.digest(value) == hashing.digest(value)
    assert hashing.digest(value) != hashing.digest(value, None)


def test_digest_refuses_what_it_cannot_tell_apart() -> None:
    with pytest.raises(TypeError):
        hashing.digest(object())


@given(st.integers(0, 2**50), st.integers(0, 500))
def test_ids_carry_video_and_key_image(video: int, moments: int) -> None:
    ids = row_ids(video, moments)
    assert set(video_of(ids)) == {video}
    np.testing.assert_array_equal(moment_of(ids), np.arange(-1, moments))


class Echo:
    """A model whose background queries are seeded random directions."""

    name = "echo"
    reads = frozenset({"text"})
    scoring = Scoring()

    def embed_queries(self, queries: list[Query]) -> np.ndarray:
        return _unit(np.random.default_rng(0).normal(size=(len(queries), 16)))

    def fingerprint(self) -> str:
        return "echo"


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _gallery(count: int, seed: int = 1) -> Gallery:
    rows = _unit(np.random.default_rng(seed).normal(size=(count, 16)))
    return Gallery(rows, rows, np.arange(count + 1))


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path))
    return tmp_path


def test_relevance_is_the_share_of_unrelated_queries_that_do_worse(cache_folder: Path) -> None:
    gallery = _gallery(300)
    law = relevance.calibrate(Echo(), gallery, 300)
    fresh = _unit(np.random.default_rng(7).normal(size=(2000, 16)))
    best = (fresh @ gallery.videos.T).max(axis=1)
    for share in (0.25, 0.5, 0.75, 0.95):
        score = np.quantile(best, share)
        assert law.relevance(np.array([score]), np.zeros(4))[0] == pytest.approx(share, abs=0.1)


def test_a_larger_collection_asks_for_a_better_score(cache_folder: Path) -> None:
    """The law fitted on a sample foretells the whole: 300 of 3,000 videos are enough."""
    whole = _gallery(3000)
    sample = Gallery(whole.videos[:300], whole.moments[:300], whole.offsets[:301])
    small, large = (relevance.calibrate(Echo(), sample, size) for size in (300, 3000))
    exact = relevance.calibrate(Echo(), whole, 3000)
    assert large.mu > small.mu
    assert abs(large.mu - exact.mu) < 0.35 * abs(small.mu - exact.mu)


def test_the_law_is_moved_by_the_logarithm_of_collection_over_sample(cache_folder: Path) -> None:
    """mu = mean - gamma beta + beta ln(M / m), beta = sd sqrt(6) / pi (method of moments)."""
    sample = _gallery(50)
    best = (Echo().embed_queries([Query("")] * 256) @ sample.videos.T).max(axis=1).astype(np.float64)
    beta = best.std() * np.sqrt(6) / np.pi
    for size in (50, 100, 5000):
        law = relevance.calibrate(Echo(), sample, size)
        assert law.beta == pytest.approx(beta)
        assert law.mu == pytest.approx(best.mean() - 0.5772156649 * beta + beta * np.log(size / 50))


def test_a_collection_is_calibrated_from_an_even_sample_with_its_whole_size(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Videos of two key images each: the sample holds both ends and what lies evenly between, whole."""
    rows = _unit(np.random.default_rng(3).normal(size=(3 * 9, 16)))
    index = open_index("flat", path=tmp_path / "index", dim=16, fingerprint="f")
    index.add(np.concatenate([row_ids(number, 2) for number in range(1, 10)]), rows)
    monkeypatch.setattr(relevance, "SAMPLE", 3)
    calls = []
    monkeypatch.setattr(relevance, "calibrate", lambda model, sample, size: calls.append((sample, size)))
    calibration_of(Echo(), index)
    index.close()
    [(sample, size)] = calls
    assert size == 9
    chosen = rows.reshape(9, 3, 16)[[0, 4, 8]]
    np.testing.assert_array_equal(sample.videos, chosen[:, 0])
    np.testing.assert_array_equal(sample.moments, chosen[:, 1:].reshape(6, 16))
    assert sample.offsets.tolist() == [0, 2, 4, 6]


@given(arrays.arrays(np.float64, 8, elements=st.floats(-1, 1)))
def test_relevance_keeps_the_order_and_stays_in_its_bounds(scores: np.ndarray) -> None:
    relevances = relevance.GumbelLaw(0.2, 0.05).relevance(scores, np.zeros(4))
    assert ((relevances >= 0) & (relevances <= 1)).all()
    order = np.argsort(scores, kind="stable")
    assert (np.diff(relevances[order]) >= 0).all()


def test_relevance_of_scores_beyond_all_sense_is_that_of_thirty_scales_away() -> None:
    law = relevance.GumbelLaw(0.2, 0.05)
    assert (
        law.relevance(np.array([9e9, -9e9]), np.zeros(4)).tolist()
        == law.relevance(np.array([1.7, -1.3]), np.zeros(4)).tolist()
    )
    assert law.relevance(np.array([9e9]), np.zeros(4))[0] == np.exp(-np.exp(-30.0))


def test_tables_of_text_align_columns_and_keep_least_widths() -> None:
    rows = [["", "n", "name"], ["first", "10", "b"], ["x", "9", "long one"]]
    assert tables.text_table(rows, left=(0, 2)) == ["        n  name", "first  10  b", "x       9  long one"]
    assert tables.text_table(rows[1:], widths=(3, 4, 10)) == ["first    10           b", "x         9    long one"]
    assert tables.markdown_table([["a"], ["bcde"]], padded=True) == ["| a    |", "|------|", "| bcde |"]
    assert tables.interval(-0.04, -1, 1, signed=True) == "-0.0 [-1.0, +1.0]"


def test_public_names_are_there_and_light() -> None:
    for name in mmi_tvr.__all__:
        assert getattr(mmi_tvr, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = mmi_tvr.nothing
    code = "import time; t = time.perf_counter(); import mmi_tvr; print(time.perf_counter() - t)"
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(seconds) < 0.3


def test_errors_are_one_family() -> None:
    from mmi_tvr import errors

    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in classes if issubclass(kind, Exception) and not issubclass(kind, Warning)]
    assert len(kinds) > 5
    assert all(issubclass(kind, MmiTvrError) for kind in kinds)
    drawn = errors.__doc__ or ""
    assert all(kind.__name__ in drawn for kind in kinds)


def test_every_module_imports() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "import_all.py")], capture_output=True, text=True, check=True
    )
    assert "modules import" in done.stdout
