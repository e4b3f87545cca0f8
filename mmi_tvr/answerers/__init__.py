"""Answerers of questions about texts and key images (`mmi_tvr.protocols.Answerer`). One file per way of asking.

Which requests have an answer, and what counts as one, is the same for all, those of other packages included.
"""

from __future__ import annotations

from ..chat.replies import as_answer
from ._common import request_error

__all__ = ["as_answer", "request_error"]
