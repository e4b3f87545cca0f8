"""The trained part of MMI-TVR: heads on CLIP's space, a LoRA-tuned LLaVA beside them, and the loss terms of both."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ... import prompt_templates
from ...encoders.llava import Llava
from ...nn.losses import IGNORED, Temperature, masked_prediction, next_token, skeleton
from ...nn.pooling import zero_linear
from ...nn.video import Seen, VideoHead, in_order
from ...types import Features

TEXT_PROMPT = "Represent this text in detail: {text}"
VIDEO_PROMPT = "{images} Represent this video in detail."
CAPTION_PROMPT = "{images} Describe this video: {text}"
MASKED_PROMPT = "Text: {text} Video: {images}"
PROMPTS = (TEXT_PROMPT, VIDEO_PROMPT, CAPTION_PROMPT, MASKED_PROMPT)
_QUOTED = 64  # tokens of a person's text that a prompt carries
_MASKED = 0.15  # share of key images that are masked


class MmiNetwork(nn.Module):
    """Sections 1 to 4 of the method on tensors (`pack` makes them); a `Trainable` of the train room.

    h_v = heads(key images) + W_V LVLM_last(key images), h_T = CLIP_text(T) + W_T LVLM_last(T). Decision: W_V and W_T
    start at zero, so that the untrained network is CLIP's mean of key images, and read unit vectors: states of length
    sqrt(d_lm) made the first steps so large that they undid what CLIP knows. `llava` is None where the large model is
    switched off.
    """

    def __init__(self, width: int, head: VideoHead, llava: Llava | None) -> None:
        super().__init__()
        self.head = head
        self.llava = llava
        self.temperature = Temperature()  # of the masked prediction
        if llava is not None:
            self.text_residual = zero_linear(llava.width, width)  # W_T
            self.video_residual = zero_linear(llava.width, width)  # W_V
            self.masked_image = nn.Parameter(torch.randn(llava.width) * 0.02)
            self.guess = nn.Linear(llava.width, width)

    def videos(self, seen: Mapping[str, Tensor]) -> Seen:
        """Key images of B videos (see `pack`) -> h_v (B, D), with LLaVA's part in it, h_I (B, K, D), mask, weights."""
        mask = seen["mask"]
        found = self.head(seen["image"], seen.get("regions"), in_order(mask))
        if self.llava is None:
            return found
        texts = [VIDEO_PROMPT.format(images=self._places(row)) for row in mask]
        said = self.llava.read(texts, self.llava.project(seen["patches"][mask]))
        return found._replace(video=found.video + self.video_residual(normalize(said.to(found.video), dim=-1)))

    def texts(self, clip: Tensor, texts: Sequence[str]) -> Tensor:
        """h_T (B, D) from CLIP's vectors (B, D) of the same texts."""
        if self.llava is None:
            return clip
        prompts = [TEXT_PROMPT.format(text=self.llava.quote(text, _QUOTED)) for text in texts]
        return clip + self.text_residual(normalize(self.llava.read(prompts).to(clip), dim=-1))

    # What the train room asks for

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """`lora` (adapter and projector) and `heads` (all else)."""
        groups: dict[str, list[nn.Parameter]] = {"lora": [], "heads": []}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                groups["lora" if name.startswith("llava.") else "heads"].append(parameter)
        return groups

    def embed_batch(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Texts (B, D), videos (B, D) and the number of each pair's video (B,)."""
        return self.texts(batch["clip"], batch["texts"]), self.videos(batch["video"]).video, batch["groups"]

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        """`caption` and `masked`, the two halves of L_m; `skeleton`, L_s. L_r is the train room's own."""
        terms = {"caption": self.caption_loss, "masked": self.masked_loss, "skeleton": self.skeleton_loss}
        return {name: terms[name](batch) for name in names if name in terms}

    def caption_loss(self, batch: Mapping[str, Any]) -> Tensor:
        """-log P(T | V): the next-token loss of the caption behind the key images (decision)."""
        llava, mask = self._llava(), batch["video"]["mask"]
        starts = [CAPTION_PROMPT.format(images=self._places(row), text="").rstrip() for row in mask]
        wholes = [f"{start} {llava.quote(text, _QUOTED)}" for start, text in zip(starts, batch["texts"], strict=True)]
        visual = llava.project(batch["video"]["patches"][mask])
        inputs = llava.inputs(wholes, visual)
        prompts = llava.inputs(starts, visual).mask.sum(dim=1)  # how many tokens come before the caption
        places = torch.arange(inputs.ids.shape[1], device=inputs.ids.device)
        target = (places >= prompts[:, None]) & inputs.mask.bool()
        return next_token(llava.logits(llava.states(inputs)), inputs.ids.where(target, IGNORED))

    def masked_loss(self, batch: Mapping[str, Any]) -> Tensor:
        """-log P(V | T): masked key images, picked out of all key images of the batch (decision).

        At least one key image of each video is masked by a learned vector; the state at its place is held against
        CLIP's vectors. With several visual tokens a key image, the mean over its places speaks.
        """
        llava, mask = self._llava(), batch["video"]["mask"]
        masked = _some(mask)
        visual = llava.project(batch["video"]["patches"][mask])  # (N, T, d_lm)
        visual = torch.where(masked[mask][:, None, None], self.masked_image.to(visual), visual)
        texts = [
            MASKED_PROMPT.format(text=llava.quote(text, _QUOTED), images=self._places(row))
            for text, row in zip(batch["texts"], mask, strict=True)
        ]
        inputs = llava.inputs(texts, visual)
        at_images = inputs.ids == llava.base.config.image_token_id
        states = llava.states(inputs)[at_images].unflatten(0, (-1, llava.tokens_per_image)).mean(dim=1)  # (N, d_lm)
        guesses = batch["video"]["image"].new_zeros(batch["video"]["image"].shape)
        guesses = guesses.masked_scatter(mask[..., None], self.guess(states.to(guesses)).to(guesses))
        return masked_prediction(guesses, batch["video"]["image"], masked, mask, self.temperature())

    def skeleton_loss(self, batch: Mapping[str, Any]) -> Tensor:
        """L_s: binary cross-entropy of p on pairs of skeletons, batch["skeletons"]: {"text", "video", "match"}."""
        pairs = batch["skeletons"]
        yes, no = self.answers(pairs["text"], pairs["video"])
        return skeleton(yes, no, pairs["match"])

    def answers(self, texts: Sequence[str], videos: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Logits (N,) of "yes" and of "no" behind the question of prompts/judge.yaml; p = P(yes) / (P(yes) + P(no))
        (decision)."""
        llava, template = self._llava(), prompt_templates.judge()
        logits = llava.logits(llava(llava.inputs(judge_prompts(llava, texts, videos))))
        yes, no = (llava.first_token(word) for word in (template.positive, template.negative))
        return logits[:, yes], logits[:, no]

    def _places(self, row: Tensor) -> str:
        return self._llava().image_token * int(row.sum())

    def _llava(self) -> Llava:
        if self.llava is None:
            raise ValueError("the large model is switched off (lvlm: false); leave L_m and L_s out of the stages")
        return self.llava


def judge_prompts(llava: Llava, texts: Sequence[str], videos: Sequence[str]) -> list[str]:
    """The question of prompts/judge.yaml about each pair of plain skeletons, which are quoted."""
    template = prompt_templates.judge()
    pairs = zip(texts, videos, strict=True)
    texts, videos = zip(*((llava.quote(each, template.quoted) for each in pair) for pair in pairs), strict=True)
    return [template.prompt.format(text=text, video=video) for text, video in zip(texts, videos, strict=True)]


def pack(features: Sequence[Features], device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Features of B videos side by side, padded to the largest K: image (B, K, D), regions (B, K, R, D),
    patches (B, K, T, d_v) in float32, and mask (B, K), true where there is a key image."""
    most = max(len(each.segments) for each in features)
    packed = {}
    for name in ("image", "regions", "patches"):
        rows = [each.arrays[name] for each in features]
        padded = np.zeros((len(rows), most, *rows[0].shape[1:]), dtype=np.float32)
        for row, own in zip(padded, rows, strict=True):
            row[: len(own)] = own
        packed[name] = torch.from_numpy(padded).to(device)
    counts = torch.tensor([len(each.segments) for each in features], device=device)
    packed["mask"] = torch.arange(most, device=device) < counts[:, None]
    return packed


def unit(vectors: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Unit vectors, as other rooms hold them."""
    return np.asarray(normalize(vectors.float(), dim=-1).cpu().numpy(), dtype=np.float32)


def _some(mask: Tensor) -> Tensor:
    """Which key images are masked: each with a chance of 15 %, at least one a video. (B, K) -> (B, K) bool."""
    draws = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, 2.0)
    return mask & ((draws < _MASKED) | (draws == draws.min(dim=1, keepdim=True).values))
