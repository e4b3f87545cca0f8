"""The model behind the protocol: sentences with persons in them, and videos as `clip4clip` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from ...config import Section
from ...encoders import hub
from ...encoders.clip_words import ClipWordTowers, SlottedText, joined
from ...errors import UsageError
from ...protocols import FaceEncoder
from ...types import Embeddings, Features, FloatArray, Pixels, Query, ScoreLaw, Scoring
from ...utils.hashing import digest, file_digest
from ...utils.loading import late_property
from .._folder import (
    FromModelFolder,
    ModelSettings,
    TrainedOptions,
    load_tensors,
    read_resolved,
    save_tensors,
    write,
)
from .._score_law import ScoreLawOptions, scores_as_measured
from ..clip4clip import mean_of_key_images, vision_fingerprint
from .persons import encoder_of, person_vector

if TYPE_CHECKING:
    from torch import Tensor

    from .network import ClipPadNetwork

PERSONS, TEXT = "persons.safetensors", "text.safetensors"
_SEED = 0  # of an untrained network, so that it is the same in every process
_CHANGE_VECTORS = {"place", "word"}  # who describes faces is checked person by person (`Person.maker`)
_OF_A_RUN = {"weights", "score_law"}  # that a trained folder does not have; a law was measured with other weights
_MAKE_SCORES = {*_CHANGE_VECTORS, "moment_weight", "top_moments"}


class Options(TrainedOptions):
    """Options of CLIP-PAD. Without `weights` it reads `word` where a person stands, whoever that is."""

    checkpoint: str = Field(description="folder or hub name of a CLIP, MetaCLIP 2, SigLIP or Chinese-CLIP checkpoint")
    faces: Section = Field(
        Section(name="sface"),
        description="who describes pictures of persons: a face encoder of people.faces, or `things`: the image tower, "
        "whole pictures",
    )
    hidden: int = Field(256, ge=1, description="width of the layer between a descriptor and a word")
    train: Literal["mlp", "text", "both"] = Field(
        "both", description="training: the layers that make a word of a descriptor, the text tower, or both"
    )
    place: Literal["replace", "after"] = Field(
        "replace", description="where the word for a face stands: in place of a person's name, or behind it"
    )
    word: str = Field(
        "a person", description="what an untrained model reads there; the vector for a face is added to its last word"
    )
    batch: int = Field(32, ge=1, description="pictures or sentences that the towers read at once")
    moment_weight: float = Field(0.0, ge=0, le=1, description="share of the best key images in a video's score")
    top_moments: int = Field(1, ge=1, description="how many best key images")
    min_relevance: float = Field(0.5, ge=0, le=1, description="relevance of the best hit below which nothing is found")
    score_law: ScoreLawOptions | None = Field(
        None, description="relevance by the score alone, as measured with these weights; null: by the collection"
    )

    @field_validator("word")
    @classmethod
    def _ends_in_a_word(cls, word: str) -> str:
        if not word.strip() or not word.strip()[-1].isalpha():
            raise ValueError("words that end in a letter, such as: a person")
        return " ".join(word.split())


class ClipPad(FromModelFolder):
    """The model behind the protocol.

    Decision: TOK is the vector of a common word (`word`) plus what the MLP makes of the face. The MLP starts at zero,
    so the untrained model is `clip4clip` on the sentence with that word in it; with the default, "a person", that is
    what `Query.spoken` says of persons without a name. A person without faces is read by the name.
    """

    options: Options
    name = "clip_pad"
    reads = frozenset({"text", "persons", "pictures"})

    def __init__(self, options: Options, device: str = "auto") -> None:
        self.options = options
        self.scoring = Scoring(
            options.moment_weight, options.top_moments, options.min_relevance, score_law=self._score_law()
        )
        self._device = device

    def _score_law(self) -> ScoreLaw | None:
        law, folder = self.options.score_law, self._folder
        if (
            law is None
            or folder is None
            or not scores_as_measured(self.options, read_resolved(folder).options, _MAKE_SCORES)
        ):
            return None
        return law.law()

    @late_property
    def towers(self) -> ClipWordTowers:
        return ClipWordTowers(hub.locate(self.options.checkpoint), self._device, self.options.batch)

    @late_property
    def _encoder(self) -> FaceEncoder:
        return encoder_of(self.options.faces, self.towers)

    @late_property
    def network(self) -> ClipPadNetwork:
        """The trained part; `train` changes it in place."""
        import torch

        from ...utils.device import resolve
        from .network import ClipPadNetwork

        options, folder = self.options, self._folder
        with torch.inference_mode(False), torch.random.fork_rng():
            torch.manual_seed(_SEED)
            network = ClipPadNetwork(self.towers, self._encoder.width, options.hidden, options.train)
            network.to(resolve(self._device))
            if folder:
                load_tensors(network, folder / PERSONS, network.mlp_names())
            if folder and (folder / TEXT).is_file():
                load_tensors(network, folder / TEXT, network.text_names())
        return network.eval()

    @property
    def image_size(self) -> int:
        return self.towers.image_size

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        """Return {"image": (N, D)}, unit vectors, float32: those of `clip4clip`."""
        return {"image": self.towers.embed_images(images)}

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        """Return unit vectors (D,) of each video and (K, D) of its key images."""
        return [mean_of_key_images(video) for video in features]

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return unit vectors (N, D).

        Raises:
            UsageError: a person was described by another encoder, stands behind what the tower reads, or in no place
                of the text.
        """
        import torch

        parts = [np.zeros((0, self.towers.joint_width), np.float32)]
        for start in range(0, len(queries), self.options.batch):
            inputs, faces = self._read(queries[start : start + self.options.batch])
            device = next(self.network.parameters()).device
            with torch.inference_mode():
                on_device = {name: tensor.to(device) for name, tensor in inputs.items()}
                vectors = torch.nn.functional.normalize(self.network.texts(on_device, faces.to(device)), dim=-1)
            parts.append(vectors.cpu().numpy().astype(np.float32))
        return np.concatenate(parts)

    def characters_read(self, text: str) -> int:
        """Return how many characters of a sentence, from its start, the text tower reads."""
        return self.towers.characters_read(text)

    def vision_fingerprint(self) -> str:
        return vision_fingerprint(self.towers)

    def fingerprint(self) -> str:
        """Hash of all that changes any vector."""
        options = self.options.model_dump(mode="json", include=_CHANGE_VECTORS)
        files = [self._folder / name for name in (PERSONS, TEXT)] if self._folder else []
        trained = [file_digest(path) for path in files if path.is_file()]
        return digest(self.name, self.vision_fingerprint(), self.towers.text_version, options, trained)

    def face_encoder(self) -> FaceEncoder:
        """Return who describes the persons that it reads (`protocols.ModelReadingFaces`); of things, the image tower
        as one."""
        return self._encoder

    def batch(self, texts: Sequence[str], features: Sequence[Features], numbers: Sequence[int]) -> dict[str, Any]:
        """Return what `network` trains on: B texts and videos; pairs of one video share its number."""
        return self.query_batch([Query(text) for text in texts], features, numbers)

    def query_batch(
        self, queries: Sequence[Query], features: Sequence[Features], numbers: Sequence[int]
    ) -> dict[str, Any]:
        """Return the same of B queries, which may have persons; pairs that share a number are positives."""
        import torch

        inputs, faces = self._read(queries)
        if not faces.shape[1]:  # so that every process, and every chunk, has gradients of the same parameters
            faces = torch.zeros(len(queries), 1, self._encoder.width)
        videos = torch.from_numpy(np.stack([mean_of_key_images(video).video for video in features]))
        return {"text": inputs, "faces": faces, "video": videos.float(), "groups": torch.tensor(numbers)}

    def save(
        self,
        folder: Path,
        keyimages: Mapping[str, Any] | None = None,
        origin: Mapping[str, Any] | None = None,
        rerank: Mapping[str, Any] | None = None,
    ) -> None:
        """Write what was trained, and how (`protocols.TrainableModel`)."""
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(self.network, folder / PERSONS, self.network.mlp_names())
        if self.options.train != "mlp" or (self._folder and (self._folder / TEXT).is_file()):
            save_tensors(self.network, folder / TEXT, self.network.text_names())
        options = self.options.model_dump(mode="json", exclude=_OF_A_RUN)
        encoder_file = options["faces"].get("weights")
        if encoder_file and Path(encoder_file).is_file():  # so that the folder works from anywhere
            options["faces"]["weights"] = str(Path(encoder_file).absolute())
        write(folder, ModelSettings(self.name, options, keyimages, rerank, origin or {}))

    def _read(self, queries: Sequence[Query]) -> tuple[dict[str, Tensor], Tensor]:
        """Return the tokens of N queries, and the descriptors (N, P, F) of the persons in them, on the processor."""
        import torch

        texts, persons = zip(*map(self._slotted, queries), strict=True)
        most = max(map(len, persons))
        faces = torch.zeros(len(queries), most, self._encoder.width)
        for row, vectors in enumerate(persons):
            for number, vector in enumerate(vectors):
                faces[row, number] = torch.from_numpy(vector)
        return self.towers.tokens(texts), faces

    def _slotted(self, query: Query) -> tuple[SlottedText, list[FloatArray]]:
        """Return a query as a sentence whose words for persons are marked, and the vectors of these."""
        if missing := query.persons.keys() - {piece for piece, person in query.pieces() if person is not None}:
            raise UsageError(f"[{min(missing)}] stands nowhere in the query: write it where that person is meant")
        numbers: dict[str, int] = {}
        parts: list[str | tuple[str, int, str]] = []
        for piece, person in query.pieces():
            if person is None:
                parts.append(piece)
            elif not len(person.faces):
                parts.append(person.name or self.options.word)
            else:
                name = person.name if self.options.place == "after" else ""
                number = numbers.setdefault(piece, len(numbers))
                parts.append((f"{name} {self.options.word}".lstrip(), number, piece))
        vectors = [person_vector(query.persons[handle], handle, self._encoder) for handle in numbers]
        return joined(parts), vectors
