"""Key images: how many frames reach the vision tower, ours against 12 uniform, and what the choice costs."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable
from functools import partial

from mmi_tvr import plugins
from mmi_tvr.media.video import open_video

from .real_clips import clips
from .timing import pooled, rounds

SIZE = 224


def run(args: argparse.Namespace) -> Iterable[str]:
    methods = {name: plugins.build("keyimages", name) for name in ("disparity", "uniform")}
    chosen: dict[str, list[int]] = {name: [] for name in methods}
    measured = []
    for path in clips(args.clips):
        with open_video(path) as video:
            frames = video.sample(methods["disparity"].fps, methods["disparity"].max_frames, SIZE)
            duration = video.info.duration
        contenders = {name: partial(method.choose, frames, duration) for name, method in methods.items()}
        measured.append(rounds(contenders, 1 if args.small else args.repeats))
        for name in methods:
            chosen[name].append(len(contenders[name]()))
    yield f"key images of {len(measured)} clips: frames that reach the vision tower"
    for name, counts in chosen.items():
        low, middle, high = min(counts), statistics.median(counts), max(counts)
        share = sum(counts) / sum(chosen["uniform"])
        yield f"  {name:<30} {sum(counts):6d} frames   {share:5.2f} of uniform   {middle:g} [{low}, {high}] a clip"
    yield from pooled("time of choosing", measured, "disparity")
