# Files that others wrote: bases of a comparison, names that terminals would obey.

printf 'The capital of France is Paris. The capital of Japan is Tokyo. One and one is two.\n' >"$T/text"
check 'base: saved' 0 '' perplexity -m "$BPE" -f "$T/text" -c 8 --save-base "$T/base" -q
check 'base: compared with itself' 0 '' perplexity -m "$BPE" --kl-base "$T/base" -q
holds 'base: compared with itself, KL 0' 'KL mean         0.000e+00' "$T/out"

# patch FILE OFFSET BYTES: the base with these bytes (octal escapes) there
patch() {
    cp "$T/base" "$1"
    printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
bytes=$(wc -c <"$T/base")
patch "$T/nan" $((bytes - 400)) '\000\000\300\177'
check 'base: one NaN' 1 'damaged' perplexity -m "$BPE" --kl-base "$T/nan" -q
patch "$T/nan-first" $((bytes - 4)) '\001\000\200\377'
check 'base: another NaN' 1 'damaged' perplexity -m "$BPE" --kl-base "$T/nan-first" -q --json
patch "$T/inf" $((bytes - 800)) '\000\000\200\177'
check 'base: infinity' 1 'damaged' perplexity -m "$BPE" --kl-base "$T/inf" -q
{ cat "$T/base" && printf x; } >"$T/longer"
check 'base: a byte too many' 1 'goes on behind' perplexity -m "$BPE" --kl-base "$T/longer" -q
check 'base: fewer windows are no error' 0 '' perplexity -m "$BPE" --kl-base "$T/longer" -q --chunks 1
head -c $((bytes - 1)) "$T/base" >"$T/shorter"
check 'base: a byte too few' 1 'ends too early' perplexity -m "$BPE" --kl-base "$T/shorter" -q
TINY=$IN/embed-causal.gguf # the model of these three
check 'base: handed, one NaN' 1 'damaged' perplexity -m "$TINY" --kl-base "$IN/attacks/base-one-nan.base" -q
check 'base: handed, trailing' 1 'goes on behind' perplexity -m "$TINY" --kl-base "$IN/attacks/base-trailing.base" -q
check 'base: handed, huge count' 1 'ends too early' perplexity -m "$TINY" --kl-base "$IN/attacks/base-count.base" -q

# U+0080 to U+009F are commands to a terminal
c1() {
    if LC_ALL=C grep -q "$(printf '\302[\200-\237]')" "$T/err"; then
        bad "$1" 'a control character reaches the terminal'
    else
        ok "$1"
    fi
}
weft run -m "$IN/attacks/c1-name.gguf" -p a -n 1
c1 'C1 in the name of a tensor'
weft run -m "$T/$(printf 'a\302\2332J')" -p a -n 1
c1 'C1 in a path'
weft run -m "$BPE" -p a "--$(printf 'x\302\220y')"
c1 'C1 in an option'
