#!/usr/bin/env bash
# How judges/qwen2.5-coder-0.5b-instruct.gguf was made: a judge for questions that stand in the prompt, most of which
# were then asked later, after rows had been dropped (--later), and which at last learnt what answers copy from the prompt
# (--target copied). What it reaches stands in docs/results.md, and how the file that ships differs from what comes out
# here in docs/training.md. Needs a Debian with apt, the release build, 3 GB of memory, and about four hours of one core.
# Started again, it goes on where it was stopped.
#   tools/qwen_judge.sh FOLDER MODEL     works in FOLDER, and leaves FOLDER/judge.gguf there; MODEL is
#                                        qwen2.5-coder-0.5b-instruct-q4_k_m.gguf
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
model=$(realpath "${2:?which folder, and which model?}")
"$here/tools/judge_text.sh" "$1"
cd "$1"

text=(text/handbook:3 text/debian:2 text/jargon:2 text/python:1)
prompts=(--min 300 --max 1000 --tokens 64)

train() { # NAME OPTIONS...: NAME.gguf
    local name=$1 resume=()
    shift
    if [ -e "$name.gguf.checkpoint" ]; then resume=(--resume); fi
    [ -e "$name.gguf" ] || "$here/build/release/judgeq" train -m "$model" -o "$name.gguf" "${resume[@]}" --deep -t 1 "$@"
}

train known --online "${prompts[@]}" -n 220 --retrieval 0.85 --lr 1e-2 --seed 5 "${text[@]}"
train later --online "${prompts[@]}" --init judge:known.gguf -n 170 --retrieval 0.9 --later 0.75 --lr 5e-3 --seed 6 "${text[@]}"
train all --online "${prompts[@]}" --init judge:later.gguf -n 120 --retrieval 0.95 --later 0.85 --lr 5e-3 --replay 3 --seed 8 "${text[@]}"
resume=()
if [ -e set.jsonl ]; then resume=(--resume); fi
[ -e copied.gguf ] || "$here/build/release/judgeq" data -m "$model" -o set.jsonl "${resume[@]}" "${prompts[@]}" -n 340 \
    --retrieval 0.95 --later 0.8 --seed 9 -t 1 "${text[@]}"
train copied --data set.jsonl --init judge:all.gguf --target copied --epochs 3 --lr 6e-3 --seed 12 --heldout 0.06
cp copied.gguf judge.gguf
