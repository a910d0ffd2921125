# What a file says of itself is obeyed, or the file is refused, or a line says what was taken instead.

check 'attention in both directions is refused' 3 'attention.causal is false' embed -m "$IN/embed-not-causal.gguf" -p 'hello world' -q
check 'the same for a text' 3 'attention.causal is false' run -m "$IN/embed-not-causal.gguf" -p a -n 1
check 'attention.causal true' 0 '' embed -m "$IN/embed-causal.gguf" -p 'hello world' -q

check 'no pre-tokenizer is named: a warning' 0 'has no tokenizer.ggml.pre' run -m "$IN/llama-no-pre.gguf" -p hi -n 1
check 'the file is sound all the same' 0 '' inspect "$IN/llama-no-pre.gguf"
weft run -m "$BPE" -p hi -n 1
if grep -q 'tokenizer.ggml.pre' "$T/err"; then bad 'a named one: no warning' 'warned'; else ok 'a named one: no warning'; fi

# eos_token_ids: 97 is one of them
check 'several ends: the first' 0 '1 generated tokens; ' run -m "$IN/eos-ids-array.gguf" -p hello -l 97+100 -n 5 --temp 0
weft run -m "$IN/eos-ids-array.gguf" -p hello -l 98+100 -n 5 --temp 0 -q
printf 'bbbbb' >"$T/want"
same 'several ends: another token is none' "$T/out" "$T/want"

# an ordinary token that looks like an end: </s> of HTML, 636, which merges make
check 'an HTML tag ends no text' 0 '8 generated tokens; ' run -m "$IN/qwen2-html-token.gguf" -p 'a<s>b' -n 8 --temp 0 -l 636+100
# the pattern parts </ from s, so that no merge is asked: these are the ids of Transformers' tokenizer, too
tagged() {
    check "ids of $1" 0 '' tokenize -m "$IN/qwen2-html-token.gguf" --ids -p "$1" $3
    [ "$(cat "$T/out")" = "$2" ] && ok "ids of $1: the right ones" || bad "ids of $1: the right ones" "$(head -c 60 "$T/out")"
}
tagged 'a</s>b' '97 634 115 62 98'
tagged 'a</s>b' '97 634 115 62 98' --special
tagged '</s>' '634 115 62' --special
tagged 'a<s>b' '97 60 115 62 98'

# add_eos_token: the vector of such a model is that of the end
embedded() {
    if grep -q "\"n_tokens\": *$2," "$T/out"; then ok "$1"; else bad "$1" "$(cut -c1-40 "$T/out")"; fi
}
weft embed -m "$IN/embed-add-eos.gguf" -p hello -q
embedded 'EOS is appended' 5
weft embed -m "$IN/embed-causal.gguf" -p hello -q
embedded 'where the file wants it' 4
check 'a prompt has none' 0 '4 prompt + ' run -m "$IN/embed-add-eos.gguf" -p hello -n 1

# detokenize is the way back, also behind a special token
back() {
    "$WEFT" tokenize -m "$SPM" --special --ids -p "$1" >"$T/ids" 2>"$T/err"
    "$WEFT" detokenize -m "$SPM" --special - <"$T/ids" >"$T/out" 2>>"$T/err"
    printf %s "$1" >"$T/want"
    same "and back: $1" "$T/out" "$T/want"
}
back '<s>hello'
back 'a b<s> c'
back '<s><s>a  b'
