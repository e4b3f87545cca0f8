"""Towers of the CLIP layout, frozen, as the tokens that a model on top of them reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..types import Pixels
from ..utils.hashing import digest
from .clip import AUTO_TYPES, ClipTowers, on_device

if TYPE_CHECKING:
    from torch import Tensor


class ClipTokenTowers(ClipTowers):
    """States of the towers before their projections into one space, and these projections apart.

    A picture is one state; a sentence is the state that its tower reads it out of, and those of all its tokens. Where
    a layout ends without a projection (pictures of SigLIP), its states are in the common space already.
    """

    model_types = AUTO_TYPES

    def __init__(self, folder: Path, device: str, batch: int = 32) -> None:
        """Load a checkpoint; as `ClipTowers`."""
        super().__init__(folder, device, batch)
        config = self._model.config
        self._siglip = config.model_type.startswith("siglip")
        self.text_width = int(config.text_config.hidden_size)
        self.image_width = int(config.vision_config.hidden_size)
        self.joint_width = self.image_width if self._siglip else int(config.projection_dim)
        self._model.requires_grad_(False)

    def image_states(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Return the pooled states (N, image_width) of N pictures of any size."""
        import torch

        tower = self._model.get_image_features if self._siglip else self._model.vision_model
        parts = []
        with torch.inference_mode():
            for batch in self._batches(images):
                inputs = on_device(self._processed(batch), self._device)
                parts.append(tower(**inputs).pooler_output.float().cpu())
        return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)

    def text_states(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the states (N, 1 + L, text_width) of N sentences, on the processor, and their mask (N, 1 + L).

        First the state that the tower reads the sentence out of, then those of all tokens; false in the mask is
        padding. Towers that read their padding (SigLIP) have none.
        """
        import torch

        inputs = on_device(self._sentences(texts), self._device)
        with torch.no_grad():
            output = self._model.text_model(**inputs)
        states = output.last_hidden_state.float()
        summary = self._summary(output, states)
        ones = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        mask = inputs["attention_mask"].bool() if "attention_mask" in inputs else ones
        return torch.cat([summary[:, None], states], dim=1).cpu(), torch.cat([ones[:, :1], mask], dim=1).cpu()

    def project_images(self, states: Tensor) -> Tensor:
        """Take states (..., image_width) into the common space: (..., joint_width), of any length."""
        if self._siglip:
            return states
        return self._projected(self._model.visual_projection, states)

    def project_texts(self, states: Tensor) -> Tensor:
        """Take states (..., text_width) into the common space: (..., joint_width), of any length."""
        return self._projected(self._model.text_model.head if self._siglip else self._model.text_projection, states)

    def vision_fingerprint(self) -> str:
        """Return the hash of all that changes `image_states`."""
        return digest("clip states", self.digest)

    def _summary(self, output: Any, states: Tensor) -> Tensor:
        """The state (N, d) that the tower projects, out of all states (N, L, d)."""
        if self._siglip:
            return states[:, -1]
        if self._model.config.model_type == "chinese_clip":
            return states[:, 0]
        summary: Tensor = output.pooler_output.float()
        return summary

    def _projected(self, projection: Any, states: Tensor) -> Tensor:
        import torch

        with torch.no_grad():
            projected: Tensor = projection(states.to(self._device)).to(states.device)
        return projected
