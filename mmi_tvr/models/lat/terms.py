"""Names of the loss terms that are LaT's own."""

from __future__ import annotations

CYCLE = "cycle"
UNPAIRED = "unpaired"  # the same of texts and videos of which nobody knows which belong together
