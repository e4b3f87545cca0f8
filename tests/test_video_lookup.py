"""What a re-ranker sees of a library's videos: times, cached features, and features that are made once more."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from fakes import FakeModel, clipped

from mmi_tvr import plugins
from mmi_tvr.errors import MediaError
from mmi_tvr.features.cache import FeatureCache, sampling_fingerprint
from mmi_tvr.library import Library
from mmi_tvr.library.video_lookup import VideoLookup


@pytest.fixture
def looked_up(folder, library):
    """The view of the red video, its segments, and the model that would make its features once more."""
    library.index(folder)
    with Library(library.path, model=FakeModel(), relevance=clipped) as reader:
        catalogue, model = reader._reader.catalogue(), FakeModel()
        method = plugins.build("keyimages", "disparity")
        [number] = [
            number
            for number, entry in catalogue.entries(catalogue.searchable()).items()
            if entry.paths[0].name == "red.mp4"
        ]
        lookup = VideoLookup(library.path / "features", lambda: catalogue, model, method)
        segments = catalogue.entries([number])[number][1]
        yield lookup([number, 99])[number], segments, model, sampling_fingerprint(model, method)


def test_a_view_is_of_the_key_images_of_its_content(looked_up):
    view, segments, _, sampling = looked_up
    assert view.times == tuple(segments[:, 2])
    assert view.key_images == sampling
    assert len(view.content) == 64
    assert [picture.shape[2] for picture in view.pictures()] == [3] * len(segments)


def test_features_come_from_the_cache(looked_up):
    view, segments, model, _ = looked_up
    features = view.features()
    np.testing.assert_array_equal(features.segments, segments)
    assert features.arrays["mean"][0][0] > 200  # red
    assert model.images_encoded == 0


def test_a_reader_tidies_nothing_away(library, looked_up):
    view, *_ = looked_up
    leftover = library.path / "features" / ".shard.tmp"
    leftover.write_bytes(b"half")
    os.utime(leftover, (0, 0))
    view.features()
    assert leftover.exists()


def test_lost_features_are_made_once_more_from_a_file_that_is_there(folder, library, looked_up):
    view, segments, model, _ = looked_up
    shutil.rmtree(library.path / "features")
    features = view.features()
    assert model.images_encoded == len(segments)
    assert features.arrays["mean"][0][0] > 200


def test_of_several_copies_one_that_is_there_is_read(folder, library):
    shutil.copy(folder / "part0" / "red.mp4", folder / "zzz.mp4")
    library.index(folder)
    catalogue, model = library._reader.catalogue(), FakeModel()
    lookup = VideoLookup(library.path / "none", lambda: catalogue, model, plugins.build("keyimages", "disparity"))
    views = lookup(catalogue.searchable())
    (folder / "part0" / "red.mp4").unlink()
    assert all(view.features().arrays["mean"].shape[1] == 3 for view in views.values())
    assert len(FeatureCache(library.path / "none")) == 0  # a reader adds nothing to the cache


def test_a_video_without_features_and_files_raises_its_media_error(folder, library, looked_up):
    view, *_ = looked_up
    shutil.rmtree(library.path / "features")
    (folder / "part0" / "red.mp4").unlink()
    with pytest.raises(MediaError, match=r"red.mp4"):
        view.features()
