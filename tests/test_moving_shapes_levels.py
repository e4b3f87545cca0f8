"""Moving shapes by level: exact labels, the contrast set of roles, and a long tail in train."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from test_moving_shapes import SPECS, dataset_of, scene

from mmi_tvr.datasets._moving_shapes.generate import contrast_specs
from mmi_tvr.datasets._moving_shapes.labels import caption_labels, video_labels
from mmi_tvr.datasets._moving_shapes.tail import classes_of, long_tail
from mmi_tvr.datasets._moving_shapes.world import MOVES, Event, chase_direction, key, split_of
from mmi_tvr.datasets.moving_shapes import ACTIONS, COLOURS, ENTITIES, OPPOSITE, SHAPES, captions
from mmi_tvr.errors import UsageError
from mmi_tvr.protocols import LabelledDataset
from mmi_tvr.types import Labels, Triplet


def test_the_role_set_differs_in_who_chases_whom_alone():
    for spec, variant in contrast_specs("role", 60):
        events, others = list(spec.events), list(variant.events)
        (chase,) = [number for number, event in enumerate(events) if event.action == "chases"]
        assert chase_direction(spec, events[chase]) == chase_direction(variant, others[chase])
        assert (events[chase].actor, events[chase].other) == (others[chase].other, others[chase].actor)
        events[chase] = others[chase]
        assert replace(spec, events=tuple(events), relation=OPPOSITE[spec.relation]) == variant
        assert not spec.relation_stated
        assert not any(words in caption for caption in captions(spec) for words in (" above", " below", " left of"))
    assert len({key(spec) for pair in contrast_specs("role", 60) for spec in pair}) == 120


def test_train_may_have_twins_by_role():
    dataset = dataset_of(split="train", count=8, contrasts=["role", "colour"])
    assert [item.contrast for item in dataset.items] == ["", "role", "", "colour"] * 2
    for first, second in dataset.groups():
        assert split_of(dataset.specs()[first]) == split_of(dataset.specs()[second]) == "train"


def test_labels_are_what_is_said_and_what_is_true():
    spec = scene((0, "chases", 1), (1, "spins"), things=[("red", "ring", 1), ("blue", "cross", 2)])
    expected = Labels(
        ("red", "ring", "one", "red ring", "blue", "cross", "two", "blue cross"),
        ("chases", "spins"),
        (
            Triplet("ring", "chases", "cross"),
            Triplet("cross", "spins", ""),
            Triplet("ring", "left of", "cross"),
            Triplet("cross", "right of", "ring"),
        ),
    )
    assert caption_labels(spec) == video_labels(spec) == expected
    silent = replace(spec, relation_stated=False, events=(Event(1, "up"), Event(0, "up")))
    assert caption_labels(silent).relations == (Triplet("cross", "moves", "up"), Triplet("ring", "moves", "up"))
    assert video_labels(silent).relations == (*caption_labels(silent).relations, *expected.relations[2:])


@settings(max_examples=60)
@given(SPECS)
def test_labels_of_any_video_are_words_of_the_world(spec):
    labels = video_labels(spec)
    assert set(labels.entities) <= set(ENTITIES)
    assert len(ENTITIES) == 65
    assert set(labels.actions) == {event.action for event in spec.events}
    assert set(caption_labels(spec).relations) <= set(labels.relations)
    shapes = {thing.shape for thing in spec.things}
    assert {triplet.subject for triplet in labels.relations} <= shapes
    assert {triplet.object for triplet in labels.relations} <= shapes | {"", *MOVES}
    text = " ".join(captions(spec)[:15])
    assert all(thing.colour in text and thing.shape in text for thing in spec.things)


def test_the_data_set_gives_labels_of_videos_and_of_each_caption():
    dataset = dataset_of(split="train", count=6, captions=3)
    assert isinstance(dataset, LabelledDataset)
    assert dataset.video_labels(5) == video_labels(dataset.specs()[5])
    assert dataset.caption_labels(5) == [caption_labels(dataset.specs()[5])] * len(dataset.samples()[5].captions)


def test_a_skew_gives_train_a_long_tail_and_the_twins_too():
    flat, skewed = (dataset_of(split="train", count=1500, skew=skew) for skew in (0.0, 1.5))
    counts = [Counter(name for spec in dataset.specs() for name in classes_of(spec)) for dataset in (flat, skewed)]
    for names in (COLOURS, SHAPES):
        ratios = [max(count[name] for name in names) / min(count[name] for name in names) for count in counts]
        assert ratios[0] < 1.5
        assert ratios[1] > 8
    weights = long_tail(1.5).weights
    ranked = sorted(ACTIONS, key=weights.__getitem__, reverse=True)
    ratios = [weights[ranked[0]] / weights[name] for name in ranked]
    assert ratios == pytest.approx([rank**1.5 for rank in range(1, 15)], rel=1e-4)
    assert counts[1][ranked[0]] > 10 * counts[1][ranked[-1]] > 0
    common = sorted(COLOURS, key=weights.__getitem__)[-2:]
    changed = [twin_spec for first, twin_spec in pairs_of_twins(skewed, "colour")]
    assert sum(thing.colour in common for spec in changed for thing in spec.things) > 0.6 * sum(
        len(spec.things) for spec in changed
    )
    assert skewed.groups() == flat.groups()
    assert dataset_of(split="train", count=300, skew=1.5).specs() == skewed.specs()[:300]


def pairs_of_twins(dataset, contrast):
    specs = dataset.specs()
    return [(specs[n - 1], specs[n]) for n, item in enumerate(dataset.items) if item.contrast == contrast]


def test_a_skew_that_leaves_a_class_empty_is_one_clear_line():
    with pytest.raises(UsageError, match=r"with skew 2 none of the 40 training videos shows .*, .*: take more videos"):
        dataset_of(split="train", count=40, skew=2).samples()[0]
    assert len(dataset_of(split="train", count=5).samples()) == 5  # without a skew nobody counts


def test_exported_training_videos_of_another_tail_are_not_mixed(tmp_path):
    size = {"split": "train", "count": 400, "fps": 1, "size": 32}
    dataset_of(**size).export(tmp_path, limit=1)
    for options in ({"skew": 0.1}, {"twins": 0}):
        dataset = dataset_of(**size, **options)
        with pytest.raises(UsageError, match="holds other videos"):
            dataset.export(tmp_path, limit=1)
