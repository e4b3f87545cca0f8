"""Image and text towers of a Hugging Face checkpoint of the CLIP layout: CLIP, MetaCLIP 2, SigLIP, Chinese-CLIP, and
Jina-CLIP v2, of which transformers knows the text tower alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelNotFound, one_line
from ..types import Pixels
from ..utils.device import resolve
from ..utils.loading import late_property
from . import clip_settings, hub, jina_clip, pretrained
from .clip_text import ClipTextTower
from .clip_vision import ClipPixels, ClipVisionTower
from .hub import LOCAL, checkpoint_digest, model_type
from .jina_pictures import JinaPictures
from .quiet import quiet_loading
from .sentences import SentenceReader

AUTO_TYPES = frozenset({"clip", "metaclip_2", "siglip", "siglip2", "chinese_clip"})  # of transformers' Auto classes
MODEL_TYPES = AUTO_TYPES | {jina_clip.MODEL_TYPE}


class ClipTowers:
    """Pictures and sentences -> unit vectors of one space.

    Loads weights from safetensors only, and never runs code of the checkpoint. `model_types` are those that it loads;
    classes that look inside the towers load less.
    """

    model_types = MODEL_TYPES

    def __init__(self, folder: Path, device: str, batch: int = 32, *, text_first: bool = False) -> None:
        """Load a checkpoint.

        Args:
            folder: of the checkpoint.
            device: as `utils.device.resolve` takes it.
            batch: pictures or sentences that are read at once.
            text_first: load what reads sentences alone, where the layout allows it; what reads pictures at the first
                one, and without transformers where that can be. What is wrong with that is a ModelNotFound then.

        Raises:
            ModelNotFound: where the folder holds no checkpoint of the CLIP layout.
        """
        kind = model_type(folder)
        if kind is None:
            raise ModelNotFound(f"{folder}: not a checkpoint: it has no config.json that names a model type")
        if kind not in self.model_types:
            known = ", ".join(sorted(self.model_types))
            raise ModelNotFound(f"{folder}: a {kind} checkpoint; this model loads: {known}")
        config = self.config = clip_settings.read(folder)
        self._folder = folder
        self._device = resolve(device)
        self.image_size = _image_size(config)
        self._text = self._text_tower() if text_first else None
        if self._text is None:
            _ = self._model
        self._sentences = SentenceReader(folder, config)
        self.text_version = self._sentences.rules.version
        self._batch = batch
        self.digest = checkpoint_digest(folder)

    def _text_tower(self) -> Callable[..., Any] | None:
        """What reads sentences, without the rest; None where the layout comes as a whole."""
        if self.config.model_type == jina_clip.MODEL_TYPE:
            tower: Callable[..., Any] = jina_clip.text_tower(self._folder, self.config, self._device)
            return tower
        return ClipTextTower.read(self._folder, self.config, self._device)

    @late_property
    @quiet_loading()
    def _model(self) -> Any:
        """Both towers."""
        if self.config.model_type == jina_clip.MODEL_TYPE:
            _ = self._processor
            text = self._text or self._text_tower()
            return jina_clip.JinaTowers(text, jina_clip.vision_tower(self._folder, self.config, self._device))
        import torch
        from transformers import AutoModel

        try:
            model = pretrained.load(AutoModel, self._folder, dtype=torch.float32)
            _ = self._processor
        except pretrained.unreadable() as error:
            raise _no_checkpoint(self._folder, error) from error
        return model.eval().to(self._device)

    @late_property
    @quiet_loading()
    def _processor(self) -> Any:
        """What makes the vision tower's inputs of pictures."""
        if self.config.model_type == jina_clip.MODEL_TYPE:
            return JinaPictures(self._folder, self.image_size)
        from transformers import AutoImageProcessor

        try:
            return AutoImageProcessor.from_pretrained(self._folder, **LOCAL)  # type: ignore[no-untyped-call]
        except pretrained.unreadable() as error:
            raise _no_checkpoint(self._folder, error) from error

    @late_property
    def _vision(self) -> ClipVisionTower | None:
        """The vision tower alone; None where both towers are read together."""
        return ClipVisionTower.read(self._folder, self.config, self._device) if self._text is not None else None

    @late_property
    def _pixels(self) -> ClipPixels | None:
        """What makes its inputs; None where the layout's own code does."""
        return ClipPixels.read(self._folder) if self._vision is not None else None

    def embed_images(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Return unit vectors (N, D) of N pictures of any size."""
        inputs = (self._prepared(batch) for batch in self._batches(images))
        return self._unit_vectors(self._vision or self._model.get_image_features, inputs)

    def _prepared(self, images: Sequence[Pixels]) -> Mapping[str, Any]:
        """Return the vision tower's inputs."""
        return self._processed(images) if self._pixels is None else self._of_its_size(self._pixels(images))

    def _processed(self, images: Sequence[Pixels]) -> Mapping[str, Any]:
        """Return the vision tower's inputs as the layout's own code makes them."""
        return self._of_its_size(self._processor(images=list(images), return_tensors="pt"))

    def _of_its_size(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return inputs. ModelNotFound where they are pictures of another size than the tower reads."""
        pixels = inputs["pixel_values"]
        side = self.image_size
        if pixels.ndim == 4 and tuple(pixels.shape[2:]) != (side, side):  # SigLIP 2 of native sizes reads patches
            size = " x ".join(map(str, pixels.shape[2:]))
            raise ModelNotFound(
                f"{self._folder}: preprocessor_config.json makes pictures of {size}, and its tower reads "
                f"{side} x {side}: they do not belong together"
            )
        return inputs

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors (N, D) of N sentences; what is longer than the tower reads is cut."""
        inputs = (self._sentences(batch) for batch in self._batches(texts))
        return self._unit_vectors(self._text or self._model.get_text_features, inputs)

    def characters_read(self, text: str) -> int:
        """Return how many characters of a sentence, from its start, the text tower reads."""
        return self._sentences.characters_read(text)

    def _batches(self, items: Sequence[Any]) -> Iterator[Sequence[Any]]:
        return (items[start : start + self._batch] for start in range(0, len(items), self._batch))

    def _unit_vectors(self, tower: Callable[..., Any], batches: Iterable[Mapping[str, Any]]) -> NDArray[np.float32]:
        import torch

        parts = []
        with torch.inference_mode():
            for inputs in batches:
                output = tower(**on_device(inputs, self._device))
                # Depending on the architecture the projected features come bare or as an output's pooler_output.
                parts.append(output if isinstance(output, torch.Tensor) else output.pooler_output)
            vectors = torch.nn.functional.normalize(torch.cat(parts).float(), dim=-1)
        if not bool(vectors.isfinite().all()):
            raise ModelNotFound(f"{self._folder}: its vectors are no numbers: damaged weights")
        return np.asarray(vectors.cpu().numpy(), dtype=np.float32)


def cached_towers() -> list[hub.Cached]:
    """Return the checkpoints of the local cache that `ClipTowers` loads, the preferred first (`hub.cached`)."""
    kinds = hub.cached(MODEL_TYPES)
    return [one for one in kinds if one.model_type != jina_clip.MODEL_TYPE or jina_clip.is_known(one.folder)]


def on_device(inputs: Mapping[str, Any], device: Any) -> dict[str, Any]:
    """Return the inputs of a tower with their tensors on a device."""
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def _no_checkpoint(folder: Path, error: Exception) -> ModelNotFound:
    return ModelNotFound(f"{folder}: not a checkpoint of the CLIP layout: {one_line(error)}")


def _image_size(config: Any) -> int:
    """Return the side of the picture that the tower sees; of SigLIP 2 with native sizes, of as many patches squared."""
    vision = config.vision_config
    if config.model_type == "siglip2":
        return int(vision.num_patches**0.5) * int(vision.patch_size)
    return int(vision.image_size)
