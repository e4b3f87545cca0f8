#!/usr/bin/env bash
# DiDeMo, paragraphs for the first 30 s: bash scripts/didemo.sh VIDEOS ANNOTATIONS [RUN]
# VIDEOS: the Flickr files under their names in the annotation
# ANNOTATIONS: train_data.json, val_data.json, test_data.json, ce_train_list.txt, ce_val_list.txt, ce_test_list.txt
set -euo pipefail
exec bash "$(dirname "$0")/benchmark.sh" didemo "${1:?VIDEOS}" "${2:?ANNOTATIONS}" "${3:-runs/didemo}" unit=paragraph
