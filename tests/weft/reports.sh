#!/bin/sh
# What users reported of GGUF engines and what attackers tried, as black-box tests: each file in tests/reports/ holds one
# kind. Inputs are in tests/data/reports. usage: tests/weft/reports.sh PROGRAM [PART...]
WEFT=$1
shift
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/weft/cli_lib.sh"
IN=$top/tests/data/reports
# A model with ChatML and byte-level BPE, and one with SentencePiece.
BPE=$top/models/weft-demo-qwen2.gguf
SPM=$top/models/weft-demo-phi3.gguf
[ $# -gt 0 ] || set -- "$top"/tests/reports/*.sh
for part; do . "$part"; done
finish
