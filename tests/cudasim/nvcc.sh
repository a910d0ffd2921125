#!/bin/sh
# Compiles the sample and bug kernels, cu.cuh and ptx.cuh with nvcc for sm_80, sm_90a and PTX, without a warning. Runs
# nothing. usage: sh tests/cudasim/nvcc.sh NVCC OUT
set -u
nvcc=$1
out=$2
mkdir -p "$out"
for file in tests/cudasim/tests/*.cu; do
    "$nvcc" -std=c++20 -O2 -I. -Itests -Werror all-warnings -Xcompiler -Wall,-Wextra \
        -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90a,code=sm_90a \
        -gencode arch=compute_80,code=compute_80 \
        -c "$file" -o "$out/$(basename "$file").o" || exit 1
done
echo "sm_80, sm_90a and PTX without a warning"
