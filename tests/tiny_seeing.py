"""A random Idefics3 (SmolVLM's family) of the real layout, whose processor cuts a picture into tiles of its own."""

from __future__ import annotations

import json
from pathlib import Path

import tiny_llava
import torch
from transformers import Idefics3Config, Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

TILES = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
SPECIAL = ["<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *TILES]
CHAT = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] | capitalize }}: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% elif part['type'] == 'image' %}<image>{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
SIDE, PATCH, SCALE = 32, 8, 2
TOKENS = (SIDE // PATCH) ** 2 // SCALE**2  # of a tile
PREPROCESSOR = {
    "image_processor_type": "Idefics3ImageProcessor", "do_resize": True, "size": {"longest_edge": 2 * SIDE},
    "max_image_size": {"longest_edge": SIDE}, "do_image_splitting": True, "do_rescale": True, "do_normalize": True,
    "rescale_factor": 1 / 255, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "do_pad": True,
    "do_convert_rgb": True,
}  # fmt: skip


def make(folder: Path, seed: int = 0) -> Path:
    """Write the model with its processor into `folder`, and return that."""
    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    text = {
        "model_type": "llama", "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
        "pad_token_id": 0,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": SIDE, "patch_size": PATCH,
    }  # fmt: skip
    config = Idefics3Config(
        text_config=text, vision_config=vision, scale_factor=SCALE, image_token_id=tiny_llava.SPECIAL.index("<image>"),
        pad_token_id=0,
    )  # fmt: skip
    model = Idefics3ForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    processor = {"processor_class": "Idefics3Processor", "image_seq_len": TOKENS}
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR | processor), encoding="utf-8")
    (folder / "processor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": CHAT}), encoding="utf-8")
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = tiny_llava._tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", *SPECIAL]})
    return tokenizer
