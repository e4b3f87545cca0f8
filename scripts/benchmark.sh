#!/usr/bin/env bash
# A benchmark from videos + annotations to the table; scripts/msrvtt.sh and its siblings call it:
#   benchmark.sh NAME VIDEOS ANNOTATIONS RUN [KEY=VALUE ...]    KEY=VALUE: options of the data set
# CLIP     checkpoint of the baselines                  (openai/clip-vit-base-patch32)
# CONFIG   settings of the model that is trained        (configs/paper.yaml)
# RERANK   1: re-rank the trained model's best by the joint score, too
# TRAIN    more words for scripts/train.py; LAUNCH: for accelerate launch
# What is there is not made again: run it once more to go on. Checkpoints must be on this machine.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
command -v mmi-tvr >/dev/null || PATH="$here/.venv/bin:$PATH"
name=$1 videos=$2 annotations=$3 run=$4
shift 4

section() { # SPLIT [KEY=VALUE ...]: the data set as a setting
  local words="name: $name, root: '$videos', annotations: '$annotations', split: $1" option
  for option in "${@:2}"; do words="$words, ${option/=/: }"; done
  echo "{$words}"
}
train=$(section train "$@") validation=$(section val "$@")
data=("$name" --root "$videos" --annotations "$annotations")
for option in "$@"; do data+=(--option "$option"); done

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
[ "$name" = vatex ] && quoted=() # no published numbers are kept
mmi-tvr table "$run/uniform" "$run/keyimages" "$run/mmi" "${quoted[@]}" | tee "$run/table.md"
