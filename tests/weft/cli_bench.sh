#!/bin/sh
# Black-box tests of weft bench: exit codes, the four formats, and that the generated ids do not depend on how it is run.
# Speeds are not judged. Usage: tests/weft/cli_bench.sh [path of weft]. One line per case; the last line counts them. Exits
# with 1 if one failed. Needs sh and coreutils; python3 only to judge JSON and CSV. What cannot run is reported as "skip".

WEFT=${1:-${WEFT:-build/weft}}
QWEN=models/weft-demo-qwen2.gguf
PHI=models/weft-demo-phi3.gguf
. "$(dirname "$0")/cli_lib.sh"

# check of weft bench: NAME EXPECTED_CODE TEXT_IN_STDERR ARGUMENT...
bench_check() {
    bench_name=$1 bench_want=$2 bench_text=$3
    shift 3
    check "$bench_name" "$bench_want" "$bench_text" bench "$@"
}

# judge NAME PYTHON: the expression must be true, with `rows` the JSON of the last run.
judge() {
    if ! command -v python3 >"$T/python"; then
        echo "skip $1: no python3"
    elif python3 -c 'import json, sys
rows = json.load(open(sys.argv[1]))
assert eval("(" + sys.argv[2] + ")"), [{k: r[k] for k in ("test", "n_threads", "n_parallel", "ids_hash")} for r in rows]' \
        "$T/out" "$2" 2>"$T/err"; then
        ok "$1"
    else
        bad "$1" "$(tail -n 1 "$T/err")"
    fi
}

usage_tests() {
    bench_check 'no model' 2 'no model' -p 1
    bench_check 'no test' 2 'no test' -m x -p 0 -n 0
    bench_check 'a stray argument' 2 "unexpected argument 'stray'" -m x stray
    bench_check 'unknown format' 2 'none of md|json|jsonl|csv' -m x -o xml
    bench_check 'a profile in CSV' 2 '--profile needs' -m x -o csv --profile
    bench_check 'no repetitions' 2 'out of range' -m x -r 0
    for list in '' , 1, ,1 1,,2 x 1-x 1- -1 4-1 1-4+0 1-4+ 1-4*1 0-4*2 1.5 1-4/2 99999999999999999999 '1 2'; do
        bench_check "odd list '$list'" 2 'is no list of numbers' -m x --n-prompt="$list"
    done
    bench_check 'a number beyond the range' 2 'out of range' -m x -t 1,2000
    bench_check 'no sequences' 2 'out of range' -m x -b 0
    bench_check 'too many numbers' 2 'more than 64 numbers' -m x -p 1-100
    for pair in 512 512, ,1 0,1 1,0 1,2,3 a,b; do
        bench_check "odd pair '$pair'" 2 'expected PROMPT,GENERATED' -m x -pg "$pair"
    done
    bench_check 'a missing file of ids' 1 'nonesuch' -m "$QWEN" --prompt-ids nonesuch
}

json_tests() {
    bench_check 'lists and ranges' 0 '' -m "$QWEN" -p 1-16*4,5-7+2 -p 3 -n 2 -d 0-64+64 -pg 4,2 -r 2 -o json
    judge 'every combination is a row' '[r["test"] for r in rows] == [t + d for d in ("", "@d64")
        for t in ("pp1", "pp4", "pp16", "pp5", "pp7", "pp3", "tg2", "pp4+tg2")]'
    judge 'the figures of a row agree' 'all(
        len(r["samples_s"]) == r["n_reps"] == 2 and min(r["samples_s"]) > 0
        and 0 < r["tok_s_min"] <= r["tok_s"] <= r["tok_s_max"]
        and abs(r["tok_s_max"] * min(r["samples_s"]) - (r["n_prompt"] + r["n_gen"]) * r["n_parallel"]) < 0.01
        and abs(r["macs_percent"] * r["macs_limit"] - 100 * r["macs_s"]) <= 1e-6 * 100 * r["macs_s"]
        for r in rows)'
    judge 'bytes are those of generation' 'all((r["gb_s"] is None) == (r["n_prompt"] > 0) for r in rows)'
    judge 'what is generated is listed' 'all(len(r["ids"]) == max(r["n_gen"], 1) for r in rows)'
    bench_check 'two models with profiles' 0 '' -m "$QWEN,$PHI" -p 8 -n 4 -r 1 --profile -o json
    judge 'two models have each their rows' '[r["architecture"] for r in rows] == ["qwen2"] * 2 + ["phi3"] * 2'
    judge 'a profile has all stages of all steps' 'all(
        [s["stage"] for s in r["profile"]] == ["embed", "attn_in", "attend", "attn_out", "ffn_in", "ffn_out", "head_norm", "head"]
        and r["profile_steps"] == (4 if r["n_gen"] else 1)
        and all(s["calls"] % r["profile_steps"] == 0 and s["us_step"] > 0 for s in r["profile"])
        and abs(sum(s["share_percent"] for s in r["profile"]) - 100) < 0.01
        for r in rows)'
}

# With another number of threads, other kernels, other steps, or other sequences beside it, the tokens are the same.
same_ids_tests() {
    bench_check 'threads' 0 '' -m "$QWEN" -p 40 -n 12 -d 0,70 -t 1,2 -r 1 -o json
    judge 'the same ids with 1 and 2 threads' 'len(rows) == 8
        and [r["ids_hash"] for r in rows[:4]] == [r["ids_hash"] for r in rows[4:]]
        and [r["n_threads"] for r in rows] == [1] * 4 + [2] * 4'
    cp "$T/out" "$T/first"
    bench_check 'kernels and batches' 0 '' -m "$QWEN" -p 40 -n 12 -d 0,70 -t 1 -r 1 -ub 16 --cpu-isa scalar -o json
    judge 'the same ids with other kernels and steps' '[r["ids_hash"] for r in rows]
        == [r["ids_hash"] for r in json.load(open("'"$T"'/first"))[:4]]'
    bench_check 'K and V in q8_0' 0 '' -m "$QWEN" -p 40 -n 12 -d 70 -t 1 -r 1 -ctk q8_0 -ctv q8_0 -o json
    judge 'the types of K and V' 'all(r["type_k"] == r["type_v"] == "q8_0" for r in rows)
        and all(r["type_k"] == r["type_v"] == "f16" for r in json.load(open("'"$T"'/first")))'
    cp "$T/out" "$T/q8"
    bench_check 'K and V in q8_0, threads, kernels and batches' 0 '' \
        -m "$QWEN" -p 40 -n 12 -d 70 -t 2 -r 1 -ctk q8_0 -ctv q8_0 -ub 16 --cpu-isa scalar -o json
    judge 'the same ids with K and V in q8_0' '[r["ids_hash"] for r in rows] == [r["ids_hash"] for r in json.load(open("'"$T"'/q8"))]'
    bench_check 'sequences' 0 '' -m "$QWEN" -p 8 -n 12 -b 1,3,66 -r 1 -o json
    judge 'the first of several sequences is the same' 'all(r["ids"] == rows[i % 2]["ids"] for i, r in enumerate(rows))'
    judge 'the hash covers all sequences' 'len({r["ids_hash"] for r in rows}) == 6'
    "$WEFT" tokenize -m "$QWEN" --ids -p 'The capital of France is' >"$T/ids"
    n=$(wc -w <"$T/ids")
    "$WEFT" run -m "$QWEN" --temp 0 --ignore-eos -n 8 -p 'The capital of France is' >"$T/text" 2>"$T/err"
    hash=$(sed -n 's/.*ids #//p' "$T/err")
    bench_check 'ids from a file' 0 '' -m "$QWEN" --prompt-ids "$T/ids" -p 0 -n 8 -d $((n - 1)) -r 1 -o json
    judge 'generates what weft run does' 'rows[0]["ids_hash"] == "'"$hash"'"'
    bench_check 'too few ids in a file' 2 'holds' -m "$QWEN" --prompt-ids "$T/ids" -p 100 -n 0 -r 1 -q
}

format_tests() {
    bench_check 'Markdown' 0 '' -m "$QWEN" -p 8 -n 4 -r 1 -t 1
    if grep -q '^weft 0.*, 1 threads; limits measured: reads .* GB/s' "$T/out" && [ "$(grep -c '^|' "$T/out")" -eq 4 ] &&
        [ "$(grep '^|' "$T/out" | tr -dc '|\n' | sort -u | wc -l)" -eq 1 ]; then
        ok 'Markdown: a header and a table with as many cells in every row'
    else
        bad 'Markdown: a header and a table with as many cells in every row' "$(cat "$T/out")"
    fi
    bench_check 'Markdown with K in q8_0' 0 '' -m "$QWEN" -p 0 -n 4 -r 1 -ctk q8_0
    grep -q '^weft 0.* threads, K in q8_0, V in f16; limits' "$T/out" && ok 'Markdown says how K and V are kept' ||
        bad 'Markdown says how K and V are kept' "$(cat "$T/out")"
    bench_check 'Markdown with a profile' 0 '' -m "$QWEN" -p 8 -n 4 -r 1 --profile
    if [ "$(grep -c '^| attn_in | ' "$T/out")" -eq 2 ]; then
        ok 'Markdown: stages of both tests'
    else
        bad 'Markdown: stages of both tests' "$(cat "$T/out")"
    fi
    bench_check 'lines of JSON' 0 '' -m "$QWEN" -p 8 -n 4 -r 1 -o jsonl
    if [ "$(grep -c '^{.*}$' "$T/out")" -eq 2 ] && [ "$(wc -l <"$T/out")" -eq 2 ]; then
        ok 'one line for each row'
    else
        bad 'one line for each row' "$(head -c 200 "$T/out")"
    fi
    odd="$T/a \"quoted\" model.gguf"
    ln -s "$PWD/$QWEN" "$odd"
    bench_check 'CSV' 0 '' -m "$odd" -p 8 -n 4 -r 2 -o csv
    if ! command -v python3 >"$T/python"; then
        echo 'skip CSV is read back: no python3'
    elif python3 -c 'import csv, sys
rows = list(csv.DictReader(open(sys.argv[1])))
assert [r["test"] for r in rows] == ["pp8", "tg4"] and all(r["model"] == sys.argv[2] for r in rows)
assert all(None not in r and None not in r.values() and len(r["samples_s"].split()) == 2 for r in rows)' \
        "$T/out" "$odd" 2>"$T/err"; then
        ok 'CSV is read back'
    else
        bad 'CSV is read back' "$(cat "$T/out")"
    fi
}

failure_tests() {
    bench_check 'a row that cannot run' 1 'pp1025: needs a context of' -m "$QWEN" -p 4,1025,1024 -n 0 -r 1 -o json
    judge 'the other rows are there' '[r["test"] for r in rows] == ["pp4", "pp1024"]'
    judge 'there is no room for a token behind the longest prompt' '[r["ids_hash"] is None for r in rows] == [False, True]'
    bench_check 'a model that is not there' 3 'nonesuch.gguf' -m "nonesuch.gguf,$QWEN" -p 4 -n 0 -r 1 -o json
    judge 'the other model is measured' 'len(rows) == 1'
    bench_check 'a device that is not there' 1 'pp4' -m "$QWEN" --device cuda -p 4 -n 0 -o json
    judge 'no rows are an empty list' 'rows == []'
    "$WEFT" bench -m "$QWEN" -p 4 -n 4 -r 1 >/dev/full 2>"$T/err"
    code=$?
    if [ "$code" -eq 1 ] && [ -s "$T/err" ]; then
        ok 'a full disk is an error'
    else
        bad 'a full disk is an error' "exit code $code"
    fi
}

# The second row would take minutes; Ctrl-C comes when the first row is there.
interrupt_tests() {
    if ! env --default-signal=INT true 2>"$T/err"; then
        echo 'skip Ctrl-C: env knows no --default-signal'
        return
    fi
    env --default-signal=INT "$WEFT" bench -m "$QWEN" -p 4 -n 900 -b 4 -r 4 --cpu-isa scalar -t 1 -o json \
        >"$T/out" 2>"$T/err" &
    pid=$!
    tries=0
    while ! grep -q pp4 "$T/out" && [ $tries -lt 600 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    sleep 0.3
    kill -INT $pid
    wait $pid
    code=$?
    [ "$code" -eq 130 ] && ok 'Ctrl-C gives 130' || bad 'Ctrl-C gives 130' "exit code $code"
    judge 'Ctrl-C leaves the rows that are there' '[r["test"] for r in rows] == ["pp4"]'
}

usage_tests
json_tests
same_ids_tests
format_tests
failure_tests
interrupt_tests
finish
