#!/bin/sh
# Checks that the source keeps its order and has short functions: tests/order.py, tests/lengths.py, and the tests of these
# two. Also checks that the manifest, which runs only when it is wanted, still fits weft.h. usage: tests/house.sh
if ! command -v python3 >/dev/null 2>&1; then
    echo 'skip house: no python3'
    exit 0
fi
cd "$(dirname "$0")/.." || exit 1
python3 tests/order.py
order=$?
python3 tests/lengths.py
lengths=$?
"${CC:-cc}" -std=c11 -Wall -Wextra -Wshadow -Wconversion -Werror -fsyntax-only -Iinclude tests/manifest/manifest.c
manifest=$?
python3 -m unittest -q tests/test_house.py && [ $order = 0 ] && [ $lengths = 0 ] && [ $manifest = 0 ] &&
    echo 'ok the tests of both, and manifest.c'
