#!/usr/bin/env bash
# Build the wheel, install it into an environment of its own, and search with the bundled model from another folder, as
# somebody who never saw the checkout. The packages that it needs are those of .venv, so that nothing is downloaded but
# what builds it.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset PYTHONPATH MMI_TVR_LIBRARY
export OMP_NUM_THREADS=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=$PWD/constraints.txt

"$python" -m pip wheel --quiet --no-deps -w "$folder" .
wheel=$(echo "$folder"/mmi_tvr-*.whl)
git ls-files -z mmi_tvr configs prompts >"$folder/files"
"$python" - "$wheel" "$folder/files" <<'END'
import sys, zipfile
from pathlib import Path

packed = set(zipfile.ZipFile(sys.argv[1]).namelist())
tracked = filter(None, Path(sys.argv[2]).read_bytes().decode().split("\0"))
expected = {name if name.startswith("mmi_tvr/") else f"mmi_tvr/_data/{name}" for name in tracked}
if expected - packed:
    sys.exit(f"not in the wheel: {', '.join(sorted(expected - packed))}")
END

"$python" -m venv --without-pip "$folder/env"
packages=$("$folder/env/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
"$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' >"$packages/needs.pth"
"$python" -m pip --python "$folder/env/bin/python" install --quiet --no-deps --no-index --ignore-installed "$wheel"

cd "$folder"
PATH=$folder/env/bin:$PATH
case $(python -c 'import mmi_tvr; print(mmi_tvr.__file__)') in
  "$packages"/*) ;;
  *)
    echo "something else than the wheel is imported" >&2
    exit 1
    ;;
esac
mmi-tvr --version
mmi-tvr data make moving_shapes clips --split test --limit 3
mmi-tvr index clips/videos --library library --model moving-shapes
mmi-tvr search "the red circle moves left" --library library --min-relevance 0 --json |
  python -c 'import json, sys; hits = json.load(sys.stdin)["hits"]; sys.exit(len(hits) != 3)'
mmi-tvr prompts list --library library >/dev/null
echo "the wheel works ($(du -h "$wheel" | cut -f1))"
