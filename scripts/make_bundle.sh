#!/usr/bin/env bash
# The package's own model, from nothing: bash scripts/make_bundle.sh RUN. The same command goes on after a stop.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
exec "$scripts/../.venv/bin/python" "$scripts/make_bundle.py" "$@"
