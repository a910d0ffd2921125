#!/bin/sh
# Black-box tests of the program: exit codes, what goes to standard output and what to standard error, exact bytes.
# Usage: tests/weft/cli.sh [path of weft]. One line per case; the last line counts them. Exits with 1 if one failed.
# Needs sh and coreutils; python3 only to judge the JSON. What cannot run is reported as "skip".

WEFT=${1:-${WEFT:-build/weft}}
VOCAB=${VOCAB:-../shared/data/vocab}
QWEN=models/weft-demo-qwen2.gguf
PHI=models/weft-demo-phi3.gguf
. "$(dirname "$0")/cli_lib.sh"

# u32 and u64, little-endian, of numbers below 256
u32() { printf "\\$(printf %o "$1")\\0\\0\\0"; }
u64() {
    u32 "$1"
    u32 0
}

str() {
    u64 "$(printf "$1" | wc -c)"
    printf "$1"
}

usage_tests() {
    weft
    if [ "$code" -eq 2 ] && [ ! -s "$T/out" ] && grep -q 'usage: weft' "$T/err"; then
        ok 'no arguments: overview on stderr'
    else
        bad 'no arguments: overview on stderr' "exit code $code"
    fi
    check 'unknown command' 2 'did you mean run?' rnu
    check 'unknown option' 2 'did you mean --temp?' run --tmep 1
    check 'abbreviated option' 2 'unknown option --temperatur;' run --temperatur 1
    check 'missing value' 2 'needs a value' run -m x -n
    check 'value that is an option' 2 '--prompt=--temp' run -m x -p --temp 0
    check 'no model' 2 'no model' run -p x
    check 'no prompt' 2 'no prompt' run -m x
    check 'two prompts' 2 '-p and -f' run -m x -p a -f b
    check 'stdin and prompt' 2 'contradicts' run -m x -p a -
    check 'stray argument' 2 'unexpected argument' run -m x stray
    check 'chat takes no arguments' 2 "unexpected argument 'stray'" chat -m x stray
    check 'an option before the command' 2 'option -m stands before the command' -m x -p a
    check 'a short word is not corrected to another' 2 '-hi' run -hi
    grep -q 'did you mean' "$T/err" && bad 'no far-fetched suggestion' 'there is one' || ok 'no far-fetched suggestion'
    check 'system prompt without chat' 2 'needs --chat' run -m x -p a -sys b
    check 'unknown template' 2 'is unknown' run -m x -p a --chat --chat-template nonesuch
    for value in 12x '' nan inf 1.5 0x10 -2 99999999999999999999; do
        check "odd number '$value' for -n" 2 'option -n' run -m x -p a -n "$value"
    done
    for value in nan inf -1 101 1e999 0x1 '1 ' 1,5 ''; do
        check "odd number '$value' for --temp" 2 'option --temp' run -m x -p a --temp "$value"
    done
    for value in 5 +1 5+ 5+nan x+1 5--1; do
        check "odd bias '$value'" 2 'option -l' run -m x -p a -l "$value"
    done
    for value in gpu '' cuda: cuda:x cuda:-1 CPU; do
        check "odd device '$value'" 2 'option --device' run -m x -p a --device "$value"
    done
    for value in q4_0 F16 '' 1; do
        check "odd type '$value' of K" 2 "option -ctk: '$value'" run -m x -p a -ctk "$value"
        check "odd type '$value' of V" 2 "option --cache-type-v: '$value'" bench -m x --cache-type-v "$value"
    done
    check 'no token ahead' 2 'option --ahead' run -m x -p a --ahead 0
    check 'logits of tokens ahead' 2 '--log-logits needs' run -m x -p a --ahead 4 --log-logits x
    check 'doctor takes no arguments' 2 "unexpected argument 'stray'" doctor stray
    check 'odd token id' 2 'not a token id' detokenize -m x 1 2 three
    check 'two texts for tokenize' 2 'one text' tokenize -m x -p a -
    check 'inspect without file' 2 'one FILE' inspect
}

help_tests() {
    for c in run chat tokenize detokenize inspect doctor logits perplexity bench embed help version; do
        check "help $c" 0 '' help $c
        cp "$T/out" "$T/help"
        weft $c --help
        same "$c --help is help $c" "$T/out" "$T/help"
        holds "help $c begins with its usage" "usage: weft $c" "$T/help"
    done
    weft help run
    holds 'help shows defaults' '(default: 0.95)' "$T/out"
    weft help --man
    holds 'the manual page is roff' '.SH NAME' "$T/out"
    check 'help on an unknown command' 2 'did you mean chat?' help chta
    for c in run chat tokenize detokenize inspect doctor logits perplexity bench embed; do
        "$WEFT" help $c
    done | sed '/^examples:/,/^$/d' | awk 'length > 80' >"$T/out"
    [ -s "$T/out" ] && bad 'help fits 80 columns' "$(head -n 1 "$T/out")" || ok 'help fits 80 columns'
    weft --version
    holds 'version' 'weft 0.' "$T/out"
    "$WEFT" help run >/dev/full 2>"$T/err"
    [ $? -eq 1 ] && ok 'help on a full disk' || bad 'help on a full disk' 'exit code is not 1'
}

refused_tests() {
    check 'no such file' 3 'No such file' run -m "$T/none.gguf" -p a
    check 'a directory as model' 3 '' run -m "$T" -p a
    echo 'this is no model' >"$T/text.gguf"
    check 'a text file as model' 3 'GGUF' run -m "$T/text.gguf" -p a
    check 'a text file to inspect' 3 'GGUF' inspect "$T/text.gguf"
    check 'no such prompt file' 1 'No such file' run -m "$T/text.gguf" -f "$T/none.txt"
    {
        printf GGUF
        u32 3
        u64 0
        u64 2
        str 'general.architecture'
        u32 8
        str 'none'
        str 'test.bytes'
        u32 8
        str '\377\0a\033'
    } >"$T/small.gguf"
    check 'inspect without tensors' 0 '' inspect "$T/small.gguf"
    holds 'inspect escapes control bytes' '\xff\x00a\x1b' "$T/out"
    check 'inspect --json of bytes' 0 '' inspect --json "$T/small.gguf"
    json 'JSON of bytes that are no UTF-8'
    check 'tokenize without a vocabulary' 3 '' tokenize -m "$T/small.gguf" -p a
    head -c 60 "$T/small.gguf" >"$T/cut.gguf"
    check 'a cut file' 3 '' inspect "$T/cut.gguf"
}

# The devices that can compute. $why: the number of lines that say why there is no GPU, 1 in a build with CUDA.
device_tests() {
    check 'doctor' 0 '' doctor
    [ -s "$T/err" ] && bad 'doctor is silent on stderr' 'it is not' || ok 'doctor is silent on stderr'
    tail -n 1 "$T/out" >"$T/last"
    holds 'doctor ends with what auto uses' '--device auto uses cpu: ' "$T/last"
    holds 'doctor lists the CPU' '  cpu  ' "$T/out"
    holds 'doctor names the CPU kernels' 'kernels: ' "$T/out"
    check 'doctor with K in q8_0' 0 '' doctor -m $QWEN -ctk q8_0
    holds 'doctor counts K in q8_0' 'KV 4.6 MiB for 4096 positions (K in q8_0, V in f16)' "$T/out"
    check 'doctor --json' 0 '' doctor --json
    json 'doctor --json'
    holds 'doctor --json says what auto uses' '"device": "cpu"' "$T/out"
    grep -q '"built": true' "$T/out" && why=1 || why=0
    check 'doctor on a text file' 3 'GGUF' doctor -m "$T/text.gguf"
    check 'doctor on no file' 3 'No such file' doctor -m "$T/none.gguf"
    [ -s "$T/out" ] && bad 'doctor without its model says nothing' 'it does' || ok 'doctor without its model says nothing'
    "$WEFT" doctor >/dev/full 2>"$T/err"
    [ $? -eq 1 ] && ok 'doctor on a full disk' || bad 'doctor on a full disk' 'exit code is not 1'
    [ -r $QWEN ] || return
    check 'doctor with a model' 0 '' doctor -m $QWEN
    holds 'doctor says that it fits' '  cpu      fits' "$T/out"
    check 'doctor --json with a model' 0 '' doctor --json -m $QWEN
    json 'doctor --json with a model'
    holds 'doctor --json says that it fits' '"fits": true' "$T/out"
    check 'doctor with a KV cache beyond any memory' 0 '' doctor -m $QWEN --kv 2000000000
    holds 'doctor says that it does not fit' 'does not fit' "$T/out"
    check 'doctor with too much context' 2 'option -c: 1025' doctor -m $QWEN -c 1025
    for device in cuda cuda:0 cuda:7; do
        check "--device $device without a GPU" 1 "'$device'" run -m $QWEN -p a -n 1 --device $device
        [ "$(wc -l <"$T/err")" -eq 1 ] && ok "--device $device: one line" || bad "--device $device: one line" 'more'
    done
    for device in auto cpu; do
        check "--device $device" 0 '' run -m $QWEN -p a -n 1 --temp 0 --device $device --deterministic --ahead 4
        [ $device = cpu ] && want=0 || want=$why
        n=$(grep -c '^weft: no GPU, running on the CPU; weft doctor says why$' "$T/err")
        [ "$n" -eq "$want" ] && [ "$(wc -l <"$T/err")" -eq $((want + 1)) ] && ok "--device $device: why there is no GPU" ||
            bad "--device $device: why there is no GPU" "$n lines, expected $want"
    done
    check '-q says nothing about devices' 0 '' run -m $QWEN -p a -n 1 -q
    [ -s "$T/err" ] && bad '-q says nothing about devices' 'it does' || ok '-q says nothing at all'
}

model_tests() {
    m=$1
    n=$(basename "$m" .gguf)
    say='The capital of France is'
    if [ ! -r "$m" ]; then
        skip "$n" "no $m"
        return
    fi
    check "$n: completes" 0 'weft: ' run -m "$m" -p "$say" -n 8 --temp 0
    holds "$n: Paris" 'Paris' "$T/out"
    cp "$T/out" "$T/first"
    line='^weft: [0-9]+ prompt \+ [0-9]+ generated tokens; first token [0-9.]+ ms; prefill [0-9.]+ tok/s; decode '
    line="$line"'[0-9.]+ tok/s; [0-9]+ MiB peak; seed [0-9]+; (end|limit|length); ids #[0-9a-f]{8}$'
    if [ "$(grep -cv '^weft: no GPU, ' "$T/err")" -eq 1 ] && grep -qE "$line" "$T/err"; then
        ok "$n: one closing line"
    else
        bad "$n: one closing line" 'it differs'
    fi
    weft run -m "$m" -p "$say" -n 8 --temp 0 --no-stream -q
    same "$n: --no-stream gives the same bytes" "$T/out" "$T/first"
    [ -s "$T/err" ] && bad "$n: -q is quiet" 'it is not' || ok "$n: -q is quiet"
    printf %s "$say" >"$T/prompt"
    weft run -m "$m" -f "$T/prompt" -n 8 --temp 0
    same "$n: prompt from a file" "$T/out" "$T/first"
    for dash in '-' '-f -'; do
        # shellcheck disable=SC2086
        printf %s "$say" | "$WEFT" run -m "$m" $dash -n 8 --temp 0 >"$T/out" 2>"$T/err"
        same "$n: prompt from a pipe with $dash" "$T/out" "$T/first"
    done
    for isa in scalar avx2; do
        if "$WEFT" run -m "$m" -p "$say" -n 8 --temp 0 --cpu-isa $isa -t 1 >"$T/out" 2>"$T/err"; then
            same "$n: same text with $isa" "$T/out" "$T/first"
        else
            skip "$n: same text with $isa" "$(head -n 1 "$T/err")"
        fi
    done
    "$WEFT" run -m "$m" -p "$say" -n 40 -s 7 >"$T/first" 2>/dev/null
    weft run -m "$m" -p "$say" -n 40 --seed=7 --no-stream -b 3 -t 1
    same "$n: same seed, same text" "$T/out" "$T/first"
    holds "$n: the seed is in the closing line" 'seed 7;' "$T/err"
    check "$n: -n 0 computes the prompt" 0 '+ 0 generated' run -m "$m" -p "$say" -n 0
    [ -s "$T/out" ] && bad "$n: -n 0 writes nothing" 'it does' || ok "$n: -n 0 writes nothing"
    check "$n: stop string" 0 '; stop; ids' run -m "$m" -p "$say" -n 8 --temp 0 --stop 'aris'
    printf ' P' >"$T/want"
    same "$n: the stop string is not shown" "$T/out" "$T/want"
    check "$n: a held back text comes out at the limit" 0 '; limit; ids' run -m "$m" -p "$say" -n 1 --temp 0 \
        -r ' Paris, of all places'
    holds "$n: held back text" 'P' "$T/out"
    check "$n: chat" 0 '; end; ids' run -m "$m" --chat -p 'What is the capital of France?' --temp 0
    holds "$n: chat answers" 'Paris' "$T/out"
    check "$n: --display-prompt" 0 '' run -m "$m" -p "$say" -n 8 --temp 0 --display-prompt
    holds "$n: --display-prompt" "$say Paris" "$T/out"
    check "$n: escapes" 0 '' run -m "$m" -e -p '\x54he\tcapital\n' -n 0 --display-prompt
    printf 'The\tcapital\n' >"$T/want"
    same "$n: escapes" "$T/out" "$T/want"
    check "$n: --special" 0 '' run -m "$m" --chat -p 'What is the capital of France?' --temp 0 --special
    holds "$n: --special shows the end" '|>' "$T/out"
    check "$n: ids that do not exist" 2 '' run -m "$m" -p a -l 99999999+1
    limit_tests
    parallel_tests
    log_tests
    broken_output_tests
    interrupt_tests
    shrinking_file_test
    text_tests
    chat_tests
}

limit_tests() {
    check "$n: a prompt that does not fit" 1 'context is 4' run -m "$m" -c 4 -p 'one two three four five six seven'
    holds "$n: it says how to raise the context" 'at most 1024' "$T/err"
    [ -s "$T/out" ] && bad "$n: nothing is cut" 'text came out' || ok "$n: nothing is cut"
    check "$n: a context longer than the model's" 2 'option -c: 1025' run -m "$m" -c 1025 -p a
    check "$n: the context ends" 0 '; length; ids' run -m "$m" -c 12 -p a --ignore-eos
    check "$n: the KV pool ends" 4 '--kv' run -m "$m" -p a --ignore-eos -c 512 --kv 512 -np 3
}

parallel_tests() {
    weft run -m "$m" -p "$say" -n 12 -s 3 -np 3
    cp "$T/out" "$T/together"
    [ "$(grep -c '^weft: text [123] of 3; seed [345];' "$T/err")" -eq 3 ] && ok "$n: a header for each text" ||
        bad "$n: a header for each text" 'they differ'
    for seed in 3 4 5; do
        "$WEFT" run -m "$m" -p "$say" -n 12 -s $seed -q
        echo
    done >"$T/alone" 2>"$T/err"
    same "$n: texts together are the texts alone" "$T/together" "$T/alone"
}

# With temperature 0 the token drawn is the first of "top", so that these ids are the text.
log_tests() {
    check "$n: --log-logits" 0 '' run -m "$m" -p "$say" -n 6 --temp 0 -q --log-logits "$T/log"
    cp "$T/out" "$T/first"
    [ "$(wc -l <"$T/log")" -eq 6 ] && ok "$n: a line for each token" || bad "$n: a line for each token" 'they differ'
    ids=$(sed 's/.*"top":\[\[\([0-9]*\),.*/\1/' "$T/log" | tr '\n' ' ')
    prompt=$("$WEFT" tokenize -m "$m" --ids --bos -p "$say")
    # shellcheck disable=SC2086
    weft detokenize -m "$m" $prompt $ids
    [ "$(cat "$T/out")" = "$say$(cat "$T/first")" ] && ok "$n: the log holds the logits drawn from" ||
        bad "$n: the log holds the logits drawn from" "$ids"
    grep -q '"token_idx":5,"dtype":"f32","shape":"\[1,1024\]"' "$T/log" && ok "$n: index and shape" ||
        bad "$n: index and shape" "$(tail -n 1 "$T/log")"
    check "$n: a log that cannot be written" 1 'No space' run -m "$m" -p a --ignore-eos -n 500 --log-logits /dev/full
}

broken_output_tests() {
    timeout 60 sh -c '"$0" run -m "$1" -p a --ignore-eos 2>"$2" | head -c 5 >"$3"' "$WEFT" "$m" "$T/err" "$T/out"
    if [ $? -ne 124 ] && [ "$(wc -c <"$T/out")" -eq 5 ] && ! grep -qv '^weft: no GPU, ' "$T/err"; then
        ok "$n: a reader that leaves ends it quietly"
    else
        bad "$n: a reader that leaves ends it quietly" 'it does not'
    fi
    "$WEFT" run -m "$m" -p "$say" -n 8 >/dev/full 2>"$T/err"
    [ $? -eq 1 ] && ok "$n: a full disk" || bad "$n: a full disk" 'exit code is not 1'
    holds "$n: a full disk is reported" 'No space' "$T/err"
    "$WEFT" run -m "$m" -p "$say" -n 8 >&- 2>"$T/err"
    [ $? -eq 1 ] && ok "$n: closed standard output" || bad "$n: closed standard output" 'exit code is not 1'
    holds "$n: closed standard output is reported" 'it is closed' "$T/err"
    "$WEFT" run -m "$m" -p "$say" -n 8 --temp 0 >"$T/out" 2>&1
    [ "$(grep -c '^weft: [0-9]' "$T/out")" -eq 1 ] && ok "$n: the closing line has a line of its own" ||
        bad "$n: the closing line has a line of its own" "$(cat "$T/out")"
}

interrupt_tests() {
    # There are many texts, written slowly, so this takes longer than two seconds on any machine.
    timeout --preserve-status -k 60 -s INT 2 "$WEFT" run -m "$m" -p "$say" --ignore-eos -np 24 \
        --cpu-isa scalar -t 1 >"$T/out" 2>"$T/err"
    code=$?
    [ $code -eq 130 ] && ok "$n: Ctrl-C gives 130" || bad "$n: Ctrl-C gives 130" "exit code $code"
    holds "$n: Ctrl-C leaves a closing line" '; interrupted; ids #' "$T/err"
    grep -qE '^weft: [56] prompt \+ [0-9]+ generated tokens;' "$T/err" && ok "$n: it counts the prompt once" ||
        bad "$n: it counts the prompt once" "$(tail -n 1 "$T/err")"
    [ -s "$T/out" ] && ok "$n: Ctrl-C shows what there is" || bad "$n: Ctrl-C shows what there is" 'nothing'
    [ $n = weft-demo-qwen2 ] || return
    # One key press that arrives twice, as timeout(1) may send it, counts once.
    command -v env >/dev/null && env --default-signal=INT true 2>/dev/null || {
        skip "$n: a doubled Ctrl-C" 'env knows no --default-signal'
        return
    }
    env --default-signal=INT "$WEFT" run -m "$m" -p "$say" --ignore-eos -np 24 --cpu-isa scalar -t 1 \
        >"$T/out" 2>"$T/err" &
    pid=$!
    sleep 1
    kill -INT $pid
    kill -INT $pid 2>/dev/null
    wait $pid
    code=$?
    [ $code -eq 130 ] && ok "$n: a doubled Ctrl-C gives 130" || bad "$n: a doubled Ctrl-C gives 130" "exit code $code"
    holds "$n: a doubled Ctrl-C is one" '; interrupted; ids #' "$T/err"
}

shrinking_file_test() {
    cp "$m" "$T/shrinks.gguf"
    timeout 60 "$WEFT" run -m "$T/shrinks.gguf" -p "$say" --ignore-eos -np 24 --cpu-isa scalar -t 1 >"$T/out" 2>"$T/err" &
    pid=$!
    sleep 1
    : >"$T/shrinks.gguf"
    wait $pid
    code=$?
    [ $code -eq 1 ] && ok "$n: a model file that shrinks" || bad "$n: a model file that shrinks" "exit code $code"
    holds "$n: a model file that shrinks is reported" 'has shrunk' "$T/err"
}

text_tests() {
    printf 'a\0b\n\377\303\n' >"$T/bytes"
    "$WEFT" tokenize -m "$m" --ids -f "$T/bytes" >"$T/ids" 2>"$T/err"
    "$WEFT" detokenize -m "$m" -f "$T/ids" >"$T/out" 2>>"$T/err"
    same "$n: bytes to ids and back" "$T/out" "$T/bytes"
    # shellcheck disable=SC2046
    "$WEFT" detokenize -m "$m" $(cat "$T/ids") >"$T/out" 2>"$T/err"
    same "$n: ids as arguments" "$T/out" "$T/bytes"
    weft tokenize -m "$m" --count -f "$T/bytes"
    [ "$(cat "$T/out")" -eq "$(wc -w <"$T/ids")" ] && ok "$n: --count" || bad "$n: --count" "$(cat "$T/out")"
    weft tokenize -m "$m" -f "$T/bytes"
    [ "$(wc -l <"$T/out")" -eq "$(wc -w <"$T/ids")" ] && ok "$n: a line per token" || bad "$n: a line per token" no
    weft tokenize -m "$m" --ids -p ''
    printf '\n' >"$T/want"
    same "$n: no text, no ids" "$T/out" "$T/want"
    check "$n: an id outside the vocabulary" 2 '' detokenize -m "$m" 99999999
    check "$n: inspect" 0 '' inspect "$m"
    holds "$n: inspect says ok" 'ok: ' "$T/out"
    check "$n: inspect --json" 0 '' inspect --json "$m"
    json "$n: inspect --json"
    check "$n: inspect --json --full" 0 '' inspect --json --full "$m"
    json "$n: inspect --json --full"
    head -c 100000 "$m" >"$T/cut.gguf"
    check "$n: a cut model is refused" 3 '' inspect "$T/cut.gguf"
    check "$n: a cut model does not run" 3 '' run -m "$T/cut.gguf" -p a
}

# chat NAME EXPECTED_CODE INPUT ARGUMENT...: the answers in $T/out
chat() {
    name=$1 want=$2 input=$3
    shift 3
    printf %b "$input" | timeout 120 "$WEFT" chat -m "$m" --temp 0 --commands "$@" >"$T/out" 2>"$T/err"
    code=$?
    [ $code -eq "$want" ] && ok "$name" || bad "$name" "exit code $code, expected $want"
}

chat_tests() {
    france='What is the capital of France?'
    italy='What is the capital of Italy?'
    chat "$n: chat, one message" 0 "$france\n"
    cp "$T/out" "$T/first"
    holds "$n: chat answers in a pipe" 'Paris' "$T/first"
    [ "$(wc -l <"$T/first")" -eq 1 ] && ok "$n: one line, one answer" || bad "$n: one line, one answer" no
    chat "$n: a last line without newline" 0 "$france"
    same "$n: it is answered too" "$T/out" "$T/first"
    chat "$n: lines joined" 0 'What is the \\\\\ncapital of France?\n"""\nA\nB\n"""\n/quit\nnever seen\n'
    [ "$(wc -l <"$T/out")" -ge 2 ] && ok "$n: two messages" || bad "$n: two messages" no
    chat "$n: a block that the input ends" 0 "\"\"\"\\n$france\\n"
    same "$n: it is answered as well" "$T/out" "$T/first"
    chat "$n: two messages" 0 "$france\n$italy\n"
    cp "$T/out" "$T/two"
    chat "$n: undo" 0 "$france\nWhat is 2 + 3?\n/undo\n$italy\n"
    sed 2d "$T/out" >"$T/undone"
    same "$n: undo leaves no trace" "$T/undone" "$T/two"
    chat "$n: undo all" 0 "$italy\n/undo\n$france\n"
    sed 1d "$T/out" >"$T/undone"
    same "$n: undo of the first message" "$T/undone" "$T/first"
    chat "$n: clear" 0 "$italy\n/clear\n$france\n"
    sed 1d "$T/out" >"$T/undone"
    same "$n: clear starts over" "$T/undone" "$T/first"
    chat "$n: retry" 0 "$france\n/retry\n"
    cat "$T/first" "$T/first" >"$T/want"
    same "$n: the most likely answer again" "$T/out" "$T/want"
    chat "$n: an answer cut by /set n" 0 "/set n 2\n$france\n/set n -1\n$italy\n/undo\n/undo\n$france\n"
    tail -n 1 "$T/out" >"$T/last"
    same "$n: after a cut answer" "$T/last" "$T/first"
    chat "$n: commands" 1 '/help\n/stats\n/foo\n/set foo 1\n/set temp x\n/undo\n/retry\n/quit\n'
    holds "$n: an unknown command" 'unknown command /foo' "$T/err"
    holds "$n: statistics" 'KV pool: 0 of ' "$T/err"
    [ -s "$T/out" ] && bad "$n: commands are not answers" 'standard output' || ok "$n: commands are not answers"
    chat "$n: a full context" 1 "$france$france$france$france$france$france\n" -c 48
    holds "$n: a full context says what to do" '/clear' "$T/err"
}

vocab_tests() {
    if [ ! -d "$VOCAB" ]; then
        skip 'real vocabularies' "no $VOCAB"
        return
    fi
    for v in qwen2 phi-3 llama-spm gpt-2; do
        base=$VOCAB/ggml-vocab-$v.gguf
        rm -rf "$T/cases"
        mkdir "$T/cases"
        # a case ends before the newline in front of the separator
        awk -v dir="$T/cases" '
            /^__ggml_vocab_test__$/ { printf "%s", text > (dir "/" ++n); close(dir "/" n); text = ""; first = 1; next }
            { text = (NR == 1 || first) ? $0 : text "\n" $0; first = 0 }' "$base.inp"
        i=0
        wrong=0
        while IFS= read -r line; do
            i=$((i + 1))
            # shellcheck disable=SC2086
            echo $line >"$T/want"
            weft tokenize -m "$base" --ids -f "$T/cases/$i"
            cmp -s "$T/out" "$T/want" || wrong=$((wrong + 1))
        done <"$base.out"
        if [ $wrong -eq 0 ] && [ $i -gt 0 ]; then
            ok "vocabulary $v: $i texts"
        else
            bad "vocabulary $v" "$wrong of $i texts differ"
        fi
    done
}

usage_tests
help_tests
refused_tests
device_tests
model_tests $QWEN
model_tests $PHI
vocab_tests
finish
