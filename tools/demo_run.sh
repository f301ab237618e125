#!/usr/bin/env bash
# The demo, once judgeq is built: what is left of a long document's answer under several policies. See tools/demo.py.
set -euo pipefail
exec python3 "$(dirname "${BASH_SOURCE[0]}")/demo.py" "$@"
