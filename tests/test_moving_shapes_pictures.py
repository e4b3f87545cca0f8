"""What pictures of moving shapes show, and what is said of a moment."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from test_moving_shapes import SPECS, scene

from mmi_tvr.datasets._moving_shapes.generate import contrast_specs
from mmi_tvr.datasets._moving_shapes.motion import Motion
from mmi_tvr.datasets._moving_shapes.world import PASSING
from mmi_tvr.datasets.moving_shapes import render_frames, stills, visible_shapes

TIMES = np.arange(0, 10, 0.1)


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
def test_what_moves_does_as_told_and_stays_in_the_picture(spec):
    motion = Motion(spec)
    for time in TIMES:
        poses = motion.at(time)
        assert len(poses) == len(spec.things) > 0
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


@pytest.mark.parametrize("kind", ["order", "order3"])
def test_order_contrast_shows_the_same_pictures_at_other_times(kind):
    pairs = contrast_specs(kind, 15)
    assert len(pairs) == 15
    for spec, variant in pairs:
        ticks = [tick / 10 for tick in range(spec.duration // 100)]
        pictures = [
            [picture.tobytes() for picture in render_frames(video_spec, ticks, 32)] for video_spec in (spec, variant)
        ]
        assert Counter(pictures[0]) == Counter(pictures[1])
        assert pictures[0] != pictures[1]
