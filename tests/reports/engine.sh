# A stranger's state or grammar costs the other sequences of an engine nothing: neither their answers nor their time.

build=$(dirname "$WEFT")
# weft.pc lists what the library itself needs, CUDA included.
libs=$(make -s -C "$top" "BUILD=$build" "$build/weft.pc" >/dev/null 2>&1 && sed -n 's/^Libs.private: //p' "$build/weft.pc")
# shellcheck disable=SC2086
if ${CC:-gcc} -std=c11 -O1 -D_GNU_SOURCE ${SAN:-} -I"$top/include" -I"$top/src" -I"$top" -o "$T/engine" "$top/tests/reports/engine.c" \
    "$build/libweft-all.a" $libs 2>"$T/err"; then
    ok 'engine.c compiles'
else
    bad 'engine.c compiles' "$(head -n 3 "$T/err")"
fi
unharmed() { # description, arguments of engine.c
    name=$1
    shift
    if timeout 60 "$T/engine" "$@" >"$T/out" 2>&1; then ok "$name"; else bad "$name" "$(tail -n 3 "$T/out")"; fi
}
for model in "$BPE" "$SPM"; do
    unharmed 'a state of ones' state "$model" 3c00
    unharmed 'a state of NaN' state "$model" 7e00
    unharmed 'a state of infinities' state "$model" fc00
done

G=$IN/attacks
unharmed 'classes under every lead byte' grammar "$BPE" "$G/grammar-classes-small.gbnf"
unharmed '25,000 question marks' grammar "$BPE" "$G/grammar-question-25000.gbnf"
unharmed '5,000 repetitions' grammar "$BPE" "$G/grammar-repeat-5000.gbnf"
# A grammar with the most alternatives and classes that are allowed; then the same grammar in other words.
awk 'BEGIN { printf "root ::= \"a\""; for (i = 1; i < 16000; i++) printf "|\"a\""
    printf "\nz ::= ["; for (i = 0; i < 60000; i++) printf "\\U%08x", 65536 + 2 * i; printf "]\n" }' >"$T/classes.gbnf"
unharmed '16,000 ways, 60,000 classes' grammar "$BPE" "$T/classes.gbnf"
sed 's/root ::= "a"/root ::= [^a]/' "$T/classes.gbnf" >"$T/classes2.gbnf"
unharmed 'the same, with a class among the ways' grammar "$BPE" "$T/classes2.gbnf"
awk 'BEGIN { printf "root ::= [a]{99000}"; for (i = 0; i < 340000; i++) printf "{1}"; printf "\n" }' >"$T/repeat.gbnf"
unharmed '340,000 repetitions' grammar "$BPE" "$T/repeat.gbnf"
awk 'BEGIN { printf "root ::= [a]"; for (i = 0; i < 199900; i++) printf "?"; printf "\n" }' >"$T/question.gbnf"
unharmed '199,900 question marks' grammar "$BPE" "$T/question.gbnf"
awk 'BEGIN { printf "root ::= [a]{300}"; for (i = 0; i < 3; i++) printf "{300}"; printf "\n" }' >"$T/power.gbnf"
unharmed 'repetitions of repetitions' grammar "$BPE" "$T/power.gbnf"
awk 'BEGIN { for (i = 0; i < 9000; i++) printf "r%d ::= r%d?\n", i, i + 1; print "r9000 ::= \"a\"\nroot ::= r0" }' >"$T/chain.gbnf"
unharmed 'a chain of rules' grammar "$BPE" "$T/chain.gbnf"
awk 'BEGIN { printf "root ::= ("; for (i = 0; i < 190; i++) printf "("; printf "\"a\""; for (i = 0; i < 190; i++) printf ")*"
    printf ")\n" }' >"$T/nested.gbnf"
unharmed 'nested repetitions' grammar "$BPE" "$T/nested.gbnf"
