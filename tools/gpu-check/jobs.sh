# shellcheck shell=bash disable=SC2154 # gpu-check.sh sources this, and sets work, results, log, part_end, smoke
# Jobs: each runs within its time limit and gets a line in the table. After a failure it is run again in other ways.

time_left() { echo $((part_end - SECONDS)); }

# `timeout` leads a process group of its own, which holds everything that the job has started.
end_jobs() { # signal
    local f
    for f in "$work"/running/*; do
        [ -e "$f" ] || continue
        kill "-$1" -- "-${f##*/}" 2>/dev/null
    done
}

# Returns the status of the command; 124 if it had to be ended.
run() { # limit, file for what it prints, command...
    local limit=$1 text=$2 pid status
    shift 2
    timeout -k 3 "$limit" "$@" >"$text" 2>&1 </dev/null &
    pid=$!
    : >"$work/running/$pid"
    [ ! -e "$work/stop" ] || kill "$pid" 2>/dev/null
    wait $pid
    status=$?
    rm -f "$work/running/$pid"
    [ $status -eq 0 ] || [ ! -e "$work/stop" ] || status=124
    return $status
}

file_of() { echo "$work/logs/${1//[^a-zA-Z0-9.-]/_}.txt"; }
keep_text() { printf '=== %s: %s\n%s\n' "$1" "$2" "$(cat "$3")" >>"$log"; }

# Prints a line of the table about a command. `expected` is a word that the command has to print. `optional`: it is no
# failure if there is no time for it. `kind` is test or tool, which tells rerun_failed how to run it again; empty: not at
# all.
one() { # name, limit, command...
    local name=$1 limit=$2 left verdict=ok status start=$SECONDS text line
    shift 2
    [ -z "$smoke" ] || limit=$((limit * 10)) # the simulator takes its time
    text=$(file_of "$name")
    left=$(time_left)
    if [ -e "$work/stop" ] || [ "$left" -lt 3 ]; then
        verdict=SKIP
        echo "no time was left" >"$text"
    else
        [ "$limit" -lt "$left" ] || limit=$left
        run "$limit" "$text" "$@"
        status=$?
        case $status in
        0) [ -z "${expected:-}" ] || grep -q "$expected" "$text" || verdict=FAIL ;;
        124 | 137) verdict=TIME ;;
        *) verdict=FAIL ;;
        esac
        if [ $verdict != ok ] && [ -n "${kind:-}" ] && [ ! -e "$work/stop" ]; then
            { echo "$kind" && echo "$name" && echo "${expected:-}" && printf '%q ' "$@" && echo; } >"$work/again/${text##*/}"
        fi
    fi
    case $verdict,${optional:-} in SKIP,?* | TIME,?*) [ "$(time_left)" -ge 3 ] || verdict=skip ;; esac
    line=$(printf '%-4s %-44s %4d s' $verdict "$name" $((SECONDS - start)))
    echo "$line" >>"$results"
    case $verdict in ok | skip) ;; *) line+=$'\n'$(tail -n 12 "$text" | sed 's/^/     | /' | cut -c -160) ;; esac
    echo "$line" # written at once, like the next line: other jobs may be writing
    keep_text "$name" $verdict "$text"
    [ $verdict = ok ]
}

# Waits until fewer than this many jobs run in the background.
slot() {
    while [ "$(jobs -rp | wc -l)" -ge "$1" ]; do wait -n; done
}

# Runs a command again; the second run is not counted. Prints a line about it for the table. `expected` is as above.
again() { # name, how, command...
    local name=$1 how=$2 limit=60 left verdict=fails start=$SECONDS text line
    shift 2
    [ -z "$smoke" ] || limit=600
    text=$(file_of "again $name $how")
    left=$(time_left)
    if [ -e "$work/stop" ] || [ "$left" -lt 3 ]; then
        verdict='not run, no time was left'
        : >"$text"
    else
        [ "$limit" -lt "$left" ] || limit=$left
        run "$limit" "$text" "$@"
        case $? in
        0) [ -n "${expected:-}" ] && ! grep -q "$expected" "$text" || verdict=passes ;;
        124 | 137) verdict='runs out of time' ;;
        99) verdict='has errors' ;; # of memcheck
        esac
    fi
    line="     again $name, $how: $verdict, $((SECONDS - start)) s"
    echo "$line" >>"$results"
    [ "$verdict" = passes ] || line+=$'\n'$(tail -n 12 "$text" | sed 's/^/     | /' | cut -c -160)
    echo "$line"
    keep_text "again $name, $how" "$verdict" "$text"
}

# Runs everything again that has failed since the last time, one program after another. Under memcheck a tool does without
# the arena, where an index beyond a buffer would hit another buffer; the tests do so by themselves.
rerun_failed() {
    local f kind name expected command memcheck apart
    for f in "$work"/again/*; do
        [ -e "$f" ] || continue
        { read -r kind && read -r name && read -r expected && read -r command; } <"$f"
        rm -f "$f"
        eval "set -- $command"
        apart=()
        [ "$kind" = test ] || apart=(--no-arena)
        case $name in timings* | weft* | ids*) apart+=(--smoke) ;; esac # under memcheck, whole models take too long
        again "$name" "by itself" "$@"
        if find_sanitizer; then
            memcheck=("$sanitizer" --tool memcheck --error-exitcode 99 --print-limit 20)
            WEFT_TEST_LEVEL=thin again "$name" "under memcheck" "${memcheck[@]}" "$@" "${apart[@]}"
        else
            echo "     again $name, under memcheck: not run, $sanitizer_problem" | tee -a "$results"
        fi
        case $kind in
        test) WEFT_TEST_NO_PDL=1 again "$name" "without programmatic launches" "$@" ;;
        tool) again "$name" "without programmatic launches" "$@" --no-pdl ;;
        esac
    done
}
