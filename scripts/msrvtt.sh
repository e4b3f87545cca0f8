#!/usr/bin/env bash
# MSR-VTT, 1k-A: 1,000 test videos, 9,000 for training and validation: bash scripts/msrvtt.sh VIDEOS ANNOTATIONS [RUN]
# VIDEOS: video0.mp4 ..., in any sub-folder
# ANNOTATIONS: MSRVTT_data.json (or the release's two zips), MSRVTT_JSFUSION_test.csv
set -euo pipefail
exec bash "$(dirname "$0")/benchmark.sh" msrvtt "${1:?VIDEOS}" "${2:?ANNOTATIONS}" "${3:-runs/msrvtt}" protocol=9k
