"""Stage 3: projector and language model learn to describe key images, to answer questions about them and about texts,
and to say whether two skeletons describe one scene.

Source: LLaVA (Liu et al. 2023): next-token prediction of the replies alone; every reply ends with </s>. Decision: all
turns of a conversation lie in one sequence behind what they are about, and none sees another, so that the pictures are
read once and no answer can be copied from the turn before. What is true is also read linearly from the state behind the
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

from ...encoders.llava import Inputs, Llava
from ...nn.losses import IGNORE_INDEX
from .conversations import Conversation
from .facts import LATEST, FactReader
from .tokens import ConversationTokenizer, TokenizedConversation, groups_of_like_length

_LENGTH_GROUPS = 8  # that a batch is cut into


class HiddenStates(NamedTuple):
    """Conversations of like length, by their `rows` in the batch: `states` (B, L, d), `labels` and `agrees` (B, L), the
    positions `ends` (B,) of the last token of what each conversation is about, and which key images it `shows`
    (B, K)."""

    rows: Sequence[int]
    states: Tensor
    labels: Tensor
    agrees: Tensor
    ends: Tensor
    shows: Tensor


class LanguageStage(nn.Module):
    """A LLaVA in training, its vision tower aside (`train.protocol.Trainable`).

    Terms: `replies`; `judged`, the replies that are judgements: a word each, which would be lost among the others;
    `agrees`, which answers of a skeleton are as expected: from the judgements alone, nothing was learned of what things
    do; `facts` of what the conversation is about; `events`, the latest one behind each key image.
    """

    def __init__(self, llava: Llava) -> None:
        super().__init__()
        self.llava = llava
        self.tokenize = ConversationTokenizer(llava.tokenizer, llava.image_token, llava.tokens_per_image)
        self.facts, self.events = FactReader(llava.width), FactReader(llava.width, LATEST)
        self.agrees = FactReader(llava.width, (2,))
        llava.base.requires_grad_(True)
        llava.base.model.vision_tower.requires_grad_(False)

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Return the hidden matrices as `layers`; words, readers, biases and norms as `words`."""
        model = self.llava.base.model
        inside = (*model.language_model.layers.parameters(), *model.multi_modal_projector.parameters())
        layers = [parameter for parameter in inside if parameter.ndim == 2]
        hidden = set(layers)
        words = [parameter for parameter in self.parameters() if parameter.requires_grad and parameter not in hidden]
        return {"layers": layers, "words": words}

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        """Return all terms; see the class."""
        groups = self.read(batch)
        return {
            **self._reply_terms(groups, batch["conversations"]),
            "agrees": self._agreement_term(groups),
            **self._fact_terms(groups, batch),
        }

    def _reply_terms(self, groups: Sequence[HiddenStates], conversations: Sequence[Conversation]) -> dict[str, Tensor]:
        """Return the mean cross-entropies of the tokens of replies, and of those that are judgements."""
        masks = [group.labels[:, 1:] != IGNORE_INDEX for group in groups]  # (B, L - 1), of the tokens to predict
        states = torch.cat([group.states[:, :-1][mask] for group, mask in zip(groups, masks, strict=True)])
        labels = torch.cat([group.labels[:, 1:][mask] for group, mask in zip(groups, masks, strict=True)])
        judged = torch.cat([_judging(group, conversations)[mask] for group, mask in zip(groups, masks, strict=True)])
        losses = functional.cross_entropy(self.llava.logits(states).float(), labels, reduction="none")
        return {
            "replies": losses[~judged].sum() / (~judged).sum().clamp(min=1),
            "judged": losses[judged].sum() / judged.sum().clamp(min=1),
        }

    def _agreement_term(self, groups: Sequence[HiddenStates]) -> Tensor:
        states = torch.cat([group.states[group.agrees != IGNORE_INDEX] for group in groups])
        agrees = torch.cat([group.agrees[group.agrees != IGNORE_INDEX] for group in groups])
        loss: Tensor = self.agrees(states.float(), agrees[:, None])
        return loss

    def _fact_terms(self, groups: Sequence[HiddenStates], batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the losses of facts behind the context, and of the latest event behind each key image."""
        behind_context = torch.cat([group.states[torch.arange(len(group.ends)), group.ends] for group in groups])
        rows = [row for group in groups for row in group.rows]
        behind_images = torch.cat([self._behind_images(group) for group in groups])
        events = [batch["latest"][group.rows][group.shows] for group in groups]
        return {
            "facts": self.facts(behind_context.float(), batch["facts"][rows]),
            "events": self.events(behind_images.float(), torch.cat(events)),
        }

    def _behind_images(self, group: HiddenStates) -> Tensor:
        """Return the state at the last token of each key image, (N, d); <s> stands before the first."""
        rows, images = group.shows.nonzero(as_tuple=True)
        return group.states[rows, self.llava.tokens_per_image * (images + 1)]

    def read(self, batch: Mapping[str, Any]) -> list[HiddenStates]:
        """Return the states of all conversations, those of like length together."""
        tokenized: Sequence[TokenizedConversation] = batch["tokenized"]
        lengths = [len(conversation.ids) for conversation in tokenized]
        return [
            self._read_group(rows, tokenized, batch["conversations"], batch["video"])
            for rows in groups_of_like_length(lengths, _LENGTH_GROUPS, batch["video"]["mask"].device)
        ]

    def _read_group(
        self,
        rows: Sequence[int],
        tokenized: Sequence[TokenizedConversation],
        conversations: Sequence[Conversation],
        video: Mapping[str, Tensor],
    ) -> HiddenStates:
        """Return the states of some conversations, padded to the longest of them.

        Args:
            rows: their numbers in the batch.
            tokenized: of the whole batch.
            conversations: of the whole batch.
            video: the whole batch's key images (`models.mmi.pack`).
        """
        device = video["mask"].device
        with_images = torch.tensor([conversations[row].with_images for row in rows], device=device)
        mask = video["mask"][rows] & with_images[:, None]  # (B, K)
        visual = self.llava.project(video["patches"][rows][mask]) if mask.any() else None
        length = max(len(tokenized[row].ids) for row in rows)
        group = [tokenized[row] for row in rows]

        def padded(sequences: Sequence[Sequence[int]], fill: int) -> Tensor:
            return torch.tensor([[*ids, *[fill] * (length - len(ids))] for ids in sequences], device=device)

        ids = padded([conversation.ids for conversation in group], self.llava.tokenizer.pad_token_id)
        labels = padded([conversation.labels for conversation in group], IGNORE_INDEX)
        turns = padded([conversation.turns for conversation in group], -1)
        positions = padded([conversation.positions for conversation in group], 0)
        agrees = padded([conversation.agrees for conversation in group], IGNORE_INDEX)
        inputs = Inputs(ids, self.llava.embed(ids, visual), _visible(turns))
        states = self.llava.states(inputs, positions)
        ends = (turns == 0).sum(dim=1) - 1
        return HiddenStates(rows, states, labels, agrees, ends, mask)


def _judging(group: HiddenStates, conversations: Sequence[Conversation]) -> Tensor:
    """Return which tokens, all but the first, belong to conversations that judge, (B, L - 1) bool."""
    rows = torch.tensor([bool(conversations[row].answers) for row in group.rows], device=group.labels.device)
    return rows[:, None].expand_as(group.labels[:, 1:])


def _visible(turns: Tensor) -> Tensor:
    """Return which token sees which, (B, L) numbers of turns -> (B, 1, L, L) bool: those before it that belong to its
    own turn or to what the conversation is about. Padding sees itself, so that no row of the attention is empty."""
    causal = torch.ones(turns.shape[1], turns.shape[1], dtype=torch.bool, device=turns.device).tril()
    same = (turns[:, :, None] == turns[:, None, :]) | (turns[:, None, :] == 0)
    return (causal & same)[:, None]


@torch.no_grad()
def right_replies(stage: LanguageStage, batch: Mapping[str, Any]) -> float:
    """Return the percentage of replies of which every token is the likeliest one, given those before it."""
    right = total = 0
    for group in stage.read(batch):
        labels = group.labels[:, 1:]
        wrong = (stage.llava.logits(group.states)[:, :-1].argmax(dim=-1) != labels) & (labels != IGNORE_INDEX)
        ends = labels == stage.llava.tokenizer.eos_token_id
        # Mistakes up to each reply's end, less those up to the end before it.
        for mistakes, reply_ends in zip(wrong.cumsum(dim=1), ends, strict=True):
            sums = [0, *mistakes[reply_ends].tolist()]
            right += sum(after == before for before, after in itertools.pairwise(sums))
            total += len(sums) - 1
    return 100 * right / max(1, total)
