"""A worker of its own process for the tests of `mmi_tvr.batch`: `python batch_jobs.py FOLDER` extracts.

Its model knows colours, is as slow as $DELAY says, and does what $POISON says (kill, raise) at a magenta picture.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fakes import FakeModel
from numpy.typing import NDArray

from mmi_tvr.batch import program
from mmi_tvr.batch.extract import ExtractTask
from mmi_tvr.batch.folder import BatchFolder
from mmi_tvr.types import Pixels


class Touchy(FakeModel):
    """FakeModel, but for magenta."""

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        arrays = super().encode_images(images)
        poison = os.environ.get("POISON")
        if poison and any(red > 200 and blue > 200 and green < 60 for red, green, blue in arrays["mean"]):
            if poison == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("magenta")
        return arrays


def model(section: object = None, device: str = "cpu") -> Touchy:
    return Touchy(delay=float(os.environ.get("DELAY", 0)))


def make_task(folder: BatchFolder, device: str = "cpu", trec: Path | None = None) -> ExtractTask:
    return ExtractTask(folder, device, model)


if __name__ == "__main__":
    program.make_task = make_task
    program.run_worker(Path(sys.argv[1]), "cpu", None, print)
