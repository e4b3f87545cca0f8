"""Stage 3: projector and language model learn to describe key images, to answer questions about them and about texts,
and to say whether two skeletons describe one scene.

Source: LLaVA (Liu et al. 2023): next-token prediction of the replies alone; every reply ends with </s>. Decision: all
turns of a talk lie in one sequence behind what they are about, and none sees another, so that the pictures are read
once and no answer can be copied from the turn before. What is true is also read linearly from the state behind the
pictures or the text (`facts`): that gives order and relations a gradient from the first step.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .. import templates
from ..encoders.llava import Inputs, Llava
from ..losses import IGNORED, next_token
from .facts import FactReader

DESCRIBE = " Describe this video:"


class Talk(NamedTuple):
    """What a talk is about ("" for the pictures), whether they are shown, and turns of a prompt and the reply to it."""

    context: str
    looks: bool
    turns: Sequence[tuple[str, str]]


def about_text(text: str) -> str:
    """The part of a prompt that all questions about a text share."""
    return _halves(templates.answer().text, "{text}")[0].format(text=text.replace('"', "'"))


def asked(question: str, looks: bool) -> str:
    """The rest of the prompt."""
    template, place = (templates.answer().video, "{images}") if looks else (templates.answer().text, "{text}")
    return _halves(template, place)[1].format(question=question)


def _halves(template: str, place: str) -> tuple[str, str]:
    """A template cut at the first space behind a place: there, tokens begin anew."""
    cut = template.index(" ", template.index(place))
    return template[:cut], template[cut:]


class Speaker(nn.Module):
    """A LLaVA in training, its vision tower aside; terms `replies`, and `facts` of what the talk is about."""

    def __init__(self, llava: Llava) -> None:
        super().__init__()
        self.llava = llava
        self.facts = FactReader(llava.width)
        llava.base.requires_grad_(True)
        llava.base.model.vision_tower.requires_grad_(False)

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        return {"language": [each for each in self.parameters() if each.requires_grad]}

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        states, labels, ends = self.read(batch)
        behind = states[torch.arange(len(ends), device=ends.device), ends]
        return {
            "replies": next_token(self.llava.logits(states), labels),
            "facts": self.facts(behind.float(), batch["facts"]),
        }

    def read(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """States (B, L, d), labels (B, L), which are the replies' tokens and IGNORED elsewhere, and the place (B,) of
        the last token of what each talk is about."""
        talks: Sequence[Talk] = batch["talks"]
        device = batch["video"]["mask"].device
        looks = torch.tensor([talk.looks for talk in talks], device=device)
        mask = batch["video"]["mask"] & looks[:, None]
        visual = self.llava.project(batch["video"]["patches"][mask]) if mask.any() else None
        rows = [self._row(talk, int(seen.sum())) for talk, seen in zip(talks, mask, strict=True)]
        length = max(len(row[0]) for row in rows)
        fill = (self.llava.tokenizer.pad_token_id, IGNORED, -1, 0)
        ids, labels, turns, positions = (
            torch.tensor([[*row[at], *[fill[at]] * (length - len(row[at]))] for row in rows], device=device)
            for at in range(4)
        )
        inputs = Inputs(ids, self.llava.embed(ids, visual), _visible(turns))
        return self.llava.states(inputs, positions), labels, (turns == 0).sum(dim=1) - 1

    def _row(self, talk: Talk, images: int) -> tuple[list[int], list[int], list[int], list[int]]:
        """Of one talk: token ids, labels, the number of the turn that each token belongs to (0: what it is about), and
        positions, which go on behind that in every turn."""
        words = self.llava.tokenizer
        picture = words.convert_tokens_to_ids(self.llava.image_token)
        ids = [words.bos_token_id, *[picture] * (images * self.llava.tokens_per_image)]
        ids += words.encode(talk.context, add_special_tokens=False) if talk.context else []
        start = len(ids)
        labels, turns, positions = [IGNORED] * start, [0] * start, [*range(start)]
        for number, (prompt, reply) in enumerate(talk.turns, 1):
            said = words.encode(prompt, add_special_tokens=False)
            replied = [*words.encode(f" {reply}", add_special_tokens=False), words.eos_token_id]
            ids += said + replied
            labels += [IGNORED] * len(said) + replied
            turns += [number] * (len(said) + len(replied))
            positions += range(start, start + len(said) + len(replied))
        return ids, labels, turns, positions


def _visible(turns: Tensor) -> Tensor:
    """Which token sees which, (B, L) numbers of turns -> (B, 1, L, L) bool: those before it that belong to its own
    turn or to what the talk is about. Padding sees itself, so that no row of the attention is empty."""
    behind = torch.ones(turns.shape[1], turns.shape[1], dtype=torch.bool, device=turns.device).tril()
    same = (turns[:, :, None] == turns[:, None, :]) | (turns[:, None, :] == 0)
    return (behind & same)[:, None]


@torch.no_grad()
def right_replies(speaker: Speaker, batch: Mapping[str, Any]) -> float:
    """Percentage of replies of which every token is the likeliest one, given those before it."""
    states, labels, _ = speaker.read(batch)
    wanted = labels[:, 1:]
    wrong = (speaker.llava.logits(states)[:, :-1].argmax(dim=-1) != wanted) & (wanted != IGNORED)
    ends = wanted == speaker.llava.tokenizer.eos_token_id
    # Mistakes up to each reply's end, less those up to the end before it.
    upto = wrong.cumsum(dim=1)
    right = total = 0
    for row, places in zip(upto, ends, strict=True):
        sums = [0, *row[places].tolist()]
        right += sum(after == before for before, after in itertools.pairwise(sums))
        total += len(sums) - 1
    return 100 * right / max(1, total)
