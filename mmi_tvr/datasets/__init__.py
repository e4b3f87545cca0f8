"""Data sets: each lists the samples of an official split and never decodes. One file per data set.

Those that are published benchmarks can be checked: are the annotation files whole, the videos there and readable, the
splits apart (`check_benchmark`).
"""

from __future__ import annotations

from ._benchmarks import BenchmarkCheck, Overlap, SplitCheck, benchmark_names, check_benchmark, read_listing

__all__ = ["BenchmarkCheck", "Overlap", "SplitCheck", "benchmark_names", "check_benchmark", "read_listing"]
