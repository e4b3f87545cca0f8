"""The model behind the protocol: towers, translators, and vectors of two blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ...encoders.options import NewTowersOptions
from ...errors import UsageError
from ...nn.options import TranslatorOptions
from ...types import Block, Embeddings, Features, Pixels, Query, Scoring, Side
from ...utils.hashing import digest, file_digest
from ...utils.loading import late_property
from .._folder import FromModelFolder, ModelSettings, TrainedOptions, load_tensors, save_tensors, write

if TYPE_CHECKING:
    from torch import Tensor

    from ...nn.translator import Tokens
    from .network import LatNetwork
    from .towers import Inputs, LatTowers

TRANSLATORS, TOWERS = "translators.safetensors", "towers.safetensors"
_BATCH = 64  # videos or sentences that the translators read at once
_SEED = 0  # of untrained translators outside training, so that they are the same in every process
_CHANGE_VECTORS = {"space", "translator", "text_queries", "video_queries", "search_levels", "retrieval", "changes"}
Levels = Literal["global", "token", "both"]


class Options(TrainedOptions):
    """Options of LaT. Without `weights` its translators are untrained: it searches well only with `start: identity`."""

    checkpoint: str | None = Field(
        None,
        description="folder or hub name of a CLIP, MetaCLIP 2, SigLIP or Chinese-CLIP checkpoint, or a folder that "
        "`data convert-frozen` wrote",
    )
    new_towers: NewTowersOptions | None = Field(
        None, description="in place of a checkpoint: a space-time tower and a DistilBERT that are trained here"
    )
    towers: Literal["frozen", "tokenizers", "all"] = Field(
        "frozen",
        description="training: which parameters of the towers learn: none, the embeddings of patches and words, or all "
        "(not of a CLIP layout)",
    )
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
    changes: bool = Field(
        False, description="a video has a second [CLS]: how its key images change from the first to the last"
    )
    retrieval: Literal["both", "paper", "t2v", "v2t"] = Field(
        "both",
        description="both: the mean of both spaces; paper: a text searches in the space of videos, a video in that of "
        "texts; t2v, v2t: the space of videos, or of texts, alone, in half the memory",
    )
    batch: int = Field(32, ge=1, description="pictures or sentences that the towers read at once")
    moment_weight: float = Field(0.0, ge=0, le=1, description="share of the best key images in a video's score")
    top_moments: int = Field(1, ge=1, description="how many best key images")
    min_relevance: float = Field(0.5, ge=0, le=1, description="relevance of the best hit below which nothing is found")

    @model_validator(mode="after")
    def _one_pair_of_towers(self) -> Options:
        if (self.checkpoint is None) == (self.new_towers is None):
            raise ValueError("name a checkpoint, or new_towers, and not both: whose states are translated?")
        if self.changes and (self.translator.kind != "decoder" or self.translator.start == "identity"):
            raise ValueError("changes: a decoder alone gives a second [CLS], and none that starts as the identity")
        return self


class Lat(FromModelFolder):
    """The model behind the protocol. Weights are loaded at the first picture or query.

    Decision: each token of D numbers has the length sqrt(D), so that the cycle loss weighs the same beside the inter
    loss whatever the tower's scale, and a trained tower cannot make it small by small states.
    """

    options: Options
    name = "lat"
    reads = frozenset({"text", "pictures"})

    def __init__(self, options: Options, device: str = "auto", trainable: bool = False) -> None:
        if trainable and options.translator.kind == "none" and options.towers == "frozen":
            raise UsageError("lat with translator.kind: none and towers: frozen has nothing to train")
        self.options = options
        self._device = device
        self._trainable = trainable

    @late_property
    def scoring(self) -> Scoring:
        """Blocks "video", v with G(t), and "text", F(v) with t."""
        options, (in_video, in_text) = self.options, self._level_counts
        t2v, v2t = {"both": (0.5, 0.5), "paper": (1.0, 0.0)}.get(options.retrieval, (1.0, 1.0))
        video_width, text_width = self.towers.widths
        video = Block("video", in_video * video_width, t2v, v2t)
        text = Block("text", in_text * text_width, v2t, t2v)
        blocks = {"t2v": (video,), "v2t": (text,)}.get(options.retrieval, (video, text))
        return Scoring(options.moment_weight, options.top_moments, options.min_relevance, blocks=blocks)

    @property
    def _summaries(self) -> tuple[int, int]:
        """How many tokens of a video, and of a text, stand for all of it."""
        return 1 + self.options.changes, 1

    @property
    def _level_counts(self) -> tuple[int, int]:
        """How many levels a search compares in the space of videos, and in that of texts."""
        of_others = int(self.options.search_levels != "global")
        first, second = (0, 0) if self.options.search_levels == "token" else self._summaries
        return first + of_others, second + of_others

    @late_property
    def towers(self) -> LatTowers:
        from .towers import make

        return make(self.options, self._device)

    @late_property
    def network(self) -> LatNetwork:
        """The trained part; `train` changes it in place."""
        import torch

        from ...utils.device import resolve
        from .network import LatNetwork

        options, (video_width, text_width) = self.options, self.towers.widths
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
                summaries=self._summaries[0],
                towers=self.towers.module(),
            ).to(resolve(self._device))
            if self._folder:
                load_tensors(network, self._folder / TRANSLATORS, network.translator_names())
                if options.towers != "frozen":
                    load_tensors(network, self._folder / TOWERS, network.trained_tower_names(), network.fit_positions)
        return network.eval()

    @property
    def image_size(self) -> int:
        return self.towers.image_size

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        """Return {"state": (N, D)}, the states of an image tower before its projection, float32; or {"pixels": (N, S,
        S, 3)}, uint8, for a tower that reads a video whole."""
        return self.towers.encode_images(images)

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        """Return vectors of each video and of each of its key images, which is a video of one picture."""
        import torch

        embeddings = []
        for start in range(0, len(features), _BATCH):
            batch = features[start : start + _BATCH]
            counts = [len(video.segments) for video in batch]
            with torch.inference_mode():
                whole = self._video_vectors([video.arrays for video in batch])
                pictures = self._video_vectors([image for video in batch for image in _pictures(video)])
            moments = np.split(pictures, np.cumsum(counts)[:-1])
            embeddings += [
                Embeddings(of_images[0] if len(of_images) == 1 else vector, of_images, video.segments)
                for vector, of_images, video in zip(whole, moments, batch, strict=True)
            ]
        return embeddings

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return vectors (N, D), whose blocks are unit vectors each: the score of a block is a cosine."""
        import torch

        texts = [query.spoken for query in queries]
        parts = [np.zeros((0, sum(block.width for block in self.scoring.blocks)), np.float32)]
        for start in range(0, len(texts), _BATCH):
            with torch.inference_mode():
                parts.append(self._vectors(self.network.texts(self._text_tokens(texts[start : start + _BATCH]))))
        vectors: NDArray[np.float32] = np.concatenate(parts) * np.float32(math.sqrt(len(self.scoring.blocks)))
        return vectors

    def query_cycle_errors(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return |F(G(t)) - t|^2 of each query (N,): the mean over features, summed over the levels of the losses."""
        import torch

        parts = [np.zeros(0, np.float32)]
        for start in range(0, len(queries), _BATCH):
            texts = [query.spoken for query in queries[start : start + _BATCH]]
            with torch.inference_mode():
                errors = self.network.text_cycle_errors(self._text_tokens(texts))
            parts.append(errors.cpu().numpy())
        return np.concatenate(parts)

    def video_cycle_errors(self, features: Sequence[Features]) -> NDArray[np.float32]:
        """Return |G(F(v)) - v|^2 of each video (N,); otherwise as `query_cycle_errors`."""
        import torch

        parts = [np.zeros(0, np.float32)]
        for start in range(0, len(features), _BATCH):
            videos = [video.arrays for video in features[start : start + _BATCH]]
            with torch.inference_mode():
                errors = self.network.video_cycle_errors(self._video_tokens(videos))
            parts.append(errors.cpu().numpy())
        return np.concatenate(parts)

    def characters_read(self, text: str) -> int:
        """Return how many characters of a sentence, from its start, the text tower reads."""
        return self.towers.characters_read(text)

    def translated_sides(self) -> Mapping[str, Side]:
        """Return which side of each block is a translation: G(t) in the space of videos, F(v) in that of texts."""
        sides: dict[str, Side] = {"video": "text", "text": "video"}
        if self.options.translator.kind == "none":
            return {}
        return {block.name: sides[block.name] for block in self.scoring.blocks}

    def vision_fingerprint(self) -> str:
        return self.towers.vision_fingerprint()

    def fingerprint(self) -> str:
        """Hash of all that changes any vector."""
        options = self.options.model_dump(mode="json", include=_CHANGE_VECTORS)
        trained: Any = file_digest(self._folder / TRANSLATORS) if self._folder else None
        if self._folder and self.options.towers != "frozen":
            trained = [trained, file_digest(self._folder / TOWERS)]
        return digest(self.name, self.vision_fingerprint(), self.towers.text_version, options, trained)

    def batch(self, texts: Sequence[str], features: Sequence[Features], numbers: Sequence[int]) -> dict[str, Any]:
        """Return what `network` trains on: B texts and videos; pairs of one video share its number."""
        import torch

        videos = self.towers.video_inputs([video.arrays for video in features])
        return {"text": self.towers.text_inputs(texts), "video": videos, "groups": torch.tensor(numbers)}

    def save(
        self,
        folder: Path,
        keyimages: Mapping[str, Any] | None = None,
        origin: Mapping[str, Any] | None = None,
        rerank: Mapping[str, Any] | None = None,
    ) -> None:
        """Write both translators, what was trained of the towers, and how (`protocols.TrainableModel`)."""
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(self.network, folder / TRANSLATORS, self.network.translator_names())
        if self.options.towers != "frozen":
            save_tensors(self.network, folder / TOWERS, self.network.trained_tower_names())
        options = self.options.model_dump(mode="json", exclude={"weights"})
        write(folder, ModelSettings(self.name, options, keyimages, rerank, origin or {}))

    def _text_tokens(self, texts: Sequence[str]) -> Tokens:
        """[CLS] and the tokens of B sentences, on the device."""
        return self.network.text_tokens(self._moved(self.towers.text_inputs(texts)))

    def _video_tokens(self, videos: Sequence[Mapping[str, NDArray[Any]]]) -> Tokens:
        """[CLS] and the tokens of B videos, on the device, from the features of their key images."""
        return self.network.video_tokens(self._moved(self.towers.video_inputs(videos)))

    def _video_vectors(self, videos: Sequence[Mapping[str, NDArray[Any]]]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(videos), _BATCH):
            parts.append(self._vectors(self.network.videos(self._video_tokens(videos[start : start + _BATCH]))))
        return np.concatenate(parts)

    def _moved(self, inputs: Inputs) -> Inputs:
        from ...utils.device import resolve

        device = resolve(self._device)
        return {name: tensor.to(device) for name, tensor in inputs.items()}

    def _vectors(self, spaces: tuple[Tensor, Tensor]) -> NDArray[np.float32]:
        """Unit vectors (B, D) of equally long blocks, from the levels (B, 2, D_i) in the spaces of videos and texts."""
        import torch

        from .network import joined, level_slice

        slices = [level_slice(self.options.search_levels, count) for count in self._summaries]
        parts = [space[:, levels] for space, levels in zip(spaces, slices, strict=True)]
        parts = {"t2v": parts[:1], "v2t": parts[1:]}.get(self.options.retrieval, parts)
        blocks = [joined([part]) / math.sqrt(part.shape[1] * len(parts)) for part in parts]
        vectors = torch.cat(blocks, dim=1)
        return np.asarray(vectors.cpu().numpy(), dtype=np.float32)


def _pictures(video: Features) -> list[dict[str, NDArray[Any]]]:
    """Return the features of each key image as those of a video."""
    places = range(len(video.segments))
    return [{name: array[place : place + 1] for name, array in video.arrays.items()} for place in places]
