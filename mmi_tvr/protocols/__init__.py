"""What an implementation of each room must offer, what it may offer besides, and the conventions between rooms.

Conventions
- A video's vector, and each of its key images', is a float32 unit vector. Of n blocks (`types.Block`), each has the
  length 1 / sqrt(n). A query's vector is a unit vector, too; its blocks may have any length.
- The score of two is their dot product, or what their blocks say (`types.Scoring`); larger is better. Scores of several
  queries can be compared (relevance) as long as nobody scales a query's blocks: what an index is asked with, which is
  scaled, finds candidates and orders nothing.
- Who batches: the caller hands over as much as it holds; the implementation cuts it to what its memory allows.
- Ids are int64 and carry video and key image (`types.row_ids`); the id space belongs to the caller.
- A fingerprint is a short hash of everything that changes the numbers (`utils.hashing.digest`).
- "Can embed" (Model) and "can score a pair" (Reranker) are different abilities, with different verbs.
"""

from __future__ import annotations

from .capabilities import (
    AnsweringModel,
    ExactIndex,
    LabellingModel,
    LocatingModel,
    MatchingModel,
    ModelLearningFaces,
    ModelNamingAnswerer,
    ModelOfFeatures,
    ModelOfRoleGraphs,
    ModelReadingFaces,
    ModelWithAttributes,
    ModelWithJudge,
    ModelWithKeyImages,
    ModelWithLabels,
    ModelWithReranking,
    ModelWithTranslatedSides,
    PublishedIndex,
    RemarkingModel,
    SeeingJudge,
    SnapshotIndex,
    TextLimitedModel,
    TrainableModel,
    TrainedModel,
    TranslatingModel,
)
from .datasets import (
    DatasetWithFeatures,
    DatasetWithRoleGraphs,
    DescribingDataset,
    FoldedDataset,
    GeneratedDataset,
    GradedDataset,
    GroupedDataset,
    IncompleteDataset,
    LabelledDataset,
    MomentDataset,
    PartialQueryDataset,
    PersonDataset,
    QueryDataset,
)
from .modules import (
    AblatedModule,
    AutomaticModule,
    AvailableModule,
    CheckpointModule,
    QueryEmbeddingModule,
    TrainableModule,
)
from .rooms import (
    Answerer,
    AppearanceSource,
    AttributeSource,
    Channel,
    Dataset,
    DescriptionSource,
    FaceEncoder,
    Index,
    Judge,
    KeyImageMethod,
    Model,
    RelevanceCalibration,
    Reranker,
)

__all__ = [
    "AblatedModule",
    "Answerer",
    "AnsweringModel",
    "AppearanceSource",
    "AttributeSource",
    "AutomaticModule",
    "AvailableModule",
    "Channel",
    "CheckpointModule",
    "Dataset",
    "DatasetWithFeatures",
    "DatasetWithRoleGraphs",
    "DescribingDataset",
    "DescriptionSource",
    "ExactIndex",
    "FaceEncoder",
    "FoldedDataset",
    "GeneratedDataset",
    "GradedDataset",
    "GroupedDataset",
    "IncompleteDataset",
    "Index",
    "Judge",
    "KeyImageMethod",
    "LabelledDataset",
    "LabellingModel",
    "LocatingModel",
    "MatchingModel",
    "Model",
    "ModelLearningFaces",
    "ModelNamingAnswerer",
    "ModelOfFeatures",
    "ModelOfRoleGraphs",
    "ModelReadingFaces",
    "ModelWithAttributes",
    "ModelWithJudge",
    "ModelWithKeyImages",
    "ModelWithLabels",
    "ModelWithReranking",
    "ModelWithTranslatedSides",
    "MomentDataset",
    "PartialQueryDataset",
    "PersonDataset",
    "PublishedIndex",
    "QueryDataset",
    "QueryEmbeddingModule",
    "RelevanceCalibration",
    "RemarkingModel",
    "Reranker",
    "SeeingJudge",
    "SnapshotIndex",
    "TextLimitedModel",
    "TrainableModel",
    "TrainableModule",
    "TrainedModel",
    "TranslatingModel",
]
