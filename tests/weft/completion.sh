#!/bin/sh
# Runs tests/weft/completion.py if it can run. usage: tests/weft/completion.sh PROGRAM
if ! command -v python3 >/dev/null 2>&1; then
    echo 'skip completion: no python3'
else
    exec python3 "$(dirname "$0")/completion.py" "$1"
fi
