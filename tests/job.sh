# For scripts that run many programs: runs one of them, and says what it took and what it left out. Scripts source this.

# log, command...: standard output and error go to the log. Sets $verdict and $took. $took has the seconds that passed, and
# the seconds that cores worked: on a machine that others use too, only the latter can be compared.
job() {
    log=$1
    shift
    start=$(date +%s)
    verdict=ok
    "$@" >"$log" 2>&1 || verdict=FAIL
    # The second line of `times` is about children; in a pipe it would be about the children of another shell.
    times >"$log.times"
    took=$(awk -v passed="$(($(date +%s) - start))" 'NR == 2 { split($1 "m" $2, t, /[ms]+/)
        printf "%4d s %6.1f s of a core", passed, 60 * t[1] + t[2] + 60 * t[3] + t[4] }' "$log.times")
    rm -f "$log.times"
}

# name, log: prints what level_all() has left to `make test-all`, as lines of "name: what"
left_of() { sed -n "s/^left: /$1: /p" "$2"; }
