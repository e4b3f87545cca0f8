"""Videos -> vision features and embeddings, by any number of processes: docs/batch.md."""

from __future__ import annotations

from mmi_tvr.cli._console import run_alone
from mmi_tvr.cli.batch import extract

if __name__ == "__main__":
    run_alone(extract)
