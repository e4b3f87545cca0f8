"""What is read without transformers and peft is read as these do, or left to them: settings of every kind, at random.

Each example changes a checkpoint's files in a few ways. Where the fast reader takes it, ids and states are those of
transformers and peft; what these refuse, it refuses, too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from mmi_tvr.encoders import clip_settings, llava
from mmi_tvr.encoders.clip import ClipTowers
from mmi_tvr.encoders.clip_text import ClipTextTower
from mmi_tvr.encoders.llama_text import LlamaTexts
from mmi_tvr.encoders.options import LlavaOptions
from mmi_tvr.encoders.quoting import first_tokens
from mmi_tvr.encoders.tokenizer_file import FileTokenizer
from mmi_tvr.errors import ModelNotFound, UsageError

TEXTS = [
    "a red circle moves left then grows",
    "A RED\u00a0circle, don't 4x4 ünïcödé e\u0301",
    "骑自行车 🎬 ﬁ \u212a",
    "",
    "<image> red </s> blue <|endoftext|> <|STARTOFTEXT|> <new>",
    "a b " * 40,
]
FEW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
KINDS = {"": "whole", "clip": "parts"}  # texts with a special token written out are read, too; or left to transformers
FLAGS = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}

# Changes of tokenizer_config.json; None takes a setting away.
TOKENIZER_SETTINGS: list[dict[str, Any]] = [
    {"tokenizer_class": "CLIPTokenizer"},
    {"tokenizer_class": "CLIPTokenizerFast"},
    {"tokenizer_class": "PreTrainedTokenizerFast"},
    {"tokenizer_class": "LlamaTokenizer"},
    {"tokenizer_class": None},
    {"truncation_side": "left"},
    {"padding_side": "left"},
    {"model_max_length": 4},
    {"model_input_names": ["input_ids"]},
    {"add_prefix_space": True},
    {"do_lower_case": False},
    {"add_bos_token": True},
    {"add_eos_token": False},
    {"split_special_tokens": True},
    {"clean_up_tokenization_spaces": True},
    {"chat_template": "{{ messages }}"},
    {"backend": "sentencepiece"},
    {"image_token": "<image>"},
    {"image_token": "red"},
    {"mask_token": "<mask>"},
    {"sep_token": {"content": "</s>", "__type": "AddedToken", **FLAGS, "lstrip": True}},
    {"unk_token": "red"},
    {"bos_token": None},
    {"eos_token": None},
    {"pad_token": None},
    {"unk_token": None},
    {"extra_special_tokens": []},
    {"extra_special_tokens": ["blue"]},
    {"extra_special_tokens": {"image_token": "<image>"}},
    {"additional_special_tokens": ["<image>"]},
    {"additional_special_tokens": ["circle"]},
    {"added_tokens_decoder": {"5": {"content": "a", "special": True, **FLAGS}}},
    {"added_tokens_decoder": {"99": {"content": "red circle", "special": False, **FLAGS}}},
    {"added_tokens_decoder": {}},
    {"special_tokens_map_file": "x.json"},
    {"vocab": {"a": 0}},
    {"max_length": 3},
    {"fast_tokenizer_files": ["tokenizer.json"]},
    {"init_inputs": []},
    {"something_new": 1},
]


def _add_word(content: Any, **flags: bool) -> None:
    number = 1 + max(*content["model"]["vocab"].values(), *(token["id"] for token in content["added_tokens"]))
    content["added_tokens"].append({"id": number, "content": "red circle", "special": False, **FLAGS, **flags})


def _set(*keys: Any, value: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


TRUNCATION = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
PADDING = {
    "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None,
    "pad_id": 1, "pad_type_id": 0, "pad_token": "</s>",
}  # fmt: skip
# Changes of tokenizer.json.
TOKENIZER_FILE: dict[str, Callable[[Any], None]] = {
    "truncation": _set("truncation", value=TRUNCATION),
    "truncation on the left": _set("truncation", value={**TRUNCATION, "direction": "Left"}),
    "padding": _set("padding", value=PADDING),
    "padding to a length": _set("padding", value={**PADDING, "strategy": {"Fixed": 30}}),
    "padding to eights": _set("padding", value={**PADDING, "pad_to_multiple_of": 8}),
    "no post-processor": _set("post_processor", value=None),
    "lower case": _set("normalizer", value={"type": "Lowercase"}),
    "no normalizer": _set("normalizer", value=None),
    "a token that is no special one": lambda content: content["added_tokens"][0].update(special=False),
    "a token that takes space": lambda content: content["added_tokens"][-1].update(lstrip=True, normalized=True),
    "a word that is a token": _add_word,
    "a word that is a normalised token": lambda content: _add_word(content, normalized=True),
    "one added token less": lambda content: content["added_tokens"].pop(),
    "another unknown one": _set("model", "unk_token", value="a"),
    "unknown ones together": _set("model", "fuse_unk", value=True),
    "whole words first": _set("model", "ignore_merges", value=True),
    "bytes": _set("model", "byte_fallback", value=True),
}
OTHER_FILES: dict[str, Any] = {
    "special_tokens_map.json": [
        {"pad_token": "<pad>"},
        {"bos_token": "red"},
        {"bos_token": {"content": "<|startoftext|>", **FLAGS}},
        {"additional_special_tokens": ["blue"]},
        {"mask_token": "blue"},
    ],
    "added_tokens.json": [{"<image>": 4}, {"green": 77}, {"red": 6}],
}
CHANGES = st.lists(
    st.one_of(
        st.sampled_from(TOKENIZER_SETTINGS).map(lambda change: ("tokenizer_config.json", change)),
        st.sampled_from(sorted(TOKENIZER_FILE)).map(lambda name: ("tokenizer.json", name)),
        *(
            st.sampled_from(contents).map(lambda content, name=name: (name, content))  # type: ignore[misc]
            for name, contents in OTHER_FILES.items()
        ),
    ),
    min_size=1,
    max_size=3,
)


def _changed(path: Path, change: Mapping[str, Any], *inside: str) -> None:
    """Change a file of JSON; a value of None takes a name away."""
    content = json.loads(path.read_text()) if path.exists() else {}
    part = content
    for key in inside:
        part = part[key]
    for name, value in change.items():
        part.pop(name, None)
        if value is not None:
            part[name] = value
    path.write_text(json.dumps(content))


def _changed_tokenizer(source: Path, folder: Path, changes: list[tuple[str, Any]]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, folder)
    for name, change in changes:
        if name == "tokenizer.json":
            content = json.loads((folder / name).read_text())
            TOKENIZER_FILE[change](content)
            (folder / name).write_text(json.dumps(content))
        else:
            _changed(folder / name, change)


def _assert_reads_as_transformers(folder: Path) -> bool:
    """Return whether the fast reader takes a tokenizer; where it does, it reads what transformers reads."""
    alone = FileTokenizer.read(folder)
    if alone is None:
        return False
    whole: Any = AutoTokenizer.from_pretrained(folder)
    if whole.pad_token is None:
        whole.pad_token = whole.eos_token  # as `Llava` does
    assert set(alone.special_tokens) == set(whole.all_special_tokens)
    texts = [text for text in TEXTS if folder.parent.name == "whole" or alone.reads([text])]
    assert len(texts) >= 3
    assert alone.ids(texts) == whole(texts)["input_ids"]
    rules: Any = {"truncation": True, "max_length": 7, "padding": True, "padding_side": "right"}
    expected, padded = whole(texts, return_tensors="pt", **rules), alone.padded(texts, 7)
    assert torch.equal(padded["input_ids"], expected["input_ids"])
    assert torch.equal(padded["attention_mask"], expected["attention_mask"])
    assert [alone.first_tokens(text, 3) for text in texts] == [first_tokens(whole, text, 3) for text in texts]
    return True


@pytest.mark.parametrize("part", KINDS)
@FEW
@given(changes=CHANGES)
def test_a_tokenizer_is_read_as_transformers_reads_it_or_left_to_it(
    checkpoint: Path, tmp_path: Path, part: str, changes: list[tuple[str, Any]]
) -> None:
    folder = tmp_path / KINDS[part] / "changed"
    _changed_tokenizer(checkpoint / part, folder, changes)
    _assert_reads_as_transformers(folder)


@pytest.mark.parametrize("part", KINDS)
def test_every_single_change_of_a_tokenizer(checkpoint: Path, tmp_path: Path, part: str) -> None:
    folder = tmp_path / KINDS[part] / "changed"
    changes: list[tuple[str, Any]] = [("tokenizer_config.json", change) for change in TOKENIZER_SETTINGS]
    changes += [("tokenizer.json", name) for name in TOKENIZER_FILE]
    changes += [(name, content) for name, contents in OTHER_FILES.items() for content in contents]
    taken = 0
    for change in changes:
        _changed_tokenizer(checkpoint / part, folder, [change])
        taken += _assert_reads_as_transformers(folder)
    assert 10 <= taken <= len(changes) - 25


def test_clip_as_it_was_published_is_read_without_transformers(checkpoint: Path, tmp_path: Path) -> None:
    """Its files are older: tokens have settings in two files, and the tokenizer's leaves some out."""
    folder, tokens = tmp_path / KINDS["clip"] / "changed", {}
    _changed_tokenizer(checkpoint / "clip", folder, [])
    content = json.loads((folder / "tokenizer.json").read_text())
    for token in content["added_tokens"]:
        token["normalized"] = True
    for name in ("byte_fallback", "ignore_merges"):
        del content["model"][name]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    for name in ("unk_token", "bos_token", "eos_token"):
        text = "<|startoftext|>" if name == "bos_token" else "<|endoftext|>"
        tokens[name] = {"content": text, **FLAGS, "normalized": True, "__type": "AddedToken"}
    settings = {
        **tokens, "pad_token": "<|endoftext|>", "add_prefix_space": False, "errors": "replace", "do_lower_case": True,
        "name_or_path": "./clip_ViT_B_32/", "model_max_length": 77, "tokenizer_class": "CLIPTokenizer",
        "special_tokens_map_file": "./special_tokens_map.json",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    names = {name: {key: value for key, value in token.items() if key != "__type"} for name, token in tokens.items()}
    (folder / "special_tokens_map.json").write_text(json.dumps({**names, "pad_token": "<|endoftext|>"}))
    assert _assert_reads_as_transformers(folder)


@pytest.mark.parametrize("part", KINDS)
def test_threads_share_a_tokenizer(checkpoint: Path, part: str) -> None:
    tokenizer = FileTokenizer.read(checkpoint / part)
    assert tokenizer is not None
    texts = ["a", "a red circle moves left " * 20]
    rows, padded = tokenizer.ids(texts), tokenizer.padded(texts, 9)["input_ids"]

    def read(number: int) -> bool:
        if number % 2:
            return tokenizer.ids(texts) == rows
        return torch.equal(tokenizer.padded(texts, 9)["input_ids"], padded)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(2000)))


ADAPTER_SETTINGS: list[dict[str, Any]] = [
    {"lora_alpha": 3},
    {"lora_alpha": 0},
    {"r": 0},
    {"r": 2},
    {"use_rslora": True},
    {"use_dora": True},
    {"fan_in_fan_out": True},
    {"bias": "lora_only"},
    {"lora_bias": True},
    {"rank_pattern": {"q_proj": 4}},
    {"alpha_pattern": {"q_proj": 1}},
    {"layers_to_transform": 0},
    {"layers_to_transform": [1]},
    {"layers_to_transform": []},
    {"layers_pattern": "layers"},
    {"exclude_modules": ["q_proj"]},
    {"init_lora_weights": False},
    {"init_lora_weights": "pissa"},
    {"init_lora_weights": "gaussian"},
    {"init_lora_weights": "olora"},
    {"modules_to_save": ["multi_modal_projector", "norm"]},
    {"modules_to_save": ["q_proj"]},
    {"modules_to_save": None},
    {"task_type": "CAUSAL_LM"},
    {"task_type": "FEATURE_EXTRACTION"},
    {"target_modules": ["q_proj", "v_proj"]},
    {"target_modules": "all-linear"},
    {"target_modules": r".*language_model.*layers\.0\..*(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"},
    {"target_modules": "("},
    {"target_modules": None},
    {"trainable_token_indices": [3]},
    {"layer_replication": [[0, 1]]},
    {"peft_type": "IA3"},
    {"something_new": "x"},
]
LANGUAGE_SETTINGS: list[dict[str, Any]] = [
    {"rms_norm_eps": 0.1},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 50}},
    {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}},
    {"rope_parameters": None, "rope_theta": 20.0},
    {"rope_theta": 20.0},
    {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    {"attention_bias": True},
    {"mlp_bias": True},
    {"hidden_act": "gelu"},
    {"head_dim": None},
    {"head_dim": 8},
    {"num_key_value_heads": None},
    {"num_key_value_heads": 4},
    {"num_attention_heads": 8, "head_dim": 8},
    {"num_attention_heads": 3},
    {"num_hidden_layers": 1},
    {"num_hidden_layers": 3},
    {"vocab_size": 99},
    {"intermediate_size": 64},
    {"max_position_embeddings": 9},
    {"tie_word_embeddings": True},
    {"sliding_window": 2},
    {"is_causal": False},
    {"attention_dropout": 0.5},
    {"pretraining_tp": 2},
    {"model_type": "mistral"},
    {"layer_types": ["full_attention", "sliding_attention"]},
    {"something_new": 1},
]


def _outcome(model: Any, texts: list[str]) -> Any:
    """Return the states of texts, or why there are none."""
    try:
        return model.encode(texts).tolist()
    except UsageError as error:
        return str(error)


def _assert_states_as_transformers(options: LlavaOptions, adapter: Path | None) -> bool:
    """Return whether the fast reader takes a checkpoint; where it does, its states are those of the slow one."""
    alone = LlamaTexts.read(options, adapter, "cpu")
    if alone is None:
        return False
    whole = llava.load(options, device="cpu", adapter=adapter)
    for texts in (["a red circle moves left then grows a red circle", "yes"], ["blue square"]):
        assert _outcome(alone, texts) == _outcome(whole, texts)
    return True


@torch.inference_mode()
def test_adapters_are_read_as_peft_reads_them_or_left_to_it(checkpoint: Path, adapter: Path, tmp_path: Path) -> None:
    options, taken = LlavaOptions(checkpoint=str(checkpoint)), []
    folder = tmp_path / "changed"
    for change in ADAPTER_SETTINGS:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(adapter, folder)
        _changed(folder / "adapter_config.json", change)
        if _assert_states_as_transformers(options, folder):
            taken.append(change)
    assert taken == [
        {"lora_alpha": 3}, {"lora_alpha": 0}, {"modules_to_save": None}, {"task_type": "CAUSAL_LM"}
    ]  # fmt: skip


@torch.inference_mode()
def test_tensors_of_an_adapter_that_its_settings_do_not_speak_of_are_left_to_peft(
    checkpoint: Path, adapter: Path, tmp_path: Path
) -> None:
    options = LlavaOptions(checkpoint=str(checkpoint))
    path, start = tmp_path / "adapter_model.safetensors", "base_model.model.model.language_model"
    shutil.copy(adapter / "adapter_config.json", tmp_path)
    tensors = load_file(adapter / path.name)
    name = f"{start}.layers.0.self_attn.q_proj.lora_A.weight"
    changes: list[dict[str, Any]] = [
        {name: None},
        {name: tensors[name][:2].clone()},
        {name: tensors[name][:, :5].clone()},
        {f"{start}.layers.9.self_attn.q_proj.lora_A.weight": tensors[name].clone()},
        {
            f"{start}.norm.lora_A.weight": tensors[name].clone(),
            f"{start}.norm.lora_B.weight": tensors[name].T.contiguous(),
        },
        {f"{start}.norm.weight": torch.ones(64)},
        {f"{start}.layers.0.self_attn.q_proj.lora_magnitude_vector": torch.ones(64)},
    ]
    for change in changes:
        save_file({key: value for key, value in {**tensors, **change}.items() if value is not None}, path)
        assert LlamaTexts.read(options, tmp_path, "cpu") is None, list(change)
    save_file({key: value for key, value in tensors.items() if "layers.1" not in key}, path)
    with pytest.warns(UserWarning, match="missing adapter keys"):
        taken = _assert_states_as_transformers(options, tmp_path)
    assert taken, "what an adapter leaves out, it does not change"


@pytest.mark.parametrize("change", [{"r": 2}, {"r": 0}, {"target_modules": "("}, {"peft_type": "NEW"}])
def test_an_adapter_that_peft_refuses_is_refused_in_one_line(
    checkpoint: Path, adapter: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(adapter, folder)
    _changed(folder / "adapter_config.json", change)
    with pytest.raises(ModelNotFound, match="changed: not an adapter of this model: "):
        llava.load(LlavaOptions(checkpoint=str(checkpoint)), device="cpu", adapter=folder)


@torch.inference_mode()
def test_language_models_are_read_as_transformers_reads_them_or_left_to_it(checkpoint: Path, tmp_path: Path) -> None:
    folder, taken = tmp_path / "changed", []
    for change in LANGUAGE_SETTINGS:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(checkpoint, folder)
        _changed(folder / "config.json", change, "text_config")
        if _assert_states_as_transformers(LlavaOptions(checkpoint=str(folder)), None):
            taken.append(change)
    assert taken == [
        {"rms_norm_eps": 0.1}, {"rope_parameters": {"rope_type": "default", "rope_theta": 50}}, {"head_dim": None},
        {"max_position_embeddings": 9}, {"tie_word_embeddings": True}, {"attention_dropout": 0.5},
        {"pretraining_tp": 2},
    ]  # fmt: skip


@torch.inference_mode()
def test_checkpoints_with_more_than_a_language_model_in_one_file_are_left_to_transformers(
    checkpoint: Path, adapter: Path, tmp_path: Path
) -> None:
    changes: list[dict[str, Any]] = [
        {"model_type": "llava_next"},
        {"quantization_config": {"quant_method": "fp8"}},
        {"transformers_weights": "other.safetensors"},
        {"image_token_index": 6, "image_token_id": 4},
        {"image_token_index": 9999},
        {"text_config": []},
        {"something_new": 1},
    ]
    for number, change in enumerate(changes):
        folder = tmp_path / str(number)
        shutil.copytree(checkpoint, folder)
        _changed(folder / "config.json", change)
        assert LlamaTexts.read(LlavaOptions(checkpoint=str(folder)), None, "cpu") is None, change
    shutil.copytree(checkpoint, tmp_path / "adapted")
    for path in adapter.iterdir():
        shutil.copy(path, tmp_path / "adapted")
    assert LlamaTexts.read(LlavaOptions(checkpoint=str(tmp_path / "adapted")), None, "cpu") is None
    assert ClipTextTower.read(checkpoint / "clip", clip_settings.read(checkpoint / "clip"), "cpu") is not None
    shutil.copytree(checkpoint / "clip", tmp_path / "clip")
    shutil.copy(adapter / "adapter_config.json", tmp_path / "clip")
    assert ClipTextTower.read(tmp_path / "clip", clip_settings.read(tmp_path / "clip"), "cpu") is None


@torch.inference_mode()
def test_weights_that_are_not_all_there_are_left_to_transformers(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(checkpoint, folder)
    options, path = LlavaOptions(checkpoint=str(folder)), folder / "model.safetensors"
    tensors = load_file(path)
    start = next(
        name.partition("layers.0")[0] for name in tensors if "layers.0.self_attn.q_proj" in name and "language" in name
    )
    changes: list[dict[str, Any]] = [
        {f"{start}layers.1.mlp.up_proj.weight": None},
        {f"{start}norm.weight": torch.ones(65)},
        {f"{start}layers.1.self_attn.q_proj.weight_scale_inv": torch.ones(1)},
        {f"{start}norm.weight": torch.ones(64, dtype=torch.int8)},
    ]
    for change in changes:
        changed = {name: tensor for name, tensor in {**tensors, **change}.items() if tensor is not None}
        save_file(changed, path, {"format": "pt"})
        assert LlamaTexts.read(options, None, "cpu") is None, list(change)
        if "up_proj" in next(iter(change)) or len(changed[f"{start}norm.weight"]) == 65:
            with pytest.raises(ModelNotFound, match=r"changed: (lacks 1 weight|cannot be loaded as a LLaVA)"):
                llava.load(options, device="cpu")


def test_a_clip_that_is_not_all_there_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(checkpoint / "clip", folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["text_model.encoder.layers.1.mlp.fc1.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelNotFound, match=r"changed: lacks 1 weight of its layout: .*fc1\.weight"):
        ClipTowers(folder, "cpu", text_first=True)


@pytest.mark.parametrize("name", ["quantization_config", "transformers_weights", "something_open"])
def test_a_clip_with_other_weights_than_its_file_is_left_to_transformers(
    checkpoint: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(checkpoint / "clip", folder)
    _changed(folder / "config.json", {name: {"quant_method": "fp8"}})
    if name == "something_open":
        _changed(folder / "config.json", {"vocab_size": None}, "text_config")
    assert ClipTextTower.read(folder, clip_settings.read(folder), "cpu") is None
