"""The model behind the protocol. Until it is trained it is the mean of the key images' CLIP embeddings: every branch
starts at zero (decision).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...encoders import hub
from ...encoders.options import LlavaOptions
from ...errors import UsageError
from ...nn.options import HeadOptions, QueryHeadOptions
from ...plugins import BaseOptions
from ...types import Embeddings, Features, FloatArray, MatchLaw, Pixels, Query, ScoreLaw, Scoring, Span
from ...utils.hashing import digest, file_digest
from ...utils.loading import late_property
from ...utils.wording import model_title
from .._folder import FromModelFolder, ModelSettings, TrainedOptions, keep_unchanged, load_tensors, save_tensors, write
from .._score_law import ScoreLawOptions, scores_as_measured

if TYPE_CHECKING:
    from ...encoders.llama_text import LlamaTexts
    from ...encoders.llava import Llava
    from ...encoders.towers import LlavaTowers
    from .network import MmiNetwork

HEADS, MOMENTS, MATCHING, ADAPTER = "heads.safetensors", "moments.safetensors", "matching.safetensors", "adapter"
JUDGE = "judge"  # the folder of the adapter that judges
_ON_VECTORS = {"moments": MOMENTS, "matching": MATCHING}  # heads that change no vector: module and file of each
# Options that a trained folder does not have; laws were measured with other weights.
_OF_A_RUN = {"weights", "new_moment_head", "new_matching_head", "score_law", "match_law"}
_MAKE_SCORES = {"heads", "lvlm", "inductive", "moment_weight", "top_moments"}  # options that change scores
_BATCH = 32
_PAIRS = 128  # queries with a video each that a head reads at once


class MatchLawOptions(BaseOptions):
    """What the matching head's answer is worth (`types.MatchLaw`). Made by scripts/nothing_found.py."""

    middle: float = Field(description="of the answer and the score, from which a match is to be believed (0.5)")
    slope: float = Field(gt=0, description="how fast the match rises there")
    score_weight: float = Field(0.0, ge=0, description="what the score counts beside the answer")


class Options(TrainedOptions):
    """Options of MMI-TVR. `lvlm`, `inductive` and the heads' own switches are rows of the paper's table 3."""

    llava: LlavaOptions = Field(description="the large vision-language model, and its towers")
    heads: HeadOptions = Field(HeadOptions(), description="temporal and spatial attention")
    lvlm: bool = Field(True, description="use the fine-tuned large model; false: CLIP and the heads alone")
    inductive: bool = Field(True, description="use the heads; false: key images are averaged")
    moment_head: QueryHeadOptions | None = Field(
        None, description="a head that finds where in a video a query happens; null: the scores of the key images do"
    )
    new_moment_head: bool = Field(
        False, description="training: begin the moment head from nothing, although the weights have one"
    )
    matching_head: QueryHeadOptions | None = Field(
        None, description="a head that says whether a video shows what a query says; null: the score decides"
    )
    new_matching_head: bool = Field(
        False, description="training: begin the matching head from nothing, although the weights have one"
    )
    moment_weight: float = Field(0.0, ge=0, le=1, description="share of the best key images in a video's score")
    top_moments: int = Field(1, ge=1, description="how many best key images")
    min_relevance: float = Field(0.5, ge=0, le=1, description="relevance of the best hit below which nothing is found")
    score_law: ScoreLawOptions | None = Field(
        None, description="relevance by the score alone, as measured with these weights; null: by the collection"
    )
    match_law: MatchLawOptions | None = Field(
        None, description="what the matching head's answer is worth, as measured; null: as it was trained"
    )


class Mmi(FromModelFolder):
    """The model behind the protocol. Weights are loaded at the first picture or query."""

    options: Options
    name = "mmi"
    reads = frozenset({"text", "pictures"})

    def __init__(self, options: Options, device: str = "auto", trainable: bool = False) -> None:
        self.options = options
        self.scoring = Scoring(
            options.moment_weight,
            options.top_moments,
            options.min_relevance,
            score_law=self._score_law(),
            match_law=self._match_law(),
        )
        self._device = device
        self._trainable = trainable

    def _score_law(self) -> ScoreLaw | None:
        law = self.options.score_law
        return None if law is None or not self._scores_as_measured() else law.law()

    def _match_law(self) -> MatchLaw | None:
        if self.options.matching_head is None or not self._scores_as_measured():
            return None
        law = self.options.match_law
        return MatchLaw(0.0, 1.0) if law is None else MatchLaw(**law.model_dump())  # a logit of 0: as probable as not

    def _scores_as_measured(self) -> bool:
        """Return whether scores and vectors come about as they did when the laws of the weights were measured."""
        trained = self._settings.options if self._settings else None
        return scores_as_measured(self.options, trained, _MAKE_SCORES)

    def rerank_section(self) -> Mapping[str, Any] | None:
        """Return the settings section of re-ranking that the weights came with."""
        return self._settings.rerank if self._settings else None

    def require_language_model(self) -> None:
        """Raise UsageError where the options leave it out."""
        if not self.options.lvlm:
            raise UsageError(f"the language model of {model_title(self)} is switched off (lvlm: false)")

    def language_model(self) -> Llava:
        """Return the LLaVA with its adapter. UsageError where the options leave it out."""
        self.require_language_model()
        assert self.network.llava is not None
        return self.network.llava

    def language_checkpoint(self) -> str:
        """Return the base that the adapter belongs to."""
        return self.options.llava.checkpoint

    def adapter_folder(self) -> Path | None:
        """Return the folder of the trained adapter; None where there is none."""
        adapter = self._folder / ADAPTER if self._folder else None
        return adapter if adapter and adapter.is_dir() else None

    def judge_adapter_folder(self) -> Path | None:
        """Return the folder of the adapter that judges alone; None where there is none."""
        judge = self._folder / JUDGE if self._folder else None
        return judge if judge and judge.is_dir() else None

    @late_property
    def towers(self) -> LlavaTowers:
        from ...encoders import towers

        return towers.load(self.options.llava, regions=self.options.heads.grid, device=self._device)

    @late_property
    def network(self) -> MmiNetwork:
        """The trained part; `train` changes it in place."""
        import torch

        vars(self).pop("_query_network", None)  # before another copy of its weights comes
        with torch.inference_mode(False):  # whoever asks first: what is made in that mode can never be trained
            large = None
            if self.options.lvlm:
                from ...encoders import llava

                large = llava.load(
                    self.options.llava,
                    device=self._device,
                    adapter=self.adapter_folder(),
                    judge=None if self._trainable else self.judge_adapter_folder(),
                    trainable=self._trainable,
                )
                large.share_vision_tower(self.towers)
            return self._load(large)

    @late_property
    def _query_network(self) -> MmiNetwork:
        """The trained part as far as queries need it, which loads in a fraction of the time."""
        import torch

        from ...encoders.llama_text import LlamaTexts

        if self._trainable or not self.options.lvlm:
            return self.network
        with torch.inference_mode(False):
            texts = LlamaTexts.read(self.options.llava, self.adapter_folder(), self._device)
            return self.network if texts is None else self._load(None, texts)

    def _for_queries(self) -> MmiNetwork:
        """Return the trained part, or as long as nobody needed all of it, the part that queries need."""
        return self.network if "network" in vars(self) else self._query_network

    def _load(self, large: Llava | None, query_texts: LlamaTexts | None = None) -> MmiNetwork:
        from ...nn.matching import MatchingHead
        from ...nn.moments import MomentHead
        from ...nn.video import VideoHead
        from ...utils.device import resolve
        from .network import MmiNetwork

        options, folder = self.options, self._folder
        switches = {} if options.inductive else {"temporal": False, "spatial": False}
        head = VideoHead(self.towers.width, options.heads.model_copy(update=switches))
        moments = MomentHead(self.towers.width, options.moment_head) if options.moment_head else None
        matching = MatchingHead(self.towers.width, options.matching_head) if options.matching_head else None
        network = MmiNetwork(self.towers.width, head, large, moments, matching, query_texts)
        network = network.to(resolve(self._device))
        if folder:
            load_tensors(network, folder / HEADS, _head_names(network))
            new = {"moments": options.new_moment_head, "matching": options.new_matching_head}
            for module, file in _ON_VECTORS.items():
                begins = self._trainable and (new[module] or not (folder / file).is_file())
                if (names := _names(network, module)) and not begins:
                    load_tensors(network, folder / file, names)
        return network.eval()

    @property
    def image_size(self) -> int:
        return self.towers.image_size

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        """Return {"image": (N, D), "regions": (N, R, D), "patches": (N, T, d_v)}: all that later stages need to see."""
        return self.towers.image_features(images)

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        """Unit vectors (D,) of each video, h_v, and (K, D) of its key images, h_I."""
        import torch

        from .network import pack, unit

        embeddings = []
        for start in range(0, len(features), _BATCH):
            batch = features[start : start + _BATCH]
            with torch.inference_mode():
                encoding = self.network.videos(pack(batch, self.network.temperature.log_scale.device))
            video_vectors, image_vectors = unit(encoding.video), unit(encoding.images)  # (B, D), (B, K, D)
            for video, video_vector, padded in zip(batch, video_vectors, image_vectors, strict=True):
                embeddings.append(Embeddings(video_vector, padded[: len(video.segments)], video.segments))
        return embeddings

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Unit vectors h_T (N, D)."""
        import torch

        from .network import unit

        texts, network = [query.spoken for query in queries], self._for_queries()
        clip = torch.from_numpy(self.towers.embed_texts(texts)).to(network.temperature.log_scale.device)
        parts = []
        for start in range(0, len(texts), _BATCH):
            with torch.inference_mode():
                parts.append(unit(network.texts(clip[start : start + _BATCH], texts[start : start + _BATCH])))
        return np.concatenate(parts) if parts else np.zeros((0, self.towers.width), np.float32)

    def characters_read(self, text: str) -> int:
        """Return how many characters of a sentence, from its start, CLIP or the language model reads."""
        return max(self.towers.characters_read(text), self._for_queries().characters_read(text))

    def locate(self, queries: FloatArray, videos: Sequence[Embeddings]) -> list[Span] | None:
        """Return where each of N queries (N, D) happens in a video of its own; None without a moment head."""
        if self.options.moment_head is None:
            return None
        import torch

        spans: dict[int, Span] = {}
        for rows in _batches_by_length(videos):
            with torch.inference_mode():
                located = self._for_queries().locate(queries[rows], [videos[row] for row in rows])
            spans |= zip(rows, (Span(*span) for span in located.tolist()), strict=True)
        return [spans[row] for row in range(len(videos))]

    def match(self, queries: FloatArray, videos: Sequence[Embeddings]) -> FloatArray | None:
        """Return the logits (N,) of N queries (N, D) with a video of its own each; None without a matching head."""
        if self.options.matching_head is None:
            return None
        import torch

        logits = np.empty(len(videos))
        for rows in _batches_by_length(videos):
            with torch.inference_mode():
                logits[rows] = self._for_queries().match(queries[rows], [videos[row] for row in rows]).tolist()
        return logits

    def vision_fingerprint(self) -> str:
        return self.towers.vision_fingerprint()

    def fingerprint(self) -> str:
        """Hash of all that changes any vector; the moment head changes none, so an index outlives another one."""
        switches = self.options.model_dump(mode="json", include={"heads", "lvlm", "inductive"})
        large = self._large() if self.options.lvlm else None
        folder = self._folder
        trained = {str(path.relative_to(folder)): file_digest(path) for path in _weights(folder)} if folder else {}
        return digest(self.name, self.vision_fingerprint(), self.towers.digest, switches, large, trained)

    def language_fingerprint(self, adapted: bool) -> str:
        """Return the hash of all that changes what the language model says: answers outlive other heads, and those of
        the base outlive every training."""
        adapter = self.adapter_folder() if adapted else None
        return digest(
            "language", self.vision_fingerprint(), self._large(), hub.checkpoint_digest(adapter) if adapter else None
        )

    def _large(self) -> tuple[dict[str, Any], str]:
        """Return how the checkpoint of the language model is read, and its digest."""
        read = self.options.llava.model_dump(mode="json", include={"dtype", "bits", "grid"})
        return read, hub.checkpoint_digest(hub.locate(self.options.llava.checkpoint))

    def batch(self, texts: Sequence[str], features: Sequence[Features], numbers: Sequence[int]) -> dict[str, Any]:
        """Return what `network` trains on: B texts with their videos' features; pairs of one video share its number."""
        import torch

        from .network import pack

        return {
            "texts": list(texts),
            "clip": torch.from_numpy(self.towers.embed_texts(texts)),
            "video": pack(features),
            "groups": torch.tensor(numbers),
        }

    def save(
        self,
        folder: Path,
        keyimages: Mapping[str, Any] | None = None,
        origin: Mapping[str, Any] | None = None,
        rerank: Mapping[str, Any] | None = None,
    ) -> None:
        """Write all that training changed: adapter, projector and heads, in safetensors, and how they were made.

        keyimages: the settings section of the key images that it was trained on. origin: whatever should be known
        about the training; plain values. rerank: the settings section of re-ranking that goes with it. Laws were
        measured with other weights and stay behind.
        """
        from ...encoders import lora, lora_file

        folder.mkdir(parents=True, exist_ok=True)
        network = self.network
        save_tensors(network, folder / HEADS, _head_names(network))
        for module, file in _ON_VECTORS.items():
            if names := _names(network, module):
                save_tensors(network, folder / file, names)
        if network.llava is not None and network.llava.adapted:
            lora.save(network.llava.model, folder / ADAPTER)
        if self._folder:
            for file in (HEADS, *_ON_VECTORS.values()):
                keep_unchanged(self._folder, folder, file)
            keep_unchanged(self._folder / ADAPTER, folder / ADAPTER, lora_file.WEIGHTS, lora_file.SETTINGS)
        options = self.options.model_dump(mode="json", exclude=_OF_A_RUN)
        for name in ("moment_head", "matching_head"):
            if options[name] is None:
                del options[name]  # such a folder is as it was before there were any
        write(folder, ModelSettings(self.name, options, keyimages, rerank, origin or {}))


def _batches_by_length(videos: Sequence[Embeddings]) -> Iterator[list[int]]:
    """Yield the rows of videos in batches of about as many key images each, so that little of a batch is padding."""
    rows = sorted(range(len(videos)), key=lambda row: len(videos[row].segments))
    for start in range(0, len(rows), _PAIRS):
        yield rows[start : start + _PAIRS]


def _weights(folder: Path) -> list[Path]:
    """The files of trained tensors; a bundled base may lie beside them."""
    return [folder / HEADS, *sorted((folder / ADAPTER).glob("*.safetensors"))]


def _head_names(network: MmiNetwork) -> list[str]:
    apart = tuple(f"{module}." for module in ("llava", *_ON_VECTORS))
    return [name for name in network.state_dict() if not name.startswith(apart)]


def _names(network: MmiNetwork, module: str) -> list[str]:
    """Return the names of the tensors of a head on vectors; none where the network has no such head."""
    return [name for name in network.state_dict() if name.startswith(f"{module}.")]
