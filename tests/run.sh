#!/bin/sh
# Runs every test program of a build and the black-box scripts, as many at a time as there are cores. Prints a line for
# each, then what the level thin leaves out (tests/support/level.h), and the totals. With QUICK=1 programs that take more
# than ten seconds are left out. usage: [WEFT_TEST_LEVEL=all|thin] tests/run.sh BUILD
set -u
. tests/job.sh
if [ "$1" = --one ]; then # build, name, command...
    text=$2/tests/log/$3.txt
    name=$3
    shift 3
    job "$text" "$@"
    skips=$(grep -E '^\[ +SKIPPED +\] [a-z]|^skip ' "$text" | sort -u | wc -l)
    cases=$(grep -c -E '^\[ +OK +\]|^ok |^soak: .* generations' "$text")
    printf '%-4s %-24s %5d cases %3d skipped %s\n' $verdict "$name" "$cases" "$skips" "$took"
    grep -E '^skip ' "$text"
    [ $verdict = ok ] || {
        tail -n 40 "$text"
        grep -E -A 5 '^FAIL |^\[ +FAILED +\]|ERROR' "$text" | head -n 40
    }
    exit 0
fi

build=$1
logs=$build/tests/log
mkdir -p "$logs"
jobs() { # prints a line for each test, the long ones first: name, command
    for t in run/test_top_random model/test_forward; do echo "${t#*/} $build/tests/$t"; done
    for s in cli cli_template cli_state cli_score cli_bench cli_grammar cli_batch cli_serve reports; do echo "$s sh tests/weft/$s.sh $build/weft"; done
    echo "terminal sh tests/weft/terminal.sh $build/weft models/weft-demo-qwen2.gguf"
    echo "completion sh tests/weft/completion.sh $build/weft"
    for t in "$build"/tests/*/test_*; do
        case $t in *.txt | *.d | *.o | */test_top_random | */test_forward) continue ;; esac
        echo "$(basename "$t") $t"
    done
    echo "soak $build/soak 2 300 20"
    echo "house sh tests/house.sh"
    echo "abi sh tests/api/abi.sh $build"
    # ${SAN:-} stands outside the quotes, so that the line does not end with a blank if there are no flags: xargs would join
    # such a line with the next.
    # shellcheck disable=SC2086
    echo "cxx sh tests/api/cxx.sh $build" ${SAN:-}
    # This builds a tarball for itself, without the flags of a variant.
    [ -n "$(echo ${SAN:-})" ] || echo "install sh tests/install/install.sh"
    echo "cuda_arch sh tests/cuda_arch.sh"
    echo "real sh tests/real.sh"
    echo "serve_tools sh tests/serve/tools.sh"
    echo "readme sh tests/weft/readme.sh $build ${SAN:-}"
}
long='test_dot|test_dot_attend|test_oom|test_grammar_random|test_tool_memory|cli_bench|cli_grammar|install|real'
[ -n "${QUICK:-}" ] || long='a name that none has'
jobs | grep -v -E "^($long) " >"$logs/jobs"
xargs -P "$(nproc)" -L 1 sh "$0" --one "$build" <"$logs/jobs" | tee "$logs/results"
all=$(wc -l <"$logs/jobs")
passed=$(grep -c -E '^ok   .* cases ' "$logs/results")
skipped=$(sed -n 's/^\(ok  \|FAIL\) .* cases *\([0-9]*\) skipped .*/\2/p' "$logs/results" | awk "{ n += \$1 } END { print n + 0 }")
while read -r name _; do left_of "$name" "$logs/$name.txt"; done <"$logs/jobs" >"$logs/left"
echo "$passed passed, $((all - passed)) failed, $skipped skipped"
[ -z "${QUICK:-}" ] || echo "left to make test: $(echo "$long" | sed 's/|/, /g'); the CUDA backend"
[ "$passed" -gt 0 ] && [ "$passed" = "$all" ]
