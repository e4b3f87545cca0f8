"""The language model of a retrieval model judges, all candidates in batches. Trained for it by the loss term L_s.

Source: Li et al., ACM MM 2024, section 4.3 (L_s). Decision: p = P(yes) / (P(yes) + P(no)) behind prompts/judge.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from .. import models
from ..errors import AnswerError, UsageError
from ..protocols import AnsweringModel, Model, TrainedModel
from ..types import Judgement
from ..utils.budget import current
from ..utils.hashing import digest
from ._common import JudgeOptions, judge_distinct, too_long
from ._prefix import read_in_batches

if TYPE_CHECKING:
    from torch import Tensor

    from ..encoders.llava import Llava


class Options(JudgeOptions):
    """Options of judging by a retrieval model."""

    weights: str | None = Field(
        None, description="a folder that training wrote, or a bundled model; default: the model that searches"
    )


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> LlavaJudge:
    """Return the judge; `model` is shared where it is the one of the options. UsageError where it has no language."""
    weights = options.weights
    if weights is not None and not (isinstance(model, TrainedModel) and model.weights == weights):
        model = models.make(models.trained_section(weights), device)
    if not isinstance(model, AnsweringModel):
        problem = f"{model.name} has no language model" if model else "no model was given"
        raise UsageError(f"nobody judges: {problem}; name weights, for example moving-shapes, or another judge")
    return LlavaJudge(model, options)


class LlavaJudge:
    """The language model of a retrieval model as a `protocols.Judge`.

    The prompts of a query's candidates begin with the same tokens, the question and the text skeleton: their keys and
    values are computed once. The tokens after them are padded on the right, in batches of like length.
    """

    name = "llava"

    def __init__(self, model: AnsweringModel, options: Options | None = None) -> None:
        """UsageError where the model's options switch its language model off."""
        model.require_language_model()
        self.model = model
        self.template = (options or Options()).prompt_template

    def fingerprint(self) -> str:
        return digest("judge", self.model.fingerprint(), self.template.model_dump())

    def judge(
        self, text: str, videos: Sequence[str], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        """Return a judgement of each pair: see `protocols.Judge`. One that is longer than the context has an error."""
        with current().paused():  # it may be loaded now
            llava = self._llava
        return judge_distinct(videos, lambda distinct: self._judge_distinct(llava, text, distinct), advance)

    def _judge_distinct(self, llava: Llava, text: str, videos: Sequence[str]) -> list[Judgement | AnswerError]:
        prompts = self.template.prompts(llava.quote, [text] * len(videos), videos)
        lengths = llava.token_counts(prompts)
        current().add(tokens=sum(lengths))
        rows = [row for row, length in enumerate(lengths) if length <= llava.context]
        probabilities = dict(zip(rows, self._probabilities([prompts[row] for row in rows]), strict=True))
        return [
            Judgement(probabilities[row]) if row in probabilities else too_long(length, llava.context)
            for row, length in enumerate(lengths)
        ]

    def _probabilities(self, prompts: Sequence[str]) -> list[float]:
        import torch

        if not prompts:
            return []
        with torch.inference_mode():
            probabilities = read_in_batches(*self._tokenized(prompts), self._prefix_cache, self._judge)
        return [float(p) for p in probabilities.float().cpu()]

    @property
    def _llava(self) -> Llava:
        llava: Llava = self.model.language_model()
        return llava

    def _tokenized(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return token ids and mask (N, L) of whole prompts.

        Decision: they are cut into prefix and rest as tokens, never as text, because a tokenizer may join what stands
        at a cut.
        """
        llava = self._llava
        encoded = llava.tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="right")
        device = llava.base.get_input_embeddings().weight.device
        return encoded["input_ids"].to(device), encoded["attention_mask"].to(device)

    def _prefix_cache(self, ids: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return keys and values of each layer, for tokens (1, L) that all prompts begin with."""
        from transformers import DynamicCache

        llava = self._llava
        cache: Any = DynamicCache()
        llava.base.model(inputs_embeds=llava.embed(ids), past_key_values=cache, use_cache=True)
        return [(layer.keys, layer.values) for layer in cache.layers]

    def _judge(self, prefix_cache: Sequence[tuple[Tensor, Tensor]] | None, ids: Tensor, mask: Tensor) -> Tensor:
        """Return p (B,) of prompts whose last tokens are `ids` (B, R); `mask` (B, L) is that of all their tokens."""
        from transformers import DynamicCache

        from ..encoders.llava import last_token_states

        llava, template = self._llava, self.template
        batch, rest = ids.shape
        cache = DynamicCache(
            [(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1)) for keys, values in prefix_cache or ()]
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
