#!/usr/bin/env bash
# How judges/qwen2.5-coder-0.5b-instruct.gguf was made: a judge for questions that stand in the prompt, in which three
# quarters of the questions were then asked later, after rows had been dropped (--later). What it reaches stands in
# docs/results.md. Needs a Debian with apt, the release build, 3 GB of memory, and about two hours of one core.
# Started again, it goes on where it was stopped. Its shares of layers were added afterwards, by `judgeq train --epochs 0 --data
# later.gguf.data.jsonl`, since training did not measure them then; it does now.
#   tools/qwen_judge.sh FOLDER MODEL     works in FOLDER, and leaves FOLDER/judge.gguf there; MODEL is
#                                        qwen2.5-coder-0.5b-instruct-q4_k_m.gguf
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
model=$(realpath "${2:?which folder, and which model?}")
"$here/tools/judge_text.sh" "$1"
cd "$1"

train() { # NAME OPTIONS...: NAME.gguf
    local name=$1 resume=()
    shift
    if [ -e "$name.gguf.checkpoint" ]; then resume=(--resume); fi
    [ -e "$name.gguf" ] || "$here/build/release/judgeq" train --online -m "$model" -o "$name.gguf" "${resume[@]}" \
        --min 300 --max 1000 --tokens 64 --deep -t 1 "$@" \
        text/handbook:3 text/debian:2 text/jargon:2 text/python:1
}

train known -n 220 --retrieval 0.85 --lr 1e-2 --seed 5
train later --init judge:known.gguf -n 170 --retrieval 0.9 --later 0.75 --lr 5e-3 --seed 6
cp later.gguf judge.gguf
