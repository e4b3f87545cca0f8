"""What a caller hands to a search: checked, split into what is looked for and what is not to be there, and embedded."""

from .checks import characters_read, checked_query, checked_relevance, checked_top
from .prepared import PreparedQuery, prepare, query_vectors

__all__ = [
    "PreparedQuery",
    "characters_read",
    "checked_query",
    "checked_relevance",
    "checked_top",
    "prepare",
    "query_vectors",
]
