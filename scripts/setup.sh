#!/usr/bin/env bash
# Make .venv with the pinned versions: setup.sh [EXTRA[,EXTRA]]. Does nothing where that is done already.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=${1:-}
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
  echo "Python 3.10 or newer is needed; set PYTHON to one" >&2
  exit 1
}
stamp=.venv/.installed-$(cat pyproject.toml constraints.txt | sha256sum | cut -c1-16)
[ -e "$stamp-${extras:-base}" ] && exit 0
case $extras in "" | demo) [ -e "$stamp-dev" ] && exit 0 ;; esac # dev holds their needs, too
[ -x .venv/bin/python ] || "$python" -m venv .venv
echo "installing into .venv (a few minutes the first time) ..." >&2
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".${extras:+[$extras]}"
touch "$stamp-${extras:-base}"
