"""The trained part of LaT: translators G (text -> video) and F (video -> text), and the losses of both."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ...encoders.space_time import fit_positions
from ...nn.losses import batch_mean
from ...nn.options import TranslatorOptions
from ...nn.translator import Tokens, Translator, cycle_error
from ...types import Direction
from .terms import CYCLE, UNPAIRED

if TYPE_CHECKING:
    from ...encoders.video_text import VideoTextTowers

_TOWERS = "towers."  # what the names of the towers' parameters begin with
_POSITIONS = "towers.video.temporal_embed"


class LatNetwork(nn.Module):
    """Section 3 of the paper on tokens of both towers; a `Trainable` of the train room.

    A text's vector is [G(t) | t], a video's is [v | F(v)], each part the unit vectors of its levels, [CLS] and the mean
    of the other tokens, one behind the other. So the cosine of a level is a dot product of a stretch of both.

    Loss (eq. 13, every weight 1): the sum over levels of (L_v2t + L_t2v) / 2 + (|G(F(v)) - v|^2 + |F(G(t)) - t|^2) / 2.
    The first half is the room's term `contrastive` of `similarity`, the second one the term `cycle`.

    Module and parameter names are the keys of trained weights: they stay as they are.

    Args:
        text_width: of the text tower's tokens.
        video_width: of the video tower's tokens.
        text_queries: tokens that F gives.
        video_queries: tokens that G gives.
        translator: kind and size of both.
        levels: "global", "token" or "both", which the losses compare.
        cycle: whether `embed_batch` goes through both translators and back, for the term `cycle`.
        detach: whether no gradient of a cycle error reaches what should come back (`cycle_error`).
        symmetric: whether each space is compared in both directions.
        summaries: how many tokens of a video, the first ones, stand for all of it.
        towers: make the tokens of what a batch holds; None: it holds tokens.
    """

    def __init__(
        self,
        text_width: int,
        video_width: int,
        *,
        text_queries: int,
        video_queries: int,
        translator: TranslatorOptions,
        levels: str = "both",
        cycle: bool = True,
        detach: bool = False,
        symmetric: bool = False,
        summaries: int = 1,
        towers: VideoTextTowers | None = None,
    ) -> None:
        super().__init__()
        self.to_video = Translator(text_width, video_width, video_queries, translator)  # G
        self.to_text = Translator(video_width, text_width, text_queries, translator)  # F
        self._widths = (video_width, text_width)
        self._cycle, self._detach, self._symmetric = cycle, detach, symmetric
        self._summaries = (summaries, 1)  # of a video, and of a text
        self._levels = [level_slice(levels, count) for count in self._summaries]
        self.towers = towers

    def text_tokens(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """Return the tokens of B texts: `inputs` as they are, or what the text tower makes of them."""
        if self.towers is None:
            return Tokens(**inputs)
        states, mask = self.towers.text_states(**inputs)
        return Tokens(of_length_sqrt_width(states), mask)

    def video_tokens(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """Return the tokens of B videos: `inputs` as they are, or what the video tower makes of them."""
        if self.towers is None:
            return Tokens(**inputs)
        states, mask = self.towers.video_states(**inputs)
        return Tokens(of_length_sqrt_width(states), mask)

    def texts(self, text: Tokens) -> tuple[Tensor, Tensor]:
        """Return the levels (B, S + 1, D_v) of G(t) and (B, 2, D_t) of t."""
        return self._all_levels(self.to_video(text), text)

    def videos(self, video: Tokens) -> tuple[Tensor, Tensor]:
        """Return the levels (B, S + 1, D_v) of v and (B, 2, D_t) of F(v)."""
        return self._all_levels(video, self.to_text(video))

    # The protocols `Trainable`, `ModelWithSimilarity` and `ModelWithBatchTerms`

    @property
    def batch_term_names(self) -> frozenset[str]:
        return frozenset({CYCLE}) if self._cycle else frozenset()

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Return the parameters that learn, as `translators` and, where there are any, `towers`."""
        groups: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                group = "towers" if name.startswith(_TOWERS) else "translators"
                groups.setdefault(group, []).append(parameter)
        return groups

    def translator_names(self) -> list[str]:
        """Return the names of all tensors that are not the towers'."""
        return [name for name in self.state_dict() if not name.startswith(_TOWERS)]

    def trained_tower_names(self) -> list[str]:
        """Return the names of the towers' parameters that learn."""
        return [name for name, value in self.named_parameters() if value.requires_grad and name.startswith(_TOWERS)]

    def fit_positions(self, name: str, tensor: Tensor) -> Tensor:
        """Return a trained tensor; positions in time of another number of pictures are cut, or made longer."""
        if self.towers is None or name != _POSITIONS:
            return tensor
        options = self.towers.video.options
        return fit_positions(tensor, options.frames, options.longer)[:, :, 0]

    def embed_batch(self, batch: Mapping[str, Any]) -> tuple[Tensor, ...]:
        """Return texts and videos (B, D), the number of each pair's video (B,), and the pair's cycle errors (B,)."""
        text, video = self.text_tokens(batch["text"]), self.video_tokens(batch["video"])
        text_in_video, video_in_text = self.to_video(text), self.to_text(video)
        rows = (
            joined(self._compared_levels(text_in_video, text)),
            joined(self._compared_levels(video, video_in_text)),
            batch["groups"],
        )
        if not self._cycle:
            return rows
        back, originals = (self.to_video(video_in_text), self.to_text(text_in_video)), (video, text)
        errors = self._errors(self._compared_levels(*back), self._compared_levels(*originals))
        return *rows, (errors[0] + errors[1]) / 2  # eq. 10

    def text_cycle_errors(self, text: Tokens) -> Tensor:
        """Return |F(G(t)) - t|^2 of each text (B,), summed over the levels that the losses compare."""
        back = self.to_text(self.to_video(text))
        [error] = self._errors([back.levels()[:, self._levels[1]]], [text.levels()[:, self._levels[1]]])
        return error

    def video_cycle_errors(self, video: Tokens) -> Tensor:
        """Return |G(F(v)) - v|^2 of each video (B,), summed over the levels that the losses compare."""
        back = self.to_video(self.to_text(video))
        levels = (tokens.levels(self._summaries[0])[:, self._levels[0]] for tokens in (back, video))
        [error] = self._errors(*([level] for level in levels))
        return error

    def similarity(self, text: Tensor, video: Tensor, direction: Direction) -> Tensor:
        """Return the cosines (L, T, V) of each level: in the space that the direction searches, or in both.

        The paper prints eq. 7 and eq. 8 identical, both a sum over t_j, without G and F. Decision: L_t2v (eq. 7) is the
        cross-entropy over videos of cos(G(t_i), v_j) / tau, L_v2t (eq. 8) that over texts of cos(F(v_i), t_j) / tau,
        which are the two directions of `nn.losses.info_nce`. `symmetric` adds the two other normalisations.
        """
        counts = [levels.stop - levels.start for levels in self._levels]
        widths = [width for width, count in zip(self._widths, counts, strict=True) for _ in range(count)]
        cosines = [
            text_part @ video_part.T
            for text_part, video_part in zip(
                torch.split(text, widths, dim=1), torch.split(video, widths, dim=1), strict=True
            )
        ]
        if self._symmetric:
            return torch.stack(cosines)
        return torch.stack(cosines[: counts[0]] if direction == "t2v" else cosines[counts[0] :])

    def batch_terms(self, embedded: Sequence[Tensor], names: Collection[str]) -> Mapping[str, Tensor]:
        """Return `cycle`, the second half of eq. 13."""
        return {name: batch_mean(embedded[3]) for name in names}

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        """Return `unpaired`: what `cycle` is, of texts and videos of which nobody knows which belong together."""
        if UNPAIRED not in names:
            return {}
        text, video = self.text_tokens(batch[UNPAIRED]["text"]), self.video_tokens(batch[UNPAIRED]["video"])
        return {UNPAIRED: batch_mean((self.text_cycle_errors(text) + self.video_cycle_errors(video)) / 2)}

    def _all_levels(self, in_video: Tokens, in_text: Tokens) -> tuple[Tensor, Tensor]:
        """Return all levels of tokens in the space of videos and of tokens in that of texts."""
        return in_video.levels(self._summaries[0]), in_text.levels(self._summaries[1])

    def _compared_levels(self, in_video: Tokens, in_text: Tokens) -> list[Tensor]:
        """Return the levels that the losses compare."""
        spaces = self._all_levels(in_video, in_text)
        return [space[:, levels] for space, levels in zip(spaces, self._levels, strict=True)]

    def _errors(self, returned: Sequence[Tensor], originals: Sequence[Tensor]) -> list[Tensor]:
        """Return the error of each cycle (B,), summed over levels (B, L, D)."""
        return [
            cycle_error(back.float(), original.float(), self._detach)
            for back, original in zip(returned, originals, strict=True)
        ]


def level_slice(name: str, summaries: int) -> slice:
    """Return which of `Tokens.levels` are called "global" ([CLS]), "token" (the mean of the others), or "both"."""
    return {"global": slice(0, summaries), "token": slice(summaries, summaries + 1)}.get(name, slice(0, summaries + 1))


def joined(parts: Iterable[Tensor]) -> Tensor:
    """Return the unit vectors of all levels of all parts (B, L, D_i), one behind the other: (B, sum of L D_i)."""
    return torch.cat([normalize(part.float(), dim=-1).flatten(1) for part in parts], dim=1)


def of_length_sqrt_width(states: Tensor) -> Tensor:
    """Return states (..., D) with the length sqrt(D): a mean square of 1, as behind a layer norm."""
    return normalize(states.float(), dim=-1) * math.sqrt(states.shape[-1])
