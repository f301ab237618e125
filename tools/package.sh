#!/usr/bin/env bash
# Builds build/package/judgeq_VERSION_ARCHITECTURE.deb: for this Debian release, and for any processor of the architecture,
# because ggml's kernels are built several times (docs/install.md). Options go to cmake. Its maintainer is who DEBFULLNAME and
# DEBEMAIL name:
#   DEBFULLNAME="Your Name" DEBEMAIL=you@example.org tools/package.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools/deps.sh --package
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
tools/quietly build/package.log cmake -S . -B build/package -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr \
    -DJUDGEQ_TESTS=OFF -DJUDGEQ_PACKAGE=ON -DJUDGEQ_CPU_KERNELS="$(tools/deps.sh --print-package-kernels)" "$@"
tools/quietly build/package.log cmake --build build/package
(cd build/package && ../../tools/quietly ../package.log cpack -G DEB)
ls build/package/*.deb
