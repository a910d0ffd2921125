#!/bin/sh
# Runs every test program of a build and the black-box script, and prints one line for each and a sum at the end.
# usage: tests/run.sh BUILD
build=$1
passed=0
failed=0
skipped=0
log=$build/tests/log
mkdir -p "$log"
one() {
    name=$1
    shift
    start=$(date +%s)
    if "$@" >"$log/$name.txt" 2>&1; then
        verdict=ok
        passed=$((passed + 1))
    else
        verdict=FAIL
        failed=$((failed + 1))
    fi
    skips=$(grep -E '^\[ +SKIPPED +\] [a-z]|^skip ' "$log/$name.txt" | sort -u | wc -l)
    skipped=$((skipped + skips))
    cases=$(grep -c -E '^\[ +OK +\]|^ok ' "$log/$name.txt")
    printf '%-4s %-24s %5d cases %3d skipped %4d s\n' "$verdict" "$name" "$cases" "$skips" "$(($(date +%s) - start))"
    grep -E '^skip ' "$log/$name.txt"
    [ $verdict = ok ] || {
        tail -n 40 "$log/$name.txt"
        grep -E -A 5 '^FAIL |^\[ +FAILED +\]|ERROR' "$log/$name.txt" | head -n 40
    }
}
for t in "$build"/tests/test_*; do
    case $t in *.txt | *.d | *.o) continue ;; esac
    one "$(basename "$t")" "$t"
done
one cli sh tests/cli.sh "$build/weft"
one readme sh tests/readme.sh "$build" $SAN
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
