# shellcheck shell=bash disable=SC2154 # gpu-check.sh sources this
# Makes the pack of gpu-check.sh: one archive and a script that unpacks it.
#
# Each program holds all kernels. nvcc compresses them to 2 MB, and in one archive the programs share them: xz finds again
# what is not farther back than its dictionary of 64 MiB, and each program is much smaller than that. Without nvcc's
# compression xz would get them somewhat smaller still (1.6 instead of 1.8 MB), but there would be four times as much to unpack.

# The programs look for the libraries of the pack relative to their own folder: build/, build/gpu/ or src/build/gpu/.
pack_ldflags="-Wl,--disable-new-dtags$(printf ",-rpath,'\$\$ORIGIN/%s'" ../lib ../../lib ../../../lib)"

# Copies the libraries that a bare machine may lack: all but those of the C library, the compiler, the driver, and cuBLAS,
# which is large and comes with CUDA.
foreign_libraries() {
    for f in "$@"; do ldd "$f"; done | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
        grep -v -E '/(libc|libm|libdl|librt|libpthread|libgcc_s|libstdc\+\+|libcuda|libcublas|libcublasLt|ld-linux[^/]*)\.so'
}

# Copies the sources of the programs, without the files that are only for tests, training or plots.
copy_sources() { # folder
    git ls-files -co --exclude-standard -z -- . ':!models' ':!tests/fuzz' ':!tools/train' ':!tools/compare/*.svg' \
        ':!tools/compare/*.png' | while IFS= read -r -d '' f; do
        [ ! -e "$f" ] || printf '%s\0' "$f"
    done | tar -c --null -T - | tar -x -C "$1"
}

# With --smoke it takes the programs of the simulator, which make gpu-check-smoke has built.
build_programs() { # where the sources are, where the programs go
    local src=$1 to=$2
    mkdir -p "$to/gpu"
    if [ -n "$smoke" ]; then
        make --no-print-directory -s gpu-check-programs || return
        cp build/sim/test_* build/sim/weft build/sim/weft-gpu-bench build/weft-synth "$to/" && rmdir "$to/gpu"
        return
    fi
    NVCC_APPEND_FLAGS=--compress-mode=size LDFLAGS=$pack_ldflags \
        make -C "$src" --no-print-directory CUDA_ARCH=sm_90a gpu-programs || return
    cp "$src"/build/gpu/test_* "$to/gpu/"
    cp "$src/build/weft" "$src/build/weft-synth" "$src/build/weft-gpu-bench" "$to/"
}

# For building on the GPU's machine: copies the headers, and the libraries under the names that the linker looks for.
copy_headers() { # folder of the pack
    local f
    for f in pcre2.h jansson.h jansson_config.h cmocka.h nettle/sha2.h nettle/nettle-types.h event2/event.h \
        event2/event-config.h event2/visibility.h event2/util.h event2/buffer.h; do
        mkdir -p "$1/include/$(dirname "$f")"
        cp "$(printf '#include <%s>\n' "$f" | gcc -DPCRE2_CODE_UNIT_WIDTH=8 -include stdarg.h -include stddef.h \
            -include stdint.h -include setjmp.h -M -xc - | tr ' ' '\n' | grep -m 1 "/$f\$")" "$1/include/$f" || return
    done
    for f in pcre2-8 jansson cmocka nettle event_core; do cp "$1"/lib/lib$f.so.* "$1/lib/lib$f.so" || return; done
}

# The order of the archive puts similar files next to each other.
pack_archive() { # folder, archive
    find "$1" -type f -printf '%P\n' | awk -F/ '{ print ($1 == "build" ? 1 : 2), $0 }' | sort | cut -d ' ' -f 2- |
        XZ_OPT='-9e -T1' tar -cJf "$2" -C "$1" --no-recursion -T -
}

make_pack() {
    local to=$here/build/gpu-pack${smoke:+-smoke} src=$here/build/gpu-src tree programs=() linked f
    local llama_from=${llama:-${XDG_CACHE_HOME:-$HOME/.cache}/weft/llama-bench}
    set -e
    cd "$here"
    command -v git >/dev/null || { echo "gpu-check: --pack needs git" >&2; exit 1; }
    mkdir -p "$src"
    # a copy of the sources: the build for one architecture must not mix with that of the tree
    find "$src" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
    copy_sources "$src"
    rm -rf "$to"
    tree=$to/tree
    mkdir -p "$tree/lib" "$tree/include" "$tree/tools" "$tree/models" "$tree/src"
    build_programs "$src" "$tree/build"
    while IFS= read -r f; do programs+=("$f"); done < <(find "$tree/build" -type f)
    strip --strip-unneeded "${programs[@]}"
    if [ -x "$llama_from/llama-bench" ]; then
        mkdir "$tree/llama"
        cp "$llama_from/llama-bench" "$tree/llama/"
        cat "$llama_from/VERSION" >"$tree/llama/VERSION" 2>/dev/null || echo "of unknown version" >"$tree/llama/VERSION"
        strip --strip-unneeded "$tree/llama/llama-bench"
    else
        echo "without llama-bench, which tools/llama-cpp.sh builds: $llama_from has none"
    fi
    linked=("${programs[@]}")
    [ ! -d "$tree/llama" ] || linked+=("$tree/llama/llama-bench")
    for f in $(foreign_libraries "${linked[@]}"); do cp "$f" "$tree/lib/"; done
    copy_headers "$tree"
    copy_sources "$tree/src"
    cp models/*.gguf "$tree/models/"
    cp -r tools/gpu-check.sh tools/gpu-check "$tree/tools/"
    { git describe --always --dirty && date -u +%F; } | tr '\n' ' ' >"$tree/PACK"
    pack_archive "$tree" "$to/pack.tar.xz"
    cp tools/gpu-check/unpack.sh "$to/gpu-check.sh"
    echo
    echo "unpacked $(du -sm "$tree" | cut -f 1) MiB: programs $(du -sm "$tree/build" | cut -f 1)," \
        "llama-bench $(du -sm "$tree/llama" 2>/dev/null | cut -f 1)"
    rm -rf "$tree"
    echo "$to: $(du -sm "$to" | cut -f 1) MiB; on the GPU machine: $to/gpu-check.sh --call A, then --call B"
    # the pack travels beside the tree, and both together may have 64 MB
    [ "$(du -sm "$to" | cut -f 1)" -le 40 ] || { echo "gpu-check: the pack is larger than 40 MiB" >&2; exit 1; }
}
