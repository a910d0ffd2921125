# shellcheck shell=bash disable=SC2034,SC2086,SC2154 # gpu-check.sh sources this; $smoke and $plant are options or nothing
# The parts of gpu-check.sh except for the timings. Each ends at part_end, and uses jobs.sh for its lines in the table.

demo() { # model, options...: prints a line of the table
    expected=Paris one "demo $1${2:+, deterministic}" 30 "$bin/weft" run -m "$here/models/weft-demo-$1.gguf" \
        --device cuda:0 -q -p 'The capital of France is' -n 12 --temp 0 "${@:2}"
}

wanted() { [ -z "$only" ] || case " $only " in *" $1 "*) ;; *) false ;; esac }

test_programs() { # the long ones first
    local t
    for t in ${only:-test_model test_shapes test_schedule $(cd "$tests" && ls -d test_*)}; do
        case $t in *.d | *.o) continue ;; esac
        [ -x "$tests/$t" ] && echo "$t"
    done | awk '!seen[$0]++'
}

# Most of a test's time is the reference on the CPU, so some tests run at the same time. Then the texts of real models
# follow, one after another.
part_tests() {
    local t m width=$(($(nproc) / 3)) planted
    [ "$width" -le 5 ] || width=5
    [ "$width" -ge 2 ] || width=2
    [ -z "$smoke" ] || export WEFT_TEST_LEVEL=thin
    begin_models
    planted=$(test_programs | grep -m 1 -x test_rows || test_programs | tail -n 1)
    for t in $(test_programs); do
        slot "$width"
        if [ -n "$plant" ] && [ "$t" = "$planted" ]; then
            kind="test" one "test $t" 120 env WEFT_TEST_PLANT=1 "$tests/$t" &
        else
            kind="test" one "test $t" 120 "$tests/$t" &
        fi
    done
    for m in qwen2 phi3; do
        wanted demo || continue
        slot "$width"
        kind=tool demo $m &
        slot "$width"
        kind=tool demo $m --deterministic &
    done
    slot 1
    for m in $(models | awk '/ids/ { print $1 }'); do
        wanted ids || continue
        model_there "$m" || continue
        kind=tool one "ids $m" 70 "$bin/weft-gpu-bench" $smoke $plant --part ids "$store/$m.gguf"
        sed -n '/^ids: /,$p' "$(file_of "ids $m")"
    done
    rerun_failed
}

# Returns true for a tool that must not check a program. initcheck would report cuBLAS, which reads values that it then
# ignores, and attention, which reads the scales of positions that nobody has written yet and gives them no weight. These
# programs use one or the other.
not_for() { # tool, program
    case $1,$2 in *,test_model | *,test_platform) ;; initcheck,test_watch | initcheck,test_pages) ;; *) false ;; esac
}

# The most useful tool comes first. The prompt has more than 16 tokens, so that tensor cores take part (with initcheck:
# deterministic, as above). There is no arena, where an index beyond a buffer would hit another buffer and no tool would see
# it; the tests do without it by themselves.
part_sanitizers() {
    local tool t width=$(($(nproc) / 3)) more later
    local long='one two three four five six seven eight nine ten eleven twelve The capital of France is'
    find_sanitizer || { echo "skip sanitizers: $sanitizer_problem" | tee -a "$results"; return; }
    [ "$width" -le 5 ] || width=5
    [ "$width" -ge 2 ] || width=2
    export WEFT_TEST_LEVEL=thin
    for tool in memcheck racecheck initcheck synccheck; do
        set -- "$sanitizer" --tool $tool --error-exitcode 99 --print-limit 20
        more=()
        [ $tool != initcheck ] || more=(--deterministic)
        [ $tool != memcheck ] || set -- "$@" --leak-check full
        # the tools at the end find least, so time may run out before them
        case $tool in initcheck | synccheck) later=yes ;; *) later= ;; esac
        slot "$width"
        optional=$later one "$tool weft" 100 "$@" "$bin/weft" run -m "$here/models/weft-demo-qwen2.gguf" --device cuda:0 \
            --temp 0 -n 6 --no-arena -q -p "$long" "${more[@]}" &
        for t in $(test_programs); do
            not_for $tool "$t" && continue
            slot "$width"
            optional=$later one "$tool $t" 100 "$@" "$tests/$t" &
        done
    done
    slot 1
    unset WEFT_TEST_LEVEL
}

# Profiles a decode step: the kernels of one step, each by itself.
part_profile() {
    local m
    find_profiler || { echo "skip profile: $profiler_problem" | tee -a "$results"; return; }
    begin_models
    for m in $(models | awk '/ids/ { print $1 }'); do
        model_there "$m" || continue
        optional=yes one "profile $m" 60 "$profiler" --clock-control none --profile-from-start off --csv --page raw --metrics \
            gpu__time_duration.sum,dram__bytes_read.sum,dram__throughput.avg.pct_of_peak_sustained_elapsed,sm__warps_active.avg.pct_of_peak_sustained_active,launch__grid_size,launch__registers_per_thread \
            "$bin/weft-gpu-bench" $smoke --part step "$store/$m.gguf" &&
            awk -v model="$m" -f "$lib/profile.awk" "$(file_of "profile $m")" | tee -a "$work/profile.txt"
    done
}

part_leak() {
    local m=("$here"/models/weft-demo-*.gguf)
    if [ -n "$smoke" ]; then # an engine takes seconds on the simulator
        begin_models
        model_there tiny-q8_0 || return
        m=("$store/tiny-q8_0.gguf")
    fi
    kind=tool one "leak" 300 "$bin/weft-gpu-bench" $smoke $plant --leak "$([ -n "$smoke" ] && echo 40 || echo 2000)" "${m[@]}"
    grep -h '^free device memory\|^less free' "$(file_of leak)" | tail -n 3
    rerun_failed
}
