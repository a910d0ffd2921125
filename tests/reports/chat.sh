# A conversation is what its template says, also when an answer was cut.

# turns NAME MODEL END: END stands once behind every answer, also behind one that was cut before the model wrote it
turns() {
    for cut in '-n 5' '-n 0' '-n 40 -r a' '-n 3 --ignore-eos'; do
        check "$1: an answer cut by $cut" 0 '' run -m "$2" --chat -p 'What is the capital of Italy?' $cut --temp 0 --save-state "$T/s" -q
        check "$1: goes on" 0 '' run -m "$2" --load-state "$T/s" --chat -p 'And of France?' -n 0 --display-prompt --special -q
        case $(cat "$T/out") in "$3"*) ok "$1: the turn was ended ($cut)" ;; *) bad "$1: the turn was ended ($cut)" "$(head -c 80 "$T/out")" ;; esac
    done
    check "$1: an answer that ended" 0 '' run -m "$2" --chat -p 'What is the capital of Italy?' -n 60 --temp 0 --save-state "$T/s" -q
    check "$1: goes on" 0 '' run -m "$2" --load-state "$T/s" --chat -p 'And of France?' -n 0 --display-prompt --special -q
    case $(cat "$T/out") in "$3"*) bad "$1: it is not ended twice" "$(head -c 80 "$T/out")" ;; *) ok "$1: it is not ended twice" ;; esac
    # weft chat, too, goes on with a saved state as if the conversation had never been saved.
    weft run -m "$2" --chat -p 'What is the capital of Italy?' -n 2 --temp 0 --save-state "$T/s" -q
    printf '/set n 2\nWhat is the capital of Italy?\n/set n -1\nWhat is the capital of France?\n/save %s\n' "$T/whole" >"$T/in"
    "$WEFT" chat -m "$2" --temp 0 -q --no-history --commands <"$T/in" >"$T/out1" 2>"$T/err"
    printf '/load %s\nWhat is the capital of France?\n/save %s\n' "$T/s" "$T/again" >"$T/in"
    "$WEFT" chat -m "$2" --temp 0 -q --no-history --commands <"$T/in" >"$T/out2" 2>"$T/err"
    tail -n 1 "$T/out1" >"$T/want"
    same "$1: a chat goes on behind a cut state" "$T/out2" "$T/want"
    same "$1: with the same tokens" "$T/again" "$T/whole"
}
turns ChatML "$BPE" '<|im_end|>'
turns Phi-3 "$SPM" '<|end|>'

# a line of a pipe is a message, whatever it begins with
printf '/etc/passwd is what?\nhi\n/save %s\n' "$T/written" >"$T/in"
"$WEFT" chat -m "$BPE" --temp 0 -n 4 -q --no-history <"$T/in" >"$T/out" 2>"$T/err"
code=$?
[ $code -eq 0 ] && [ "$(wc -l <"$T/out")" -ge 3 ] && ok 'lines with / in a pipe are messages' || bad 'lines with / in a pipe are messages' "code $code, $(wc -l <"$T/out") lines"
[ ! -e "$T/written" ] && ok 'and write no file' || bad 'and write no file' 'written'
"$WEFT" chat -m "$BPE" --temp 0 -n 4 -q --no-history --commands <"$T/in" >"$T/out" 2>"$T/err"
code=$?
[ $code -eq 1 ] && [ -e "$T/written" ] && ok '--commands obeys them, and tells of an unknown one' || bad '--commands' "code $code"

# The file's own template is used, with its default system prompt; a built-in one only if it is named.
m=$IN/chatml-default-system.gguf
check "the file's own template" 0 '' run -m "$m" --chat -p hi -n 0 --display-prompt --special -q
holds 'its default system prompt' 'You are' "$T/out"
check 'a named template' 0 '' run -m "$m" --chat -p hi -n 0 --display-prompt --special -q --chat-template chatml
if grep -q 'You are' "$T/out"; then bad 'without that prompt' "$(cat "$T/out")"; else ok 'without that prompt'; fi
sed 's/tokenizer.chat_template/tokenizer.chat_nothing_/' "$IN/embed-causal.gguf" >"$T/none.gguf"
check 'no template at all' 3 'has no chat template' run -m "$T/none.gguf" --chat -p hi -n 0
check 'no template at all, but one is chosen' 0 '' run -m "$T/none.gguf" --chat -p hi -n 0 --chat-template zephyr
check 'no template at all: inspect' 0 '' inspect "$T/none.gguf"
holds 'it says so' 'the file has no chat template' "$T/out"
