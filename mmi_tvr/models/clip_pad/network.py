"""The trained part of CLIP-PAD: descriptors of faces as words, and the text tower that reads them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from torch import Tensor, nn

from ...encoders.clip_words import ClipWordTowers

Trained = Literal["mlp", "text", "both"]
_MLP, _TOWERS = "mlp.", "towers."  # what the names of the parameters begin with


class ClipPadNetwork(nn.Module):
    """A `Trainable` of the train room.

    The last layer starts at zero: what it gives is added to the vector of a common word, so an untrained network reads
    that word. Decision: ReLU between the layers alone, since a word vector has both signs.

    Module and parameter names are the keys of trained weights: they stay as they are.

    Args:
        towers: of the CLIP layout; their image tower is never trained.
        width: F, numbers of a descriptor.
        hidden: width between the two layers.
        train: what learns.
    """

    def __init__(self, towers: ClipWordTowers, width: int, hidden: int, train: Trained) -> None:
        super().__init__()
        last = nn.Linear(hidden, towers.word_width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), last)
        self.towers = towers.module
        self._words = towers
        self.mlp.requires_grad_(train != "text")
        for parameter in towers.text_parameters().values():
            parameter.requires_grad_(train != "mlp")

    def texts(self, inputs: Mapping[str, Tensor], faces: Tensor) -> Tensor:
        """Return the vectors (N, D) of sentences, of any length.

        Args:
            inputs: `ClipWordTowers.tokens` of them, on the device.
            faces: (N, P, F), the descriptors of the persons in each sentence, by number; P may be 0.
        """
        return self._words.text_features(inputs, self.mlp(faces))

    def mlp_names(self) -> list[str]:
        """Return the names of the tensors that make words of descriptors."""
        return [name for name in self.state_dict() if name.startswith(_MLP)]

    def text_names(self) -> list[str]:
        """Return the names of the text tower's parameters."""
        return [f"{_TOWERS}{name}" for name in self._words.text_parameters()]

    # The protocol `Trainable`

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Return the parameters that learn, as `mlp` and `text`; one of both may have none."""
        groups: dict[str, list[nn.Parameter]] = {"mlp": [], "text": []}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                groups["mlp" if name.startswith(_MLP) else "text"].append(parameter)
        return groups

    def embed_batch(self, batch: Mapping[str, Any]) -> tuple[Tensor, ...]:
        """Return texts and videos (B, D), and the number of what each pair is a positive of (B,)."""
        return self.texts(batch["text"], batch["faces"]), batch["video"], batch["groups"]

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        """Return nothing: the room's term `contrastive` is all there is."""
        return {}
