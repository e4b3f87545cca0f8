"""LLaVA with LoRA on a random model of the real layout: parity with transformers, padding, adapters, int4."""

from __future__ import annotations

import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_llava
import torch
from pydantic import ValidationError
from torch import Tensor
from transformers import AutoProcessor, LlavaConfig, LlavaForConditionalGeneration

from mmi_tvr.encoders import llava, lora, towers
from mmi_tvr.encoders.clip import ClipTowers
from mmi_tvr.encoders.llava import Llava
from mmi_tvr.encoders.options import LlavaOptions, LoraOptions
from mmi_tvr.encoders.towers import LlavaTowers
from mmi_tvr.errors import MissingExtra, ModelNotFound, UsageError

GRID = 2
LORA = LoraOptions(rank=4, alpha=8, dropout=0.0)
TEXTS = ["<image> a red circle moves left then grows", "<image><image> yes"]


@pytest.fixture(scope="module")
def options(checkpoint: Path) -> LlavaOptions:
    return LlavaOptions(checkpoint=str(checkpoint), grid=GRID, lora=LORA)


@pytest.fixture(scope="module")
def plain(options: LlavaOptions) -> Llava:
    return llava.load(options, device="cpu")


@pytest.fixture(scope="module")
def sight(options: LlavaOptions) -> LlavaTowers:
    return towers.load(options, regions=GRID, device="cpu")


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.randn(3, 3, tiny_llava.IMAGE_SIZE, tiny_llava.IMAGE_SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def patches(sight: LlavaTowers, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        return sight.pixel_features(pixels)["patches"]


@pytest.fixture(scope="module")
def adapter(options: LlavaOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter and a projector that changed, saved."""
    folder = tmp_path_factory.mktemp("adapter")
    lora.save(stirred(llava.load(options, device="cpu", trainable=True)).model, folder)
    return folder


def stirred(model: Llava) -> Llava:
    """The model with every trainable parameter moved, so that an adapter matters."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


def embed(model: Llava, patches: Tensor, side: str = "right") -> Tensor:
    return model(model.inputs(TEXTS, model.project(patches), side))


def gradients(model: Llava, patches: Tensor) -> dict[str, Tensor]:
    """Of every trainable parameter, for a fixed loss on the states of the language model."""
    model.train()
    model.zero_grad()
    states = embed(model, patches)
    (states.float() * torch.linspace(-1, 1, states.shape[-1])).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad and p.grad is not None}


def transformers_model(folder: Path) -> LlavaForConditionalGeneration:
    return LlavaForConditionalGeneration.from_pretrained(folder).eval()


@torch.no_grad()
def test_precomputed_features_are_the_pixel_path(checkpoint: Path, options: LlavaOptions, pixels: Tensor) -> None:
    """With as many tokens as patches nothing is pooled, and transformers says the same from pixels."""
    whole = options.model_copy(update={"grid": tiny_llava.SIDE})
    model = llava.load(whole, device="cpu")
    whole_patches = towers.load(whole, regions=GRID, device="cpu").pixel_features(pixels)["patches"]
    inputs = model.inputs(TEXTS, model.project(whole_patches))
    expected = transformers_model(checkpoint)(
        input_ids=inputs.ids, attention_mask=inputs.mask, pixel_values=pixels, output_hidden_states=True
    )
    real = inputs.mask.bool()
    states = model.states(inputs)
    torch.testing.assert_close(states[real], expected.hidden_states[-1][real], atol=1e-6, rtol=0)
    torch.testing.assert_close(model.logits(states)[real], expected.logits[real], atol=1e-5, rtol=0)


@torch.no_grad()
def test_pixel_features_are_clip_and_means_over_cells(checkpoint: Path, sight: LlavaTowers, pixels: Tensor) -> None:
    features = sight.pixel_features(pixels)
    clip = ClipTowers(checkpoint / "clip", "cpu")._model
    image = clip.get_image_features(pixels).pooler_output
    torch.testing.assert_close(features["image"], torch.nn.functional.normalize(image, dim=-1))
    output = clip.vision_model(pixels, output_hidden_states=True)
    half = tiny_llava.SIDE // 2
    for cell, (row, column) in enumerate([(0, 0), (0, half), (half, 0), (half, half)]):
        inside = [
            1 + r * tiny_llava.SIDE + c for r in range(row, row + half) for c in range(column, column + half)
        ]  # 1 +: past [CLS]
        patch = output.hidden_states[-2][:, inside].mean(dim=1)
        torch.testing.assert_close(features["patches"][:, cell], patch, atol=1e-6, rtol=0)
        region = clip.visual_projection(clip.vision_model.post_layernorm(output.last_hidden_state[:, inside])).mean(
            dim=1
        )
        region = torch.nn.functional.normalize(region, dim=-1)
        torch.testing.assert_close(features["regions"][:, cell], region, atol=1e-6, rtol=0)


def test_image_features_take_pictures_of_any_size(checkpoint: Path, sight: LlavaTowers) -> None:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in [(40, 56), (64, 33)]]
    features = sight.image_features(pictures)
    assert {name: (array.shape, array.dtype.name) for name, array in features.items()} == {
        "image": ((2, 24), "float32"), "regions": ((2, 4, 24), "float16"), "patches": ((2, 4, 32), "float16"),
    }  # fmt: skip
    np.testing.assert_allclose(
        features["image"], ClipTowers(checkpoint / "clip", "cpu").embed_images(pictures), atol=1e-6
    )


def test_fingerprint_knows_the_grids(options: LlavaOptions, sight: LlavaTowers) -> None:
    other = towers.load(options, regions=GRID + 1, device="cpu")
    fourth = towers.load(options.model_copy(update={"grid": 1}), regions=GRID, device="cpu")
    again = towers.load(options, regions=GRID, device="cpu")
    assert sight.vision_fingerprint() == again.vision_fingerprint()
    assert len({tower.vision_fingerprint() for tower in (sight, other, fourth)}) == 3


def test_fingerprint_knows_the_weights_and_the_layers_that_the_language_model_reads(checkpoint: Path) -> None:
    def load(layers: list[int]) -> LlavaTowers:
        return LlavaTowers(checkpoint / "clip", "cpu", layers=layers, tokens=GRID, regions=GRID)

    one, trained = load([-2]), load([-2])
    assert load([-1]).vision_fingerprint() != one.vision_fingerprint()
    weight = trained._model.visual_projection.weight
    weight.data[-1] += 0.1
    assert trained.vision_fingerprint() != one.vision_fingerprint()
    text = load([-2])
    text._model.text_projection.weight.data += 0.1
    assert text.vision_fingerprint() == one.vision_fingerprint()


@torch.no_grad()
def test_several_layers_are_read_side_by_side(checkpoint: Path, sight: LlavaTowers, pixels: Tensor) -> None:
    both = LlavaTowers(checkpoint / "clip", "cpu", layers=[-2, -1], tokens=GRID, regions=GRID)
    last = LlavaTowers(checkpoint / "clip", "cpu", layers=[-1], tokens=GRID, regions=GRID)
    expected = torch.cat([tower.pixel_features(pixels)["patches"] for tower in (sight, last)], dim=-1)
    torch.testing.assert_close(both.pixel_features(pixels)["patches"], expected)


def test_more_pictures_than_a_batch_keep_their_order(checkpoint: Path) -> None:
    random = np.random.default_rng(2)
    pictures = [random.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(5)]
    clip = ClipTowers(checkpoint / "clip", "cpu", batch=2)
    expected = np.concatenate([clip.embed_images([picture]) for picture in pictures])
    np.testing.assert_allclose(clip.embed_images(pictures), expected, atol=1e-6)


@torch.no_grad()
def test_texts_of_any_lengths_are_encoded_in_batches_with_their_own_pictures(
    plain: Llava, patches: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sorted by length inside, and given back in the order of the texts."""
    texts = ["<image> a red circle moves left then grows", "yes", "<image><image> no", "a blue square", "red"]
    visual = plain.project(patches)
    counts = [1, 0, 2, 0, 0]
    expected, start = [], 0
    for text, count in zip(texts, counts, strict=True):
        expected.append(plain(plain.inputs([text], visual[start : start + count] if count else None)))
        start += count
    for batch in (1, 2, 64):
        monkeypatch.setattr(llava, "_BATCH", batch)
        torch.testing.assert_close(plain.encode(texts, visual), torch.cat(expected), atol=1e-5, rtol=0)


@torch.no_grad()
def test_embedding_is_the_last_real_token_on_both_sides(plain: Llava, patches: Tensor) -> None:
    visual = plain.project(patches)
    alone = [plain(plain.inputs(TEXTS[:1], visual[:1])), plain(plain.inputs(TEXTS[1:], visual[1:]))]
    expected = torch.cat(alone)
    for side, column in {"right": 0, "left": -1}.items():
        inputs = plain.inputs(TEXTS, visual, side)
        assert inputs.mask.sum(dim=1).tolist() == [12, 10]  # the texts differ in length: there is padding
        assert inputs.mask[1, -1 - column] == 0, f"padding is on the {side}"
        torch.testing.assert_close(plain(inputs), expected, atol=1e-5, rtol=0)
    careless = plain.states(plain.inputs(TEXTS, visual, "right"))[:, -1]
    assert (careless - expected).abs().max() > 0.1, "taking the last column would have passed"


@torch.no_grad()
def test_texts_alone_need_no_pictures(plain: Llava) -> None:
    one = plain(plain.inputs(["a red circle", "a blue square grows"]))
    assert one.shape == (2, plain.width)
    torch.testing.assert_close(one[:1], plain(plain.inputs(["a red circle"])), atol=1e-5, rtol=0)


def test_pictures_and_places_must_agree(plain: Llava, patches: Tensor) -> None:
    with pytest.raises(UsageError, match="places for 3 pictures, and there are 2"):
        plain.inputs(TEXTS, plain.project(patches[:2]))
    with pytest.raises(UsageError, match="places for 3 pictures, and there are 0"):
        plain.inputs(TEXTS)
    with pytest.raises(UsageError, match="has 201 tokens; the model reads 128"):
        plain.inputs(["red " * 200])


def test_what_a_person_writes_is_no_image(plain: Llava) -> None:
    quoted = plain.quote("a red <image> circle</s> <pad>", limit=20)
    ids = plain.inputs([quoted]).ids[0].tolist()
    assert not set(ids) & {0, 2, 4}
    assert plain.quote("a red circle moves left", limit=3) == "a red circle"
    assert plain.quote("", limit=3) == ""
    assert plain.quote('yes" no', limit=20) == "yes' no"  # the end of a quotation


def test_only_the_language_model_and_the_projector_learn(options: LlavaOptions, patches: Tensor) -> None:
    model = llava.load(options, device="cpu", trainable=True)
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all("multi_modal_projector" in name or "language_model" in name for name in names)
    layers = {name.split(".lora_")[0].rpartition(".")[2] for name in names if "lora_" in name}
    assert layers == set(LORA.targets)
    assert set(gradients(model, patches)) == names
    fewer = options.model_copy(update={"lora": LoraOptions(rank=2, targets=("q_proj",), projector=False)})
    counts = lora.trainable(llava.load(fewer, device="cpu", trainable=True))
    assert counts == {"lora": 2 * 2 * (64 + 64), "projector": 0}


@torch.no_grad()
def test_a_new_adapter_changes_nothing_and_a_saved_one_comes_back(
    options: LlavaOptions, plain: Llava, patches: Tensor, tmp_path: Path
) -> None:
    model = llava.load(options, device="cpu", trainable=True)
    untouched = embed(plain, patches)
    assert torch.equal(embed(model, patches), untouched)
    stirred(model)
    changed = embed(model, patches)
    assert (changed - untouched).abs().max() > 0.01
    lora.save(model.model, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix in {".bin", ".pt", ".pth"}]
    back = llava.load(options, device="cpu", adapter=tmp_path)
    assert torch.equal(embed(back, patches), changed)
    assert not torch.equal(back.project(patches), plain.project(patches)), "the projector came along"
    assert not any(parameter.requires_grad for parameter in back.parameters())
    resumed = llava.load(options, device="cpu", adapter=tmp_path, trainable=True)
    assert lora.trainable(resumed) == lora.trainable(model)


@torch.no_grad()
def test_merged_loads_in_plain_transformers(
    checkpoint: Path, options: LlavaOptions, adapter: Path, pixels: Tensor, tmp_path: Path
) -> None:
    llava.merge(options.model_copy(update={"bits": 4}), adapter, tmp_path)  # merged into the base as published
    whole = options.model_copy(update={"grid": tiny_llava.SIDE})
    model = llava.load(whole, device="cpu", adapter=adapter)
    whole_patches = towers.load(whole, regions=GRID, device="cpu").pixel_features(pixels)["patches"]
    inputs = model.inputs(TEXTS, model.project(whole_patches))
    merged = transformers_model(tmp_path)
    logits = merged(input_ids=inputs.ids, attention_mask=inputs.mask, pixel_values=pixels).logits
    real = inputs.mask.bool()
    expected = model.logits(model.states(inputs))
    torch.testing.assert_close(logits[real], expected[real], atol=1e-4, rtol=1e-5)
    untrained = transformers_model(checkpoint)(
        input_ids=inputs.ids, attention_mask=inputs.mask, pixel_values=pixels
    ).logits
    assert (logits - untrained)[real].abs().max() > 0.01
    tokens = AutoProcessor.from_pretrained(tmp_path)(
        images=[np.zeros((40, 40, 3), np.uint8)], text=["<image> a red circle"], return_tensors="pt"
    )
    assert (tokens["input_ids"] == merged.config.image_token_id).sum() == tiny_llava.SIDE**2
    names = {name.replace("vision_tower.", "vision_tower.vision_model.") for name in saved_names(checkpoint)}
    assert saved_names(tmp_path) == names, "the layout of llava-1.5-7b-hf"
    towers.load(LlavaOptions(checkpoint=str(tmp_path)), regions=GRID, device="cpu")
    with pytest.raises(UsageError, match="not empty"):
        llava.merge(options, adapter, tmp_path)


def saved_names(folder: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as weights:
        return set(weights.keys())


def dequantised(module: Any) -> Tensor:
    """The weight that a bitsandbytes layer stands for."""
    import bitsandbytes as bnb

    if isinstance(module, bnb.nn.Linear4bit):
        return bnb.functional.dequantize_4bit(module.weight.data, module.weight.quant_state).float()
    return module.weight.CB.float() * module.weight.SCB[:, None] / 127


# 4-bit layers compute with the dequantised weight; int8 kernels may round their inputs besides.
@pytest.mark.parametrize(("bits", "difference"), [(4, 1e-4), (8, 0.03)])
def test_gradients_on_a_quantised_base(
    options: LlavaOptions, adapter: Path, patches: Tensor, bits: int, difference: float
) -> None:
    """Against the same model in float32 whose weights are what the quantised ones stand for.

    One look in eval() comes first, as in a validation: on some CPUs that alone used to end all learning.
    """
    quantised = llava.load(options.model_copy(update={"bits": bits}), device="cpu", adapter=adapter, trainable=True)
    reference = llava.load(options, device="cpu", adapter=adapter, trainable=True)
    layers = dict(reference.named_modules())
    count = 0
    for name, module in quantised.named_modules():
        if type(module).__name__ in {"Linear4bit", "Linear8bitLt"} and name.endswith("base_layer"):
            assert ".language_model." in name
            layers[name].weight.data = dequantised(module)
            count += 1
    assert count == len(LORA.targets) * tiny_llava.LANGUAGE["num_hidden_layers"]
    with torch.no_grad():
        assert embed(quantised.eval(), patches).isfinite().all()
    actual, expected = gradients(quantised, patches), gradients(reference, patches)
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient.any(), name
        assert (actual[name] - gradient).norm() <= difference * gradient.norm(), name


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantised_base_is_close_to_the_published_one(
    options: LlavaOptions, plain: Llava, patches: Tensor, bits: int
) -> None:
    quantised = llava.load(options.model_copy(update={"bits": bits}), device="cpu")
    with torch.no_grad():
        cosine = torch.cosine_similarity(embed(quantised, patches), embed(plain, patches), dim=-1)
    assert (cosine > (0.85 if bits == 4 else 0.999)).all()


def test_bfloat16_trains_in_float32(options: LlavaOptions, plain: Llava, patches: Tensor) -> None:
    half = llava.load(options.model_copy(update={"dtype": "bfloat16"}), device="cpu", trainable=True)
    assert {p.dtype for p in half.parameters() if p.requires_grad} == {torch.float32}
    assert half.base.lm_head.weight.dtype == torch.bfloat16
    with torch.no_grad():
        states = embed(half, patches)
        cosine = torch.cosine_similarity(states.float(), embed(plain, patches), dim=-1)
    assert states.dtype == torch.bfloat16
    assert (cosine > 0.999).all()
    assert all(gradient.isfinite().all() for gradient in gradients(half, patches).values())


def test_gradient_checkpointing_recomputes_and_gives_the_same(
    options: LlavaOptions, adapter: Path, patches: Tensor
) -> None:
    results = []
    for checkpointing in (False, True):
        chosen = options.model_copy(update={"checkpointing": checkpointing})
        model = llava.load(chosen, device="cpu", adapter=adapter, trainable=True)
        runs: list[int] = []
        norm = model.base.model.language_model.layers[0].input_layernorm
        norm.register_forward_hook(lambda *_, runs=runs: runs.append(1))
        results.append((gradients(model, patches), len(runs)))
        model.zero_grad()
        model(model.inputs(["a red circle"])).sum().backward()  # nothing but frozen embeddings below the adapter
        learns = [p.grad for name, p in model.named_parameters() if "layers.0" in name and "lora_B" in name]
        assert all(gradient is not None and gradient.any() for gradient in learns)
    (without, once), (with_it, twice) = results
    assert (once, twice) == (1, 2)
    torch.testing.assert_close(with_it, without, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_attention_kernels_agree(options: LlavaOptions, plain: Llava, patches: Tensor) -> None:
    eager = llava.load(options.model_copy(update={"attention": "eager"}), device="cpu")
    assert eager.base.model.language_model.config._attn_implementation == "eager"
    assert plain.base.model.language_model.config._attn_implementation == "sdpa"
    for side in ("left", "right"):
        torch.testing.assert_close(embed(eager, patches, side), embed(plain, patches, side), atol=1e-5, rtol=0)


def test_a_foreign_vision_tower_is_refused(options: LlavaOptions, sight: LlavaTowers, tmp_path: Path) -> None:
    model = llava.load(options.model_copy(update={"dtype": "bfloat16"}), device="cpu", trainable=True)
    model.share_vision_tower(sight)
    assert model.base.model.vision_tower is sight.vision
    other = tiny_llava.make(tmp_path, seed=5)
    foreign = towers.load(options.model_copy(update={"clip": str(other / "clip")}), regions=GRID, device="cpu")
    with pytest.raises(UsageError, match="not the one that this LLaVA was built on"):
        llava.load(options, device="cpu").share_vision_tower(foreign)


@pytest.mark.parametrize(("scale", "is_same"), [(1.01, True), (1.05, False)])
def test_vision_towers_may_differ_by_rounding_alone(options: LlavaOptions, scale: float, is_same: bool) -> None:
    model = llava.load(options, device="cpu")
    tower = towers.load(options, regions=GRID, device="cpu")
    next(reversed(dict(model.base.model.vision_tower.named_parameters()).values())).data *= scale
    with nullcontext() if is_same else pytest.raises(UsageError, match="differs"):
        model.share_vision_tower(tower)
    assert (model.base.model.vision_tower is tower.vision) == is_same


@torch.no_grad()
def test_without_its_adapter_a_model_is_the_base(
    options: LlavaOptions, plain: Llava, adapter: Path, patches: Tensor
) -> None:
    adapted = llava.load(options, device="cpu", adapter=adapter)
    assert (adapted.adapted, plain.adapted) == (True, False)
    assert not torch.equal(embed(adapted, patches), embed(plain, patches))
    with adapted.unadapted():
        assert torch.equal(embed(adapted, patches), embed(plain, patches))
    with plain.unadapted():
        assert torch.isfinite(embed(plain, patches)).all()
    unadaptable = options.model_copy(update={"lora": None})
    assert not llava.load(unadaptable, device="cpu", trainable=True).adapted


def test_lora_is_made_with_its_options(options: LlavaOptions) -> None:
    config = llava.load(options, device="cpu", trainable=True).model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 8, 0.0)
    dropout = options.model_copy(update={"lora": LoraOptions(dropout=0.25)})
    assert llava.load(dropout, device="cpu", trainable=True).model.peft_config["default"].lora_dropout == 0.25


def test_parameters_of_the_real_sizes_are_counted_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(LlavaConfig())  # the settings of llava-1.5-7b
    adapted = lora.attach(model, LoraOptions(rank=16))
    per_layer = 16 * (4 * (4096 + 4096) + 3 * (4096 + 11008))
    projector = 1024 * 4096 + 4096 + 4096 * 4096 + 4096
    assert lora.trainable(adapted) == {"lora": 32 * per_layer, "projector": projector}
    assert all(parameter.is_meta for parameter in adapted.parameters())


def test_wrong_settings_are_one_line(checkpoint: Path, options: LlavaOptions, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="flash_attention_2 needs dtype bfloat16 or float16"):
        LlavaOptions(checkpoint="x", attention="flash_attention_2")
    misspelt = options.model_copy(update={"lora": LoraOptions(targets=("q_proj", "qq_proj"))})
    with pytest.raises(UsageError, match="no layer called 'qq_proj'"):
        llava.load(misspelt, device="cpu", trainable=True)
    flash = options.model_copy(update={"attention": "flash_attention_2", "dtype": "bfloat16"})
    with pytest.raises(UsageError, match="attention 'flash_attention_2' is not there"):
        llava.load(flash, device="cpu")
    with pytest.raises(ModelNotFound, match="no adapter here"):
        llava.load(options, device="cpu", adapter=tmp_path)
    with pytest.raises(ModelNotFound, match="clip checkpoint, not a LLaVA"):
        llava.load(LlavaOptions(checkpoint=str(checkpoint / "clip")), device="cpu")
    cut = shutil.copytree(checkpoint, tmp_path / "cut")
    for weights in cut.glob("*.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelNotFound, match="cannot be loaded as a LLaVA"):
        llava.load(LlavaOptions(checkpoint=str(cut)), device="cpu")
    with pytest.raises(ModelNotFound, match="not a LLaVA"):
        towers.load(LlavaOptions(checkpoint=str(checkpoint / "clip"), clip=str(checkpoint / "clip")), regions=2)
    with pytest.raises(ModelNotFound, match="no folder `clip`"):
        towers.load(LlavaOptions(checkpoint=str(tmp_path)), regions=2)
    with pytest.raises(UsageError, match="4 x 4 patches: too few for 9 x 9 regions"):
        towers.load(options, regions=9, device="cpu")


@pytest.mark.parametrize(
    ("package", "change"), [("peft", {}), ("bitsandbytes", {"bits": 4}), ("accelerate", {"bits": 8})]
)
def test_a_missing_package_names_its_extra(
    options: LlavaOptions, monkeypatch: pytest.MonkeyPatch, package: str, change: dict[str, int]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as import sees a package that is not there
    with pytest.raises(MissingExtra, match=rf"{package} is not installed: .* -m pip install .*\[train\]'"):
        llava.load(options.model_copy(update=change), device="cpu", trainable=True)
