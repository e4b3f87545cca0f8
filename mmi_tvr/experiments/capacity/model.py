"""Rates, the collection, and what it takes: sizes times rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, log2
from typing import Any, NamedTuple

from pydantic import Field, create_model

from ... import config
from ...index import MilvusPlan, choose_milvus_plan
from ...plugins import BaseOptions

_SECONDS_PER_HOUR, _GB, _TB = 3600.0, 1e9, 1e12
ID_BYTES = 8
_HOURS_PER_MONTH = 730
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


class CollectionSpec(BaseOptions):
    """A collection of videos, how it is encoded, and how it is searched."""

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


_RATE_FIELDS: dict[str, Any] = {name: (float, Field(rate.value, gt=0)) for name, rate in RATES.items()}
_Rates = create_model("Rates", __base__=BaseOptions, **_RATE_FIELDS)


def rates(overrides: Iterable[str] = ()) -> dict[str, float]:
    """Return the values of RATES, changed by `name=value` overrides.

    Raises ConfigError for unknown names and values that are not positive.

    >>> rates(["images=1500"])["images"]
    1500.0
    """
    values: dict[str, float] = config.read(_Rates, None, overrides).model_dump()
    return values


def predict(collection: CollectionSpec, rate: Mapping[str, float]) -> Prediction:
    """Return what this collection takes at these rates (`rates`)."""
    seconds, key_images = collection.videos * collection.seconds, collection.videos * collection.key_images
    vectors = collection.videos * (1 + collection.key_images * collection.moments)
    plan = choose_milvus_plan(vectors, collection.dim, collection.memory_gb * collection.nodes * _GB)
    raw_bytes = vectors * collection.dim * 4.0
    segments = ceil(raw_bytes / (collection.segment_gb * _GB))
    search = search_seconds(plan, vectors, collection.dim, segments, rate)
    pictures_seconds = key_images * collection.frames / rate["images"]
    tokens_seconds = collection.videos * collection.tokens / rate["llm"]
    partial = {
        "video_hours": seconds / _SECONDS_PER_HOUR,
        "source_tb": seconds * rate["bitrate"] / _TB,
        "decode_core_hours": seconds / rate["decode"] / _SECONDS_PER_HOUR,
        "encode_gpu_hours": (pictures_seconds + tokens_seconds) / _SECONDS_PER_HOUR,
        "describe_gpu_hours": collection.videos * collection.answers / rate["answers"] / _SECONDS_PER_HOUR,
        "features_gb": key_images * rate["features"] / _GB,
        "build_core_hours": _build_seconds(plan, vectors, collection.dim, segments, rate) / _SECONDS_PER_HOUR,
        "memory_gb": vectors * plan.memory / _GB,
        "disk_gb": (vectors * plan.disk + raw_bytes) / _GB,  # Milvus also keeps the vectors as they came
    }
    cores = ceil(collection.queries * search)
    once = _once_costs(partial, rate)
    monthly = _monthly_costs(partial, cores, collection.own_storage, rate)
    first_year = once | {name: 12 * cost for name, cost in monthly.items()}
    return Prediction(
        videos=collection.videos,
        vectors=vectors,
        raw_gb=raw_bytes / _GB,
        index=plan.index_type,
        segments=segments,
        queries_per_core=1 / search,
        cores=cores,
        once=sum(once.values()),
        monthly=sum(monthly.values()),
        driver=max(first_year, key=lambda name: first_year[name]),
        **partial,
    )


def _once_costs(work: Mapping[str, float], rate: Mapping[str, float]) -> dict[str, float]:
    """Return what is paid once, in $, by what it is for. work: hours by the names of `Prediction`."""
    return {
        "decoding": work["decode_core_hours"] * rate["core_price"],
        "encoding": work["encode_gpu_hours"] * rate["gpu_price"],
        "describing": work["describe_gpu_hours"] * rate["gpu_price"],
        "building the index": work["build_core_hours"] * rate["core_price"],
    }


def _monthly_costs(
    sizes: Mapping[str, float], cores: int, own_storage: bool, rate: Mapping[str, float]
) -> dict[str, float]:
    """Return what is paid every month, in $, by what it is for.

    Args:
        sizes: by the names of `Prediction`, in GB and TB.
        cores: that answer queries.
        own_storage: whether the videos themselves are paid for.
        rate: the rates.
    """
    source_gb = sizes["source_tb"] * _TB / _GB if own_storage else 0.0
    return {
        "storing the videos": source_gb * rate["object_price"],
        "storing features": sizes["features_gb"] * rate["object_price"],
        "memory of the index": sizes["memory_gb"] * rate["memory_price"],
        "disk of the index": sizes["disk_gb"] * rate["disk_price"],
        "cores for queries": cores * rate["core_price"] * _HOURS_PER_MONTH,
    }


def exact_seconds(vectors: float, dim: int, rate: Mapping[str, float]) -> float:
    """Return the core seconds of one query against every vector."""
    return vectors * dim * 4 / rate["scan"]


def graph_seconds(vectors: float, dim: int, rate: Mapping[str, float]) -> float:
    """Return the core seconds of one query in a graph: steps as the logarithm of its size, each as wide as a vector."""
    return rate["graph_search"] * log2(max(2.0, vectors)) / log2(GRAPH_VECTORS) * dim / GRAPH_DIM


def graph_build_seconds(vectors: float, dim: int, rate: Mapping[str, float]) -> float:
    """Return the core seconds of building a graph."""
    size: float = (vectors / GRAPH_VECTORS) ** rate["graph_growth"]
    return rate["graph_build"] * size * dim / GRAPH_DIM


def search_seconds(plan: MilvusPlan, vectors: int, dim: int, segments: int, rate: Mapping[str, float]) -> float:
    """Return the core seconds of one query.

    A collection is cut into segments, all of which are searched (decision: evenly filled). A probe of an IVF index
    looks through a sixteenth of the cells, a byte per number, besides the cells' centres.

    Args:
        plan: the index.
        vectors: of the whole collection.
        dim: numbers per vector.
        segments: parts that are searched one by one.
        rate: the rates.
    """
    if plan.index_type == "HNSW":
        return segments * graph_seconds(vectors / segments, dim, rate)
    if plan.index_type == "DISKANN":
        return segments * rate["disk_search"]
    if plan.index_type == "IVF_SQ8":
        centres = segments * plan.build["nlist"]
        return exact_seconds(vectors / 16 / 4 + centres, dim, rate)
    return exact_seconds(vectors, dim, rate)


def _build_seconds(plan: MilvusPlan, vectors: int, dim: int, segments: int, rate: Mapping[str, float]) -> float:
    """Return the core seconds of building graphs; what IVF takes is of the same order (k-means on a sample, then one
    assignment)."""
    if plan.index_type == "FLAT":
        return 0.0
    return segments * graph_build_seconds(vectors / segments, dim, rate)
