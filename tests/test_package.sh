#!/usr/bin/env bash
# A Debian package made of a build: what it needs and holds, and that its programs run from where it is unpacked.
# Skipped (77) where there is no dpkg-shlibdeps.   test_package.sh BUILD_DIRECTORY VERSION
set -euo pipefail
build=$1 version=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v dpkg-shlibdeps >/dev/null && command -v cpack >/dev/null || exit 77

fail() { echo "$*" && exit 1; }

cpack -G DEB --config "$build/CPackConfig.cmake" -B "$work" -D CPACK_DEBIAN_COMPRESSION_TYPE=gzip >"$work/log" 2>&1 ||
    { cat "$work/log" && exit 1; }
package=$(echo "$work"/judgeq_*.deb)
[ "$(dpkg-deb -f "$package" Version)" = "$version" ] || fail "version: $(dpkg-deb -f "$package" Version)"
for library in libc6 libjansson4 libstdc++6; do
    dpkg-deb -f "$package" Depends | grep -qF "$library" || fail "does not depend on $library"
done
dpkg-deb -x "$package" "$work/root"
dpkg-deb -e "$package" "$work/control"
# Nobody else is to link with the private libraries.
if grep -vE '^libjudgeq ' "$work/control/shlibs"; then fail "shlibs names more than libjudgeq"; fi
for file in bin/judgeq include/judgeq.h share/doc/judgeq/LICENSE share/doc/judgeq/serve/judgeq.service share/bash-completion/completions/judgeq; do
    [ -s "$work/root/usr/$file" ] || fail "no $file"
done
compgen -G "$work/root/usr/share/man/man1/judgeq-run.1*" >/dev/null || fail "no judgeq-run.1"
found=$(env -i ldd "$work/root/usr/bin/judgeq")
if grep "not found" <<<"$found"; then fail "missing libraries"; fi
if [ -n "$(find "$work/root" -name 'libggml.so*')" ] && grep -E 'lib(ggml|llama|judgeq)' <<<"$found" | grep -vF "$work/root/"; then
    fail "libraries from outside the package"
fi
[ "$(env -i "$work/root/usr/bin/judgeq" --version)" = "judgeq $version" ] || fail "judgeq --version"
