#!/usr/bin/env bash
# VATEX in HGR's split, English: bash scripts/vatex.sh VIDEOS ANNOTATIONS [RUN]
# VIDEOS: <YouTube id>_<start>_<end>.mp4
# ANNOTATIONS: train_list.txt, val_list.txt, test_list.txt, vatex_training_v1.0.json, vatex_validation_v1.0.json
set -euo pipefail
exec bash "$(dirname "$0")/benchmark.sh" vatex "${1:?VIDEOS}" "${2:?ANNOTATIONS}" "${3:-runs/vatex}" language=en
