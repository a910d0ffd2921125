#!/bin/sh
# Uses weft.h in C++ programs, whose warnings are errors: a program that only includes it, and one that is linked with the
# library and generates text. usage: tests/api/cxx.sh BUILD [compiler flags of that build]
cd "$(dirname "$0")/../.." || exit 1
build=$1
shift
warnings='-Wall -Wextra -pedantic -Wshadow -Wconversion -Wold-style-cast -Werror'
# weft.pc lists what the library itself needs.
make -s "BUILD=$build" "$build/weft.pc" >/dev/null || exit 1
libs=$(sed -n 's/^Libs.private: //p' "$build/weft.pc")
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT
passed=0 failed=0 compilers=
say() { # ok or FAIL, name
    if [ "$1" = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    echo "$1 $2"
}
for cxx in g++ clang++; do
    echo 'int main() {}' >"$T/empty.cpp"
    if "$cxx" -o "$T/empty" "$T/empty.cpp" 2>/dev/null; then compilers="$compilers $cxx"; else echo "skip $cxx: there is none"; fi
done
runs() { # command: succeeds if its output names Paris
    "$@" >"$T/out" && grep -q Paris "$T/out"
}
# shellcheck disable=SC2086
for cxx in $compilers; do
    for std in c++11 c++14 c++17 c++20 c++2b gnu++17; do
        "$cxx" -std=$std $warnings -Iinclude -o "$T/cxx" tests/api/cxx.cpp && "$T/cxx" >/dev/null &&
            say ok "$cxx -std=$std" || say FAIL "$cxx -std=$std"
        if [ "$cxx" = clang++ ] && [ $# -gt 0 ]; then
            echo "skip clang++ -std=$std, linked: the library has gcc's $*"
            continue
        fi
        "$cxx" -std=$std $warnings -Iinclude "$@" -o "$T/run" tests/api/cxx_run.cpp "$build/libweft.a" $libs &&
            runs "$T/run" models/weft-demo-qwen2.gguf &&
            say ok "$cxx -std=$std, linked" || say FAIL "$cxx -std=$std, linked"
    done
done
# tests/api/cxx.cpp must use every WEFT_..._INIT of weft.h.
for macro in $(sed -n 's/^#define \(WEFT_[A-Z_]*_INIT\)\>.*/\1/p' include/weft.h); do
    grep -q "\<$macro\>" tests/api/cxx.cpp && say ok "$macro" || say FAIL "$macro is not in tests/api/cxx.cpp"
done
for cc in "${CC:-cc}" gcc clang; do
    for std in c11 c17; do
        command -v "$cc" >/dev/null 2>&1 || continue
        printf '#include "weft.h"\nint main(void) { weft_sampling s = WEFT_SAMPLING_INIT; weft_engine_params e = WEFT_ENGINE_PARAMS_INIT; return s.top_k == (int)e.n_ctx; }\n' >"$T/c.c"
        "$cc" -std=$std -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only "$T/c.c" && say ok "$cc -std=$std" || say FAIL "$cc -std=$std"
    done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
