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

from ... import prompt_templates
from ...encoders.llava import Inputs, Llava
from ...nn.losses import IGNORE_INDEX
from .facts import LATEST, FactReader

DESCRIBE = " Describe this video:"
_PARTS = 4  # of a batch, so that little is padding


class Span(NamedTuple):
    """An answer in a prompt, in characters: from `start` to `end`, and as expected up to `agreed`."""

    start: int
    agreed: int
    end: int


class Talk(NamedTuple):
    """What a talk is about ("" for the pictures), whether they are shown, and turns of a prompt and the reply to it.
    Where the replies are judgements, `answers` says of each turn which answers it shows."""

    context: str
    looks: bool
    turns: Sequence[tuple[str, str]]
    answers: Sequence[Sequence[Span]] = ()


class Row(NamedTuple):
    """The tokens of one talk: their ids, labels (the replies' own, IGNORE_INDEX elsewhere), the number of the turn that
    each belongs to (0: what the talk is about), positions, which go on behind that in every turn, and whether the
    answer that a token belongs to is as expected up to there (IGNORE_INDEX where it belongs to none)."""

    ids: Any
    labels: Any
    turns: Any
    positions: Any
    agrees: Any


class Part(NamedTuple):
    """Talks of like length, by their `rows` in the batch: `states` (B, L, d), `labels` and `agrees` (B, L), the places
    `ends` (B,) of the last token of what each talk is about, and how many key `images` each is shown."""

    rows: Sequence[int]
    states: Tensor
    labels: Tensor
    agrees: Tensor
    ends: Tensor
    images: Sequence[int]


def about_text(text: str) -> str:
    """The part of a prompt that all questions about a text share."""
    return _halves(prompt_templates.answer().text, "{text}")[0].format(text=text.replace('"', "'"))


def asked(question: str, looks: bool) -> str:
    """The rest of the prompt."""
    template, place = (
        (prompt_templates.answer().video, "{images}") if looks else (prompt_templates.answer().text, "{text}")
    )
    return _halves(template, place)[1].format(question=question)


def about_skeleton(text: str) -> str:
    """The part of a prompt that all comparisons with a text skeleton share."""
    return _halves(prompt_templates.judge().prompt, "{text}")[0].format(text=text)


def compared(shown: Sequence[str], expected: Sequence[str], same: bool) -> tuple[str, str, list[Span]]:
    """The rest of the prompt, with the answers of a video skeleton; the reply to it; and which of the answers are as
    expected, and how far."""
    template = prompt_templates.judge()
    before, _, behind = _halves(template.prompt, "{text}")[1].partition("{video}")
    spans, start = [], len(before)
    for answer, wanted in zip(shown, expected, strict=True):
        end = start + len(answer) + 1  # what stands behind it shows that nothing is missing
        alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(answer, wanted, strict=False))
        spans.append(Span(start, end if answer == wanted else start + len(list(alike)), end))
        start = end + 1
    return before + "; ".join(shown) + behind, template.positive if same else template.negative, spans


def _halves(template: str, place: str) -> tuple[str, str]:
    """A template cut at the first space behind a place: there, tokens begin anew."""
    cut = template.index(" ", template.index(place))
    return template[:cut], template[cut:]


class Speaker(nn.Module):
    """A LLaVA in training, its vision tower aside; terms `replies`, `judged` (the replies that are judgements: a word
    each, which would be lost among the others), `agrees` (which answers of a skeleton are as expected: from the
    judgements alone, nothing was learned of what things do), `facts` of what the talk is about, and `events`, the
    latest one behind each key image."""

    def __init__(self, llava: Llava) -> None:
        super().__init__()
        self.llava = llava
        self.facts, self.events = FactReader(llava.width), FactReader(llava.width, LATEST)
        self.agrees = FactReader(llava.width, (2,))
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
        places = [part.labels[:, 1:] != IGNORE_INDEX for part in parts]
        said = torch.cat([part.states[:, :-1][place] for part, place in zip(parts, places, strict=True)])
        wanted = torch.cat([part.labels[:, 1:][place] for part, place in zip(parts, places, strict=True)])
        judged = torch.cat([self._judges(part, batch)[place] for part, place in zip(parts, places, strict=True)])
        losses = functional.cross_entropy(self.llava.logits(said).float(), wanted, reduction="none")
        behind = torch.cat([part.states[torch.arange(len(part.ends)), part.ends] for part in parts])
        rows = [row for part in parts for row in part.rows]
        told = [
            batch["latest"][row][:count] for part in parts for row, count in zip(part.rows, part.images, strict=True)
        ]
        return {
            "replies": losses[~judged].sum() / (~judged).sum().clamp(min=1),
            "judged": losses[judged].sum() / judged.sum().clamp(min=1),
            "agrees": self.agrees(
                torch.cat([part.states[part.agrees != IGNORE_INDEX] for part in parts]).float(),
                torch.cat([part.agrees[part.agrees != IGNORE_INDEX] for part in parts])[:, None],
            ),
            "facts": self.facts(behind.float(), batch["facts"][rows]),
            "events": self.events(torch.cat([self._behind_images(part) for part in parts]).float(), torch.cat(told)),
        }

    def _judges(self, part: Part, batch: Mapping[str, Any]) -> Tensor:
        """Which tokens, all but the first, belong to talks that judge, (B, L - 1) bool."""
        rows = torch.tensor([bool(batch["talks"][row].answers) for row in part.rows], device=part.labels.device)
        return rows[:, None].expand_as(part.labels[:, 1:])

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
        fill = Row(self.llava.tokenizer.pad_token_id, IGNORE_INDEX, -1, 0, IGNORE_INDEX)
        ids, labels, turns, positions, agrees = (
            torch.tensor([[*made[row][at], *[fill[at]] * (length - len(made[row][at]))] for row in rows], device=device)
            for at in range(len(fill))
        )
        inputs = Inputs(ids, self.llava.embed(ids, visual), _visible(turns))
        return Part(
            rows,
            self.llava.states(inputs, positions),
            labels,
            agrees,
            (turns == 0).sum(dim=1) - 1,
            mask.sum(dim=1).tolist(),
        )

    def _row(self, talk: Talk, images: int) -> Row:
        words = self.llava.tokenizer
        picture = words.convert_tokens_to_ids(self.llava.image_token)
        ids = [words.bos_token_id, *[picture] * (images * self.llava.tokens_per_image)]
        ids += words.encode(talk.context, add_special_tokens=False) if talk.context else []
        start = len(ids)
        labels, turns, positions, agrees = [IGNORE_INDEX] * start, [0] * start, [*range(start)], [IGNORE_INDEX] * start
        answers = talk.answers or [()] * len(talk.turns)
        for number, ((prompt, reply), spans) in enumerate(zip(talk.turns, answers, strict=True), 1):
            read = words(prompt, add_special_tokens=False, return_offsets_mapping=True)
            said = read["input_ids"]
            replied = [*words.encode(f" {reply}", add_special_tokens=False), words.eos_token_id]
            ids += said + replied
            labels += [IGNORE_INDEX] * len(said) + replied
            agrees += [_agrees(end, spans) for _, end in read["offset_mapping"]] + [IGNORE_INDEX] * len(replied)
            turns += [number] * (len(said) + len(replied))
            positions += range(start, start + len(said) + len(replied))
        return Row(ids, labels, turns, positions, agrees)


def _agrees(end: int, spans: Iterable[Span]) -> int:
    """Whether a token that ends there belongs to what is as expected, IGNORE_INDEX where it belongs to no answer."""
    return next((int(end <= span.agreed) for span in spans if span.start < end <= span.end), IGNORE_INDEX)


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
        wrong = (speaker.llava.logits(part.states)[:, :-1].argmax(dim=-1) != wanted) & (wanted != IGNORE_INDEX)
        ends = wanted == speaker.llava.tokenizer.eos_token_id
        # Mistakes up to each reply's end, less those up to the end before it.
        for row, places in zip(wrong.cumsum(dim=1), ends, strict=True):
            sums = [0, *row[places].tolist()]
            right += sum(after == before for before, after in itertools.pairwise(sums))
            total += len(sums) - 1
    return 100 * right / max(1, total)
