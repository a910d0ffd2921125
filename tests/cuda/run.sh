#!/bin/sh
# Runs the CUDA backend's tests on the simulator: sh tests/cuda/run.sh BUILD [SAN]
# One line for each program and order of threads; a failing one prints what it printed. With a sanitizer every program runs
# once, and the programs that go over many shapes take fewer of them (WEFT_TEST_QUICK).
set -u
build=$1
san=${2:-}
log=$build/sim/log
passed=0
failed=0
quick=
plain_addresses=
case $san in *thread*) setarch -R true 2>/dev/null && plain_addresses="setarch -R" ;; esac
mkdir -p "$log"

check() { # program, order, seed
    name=$(basename "$1")
    start=$(date +%s)
    if CUDASIM_ORDER=$2 CUDASIM_SEED=${3:-1} WEFT_TEST_QUICK=${san:-$quick} $plain_addresses "$1" >"$log/$name-$2$3.txt" 2>&1; then
        verdict=ok
        passed=$((passed + 1))
    else
        verdict=FAIL
        failed=$((failed + 1))
    fi
    printf '%-4s cuda %-16s %-8s %4d s\n' $verdict "$name" "$2${3:+ }$3" "$(($(date +%s) - start))"
    [ $verdict = ok ] || tail -n 40 "$log/$name-$2$3.txt"
    return 0
}

for t in "$build"/sim/test_* "$build"/sim/sim_*; do
    case $t in *.d | *.o) continue ;; esac
    [ -x "$t" ] || continue
    case $san,$t in
    *thread*,*/test_model | *thread*,*/sim_*) continue ;; # kernels only: their races are what it looks for
    esac
    check "$t" asc ""
    [ -n "$san" ] && continue
    case $t in
    */sim_*) ;;
    */test_model) quick=1 && check "$t" random 1 && quick= ;;
    *)
        check "$t" desc ""
        for seed in 1 2 3 4 5; do check "$t" random $seed; done
        ;;
    esac
done
if [ -x "$build/sim/weft" ]; then
    for m in qwen2 phi3; do
        out=$("$build/sim/weft" run -m models/weft-demo-$m.gguf --device cuda:0 -q -p 'The capital of France is' -n 12 --temp 0 2>&1)
        case $out in
        *Paris*) passed=$((passed + 1)) && echo "ok   cuda demo model $m: $out" ;;
        *) failed=$((failed + 1)) && echo "FAIL cuda demo model $m: $out" ;;
        esac
    done
fi
echo "cuda: $passed passed, $failed failed"
[ $failed = 0 ]
