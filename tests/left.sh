#!/bin/sh
# Prints in one line what the level thin has left out, as tests/run.sh and tests/cuda/run.sh have collected it. usage:
# tests/left.sh BUILD
[ "${WEFT_TEST_LEVEL:-}" = thin ] || exit 0
cat "$1/tests/log/left" "$1/sim/log/left" 2>/dev/null | sort -u | awk -F ': ' '
    { left = left (NR > 1 ? "; " : "") $1 ": " $2 }
    END { if (NR > 0) print "left to make test-all: " left }'
