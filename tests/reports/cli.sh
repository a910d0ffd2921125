# What a script learns of a run: its exit code, and its memory.

check 'a grammar that is fulfilled' 0 '' run -m "$BPE" -p a --grammar "$IN/dead-end.gbnf" -n 20 -q
x=$("$WEFT" tokenize -m "$BPE" --ids -p x 2>/dev/null)
check 'a dead end of a grammar' 5 '' run -m "$BPE" -p a --grammar "$IN/dead-end.gbnf" -l "$x-inf" -n 5 -q
check 'a dead end, with its closing line' 5 'grammar' run -m "$BPE" -p a --grammar "$IN/dead-end.gbnf" -l "$x-inf" -n 5
check 'a dead end of one of three' 5 '' run -m "$BPE" -p a --grammar "$IN/dead-end.gbnf" -l "$x-inf" -n 5 -np 3 -q

# the peak is that of this program, not of a larger one that started it
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
