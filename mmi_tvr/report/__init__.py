"""Pages and tables that people look at."""

from __future__ import annotations

from .evaluation import evaluation_page, heat_map
from .page import clock, moment, search_page

__all__ = ["clock", "evaluation_page", "heat_map", "moment", "search_page"]
