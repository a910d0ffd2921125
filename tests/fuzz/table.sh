#!/bin/sh
# Prints what tests/fuzz/run.sh has done in DIR, a line for each target: executions, coverage (edges) and the corpus (inputs
# and their size) at the end, and how many findings are kept there. usage: tests/fuzz/table.sh DIR
dir=$1
printf '%-16s %12s %8s %8s %16s %9s\n' target executions /s coverage corpus findings
for log in "$dir"/fuzz_*.log; do
    [ -e "$log" ] || continue
    name=$(basename "$log" .log)
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    speed=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    coverage=$(sed -n 's/^#.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    corpus=$(sed -n 's/^#.* corp: \([^ ]*\) .*/\1/p' "$log" | tail -n 1)
    findings=$(find "$dir" -maxdepth 1 -name "$name-finding-*" | wc -l)
    printf '%-16s %12s %8s %8s %16s %9s\n' "$name" "${runs:-0}" "${speed:-0}" "${coverage:-0}" "${corpus:-0}" "$findings"
done
