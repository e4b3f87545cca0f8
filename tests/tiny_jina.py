"""A random checkpoint of Jina-CLIP v2's layout: files, settings and names of tensors as the published one has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tiny_towers
import torch
from safetensors.torch import save_file
from torch import Tensor

WIDTH, HEADS, LAYERS, HIDDEN, RANK = 24, 2, 2, 40, 3  # of the text tower
VISION_WIDTH, HEAD_WIDTH, PATCH, SIZE = 24, 12, 8, 36  # 4 patches a side, and some pixels that belong to none
TASKS = ["retrieval.query", "text-matching"]
CODE = "jinaai/jina-clip-implementation--"


def make(folder: Path, *, vision: dict[str, Any] | None = None, text: dict[str, Any] | None = None, **top: Any) -> Path:
    """Write a checkpoint, and return its folder. `vision`, `text` and `top` change settings."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    ids = tiny_towers._unigram(folder, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<s> $A </s>")
    ends = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>"}
    tiny_towers._tokenizer_config(folder, "XLMRobertaTokenizer", mask_token="<mask>", **ends)
    settings = _settings(len(ids))
    settings["vision_config"] |= vision or {}
    settings["text_config"] |= text or {}
    settings |= top
    tensors = _vision(settings["vision_config"]) | _text(settings["text_config"], len(ids))
    if settings["add_projections"]:
        for side, width in (("visual", settings["vision_config"]), ("text", settings["text_config"])):
            tensors[f"{side}_projection.weight"] = _random(settings["projection_dim"], width["embed_dim"])
    tensors["logit_scale"] = torch.tensor(2.6592)
    save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, folder / "model.safetensors")
    pictures = {"size": SIZE, "resize_mode": "shortest", "interpolation": "bicubic", "fill_color": 0}
    code = {"auto_map": {"AutoImageProcessor": f"{CODE}processing_clip.JinaCLIPImageProcessor"}}
    kind = {"image_processor_type": "JinaCLIPImageProcessor", "mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
    (folder / "preprocessor_config.json").write_text(json.dumps({**pictures, **code, **kind}))
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def _settings(words: int) -> dict[str, Any]:
    sizes = {
        "vocab_size": words, "hidden_size": WIDTH, "num_attention_heads": HEADS, "num_hidden_layers": LAYERS,
        "intermediate_size": HIDDEN, "max_position_embeddings": 600, "rotary_emb_base": 500.0,
    }  # fmt: skip
    adapters = {
        "load_trained_adapters": False, "lora_adaptations": TASKS, "lora_alpha": 4, "lora_dropout_p": 0.0,
        "lora_main_params_trainable": False, "lora_rank": RANK, "use_flash_attn": True,
        "task_instructions": {"retrieval.query": "find: ", "text-matching": "compare: "},
    }  # fmt: skip
    text = {
        "default_instruction_task": None, "default_lora_task": "retrieval.query", "embed_dim": WIDTH,
        "hf_model_config_kwargs": {**adapters, **sizes}, "hf_model_name_or_path": "jinaai/jina-embeddings-v3",
        "model_type": "jina_clip_text", "pooler_type": "mean_pooler", "proj_bias": False, "proj_type": None,
    }  # fmt: skip
    vision = {
        "drop_path_rate": 0.0, "embed_dim": WIDTH, "fused_layer_norm": False, "head_width": HEAD_WIDTH,
        "image_size": SIZE, "intp_freq": True, "layers": 2, "ls_init_value": None, "mlp_ratio": 2.6667,
        "model_type": "jina_clip_vision", "naive_swiglu": True, "patch_dropout": 0.1, "patch_size": PATCH,
        "post_norm": False, "proj_type": None, "pt_hw_seq_len": 3, "qkv_bias": True, "rope_embeddings": True,
        "subln": True, "width": VISION_WIDTH, "x_attention": True,
    }  # fmt: skip
    code = {"AutoConfig": f"{CODE}configuration_clip.JinaCLIPConfig", "AutoModel": f"{CODE}modeling_clip.JinaCLIPModel"}
    return {
        "add_projections": False, "architectures": ["JinaCLIPModel"], "auto_map": code, "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592, "matryoshka_dimensions": [8, 16, 24], "model_type": "jina_clip",
        "projection_dim": WIDTH, "text_config": text, "torch_dtype": "bfloat16", "truncate_dim": None,
        "use_text_flash_attn": None, "use_vision_xformers": None, "vision_config": vision,
    }  # fmt: skip


def _random(*shape: int) -> Tensor:
    return torch.randn(shape) * 0.3


def _norm(name: str, width: int) -> dict[str, Tensor]:
    return {f"{name}.weight": 1 + _random(width), f"{name}.bias": _random(width)}


def _linear(name: str, outputs: int, inputs: int, bias: bool = True) -> dict[str, Tensor]:
    return {f"{name}.weight": _random(outputs, inputs)} | ({f"{name}.bias": _random(outputs)} if bias else {})


def _vision(settings: dict[str, Any]) -> dict[str, Tensor]:
    width = settings["width"]
    hidden = int(width * settings["mlp_ratio"])
    side = settings["image_size"] // settings["patch_size"]
    tensors = {"cls_token": _random(1, 1, width), "pos_embed": _random(1, 1 + side**2, width)}
    tensors |= {"patch_embed.proj.weight": _random(width, 3, PATCH, PATCH), "patch_embed.proj.bias": _random(width)}
    for layer in range(settings["layers"]):
        block = f"blocks.{layer}"
        tensors |= _norm(f"{block}.norm1", width) | _norm(f"{block}.norm2", width)
        tensors |= _linear(f"{block}.attn.proj", width, width)
        if settings["subln"]:
            for part in "qkv":
                tensors |= _linear(f"{block}.attn.{part}_proj", width, width, bias=False)
            tensors |= _norm(f"{block}.attn.inner_attn_ln", width) | _norm(f"{block}.mlp.ffn_ln", hidden)
        else:
            tensors |= _linear(f"{block}.attn.qkv", 3 * width, width, bias=False)
        if settings["qkv_bias"]:
            tensors |= {f"{block}.attn.q_bias": _random(width), f"{block}.attn.v_bias": _random(width)}
        into, out = (("w1", "w2"), "w3") if settings["naive_swiglu"] else (("fc1",), "fc2")
        for part in into:
            tensors |= _linear(f"{block}.mlp.{part}", hidden, width)
        tensors |= _linear(f"{block}.mlp.{out}", width, hidden)
        if settings["ls_init_value"]:
            tensors |= {f"{block}.gamma_{part}": _random(width) for part in (1, 2)}
    tensors |= _norm("norm", width)
    if settings["proj_type"]:
        tensors |= _linear("head", settings["embed_dim"], width, settings["qkv_bias"])
    return {f"vision_model.{name}": tensor for name, tensor in tensors.items()}


def _text(settings: dict[str, Any], words: int) -> dict[str, Tensor]:
    roberta: dict[str, Tensor] = _norm("emb_ln", WIDTH)
    for name, rows in (("word_embeddings", words), ("token_type_embeddings", 1)):
        weight = f"embeddings.{name}.parametrizations.weight"
        roberta[f"{weight}.original"] = _random(rows, WIDTH)
        roberta[f"{weight}.0.lora_A"] = _random(len(TASKS), rows, RANK)
        roberta[f"{weight}.0.lora_B"] = _random(len(TASKS), RANK, WIDTH)
    shapes = {"mixer.Wqkv": (3 * WIDTH, WIDTH), "mixer.out_proj": (WIDTH, WIDTH)}
    shapes |= {"mlp.fc1": (HIDDEN, WIDTH), "mlp.fc2": (WIDTH, HIDDEN)}
    for layer in range(LAYERS):
        block = f"encoder.layers.{layer}"
        roberta |= _norm(f"{block}.norm1", WIDTH) | _norm(f"{block}.norm2", WIDTH)
        for part, (outputs, inputs) in shapes.items():
            weight = f"{block}.{part}.parametrizations.weight"
            roberta[f"{weight}.original"] = _random(outputs, inputs)
            roberta[f"{weight}.0.lora_A"] = _random(len(TASKS), RANK, inputs)
            roberta[f"{weight}.0.lora_B"] = _random(len(TASKS), outputs, RANK)
            roberta[f"{block}.{part}.bias"] = _random(outputs)
    tensors = {f"text_model.transformer.roberta.{name}": tensor for name, tensor in roberta.items()}
    output, kind, bias = settings["embed_dim"], settings["proj_type"], settings["proj_bias"]
    inner = (WIDTH + output) // 2
    if kind == "mlp":
        tensors |= _linear("text_model.proj.0", inner, WIDTH, bias) | _linear("text_model.proj.2", output, inner, bias)
    elif kind == "linear" or output != WIDTH:
        tensors |= _linear("text_model.proj", output, WIDTH, bias)
    return tensors
