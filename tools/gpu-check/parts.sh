# shellcheck shell=bash disable=SC2034,SC2086,SC2154 # gpu-check.sh sources this; $smoke and $plant are options or nothing
# The parts of gpu-check.sh but for the timings. Each ends at part_end, and asks jobs.sh for its lines in the table.

demo() { # model, options...: a line of the table
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

# Most of a test's time is the reference on the CPU, so some run at a time. Then, one after another, the texts of real models.
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

# cuBLAS reads what it then ignores, and attention reads the scales of positions that nobody has written yet and gives them
# no weight: initcheck would report both. These programs come by one of them.
not_for() { # tool, program
    case $1,$2 in *,test_model | *,test_platform) ;; initcheck,test_watch | initcheck,test_pages) ;; *) false ;; esac
}

# The most telling tool first. A prompt of more than 16 tokens, so that tensor cores take part (initcheck: deterministic, as
# above). Without the arena, in which an index beyond a buffer meets another one, and no tool sees it; the tests do without it
# by themselves.
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
        # the tools that come last find least: time may end before them
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

# Where the time of a decode step goes: the kernels of one step, each by itself.
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
    if [ -n "$smoke" ]; then # seconds for an engine, on the simulator
        begin_models
        model_there tiny-q8_0 || return
        m=("$store/tiny-q8_0.gguf")
    fi
    kind=tool one "leak" 300 "$bin/weft-gpu-bench" $smoke $plant --leak "$([ -n "$smoke" ] && echo 40 || echo 2000)" "${m[@]}"
    grep -h '^free device memory\|^less free' "$(file_of leak)" | tail -n 3
    rerun_failed
}
