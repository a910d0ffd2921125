#!/bin/sh
# Which lines of .cu files were never executed? sh tests/cudasim/coverage.sh OUT FILE.cu...
# OUT is a CUDASIM_OUT built with SAN=--coverage whose tests have run. A line counts as executed if
# any instance of a template executed it. Fails if a line was never executed, or if there is no data.
set -u
out=$(cd "$1" && pwd)
shift
total=0
for file in "$@"; do
    if [ ! -f "$out/$file.gcda" ]; then
        echo "$file: no coverage data; its tests did not run"
        total=$((total + 1))
        continue
    fi
    missed=$(gcov -t "$out/$file.gcda" 2>/dev/null | awk -F: -v want="$file" '
        { gsub(/ /, "", $1); gsub(/ /, "", $2) }
        $2 == 0 && $3 == "Source" { mine = ($4 == want); next }
        !mine || $2 !~ /^[0-9]+$/ { next }
        $1 ~ /^[0-9]+[*]?$/ { hit[$2] = 1 }
        $1 == "#####" { open[$2] = $0 } # "=====" is clean-up for exceptions
        END { for (l in open) if (!(l in hit)) print want ":" l ": never executed" }' |
        sort -t: -k2n)
    if [ -n "$missed" ]; then
        echo "$missed"
        total=$((total + $(echo "$missed" | wc -l)))
    fi
done
echo "$total lines of $# files never executed"
[ "$total" -eq 0 ]
