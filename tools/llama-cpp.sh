#!/usr/bin/env bash
# Builds a program of llama.cpp to stand beside Weft, outside the repository: from the sdist of llama-cpp-python on PyPI,
# which holds llama.cpp's sources, in the version that tools/parity/requirements.txt names. Needs cmake, g++ and pip.
#
#   tools/llama-cpp.sh llama-bench    with CUDA for sm_90, for tools/gpu-check.sh; needs nvcc, and on two cores some hours
#   tools/llama-cpp.sh llama-server   for the CPU of this machine, for tools/compare/serve.py; without its page, without
#                                     TLS; on two cores most of an hour
#
#   --background   goes on by itself with low priority, and says where its log is
#   --jobs N       compilers at a time (as many as cores)
#   --arch LIST    for CMAKE_CUDA_ARCHITECTURES (90)
#   --sdist FILE   this file, no download
#
# The result, the program and VERSION, is in $XDG_CACHE_HOME/weft/PROGRAM (~/.cache/weft/PROGRAM); `tools/gpu-check.sh
# --pack` takes llama-bench along. cuBLAS is linked dynamically: it has to be where it runs. A build that was broken off
# goes on where it was. Exit codes: 0 built, 1 failed, 2 wrong usage.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
program=
jobs=$(nproc)
arch=90
sdist=
background=

wrong() {
    echo "llama-cpp: $1; see --help" >&2
    exit 2
}
failed() {
    echo "$program: $1" >&2
    exit 1
}
all=("$@")
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        sed -n '2,/^set -eu/p' "$0" | sed '$d; s/^# \{0,1\}//'
        exit 0
        ;;
    llama-bench | llama-server)
        [ -z "$program" ] || wrong "one program at a time"
        program=$1
        ;;
    --background) background=1 ;;
    --jobs | --arch | --sdist)
        [ $# -gt 1 ] || wrong "$1 needs a value"
        case $1 in --jobs) jobs=$2 ;; --arch) arch=$2 ;; --sdist) sdist=$(realpath -- "$2") ;; esac
        shift
        ;;
    *) wrong "unknown argument $1" ;;
    esac
    shift
done
[ -n "$program" ] || wrong "say llama-bench or llama-server"
case $jobs in '' | *[!0-9]* | 0*) wrong "--jobs needs a number, not '$jobs'" ;; esac
cache=${XDG_CACHE_HOME:-$HOME/.cache}/weft/$program
mkdir -p "$cache"

if [ -n "$background" ]; then
    rest=()
    for a in "${all[@]}"; do [ "$a" = --background ] || rest+=("$a"); done
    setsid nohup nice -n 19 "$0" ${rest[@]+"${rest[@]}"} >"$cache/build.log" 2>&1 </dev/null &
    echo "$program: building in the background; $cache/build.log says how far it is"
    exit 0
fi

command -v cmake >/dev/null || failed "cmake was not found"
# Only what the program needs is configured. Kernels stay uncompressed: nvcc would compress each file by itself, and then
# the pack's xz could not find what the files share (80 files of kernels are 64 MB; xz makes 6 MB of them, but 20 MB if
# nvcc has compressed them).
case $program in
llama-bench)
    nvcc=$(command -v nvcc || ls "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" 2>/dev/null) || failed "nvcc was not found"
    folders=llama-bench
    options=(-DCMAKE_CUDA_COMPILER="$nvcc" -DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$arch" -DGGML_CUDA_COMPRESSION_MODE=none
        -DGGML_CUDA_NCCL=OFF -DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DLLAMA_BUILD_SERVER=OFF)
    ;;
llama-server)
    folders='mtmd ui server'
    options=(-DGGML_NATIVE=ON -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF)
    ;;
esac

if [ -z "$sdist" ]; then
    version=$(sed -n 's/^llama-cpp-python==//p' "$here/parity/requirements.txt")
    sdist=$cache/llama_cpp_python-$version.tar.gz
    [ -f "$sdist" ] || python3 -m pip download -q --disable-pip-version-check --no-deps --no-binary :all: -d "$cache" \
        "llama-cpp-python==$version"
fi
name=$(basename "$sdist" .tar.gz)
src=$cache/$name/vendor/llama.cpp
if [ ! -f "$src/CMakeLists.txt" ]; then
    echo "$program: unpacking $sdist"
    tar -xzf "$sdist" -C "$cache"
fi
for folder in $folders; do echo "add_subdirectory($folder)"; done >"$src/tools/CMakeLists.txt"

cd "$src"
cmake -B bld -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF "${options[@]}"
cmake --build bld --target "$program" -j "$jobs"
cp "bld/bin/$program" "$cache/$program.new"
strip "$cache/$program.new"
mv "$cache/$program.new" "$cache/$program"
if [ "$program" = llama-bench ]; then
    # without programmatic launches (llama.cpp#22522) the comparison would favour us
    pdl=$(grep -rq ProgrammaticStreamSerialization ggml/src/ggml-cuda && echo with || echo without)
    kind="sm_$arch, $pdl programmatic launches"
else
    kind="for the CPU of this machine"
fi
commit=$(sed -n 's/.*ggml-org\/llama.cpp@\([0-9a-f]*\).*/\1/p' "$cache/$name/CHANGELOG.md" | head -n 1)
echo "$name (llama.cpp ${commit:-of an unknown commit}), $kind" >"$cache/VERSION"
echo "$program: $cache/$program, $(du -m "$cache/$program" | cut -f 1) MiB: $(cat "$cache/VERSION")"
