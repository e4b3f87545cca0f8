"""The model behind the protocol: frozen towers, translators, and vectors of two blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...encoders import hub
from ...errors import UsageError
from ...nn.options import TranslatorOptions
from ...types import Block, Embeddings, Features, Pixels, Query, Scoring
from ...utils.hashing import digest, file_digest
from ...utils.loading import late_property
from .._folder import ModelSettings, TrainedOptions, find, load_tensors, read, save_tensors, write

if TYPE_CHECKING:
    from torch import Tensor

    from ...encoders.clip_tokens import ClipTokenTowers
    from ...nn.translator import Tokens
    from .network import LatNetwork

TRANSLATORS = "translators.safetensors"
_BATCH = 64  # videos or sentences that the translators read at once
_SEED = 0  # of untrained translators outside training, so that they are the same in every process
_CHANGE_VECTORS = {"space", "translator", "text_queries", "video_queries", "search_levels", "retrieval"}
Levels = Literal["global", "token", "both"]


class Options(TrainedOptions):
    """Options of LaT. Without `weights` its translators are untrained: it searches well only with `start: identity`."""

    checkpoint: str = Field(description="folder or hub name of a CLIP, MetaCLIP 2, SigLIP or Chinese-CLIP checkpoint")
    space: Literal["hidden", "joint"] = Field(
        "hidden", description="tokens are the towers' states as they are, or taken into the towers' common space"
    )
    translator: TranslatorOptions = Field(TranslatorOptions(), description="kind and size of both translators")
    text_queries: int = Field(30, ge=2, description="tokens that a video is translated into (kind: decoder)")
    video_queries: int = Field(13, ge=2, description="tokens that a text is translated into (kind: decoder)")
    levels: Levels = Field("both", description="what the losses compare: [CLS], the mean of the other tokens, or both")
    search_levels: Levels = Field("global", description="what a search compares (the paper does not say)")
    cycle: bool = Field(True, description="training: translate back, for the loss term `cycle`")
    detach: bool = Field(
        False, description="training: no gradient of `cycle` reaches what should come back (only where towers train)"
    )
    symmetric: bool = Field(False, description="training: compare in each space in both directions")
    retrieval: Literal["both", "paper", "t2v", "v2t"] = Field(
        "both",
        description="both: the mean of both spaces; paper: a text searches in the space of videos, a video in that of "
        "texts; t2v, v2t: the space of videos, or of texts, alone, in half the memory",
    )
    batch: int = Field(32, ge=1, description="pictures or sentences that the towers read at once")
    moment_weight: float = Field(0.0, ge=0, le=1, description="share of the best key images in a video's score")
    top_moments: int = Field(1, ge=1, description="how many best key images")
    min_relevance: float = Field(0.5, ge=0, le=1, description="relevance of the best hit below which nothing is found")


class Lat:
    """The model behind the protocol. Weights are loaded at the first picture or query.

    Tokens. Of a video: the mean of its key images as [CLS], and each key image. Of a text: the state that its tower
    reads the sentence out of as [CLS], and those of all its tokens. Decision: each token of D numbers has the length
    sqrt(D), so that the cycle loss weighs the same beside the inter loss whatever the tower's scale; the mean is one of
    unit vectors, as in `clip4clip`.
    """

    name = "lat"
    reads = frozenset({"text"})

    def __init__(self, options: Options, device: str = "auto", trainable: bool = False) -> None:
        if trainable and options.translator.kind == "none":
            raise UsageError("lat with translator.kind: none has nothing to train")
        self.options = options
        self._device = device
        self._trainable = trainable

    @late_property
    def scoring(self) -> Scoring:
        """Blocks "video", v with G(t), and "text", F(v) with t."""
        options, levels = self.options, 1 + (self.options.search_levels == "both")
        t2v, v2t = {"both": (0.5, 0.5), "paper": (1.0, 0.0)}.get(options.retrieval, (1.0, 1.0))
        video = Block("video", levels * self._widths[0], t2v, v2t)
        text = Block("text", levels * self._widths[1], v2t, t2v)
        blocks = {"t2v": (video,), "v2t": (text,)}.get(options.retrieval, (video, text))
        return Scoring(options.moment_weight, options.top_moments, options.min_relevance, blocks=blocks)

    @property
    def weights(self) -> str | None:
        """The trained weights that it was made from: a folder, a hub name, or a bundled model's name."""
        return self.options.weights

    def key_image_section(self) -> Mapping[str, Any] | None:
        """Return the settings section of the key images that the weights were trained on."""
        return read(self._folder).keyimages if self._folder else None

    @property
    def _folder(self) -> Path | None:
        return find(self.options.weights) if self.options.weights else None

    @late_property
    def towers(self) -> ClipTokenTowers:
        from ...encoders.clip_tokens import ClipTokenTowers

        return ClipTokenTowers(hub.locate(self.options.checkpoint), self._device, self.options.batch)

    @property
    def _widths(self) -> tuple[int, int]:
        """Of a video's tokens and of a text's."""
        towers = self.towers
        if self.options.space == "joint":
            return towers.joint_width, towers.joint_width
        return towers.image_width, towers.text_width

    @late_property
    def network(self) -> LatNetwork:
        """The trained part; `train` changes it in place."""
        import torch

        from ...utils.device import resolve
        from .network import LatNetwork

        options, (video_width, text_width) = self.options, self._widths
        with torch.inference_mode(False), torch.random.fork_rng(enabled=not self._trainable):
            if not self._trainable:
                torch.manual_seed(_SEED)
            network = LatNetwork(
                text_width,
                video_width,
                text_queries=options.text_queries,
                video_queries=options.video_queries,
                translator=options.translator,
                levels=options.levels,
                cycle=options.cycle,
                detach=options.detach,
                symmetric=options.symmetric,
            ).to(resolve(self._device))
            if self._folder:
                load_tensors(network, self._folder / TRANSLATORS)
        return network.eval()

    @property
    def image_size(self) -> int:
        return self.towers.image_size

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        """Return {"state": (N, D)}, the image tower's states before its projection, float32."""
        return {"state": self.towers.image_states(images)}

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        """Return vectors of each video and of each of its key images, which is a video of one picture."""
        import torch

        embeddings = []
        for start in range(0, len(features), _BATCH):
            batch = features[start : start + _BATCH]
            states = [video.arrays["state"] for video in batch]
            with torch.inference_mode():
                whole = self._video_vectors(states)
                pictures = self._video_vectors(list(np.concatenate(states)[:, None]))
            moments = np.split(pictures, np.cumsum([len(images) for images in states])[:-1])
            embeddings += [
                Embeddings(of_images[0] if len(of_images) == 1 else vector, of_images, video.segments)
                for vector, of_images, video in zip(whole, moments, batch, strict=True)
            ]
        return embeddings

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return vectors (N, D), whose blocks are unit vectors each: the score of a block is a cosine."""
        import torch

        texts = [query.text for query in queries]
        parts = [np.zeros((0, sum(block.width for block in self.scoring.blocks)), np.float32)]
        for start in range(0, len(texts), _BATCH):
            with torch.inference_mode():
                tokens = self._moved(self._text_tokens(texts[start : start + _BATCH]))
                parts.append(self._vectors(self.network.texts(tokens)))
        vectors: NDArray[np.float32] = np.concatenate(parts) * np.float32(math.sqrt(len(self.scoring.blocks)))
        return vectors

    def query_cycle_errors(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return |F(G(t)) - t|^2 of each query (N,): the mean over features, summed over the levels of the losses."""
        import torch

        parts = [np.zeros(0, np.float32)]
        for start in range(0, len(queries), _BATCH):
            texts = [query.text for query in queries[start : start + _BATCH]]
            with torch.inference_mode():
                errors = self.network.text_cycle_errors(self._moved(self._text_tokens(texts)))
            parts.append(errors.cpu().numpy())
        return np.concatenate(parts)

    def video_cycle_errors(self, features: Sequence[Features]) -> NDArray[np.float32]:
        """Return |G(F(v)) - v|^2 of each video (N,); otherwise as `query_cycle_errors`."""
        import torch

        parts = [np.zeros(0, np.float32)]
        for start in range(0, len(features), _BATCH):
            states = [video.arrays["state"] for video in features[start : start + _BATCH]]
            with torch.inference_mode():
                errors = self.network.video_cycle_errors(self._moved(self._video_tokens(states)))
            parts.append(errors.cpu().numpy())
        return np.concatenate(parts)

    def characters_read(self, text: str) -> int:
        """Return how many characters of a sentence, from its start, the text tower reads."""
        return self.towers.characters_read(text)

    def vision_fingerprint(self) -> str:
        return self.towers.vision_fingerprint()

    def fingerprint(self) -> str:
        """Hash of all that changes any vector."""
        options = self.options.model_dump(mode="json", include=_CHANGE_VECTORS)
        trained = file_digest(self._folder / TRANSLATORS) if self._folder else None
        return digest(self.name, self.vision_fingerprint(), self.towers.text_version, options, trained)

    def batch(self, texts: Sequence[str], features: Sequence[Features], numbers: Sequence[int]) -> dict[str, Any]:
        """Return what `network` trains on: tokens of B texts and videos; pairs of one video share its number."""
        import torch

        text = self._text_tokens(texts)
        video = self._video_tokens([video.arrays["state"] for video in features])
        return {"text": text._asdict(), "video": video._asdict(), "groups": torch.tensor(numbers)}

    def save(
        self,
        folder: Path,
        keyimages: Mapping[str, Any] | None = None,
        origin: Mapping[str, Any] | None = None,
        rerank: Mapping[str, Any] | None = None,
    ) -> None:
        """Write both translators, and how they were made (`protocols.TrainableModel`)."""
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(self.network, folder / TRANSLATORS)
        options = self.options.model_dump(mode="json", exclude={"weights"})
        write(folder, ModelSettings(self.name, options, keyimages, rerank, origin or {}))

    def _text_tokens(self, texts: Sequence[str]) -> Tokens:
        """[CLS] and the tokens of B sentences, on the processor."""
        from ...nn.translator import Tokens

        states, mask = self.towers.text_states(texts)
        if self.options.space == "joint":
            states = self.towers.project_texts(states)
        return Tokens(_of_length_sqrt_width(states), mask)

    def _video_tokens(self, pictures: Sequence[NDArray[Any]]) -> Tokens:
        """The mean and the key images of B videos, on the processor, from their states (K, D) each."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        from ...nn.translator import Tokens

        videos = []
        for states in map(torch.from_numpy, pictures):
            images = self.towers.project_images(states.float()) if self.options.space == "joint" else states.float()
            images = _of_length_sqrt_width(images)
            videos.append(torch.cat([_of_length_sqrt_width(images.mean(dim=0, keepdim=True)), images]))
        lengths = torch.tensor([len(video) for video in videos])
        padded = pad_sequence(videos, batch_first=True)  # (B, 1 + K, D)
        return Tokens(padded, torch.arange(padded.shape[1]) < lengths[:, None])

    def _video_vectors(self, pictures: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(pictures), _BATCH):
            tokens = self._moved(self._video_tokens(pictures[start : start + _BATCH]))
            parts.append(self._vectors(self.network.videos(tokens)))
        return np.concatenate(parts)

    def _moved(self, tokens: Tokens) -> Tokens:
        from ...utils.device import resolve

        device = resolve(self._device)
        return type(tokens)(*(part.to(device) for part in tokens))

    def _vectors(self, spaces: tuple[Tensor, Tensor]) -> NDArray[np.float32]:
        """Unit vectors (B, D) of equally long blocks, from the levels (B, 2, D_i) in the spaces of videos and texts."""
        from .network import LEVELS, joined

        blocks = {"t2v": spaces[:1], "v2t": spaces[1:]}.get(self.options.retrieval, spaces)
        parts = [space[:, LEVELS[self.options.search_levels]] for space in blocks]
        vectors = joined(parts) / math.sqrt(sum(part.shape[1] for part in parts))
        return np.asarray(vectors.cpu().numpy(), dtype=np.float32)


def _of_length_sqrt_width(states: Tensor) -> Tensor:
    """Return states (..., D) with the length sqrt(D): a mean square of 1, as behind a layer norm."""
    from torch.nn.functional import normalize

    return normalize(states, dim=-1) * math.sqrt(states.shape[-1])
