#!/usr/bin/env bash
# Set up, index real clips with the bundled model, and answer sentences. Options go to `mmi-tvr demo`.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh demo
exec .venv/bin/mmi-tvr demo "$@"
