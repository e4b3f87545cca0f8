"""A LLaVA-1.5-7b, and its CLIP ViT-L/14-336, with random weights in the published layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmi_tvr.encoders.quiet import quiet_loading

_PREPROCESSOR = "preprocessor_config.json"
_TEXT_TOWER = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
_VISION_TOWER = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
    "image_size": 336, "patch_size": 14, "projection_dim": 768,
}  # fmt: skip
_LANGUAGE = {
    "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 32, "max_position_embeddings": 4096, "vocab_size": 32064,
}  # fmt: skip
_SMALL_TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
_SMALL_LANGUAGE = _LANGUAGE | {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4,
}  # fmt: skip


@quiet_loading()
def write(folder: Path, small: bool, device: str) -> Path:
    """Write the LLaVA into a folder, which is returned, and its CLIP into the folder `clip` inside it.

    small: tiny sizes. device: on which the weights are drawn. The tokenizer is that of the bundled model.
    """
    import torch
    from transformers import AutoTokenizer, CLIPConfig, CLIPModel, LlamaConfig, LlavaConfig
    from transformers import LlavaForConditionalGeneration as LanguageModel

    base = _bundled_base()
    text, vision, language = (
        (_SMALL_TOWER, _SMALL_TOWER | {"image_size": 32, "patch_size": 8}, _SMALL_LANGUAGE)
        if small
        else (_TEXT_TOWER, _VISION_TOWER, _LANGUAGE)
    )
    tokenizers: dict[str, Any] = {part: AutoTokenizer.from_pretrained(base / part) for part in ("", "clip")}
    with torch.device(device):
        clip = CLIPModel(CLIPConfig(text_config=text | _special(tokenizers["clip"]), vision_config=vision))
        config = LlavaConfig(
            vision_config=clip.vision_model.config,
            text_config=LlamaConfig(**(language | _ids(tokenizers[""]))),
            image_token_index=tokenizers[""].convert_tokens_to_ids("<image>"),
        )
        llava = LanguageModel._from_config(config, dtype=torch.bfloat16)
    llava.model.vision_tower.load_state_dict(clip.vision_model.state_dict())
    side = vision["image_size"]
    for part, network in (("", llava), ("clip", clip)):
        network.save_pretrained(folder / part)
        tokenizers[part].save_pretrained(folder / part)
        preprocessor = json.loads((base / part / _PREPROCESSOR).read_text(encoding="utf-8"))
        preprocessor |= {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
        (folder / part / _PREPROCESSOR).write_text(json.dumps(preprocessor), encoding="utf-8")
    return folder


def _bundled_base() -> Path:
    """Return the LLaVA of the bundled model."""
    from mmi_tvr import models
    from mmi_tvr.encoders import hub

    model: Any = models.make(models.section("moving-shapes"), "cpu")
    return hub.locate(model.language_checkpoint())


def _special(tokenizer: Any) -> dict[str, Any]:
    return _ids(tokenizer) | {"vocab_size": len(tokenizer), "max_position_embeddings": 77}


def _ids(tokenizer: Any) -> dict[str, int]:
    return {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
