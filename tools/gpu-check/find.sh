# shellcheck shell=bash disable=SC2034,SC2128,SC2154 # gpu-check.sh sources this; what is found here is used there
# Finds what gpu-check.sh needs on the machine: a place with room, the programs, cuBLAS, llama-bench, sanitizer and
# profiler.

# Files go to memory if it has room for the models, otherwise to a disk.
roomy_place() {
    local need=14000 free=0 memory=0
    [ -z "$smoke" ] || need=300
    if [ -d /dev/shm ] && [ -w /dev/shm ]; then
        free=$(df -Pk /dev/shm | awk 'NR == 2 { print int($4 / 1024) }')
        memory=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
    fi
    if [ "$free" -ge "$need" ] && [ "$memory" -ge $((2 * need)) ]; then echo /dev/shm; else echo "${TMPDIR:-/tmp}"; fi
}

# Runs `make` in the tree, or in the sources of the pack.
build_here() { # folder, target, variables...
    local from=$1 target=$2
    shift 2
    make -C "$from" --no-print-directory "-j$(nproc)" "$@" "$target" >>"$log" 2>&1 && return
    tail -n 20 "$log"
    echo "gpu-check: the build failed" >&2
    false
}

# Finds bin (weft, weft-gpu-bench), tests (test_*) and synth. An older C library may refuse to start the programs of a pack.
find_programs() {
    bin=${programs:-$here/build}
    if [ -f "$here/PACK" ]; then
        echo "pack: $(cat "$here/PACK")"
        if ! "$bin/weft" --version >>"$log" 2>&1; then
            echo "the programs of the pack do not start here: building them"
            "$bin/weft" --version 2>&1 | head -n 3
            # shellcheck source=tools/gpu-check/pack.sh
            . "$lib/pack.sh"
            CPATH=$here/include LIBRARY_PATH=$here/lib LDFLAGS=$pack_ldflags \
                build_here "$here/src" gpu-programs CUDA_ARCH=sm_90a || return
            bin=$here/src/build
        fi
    elif [ -z "$programs" ]; then
        if [ -n "$smoke" ]; then
            build_here "$here" gpu-check-programs && bin=$here/build/sim
        else
            build_here "$here" gpu-programs
        fi || return
    fi
    tests=$bin
    [ ! -d "$bin/gpu" ] || tests=$bin/gpu
    synth=$bin/weft-synth
    [ -x "$synth" ] || synth=$bin/../weft-synth
    local f
    for f in "$bin/weft" "$bin/weft-gpu-bench" "$synth"; do
        [ -x "$f" ] || { echo "gpu-check: there is no program $f" >&2 && return 1; }
    done
}

# Finds cuBLAS where the loader looks, or beside CUDA, or in Python's packages.
find_cublas() {
    ldconfig -p 2>/dev/null | grep -q 'libcublas\.so\.1[23]' && return
    local site d f
    site=$(command -v python3 >/dev/null && timeout 20 python3 -c \
        'import site, sysconfig; print("\n".join(site.getsitepackages() + [site.getusersitepackages(), sysconfig.get_path("purelib")]))')
    for d in "${CUDA_HOME:-/usr/local/cuda}/lib64" /usr/local/cuda*/lib64 /usr/local/cuda*/targets/x86_64-linux/lib \
        $(printf '%s\n' "$site" | sed 's|.*|&/nvidia/cu13/lib &/nvidia/cublas/lib|'); do
        for f in "$d"/libcublas.so.1[23]; do
            [ -e "$f" ] || continue
            export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$d"
            return
        done
    done
    [ -n "$smoke" ] || echo "cuBLAS was not found: long prompts will be slow, and llama-bench will not start"
}

# Finds llama, the folder of llama-bench; it is empty if there is none.
find_llama() {
    local d
    for d in "$llama" "$here/llama" "${XDG_CACHE_HOME:-$HOME/.cache}/weft/llama-bench"; do
        [ -n "$d" ] && [ -z "$smoke" ] && [ -x "$d/llama-bench" ] && llama=$d && break
    done
    if [ -z "$llama" ] && [ -n "$smoke" ]; then
        llama=$lib/fakes # a real llama-bench has nothing to run on
    fi
    llama_lib=$here/lib:${LD_LIBRARY_PATH:-}
    [ -n "$llama" ] || { echo "llama-bench: none is here (tools/llama-cpp.sh llama-bench builds it)" && return; }
    if ! LD_LIBRARY_PATH=$llama_lib timeout 20 "$llama/llama-bench" --help >"$work/llama.txt" 2>&1; then
        echo "llama-bench does not start: $(head -n 1 "$work/llama.txt")"
        llama=
    else
        echo "llama-bench: $(cat "$llama/VERSION" 2>/dev/null || echo "$llama")"
    fi
}

# Finds the GPU, and whether kernels run on it at all. If not, the first call's table says so, and its tests say more.
# Returns 3 if there is no GPU.
first_kernels() {
    local status
    command -v nvidia-smi >/dev/null && timeout 20 nvidia-smi \
        --query-gpu=name,driver_version,clocks.sm,clocks.mem,memory.used --format=csv,noheader
    timeout 60 "$bin/weft-gpu-bench" --smoke --part phases >"$work/first.txt" 2>&1
    status=$?
    if [ $status -ne 0 ]; then
        cat "$work/first.txt" >&2
        [ $status -eq 3 ] && echo "gpu-check: there is no GPU here; nothing was checked" >&2 && return 3
        echo "FAIL the first kernels: exit code $status" | tee "$work/first_failed"
    fi
    head -n 3 "$work/first.txt"
}

# Logs clocks and power in the background, for as long as the call takes.
log_clocks() { # seconds
    command -v nvidia-smi >/dev/null || return 0
    timeout "$1" nvidia-smi --query-gpu=timestamp,clocks.sm,clocks.mem,power.draw,temperature.gpu,utilization.gpu \
        --format=csv,noheader,nounits -lms 200 >"$work/clocks.csv" 2>/dev/null </dev/null &
    : >"$work/running/$!"
}

find_tool() { # name
    command -v "$1" && return
    local f
    for f in /usr/local/cuda*/bin/"$1" /usr/local/cuda*/compute-sanitizer/"$1" /opt/nvidia/*/*/"$1" \
        /opt/nvidia/*/*/compute-sanitizer/"$1" /opt/nvidia/*/*/*/*/"$1"; do
        [ -f "$f" ] && [ -x "$f" ] && echo "$f" && return
    done
    false
}

# Some containers refuse what these tools need, so each tool is tried once, on a program that ends at once. The result is
# kept in a file, because jobs in the background need it too.
try_tool() { # name, file, options...: the tool's path in the file, or "problem: why"
    local name=$1 to=$2 tool
    shift 2
    [ ! -s "$to" ] || return 0
    if ! tool=$(find_tool "$name"); then
        echo "problem: there is no $name here" >"$to"
    elif ! timeout 40 "$tool" "$@" "$bin/weft-gpu-bench" --smoke --part phases >"$work/logs/try-$name.txt" 2>&1 ||
        grep -q '==ERROR==\|No kernels were profiled' "$work/logs/try-$name.txt"; then
        echo "problem: $name cannot attach: $(grep -i -m 1 'error\|denied\|permi\|not supp\|no kernels' \
            "$work/logs/try-$name.txt" | cut -c -120)" >"$to"
    else
        echo "$tool" >"$to"
    fi
}

# Finds sanitizer, or sets sanitizer_problem.
find_sanitizer() {
    try_tool compute-sanitizer "$work/sanitizer" --tool memcheck --error-exitcode 99
    sanitizer=$(cat "$work/sanitizer")
    sanitizer_problem=${sanitizer#problem: }
    case $sanitizer in problem:*) false ;; esac
}

# Finds profiler, or sets profiler_problem.
find_profiler() {
    try_tool ncu "$work/profiler" --clock-control none --launch-count 1 --metrics gpu__time_duration.sum
    profiler=$(cat "$work/profiler")
    profiler_problem=${profiler#problem: }
    case $profiler in problem:*) false ;; esac
}
