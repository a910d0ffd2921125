#!/bin/sh
# Tests the programs that load servers, tools/compare/serve.py and tests/serve/stress.py, on a server that is made up.
# usage: tests/serve/tools.sh
if ! command -v python3 >/dev/null 2>&1; then
    echo 'skip serve_tools: no python3'
    exit 0
fi
cd "$(dirname "$0")/../.." || exit 1
python3 -m unittest -q tests/test_serve_tools.py && echo 'ok what they count, and the faults that they find'
