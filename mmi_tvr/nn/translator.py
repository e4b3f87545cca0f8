"""Translators between the tokens of two towers, and what is compared of them.

Source: Bai et al., "LaT: Latent Translation with Cycle-Consistency for Video-Text Retrieval", 2022, whose decoder is
that of DETR (Carion et al., ECCV 2020): learned queries ask the source's tokens for the target's.

Shapes: B rows, L tokens of the source, N of the target, D_s and D_t their widths, D the translator's.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, relu

from ..errors import UsageError
from ..utils.wording import counted
from .options import TranslatorOptions
from .pooling import masked_mean, zero_linear
from .positions import sinusoids


class Tokens(NamedTuple):
    """Tokens (B, L, D), the one that stands for all of them first, and their mask (B, L), false where there is
    padding."""

    states: Tensor
    mask: Tensor

    def levels(self, summaries: int = 1) -> Tensor:
        """Return the first tokens, which stand for all, and the mean of the others, (B, summaries + 1, D); of one token
        alone, that one twice."""
        others, mask = (self.states[:, summaries:], self.mask[:, summaries:]) if self.states.shape[1] > 1 else self
        return torch.cat([self.states[:, :summaries], masked_mean(others, mask)[:, None]], dim=1)


class Translator(nn.Module):
    """Tokens of one tower -> tokens of another one.

    Decisions. Where widths differ, a linear layer leads in and another one out; the paper has 768 everywhere. With
    `start: identity` what the layers say is added to the source's tokens through a layer that starts at zero: to the
    first token its own, to each of the others, which have no counterpart in the source, the mean of the others there.

    Args:
        source_width: D_s.
        target_width: D_t.
        queries: tokens that kind `decoder` gives, N; the others give as many as they get.
        options: kind, size and start.

    Raises:
        UsageError: where `heads` do not divide the width, or equal widths are needed and are not there.
    """

    def __init__(self, source_width: int, target_width: int, queries: int, options: TranslatorOptions) -> None:
        super().__init__()
        width = options.width or target_width
        self.kind, self.identity = options.kind, options.start == "identity" or options.kind == "none"
        if self.identity and source_width != target_width:
            raise UsageError(
                f"tokens of {source_width} numbers cannot stand for tokens of {target_width}: with translator.start: "
                "identity, or translator.kind: none, take space: joint"
            )
        if options.kind == "none":
            return
        self.input = nn.Linear(source_width, width) if source_width != width else nn.Identity()
        self.body = _body(options, width, queries)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        if isinstance(self.body, QueryDecoder):
            nn.init.normal_(self.body.queries)  # as DETR's embedding
        # Behind xavier: what starts at zero stays there.
        self.output = (
            zero_linear(width, target_width)
            if self.identity
            else nn.Linear(width, target_width)
            if width != target_width
            else nn.Identity()
        )

    def forward(self, source: Tokens) -> Tokens:
        """Translate (B, L, D_s) into (B, N, D_t)."""
        if self.kind == "none":
            return source
        states: Tensor = self.output(self.body(self.input(source.states), source.mask))  # (B, N, D_t)
        if self.kind != "decoder":
            return Tokens(states + source.states if self.identity else states, source.mask)
        if self.identity:
            first, mean = torch.split(source.levels(), 1, dim=1)  # (B, 1, D_s) each
            states = states + torch.cat([first, mean.expand(-1, states.shape[1] - 1, -1)], dim=1)
        return Tokens(states, torch.ones(states.shape[:2], dtype=torch.bool, device=states.device))


class QueryDecoder(nn.Module):
    """DETR's decoder: x_0 = 0, and N learned vectors are added wherever x asks; a layer norm at the end.

    Decision: what is asked for the place of a token has a sine of its number added (as in DETR), because towers that
    read a video picture by picture know no order; it has no parameter, so any number of tokens can be read.
    """

    def __init__(self, options: TranslatorOptions, width: int, queries: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.empty(queries, width))
        self.layers = nn.ModuleList(DecoderLayer(options, width) for _ in range(options.depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, source: Tensor, mask: Tensor) -> Tensor:
        """Return (B, N, D) from the source's tokens (B, L, D) and their mask (B, L)."""
        keys = source + sinusoids(source.shape[1], source.shape[2]).to(source)
        states = source.new_zeros(len(source), *self.queries.shape)
        for layer in self.layers:
            states = layer(states, self.queries, source, keys, mask)
        normed: Tensor = self.norm(states)
        return normed


class DecoderLayer(nn.Module):
    """x = LN(x + SelfAttn(x+q, x+q, x)); x = LN(x + CrossAttn(x+q, src+pos, src)); x = LN(x + W2 ReLU(W1 x)).

    With `norm: pre` the layer norm is before each part instead: x = x + SelfAttn(LN(x)+q, LN(x)+q, LN(x)), and so on.
    """

    def __init__(self, options: TranslatorOptions, width: int) -> None:
        super().__init__()
        self.pre, self.dropout = options.norm == "pre", options.dropout
        self.self_attention, self.cross_attention = (
            nn.MultiheadAttention(width, options.heads, options.dropout, batch_first=True) for _ in range(2)
        )
        self.hidden, self.output = nn.Linear(width, options.feed_forward), nn.Linear(options.feed_forward, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, states: Tensor, queries: Tensor, source: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Update the states.

        Args:
            states: x, (B, N, D).
            queries: q, added where states ask, (N, D).
            source: values of the cross-attention, (B, L, D).
            keys: its keys, src + pos, (B, L, D).
            mask: (B, L), false where there is padding.

        Returns:
            (B, N, D).
        """
        of_self, of_source, of_feed = self.norms
        x = of_self(states) if self.pre else states
        states = self._added(states, self.self_attention(x + queries, x + queries, x, need_weights=False)[0], of_self)
        x = of_source(states) if self.pre else states
        attended = self.cross_attention(x + queries, keys, source, key_padding_mask=~mask, need_weights=False)[0]
        states = self._added(states, attended, of_source)
        x = of_feed(states) if self.pre else states
        return self._added(states, self.output(self._drop(relu(self.hidden(x)))), of_feed)

    def _added(self, states: Tensor, update: Tensor, norm: nn.Module) -> Tensor:
        states = states + self._drop(update)
        return states if self.pre else norm(states)

    def _drop(self, states: Tensor) -> Tensor:
        return dropout(states, self.dropout, self.training)


class TokenEncoder(nn.Module):
    """Table 4's "Transformer": an encoder over the source's tokens, with a layer norm at the end."""

    def __init__(self, options: TranslatorOptions, width: int) -> None:
        super().__init__()
        pre = options.norm == "pre"
        layer = nn.TransformerEncoderLayer(
            width, options.heads, options.feed_forward, options.dropout, batch_first=True, norm_first=pre
        )
        self.layers = nn.TransformerEncoder(layer, options.depth, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, source: Tensor, mask: Tensor) -> Tensor:
        """Return (B, L, D) from tokens (B, L, D) and their mask (B, L); positions as in QueryDecoder."""
        positioned = source + sinusoids(source.shape[1], source.shape[2]).to(source)
        encoded: Tensor = self.layers(positioned, src_key_padding_mask=~mask)
        return encoded


class TokenPerceptron(nn.Module):
    """Table 4's "Linear": a perceptron of `depth` layers, which sees each token alone."""

    def __init__(self, options: TranslatorOptions, width: int) -> None:
        super().__init__()
        widths = [width, *[options.feed_forward] * (options.depth - 1), width]
        linear = [nn.Linear(*pair) for pair in pairwise(widths)]
        self.layers = nn.Sequential(linear[0], *(part for layer in linear[1:] for part in (nn.ReLU(), layer)))

    def forward(self, source: Tensor, mask: Tensor) -> Tensor:
        """Return (B, L, D) from tokens (B, L, D); the mask is not looked at."""
        tokens: Tensor = self.layers(source)
        return tokens


def cycle_error(returned: Tensor, original: Tensor, detach: bool = False) -> Tensor:
    """Return |G(F(v)) - v|^2 of each row (eq. 10): (B,) from levels (B, L, D), summed over levels.

    Decision: the mean over features, as the paper's words ("mean square error") say; its equation is a sum, which
    would weigh D times as much beside the inter loss.

    Args:
        returned: what went to the other space and came back.
        original: what it should be.
        detach: no gradient reaches the original, so that it cannot collapse towards what is easily returned.
    """
    target = original.detach() if detach else original
    return (returned - target).square().mean(dim=-1).sum(dim=-1)


def _body(options: TranslatorOptions, width: int, queries: int) -> nn.Module:
    if options.kind == "linear":
        return TokenPerceptron(options, width)
    if width % options.heads:
        raise UsageError(f"{counted(options.heads, 'attention head')} cannot share the translator's width {width}")
    return QueryDecoder(options, width, queries) if options.kind == "decoder" else TokenEncoder(options, width)
