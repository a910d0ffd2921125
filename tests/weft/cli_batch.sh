#!/bin/sh
# Black-box tests of weft batch: what comes out for what goes in, errors of single lines, going on where a batch was ended,
# shards, pipes, Ctrl-C, and what is refused. Usage: tests/weft/cli_batch.sh [path of weft].

WEFT=${1:-${WEFT:-build/weft}}
QWEN=models/weft-demo-qwen2.gguf
. "$(dirname "$0")/cli_lib.sh"

command -v python3 >/dev/null 2>&1 || {
    echo 'skip batch: no python3'
    exit 0
}

# judge NAME PROGRAM: a python program that exits with a message if something is wrong; lines(FILE) gives its lines of JSON
judge() {
    if (cd "$T" && python3 -c "import json
def lines(name):
    text = open(name, encoding='utf-8').read()
    assert text == '' or text.endswith('\n'), 'the last line is torn'
    found = [json.loads(line) for line in text.splitlines()]
    assert all(list(one) == ['id', 'custom_id', 'response', 'error'] for one in found)
    return found
$2") >"$T/err" 2>&1; then
        ok "$1"
    else
        bad "$1" 'see below'
    fi
}

# requests FROM TO: lines of completions
requests() {
    i=$1
    while [ "$i" -le "$2" ]; do
        echo '{"custom_id": "r'$i'", "method": "POST", "url": "/v1/completions", "body": {"prompt": "'$i' plus 1 is", "temperature": 0, "max_tokens": 8}}'
        i=$((i + 1))
    done
}

usage_tests() {
    check 'no input' 2 '-i FILE' batch -m $QWEN
    check 'no model' 2 'no model' batch -i "$T/in"
    check 'a shard too many' 2 'count from 0' batch -m $QWEN -i "$T/in" --shard 4/4
    check 'half a shard' 2 'expected I/N' batch -m $QWEN -i "$T/in" --shard 4
    check 'no shards' 2 'expected I/N' batch -m $QWEN -i "$T/in" --shard 0/0
    check 'an argument' 2 'unexpected argument' batch -m $QWEN -i "$T/in" x
    check 'an option of other commands' 2 'unknown option' batch -m $QWEN -i "$T/in" --log-logits x
    check 'no such input' 1 'No such file' batch -m $QWEN -i "$T/none"
    check 'a folder as input' 1 'Is a directory' batch -m $QWEN -i "$T"
    check 'an output that cannot be made' 1 "$T/none/x" batch -m $QWEN -i "$T/in" -o "$T/none/x"
    check 'a full disk' 1 '/dev/full: cannot be written: No space' batch -m $QWEN -i "$T/in" -o /dev/full
    check 'the input as output' 2 'into the input' batch -m $QWEN -i "$T/in" -o "$T/in"
    check 'the model as output' 2 'over the model' batch -m $QWEN -i "$T/in" -o $QWEN
    check 'no such model' 3 'No such file' batch -m "$T/none" -i "$T/in"
    check 'variables that are no object' 2 'expected an object' batch -m $QWEN -i "$T/in" --chat-template-kwargs 7
    echo 'my diary' >"$T/diary"
    cp "$T/diary" "$T/copy"
    check 'something else as output' 2 'line 1 is no answer' batch -m $QWEN -i "$T/in" -o "$T/diary"
    same 'it is left alone' "$T/diary" "$T/copy"
    check 'nothing to do' 0 '0 lines' batch -m $QWEN -i /dev/null
}

answer_tests() {
    check 'completions' 0 '20 answered, 0 failed' batch -m $QWEN -i "$T/in" -o "$T/out20"
    [ -s "$T/out" ] && bad 'batch with -o is silent' 'it is not' || ok 'batch with -o is silent'
    for i in 1 7 20; do
        "$WEFT" run -q -m $QWEN -p "$i plus 1 is" --temp 0 -n 8 >"$T/run$i" 2>"$T/err"
    done
    judge 'the texts are those of weft run' '
found = {one["custom_id"]: one for one in lines("out20")}
assert len(found) == 20
for i in (1, 7, 20):
    answer = found[f"r{i}"]
    assert answer["id"] == f"batch_req_{i}" and answer["error"] is None
    assert answer["response"]["status_code"] == 200 and answer["response"]["request_id"]
    body = answer["response"]["body"]
    assert body["object"] == "text_completion" and body["usage"]["completion_tokens"] <= 8
    text = open(f"run{i}", encoding="utf-8").read()
    assert body["choices"][0]["text"].rstrip() == text.rstrip(), (body, text)'
    cat >"$T/mixed" <<'END'
{"custom_id": "chat", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, "stream": true}}
{"custom_id": "vector", "method": "POST", "url": "/v1/embeddings", "body": {"input": ["one", "two"]}}
not JSON

{"custom_id": "image", "method": "POST", "url": "/v1/images/generations", "body": {}}
{"method": "POST", "url": "/v1/completions", "body": {}}
{"custom_id": "wrong", "method": "POST", "url": "/v1/completions", "body": {"prompt": "x", "temperature": "hot"}}
{"custom_id": "long", "method": "POST", "url": "/v1/completions", "body": {"prompt": "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty", "max_tokens": 4}}
END
    check 'lines of all kinds' 1 '5 of 7 lines have failed' batch -m $QWEN -c 32 -a me -i "$T/mixed" -o "$T/kinds"
    judge 'each has its own answer or error' '
found = {one["id"]: one for one in lines("kinds")}
assert len(found) == 7
chat = found["batch_req_1"]["response"]["body"]
assert chat["object"] == "chat.completion" and chat["model"] == "me"
vectors = found["batch_req_2"]["response"]["body"]["data"]
assert [one["index"] for one in vectors] == [0, 1]
for i, code in ((3, "invalid_json"), (5, "invalid_url"), (6, "missing_custom_id")):
    one = found[f"batch_req_{i}"]
    assert one["response"] is None and one["error"]["code"] == code and f"line {i}" in one["error"]["message"]
assert found["batch_req_3"]["custom_id"] is None and found["batch_req_5"]["custom_id"] == "image"
for i, word in ((7, "temperature"), (8, "exceeds the available context size")):
    response = found[f"batch_req_{i}"]["response"]
    assert response["status_code"] == 400 and word in response["body"]["error"]["message"], response'
}

resume_tests() {
    cp "$T/out20" "$T/resumed"
    check 'nothing is left' 0 '0 answered, 0 failed, 20 answered before' batch -m $QWEN -i "$T/in" -o "$T/resumed"
    same 'the output stays as it is' "$T/resumed" "$T/out20"
    head -c "$(($(wc -c <"$T/out20") - 30))" "$T/out20" | tail -n +6 >"$T/resumed"
    check 'a torn line and missing ones' 0 '6 answered, 0 failed, 14 answered before' batch -m $QWEN -i "$T/in" -o "$T/resumed"
    judge 'all are there once' '
text = lambda name: {one["custom_id"]: one["response"]["body"]["choices"][0]["text"] for one in lines(name)}
assert len(lines("resumed")) == 20 and text("resumed") == text("out20")'
    check 'failures of an earlier run' 1 'in an earlier run' batch -m $QWEN -c 32 -i "$T/mixed" -o "$T/kinds"
    if command -v flock >/dev/null; then
        flock "$T/resumed" "$WEFT" batch -m $QWEN -i "$T/in" -o "$T/resumed" >"$T/out" 2>"$T/err"
        holds 'two batches with one output' 'another batch' "$T/err"
    else
        skip 'two batches with one output' 'no flock'
    fi
}

shard_tests() {
    for i in 0 1 2; do
        "$WEFT" batch -q -m $QWEN -i "$T/in" -o "$T/shard$i" --shard $i/3 2>"$T/err" || bad "shard $i" 'see below'
    done
    judge 'shards are parts of the whole' '
parts = [lines(f"shard{i}") for i in range(3)]
assert [len(part) for part in parts] == [7, 7, 6]
assert sorted(one["custom_id"] for part in parts for one in part) == sorted(one["custom_id"] for one in lines("out20"))'
}

pipe_tests() {
    "$WEFT" batch -q -m $QWEN -i - <"$T/in" >"$T/piped" 2>"$T/err"
    [ ! -s "$T/err" ] && ok 'quiet' || bad 'quiet' 'it is not'
    judge 'standard input to standard output' 'assert len(lines("piped")) == 20'
    (requests 1 2 && sleep 1 && requests 3 4) | "$WEFT" batch -q -m $QWEN -i - >"$T/piped" 2>"$T/err"
    judge 'an input that comes slowly' 'assert len(lines("piped")) == 4'
    # The reader leaves after a line; the input would never end.
    yes "$(requests 1 1)" | timeout 60 "$WEFT" batch -q -m $QWEN -i - 2>"$T/told" | head -n 1 >"$T/piped"
    judge 'a reader that leaves' 'assert len(lines("piped")) == 1'
    holds 'it is told' 'cannot be written: Broken pipe' "$T/told"
}

interrupt_tests() {
    yes "$(requests 1 1)" | timeout --preserve-status -k 60 -s INT 3 "$WEFT" batch -m $QWEN -i - -o "$T/stopped" >"$T/out" 2>"$T/err"
    code=$?
    [ $code = 130 ] && ok 'Ctrl-C' || bad 'Ctrl-C' "exit code $code, expected 130"
    holds 'Ctrl-C leaves a closing line' 'tok/s' "$T/err"
    judge 'Ctrl-C leaves whole lines' 'assert len(lines("stopped")) > 0'
}

requests 1 20 >"$T/in"
usage_tests
answer_tests
resume_tests
shard_tests
pipe_tests
interrupt_tests
finish
