#!/usr/bin/env bash
# Fetches what is missing, builds judgeq and tests it: as it is, with sanitizers, and with fuzzing. Says little unless
# something fails. --full (and CI=true) fuzzes a minute for each target and checks the format and clang-tidy too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

full=${CI:-false}
if [ "${1:-}" = --full ]; then full=true; fi
fuzz_seconds=$([ "$full" = true ] && echo 60 || echo 10)
jobs=$(nproc)

step() { echo "test.sh: $*" >&2; }
build() {
    tools/quietly "build/$1.log" cmake --preset "$1"
    tools/quietly "build/$1.log" cmake --build --preset "$1"
}
run_tests() { # PRESET [COMMAND that runs it]
    tools/quietly "build/$1-tests.log" "${@:2}" ctest --preset "$1" --parallel "$jobs"
}

check_style() {
    # What messages quote must not steer a terminal: cli/say.c sees to that, progress.c draws bars of its own, and line_editor.c lends the terminal to libedit.
    if grep -n 'stderr\|perror' cli/*.c | grep -v '^cli/\(say\|progress\|line_editor\)\.c:'; then
        step "messages go through say()"
        exit 1
    fi
    # Versions of clang-format differ; .clang-format was written for 14.
    if [[ $(clang-format --version) == *"version 14."* ]]; then
        step "clang-format"
        find include src app plot report eval server cli tests bench examples \( -name '*.[ch]' -o -name '*.cpp' \) -exec clang-format --dry-run -Werror {} +
    else
        step "clang-format is not version 14: the format is not checked"
    fi
    if command -v clang-tidy >/dev/null; then
        step "clang-tidy"
        # Fuzz targets are no part of the release build; fail_shim takes the C library's own names.
        # shellcheck disable=SC2016 # $0 is for the inner shell: a file's name
        find src app plot report eval server cli tests bench examples -name '*.c' ! -name 'fuzz_*' ! -name fail_shim.c -print0 |
            xargs -0 -n 1 -P "$jobs" bash -c 'tools/quietly "build/tidy/$0.log" clang-tidy -p build/release "$0"'
    else
        step "no clang-tidy here: not run"
    fi
}

# The same seed in every run: a change is tested by the same inputs before and after it. Drop it to look for more.
fuzz() { # NAME; seeds come from the program NAME_seeds if there is one, what is found stays in build/fuzz/corpus/NAME
    local corpus=build/fuzz/corpus/$1
    mkdir -p "$corpus"
    if [ -e "tests/$1_seeds.c" ]; then "build/fuzz/$1_seeds" "$corpus"; fi
    tools/quietly "build/fuzz/$1.log" "build/fuzz/$1" -seed=1 -max_total_time="$fuzz_seconds" -timeout=10 \
        -rss_limit_mb=2048 -max_len=65536 -artifact_prefix=build/fuzz/ "$corpus"
}

tools/deps.sh --test
step "release"
build release
run_tests release
if [ "$full" = true ]; then check_style; fi
for preset in asan ubsan; do
    step "$preset"
    build $preset
    run_tests $preset
done
# Some kernels put memory at random where the thread sanitizer wants its own; not all containers let one ask for less.
step "thread"
build thread
if setarch -R true 2>/dev/null; then run_tests thread setarch -R; else run_tests thread; fi
step "fuzzing, $fuzz_seconds s for each target"
build fuzz
export -f fuzz
export fuzz_seconds
printf '%s\0' fuzz_{gguf,policy,request,snapshot,plan,text} | xargs -0 -P "$jobs" -I NAME bash -euc 'fuzz NAME'
tail -n 12 build/release-tests.log # ctest's summary of the release build
