"""A model's ablation table on moving shapes: every part taken away in turn, trained alike, with several seeds.

    FOLDER/VARIANT/seed-N/     the run (`train.run`), and result.json
    FOLDER/ablation.json       every number
    FOLDER/ablation.md         the table

The rows are the model's own (`protocols.AblatedModule`); the first one is the full model. Called again, finished runs
stay and an unfinished one is resumed. A row may have more seeds than another: the table has all that are finished.

runs     trains and evaluates
table    the table of what they gave
"""

from __future__ import annotations

from ...datasets.moving_shapes import CONTRASTS
from .runs import ablate, variant_settings
from .table import table

__all__ = ["CONTRASTS", "ablate", "table", "variant_settings"]
