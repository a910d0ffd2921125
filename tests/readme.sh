#!/bin/sh
# Compiles the C programs of README.md as a user would, against the static library, and runs them on the demo models.
# usage: tests/readme.sh BUILD [compiler flags]
build=$1
shift
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
passed=0
failed=0
verdict() { # description, 0 if right
    if [ "$2" = 0 ]; then
        echo "ok $1"
        passed=$((passed + 1))
    else
        echo "FAIL $1"
        failed=$((failed + 1))
    fi
}
# what the library itself needs, CUDA included, stands in weft.pc
make -s "BUILD=$build" "$build/weft.pc" >/dev/null || exit 1
libs=$(sed -n 's/^Libs.private: //p' "$build/weft.pc")
awk -v dir="$dir" '/^```c$/ { n++; on = 1; next } /^```$/ { on = 0 } on { print > (dir "/" n ".c") }' README.md
for program in 1 2; do
    [ "$(wc -l <"$dir/$program.c")" -le 40 ]
    verdict "README program $program has at most 40 lines" $?
    # shellcheck disable=SC2086
    ${CC:-gcc} -std=c11 -Wall -Wextra -Werror -Iinclude "$@" -o "$dir/$program" "$dir/$program.c" "$build/libweft.a" $libs
    verdict "README program $program compiles" $?
done
for model in models/weft-demo-qwen2.gguf models/weft-demo-phi3.gguf; do
    "$dir/1" "$model" 'The capital of Japan is' >"$dir/out.txt" && [ -s "$dir/out.txt" ]
    verdict "README program 1 prints text, $model" $?
    "$dir/2" "$model" >"$dir/out.txt" && grep -q Paris "$dir/out.txt" && grep -q Tokyo "$dir/out.txt"
    verdict "README program 2 knows Paris and Tokyo, $model" $?
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
