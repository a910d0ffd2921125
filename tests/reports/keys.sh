# The keys of a file are obeyed, or the file is refused, or a line says which value was taken instead.

check 'attention in both directions is refused' 3 'attention.causal is false' embed -m "$IN/embed-not-causal.gguf" -p 'hello world' -q
check 'the same for a text' 3 'attention.causal is false' run -m "$IN/embed-not-causal.gguf" -p a -n 1
check 'attention.causal true' 0 '' embed -m "$IN/embed-causal.gguf" -p 'hello world' -q

check 'no pre-tokenizer is named: a warning' 0 'has no tokenizer.ggml.pre' run -m "$IN/llama-no-pre.gguf" -p hi -n 1
check 'the file is sound all the same' 0 '' inspect "$IN/llama-no-pre.gguf"
holds 'inspect warns' 'warning: the file has no tokenizer.ggml.pre' "$T/out"
check 'also as JSON' 0 '' inspect --json "$IN/llama-no-pre.gguf"
json 'also as JSON'
tr -d '\n' <"$T/out" | tr -s ' ' >"$T/part"
holds 'in a list' '"warnings": [ "the file has no tokenizer.ggml.pre' "$T/part"
weft inspect --json "$BPE"
tr -d ' \n' <"$T/out" >"$T/part"
holds 'no warning: an empty list' '"warnings":[]' "$T/part"
weft run -m "$BPE" -p hi -n 1
if grep -q 'tokenizer.ggml.pre' "$T/err"; then bad 'a named one: no warning' 'warned'; else ok 'a named one: no warning'; fi

# eos_token_ids: 97 is one of them
check 'several ends: the first' 0 '1 generated tokens; ' run -m "$IN/eos-ids-array.gguf" -p hello -l 97+100 -n 5 --temp 0
weft run -m "$IN/eos-ids-array.gguf" -p hello -l 98+100 -n 5 --temp 0 -q
printf 'bbbbb' >"$T/want"
same 'several ends: another token is none' "$T/out" "$T/want"

# Token 636, </s>, is a tag of HTML here: merges make it, so it is an ordinary token and ends no text.
check 'an HTML tag ends no text' 0 '8 generated tokens; ' run -m "$IN/qwen2-html-token.gguf" -p 'a<s>b' -n 8 --temp 0 -l 636+100
# The pattern separates </ from s, so the merges that would make </s> are not applied. Transformers' tokenizer gives the same
# ids.
tagged() {
    check "ids of $1" 0 '' tokenize -m "$IN/qwen2-html-token.gguf" --ids -p "$1" $3
    [ "$(cat "$T/out")" = "$2" ] && ok "ids of $1: the right ones" || bad "ids of $1: the right ones" "$(head -c 60 "$T/out")"
}
tagged 'a</s>b' '97 634 115 62 98'
tagged 'a</s>b' '97 634 115 62 98' --special
tagged '</s>' '634 115 62' --special
tagged 'a<s>b' '97 60 115 62 98'

# If the file sets add_eos_token, weft embed appends EOS, and the vector is that of EOS.
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

# keys outside the table, and what a file recommends of sampling
SYNTH=$(dirname "$WEFT")/weft-synth
made() { # file, KEY...: a tiny model with these keys
    file=$1
    shift
    set -- "$@" --
    while [ "$1" != -- ]; do
        set -- "$@" --key "$1"
        shift
    done
    shift
    "$SYNTH" --like tiny-qwen2 -o "$file" "$@" >/dev/null
}
hidden() { # name, text, which must not be in the errors
    if grep -qF -e "$2" "$T/err"; then bad "$1" "says $2"; else ok "$1"; fi
}
if [ -x "$SYNTH" ]; then
    made "$T/m.gguf" qwen2.new_number=f32:2 qwen2.attention.new_kind=str:odd somebody.note=str:hello
    check 'keys that nobody knows: a warning' 0 'does not obey: qwen2.new_number, qwen2.attention.new_kind' run -m "$T/m.gguf" -p hi -n 1
    check 'inspect' 0 '' inspect "$T/m.gguf"
    sed -n '/does not know/,/^$/p' "$T/out" >"$T/part"
    holds 'inspect lists them' 'qwen2.new_number' "$T/part"
    holds 'also what is nobody'\''s hyper-parameter' 'somebody.note' "$T/part"
    check 'inspect --json' 0 '' inspect --json "$T/m.gguf"
    json 'inspect --json lists them'
    tr -d ' \n' <"$T/out" >"$T/part"
    holds 'in a list' '"unknown_keys":["qwen2.new_number","qwen2.attention.new_kind","somebody.note"]' "$T/part"
    check 'inspect of a file without such keys' 0 '' inspect "$BPE"
    if grep -q 'does not know' "$T/out"; then bad 'lists none' 'lists some'; else ok 'lists none'; fi
    made "$T/m.gguf" qwen2.logit_scale=f32:0.0625
    check 'a key that is not obeyed' 3 'qwen2.logit_scale is 0.0625: a scale of the logits' run -m "$T/m.gguf" -p hi -n 1
    check 'inspect says the same' 3 'qwen2.logit_scale is 0.0625' inspect "$T/m.gguf"
    made "$T/m.gguf" qwen2.logit_scale=f32:1 qwen2.expert_count=u32:0
    check 'the same with a value that asks for nothing' 0 '' run -m "$T/m.gguf" -p hi -n 1

    made "$T/m.gguf" general.sampling.temp=f32:0 general.sampling.top_k=i32:20 general.sampling.penalty_repeat=f32:1.5
    check 'the file recommends' 0 'temp 0, top-k 20, repeat-penalty 1.5 as the file recommends; seed ' run -m "$T/m.gguf" -p hello -n 12
    cp "$T/out" "$T/want"
    weft run -m "$T/m.gguf" -p hello -n 12 --temp 0 --top-k 20 --repeat-penalty 1.5 -q
    same 'that is what is drawn with' "$T/out" "$T/want"
    weft run -m "$T/m.gguf" -p hello -n 12 --temp 0 --top-k 40 --repeat-penalty 1
    hidden 'what is typed counts' 'as the file recommends'
    made "$T/plain.gguf"
    cp "$T/out" "$T/want"
    weft run -m "$T/plain.gguf" -p hello -n 12 --temp 0 --repeat-penalty 1 -q
    same 'as without a recommendation' "$T/out" "$T/want"
    check 'each option for itself' 0 'peak; top-k 20, repeat-penalty 1.5 as the file' run -m "$T/m.gguf" -p hello -n 2 --temp 0.8
    check 'no window: no penalty from the file' 0 'peak; temp 0, top-k 20 as the file' run -m "$T/m.gguf" -p hello -n 2 --repeat-last-n 0
    for what in 'bench -p 8 -n 4 -r 1' 'logits -p hello' 'perplexity -p "hello world and more" -c 4'; do
        eval "weft ${what%% *} -m \"\$T/m.gguf\" ${what#* }"
        [ "$code" -eq 0 ] && ! grep -q recommend "$T/err" && ok "${what%% *} does not ask" || bad "${what%% *} does not ask" "code $code"
    done
    printf 'hello\n/set top-k 3\n/stats\n' | "$WEFT" chat -m "$T/m.gguf" -n 3 --commands >"$T/out" 2>"$T/err"
    holds 'chat follows too' 'peak; temp 0, repeat-penalty 1.5 as the file' "$T/err"
    made "$T/m.gguf" general.sampling.temp=f32:-1 general.sampling.mirostat=i32:2 general.sampling.xtc_probability=f32:0.5
    check 'out of range: a warning' 0 'general.sampling.temp is not followed: sampling: temperature is -1, expected [0, 100]' run -m "$T/m.gguf" -p hi -n 1
    holds 'samplers that Weft lacks' 'XTC (general.sampling.xtc_probability), mirostat (general.sampling.mirostat)' "$T/err"
    hidden 'nothing was followed' 'as the file recommends'

    yarn='qwen2.rope.scaling.type=str:yarn qwen2.rope.scaling.factor=f32:2'
    made "$T/m.gguf" $yarn
    check 'YaRN' 0 '' inspect "$T/m.gguf"
    holds 'twice the context' 'vocabulary 640, context 512,' "$T/out"
    check 'all of it' 0 '' run -m "$T/m.gguf" -p hi -n 1 -c 512
    check 'and no more' 2 'the longest context of the model, 512 tokens' run -m "$T/m.gguf" -p hi -n 1 -c 513
    made "$T/m.gguf" $yarn qwen2.rope.scaling.yarn_attn_factor=f32:2
    check 'a factor of which nobody says what it multiplies' 3 'yarn_attn_factor is 2: a factor of sine and cosine' run -m "$T/m.gguf" -p hi -n 1
    "$SYNTH" --like tiny-qwen3vl -o "$T/m.gguf" >/dev/null
    check 'a vision model as text' 0 'runs the text part of qwen3vl models and reads no images' run -m "$T/m.gguf" -p hi -n 1
    check 'inspect of it' 0 '' inspect "$T/m.gguf"
    holds 'inspect says the same' 'warning: Weft runs the text part of qwen3vl models' "$T/out"

    # weft-synth, which makes these models, is tested, too.
    made "$T/m.gguf" qwen2.context_length=u32:128 'a.list=i32[]:-1,2' a.text=str:x=y:z
    weft inspect --keys --no-check "$T/m.gguf"
    holds 'weft-synth --key replaces' 'qwen2.context_length                       u32   128' "$T/out"
    holds 'weft-synth --key adds a list' '[2] -1, 2' "$T/out"
    holds 'weft-synth --key adds a text' 'x=y:z' "$T/out"
    for key in a a=u32 a=u32:x a=u8:256 a=i8:-129 a=q:1 =u8:1 a=bool:1 'a=str[]:x' 'a=u8[]:1,'; do
        made "$T/refused.gguf" "$key" 2>"$T/err"
        [ $? -eq 2 ] && [ ! -e "$T/refused.gguf" ] && ok "no key: $key" || bad "no key: $key" 'was taken'
    done
else
    skip 'keys of made models' "no $SYNTH"
fi

# Ids that no token has, and tokens without a type: the program prints a line, as llama.cpp does, and takes the file.
# after KEY FILE: prints where in FILE the value of KEY begins: after its name and the four bytes of its type
after() { expr "$(grep -obUa "$1" "$2" | head -n 1 | cut -d: -f1)" + ${#1} + 4; }
# forge KEY BYTES: a model with these bytes (octal escapes) as the value of KEY
forge() {
    cp "$SPM" "$T/forged.gguf" && chmod u+w "$T/forged.gguf"
    printf "$2" | dd of="$T/forged.gguf" bs=1 seek="$(after "$1" "$SPM")" conv=notrunc 2>/dev/null
}
for k in bos eos unknown; do
    forge "tokenizer.ggml.${k}_token_id" '\377\377\377\177'
    check "$k out of range" 0 "tokenizer.ggml.${k}_token_id is 2147483647, but the vocabulary has only" run -m "$T/forged.gguf" -p 'The capital of' -n 4 --temp 0
    check "$k out of range: quiet" 0 '' run -m "$T/forged.gguf" -p 'The capital of' -n 4 --temp 0 -q
    cp "$T/out" "$T/got"
    weft run -m "$SPM" -p 'The capital of' -n 4 --temp 0 -q
    same "$k out of range: the text" "$T/got" "$T/out"
    forge "tokenizer.ggml.${k}_token_id" '\000\004\000\000'
    check "$k out of range by one" 0 "${k}_token_id is 1024, but the vocabulary has only 1024 tokens" tokenize -m "$T/forged.gguf" -p a
    check "$k out of range by one: inspect" 0 '' inspect "$T/forged.gguf"
done
the=$("$WEFT" tokenize -m "$SPM" --ids -p ' the' | tr ' ' '\n' | tail -n 1)
cp "$SPM" "$T/forged.gguf" && chmod u+w "$T/forged.gguf"
# Behind the key stand its type, the type of the elements, and their number.
printf '\0' | dd of="$T/forged.gguf" bs=1 seek=$(($(after tokenizer.ggml.token_type "$SPM") + 12 + 4 * the)) conv=notrunc 2>/dev/null
check 'a token of type 0' 0 "token_type of token $the is 0" tokenize -m "$T/forged.gguf" -p 'of the'
"$WEFT" tokenize -m "$SPM" -p 'of the' >"$T/want" 2>"$T/err"
same 'a token of type 0: the tokens' "$T/out" "$T/want"
weft detokenize -m "$T/forged.gguf" "$the"
"$WEFT" detokenize -m "$SPM" "$the" >"$T/want" 2>/dev/null
same 'a token of type 0: its text' "$T/out" "$T/want"
printf '\7' | dd of="$T/forged.gguf" bs=1 seek=$(($(after tokenizer.ggml.token_type "$SPM") + 12 + 4 * the)) conv=notrunc 2>/dev/null
check 'a token of type 7' 3 "is 7, expected 1 to 6" tokenize -m "$T/forged.gguf" -p 'of the'
