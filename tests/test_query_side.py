"""What a search reads without transformers and peft, held to what these read; and that it imports nothing of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import colour_video
from transformers import AutoTokenizer, CLIPTokenizer, PreTrainedTokenizerFast

from mmi_tvr import Library, models
from mmi_tvr.cli import app as program
from mmi_tvr.encoders import llava
from mmi_tvr.encoders.clip import ClipTowers
from mmi_tvr.encoders.hub import BUNDLED
from mmi_tvr.encoders.llama_text import LlamaTexts
from mmi_tvr.encoders.options import LlavaOptions
from mmi_tvr.encoders.tokenizer_file import FileTokenizer
from mmi_tvr.encoders.towers import LlavaTowers
from mmi_tvr.types import Embeddings, Query

TEXTS = [
    "the red circle moves left",
    "A Dog's  DAY:\tdon't",
    "123 4x4 ünïcödé é 骑自行车",
    "🎬 Ⅷ K ﬁ !!!",
    "",
    "a b " * 90,
]
CHECKPOINTS = {
    "language model": BUNDLED / "moving-shapes" / "base",
    "CLIP": BUNDLED / "moving-shapes" / "base" / "clip",
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_tokenizer_file_alone_gives_the_ids_of_transformers(name: str) -> None:
    alone, whole = FileTokenizer.read(CHECKPOINTS[name]), AutoTokenizer.from_pretrained(CHECKPOINTS[name])
    assert alone is not None
    assert set(alone.special_tokens) == set(whole.all_special_tokens)
    assert alone.ids(TEXTS) == whole(TEXTS)["input_ids"]
    expected = whole(TEXTS, return_tensors="pt", truncation=True, max_length=20, padding=True, padding_side="right")
    padded = alone.padded(TEXTS, 20)
    assert {key: value.tolist() for key, value in padded.items()} == {
        key: expected[key].tolist() for key in ("input_ids", "attention_mask")
    }
    for text in TEXTS:
        offsets = whole(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"][:7]
        assert alone.first_tokens(text, 7) == (text[: offsets[-1][1]] if offsets else "")


def test_the_file_of_an_older_clip_is_read_as_transformers_reads_it(tmp_path: Path) -> None:
    """Its file leaves something open (case, here), and the class that its settings name fills it in."""
    CLIPTokenizer.from_pretrained(CHECKPOINTS["CLIP"]).save_pretrained(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["normalizer"]["normalizers"].pop()
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    alone, whole = FileTokenizer.read(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert alone is not None
    assert alone.ids(TEXTS) == whole(TEXTS)["input_ids"]


def test_what_the_file_does_not_say_is_left_to_transformers(checkpoint: Path, tmp_path: Path) -> None:
    assert FileTokenizer.read(checkpoint) is not None
    assert FileTokenizer.read(tmp_path) is None, "no tokenizer"
    whole = PreTrainedTokenizerFast.from_pretrained(checkpoint)
    for number, change in enumerate(
        [
            {"tokenizer_class": "LlamaTokenizer"},
            {"add_eos_token": True},
            {"extra_special_tokens": ["<new>"]},
            {"extra_special_tokens": ["red"]},  # a word that would be no text any more
            {"pad_token": None, "eos_token": None},
        ]
    ):
        folder = tmp_path / str(number)
        whole.save_pretrained(folder)
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps({**settings, **change}))
        assert FileTokenizer.read(folder) is None, change


def test_a_special_token_written_out_is_read_by_transformers(tmp_path: Path) -> None:
    towers = ClipTowers(CHECKPOINTS["CLIP"], "cpu", text_first=True)
    whole = AutoTokenizer.from_pretrained(CHECKPOINTS["CLIP"])
    for text in ("a <|endoftext|> b", "a <|EndOfText|> b", "a dog"):
        assert towers._sentences([text])["input_ids"].tolist() == [whole(text)["input_ids"]]
        assert towers._sentences.lengths([text]) == [len(whole(text)["input_ids"])]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@torch.inference_mode()
def test_a_language_model_alone_says_to_the_bit_what_transformers_and_peft_say(
    checkpoint: Path, adapter: Path, dtype: Any, attention: Any
) -> None:
    options = LlavaOptions(checkpoint=str(checkpoint), dtype=dtype, attention=attention)
    texts = ["a red circle moves left then grows", "yes", "blue square", "a b c"]
    for tuned in (None, adapter):
        alone, whole = LlamaTexts.read(options, tuned, "cpu"), llava.load(options, device="cpu", adapter=tuned)
        assert alone is not None
        for some in (texts, texts[:1]):  # with padding and without
            assert torch.equal(alone.encode(some), whole.encode(some))
        for text in ('say "red" <image> </s> now', "a red circle moves left"):
            assert alone.quote(text, 3) == whole.quote(text, 3)


def test_language_models_and_adapters_of_other_kinds_are_left_to_transformers_and_peft(
    checkpoint: Path, adapter: Path, tmp_path: Path
) -> None:
    options = LlavaOptions(checkpoint=str(checkpoint))
    assert LlamaTexts.read(options, adapter, "cpu") is not None
    assert LlamaTexts.read(options.model_copy(update={"bits": 4}), adapter, "cpu") is None
    changes: list[dict[str, Any]] = [
        {"use_dora": True},
        {"alpha_pattern": {"q_proj": 2}},
        {"bias": "all"},
        {"something_new": "x"},
        {"peft_type": "IA3"},
    ]
    settings = json.loads((adapter / "adapter_config.json").read_text())
    for number, change in enumerate(changes):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "adapter_model.safetensors").symlink_to(adapter / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps({**settings, **change}))
        assert LlamaTexts.read(options, folder, "cpu") is None, change
    other = tmp_path / "other"
    other.mkdir()
    for path in checkpoint.iterdir():
        (other / path.name).symlink_to(path)
    config = json.loads((checkpoint / "config.json").read_text())
    (other / "config.json").unlink()
    for change in ({"attention_bias": True}, {"hidden_act": "gelu"}, {"rope_parameters": {"rope_type": "yarn"}}):
        changed = {**config, "text_config": {**config["text_config"], **change}}
        (other / "config.json").write_text(json.dumps(changed))
        assert LlamaTexts.read(LlavaOptions(checkpoint=str(other)), adapter, "cpu") is None, change


def test_the_fingerprint_of_the_vision_tower_is_that_of_its_file(checkpoint: Path) -> None:
    make = {"layers": [-2], "tokens": 2, "regions": 2}
    alone, whole = (LlavaTowers(checkpoint / "clip", "cpu", **make) for _ in range(2))  # type: ignore[arg-type]
    assert "_model" not in vars(alone)
    _ = whole.vision
    assert alone.vision_fingerprint() == whole.vision_fingerprint()
    assert "_model" not in vars(alone), "nothing of the vision tower was loaded for it"


def test_queries_are_embedded_alike_before_and_after_the_whole_model_is_loaded() -> None:
    model: Any = models.make(models.resolve(models.section("moving-shapes")), "cpu")
    queries = [Query(text) for text in [*TEXTS[:4], "a <image> b", "a <|endoftext|> b"]]
    videos = [
        Embeddings(np.eye(192, dtype=np.float32)[0], np.eye(192, dtype=np.float32)[:2], np.array([[0, 1, 0.5]] * 2))
    ]

    def answers() -> list[Any]:
        vectors = model.embed_queries(queries)
        heads = [model.locate(vectors[:1], videos), model.match(vectors[:1], videos).tolist()]
        return [vectors.tolist(), heads, [model.characters_read(query.text) for query in queries], model.fingerprint()]

    before = answers()
    assert "network" not in vars(model)
    assert model.language_model() is not None
    assert "_query_network" not in vars(model), "one copy of the weights"
    assert answers() == before


HEAVY = {
    "accelerate", "bitsandbytes", "datasets", "huggingface_hub", "jinja2", "networkx", "packaging", "peft", "ruamel",
    "scipy", "sklearn", "sympy", "torch._dynamo", "torch._inductor", "torch.distributed.tensor", "torchvision",
    "transformers",
}  # fmt: skip
SEARCH = """
import sys
sys.argv = ["mmi-tvr", "search", "the red circle moves left", "--json", "--library", sys.argv[1]]
from mmi_tvr.cli import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("model", ["moving-shapes", "clip4clip:moving-shapes/base/clip"])
def test_a_search_in_a_new_process_imports_torch_and_little_else(tmp_path: Path, model: str) -> None:
    colour_video(tmp_path / "red.mp4", "red")
    with Library(tmp_path / "library", model) as library:
        library.index(tmp_path / "red.mp4")
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, str(tmp_path / "library")], capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout)["model"]
    modules = set(done.stderr.splitlines()[-1].split())
    assert "torch" in modules
    assert sorted(HEAVY & modules) == []
    commands = {name.partition(".cli.")[2] for name in modules if name.startswith("mmi_tvr.cli.")}
    assert not commands & set(program.COMMANDS.values()) - {"search"}
    assert len(modules) < 1_800


def test_every_command_is_registered_by_the_module_that_the_table_names() -> None:
    import typer

    command: Any = typer.main.get_command(program.app)
    context = command.make_context("mmi-tvr", ["status"], resilient_parsing=True)
    names = command.list_commands(context)
    assert all(command.get_command(context, name) is not None for name in names)
    assert set(command.commands) == set(names), "none that the table does not name"
