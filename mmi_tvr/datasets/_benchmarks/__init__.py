"""What the published benchmarks have in common.

annotations  reads annotation files, and notes which of them are cut
records      what an annotation says: videos, their captions, where they may lie, how many there should be
videos       finds the videos in a folder
benchmark    a split as a data set: options, facts, the samples whose videos are there
queries      queries about people, from what is known of samples
pretraining  lists of the web, which are no benchmarks: their options, and a listing of their lines
check        what is there of a benchmark: counts, missing and unreadable videos, overlaps between splits
"""

from __future__ import annotations

from .annotations import Annotations
from .benchmark import (
    Benchmark,
    BenchmarkFacts,
    BenchmarkModule,
    BenchmarkOptions,
    HoldOutOptions,
    SplitOptions,
    build_benchmark,
    find_videos,
    limit_remark,
    read_listing,
    refuse_missing,
)
from .check import BenchmarkCheck, CheckableModule, Overlap, SplitCheck, benchmark_names, check_benchmark
from .pretraining import PretrainingOptions, web_listing
from .queries import (
    BenchmarkWithQueries,
    SampleFacts,
    handle_of,
    key_of,
    person_queries,
    portrait_folders,
    portraits_in,
)
from .records import (
    AnnotatedMoment,
    AnnotatedVideo,
    Listing,
    SplitSize,
    VideoLocation,
    caption,
    captions,
    checked_listing,
    empty_sentences,
    held_out_ids,
    youtube_clip_locations,
)
from .videos import stem

__all__ = [
    "AnnotatedMoment",
    "AnnotatedVideo",
    "Annotations",
    "Benchmark",
    "BenchmarkCheck",
    "BenchmarkFacts",
    "BenchmarkModule",
    "BenchmarkOptions",
    "BenchmarkWithQueries",
    "CheckableModule",
    "HoldOutOptions",
    "Listing",
    "Overlap",
    "PretrainingOptions",
    "SampleFacts",
    "SplitCheck",
    "SplitOptions",
    "SplitSize",
    "VideoLocation",
    "benchmark_names",
    "build_benchmark",
    "caption",
    "captions",
    "check_benchmark",
    "checked_listing",
    "empty_sentences",
    "find_videos",
    "handle_of",
    "held_out_ids",
    "key_of",
    "limit_remark",
    "person_queries",
    "portrait_folders",
    "portraits_in",
    "read_listing",
    "refuse_missing",
    "stem",
    "web_listing",
    "youtube_clip_locations",
]
