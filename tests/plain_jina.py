"""The equations of Jina-CLIP v2's towers, written out one token and one head at a time, on the tensors of its files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, normalize, silu

EVA, ROBERTA = "vision_model.", "text_model.transformer.roberta."


def turned(vector: Tensor, angles: Sequence[float]) -> Tensor:
    """Return a vector whose numbers 2 i and 2 i + 1 are the parts of a complex number that is turned by angle i."""
    output = vector.clone()
    for number, angle in enumerate(angles):
        value = complex(vector[2 * number], vector[2 * number + 1]) * complex(math.cos(angle), math.sin(angle))
        output[2 * number], output[2 * number + 1] = value.real, value.imag
    return output


def attention(queries: list[Tensor], keys: list[Tensor], values: list[Tensor]) -> list[Tensor]:
    outputs = []
    for query in queries:
        weights = torch.tensor([float(query @ key) / math.sqrt(len(query)) for key in keys]).softmax(0)
        outputs.append(torch.stack([weight * value for weight, value in zip(weights, values, strict=True)]).sum(0))
    return outputs


class PlainTower:
    """What both towers share: tensors by their names, and attention by heads."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self.settings = json.loads((folder / "config.json").read_text())
        self.all = {name: one.float() for name, one in load_file(folder / "model.safetensors").items()}
        self.weights = {name.removeprefix(prefix): one for name, one in self.all.items() if name.startswith(prefix)}
        self.heads, self.epsilon = 1, 0.0

    def norm(self, name: str, state: Tensor) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return layer_norm(state, state.shape, weight, bias, self.epsilon)

    def placed(self, number: int, head: Tensor) -> Tensor:
        raise NotImplementedError

    def mixed(self, queries: list[Tensor], keys: list[Tensor], values: list[Tensor]) -> list[Tensor]:
        """Return what each token reads, its heads side by side."""
        parts: list[list[Tensor]] = [[] for _ in queries]
        for head in range(self.heads):
            lot = slice(head * len(queries[0]) // self.heads, (head + 1) * len(queries[0]) // self.heads)
            turned_queries, turned_keys = (
                [self.placed(number, one[lot]) for number, one in enumerate(side)] for side in (queries, keys)
            )
            read = attention(turned_queries, turned_keys, [value[lot] for value in values])
            for part, one in zip(parts, read, strict=True):
                part.append(one)
        return [torch.cat(part) for part in parts]


class PlainEva(PlainTower):
    """EVA02 (Fang et al., 2023)."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, EVA)
        self.config = self.settings["vision_config"]
        self.width, self.epsilon = self.config["width"], 1e-6
        self.heads = self.width // self.config["head_width"]
        self.side = self.config["image_size"] // self.config["patch_size"]

    def vector(self, pixels: Tensor) -> Tensor:
        """Return the unit vector of a picture (3, S, S)."""
        states = self.patches(pixels)
        for layer in range(self.config["layers"]):
            states = self.block(f"blocks.{layer}", states)
        vector = self.norm("norm", states[0])
        if "head.weight" in self.weights:
            vector = self.linear("head", vector)
        if self.settings["add_projections"]:
            vector = self.all["visual_projection.weight"] @ vector
        return normalize(vector, dim=0)

    def patches(self, pixels: Tensor) -> list[Tensor]:
        patch, kernel = self.config["patch_size"], self.weights["patch_embed.proj.weight"].flatten(1)
        states = [self.weights["cls_token"][0, 0]]
        for row in range(self.side):
            for column in range(self.side):
                square = pixels[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
                states.append(kernel @ square.flatten() + self.weights["patch_embed.proj.bias"])
        return [state + place for state, place in zip(states, self.weights["pos_embed"][0], strict=True)]

    def block(self, name: str, states: list[Tensor]) -> list[Tensor]:
        first, second = (self.weights.get(f"{name}.gamma_{one}", torch.ones(self.width)) for one in (1, 2))
        if self.config["post_norm"]:
            read = [self.norm(f"{name}.norm1", one) for one in self.attended(name, states)]
        else:
            read = self.attended(name, [self.norm(f"{name}.norm1", state) for state in states])
        states = [state + first * one for state, one in zip(states, read, strict=True)]
        if self.config["post_norm"]:
            return [state + second * self.norm(f"{name}.norm2", self.mlp(name, state)) for state in states]
        return [state + second * self.mlp(name, self.norm(f"{name}.norm2", state)) for state in states]

    def attended(self, name: str, inputs: list[Tensor]) -> list[Tensor]:
        parts = []
        for number, part in enumerate("qkv"):
            if self.config["subln"]:
                matrix = self.weights[f"{name}.attn.{part}_proj.weight"]
            else:
                matrix = self.weights[f"{name}.attn.qkv.weight"][number * self.width : (number + 1) * self.width]
            bias = self.weights.get(f"{name}.attn.{part}_bias", torch.zeros(self.width))
            parts.append([matrix @ state + bias for state in inputs])
        outputs = self.mixed(*parts)
        if self.config["subln"]:
            outputs = [self.norm(f"{name}.attn.inner_attn_ln", one) for one in outputs]
        return [self.linear(f"{name}.attn.proj", one) for one in outputs]

    def placed(self, number: int, head: Tensor) -> Tensor:
        """Turn the first half of a patch's head by its row, the second by its column; [CLS] stays."""
        if number == 0 or not self.config["rope_embeddings"]:
            return head
        half = len(head) // 2
        stretch = self.config["pt_hw_seq_len"] / self.side if self.config["intp_freq"] else 1.0
        angles = [
            place * stretch * 10_000 ** (-2 * pair / half)
            for place in divmod(number - 1, self.side)
            for pair in range(half // 2)
        ]
        return turned(head, angles)

    def mlp(self, name: str, state: Tensor) -> Tensor:
        if self.config["naive_swiglu"]:
            inner = silu(self.linear(f"{name}.mlp.w1", state)) * self.linear(f"{name}.mlp.w2", state)
        else:
            inner = gelu(self.linear(f"{name}.mlp.fc1", state))
        inner = self.norm(f"{name}.mlp.ffn_ln", inner) if self.config["subln"] else inner
        return self.linear(f"{name}.mlp.{'w3' if self.config['naive_swiglu'] else 'fc2'}", inner)

    def linear(self, name: str, state: Tensor) -> Tensor:
        return self.weights[f"{name}.weight"] @ state + self.weights.get(f"{name}.bias", torch.zeros(()))


class PlainRoberta(PlainTower):
    """Jina-XLM-RoBERTa (Sturua et al., 2024); the LoRA adapter is a second path beside each weight."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ROBERTA)
        config = self.settings["text_config"]
        self.sizes, task = config["hf_model_config_kwargs"], config["default_lora_task"]
        self.adapter = None if task is None else self.sizes["lora_adaptations"].index(task)
        self.scale = self.sizes["lora_alpha"] / self.sizes["lora_rank"]
        self.heads, self.epsilon = self.sizes["num_attention_heads"], 1e-5

    def vector(self, ids: list[int]) -> Tensor:
        """Return the unit vector of a sentence from its token ids."""
        states = [self.row("word_embeddings", one) + self.row("token_type_embeddings", 0) for one in ids]
        states = [self.norm("emb_ln", state) for state in states]
        for layer in range(self.sizes["num_hidden_layers"]):
            states = self.block(f"encoder.layers.{layer}", states)
        vector = torch.stack(states).mean(dim=0)
        for name in ("text_model.proj", "text_model.proj.0", "text_model.proj.2", "text_projection"):
            if f"{name}.weight" in self.all:
                vector = self.all[f"{name}.weight"] @ vector + self.all.get(f"{name}.bias", torch.zeros(()))
                vector = gelu(vector) if name.endswith(".0") else vector
        return normalize(vector, dim=0)

    def block(self, name: str, states: list[Tensor]) -> list[Tensor]:
        thirds = [self.linear(f"{name}.mixer.Wqkv", state).chunk(3) for state in states]
        queries, keys, values = ([third[number] for third in thirds] for number in range(3))
        read = [self.linear(f"{name}.mixer.out_proj", one) for one in self.mixed(queries, keys, values)]
        states = [self.norm(f"{name}.norm1", state + one) for state, one in zip(states, read, strict=True)]
        inner = [self.linear(f"{name}.mlp.fc2", gelu(self.linear(f"{name}.mlp.fc1", state))) for state in states]
        return [self.norm(f"{name}.norm2", state + one) for state, one in zip(states, inner, strict=True)]

    def placed(self, number: int, head: Tensor) -> Tensor:
        """Turn a head by its token's place; numbers i and i + w / 2 belong together here."""
        half = len(head) // 2
        angles = [number * self.sizes["rotary_emb_base"] ** (-2 * pair / len(head)) for pair in range(half)]
        return turned(head.reshape(2, half).T.flatten(), angles).reshape(half, 2).T.flatten()

    def row(self, table: str, number: int) -> Tensor:
        name = f"embeddings.{table}.parametrizations.weight"
        value = self.weights[f"{name}.original"][number]
        if self.adapter is None:
            return value
        low = self.weights[f"{name}.0.lora_A"][self.adapter, number]
        return value + self.scale * low @ self.weights[f"{name}.0.lora_B"][self.adapter]

    def linear(self, name: str, state: Tensor) -> Tensor:
        weight = f"{name}.parametrizations.weight"
        value = self.weights[f"{weight}.original"] @ state + self.weights[f"{name}.bias"]
        if self.adapter is None:
            return value
        low = self.weights[f"{weight}.0.lora_A"][self.adapter] @ state
        return value + self.scale * (self.weights[f"{weight}.0.lora_B"][self.adapter] @ low)
