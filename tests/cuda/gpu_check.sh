#!/usr/bin/env bash
# Tests tools/gpu-check.sh on the simulator. usage: bash tests/cuda/gpu_check.sh BUILD [all]. Planted failures must be found
# and run again in other ways. A call that is out of time, or is told to end, must still print its table and pack its logs.
# A sanitizer that cannot attach must be named. "all" also runs both calls as a whole, and the faults that only models show.
set -u
all=${2:-}
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CUDASIM_ORDER=asc WEFT_TEST_LEVEL=thin
failed=0

check() { # name, options...: its output in $work/NAME.txt
    local name=$1
    shift
    mkdir -p "$work/$name"
    OUT=$work/$name tools/gpu-check.sh --smoke --programs "$build/sim" "$@" >"$work/$name.txt" 2>&1
    status=$?
    return $status
}
expect() { # name, status, patterns that lines of the output match
    local name=$1 want=$2 p
    shift 2
    if [ "$status" != "$want" ]; then
        echo "FAIL gpu-check, $name: exit code $status, expected $want"
        tail -n 40 "$work/$name.txt"
        failed=1
    fi
    for p in "$@"; do
        grep -q -E -e "$p" "$work/$name.txt" && continue
        echo "FAIL gpu-check, $name: no line matches '$p' in"
        tail -n 40 "$work/$name.txt"
        failed=1
    done
}
fake() { # program: puts a script in its place, which is read from the input
    mkdir -p "$work/bin"
    cat >"$work/bin/$1"
    chmod +x "$work/bin/$1"
}

# Both calls as a whole, with a few programs.
if [ "$all" ]; then
    check whole --only 'test_pick demo ids' &
    whole=$!
fi

# The first stand-in of compute-sanitizer works: it runs the program, and reports an error if the program fails, or if its
# buffers lie in one arena. The second one, and that of ncu, cannot attach.
fake compute-sanitizer <<'END'
#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in --tool | --error-exitcode | --print-limit | --leak-check) shift 2 ;; *) break ;; esac
done
case $* in
*--no-arena*) ;;
*--part\ phases* | */test_*) ;;
*) echo "buffers in an arena" && exit 1 ;;
esac
"$@" || exit 99
END
PATH=$work/bin:$PATH check planted --plant --only "test_pick test_rows ${all:+ids}" --part tests
expect planted 1 '^FAIL test test_rows ' '^ok   test test_pick ' 'again test test_rows, by itself: fails' \
    'again test test_rows, under memcheck: has errors' 'again test test_rows, without programmatic launches: passes' \
    "^gpu-check A: 1 passed, $([ "$all" ] && echo 2 || echo 1) not"
[ -z "$all" ] || expect planted 1 '^FAIL ids tiny-q8_0 ' 'run 2 DIFFERS: text 1 of 1 at once, depth 20, token [0-9] is [0-9]+, expected [0-9]+ ' \
    'again ids tiny-q8_0, under memcheck: has errors' \
    'again ids tiny-q8_0, without programmatic launches: fails'
PATH=$work/bin:$PATH check sanitizers --only "test_measure${all:+ test_platform test_weights}" --call B --part sanitizers
expect sanitizers 0 '^ok   memcheck weft ' '^ok   initcheck weft ' '^ok   racecheck test_measure ' \
    "^gpu-check B: $([ "$all" ] && echo 12 || echo 8) passed, 0 not"
fake compute-sanitizer <<'END'
#!/bin/sh
echo "========= Error: Device not supported"
exit 1
END
fake ncu <<'END'
#!/bin/sh
echo "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance Counters"
exit 1
END
PATH=$work/bin:$PATH check refused --call B --part sanitizers --part profile
expect refused 1 '^skip sanitizers: compute-sanitizer cannot attach: .*Device not supported' \
    '^skip profile: ncu cannot attach: .*ERR_NVGPUCTRPERM'
if [ "$all" ]; then
    check lost --plant --call B --part leak
    expect lost 1 '^FAIL leak ' 'LOST, engine after engine' 'again leak, by itself: fails'
fi

# These programs do nothing but print a line. weft-synth and weft still exit with 0.
mkdir "$work/broken_programs"
for f in weft-gpu-bench weft-synth weft; do
    printf '#!/bin/sh\necho %s is broken\n[ %s != weft-gpu-bench ]\n' $f $f >"$work/broken_programs/$f"
    chmod +x "$work/broken_programs/$f"
done
check broken --programs "$work/broken_programs" --call A --part tests --only demo
expect broken 1 '^FAIL the first kernels: exit code 1' '^FAIL demo qwen2 ' 'again demo qwen2, by itself: fails' \
    '^gpu-check A: 0 passed, 5 not'

# A call whose time is up ends by itself within seconds, and prints its table.
start=$SECONDS
check late --only 'test_rows test_pick' --call A --seconds 14
took=$((SECONDS - start))
expect late 1 '^SKIP |^TIME ' '^gpu-check A: [0-9]+ passed, [1-9][0-9]* not, in'
[ $took -le 20 ] || { echo "FAIL gpu-check: $took s, expected at most 14" && failed=1; }
[ -s "$work/late/gpu-check-A.tar.xz" ] || { echo "FAIL gpu-check: no logs of what was late" && failed=1; }

# A call is told to end.
mkdir "$work/told"
OUT=$work/told tools/gpu-check.sh --smoke --programs "$build/sim" --call A --only test_model >"$work/told.txt" 2>&1 &
pid=$!
for _ in $(seq 100); do grep -q '^call A' "$work/told.txt" && break; sleep 0.1; done
sleep 1
kill -TERM $pid
wait $pid
status=$?
expect told 1 '^gpu-check: told to end' '^TIME test test_model ' '^gpu-check A: [0-9]+ passed, [1-9][0-9]* not, in'
[ -s "$work/told/results-A.txt" ] || { echo "FAIL gpu-check: no results of what was told to end" && failed=1; }

if [ "$all" ]; then
    wait "$whole"
    status=$?
    expect whole 0 '^ok   test test_pick ' '^ok   demo qwen2, deterministic ' '^ok   ids tiny-q8_0 ' '8 ways, 2 runs each: equal' \
        '^ok   timings of kernels ' '^tiny-q8_0 +decode 512 +[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9]+ % +1\.0 ' '^clocks at work: 1980 MHz' \
        '^gpu-check A: 12 passed, 0 not' '^k_fake_attend +1 +7.5 +75.0 %' '^ok   leak ' '^gpu-check B: 2 passed, 0 not' \
        '^skip sanitizers: there is no compute-sanitizer here|cannot attach'
    for f in results-A.txt gpu-check-A.tar.xz results-B.txt gpu-check-B.tar.xz; do
        [ -s "$work/whole/$f" ] || { echo "FAIL gpu-check: no $f" && failed=1; }
    done
fi

[ $failed = 0 ] && echo "ok   gpu-check"
exit $failed
