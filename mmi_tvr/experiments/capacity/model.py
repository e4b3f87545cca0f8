"""Rates, the collection, and what it takes: sizes times rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, log2
from typing import NamedTuple

from pydantic import Field, create_model

from ... import config
from ...index import MilvusPlan, choose_milvus_plan
from ...plugins import BaseOptions

_HOUR, _GB, _TB = 3600.0, 1e9, 1e12
ID_BYTES = 8  # bytes
_HOURS_OF_A_MONTH = 730
GRAPH_VECTORS, GRAPH_DIM = 100_000, 192  # the graph that the rates are about


class Rate(NamedTuple):
    """How fast, how large or how dear something is, and how we know."""

    value: float
    unit: str
    measured: bool
    source: str


_A100 = "an A100 does 312e12 operations/s in bfloat16 by its data sheet, of which 40 % are assumed to be reached"
_CLOUD = "order of magnitude of large clouds' public prices"
RATES: Mapping[str, Rate] = {
    "decode": Rate(36, "s of video per core s", True, "1280 x 720, 2 frames a second, key images chosen"),
    "bitrate": Rate(0.31e6, "bytes per s of video", False, "2.5 Mbit/s, usual for 720p"),
    "features": Rate(25_088, "bytes per key image", True, "configs/paper.yaml: picture, 9 regions, 4 patches"),
    "images": Rate(770, "key images per GPU s", False, f"CLIP ViT-L/14 takes 162e9 operations a picture; {_A100}"),
    "llm": Rate(4_800, "tokens read per GPU s", False, f"13 billion parameters, 26e9 operations a token; {_A100}"),
    "answers": Rate(3_000, "tokens written per GPU s", False, "a 14B model under vLLM on one A100, by others"),
    "scan": Rate(18e9, "bytes per core s", True, "flat index, 192 wide, beyond what caches hold"),
    "graph_build": Rate(14.3, "core s for 100,000 x 192", True, "HNSW of faiss, M 32, efConstruction 120"),
    "graph_growth": Rate(1.3, "power of the vectors", True, "of the time to build, 100,000 to 320,000"),
    "graph_search": Rate(4.5e-4, "core s a query of 100,000 x 192", True, "HNSW of faiss, ef 256; as a logarithm"),
    "disk_search": Rate(3.2e-3, "core s per query and segment", False, "DiskANN (NeurIPS 2019): 5,000/s on 16 cores"),
    "gpu_price": Rate(2.0, "$ per hour", False, _CLOUD),
    "core_price": Rate(0.04, "$ per hour", False, _CLOUD),
    "memory_price": Rate(3.0, "$ per GB and month", False, _CLOUD),
    "disk_price": Rate(0.08, "$ per GB and month", False, f"solid state; {_CLOUD}"),
    "object_price": Rate(0.023, "$ per GB and month", False, f"object storage; {_CLOUD}"),
}  # fmt: skip


class Collection(BaseOptions):
    """A collection of videos, and what is wanted of it."""

    videos: int = Field(1_000_000, ge=1, description="videos")
    seconds: float = Field(60, gt=0, description="mean length of a video")
    key_images: int = Field(12, ge=1, description="key images per video")
    dim: int = Field(768, ge=1, description="numbers per vector")
    frames: float = Field(1, ge=1, description="pictures encoded per key image (1: only key images meet the tower)")
    tokens: int = Field(64, ge=0, description="tokens that the language model reads per video; 0: a model without one")
    answers: int = Field(
        0, ge=0, description="tokens that describe a video for re-ranking; 0: videos are not described"
    )
    moments: bool = Field(True, description="whether key images are searched; if not, videos alone are in the index")
    queries: float = Field(10, gt=0, description="queries a second at the busiest time")
    memory_gb: float = Field(64, gt=0, description="memory of one query node; what the choice of an index may use")
    nodes: int = Field(16, ge=1, description="query nodes that are affordable, for the choice of an index")
    segment_gb: float = Field(1, gt=0, description="largest sealed segment of Milvus (1 by default)")
    own_storage: bool = Field(True, description="whether the videos themselves are to be stored and paid for")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a collection takes. Hours are those of one core or one GPU; divide by how many there are."""

    videos: int
    video_hours: float
    source_tb: float
    decode_core_hours: float
    encode_gpu_hours: float
    describe_gpu_hours: float
    features_gb: float
    vectors: int
    raw_gb: float
    index: str
    build_core_hours: float
    memory_gb: float
    disk_gb: float
    segments: int
    queries_per_core: float
    cores: int
    once: float  # $
    monthly: float  # $
    driver: str  # the largest part of the first year's money


_Rates = create_model(  # type: ignore[call-overload]
    "Rates", __base__=BaseOptions, **{name: (float, Field(rate.value, gt=0)) for name, rate in RATES.items()}
)


def rates(overrides: Iterable[str] = ()) -> dict[str, float]:
    """The values of RATES, changed by `name=value`. ConfigError for unknown names and values that are not positive.

    >>> rates(["images=1500"])["images"]
    1500.0
    """
    found: dict[str, float] = config.read(_Rates, None, overrides).model_dump()
    return found


def predict(wanted: Collection, rate: Mapping[str, float]) -> Prediction:
    """What this collection takes at these rates (`rates`)."""
    seconds, pictures = wanted.videos * wanted.seconds, wanted.videos * wanted.key_images
    vectors = wanted.videos * (1 + wanted.key_images * wanted.moments)
    chosen = choose_milvus_plan(vectors, wanted.dim, wanted.memory_gb * wanted.nodes * _GB)
    raw = vectors * wanted.dim * 4.0
    segments = ceil(raw / (wanted.segment_gb * _GB))
    decode = seconds / rate["decode"] / _HOUR
    encode = (pictures * wanted.frames / rate["images"] + wanted.videos * wanted.tokens / rate["llm"]) / _HOUR
    describe = wanted.videos * wanted.answers / rate["answers"] / _HOUR
    build = _build_seconds(chosen, vectors, wanted.dim, segments, rate) / _HOUR
    search = search_seconds(chosen, vectors, wanted.dim, segments, rate)
    cores = ceil(wanted.queries * search)
    features = pictures * rate["features"]
    memory, disk = vectors * chosen.memory, vectors * chosen.disk + raw  # Milvus also keeps the vectors as they came
    source = seconds * rate["bitrate"] * wanted.own_storage
    once = {
        "decoding": decode * rate["core_price"],
        "encoding": encode * rate["gpu_price"],
        "describing": describe * rate["gpu_price"],
        "building the index": build * rate["core_price"],
    }
    monthly = {
        "storing the videos": source / _GB * rate["object_price"],
        "storing features": features / _GB * rate["object_price"],
        "memory of the index": memory / _GB * rate["memory_price"],
        "disk of the index": disk / _GB * rate["disk_price"],
        "cores for queries": cores * rate["core_price"] * _HOURS_OF_A_MONTH,
    }
    year = once | {name: 12 * cost for name, cost in monthly.items()}
    return Prediction(
        videos=wanted.videos,
        video_hours=seconds / _HOUR,
        source_tb=seconds * rate["bitrate"] / _TB,
        decode_core_hours=decode,
        encode_gpu_hours=encode,
        describe_gpu_hours=describe,
        features_gb=features / _GB,
        vectors=vectors,
        raw_gb=raw / _GB,
        index=chosen.index_type,
        build_core_hours=build,
        memory_gb=memory / _GB,
        disk_gb=disk / _GB,
        segments=segments,
        queries_per_core=1 / search,
        cores=cores,
        once=sum(once.values()),
        monthly=sum(monthly.values()),
        driver=max(year, key=lambda name: year[name]),
    )


def exact_seconds(vectors: float, dim: int, rate: Mapping[str, float]) -> float:
    """Core seconds of one query against every vector."""
    return vectors * dim * 4 / rate["scan"]


def graph_seconds(vectors: float, dim: int, rate: Mapping[str, float]) -> float:
    """Core seconds of one query in a graph: steps as the logarithm of its size, each as wide as a vector."""
    return rate["graph_search"] * log2(max(2.0, vectors)) / log2(GRAPH_VECTORS) * dim / GRAPH_DIM


def graph_build_seconds(vectors: float, dim: int, rate: Mapping[str, float]) -> float:
    """Core seconds of building a graph."""
    size: float = (vectors / GRAPH_VECTORS) ** rate["graph_growth"]
    return rate["graph_build"] * size * dim / GRAPH_DIM


def search_seconds(chosen: MilvusPlan, vectors: int, dim: int, segments: int, rate: Mapping[str, float]) -> float:
    """Core seconds of one query: a collection is cut into segments, and each is searched (decision: evenly filled).

    A probe of an IVF index looks through a sixteenth of the cells, a byte per number, besides the cells' centres.
    """
    if chosen.index_type == "HNSW":
        return segments * graph_seconds(vectors / segments, dim, rate)
    if chosen.index_type == "DISKANN":
        return segments * rate["disk_search"]
    if chosen.index_type == "IVF_SQ8":
        centres = segments * chosen.build["nlist"]
        return exact_seconds(vectors / 16 / 4 + centres, dim, rate)
    return exact_seconds(vectors, dim, rate)


def _build_seconds(chosen: MilvusPlan, vectors: int, dim: int, segments: int, rate: Mapping[str, float]) -> float:
    """Of the graphs; what IVF takes is of the same order (k-means on a sample, then one assignment)."""
    if chosen.index_type == "FLAT":
        return 0.0
    return segments * graph_build_seconds(vectors / segments, dim, rate)


# The model against measured runs
