#!/bin/sh
# Checks that libweft is as tests/api/abi.txt says, and that abi.py notices if it is not. usage: tests/api/abi.sh BUILD
if ! command -v python3 >/dev/null 2>&1; then
    echo 'skip abi: no python3'
    exit 0
fi
python3 "$(dirname "$0")/abi.py" check "$1/libweft.so" &&
    python3 -m unittest -q "$(dirname "$0")/test_abi.py" && echo 'ok abi.py'
