#!/bin/sh
# The comparison in the README, the part for the kernels of this machine: Weft and llama.cpp take turns on a model with the
# shape of qwen2.5-0.5b, on the CPU and, if there is one, on a GPU. usage: tools/compare/bench.sh BUILD PYTHON [option of
# compare.py...]
set -eu
build=$1
python=$2
shift 2
models=$build/bench
mkdir -p "$models"
files=
for type in q4_k_m q8_0 q4_0; do
    file=$models/qwen2.5-0.5b-$type.gguf
    [ -s "$file" ] || "$build/weft-synth" --like qwen2.5-0.5b --type $type -o "$file"
    files="$files $file"
done
# shellcheck disable=SC2086
"$python" tools/compare/compare.py $files --weft "$build/weft" --update-readme README.md "$@"
if "$build/weft" doctor --json | "$python" -c 'import json, sys; sys.exit(json.load(sys.stdin)["auto"]["device"] == "cpu")'; then
    # shellcheck disable=SC2086
    "$python" tools/compare/compare.py $files --weft "$build/weft" --device cuda -o tools/compare/compare-cuda.json "$@"
fi
