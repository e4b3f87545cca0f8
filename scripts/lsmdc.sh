#!/usr/bin/env bash
# LSMDC, the 1,000 clips of the public test: bash scripts/lsmdc.sh VIDEOS ANNOTATIONS [RUN]
# VIDEOS: <clip id>.avi, in a folder for each film
# ANNOTATIONS: LSMDC16_annos_training.csv, LSMDC16_annos_val.csv, LSMDC16_challenge_1000_publictect.csv
set -euo pipefail
exec bash "$(dirname "$0")/benchmark.sh" lsmdc "${1:?VIDEOS}" "${2:?ANNOTATIONS}" "${3:-runs/lsmdc}"
