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

packages=(debian-handbook developers-reference debian-faq debian-reference-en jargon-text python3.11-doc maint-guide
    html2text)

fetch() {
    rm -rf text.part
    mkdir -p packages root
    (cd packages && apt-get -qq download "${packages[@]}")
    for package in packages/*.deb; do dpkg -x "$package" root; done
    ls packages >versions
    mkdir -p text.part/{handbook,debian,jargon,python}
    for page in root/usr/share/doc/debian-handbook/html/en-US/*.html; do
        root/usr/bin/html2text -utf8 -nobs -style pretty -width 100000 "$page" \
            >"text.part/handbook/$(basename "$page" .html).txt"
    done
    cp root/usr/share/developers-reference/_sources/*.rst.txt text.part/debian
    gunzip -c root/usr/share/doc/maint-guide/maint-guide.en.txt.gz >text.part/debian/maint-guide.txt
    gunzip -c root/usr/share/doc/debian/FAQ/debian-faq.en.txt.gz >text.part/debian/faq.txt
    gunzip -c root/usr/share/debian-reference/debian-reference.en.txt.gz >text.part/debian/reference.txt
    gunzip -c root/usr/share/doc/jargon-text/jargon.txt.gz | iconv -f utf-8 -t utf-8 -c >text.part/jargon/jargon.txt
    cp -r root/usr/share/doc/python3.11/html/_sources/{tutorial,howto,faq} text.part/python
    mv text.part text
}

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

[ -e text ] || fetch
# Short prompts teach most of it in little time; what is left to learn about long ones needs fewer examples.
make_sets short 1 -n 300 --min 300 --max 1400
train short --epochs 8 --lr 1e-2 -t 2
make_sets long 3 -n 180 --min 300 --max 3500
train long --init judge:short.gguf --epochs 5 --lr 5e-3 -t 2
cp long.gguf judge.gguf
