#!/usr/bin/env bash
# Get what the tests of the page need: Chromium and a font with Chinese characters, by apt where they are missing (as
# root), and axe-core, of a pinned version, by npm, into .browser/.
set -euo pipefail
cd "$(dirname "$0")/.."
axe=4.14.1
packages=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || packages+=(chromium fonts-noto-cjk)
command -v npm >/dev/null || packages+=(npm)
if [ ${#packages[@]} -gt 0 ]; then
  as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq || true # the next line says what is missing
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi
if [ "$(cat .browser/version 2>/dev/null)" != "$axe" ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  (cd "$folder" && npm pack --silent "axe-core@$axe" >/dev/null && tar xzf ./*.tgz package/axe.min.js)
  mkdir -p .browser
  cp "$folder/package/axe.min.js" .browser/
  echo "$axe" >.browser/version
fi
