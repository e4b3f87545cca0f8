"""Moving shapes: the same everywhere, no leak, nothing but the truth in words, pictures and files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mmi_tvr import plugins
from mmi_tvr.cli import data
from mmi_tvr.datasets._moving_shapes import files
from mmi_tvr.datasets._moving_shapes.captions import _VERBS, NUMBERS
from mmi_tvr.datasets._moving_shapes.dice import Dice
from mmi_tvr.datasets._moving_shapes.generate import contrast_specs, draw, split
from mmi_tvr.datasets._moving_shapes.motion import Motion
from mmi_tvr.datasets._moving_shapes.world import PASSING, Event, Spec, Thing, describes, key, spelled, split_of
from mmi_tvr.datasets.moving_shapes import (
    CONTRAST_SETS,
    CONTRASTS,
    QUESTION_KINDS,
    captions,
    contrast_accuracy,
    contrast_pairs,
    questions,
    render_frames,
    stills,
    twin,
    twin_contrasts,
    visible_shapes,
)
from mmi_tvr.errors import MetricsError, UsageError
from mmi_tvr.media import video
from mmi_tvr.protocols import Dataset, DescribingDataset

SPECS = st.integers(0, 2**63).map(lambda seed: draw(Dice(seed)))
TIMES = np.arange(0, 10, 0.1)


def scene(*events, things=(("red", "ring", 1), ("blue", "cross", 1)), relation="left", relation_stated=True) -> Spec:
    """A scene of our own: events are (actor, action) or (actor, "chases", other)."""
    starts = tuple(1000 + 2500 * place for place in range(len(events)))
    scene = tuple(Thing(*name, across=500, down=500, size=500) for name in things)
    happens = tuple(Event(*event) for event in events)
    return Spec(scene, relation, relation_stated, happens, starts, 1500, 9000, 0, "plain", (0, 0, 0), 7)


def dataset_of(**options):
    return plugins.build("datasets", "moving_shapes", options)


# Specs, captions, ids and names of files of each split: what was trained and measured on them stays comparable.
RECORDED = {
    ("val", 90): "a52d7f902b195599",
    ("test", 90): "cb279f19ef7ad3e9",
    ("train", 120): "7da056158f1727a6",
    ("train", 40, 0): "9ac866d415456e0d",
    ("train", 40, 3): "e3698732148548e8",
    ("train", 30, 6): "2181267de120e2b3",
    ("order", 30): "261e2d9fa11fb206",
    ("direction", 30): "589a0d17b0c4238d",
    ("relation", 30): "9c8f0e64250c2dc8",
    ("colour", 30): "97491a0912a87ee6",
    ("shape", 30): "d4d63c71c6069998",
    ("count", 30): "98fe31d893af7dbb",
    ("role", 30): "43e47a9b1411c5b0",
    ("train", 300, 1, 1.0): "6ee455a042f765d1",
}


@pytest.mark.parametrize("options", RECORDED, ids=str)
def test_the_splits_are_what_they_were(options):
    dataset = dataset_of(**dict(zip(("split", "count", "twins", "skew"), options, strict=False)))
    content = hashlib.sha256()
    for number, (spec, sample) in enumerate(zip(dataset.specs(), dataset.samples(), strict=True)):
        content.update(repr((spelled(spec), sample.id, sample.captions, dataset.path(number).name)).encode())
    content.update(repr(dataset.groups()).encode())
    assert content.hexdigest()[:16] == RECORDED[options]


def test_specs_and_words_are_the_same_on_every_machine():
    program = (
        "import dataclasses, hashlib; from mmi_tvr.datasets._moving_shapes.generate import split, contrast_specs\n"
        "from mmi_tvr.datasets.moving_shapes import captions, questions, stills\n"
        "specs = [item.spec for name in ('train', 'val', 'test') for item in split(name, 60)]\n"
        "specs += [spec for pair in contrast_specs('order', 10) for spec in pair]\n"
        "def content(spec):\n"
        "    with_answers = [tuple(question) for question in questions(spec)]\n"
        "    return dataclasses.astuple(spec), captions(spec), with_answers, stills(spec, 2.0)\n"
        "print(hashlib.sha256(repr([content(spec) for spec in specs]).encode()).hexdigest())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout.decode()
        for seed in ("1", "2")
    }
    assert runs == {"281a9f765cb3bb6492e7d5a8f184c211f0f7413760f79e68003145e0c6667ef3\n"}


def test_a_file_is_named_by_all_that_is_in_it(tmp_path):
    """The names are those under which caches hold the files: a change here would render all of them again."""
    dataset = dataset_of(split="order", count=2, root=tmp_path)
    assert [dataset.path(number).name for number in range(2)] == [
        "order00000-c9710cf1c75b6a6f.mp4",
        "order00001-d523e89ec66e183f.mp4",
    ]
    names = {dataset_of(split="order", count=1, **options).path(0).name for options in ({"size": 32}, {"fps": 5}, {})}
    assert len(names) == 3
    assert spelled(scene((0, "left"))).count("told=True") == 1
    assert spelled(scene((0, "left"), relation_stated=False)) != spelled(scene((0, "left")))


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_the_first_videos_are_the_same_however_many_are_asked_for(name):
    assert split(name, 300)[:37] == split(name, 37)


def test_no_description_is_in_two_splits():
    keys = {name: {key(item.spec) for item in split(name, 1000)} for name in ("val", "test")}
    keys |= {kind: {key(spec) for pair in contrast_specs(kind, 50) for spec in pair} for kind in CONTRASTS}
    train = {key(item.spec) for item in split("train", 6000)}
    assert len(train) == 6000
    assert len(keys["val"]) == len(keys["test"]) == 1000
    assert all(train.isdisjoint(keys[name]) for name in keys)
    assert all(keys["val"].isdisjoint(keys[name]) for name in keys if name != "val")


@settings(max_examples=50)
@given(SPECS)
def test_twins_stay_in_their_split_and_differ_in_one_thing(spec):
    changed = {
        "order": lambda variant: (
            replace(variant, events=spec.events) == spec and Counter(variant.events) == Counter(spec.events)
        ),
        "direction": lambda variant: sum(a != b for a, b in zip(spec.events, variant.events, strict=True)) == 1,
        "relation": lambda variant: replace(variant, relation=spec.relation) == spec,
        "colour": lambda variant: [t.shape for t in variant.things] == [t.shape for t in spec.things],
        "shape": lambda variant: [t.colour for t in variant.things] == [t.colour for t in spec.things],
        "count": lambda variant: [t.name[:2] for t in variant.things] == [t.name[:2] for t in spec.things],
        "role": lambda variant: replace(variant, events=spec.events, relation=spec.relation) == spec,
    }
    for kind in twin_contrasts(spec):
        for number in range(3):
            variant = twin(spec, kind, number)
            assert split_of(variant) == split_of(spec)
            assert changed[kind](variant)
            assert key(variant) != key(spec)
            assert set(captions(variant)).isdisjoint(captions(spec))
            fields = [name for name in Spec.__dataclass_fields__ if getattr(spec, name) != getattr(variant, name)]
            assert len(fields) == (2 if kind == "role" else 1)  # who chases, and how they stand, which nobody says
    for kind in set(CONTRAST_SETS).difference(twin_contrasts(spec)):
        with pytest.raises(UsageError, match=f"no twin by {kind}; it has: "):
            twin(spec, kind)


def test_a_kind_that_there_is_not():
    with pytest.raises(UsageError, match="'color'; there are: order, direction"):
        twin(scene((0, "left")), "color")


@pytest.mark.parametrize("name", ["val", "test"])
def test_no_caption_is_true_of_another_video(name):
    specs = [item.spec for item in split(name, 1000)]
    assert not any(describes(spec, variant) for spec in specs for variant in specs if spec is not variant)
    assert all(describes(spec, spec) for spec in specs)


def test_half_of_the_test_videos_are_twins_of_all_kinds():
    items = split("test", 1000)
    sizes = Counter(item.group for item in items)
    assert sum(sizes[item.group] == 2 for item in items) == 500
    kinds = Counter(item.contrast for item in items)
    assert all(41 <= kinds[kind] <= 42 for kind in CONTRASTS)
    everything = Counter(event.action for item in items for event in item.spec.events)
    assert len(everything) == 14
    assert min(everything.values()) >= 50


@pytest.mark.parametrize(
    ("caption", "shown", "true"),
    [
        (scene((0, "left")), scene((0, "left"), (1, "grows")), True),  # more may happen
        (scene((0, "left"), (1, "grows")), scene((1, "grows"), (0, "left")), False),
        (scene((0, "left")), scene((0, "right")), False),
        (scene((0, "left")), scene((1, "left")), False),
        (scene((0, "grows")), scene((0, "swells")), True),
        (scene((0, "swells")), scene((0, "grows")), False),
        (scene((0, "hides")), scene((0, "blinks")), True),
        (scene((1, "right")), scene((0, "chases", 1)), True),
        (scene((0, "chases", 1)), scene((0, "chases", 1), relation_stated=False), True),
        (scene((0, "chases", 1)), scene((1, "chases", 0)), False),
        (scene((0, "left")), scene((0, "left"), relation="right"), False),
        (scene((0, "left"), relation_stated=False), scene((0, "left"), relation="right"), True),
        (
            scene((0, "left")),
            scene((1, "left"), things=[("blue", "cross", 1), ("red", "ring", 1)], relation="right"),
            True,
        ),
        (scene((0, "left")), scene((0, "left"), things=[("red", "ring", 2), ("blue", "cross", 1)]), False),
        (
            scene((0, "left"), things=[("red", "ring", 1)], relation="", relation_stated=False),
            scene((0, "left")),
            True,
        ),
        (
            scene((0, "left")),
            scene((0, "left"), things=[("red", "ring", 1)], relation="", relation_stated=False),
            False,
        ),
    ],
)
def test_when_a_description_is_true(caption, shown, true):
    assert describes(caption, shown) is true


def test_the_key_forgets_the_order_of_mention():
    turned = scene((1, "left"), things=[("blue", "cross", 1), ("red", "ring", 1)], relation="right")
    assert key(scene((0, "left"))) == key(turned)


@settings(max_examples=80)
@given(SPECS)
def test_captions_are_different_and_whole(spec):
    texts = captions(spec)
    assert len(set(texts)) == 20
    assert sum(caption.isascii() for caption in texts[:15]) == 15
    assert not any(character.isascii() and character.isalpha() for caption in texts[15:] for character in caption)
    for caption in texts[:15]:
        words = caption.lower()
        assert not set("{}|_").intersection(words)
        for thing in spec.things:
            assert f"{thing.colour} {thing.shape}" in words
            assert thing.count == 1 or NUMBERS[thing.count] in words or "both" in words
        for event in spec.events:
            forms = [form.split(" {")[0] for synonyms in _VERBS[event.action] for form in synonyms]
            assert any(form in words for form in forms), (event, caption)
        relation_stated = any(word in words for word in (" left of", " right of", "above", "below", "over ", "under "))
        assert relation_stated == spec.relation_stated


def test_order_is_told_in_order():
    spec = scene((0, "spins"), (1, "bounces"), things=[("red", "square", 1), ("blue", "cross", 1)])
    for caption in captions(spec)[:15]:
        words = caption.lower()
        spins = min(place for synonym in _VERBS["spins"] if (place := words.find(synonym[0])) >= 0)
        bounces = min(place for synonym in _VERBS["bounces"] if (place := words.find(synonym[0])) >= 0)
        between = words[min(spins, bounces) : max(spins, bounces)]
        assert (bounces < spins) == bool(re.search(" after (?!that)", between)), caption


def test_stills_say_what_is_seen_at_that_moment():
    spec = scene((0, "flashes"), (1, "hides"))
    assert "a red ring to the left of a blue cross" in stills(spec, 0.5)
    assert "a white ring to the left of a blue cross" in stills(spec, 1.75)
    assert "a blue cross to the right of a red ring" in stills(spec, 3.0)
    assert not any("cross" in text for text in stills(spec, 6.0))
    hidden = scene((0, "hides"), things=[("red", "ring", 1)], relation="", relation_stated=False)
    assert stills(hidden, 5.0)[0] == "an empty picture"
    grows = scene((0, "grows"), (0, "spins"), things=[("orange", "star", 1)], relation="", relation_stated=False)
    assert "a small orange star" in stills(grows, 0.0)
    assert "a large orange star" in stills(grows, 3.0)
    assert any("a large turned orange star" in stills(grows, time) for time in np.arange(3.5, 5.0, 0.1))


def test_visible_shapes_are_single_and_in_the_colour_of_the_moment():
    row = scene((0, "flashes"), (0, "hides"), things=[("orange", "ring", 3)], relation="", relation_stated=False)
    shapes = visible_shapes(row, 0.0)
    assert [(shape.name, shape.colour, shape.shape, shape.turned) for shape in shapes] == [
        ("an orange ring", "orange", "ring", 0.0)
    ] * 3
    assert tuple(shape.centre for shape in shapes) == Motion(row).at(0.0)[0].centres
    assert {shape.radius for shape in shapes} == {Motion(row).at(0.0)[0].radius}
    assert {shape.name for shape in visible_shapes(row, 1.75)} == {"a white ring"}
    assert visible_shapes(row, 6.0) == ()
    star = scene((0, "spins"), things=[("red", "square", 1)], relation="", relation_stated=False)
    turned = [visible_shapes(star, time)[0].turned for time in np.arange(1.0, 2.6, 0.01)]
    assert turned[0] == turned[-1] == 0
    assert max(turned) == pytest.approx(1, abs=0.02)  # half way from one upright position to the next


@settings(max_examples=60)
@given(SPECS)
def test_questions_have_one_answer(spec):
    all_questions = questions(spec)
    assert len(all_questions) >= 8
    answers = {}
    for question in all_questions:
        assert question.kind in QUESTION_KINDS
        assert question.text.endswith("?")
        assert question.answer
        assert answers.setdefault(question.text, question.answer) == question.answer
    assert answers["How many shapes are there altogether?"] == NUMBERS[sum(thing.count for thing in spec.things)]


def test_questions_on_a_scene():
    spec = scene((0, "left"), (1, "grows"))
    answers = {question.text: question.answer for question in questions(spec)}
    assert {question.kind for question in questions(spec)} == set(QUESTION_KINDS)
    assert answers["What colour is the ring?"] == "red"
    assert answers["What does the blue cross do?"] == "grows"
    assert answers["What is to the left of the blue cross?"] == "the red ring"
    assert answers["What happens first?"] == "the red ring moves left"
    turned = {question.text: question.answer for question in questions(twin(spec, "order"))}
    assert turned["What happens first?"] == "the blue cross grows"


@settings(max_examples=60)
@given(SPECS)
def test_what_moves_does_as_told_and_stays_in_the_picture(spec):
    motion = Motion(spec)
    for time in TIMES:
        poses = motion.at(time)
        for pose in poses:
            for x, y in pose.centres:
                assert pose.radius <= min(x, y, 1 - x, 1 - y)
        if spec.relation:
            (x, y), (other_x, other_y) = poses[0].centre, poses[1].centre
            gap = {"left": other_x - x, "right": x - other_x, "above": other_y - y, "below": y - other_y}[spec.relation]
            assert gap >= poses[0].radius + poses[1].radius
    for event, start in zip(spec.events, spec.starts, strict=True):
        before, after = (motion.at(start / 1000 + more)[event.actor] for more in (0, spec.length / 1000))
        (x, y), (new_x, new_y) = before.centre, after.centre
        moved = {"left": x - new_x, "right": new_x - x, "up": y - new_y, "down": new_y - y}
        if event.action in moved:
            assert moved[event.action] > 0.1
        if event.action in PASSING:
            assert before == after
        if event.action in ("grows", "shrinks"):
            assert (after.radius > before.radius) == (event.action == "grows")
        if event.action in ("appears", "hides"):
            assert (before.visible, after.visible) == ((event.action == "hides"), (event.action == "appears"))


@given(SPECS)
def test_events_are_short_in_a_long_stillness(spec):
    ends = [0, *(start + spec.length for start in spec.starts)]
    assert all(start - end >= 800 for start, end in zip([*spec.starts, spec.duration], ends, strict=True))
    assert 6000 <= spec.duration <= 10000
    assert 1200 <= spec.length <= 1800


def test_pictures_show_the_colours_where_things_are():
    spec = scene((0, "flashes"), (1, "hides"), things=[("red", "circle", 1), ("blue", "square", 1)])
    poses = Motion(spec).at(0.0)
    pictures = render_frames(spec, [0.0, 1.75, 6.0], 96)
    assert (pictures.shape, pictures.dtype) == ((3, 96, 96, 3), np.uint8)
    (x, y), (other_x, other_y) = ((int(96 * share) for share in pose.centre) for pose in poses)
    other_x, y = int(96 * poses[1].centre[0]), int(96 * poses[0].centre[1])
    assert pictures[0, y, x].tolist() == [214, 34, 40]
    assert pictures[1, y, x].tolist() == [255, 255, 255]
    assert pictures[0, other_y, other_x].tolist() == [35, 75, 220]
    assert pictures[2, other_y, other_x].tolist() == pictures[2, 1, 1].tolist()  # gone: the ground
    assert render_frames(spec, [], 96).shape == (0, 96, 96, 3)


@settings(max_examples=20, deadline=None)
@given(SPECS)
def test_pictures_of_two_sizes_are_the_same_picture(spec):
    times = [0.3, spec.starts[0] / 1000 + 0.6, spec.duration / 1000 - 0.1]
    large, small = render_frames(spec, times, 96).astype(float), render_frames(spec, times, 48).astype(float)
    halved = large.reshape(3, 48, 2, 48, 2, 3).mean(axis=(2, 4))
    assert np.abs(halved - small).mean() < 1.5


def test_order_contrast_shows_the_same_pictures_at_other_times():
    for spec, variant in contrast_specs("order", 30):
        ticks = [tick / 10 for tick in range(spec.duration // 100)]
        pictures = [
            [picture.tobytes() for picture in render_frames(video_spec, ticks, 32)] for video_spec in (spec, variant)
        ]
        assert Counter(pictures[0]) == Counter(pictures[1])
        assert pictures[0] != pictures[1]


@pytest.mark.parametrize("contrast", CONTRAST_SETS)
def test_contrast_pairs_are_true_of_their_own_video_alone(contrast):
    count = 60 if contrast == "role" else 250  # both of a pair of roles are seldom of the test split
    pairs = contrast_pairs(contrast, count)
    assert len(pairs) == count
    assert len({key(of_pair) for spec, _, variant, _ in pairs for of_pair in (spec, variant)}) == 2 * count
    for spec, caption, variant, other_caption in pairs:
        assert split_of(spec) == split_of(variant) == "test"
        assert caption in captions(spec)
        assert other_caption in captions(variant)
        assert not describes(spec, variant)
        assert not describes(variant, spec)


def test_contrast_accuracy_counts_captions_and_ties_are_wrong():
    right, wrong, tie, half = [[2, 1], [1, 2]], [[1, 2], [2, 1]], [[1, 1], [1, 1]], [[2, 1], [2, 1]]
    accuracy = contrast_accuracy(np.array([right, wrong, tie, half]))
    assert (accuracy.n, accuracy.accuracy) == (4, 37.5)
    assert accuracy.ci95[0] < 37.5 < accuracy.ci95[1]
    assert contrast_accuracy(np.array([right] * 250)).ci95 == pytest.approx((98.4867, 100), abs=1e-3)
    assert contrast_accuracy(np.array([right, wrong] * 50)).ci95 == pytest.approx((40.383, 59.617), abs=1e-3)


def test_each_caption_is_compared_over_the_two_videos() -> None:
    # The second caption likes the first video better, which nothing but its own row shows.
    assert contrast_accuracy(np.array([[[9, 1], [3, 2]]])).accuracy == 50.0
    assert contrast_accuracy(np.array([[[2, 3], [1, 9]]])).accuracy == 50.0
    assert contrast_accuracy(np.array([[[2, 1], [8, 9]]])).accuracy == 100.0  # whatever the captions' levels are


def test_a_data_set_says_of_which_videos_a_caption_is_true():
    dataset = dataset_of(split="train", count=300)
    assert isinstance(dataset, DescribingDataset)
    specs = dataset.specs()
    pairs = [(of, video) for of in range(0, 300, 7) for video in range(300)]
    true = [pair for pair in pairs if dataset.describes(*pair)]
    assert true == [(of, video) for of, video in pairs if describes(specs[of], specs[video])]
    assert {(of, of) for of in range(0, 300, 7)} <= set(true)


def test_twins_of_val_are_not_counted_by_the_option_for_train() -> None:
    many, one = (dataset_of(split="val", count=30, twins=twins) for twins in (5, 1))
    assert many.items == one.items == split("val", 30)
    assert [len(group) for group in many.groups()][:6] == [2, 1, 1, 2, 1, 1]


@pytest.mark.parametrize(
    ("name", "part"), [("train", "train"), ("val", "validate"), ("test", "test"), ("order", "test")]
)
def test_an_annotation_calls_splits_as_msrvtt_does(name: str, part: str) -> None:
    dataset = dataset_of(split=name, count=2)
    document = json.loads(files.annotation(dataset.samples()[:2], dataset.specs(), name, "1"))
    assert {entry["split"] for entry in document["videos"]} == {part}


def test_contrast_accuracy_refuses_what_it_cannot_rank():
    with pytest.raises(UsageError, match=r"not \(3, 2\)"):
        contrast_accuracy(np.zeros((3, 2)))
    with pytest.raises(UsageError, match=r"not \(0, 2, 2\)"):
        contrast_accuracy(np.zeros((0, 2, 2)))
    with pytest.raises(MetricsError, match="1 of 2 pairs"):
        contrast_accuracy(np.array([np.zeros((2, 2)), np.full((2, 2), np.nan)]))


def test_the_dataset_lists_samples_and_groups(tmp_path):
    dataset = dataset_of(split="train", count=90, twins=2, captions=3, root=tmp_path)
    assert isinstance(dataset, Dataset)
    samples = dataset.samples()
    assert (
        len(samples) == len({sample.id for sample in samples}) == len({sample.video.path for sample in samples}) == 90
    )
    assert [len(sample.captions) for sample in samples[:4]] == [3] * 4
    assert samples[-1] == samples[89] == list(samples)[-1]
    assert dataset.groups()[:2] == ((0, 1, 2), (3, 4, 5))
    assert [number for group in dataset.groups() for number in group] == list(range(90))
    specs = dataset.specs()
    assert specs[1] in [twin(specs[0], dataset.items[1].contrast, number) for number in range(20)]
    order = dataset_of(split="order", root=tmp_path)
    assert len(order.samples()) == 500
    assert [item.contrast for item in order.items[:4]] == ["", "order"] * 2
    assert set(map(len, order.groups())) == {2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tset"}, "split: .*'train', 'val', 'test'"),
        ({"split": "val", "count": 1001}, "val has 1,000 videos"),
        ({"size": 33}, "size: .*multiple of 2"),
        ({"captions": 21}, "captions: "),
        ({"split": "test", "skew": 1.0}, "skew: the split train alone may have a long tail, not test"),
        ({"split": "train", "skew": 2.5}, "skew: "),
        ({"split": "train", "twins": 2, "contrasts": ["role"]}, "twins: 2, of different kinds, and contrasts has 1"),
        ({"split": "train", "contrasts": []}, "contrasts: "),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(UsageError, match=message):
        dataset_of(**options)


def test_files_show_the_pictures_and_are_made_once(tmp_path):
    dataset = dataset_of(count=6, root=tmp_path, fps=5)
    ticks = []
    dataset.generate(limit=4, advance=lambda: ticks.append(1))
    assert len(ticks) == 4
    assert (dataset.pending(), dataset.pending(limit=5)) == ([4, 5], [4])
    times = [dataset.path(number).stat().st_mtime_ns for number in range(4)]
    dataset.generate(advance=lambda: ticks.append(1))
    assert len(ticks) == 6
    assert dataset.pending() == []
    assert times == [dataset.path(number).stat().st_mtime_ns for number in range(4)]
    sample, spec = dataset.samples()[0], dataset.specs()[0]
    info = video.probe(sample.video.path)
    assert (info.codec, info.width, info.height, info.fps) == ("h264", 96, 96, 5)
    assert info.duration == pytest.approx(spec.duration / 1000, abs=0.21)
    frames = video.frames_at(sample.video.path, [0.4, spec.starts[0] / 1000 + 0.8, spec.duration / 1000 - 0.4])
    assert np.abs(frames.pixels.astype(float) - render_frames(spec, frames.times, 96)).mean() < 4
    variant = dataset_of(count=6, root=tmp_path, fps=4)
    assert variant.pending() == list(range(6))  # another file, never a stale one


def test_many_files_are_made_by_several_processes(tmp_path):
    dataset = dataset_of(count=140, root=tmp_path, fps=1, size=32)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset.generate(workers=2, advance=stop)
    assert 100 < len(dataset.pending()) < 140, "what was not begun is not rendered first"
    dataset.generate(workers=2, limit=70)
    assert dataset.pending(70) == []
    alone = dataset_of(count=1, root=tmp_path / "alone", fps=1, size=32)
    alone.generate(workers=1)
    assert alone.path(0).read_bytes() == dataset.path(0).read_bytes()


def command(*words):
    app = typer.Typer()
    data.register(app)
    return CliRunner().invoke(app, ["data", "make", "moving_shapes", *map(str, words)])


def test_data_make_writes_msrvtts_layout_and_goes_on(tmp_path):
    root = tmp_path / "shapes"
    assert command(root, "--limit", 5, "--fps", 2).exit_code == 0
    document = json.loads((root / "test_videodatainfo.json").read_text(encoding="utf-8"))
    assert [entry["video_id"] for entry in document["videos"]] == [f"test{number:05d}" for number in range(5)]
    assert {entry["split"] for entry in document["videos"]} == {"test"}
    assert set(document["videos"][0]) == {"category", "url", "video_id", "start time", "end time", "split", "id"}
    assert [entry["sen_id"] for entry in document["sentences"]] == list(range(100))
    samples = plugins.build("datasets", "folder", {"root": root}).samples()
    assert [sample.captions for sample in samples] == [captions(item.spec) for item in split("test", 5)]
    bytes_of = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    (root / "videos" / "test00003.mp4").unlink()
    (root / "captions.tsv").unlink()
    assert "(1 new)" in command(root, "--limit", 5, "--fps", 2).output
    assert bytes_of == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    digest = hashlib.sha256(bytes_of[root / "test_videodatainfo.json"]).hexdigest()
    assert digest == "ef7856375aa37cb8cf29348ec3af842222265aaa4303cf552b4ff09d60626ba9"  # on every machine


def test_data_make_never_mixes_two_sets(tmp_path):
    assert command(tmp_path, "--limit", 1, "--fps", 2).exit_code == 0
    for words in (["--fps", 3], ["--split", "val"]):
        done = command(tmp_path, "--limit", 1, *words)
        assert isinstance(done.exception, UsageError)
        assert "holds other videos (test_videodatainfo.json): name a new folder" in str(done.exception)


def test_data_make_leaves_a_table_of_others_alone(tmp_path):
    (tmp_path / "captions.tsv").write_text("mine")
    done = command(tmp_path, "--limit", 1, "--fps", 2)
    assert "holds a captions.tsv of others: name a new folder" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["captions.tsv"]


def test_queries_that_say_a_part_are_true_where_they_say_so():
    dataset = plugins.build("datasets", "moving_shapes", {"split": "val", "count": 30})
    queries = dataset.partial_queries()
    assert set(queries) == {"events", "short"}
    assert all(query.sample in query.videos for kind in queries.values() for query in kind)
    names = [{thing.name for thing in spec.things} for spec in dataset.specs()]
    numbers = {"two": 2, "three": 3}
    things = [query for query in queries["short"][::2] if query.text.isascii()]
    assert len(things) > 5
    for query in things:
        first, colour, shape = f"a {query.text}".split()[-3:]
        number = numbers.get(first, 1)
        name = (colour, re.sub("(?<=ss)es$|(?<!s)s$", "", shape) if number > 1 else shape, number)
        assert query.videos == tuple(video for video, shown in enumerate(names) if name in shown), query
    assert dataset.partial_queries() == queries
