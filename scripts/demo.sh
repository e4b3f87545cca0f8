#!/usr/bin/env bash
# Set up, index real clips with the bundled model, and answer sentences. Options go to `mmi-tvr demo`.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
bash "$root/scripts/setup.sh" demo
exec "$root/.venv/bin/mmi-tvr" demo "$@" # from where you stand: it prints commands to go on with
