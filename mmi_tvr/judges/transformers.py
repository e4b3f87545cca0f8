"""Any language model of the Hugging Face layout judges in this process: causal ones, and those that see, too."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ..chat.answer_words import MIN_SHARE
from ..encoders import hub, pretrained
from ..encoders.quiet import quiet_loading
from ..errors import AnswerError, ModelNotFound, UsageError, one_line
from ..protocols import Model
from ..types import Judgement, Pixels, ShownVideo, VideoInput
from ..utils.budget import current
from ..utils.device import resolve
from ..utils.hashing import digest
from ..utils.loading import late_property
from ._common import SeeingJudgeOptions, judge_distinct, judge_shown, show_too_long, too_long
from ._pictures import load_processor, picture_inputs, picture_token
from ._prefix import read_in_batches
from ._prompts import PromptMaker, Reading, answer_token_ids

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDING, _HALF_ROUNDING = 1e-3, 0.02  # how far p may move when the beginning is read once; in half precision
# What a model whose cache is no list of keys and values makes of one.
_CACHE_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError, NotImplementedError)


class Options(SeeingJudgeOptions):
    """Options of judging by a language model in this process."""

    checkpoint: str = Field(description="the model: a folder, or a hub name that is in the cache")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="of the weights")
    batch: int = Field(16, ge=1, description="pairs that are judged together, at most")
    videos: int = Field(2, ge=1, description="videos that are looked at together, at most")


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> TransformersJudge:
    return TransformersJudge(options, device)


class TransformersJudge:
    """Reads the two answers' probabilities at the first token of the answer. Weights are loaded at the first pair.

    What the prompts of a query begin with is read once, where the model's cache allows that: this is tried at the first
    pairs, because no list of architectures would be complete (decision). A model that thinks is given an empty thought.
    """

    name = "transformers"
    video_input: VideoInput = "pictures"

    def __init__(self, options: Options, device: str) -> None:
        """ModelNotFound where the checkpoint is not here."""
        self.options = options
        self._device = device
        self._folder = hub.locate(options.checkpoint)
        self._template = options.prompt_template
        self._shares_prefix: bool | None = None  # not tried yet

    def judge(
        self, text: str, videos: Sequence[str], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        if videos:
            with current().paused():  # it may be loaded now
                self._load()
        return judge_distinct(videos, lambda distinct: self._prompts.judge(text, distinct, self._judgements), advance)

    def judge_videos(
        self, text: str, videos: Sequence[ShownVideo], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        """Return a judgement of each video: see `protocols.SeeingJudge`. UsageError where the model sees nothing."""
        template = self.options.visual_prompt_template
        with current().paused():  # it may be loaded now
            self._load()
            if not self._sees:
                raise UsageError(f"{self.options.checkpoint} reads texts alone: name a checkpoint that sees pictures")
            answer_ids = answer_token_ids(self._tokenizer, template)

        def look(shown: Sequence[ShownVideo]) -> list[Judgement | AnswerError]:
            pictures = [video.pictures for video in shown]
            counts = [len(video) for video in pictures]
            token = picture_token(self._processor)
            return self._prompts.ask(
                lambda: self._prompts.visual_prompts(template, text, counts, token),
                lambda prompts: self._visual_readings(prompts, pictures, answer_ids),
                template,
            )

        return judge_shown(text, videos, look, advance, self.options.videos)

    def visual_fingerprint(self) -> str:
        checkpoint = hub.checkpoint_digest(self._folder)
        return digest(
            "looks", self.name, checkpoint, self.options.dtype, self.options.visual_prompt_template.model_dump()
        )

    def fingerprint(self) -> str:
        checkpoint = hub.checkpoint_digest(self._folder)
        return digest("judge", self.name, checkpoint, self.options.dtype, self._template.model_dump())

    def _judgements(self, prompts: Sequence[str]) -> list[Reading]:
        """Return the judgement of each prompt, or its likeliest token where that begins neither answer."""
        ids = self._prompts.ids(prompts)
        limit = self._context or max(map(len, ids))
        current().add(tokens=sum(map(len, ids)))
        judgements: list[Reading] = [too_long(len(row), limit, self.options.template) for row in ids]
        rows = [row for row, tokens in enumerate(ids) if len(tokens) <= limit]
        for row, judgement in zip(rows, self._read([ids[row] for row in rows]), strict=True):
            judgements[row] = judgement
        return judgements

    def _visual_readings(
        self, prompts: Sequence[str], pictures: Sequence[Sequence[Pixels]], answer_ids: tuple[list[int], list[int]]
    ) -> list[Reading]:
        """Return the reading of each prompt with its pictures."""
        import torch

        inputs = picture_inputs(self._processor, prompts, pictures, self._prompts.adds_special_tokens)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        context = self._context or max(lengths)
        rows = [row for row, length in enumerate(lengths) if length <= context]
        readings: list[Reading] = [show_too_long(length, context) for length in lengths]
        if len(rows) < len(prompts):  # a processor packs the pictures of all videos: those that remain are packed anew
            if not rows:
                return readings
            judged = self._visual_readings([prompts[row] for row in rows], [pictures[row] for row in rows], answer_ids)
        else:
            current().add(tokens=sum(lengths))
            with torch.inference_mode():
                mask = inputs["attention_mask"].to(self._model.device)
                last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(dim=1)  # (N,)
                moved = {name: self._placed(value) for name, value in inputs.items()}
                judged = self._readings(self._scores(moved | {"use_cache": False}, last, answer_ids))
        for row, reading in zip(rows, judged, strict=True):
            readings[row] = reading
        return readings

    def _placed(self, value: Tensor) -> Tensor:
        """Return a processor's output where the model is, numbers in its precision."""
        dtype = self._model.dtype if value.is_floating_point() else value.dtype
        return value.to(self._model.device, dtype)

    def _read(self, ids: Sequence[Sequence[int]]) -> list[Reading]:
        import torch

        if not ids:
            return []
        with torch.inference_mode():
            return self._readings(self._answer_scores(*self._padded(ids)))

    def _readings(self, scores: Tensor) -> list[Reading]:
        """Return what scores (N, 4) say (`_answer_scores`)."""
        judgements: list[Reading] = []
        shares = (scores[:, :2] - scores[:, 2:3]).exp().sum(dim=1)  # of both answers together
        for p, share, token in zip(_probability(scores).tolist(), shares.tolist(), scores[:, 3].tolist(), strict=True):
            judgements.append(Judgement(p) if share >= MIN_SHARE else self._tokenizer.decode([int(token)]))
        return judgements

    def _answer_scores(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return what is read at the end of each prompt (N, L), (N, 4).

        That is the log-sum-exp of the logits of the positive answer, of the negative one and of all tokens, and the
        likeliest token.
        """
        if self._shares_prefix is None and len(ids) > 1:
            self._shares_prefix = self._can_share(ids[:2], mask[:2])
        read_prefix = self._read_prefix if self._shares_prefix else None
        return read_in_batches(ids, mask, read_prefix, self._read_rest, self.options.batch)

    def _can_share(self, ids: Tensor, mask: Tensor) -> bool:
        """Return whether p is the same where the beginning is read once, and where it is read with each prompt."""
        plain = read_in_batches(ids, mask, None, self._read_rest)
        try:
            shared = read_in_batches(ids, mask, self._read_prefix, self._read_rest)
        except _CACHE_ERRORS:
            return False
        difference = (_probability(plain) - _probability(shared)).abs().max()
        return bool(difference <= (_ROUNDING if self._model.dtype.itemsize > 2 else _HALF_ROUNDING))

    def _read_prefix(self, ids: Tensor) -> list[tuple[Tensor, Tensor]]:
        from transformers import DynamicCache

        cache: Any = DynamicCache()
        self._model(input_ids=ids, past_key_values=cache, use_cache=True, **self._keep(ids.new_zeros(1)))
        return [(layer.keys, layer.values) for layer in cache.layers]

    def _read_rest(self, prefix: list[tuple[Tensor, Tensor]] | None, ids: Tensor, mask: Tensor) -> Tensor:
        from transformers import DynamicCache

        batch, rest = ids.shape
        arguments: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
        if prefix:
            sizes = (batch, -1, -1, -1)
            cache = DynamicCache([(keys.expand(sizes), values.expand(sizes)) for keys, values in prefix])
            arguments |= {"past_key_values": cache, "use_cache": True}
        last = mask[:, -rest:].sum(dim=1) - 1  # (B,) of each row's last real token
        return self._scores(arguments, last, self._answer_ids)

    def _scores(self, arguments: dict[str, Any], last: Tensor, answer_ids: tuple[list[int], list[int]]) -> Tensor:
        """Return the scores (B, 4) (`_answer_scores`) at the positions `last` (B,) of what is read."""
        import torch

        positions, columns = torch.unique(last, return_inverse=True)
        kept = self._keep(positions)
        logits = self._model(**arguments, **kept).logits  # (B, those positions or R, V)
        logits = logits[torch.arange(len(last)), columns if kept else last].float()  # (B, V)
        positive, negative = (logits[:, tokens].logsumexp(dim=1) for tokens in answer_ids)
        return torch.stack([positive, negative, logits.logsumexp(dim=1), logits.argmax(dim=1).float()], dim=1)

    def _keep(self, positions: Tensor) -> dict[str, Tensor]:
        """Return the argument by which a model makes logits at these positions alone; none where it has no such one."""
        return {"logits_to_keep": positions} if self._keeps_logits else {}

    def _padded(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return tokens (N, L), padded on the right, and their mask."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        rows = [torch.tensor(row, device=self._model.device) for row in ids]
        masks = [torch.ones_like(row) for row in rows]
        return pad_sequence(rows, batch_first=True), pad_sequence(masks, batch_first=True)

    def _load(self) -> None:
        """Load the model, where it is not loaded yet."""
        assert self._model is not None

    @late_property
    def _tokenizer(self) -> Any:
        try:
            return pretrained.tokenizer(self._folder)
        except pretrained.unreadable() as error:
            raise ModelNotFound(f"{self._folder}: no tokenizer that can be read: {one_line(error)}") from error

    @late_property
    def _processor(self) -> Any:
        return load_processor(self._folder)

    @late_property
    def _prompts(self) -> PromptMaker:
        return PromptMaker(self._tokenizer, self._folder, self._template)

    @late_property
    def _answer_ids(self) -> tuple[list[int], list[int]]:
        return answer_token_ids(self._tokenizer, self._template)

    @late_property
    def _context(self) -> int | None:
        """The most tokens that the model reads; None where its settings do not say."""
        length = self._model.config.get_text_config().to_dict().get("max_position_embeddings")
        return length if isinstance(length, int) else None

    @late_property
    def _keeps_logits(self) -> bool:
        return "logits_to_keep" in inspect.signature(self._model.forward).parameters

    @late_property
    def _sees(self) -> bool:
        from transformers import AutoConfig
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

        try:
            model_type = AutoConfig.from_pretrained(self._folder, **hub.LOCAL).model_type
        except pretrained.unreadable() as error:
            reason = one_line(error)
            raise ModelNotFound(f"{self._folder}: cannot be loaded as a language model: {reason}") from error
        return model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    @late_property
    @quiet_loading()
    def _model(self) -> Any:
        from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

        try:
            kind: Any = AutoModelForImageTextToText if self._sees else AutoModelForCausalLM
            model = pretrained.load(kind, self._folder, dtype=self.options.dtype)
        except pretrained.unreadable(ImportError) as error:
            reason = one_line(error)
            raise ModelNotFound(f"{self._folder}: cannot be loaded as a language model: {reason}") from error
        return model.eval().to(resolve(self._device))


def _probability(scores: Tensor) -> Tensor:
    return (scores[:, 0] - scores[:, 1]).sigmoid()
