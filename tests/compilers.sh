#!/bin/sh
# Builds the library and the programs with every installed gcc and clang, from -O0 to -O3; warnings are errors. All builds
# must give the same logits, bit for bit, on every instruction set of this machine. "some" tries only the levels that no
# other part of CI has, with the gcc and clang that are called without a number. usage: tests/compilers.sh [some |
# COMPILER...]
set -u
cd "$(dirname "$0")/.." || exit 1
out=build/compilers
mkdir -p "$out"
rm -f "$out"/*.log "$out"/*.f32
passed=0 failed=0 first=
unset MAKEFLAGS MAKELEVEL MFLAGS

verdict() { # ok or FAIL, text
    if [ "$1" = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    echo "$1 $2"
}

# Prints the logits of a short text, as float32, to a file.
logits() { # program, instruction set, file
    "$1" logits -q -m models/weft-demo-phi3.gguf -p 'The capital of France is Paris, and that of Japan' --cpu-isa "$2" --full "$3" \
        -o /dev/null 2>"$3.log"
}

build_with() { # compiler, level
    name=$1$2
    dir=$out/$name
    if ! make -s -k "-j$(nproc)" NVCC= WERROR=1 "CC=$1" "OPT=$2" "BUILD=$dir" "$dir/libweft.so" "$dir/weft" "$dir/weft-synth" \
        >"$out/$name.log" 2>&1; then
        verdict FAIL "$name does not build:"
        grep -A 2 'error:' "$out/$name.log" | head -n 40
        return
    fi
    verdict ok "$name builds without a warning"
    for isa in scalar avx2 avx512; do
        if ! logits "$dir/weft" $isa "$out/$name-$isa.f32"; then
            grep -q "$isa" "$out/$name-$isa.f32.log" && continue # this processor lacks it
            verdict FAIL "$name, $isa: $(cat "$out/$name-$isa.f32.log")"
            continue
        fi
        first=${first:-$out/$name-$isa.f32}
        cmp -s "$first" "$out/$name-$isa.f32" && verdict ok "$name, $isa: the same bits" ||
            verdict FAIL "$name, $isa: other logits than $(basename "$first" .f32)"
    done
}

# Each compiler is tried once: "gcc" is the same as one of those with a number.
installed() {
    seen=' '
    for file in $(command -v gcc) $(command -v clang) $(echo "$PATH" | tr ':' '\n' | while read -r folder; do
        find "$folder/" -maxdepth 1 -name 'gcc-[0-9]*' -o -maxdepth 1 -name 'clang-[0-9]*'
    done 2>/dev/null | sort); do
        program=$(readlink -f "$file")
        case $seen in *" $program "*) continue ;; esac
        seen="$seen$program "
        basename "$file"
    done
}

if [ "${1:-}" = some ]; then
    for cc in gcc clang; do
        if command -v $cc >/dev/null 2>&1; then build_with $cc -O2; else echo "skip $cc: there is none"; fi
    done
else
    [ $# -gt 0 ] || set -- $(installed)
    for cc in "$@"; do
        "$cc" --version | head -n 1
        for level in -O0 -O1 -O2 -O3; do build_with "$cc" $level; done
    done
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
