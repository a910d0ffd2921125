#!/bin/sh
# weft.h in C++ programs, whose warnings are errors. usage: tests/api/cxx.sh
cd "$(dirname "$0")/../.." || exit 1
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
for cxx in $compilers; do
    for std in c++11 c++14 c++17 c++20 gnu++17; do
        "$cxx" -std=$std -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -Iinclude -o "$T/cxx" tests/api/cxx.cpp && "$T/cxx" >/dev/null &&
            say ok "$cxx -std=$std" || say FAIL "$cxx -std=$std"
    done
done
# a new one is not forgotten
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
