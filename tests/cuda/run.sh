#!/bin/sh
# Runs the CUDA backend's tests on the simulator, as many at a time as there are cores: sh tests/cuda/run.sh BUILD [SAN]
# One line for each program and order of threads; a failing one prints what it printed. With a sanitizer every program runs
# once, and the programs that go over many shapes take fewer of them (WEFT_TEST_QUICK).
set -u
if [ "$1" = --one ]; then # build, sanitizer, program, order, seed, quick
    name=$(basename "$4")
    log=$2/sim/log/$name-$5$6.txt
    plain_addresses=
    case $3 in *thread*) setarch -R true 2>/dev/null && plain_addresses="setarch -R" ;; esac
    start=$(date +%s)
    verdict=ok
    if [ "$5" = demo ]; then
        "$4" run -m "models/weft-demo-$6.gguf" --device cuda:0 -q -p 'The capital of France is' -n 12 --temp 0 >"$log" 2>&1
        grep -q Paris "$log" || verdict=FAIL
    elif [ "$5" = smoke ]; then
        "$4" --smoke >"$log" 2>&1 || verdict=FAIL
    elif [ "$5" = gates ]; then
        python3 tools/gpu-model/plans.py --read "$4" >"$log" 2>&1 && python3 tests/cuda/test_plans.py "$4" >>"$log" 2>&1 ||
            verdict=FAIL
    else
        CUDASIM_ORDER=$5 CUDASIM_SEED=$6 WEFT_TEST_QUICK=${7:-$3} $plain_addresses "$4" >"$log" 2>&1 || verdict=FAIL
    fi
    printf '%-4s cuda %-17s %-6s %-5s %4d s\n' $verdict "$name" "$5" "$6" "$(($(date +%s) - start))"
    [ $verdict = ok ] || tail -n 40 "$log"
    exit 0
fi

build=$1
san=${2:-}
mkdir -p "$build/sim/log"
jobs() { # program, order, seed, quick; the long ones first
    for t in sim_faults test_model test_shapes test_schedule test_prefill; do
        case $san in *thread*) ;; *) [ -x "$build/sim/$t" ] && echo "$build/sim/$t asc 1" ;; esac
    done
    for t in test_model test_shapes test_schedule test_prefill; do [ -z "$san" ] && echo "$build/sim/$t random 1 quick"; done
    for t in "$build"/sim/test_* "$build"/sim/sim_*; do
        case $t in */test_model | */test_shapes | */test_schedule | */test_prefill | */sim_faults | *.*) continue ;; esac
        case $san,$t in *thread*,*/sim_*) continue ;; esac # of kernels only: their races are what it looks for
        echo "$t asc 1"
        [ -z "$san" ] || continue
        case $t in */sim_*) continue ;; esac
        echo "$t desc 1"
        for seed in 1 2 3 4 5; do echo "$t random $seed"; done
    done
    case $san in *thread*) return ;; esac
    for m in qwen2 phi3; do [ -x "$build/sim/weft" ] && echo "$build/sim/weft demo $m"; done
    [ -z "$san" ] || return
    [ -x "$build/sim/weft-gpu-bench" ] && echo "$build/sim/weft-gpu-bench smoke models"
    [ -f "$build/sim/launches.jsonl" ] || return
    if python3 -c 'import tomllib' 2>/dev/null; then
        echo "$build/sim/launches.jsonl gates plans"
    else
        echo "skip the gates of launches: no Python 3.11 or later" >&2
    fi
}
jobs >"$build/sim/log/jobs"
xargs -P "$(nproc)" -L 1 sh "$0" --one "$build" "$san" <"$build/sim/log/jobs" | tee "$build/sim/log/results"
passed=$(grep -c '^ok  ' "$build/sim/log/results")
all=$(wc -l <"$build/sim/log/jobs")
echo "cuda: $passed passed, $((all - passed)) failed"
[ "$passed" -gt 0 ] && [ "$passed" = "$all" ]
