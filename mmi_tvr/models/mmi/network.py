"""The trained part of MMI-TVR: heads on CLIP's space, a LoRA-tuned LLaVA beside them, and the loss terms of both."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from ... import prompt_templates
from ...encoders.llama_text import LlamaTexts
from ...encoders.llava import Llava
from ...nn.losses import Temperature, masked_prediction, next_token_cross_entropy, skeleton_cross_entropy
from ...nn.matching import MatchingHead, matching_inputs, matching_loss
from ...nn.moments import MomentHead, best_spans, moment_loss
from ...nn.pooling import zero_linear
from ...nn.query_encoder import encoder_inputs
from ...nn.video import VideoEncoding, VideoHead, one_frame_per_segment
from ...types import Embeddings, Features
from ...utils.padding import padded

TEXT_PROMPT = "Represent this text in detail: {text}"
VIDEO_PROMPT = "{images} Represent this video in detail."
CAPTION_PROMPT = "{images} Describe this video: {text}"
MASKED_PROMPT = "Text: {text} Video: {images}"
PROMPTS = (TEXT_PROMPT, VIDEO_PROMPT, CAPTION_PROMPT, MASKED_PROMPT)
_MAX_TEXT_TOKENS = 64  # of a person's text in a prompt
_MASK_PROBABILITY = 0.15  # of a key image, in the masked prediction


class MmiNetwork(nn.Module):
    """Sections 1 to 4 of the method on tensors (`pack` makes them); a `Trainable` of the train room.

    h_v = heads(key images) + W_V LVLM_last(key images), h_T = CLIP_text(T) + W_T LVLM_last(T). Decision: W_V and W_T
    start at zero, so that the untrained network is CLIP's mean of key images, and read unit vectors: states of length
    sqrt(d_lm) made the first steps so large that they undid what CLIP knows. `llava` is None where the large model is
    switched off, `moments` where no head finds moments, `matching` where none says whether a video shows a query.

    Module and parameter names are the keys of trained weights: they stay as they are.
    """

    def __init__(
        self,
        width: int,
        head: VideoHead,
        llava: Llava | None,
        moments: MomentHead | None = None,
        matching: MatchingHead | None = None,
        query_texts: LlamaTexts | None = None,
    ) -> None:
        """Put the parts together. `query_texts` reads texts in the place of `llava`, for a network that no video is
        shown to."""
        super().__init__()
        self.head = head
        self.llava = llava
        self._query_texts = query_texts if llava is None else None
        self.moments = moments
        self.matching = matching
        self.temperature = Temperature()  # of the masked prediction
        large = self._text_reader
        if large is not None:
            self.text_residual = zero_linear(large.width, width)  # W_T
            self.video_residual = zero_linear(large.width, width)  # W_V
            self.masked_image = nn.Parameter(torch.randn(large.width) * 0.02)
            self.guess = nn.Linear(large.width, width)

    @property
    def _text_reader(self) -> Llava | LlamaTexts | None:
        return self._query_texts if self.llava is None else self.llava

    def language_layers(self) -> tuple[nn.Module, Sequence[nn.Module]] | None:
        """Return what calls the layers of the language model, and these (`train.protocol.ModelWithLayers`)."""
        return None if self.llava is None else self.llava.layers()

    def videos(self, key_images: Mapping[str, Tensor]) -> VideoEncoding:
        """Encode the key images of B videos (see `pack`); h_v has LLaVA's part in it."""
        mask = key_images["mask"]
        encoding: VideoEncoding = self.head(key_images["image"], key_images.get("regions"), one_frame_per_segment(mask))
        if self.llava is None:
            return encoding
        prompts = [VIDEO_PROMPT.format(images=self._image_tokens(row)) for row in mask]
        states = self.llava.encode(prompts, self.llava.project(key_images["patches"][mask]))  # (B, d_lm)
        residual = self.video_residual(normalize(states.to(encoding.video), dim=-1))
        return encoding._replace(video=encoding.video + residual)

    def texts(self, clip: Tensor, texts: Sequence[str]) -> Tensor:
        """Return h_T (B, D) from CLIP's vectors (B, D) of the same texts."""
        large = self._text_reader
        if large is None:
            return clip
        prompts = [TEXT_PROMPT.format(text=large.quote(text, _MAX_TEXT_TOKENS)) for text in texts]
        states = large.encode(prompts)  # (B, d_lm)
        residual: Tensor = self.text_residual(normalize(states.to(clip), dim=-1))
        return clip + residual

    def characters_read(self, text: str) -> int:
        """Return how many characters of a text, from its start, the language model reads; 0 without one."""
        large = self._text_reader
        return 0 if large is None else min(len(text), len(large.quote(text, _MAX_TEXT_TOKENS)))

    # The protocol `Trainable`

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Return the trained parameters as `lora` (adapter and projector) and `heads` (all others)."""
        groups: dict[str, list[nn.Parameter]] = {"lora": [], "heads": []}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                groups["lora" if name.startswith("llava.") else "heads"].append(parameter)
        return groups

    def embed_batch(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Return texts (B, D), videos (B, D) and the number of each pair's video (B,)."""
        return self.texts(batch["clip"], batch["texts"]), self.videos(batch["video"]).video, batch["groups"]

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        """Return `caption` and `masked`, the two halves of L_m; `skeleton`, L_s; `moments`; `matching`. L_r is the
        train room's."""
        terms = {
            "caption": self.caption_loss,
            "masked": self.masked_loss,
            "skeleton": self.skeleton_loss,
            "moments": self.moment_loss,
            "matching": self.matching_loss,
        }
        return {name: terms[name](batch) for name in names if name in terms}

    def caption_loss(self, batch: Mapping[str, Any]) -> Tensor:
        """Return -log P(T | V): the next-token loss of the caption behind the key images (decision)."""
        llava, mask = self._required_llava(), batch["video"]["mask"]
        prompts = [CAPTION_PROMPT.format(images=self._image_tokens(row), text="").rstrip() for row in mask]
        captioned = [
            f"{prompt} {llava.quote(text, _MAX_TEXT_TOKENS)}"
            for prompt, text in zip(prompts, batch["texts"], strict=True)
        ]
        visual = llava.project(batch["video"]["patches"][mask])  # (N, T, d_lm)
        inputs = llava.inputs(captioned, visual)
        prompt_lengths = llava.inputs(prompts, visual).mask.sum(dim=1)  # (B,)
        positions = torch.arange(inputs.ids.shape[1], device=inputs.ids.device)
        target = (positions >= prompt_lengths[:, None]) & inputs.mask.bool()  # (B, L), the caption's own tokens
        states = llava.states(inputs)[:, :-1][target[:, 1:]]  # (N, d_lm), before each of these tokens
        return next_token_cross_entropy(llava.logits(states), inputs.ids[target])

    def masked_loss(self, batch: Mapping[str, Any]) -> Tensor:
        """Return -log P(V | T): masked key images, picked out of all key images of the batch (decision).

        At least one key image of each video is masked by a learned vector; the state at its place is held against
        CLIP's vectors. With several visual tokens a key image, the mean of their states is.
        """
        llava, mask, images = self._required_llava(), batch["video"]["mask"], batch["video"]["image"]
        masked = _random_mask(mask)
        visual = llava.project(batch["video"]["patches"][mask])  # (N, T, d_lm)
        visual = torch.where(masked[mask][:, None, None], self.masked_image.to(visual), visual)
        prompts = [
            MASKED_PROMPT.format(text=llava.quote(text, _MAX_TEXT_TOKENS), images=self._image_tokens(row))
            for text, row in zip(batch["texts"], mask, strict=True)
        ]
        inputs = llava.inputs(prompts, visual)
        at_images = inputs.ids == llava.base.config.image_token_id  # (B, L), N T of them true
        token_states = llava.states(inputs)[at_images]  # (N T, d_lm)
        states = token_states.reshape(-1, llava.tokens_per_image, llava.width).mean(dim=1)  # (N, d_lm)
        predictions = images.new_zeros(images.shape)  # (B, K, D)
        predictions = predictions.masked_scatter(mask[..., None], self.guess(states.to(predictions)).to(predictions))
        return masked_prediction(predictions, images, masked, mask, self.temperature())

    def skeleton_loss(self, batch: Mapping[str, Any]) -> Tensor:
        """Return L_s: binary cross-entropy of p on batch["skeletons"]: {"text", "video", "match"}."""
        pairs = batch["skeletons"]
        yes, no = self.judge_logits(pairs["text"], pairs["video"])
        return skeleton_cross_entropy(yes, no, pairs["match"])

    def moment_loss(self, batch: Mapping[str, Any]) -> Tensor:
        """Return the moment head's loss on batch["moments"] (`train.moments.MomentBatches`).

        Decision: vectors of queries and key images are read as they are; this term trains the moment head alone, and
        what a search ranks by stays.
        """
        if self.moments is None:
            raise ValueError("there is no moment head (moment_head: null); leave `moments` out of the stages")
        batch = batch["moments"]
        segments, mask = batch["segments"], batch["mask"]
        proposals = self.moments(batch["queries"], batch["images"], segments, mask)
        return moment_loss(proposals, segments, mask, batch["spans"], batch["events"])

    def matching_loss(self, batch: Mapping[str, Any]) -> Tensor:
        """Return the matching head's loss on batch["matching"] (`train.matching.MatchingBatches`); as in `moment_loss`,
        this term trains its head alone."""
        if self.matching is None:
            raise ValueError("there is no matching head (matching_head: null); leave `matching` out of the stages")
        inputs = dict(batch["matching"])
        matches = inputs.pop("matches")
        return matching_loss(self.matching(**inputs), matches)

    def locate(self, queries: NDArray[Any], videos: Sequence[Embeddings]) -> Tensor:
        """Return start, end and best time (B, 3) of queries (B, D) in a video of its own each, in seconds."""
        assert self.moments is not None
        inputs = self._on_device(encoder_inputs(queries, videos))
        return best_spans(self.moments(**inputs), inputs["segments"], inputs["mask"])

    def match(self, queries: NDArray[Any], videos: Sequence[Embeddings]) -> Tensor:
        """Return the logits (B,) of queries (B, D) with a video of its own each."""
        assert self.matching is not None
        logits: Tensor = self.matching(**self._on_device(matching_inputs(queries, videos)))
        return logits

    def _on_device(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        device = self.temperature.log_scale.device
        return {name: tensor.to(device) for name, tensor in inputs.items()}

    def judge_logits(self, texts: Sequence[str], videos: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the logits (N,) of "yes" and of "no" behind the question of prompts/judge.yaml.

        p = P(yes) / (P(yes) + P(no)) (decision).
        """
        llava, template = self._required_llava(), prompt_templates.judge()
        logits = llava.logits(llava.encode(template.prompts(llava.quote, texts, videos)))  # (N, V)
        yes, no = llava.first_token_id(template.positive), llava.first_token_id(template.negative)
        return logits[:, yes], logits[:, no]

    def _image_tokens(self, row: Tensor) -> str:
        """The image tokens of one video, from its row (K,) of the mask."""
        return self._required_llava().image_token * int(row.sum())

    def _required_llava(self) -> Llava:
        if self.llava is None:
            raise ValueError("the large model is switched off (lvlm: false); leave L_m and L_s out of the stages")
        return self.llava


def pack(features: Sequence[Features], device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Put the features of B videos side by side, padded to the largest K.

    Returns:
        image (B, K, D), regions (B, K, R, D) and patches (B, K, T, d_v) in float32, and mask (B, K), true where there
        is a key image.
    """
    longest = max(len(video.segments) for video in features)
    packed = {
        name: torch.from_numpy(padded([video.arrays[name] for video in features])).to(device)
        for name in ("image", "regions", "patches")
    }
    counts = torch.tensor([len(video.segments) for video in features], device=device)
    packed["mask"] = torch.arange(longest, device=device) < counts[:, None]
    return packed


def unit(vectors: Tensor) -> NDArray[np.float32]:
    """Return unit vectors (..., D) as an array, as other rooms hold them."""
    return np.asarray(normalize(vectors.float(), dim=-1).cpu().numpy(), dtype=np.float32)


def _random_mask(mask: Tensor) -> Tensor:
    """Which key images are masked: each with a chance of 15 %, at least one a video. (B, K) -> (B, K) bool."""
    draws = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, 2.0)
    return mask & ((draws < _MASK_PROBABILITY) | (draws == draws.min(dim=1, keepdim=True).values))
