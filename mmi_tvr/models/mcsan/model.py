"""The model behind the protocol: frozen towers, captions as words, and the trained network on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelNotFound, one_line
from ...lexicon.vocabulary import LABELS_OF, Vocabularies
from ...lexicon.vocabulary import LEVELS as LABEL_LEVELS
from ...scoring.attributes import likeliest
from ...types import Attributes, Embeddings, FacetCalibration, Features, Labels, LabelSource, Pixels, Query, Scoring
from ...utils.hashing import digest, file_digest
from ...utils.loading import late_property
from ...utils.padding import padded
from .._facets import read_facets
from .._folder import FromModelFolder, ModelSettings, load_tensors, save_tensors, write
from .captions import CaptionReader, Lexicon, ReadCaption, caption_remarks
from .options import TOKENS, Options
from .word_rows import word_rows

if TYPE_CHECKING:
    from .network import Levels, McsanNetwork
    from .towers import Towers

WEIGHTS_FILE, VOCABULARIES = "mcsan.safetensors", "vocabularies.json"
_OFFSETS, _FUSION = "similarities.offsets", "similarities.fusion"  # of the blocks, in WEIGHTS_FILE
_BATCH = 64
# Options that change no vector.
_NO_VECTOR = {
    *("weights", "vision", "min_relevance", "labels", "parses", "mask_siblings", "focal", "kl", "vocabulary"),
    *("dropout", "fusion"),
    *("precomputed", "word_list"),  # the vision's fingerprint, and the weights, say so
}
_OF_THE_TRAINING = {"weights", "word_vectors", "word_list", "parses"}  # options that a trained folder does without


class Mcsan(FromModelFolder):
    """MCSAN on frozen towers. The network is made at its first use: of trained weights, or, before a training, of the
    words and labels of the captions that `prepare` gets."""

    options: Options
    name = "mcsan"

    def __init__(self, options: Options, device: str = "auto") -> None:
        self.options = options
        self._device = device
        self._new_lexicon: Lexicon | None = None
        self._captions = CaptionReader(roles=options.graph == "roles", words=options.words, parses=options.parses)

    @property
    def scoring(self) -> Scoring:
        """How vectors are compared, by level; the offset is as training has left it so far."""
        return Scoring(min_relevance=self.options.min_relevance, blocks=self._blocks())

    @late_property
    def towers(self) -> Towers:
        from .towers import load

        return load(self.options, self._device)

    @property
    def reads(self) -> frozenset[str]:
        """The parts of a query that it reads: no pictures, where it reads features in their place."""
        return frozenset({"text", "pictures"} if self.reads_pictures else {"text"})

    @property
    def reads_pictures(self) -> bool:
        """Whether it looks at pictures, or reads features that data sets bring along (`protocols.ModelOfFeatures`)."""
        return not self.options.reads_features

    @property
    def image_size(self) -> int:
        return self.towers.image_size

    @late_property
    def network(self) -> McsanNetwork:
        """The trained part; `train` changes it in place. ModelNotFound where there are neither weights nor training
        captions."""
        import torch

        from ...utils.device import resolve
        from .network import McsanNetwork

        with torch.inference_mode(False):  # whoever asks first: what is made in that mode can never be trained
            sizes = {level: len(self.lexicon.labels.level(level)) for level in LABEL_LEVELS}
            words = torch.from_numpy(word_rows(self.lexicon.words, self.options, trained=self._folder is not None))
            network = McsanNetwork(self.options, self.towers.widths(), words, sizes)
            if self._folder:
                load_tensors(network, self._folder / WEIGHTS_FILE)
            return network.to(resolve(self._device)).eval()

    @late_property
    def lexicon(self) -> Lexicon:
        """The words and labels that it knows. ModelNotFound as `network`."""
        if self._folder:
            return Lexicon.load(self._folder / VOCABULARIES)
        if self._new_lexicon is None:
            raise ModelNotFound(
                f"{self.name} knows no words yet: name trained weights (--model FOLDER), or train it "
                f"(scripts/train.py --config configs/mcsan-moving-shapes.yaml)"
            )
        return self._new_lexicon

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        """Return {"image": (N, D)}, float32; unit vectors, where the tower is one of a CLIP layout."""
        return {"image": self.towers.embed_images(images)}

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        """Return unit vectors of each video and of its key images, each as a video of one frame (decision)."""
        embeddings = []
        for start in range(0, len(features), _BATCH):
            batch = features[start : start + _BATCH]
            images = np.concatenate([video.arrays["image"] for video in batch])[:, None]  # (B K, 1, D)
            moments = np.split(self._encoded(list(images)), np.cumsum([len(video.segments) for video in batch])[:-1])
            videos, attributes = self._read([video.arrays["image"] for video in batch])
            embeddings += [
                Embeddings(vector, of_images, video.segments, shown)
                for vector, of_images, video, shown in zip(videos, moments, batch, attributes, strict=True)
            ]
        return embeddings

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return the vectors (N, L d) of queries; a block of the global level has any length."""
        import torch

        parts = []
        for start in range(0, len(queries), _BATCH):
            texts = [query.spoken for query in queries[start : start + _BATCH]]
            with torch.inference_mode():
                vectors, _ = self.network.texts(self._on_device(self._texts(texts)))
            parts.append(vectors.cpu().numpy().astype(np.float32))
        width = len(self.options.levels) * self.options.width
        return np.concatenate(parts) if parts else np.zeros((0, width), np.float32)

    # Attributes (`protocols.ModelWithAttributes`)

    def attribute_names(self) -> dict[str, Sequence[str]]:
        """Return the classes of its vocabularies by level."""
        return {level: self.lexicon.labels.level(LABELS_OF[level]).names for level in self._labelled}

    def query_attributes(self, queries: Sequence[Query]) -> list[Attributes]:
        """Return the likeliest classes that the heads read off each text."""
        import torch

        attributes: list[Attributes] = []
        for start in range(0, len(queries), _BATCH):
            texts = self._texts([query.spoken for query in queries[start : start + _BATCH]])
            with torch.inference_mode():
                _, levels = self.network.texts(self._on_device(texts))
                attributes += self._likeliest(levels, "text")
        return attributes

    def facet_calibration(self) -> FacetCalibration | None:
        """Return what was measured of these very weights; None where that was not done."""
        return read_facets(self._folder, self.fingerprint()) if self._folder else None

    # Labels (`protocols.LabellingModel`)

    def label_counts(self) -> dict[str, Mapping[str, int]]:
        """Return the labels of each level that has some, with how many of the training captions name each."""
        return {level: self.lexicon.labels.level(LABELS_OF[level]).as_dict() for level in self._labelled}

    def label_probabilities(self, features: Sequence[Features]) -> dict[str, NDArray[np.float32]]:
        """Return p (N, K) of each level's labels (eq. 24-26)."""
        import torch

        parts: dict[str, list[NDArray[np.float32]]] = {level: [] for level in self.label_counts()}
        for start in range(0, len(features), _BATCH):
            images = pack([video.arrays["image"] for video in features[start : start + _BATCH]])
            with torch.inference_mode():
                _, levels = self.network.videos(self._on_device(images))
                for level, probabilities in self.network.probabilities(levels, "video").items():
                    parts[level].append(probabilities.cpu().numpy())
        return {level: np.concatenate(of_level) for level, of_level in parts.items() if of_level}

    def characters_read(self, text: str) -> int:
        """Return how many characters of a sentence, from its start, the text tower or the words' levels read."""
        by_tower = self.towers.characters_read(text)
        return max(by_tower, self._captions.characters_read(text)) if self._reads_words else by_tower

    def use_role_graphs(self, path: Path) -> None:
        """Read captions by these role graphs, where they are among them (`protocols.ModelOfRoleGraphs`).

        Decision: no fingerprint knows of it. It changes how these captions alone are read, as another version of the
        parser would.
        """
        self._captions.use(path)

    def query_remarks(self, query: Query) -> list[str]:
        """Say where the levels of words have none, or a role graph no verb (`protocols.RemarkingModel`)."""
        if not self._reads_words or not self._labelled:
            return []
        [caption] = self._captions.read([query.spoken])
        return caption_remarks(caption, self.lexicon, self._labelled)

    def vision_fingerprint(self) -> str:
        return self.towers.fingerprint()

    def fingerprint(self) -> str:
        """Hash of all that changes any vector."""
        options = self.options.model_dump(mode="json", exclude=_NO_VECTOR)
        folder = self._folder
        trained = [file_digest(folder / name) for name in (WEIGHTS_FILE, VOCABULARIES)] if folder else []
        return digest(self.name, self.vision_fingerprint(), self.towers.text_version, options, trained)

    # Training

    @property
    def label_source(self) -> LabelSource:
        """Where labels come from (`protocols.ModelWithLabels`)."""
        return self.options.labels

    @property
    def parses(self) -> str | None:
        """A CoNLL-U file with the parses of all captions, where there is one (`protocols.ModelWithLabels`)."""
        return self.options.parses

    def prepare(self, captions: Sequence[str], labels: Sequence[Labels]) -> None:
        """Take words and vocabularies from the training captions; trained weights keep theirs.

        Raises UsageError where the captions have no labels, or those of trained weights are of another corpus.
        """
        if self._reads_words:
            self._captions.remember(captions)
        if self._folder:
            self.lexicon.labels.check(labels)
            return
        sizes = self.options.vocabulary
        vocabularies = Vocabularies.of(labels, sizes.entities, sizes.actions, sizes.relations)
        read_captions: list[ReadCaption] = self._captions.read(captions) if self._reads_words else []
        self._new_lexicon = Lexicon.of(read_captions, vocabularies)

    def label_batch(self, captions: Sequence[Labels], videos: Sequence[Labels]) -> Mapping[str, Any]:
        """Return {"text": ..., "video": ...}, each (B, K) bool for each kind of label."""
        import torch

        sides = {"text": captions, "video": videos}
        return {
            side: {level: torch.from_numpy(rows) for level, rows in self.lexicon.multi_hot(labels).items()}
            for side, labels in sides.items()
        }

    def batch(self, texts: Sequence[str], features: Sequence[Features], numbers: Sequence[int]) -> dict[str, Any]:
        """Return what `network` trains on: B texts with their videos' features; pairs of one video share its number."""
        import torch

        return {
            "text": self._texts(texts),
            "video": pack([video.arrays["image"] for video in features]),
            "groups": torch.tensor(numbers),
        }

    def save(
        self,
        folder: Path,
        keyimages: Mapping[str, Any] | None = None,
        origin: Mapping[str, Any] | None = None,
        rerank: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the network, its words and vocabularies, and how they were made (`protocols.TrainableModel`)."""
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(self.network, folder / WEIGHTS_FILE)
        self.lexicon.write(folder / VOCABULARIES)
        options = self.options.model_dump(mode="json", exclude=_OF_THE_TRAINING)
        write(folder, ModelSettings(self.name, options, keyimages, rerank, origin or {}))

    # What it is made of

    def _blocks(self) -> Any:
        from .network import blocks

        if "network" in self.__dict__:
            return self.network.similarities.blocks
        return self._trained_blocks if self._folder else blocks(self.options)

    @late_property
    def _trained_blocks(self) -> Any:
        """The blocks with the offset and weights of the trained ones, without loading the rest of them."""
        from safetensors import SafetensorError, safe_open

        from ...nn.blocks import trained_blocks
        from .network import blocks

        assert self._folder is not None
        path, untrained = self._folder / WEIGHTS_FILE, blocks(self.options)
        try:
            with safe_open(path, "pt") as tensors:
                names = set(tensors.keys())
                offsets, fusion = (
                    tensors.get_tensor(name).tolist() if name in names else [0.0] * len(untrained)
                    for name in (_OFFSETS, _FUSION)
                )
        except (OSError, SafetensorError) as error:
            raise ModelNotFound(f"{path}: missing or damaged ({one_line(error)}); copy it once more") from error
        return trained_blocks(untrained, offsets, fusion)

    @property
    def _labelled(self) -> list[str]:
        """The levels that have labels."""
        return [level for level in self.options.levels if level in LABELS_OF]

    @property
    def _reads_words(self) -> bool:
        """Whether any level reads words of its lexicon, and not the tower's tokens."""
        return self.options.graph != TOKENS

    def _texts(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return {"sentence": (B, D), "words": (B, M)}, and "graph" with a role graph each, as tensors; with tokens
        instead {"sentence": (B, D), "tokens": (B, M, E), "mask": (B, M)}."""
        import torch

        if not self._reads_words:
            return dict(zip(("sentence", "tokens", "mask"), self.towers.token_states(texts), strict=True))
        captions = self._captions.read(texts)
        batch: dict[str, Any] = {
            "sentence": torch.from_numpy(self.towers.embed_texts(texts)),
            "words": torch.from_numpy(self.lexicon.numbers(captions, max(len(one.words) for one in captions))),
        }
        graphs = [caption.graph for caption in captions if caption.graph is not None]
        if graphs:
            batch["graph"] = {
                "masks": torch.from_numpy(np.stack([graph.masks for graph in graphs])),
                "roles": torch.from_numpy(np.stack([graph.roles for graph in graphs])),
                "edges": torch.from_numpy(np.stack([graph.edges for graph in graphs])),
            }
        return batch

    def _encoded(self, images: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Return the unit vectors (B, L d) of videos of these key images, (K, D) each."""
        import torch

        parts = []
        for start in range(0, len(images), _BATCH):
            with torch.inference_mode():
                vectors, _ = self.network.videos(self._on_device(pack(images[start : start + _BATCH])))
            parts.append(vectors.cpu().numpy().astype(np.float32))
        return np.concatenate(parts)

    def _read(self, images: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float32], list[Attributes]]:
        """Return the unit vectors (B, L d) of at most _BATCH videos, as `_encoded`, and what the heads read off."""
        import torch

        with torch.inference_mode():
            vectors, levels = self.network.videos(self._on_device(pack(images)))
            return vectors.cpu().numpy().astype(np.float32), self._likeliest(levels, "video")

    def _likeliest(self, levels: Levels, side: Literal["text", "video"]) -> list[Attributes]:
        """Return the likeliest classes of B videos or texts from their features."""
        attributes: list[dict[str, Mapping[str, float]]] = [{} for _ in next(iter(levels.values()))]
        names = self.attribute_names()
        for level, probabilities in self.network.probabilities(levels, side).items():
            classes = likeliest(probabilities.cpu().numpy(), names[level])
            for one, of_level in zip(attributes, classes, strict=True):
                one[level] = of_level
        return list(attributes)

    def _on_device(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        device = next(self.network.parameters()).device
        return {
            name: self._on_device(value) if isinstance(value, Mapping) else value.to(device)
            for name, value in batch.items()
        }


def pack(images: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """Put key images (K, D) of B videos side by side: "image" (B, K, D), float32, and "mask" (B, K), false where there
    is none."""
    import torch

    packed = torch.from_numpy(padded(images))
    counts = torch.tensor([len(rows) for rows in images])
    return {"image": packed, "mask": torch.arange(packed.shape[1]) < counts[:, None]}
