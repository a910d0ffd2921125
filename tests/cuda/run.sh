#!/bin/sh
# Runs the CUDA backend's tests on the simulator, as many at a time as there are cores: sh tests/cuda/run.sh BUILD [SAN]
# Prints a line for each program and order of threads. If a program fails, its output follows.
#
# At the level all, every program of kernels runs in seven orders of threads. Programs that run whole models for minutes run
# all their cases in the first order, and some in a random one. At the level thin there are three orders. Programs of kernels
# run all their cases in the first order only, and those of whole models run some. Touches of device memory by the host's
# code, which is the same in every order, are watched only in the first order. With a sanitizer every program runs once, with
# some of its cases at every level: a sanitizer checks each access, and all shapes make the same accesses. With
# ThreadSanitizer only programs of kernels run, to find races within kernels.
set -u
. tests/job.sh
if [ "$1" = --one ]; then # build, sanitizer, program, order, seed, level
    name=$(basename "$4")
    text=$2/sim/log/$name-$5$6.txt
    plain_addresses=
    case $3 in *thread*) setarch -R true 2>/dev/null && plain_addresses="setarch -R" ;; esac
    export CUDASIM_ORDER=$5 CUDASIM_SEED=$6 WEFT_TEST_LEVEL=${7:-all}
    [ "$WEFT_TEST_LEVEL,$5" != thin,desc ] && [ "$WEFT_TEST_LEVEL,$5" != thin,random ] || export CUDASIM_PROTECT=0
    case $5 in
    demo)
        unset CUDASIM_ORDER
        job "$text" "$4" run -m "models/weft-demo-$6.gguf" --device cuda:0 -q -p 'The capital of France is' -n 12 --temp 0
        grep -q Paris "$text" || verdict=FAIL
        ;;
    smoke) job "$text" "$4" --smoke ;;
    gates) job "$text" sh -c 'python3 tools/gpu-model/plans.py --read "$1" && python3 tests/cuda/test_plans.py "$1"' - "$4" ;;
    *) job "$text" $plain_addresses "$4" ;;
    esac
    printf '%-4s cuda %-17s %-6s %-6s %s\n' $verdict "$name" "$5" "$6" "$took"
    [ $verdict = ok ] || tail -n 40 "$text"
    exit 0
fi

build=$1
san=${2:-}
level=${WEFT_TEST_LEVEL:-all}
[ -z "$san" ] || level=thin
logs=$build/sim/log
mkdir -p "$logs"
long='sim_faults test_model test_shapes test_schedule test_prefill'
orders() { # prints the orders in which a program of kernels runs: order, seed, level
    [ -z "$san" ] || { echo "asc 1 thin" && return; }
    echo "asc 1 all"
    echo "desc 1 $level"
    echo "random 1 $level"
    [ "$level" = thin ] || for seed in 2 3 4 5; do echo "random $seed $level"; done
}
of_kernels() { # prints the programs of kernels
    for t in "$build"/sim/test_*; do
        case " $long " in *" ${t##*/} "*) continue ;; esac
        case $t in *.*) ;; *) echo "$t" ;; esac
    done
}
planned() {
    for t in "$build"/sim/sim_*; do
        case $t in */sim_faults | *.*) ;; *) echo "$t asc 1 $level" ;; esac
    done
}
jobs() { # prints a line for each run, the long ones first: program, order, seed, level
    case $san in
    *thread*) ;;
    *)
        for t in $long; do [ -x "$build/sim/$t" ] && echo "$build/sim/$t asc 1 $level"; done
        [ -n "$san" ] || for t in ${long#* }; do echo "$build/sim/$t random 1 thin"; done
        planned
        ;;
    esac
    of_kernels | while read -r t; do orders | sed "s,.*,$t &,"; done
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
jobs >"$logs/jobs"
xargs -P "$(nproc)" -L 1 sh "$0" --one "$build" "$san" <"$logs/jobs" | tee "$logs/results"
passed=$(grep -c '^ok  ' "$logs/results")
all=$(wc -l <"$logs/jobs")
# Lists what the runs in the first order have left out. What the other orders leave out is one line.
grep ' asc ' "$logs/jobs" | while read -r t order seed _; do
    left_of "cuda ${t##*/}" "$logs/${t##*/}-$order$seed.txt"
done >"$logs/left"
[ -n "$san" ] || echo "cuda: four of seven orders of threads, and most shapes of kernels in two of three" >>"$logs/left"
echo "cuda: $passed passed, $((all - passed)) failed"
[ "$passed" -gt 0 ] && [ "$passed" = "$all" ]
