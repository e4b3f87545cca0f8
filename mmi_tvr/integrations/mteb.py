"""A model of ours as a model of mteb (Massive Text Embedding Benchmark), and data sets of ours as its tasks (extra
`mteb`).

    import mteb
    from mmi_tvr.integrations.mteb import MtebModel, contrast_task, retrieval_task

    model = MtebModel(Encoder.from_pretrained("moving-shapes"))
    tasks = [contrast_task("order"), *mteb.get_tasks(["MSVDT2VRetrieval"])]
    mteb.evaluate(model, tasks)

Retrieval ranks by the model's own scores (`types.Scoring`), as a search does; what compares vectors alone (clustering,
classification) gets those of whole videos. Videos are decoded here, by the encoder and its key images, not by mteb.

Decisions:

- A query's instruction is not read, because none of our models was trained with mteb's.
- A document that says nothing has a vector of zeros, because mteb's corpora have such documents.
- What mteb makes of ties (the order of their ids) stays as it is.
- mteb keeps results by a task's name and its subsets, whatever its revision is. So the subset of a task of ours is the
  hash of its ids, captions and file names: other data under the same name are measured anew.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from .. import plugins
from ..datasets.moving_shapes import CONTRAST_SETS, PAIRS
from ..encoder import Encoder
from ..errors import MediaError, UsageError
from ..evaluation.metrics import columns_of_videos
from ..protocols import Dataset, GeneratedDataset
from ..scoring.similarity import Gallery
from ..types import Direction, Embeddings, FloatArray, Sample, Video
from ..utils.hashing import digest
from ..utils.installation import require
from ..utils.loading import loaded_once

_EXTRA = "mteb"
_MODALITIES = ("text", "image", "video", "audio")
_LANGUAGES = ["eng-Latn", "zho-Hans"]
_BLOCK_SIZE = 256  # rows whose files, or scores, are held at once
_SPLIT = "test"
_NAME_LENGTH = 200  # bytes: most file systems allow 255, with the suffix


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Rows of one side: unit vectors of texts (N, D), or the embeddings of N pictures or videos."""

    texts: FloatArray | None = None
    videos: Sequence[Embeddings] = ()

    @property
    def vectors(self) -> FloatArray:
        """One vector for each row (N, D)."""
        return self.texts if self.texts is not None else np.stack([result.video for result in self.videos])

    def rows(self, block: slice) -> _Encoded:
        """Return some of the rows."""
        return _Encoded(None if self.texts is None else self.texts[block], self.videos[block])


class MtebModel:
    """An encoder as mteb's `EncoderProtocol` and `SearchProtocol`."""

    def __init__(self, encoder: Encoder, name: str | None = None) -> None:
        """Take an encoder; `name`, "owner/model", stands in mteb's results instead of "mmi-tvr/<model>".

        Raises UsageError where the name lacks one of the two.
        """
        self._encoder = encoder
        self._name = f"mmi-tvr/{encoder.model.name}" if name is None else name
        owner, _, model = self._name.partition("/")
        if not (owner.strip() and model.strip()):
            raise UsageError(f"{self._name!r} is no name of a model in mteb's results: it needs owner/model")
        self._corpus: _Encoded | None = None
        self._corpus_ids: Sequence[str] = ()

    @property
    def mteb_model_meta(self) -> Any:
        """Name, fingerprint (as the revision, so that results of other weights are never taken for these) and so on."""
        return require("mteb.models", _EXTRA).ModelMeta(
            loader=None,
            name=self._name,
            revision=self._encoder.fingerprint,
            release_date=None,
            languages=None,
            n_parameters=None,
            memory_usage_mb=None,
            max_tokens=None,
            embed_dim=int(self._encoder.encode_query(["dimensions"]).shape[1]),
            license=None,
            open_weights=None,
            public_training_code=None,
            public_training_data=None,
            framework=["PyTorch"],
            similarity_fn_name="cosine",
            use_instructions=False,
            training_datasets=None,
            modalities=["text", "image", "video"],
        )

    def encode(self, inputs: Any, *, task_metadata: Any, prompt_type: Any = None, **options: Any) -> FloatArray:
        """Return a vector for each row of a data loader (N, D), float32.

        Raises:
            MediaError: Of the first picture or video that cannot be used.
            UsageError: Where a row is more than one text, picture or video, or sound.
        """
        blocks = _blocks(inputs.dataset)
        return np.concatenate([self._encoded(rows, task_metadata, prompt_type).vectors for rows in blocks])

    def similarity(self, embeddings1: FloatArray, embeddings2: FloatArray) -> Any:
        """Return the cosines, or what the model's blocks say, of rows (N, D) and (M, D), as a tensor."""
        from torch import from_numpy

        first, second = (np.atleast_2d(np.asarray(rows, dtype=np.float32)) for rows in (embeddings1, embeddings2))
        return from_numpy(self._encoder.similarity(first, second))

    def similarity_pairwise(self, embeddings1: FloatArray, embeddings2: FloatArray) -> Any:
        """Return the same of rows that stand beside each other (N,), as a tensor."""
        from torch import cat

        pairs = zip(np.asarray(embeddings1), np.asarray(embeddings2), strict=True)
        return cat([self.similarity(first, second)[0] for first, second in pairs])

    def index(self, corpus: Any, *, task_metadata: Any, **options: Any) -> None:
        """Embed the documents of a task; `search` is about these."""
        self._corpus = self._encoded(corpus, task_metadata, "document")
        self._corpus_ids = list(corpus["id"])

    def search(
        self,
        queries: Any,
        *,
        task_metadata: Any,
        top_k: int,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        **options: Any,
    ) -> dict[str, dict[str, float]]:
        """Return the scores of each query's best documents, by the ids of both.

        Args:
            queries: Dataset with `id` and one of text, image and video.
            task_metadata: Of the task; says what of a row is read.
            top_k: Documents of each query.
            top_ranked: The ids of the documents among which each query looks; None takes all.
            options: What mteb says besides, which changes nothing here.
        """
        if self._corpus is None:
            raise UsageError("index a corpus before a search")
        encoded, ids = self._encoded(queries, task_metadata, "query"), list(queries["id"])
        columns = {document: column for column, document in enumerate(self._corpus_ids)}
        hits = {}
        for start in range(0, len(ids), _BLOCK_SIZE):
            block = slice(start, start + _BLOCK_SIZE)
            scores = np.asarray(self._scores(encoded.rows(block), self._corpus), dtype=np.float64)
            for query, row in zip(ids[block], scores, strict=True):
                candidates = np.arange(len(row))
                if top_ranked is not None:
                    candidates = np.array([columns[document] for document in top_ranked.get(query, ())], dtype=np.int64)
                best = candidates[np.argsort(-row[candidates], kind="stable")[:top_k]]
                hits[query] = {self._corpus_ids[column]: float(row[column]) for column in best.tolist()}
        return hits

    def _scores(self, queries: _Encoded, corpus: _Encoded) -> FloatArray:
        """Return scores (queries, documents): as a search has them where one side is text, else of vectors alone."""
        scoring = self._encoder.model.scoring
        if queries.texts is not None and corpus.texts is None:
            return Gallery.pack(corpus.videos).score(queries.texts, scoring)
        if corpus.texts is not None and queries.texts is None:
            scores = Gallery.pack(queries.videos).score(corpus.texts, scoring, "v2t")
            return np.swapaxes(scores, 0, 1)
        return self._encoder.similarity(queries.vectors, corpus.vectors)

    def _encoded(self, rows: Any, task_metadata: Any, side: Any) -> _Encoded:
        """Return what one side of a task shows or says; `side` is query, document, or None where a task has one."""
        modality = _modality(rows, task_metadata, side)
        if modality == "text":
            return _Encoded(texts=self._encoded_texts(_texts(rows, task_metadata), empty=side != "query"))
        if not len(rows):
            raise UsageError(f"{task_metadata.name}: no {modality} to embed")
        results: list[Embeddings] = []
        for first in range(0, len(rows), _BLOCK_SIZE):
            block = rows.select(range(first, min(first + _BLOCK_SIZE, len(rows))))
            with tempfile.TemporaryDirectory() as folder:
                files = list(_files(block, modality, Path(folder)))
                for result in self._encoder.embed(files):
                    if isinstance(result, MediaError):
                        raise result
                    results.append(result)
        return _Encoded(videos=results)

    def _encoded_texts(self, texts: Sequence[str], *, empty: bool) -> FloatArray:
        """Return the vectors of texts (N, D); zeros of one that says nothing, where such are allowed (`empty`)."""
        rows = [row for row, text in enumerate(texts) if text.strip() or not empty]
        encoded = np.asarray(self._encoder.encode_query([texts[row] for row in rows]), dtype=np.float32)
        vectors: FloatArray = np.zeros((len(texts), encoded.shape[1]), np.float32)
        vectors[rows] = encoded
        return vectors


def retrieval_task(dataset: Dataset, name: str, direction: Direction = "t2v") -> Any:
    """Return a data set of ours as a retrieval task of mteb; its main score is R@1 (`hit_rate_at_1`).

    Args:
        dataset: Of whole files with captions. One that is generated is rendered when the task is loaded.
        name: Of the task, in mteb's results.
        direction: "t2v" finds videos for captions, "v2t" captions for videos.

    Raises:
        UsageError: Where there is no such direction, or no file could be called by the name.
    """
    if direction not in get_args(Direction):
        raise UsageError(f"no direction is called {direction!r}; there are: {', '.join(get_args(Direction))}")
    description = f"Each {'caption finds its video' if direction == 't2v' else 'video finds its captions'}."
    return _task(dataset, name, description, direction, "hit_rate_at_1")


def contrast_task(contrast: str, pairs: int = PAIRS) -> Any:
    """Return a contrast set of moving shapes as a task of mteb: its `accuracy` is the share of captions that prefer
    their own video to one that differs in one thing.

    Args:
        contrast: What differs: order, direction, relation, colour, shape, count, role or order3.
        pairs: How many pairs of videos.

    Raises:
        UsageError: Where there is no such contrast set, or it has fewer pairs.
    """
    if contrast not in CONTRAST_SETS:
        raise UsageError(f"no contrast is called {contrast!r}; there are: {', '.join(CONTRAST_SETS)}")
    values = {"split": contrast, "count": 2 * pairs, "captions": 1}
    dataset: Dataset = plugins.build("datasets", "moving_shapes", values)
    description = f"Which of two videos that differ in {contrast} alone does a caption describe?"
    return _task(dataset, f"MovingShapes{contrast.capitalize()}", description, "t2v", "accuracy", pairs=True)


def _task(
    dataset: Dataset, name: str, description: str, direction: Direction, main_score: str, *, pairs: bool = False
) -> Any:
    """Return a task of a class of its own: mteb unloads a task by deleting the metadata of the object."""
    if not name.strip(". ") or "/" in name or len(name.encode()) > _NAME_LENGTH:
        raise UsageError(
            f"{name[:_NAME_LENGTH]!r} is no name of a task: mteb keeps its results in a file of that name, of at most "
            f"{_NAME_LENGTH} bytes"
        )
    samples = dataset.samples()
    revision = digest(direction, pairs, [(sample.id, sample.captions, sample.video.path.name) for sample in samples])
    metadata = require("mteb", _EXTRA).TaskMetadata(
        name=name,
        description=description,
        dataset={"path": name, "revision": revision},
        type="Any2AnyRetrieval",
        category=direction,
        eval_splits=[_SPLIT],
        eval_langs={revision: _LANGUAGES},
        main_score=main_score,
        modalities=["text", "video"],
    )
    return type(name, (_task_class(),), {"metadata": metadata})(dataset, samples, direction, pairs=pairs)


@loaded_once
def _task_class() -> type[Any]:
    retrieval = require("mteb.abstasks.retrieval", _EXTRA)

    class VideoRetrievalTask(retrieval.AbsTaskRetrieval):  # type: ignore[misc, name-defined]
        """Captions and videos of a data set, by the ids of its samples."""

        data_loaded: bool = False

        def __init__(self, dataset: Dataset, samples: Sequence[Sample], direction: Direction, *, pairs: bool) -> None:
            super().__init__()
            self._source, self._samples, self._direction, self._pairs = dataset, samples, direction, pairs

        def load_data(self, num_proc: int | None = None, **options: Any) -> None:
            """Render what has yet to be rendered, and list captions, videos and which belong together."""
            if self.data_loaded:
                return
            if isinstance(self._source, GeneratedDataset):
                self._source.generate()
            split = _split(self.metadata.name, self._samples, self._direction, self._pairs)
            self.dataset = {subset: {_SPLIT: split} for subset in self.hf_subsets}
            self.data_loaded = True

    return VideoRetrievalTask


def _split(name: str, samples: Sequence[Sample], direction: Direction, pairs: bool) -> dict[str, Any]:
    """Return queries, corpus, what is right, and, of pairs, the two videos that each caption chooses from.

    UsageError where a task of this name would have nothing to measure, or could not tell its videos apart.
    """
    ids = Counter(sample.id for sample in samples)
    if repeated := [id_ for id_, count in ids.items() if count > 1]:
        raise UsageError(f"{name}: several samples are called {repeated[0]}, and mteb tells videos apart by their ids")
    owners = [(number, text) for number, sample in enumerate(samples) for text in sample.captions]
    if not owners:
        raise UsageError(f"{name}: no video of the data set has a caption")
    text_ids = [f"{samples[number].id}-{row}" for row, (number, _) in enumerate(owners)]
    video_ids = [sample.id for sample in samples]
    files = [sample.video for sample in samples]
    relevant: dict[str, dict[str, int]] = {}
    for text_id, columns in zip(
        text_ids, columns_of_videos([files[number] for number, _ in owners], files), strict=True
    ):
        for column in columns:
            query, document = (text_id, video_ids[column]) if direction == "t2v" else (video_ids[column], text_id)
            relevant.setdefault(query, {})[document] = 1
    texts, videos = _text_rows(text_ids, [text for _, text in owners]), _video_rows(samples)
    queries, corpus = (texts, videos) if direction == "t2v" else (videos, texts)
    chosen_from = None
    if pairs:
        first_of_pair = [number // 2 * 2 for number, _ in owners]
        chosen_from = dict(zip(text_ids, (video_ids[first : first + 2] for first in first_of_pair), strict=True))
    return {"queries": queries, "corpus": corpus, "relevant_docs": relevant, "top_ranked": chosen_from}


def _text_rows(ids: Sequence[str], texts: Sequence[str]) -> Any:
    return require("datasets", _EXTRA).Dataset.from_dict({"id": ids, "text": texts})


def _video_rows(samples: Sequence[Sample]) -> Any:
    """Return the files as any model of mteb reads them. UsageError where one is no whole video."""
    datasets = require("datasets", _EXTRA)
    for sample in samples:
        if sample.video != Video(sample.video.path):
            raise UsageError(
                f"{sample.id} is {'a picture' if sample.video.picture else 'a part of a video'}, and the videos of a "
                "task are whole video files"
            )
    columns = {"id": [sample.id for sample in samples], "video": [str(sample.video.path) for sample in samples]}
    features = datasets.Features({"id": datasets.Value("string"), "video": datasets.Video()})
    return datasets.Dataset.from_dict(columns, features=features)


def _blocks(rows: Any) -> Iterator[Any]:
    """Yield what a data loader reads as data sets of `datasets`: the whole, where it is one; else so many rows each."""
    datasets = require("datasets", _EXTRA)
    if isinstance(rows, datasets.Dataset):
        yield rows
        return
    for start in range(0, len(rows), _BLOCK_SIZE):
        block = range(start, min(start + _BLOCK_SIZE, len(rows)))
        yield datasets.Dataset.from_list([rows[number] for number in block])


def _modality(rows: Any, task_metadata: Any, side: Any) -> str:
    """Return which of a row's columns is read. UsageError where that is not one text, picture or video."""
    names = [name for name in _MODALITIES if name in rows.column_names]
    if side is not None and task_metadata.category is not None:
        read = task_metadata.get_modalities(require("mteb.types", _EXTRA).PromptType(side))
        names = [name for name in names if name in read]
    if len(names) != 1 or names[0] == "audio":
        raise UsageError(
            f"{task_metadata.name}: a row is {' and '.join(names) or 'none of ' + ', '.join(_MODALITIES)}; our models "
            "read one text, one picture or one video: leave this task out"
        )
    return names[0]


def _texts(rows: Any, task_metadata: Any) -> list[str]:
    """Return the text of each row, with the title of a document in front. UsageError where a row is a conversation."""
    texts = ["" if text is None else text for text in rows["text"]]
    if not all(isinstance(text, str) for text in texts):
        raise UsageError(
            f"{task_metadata.name}: a row is a conversation; our models read one text: leave this task out"
        )
    if "title" not in rows.column_names:
        return texts
    return [f"{title or ''} {text}".strip() for title, text in zip(rows["title"], texts, strict=True)]


def _files(rows: Any, modality: str, folder: Path) -> Iterator[Video]:
    """Yield the file of each row's picture or video; what a data set carries in itself is written into `folder`."""
    datasets = require("datasets", _EXTRA)
    undecoded = (datasets.Image if modality == "image" else datasets.Video)(decode=False)
    for number, row in enumerate(rows.cast_column(modality, undecoded)):
        value = row[modality]
        if value is None:
            raise UsageError(f"row {row.get('id', number)} has no {modality}")
        path = Path(value["path"] or f"{number}")
        if value["bytes"] is not None:
            path = folder / f"{number}{path.suffix}"
            path.write_bytes(value["bytes"])
        yield Video(path, picture=modality == "image")
