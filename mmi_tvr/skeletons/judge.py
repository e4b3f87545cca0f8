"""The judge: how likely two skeletons describe one scene, by the large language model, all candidates in batches.

Source: Li et al., ACM MM 2024, section 4.3 (L_s). Decision: p = P(yes) / (P(yes) + P(no)) behind prompts/judge.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import prompt_templates
from ..errors import UsageError
from ..protocols import AnsweringModel
from ..types import FloatArray
from ..utils.hashing import digest

if TYPE_CHECKING:
    from torch import Tensor

    from ..encoders.llava import Llava

_BATCH = 64  # candidates in one forward pass
_MAX_PADDING = 4 / 3  # the longest of a batch has at most so many times the tokens of the shortest


class LlavaJudge:
    """The language model of a retrieval model as a `protocols.Judge`.

    The prompts of a query's candidates begin with the same tokens, the question and the text skeleton: their keys and
    values are computed once. The tokens after them are padded on the right, in batches of like length.
    """

    def __init__(self, model: AnsweringModel) -> None:
        """UsageError where the model's options switch its language model off."""
        model.require_language_model()
        self.model = model

    def fingerprint(self) -> str:
        return digest("judge", self.model.fingerprint(), prompt_templates.judge().model_dump())

    def probabilities(self, text: str, videos: Sequence[str]) -> FloatArray:
        """Return p (N,) of one text skeleton with each of N video skeletons.

        Raises UsageError where a pair is longer than the model's context.
        """
        import torch

        if not videos:
            return np.zeros(0, np.float32)
        distinct = list(dict.fromkeys(videos))  # videos that answer alike are judged once
        with torch.inference_mode():
            ids, mask = self._tokenized(text, distinct)
            lengths = mask.sum(dim=1)
            prefix = shared_prefix_length(ids, lengths)
            order = lengths.argsort()
            prefix_cache = self._prefix_cache(ids[:1, :prefix]) if prefix else []
            parts = []
            for rows in torch.split(order, batch_sizes((lengths[order] - prefix).tolist())):
                end = int(lengths[rows].max())
                parts.append(self._judge(prefix_cache, ids[rows, prefix:end], mask[rows, :end]))
            by_distinct = torch.cat(parts)[order.argsort()].float().cpu().numpy()
        number = {video: row for row, video in enumerate(distinct)}
        return np.asarray(by_distinct[[number[video] for video in videos]], dtype=np.float32)

    @property
    def _llava(self) -> Llava:
        llava: Llava = self.model.language_model()
        return llava

    def _tokenized(self, text: str, videos: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return token ids and mask (N, L) of whole prompts.

        Decision: they are cut into prefix and rest as tokens, never as text, because a tokenizer may join what stands
        at a cut.
        """
        llava = self._llava
        prompts = prompt_templates.judge().prompts(llava.quote, [text] * len(videos), videos)
        encoded = llava.tokenizer(prompts, return_tensors="pt", padding=True, padding_side="right")
        if encoded["input_ids"].shape[1] > llava.context:
            raise UsageError(
                f"two skeletons have {encoded['input_ids'].shape[1]} tokens with their question; the model reads "
                f"{llava.context}: make `quoted` in prompts/judge.yaml smaller"
            )
        device = llava.base.get_input_embeddings().weight.device
        return encoded["input_ids"].to(device), encoded["attention_mask"].to(device)

    def _prefix_cache(self, ids: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return keys and values of each layer, for tokens (1, L) that all prompts begin with."""
        from transformers import DynamicCache

        llava = self._llava
        cache: Any = DynamicCache()
        llava.base.model(inputs_embeds=llava.embed(ids), past_key_values=cache, use_cache=True)
        return [(layer.keys, layer.values) for layer in cache.layers]

    def _judge(self, prefix_cache: Sequence[tuple[Tensor, Tensor]], ids: Tensor, mask: Tensor) -> Tensor:
        """Return p (B,) of prompts whose last tokens are `ids` (B, R); `mask` (B, L) is that of all their tokens."""
        from transformers import DynamicCache

        from ..encoders.llava import last_token_states

        llava, template = self._llava, prompt_templates.judge()
        batch, rest = ids.shape
        cache = DynamicCache(
            [(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1)) for keys, values in prefix_cache]
        )
        outputs = llava.base.model(
            inputs_embeds=llava.embed(ids),
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0)[:, -rest:],
            past_key_values=cache,
            use_cache=True,
        )
        logits = llava.logits(last_token_states(outputs.last_hidden_state, mask[:, -rest:]))
        yes, no = (llava.first_token_id(word) for word in (template.positive, template.negative))
        return (logits[:, yes].float() - logits[:, no].float()).sigmoid()


def shared_prefix_length(ids: Tensor, lengths: Tensor) -> int:
    """Return how many tokens all rows of ids (N, L) begin with, of which `lengths` (N,) are real.

    One token of each row is left over, because the answer is read there.
    """
    same = (ids == ids[:1]).all(dim=0).long().cumprod(dim=0)
    return min(int(same.sum()), int(lengths.min()) - 1)


def batch_sizes(lengths: Sequence[int]) -> list[int]:
    """Return the sizes of batches of ascending lengths, so that little of a batch is padding.

    >>> batch_sizes([3, 3, 4, 8, 9, 30])
    [3, 2, 1]
    """
    sizes: list[int] = []
    shortest = 0
    for length in lengths:
        if not sizes or sizes[-1] == _BATCH or length > _MAX_PADDING * shortest:
            sizes.append(0)
            shortest = length
        sizes[-1] += 1
    return sizes
