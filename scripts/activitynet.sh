#!/usr/bin/env bash
# ActivityNet Captions, paragraphs, val_1: bash scripts/activitynet.sh VIDEOS ANNOTATIONS [RUN]
# VIDEOS: v_<YouTube id>.mp4
# ANNOTATIONS: train.json, val_1.json
set -euo pipefail
exec bash "$(dirname "$0")/benchmark.sh" activitynet "${1:?VIDEOS}" "${2:?ANNOTATIONS}" "${3:-runs/activitynet}" unit=paragraph
