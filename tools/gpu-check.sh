#!/usr/bin/env bash
# Everything that needs a GPU, in one command: the tests of the CUDA backend, compute-sanitizer, the search for lost
# memory, and the timings, beside llama.cpp's if that is at hand. Prints a short table last.
#
#   tools/gpu-check.sh                     in a source tree on a machine with a GPU: builds, and runs all parts
#   tools/gpu-check.sh --pack              on any machine with nvcc: builds for sm_90a and packs what a bare GPU machine
#                                          needs into build/gpu-pack (programs, libraries, demo models, sources)
#   build/gpu-pack/tools/gpu-check.sh --run build/gpu-pack
#                                          there: runs from the pack, without a compiler. Should the programs not start (an
#                                          older C library), it builds them from the sources in the pack, with gcc and nvcc
#
#   --part NAME    tests, sanitizers or timings; may be repeated; all if not given
#   --llama DIR    DIR holds llama-bench built with CUDA: it is timed on the same files, in turns with weft
#   --rounds N     of the timings (1; with --llama 2)
#   --seconds N    for all parts together (570); what does not fit is skipped, and that counts as a failure
#   --smoke        tiny models and sizes: tries the script itself, also on programs linked with the simulator
#
# Exit codes: 0 all passed, 1 something failed or was skipped for lack of time, 2 wrong usage, 3 no GPU.
# With $OUT set, results.txt, log.txt, weft.jsonl and llama.jsonl are written there as it goes along.
#
# llama-bench on a machine without network: of the sources in llama-cpp-python's sdist (pip download --no-deps
# --no-binary :all: llama-cpp-python; tried with 0.3.36) these are enough, 22 MB, or 2.3 MB as a .tar.xz; in vendor/llama.cpp:
#   tar -cJf llama.tar.xz CMakeLists.txt LICENSE cmake common ggml/CMakeLists.txt ggml/cmake ggml/include \
#       ggml/src/CMakeLists.txt ggml/src/*.* ggml/src/ggml-cpu ggml/src/ggml-cuda include src vendor tools/llama-bench
# and there, which takes some minutes on 16 cores (setsid lets it go on in the background while --part tests runs):
#   mkdir /tmp/llama && cd /tmp/llama && tar -xJf .../llama.tar.xz && echo 'add_subdirectory(llama-bench)' >tools/CMakeLists.txt
#   cmake -B bld -DCMAKE_BUILD_TYPE=Release -DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=90 -DLLAMA_OPENSSL=OFF \
#       -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF
#   cmake --build bld --target llama-bench -j 16
#   tools/gpu-check.sh --part timings --llama /tmp/llama/bld/bin
set -u

here=$(cd "$(dirname "$0")/.." && pwd)
pack=
run=
parts=
llama=
rounds=
seconds=570
smoke=

usage() {
    sed -n '2,/^set -u/p' "$0" | sed '$d; s/^# \{0,1\}//'
}
wrong() {
    echo "gpu-check: $1; see --help" >&2
    exit 2
}
number() { case $2 in '' | *[!0-9]* | 0*) wrong "$1 needs a number, not '$2'" ;; esac }

while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage && exit 0 ;;
    --pack) pack=$here/build/gpu-pack ;;
    --smoke) smoke=--smoke ;;
    --run | --part | --llama | --rounds | --seconds)
        [ $# -gt 1 ] || wrong "$1 needs a value"
        case $1 in
        --run) run=$2 ;;
        --part) parts="$parts $2" ;;
        --llama) llama=$2 ;;
        --rounds) number "$1" "$2" && rounds=$2 ;;
        --seconds) number "$1" "$2" && seconds=$2 ;;
        esac
        shift
        ;;
    *) wrong "unknown option $1" ;;
    esac
    shift
done
for p in $parts; do
    case $p in tests | sanitizers | timings) ;; *) wrong "there is no part $p" ;; esac
done
wants() { case " ${parts:-tests sanitizers timings} " in *" $1 "*) ;; *) false ;; esac }
rounds=${rounds:-$([ -n "$llama" ] && echo 2 || echo 1)}
[ -z "$llama" ] || [ -x "$llama/llama-bench" ] || wrong "there is no llama-bench in $llama"

# The programs find the libraries of the pack from where they are: in build/, build/gpu/, rebuilt/build/gpu/.
pack_ldflags="-Wl,--disable-new-dtags$(printf ",-rpath,'\$\$ORIGIN/%s'" ../lib ../../lib ../../../lib)"

# --- packing -----------------------------------------------------------------------------------------------------------

# Libraries that a bare machine may lack: all but those of the C library, the compiler and the driver.
foreign_libraries() {
    for f in "$@"; do ldd "$f"; done | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
        grep -v -E '/(libc|libm|libdl|librt|libpthread|libgcc_s|libstdc\+\+|libcuda|ld-linux[^/]*)\.so'
}

make_pack() {
    set -e
    cd "$here"
    local src=build/gpu-src programs f
    command -v git >/dev/null || { echo "gpu-check: --pack needs git" >&2; exit 1; }
    mkdir -p "$src"
    # a copy of the sources: the build for one architecture must not mix with that of the tree
    find "$src" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
    git ls-files -co --exclude-standard -z | while IFS= read -r -d '' f; do
        [ ! -e "$f" ] || printf '%s\0' "$f"
    done | tar -c --null -T - | tar -x -C "$src"
    NVCC_APPEND_FLAGS=--compress-mode=size LDFLAGS="$pack_ldflags" make -C "$src" --no-print-directory CUDA_ARCH=sm_90a gpu-programs
    rm -rf "$pack"
    mkdir -p "$pack/build/gpu" "$pack/lib" "$pack/include" "$pack/tools" "$pack/models"
    cp "$src"/build/gpu/test_* "$pack/build/gpu/"
    cp "$src/build/weft" "$src/build/weft-synth" "$src/build/weft-gpu-bench" "$pack/build/"
    programs=$(find "$pack/build" -type f)
    # shellcheck disable=SC2086 # one word for each program
    strip --strip-unneeded $programs
    # shellcheck disable=SC2046,SC2086
    cp $(foreign_libraries $programs) "$pack/lib/"
    # for building there: the headers, and the libraries under the names that the linker looks for
    for f in pcre2.h jansson.h jansson_config.h cmocka.h; do
        cp "$(printf '#include <%s>\n' "$f" | gcc -DPCRE2_CODE_UNIT_WIDTH=8 -include stdarg.h -include stddef.h \
            -include stdint.h -include setjmp.h -M -xc - | tr ' ' '\n' | grep "/$f\$")" "$pack/include/"
    done
    for f in pcre2-8 jansson cmocka; do cp "$pack"/lib/lib$f.so.* "$pack/lib/lib$f.so"; done
    tar -czf "$pack/src.tar.gz" -C "$src" --exclude=./build --exclude=./models .
    cp models/*.gguf "$pack/models/"
    cp tools/gpu-check.sh "$pack/tools/"
    { git describe --always --dirty && date -u +%F; } | tr '\n' ' ' >"$pack/VERSION"
    echo
    echo "$pack: $(du -sm "$pack" | cut -f1) MiB; on the GPU machine: $pack/tools/gpu-check.sh --run $pack"
}
if [ -n "$pack" ]; then
    make_pack
    exit 0
fi

# --- the programs ------------------------------------------------------------------------------------------------------

began=$SECONDS
work=$(mktemp -d "${TMPDIR:-/tmp}/weft-gpu-check.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
out=${OUT:-$work}
results=$out/results.txt
log=$out/log.txt
: >"$results"
: >"$log"

root=$here
[ -z "$run" ] || root=$(cd "$run" && pwd) || wrong "there is no folder $run"
# cuBLAS: where the loader looks, or beside CUDA, or in Python's packages.
find_cublas() {
    ldconfig -p 2>/dev/null | grep -q 'libcublas\.so\.1[23]' && return
    local site d f
    site=$(command -v python3 >/dev/null && python3 -c \
        'import site, sysconfig; print("\n".join(site.getsitepackages() + [site.getusersitepackages(), sysconfig.get_path("purelib")]))')
    for d in "${CUDA_HOME:-/usr/local/cuda}/lib64" /usr/local/cuda*/lib64 /usr/local/cuda*/targets/x86_64-linux/lib \
        $(printf '%s\n' "$site" | sed 's|.*|&/nvidia/cu13/lib &/nvidia/cublas/lib|'); do
        for f in "$d"/libcublas.so.1[23]; do
            [ -e "$f" ] || continue
            export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$d"
            return
        done
    done
    echo "cuBLAS was not found: long prompts will be slow"
}

build_here() {
    local from=$root jobs
    jobs=$(nproc)
    if [ -f "$root/src.tar.gz" ]; then
        echo "the programs of the pack do not start here: building them"
        from=$root/rebuilt
        mkdir -p "$from" && tar -xzf "$root/src.tar.gz" -C "$from" || return 1
        export CPATH="$root/include" LIBRARY_PATH="$root/lib" LDFLAGS="$pack_ldflags"
        set -- CUDA_ARCH=sm_90a
    fi
    make -C "$from" --no-print-directory "-j$jobs" "$@" gpu-programs >>"$log" 2>&1 || {
        tail -n 20 "$log"
        return 1
    }
    bin=$from/build
}

bin=$root/build
if [ -z "$run" ]; then
    build_here || { echo "gpu-check: the build failed" >&2; exit 1; }
elif ! "$bin/weft" --version >>"$log" 2>&1; then
    "$bin/weft" --version 2>&1 | head -n 3
    build_here || { echo "gpu-check: the build failed" >&2; exit 1; }
fi
find_cublas
[ ! -f "$root/VERSION" ] || echo "pack: $(cat "$root/VERSION")"
command -v nvidia-smi >/dev/null &&
    nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,memory.used --format=csv,noheader
"$bin/weft-gpu-bench" --smoke --part phases >"$work/first.txt" 2>&1
status=$?
if [ $status -ne 0 ]; then
    cat "$work/first.txt" >&2
    [ $status -eq 3 ] && echo "gpu-check: there is no GPU here; nothing was checked" >&2 && exit 3
    echo "gpu-check: the first kernels failed" >&2
    exit 1
fi
head -n 3 "$work/first.txt"

# --- running -----------------------------------------------------------------------------------------------------------

# one NAME LIMIT COMMAND...: runs it within that many seconds and writes a line about it.
one() {
    local name=$1 limit=$2 left=$((seconds - (SECONDS - began))) start=$SECONDS verdict=ok status
    shift 2
    local text=$work/${name//[^a-zA-Z0-9]/_}.txt
    if [ "$left" -lt 5 ]; then
        verdict=SKIP
        echo "no time was left" >"$text"
    else
        [ "$limit" -lt "$left" ] || limit=$left
        timeout -k 5 "$limit" "$@" >"$text" 2>&1 </dev/null
        status=$?
        case $status in
        0) ;;
        124 | 137) verdict=TIME ;;
        *) verdict=FAIL ;;
        esac
    fi
    local line
    line=$(printf '%-4s %-44s %4d s' $verdict "$name" $((SECONDS - start)))
    echo "$line" >>"$results"
    [ $verdict = ok ] || line+=$'\n'$(tail -n 15 "$text" | sed 's/^/     | /' | cut -c -160)
    echo "$line" # at once, as the next: others may be writing
    printf '=== %s: %s\n%s\n' "$name" $verdict "$(cat "$text")" >>"$log"
    [ $verdict = ok ]
}

capital() { # model, options...
    local said
    said=$("$bin/weft" run -m "$root/models/weft-demo-$1.gguf" --device cuda:0 -q -p 'The capital of France is' -n 12 --temp 0 "${@:2}") &&
        echo "$said" && case $said in *Paris*) ;; *) false ;; esac
}
export -f capital
export bin root

tests() {
    local t m
    for t in "$bin"/gpu/test_*; do
        case $t in *.d | *.o) continue ;; esac
        one "test $(basename "$t")" 120 "$t"
    done
    for m in qwen2 phi3; do
        one "demo $m" 30 bash -c 'capital "$@"' capital $m
        one "demo $m, deterministic" 30 bash -c 'capital "$@"' capital $m --deterministic
    done
    one "leak" 300 "$bin/weft-gpu-bench" $smoke --leak "$([ -n "$smoke" ] && echo 40 || echo 10000)" \
        "$root"/models/weft-demo-*.gguf
}

find_sanitizer() {
    local f
    command -v compute-sanitizer && return
    for f in /usr/local/cuda*/bin/compute-sanitizer /usr/local/cuda*/compute-sanitizer/compute-sanitizer \
        /opt/nvidia/*/*/compute-sanitizer /opt/nvidia/*/*/*/*/compute-sanitizer; do
        [ -x "$f" ] && echo "$f" && return
    done
    false
}

# The tools run side by side: each of their processes has a context of its own. A prompt of more than 16 tokens, so that
# tensor cores take part; initcheck only sees the deterministic way, since cuBLAS's kernels read what they then ignore.
sanitizers() {
    local tool t san four
    san=$(find_sanitizer) || { echo "skip sanitizers: there is no compute-sanitizer here" | tee -a "$results"; return; }
    local long='one two three four five six seven eight nine ten eleven twelve The capital of France is'
    export WEFT_TEST_QUICK=1
    for t in "$bin"/gpu/test_* weft; do
        case $t in *.d | *.o | */test_model | */test_platform) continue ;; esac
        four=
        for tool in memcheck racecheck initcheck synccheck; do
            set -- "$san" --tool $tool --error-exitcode 99 --print-limit 20
            if [ "$t" = weft ]; then
                [ $tool != memcheck ] || set -- "$@" --leak-check full
                set -- "$@" "$bin/weft" run -m "$root/models/weft-demo-qwen2.gguf" --device cuda:0 --temp 0 -n 6 -q -p "$long"
                [ $tool != initcheck ] || set -- "$@" --deterministic
            else
                set -- "$@" "$t"
            fi
            one "$tool $(basename "$t")" 150 "$@" &
            four="$four $!"
        done
        # shellcheck disable=SC2086 # one word for each process
        wait $four
    done
    unset WEFT_TEST_QUICK
}

# --- timings -----------------------------------------------------------------------------------------------------------

# file, preset, type, the depths of llama-bench (as deep as the context allows; see gpu_models.c)
models() {
    if [ -n "$smoke" ]; then
        echo "tiny-q8_0 tiny-qwen2 q8_0 0,10,30"
        echo "tiny-f32 tiny-phi3 f32 0,10,30"
        return
    fi
    echo "qwen2.5-0.5b-q4_k_m qwen2.5-0.5b q4_k_m 0,512,4096"
    echo "qwen2.5-0.5b-q8_0 qwen2.5-0.5b q8_0 0,512,4096"
    echo "qwen2.5-0.5b-q4_0 qwen2.5-0.5b q4_0 0,512,4096"
    echo "phi-3-mini-q4_k_m phi-3-mini q4_k_m 0,512,3840"
    echo "qwen2.5-7b-q4_k_m qwen2.5-7b q4_k_m 0,512,4096"
}

# llama-bench on a file: prompts with both sizes of micro-batches, then generation at the depths.
llama_bench() { # file, depths
    export GGML_CUDA_GRAPH_OPT=1
    "$llama/llama-bench" -m "$1" -ngl 99 -fa 1 -r 3 -o jsonl -b 2048 -ub 512,2048 -p 512,2048 -n 0 &&
        "$llama/llama-bench" -m "$1" -ngl 99 -fa 1 -r 3 -o jsonl -p 0 -n 128 -d "$2"
}
export -f llama_bench
export llama

# The values of the JSON lines of weft-gpu-bench and llama-bench, as a table.
summary() {
    awk -v llama="$([ -n "$llama" ] && echo 1)" '
        function field(key,    at) {
            if (!match($0, "\"" key "\": *\"?[^\",}]*")) return ""
            at = substr($0, RSTART, RLENGTH)
            sub("\"" key "\": *\"?", "", at)
            return at
        }
        function median(list,    v, n, i, j, x) {
            n = split(list, v, " ")
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && v[j] + 0 < v[j - 1] + 0; j--) { x = v[j]; v[j] = v[j - 1]; v[j - 1] = x }
            return n % 2 ? v[(n + 1) / 2] + 0 : (v[n / 2] + v[n / 2 + 1]) / 2
        }
        function file(path) { sub(".*/", "", path); sub("[.]gguf$", "", path); return path }
        FILENAME ~ /weft.jsonl$/ && field("section") ~ /^model:/ && field("column") ~ /^(prefill|decode)/ {
            m = substr(file(field("section")), 7)
            if (!(m in seen)) { seen[m] = 1; order[++n] = m }
            key = m SUBSEP field("column")
            if (field("name") == "1 at a time") one[key] = one[key] " " field("value")
            if (field("name") == "8 ahead") { eight[key] = eight[key] " " field("value"); part[key] = field("percent") }
        }
        FILENAME ~ /llama.jsonl$/ && field("avg_ts") != "" {
            m = file(field("model_filename"))
            deep = field("n_depth") + 0
            column = field("n_gen") > 0 ? "decode " (deep > 512 || (deep > 10 && deep < 512) ? 4096 : deep > 0 ? 512 : 0) \
                                        : "prefill " field("n_prompt")
            ub = field("n_gen") > 0 ? 0 : field("n_ubatch")
            other[m, column, ub] = other[m, column, ub] " " field("avg_ts")
        }
        END {
            printf "%-24s %-14s %12s %12s %8s", "model", "tok/s", "1 at a time", "8 ahead", "of limit"
            if (llama) printf " %12s %8s", "llama.cpp", "ratio"
            print ""
            for (i = 1; i <= n; i++) {
                split("prefill 512,prefill 2048,decode 0,decode 512,decode 4096", columns, ",")
                for (c = 1; c <= 5; c++) {
                    key = order[i] SUBSEP columns[c]
                    if (!(key in one) && !(key in eight)) continue
                    w = median(eight[key])
                    printf "%-24s %-14s %12.1f %12.1f %8s", order[i], columns[c], median(one[key]), w, \
                        (part[key] == "" ? "-" : sprintf("%.0f %%", part[key]))
                    best = 0
                    split("0 512 2048", ubs, " ")
                    for (u = 1; u <= 3; u++)
                        if ((order[i], columns[c], ubs[u]) in other && median(other[order[i], columns[c], ubs[u]]) > best)
                            best = median(other[order[i], columns[c], ubs[u]])
                    if (llama) printf " %12.1f %8s", best, (best > 0 ? sprintf("%.2f", w / best) : "-")
                    print ""
                }
            }
        }' "$out/weft.jsonl" "$out/llama.jsonl"
}

timings() {
    local file preset type depths r rate tail_of
    : >"$out/weft.jsonl"
    : >"$out/llama.jsonl"
    while read -r file preset type depths; do
        "$bin/weft-synth" --like "$preset" --type "$type" -o "$work/$file.gguf" >>"$log" 2>&1 &
    done < <(models)
    wait
    local parts_of=(--part memory --part phases --part matvec --part layers --part dequant --part attend --part tiled --part small)
    one "timings of kernels" 150 "$bin/weft-gpu-bench" $smoke --json "$work/kernels.jsonl" "${parts_of[@]}"
    cat "$work/timings_of_kernels.txt"
    cat "$work/kernels.jsonl" >>"$out/weft.jsonl"
    rate=$(sed -n 's/.*"section":"memory".*"value":\([0-9.]*\).*/\1/p' "$work/kernels.jsonl" | sort -g | tail -n 1)
    [ -n "$smoke" ] && rate=1
    for ((r = 1; r <= rounds; r++)); do
        while read -r file preset type depths; do
            one "weft $file, round $r" 150 "$bin/weft-gpu-bench" $smoke --part models --read-rate "${rate:-4000}" \
                --json "$work/model.jsonl" "$work/$file.gguf"
            tail_of=$work/weft_${file//[^a-zA-Z0-9]/_}__round_$r.txt
            [ "$r" -gt 1 ] || sed -n '/^model:/,$p' "$tail_of"
            cat "$work/model.jsonl" >>"$out/weft.jsonl"
            rm -f "$work/model.jsonl"
            [ -n "$llama" ] || continue
            one "llama $file, round $r" 150 bash -c 'llama_bench "$@"' llama "$work/$file.gguf" "$depths"
            grep '^{' "$work/llama_${file//[^a-zA-Z0-9]/_}__round_$r.txt" >>"$out/llama.jsonl"
        done < <(models)
    done
    summary >"$work/summary.txt"
}

wants tests && tests
wants sanitizers && sanitizers
wants timings && timings

echo
if [ -f "$work/summary.txt" ]; then tee -a "$results" <"$work/summary.txt"; fi
passed=$(grep -c '^ok ' "$results")
failed=$(grep -c -E '^(FAIL|TIME|SKIP) ' "$results")
grep -E '^(FAIL|TIME|SKIP|skip) ' "$results"
echo "gpu-check: $passed passed, $failed not, in $((SECONDS - began)) s"
[ "$failed" -eq 0 ]
