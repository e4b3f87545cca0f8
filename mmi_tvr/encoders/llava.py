"""LLaVA with LoRA, fed with vision features that are computed before: texts and visual tokens -> hidden states.

Source: Liu et al., "Improved Baselines with Visual Instruction Tuning", CVPR 2024 (LLaVA-1.5), as transformers has it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ModelNotFound, UsageError, one_line
from ..utils.device import resolve
from ..utils.installation import require
from ..utils.wording import counted
from . import hub, lora, pretrained
from .options import LlavaOptions
from .quiet import quiet_loading
from .quoting import first_tokens, quote
from .towers import LlavaTowers

# bitsandbytes matches these from the start of a module's name, or as its end. Only the language model is quantised.
_NOT_QUANTISED = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]
_BATCH = 64  # texts that are read at once
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_COPIED = {".json", ".txt", ".model", ".jinja"}
_LARGEST_DIFFERENCE = 0.02  # of two towers' weights, relative; bfloat16 rounds by 0.004 at most


class Inputs(NamedTuple):
    """A batch of the language model."""

    ids: Tensor  # (B, L)
    embeds: Tensor  # (B, L, d_lm), visual tokens in their places
    mask: Tensor  # (B, L) 1 where there is a token; or what each token sees (`Llava.states`)


class Llava(nn.Module):
    """The language model and projector of a LLaVA. Vision features come from LlavaTowers (or the cache).

    An embedding is `last_hidden_state`, which is behind the final norm, at the last real token. Decision: padding is on
    the right by default; positions are counted over real tokens, so that the side changes nothing.

    Args:
        model: transformers' LlavaForConditionalGeneration, or the PeftModel around it.
        tokenizer: of the checkpoint.
        grid: a picture is grid x grid visual tokens.
        adapted: whether `model` is a PeftModel.
    """

    def __init__(self, model: Any, tokenizer: Any, grid: int, adapted: bool = False) -> None:
        super().__init__()
        self.model = model
        self.adapted = adapted
        self.tokenizer = tokenizer
        self.tokens_per_image = grid**2
        config = self.base.config
        self.width = int(config.text_config.hidden_size)  # d_lm
        self.context = int(config.text_config.max_position_embeddings)
        self.image_token = str(tokenizer.convert_ids_to_tokens(config.image_token_id))
        if tokenizer.encode(self.image_token, add_special_tokens=False) != [config.image_token_id]:
            raise ModelNotFound(f"the tokenizer has no image token of its own with the id {config.image_token_id}")
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token  # never read: the mask says what is padding

    @property
    def base(self) -> Any:
        """Return transformers' LlavaForConditionalGeneration, adapter inside it or not."""
        return self.model.get_base_model() if self.adapted else self.model

    def unadapted(self) -> AbstractContextManager[None]:
        """Return a context in which this is the base: without adapter, and with the projector as before training."""
        return self.model.disable_adapter() if self.adapted else nullcontext()

    def judging(self) -> AbstractContextManager[None]:
        """Return a context in which this judges: by the judge's own adapter, where it has one."""
        return lora.judging(self.model) if self.adapted else nullcontext()

    def layers(self) -> tuple[nn.Module, Sequence[nn.Module]]:
        """Return the stack of the language model, and the layers that it calls one after the other."""
        stack: Any = self.base.model.language_model
        return stack, list(stack.layers)

    def project(self, patches: Tensor) -> Tensor:
        """Turn pooled vision features (N, tokens_per_image, d_v) into visual tokens (N, tokens_per_image, d_lm).

        In the projector's dtype: float32 where it is trained, whatever the language model's is.
        """
        projector = self.base.model.multi_modal_projector
        tokens: Tensor = projector(patches.to(projector.linear_1.weight))  # of the copy in use: there are two with LoRA
        return tokens

    def inputs(self, texts: Sequence[str], visual: Tensor | None = None, side: str = "right") -> Inputs:
        """Tokenize B texts in which every image token stands for one picture.

        Args:
            texts: B texts.
            visual: the pictures of all texts, in reading order, (N, tokens_per_image, d_lm).
            side: of the padding, "right" or "left".

        Raises:
            UsageError: where there are not as many pictures as image tokens, or a text is longer than the model reads.
        """
        places = sum(text.count(self.image_token) for text in texts)
        pictures = 0 if visual is None else len(visual)
        if places != pictures:
            raise UsageError(f"the texts have places for {counted(places, 'picture')}, and there are {pictures}")
        texts = [text.replace(self.image_token, self.image_token * self.tokens_per_image) for text in texts]
        tokens = self.tokenizer(texts, return_tensors="pt", padding=True, padding_side=side)
        check_length(tokens["input_ids"].shape[1], self.context)
        device = self.base.get_input_embeddings().weight.device
        ids, mask = tokens["input_ids"].to(device), tokens["attention_mask"].to(device)
        return Inputs(ids, self.embed(ids, visual), mask)

    def embed(self, ids: Tensor, visual: Tensor | None = None) -> Tensor:
        """Return the token embeddings (B, L, d_lm) of ids (B, L).

        Visual tokens (N, tokens_per_image, d_lm) take the image tokens' places, which must be as many.
        """
        embeds: Tensor = self.base.get_input_embeddings()(ids)
        if visual is not None:
            places = (ids == self.base.config.image_token_id)[..., None]
            embeds = embeds.masked_scatter(places, visual.to(embeds))
        return embeds

    def quote(self, text: str, limit: int) -> str:
        """Return a person's text as part of a prompt.

        At most `limit` tokens, in which neither a special token nor the end of a quotation can be written.
        """
        return quote(text, limit, self.tokenizer.all_special_tokens, partial(first_tokens, self.tokenizer))

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, those of its pictures included."""
        if not texts:
            return []
        tokens = self.tokenizer(list(texts))["input_ids"]
        per_image = self.tokens_per_image - 1
        return [len(ids) + per_image * text.count(self.image_token) for ids, text in zip(tokens, texts, strict=True)]

    def first_token_id(self, word: str) -> int:
        """Return the id of the token that begins a reply of this word."""
        return int(self.tokenizer.encode(f" {word}", add_special_tokens=False)[-1])

    def states(self, inputs: Inputs, positions: Tensor | None = None) -> Tensor:
        """Return the hidden states behind the final norm, (B, L, d_lm).

        A mask may also be (B, 1, L, L), true where a token (third axis) sees another; `positions` (B, L) go with it.
        """
        mask = inputs.mask
        if positions is None:
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        else:
            mask = torch.zeros_like(mask, dtype=inputs.embeds.dtype).masked_fill(
                ~mask, torch.finfo(inputs.embeds.dtype).min
            )
        output = self.base.model(
            inputs_embeds=inputs.embeds, attention_mask=mask, position_ids=positions, use_cache=False
        )
        states: Tensor = output.last_hidden_state
        return states

    def logits(self, states: Tensor) -> Tensor:
        """Return the scores of the next token, (..., d_lm) -> (..., vocabulary)."""
        scores: Tensor = self.base.lm_head(states)
        return scores

    def forward(self, inputs: Inputs) -> Tensor:
        """Return the state of the last real token of each text, (B, d_lm)."""
        return last_token_states(self.states(inputs), inputs.mask)

    def encode(self, texts: Sequence[str], visual: Tensor | None = None) -> Tensor:
        """Return `forward` of any number of texts, (B, d_lm), in batches of like lengths, so that little is padding.

        `visual` as in `inputs`.
        """
        lengths = self.token_counts(texts)
        starts = [0, *accumulate(text.count(self.image_token) for text in texts)]
        order = sorted(range(len(texts)), key=lambda row: lengths[row])
        parts = []
        for first in range(0, len(order), _BATCH):
            rows = order[first : first + _BATCH]
            pictures = None
            if visual is not None:
                pictures = torch.cat([visual[starts[row] : starts[row + 1]] for row in rows])
            parts.append(self(self.inputs([texts[row] for row in rows], pictures)))
        unsorted = torch.tensor(order, device=parts[0].device).argsort()
        return torch.cat(parts)[unsorted]

    @torch.inference_mode()
    def generate(self, texts: Sequence[str], visual: Tensor | None, max_tokens: int) -> list[str]:
        """Continue each of B texts: always the likeliest token, up to an end token or `max_tokens` of them.

        `visual` as in `inputs`. transformers' own `generate` would obey what a checkpoint says of penalties and beams.
        """
        embeds, mask = self.inputs(texts, visual, side="left")[1:]
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        ends = mask.new_tensor(self._ends())
        unfinished = torch.ones(len(texts), dtype=torch.bool, device=mask.device)
        generated: list[Tensor] = []
        cache = None
        while len(generated) < max_tokens and unfinished.any():
            output = self.base.model(
                inputs_embeds=embeds, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
            )
            tokens = self.logits(output.last_hidden_state[:, -1]).argmax(dim=-1).where(unfinished, ends[0])  # (B,)
            unfinished = unfinished & ~torch.isin(tokens, ends)
            generated.append(tokens)
            cache, embeds, positions = output.past_key_values, self.embed(tokens[:, None]), positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        return list(self.tokenizer.batch_decode(torch.stack(generated, dim=1), skip_special_tokens=True))

    def _ends(self) -> list[int]:
        """The tokens that end a reply."""
        ends = self.base.generation_config.eos_token_id
        if ends is None:
            ends = self.tokenizer.eos_token_id
        return ends if isinstance(ends, list) else [ends]

    def share_vision_tower(self, towers: LlavaTowers) -> None:
        """Keep one vision tower in memory: CLIP's, after a check that LLaVA was built on that one (UsageError).

        Features of another tower would be read without complaint, and mean nothing.
        """
        llava, clip = (dict(tower.named_parameters()) for tower in (self.base.model.vision_tower, towers.vision))
        for name in sorted(llava.keys() | clip.keys()):
            if name not in llava or name not in clip or not _same_weights(llava[name], clip[name]):
                raise UsageError(f"the CLIP checkpoint is not the one that this LLaVA was built on: {name} differs")
        self.base.model.vision_tower = towers.vision.requires_grad_(False)


@quiet_loading()
def load(
    options: LlavaOptions,
    *,
    device: str = "auto",
    adapter: Path | None = None,
    judge: Path | None = None,
    trainable: bool = False,
) -> Llava:
    """Load a LLaVA with the saved `adapter`; a new one where there is none and it is `trainable`; else the base alone.

    Args:
        options: which checkpoint, and how.
        device: as `utils.device.resolve` takes it.
        adapter: a folder that `lora.save` wrote.
        judge: another one, whose adapter takes the first one's place where it judges (`Llava.judging`).
        trainable: whether adapter and projector are to be trained.

    Raises:
        ModelNotFound: where the checkpoint is no LLaVA.
        MissingExtra: where it is to be quantised or adapted without the packages of the extra `train`.
        UsageError: where the attention kernel is not there.
    """
    folder = hub.locate(options.checkpoint)
    model: Any = _pretrained(folder, options, device)
    if options.checkpointing:
        # The re-entrant kind does not go together with DistributedDataParallel's hooks.
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.requires_grad_(False)
    adapted = adapter is not None or (trainable and options.lora is not None)
    if adapter is not None:
        model = lora.load(model, adapter, trainable=trainable)
        if judge is not None:
            lora.add_judge(model, judge)
    elif trainable and options.lora is not None:
        model = lora.attach(model, options.lora)
    return Llava(model.eval(), pretrained.tokenizer(folder), options.grid, adapted)


def merge(options: LlavaOptions, adapter: Path, folder: Path) -> None:
    """Write the LLaVA with its adapter merged in, in the published layout, which transformers and vLLM load.

    Decision: the adapter is merged into the base as it was published, never into a quantised one, which would round
    the update away.

    Args:
        options: of the base.
        adapter: a folder that `lora.save` wrote.
        folder: to write to.

    Raises:
        UsageError: where `folder` is not empty.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder}: not empty; a merged model is written to a folder of its own")
    merged = lora.merge(load(options.model_copy(update={"bits": None}), device="cpu", adapter=adapter).model)
    merged.to(DTYPES[options.dtype])
    weights = {_published_name(name): weight for name, weight in merged.state_dict().items()}
    merged.save_pretrained(folder, state_dict=weights)
    for path in hub.locate(options.checkpoint).iterdir():
        if path.suffix in _COPIED and path.name != "config.json" and not path.name.endswith(".index.json"):
            shutil.copyfile(path, folder / path.name)  # tokenizer, processor, chat template
        elif path.name == "clip" and path.is_dir():
            shutil.copytree(path, folder / path.name)


def check_length(tokens: int, context: int) -> None:
    """Raise UsageError where a text has more tokens than a model reads."""
    if tokens > context:
        raise UsageError(f"a text has {tokens} tokens; the model reads {context}")


def last_token_states(states: Tensor, mask: Tensor) -> Tensor:
    """Return the state of each row's last real token, on whichever side padding is. (B, L, d), (B, L) -> (B, d)."""
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = (mask * positions).argmax(dim=1)  # (B,)
    return states[torch.arange(len(states), device=states.device), last]


def _published_name(name: str) -> str:
    """A weight's name as published checkpoints have it. transformers reads both names, vLLM this one alone."""
    tower = "model.vision_tower."
    return name if f"{tower}vision_model." in name else name.replace(tower, f"{tower}vision_model.")


def _pretrained(folder: Path, options: LlavaOptions, device: str) -> Any:
    from transformers import AutoConfig, LlavaForConditionalGeneration

    resolved = resolve(device)
    extra: dict[str, Any] = {}
    if options.bits:
        extra = {"quantization_config": _quantisation(options), "device_map": {"": resolved}}
    try:
        model_type = AutoConfig.from_pretrained(folder, **hub.LOCAL).model_type
        if model_type != "llava":
            raise ModelNotFound(f"{folder}: a {model_type} checkpoint, not a LLaVA")
        model: Any = pretrained.load(
            LlavaForConditionalGeneration,
            folder,
            dtype=DTYPES[options.dtype],
            attn_implementation=options.attention,
            **extra,
        )
    except ImportError as error:
        raise UsageError(f"attention {options.attention!r} is not there: {one_line(error)}") from error
    except pretrained.unreadable() as error:
        raise ModelNotFound(f"{folder}: cannot be loaded as a LLaVA: {one_line(error)}") from error
    if not options.bits:
        return model.to(resolved)
    _keep_gradients(model)
    return model


def _quantisation(options: LlavaOptions) -> Any:
    """NF4 with double quantisation (Dettmers et al., "QLoRA", 2023), or int8 with outliers apart (LLM.int8(), 2022)."""
    for package in ("bitsandbytes", "accelerate"):
        require(package, "train")
    from transformers import BitsAndBytesConfig

    if options.bits == 8:
        return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_8bit=True, llm_int8_skip_modules=_NOT_QUANTISED
        )
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=DTYPES[options.dtype],
        llm_int8_skip_modules=_NOT_QUANTISED,
    )


def _keep_gradients(model: nn.Module) -> None:
    """On CPUs with avx512_bf16 a 4-bit layer repacks itself at its first forward in eval(), for good, and then passes
    back no gradient (a warning at most): forbid it."""
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _same_weights(weight: Tensor, reference: Tensor) -> bool:
    """Whether two weights are equal up to rounding."""
    if weight.shape != reference.shape:
        return False
    weight, reference = weight.detach().float().cpu(), reference.detach().float().cpu()
    return bool((weight - reference).norm() <= _LARGEST_DIFFERENCE * reference.norm())
