# Sourced by the scripts that run many programs: one of them, what it took, what it left out.

# log, command...: standard output and error go to the log. Sets $verdict and $took, which has the seconds that passed, and those
# that cores worked: on a machine that others use too only the latter can be compared.
job() {
    log=$1
    shift
    start=$(date +%s)
    verdict=ok
    "$@" >"$log" 2>&1 || verdict=FAIL
    # the second line of `times` is about children; in a pipe it would be about those of another shell
    times >"$log.times"
    took=$(awk -v passed="$(($(date +%s) - start))" 'NR == 2 { split($1 "m" $2, t, /[ms]+/)
        printf "%4d s %6.1f s of a core", passed, 60 * t[1] + t[2] + 60 * t[3] + t[4] }' "$log.times")
    rm -f "$log.times"
}

# name, log: what level_all() said that is left to `make test-all`, as lines of "name: what"
left_of() { sed -n "s/^left: /$1: /p" "$2"; }
