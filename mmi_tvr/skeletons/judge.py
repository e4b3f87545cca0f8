"""The joint score: how likely two skeletons describe one scene, as the large model says, for all candidates at once.

Source: Li et al., ACM MM 2024, section 4.3 (L_s). Decision: p = P(yes) / (P(yes) + P(no)) behind prompts/judge.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import prompt_templates
from ..errors import UsageError
from ..models.mmi import Mmi
from ..types import FloatArray
from ..utils.hashing import digest

if TYPE_CHECKING:
    from torch import Tensor

    from ..encoders.llava import Llava

_TOGETHER = 64  # candidates in one forward pass
_PADDED = 4 / 3  # the longest of a batch has at most so many times the tokens of the shortest


class LlavaJudge:
    """A `protocols.Judge` that is the language model of an MMI-TVR.

    The prompts of a query's candidates begin with the same tokens, the question and the text skeleton: their keys and
    values are computed once. What comes behind is padded on the right, in batches of like length.
    """

    def __init__(self, model: Mmi) -> None:
        if not model.options.lvlm:
            raise UsageError("this mmi is without its large model (lvlm: false), which is the one that judges")
        self.model = model

    def fingerprint(self) -> str:
        return digest("judge", self.model.fingerprint(), prompt_templates.judge().model_dump())

    def probabilities(self, text: str, videos: Sequence[str]) -> FloatArray:
        """p (N,) of one text skeleton with each video skeleton. UsageError where the model cannot read so much."""
        import torch

        if not videos:
            return np.zeros(0, np.float32)
        different = list(dict.fromkeys(videos))  # videos that answer alike are judged once
        with torch.inference_mode():
            ids, mask = self._tokens(text, different)
            lengths = mask.sum(dim=1)
            shared = shared_tokens(ids, lengths)
            order = lengths.argsort()
            before = self._before(ids[:1, :shared]) if shared else []
            parts = []
            for rows in torch.split(order, batches((lengths[order] - shared).tolist())):
                end = int(lengths[rows].max())
                parts.append(self._judge(before, ids[rows, shared:end], mask[rows, :end]))
            found = torch.cat(parts)[order.argsort()].float().cpu().numpy()
        places = {video: at for at, video in enumerate(different)}
        return np.asarray(found[[places[video] for video in videos]], dtype=np.float32)

    @property
    def _llava(self) -> Llava:
        found = self.model.network.llava
        assert found is not None  # the options say so
        return found

    def _tokens(self, text: str, videos: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids and mask (N, L) of whole prompts. Decision: they are cut into what is shared and what is not as tokens,
        never as text, because a tokenizer may join what stands at a cut."""
        from ..models.mmi.network import judge_prompts

        llava = self._llava
        prompts = judge_prompts(llava, [text] * len(videos), videos)
        made = llava.tokenizer(prompts, return_tensors="pt", padding=True, padding_side="right")
        if made["input_ids"].shape[1] > llava.context:
            raise UsageError(
                f"two skeletons have {made['input_ids'].shape[1]} tokens with their question; the model reads "
                f"{llava.context}: make `quoted` in prompts/judge.yaml smaller"
            )
        device = llava.base.get_input_embeddings().weight.device
        return made["input_ids"].to(device), made["attention_mask"].to(device)

    def _before(self, ids: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of each layer, for tokens (1, L) that all prompts begin with."""
        from transformers import DynamicCache

        llava = self._llava
        cache: Any = DynamicCache()
        llava.base.model(inputs_embeds=llava.embed(ids), past_key_values=cache, use_cache=True)
        return [(layer.keys, layer.values) for layer in cache.layers]

    def _judge(self, before: Sequence[tuple[Tensor, Tensor]], ids: Tensor, mask: Tensor) -> Tensor:
        """p (B,) of prompts whose last tokens are `ids` (B, R), and whose mask is that of all their tokens (B, L)."""
        from transformers import DynamicCache

        from ..encoders.llava import at_last

        llava, template = self._llava, prompt_templates.judge()
        count, rest = ids.shape
        cache = DynamicCache([tuple(each.expand(count, -1, -1, -1) for each in layer) for layer in before])
        said = llava.base.model(
            inputs_embeds=llava.embed(ids),
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0)[:, -rest:],
            past_key_values=cache,
            use_cache=True,
        )
        logits = llava.logits(at_last(said.last_hidden_state, mask[:, -rest:]))
        yes, no = (llava.first_token(word) for word in (template.positive, template.negative))
        return (logits[:, yes].float() - logits[:, no].float()).sigmoid()


def shared_tokens(ids: Tensor, lengths: Tensor) -> int:
    """How many tokens all rows of ids (N, L) begin with, of which `lengths` (N,) are real; one of each is left over,
    because the answer is read there."""
    same = (ids == ids[:1]).all(dim=0).long().cumprod(dim=0)
    return min(int(same.sum()), int(lengths.min()) - 1)


def batches(lengths: Sequence[int]) -> list[int]:
    """Sizes of batches of ascending lengths, so that little of a batch is padding.

    >>> batches([3, 3, 4, 8, 9, 30])
    [3, 2, 1]
    """
    sizes: list[int] = []
    shortest = 0
    for length in lengths:
        if not sizes or sizes[-1] == _TOGETHER or length > _PADDED * shortest:
            sizes.append(0)
            shortest = length
        sizes[-1] += 1
    return sizes
