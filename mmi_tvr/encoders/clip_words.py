"""Towers of the CLIP layout whose text tower reads words that are no words: vectors, added to those of a word.

A text tower of transformers takes no word vectors in place of ids, and finds the end of a sentence by its id. So a
sentence keeps ids that the tower knows, those of a common word, and a hook on its word embeddings adds a vector to
that word's own at its places. A vector of zeros leaves every sentence as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..utils.reading import MAX_CHARACTERS
from .clip import AUTO_TYPES, ClipTowers

if TYPE_CHECKING:
    from torch import Tensor, nn

_TEXT_SIDE = ("text_model.", "text_projection.")  # what names of the text tower's parameters begin with
_LETTER = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Slot:
    """Characters `start` to `stop` of a sentence: the word that gets its vector number `vector`; `name` is for
    messages."""

    start: int
    stop: int
    vector: int
    name: str


@dataclass(frozen=True, slots=True)
class SlottedText:
    """A sentence with the words in it that get vectors."""

    text: str
    slots: tuple[Slot, ...] = ()


def joined(parts: Sequence[str | tuple[str, int, str]]) -> SlottedText:
    """Return a sentence from its parts: text as it is, and (words, vector, name), of which the last word gets a vector.

    A space parts such words from letters beside them, so that a tokenizer does not make one word of both.

    >>> joined(["meet", ("a person", 0, "anna"), "s dog"])
    SlottedText(text='meet a person s dog', slots=(Slot(start=7, stop=13, vector=0, name='anna'),))
    """
    text, slots, after_slot = "", [], False
    for part in parts:
        words, vector, name = part if isinstance(part, tuple) else (part, None, "")
        if not words:
            continue
        if (after_slot or vector is not None) and _LETTER.match(text[-1:]) and _LETTER.match(words[0]):
            text += " "
        text += words
        if vector is not None:
            slots.append(Slot(len(text) - len(words.rpartition(" ")[2]), len(text), vector, name))
        after_slot = vector is not None
    return SlottedText(text, tuple(slots))


class ClipWordTowers(ClipTowers):
    """`ClipTowers` whose words can be moved, and whose text tower can be trained."""

    model_types = AUTO_TYPES

    def __init__(self, folder: Path, device: str, batch: int = 32) -> None:
        """Load a checkpoint; as `ClipTowers`."""
        super().__init__(folder, device, batch)
        self._model.requires_grad_(False)
        self.word_width = int(self._words.embedding_dim)
        config = self._model.config
        siglip = config.model_type.startswith("siglip")
        self.joint_width = int(config.vision_config.hidden_size if siglip else config.projection_dim)

    @property
    def module(self) -> nn.Module:
        """Both towers, as a module that holds their parameters."""
        model: nn.Module = self._model
        return model

    def text_parameters(self) -> Mapping[str, Any]:
        """Return the parameters of the text tower by their names in `module`."""
        return {name: value for name, value in self._model.named_parameters() if name.startswith(_TEXT_SIDE)}

    def tokens(self, texts: Sequence[SlottedText]) -> dict[str, Tensor]:
        """Return what `text_features` reads of N sentences, on the processor.

        `input_ids` (N, L), the `attention_mask` of the layouts that have one, and `vectors` (N, L): at the tokens of
        words that get a vector the number of that vector, and -1 elsewhere.

        Raises:
            UsageError: a word that gets a vector stands behind what the tower reads.
        """
        import torch

        inputs = dict(self._sentences([text.text for text in texts]))
        vectors = torch.full_like(inputs["input_ids"], -1)
        slots = [(row, text.text, slot) for row, text in enumerate(texts) for slot in text.slots]
        before = self._sentences.lengths([text[: slot.start].rstrip() for _, text, slot in slots])
        through = self._sentences.lengths([text[: slot.stop] for _, text, slot in slots])
        for (row, _, slot), start, stop in zip(slots, before, through, strict=True):
            if stop > self._sentences.rules.tokens or slot.stop > MAX_CHARACTERS:
                raise UsageError(
                    f"[{slot.name}] stands behind the {self._sentences.rules.tokens} tokens of a query that the text "
                    f"tower reads: name that person earlier, or shorten the query"
                )
            vectors[row, start - 1 : stop - 1] = slot.vector  # both lengths count the end token, which comes behind
        return {**inputs, "vectors": vectors}

    def text_features(self, inputs: Mapping[str, Tensor], moves: Tensor) -> Tensor:
        """Return the vectors (N, D) of sentences, of any length.

        Args:
            inputs: what `tokens` returned, on the device.
            moves: (N, P, W), the vectors that are added to words of each sentence, by number; P may be 0.
        """
        import torch

        numbers = inputs["vectors"]
        added = None
        if moves.shape[1]:
            rows = torch.arange(len(numbers), device=numbers.device)[:, None]
            added = moves[rows, numbers.clamp(min=0)] * (numbers >= 0)[..., None]
        sentences = {name: tensor for name, tensor in inputs.items() if name != "vectors"}
        with _added(self._words, added):
            output = self._model.get_text_features(**sentences)
        features: Tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
        return features.float()

    @property
    def _words(self) -> Any:
        return self._model.text_model.get_input_embeddings()


@contextmanager
def _added(embedding: Any, vectors: Tensor | None) -> Iterator[None]:
    """Have an embedding module return the sum of its output and these vectors (N, L, W) for a while."""
    if vectors is None:
        yield
        return
    hook = embedding.register_forward_hook(lambda module, args, output: output + vectors.to(output.dtype))
    try:
        yield
    finally:
        hook.remove()
