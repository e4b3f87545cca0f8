"""Stage 3: projector and language model learn to describe key images and to answer questions about them.

Source: LLaVA (Liu et al. 2023): next-token prediction of the replies alone. Every reply ends with </s>, and several
turns follow each other in one sequence. Some talks are about a caption instead of the pictures: a query has none.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..encoders.llava import Inputs, Llava
from ..losses import IGNORED, next_token

TEXT = "Text: {text}"
QUESTION = " Question: {question} Answer:"
DESCRIBE = " Describe this video:"

Turns = Sequence[tuple[str, str]]


class Speaker(nn.Module):
    """A LLaVA in training, its vision tower aside; term `replies`."""

    def __init__(self, llava: Llava) -> None:
        super().__init__()
        self.llava = llava
        llava.base.requires_grad_(True)
        llava.base.model.vision_tower.requires_grad_(False)

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        return {"language": [each for each in self.parameters() if each.requires_grad]}

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        logits, labels = self.said(batch)
        return {"replies": next_token(logits, labels)}

    def said(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Logits (B, L, V), and labels (B, L): the replies' tokens, IGNORED elsewhere."""
        looks = batch["looks"]
        mask = batch["video"]["mask"] & looks[:, None]
        visual = self.llava.project(batch["video"]["patches"][mask]) if mask.any() else None
        rows = [
            self._row(context, int(row.sum()), turns)
            for context, row, turns in zip(batch["contexts"], mask, batch["turns"], strict=True)
        ]
        length = max(len(ids) for ids, _ in rows)
        pad = self.llava.tokenizer.pad_token_id
        ids = torch.tensor([[*own, *[pad] * (length - len(own))] for own, _ in rows], device=looks.device)
        labels = torch.tensor([[*own, *[IGNORED] * (length - len(own))] for _, own in rows], device=looks.device)
        real = torch.tensor([[1] * len(own) + [0] * (length - len(own)) for own, _ in rows], device=looks.device)
        inputs = Inputs(ids, self.llava.embed(ids, visual), real)
        return self.llava.logits(self.llava.states(inputs)), labels

    def _row(self, context: str, images: int, turns: Turns) -> tuple[list[int], list[int]]:
        """Token ids of one talk, and its labels."""
        words = self.llava.tokenizer
        picture = words.convert_tokens_to_ids(self.llava.image_token)
        start = [words.bos_token_id, *[picture] * (images * self.llava.tokens_per_image)]
        ids = start + (words.encode(TEXT.format(text=context), add_special_tokens=False) if context else [])
        labels = [IGNORED] * len(ids)
        for prompt, reply in turns:
            asked = words.encode(prompt, add_special_tokens=False)
            said = [*words.encode(f" {reply}", add_special_tokens=False), words.eos_token_id]
            ids += asked + said
            labels += [IGNORED] * len(asked) + said
        return ids, labels


@torch.no_grad()
def right_replies(speaker: Speaker, batch: Mapping[str, Any]) -> float:
    """Percentage of replies of which every token is the likeliest one, given those before it."""
    logits, labels = speaker.said(batch)
    wanted = labels[:, 1:]
    wrong = (logits[:, :-1].argmax(dim=-1) != wanted) & (wanted != IGNORED)
    ends = wanted == speaker.llava.tokenizer.eos_token_id
    # Mistakes up to each reply's end, less those up to the end before it.
    upto = wrong.cumsum(dim=1)
    right = total = 0
    for row, places in zip(upto, ends, strict=True):
        sums = [0, *row[places].tolist()]
        right += sum(after == before for before, after in itertools.pairwise(sums))
        total += len(sums) - 1
    return 100 * right / max(1, total)
