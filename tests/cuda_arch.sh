#!/bin/sh
# Tests for which GPUs the kernels are compiled, on machines whose nvidia-smi and nvcc are made up here, and that kernels
# are compiled again if that changes.
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
failed=0
is() { # description, found, expected
    if [ "$2" = "$3" ]; then
        echo "ok $1"
    else
        echo "FAIL $1: '$2', expected '$3'"
        failed=1
    fi
}
program() { # path; its text from stdin
    { echo '#!/bin/sh' && cat; } >"$1"
    chmod +x "$1"
}

mkdir -p "$dir/bin" "$dir/cuda/bin" "$dir/tree"
program "$dir/cuda/bin/nvcc" <<END
[ "\$1" = --list-gpu-code ] && printf 'sm_%s\n' 75 80 86 87 89 90 100 103 120 121 && exit
echo "\$*" | tr ' ' '\n' | sed -n 's/.*code=//p' | tr '\n' ' ' >>"$dir/compiled"
echo >>"$dir/compiled"
while [ \$# -gt 1 ]; do
    case \$1 in -o) : >"\$2" ;; -MF) : >"\$2" ;; esac
    shift
done
END
nvcc=$dir/cuda/bin/nvcc
arch() { PATH="$dir/bin:$PATH" sh tools/cuda-arch.sh "$nvcc" 2>&1; }
gpus() { # text, exit status
    program "$dir/bin/nvidia-smi" <<END
[ "\$*" = '--query-gpu=compute_cap --format=csv,noheader' ] || exit 9
printf '$1'
exit ${2:-0}
END
}

mkdir "$dir/without"
for t in sh tr seq grep sort sed; do ln -s "$(command -v $t)" "$dir/without/$t"; done
is 'without a driver' "$(PATH="$dir/without" sh tools/cuda-arch.sh "$nvcc" 2>&1)" 'sm_90a compute_80'
gpus '9.0\n' && is 'an H200' "$(arch)" sm_90a
gpus '8.6\n8.6\n' && is 'two alike' "$(arch)" sm_86
gpus '12.0\n8.9\n' && is 'two kinds' "$(arch)" 'sm_89 sm_120'
gpus '10.0\n' && is 'Blackwell' "$(arch)" sm_100
gpus '12.2\n' && is 'a later one of a known family' "$(arch)" sm_121
gpus '13.0\n' && is 'a family that nvcc does not know' "$(arch)" compute_90
gpus '7.5\n' && is 'one that kernels do not run on' "$(arch)" 'sm_90a compute_80'
gpus '7.5\n9.0\n' && is 'one of two' "$(arch)" sm_90a
gpus 'Field "compute_cap" is not a valid field to query.\n' 2 && is 'a driver that does not understand' "$(arch)" 'sm_90a compute_80'
gpus 'NVIDIA-SMI has failed because ...\n' 9 && is 'a driver that does not run' "$(arch)" 'sm_90a compute_80'
gpus '[N/A]\n' && is 'a GPU that does not know' "$(arch)" 'sm_90a compute_80'

# Runs make in a tree that has only the files that this needs.
mkdir -p "$dir/tree/tests/cudasim" "$dir/tree/tests/cuda" "$dir/tree/kernels"
cp Makefile "$dir/tree/"
cp -r tools include "$dir/tree/"
cp tests/cudasim/cudasim.mk "$dir/tree/tests/cudasim/"
cp tests/cuda/cuda.mk "$dir/tree/tests/cuda/"
cp kernels/measure.cu "$dir/tree/kernels/"
made() { PATH="$dir/bin:$PATH" env -u CUDA_ARCH -u MAKEFLAGS -u MAKELEVEL make -s -C "$dir/tree" NVCC="$nvcc" "$@"; }
compiled() { # runs make with these arguments, and prints for which GPUs make called nvcc
    : >"$dir/compiled"
    made "$@" build/kernels/measure.o >/dev/null 2>&1
    sed 's/ $//' "$dir/compiled"
}
gpus '8.9\n'
is 'make compiles for the GPU' "$(compiled)" sm_89
is 'and not again' "$(compiled)" ''
is 'CUDA_ARCH overrides it' "$(compiled CUDA_ARCH='sm_80 compute_80')" 'sm_80 compute_80'
is 'and stays' "$(compiled CUDA_ARCH='sm_80 compute_80')" ''
gpus '12.0\n' && is 'another GPU' "$(compiled)" sm_120
is 'make release' "$(made -n release 2>&1 | grep -o "CUDA_ARCH='[^']*'" | head -n 1)" \
    "CUDA_ARCH='sm_80 sm_90a sm_100 sm_120 compute_90'"
exit $failed
