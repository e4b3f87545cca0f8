"""Attention whose keys meet each other first: the common form of eq. 1 and eq. 2 of the paper.

    A(Q, K, V) = softmax( (Q W_Q) (H (K W_K))^T / sqrt(d) ) V W_V,        H = P + a * S

P is learned and starts as a kernel on the distance of positions, S is the input's own cosine-similarity matrix, a is a
learned scalar. Everything around the formula (heads, layers, [CLS]) is a decision, given where it is made.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from .pooling import masked_softmax


def kernel(places: Tensor) -> Tensor:
    """How near positions are: exp(-distance), rows summing to 1. `places` (L, n) coordinates -> (L, L).

    Decision: the paper gives no kernel; rows sum to 1, so that H K starts as a weighted mean of keys.
    """
    near = torch.exp(-torch.cdist(places, places))
    return near / near.sum(dim=-1, keepdim=True)


def cosines(vectors: Tensor) -> Tensor:
    """S: cosine similarities of (B, L, D) with each other, (B, L, L); zero vectors are similar to nothing."""
    unit = F.normalize(vectors, dim=-1)
    return unit @ unit.transpose(-1, -2)


class RelatedAttention(nn.Module):
    """Multi-head eq. 1 / eq. 2.

    Decisions. Each head is a whole equation, with P and a of its own, and d is the width of a head. P is the kernel
    plus a correction that starts at zero (weight decay then pulls towards the kernel). a starts at 1 / L: rows of a * S
    and of P then weigh about the same. Heads are concatenated and mixed by an output projection, as usual. Padding is
    taken out twice: its columns of H are zero, so that it does not leak into the keys of others, and it is never
    attended to. `near=None` is plain self-attention: H is the identity.
    """

    def __init__(self, width: int, heads: int, near: Tensor | None, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise UsageError(f"{heads} attention heads do not divide the embedding width {width}")
        self.heads = heads
        self.dropout = dropout
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.plain = near is None
        if near is not None:
            self.register_buffer("near", near, persistent=False)
            self.correction = nn.Parameter(torch.zeros(heads, *near.shape))  # P = near + correction
            self.similarity = nn.Parameter(torch.full((heads,), 1 / len(near)))  # a

    def forward(self, asking: Tensor, asked: Tensor, similar: Tensor, mask: Tensor) -> Tensor:
        """`asking` (B, Q, D) attends to `asked` (B, L, D); `similar` is S (B, L, L), `mask` (B, L) -> (B, Q, D).

        Where all of a row is padding, nothing is attended to, and the answer is the bias of the output projection.
        """
        query, key, value = (
            self._split(self.query(asking)),
            self._split(self.key(asked)),
            self._split(self.value(asked)),
        )
        if not self.plain:
            key = self.relation(similar, mask) @ key
        # Written out (d is the width of a head): over a dozen keys the fused kernel is no faster on a GPU, and its
        # backward pass several times slower on a processor.
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        weights = masked_softmax(scores, mask[:, None, None, :])
        mixed = F.dropout(weights, self.dropout, self.training) @ value
        return self.output(mixed.transpose(1, 2).flatten(2))

    def relation(self, similar: Tensor, mask: Tensor) -> Tensor:
        """H (B, heads, L, L); the columns of padding are zero."""
        length = mask.shape[1]
        position = (self.near + self.correction)[:, :length, :length]
        return (position + self.similarity[:, None, None] * similar[:, None]) * mask[:, None, None, :]

    def _split(self, vectors: Tensor) -> Tensor:
        """(B, L, D) -> (B, heads, L, D / heads)."""
        return vectors.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Layer(nn.Module):
    """Attention and a feed-forward part, each behind a layer norm and added to what came in (pre-norm transformer)."""

    def __init__(self, width: int, heads: int, near: Tensor | None, expansion: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = RelatedAttention(width, heads, near, dropout)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width), nn.Dropout(dropout)
        )

    def forward(self, tokens: Tensor, similar: Tensor, mask: Tensor, askers: int | None = None) -> Tensor:
        """(B, 1 + L, D) -> its first `askers` tokens (all if None); the first token asks and is never asked."""
        normed = self.norm_attention(tokens)
        tokens = tokens[:, :askers] + self.attention(normed[:, :askers], normed[:, 1:], similar, mask)
        return tokens + self.feed(self.norm_feed(tokens))


class Reasoner(nn.Module):
    """Layers of RelatedAttention over L tokens, read out by a [CLS] token.

    Decisions. The equations say how tokens attend, not how they become one vector: a learned [CLS] token asks, and is
    not asked, because H is L x L. Learned position vectors are added with and without H, so that the plain
    self-attention of the ablation differs in H alone and is not blind to order besides.
    """

    def __init__(
        self, width: int, places: Tensor, *, heads: int, layers: int, expansion: int, dropout: float, plain: bool
    ) -> None:
        super().__init__()
        self.length = len(places)
        self.summary = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(self.length, width))
        for parameter in (self.summary, self.positions):
            nn.init.normal_(parameter, std=0.02)
        near = None if plain else kernel(places.float())
        self.layers = nn.ModuleList(Layer(width, heads, near, expansion, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, content: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, L, D), the vectors `content` (B, L, D) that S is made of, mask (B, L) -> (B, D).

        UsageError where L is more than it was built for.
        """
        length = tokens.shape[1]
        if length > self.length:
            raise UsageError(f"the head was built for {self.length} positions and got {length}; build it for more")
        similar = cosines(content)
        tokens = torch.cat([self.summary.expand(len(tokens), 1, -1), tokens + self.positions[:length]], dim=1)
        *layers, last = self.layers
        for layer in layers:
            tokens = layer(tokens, similar, mask)
        return self.norm(last(tokens, similar, mask, askers=1)).squeeze(1)  # nobody reads the others' last words
