"""Pages and tables that people look at."""

from __future__ import annotations

from .page import clock, moment, search_page

__all__ = ["clock", "moment", "search_page"]
