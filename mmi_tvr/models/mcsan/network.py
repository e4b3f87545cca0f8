"""The trained part of MCSAN: four levels of videos and texts, their similarity, heads of labels, and loss terms."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ...lexicon.roles import ROLES
from ...lexicon.vocabulary import LABELS_OF
from ...nn.blocks import BlockSimilarity
from ...nn.hole import Hole
from ...nn.levels import (
    AttributeHeads,
    FrameAttention,
    LevelInput,
    RelationBlock,
    TemporalConvolution,
    TwoWayGru,
    pool_frames,
)
from ...nn.losses import focal, kl
from ...nn.pooling import masked_mean
from ...nn.role_graph import RoleGraphEncoder
from ...nn.temporal import differences
from ...types import Block, Direction
from .captions import PADDING, VERBS
from .options import ATTRIBUTES, DISTRIBUTION, TOKENS, Options

_SQUASH = -2.0  # where the offset b of the global level starts: sigmoid(6 cos - 2), which has a gradient everywhere

Levels = dict[str, Tensor]


class TowerWidths(NamedTuple):
    """How wide what the towers give is: vectors of key images (or frames) and of sentences, and states of a sentence's
    tokens; and whether the first are unit vectors."""

    image: int
    sentence: int
    token: int
    unit_images: bool = True


class VideoLevels(nn.Module):
    """Key images of B videos -> one vector a level, (B, d)."""

    def __init__(self, options: Options, widths: TowerWidths) -> None:
        """Make the levels of `options` for key images of this width D."""
        super().__init__()
        width = widths.image
        self._scale = width**0.5 if widths.unit_images else 1.0
        self._levels, self._pool, self._differences = options.levels, options.pool, options.differences
        changing = width * (2 if options.differences else 1)
        inputs = {"entity": width, "action": changing, "relation": changing}
        self.inputs = nn.ModuleDict({name: LevelInput(inputs[name]) for name in options.levels if name in inputs})
        if "global" in options.levels:
            self.attention = FrameAttention(width)
            self.reader = TwoWayGru(width, options.width, summary=True)
        if "entity" in options.levels:
            self.entity = TemporalConvolution(width, options.width, (1,))
        if "action" in options.levels:
            self.action = TemporalConvolution(changing, options.width)
        if "relation" in options.levels:
            self.relation = RelationBlock(changing, options.width, options.heads, options.dropout)

    def forward(self, images: Tensor, mask: Tensor) -> Levels:
        """Encode key images (B, K, D), with padding last in the mask (B, K).

        Decision: unit vectors are scaled by sqrt(D), so that a number is about 1 as in the features of a ResNet.
        """
        frames = images * self._scale
        changing = torch.cat([frames, differences(frames)], dim=-1) if self._differences else frames
        levels: Levels = {}
        for name in self._levels:
            if name == "global":
                levels[name] = self.reader(self.attention(frames, mask), mask)
            elif name == "entity":
                levels[name] = pool_frames(self.entity(self.inputs[name](frames), mask), mask, self._pool)
            elif name == "action":
                levels[name] = pool_frames(self.action(self.inputs[name](changing), mask), mask, self._pool)
            else:
                levels[name] = self.relation(self.inputs[name](changing), mask)
        return levels


class TextLevels(nn.Module):
    """Words, or the tower's tokens, and sentence vectors of B texts -> one vector a level, (B, d)."""

    def __init__(self, options: Options, widths: TowerWidths, words: Tensor) -> None:
        """Make the levels of `options`.

        Args:
            options: of the model.
            widths: of what the towers give.
            words: (W, E), where word vectors start; the row PADDING is zero. Tokens need none.
        """
        super().__init__()
        self._levels = options.levels
        self.words = self.reader = self.graph = None
        if "global" in options.levels:
            self.sentence = nn.Linear(widths.sentence, options.width)
        if set(options.levels) == {"global"}:
            return
        inputs = widths.token
        if options.graph != TOKENS:
            inputs = words.shape[1]
            self.words = nn.Embedding(len(words), inputs, padding_idx=PADDING, _weight=words.clone())
        if "relation" in options.levels:
            self.relation = RelationBlock(inputs, options.width, options.heads, options.dropout)
        word_levels = [str(name) for name in ("entity", "action") if name in options.levels]
        if not word_levels:
            return
        self.dropout = nn.Dropout(options.dropout)
        if options.graph != TOKENS:
            self.reader = TwoWayGru(inputs, options.width, summary=False)
            inputs = options.width
        if options.graph == "roles":
            self.graph = RoleGraphEncoder(options.width, len(ROLES))
        else:
            self.blocks = nn.ModuleDict(
                {name: RelationBlock(inputs, options.width, options.heads, options.dropout) for name in word_levels}
            )

    def forward(self, texts: Mapping[str, Any]) -> Levels:
        """Encode what `Mcsan.batch` says of texts: "sentence" (B, D) unit vectors, and "words" (B, M), maybe with
        "graph", or "tokens" (B, M, E) with "mask" (B, M).

        Decision: states of tokens get the length sqrt(E), whatever the tower's scale.
        """
        levels: Levels = {}
        if "global" in self._levels:
            sentence = texts["sentence"]
            levels["global"] = self.sentence(sentence * sentence.shape[-1] ** 0.5)
        if set(self._levels) == {"global"}:
            return levels
        if self.words is None:
            mask = texts["mask"]  # (B, M)
            words = normalize(texts["tokens"], dim=-1) * texts["tokens"].shape[-1] ** 0.5  # (B, M, E)
        else:
            mask, words = texts["words"] != PADDING, self.words(texts["words"])
        levels |= self._word_levels(words, mask, texts)
        if "relation" in self._levels:
            levels["relation"] = self.relation(words, mask)
        return {name: levels[name] for name in self._levels}

    def _word_levels(self, words: Tensor, mask: Tensor, texts: Mapping[str, Any]) -> Levels:
        """The levels entity and action. Decision: without a verb, or without a noun, the mean of the words is taken."""
        names = [name for name in ("entity", "action") if name in self._levels]
        if not names:
            return {}
        states = self.dropout(words if self.reader is None else self.reader(words, mask))  # (B, M, d)
        if self.graph is None:
            return {name: self.blocks[name](states, mask) for name in names}
        masks = texts["graph"]["masks"][..., : states.shape[1]]  # (B, G, M)
        nodes = self.graph(states, masks, texts["graph"]["roles"], texts["graph"]["edges"])  # (B, G, d)
        present, mean = masks.any(dim=-1), masked_mean(states, mask)
        levels = {}
        for name, part in (("entity", slice(VERBS, None)), ("action", slice(None, VERBS))):
            any_node = present[:, part].any(dim=-1)[:, None]
            levels[name] = torch.where(any_node, masked_mean(nodes[:, part], present[:, part]), mean)
        return {name: levels[name] for name in names}


class McsanNetwork(nn.Module):
    """Both sides, and how they are compared; a `Trainable` of the train room.

    S(V, T) is the mean over levels of sigmoid(b + w . (v_g * t_g)) and of cosines. A video's vector has the unit vector
    of each level, divided by the root of their number; a text's has u(t_g) (`nn.hole`) and unit vectors.

    Module and parameter names are the keys of trained weights: they stay as they are.
    """

    def __init__(self, options: Options, widths: TowerWidths, words: Tensor, sizes: Mapping[str, int]) -> None:
        """Make the network.

        Args:
            options: of the model.
            widths: of what the towers give.
            words: (W, E), where word vectors start.
            sizes: how many labels there are of each of `lexicon.vocabulary.LEVELS`.
        """
        super().__init__()
        self._options = options
        self.video_levels = VideoLevels(options, widths)
        self.text_levels = TextLevels(options, widths, words)
        has_hole = "global" in options.levels and options.global_similarity != "cosine"
        self.hole = Hole(options.width, unit=options.global_similarity == "linear") if has_hole else None
        self.similarities = BlockSimilarity(
            blocks(options), learned_offsets=_squashes(options), learned_weights=options.fusion == "learned"
        )
        self.labelled = [name for name in options.levels if name in LABELS_OF]
        self.heads = AttributeHeads(
            options.width, {name: sizes[LABELS_OF[name]] for name in self.labelled}, options.shared_heads
        )

    def videos(self, video: Mapping[str, Tensor]) -> tuple[Tensor, Levels]:
        """Return unit vectors (B, L d) of videos, and what they consist of; video: "image" and "mask"."""
        levels = self.video_levels(video["image"], video["mask"])
        parts = [_unit(level) for level in levels.values()]
        return torch.cat(parts, dim=-1) / math.sqrt(len(parts)), levels

    def texts(self, texts: Mapping[str, Any]) -> tuple[Tensor, Levels]:
        """Return the vectors (B, L d) of texts as queries, and what they consist of."""
        levels = self.text_levels(texts)
        parts = [_unit(level) for level in levels.values()]
        if self.hole is not None:
            parts[0] = self.hole(parts[0])
        return torch.cat(parts, dim=-1), levels

    def probabilities(self, levels: Levels, side: Literal["text", "video"]) -> Levels:
        """Return p (B, K) of each level's labels (eq. 24-26), from what `videos` or `texts` give besides vectors."""
        return {name: torch.sigmoid(self.heads(name, levels[name], side)) for name in self.labelled}

    # The protocol `Trainable`

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Return all parameters as `heads`: the towers are not trained."""
        return {"heads": [parameter for parameter in self.parameters() if parameter.requires_grad]}

    def embed_batch(self, batch: Mapping[str, Any]) -> tuple[Tensor, ...]:
        """Return texts, videos and groups; where the batch has labels, what `batch_terms` reads besides: both sides'
        features, logits and labels, the levels one behind the other."""
        text, text_levels = self.texts(batch["text"])
        video, video_levels = self.videos(batch["video"])
        pairs = (text, video, batch["groups"])
        if "labels" not in batch or not self.labelled:
            return pairs
        return (*pairs, *self._side("text", text_levels, batch), *self._side("video", video_levels, batch))

    def _side(self, side: Any, levels: Levels, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        features = torch.cat([levels[name] for name in self.labelled], dim=-1)
        logits = torch.cat([self.heads(name, levels[name], side) for name in self.labelled], dim=-1)
        labels = torch.cat([batch["labels"][side][LABELS_OF[name]] for name in self.labelled], dim=-1)
        return features, logits, labels

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        """Return none: all terms are over the whole batch."""
        return {}

    def similarity(self, text: Tensor, video: Tensor, direction: Direction) -> Tensor:
        """Return S (T, V), the mean over levels."""
        scores: Tensor = self.similarities(text, video, direction)
        return scores

    @property
    def batch_term_names(self) -> frozenset[str]:
        """`attributes`, the labels' cross-entropy of both sides, and `distribution`, the KL; sums over levels."""
        return frozenset({ATTRIBUTES, DISTRIBUTION}) if self.labelled else frozenset()

    def batch_terms(self, embedded: Sequence[Tensor], names: Collection[str]) -> Mapping[str, Tensor]:
        """Return the terms of these names (eq. 35-37 as `nn.losses.focal` corrects them)."""
        text, text_logits, text_labels, video, video_logits, video_labels = embedded[3:]
        terms: dict[str, Tensor] = {}
        if ATTRIBUTES in names:
            weight = (~(video_labels & ~text_labels)).float() if self._options.mask_siblings else None
            terms[ATTRIBUTES] = self._cross_entropy(text_logits, text_labels, weight) + self._cross_entropy(
                video_logits, video_labels, None
            )
        if DISTRIBUTION in names:
            pairs = zip(*(torch.split(side, self._options.width, dim=-1) for side in (text, video)), strict=True)
            terms[DISTRIBUTION] = torch.stack([kl(t, v, self._options.kl) for t, v in pairs]).sum()
        return terms

    def _cross_entropy(self, logits: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor:
        """The sum over levels, each divided by the number of its own positive labels."""
        sizes = list(self.heads.sizes.values())
        alphas: dict[str, Any] = {} if self._options.focal else {"alpha": 1.0, "gamma": 0.0, "alpha_negative": 1.0}
        weights = [None] * len(sizes) if weight is None else torch.split(weight, sizes, dim=-1)
        levels = zip(torch.split(logits, sizes, dim=-1), torch.split(labels, sizes, dim=-1), weights, strict=True)
        return torch.stack([focal(z, y, **alphas, weight=w) for z, y, w in levels]).sum()


def blocks(options: Options) -> tuple[Block, ...]:
    """Return the blocks of the vectors before training, a level each, which count alike."""
    share = 1 / len(options.levels)
    return tuple(
        Block(name, options.width, share, share, _SQUASH if name == "global" and _squashes(options) else None)
        for name in options.levels
    )


def _unit(vectors: Tensor) -> Tensor:
    """Return vectors (B, d) as unit vectors.

    One of zeros, as a ReLU may leave it, becomes the vector of equal numbers: a video's blocks are all of one length.
    """
    vectors = vectors.float()
    is_zero = (vectors == 0).all(dim=-1, keepdim=True)
    return normalize(torch.where(is_zero, torch.ones_like(vectors), vectors), dim=-1)


def _squashes(options: Options) -> bool:
    return "global" in options.levels and options.global_similarity == "hole"
