#!/usr/bin/env bash
# Builds llama.cpp's llama-bench with CUDA for sm_90, to stand beside Weft in tools/gpu-check.sh: from the newest sdist of
# llama-cpp-python on PyPI, which holds llama.cpp's sources. Needs nvcc, cmake, g++, pip, and on two cores some hours.
#
#   tools/llama-bench.sh                in the foreground
#   tools/llama-bench.sh --background   goes on by itself with low priority, and says where its log is
#
#   --jobs N       compilers at a time (as many as cores)
#   --arch LIST    for CMAKE_CUDA_ARCHITECTURES (90)
#   --sdist FILE   this file, no download
#
# The result, llama-bench and VERSION, is in $XDG_CACHE_HOME/weft/llama-bench (~/.cache/weft/llama-bench), outside the
# repository; `tools/gpu-check.sh --pack` takes it along. cuBLAS is linked dynamically: it has to be where it runs. A build
# that was broken off goes on where it was. Exit codes: 0 built, 1 failed, 2 wrong usage.
set -eu

jobs=$(nproc)
arch=90
sdist=
background=
cache=${XDG_CACHE_HOME:-$HOME/.cache}/weft/llama-bench

wrong() {
    echo "llama-bench: $1; see --help" >&2
    exit 2
}
all=("$@")
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        sed -n '2,/^set -eu/p' "$0" | sed '$d; s/^# \{0,1\}//'
        exit 0
        ;;
    --background) background=1 ;;
    --jobs | --arch | --sdist)
        [ $# -gt 1 ] || wrong "$1 needs a value"
        case $1 in --jobs) jobs=$2 ;; --arch) arch=$2 ;; --sdist) sdist=$(realpath -- "$2") ;; esac
        shift
        ;;
    *) wrong "unknown option $1" ;;
    esac
    shift
done
case $jobs in '' | *[!0-9]* | 0*) wrong "--jobs needs a number, not '$jobs'" ;; esac
mkdir -p "$cache"

if [ -n "$background" ]; then
    rest=()
    for a in "${all[@]}"; do [ "$a" = --background ] || rest+=("$a"); done
    setsid nohup nice -n 19 "$0" ${rest[@]+"${rest[@]}"} >"$cache/build.log" 2>&1 </dev/null &
    echo "llama-bench: building in the background; $cache/build.log says how far it is"
    exit 0
fi

nvcc=$(command -v nvcc || ls "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" 2>/dev/null) || { echo "llama-bench: nvcc was not found" >&2; exit 1; }
command -v cmake >/dev/null || { echo "llama-bench: cmake was not found" >&2; exit 1; }

# the newest if there are several
newest() { find "$cache" -maxdepth 1 -name 'llama_cpp_python-*.tar.gz' | sort -V | tail -n 1; }
if [ -z "$sdist" ]; then
    python3 -m pip download -q --disable-pip-version-check --no-deps --no-binary :all: -d "$cache" llama-cpp-python
    sdist=$(newest)
fi
name=$(basename "$sdist" .tar.gz)
src=$cache/$name/vendor/llama.cpp
if [ ! -f "$src/CMakeLists.txt" ]; then
    echo "llama-bench: unpacking $sdist"
    tar -xzf "$sdist" -C "$cache"
fi
# no other tool is built
echo 'add_subdirectory(llama-bench)' >"$src/tools/CMakeLists.txt"

cd "$src"
# Kernels stay uncompressed: nvcc would compress each file by itself, and then the pack's xz could not find what the files
# share (80 files of kernels are 64 MB; xz makes 6 MB of them, but 20 MB if nvcc has compressed them).
cmake -B bld -DCMAKE_BUILD_TYPE=Release -DCMAKE_CUDA_COMPILER="$nvcc" -DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$arch" \
    -DGGML_CUDA_COMPRESSION_MODE=none -DGGML_CUDA_NCCL=OFF -DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DBUILD_SHARED_LIBS=OFF \
    -DLLAMA_OPENSSL=OFF -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF \
    -DLLAMA_BUILD_APP=OFF
cmake --build bld --target llama-bench -j "$jobs"
cp bld/bin/llama-bench "$cache/llama-bench.new"
strip "$cache/llama-bench.new"
mv "$cache/llama-bench.new" "$cache/llama-bench"
# without programmatic launches (llama.cpp#22522) the comparison would favour us
pdl=$(grep -rq ProgrammaticStreamSerialization ggml/src/ggml-cuda && echo with || echo without)
echo "$name, sm_$arch, $pdl programmatic launches" >"$cache/VERSION"
echo "llama-bench: $cache/llama-bench, $(du -m "$cache/llama-bench" | cut -f 1) MiB: $(cat "$cache/VERSION")"
