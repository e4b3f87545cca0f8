"""The form of a collection: its fields, who made its vectors, its rows, and filters in Milvus's language.

A collection has the fields id (primary), video, moment (-1: the whole video) and vector. Who made the vectors stands in
its properties and in its description, as not every Milvus keeps both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..types import Filter, FloatArray, IdArray, moment_of, video_of
from ..utils.installation import require
from ._common import checked_level
from ._milvus_plan import MilvusPlan, milvus_plan

_PROPERTY = "mmi_tvr.fingerprint"


def create_collection(client: Any, name: str, dim: int, fingerprint: str, shards: int) -> None:
    """Make an empty collection. It is FLAT, which costs nothing while it grows, until it is published.

    Args:
        client: of pymilvus.
        name: of the collection.
        dim: the width of its vectors.
        fingerprint: of the model that makes them.
        shards: how many writes a server may do in parallel.
    """
    kinds = require("pymilvus", "milvus").DataType
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False, description=f"{_PROPERTY}={fingerprint}")
    schema.add_field("id", kinds.INT64, is_primary=True)
    schema.add_field("video", kinds.INT64)
    schema.add_field("moment", kinds.INT32)
    schema.add_field("vector", kinds.FLOAT_VECTOR, dim=dim)
    client.create_collection(
        name,
        schema=schema,
        index_params=index_params(client, milvus_plan("FLAT", 0, dim)),
        properties={_PROPERTY: fingerprint},
        consistency_level="Strong",  # a search right after a write, in any process, sees it
        **unless_one(num_shards=shards),
    )


def index_params(client: Any, plan: MilvusPlan) -> Any:
    """Return a planned index as pymilvus takes it."""
    params = client.prepare_index_params()
    params.add_index("vector", index_type=plan.index_type, metric_type="IP", params=dict(plan.build))
    return params


def maker(description: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return fingerprint and dim of a collection that Milvus describes; None where it is not one of this package."""
    described = description.get("description", "").partition(f"{_PROPERTY}=")[2]
    fingerprint = description.get("properties", {}).get(_PROPERTY) or described
    dims = [field["params"].get("dim") for field in description["fields"] if field["name"] == "vector"]
    return (fingerprint, int(dims[0])) if fingerprint and dims else None


def to_rows(ids: IdArray, vectors: FloatArray) -> list[dict[str, Any]]:
    """Return ids (N,) and vectors (N, dim) as rows of a collection."""
    return [
        {"id": int(id_), "video": int(video), "moment": int(moment), "vector": vector}
        for id_, video, moment, vector in zip(ids, video_of(ids), moment_of(ids), vectors, strict=True)
    ]


def filter_expression(where: Filter | None) -> str:
    """Return a filter in the language of Milvus; empty where everything passes."""
    conditions = []
    level = None if where is None else checked_level(where)
    if level is not None:
        conditions.append("moment < 0" if level == "video" else "moment >= 0")
    if where is not None and where.videos is not None:
        conditions.append(f"video in {sorted(where.videos)}")
    return " and ".join(conditions)


def unless_one(**counts: int) -> dict[str, int]:
    """Return the counts above one, which is the default of each."""
    return {name: count for name, count in counts.items() if count > 1}
