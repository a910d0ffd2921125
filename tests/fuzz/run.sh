#!/bin/sh
# Fuzzes every target in DIR for SECONDS each, two at a time, from the corpus in tests/fuzz/corpus (new inputs go to
# DIR/corpus), with the words in tests/fuzz/TARGET.dict where there are some. A finding is kept in DIR and fails the run.
# usage: tests/fuzz/run.sh DIR SECONDS
dir=$1
seconds=$2
status=0
one() {
    name=$1
    mkdir -p "$dir/corpus/$name"
    words=""
    [ -e "tests/fuzz/$name.dict" ] && words="-dict=tests/fuzz/$name.dict"
    "$dir/$name" $words -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="$dir/$name-finding-" "$dir/corpus/$name" "tests/fuzz/corpus/$name" >"$dir/$name.log" 2>&1
    code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$dir/$name.log")
    echo "$name: exit $code, ${runs:-0} executions in $seconds s"
    [ $code = 0 ] || tail -n 40 "$dir/$name.log"
    return $code
}
pids=""
running=0
for target in "$dir"/fuzz_*; do
    case $target in *.* | *-finding-*) continue ;; esac
    one "$(basename "$target")" &
    pids="$pids $!"
    running=$((running + 1))
    if [ $((running % 2)) = 0 ]; then
        for p in $pids; do wait "$p" || status=1; done
        pids=""
    fi
done
for p in $pids; do wait "$p" || status=1; done
exit $status
