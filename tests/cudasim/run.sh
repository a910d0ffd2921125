#!/bin/sh
# Builds and runs the simulator's own tests: sh tests/cudasim/run.sh BUILD [full]
# One line per configuration; a failing one prints what its tests printed. `full` adds fifteen more
# seeds, clang, a coverage check of the sample kernels, and nvcc (which only compiles them).
set -u
build=${1:-build}
full=${2:-}
out=$build/cudasim
passed=0
failed=0

inc=
for dir in ${CUDA_HOME:+"$CUDA_HOME"} /usr/local/cuda; do
    [ -z "$inc" ] && [ -f "$dir/include/cuda_runtime.h" ] && [ -f "$dir/include/cublas_v2.h" ] &&
        inc=$dir/include
done
if [ -z "$inc" ]; then
    echo "skip cudasim: CUDA headers not found in \$CUDA_HOME or /usr/local/cuda"
    exit 0
fi
# ThreadSanitizer does not start where the kernel randomises addresses too far.
plain_addresses=
setarch -R true 2>/dev/null && plain_addresses="setarch -R"

build_variant() { # name, flags for make...
    variant=$1
    shift
    mkdir -p "$out/$variant"
    if ! ${MAKE:-make} --no-print-directory -j2 -f tests/cudasim/cudasim.mk SAN= CXX=g++ \
        CUDASIM_OUT="$out/$variant" CUDA_INC="$inc/cuda_runtime.h" "$@" cudasim-tests \
        >"$out/$variant/log" 2>&1; then
        cat "$out/$variant/log"
        failed=$((failed + 1))
        echo "FAIL cudasim $variant: does not build"
        return 1
    fi
}

check() { # name, command...
    name=$1
    shift
    if "$@" >"$out/log" 2>&1; then
        passed=$((passed + 1))
        echo "ok   cudasim $name: $(tail -n 1 "$out/log")"
    else
        failed=$((failed + 1))
        cat "$out/log"
        echo "FAIL cudasim $name"
    fi
}

mkdir -p "$out"
if build_variant o2; then
    check "ascending" env CUDASIM_ORDER=asc "$out/o2/samples"
    check "descending" env CUDASIM_ORDER=desc "$out/o2/samples"
    seeds="1 2 3 4 5"
    [ -n "$full" ] && seeds="$seeds 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20"
    for seed in $seeds; do
        check "random, seed $seed" env CUDASIM_ORDER=random CUDASIM_SEED="$seed" "$out/o2/samples"
    done
    check "eager" env CUDASIM_EAGER=1 "$out/o2/samples" graph
    check "planted bugs, schedules" "$out/o2/bugs"
fi
if build_variant asan CUDASIM_OPT=-O1 \
    SAN='-fsanitize=address,undefined -fno-sanitize-recover=all'; then
    check "ASan+UBSan" "$out/asan/samples"
    check "planted bugs, ASan+UBSan" "$out/asan/bugs"
fi
if build_variant tsan CUDASIM_OPT=-O1 SAN=-fsanitize=thread; then
    check "TSan" $plain_addresses "$out/tsan/samples"
    check "planted bugs, TSan" $plain_addresses "$out/tsan/bugs"
fi

if [ -n "$full" ]; then
    if command -v clang++ >/dev/null && build_variant clang CXX=clang++ CC=clang; then
        check "clang" "$out/clang/samples"
        check "planted bugs, clang" "$out/clang/bugs"
    fi
    if build_variant coverage CUDASIM_OPT=-O0 SAN=--coverage; then
        check "samples for coverage" "$out/coverage/samples"
        t=tests/cudasim/tests
        check "coverage" sh tests/cudasim/coverage.sh "$out/coverage" $t/matvec.cu \
            $t/attention.cu $t/tensor_cores.cu $t/grid.cu $t/intrinsics.cu
    fi
    nvcc=$(command -v nvcc || ls "${inc%/include}/bin/nvcc" 2>/dev/null)
    [ -n "$nvcc" ] && check "nvcc" sh tests/cudasim/nvcc.sh "$nvcc" "$out/nvcc"
fi
echo "cudasim: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
