#!/usr/bin/env bash
# A benchmark from its videos and annotations to the table:
#   bash scripts/benchmark.sh NAME VIDEOS ANNOTATIONS [RUN]
# RUN       folder of all that is made (runs/NAME)
# CLIP      checkpoint of the baselines                  (openai/clip-vit-base-patch32)
# CONFIG    settings of the model that is trained        (configs/paper.yaml)
# RERANK    1: re-rank the trained model's best by the joint score, too
# TRAIN     more words for scripts/train.py; LAUNCH: for accelerate launch
# What is there is not made again: run it once more to go on. Checkpoints must be on this machine.
set -euo pipefail

# NAME          options of the data set: the protocol that published tables have
case ${1:?NAME: msrvtt, msvd, lsmdc, didemo, activitynet, vatex, qvhighlights, charades_sta, mscoco or epic_kitchens} in
  # 1k-A: 1,000 test videos, 9,000 for training and validation
  # videos: video0.mp4 ..., in any sub-folder
  # annotations: MSRVTT_data.json (or the release's two zips), MSRVTT_JSFUSION_test.csv
  msrvtt) options=(protocol=9k) ;;
  # every sentence is a query
  # videos: <YouTube id>_<start>_<end>.avi
  # annotations: train_list.txt, val_list.txt, test_list.txt, captions_msvd.json or raw-captions.pkl
  msvd) options=(language=en) ;;
  # the 1,000 clips of the public test
  # videos: <clip id>.avi, in a folder for each film
  # annotations: LSMDC16_annos_training.csv, LSMDC16_annos_val.csv, LSMDC16_challenge_1000_publictect.csv
  lsmdc) options=() ;;
  # paragraphs, for the first 30 s
  # videos: the Flickr files under their names in the annotation
  # annotations: train_data.json, val_data.json, test_data.json, ce_train_list.txt, ce_val_list.txt, ce_test_list.txt
  didemo) options=(unit=paragraph) ;;
  # ActivityNet Captions, paragraphs, val_1
  # videos: v_<YouTube id>.mp4
  # annotations: train.json, val_1.json
  activitynet) options=(unit=paragraph) ;;
  # HGR's split, English
  # videos: <YouTube id>_<start>_<end>.mp4
  # annotations: train_list.txt, val_list.txt, test_list.txt, vatex_training_v1.0.json, vatex_validation_v1.0.json
  vatex) options=(language=en) ;;
  # every sentence for its own stretch of 150 s
  # videos: <YouTube id>_<start>_<end>.mp4
  # annotations: highlight_train_release.jsonl, highlight_val_release.jsonl, highlight_test_release.jsonl
  qvhighlights) options=() ;;
  # every sentence for its own video
  # videos: <video id>.mp4
  # annotations: charades_sta_train.txt, charades_sta_test.txt (and Charades_v1_train.csv, Charades_v1_test.csv)
  charades_sta) options=() ;;
  # Karpathy's split, five sentences a picture; besides, the five folds of 1,000
  # pictures: COCO_val2014_000000391895.jpg ... or 000000391895.jpg ...
  # annotations: dataset_coco.json
  mscoco) options=(protocol=karpathy sentences=five) ;;
  # multi-instance retrieval: mAP and nDCG by degree
  # videos: P01_11.MP4 ...
  # annotations: EPIC_100_retrieval_train.csv, EPIC_100_retrieval_test.csv, EPIC_100_retrieval_test_sentence.csv
  epic_kitchens) options=() ;;
  *)
    echo "no benchmark is called $1; there are: msrvtt, msvd, lsmdc, didemo, activitynet, vatex, qvhighlights, charades_sta, mscoco, epic_kitchens" >&2
    exit 2
    ;;
esac
name=$1 videos=${2:?VIDEOS} annotations=${3:?ANNOTATIONS} run=${4:-runs/$1}
here=$(cd "$(dirname "$0")/.." && pwd)
command -v mmi-tvr >/dev/null || PATH="$here/.venv/bin:$PATH"

section() { # SPLIT: the data set as a setting
  local words="name: $name, root: '$videos', annotations: '$annotations', split: $1" option
  for option in "${options[@]}"; do words="$words, ${option/=/: }"; done
  echo "{$words}"
}
train=$(section train) validation=$(section val)
data=("$name" --root "$videos" --annotations "$annotations")
for option in "${options[@]}"; do data+=(--option "$option"); done

evaluate() { # ROW WORD ...: one row of the table
  [ -e "$run/$1/report.json" ] || mmi-tvr evaluate "${data[@]}" --output "$run/$1" "${@:2}"
}

mmi-tvr data check "${data[@]}"

clip=clip4clip:${CLIP:-openai/clip-vit-base-patch32}
evaluate uniform --model "$clip" --set 'keyimages={name: uniform, count: 12}'
evaluate keyimages --model "$clip" --set 'keyimages={name: disparity, count: 12}'

resume=()
[ -d "$run/train/checkpoints" ] && resume=(--resume)
# shellcheck disable=SC2086  # words that are meant to be several
[ -d "$run/train/model" ] || accelerate launch ${LAUNCH:-} "$here/scripts/train.py" \
  --config "${CONFIG:-$here/configs/paper.yaml}" --output "$run/train" "${resume[@]}" \
  --set "data.train=$train" --set "data.validation=$validation" ${TRAIN:-}
evaluate mmi --checkpoint "$run/train/model" ${RERANK:+--rerank}

quoted=(--quoted "$name")
case $name in vatex | qvhighlights | charades_sta) quoted=() ;; esac # no published numbers are kept
mmi-tvr table "$run/uniform" "$run/keyimages" "$run/mmi" "${quoted[@]}" | tee "$run/table.md"
