#!/bin/sh
# Prints how much of the source the tests of a build with --coverage have reached: the ten weakest files, then src/ and
# tools/ together, then the files that read lines from a terminal. Fails if a figure is less than it should be. Two things
# are not counted: tools/synth, which only makes models for tests, and the arithmetic in src/cpu/kernels/dot_*, whose tests
# run over every variant. usage: tests/coverage.sh BUILD
set -u
build=$1
all=$build/coverage.json
status=0
gcovr -r . --object-directory "$build" -f 'src/' -f 'tools/' -e 'tools/synth/' -e 'src/cpu/kernels/dot_' --exclude-unreachable-branches --json "$all" "$build" ||
    exit 1

# least WHAT PERCENT ARGUMENT...: prints the line of gcovr's summary for WHAT, and says whether it is enough
least() {
    what=$1 want=$2
    shift 2
    line=$(gcovr -r . -a "$all" --print-summary "$@" | sed -n "s/^$what: //p")
    printf '%s, at least %s %% are wanted: %s\n' "$what" "$want" "$line"
    echo "${line%%\%*}" | awk -v want="$want" '{ exit !($1 + 0 >= want) }' || status=1
}

echo 'the ten files with the least lines reached:'
gcovr -r . -a "$all" --csv |
    awk -F, 'NR > 1 { printf "    %5.1f %%  %4d of %4d lines  %5.1f %% of branches  %s\n", $4 * 100, $3, $2, $7 * 100, $1 }' |
    sort -n | head -n 10
echo 'src/ and tools/'
least lines 97
least branches 88
echo 'tools/weft/line.c, edit.c, paste.c'
least lines 85 -f 'tools/weft/(line|edit|paste)\.c'
[ $status = 0 ] || echo 'less than is wanted'
exit $status
