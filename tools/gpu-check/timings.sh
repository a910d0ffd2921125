# shellcheck shell=bash disable=SC2086,SC2154 # gpu-check.sh sources this; $smoke is an option or nothing
# The timings of gpu-check.sh, and the models that they need.

# file, preset, type, the depths of llama-bench (as deep as the context allows; see gpu_models.c), and what is done with it.
# The order is the order of importance, in case time runs out. ids: its texts are compared too.
models() {
    if [ -n "$smoke" ]; then
        echo "tiny-q8_0 tiny-qwen2 q8_0 0,10,30 ids"
        echo "tiny-f32 tiny-phi3 f32 0,10,30 timed"
        return
    fi
    echo "qwen2.5-7b-q4_k_m qwen2.5-7b q4_k_m 0,512,4096 ids"
    echo "qwen2.5-0.5b-q4_k_m qwen2.5-0.5b q4_k_m 0,512,4096 ids"
    echo "phi-3-mini-q4_k_m phi-3-mini q4_k_m 0,512,3840 timed"
    echo "qwen2.5-0.5b-q8_0 qwen2.5-0.5b q8_0 0,512,4096 optional"
    echo "qwen2.5-0.5b-q4_0 qwen2.5-0.5b q4_0 0,512,4096 optional"
}

make_models() {
    local file preset type depths use
    while read -r file preset type depths use; do
        [ ! -e "$store/$file.gguf" ] || continue
        run 200 "$work/logs/synth-$file.txt" nice "$synth" --like "$preset" --type "$type" -o "$store/$file.part" &&
            mv "$store/$file.part" "$store/$file.gguf" &
    done < <(models)
    wait
}

# Makes the models in the background; the first part of a call that needs models starts it. It is not a job of this shell,
# because this shell counts its jobs.
begin_models() {
    [ ! -e "$work/making" ] || return 0
    : >"$work/making"
    mkdir -p "$store"
    (
        make_models >/dev/null 2>&1 &
        echo $! >"$work/making"
    )
}

# Waits until the model is there.
model_there() { # file
    begin_models
    while [ ! -e "$store/$1.gguf" ]; do
        if [ -e "$work/stop" ] || [ "$(time_left)" -lt 3 ] || ! kill -0 "$(cat "$work/making")" 2>/dev/null; then
            [ -e "$store/$1.gguf" ] && return
            echo "SKIP model $1: it was not written in time: $(tail -n 1 "$work/logs/synth-$1.txt" 2>/dev/null)" |
                tee -a "$results"
            return 1
        fi
        sleep 0.2
    done
}

# Runs llama-bench on a file: prompts with both sizes of micro-batches, then generation at the depths.
llama_bench() { # file, depths
    export GGML_CUDA_GRAPH_OPT=1 LD_LIBRARY_PATH=$llama_lib
    "$llama/llama-bench" -m "$1" -ngl 99 -fa 1 -r 3 -o jsonl -b 2048 -ub 512,2048 -p 512,2048 -n 0 &&
        "$llama/llama-bench" -m "$1" -ngl 99 -fa 1 -r 3 -o jsonl -p 0 -n 128 -d "$2"
}

time_model() { # file, depths
    model_there "$1" || return
    kind=tool one "weft $1" 110 "$bin/weft-gpu-bench" $smoke --part models --read-rate "$rate" \
        --json "$work/model.jsonl" "$store/$1.gguf"
    sed -n '/^model:/,$p' "$(file_of "weft $1")"
    cat "$work/model.jsonl" >>"$work/weft.jsonl" 2>/dev/null
    rm -f "$work/model.jsonl"
    [ -n "$llama" ] || return
    one "llama $1" 90 bash -c 'llama_bench "$@"' llama "$store/$1.gguf" "$2"
    grep '^{' "$(file_of "llama $1")" >>"$work/llama.jsonl"
}

kernels() { # name in the table, parts...
    local name=$1 p some=()
    shift
    for p in "$@"; do some+=(--part "$p"); done
    kind=tool one "timings of $name" 100 "$bin/weft-gpu-bench" $smoke --read-rate "${rate:-1}" --json "$work/part.jsonl" "${some[@]}"
    cat "$(file_of "timings of $name")"
    cat "$work/part.jsonl" >>"$work/weft.jsonl" 2>/dev/null
}

# The best rate at which the device reads comes first, because everything is compared with it; then the models, each beside
# llama.cpp; then the kernels.
part_timings() {
    local file depths use rate=
    export -f llama_bench
    export llama llama_lib
    begin_models
    kernels "the device" memory phases
    rate=$(sed -n 's/.*"section":"memory".*"value":\([0-9.]*\).*/\1/p' "$work/part.jsonl" 2>/dev/null | sort -g | tail -n 1)
    [ -n "$rate" ] || rate=4000
    case $rate in 0*) rate=1 ;; esac # on the simulator
    while read -r file _ _ depths use; do
        [ "$use" = optional ] || time_model "$file" "$depths"
    done < <(models)
    optional=yes kernels "kernels" layers attend matvec tiled small dequant
    while read -r file _ _ depths use; do
        [ "$use" != optional ] || optional=yes time_model "$file" "$depths"
    done < <(models)
    rerun_failed
}

# Prints the values of the JSON lines of weft-gpu-bench and llama-bench as a table.
summary() {
    [ -s "$work/weft.jsonl" ] || return
    [ "$llama" != "$lib/fakes" ] || echo "llama.cpp is a fake here: its figures mean nothing"
    touch "$work/llama.jsonl"
    awk -v llama="$llama" -f "$lib/summary.awk" "$work/weft.jsonl" "$work/llama.jsonl"
}
