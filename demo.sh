#!/usr/bin/env bash
# Fetches what is missing, builds judgeq and shows its main job on the default model; options go to tools/demo.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
tools/deps.sh
tools/quietly build/release.log cmake --preset release
tools/quietly build/release.log cmake --build --preset release --target judgeq_cli
exec bash tools/demo_run.sh "$@"
