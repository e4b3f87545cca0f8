#!/usr/bin/env bash
# Set up, and run the tests but the slow ones, which --all runs, too. Options go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
which=(-m "not vllm and not slow")
if [ "${1:-}" = --all ]; then
  which=()
  shift
fi
bash scripts/setup.sh dev
.venv/bin/python tests/browsing.py >&2
command -v dbus-run-session >/dev/null || echo "no dbus-run-session (apt: dbus): the search box of desktops is not tested" >&2
export OMP_NUM_THREADS=1 # a worker a processor; the tests of one file stay together
exec .venv/bin/python -m pytest -n auto --dist loadfile "${which[@]}" "$@"
