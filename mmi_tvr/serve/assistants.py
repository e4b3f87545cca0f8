"""A library as tools of an assistant, by the Model Context Protocol (extra `mcp`) on standard input and output.

The tools only read. Decision: what an assistant sees goes on to whoever runs it, so an answer names nobody who does not
stand in the question by the same name, carries no picture, and has the fields that are listed here, no others.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from .. import __version__
from ..errors import MmiTvrError, UnreadableQuery
from ..library.items import LibraryItem
from ..queries import parse_where
from ..queries.names import folded
from ..utils import strict_json
from ..utils.installation import require
from .shared import SharedLibrary

_MOST_HITS = 50
_MOST_FILES = 50  # set-aside files that a status lists
_HIT_FIELDS = (
    "id", "kind", "path", "start", "end", "time", "relevance", "date", "also", "companions", "missing", "labels",
    "description", "found_by",
)  # fmt: skip
_ITEM_FIELDS = frozenset(
    {"id", "kind", "state", "reason", "seconds", "width", "height", "date", "paths", "companions"}
)  # fmt: skip
_STATUS_FIELDS = (
    "library", "model", "videos", "kinds", "key_images", "pending", "files", "seconds", "folders", "writer",
)  # fmt: skip
_SOMEBODY = "somebody"
_INSTRUCTIONS = (
    "Searches the user's own videos and pictures on this machine, by what is to be seen in them. Say what happens in a "
    "sentence, in any language; every hit has a path and the seconds of the moment. `found` false means that nothing "
    "fits: say so rather than naming the closest. Nothing can be changed by these tools."
)

Number = Annotated[int, Field(ge=0, le=2**53, description="the `id` of a hit")]


class AssistantTools:
    """The tools: methods that return plain values for JSON. They raise MmiTvrError, whose line is the answer then."""

    def __init__(self, library: SharedLibrary, with_texts: bool = False) -> None:
        """Args: the library, and whether hits carry what is said and written in them."""
        self._library = library
        self._with_texts = with_texts

    def search(
        self,
        query: Annotated[str, Field(description="what happens in the video or picture that is looked for")],
        top: Annotated[int, Field(ge=1, le=_MOST_HITS, description="at most so many hits")] = 5,
        min_relevance: Annotated[
            float | None, Field(ge=0, le=1, description="the least relevance; by default the model's own")
        ] = None,
        where: Annotated[
            list[str] | None, Field(description="LEVEL=NAME, such as action=spins: only what shows this")
        ] = None,
        kind: Annotated[
            list[Literal["video", "image", "audio"]] | None, Field(description="only files of these kinds")
        ] = None,
        since: Annotated[
            str | None, Field(description="taken on this day or later: YYYY, YYYY-MM or YYYY-MM-DD")
        ] = None,
        until: Annotated[str | None, Field(description="taken on this day or before")] = None,
    ) -> dict[str, Any]:
        """Search the library: the best moments for a sentence, best first, one for each file."""
        classes = {level: sorted(names) for level, names in parse_where(where or ()).items()}
        try:
            result = self._library.search(
                query,
                top=top,
                min_relevance=min_relevance,
                where=classes,
                kind=[*(kind or ())],
                since=since,
                until=until,
            )
        except UnreadableQuery as error:
            raise MmiTvrError(error.reason) from error  # the message may name others who are known
        people = [person["name"] for person in result["people"]]
        hidden = [name for name in people if folded(name) not in folded(query)]
        reason = result["found_reason"]
        for name in hidden:
            reason = reason.replace(name, _SOMEBODY)
        visible = frozenset(people).difference(hidden)
        return _plain(
            {
                "found": result["found"],
                "reason": reason,
                "hits": [self._hit(hit, visible) for hit in result["hits"]],
                "coverage": result["coverage"],
            }
        )

    def moments(self, id: Number) -> dict[str, Any]:
        """List the moments of a file: the stretches, in seconds, of which the library has pictures of their own."""
        item = self._library.items.item(id)
        moments = [{"start": start, "end": end, "time": time} for start, end, time in item.moments]
        return _plain({**_item(item), "moments": moments})

    def describe(self, id: Number) -> dict[str, Any]:
        """Say what is known of a file: its paths, its length, and what it was described as, where somebody had it
        described (`description`)."""
        item = self._library.items.item(id)
        return _plain({**_item(item), "moments": len(item.moments), "description": self._library.items.description(id)})

    def status(self) -> dict[str, Any]:
        """Say what is in the library: how many videos, which folders, and which files were set aside and why."""
        status = self._library.status().as_dict()
        set_aside = status["quarantined"]
        return _plain(
            {
                **{field: status[field] for field in _STATUS_FIELDS if field in status},
                "set_aside": set_aside[:_MOST_FILES],
                "set_aside_files": len(set_aside),
            }
        )

    def _hit(self, hit: Mapping[str, Any], visible: frozenset[str]) -> dict[str, Any]:
        """Return what of a hit is passed on; of people, those who may be named."""
        fields = {field: hit[field] for field in _HIT_FIELDS if field in hit}
        fields["moments"] = [
            {key: value for key, value in moment.items() if key != "text" or self._with_texts}
            for moment in hit["moments"]
        ]
        people = [one for one in hit.get("people", ()) if one["name"] in visible]
        return {**fields, "people": people} if people else fields


def run(library: SharedLibrary, with_texts: bool = False) -> None:
    """Answer an assistant on standard input and output until it closes them (arguments as of `AssistantTools`).

    Raises MissingExtra without the extra `mcp`.
    """
    make_server(AssistantTools(library, with_texts)).run(transport="stdio")


def make_server(tools: AssistantTools) -> Any:
    """Return the server with its tools (`mcp.server.MCPServer`)."""
    server = require("mcp.server", "mcp").MCPServer(
        "mmi-tvr", version=__version__, instructions=_INSTRUCTIONS, log_level="ERROR"
    )
    annotations = require("mcp_types", "mcp").ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    )
    for tool in (tools.search, tools.moments, tools.describe, tools.status):
        server.add_tool(_answering(tool), annotations=annotations)
    return server


def _answering(tool: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return a tool whose errors are answers of one line."""
    failure = require("mcp.server.mcpserver.exceptions", "mcp").ToolError

    @functools.wraps(tool)
    def answer(**arguments: Any) -> dict[str, Any]:
        try:
            return tool(**arguments)
        except MmiTvrError as error:
            raise failure(str(error)) from error

    return answer


def _item(item: LibraryItem) -> dict[str, Any]:
    """Return what of an item is passed on, as far as it is known."""
    return {key: value for key, value in item.as_dict().items() if key in _ITEM_FIELDS and value is not None}


def _plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document as every parser of JSON reads it, names that are no text included."""
    plain: dict[str, Any] = json.loads(strict_json.dumps(document))
    return plain
