#!/bin/sh
# Black-box tests of weft logits, weft perplexity and weft embed: what they write, whether the numbers agree in every form,
# and what they refuse. Usage: tests/weft/cli_score.sh [path of weft].

WEFT=${1:-${WEFT:-build/weft}}
QWEN=models/weft-demo-qwen2.gguf
PHI=models/weft-demo-phi3.gguf
SYNTH=$(dirname "$WEFT")/weft-synth
. "$(dirname "$0")/cli_lib.sh"

# judge NAME PROGRAM: a python program that exits with a message if something is wrong
judge() {
    if ! command -v python3 >/dev/null 2>&1; then
        skip "$1" 'no python3'
    elif (cd "$T" && python3 -c "$2") >"$T/err" 2>&1; then
        ok "$1"
    else
        bad "$1" 'see below'
    fi
}

usage_tests() {
    check 'logits of nothing' 2 'give one text' logits -m $QWEN
    check 'logits of two texts' 2 'contradict' logits -m $QWEN -p a -f b
    check 'logits of a text and ids' 2 'give one text' logits -m $QWEN -p a --tokens b
    check 'logits of an empty text' 2 'no tokens' logits -m $QWEN -p ''
    check 'values of no trace' 2 '--trace FILE' logits -m $QWEN -p a --trace-full x
    check 'ids are taken as they are' 2 '--tokens' logits -m $QWEN --tokens x --no-bos
    check 'no logits of a temperature' 2 'unknown option' logits -m $QWEN -p a --temp 1
    echo '1 2 x' >"$T/ids"
    check 'odd ids' 2 "'x' is not a token id" logits -m $QWEN --tokens "$T/ids"
    echo '1 2 99999999' >"$T/ids"
    check 'an id outside the vocabulary' 2 '99999999' logits -m $QWEN --tokens "$T/ids"
    check 'a text longer than the context' 1 'context is 4' logits -m $QWEN -c 4 -p 'one two three four five six'
    check 'no such file of ids' 1 'No such file' logits -m $QWEN --tokens "$T/none"
    check 'logits to a full disk' 1 'No space' logits -m $QWEN -p a --full /dev/full
    check 'lines to a full disk' 1 'No space' logits -m $QWEN -p a -o /dev/full
    check 'a trace to a full disk' 1 'No space' logits -m $QWEN -p a --trace /dev/full
    check 'a file that cannot be made' 1 "$T/none/x" logits -m $QWEN -p a --full "$T/none/x"
    check 'perplexity of nothing' 2 'give one text' perplexity -m $QWEN
    check 'perplexity of a short text' 2 'a window has 512' perplexity -m $QWEN -p 'a few words'
    check 'base and base' 2 'contradict' perplexity -m $QWEN --save-base a --kl-base b
    check 'base and text' 2 'holds the text' perplexity -m $QWEN --kl-base "$T/ids" -p a
    check 'no such base' 1 'No such file' perplexity -m $QWEN --kl-base "$T/none"
    check 'something else as base' 1 'is no file of' perplexity -m $QWEN --kl-base $QWEN
}

logits_tests() {
    check 'logits' 0 '' logits -q -m $QWEN -p 'The capital of France is' --full "$T/full" --trace "$T/trace" \
        --trace-full "$T/values" -o "$T/lines"
    [ -s "$T/out" ] || [ -s "$T/err" ] && bad 'logits with -o is silent' 'it is not' || ok 'logits with -o is silent'
    cp $QWEN "$T/model"
    judge 'lines, logits and trace are of the same numbers' '
import array, hashlib, json, math
head, *lines = [json.loads(line) for line in open("lines")]
full = array.array("f", open("full", "rb").read())
n = head["n_vocab"]
assert head["schema"] == "weft-logits-1" and head["full"].endswith("full")
assert head["sha256"] == hashlib.sha256(open("model", "rb").read()).hexdigest()
assert [line["token"] for line in lines] == head["tokens"] and len(full) == n * len(lines)
for i, line in enumerate(lines):
    assert line["pos"] == i and line["offset"] == 4 * n * i
    row = full[n * i:n * (i + 1)]
    best = sorted(range(n), key=lambda t: (-row[t], t))[:64]
    assert [t for t, _ in line["top"]] == best
    assert all(array.array("f", [v])[0] == row[t] for t, v in line["top"])
    lse = math.log(math.fsum(math.exp(v - max(row)) for v in row)) + max(row)
    assert abs(lse - line["lse"]) < 1e-6
    if line["next"] is None:
        assert i + 1 == len(lines) and line["logprob"] is None
    else:
        assert line["next"] == head["tokens"][i + 1] and abs(line["logprob"] - row[line["next"]] + lse) < 1e-6
head, *points = [json.loads(line) for line in open("trace")]
assert head["schema"] == "weft-trace-1"
values = array.array("f", open("values", "rb").read())
assert points[0]["checkpoint"] == "embed" and points[-1]["checkpoint"] == "logits"
at = 0
for point in points:
    size = point["shape"][0] * point["shape"][1]
    assert point["offset"] == 4 * at and point["pos"] == 0
    some = values[at:at + size]
    assert abs(math.fsum(some) - point["sum"]) < 1e-6 * (1 + abs(point["sum"])), point
    assert abs(math.sqrt(math.fsum(v * v for v in some)) - point["l2"]) < 1e-6 * point["l2"]
    assert array.array("f", point["first"]) == some[:3] and array.array("f", point["last"]) == some[-3:]
    at += size
assert at == len(values) and values[-n:] == full[-n:]'
    "$WEFT" tokenize -m $QWEN --ids --bos -p 'The capital of France is' >"$T/ids"
    "$WEFT" logits -m $QWEN --tokens - <"$T/ids" 2>"$T/err" | tail -n +2 >"$T/out"
    weft logits -m $QWEN -p 'The capital of France is' -b 2 -t 1
    tail -n +2 "$T/out" >"$T/again"
    "$WEFT" logits -m $QWEN --tokens - <"$T/ids" 2>"$T/err" | tail -n +2 >"$T/first"
    same 'the same from ids, from text, in small steps' "$T/first" "$T/again"
    ids=$(yes 5 | head -n 150)
    echo $ids >"$T/ids"
    check 'a text of several steps' 0 '' logits -m $PHI --tokens "$T/ids" -b 64 --trace "$T/trace" -o "$T/lines"
    judge 'its trace has all positions' '
import json
points = [json.loads(line) for line in open("trace")][1:]
q = [(p["pos"], p["shape"][0]) for p in points if p["checkpoint"] == "q" and p["layer"] == 0]
assert q == [(0, 64), (64, 64), (128, 22)], q
assert sum(1 for line in open("lines")) == 151'
    timeout 60 sh -c '"$0" logits -m "$1" --tokens "$2" 2>"$3" | head -n 1 >"$4"' "$WEFT" $PHI "$T/ids" "$T/err" "$T/out"
    [ $? -ne 124 ] && ! grep -qv '^weft: no GPU, ' "$T/err" && ok 'a reader that leaves ends it quietly' ||
        bad 'a reader that leaves ends it quietly' 'it does not'
}

perplexity_tests() {
    for word in one two three four five six seven eight nine ten; do
        for number in 1 2 3 4 5 6 7 8 9 10 11 12; do
            echo "The capital of France is Paris, $word times $number."
        done
    done >"$T/text"
    check 'perplexity' 0 '' perplexity -m $QWEN -f "$T/text" -c 128 --chunks 4 --save-base "$T/base"
    holds 'it says what it scored' '252 tokens in 4 windows of 128' "$T/out"
    cp "$T/out" "$T/first"
    check 'perplexity with itself as base' 0 '' perplexity -m $QWEN --kl-base "$T/base" -t 1
    holds 'KL to itself is 0' 'KL max          0.000e+00' "$T/out"
    holds 'the same top token' 'same top token  100.000 ± 0.000 %' "$T/out"
    head -n 1 "$T/out" >"$T/line"
    holds 'the same perplexity' "$(cat "$T/line")" "$T/first"
    check 'perplexity as JSON' 0 '' perplexity -m $QWEN --kl-base "$T/base" --json --cpu-isa scalar
    cp "$T/out" "$T/json"
    judge 'JSON of itself' '
import json
j = json.load(open("json"))
assert j["kl_mean"] == j["kl_max"] == j["p_change_rms"] == j["ln_ppl_ratio"] == 0 and j["same_top"] == 1
assert j["n_scored"] == 252 and j["ppl"] == j["base_ppl"] > 1 and j["nll_error"] > 0'
    check 'a base of other tokens' 1 'other tokens' perplexity -m $PHI --kl-base "$T/base"
    head -c 200000 "$T/base" >"$T/cut"
    check 'a base that was cut' 1 'ends too early' perplexity -m $QWEN --kl-base "$T/cut"
    head -c 100 "$T/base" >"$T/cut"
    check 'a base that was cut in its tokens' 1 'ends too early' perplexity -m $QWEN --kl-base "$T/cut"
    check 'a base on a full disk' 1 'No space' perplexity -m $QWEN -f "$T/text" -c 128 --save-base /dev/full
    check 'perplexity on a full disk' 0 '' perplexity -m $QWEN -f "$T/text" -c 64 --chunks 1
    "$WEFT" perplexity -m $QWEN -f "$T/text" -c 64 --chunks 1 >/dev/full 2>"$T/err"
    [ $? -eq 1 ] && ok 'its result on a full disk' || bad 'its result on a full disk' 'exit code is not 1'
}

# Computes the same windows and figures once more, from the logits that weft logits writes.
definition_test() {
    weft perplexity -m $QWEN -f "$T/text" -c 32 --chunks 2 --json
    cp "$T/out" "$T/json"
    "$WEFT" tokenize -m $QWEN --ids --bos -f "$T/text" | tr ' ' '\n' >"$T/all" 2>/dev/null
    for i in 0 1; do
        tail -n +$((i * 32 + 1)) "$T/all" | head -n 32 >"$T/ids"
        "$WEFT" logits -m $QWEN --tokens "$T/ids" -o "$T/window$i" 2>"$T/err"
    done
    judge 'perplexity is what its definition says' '
import json, math
lines = [json.loads(line) for i in "01" for line in list(open("window" + i))[1:]]
nll = [-line["logprob"] for line in lines if line["pos"] >= 16 and line["next"] is not None]
j = json.load(open("json"))
assert len(nll) == j["n_scored"] == 30
assert abs(sum(nll) / 30 - j["nll"]) < 1e-6, (sum(nll) / 30, j)
mean = sum(nll) / 30
error = math.sqrt(sum((x - mean) ** 2 for x in nll) / 29 / 30)
assert abs(error - j["nll_error"]) < 1e-6 and abs(math.exp(mean) - j["ppl"]) < 1e-4 * j["ppl"]'
}

embed_tests() {
    check 'embed of nothing' 2 'one text' embed -m $QWEN
    check 'embed of an empty text' 2 'text 1 is empty' embed -m $QWEN -p ''
    check 'embed by the first token' 3 'mean or last' embed -m $QWEN -p a --pooling cls
    check 'embed, odd pooling' 2 'option --pooling' embed -m $QWEN -p a --pooling max
    check 'embed to a full disk' 1 'No space' embed -m $QWEN -p a -o /dev/full
    # Nobody empties the pipe, and then Ctrl-C comes.
    seq 1 400 >"$T/lines"
    {
        timeout --preserve-status -k 60 -s INT 2 "$WEFT" embed --device cpu -m $QWEN -f "$T/lines" 2>"$T/err"
        echo $? >"$T/code"
    } | { sleep 4 && cat >/dev/null; }
    echo 130 >"$T/want"
    same 'Ctrl-C while embed waits for its reader' "$T/code" "$T/want"
    [ ! -s "$T/err" ] && ok 'it is no failed write' || bad 'it is no failed write' "$(cat "$T/err")"
    printf 'The capital of France is Paris.\nThe capital of Italy is Rome.\n3 + 4 = 7' >"$T/lines"
    check 'embed lines' 0 '' embed -m $QWEN -f "$T/lines" -o "$T/vectors"
    "$WEFT" embed -m $QWEN -p 'The capital of Italy is Rome.' >"$T/one" 2>"$T/err"
    "$WEFT" embed -m $QWEN --raw -b 2 --pooling last - <"$T/lines" >"$T/raw" 2>"$T/err"
    judge 'vectors of lines' '
import json, math
a, b, c = (json.loads(line) for line in open("vectors"))
one = json.load(open("one"))
assert one["embedding"] == b["embedding"] and one["index"] == 0 and b["index"] == 1
assert len(a["embedding"]) == 256
dot = lambda x, y: math.fsum(p * q for p, q in zip(x["embedding"], y["embedding"]))
assert abs(dot(a, a) - 1) < 1e-5 and dot(a, b) > dot(a, c), (dot(a, b), dot(a, c))
assert sum(1 for line in open("raw")) == 3'
}

rerank_tests() {
    check 'rerank by no reranker' 3 'no reranker' embed -m $QWEN --rerank q -p a
    check 'labels of no reranker' 3 'no reranker' embed -m $QWEN --pooling rank -p a
    check 'sorted vectors' 2 '--sort orders scores' embed -m $QWEN --sort -p a
    check 'rerank and vectors' 2 '--rerank makes the prompts' embed -m $QWEN --rerank q --dimensions 4 -p a
    check 'rerank and pooling' 2 '--rerank makes the prompts' embed -m $QWEN --rerank q --pooling mean -p a
    check 'no dimensions' 2 'option --dimensions' embed -m $QWEN --dimensions 0 -p a
    check 'too many dimensions' 2 'at most 256' embed -m $QWEN --dimensions 257 -p a
    [ -x "$SYNTH" ] || {
        skip 'rerank' "no $SYNTH"
        return
    }
    "$SYNTH" --like tiny-qwen3 --labels 2 --key qwen3.context_length=u32:2048 -o "$T/reranker" >"$T/out" 2>"$T/err"
    R=$T/reranker
    check 'rerank nothing' 2 'one text' embed -m "$R" --rerank q
    check 'rerank an empty text' 2 'text 1 is empty; there is nothing to score' embed -m "$R" --rerank q -p ''
    printf '\n\r\n' >"$T/blank"
    check 'rerank empty lines' 2 'all lines are empty; there is nothing to score' embed -m "$R" --rerank q -f "$T/blank"
    check 'scores to a full disk' 1 'No space' embed -m "$R" --rerank q -p a -o /dev/full
    check 'rerank a long text' 1 'text 1:' embed -m "$R" --rerank q -c 64 -p a
    printf 'the capital of France is Paris\n\nsomething else\r\nx\n\377\376' >"$T/lines"
    check 'rerank lines' 0 '1 of 5 lines are empty and have no score' embed -m "$R" --rerank 'capital of France' -f "$T/lines"
    cp "$T/out" "$T/scores"
    check 'rerank lines, sorted' 0 '' embed -q -m "$R" --rerank 'capital of France' --sort -f "$T/lines" -o "$T/sorted"
    "$WEFT" embed -q -m "$R" --rerank 'capital of France' - <"$T/lines" >"$T/dash" 2>"$T/err"
    same 'rerank standard input' "$T/dash" "$T/scores"
    "$WEFT" embed -q -m "$R" --rerank 'capital of France' -b 7 --kv 2048 -f "$T/lines" >"$T/small" 2>"$T/err"
    same 'rerank in small steps' "$T/small" "$T/scores"
    "$WEFT" embed -q -m "$R" --rerank 'capital of France' -e -p 'something else' >"$T/one" 2>"$T/err"
    "$WEFT" embed -q -m "$R" -p 'some text' >"$T/labels" 2>"$T/err"
    "$WEFT" embed -q -m $QWEN --dimensions 3 -p 'some text' >"$T/cut" 2>"$T/err"
    "$WEFT" embed -q -m $QWEN --raw -p 'some text' >"$T/raw" 2>"$T/err"
    judge 'scores, labels and cut vectors' '
import json, math
scores, ranked = ([json.loads(line) for line in open(name)] for name in ("scores", "sorted"))
assert [s["index"] for s in scores] == [0, 2, 3, 4] and all(0 < s["score"] < 1 for s in scores)
assert ranked == sorted(scores, key=lambda s: -s["score"])
assert json.load(open("one"))["score"] == scores[1]["score"]
labels = json.load(open("labels"))["embedding"]
assert len(labels) == 2 and abs(sum(labels) - 1) < 1e-6
cut, raw = (json.load(open(name))["embedding"] for name in ("cut", "raw"))
length = math.hypot(*raw[:3])
assert len(cut) == 3 and all(abs(c - r / length) < 1e-6 for c, r in zip(cut, raw))'
    # Without one of the texts the others keep their results.
    { seq 1 5 && seq 1 300 | tr '\n' ' '; } >"$T/lines"
    check 'rerank: the texts before one that is too long' 1 'text 6:' embed -m "$R" --rerank q -c 512 -f "$T/lines"
    [ "$(wc -l <"$T/out")" -eq 5 ] && ok 'they have scores' || bad 'they have scores' "$(wc -l <"$T/out")"
    check 'embed: the texts before one that is too long' 1 'text 6:' embed -m "$R" --pooling last -c 512 -f "$T/lines"
    [ "$(wc -l <"$T/out")" -eq 5 ] && ok 'they have vectors' || bad 'they have vectors' "$(wc -l <"$T/out")"
}

logprobs_tests() {
    check 'logprobs of too many' 2 'option --logprobs' run -m $QWEN -p a --logprobs 65
    check 'logprobs of tokens ahead' 2 '--logprobs needs' run -m $QWEN -p a --logprobs 1 --ahead 4
    check 'logprobs' 0 '' run -m $QWEN -p 'The capital of France is' -n 5 -s 3 -q --logprobs 3 -np 2
    cp "$T/err" "$T/probs"
    "$WEFT" tokenize -m $QWEN --ids --bos -p 'The capital of France is' >"$T/ids"
    python3 -c 'import json, sys
print(*[json.loads(line)["token"] for line in open(sys.argv[1]) if json.loads(line)["text"] == 1])' "$T/probs" \
        >>"$T/ids" 2>/dev/null
    weft logits -m $QWEN --tokens "$T/ids"
    cp "$T/out" "$T/lines"
    judge 'logprobs are those of weft logits' '
import json
head, *lines = [json.loads(line) for line in open("lines")]
probs = [p for p in map(json.loads, open("probs")) if p["text"] == 1]
assert [p["index"] for p in probs] == list(range(5))
first = len(lines) - 5 - 1
for i, p in enumerate(probs):
    line = lines[first + i]
    assert line["next"] == p["token"] and abs(line["logprob"] - p["logprob"]) < 1e-5
    assert [t["token"] for t in p["top"]] == [t for t, _ in line["top"][:3]]
    assert isinstance(p["piece"], str)'
}

# A file that is written would destroy the model that is read, under whatever name.
model_tests() {
    cp $QWEN "$T/kept.gguf"
    ln -s kept.gguf "$T/other-name"
    for output in 'logits -p a -o' 'logits -p a --full' 'logits -p a --trace' 'embed -p a -o' 'run -p a -n 1 --save-state' \
        'run -p a -n 1 --log-logits' "perplexity -f $T/kept.gguf --save-base"; do
        check "$output over the model" 2 'over the model' $output "$T/other-name" -m "$T/kept.gguf"
    done
    printf '/save %s\n' "$T/other-name" | "$WEFT" chat -m "$T/kept.gguf" --commands >"$T/out" 2>"$T/err"
    holds 'a conversation over the model' 'over the model' "$T/err"
    same 'the model is kept' $QWEN "$T/kept.gguf"
}

usage_tests
model_tests
logprobs_tests
logits_tests
embed_tests
rerank_tests
perplexity_tests
definition_test
finish
