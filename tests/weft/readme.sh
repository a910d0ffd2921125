#!/bin/sh
# Compiles the C programs of README.md and tools/examples as a user would, against the static library, and runs them on the demo
# models.
# usage: tests/weft/readme.sh BUILD [compiler flags]
build=$1
shift
. tests/verdict.sh
# weft.pc lists what the library itself needs, CUDA included.
make -s "BUILD=$build" "$build/weft.pc" >/dev/null || exit 1
libs=$(sed -n 's/^Libs.private: //p' "$build/weft.pc")
awk -v dir="$T" '/^```c$/ { n++; on = 1; next } /^```$/ { on = 0 } on { print > (dir "/" n ".c") }' README.md
for program in 1 2; do
    [ "$(wc -l <"$T/$program.c")" -le 40 ]
    verdict "README program $program has at most 40 lines" $?
    # shellcheck disable=SC2086
    ${CC:-gcc} -std=c11 -Wall -Wextra -Werror -Iinclude "$@" -o "$T/$program" "$T/$program.c" "$build/libweft.a" $libs
    verdict "README program $program compiles" $?
done
for model in models/weft-demo-qwen2.gguf models/weft-demo-phi3.gguf; do
    "$T/1" "$model" 'The capital of Japan is' >"$T/out.txt" && [ -s "$T/out.txt" ]
    verdict "README program 1 prints text, $model" $?
    "$T/2" "$model" >"$T/out.txt" && grep -q Paris "$T/out.txt" && grep -q Tokyo "$T/out.txt"
    verdict "README program 2 knows Paris and Tokyo, $model" $?
done
for program in many fork stream search tools; do
    source=tools/examples/$program.c
    [ "$(wc -l <"$source")" -le 60 ]
    verdict "example $program has at most 60 lines" $?
    # shellcheck disable=SC2086
    ${CC:-gcc} -std=c11 -Wall -Wextra -Werror -Iinclude "$@" -o "$T/$program" "$source" "$build/libweft.a" $libs
    verdict "example $program compiles" $?
done
says() { # description, text that the last output must hold
    grep -qF "$2" "$T/out.txt"
    verdict "$1" $?
}
tools='[{"type": "function", "function": {"name": "weather", "parameters": {"properties": {"city": {"enum": ["Paris", "Rome"]}},
    "required": ["city"]}}}]'
for model in models/weft-demo-qwen2.gguf models/weft-demo-phi3.gguf; do
    printf 'The capital of France is\nThe capital of Italy is' | "$T/many" "$model" >"$T/out.txt"
    says "many, $model" 'The capital of France is Paris'
    says "many, second line, $model" 'The capital of Italy is Rome'
    "$T/fork" "$model" 'The capital of France' 3 >"$T/out.txt"
    says "fork, $model" '2: The capital of France is Paris'
    "$T/stream" "$model" 'What is the capital of France?' . >"$T/out.txt"
    says "stream, $model" 'Paris'
    says "stream stops, $model" '(a stop string)'
    "$T/tools" "$model" '[{"role": "user", "content": "Weather?"}]' "$tools" >"$T/out.txt"
    says "tools, $model" 'weather{'
    printf '3 + 4 = 7\nthe capital of France\n' | "$T/search" "$model" 'the capital of France' >"$T/out.txt"
    head -n 1 "$T/out.txt" >"$T/first.txt" && mv "$T/first.txt" "$T/out.txt"
    says "search, $model" 'the capital of France'
done
finish
