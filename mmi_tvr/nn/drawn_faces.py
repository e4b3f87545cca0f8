"""The two networks for drawn faces (`people/faces/drawn`): one finds faces in a picture, the other describes them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 128  # numbers of a descriptor
STRIDE = 4  # pixels of a picture, each way, to a cell of the detector
SIDE = 40  # pixels of what the encoder sees
MARGIN = 0.3  # of the side of a face, that is seen around it
_USUAL = 26.0  # pixels of the side of a face: sizes are told relative to it


class DrawnFaceNetworks(nn.Module):
    """Detector and encoder. Pictures are (B, 3, H, W), -1 to 1; boxes (N, 4) left, top, right, bottom in pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.detector = nn.Sequential(
            *_convolution(3, 16, 2),
            *_convolution(16, 48, 2),
            *_convolution(48, 48, 1, dilation=2),
            *_convolution(48, 48, 1, dilation=3),
            *_convolution(48, 48, 1, dilation=2),
            nn.Conv2d(48, 4, 1),
        )
        self.encoder = nn.Sequential(
            *_convolution(3, 32, 1),
            *_convolution(32, 64, 2),
            *_convolution(64, 96, 2),
            *_convolution(96, 96, 2),
            nn.Conv2d(96, 32, 1),
            nn.Flatten(),
            nn.Linear(32 * (SIDE // 8) ** 2, WIDTH),
        )

    def cells(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return of each cell of a picture the logit (B, h, w) that a face's middle is in it, and the face's box
        (B, h, w, 4)."""
        output = self.detector(pictures)
        down, across = output.shape[2:]
        x = (torch.arange(across, device=output.device) + 0.5 + output[:, 1].tanh()) * STRIDE
        y = (torch.arange(down, device=output.device)[:, None] + 0.5 + output[:, 2].tanh()) * STRIDE
        half = _USUAL / 2 * output[:, 3].clamp(-2, 2).exp()
        return output[:, 0], torch.stack([x - half, y - half, x + half, y + half], dim=-1)

    def describe(self, pictures: Tensor, boxes: Tensor) -> Tensor:
        """Return the unit descriptors (B, WIDTH) of one face in each picture."""
        return functional.normalize(self.encoder(crops(pictures, boxes)).float(), dim=-1)


def crops(pictures: Tensor, boxes: Tensor) -> Tensor:
    """Return one face of each picture with a margin around it, (B, 3, SIDE, SIDE); beyond the picture its edge."""
    height, width = pictures.shape[2:]
    half = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1) * (1 + MARGIN) / 2  # (B,)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    steps = (torch.arange(SIDE, device=pictures.device) + 0.5) / SIDE * 2 - 1
    x = (middle[:, :1] + half[:, None] * steps) / width * 2 - 1  # (B, SIDE)
    y = (middle[:, 1:] + half[:, None] * steps) / height * 2 - 1
    grid = torch.stack([x[:, None].expand(-1, SIDE, -1), y[:, :, None].expand(-1, -1, SIDE)], dim=-1)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def _convolution(inputs: int, outputs: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
