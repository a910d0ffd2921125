# Files that others wrote: bases of a comparison, and names that terminals would obey.

printf 'The capital of France is Paris. The capital of Japan is Tokyo. One and one is two.\n' >"$T/text"
check 'base: saved' 0 '' perplexity -m "$BPE" -f "$T/text" -c 8 --save-base "$T/base" -q
check 'base: compared with itself' 0 '' perplexity -m "$BPE" --kl-base "$T/base" -q
holds 'base: compared with itself, KL 0' 'KL mean         0.000e+00' "$T/out"

# patch FILE OFFSET BYTES: makes a copy of the base with these bytes (octal escapes) at the offset
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
patch "$T/window" 16 '\003\000\000\000'
check 'base: a window that is too short' 1 'is damaged: ' perplexity -m "$BPE" --kl-base "$T/window" -q
# In the last row all logits but that of the last entry of the vocabulary become -inf.
row=$(($(od -An -tu4 -j12 -N4 "$T/base") * 4))
printf '\000\000\200\377' >"$T/low"
while [ "$(wc -c <"$T/low")" -lt "$row" ]; do
    cat "$T/low" "$T/low" >"$T/twice"
    mv "$T/twice" "$T/low"
done
{ head -c $((bytes - row)) "$T/base" && head -c $((row - 4)) "$T/low" && tail -c 4 "$T/base"; } >"$T/impossible"
check 'base: what came next is impossible' 1 'gives no probability to' perplexity -m "$BPE" --kl-base "$T/impossible" -q --json
TINY=$IN/embed-causal.gguf # the bases of the next tests were made with this model
check 'base: handed, one NaN' 1 'damaged' perplexity -m "$TINY" --kl-base "$IN/attacks/base-one-nan.base" -q
check 'base: handed, trailing' 1 'goes on behind' perplexity -m "$TINY" --kl-base "$IN/attacks/base-trailing.base" -q
check 'base: handed, huge count' 1 'ends too early' perplexity -m "$TINY" --kl-base "$IN/attacks/base-count.base" -q

# A count is only a promise: memory is taken for what the file really has (except with sanitizers).
promises() {
    (ulimit -v 600000 2>/dev/null; timeout 20 "$WEFT" perplexity -m "$TINY" -q -t 1 --kl-base "$2" >"$T/out" 2>"$T/err" </dev/null)
    code=$?
    [ $code -eq 1 ] && grep -q 'ends too early' "$T/err" && ok "$1" || bad "$1" "code $code"
}
(
    case " ${SAN:-} " in *sanitize*) ulimit() { :; } ;; esac
    B=$IN/attacks/base-one-nan.base
    for count in '377\377\377\017' '000\000\000\017' '020\047\000\000'; do
        cp "$B" "$T/count" && printf "\\$count" | dd of="$T/count" bs=1 seek=32 conv=notrunc 2>/dev/null
        promises "base: a count that begins with ${count%%\\*}" "$T/count"
    done
    mkfifo "$T/base-pipe"
    cat "$T/count" >"$T/base-pipe" &
    promises 'base: a count, in a pipe' "$T/base-pipe"
    echo "$passed $failed" >"$T/counts"
)
read -r passed failed <"$T/counts"

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

# A text that is cut inside a character goes on with that character: the parts together are the text.
divided() {
    name=$1 m=$2
    shift 2
    "$WEFT" detokenize -m "$m" "$@" >"$T/want" 2>/dev/null
    weft run -m "$m" -p x -n 0 -q --save-state "$T/s"
    : >"$T/got"
    for t; do
        weft run -m "$m" --load-state "$T/s" --temp 0 -l "$t+1000000" -n 1 -q --save-state "$T/s"
        [ $code -eq 0 ] || bad "$name: token $t" "code $code"
        cat "$T/out" >>"$T/got"
    done
    same "$name" "$T/got" "$T/want"
}
# bytes_of MODEL TEXT: the ids of its bytes, one by one; byte-level BPE and SentencePiece have them at other places
bytes_of() {
    printf "$2" | od -An -v -tu1 | tr -s ' \n' '\n\n' | while read -r byte; do
        [ -n "$byte" ] && "$WEFT" tokenize -m "$1" --ids -f "$T/byte$byte" 2>/dev/null | tr ' ' '\n' | tail -n 1
    done
}
for b in $(seq 128 255); do printf "\\$(printf %o "$b")" >"$T/byte$b"; done
for m in "$BPE" "$SPM"; do
    n=$(basename "$m" .gguf)
    divided "$n: two, three and four bytes" "$m" $(bytes_of "$m" '\303\251\346\227\245\360\237\231\202')
    printf 'x\346\227' >"$T/half"
    weft run -m "$m" -f "$T/half" --display-prompt -n 0 -q --save-state "$T/s"
    cp "$T/out" "$T/got"
    weft run -m "$m" --load-state "$T/s" --temp 0 -l "$(bytes_of "$m" '\245')+1000000" -n 1 -q
    cat "$T/out" >>"$T/got"
    printf 'x\346\227\245' >"$T/want"
    same "$n: a prompt that ends inside a character, and goes on" "$T/got" "$T/want"
    weft run -m "$m" -f "$T/half" --display-prompt --temp 0 -l "$(bytes_of "$m" '\245')+1000000" -n 1 -q
    same "$n: the same at once" "$T/out" "$T/want"
    weft run -m "$m" -f "$T/half" --temp 0 -l "$(bytes_of "$m" '\245')+1000000" -n 1 -q -np 2
    grep -q "$(printf '\346\227\245')" "$T/out" && ok "$n: the same in several texts" || bad "$n: the same in several texts" "$(od -c "$T/out" | head -n 2)"
done

# a state is judged by its first bytes and its size, before the rest is read: these are larger than the memory allowed
# refused NAME TEXT FILE: by run and by chat
refused() {
    (ulimit -t 20 -v 3000000 2>/dev/null; timeout 20 "$WEFT" run -m "$TINY" -p a -n 1 -q --load-state "$3" >"$T/out" 2>"$T/err" </dev/null)
    code=$?
    [ $code -eq 1 ] && grep -qF -e "$2" "$T/err" && ok "$1: run" || bad "$1: run" "code $code"
    printf '/load %s\n' "$3" >"$T/in"
    (ulimit -t 20 -v 3000000 2>/dev/null; timeout 20 "$WEFT" chat -m "$TINY" --chat-template chatml -q --no-history --commands <"$T/in" >"$T/out" 2>"$T/err")
    code=$?
    [ $code -eq 1 ] && grep -qF -e "$2" "$T/err" && ok "$1: chat" || bad "$1: chat" "code $code"
}
check 'state: saved' 0 '' run -m "$TINY" -p hello -n 0 -q --save-state "$T/state"
# header OFFSET BYTES SIZE: makes $T/forged, the state with these bytes (octal escapes) at the offset, and of that size
header() {
    cp "$T/state" "$T/forged"
    printf "$2" | dd of="$T/forged" bs=1 seek="$1" conv=notrunc 2>/dev/null
    truncate -s "$3" "$T/forged"
}
case " ${SAN:-} " in *sanitize*) ulimit() { :; } ;; esac # sanitizers reserve terabytes of addresses
if : >"$T/forged" && truncate -s 6G "$T/forged" 2>/dev/null; then
    refused 'state: 6 GB of nothing' 'no saved state' "$T/forged"
    header 0 W 6G
    refused 'state: 6 GB behind a sound header' 'contradicts' "$T/forged"
    header 8 '\002' 6G
    refused 'state: 6 GB of another version' 'version 2' "$T/forged"
    header 64 '\350\377\377\137\000\000\000\000\000\000\000\000\000\000\000\000' 6G # (6 GiB - 88) / 4 - 2 tokens, none computed
    truncate -s $((80 + 8 + 4 * 0x5fffffe8)) "$T/forged"
    refused 'state: more tokens than the context' 'the context is' "$T/forged"
    header 64 '\377\377\377' 1M
    refused 'state: more tokens than the file' 'was cut' "$T/forged"
    check 'a model that is none, read into memory' 3 'not with "GGUF"' run -m "$T/forged" --no-mmap -p a
else
    skip 'state: 6 GB' 'no such file can be made here'
fi
mkfifo "$T/pipe"
refused 'state: a pipe' 'a pipe' "$T/pipe"
refused 'state: a device' 'a character device' /dev/zero
