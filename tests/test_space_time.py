"""The space-time tower against plain loops, and against a ViT; towers of pixels behind LaT."""

from __future__ import annotations

import pytest
import torch
from plain_space_time import plain
from torch import Tensor

from mmi_tvr.encoders.options import VideoTowerOptions
from mmi_tvr.encoders.space_time import SpaceTimeTower, fit_positions

SIZES = {"image_size": 12, "patch_size": 4, "width": 8, "layers": 2, "heads": 2, "expansion": 2, "frames": 3}


def tower(**changes: object) -> SpaceTimeTower:
    """A tower whose every parameter says something."""
    torch.manual_seed(0)
    model = SpaceTimeTower(VideoTowerOptions(**{**SIZES, "time_start": "random", **changes})).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def videos(count: int, number: int = 2, size: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (number, count, size, size, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_tower_is_the_plain_forward_pass(count: int) -> None:
    model, batch = tower(), videos(count)
    with torch.no_grad():
        states = model(batch)
        assert states.shape == (2, 1 + count * 9, 8)
        for row in range(2):
            expected = plain(model.state_dict(), batch[row], patch_size=4, layers=2, heads=2)
            torch.testing.assert_close(states[row], expected, atol=2e-6, rtol=2e-6)


def test_time_attention_starts_without_effect_and_learns() -> None:
    """Without positions in time, pictures may change places; [CLS] still mixes them, in its own two attentions."""
    torch.manual_seed(0)
    model = SpaceTimeTower(VideoTowerOptions(**SIZES))
    for block in model.blocks:
        assert not block.timeattn.qkv.weight.any()
        assert (block.timeattn.proj.weight == 1).all()
    batch = videos(3)
    forward, backward = model(batch), model(batch.flip(1))
    torch.testing.assert_close(forward[:, 0], backward[:, 0], atol=1e-5, rtol=1e-4)
    patches = [states[:, 1:].unflatten(1, (3, 9)) for states in (forward, backward)]
    torch.testing.assert_close(patches[0], patches[1].flip(1), atol=1e-5, rtol=1e-4)
    forward[:, 1:].square().mul(torch.rand(27, 8)).sum().backward()
    assert model.blocks[0].timeattn.qkv.weight.grad.abs().max() > 0
    assert model.temporal_embed.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("longer", "count", "expected"),
    [
        ("zeros", 2, [0.0, 1.0]),
        ("interpolate", 2, [0.0, 1.0]),
        ("zeros", 3, [0.0, 1.0, 2.0]),
        ("zeros", 5, [0.0, 1.0, 2.0, 0.0, 0.0]),
        ("interpolate", 5, [0.0, 0.5, 1.0, 1.5, 2.0]),
    ],
)
def test_positions_in_time_are_cut_or_made_longer(longer: str, count: int, expected: list[float]) -> None:
    table = torch.arange(3.0)[None, :, None].expand(1, 3, 4)
    assert fit_positions(table, count, longer)[0, :, 0, 1].tolist() == expected


def test_a_video_longer_than_the_trained_ones_is_read() -> None:
    for longer in ("zeros", "interpolate"):
        assert torch.isfinite(tower(longer=longer)(videos(5))).all()


def test_sizes_that_do_not_go_together_are_refused() -> None:
    for changes, words in (({"image_size": 13}, "do not tile"), ({"heads": 3}, "cannot share the width")):
        with pytest.raises(ValueError, match=words):
            VideoTowerOptions(**{**SIZES, **changes})
