"""Small annotations in the formats of the official files, about videos that nobody has, and the folders to match."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MSVD_IDS = {"train": ["-a_b_0_4", "_cd-_3_9"], "val": ["ef_1_2"], "test": ["gh_10_12", "-i_2_5"]}
VATEX_IDS = {"train": ["tr_000001_000011"], "val": ["va_000002_000012"], "test": ["te_t_000003_000013"]}
ACTIVITY = {
    "train": [f"v_train{number}" for number in range(8)],
    "val_1": ["v_test0", "v_-test1"],
    "val_2": ["v_test0"],
}
DIDEMO = {
    "train": ["1@N_a.mov", "1@N_b.mp4"],
    "val": ["2@N_c."],
    "test": ["3@N_d.avi", "3@N_e.3gp", "3@N_unlisted.mp4"],
}
HIGHLIGHTS = {
    "train": ["a_-b_0.0_150.0", "c_60.0_210.0"],
    "val": ["d_0.0_150.0"],
    "test": ["e_f_150.0_300.0"],
}
COCO_PICTURES = {"train": [9, 25], "restval": [42], "val": [71], "test": [391895, 73]}
KITCHEN_FILMS = {"train": ["P01_01", "P01_02", "P02_01"], "test": ["P01_11", "P02_12"]}
LSMDC_CLIPS = {
    "training": ["3011_BLIND_00.00.01.000-00.00.02.500", "3011_BLIND_00.00.01.000-00.00.02.500"],
    "val": ["1006_Slum_00.25.49.077-00.25.54.718"],
    "test": ["0001_Beauty_00.02.29.298-00.02.30.004"],
}


def lines(path: Path, words: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return path


def document(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def msrvtt_clip(number: int, part: str, source: str | None = None, start: float = 0.0) -> dict[str, Any]:
    return {
        **{"video_id": f"video{number}", "id": number, "category": 3, "split": part},
        **{"url": f"https://www.youtube.com/watch?v={source or f'yt{number}'}", "start time": start},
        "end time": start + 10.0,
    }


def msrvtt(folder: Path, captions: Mapping[str, Sequence[str]] | None = None) -> Path:
    """Ten clips: 0 to 4 train, 5 validate, 6 to 9 test, of which 8 and 9 are 1k-A's. Clips 6 and 8 share a source, and
    8's stretch meets that of 6."""
    parts = ["train"] * 5 + ["validate"] + ["test"] * 4
    shared = {6: ("yt", 0.0), 8: ("yt", 5.0), 9: ("yt", 60.0)}
    videos = [msrvtt_clip(number, part, *shared.get(number, ())) for number, part in enumerate(parts)]
    captions = captions or {f"video{number}": (f"clip {number}, one", f"clip {number}, two") for number in range(10)}
    sentences = [{"video_id": name, "caption": text} for name, texts in captions.items() for text in texts]
    sentences = [{**sentence, "sen_id": number} for number, sentence in enumerate(sentences[::2] + sentences[1::2])]
    document(folder / "MSRVTT_data.json", {"info": {"year": "2016"}, "videos": videos, "sentences": sentences})
    rows = [f'ret{number},msr{number},{name},"{captions[name][0]}"' for number, name in enumerate(("video9", "video8"))]
    lines(folder / "MSRVTT_JSFUSION_test.csv", ["key,vid_key,video_id,sentence", *rows])
    return folder


def msvd(folder: Path) -> Path:
    """Two sentences a video, the first of them twice; the Chinese ones are one a video."""
    for split, ids in MSVD_IDS.items():
        lines(folder / f"{split}_list.txt", ids)
    ids = [name for names in MSVD_IDS.values() for name in names]
    sentences = {name: [f"{name} runs", f"{name} runs", f"{name} eats"] for name in ids}
    document(folder / "captions_msvd.json", sentences)
    lines(folder / "youtube_mapping.txt", [f"{name} vid{number}" for number, name in enumerate(ids, start=1)])
    rows = [f"{number * 2},vid{number}.mp4,第{number}个人" for number, _ in enumerate(ids, start=1)]
    lines(folder / "msvd_cn_captions_release_utf8.csv", ["id,video_id,sentence", *rows])
    return folder


def msvd_pickle(folder: Path) -> Path:
    """MSVD with its English sentences as a pickle of words."""
    sentences = json.loads((msvd(folder) / "captions_msvd.json").read_text(encoding="utf-8"))
    (folder / "captions_msvd.json").unlink()
    words = {name: [text.split() for text in texts] for name, texts in sentences.items()}
    (folder / "raw-captions.pkl").write_bytes(pickle.dumps(words, protocol=2))
    return folder


def vatex(folder: Path) -> Path:
    """Two sentences a video and language."""
    for split, ids in VATEX_IDS.items():
        lines(folder / f"{split}_list.txt", ids)
    for name, splits in (("training", ("train",)), ("validation", ("val", "test"))):
        records = [
            {"videoID": id_, "enCap": [f"{id_} one", f"{id_} two "], "chCap": [f"{id_} 一", f"{id_} 二"]}
            for split in splits
            for id_ in VATEX_IDS[split]
        ]
        document(folder / f"vatex_{name}_v1.0.json", records)
    return folder


def lsmdc(folder: Path) -> Path:
    times = "00.00.00.000\t00.00.04.000\t00.00.00.500\t00.00.03.500"
    names = {
        "training": "LSMDC16_annos_training.csv",
        "val": "LSMDC16_annos_val.csv",
        "test": "LSMDC16_challenge_1000_publictect.csv",
    }
    for split, clips in LSMDC_CLIPS.items():
        lines(
            folder / names[split], [f'{clip}\t{times}\tSOMEONE says "{number}".' for number, clip in enumerate(clips)]
        )
    return folder


def didemo(folder: Path) -> Path:
    """Two descriptions a video; annotators of the first do not agree."""
    number = 0
    for split, videos in DIDEMO.items():
        descriptions = []
        for name in videos:
            for text, times in (("a dog  jumps.", [[0, 1], [2, 2], [2, 2]]), ("it sits", [[5, 5]] * 4)):
                number += 1
                descriptions.append(
                    {
                        **{"annotation_id": number, "video": name, "description": text, "num_segments": 6},
                        **{"times": times, "dl_link": "https://example.org/"},
                    }
                )
        document(folder / f"{split}_data.json", descriptions)
        lines(folder / f"ce_{split}_list.txt", [name for name in videos if "unlisted" not in name])
    return folder


def qvhighlights(folder: Path) -> Path:
    """Two sentences a video, of which the second is true of two windows; those of test are not published."""
    number = 0
    for split, videos in HIGHLIGHTS.items():
        entries = []
        for name in videos:
            for text, windows in (("a dog  jumps.", [[10, 24]]), ("it sits ", [[0, 4], [30.0, 150]])):
                number += 1
                entry = {"qid": number, "query": text, "duration": 150, "vid": name}
                marks = {"relevant_clip_ids": [5], "saliency_scores": [[1, 2, 4]], "relevant_windows": windows}
                entries.append(json.dumps(entry | (marks if split != "test" else {})))
        lines(folder / f"highlight_{split}_release.jsonl", entries)
    return folder


def charades_sta(folder: Path) -> Path:
    """Two sentences a video; in test one reaches past the end, one is written backwards, one lies behind the end."""
    train = [
        f"B{number} 0.0 {number + 5}.5##person b{number}, {text}." for number in range(3) for text in ("one", "two")
    ]
    lines(folder / "charades_sta_train.txt", train)
    test = ["C0 24.3 30.4##person c0, one.", "C0 5.0 1.0 7##person turns  round.", "C1 0.0 4.0##person eats."]
    lines(folder / "charades_sta_test.txt", [*test, "C1 20.5 30.0##person is gone."])
    lines(folder / "Charades_v1_test.csv", ["id,subject,length", "C0,a,30.00", "C1,b,20.00"])
    return folder


def activitynet(folder: Path) -> Path:
    """Two sentences a video; the second span of every video is written backwards, a third has no length."""
    for name, ids in ACTIVITY.items():
        entries = {
            id_: {
                "duration": 40.0,
                "timestamps": [[0, 10.5], [30.0, 20.0], [5, 5]],
                "sentences": [f"{id_} begins. ", "  It   ends.", " Nothing."],
            }
            for id_ in ids
        }
        document(folder / f"{name}.json", entries)
    return folder


def mscoco(folder: Path) -> Path:
    """Karpathy's split, and the 2017 release with val's pictures as its own. The first picture of test has six
    sentences, of which one is empty and one has a line break."""
    pictures, release = [], {"train": ([], []), "val": ([], [])}
    for part, numbers in COCO_PICTURES.items():
        for number in numbers:
            texts = [f"picture {number}, {count}" for count in ("one", "two", "three", "four", "five")]
            if number == 391895:
                texts = ["A man\non a  bike.\n", "", *texts]
            name = f"COCO_{'train' if part == 'train' else 'val'}2014_{number:012}.jpg"
            sentences = [{"raw": text, "sentid": 1, "imgid": 1, "tokens": []} for text in texts]
            place = {"filepath": name.split("_")[1], "filename": name, "cocoid": number, "split": part}
            pictures.append({**place, "sentences": sentences})
            images, annotations = release["val" if part == "test" else "train"]
            images.append({"id": number, "file_name": f"{number:012}.jpg", "height": 480, "width": 640, "license": 1})
            annotations += [{"image_id": number, "id": len(annotations), "caption": text} for text in texts]
    document(folder / "dataset_coco.json", {"images": pictures, "dataset": "coco"})
    for part, (images, annotations) in release.items():
        content = {"info": {}, "licenses": [], "images": images, "annotations": annotations[::-1]}
        document(folder / f"captions_{part}2017.json", content)
    return folder


KITCHEN_HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
)
# narration, class of the verb, classes of the nouns
KITCHEN_ACTIONS = (
    ("take plate", 0, [2]),
    ("put plate on table", 1, [2, 42]),
    ("take plate", 0, [2]),
    ("pick up the plate", 0, [2]),
    ("stir", 10, [12]),
    ("stir", 10, [38]),  # the same words, and another action: a query of its own
)


def kitchen_row(id_: str, film: str, start: float, action: tuple[str, int, list[int]]) -> str:
    text, verb, nouns = action
    times = ",".join(f"00:{int(time // 60):02}:{time % 60:05.2f}" for time in (start + 0.3, start, start + 1.5))
    classes = f'"{nouns}"' if len(nouns) > 1 else str(nouns)
    return f"{id_},{film[:3]},{film},{times},1,90,{text},verb,{verb},noun,{nouns[0]},['noun'],{classes}"


def epic_kitchens(folder: Path) -> Path:
    """Six actions a film, of which the last two are said in the same words."""
    for split, films in KITCHEN_FILMS.items():
        rows = [
            kitchen_row(f"{film}_{number}", film, 2.0 * number, action)
            for film in films
            for number, action in enumerate(KITCHEN_ACTIONS)
        ]
        lines(folder / f"EPIC_100_retrieval_{split}.csv", [KITCHEN_HEADER, *rows])
    queries = [(number, KITCHEN_ACTIONS[number][0]) for number in (0, 1, 3, 4, 5)]
    sentences = [f"P01_11_{number},{text}" for number, text in queries]
    lines(folder / "EPIC_100_retrieval_test_sentence.csv", ["narration_id,narration", *sentences])
    return folder
