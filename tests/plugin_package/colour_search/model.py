"""Mean colour of the key images, and the colour words of a query, each through a trained matrix."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmi_tvr import models
from mmi_tvr.errors import ModelNotFound
from mmi_tvr.types import Availability, Embeddings, Features, FloatArray, Pixels, Query, Scoring, Variant
from mmi_tvr.utils.hashing import digest, file_digest

from . import COLOURS

MATRICES = "matrices.safetensors"
TRAINED = (MATRICES,)  # what training writes into a model folder
VARIANTS = {"full": Variant("full model"), "fixed-words": Variant("words as they are", {"train_words": False})}


class Options(models.TrainedOptions):
    width: int = Field(16, ge=3, description="width of the vectors")
    train_words: bool = Field(True, description="words have a trained matrix of their own")


def build(options: Options, *, device: str) -> ColourModel:
    return ColourModel(options)


def trainable(options: Options, *, device: str) -> ColourModel:
    """Return the model with what training changes."""
    return ColourModel(options)


def availability() -> Sequence[Availability]:
    return [Availability(True, f"knows {len(COLOURS)} colours and nothing else")]


class Network(nn.Module):
    """One matrix for pictures, one for words; both start the same, so that equal colours meet untrained, too."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        start = torch.randn(4, options.width, generator=torch.Generator().manual_seed(0))
        self.picture = nn.Parameter(start.clone())
        self.word = nn.Parameter(start.clone(), requires_grad=options.train_words)

    def parameter_groups(self) -> Mapping[str, list[nn.Parameter]]:
        return {"heads": [parameter for parameter in self.parameters() if parameter.requires_grad]}

    def embed_batch(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Texts (B, D), videos (B, D), and the number of each pair's video (B,)."""
        return batch["words"] @ self.word, batch["pictures"] @ self.picture, batch["groups"]

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        return {}  # nothing but the contrastive term, which is made of `embed_batch`


class ColourModel:
    """See `mmi_tvr.protocols.TrainableModel`."""

    name = "colour"
    reads = frozenset({"text"})
    image_size = 32
    scoring = Scoring(moment_weight=0.5)

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def weights(self) -> str | None:
        return self.options.weights

    @cached_property
    def network(self) -> Network:
        network = Network(self.options)
        if self.options.weights:
            try:
                network.load_state_dict(load_file(models.find(self.options.weights) / MATRICES))
            except (OSError, RuntimeError) as error:
                raise ModelNotFound(f"{self.options.weights}: no trained matrices of this width") from error
        return network

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, FloatArray]:
        return {"colour": np.stack([image.mean(axis=(0, 1)) for image in images]).astype(np.float32)}

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        embeddings = []
        for video in features:
            moments = _unit(_centred(video.arrays["colour"]) @ self.network.picture.cpu())
            embeddings.append(Embeddings(_unit(moments.mean(dim=0)).numpy(), moments.numpy(), video.segments))
        return embeddings

    def embed_queries(self, queries: Sequence[Query]) -> FloatArray:
        vectors: FloatArray = _unit(_words([query.text for query in queries]) @ self.network.word.cpu()).numpy()
        return vectors

    def vision_fingerprint(self) -> str:
        return digest(self.name, 1)

    def fingerprint(self) -> str:
        weights = file_digest(models.find(self.options.weights) / MATRICES) if self.options.weights else None
        return digest(self.vision_fingerprint(), self.options.model_dump(exclude={"weights"}), weights)

    def batch(self, texts: Sequence[str], features: Sequence[Features], numbers: Sequence[int]) -> dict[str, Any]:
        colours = np.stack([video.arrays["colour"].mean(axis=0) for video in features])
        return {"words": _words(texts), "pictures": _centred(colours), "groups": torch.tensor(numbers)}

    def save(
        self,
        folder: Path,
        keyimages: Mapping[str, Any] | None = None,
        origin: Mapping[str, Any] | None = None,
        rerank: Mapping[str, Any] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.network.state_dict(), folder / MATRICES)
        options = self.options.model_dump(mode="json", exclude={"weights"})
        models.write(folder, models.ModelSettings(self.name, options, keyimages, rerank, origin or {}))


def _words(texts: Sequence[str]) -> Tensor:
    """Mean of the colours that each text names (N, 4); grey where it names none."""
    named = [[COLOURS[word] for word in text.lower().split() if word in COLOURS] for text in texts]
    return _centred(np.array([np.mean(colours or [(128, 128, 128)], axis=0) for colours in named]).reshape(-1, 3))


def _centred(colours: FloatArray) -> Tensor:
    """Colours of 0..255 (N, 3) -> (N, 4): around zero, and a constant that keeps grey from having no length."""
    centred = torch.from_numpy(np.asarray(colours, np.float32) / 127.5 - 1)
    return torch.cat([centred, torch.full((len(centred), 1), 0.1)], dim=1)


def _unit(vectors: Tensor) -> Tensor:
    return nn.functional.normalize(vectors.detach(), dim=-1)
