"""`python -m mmi_tvr.cli`."""

from __future__ import annotations

from . import main

main()
