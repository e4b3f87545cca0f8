"""Options of MCSAN. Kept apart from the network, so that a settings file is checked without loading torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from ...plugins import BaseOptions
from ...types import PRECOMPUTED, LabelSource, PrecomputedFeatures
from .._folder import TrainedOptions

Level = Literal["global", "entity", "action", "relation"]
LEVELS: tuple[Level, ...] = ("global", "entity", "action", "relation")
TENSORS = ".th"  # ends the name of a file of word vectors that torch wrote
ATTRIBUTES, DISTRIBUTION = "attributes", "distribution"  # loss terms
CONTRASTIVE, RANKING = "contrastive", "ranking"  # those of `train.options`
TOKENS = "tokens"  # of `Options.graph`
E5 = "e5"  # of `Options.word_vectors`


class VocabularySizes(BaseOptions):
    """How many labels there are at most. The paper does not say; the first two are HANet's, the third is ours."""

    entities: int = Field(1024, ge=1, description="most frequent entities (nouns)")
    actions: int = Field(512, ge=1, description="most frequent actions (verbs)")
    relations: int = Field(2048, ge=1, description="most frequent relations (triplets)")


class PrecomputedOptions(BaseOptions):
    """Which features a data set must bring along. The defaults are HGR's of MSR-VTT."""

    features: tuple[str, ...] = Field(("resnet152.pth",), min_length=1, description="kinds, in this order")
    width: int = Field(2048, ge=1, description="numbers of a frame, of all kinds together")
    frames: int = Field(20, ge=1, description="most frames of a video")

    def record(self) -> PrecomputedFeatures:
        return PrecomputedFeatures(self.features, self.width, self.frames)


class Options(TrainedOptions):
    """Options of MCSAN. Most are rows of the paper's table 3, or of ours."""

    vision: str = Field(
        description="folder or hub name of a CLIP-layout checkpoint, which stays as it is: it reads key images, and "
        "whole sentences for the global level; or of a ResNet; or `precomputed`: the data set brings features along. "
        "Beside the last two, multilingual E5 reads whole sentences"
    )
    precomputed: PrecomputedOptions = Field(
        PrecomputedOptions(), description="with vision: precomputed, which features are read"
    )
    levels: tuple[Level, ...] = Field(LEVELS, min_length=1, description="what is compared, a block of the vectors each")
    width: int = Field(512, ge=2, multiple_of=2, description="of each level's vector")
    heads: int = Field(8, ge=1, description="attention heads of the relation level; must divide the width")
    global_similarity: Literal["hole", "linear", "cosine"] = Field(
        "hole",
        description="of the global level: sigmoid of a linear map of the circular correlation; that map of unit length "
        "without sigmoid, by which an index ranks exactly; or the cosine",
    )
    fusion: Literal["equal", "learned"] = Field("equal", description="how much each level counts in a score")
    pool: Literal["topk", "max", "mean"] = Field(
        "topk", description="frames -> video of the levels entity and action: the largest eighth, the largest, all"
    )
    differences: bool = Field(
        False, description="levels action and relation see what changed since the last key image, beside the key image"
    )
    graph: Literal["roles", "attention", "tokens"] = Field(
        "roles",
        description="text side of the levels of words. roles: role graphs (needs the parser, extra mcsan) for entity "
        "and action; attention: an attention block over the words for each, which needs none; tokens: such blocks over "
        "the states that the frozen text tower has of its tokens, in place of words, for relation, too",
    )
    labels: LabelSource = Field(
        "parsed", description="what is learned besides: labels of parsed captions (extra mcsan), or the data set's own"
    )
    parses: str | None = Field(
        None,
        description="a CoNLL-U file with the parses of all captions (CoreNLP, Stanza, UDPipe); null: spaCy parses them",
    )
    mask_siblings: bool = Field(
        False,
        description="labels that a caption lacks and its video has count for nothing in the caption's loss (HANet)",
    )
    shared_heads: bool = Field(True, description="one head of labels for both modalities; false: one each")
    focal: bool = Field(True, description="focal cross-entropy of labels; false: plain")
    kl: Literal["features", "batch", "symmetric"] = Field(
        "features", description="what the loss term `distribution` compares (nn.losses.kl)"
    )
    vocabulary: VocabularySizes = Field(VocabularySizes(), description="most labels of each kind")
    words: int = Field(30, ge=1, description="words of a sentence that are read; the tower reads on")
    word_width: int = Field(300, ge=1, description="of word vectors; of E5's, 384")
    word_vectors: str | None = Field(
        None,
        description="what word vectors start as: a text file of GloVe, or `e5`: each word as the multilingual E5 small "
        "encodes it; or HGR's word_embeds.*.th; null: random vectors",
    )
    word_list: Path | None = Field(None, description="the words of a .th file: annotation/RET/int2word.npy of HGR")
    dropout: float = Field(0.2, ge=0, lt=1, description="of word states and inside attention blocks, while training")
    min_relevance: float = Field(0.5, ge=0, le=1, description="relevance of the best hit below which nothing is found")

    @field_validator("levels")
    @classmethod
    def _each_once(cls, levels: tuple[Level, ...]) -> tuple[Level, ...]:
        """Return the levels in the order of LEVELS."""
        if len(set(levels)) != len(levels):
            raise ValueError("a level is named twice")
        return tuple(level for level in LEVELS if level in levels)

    @property
    def reads_features(self) -> bool:
        """Whether the data set brings features along, and there are no pictures."""
        return self.vision == PRECOMPUTED

    @model_validator(mode="after")
    def _words_of_tensors(self) -> Options:
        if self.word_vectors and self.word_vectors.endswith(TENSORS) and self.word_list is None and not self.weights:
            raise ValueError("word_list: name the words of the word vectors, annotation/RET/int2word.npy")
        return self

    @model_validator(mode="after")
    def _heads_fit(self) -> Options:
        if self.width % self.heads:
            raise ValueError(f"heads: {self.heads} must divide the width, {self.width}")
        return self

    @model_validator(mode="after")
    def _words_are_read(self) -> Options:
        if self.word_vectors and self.graph == TOKENS:
            raise ValueError(f"word_vectors: with graph {TOKENS} no words are read; leave it out")
        if self.reads_features and self.graph == TOKENS:
            raise ValueError(f"graph: {TOKENS} reads those of a CLIP text tower, and vision: {PRECOMPUTED} has none")
        return self
