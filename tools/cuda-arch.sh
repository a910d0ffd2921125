#!/bin/sh
# Prints what make compiles the kernels for if CUDA_ARCH is not given: machine code for each kind of GPU in this machine.
# Without a GPU it is code for 9.0, and PTX for 8.0, which the driver of any other GPU compiles when a program first runs
# there. usage: tools/cuda-arch.sh NVCC
nvcc=$1
known=" $("$nvcc" --list-gpu-code 2>/dev/null | tr '\n' ' ') "
knows() { case "$known" in *" $1 "*) ;; *) false ;; esac }

# Prints a line like 9.0 for each GPU. A driver that hangs, is being installed, or is too old to be asked must not stop a build.
capabilities() {
    command -v nvidia-smi >/dev/null || return
    limit=$(command -v timeout >/dev/null && echo 'timeout 10')
    $limit nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null </dev/null |
        grep -E -x '[0-9]{1,2}\.[0-9]' | sort -u -t . -k 1,1n -k 2,2n
}

# Prints the nearest target that this compiler supports: code for 12.0 runs on 12.1 too, and PTX for 9.0 on everything later.
code_for() { # major, minor
    for minor in $(seq "$2" -1 0); do
        if knows "sm_$1$minor"; then
            [ "$1$minor" = 90 ] && echo sm_90a || echo "sm_$1$minor"
            return
        fi
    done
    knows sm_90 && [ "$1" -gt 9 ] && echo compute_90 || echo compute_80
}

codes=
for c in $(capabilities); do
    [ "${c%.*}" -ge 8 ] || continue # kernels do not run there
    code=$(code_for "${c%.*}" "${c#*.}")
    case " $codes " in *" $code "*) ;; *) codes="$codes $code" ;; esac
done
echo "${codes:-sm_90a compute_80}" | sed 's/^ //'
