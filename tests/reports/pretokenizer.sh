# An earlier version did not know the pre-tokenizer dbrx, which files of Phi-4 and Granite name. The message about an unknown
# name lists the known names.
check 'pre dbrx' 0 '1 generated tokens' run -m "$IN/pre-dbrx.gguf" -p hi -n 1 --temp 0
check 'inspect finds nothing wrong' 0 '' inspect "$IN/pre-dbrx.gguf"
# dbrx splits a text into words as llama-bpe does, but does not take a word that is itself a token as that token.
check 'its ids' 0 '' tokenize -m "$IN/pre-dbrx.gguf" --ids -p "I'LL 12345"
[ "$(cat "$T/out")" = '73 39 76 76 32 49 50 51 52 53' ] && ok 'its ids: the right ones' || bad 'its ids: the right ones' "$(cat "$T/out")"
for name in glm4 jais olmo; do
    sed "s/dbrx/$name/" "$IN/pre-dbrx.gguf" >"$T/named.gguf"
    check "pre $name" 0 '1 generated tokens' run -m "$T/named.gguf" -p hi -n 1
done
sed 's/dbrx/dbrz/' "$IN/pre-dbrx.gguf" >"$T/named.gguf"
check 'a name that nobody knows' 3 "tokenizer.ggml.pre is 'dbrz', none of the 91 names known" run -m "$T/named.gguf" -p hi -n 1
holds 'those that are known' 'default gpt-2 starcoder falcon llama-bpe' "$T/err"
holds 'to the last' ' gemma4' "$T/err"
