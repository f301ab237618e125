#!/usr/bin/env bash
# Installs a build into an empty folder, moves it, and uses it from there: the command, CMake, pkg-config, the man page.
#   test_install.sh BUILD_DIRECTORY EXPECTED_VERSION
set -euo pipefail
build=$1 version=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

check() { # WHAT, EXPECTED, GOT
    if [ "$2" != "$3" ]; then echo "$1: expected $2, got $3" && exit 1; fi
}

cmake --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/installed"
installed=$work/installed

"$installed/bin/judgeq" --version | grep -qF "$version" || check "judgeq --version" "$version" "something else"
for page in judgeq judgeq-run judgeq-train; do test -s "$installed/share/man/man1/$page.1"; done

cmake -S "$here/install" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$installed" >"$work/log" || { cat "$work/log" && exit 1; }
cmake --build "$work/build" >"$work/log" || { cat "$work/log" && exit 1; }
check "CMake, shared library" "$version" "$("$work/build/with_judgeq")"
check "CMake, static library" "$version" "$("$work/build/with_judgeq_static")"

PKG_CONFIG_PATH=$(dirname "$(find "$installed" -name judgeq.pc)")
export PKG_CONFIG_PATH
check "pkg-config --modversion" "$version" "$(pkg-config --modversion judgeq)"
# shellcheck disable=SC2046 # flags are words
cc -o "$work/with_pkg_config" "$here/install/main.c" $(pkg-config --cflags --libs judgeq)
check "pkg-config" "$version" "$(LD_LIBRARY_PATH=$(pkg-config --variable=libdir judgeq) "$work/with_pkg_config")"

# Only the functions of judgeq.h are visible.
hidden=$(nm -D --defined-only "$(pkg-config --variable=libdir judgeq)/libjudgeq.so" | awk '$3 !~ /^judgeq_/ { print $3 }')
check "symbols of libjudgeq.so that are not judgeq_*" "" "$hidden"
