"""The note in an index's folder that says which collection, on which server, belongs to it."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import UsageError
from ..utils.files import write_atomically
from ._milvus_client import connect, disconnect, milvus_errors

NOTE = "milvus.json"
_DISCARD_TIMEOUT = 10.0  # seconds


def write_note(folder: Path, uri: str, collection: str) -> None:
    """Note the collection of a folder, which is made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    note = {"uri": uri, "collection": collection}
    write_atomically(folder / NOTE, json.dumps(note).encode())


def read_note(folder: Path) -> tuple[str, str]:
    """Return the address and the name of the collection that belongs to a folder. UsageError for a damaged note."""
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        return str(note["uri"]), str(note["collection"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / NOTE}: not readable ({error})") from error


def discard(folder: Path) -> None:
    """Drop the collection that belongs to the index in a folder, if it has one outside of it."""
    if not (folder / NOTE).is_file():
        return
    uri, collection = read_note(folder)
    client = connect(uri, _DISCARD_TIMEOUT, create=False)
    try:
        with milvus_errors(uri):
            if client.has_collection(collection):
                for alias in client.list_aliases(collection)["aliases"]:
                    client.drop_alias(alias)
                client.drop_collection(collection)
    finally:
        disconnect(client, uri)
