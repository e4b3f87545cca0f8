"""Relation attention: keys are mixed by how their positions and contents relate before a query meets them.

    A(Q, K, V) = softmax( (Q W_Q) (H (K W_K))^T / sqrt(d) ) V W_V,        H = P + a * S

P is learned and starts as a kernel on the distance of positions, S is the input's own cosine-similarity matrix, a is a
learned scalar. `temporal.TemporalHead` and `spatial.SpatialHead` are the two equations of the paper that have this
form. Everything around the formula (heads, layers, [CLS]) is a decision, given where it is made.

Module and parameter names are the keys of trained weights: they stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from ..utils.wording import counted
from .pooling import masked_softmax


def distance_kernel(positions: Tensor) -> Tensor:
    """Return exp(-distance) of coordinates (L, n) with each other, rows summing to 1: (L, L).

    Decision: the paper gives no kernel; rows sum to 1, so that H K starts as a weighted mean of keys.
    """
    kernel = torch.exp(-torch.cdist(positions, positions))  # (L, L)
    return kernel / kernel.sum(dim=-1, keepdim=True)


def cosine_similarities(vectors: Tensor) -> Tensor:
    """Return S: cosine similarities of (B, L, D) with each other, (B, L, L); zero vectors are similar to nothing."""
    unit = F.normalize(vectors, dim=-1)
    return unit @ unit.transpose(-1, -2)


class RelationAttention(nn.Module):
    """Multi-head relation attention (the formula of this module).

    Decisions. Each head is a whole equation, with P and a of its own, and d is the width of a head. P is the kernel
    plus a correction that starts at zero (weight decay then pulls towards the kernel). a starts at 1 / L: rows of a * S
    and of P then weigh about the same. Heads are concatenated and mixed by an output projection, as usual. Padding is
    taken out twice: its columns of H are zero, so that it does not leak into the keys of others, and it is never
    attended to.

    Args:
        width: D; a multiple of `heads`.
        heads: attention heads.
        distance_prior: what P starts as, (L, L). None is plain self-attention: H is the identity.
        dropout: of the attention weights while training, 0 to 1.

    Raises:
        UsageError: where `heads` do not divide `width`.
    """

    distance_prior: Tensor

    def __init__(self, width: int, heads: int, distance_prior: Tensor | None, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise UsageError(f"{counted(heads, 'attention head')} cannot share the embedding width {width}")
        self.heads = heads
        self.dropout = dropout
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.plain = distance_prior is None
        if distance_prior is not None:
            self.register_buffer("distance_prior", distance_prior, persistent=False)
            self.correction = nn.Parameter(torch.zeros(heads, *distance_prior.shape))  # P = prior + correction
            self.similarity = nn.Parameter(torch.full((heads,), 1 / len(distance_prior)))  # a

    def forward(self, query: Tensor, key_value: Tensor, similarity: Tensor, mask: Tensor) -> Tensor:
        """Attend. Where all of a row is padding, the result is the bias of the output projection.

        Args:
            query: (B, Q, D).
            key_value: (B, L, D).
            similarity: S, cosine similarities of what is attended to, (B, L, L).
            mask: (B, L) bool, false where there is padding.

        Returns:
            (B, Q, D).
        """
        q = self._split(self.query(query))  # (B, heads, Q, d)
        k = self._split(self.key(key_value))  # (B, heads, L, d)
        v = self._split(self.value(key_value))  # (B, heads, L, d)
        if not self.plain:
            k = self.relation(similarity, mask) @ k
        # Written out (d is the width of a head): over a dozen keys the fused kernel is no faster on a GPU, and its
        # backward pass several times slower on a processor.
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5  # (B, heads, Q, L)
        weights = masked_softmax(scores, mask[:, None, None, :])
        mixed = F.dropout(weights, self.dropout, self.training) @ v  # (B, heads, Q, d)
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))  # (B, Q, D)
        return output

    def relation(self, similarity: Tensor, mask: Tensor) -> Tensor:
        """Return H (B, heads, L, L) of S (B, L, L); the columns of padding, false in the mask (B, L), are zero."""
        length = mask.shape[1]
        position = (self.distance_prior + self.correction)[:, :length, :length]  # P (heads, L, L)
        return (position + self.similarity[:, None, None] * similarity[:, None]) * mask[:, None, None, :]

    def _split(self, vectors: Tensor) -> Tensor:
        """(B, L, D) -> (B, heads, L, D / heads)."""
        batch, length, width = vectors.shape
        return vectors.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)


class RelationLayer(nn.Module):
    """Relation attention and a feed-forward part, each behind a layer norm and a residual (pre-norm transformer).

    Args:
        width: D.
        heads: attention heads.
        distance_prior: as in RelationAttention.
        expansion: hidden width of the feed-forward part, in D.
        dropout: of attention weights and of the feed-forward part's output while training.
    """

    def __init__(self, width: int, heads: int, distance_prior: Tensor | None, expansion: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = RelationAttention(width, heads, distance_prior, dropout)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width), nn.Dropout(dropout)
        )

    def forward(self, tokens: Tensor, similarity: Tensor, mask: Tensor, query_count: int | None = None) -> Tensor:
        """Update [CLS] and L tokens; [CLS] attends and is never attended to.

        Args:
            tokens: (B, 1 + L, D), [CLS] first.
            similarity: S of the L tokens, (B, L, L).
            mask: (B, L) bool, false where there is padding.
            query_count: how many of the first tokens attend and are returned; all if None.

        Returns:
            (B, `query_count`, D).
        """
        normed = self.norm_attention(tokens)
        tokens = tokens[:, :query_count] + self.attention(normed[:, :query_count], normed[:, 1:], similarity, mask)
        updated: Tensor = tokens + self.feed(self.norm_feed(tokens))
        return updated


class RelationEncoder(nn.Module):
    """A transformer encoder of RelationLayers over L tokens, read out by a [CLS] token.

    Decisions. The equations say how tokens attend, not how they become one vector: a learned [CLS] token attends, and
    is not attended to, because H is L x L. Learned position vectors are added with and without H, so that the plain
    self-attention of the ablation differs in H alone and is not blind to order besides.

    Args:
        width: D.
        positions: (L, n) coordinates whose distances H starts from; L is the most tokens it reads.
        heads: attention heads.
        layers: how many RelationLayers.
        expansion: hidden width of the feed-forward parts, in D.
        dropout: inside the layers while training.
        plain: plain self-attention, without H.
    """

    def __init__(
        self, width: int, positions: Tensor, *, heads: int, layers: int, expansion: int, dropout: float, plain: bool
    ) -> None:
        super().__init__()
        self.length = len(positions)
        self.summary = nn.Parameter(torch.empty(1, 1, width))  # [CLS]
        self.positions = nn.Parameter(torch.empty(self.length, width))
        for parameter in (self.summary, self.positions):
            nn.init.normal_(parameter, std=0.02)
        prior = None if plain else distance_kernel(positions.float())
        self.layers = nn.ModuleList(RelationLayer(width, heads, prior, expansion, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, content: Tensor, mask: Tensor) -> Tensor:
        """Encode tokens (B, L, D) as the state of [CLS].

        Args:
            tokens: (B, L, D).
            content: (B, L, D), the vectors whose cosine similarities are S.
            mask: (B, L) bool, false where there is padding.

        Returns:
            (B, D).

        Raises:
            UsageError: where L is more than it was built for.
        """
        length = tokens.shape[1]
        if length > self.length:
            raise UsageError(
                f"the head was built for {counted(self.length, 'position')} and got {length}; build it for more"
            )
        similarity = cosine_similarities(content)  # (B, L, L)
        tokens = torch.cat([self.summary.expand(len(tokens), 1, -1), tokens + self.positions[:length]], dim=1)
        *layers, last = self.layers
        for layer in layers:
            tokens = layer(tokens, similarity, mask)  # (B, 1 + L, D)
        # Of the last layer only [CLS] is read, so only [CLS] attends.
        encoded: Tensor = self.norm(last(tokens, similarity, mask, query_count=1)).squeeze(1)  # (B, D)
        return encoded
