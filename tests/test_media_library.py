"""Pictures, recordings and films in one library: what is taken in, as what, and what becomes of it."""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import odd_pictures
import picture_files
import pytest
from fakes import COLOURS, FakeModel, clipped, colour_video
from media_files import make_sound
from odd_media import MOST_MEMORY, most_memory
from PIL import Image, TiffImagePlugin
from serving import served

from mmi_tvr import plugins
from mmi_tvr.encoder import Encoder
from mmi_tvr.library import Library
from mmi_tvr.media.facts import read_facts
from mmi_tvr.media.names import is_media
from mmi_tvr.report import search_page
from mmi_tvr.types import Embeddings, MediaFacts
from mmi_tvr.utils.environment import DECODE_WORKERS

LIVE = "4B2E9B2C-0000-4000-8000-000000000001"


def picture(path: Path, colour: str, size: tuple[int, int] = (64, 48), format: str | None = None, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, COLOURS[colour]).save(path, format, **options)
    return path


def taken(date: str, offset: str, latitude: tuple[float, ...] = ()) -> Image.Exif:
    """EXIF data of a photo that was taken at a date, on the equator's Greenwich or so many degrees north of it."""
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({36867: date, 36881: offset})
    if latitude:
        exif.get_ifd(0x8825).update({1: "N", 2: latitude, 3: "W", 4: (8.0, 30.0, 0.0)})
    return exif


def clip(path: Path, colour: str, seconds: float = 2.0, **metadata: str) -> Path:
    """A film with metadata, as phones write it."""
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as output:
        output.metadata.update(metadata)
        stream = output.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        shown = np.full((64, 96, 3), COLOURS[colour], np.uint8)
        for _ in range(round(4 * seconds)):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        output.mux(stream.encode())
    return path


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A red picture, a green film, a recording."""
    folder = tmp_path / "media"
    picture(folder / "red.jpg", "red", exif=taken("2024:02:29 12:30:00", "+02:00", (47.0, 15.0, 0.0)))
    colour_video(folder / "green.mp4", "green")
    make_sound(folder / "talk.m4a", 1.5)
    return folder


def paths(library: Library, query: str) -> list[str]:
    return [hit.path.name for hit in library.search(query, min_relevance=0)]


def facts_of(library: Library, name: str) -> MediaFacts:
    catalogue = library._reader.catalogue()
    items = catalogue.entries(catalogue.searchable()).values()
    return next(item.facts for item in items if any(path.name == name for path in item.paths))


def test_pictures_recordings_and_films_are_taken_in(media, library):
    report = library.index(media)
    assert (report.added, report.embedded, report.quarantined) == (3, 2, ())
    status = library.status()
    assert status.as_dict()["kinds"] == {"video": 1, "image": 1, "audio": 1}
    assert (status.videos, status.unseen, status.pending) == (3, 1, 0)
    hit, film = library.search("red", min_relevance=0)
    assert (hit.path.name, hit.kind, hit.start, hit.end, hit.time) == ("red.jpg", "image", 0, 0, 0)
    assert (film.kind, film.end > 0) == ("video", True)
    document = hit.as_dict()
    assert (document["kind"], document["date"]) == ("image", "2024-02-29T12:30:00+02:00")
    assert hit.facts.latitude == pytest.approx(47.25)
    assert hit.facts.longitude == pytest.approx(-8.5)
    again = library.index()
    assert (again.unchanged, again.embedded) == (3, 0)
    assert library.search("red").coverage.searched == 2


def test_the_kind_goes_by_the_bytes(tmp_path, library):
    folder = tmp_path / "media"
    picture(folder / "blue.mp4", "blue", format="PNG")
    colour_video(folder / "green.mp4", "green").rename(folder / "green.jpg")
    make_sound(folder / "talk.m4a").rename(folder / "talk.mp4")
    shutil.copy(picture(tmp_path / "x.png", "red"), folder / "red.mp3")
    library.index(folder)
    assert library.status().kinds == {"video": 1, "image": 2, "audio": 1}
    assert [facts_of(library, name).kind for name in ("blue.mp4", "green.jpg", "red.mp3")] == [
        "image",
        "video",
        "image",
    ]
    assert paths(library, "blue")[0] == "blue.mp4"


def test_a_picture_that_a_film_replaces_is_a_film(media, library):
    library.index(media)
    os.replace(colour_video(media.parent / "blue.mp4", "blue"), media / "red.jpg")
    assert library.index().changed == 1
    assert facts_of(library, "red.jpg").kind == "video"
    assert library.status().kinds == {"video": 2, "image": 0, "audio": 1}
    assert paths(library, "blue")[0] == "red.jpg"


def test_an_animation_is_a_short_film(tmp_path, library):
    frames = [Image.new("RGB", (64, 48), COLOURS[name]) for name in ("red", "red", "blue", "blue")]
    (tmp_path / "media").mkdir()
    frames[0].save(tmp_path / "media" / "a.gif", save_all=True, append_images=frames[1:], duration=500)
    library.index(tmp_path / "media")
    [hit] = library.search("blue", min_relevance=0)
    assert (hit.kind, hit.start, hit.end) == ("image", pytest.approx(1.0), pytest.approx(2.0))


def test_a_live_photo_is_one_item_with_two_files(tmp_path, library):
    folder = tmp_path / "media"
    picture(folder / "IMG_1.JPG", "red")
    clip(folder / "IMG_1.MOV", "blue", **{"com.apple.quicktime.content.identifier": LIVE})
    clip(folder / "trip.mp4", "green", seconds=10)  # a film, and its cover
    picture(folder / "trip.jpg", "yellow")
    library.index(folder)
    assert library.status().kinds == {"video": 1, "image": 2, "audio": 0}
    assert library.status().files == 4
    hits = {hit.path.name: hit for hit in library.search("blue", min_relevance=0)}
    assert sorted(hits) == ["IMG_1.JPG", "trip.jpg", "trip.mp4"]
    assert hits["IMG_1.JPG"].as_dict()["companions"] == [str(folder / "IMG_1.MOV")]
    assert hits["trip.jpg"].companions == ()


def test_files_of_different_folders_are_different_items(tmp_path, library):
    folder = tmp_path / "media"
    picture(folder / "x" / "IMG.jpg", "red")
    for elsewhere in (folder / "x" / "sub", folder / "xy", folder):
        elsewhere.mkdir(exist_ok=True)
        clip(elsewhere / "IMG.mov", "blue", seconds=1.0 + len(elsewhere.name) / 4)
    library.index(folder)
    assert library.status().kinds == {"video": 3, "image": 1, "audio": 0}
    clip(folder / "x" / "IMG.mov", "green")
    picture(folder / "x" / "other.jpg", "white")
    library.index()
    assert library.status().kinds == {"video": 3, "image": 2, "audio": 0}


def test_a_clip_that_was_embedded_before_its_picture_was_looked_at_is_its_companion(tmp_path, library, monkeypatch):
    monkeypatch.setattr("mmi_tvr.library.first_look._MANY", 2)
    monkeypatch.setattr("mmi_tvr.library.first_look._FIRST", 1)
    folder = tmp_path / "media"
    picture(folder / "A.jpg", "red")
    clip(folder / "A.MOV", "blue", **{"com.apple.quicktime.content.identifier": LIVE})
    library.index(folder)
    [hit] = library.search("blue", min_relevance=0)
    assert (hit.path.name, [path.name for path in hit.companions]) == ("A.jpg", ["A.MOV"])


def test_the_files_of_a_live_photo_are_told_by_the_id_that_they_share(tmp_path, library):
    folder = tmp_path / "media"
    note = b"Apple iOS\0\0\1MM" + struct.pack(">HHHII", 1, 17, 2, len(LIVE) + 1, 28) + LIVE.encode() + b"\0"
    exif = Image.Exif()
    exif.get_ifd(0x8769)[37500] = note
    picture(folder / "IMG_E7.jpg", "red", exif=exif)  # edited: its name is another one than the clip's
    clip(folder / "IMG_7.mov", "blue", **{"com.apple.quicktime.content.identifier": LIVE})
    picture(folder / "IMG_7.jpg", "green")
    library.index(folder)
    hits = {hit.path.name: hit for hit in library.search("blue", min_relevance=0)}
    assert {name: [path.name for path in hit.companions] for name, hit in hits.items()} == {
        "IMG_E7.jpg": ["IMG_7.mov"], "IMG_7.jpg": [],
    }  # fmt: skip


def test_a_photo_whose_extra_is_missing_waits_for_it(tmp_path, library, monkeypatch):
    pytest.importorskip("pi_heif")
    monkeypatch.setenv(DECODE_WORKERS, "0")
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "a.heic").write_bytes(picture_files.heic())
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pi_heif", None)
        [(_, reason)] = library.index(folder).quarantined
    assert "pip install" in reason
    assert (library.status().pending, library.status().quarantined) == (1, ())
    assert library.index().quarantined == ()
    assert library.status().kinds == {"video": 0, "image": 1, "audio": 0}


def test_what_is_left_of_a_live_photo_is_an_item(tmp_path, library):
    folder = tmp_path / "media"
    photo, film = picture(folder / "a.jpg", "red"), clip(folder / "a.mov", "blue")
    library.index(folder)
    photo.rename(tmp_path / "a.jpg")
    report = library.index()
    assert (report.embedded, report.removed) == (1, (photo,))
    assert [(hit.path, hit.kind) for hit in library.search("blue", min_relevance=0)] == [(film, "video")]
    (tmp_path / "a.jpg").rename(photo)  # and back
    library.index()
    assert [hit.path for hit in library.search("blue", min_relevance=0)] == [photo]
    assert library.status().pending == 0
    film.unlink()
    library.index()
    [hit] = library.search("red", min_relevance=0)
    assert (hit.path, hit.companions) == (photo, ())


def test_a_raw_photo_belongs_to_the_picture_that_comes_later(tmp_path, library):
    folder = tmp_path / "media"
    raw = picture(folder / "b.tif", "red").rename(
        folder / "b.nef"
    )  # a RAW photo by its name; it may be unreadable here
    library.index(folder)
    photo = picture(folder / "b.jpg", "red")
    library.index()
    [hit] = library.search("red", min_relevance=0)
    assert (hit.path, hit.companions) == (photo, (raw,))
    assert library.status().quarantined == ()
    assert library.status().pending == 0
    photo.unlink()
    library.index()
    assert library.status().files == 1


def test_what_a_kill_left_unpaired_is_paired_by_the_next_run(tmp_path, library, monkeypatch):
    folder = tmp_path / "media"
    picture(folder / "a.jpg", "red")
    clip(folder / "a.mov", "blue")

    def killed(catalogue):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmi_tvr.library.indexing.pair_files", killed)
        with pytest.raises(KeyboardInterrupt):
            library.index(folder)
    library.index()
    assert library.status().kinds == {"video": 0, "image": 1, "audio": 0}


def test_who_removes_a_live_photo_removes_both_files(tmp_path, library):
    folder = tmp_path / "media"
    photo = picture(folder / "a.jpg", "red")
    film = clip(folder / "a.mov", "blue")
    library.index(folder)
    assert library.remove(photo) == (photo, film)
    assert library.status().files == 0


def test_a_broken_clip_of_the_same_name_is_no_companion(tmp_path, library):
    folder = tmp_path / "media"
    picture(folder / "a.jpg", "red")
    (folder / "a.mov").write_bytes(b"this is no film" * 100)
    report = library.index(folder)
    assert [path.name for path, _ in report.quarantined] == ["a.mov"]
    [hit] = library.search("red", min_relevance=0)
    assert hit.companions == ()


def test_what_a_folder_keeps_to_itself_is_passed_over(tmp_path, library):
    folder = tmp_path / "media"
    picture(folder / "red.jpg", "red")
    for name in (".git", "@eaDir", "#recycle", ".Trash-1000", "hidden"):
        picture(folder / name / "blue.jpg", "blue")
    (folder / "hidden" / ".nomedia").touch()
    picture(folder / "hidden" / "below" / "blue.jpg", "blue")
    picture(folder / "._red.jpg", "blue", format="JPEG")
    (folder / "red.jpg.xmp").write_text("<x/>")
    (folder / ".trackerignore").touch()  # of the folder that was named: it is meant
    library.index(folder)
    assert paths(library, "blue") == ["red.jpg"]


def test_a_recording_that_holds_no_sound_is_set_aside(tmp_path, library):
    folder = tmp_path / "media"
    whole = make_sound(tmp_path / "talk.m4a", 3.0).read_bytes() if folder.mkdir() is None else b""
    (folder / "cut.m4a").write_bytes(whole[: len(whole) // 4])
    (folder / "text.mp3").write_text("la la la\n" * 300)
    (folder / "empty.wav").touch()
    report = library.index(folder)
    assert report.added == 0
    assert {path.name for path, _ in report.quarantined} == {"cut.m4a", "text.mp3", "empty.wav"}


def test_recordings_alone_are_a_library_in_which_nothing_is_seen(tmp_path, library):
    folder = tmp_path / "media"
    folder.mkdir()
    make_sound(folder / "talk.m4a", 1.5)
    library.index(folder)
    assert library.status().kinds == {"video": 0, "image": 0, "audio": 1}
    assert not library.search("red")
    library.index(rebuild=True)
    assert library.status().unseen == 1
    library.remove(folder)
    assert library.status().videos == 0


def test_a_rebuild_and_a_retry_keep_all_kinds(media, library):
    (media / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    library.index(media)
    library.index(rebuild=True)
    assert library.status().kinds == {"video": 1, "image": 1, "audio": 1}
    picture(media / "bad.jpg", "blue")
    assert library.index(retry=True).quarantined == ()
    assert paths(library, "blue")[0] == "bad.jpg"


def test_a_copy_and_a_picture_that_moved_cost_nothing(media, library):
    library.index(media)
    model = FakeModel()
    shutil.copy2(media / "red.jpg", media / "copy.jpg")
    (media / "talk.m4a").rename(media / "speech.m4a")
    with Library(library.path, model=model, relevance=clipped) as opened:
        report = opened.index()
        assert (report.copies, report.moved, model.images_encoded) == (1, 1, 0)
        hit = opened.search("red")[0]
    assert {hit.path.name, *(path.name for path in hit.copies)} == {"copy.jpg", "red.jpg"}


def test_an_older_library_learns_what_its_videos_are_without_embedding_them(media, library):
    library.index(media)
    with library._reader.catalogue().transaction():
        library._reader.catalogue().connection.execute("DELETE FROM media_facts WHERE kind != 'audio'")
    assert facts_of(library, "green.mp4").width is None
    model = FakeModel()
    with Library(library.path, model=model) as opened:
        assert opened.index().embedded == 0
        assert facts_of(opened, "green.mp4").width == 48
        assert facts_of(opened, "red.jpg").kind == "image"
    assert model.images_encoded == 0


def test_pages_show_pictures_as_pictures(media, library):
    library.index(media)
    page = search_page(library.search("red", top=1, min_relevance=0))
    assert '<img src="data:image/jpeg' in page
    assert f'href="{(media / "red.jpg").as_uri()}"' in page  # whole, without a moment
    assert "<video" not in page


def test_a_service_shows_and_sends_all_kinds(media, library):
    shutil.copy(media / "red.jpg", media / "red.mp4")
    picture(media / "blue.mp4", "blue", format="PNG")
    library.index(media)
    with served(library) as client:
        items = {Path(item["paths"][0]).name: item for item in client.get("/api/items").json()["items"]}
        assert {name: item["kind"] for name, item in items.items()} == {
            "red.jpg": "image", "green.mp4": "video", "talk.m4a": "audio", "blue.mp4": "image",
        }  # fmt: skip
        assert (items["red.jpg"]["width"], items["red.jpg"]["seconds"]) == (64, 0)
        photo, talk = (f"/api/items/{items[name]['id']}" for name in ("red.jpg", "talk.m4a"))
        reply = client.get(f"{photo}/thumbnail?second=7&size=32")
        assert (reply.status, reply.headers["content-type"]) == (200, "image/jpeg")
        with Image.open(BytesIO(reply.body)) as thumbnail:
            red, _, blue = thumbnail.resize((1, 1)).getpixel((0, 0))
        assert red > 200 > 100 > blue
        assert client.get(f"{talk}/thumbnail").status == 422
        assert client.get(f"{photo}/media").headers["content-type"] == "image/jpeg"
        reply = client.get(f"{talk}/media", Range="bytes=0-9")
        assert (reply.status, reply.headers["content-type"], len(reply.body)) == (206, "audio/mp4", 10)
        assert client.get(f"/api/items/{items['blue.mp4']['id']}/media").headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (
            {
                "com.apple.quicktime.creationdate": "2024-02-29T12:30:00+0100",
                "creation_time": "2020-01-01T00:00:00Z",
                "com.apple.quicktime.location.ISO6709": "+48.8584+002.2945+035.000/",
                "com.apple.quicktime.content.identifier": LIVE,
            },
            MediaFacts("video", 2.0, 96, 64, 1709206200.0, 3600, "container", 48.8584, 2.2945, LIVE),
        ),
        ({"location": "-33.8-070.6/"}, MediaFacts("video", 2.0, 96, 64, 1e9, None, "file", -33.8, -70.6)),
        ({"creation_time": "1904-01-01T00:00:00Z"}, MediaFacts("video", 2.0, 96, 64, 1e9, None, "file")),
        ({"creation_time": "2999-01-01T00:00:00Z"}, MediaFacts("video", 2.0, 96, 64, 1e9, None, "file")),
        ({"creation_time": "2024-13-45T00:00:00Z"}, MediaFacts("video", 2.0, 96, 64, 1e9, None, "file")),
    ],
)
def test_what_a_film_says_of_itself(tmp_path, metadata, expected):
    film = clip(tmp_path / "a.mov", "red", **metadata)
    os.utime(film, (1e9, 1e9))
    assert read_facts(film) == expected


def test_the_date_of_a_picture_without_one_is_its_files(tmp_path):
    photo = picture(tmp_path / "a.png", "red")
    os.utime(photo, (1e9, 1e9))
    assert read_facts(photo) == MediaFacts("image", 0.0, 64, 48, 1e9, None, "file")


def test_an_encoder_takes_pictures_by_their_paths(media):
    encoder = Encoder(FakeModel(), plugins.build("keyimages", "disparity", {}))
    photo, film = encoder.embed([media / "red.jpg", media / "green.mp4"])
    assert isinstance(photo, Embeddings)
    assert isinstance(film, Embeddings)
    assert photo.segments.tolist() == [[0, 1, 0]]
    assert encoder.similarity(encoder.encode_query(["red"]), [photo, film])[0].argmax() == 0


def test_a_page_of_a_file_that_holds_several(tmp_path, library):
    pages = [Image.new("RGB", (64, 48), COLOURS[name]) for name in ("red", "blue")]
    (tmp_path / "media").mkdir()
    with TiffImagePlugin.AppendingTiffWriter(str(tmp_path / "media" / "scan.tif"), True) as output:
        for page in pages:
            page.save(output, "TIFF")
            output.newFrame()
    library.index(tmp_path / "media")
    [hit] = library.search("blue", min_relevance=0)
    assert (hit.time, hit.facts.seconds) == (1.0, 2.0)
    assert json.dumps(hit.as_dict())


def test_odd_pictures_are_taken_in_or_set_aside_with_their_reason(tmp_path, library):
    """Decompression bombs, 100 megapixels, CMYK, 16 bits, EXIF lies, damage: as `test_pictures` has them one by one."""
    folder = tmp_path / "media"
    folder.mkdir()
    recipes = {recipe.name: recipe.reason for recipe in odd_pictures.write(folder) if is_media(recipe.name)}
    quarantined = {path.name: reason for path, reason in library.index(folder).quarantined}
    assert quarantined == {name: reason for name, reason in recipes.items() if reason}
    assert library.status().videos + len(quarantined) >= len(recipes) - 1  # two of them have the same bytes, if any
    assert most_memory() < MOST_MEMORY


def test_a_run_without_news_opens_no_file(media, library, monkeypatch):
    """Which is why a library of 100,000 files is looked through within seconds (`scripts/bench.py media`)."""
    for number in range(20):
        picture(media / "album" / f"{number}.png", "blue", size=(20 + number, 20))
    library.index(media)

    def opened(*arguments: object) -> None:
        raise AssertionError(f"opens {arguments}")

    monkeypatch.setattr("mmi_tvr.library.file_tags.file_digest", opened)
    monkeypatch.setattr("mmi_tvr.media.guarded.DecoderPool._request", opened)
    report = library.index()
    assert (report.unchanged, report.added, report.changed) == (23, 0, 0)
    (media / "album" / "0.png").write_bytes(b"changed")
    with pytest.raises(AssertionError, match=r"0\.png"):
        library.index()
