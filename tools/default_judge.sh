#!/usr/bin/env bash
# How judges/smollm2-135m-instruct.gguf was made: text from Debian's packages, prompts and the model's own responses, training.
# What it reaches stands in docs/training.md. Needs a Debian with apt, the release build, 2 GB of memory and 10 GB of disk;
# about an hour on two cores. Started again, it goes on where it was stopped.
#   tools/default_judge.sh FOLDER        works in FOLDER, and leaves FOLDER/judge.gguf there
# The result depends on the versions of the packages, which FOLDER/versions names (those of Debian 12 were used), on the
# build of ggml, and on nothing else that changes. Nothing is installed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
judgeq=$here/build/release/judgeq
mkdir -p "${1:?which folder?}"
cd "$1"

# SET SEED OPTIONS...: examples of the model's own answers.
make_set() {
    local set=$1 seed=$2 resume=()
    shift 2
    if [ -e "$set.jsonl" ]; then resume=(--resume); fi
    "$judgeq" data -o "$set.jsonl" "${resume[@]}" "$@" --retrieval 0.88 --tokens 64 --seed "$seed" -t 1 \
        text/handbook:3 text/debian:2 text/jargon:2 text/python:1
}

# NAME SEED OPTIONS...: NAME.jsonl, made as two sets, so that two cores can work on them.
make_sets() {
    local name=$1 seed=$2
    shift 2
    make_set "$name-$seed" "$seed" "$@" &
    make_set "$name-$((seed + 1))" $((seed + 1)) "$@"
    wait $!
    # One header for both.
    { cat "$name-$seed.jsonl"; tail -n +2 "$name-$((seed + 1)).jsonl"; } >"$name.jsonl"
}

train() { # NAME OPTIONS...: NAME.gguf from NAME.jsonl
    local name=$1 resume=()
    shift
    if [ -e "$name.gguf.checkpoint" ]; then resume=(--resume); fi
    [ -e "$name.gguf" ] || "$judgeq" train --data "$name.jsonl" -o "$name.gguf" "${resume[@]}" --deep --heldout 0.08 "$@"
}

"$here/tools/judge_text.sh" .
# Short prompts teach most of it in little time; what is left to learn about long ones needs fewer examples.
make_sets short 1 -n 300 --min 300 --max 1400
train short --epochs 8 --lr 1e-2 -t 2
make_sets long 3 -n 180 --min 300 --max 3500
train long --init judge:short.gguf --epochs 5 --lr 5e-3 -t 2
cp long.gguf judge.gguf
