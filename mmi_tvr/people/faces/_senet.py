"""The network of `senet50`. Its attributes are named as the tensors of the released file, which a test writes out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import UsageError, one_line
from ...utils.torch_files import load_plain

_BLOCKS = {2: (3, 64), 3: (4, 128), 4: (6, 256), 5: (3, 512)}  # stage: blocks, inner channels
_EXPANSION, _REDUCTION, _WIDTH = 4, 16, 128


class SENet50(nn.Module):
    """Return features (B, 128) of faces (B, 3, 224, 224).

    Each block scales its channels by what a small network makes of their means (Hu et al., "Squeeze-and-Excitation
    Networks", CVPR 2018). As in Caffe, the first convolution of a stage has the stride, and pooling rounds up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1_7x7_s2 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.conv1_7x7_s2_bn = nn.BatchNorm2d(64)
        self.pool1_3x3_s2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        channels = 64
        for stage, (blocks, inner) in _BLOCKS.items():
            for block in range(1, blocks + 1):
                stride = 2 if block == 1 and stage > 2 else 1
                self._add_block(f"conv{stage}_{block}", channels, inner, stride, project=block == 1)
                channels = inner * _EXPANSION
        self.feat_extract = nn.Conv2d(channels, _WIDTH, 1, bias=False)

    def _add_block(self, name: str, channels: int, inner: int, stride: int, project: bool) -> None:
        outer = inner * _EXPANSION
        self._add_convolution(f"{name}_1x1_reduce", nn.Conv2d(channels, inner, 1, stride, bias=False))
        self._add_convolution(f"{name}_3x3", nn.Conv2d(inner, inner, 3, padding=1, bias=False))
        self._add_convolution(f"{name}_1x1_increase", nn.Conv2d(inner, outer, 1, bias=False))
        self.add_module(f"{name}_1x1_down", nn.Conv2d(outer, outer // _REDUCTION, 1))
        self.add_module(f"{name}_1x1_up", nn.Conv2d(outer // _REDUCTION, outer, 1))
        if project:
            self._add_convolution(f"{name}_1x1_proj", nn.Conv2d(channels, outer, 1, stride, bias=False))

    def _add_convolution(self, name: str, convolution: nn.Conv2d) -> None:
        self.add_module(name, convolution)
        self.add_module(f"{name}_bn", nn.BatchNorm2d(convolution.out_channels))

    def forward(self, pictures: Tensor) -> Tensor:
        states = self.pool1_3x3_s2(self._convolve("conv1_7x7_s2", pictures).relu())
        for stage, (blocks, _) in _BLOCKS.items():
            for block in range(1, blocks + 1):
                states = self._block(f"conv{stage}_{block}", states, project=block == 1)
        features: Tensor = self.feat_extract(states.mean((2, 3), keepdim=True))  # (B, 128, 1, 1)
        return features.flatten(1)

    def _block(self, name: str, states: Tensor, project: bool) -> Tensor:
        inner = self._convolve(f"{name}_1x1_reduce", states).relu()
        inner = self._convolve(f"{name}_3x3", inner).relu()
        outer = self._convolve(f"{name}_1x1_increase", inner)
        squeezed = self.get_submodule(f"{name}_1x1_down")(outer.mean((2, 3), keepdim=True)).relu()
        weights = self.get_submodule(f"{name}_1x1_up")(squeezed).sigmoid()  # (B, C, 1, 1)
        shortcut = self._convolve(f"{name}_1x1_proj", states) if project else states
        joined: Tensor = (outer * weights + shortcut).relu()
        return joined

    def _convolve(self, name: str, states: Tensor) -> Tensor:
        normalised: Tensor = self.get_submodule(f"{name}_bn")(self.get_submodule(name)(states))
        return normalised


def load(path: Path) -> SENet50:
    """Return the network with the weights of a file, for inference. UsageError where it is no such file."""
    tensors = checked_weights(path)
    network = SENet50()
    network.load_state_dict(tensors)
    return network.eval()


def checked_weights(path: Path) -> Mapping[str, Tensor]:
    """Return the tensors of a file. UsageError where it cannot be read, or holds another network."""
    tensors = _tensors(path)
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in SENet50().state_dict().items()}
    missing = sorted(expected.keys() - tensors.keys() - {n for n in expected if n.endswith("num_batches_tracked")})
    other = sorted(name for name, tensor in tensors.items() if expected.get(name, tensor.shape) != tensor.shape)
    unknown = sorted(tensors.keys() - expected.keys())
    if missing or other or unknown:
        first = (missing or other or unknown)[0]
        problem = "lacks" if missing else "has another shape of" if other else "has besides"
        raise UsageError(f"{path}: no SENet-50 with {_WIDTH} features: it {problem} {first}")
    counters = {name: torch.zeros((), dtype=torch.long) for name in expected.keys() - tensors.keys()}
    return {**tensors, **counters}


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = load_plain(path)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; the weights of SENet-50 are named by faces.weights") from None
    except Exception as error:  # torch, pickle and safetensors raise whatever a broken file makes of them
        raise UsageError(f"{path}: cannot be read as weights ({one_line(error)})") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UsageError(f"{path}: holds no weights alone; a state_dict is expected")
    return content
