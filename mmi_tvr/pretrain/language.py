"""Stage 3: projector and language model learn to describe key images, to answer questions about them and about texts,
and to say whether two skeletons describe one scene.

Source: LLaVA (Liu et al. 2023): next-token prediction of the replies alone; every reply ends with </s>. Decision: all
turns of a talk lie in one sequence behind what they are about, and none sees another, so that the pictures are read
once and no answer can be copied from the turn before. What is true is also read linearly from the state behind the
pictures or the text (`facts`): that gives order and relations a gradient from the first step. And what has happened so
far is read behind every single key image (`events`): a language model that is only asked at the end learns which events
there were, and hardly in what order.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import templates
from ..encoders.llava import Inputs, Llava
from ..losses import IGNORED
from .facts import LATEST, FactReader

DESCRIBE = " Describe this video:"
_PARTS = 4  # of a batch, so that little is padding


class Talk(NamedTuple):
    """What a talk is about ("" for the pictures), whether they are shown, and turns of a prompt and the reply to it."""

    context: str
    looks: bool
    turns: Sequence[tuple[str, str]]


class Row(NamedTuple):
    """The tokens of one talk: their ids, labels (the replies' own, IGNORED elsewhere), the number of the turn that each
    belongs to (0: what the talk is about), and positions, which go on behind that in every turn."""

    ids: Any
    labels: Any
    turns: Any
    positions: Any


class Part(NamedTuple):
    """Talks of like length, by their `rows` in the batch: `states` (B, L, d), `labels` (B, L), the places `ends` (B,)
    of the last token of what each talk is about, and how many key `images` each is shown."""

    rows: Sequence[int]
    states: Tensor
    labels: Tensor
    ends: Tensor
    images: Sequence[int]


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
    """A LLaVA in training, its vision tower aside; terms `replies`, `facts` of what the talk is about, and `events`,
    the latest one behind each key image."""

    def __init__(self, llava: Llava) -> None:
        super().__init__()
        self.llava = llava
        self.facts, self.events = FactReader(llava.width), FactReader(llava.width, LATEST)
        llava.base.requires_grad_(True)
        llava.base.model.vision_tower.requires_grad_(False)

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """The hidden matrices are `layers`; words, readers, biases and norms are `words`."""
        model = self.llava.base.model
        inside = (*model.language_model.layers.parameters(), *model.multi_modal_projector.parameters())
        hidden = {each for each in inside if each.ndim == 2}
        rest = [each for each in self.parameters() if each.requires_grad and each not in hidden]
        return {"layers": [each for each in inside if each in hidden], "words": rest}

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        parts = self.read(batch)
        said = torch.cat([part.states[:, :-1][part.labels[:, 1:] != IGNORED] for part in parts])
        wanted = torch.cat([part.labels[:, 1:][part.labels[:, 1:] != IGNORED] for part in parts])
        behind = torch.cat([part.states[torch.arange(len(part.ends)), part.ends] for part in parts])
        rows = [row for part in parts for row in part.rows]
        told = [
            batch["latest"][row][:count] for part in parts for row, count in zip(part.rows, part.images, strict=True)
        ]
        return {
            "replies": functional.cross_entropy(self.llava.logits(said).float(), wanted),
            "facts": self.facts(behind.float(), batch["facts"][rows]),
            "events": self.events(torch.cat([self._behind_images(part) for part in parts]).float(), torch.cat(told)),
        }

    def _behind_images(self, part: Part) -> Tensor:
        """The state at the last token of each key image, (N, d); <s> stands before the first."""
        size = self.llava.tokens_per_image
        return torch.cat([part.states[row, size : size * count + 1 : size] for row, count in enumerate(part.images)])

    def read(self, batch: Mapping[str, Any]) -> list[Part]:
        """The states of all talks, those of like length together."""
        talks: Sequence[Talk] = batch["talks"]
        counts = batch["video"]["mask"].sum(dim=1).tolist()
        made = [self._row(talk, count if talk.looks else 0) for talk, count in zip(talks, counts, strict=True)]
        order = sorted(range(len(talks)), key=lambda row: len(made[row].ids))
        size = -(-len(order) // _PARTS)
        return [
            self._read(order[first : first + size], made, talks, batch["video"]) for first in range(0, len(order), size)
        ]

    def _read(
        self, rows: Sequence[int], made: Sequence[Row], talks: Sequence[Talk], video: Mapping[str, Tensor]
    ) -> Part:
        device = video["mask"].device
        mask = video["mask"][rows] & torch.tensor([talks[row].looks for row in rows], device=device)[:, None]
        visual = self.llava.project(video["patches"][rows][mask]) if mask.any() else None
        length = max(len(made[row].ids) for row in rows)
        fill = Row(self.llava.tokenizer.pad_token_id, IGNORED, -1, 0)
        ids, labels, turns, positions = (
            torch.tensor([[*made[row][at], *[fill[at]] * (length - len(made[row][at]))] for row in rows], device=device)
            for at in range(len(fill))
        )
        inputs = Inputs(ids, self.llava.embed(ids, visual), _visible(turns))
        return Part(
            rows, self.llava.states(inputs, positions), labels, (turns == 0).sum(dim=1) - 1, mask.sum(dim=1).tolist()
        )

    def _row(self, talk: Talk, images: int) -> Row:
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
        return Row(ids, labels, turns, positions)


def _visible(turns: Tensor) -> Tensor:
    """Which token sees which, (B, L) numbers of turns -> (B, 1, L, L) bool: those before it that belong to its own
    turn or to what the talk is about. Padding sees itself, so that no row of the attention is empty."""
    behind = torch.ones(turns.shape[1], turns.shape[1], dtype=torch.bool, device=turns.device).tril()
    same = (turns[:, :, None] == turns[:, None, :]) | (turns[:, None, :] == 0)
    return (behind & same)[:, None]


@torch.no_grad()
def right_replies(speaker: Speaker, batch: Mapping[str, Any]) -> float:
    """Percentage of replies of which every token is the likeliest one, given those before it."""
    right = total = 0
    for part in speaker.read(batch):
        wanted = part.labels[:, 1:]
        wrong = (speaker.llava.logits(part.states)[:, :-1].argmax(dim=-1) != wanted) & (wanted != IGNORED)
        ends = wanted == speaker.llava.tokenizer.eos_token_id
        # Mistakes up to each reply's end, less those up to the end before it.
        for row, places in zip(wrong.cumsum(dim=1), ends, strict=True):
            sums = [0, *row[places].tolist()]
            right += sum(after == before for before, after in itertools.pairwise(sums))
            total += len(sums) - 1
    return 100 * right / max(1, total)
