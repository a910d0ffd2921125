# What a script learns of a run: its exit code, and its memory.

check 'a grammar that is fulfilled' 0 '' run -m "$BPE" -p a --grammar "$IN/dead-end.gbnf" -n 20 -q
x=$("$WEFT" tokenize -m "$BPE" --ids -p x 2>/dev/null)
check 'a dead end of a grammar' 5 '' run -m "$BPE" -p a --grammar "$IN/dead-end.gbnf" -l "$x-inf" -n 5 -q
check 'a dead end, with its closing line' 5 'grammar' run -m "$BPE" -p a --grammar "$IN/dead-end.gbnf" -l "$x-inf" -n 5
check 'a dead end of one of three' 5 '' run -m "$BPE" -p a --grammar "$IN/dead-end.gbnf" -l "$x-inf" -n 5 -np 3 -q

# The peak must be that of this program, not of a larger one that started it.
if command -v python3 >/dev/null 2>&1; then
    python3 -c 'import subprocess, sys
block = bytearray(b"x" * 300000000)
subprocess.run(sys.argv[1:])' \
        "$WEFT" run -m "$IN/llama-no-pre.gguf" -p hi -n 1 >"$T/out" 2>"$T/err"
    peak=$(sed -n 's/.*[; ]\([0-9]*\) MiB peak.*/\1/p' "$T/err")
    if [ "${peak:-999}" -lt 200 ]; then ok 'peak memory'; else bad 'peak memory' "${peak:-none} MiB"; fi
else
    skip 'peak memory' 'no python3'
fi

# --no-mmap is obeyed: the whole file takes memory, which a mapped file does not.
if command -v python3 >/dev/null 2>&1 && cp "$IN/embed-causal.gguf" "$T/wide.gguf" && truncate -s 300M "$T/wide.gguf"; then
    for o in '' --no-check; do
        check "inspect $o" 0 '' inspect "$T/wide.gguf" $o
        cp "$T/out" "$T/mapped"
        python3 -c 'import resource, subprocess, sys
subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10, file=sys.stderr)' \
            "$WEFT" inspect "$T/wide.gguf" $o --no-mmap >"$T/out" 2>"$T/err"
        same "inspect $o --no-mmap: the same" "$T/out" "$T/mapped"
        peak=$(tail -n 1 "$T/err")
        [ "$peak" -ge 300 ] && { [ "$peak" -lt 550 ] || [ -n "${SAN:-}" ]; } && ok "inspect $o --no-mmap: the file is in memory, once" || bad "inspect $o --no-mmap" "$peak MiB"
    done
else
    skip '--no-mmap' 'no python3'
fi

# A file of texts as other systems and editors write it.
vectors() {
    weft embed -m "$BPE" -f "$1" -q
    sed 's/"index": *[0-9]*, *//' "$T/out" >"$2"
}
vectors "$IN/lines-lf.txt" "$T/lf"
vectors "$IN/lines-crlf.txt" "$T/crlf"
same 'embed: CR LF' "$T/crlf" "$T/lf"
{ printf '\357\273\277' && cat "$IN/lines-crlf.txt"; } >"$T/bom.txt"
vectors "$T/bom.txt" "$T/bom"
same 'embed: a byte order mark' "$T/bom" "$T/lf"
check 'embed: an empty line' 0 '' embed -m "$BPE" -f "$IN/lines-blank.txt" -q
[ "$(wc -l <"$T/out")" -eq 2 ] && ok 'embed: two vectors of three lines' || bad 'embed: two vectors of three lines' "$(wc -l <"$T/out")"
check 'embed: empty lines are counted' 0 '1 of 3 lines are empty' embed -m "$BPE" -f "$IN/lines-blank.txt"
printf '\r\n\n\r\n' >"$T/empty.txt"
check 'embed: nothing but empty lines' 2 'all lines are empty' embed -m "$BPE" -f "$T/empty.txt"
printf '\357\273\277root ::= "ab"' >"$T/bom.gbnf"
check 'a grammar with a byte order mark' 0 '' run -m "$BPE" -p a --grammar "$T/bom.gbnf" -n 5 -q
printf '\357\273\277 {"type":"null"}' >"$T/bom.json"
check 'a schema with a byte order mark' 0 '' run -m "$BPE" -p a --json-schema "$T/bom.json" -n 5 -q
printf '\357\273\277' >"$T/bom.gbnf"
check 'nothing but a byte order mark' 2 'is empty' run -m "$BPE" -p a --grammar "$T/bom.gbnf" -n 5 -q
check 'x{,n}' 0 '' run -m "$BPE" -p hi -n 2 -q --grammar "$IN/repeat-open.gbnf"

# An input without an end is not read for ever.
endless() {
    name=$1
    shift
    yes "{" | timeout 60 "$WEFT" "$@" >"$T/out" 2>"$T/err"
    code=$?
    [ $code -eq 2 ] && grep -q 'standard input has more than [0-9]* MiB, the most that .* may have' "$T/err" &&
        ok "endless: $name" || bad "endless: $name" "code $code"
}
endless 'a prompt' run -m "$BPE" -f -
endless 'a prompt by -' run -m "$BPE" -
endless 'a text to tokenize' tokenize -m "$BPE" -f -
endless 'ids' detokenize -m "$BPE" -f -
endless 'texts to embed' embed -m "$BPE" -f -
endless 'a text to score' perplexity -m "$BPE" -f -
endless 'ids to score' logits -m "$BPE" --tokens -
endless 'a grammar' run -m "$BPE" -p a --grammar-file -
endless 'a schema' run -m "$BPE" -p a --json-schema-file -
check 'endless: a device' 2 '/dev/zero has more than 256 MiB' run -m "$BPE" -f /dev/zero
tr '\0' a </dev/zero 2>/dev/null | timeout 60 "$WEFT" chat -m "$BPE" --no-history -q >"$T/out" 2>"$T/err"
code=$?
[ $code -eq 1 ] && holds 'endless: a line of a chat' 'a line of standard input has more than 256 MiB' "$T/err" || bad 'endless: a line of a chat' "code $code"
{ echo '"""'; yes "$(head -c 60000 /dev/zero | tr '\0' b)"; } 2>/dev/null | timeout 60 "$WEFT" chat -m "$BPE" --no-history -q >"$T/out" 2>"$T/err"
code=$?
[ $code -eq 1 ] && holds 'endless: a block of a chat' 'the message has more than 256 MiB' "$T/err" || bad 'endless: a block of a chat' "code $code"

# The message about a prompt that leaves no room uses the words of the command line.
six='a a a a a a' # 6 tokens
full() {
    check "$@"
    if grep -q 'open the engine\|n_ctx' "$T/err"; then bad "$1: no words of the library" 'there are'; else ok "$1: no words of the library"; fi
    [ -s "$T/out" ] && bad "$1: no text" 'a text' || ok "$1: no text"
}
full 'a context of a prompt' 1 'the prompt has 6 tokens, and the context is 6, with no room for an answer; shorten the prompt, or raise it with -c' run -m "$BPE" -p "$six" -c 6
full 'a context of less' 1 'the prompt has 6 tokens, and the context is 5; shorten' run -m "$BPE" -p "$six" -c 5
full 'a context of a prompt, twice' 1 'no room for an answer' run -m "$BPE" -p "$six" -c 6 -np 2 -n 3
full 'a context of nothing but the prompt' 0 '' run -m "$BPE" -p "$six" -c 6 -n 0 --save-state "$T/six"
full 'a context of a state' 1 'the prompt has 0 tokens behind the 6 of the state, and the context is 6, with no room' run -m "$BPE" --load-state "$T/six" -c 6
full 'a context of a state and a prompt' 1 'the prompt has 1 tokens behind the 6 of the state, and the context is 7, with no room' run -m "$BPE" --load-state "$T/six" -p b -c 7
check 'a context of one more' 0 '' run -m "$BPE" -p "$six" -c 7 --ignore-eos
holds 'a context of one more: one token' '6 prompt + 1 generated' "$T/err"
n=$("$WEFT" run -m "$BPE" --chat -p "$six" -n 0 2>&1 >/dev/null | sed -n 's/^weft: \([0-9]*\) prompt.*/\1/p')
full 'a context of a message' 1 'with no room for an answer' run -m "$BPE" --chat -p "$six" -c "$n"
printf '%s\n' "$six" >"$T/in"
for c in "$n" $((n - 1)); do
    "$WEFT" chat -m "$BPE" -c "$c" -q --no-history <"$T/in" >"$T/out" 2>"$T/err"
    code=$?
    [ $code -eq 1 ] && grep -q -- '-c sets the context' "$T/err" && ! grep -q n_ctx "$T/err" && ok "a chat of $((n - c)) less than a message" || bad "a chat of $((n - c)) less than a message" "code $code"
done
check 'a text longer than the context: embed' 1 '-c sets n_ctx' embed -m "$IN/embed-causal.gguf" -p "$six" -c 5

# Several texts are kept apart; one text is only what was generated.
printf 'root ::= "a\\n"' >"$T/line.gbnf"
several() {
    check "$1" 0 '' run -m "$BPE" -p hi --grammar-file "$T/line.gbnf" -n 20 -q $2
    printf "$3" >"$T/want"
    same "$1: the bytes" "$T/out" "$T/want"
}
several 'one text' '' 'a\n'
several 'one text, once' '-np 1' 'a\n'
several 'one text, not streamed' '--no-stream' 'a\n'
several 'three texts' '-np 3' 'a\n\na\n\na\n\n'
several 'three texts with NUL' '-np 3 -0' 'a\n\0a\n\0a\n\0'
several 'two texts with NUL' '-np 2 --null' 'a\n\0a\n\0'
several 'one text with NUL' '-0' 'a\n\0'
several 'two texts of nothing' '-np 2 -0 -n 0' '\0\0'

# options as llama.cpp's users type them
spells() {
    check "$@" -n 20 -q
    [ "$(cat "$T/out")" = yes ] && ok "$1: the text" || bad "$1: the text" "$(head -c 60 "$T/out")"
}
printf 'root ::= "yes"' >"$T/yes.gbnf"
printf '{"enum":["yes"]}' >"$T/yes.json"
spells 'a grammar as text' 0 '' run -m "$BPE" -p hi --grammar 'root ::= "yes"'
spells 'a grammar in a file' 0 '' run -m "$BPE" -p hi --grammar-file "$T/yes.gbnf"
spells 'a grammar by the name of its file' 0 '' run -m "$BPE" -p hi --grammar "$T/yes.gbnf"
check 'that is said' 0 '--grammar-file says so' run -m "$BPE" -p hi --grammar "$T/yes.gbnf" -n 1
check 'a text that is neither' 2 'grammar, line 1' run -m "$BPE" -p hi --grammar "$T/none"
check 'an empty text' 2 'is empty' run -m "$BPE" -p hi --grammar ''
check 'two grammars' 2 'contradict' run -m "$BPE" -p hi --grammar 'root ::= "a"' --grammar-file "$T/yes.gbnf"
for o in '-j' '--json-schema'; do
    check "$o with a text" 0 '' run -m "$BPE" -p hi $o ' {"enum":["yes"]}' -n 20 -q
    [ "$(cat "$T/out")" = '"yes"' ] && ok "$o: the text" || bad "$o: the text" "$(head -c 60 "$T/out")"
done
for o in '-jf' '--json-schema-file' '--json-schema'; do
    check "$o with a file" 0 '' run -m "$BPE" -p hi $o "$T/yes.json" -n 20 -q
    [ "$(cat "$T/out")" = '"yes"' ] && ok "$o: the text" || bad "$o: the text" "$(head -c 60 "$T/out")"
done
printf '\n\t{"enum":["yes"]}' >"$T/blank.json"
check 'a schema behind white space' 0 '' run -m "$BPE" -p hi -jf "$T/blank.json" -n 20 -q
check '-j wants a schema' 2 'needs a value' run -m "$BPE" -p hi -j
taken() {
    check "taken: $*" 0 '' run -m "$BPE" -p hi -n 1 "$@"
    if grep -q 'weft: .*\(obeyed\|not split\|changes nothing\)' "$T/err"; then bad "taken in silence: $*" 'a line'; else ok "taken in silence: $*"; fi
}
taken -ngl 99
taken -ngl -1
taken --n-gpu-layers=all
taken -fa
taken -fa on --jinja
taken --flash-attn auto --mlock -cb --no-warmup -ub 512 --keep 0 -no-cnv --no-context-shift
remarked() {
    check "said: $*" 0 'weft: ' run -m "$BPE" -p hi -n 1 "$@"
    grep -q 'obeyed\|not split\|changes nothing' "$T/err" && ok "said why: $*" || bad "said why: $*" 'nothing'
    check "not with -q: $*" 0 '' run -m "$BPE" -p hi -n 1 -q "$@"
    [ ! -s "$T/err" ] && ok "quiet: $*" || bad "quiet: $*" 'a line'
}
remarked -ngl 0
remarked -ngl 20
remarked -tb 4
remarked -cnv
remarked --context-shift
remarked -sm none
remarked -mg 1
check 'what would change the text is not taken' 2 'unknown option' run -m "$BPE" -p hi --rope-freq-base 10000
