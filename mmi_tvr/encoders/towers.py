"""The CLIP towers that a LLaVA was built on: one look at a picture feeds CLIP, the regions and the language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelNotFound, UsageError
from ..types import Pixels
from ..utils.hashing import digest
from ..utils.loading import late_property
from . import hub
from .clip import ClipTowers
from .clip_layers import layer_shapes
from .options import LlavaOptions

_SAMPLED = 1024  # values of a weight that its hash looks at
_LAYER = -2  # of the vision tower that a LLaVA reads whose settings name none, as transformers has it
_NO_WEIGHTS = {"vision_model.embeddings.position_ids"}  # what older checkpoints have besides

WeightSample = tuple[str, list[int], str]  # name, shape, and values in hexadecimal


class LlavaTowers(ClipTowers):
    """Pictures -> everything that the method reads from a vision tower. Sentences as in ClipTowers.

    Decisions. The regions of a picture are the patch tokens of the last layer, taken into CLIP's space by CLIP's own
    last norm and projection (as MaskCLIP does: Zhou et al., ECCV 2022), and averaged over the cells of a grid. The
    language model's tokens are averaged over cells before LLaVA's projector, from the layer that LLaVA reads.
    """

    def __init__(self, folder: Path, device: str, *, layers: Sequence[int], tokens: int, regions: int) -> None:
        """Load what reads sentences; the vision tower comes at the first picture.

        Args:
            folder: of the CLIP checkpoint.
            device: as `utils.device.resolve` takes it.
            layers: of the vision tower that the language model reads, side by side.
            tokens: a picture is tokens x tokens visual tokens to the language model.
            regions: a picture is regions x regions regions to the spatial head.

        Raises:
            ModelNotFound: where the folder holds no CLIP.
            UsageError: where a picture has fewer patches than tokens or regions.
        """
        super().__init__(folder, device, text_first=True)
        if self.config.model_type != "clip":
            raise ModelNotFound(f"{folder}: a {self.config.model_type} checkpoint; a LLaVA is built on CLIP")
        vision = self.config.vision_config
        self._side = vision.image_size // vision.patch_size
        self._layers = tuple(layers)
        self._tokens = self._checked_grid(tokens, "tokens")
        self._regions = self._checked_grid(regions, "regions")
        self.width = int(self.config.projection_dim)

    @property
    def vision(self) -> Any:
        """Return the vision tower (transformers' CLIPVisionModel), float32."""
        return self._model.vision_model

    def pixel_features(self, pixels: Any) -> dict[str, Any]:
        """Return the features of N preprocessed pictures (N, 3, H, W) as tensors.

        image (N, D) and regions (N, regions**2, D) are unit vectors of CLIP's width D; patches (N, tokens**2, d_v) have
        the width that LLaVA reads. Regions and patches go row by row.
        """
        import torch
        from torch.nn.functional import normalize

        output = self.vision(pixels, output_hidden_states=True)
        tokens = self.vision.post_layernorm(output.last_hidden_state[:, 1:])  # without [CLS]
        regions = self._pooled(self._model.visual_projection(tokens), self._regions)
        patches = torch.cat([output.hidden_states[layer][:, 1:] for layer in self._layers], dim=-1)
        return {
            "image": normalize(self._model.visual_projection(output.pooler_output), dim=-1),
            "regions": normalize(regions, dim=-1),
            "patches": self._pooled(patches, self._tokens),
        }

    def image_features(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        """Return `pixel_features` of pictures of any size as arrays.

        image is float32, the others float16 (they are cached).
        """
        import torch

        parts = []
        with torch.inference_mode():
            for batch in self._batches(images):
                pixels = self._processed(batch)["pixel_values"]
                parts.append(self.pixel_features(pixels.to(self._device)))
        dtypes = {"image": np.float32, "regions": np.float16, "patches": np.float16}
        return {
            name: torch.cat([part[name] for part in parts]).cpu().numpy().astype(dtype)
            for name, dtype in dtypes.items()
        }

    def vision_fingerprint(self) -> str:
        """Return the hash of all that changes `image_features`; the text tower does not."""
        return digest("llava towers", self._weight_samples, self._layers, self._tokens, self._regions, "float16")

    @late_property
    def _weight_samples(self) -> list[WeightSample]:
        """Values of the weights of the vision tower, in the order in which transformers has them; from the file where
        nothing has loaded them yet."""
        names = _vision_names(self.config.vision_config.num_hidden_layers)
        samples = None if "_model" in vars(self) else _read_samples(self._folder / "model.safetensors", names)
        if samples is not None:
            return samples
        modules = (self.vision, self._model.visual_projection)
        return [_sampled(name, weight) for module in modules for name, weight in module.state_dict().items()]

    def _pooled(self, tokens: Any, grid: int) -> Any:
        """Patch tokens (N, side**2, d) -> their means over the cells of a grid (N, grid**2, d)."""
        from torch.nn.functional import adaptive_avg_pool2d

        square = tokens.transpose(1, 2).unflatten(2, (self._side, self._side))
        return adaptive_avg_pool2d(square, grid).flatten(2).transpose(1, 2)

    def _checked_grid(self, grid: int, what: str) -> int:
        if grid > self._side:
            raise UsageError(f"a picture has {self._side} x {self._side} patches: too few for {grid} x {grid} {what}")
        return grid


def _vision_names(layers: int) -> list[str]:
    """Return the names of the weights of CLIP's vision tower in its module."""
    return [
        "embeddings.class_embedding",
        "embeddings.patch_embedding.weight",
        "embeddings.position_embedding.weight",
        "pre_layrnorm.weight",
        "pre_layrnorm.bias",
        *layer_shapes(layers, 0, 0),
        "post_layernorm.weight",
        "post_layernorm.bias",
    ]


def _read_samples(path: Path, names: Sequence[str]) -> list[WeightSample] | None:
    """Return samples of the vision tower's weights and of its projection from a file.

    None where it has others: transformers knows what to make of those.
    """
    from safetensors import SafetensorError, safe_open

    stored = {f"vision_model.{name}": name for name in names} | {"visual_projection.weight": "weight"}
    try:
        with safe_open(path, "pt") as stream:
            present = {name for name in stream.keys() if name.startswith(("vision_", "visual_"))}  # noqa: SIM118
            if present - _NO_WEIGHTS != stored.keys():
                return None
            return [_sampled(name, stream.get_tensor(key)) for key, name in stored.items()]
    except (OSError, SafetensorError):
        return None


def _sampled(name: str, weight: Any) -> WeightSample:
    """Name, shape and evenly spread values of a weight: training changes them all (as `hub.checkpoint_digest`)."""
    flat = weight.detach().float().cpu().flatten()
    return name, list(weight.shape), flat[:: max(1, len(flat) // _SAMPLED)].numpy().tobytes().hex()


def load(options: LlavaOptions, *, regions: int, device: str = "auto") -> LlavaTowers:
    """Load the towers of a LLaVA; of the LLaVA itself only the settings are read.

    Args:
        options: which LLaVA, and its grid of visual tokens.
        regions: the spatial head's grid.
        device: as `utils.device.resolve` takes it.

    Raises:
        ModelNotFound: where there is no LLaVA of CLIP's patch tokens, or no CLIP.
        UsageError: where a picture has fewer patches than tokens or regions.
    """
    folder = hub.locate(options.checkpoint)
    clip = hub.locate(options.clip) if options.clip else folder / "clip"
    if not clip.is_dir():
        raise ModelNotFound(
            f"{folder}: has no folder `clip`; name the CLIP checkpoint that it was built on (clip: ...)"
        )
    settings = hub.settings(folder)
    kind = settings.get("model_type")
    if kind != "llava" or settings.get("vision_feature_select_strategy", "default") != "default":
        raise ModelNotFound(f"{folder}: not a LLaVA that reads CLIP's patch tokens ({kind})")
    layers = settings.get("vision_feature_layer", _LAYER)
    layers = [layers] if isinstance(layers, int) else layers
    return LlavaTowers(clip, device, layers=layers, tokens=options.grid, regions=regions)
