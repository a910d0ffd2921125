#!/bin/sh
# Tests the server: its suites, clients that break off, and the released openai package, also with a real model if one is
# there. usage: tests/serve/run.sh BUILD PYTHON [REAL_MODEL]
set -eu
build=$1 python=$2 real=${3:-}
for t in "$build"/tests/serve/test_*; do
    [ -x "$t" ] || continue
    "$t" >"$t.txt" 2>&1 || { tail -n 40 "$t.txt"; exit 1; }
    echo "ok   $(basename "$t") $(grep -c -E '^\[ +OK +\]' "$t.txt") cases"
done
"$python" tests/serve/stress.py --streams 64 --disconnects 2000 --idle 256 --sigterm 64 -- \
    "$build/weft" serve -m models/weft-demo-qwen2.gguf --metrics --port '{port}' -c 1024 -np 16 -kvu -t 1
"$python" tests/serve/openai_test.py "$build/weft" $real
echo "serve-test: all parts passed"
