"""LLaVA with LoRA, fed with vision features that were made before: texts and visual tokens -> hidden states.

Source: Liu et al., "Improved Baselines with Visual Instruction Tuning", CVPR 2024 (LLaVA-1.5), as transformers has it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .. import plugins
from ..errors import ModelNotFound, UsageError, one_line
from ..utils.device import resolve
from . import hub, lora
from .options import LlavaOptions
from .towers import LlavaTowers

# bitsandbytes matches these from the start of a module's name, or as its end. Only the language model is quantised.
_NOT_QUANTISED = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]
_TOGETHER = 64  # texts that are read at once
_COPIED = {".json", ".txt", ".model", ".jinja"}
_LARGEST_DIFFERENCE = 0.02  # of two towers' weights, relative; bfloat16 rounds by 0.004 at most


class Inputs(NamedTuple):
    """What the language model reads."""

    ids: Tensor  # (B, L)
    embeds: Tensor  # (B, L, d_lm), visual tokens in their places
    mask: Tensor  # (B, L) 1 where there is a token; or what each token sees (`Llava.states`)


class Llava(nn.Module):
    """The language model and projector of a LLaVA. Vision features come from LlavaTowers (or the cache).

    An embedding is `last_hidden_state`, which is behind the final norm, at the last real token. Decision: padding is on
    the right unless asked otherwise; positions are counted over real tokens, so that the side changes nothing.
    """

    def __init__(self, model: Any, tokenizer: Any, grid: int) -> None:
        super().__init__()
        self.model = model  # transformers' model, or the PeftModel around it
        self.tokenizer = tokenizer
        self.tokens_per_image = grid**2
        config = self.base.config
        self.width = int(config.text_config.hidden_size)  # d_lm
        self.context = int(config.text_config.max_position_embeddings)
        self.image_token = str(tokenizer.convert_ids_to_tokens(config.image_token_id))
        if tokenizer.encode(self.image_token, add_special_tokens=False) != [config.image_token_id]:
            raise ModelNotFound(f"the tokenizer has no image token of its own with the id {config.image_token_id}")
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token  # never looked at: the mask says what is padding

    @property
    def base(self) -> Any:
        """transformers' LlavaForConditionalGeneration, adapter inside it or not."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    def unadapted(self) -> AbstractContextManager[None]:
        """Inside, this is the base: without its adapter, and with the projector as it was before training."""
        return self.model.disable_adapter() if hasattr(self.model, "disable_adapter") else nullcontext()

    def project(self, patches: Tensor) -> Tensor:
        """Pooled vision features (N, tokens_per_image, d_v) -> visual tokens (N, tokens_per_image, d_lm).

        In the projector's dtype: float32 where it is trained, whatever the language model's is.
        """
        projector = self.base.model.multi_modal_projector
        return projector(patches.to(projector.linear_1.weight))  # of the copy that is in use: there are two with LoRA

    def inputs(self, texts: Sequence[str], visual: Tensor | None = None, side: str = "right") -> Inputs:
        """Tokens of B texts, padded on `side`, in which every image token stands for one picture.

        `visual` (N, tokens_per_image, d_lm) are the pictures of all texts, in reading order. UsageError where their
        number is not that of the image tokens, or a text is longer than the model reads.
        """
        wanted = sum(text.count(self.image_token) for text in texts)
        given = 0 if visual is None else len(visual)
        if wanted != given:
            raise UsageError(f"the texts have places for {wanted} pictures, and there are {given}")
        texts = [text.replace(self.image_token, self.image_token * self.tokens_per_image) for text in texts]
        tokens = self.tokenizer(texts, return_tensors="pt", padding=True, padding_side=side)
        if tokens["input_ids"].shape[1] > self.context:
            raise UsageError(f"a text has {tokens['input_ids'].shape[1]} tokens; the model reads {self.context}")
        device = self.base.get_input_embeddings().weight.device
        ids, mask = (tokens[name].to(device) for name in ("input_ids", "attention_mask"))
        return Inputs(ids, self.embed(ids, visual), mask)

    def embed(self, ids: Tensor, visual: Tensor | None = None) -> Tensor:
        """Token embeddings of ids (B, L) with visual tokens (N, tokens_per_image, d_lm) at the image tokens' places,
        which must be as many. (B, L, d_lm)."""
        embeds = self.base.get_input_embeddings()(ids)
        if visual is not None:
            places = (ids == self.base.config.image_token_id)[..., None]
            embeds = embeds.masked_scatter(places, visual.to(embeds))
        return embeds

    def quote(self, text: str, limit: int) -> str:
        """A person's text as part of a prompt: at most `limit` tokens, in which neither a special token nor the end of
        a quotation can be written."""
        text = text.replace('"', "'")
        for special in sorted(self.tokenizer.all_special_tokens, key=len, reverse=True):
            text = text.replace(special, f"{special[0]} {special[1:]}")
        cut = self.tokenizer(
            text, add_special_tokens=False, truncation=True, max_length=limit, return_offsets_mapping=True
        )
        return text[: cut["offset_mapping"][-1][1]] if cut["offset_mapping"] else ""

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, those of its pictures included."""
        tokens = self.tokenizer(list(texts))["input_ids"] if texts else []
        per_image = self.tokens_per_image - 1
        return [len(ids) + per_image * text.count(self.image_token) for ids, text in zip(tokens, texts, strict=True)]

    def first_token(self, word: str) -> int:
        """The id of the token that a reply begins with which is this word."""
        return int(self.tokenizer.encode(f" {word}", add_special_tokens=False)[-1])

    def states(self, inputs: Inputs, positions: Tensor | None = None) -> Tensor:
        """Hidden states behind the final norm, (B, L, d_lm).

        A mask may also be (B, 1, L, L), true where a token (third axis) sees another; `positions` (B, L) go with it.
        """
        mask = inputs.mask
        if positions is None:
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        else:
            mask = torch.zeros_like(mask, dtype=inputs.embeds.dtype).masked_fill(
                ~mask, torch.finfo(inputs.embeds.dtype).min
            )
        said = self.base.model(
            inputs_embeds=inputs.embeds, attention_mask=mask, position_ids=positions, use_cache=False
        )
        return said.last_hidden_state

    def logits(self, states: Tensor) -> Tensor:
        """Scores of the next token, (..., d_lm) -> (..., vocabulary)."""
        return self.base.lm_head(states)

    def forward(self, inputs: Inputs) -> Tensor:
        """The state of the last real token of each text, (B, d_lm)."""
        return at_last(self.states(inputs), inputs.mask)

    def read(self, texts: Sequence[str], visual: Tensor | None = None) -> Tensor:
        """`forward` of any number of texts, (B, d_lm); texts of like length go together, so that little is padding."""
        lengths = self.lengths(texts)
        starts = [0, *accumulate(text.count(self.image_token) for text in texts)]
        order = sorted(range(len(texts)), key=lambda row: lengths[row])
        parts = []
        for first in range(0, len(order), _TOGETHER):
            rows = order[first : first + _TOGETHER]
            seen = None
            if visual is not None:
                seen = torch.cat([visual[starts[row] : starts[row + 1]] for row in rows])
            parts.append(self(self.inputs([texts[row] for row in rows], seen)))
        back = torch.tensor(order, device=parts[0].device).argsort()
        return torch.cat(parts)[back]

    @torch.inference_mode()
    def generate(self, texts: Sequence[str], visual: Tensor | None, max_tokens: int) -> list[str]:
        """What follows each of B texts: always the likeliest token, up to an end token or `max_tokens` of them.

        `visual` as in `inputs`. transformers' own `generate` would obey what a checkpoint says of penalties and beams.
        """
        embeds, mask = self.inputs(texts, visual, side="left")[1:]
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        ends = mask.new_tensor(self._ends())
        going = torch.ones(len(texts), dtype=torch.bool, device=mask.device)
        written: list[Tensor] = []
        cache = None
        while len(written) < max_tokens and going.any():
            said = self.base.model(
                inputs_embeds=embeds, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
            )
            tokens = self.logits(said.last_hidden_state[:, -1]).argmax(dim=-1).where(going, ends[0])  # (B,)
            going = going & ~torch.isin(tokens, ends)
            written.append(tokens)
            cache, embeds, positions = said.past_key_values, self.embed(tokens[:, None]), positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        return list(self.tokenizer.batch_decode(torch.stack(written, dim=1), skip_special_tokens=True))

    def _ends(self) -> list[int]:
        """The tokens that end a reply."""
        ends = self.base.generation_config.eos_token_id
        ends = self.tokenizer.eos_token_id if ends is None else ends
        return ends if isinstance(ends, list) else [ends]

    def share(self, towers: LlavaTowers) -> None:
        """Keep one vision tower in memory: CLIP's, after a check that LLaVA was built on that one (UsageError).

        Features of another tower would be read without complaint, and mean nothing.
        """
        own = dict(self.base.model.vision_tower.named_parameters())
        theirs = dict(towers.vision.named_parameters())
        for name in own.keys() | theirs.keys():
            if name not in own or name not in theirs or not _alike(own[name], theirs[name]):
                raise UsageError(f"the CLIP checkpoint is not the one that this LLaVA was built on: {name} differs")
        self.base.model.vision_tower = towers.vision.requires_grad_(False)


def load(options: LlavaOptions, *, device: str = "auto", adapter: Path | None = None, trainable: bool = False) -> Llava:
    """A LLaVA with the saved `adapter`; with a new one where there is none and it is `trainable`; else the base alone.

    ModelNotFound where the checkpoint is no LLaVA; MissingExtra where it is to be quantised or adapted without the
    packages of the extra `train`; UsageError where the attention kernel is not there.
    """
    from transformers import AutoTokenizer

    folder = hub.locate(options.checkpoint)
    model: Any = _pretrained(folder, options, device)
    if options.checkpointing:
        # The re-entrant kind does not go together with DistributedDataParallel's hooks.
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.requires_grad_(False)
    if adapter is not None:
        model = lora.load(model, adapter, trainable=trainable)
    elif trainable and options.lora is not None:
        model = lora.attach(model, options.lora)
    return Llava(model.eval(), AutoTokenizer.from_pretrained(folder), options.grid)


def merge(options: LlavaOptions, adapter: Path, folder: Path) -> None:
    """Write the LLaVA with its adapter merged in, in the published layout, which transformers and vLLM load.

    Decision: the adapter is merged into the base as it was published, never into a quantised one, which would round
    the update away. UsageError where `folder` holds something.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder}: not empty; a merged model is written to a folder of its own")
    plain = lora.merge(load(options.model_copy(update={"bits": None}), device="cpu", adapter=adapter).model)
    plain.to(getattr(torch, options.dtype))
    plain.save_pretrained(folder, state_dict={_published(name): each for name, each in plain.state_dict().items()})
    for path in hub.locate(options.checkpoint).iterdir():
        if path.suffix in _COPIED and path.name != "config.json" and not path.name.endswith(".index.json"):
            shutil.copyfile(path, folder / path.name)  # tokenizer, processor, chat template
        elif path.name == "clip" and path.is_dir():
            shutil.copytree(path, folder / path.name)


def at_last(states: Tensor, mask: Tensor) -> Tensor:
    """The state of each row's last real token, whatever side the padding is on. (B, L, d), (B, L) -> (B, d)."""
    places = torch.arange(mask.shape[1], device=mask.device)
    last = (mask * places).argmax(dim=1)
    return states[torch.arange(len(states), device=states.device), last]


def _published(name: str) -> str:
    """A weight's name as published checkpoints have it. transformers reads both names, vLLM this one alone."""
    tower = "model.vision_tower."
    return name if f"{tower}vision_model." in name else name.replace(tower, f"{tower}vision_model.")


def _pretrained(folder: Path, options: LlavaOptions, device: str) -> Any:
    from transformers import AutoConfig, LlavaForConditionalGeneration

    place = resolve(device)
    extra: dict[str, Any] = {}
    if options.bits:
        extra = {"quantization_config": _quantisation(options), "device_map": {"": place}}
    try:
        kind = AutoConfig.from_pretrained(folder).model_type
        if kind != "llava":
            raise ModelNotFound(f"{folder}: a {kind} checkpoint, not a LLaVA")
        model = LlavaForConditionalGeneration.from_pretrained(
            folder,
            dtype=getattr(torch, options.dtype),
            attn_implementation=options.attention,
            use_safetensors=True,
            **extra,
        )
    except ImportError as error:
        raise UsageError(f"attention {options.attention!r} is not there: {one_line(error)}") from error
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"{folder}: cannot be loaded as a LLaVA: {one_line(error)}") from error
    if not options.bits:
        return model.to(place)
    _keep_gradients(model)
    return model


def _quantisation(options: LlavaOptions) -> Any:
    """NF4 with double quantisation (Dettmers et al., "QLoRA", 2023), or int8 with outliers apart (LLM.int8(), 2022)."""
    for package in ("bitsandbytes", "accelerate"):
        plugins.require(package, "train")
    from transformers import BitsAndBytesConfig

    if options.bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=_NOT_QUANTISED)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, options.dtype),
        llm_int8_skip_modules=_NOT_QUANTISED,
    )


def _keep_gradients(model: nn.Module) -> None:
    """On CPUs with avx512_bf16 a 4-bit layer repacks itself at its first forward in eval(), for good, and then passes
    back no gradient (a warning at most): forbid it."""
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _alike(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    one, other = one.detach().float().cpu(), other.detach().float().cpu()
    return bool((one - other).norm() <= _LARGEST_DIFFERENCE * other.norm())
