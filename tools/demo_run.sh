#!/usr/bin/env bash
# The demo, once judgeq is built: questions about a long document under several policies. See tools/demo.py.
set -euo pipefail
exec python3 "$(dirname "${BASH_SOURCE[0]}")/demo.py" "$@"
