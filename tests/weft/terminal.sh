#!/bin/sh
# Runs tests/weft/terminal.py if it can run. usage: tests/weft/terminal.sh PROGRAM MODEL
if ! command -v python3 >/dev/null 2>&1; then
    echo 'skip terminal: no python3'
elif [ ! -e /usr/include/histedit.h ] && [ ! -e /usr/local/include/histedit.h ]; then
    echo 'skip terminal: built without libedit'
else
    exec python3 "$(dirname "$0")/terminal.py" "$1" "$2"
fi
