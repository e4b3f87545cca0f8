#!/usr/bin/env bash
# Serve a Milvus on this machine, without containers: serve_milvus.sh [DATA [OPTIONS OF milvus-server]]
#
# The package `milvus` carries the standalone server (2.3) with its etcd: for one machine, and for trying things out.
# It listens on every address of the machine, on this port and on nine others, and asks for no password: run it behind
# a firewall.
#
#   DATA         folder of the server and its data (~/.local/share/mmi-tvr/milvus); the next start goes on with it
#   PORT         of the proxy, which clients speak to (19530)
#   MILVUS_ENV   the package's own environment; made where it is not there (~/.cache/mmi-tvr/milvus)
#
# Ctrl-C (SIGINT) ends it. Then: mmi-tvr index VIDEOS --set index.name=milvus --set index.uri=http://127.0.0.1:19530
set -euo pipefail
data=${1:-${XDG_DATA_HOME:-$HOME/.local/share}/mmi-tvr/milvus}
environment=${MILVUS_ENV:-${XDG_CACHE_HOME:-$HOME/.cache}/mmi-tvr/milvus}

install() {
  echo "installing Milvus into $environment (60 MB to fetch) ..." >&2
  "${PYTHON:-python3}" -m venv "$environment"
  "$environment/bin/python" -m pip install --quiet "milvus==2.3.5"
}

[ -x "$environment/bin/milvus-server" ] || install
mkdir -p "$data"
exec "$environment/bin/milvus-server" --data "$data" --proxy-port "${PORT:-19530}" "${@:2}"
