"""Pages and tables that people look at."""

from __future__ import annotations

from .evaluation import evaluation_page, heat_map
from .explanation import aligned, times, verdict
from .page import clock, moment, search_page

__all__ = ["aligned", "clock", "evaluation_page", "heat_map", "moment", "search_page", "times", "verdict"]
