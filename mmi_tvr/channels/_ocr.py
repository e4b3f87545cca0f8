"""Text in pictures by PP-OCRv6 small, for Chinese, English and Japanese, run by RapidOCR, which carries the weights.

Source: Cui et al., "PaddleOCR 3.0 Technical Report", 2025, for the family.

Of other scripts it knows single letters, as signs of mathematics, and reads these where it meets Greek, at 0.88.
Decision: a line with a word of several such letters is of a script that it does not know, and is left out, however sure
it is.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..types import Pixels
from ..utils.hashing import file_digest
from ..utils.installation import packaged_file, require
from ..utils.loading import late_property

EXTRA = "ocr"
_WEIGHTS = ("PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx", "ch_ppocr_mobile_v2.0_cls_mobile.onnx")
_NAMES = ("Det.model_path", "Rec.model_path", "Cls.model_path")
_SMALLEST = 8  # pixels of a side of a picture that can have text
_WORD = re.compile(r"[^\W\d_]+")
_KNOWN_SCRIPTS = ("LATIN", "CJK", "HIRAGANA", "KATAKANA", "FULLWIDTH", "HALFWIDTH", "IDEOGRAPHIC")  # names of letters
_LEAST_UNKNOWN = 2  # letters of other scripts in a word that is none: a kΩ, a μm is one


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text in a picture, and how sure the recogniser is of it (0..1)."""

    text: str
    confidence: float


class RapidOcr:
    """A recogniser of text."""

    def __init__(self, side: int, threads: int) -> None:
        """Check that the weights are here; they are loaded at first use.

        Args:
            side: pixels of the longer side at which text is looked for; it is read at full size.
            threads: of the CPU, at most.

        Raises:
            MissingExtra: RapidOCR, or what runs it, is not installed.
        """
        require("onnxruntime", EXTRA)
        self._files: list[Path] = [packaged_file("rapidocr", "models", name, extra=EXTRA) for name in _WEIGHTS]
        self._side, self._threads = side, threads
        self._turn = threading.Lock()

    def weights_digest(self) -> str:
        """Return the hashes of the weights as one text."""
        return " ".join(map(file_digest, self._files))

    @late_property
    def _engine(self) -> Any:
        # The paths are given, so that nothing is looked for, or fetched.
        weights = {name: str(path) for name, path in zip(_NAMES, self._files, strict=True)}
        return require("rapidocr", EXTRA).RapidOCR(
            params={
                **weights,
                "Global.log_level": "critical",
                "Global.text_score": 0.0,  # how sure is sure enough is decided by the channel
                "Det.limit_type": "max",
                "Det.limit_side_len": self._side,
                "EngineConfig.onnxruntime.intra_op_num_threads": self._threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )

    def recognise(self, picture: Pixels) -> list[TextLine]:
        """Return the lines of text in a picture (H, W, 3), from top to bottom."""
        if min(picture.shape[:2]) < _SMALLEST:
            return []
        with self._turn:
            result = self._engine(np.ascontiguousarray(picture[..., ::-1]))
        if result.txts is None:
            return []
        lines = [TextLine(text, float(score)) for text, score in zip(result.txts, result.scores, strict=True)]
        return [line for line in lines if not is_of_unknown_script(line.text)]


def is_of_unknown_script(text: str) -> bool:
    """Return whether a line has a word with several letters of scripts that the recogniser does not know.

    >>> [is_of_unknown_script(text) for text in ("Größe: 5 kΩ, 今日", "Tο ουσεο ανοíγει")]
    [False, True]
    """
    return any(
        sum(not unicodedata.name(letter, "").startswith(_KNOWN_SCRIPTS) for letter in word) >= _LEAST_UNKNOWN
        for word in _WORD.findall(text)
    )
