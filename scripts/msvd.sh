#!/usr/bin/env bash
# MSVD, every sentence a query: bash scripts/msvd.sh VIDEOS ANNOTATIONS [RUN]
# VIDEOS: <YouTube id>_<start>_<end>.avi
# ANNOTATIONS: train_list.txt, val_list.txt, test_list.txt, captions_msvd.json or raw-captions.pkl
set -euo pipefail
exec bash "$(dirname "$0")/benchmark.sh" msvd "${1:?VIDEOS}" "${2:?ANNOTATIONS}" "${3:-runs/msvd}" language=en
