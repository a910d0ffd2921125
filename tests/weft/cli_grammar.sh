#!/bin/sh
# Black-box tests of --grammar, --json-schema and -j: the output is text that the grammar allows, and bad grammars are
# refused. Usage: tests/weft/cli_grammar.sh [path of weft].

WEFT=${1:-${WEFT:-build/weft}}
QWEN=models/weft-demo-qwen2.gguf
PHI=models/weft-demo-phi3.gguf
. "$(dirname "$0")/cli_lib.sh"

# draw ARGUMENT...: writes a text; the line that says why it ended is in $T/err
draw() { weft run -p 'The answer:' -n 200 -t 1 "$@"; }

# every NAME PROGRAM ARGUMENT...: with five seeds and greedily the text ends by itself, and the python program, which has it
# as `text`, finds nothing wrong
every() {
    name=$1 program=$2
    shift 2
    for seed in 1 2 3 4 5 greedy; do
        if [ $seed = greedy ]; then draw "$@" --temp 0; else draw "$@" -s $seed --temp 1.5 --top-k 0; fi
        if [ $code -ne 0 ] || ! grep -qF '; end; ids' "$T/err"; then
            bad "$name" "seed $seed: exit code $code, or the text did not end"
            return
        fi
        if [ -n "$python" ] && ! python3 -c "import json, re, sys
text = open('$T/out', newline='').read()
$program" 2>"$T/err"; then
            bad "$name" "seed $seed: $(cat "$T/out")"
            return
        fi
    done
    ok "$name"
}

usage_tests() {
    check 'no such grammar' 1 'No such file' run -m $QWEN -p a --grammar-file "$T/none"
    check 'no such schema' 1 'No such file' run -m $QWEN -p a -jf "$T/none"
    : >"$T/empty"
    check 'an empty grammar' 2 'is empty' run -m $QWEN -p a --grammar "$T/empty"
    printf 'root ::= "a"\nb ::= "x" )' >"$T/g"
    check 'an error in a grammar' 2 "line 2, column 11: found ')'" run -m $QWEN -p a --grammar "$T/g"
    check 'the same in a chat' 2 "line 2, column 11: found ')'" chat -m $QWEN --grammar-file "$T/g"
    check 'a grammar and JSON' 2 'contradict' run -m $QWEN -p a --grammar "$T/g" --json
    check 'a schema and JSON' 2 'contradict' run -m $QWEN -p a --json-schema '{}' --json
    check 'a schema that is no JSON' 2 '--json-schema: line 1' run -m $QWEN -p a --json-schema '{'
    check 'a keyword by name and place' 2 "#/properties/x: the keyword 'multipleOf'" run -m $QWEN -p a \
        --json-schema '{"properties":{"x":{"multipleOf":2}}}'
    check 'a schema that never begins' 2 'leads back to the schema itself' run -m $QWEN -p a --json-schema '{"$ref":"#"}'
    check 'no grammar for perplexity' 2 'unknown option' perplexity -m $QWEN -p a --json-schema '{}'
}

text_tests() {
    # shellcheck disable=SC2016
    printf '%s\n' 'root ::= word (" " word){2} "!" # three words' 'word ::= [a-z]{1,5} | "\u00e9\U0001F600"' >"$T/g"
    for m in $QWEN $PHI; do
        every "words ($m)" 'assert re.fullmatch("(?:[a-z]{1,5}|é😀)(?: (?:[a-z]{1,5}|é😀)){2}!", text)' -m $m --grammar "$T/g"
    done
    cp "$T/out" "$T/words"
    cat "$T/g" | timeout 120 "$WEFT" run -m $PHI -p 'The answer:' -n 200 -t 1 --grammar - --temp 0 >"$T/out" 2>"$T/err"
    same 'a grammar on standard input' "$T/out" "$T/words"
    printf 'root ::= "ab"' >"$T/g"
    check 'a text that may not end' 5 '; grammar; ids' run -m $QWEN -p a --grammar "$T/g" --ignore-eos
    printf ab >"$T/want"
    same 'it is whole' "$T/out" "$T/want"
    weft run -m $QWEN -p a --grammar "$T/g" -np 3 -q
    printf 'ab\nab\nab\n' >"$T/want"
    same 'texts beside each other' "$T/out" "$T/want"
    printf 'one\ntwo\n' | timeout 120 "$WEFT" chat -m $QWEN --grammar "$T/g" -q >"$T/out" 2>"$T/err"
    [ "$(tr -d '\n' <"$T/out")" = abab ] && ok 'every answer of a chat' || bad 'every answer of a chat' "$(cat "$T/out")"
    printf 'one\n' | timeout 120 "$WEFT" chat -m $QWEN --grammar "$T/g" -q --ignore-eos >"$T/out" 2>"$T/err"
    [ "$(tr -d '\n' <"$T/out")" = ab ] && ok 'an answer that may not end' || bad 'an answer that may not end' "$(cat "$T/out")"
}

json_tests() {
    for m in $QWEN $PHI; do
        every "any JSON ($m)" 'json.loads(text)' -m $m --json
    done
    every 'an object' 'v = json.loads(text); assert list(v) in (["name", "age"], ["name", "age", "tags"])
assert 1 <= len(v["name"]) <= 8 and 0 <= v["age"] <= 130 and type(v["age"]) is int
assert all(t in ("x", "y") for t in v.get("tags", [])) and len(v.get("tags", [])) <= 3' -m $QWEN --json-schema '{"type": "object",
        "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["x", "y"]}, "maxItems": 3}}, "required": ["name", "age"]}'
    echo '{"$ref": "#/$defs/pair", "$defs": {"leaf": {"type": "boolean"}, "pair": {"type": "array", "minItems": 2,
        "prefixItems": [{"$ref": "#/$defs/leaf"}, {"type": ["null", "number"]}]}}}' >"$T/schema"
    every 'a pair, from a file' 'a, b = json.loads(text); assert type(a) is bool and type(b) in (type(None), int, float)' \
        -m $PHI --json-schema "$T/schema"
    every 'a date' 'import datetime; t = json.loads(text); assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[-+]\d\d:\d\d)", t)' \
        -m $QWEN --json-schema '{"type": "string", "format": "date-time"}'
    every 'a pattern' 'assert re.fullmatch("[A-Z]{2}-[0-9]+", json.loads(text))' -m $QWEN \
        --json-schema '{"type": "string", "pattern": "^[A-Z]{2}-\\d{1,3}$"}'
}

python=$(command -v python3)
[ -n "$python" ] || skip 'whether texts match' 'no python3'
usage_tests
text_tests
json_tests
finish
