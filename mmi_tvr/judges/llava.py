"""The language model of a retrieval model judges, all candidates in batches. Trained for it by the loss term L_s, on
skeletons; videos it looks at by the features of the cache.

Source: Li et al., ACM MM 2024, section 4.3 (L_s). Decision: p = P(yes) / (P(yes) + P(no)) behind prompts/judge.yaml
and prompts/visual.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from .. import models
from ..chat.answer_words import MIN_SHARE
from ..encoders import hub
from ..encoders.visual_tokens import visual_tokens
from ..errors import AnswerError, UsageError
from ..protocols import AnsweringModel, Model, TrainedModel
from ..types import Features, Judgement, ShownVideo, VideoInput
from ..utils.budget import current
from ..utils.hashing import digest
from ..utils.wording import model_title
from ._common import SeeingJudgeOptions, judge_adapter, judge_distinct, neither, show_error, show_too_long, too_long
from ._prefix import read_in_batches

if TYPE_CHECKING:
    from torch import Tensor

    from ..encoders.llava import Llava

_VIDEOS_TOGETHER = 16  # videos that are looked at in one forward pass


class Options(SeeingJudgeOptions):
    """Options of judging by a retrieval model."""

    weights: str | None = Field(
        None, description="a folder that training wrote, or a bundled model; default: the model that searches"
    )


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> LlavaJudge:
    """Return the judge; `model` is shared where it is the one of the options. UsageError where it has no language."""
    weights, search_model = options.weights, model
    if weights is not None and not (isinstance(model, TrainedModel) and model.weights == weights):
        model = models.make(models.trained_section(weights), device)
    if not isinstance(model, AnsweringModel):
        problem = f"{model_title(model)} has no language model" if model else "no model was given"
        raise UsageError(f"nobody judges: {problem}; name weights, for example moving-shapes, or another judge")
    return LlavaJudge(model, options, search_model)


class LlavaJudge:
    """The language model of a retrieval model as a `protocols.Judge`.

    The prompts of a query's candidates begin with the same tokens, the question and the text skeleton: their keys and
    values are computed once. The tokens after them are padded on the right, in batches of like length.
    """

    name = "llava"
    video_input: VideoInput = "features"

    def __init__(
        self, model: AnsweringModel, options: Options | None = None, search_model: Model | None = None
    ) -> None:
        """Args: model: judges; options: how; search_model: makes the features of videos, where it is another one.

        Raises UsageError where the model's options switch its language model off.
        """
        model.require_language_model()
        self.model = model
        self._search_model = search_model
        self._options = options or Options()
        self.template = self._options.prompt_template

    def fingerprint(self) -> str:
        adapter = judge_adapter(self.model)
        weights = (hub.checkpoint_digest(adapter),) if adapter else ()
        return digest("judge", self.model.language_fingerprint(adapted=True), *weights, self.template.model_dump())

    def judge(
        self, text: str, videos: Sequence[str], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        """Return a judgement of each pair: see `protocols.Judge`. One that is longer than the context has an error."""
        with current().paused():  # it may be loaded now
            llava = self._llava
        return judge_distinct(videos, lambda distinct: self._judge_distinct(llava, text, distinct), advance)

    def judge_videos(
        self, text: str, videos: Sequence[ShownVideo], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        """Return a judgement of each video: see `protocols.SeeingJudge`.

        A model that would say something else than the two answers gives an error, as one that a server runs does.
        UsageError where the model that searches has another vision tower.
        """
        search_model, budget = self._search_model, current()
        if search_model is not None and search_model.vision_fingerprint() != self.model.vision_fingerprint():
            raise UsageError(
                f"{model_title(self.model)} has another vision tower than the model that makes the features"
            )
        with budget.paused():  # it may be loaded now
            llava = self._llava
        judgements: list[Judgement | AnswerError] = []
        for first in range(0, len(videos), _VIDEOS_TOGETHER):
            batch = videos[first : first + _VIDEOS_TOGETHER]
            judgements += self._look_at(llava, text, batch)
            for _ in batch:
                advance()
        return judgements

    def visual_fingerprint(self) -> str:
        return digest(
            "looks", self.model.language_fingerprint(adapted=True), self._options.visual_prompt_template.model_dump()
        )

    def _look_at(self, llava: Llava, text: str, videos: Sequence[ShownVideo]) -> list[Judgement | AnswerError]:
        budget = current()
        before, after = self._options.visual_prompt_template.parts(llava.quote, text)
        judgements: list[Judgement | AnswerError] = []
        prompts: dict[int, str] = {}
        for row, video in enumerate(videos):
            prompt = before + llava.image_token * (len(video.features.segments) if video.features else 0) + after
            (length,) = llava.token_counts([prompt])
            error = show_error(text, video, self.video_input)
            if error is None and length > llava.context:
                error = show_too_long(length, llava.context)
            if error is None and budget.take(1):
                budget.add(tokens=length)
                prompts[row] = prompt
            judgements.append(error or AnswerError(budget.shortage))
        features = [features for row in prompts if (features := videos[row].features)]
        for row, judgement in zip(
            prompts, self._visual_judgements(llava, list(prompts.values()), features), strict=True
        ):
            judgements[row] = judgement
        return judgements

    def _visual_judgements(
        self, llava: Llava, prompts: Sequence[str], features: Sequence[Features]
    ) -> list[Judgement | AnswerError]:
        import torch

        if not prompts:
            return []
        template = self._options.visual_prompt_template
        with torch.inference_mode():
            logits = llava.logits(llava.encode(prompts, visual_tokens(llava, features))).float()  # (N, V)
            log_p = logits.log_softmax(dim=1).cpu()
        yes, no = (log_p[:, llava.first_token_id(word)] for word in (template.positive, template.negative))
        judgements: list[Judgement | AnswerError] = []
        shares, probabilities = (yes.exp() + no.exp()).tolist(), (yes - no).sigmoid().tolist()
        for share, probability, token in zip(shares, probabilities, log_p.argmax(dim=1).tolist(), strict=True):
            word = str(llava.tokenizer.decode([token]))
            judgements.append(Judgement(probability) if share >= MIN_SHARE else neither(word, template))
        return judgements

    def _judge_distinct(self, llava: Llava, text: str, videos: Sequence[str]) -> list[Judgement | AnswerError]:
        prompts = self.template.prompts(llava.quote, [text] * len(videos), videos)
        lengths = llava.token_counts(prompts)
        current().add(tokens=sum(lengths))
        rows = [row for row, length in enumerate(lengths) if length <= llava.context]
        probabilities = dict(zip(rows, self._probabilities([prompts[row] for row in rows]), strict=True))
        return [
            Judgement(probabilities[row])
            if row in probabilities
            else too_long(length, llava.context, self._options.template)
            for row, length in enumerate(lengths)
        ]

    def _probabilities(self, prompts: Sequence[str]) -> list[float]:
        import torch

        if not prompts:
            return []
        with torch.inference_mode(), self._llava.judging():
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
