#!/bin/sh
# Black-box tests of saved state: --save-state and --load-state of weft run, /save and /load of weft chat. A text that is
# saved and loaded goes on as if it had never been away. A failure to save or load leaves everything as it was. Usage:
# tests/weft/cli_state.sh [path of weft].

WEFT=${1:-${WEFT:-build/weft}}
QWEN=models/weft-demo-qwen2.gguf
PHI=models/weft-demo-phi3.gguf
. "$(dirname "$0")/cli_lib.sh"

S=$T/state
say='The capital of France is'
france='What is the capital of France?'
italy='What is the capital of Italy?'

# chat NAME EXPECTED_CODE INPUT ARGUMENT...: the answers in $T/out
chat() {
    name=$1 want=$2 input=$3
    shift 3
    printf %b "$input" | timeout 120 "$WEFT" chat -m "$m" --temp 0 --commands "$@" >"$T/out" 2>"$T/err"
    code=$?
    [ $code -eq "$want" ] && ok "$name" || bad "$name" "exit code $code, expected $want"
}

# Prints the answer in line N of the last chat.
line() { sed -n "${1}p" "$T/out"; }

usage_tests() {
    check 'a state of several texts' 2 'keeps one text' run -m $QWEN -p a -np 2 --save-state "$S"
    check 'no prompt without a state' 2 'no prompt' run -m $QWEN
    check 'no prompt for a chat behind a state' 2 'no prompt' run -m $QWEN --chat --load-state "$S"
    check 'no state in chat by option' 2 'unknown option' chat -m $QWEN --load-state "$S"
}

run_tests() {
    check "$n: a text to save" 0 '' run -m $m -p "$say" -n 3 --temp 0 --ignore-eos --save-state "$S"
    cp "$T/out" "$T/first"
    grep -qE '^weft: [0-9]+ prompt \+ 3 generated' "$T/err" && ok "$n: no state was used" || bad "$n: no state was used" 'one was'
    tokens=$(sed -n 's/^weft: \([0-9]*\) prompt + .*/\1/p' "$T/err")
    check "$n: it goes on" 0 "weft: $((tokens + 2)) state + 1 prompt + 5 generated" \
        run -m $m --load-state "$S" -n 5 --temp 0 --ignore-eos
    cat "$T/first" "$T/out" >"$T/both"
    weft run -m $m -p "$say" -n 8 --temp 0 --ignore-eos
    same "$n: both are one text" "$T/both" "$T/out"
    weft run -m $m --load-state "$S" -n 5 --temp 0 --ignore-eos -b 1 -t 1 -c 64 --cpu-isa scalar
    cat "$T/first" "$T/out" >"$T/two"
    same "$n: the same from another engine" "$T/two" "$T/both"
    weft run -m $m --load-state "$S" -n 5 --temp 0 --ignore-eos -np 2 -q
    tail -c +$(($(wc -c <"$T/first") + 1)) "$T/both" >"$T/rest"
    { cat "$T/rest" && echo && cat "$T/rest" && echo; } >"$T/want"
    same "$n: several texts from one state" "$T/out" "$T/want"
    check "$n: a state with K and V in q8_0" 0 '' run -m $m -p "$say" -n 3 --temp 0 --ignore-eos -ctk q8_0 -ctv q8_0 --save-state "$S"
    check "$n: refused by an engine of f16" 1 'open the engine with type_k q8_0 and type_v q8_0' run -m $m -n 5 --load-state "$S"
    holds "$n: and which options these are" '-ctk type_k and -ctv type_v' "$T/err"
    weft run -m $m -p "$say" -n 3 --temp 0 --ignore-eos --cache-type-k q8_0 --cache-type-v=q8_0
    cp "$T/out" "$T/two"
    check "$n: it goes on in q8_0" 0 " state + 1 prompt + 5 generated" \
        run -m $m --load-state "$S" -n 5 --temp 0 --ignore-eos -ctk q8_0 -ctv q8_0
    cat "$T/out" >>"$T/two"
    weft run -m $m -p "$say" -n 8 --temp 0 --ignore-eos -ctk q8_0 -ctv q8_0
    same "$n: both are one text in q8_0" "$T/two" "$T/out"
    check "$n: only a prompt" 0 '' run -m $m -p 'The capital of' -n 0 --save-state "$S"
    check "$n: another prompt behind it" 0 ' state + ' run -m $m -p ' France is' -n 8 --temp 0 --load-state "$S" --save-state "$S"
    cp "$T/out" "$T/behind"
    weft run -m $m -p "$say" -n 8 --temp 0
    same "$n: as if it were one" "$T/behind" "$T/out"
    check "$n: from a file onto the same file" 0 ' state + 1 prompt + 0 generated' run -m $m -n 0 --load-state "$S" --save-state "$S"
    [ "$(ls "$T" | grep -c '^state')" -eq 1 ] && ok "$n: nothing beside it" || bad "$n: nothing beside it" "$(ls "$T")"
    weft run -m $m --chat -p "$france" --temp 0 --save-state "$S"
    check "$n: a chat goes on" 0 '' run -m $m --chat -p "$italy" --temp 0 --load-state "$S"
    cp "$T/out" "$T/answer"
    echo >>"$T/answer"
    chat "$n: as in a chat" 0 "$france\n$italy\n"
    line 2 >"$T/want"
    same "$n: the same answer" "$T/answer" "$T/want"
}

interrupt_test() {
    timeout --preserve-status -k 60 -s INT 2 "$WEFT" run -m $m -p "$say" --ignore-eos --temp 0 --cpu-isa scalar -t 1 \
        --save-state "$S" >"$T/first" 2>"$T/err"
    code=$?
    if [ $code -eq 0 ]; then # the machine is fast: the context was full before the signal
        skip "$n: a state from Ctrl-C" 'the text ended before'
        return
    fi
    [ $code -eq 130 ] && ok "$n: Ctrl-C with a state gives 130" || bad "$n: Ctrl-C with a state gives 130" "exit code $code"
    check "$n: it was saved" 0 ' state + 1 prompt' run -m $m --load-state "$S" -n 4 --temp 0 --ignore-eos
    cat "$T/first" "$T/out" >"$T/both"
    bytes=$(wc -c <"$T/both")
    weft run -m $m -p "$say" --temp 0 --ignore-eos -q
    head -c "$bytes" "$T/out" >"$T/want"
    same "$n: and goes on where Ctrl-C stopped it" "$T/both" "$T/want"
}

refusal_tests() {
    weft run -m $m -p "$say" -n 60 --temp 0 --ignore-eos --save-state "$S"
    check "$n: no such state" 1 "$T/none" run -m $m -p a --load-state "$T/none"
    [ -s "$T/out" ] && bad "$n: then there is no text" 'there is' || ok "$n: then there is no text"
    check "$n: a model is no state" 1 'no saved state' run -m $m -p a --load-state $m
    check "$n: a directory is no state" 1 'a directory' run -m $m -p a --load-state "$T"
    head -c 5000 "$S" >"$T/cut"
    check "$n: a cut state" 1 "$T/cut: the saved state was cut" run -m $m -p a --load-state "$T/cut"
    { head -c 5000 "$S"; printf x; tail -c +5002 "$S"; } >"$T/flip"
    check "$n: a damaged state" 1 'checksum' run -m $m -p a --load-state "$T/flip"
    check "$n: a state of another model" 1 'another model' run -m $other -p a --load-state "$S"
    check "$n: a state longer than the context" 1 'context is 16' run -m $m -p a -c 16 --load-state "$S"
    check "$n: a prompt too long behind it" 1 'of the state, and the context is 70' \
        run -m $m -p "$say $say $say" -c 70 --load-state "$S"
    cp "$S" "$T/old"
    check "$n: no state in no directory" 1 "$T/none/state: no file can be made" run -m $m -p a -n 1 --save-state "$T/none/state"
    check "$n: no state in a device" 1 '/dev/full is a character device' run -m $m -p a -n 1 --save-state /dev/full
    [ -c /dev/full ] && ok "$n: it is still one" || bad "$n: it is still one" 'it is gone'
    (trap '' XFSZ && ulimit -f 8 && timeout 120 "$WEFT" run -m $m -p "$say" -n 60 --temp 0 --save-state "$S" >"$T/out" 2>"$T/err")
    code=$?
    [ $code -eq 1 ] && [ -s "$T/out" ] && ok "$n: a full disk loses no text" || bad "$n: a full disk loses no text" "exit code $code"
    holds "$n: it says so" "$S: writing" "$T/err"
    same "$n: the old state is whole" "$S" "$T/old"
    [ "$(ls "$T" | grep -c '^state')" -eq 1 ] && ok "$n: and nothing beside it" || bad "$n: and nothing beside it" "$(ls "$T")"
}

chat_tests() {
    chat "$n: two messages" 0 "$france\n$italy\n"
    cp "$T/out" "$T/two"
    line 1 >"$T/one"
    line 2 >"$T/second"
    chat "$n: save" 0 "$france\n/save $S\n"
    holds "$n: save says how much" 'saved ' "$T/err"
    chat "$n: load" 0 "/load $S\n$italy\n"
    same "$n: the conversation goes on" "$T/out" "$T/second"
    holds "$n: the closing line counts it" ' state + ' "$T/err"
    chat "$n: load in a conversation" 0 "$italy\n$italy\n/load $S\n$italy\n"
    line 3 >"$T/got"
    same "$n: it is replaced" "$T/got" "$T/second"
    chat "$n: undo behind a state" 0 "/load $S\nWhat is 2 + 3?\n/undo\n$italy\n"
    line 2 >"$T/got"
    same "$n: leaves the state" "$T/got" "$T/second"
    chat "$n: undo at a state" 0 "/load $S\n/undo\n/retry\n$italy\n/retry\n"
    holds "$n: there is nothing to take back" 'nothing to take back' "$T/err"
    cat "$T/second" "$T/second" >"$T/want"
    same "$n: and the state stays" "$T/out" "$T/want"
    chat "$n: clear drops a state" 0 "/load $S\n$italy\n/clear\n$france\n$italy\n" -sys 'You are a helpful assistant.'
    sed 1d "$T/out" >"$T/got"
    chat "$n: as a new chat" 0 "$france\n$italy\n" -sys 'You are a helpful assistant.'
    same "$n: with its system prompt" "$T/got" "$T/out"
    chat "$n: a cut answer behind a state" 0 "/load $S\n/set n 2\n$france\n/set n -1\n/undo\n$italy\n"
    line 2 >"$T/got"
    same "$n: and undo" "$T/got" "$T/second"
    chat "$n: a cut answer goes on behind a state" 0 "/load $S\n/set n 2\n$france\n/set n -1\n$italy\n"
    cp "$T/out" "$T/cut"
    chat "$n: as without it" 0 "$france\n/set n 2\n$france\n/set n -1\n$italy\n"
    sed 1d "$T/out" >"$T/got"
    same "$n: the same answers" "$T/got" "$T/cut"
    chat "$n: a cut answer is saved" 0 "/set n 2\n$france\n/save $T/half\n/set n -1\n$italy\n"
    line 2 >"$T/want"
    chat "$n: and loaded" 0 "/load $T/half\n$italy\n"
    same "$n: it was ended" "$T/out" "$T/want"
    chat "$n: an empty conversation" 0 "/save $T/empty\n$italy\n/load $T/empty\n$france\n"
    line 2 >"$T/got"
    same "$n: is the beginning" "$T/got" "$T/one"
    chat "$n: no such state in a chat" 1 "$france\n/load $T/none\n$italy\n"
    same "$n: the conversation stays" "$T/out" "$T/two"
    chat "$n: no place for a state in a chat" 1 "$france\n/save $T/none/x\n$italy\n"
    same "$n: it stays here too" "$T/out" "$T/two"
    chat "$n: save wants a name" 1 '/save\n/load\n'
    holds "$n: it says so" '/save takes FILE' "$T/err"
}

usage_tests
for m in $QWEN $PHI; do
    n=$(basename $m .gguf)
    [ $m = $QWEN ] && other=$PHI || other=$QWEN
    if [ ! -r $m ]; then
        skip "$n" "no $m"
        continue
    fi
    run_tests
    interrupt_test
    refusal_tests
    chat_tests
done
finish
