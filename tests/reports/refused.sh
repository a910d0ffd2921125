# Everything that is refused is named: limits of options, odd bytes in inputs, damaged files of logits, commands of a chat.

# repeat N WORD...: these words N times, to $words
repeat() {
    words=
    i=0
    n=$1
    shift
    while [ $i -lt "$n" ]; do
        words="$words $*"
        i=$((i + 1))
    done
}
# shellcheck disable=SC2046
check '1,025 biases' 2 'at most 1024 tokens can be biased' run -m x -p a $(seq -f '-l %g+1' 0 1024)
check 'a token twice' 2 'this token already has a bias' run -m x -p a -l 5+1 -l 5-1
check 'a bias beyond all measure' 2 'the bias is a number from' run -m x -p a -l 5+2000000
check 'a bias of no token' 2 'expected TOKEN+BIAS' run -m x -p a -l 12345678901234567890+1
repeat 17 -r x
check '17 stop strings' 2 'at most 16 stop strings' run -m x -p a $words
repeat 33 -m x
check '33 models' 2 'at most 32 models' bench $words
repeat 17 -pg 1,1
check '17 pairs' 2 'at most 16 pairs' bench -m x $words
check 'a pair of long numbers' 2 'expected PROMPT,GENERATED' bench -m x -pg 12345678901234567,1
check 'ids and their number' 2 '--ids and --count contradict' tokenize -m x -p a --ids --count
check 'two arguments behind -' 2 "unexpected argument 'b'" run -m x - b
check '-e without -p' 2 '-e needs -p' run -m x -f y -e
check 'a seed beyond 64 bits' 2 'more than 18446744073709551615' run -m x -p a -s 18446744073709551616
check 'a seed of more digits' 2 'more than 18446744073709551615' run -m x -p a -s 99999999999999999999
check 'a seed of letters' 2 'or -1 for a random one' run -m x -p a -s x
check 'a random seed' 0 'seed ' run -m "$BPE" -p a -n 1 -s -1
for o in --no-jinja -nkvo; do
    check "said: $o" 0 "weft: $o" run -m "$BPE" -p hi -n 1 $o
done

check 'nothing to begin with' 2 'the prompt is empty' run -m "$BPE" -p '' -n 1
check 'a window that scores nothing' 2 '-c is less than 4' perplexity -m "$BPE" -p 'a b c d' -c 3
check 'no ids' 2 'give the ids as arguments' detokenize -m "$BPE"
check 'no such file of ids' 1 'cannot open' detokenize -m "$BPE" -f "$T/none"
check 'no text' 2 'give one text' tokenize -m "$BPE"
check 'no such text' 1 'cannot open' tokenize -m "$BPE" -f "$T/none"
check 'a directory as text' 1 'cannot read' tokenize -m "$BPE" -f "$T"
check 'a text of nothing in a list of ids' 2 "'x' is not a token id" detokenize -m "$BPE" 5 x
check 'an odd escape stays' 0 '' run -m "$BPE" -e -p 'a\q\x4\"' -n 0 --display-prompt
printf '%s' 'a\q\x4"' >"$T/want"
same 'an odd escape stays: the bytes' "$T/out" "$T/want"

# nul NAME CODE TEXT ARGUMENT...: standard input holds a NUL byte
nul() {
    name=$1 want=$2 text=$3
    shift 3
    printf '5 \0006\n' | timeout 60 "$WEFT" "$@" >"$T/out" 2>"$T/err"
    code=$?
    if [ $code -eq "$want" ]; then holds "$name" "$text" "$T/err"; else bad "$name" "exit code $code, expected $want"; fi
}
nul 'a NUL byte in a message' 2 'a chat message cannot hold a NUL byte' run -m "$BPE" --chat -
nul 'a NUL byte in ids' 2 'the ids hold a NUL byte' detokenize -m "$BPE" -
nul 'a NUL byte in a chat' 1 'a message cannot hold a NUL byte' chat -m "$BPE" --no-history

# Files of logits with one damaged field: version, entries, window, BOS, hash of the vocabulary, tokens
weft perplexity -m "$BPE" -p 'The capital of France is Paris, and that of Italy is Rome.' -c 8 --save-base "$T/base"
damaged() { # NAME TEXT OFFSET BYTES
    cp "$T/base" "$T/bad"
    printf "$4" | dd of="$T/bad" bs=1 seek="$3" conv=notrunc 2>"$T/dd"
    check "a base with $1" 1 "$2" perplexity -m "$BPE" --kl-base "$T/bad"
}
check 'a sound base' 0 '' perplexity -m "$BPE" --kl-base "$T/base"
damaged 'another version' 'has version 255' 8 '\377'
damaged 'no vocabulary' 'is damaged: 0 entries' 12 '\0\0\0\0'
damaged 'a vocabulary without end' 'is damaged' 12 '\377\377\377\377'
damaged 'a window of nothing' 'is damaged' 16 '\0\0\0\0'
damaged 'an odd BOS' 'is damaged' 20 '\7'
damaged 'no tokens' 'is damaged' 32 '\0\0\0\0\0\0\0\0'
damaged 'tokens without end' 'is damaged' 32 '\377\377\377\377\377\377\377\377'
damaged 'another vocabulary' 'vocabulary has 5 entries' 12 '\5\0\0\0\10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\10\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0'
damaged 'another hash' 'with other tokens than this one' 24 '\1\2\3\4'
damaged 'a token of nobody' 'token 0 is 2147483647' 40 '\377\377\377\177'
damaged 'a negative token' 'token 0 is -1' 40 '\377\377\377\377'
head -c 20 "$T/base" >"$T/bad"
check 'a base cut in its head' 1 'ends too early' perplexity -m "$BPE" --kl-base "$T/bad"
check 'a base with a window of its own' 2 'give neither a text nor -c' perplexity -m "$BPE" --kl-base "$T/base" -c 16

# chat NAME CODE TEXT LINES ARGUMENT...: the lines are commands; standard error holds the text
chat_says() {
    name=$1 want=$2 text=$3 lines=$4
    shift 4
    printf "$lines" | timeout 60 "$WEFT" chat -m "$BPE" --temp 0 --commands --no-history -n 2 "$@" >"$T/out" 2>"$T/err"
    code=$?
    if [ $code -eq "$want" ]; then holds "$name" "$text" "$T/err"; else bad "$name" "exit code $code, expected $want"; fi
}
chat_says 'a command with too much behind it' 1 '/clear takes nothing behind it' '/clear all\n'
chat_says 'a command with a slip' 1 'unknown command /hlep; did you mean /help' '/hlep\n'
chat_says 'a command with nothing like it' 1 'unknown command /xyzzyx; /help lists them' '/xyzzyx\n'
chat_says '/help' 0 '/retry               answer the last message again' '/help\n'
chat_says '/set of nothing' 0 '/set NAME VALUE, where NAME is temp' '/set temp\n'
chat_says '/set of a long name' 0 '/set NAME VALUE, where NAME is temp' '/set a-name-that-is-longer-than-any-of-those 1\n'
chat_says '/set out of range' 0 'is out of range' '/set temp 1000\n'
chat_says '/set of a seed' 0 'seed 77;' '/set seed 77\nhi\n'
chat_says '/set of a random seed' 0 'seed ' '/set seed -1\nhi\n'
chat_says '/set of all' 0 'messages' '/set top-k 5\n/set   top-p   0.5\n/set min-p 0.1\n/set repeat-penalty 1.1\n/stats\n'
chat_says '/system' 0 'started over' '/system Be brief.\nhi\n'
chat_says '/undo' 0 'took back the last exchange' 'hi\n/undo\n'
chat_says '/undo of nothing, though quiet' 0 'there is nothing to take back' '/undo\n' -q
chat_says '/clear' 0 'started over' 'hi\n/clear\n'
chat_says '/save' 0 'saved ' "hi\\n/save $T/chat\\n"
chat_says '/load' 0 'loaded ' "/load $T/chat\\n"
chat_says 'a block that begins with its text' 0 'generated tokens' '"""one\ntwo"""\n'
chat_says 'a block of nothing' 0 '0 prompt + 0 generated' '"""\n"""\n'
chat_says 'a line that goes on into nothing' 0 'generated tokens' 'one\\\n'
chat_says 'a message too many' 1 'the message has ' 'What is the capital of France?\nWhat is the capital of France?\n' -c 48 -n -1
for quiet in '/clear' '/undo' "/save $T/chat" "/load $T/chat" '/system x'; do
    printf 'hi\n%s\n' "$quiet" | timeout 60 "$WEFT" chat -m "$BPE" --temp 0 --commands --no-history -n 1 -q >"$T/out" 2>"$T/err"
    [ $? -eq 0 ] && [ ! -s "$T/err" ] && ok "quiet: $quiet" || bad "quiet: $quiet" 'a line'
done

# A name that is not UTF-8 has a replacement character in JSON for each wrong part.
odd=$T/$(printf 'a\377b').gguf
cp "$IN/embed-causal.gguf" "$odd"
check 'logits of a file with an odd name' 0 '' logits -m "$odd" -p hi --full "$T/$(printf 'l\377l')" -o "$T/lines"
holds 'its name' "/a$(printf '\357\277\275')b.gguf\"" "$T/lines"
holds 'the name of the logits' "/l$(printf '\357\277\275')l\"" "$T/lines"
