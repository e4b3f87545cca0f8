"""What a caller hands to a search: checked, split into what is looked for and what is not to be there, and embedded."""

from .checks import characters_read, checked_query, checked_relevance, checked_top, query_remarks
from .exclusions import checked_exclusions, excluding
from .memory import QueryMemory
from .names import NamedText, in_brackets, known_name, read_names
from .persons import names_people_only
from .prepared import Expansion, PreparedQuery, prepare, query_vectors
from .where import parse_where

__all__ = [
    "Expansion",
    "NamedText",
    "PreparedQuery",
    "QueryMemory",
    "characters_read",
    "checked_exclusions",
    "checked_query",
    "checked_relevance",
    "checked_top",
    "excluding",
    "in_brackets",
    "known_name",
    "names_people_only",
    "parse_where",
    "prepare",
    "query_remarks",
    "query_vectors",
    "read_names",
]
