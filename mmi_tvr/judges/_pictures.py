"""Pictures as a processor of the Hugging Face layout takes them, beside the prompts that they stand in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..encoders import hub, pretrained
from ..encoders.quiet import quiet_loading
from ..errors import ModelNotFound, one_line
from ..types import Pixels

if TYPE_CHECKING:
    from torch import Tensor

_PICTURE_TOKEN = "<image>"  # of processors that do not say what theirs is


@quiet_loading()
def load_processor(folder: Path) -> Any:
    """Return the processor of a checkpoint. Raises ModelNotFound where it has none for pictures."""
    from transformers import AutoProcessor

    reader: Any = AutoProcessor
    try:
        processor = reader.from_pretrained(folder, **hub.LOCAL)
    except (OSError, ValueError, ImportError, KeyError, TypeError) as error:
        raise ModelNotFound(f"{folder}: no processor that can be read: {one_line(error)}") from error
    if "image_processor" not in processor.to_dict():
        raise ModelNotFound(f"{folder}: its processor takes no pictures")
    pretrained.require_words(processor.tokenizer, folder)
    return processor


def picture_token(processor: Any) -> str:
    """Return what stands for a picture in a text of this processor."""
    return str(vars(processor).get("image_token") or _PICTURE_TOKEN)


def pil_images(pictures: Sequence[Sequence[Pixels]]) -> list[list[Any]]:
    """Return the pictures of each video as those of Pillow."""
    from PIL import Image

    return [[Image.fromarray(picture) for picture in video] for video in pictures]


def picture_inputs(
    processor: Any, prompts: Sequence[str], pictures: Sequence[Sequence[Pixels]], special_tokens: bool
) -> Mapping[str, Tensor]:
    """Return what a model reads: tokens, mask, and pictures as it takes them.

    Args:
        processor: of transformers.
        prompts: N prompts with places for pictures.
        pictures: those of each prompt, in their order.
        special_tokens: whether the tokenizer is to write the first token.

    Raises:
        ModelNotFound: where the processor does not take such pictures with such prompts.
    """
    images = pil_images(pictures)
    try:
        return dict(
            processor(
                text=list(prompts), images=images, padding=True, return_tensors="pt", add_special_tokens=special_tokens
            )
        )
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise ModelNotFound(f"its processor takes no such question about pictures: {one_line(error)}") from error
