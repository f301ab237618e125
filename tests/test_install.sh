#!/usr/bin/env bash
# Installs a build into an empty folder, moves it, and uses it from there as somebody else would: another user (where root
# runs the test), without the cache that ggml was built into. The command, completions, pages, CMake, pkg-config.
#   test_install.sh BUILD_DIRECTORY EXPECTED_VERSION MAKE_FIXTURE
set -euo pipefail

check() { # WHAT, EXPECTED, GOT
    if [ "$2" != "$3" ]; then echo "$1: expected $2, got $3" && exit 1; fi
}

quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" && exit 1; }; }

# ggml and libllama come from the installed folder, and everything is found.
check_libraries() { # FILE
    local found missing outside
    found=$(ldd "$1")
    missing=$(grep "not found" <<<"$found" || true)
    check "libraries of $1 that are missing" "" "$missing"
    if [ -d "$private" ]; then
        outside=$(grep -E "lib(ggml|llama)" <<<"$found" | grep -vF "$installed/" || true)
        check "libraries of $1 from elsewhere" "" "$outside"
    fi
}

use_command() {
    local said
    check "judgeq --version" "judgeq $version" "$("$installed/bin/judgeq" --version)"
    said=$("$installed/bin/judgeq" run -m "$work/tiny.gguf" -t 1 -n 4 --quiet --raw -p "the rain" --json)
    grep -q '"completion_tokens": *4' <<<"$said" || check "judgeq run" "4 tokens" "$said"
    said=$("$installed/bin/judgeq" inspect "$installed/share/judgeq/judges/smollm2-135m-instruct.gguf")
    grep -q "soft tokens" <<<"$said" || check "judgeq inspect" "soft tokens" "$said"
}

use_files() {
    local page word
    for page in judgeq judgeq-run judgeq-train judgeq-completion; do test -s "$installed/share/man/man1/$page.1"; done
    # What pages and help texts name is there.
    for word in $(sed 's/\\-/-/g' "$installed"/share/man/man1/*.1 | grep -oE 'docs/[a-z-]+(\.md)?' | sort -u); do
        test -e "$installed/share/doc/judgeq/$word" || check "a page names $word" "a file" "none"
    done
    test -s "$installed/share/doc/judgeq/examples/first.c"
    (
        # shellcheck disable=SC1091
        source "$installed/share/bash-completion/completions/judgeq"
        complete -p judgeq >/dev/null
    )
    check "zsh's completion" "#compdef judgeq" "$(head -1 "$installed/share/zsh/site-functions/_judgeq")"
}

use_cmake() {
    quietly cmake -S "$here/install" -B "$work/build" -DCMAKE_PREFIX_PATH="$installed"
    quietly cmake --build "$work/build"
    for program in with_judgeq with_judgeq_static; do
        check_libraries "$work/build/$program"
        check "CMake, $program" "$version" "$("$work/build/$program")"
    done
}

use_pkg_config() {
    local libdir flags
    PKG_CONFIG_PATH=$(dirname "$(find "$installed" -name judgeq.pc)")
    export PKG_CONFIG_PATH
    check "pkg-config --modversion" "$version" "$(pkg-config --modversion judgeq)"
    libdir=$(pkg-config --variable=libdir judgeq)
    read -ra flags < <(pkg-config --cflags --libs judgeq)
    cc -o "$work/shared" "$here/install/main.c" "${flags[@]}" -Wl,-rpath,"$libdir"
    read -ra flags < <(pkg-config --static --cflags --libs judgeq)
    cc -o "$work/all_named" "$here/install/main.c" "${flags[@]}" -Wl,-rpath,"$libdir"
    cc -o "$work/first" "$installed/share/doc/judgeq/examples/first.c" "${flags[@]}" -Wl,-rpath,"$libdir"
    "$work/first" "$work/tiny.gguf" "Why?" | grep -q . || check "examples/first.c" "an answer" "nothing"
    cc -o "$work/static" "$here/install/main.c" "${flags[@]/#-ljudgeq/-l:libjudgeq.a}"
    for program in shared all_named static; do
        check_libraries "$work/$program"
        check "pkg-config, $program" "$version" "$("$work/$program")"
    done
    if ldd "$work/static" | grep libjudgeq; then check "the static library" "no libjudgeq.so" "one"; fi
    # Only the functions of judgeq.h are visible.
    check "symbols of libjudgeq.so that are not judgeq_*" "" \
        "$(nm -D --defined-only "$libdir/libjudgeq.so" | awk '$3 !~ /^judgeq_/ { print $3 }')"
}

if [ "$1" = --use ]; then # as that other user
    here=$2 installed=$3 version=$4 work=$5
    private=$(find "$installed" -type d -path '*/lib*/judgeq' ! -path '*/cmake/*')
    for file in "$installed/bin/judgeq" "$(find "$installed" -name libjudgeq.so)"; do check_libraries "$file"; done
    use_command
    use_files
    use_cmake
    use_pkg_config
    exit
fi

build=$1 version=$2 make_fixture=$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
quietly cmake --install "$build" --prefix "$work/first"
mv "$work/first" "$work/installed"
"$make_fixture" model bpe-smollm "$work/tiny.gguf"
mkdir "$work/used"
mv "$work/tiny.gguf" "$work/used"
# The tests' own folder may be in a home that others cannot read.
mkdir "$work/tests"
cp -r "$here/install" "$here/test_install.sh" "$work/tests"
chmod -R a+rX "$work"
other=()
if [ "$(id -u)" = 0 ]; then
    chown -R nobody "$work/used"
    other=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
fi
cd "$work/used"
"${other[@]}" env -i PATH=/usr/local/bin:/usr/bin:/bin HOME="$work/no-home" XDG_CACHE_HOME="$work/no-cache" \
    bash "$work/tests/test_install.sh" --use "$work/tests" "$work/installed" "$version" "$work/used"
