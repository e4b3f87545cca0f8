"""A multimodal language model as an encoder of sentences and videos: Qwen3-VL-Embedding, GME, VLM2Vec-V2.

Sources: Qwen3-VL-Embedding (Li et al., 2026), GME (Zhang et al., CVPR 2025), VLM2Vec-V2 (Meng et al., 2025). A
sentence, or the key images of a video, stand in a prompt; the last token's state is the vector. Nothing is trained.

Decisions: the key images are the frames of the video, with their seconds where the model reads them, and each of them
alone is a picture; they are squeezed into a square, so that nothing is cut off; what is cached of a video is its
pixels; what looks like a special token in a sentence (<|...|>) is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from ..encoders import hub
from ..encoders.multimodal import MODEL_TYPES, VIDEO, MultimodalEncoder
from ..plugins import BaseOptions
from ..types import Availability, Embeddings, Features, Pixels, Query, Scoring
from ..utils.hashing import digest
from ._folder import cached_checkpoints

_PLACE = re.compile(r"\{instruction\}|\{content\}")
_CHAT = "<|im_start|>system\n{instruction}<|im_end|>\n<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"


class Options(BaseOptions):
    """Options of a multimodal embedding model; the defaults are those of Qwen3-VL-Embedding."""

    checkpoint: str = Field(description="folder or hub name of a Qwen2-VL, Qwen2.5-VL or Qwen3-VL, or an adapter")
    base: str | None = Field(None, description="of an adapter: the checkpoint below it; default: the one that it names")
    query_instruction: str = Field(
        "Retrieve videos relevant to the user's query.", description="what the system says before a sentence"
    )
    video_instruction: str = Field(
        "Represent the user's input.", description="what the system says before the key images of a video"
    )
    prompt: str = Field(_CHAT, description="the whole prompt, with {content}, and {instruction} where there is one")
    query_prompt: str | None = Field(None, description="the whole prompt of a sentence; default: as `prompt`")
    bounded: bool = Field(True, description="marks of where vision begins and ends stand around key images")
    frames: Literal["video", "pictures"] = Field("video", description="key images are a video's frames, or pictures")
    image_size: int = Field(224, ge=28, description="side of the square that key images are squeezed into, in pixels")
    width: int | None = Field(None, ge=8, description="numbers of a vector that are kept (Matryoshka); default: all")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of the weights")
    longest: int = Field(512, ge=8, description="tokens of a sentence that are read; what stands behind is cut off")
    batch: int = Field(16, ge=1, description="sentences that are read at once")
    moment_weight: float = Field(0.0, ge=0, le=1, description="share of the best key images in a video's score")
    top_moments: int = Field(1, ge=1, description="how many best key images")
    min_relevance: float = Field(0.5, ge=0, le=1, description="relevance of the best hit below which nothing is found")

    @model_validator(mode="after")
    def _content_has_a_place(self) -> Options:
        for name, prompt in (("prompt", self.prompt), ("query_prompt", self.query_prompt)):
            if prompt is not None and prompt.count("{content}") != 1:
                raise ValueError(f"{name}: {{content}} stands in it once, where the sentence or the video goes")
        return self


CHECKPOINT = "checkpoint"
CHECKPOINTS = {"checkpoint": "base", "base": "adapted"}


def build(options: Options, *, device: str) -> Mllm:
    folder = hub.locate(options.checkpoint)
    return Mllm(options, MultimodalEncoder(folder, device, options.width, options.dtype, options.base))


def reads_checkpoint(name: str) -> bool:
    """Return false: a bare Qwen-VL checkpoint is a chat model, and only its owner knows that it was taught to embed."""
    return False


def availability() -> Sequence[Availability]:
    """Return a line for each checkpoint of the local cache."""
    advice = "a multimodal embedding model: --model mllm:FOLDER (Qwen3-VL-Embedding, ...)"
    return cached_checkpoints(hub.cached(MODEL_TYPES), advice)


class Mllm:
    """The last token's state of a prompt, as a unit vector."""

    name = "mllm"
    reads = frozenset({"text", "pictures"})

    def __init__(self, options: Options, encoder: MultimodalEncoder) -> None:
        self.scoring = Scoring(options.moment_weight, options.top_moments, options.min_relevance)
        self.image_size = options.image_size
        self._options = options
        self._encoder = encoder

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        """Return {"pixels": (N, S, S, 3)}, uint8: the language model reads all key images of a video together."""
        side = self.image_size
        squares = [Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC) for image in images]
        return {"pixels": np.stack([np.asarray(square) for square in squares])}

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        """Return unit vectors of each video, read as a whole, and of its key images, each read as a picture."""
        prompt = _filled(self._options.prompt, self._options.video_instruction, VIDEO)
        embeddings = []
        for video in features:
            frames = list(video.arrays["pixels"])
            times = video.segments[:, 2] if self._options.frames == "video" else None
            bounded = self._options.bounded
            moments = [self._encoder.embed_frames(prompt, [frame], None, bounded) for frame in frames]
            # Decision: a video of one key image is that picture.
            whole = moments[0] if len(frames) == 1 else self._encoder.embed_frames(prompt, frames, times, bounded)
            embeddings.append(Embeddings(whole, np.stack(moments), video.segments))
        return embeddings

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return unit vectors (N, D)."""
        instruction, size = self._options.query_instruction, self._options.batch
        prompt = self._options.prompt if self._options.query_prompt is None else self._options.query_prompt
        texts = [query.spoken[: self.characters_read(query.spoken)] for query in queries]
        prompts = [_filled(prompt, instruction, text.replace("<|", "< |")) for text in texts]
        parts = [self._encoder.embed_texts(prompts[start : start + size]) for start in range(0, len(prompts), size)]
        return np.concatenate(parts) if parts else self._encoder.embed_texts([])

    def characters_read(self, text: str) -> int:
        """Return how many characters of a sentence, from its start, are read."""
        return self._encoder.characters_read(text, self._options.longest)

    def vision_fingerprint(self) -> str:
        return digest(self.name, "squares", self.image_size)

    def fingerprint(self) -> str:
        choices = self._options.model_dump(
            exclude={"checkpoint", "base", "image_size", "batch", "moment_weight", "top_moments", "min_relevance"}
        )
        return digest(self.name, self.vision_fingerprint(), self._encoder.digest, choices)


def _filled(prompt: str, instruction: str, content: str) -> str:
    """Return the prompt with both in their places; braces in them are ordinary characters."""
    parts = {"{instruction}": instruction, "{content}": content}
    return _PLACE.sub(lambda place: parts[place.group()], prompt)
