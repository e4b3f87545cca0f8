"""CLIP-ViP: a CLIP whose vision tower reads the frames of a video together, through tokens of the whole video.

Source: Xue et al., "CLIP-ViP: Adapting Pre-trained Image-Text Model to Video-Language Alignment", ICLR 2023, and
microsoft/XPretrain, whose published files are pickles. `data convert-clip-vip` (clip_vip_file.py) makes a folder:

    config.json          of the CLIP that it began as, model_type clip_vip, and `vision_additional_config` as in its
                         authors' settings
    model.safetensors    clipmodel.* as published: CLIP's tensors, and of the vision tower's embeddings `added_cls`
                         (M - 1, d), the further proxies, and `temporal_embedding` (1, T, d)
    preprocessor and tokenizer files of that CLIP

[CLS] and the further tokens are the video's proxies: they read everything, and the patches of a frame read them and
that frame alone. A video of other than T frames gets places in time between those that were learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize, scaled_dot_product_attention

from ..errors import ModelNotFound, one_line
from ..types import Pixels
from ..utils.device import resolve
from . import hub
from .clip import on_device
from .clip_settings import COLOUR_MEAN, COLOUR_STD
from .pretrained import require_weights, unreadable
from .quiet import quiet_loading
from .sentences import SentenceReader

MODEL_TYPE = "clip_vip"
ADDITIONS = "vision_additional_config"
PREFIX = "clipmodel."  # of every name in the published files
PROXIES, TIMES = "vision_model.embeddings.added_cls", "vision_model.embeddings.temporal_embedding"


class ProxyClip(nn.Module):
    """CLIP of transformers, with the proxies and the places in time that CLIP-ViP adds to its vision tower."""

    def __init__(self, config: Any, proxies: int, frames: int) -> None:
        """Make the modules, untrained.

        Args:
            config: transformers' `CLIPConfig`.
            proxies: tokens of the whole video besides [CLS].
            frames: places in time; 0: frames have none.
        """
        super().__init__()
        from transformers import CLIPModel

        width = int(config.vision_config.hidden_size)
        self.clip = CLIPModel(config)
        self.proxies = nn.Parameter(torch.zeros(proxies, width))
        self.times = nn.Parameter(torch.zeros(1, frames, width)) if frames else None
        self._heads = int(config.vision_config.num_attention_heads)

    def weights(self) -> dict[str, Tensor]:
        """Return the weights by the names of the published files, without what stands before all of them."""
        added = {PROXIES: self.proxies} | ({} if self.times is None else {TIMES: self.times})
        return {**self.clip.state_dict(), **added}

    def video_features(self, pixels: Tensor) -> Tensor:
        """Return the vectors (B, D) of B videos of T frames each, (B, T, 3, S, S)."""
        tower: Any = self.clip.vision_model
        states, frames = self._embedded(pixels)
        states = tower.pre_layrnorm(states)
        for layer in tower.encoder.layers:
            states = states + self._attended(layer.self_attn, layer.layer_norm1(states), frames)
            states = states + layer.mlp(layer.layer_norm2(states))
        vectors: Tensor = self.clip.visual_projection(tower.post_layernorm(states[:, 0]))
        return vectors

    def _embedded(self, pixels: Tensor) -> tuple[Tensor, int]:
        """Return the proxies and patches of videos, (B, M + T P, d), and T."""
        embeddings: Any = self.clip.vision_model.embeddings
        count, frames = pixels.shape[:2]
        places = embeddings.position_embedding.weight  # (1 + P, d)
        patches = embeddings.patch_embedding(pixels.flatten(0, 1)).flatten(2).transpose(1, 2)  # (B T, P, d)
        patches = patches.view(count, frames, *patches.shape[1:]) + places[1:]
        if self.times is not None:
            times = interpolate(self.times.transpose(1, 2), size=frames, mode="linear").transpose(1, 2)
            patches = patches + times[:, :, None]
        proxies = torch.cat([embeddings.class_embedding[None], self.proxies]) + places[0]
        return torch.cat([proxies.expand(count, -1, -1), patches.flatten(1, 2)], dim=1), frames

    def _attended(self, attention: Any, states: Tensor, frames: int) -> Tensor:
        """Return what each of the states (B, M + T P, d) reads."""
        count, length, width = states.shape
        proxies = 1 + len(self.proxies)
        query, key, value = (
            project(states).view(count, length, self._heads, -1).transpose(1, 2)  # (B, heads, M + T P, d / heads)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        whole = scaled_dot_product_attention(query[:, :, :proxies], key, value)
        size = (count, self._heads, frames, (length - proxies) // frames, width // self._heads)
        patch_query = query[:, :, proxies:].reshape(size)  # (B, heads, T, P, d / heads)
        key, value = (
            torch.cat([x[:, :, None, :proxies].expand(-1, -1, frames, -1, -1), x[:, :, proxies:].reshape(size)], dim=3)
            for x in (key, value)
        )
        patches = scaled_dot_product_attention(patch_query, key, value).flatten(2, 3)
        mixed: Tensor = attention.out_proj(torch.cat([whole, patches], dim=2).transpose(1, 2).flatten(2))
        return mixed


class ClipVipTowers:
    """Videos, as squares of their frames, and sentences -> unit vectors of one space."""

    @quiet_loading()
    def __init__(self, folder: Path, device: str, batch: int = 32) -> None:
        """Load a checkpoint.

        Args:
            folder: what `data convert-clip-vip` wrote.
            device: as `utils.device.resolve` takes it.
            batch: sentences, or single pictures, that are read at once.

        Raises:
            ModelNotFound: it is no such folder, or lacks weights.
        """
        model, config = load(folder)
        self._device = resolve(device)
        self._model = model.eval().to(self._device)
        self._sentences = SentenceReader(folder, config)
        self._batch = batch
        self.text_version = self._sentences.rules.version
        self.image_size = int(config.vision_config.image_size)
        self.digest = hub.checkpoint_digest(folder)

    def squares(self, images: Sequence[Pixels]) -> NDArray[np.uint8]:
        """Return N pictures of any size, squeezed into squares (N, S, S, 3), as the authors prepare frames."""
        size = (self.image_size, self.image_size)
        squares = [Image.fromarray(image).resize(size, Image.Resampling.BICUBIC) for image in images]
        return np.stack([np.asarray(square) for square in squares])

    def embed_video(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the unit vector (D,) of a video from the squares (T, S, S, 3) of its frames, in order."""
        vector: NDArray[np.float32] = self._unit([self._features(squares[None])])[0]
        return vector

    def embed_pictures(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return unit vectors (N, D) of squares (N, S, S, 3), each of them a video of one frame."""
        starts = range(0, len(squares), self._batch)
        return self._unit([self._features(squares[start : start + self._batch, None]) for start in starts])

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors (N, D) of N sentences; what is longer than the tower reads is cut."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(texts), self._batch):
                inputs = on_device(self._sentences(texts[start : start + self._batch]), self._device)
                states = self._model.clip.text_model(**inputs).pooler_output
                parts.append(self._model.clip.text_projection(states))
        return self._unit(parts)

    def characters_read(self, text: str) -> int:
        """Return how many characters of a sentence, from its start, the text tower reads."""
        return self._sentences.characters_read(text)

    def _features(self, videos: NDArray[np.uint8]) -> Tensor:
        """Return the vectors (B, D) of videos (B, T, S, S, 3)."""
        with torch.inference_mode():
            values = torch.from_numpy(videos).to(self._device).float() / 255
            mean, std = (torch.tensor(numbers, device=self._device) for numbers in (COLOUR_MEAN, COLOUR_STD))
            return self._model.video_features(((values - mean) / std).permute(0, 1, 4, 2, 3))

    def _unit(self, parts: Sequence[Tensor]) -> NDArray[np.float32]:
        vectors = normalize(torch.cat(list(parts)).float(), dim=-1)
        return np.asarray(vectors.cpu().numpy(), dtype=np.float32)


def load(folder: Path) -> tuple[ProxyClip, Any]:
    """Return the model of a folder, on the processor, and transformers' settings of its CLIP.

    Raises:
        ModelNotFound: it is no folder that `data convert-clip-vip` wrote, or is damaged.
    """
    settings = hub.settings(folder)
    if settings.get("model_type") != MODEL_TYPE:
        raise ModelNotFound(f"{folder}: not what data convert-clip-vip writes")
    try:
        additions = settings[ADDITIONS]
        frames = int(additions["temporal_size"]) if additions.get("if_use_temporal_embed") else 0
        config = clip_config(settings)
        model = ProxyClip(config, int(additions["add_cls_num"]), frames)
    except unreadable(KeyError, AttributeError) as error:
        raise ModelNotFound(f"{folder / hub.CONFIG}: damaged ({one_line(error)}); convert it once more") from error
    tensors = hub.checkpoint_tensors(folder)
    give_weights(model, {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}, folder)
    return model, config


def clip_config(settings: Mapping[str, Any]) -> Any:
    """Return transformers' settings of a CLIP from those of a checkpoint; what they say of CLIP-ViP is left out."""
    from transformers import CLIPConfig

    values = {name: value for name, value in settings.items() if name not in (ADDITIONS, "model_type")}
    return CLIPConfig.from_dict(values)


def give_weights(model: ProxyClip, tensors: Mapping[str, Tensor], place: Path) -> None:
    """Give a model its weights, by bare names. ModelNotFound where some are missing, or of another size."""
    expected = model.weights()
    require_weights(sorted(expected.keys() - tensors.keys()), place)
    for name, weight in expected.items():
        if weight.shape != tensors[name].shape:
            raise ModelNotFound(
                f"{place}: {name} is {list(tensors[name].shape)}, and {list(weight.shape)} is what goes with its CLIP"
            )
        weight.data.copy_(tensors[name])
