#!/usr/bin/env bash
# Runs everything that needs a GPU, on a machine that is available for a quarter of an hour: the tests of the CUDA backend,
# the timings beside llama.cpp's, compute-sanitizer, a profile, and the search for lost memory. It has two calls. Each call
# ends by itself, prints a table at its end whatever has happened, and packs its logs into one file.
#
#   tools/gpu-check.sh --pack              on any machine with nvcc: builds for sm_90a and packs into build/gpu-pack what a
#                                          bare machine with a GPU needs (programs, libraries, demo models, sources, and
#                                          llama-bench, if tools/llama-cpp.sh has built it)
#   build/gpu-pack/gpu-check.sh --call A   there, without a compiler: tests, then timings (430 s)
#   build/gpu-pack/gpu-check.sh --call B   sanitizers, profile, lost memory last (230 s)
#   tools/gpu-check.sh                     in a source tree on a machine with a GPU: builds, then both calls
#   tools/gpu-check.sh --smoke             anywhere with nvcc: both calls on the simulator, with tiny models (make
#                                          gpu-check-smoke is the same). What is not installed is played by
#                                          tools/gpu-check/fakes; only compute-sanitizer is not
#
#   --call A, --call B   only this call
#   --part NAME          only this part of them, may be repeated: tests, timings, sanitizers, profile, leak
#   --seconds N          for a call, in place of the above; what does not fit is skipped, and counts as a failure
#   --only 'A B'         of the tests only these: test_rows and the like, demo (generates a little text), ids (compares the
#                        tokens of the large models)
#   --llama DIR          DIR holds llama-bench built with CUDA (otherwise: the pack's, or what tools/llama-cpp.sh built)
#   --programs DIR       builds nothing: the programs are in DIR
#   --plant              a test, the comparison of tokens and the search for lost memory get a fault that they must find,
#                        so that the reruns of failed programs are seen
#
# A failed program is run again by itself, under memcheck, and without programmatic launches; the table has the outcomes.
# Exit codes: 0 all passed, 1 something failed or was skipped for lack of time, 2 wrong usage, 3 no GPU.
# With $OUT set, results-A.txt (the table), log-A.txt (as it goes along) and gpu-check-A.tar.xz (all logs, values as JSON
# lines, clocks and power five times a second) are written there, and likewise for B.
set -u

here=$(cd "$(dirname "$0")/.." && pwd)
lib=$here/tools/gpu-check
began_at=${WEFT_GPU_CHECK_BEGAN:-$(date +%s)} # for a pack: the time before it was unpacked
calls='A B'
parts=
seconds=
only=
llama=
programs=
smoke=
plant=
action=check

usage() {
    sed -n '2,/^set -u/p' "$0" | sed '$d; s/^# \{0,1\}//'
}
wrong() {
    echo "gpu-check: $1; see --help" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage && exit 0 ;;
    --pack) action=pack ;;
    --smoke) smoke=--smoke ;;
    --plant) plant=--plant ;;
    --call | --part | --seconds | --only | --llama | --programs)
        [ $# -gt 1 ] || wrong "$1 needs a value"
        case $1 in
        --call) calls=$2 ;;
        --part) parts="$parts $2" ;;
        --seconds) seconds=$2 ;;
        --only) only=$2 ;;
        --llama) llama=$2 ;;
        --programs) programs=$2 ;;
        esac
        shift
        ;;
    *) wrong "unknown option $1" ;;
    esac
    shift
done
case $calls in A | B | 'A B') ;; *) wrong "there is no call $calls, only A and B" ;; esac
for p in $parts; do
    case $p in tests | timings | sanitizers | profile | leak) ;; *) wrong "there is no part $p" ;; esac
done
case $seconds in *[!0-9]* | 0*) wrong "--seconds needs a number, not '$seconds'" ;; esac
[ -z "$llama" ] || [ -x "$llama/llama-bench" ] || wrong "there is no llama-bench in $llama"
[ -z "$programs" ] || programs=$(cd "$programs" && pwd) || wrong "there is no folder of programs"

if [ $action = pack ]; then
    # shellcheck source=tools/gpu-check/pack.sh
    . "$lib/pack.sh"
    make_pack
    exit
fi

# shellcheck source=tools/gpu-check/find.sh
. "$lib/find.sh"
# shellcheck source=tools/gpu-check/jobs.sh
. "$lib/jobs.sh"
# shellcheck source=tools/gpu-check/parts.sh
. "$lib/parts.sh"
# shellcheck source=tools/gpu-check/timings.sh
. "$lib/timings.sh"

# --- where, and with what ----------------------------------------------------------------------------------------------

base=$(roomy_place)
work=$(mktemp -d "$base/weft-gpu-check.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work
mkdir "$work/logs" "$work/running" "$work/again"
out=${OUT:-$work}
store=$work/models # a pack keeps them between its two calls
[ ! -f "$here/PACK" ] || store=$here/made
[ -z "$smoke" ] || PATH=$PATH:$lib/fakes
log=$work/log.txt
find_programs || exit 1
find_cublas
find_llama
first_kernels || exit $?

# --- a call ------------------------------------------------------------------------------------------------------------

parts_of() { # call: prints those of its parts that are wanted
    local p
    for p in $([ "$1" = A ] && echo tests timings || echo sanitizers profile leak); do
        case " ${parts:-$p} " in *" $p "*) echo "$p" ;; esac
    done
}
share() { # prints the share of a part in the time of a call
    case $1 in tests) echo 42 ;; timings) echo 58 ;; sanitizers) echo 62 ;; profile) echo 16 ;; leak) echo 22 ;; esac
}

# Each part takes its share of the time that is left, so that the parts behind it get the time that a part does not use.
run_parts() { # parts...
    local p sum
    while [ $# -gt 0 ]; do
        sum=0
        for p in "$@"; do sum=$((sum + $(share "$p"))); done
        part_end=$((SECONDS + (call_end - SECONDS) * $(share "$1") / sum))
        "part_$1"
        shift
    done
}

# Ends what is running by a signal. The jobs that follow are then skipped, which takes no time.
stop_call() {
    [ ! -e "$work/stop" ] || return
    echo "gpu-check: $1" | tee -a "$results"
    : >"$work/stop"
    end_jobs TERM
    (sleep 3 && end_jobs KILL) &
}

# The parts run in a process of their own. This process waits, ends them when time is up or somebody asks for it, and prints
# the table from what they have written.
run_call() { # name, seconds, parts...
    local name=$1 worker watchdog limit=$2
    shift 2
    results=$out/results-$name.txt
    log=$out/log-$name.txt
    rm -f "$work/stop" "$work/making" "$work"/running/*
    cat "$work/first_failed" >"$results" 2>/dev/null
    rm -f "$work/first_failed"
    cat "$work"/log.txt >"$log" 2>/dev/null
    call_end=$((SECONDS + limit - 8)) # for the table and the logs
    echo "call $name: $* (at most $limit s)"
    log_clocks "$limit"
    run_parts "$@" &
    worker=$!
    (sleep $((limit - 6)) && kill -USR1 $$) >/dev/null 2>&1 &
    watchdog=$!
    trap 'stop_call "the call had no time left"' USR1
    trap 'stop_call "told to end"' TERM INT HUP
    while kill -0 $worker 2>/dev/null; do wait $worker 2>/dev/null; done
    trap '' USR1
    kill "$watchdog" 2>/dev/null
    end_jobs TERM # the log of the clocks, models that nobody waits for
    print_table "$name"
    keep_logs "$name"
    trap - TERM INT HUP
}

print_table() { # call
    local passed failed
    echo
    echo "=== call $1 ==="
    {
        summary
        cat "$work/profile.txt" 2>/dev/null
        [ ! -s "$work/clocks.csv" ] || awk -F', *' -f "$lib/clocks.awk" "$work/clocks.csv"
    } >"$work/summary.txt"
    cat "$work/summary.txt"
    grep -E '^(FAIL|TIME|SKIP|skip)|^     again' "$results"
    cat "$work/summary.txt" >>"$results"
    passed=$(grep -c '^ok ' "$results")
    failed=$(grep -c -E '^(FAIL|TIME|SKIP) ' "$results")
    echo "gpu-check $1: $passed passed, $failed not, in $(($(date +%s) - began_at)) s" | tee -a "$results"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ] || all_passed=
    rm -f "$work/summary.txt" "$work/profile.txt"
}

# Packs all logs into one file, because the folder that it goes to takes few and small files.
keep_logs() { # call
    [ "$out" != "$work" ] || return 0
    local to=$out/gpu-check-$1.tar
    cp "$results" "$log" "$work/logs/" 2>/dev/null
    mv "$work"/*.jsonl "$work"/*.csv "$work/logs/" 2>/dev/null
    tar -C "$work" -cf "$to" logs
    if command -v xz >/dev/null; then timeout 20 xz -f -T0 "$to"; else gzip -f "$to"; fi
    rm -f "$log" "$work"/logs/*
    du -k "$out"/gpu-check-"$1".tar.* | awk '{ print "all logs: " $2 ", " $1 " KiB" }'
}

all_passed=yes
for call in $calls; do
    wanted=$(parts_of "$call")
    [ -n "$wanted" ] || continue
    if [ "$call" = A ]; then most=430; else most=230; fi
    [ -z "$smoke" ] || most=900 # the simulator takes its time
    most=${seconds:-$most}
    # time spent before, on unpacking or building, belongs to the first call
    run_call "$call" $((most - ($(date +%s) - began_at))) $wanted
    [ ! -e "$work/stop" ] || break
    began_at=$(date +%s)
done
case $calls in *B) rm -rf "$store" ;; esac # nobody needs the models any more
[ -n "$all_passed" ]
