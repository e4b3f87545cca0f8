#!/usr/bin/env bash
# Run all tests, and say how much of the package they run, in processes that they start, too. Options go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
export COVERAGE_FILE=$PWD/.coverage # of processes in other folders, too
bash scripts/test.sh --all --cov --cov-report=term:skip-covered "$@"
