#!/bin/sh
# Does what a packager does: makes the tarball, builds it in another folder, where there is no git, installs into a prefix
# and into DESTDIR, compiles programs against the result through pkg-config, reads the man page, and uninstalls. CUDA's
# kernels are left out, and nothing is optimised, because files and flags are tested here. usage: tests/install/install.sh
set -u
cd "$(dirname "$0")/../.." || exit 1
if ! git rev-parse --git-dir >/dev/null 2>&1; then
    echo 'skip install: the tarball is made in a git checkout'
    exit 0
fi
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT
unset MAKEFLAGS MAKELEVEL MFLAGS CFLAGS CPPFLAGS LDFLAGS WERROR SAN BUILD OPT
passed=0 failed=0
check() { # name, command...
    name=$1
    shift
    if "$@" >"$T/log" 2>&1; then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "FAIL $name: $*"
        tail -n 20 "$T/log"
    fi
}
has() { command -v "$1" >/dev/null 2>&1 || { echo "skip $2: there is no $1"; return 1; }; }
version=$(sed -n 's/^.define WEFT_VERSION "\(.*\)"/\1/p' include/weft.h)
soname=libweft.so.$(sed -n 's/^.define WEFT_ABI_VERSION \([0-9]*\)u/\1/p' include/weft.h)

# Changes that are not committed yet are tested, too.
commit=$(git stash create)
commit=${commit:-HEAD}
check 'make dist' make -s "BUILD=$T/a" "DIST_COMMIT=$commit" dist
(umask 077 && TZ=Asia/Tokyo make -s "BUILD=$T/b" "DIST_COMMIT=$commit" dist >/dev/null)
check 'the same commit gives the same tarball' cmp "$T/a/weft-$version.tar.gz" "$T/b/weft-$version.tar.gz"
check 'it unpacks into a folder of its name' tar -xzf "$T/a/weft-$version.tar.gz" -C "$T"
tree=$T/weft-$version
in_tree() { make -s -j2 -C "$tree" NVCC= OPT=-O0 "$@"; }
check 'it builds without git, and at -O0 without a warning' in_tree WERROR=1 all

# A variable that nobody uses stands for a compiler that warns of something.
echo 'void later_warning(void); void later_warning(void) { int unused; }' >>"$tree/src/base/hash_extra.c"
check 'a warning is no error in a tarball' in_tree build/obj/src/base/hash_extra.o
rm "$tree/build/obj/src/base/hash_extra.o"
check 'unless WERROR=1 says so' sh -c "! make -s -C '$tree' NVCC= WERROR=1 build/obj/src/base/hash_extra.o 2>'$T/warned'"
check 'and it is that warning' grep -q 'unused.*Werror' "$T/warned"
rm "$tree/src/base/hash_extra.c"

check 'a test program builds there' in_tree build/tests/base/test_file
check 'and passes' sh -c "cd '$tree' && build/tests/base/test_file"
check 'the rules of the house hold there' sh -c "cd '$tree' && sh tests/house.sh"

files() { (cd "$1" && find . -type f -o -type l | LC_ALL=C sort); }
LC_ALL=C sort >"$T/expected" <<END
./bin/weft
./include/weft.h
./lib/libweft.a
./lib/libweft.so
./lib/libweft.so.$version
./lib/$soname
./lib/pkgconfig/weft.pc
./share/bash-completion/completions/weft
./share/man/man1/weft.1
./share/zsh/site-functions/_weft
END
prefix=$T/prefix
check 'make install into a prefix' in_tree "PREFIX=$prefix" install
files "$prefix" >"$T/files"
check 'these files, and no others' diff "$T/expected" "$T/files"
check 'the names of the library are links to the file' test "$(readlink -f "$prefix/lib/libweft.so")" = \
    "$(readlink -f "$prefix/lib/libweft.so.$version")"
readelf -d "$prefix/lib/libweft.so" >"$T/dynamic"
check "the soname is $soname" grep -q "SONAME.*\[$soname\]" "$T/dynamic"
check 'and is a link, too' test -L "$prefix/lib/$soname"

root=$T/root
distribution() { in_tree PREFIX=/usr LIBDIR=/usr/lib/of-this-machine "DESTDIR=$root" "$1"; }
check 'make install into DESTDIR' distribution install
sed -e 's|^./lib/|./usr/lib/of-this-machine/|;t' -e 's|^./|./usr/|' "$T/expected" | LC_ALL=C sort >"$T/expected.root"
files "$root" >"$T/files"
check 'the same files, where a distribution wants them' diff "$T/expected.root" "$T/files"
check 'weft.pc says where, without DESTDIR' grep -qxF "libdir=\${prefix}/lib/of-this-machine" \
    "$root/usr/lib/of-this-machine/pkgconfig/weft.pc"
check 'no text names the folder it was built in' sh -c "! grep -rIl '$T' '$root'"

run_programs() { # the kind of library, what stands in front of a program's name
    what=$1
    shift
    for model in models/weft-demo-qwen2.gguf models/weft-demo-phi3.gguf; do
        check "$what: the first runs, $model" sh -c "$* '$T/1' $model 'The capital of France is' | grep Paris"
        check "$what: the second runs, $model" sh -c "$* '$T/2' $model | grep Tokyo"
    done
}
if has pkg-config 'programs through weft.pc'; then
    PKG_CONFIG_PATH=$prefix/lib/pkgconfig
    export PKG_CONFIG_PATH
    check 'pkg-config knows the version' test "$(pkg-config --modversion weft)" = "$version"
    awk -v dir="$T" '/^```c$/ { n++; on = 1; next } /^```$/ { on = 0 } on { print > (dir "/" n ".c") }' README.md
    compile() { # program, how weft.pc is asked, flags of the compiler
        program=$1 how=$2
        shift 2
        # shellcheck disable=SC2046,SC2086
        "${CC:-cc}" -std=c11 -Wall -Wextra -Werror "$@" $(pkg-config --cflags weft) -o "$T/$program" "$T/$program.c" \
            $(pkg-config $how --libs weft)
    }
    for program in 1 2; do check "shared: README program $program compiles" compile $program ''; done
    readelf -d "$T/1" >"$T/dynamic"
    check "shared: it wants $soname" grep -q "NEEDED.*\[$soname\]" "$T/dynamic"
    check 'shared: and nothing else of it' sh -c "! grep -q 'NEEDED.*pcre' '$T/dynamic'"
    run_programs shared "LD_LIBRARY_PATH=$prefix/lib"
    for program in 1 2; do check "static: README program $program compiles" compile $program --static -static; done
    check 'static: it wants no library' sh -c "! readelf -d '$T/1' | grep NEEDED"
    run_programs static
    if has g++ 'a C++ program through weft.pc'; then
        # shellcheck disable=SC2046
        check 'C++: a program compiles' g++ -std=c++17 -Wall -Wextra -pedantic -Werror -o "$T/cxx" tests/api/cxx_run.cpp \
            $(pkg-config --cflags --libs weft)
        check 'C++: it runs' sh -c "LD_LIBRARY_PATH=$prefix/lib '$T/cxx' models/weft-demo-qwen2.gguf | grep Paris"
    fi
fi
check 'the installed program runs' sh -c \
    "'$prefix/bin/weft' run -q -m models/weft-demo-qwen2.gguf -p 'The capital of France is' -n 8 --temp 0 | grep Paris"

page=$prefix/share/man/man1/weft.1
if has groff 'the man page without warnings'; then
    groff -man -Tutf8 -ww -rLL=100n "$page" >"$T/page" 2>"$T/warnings"
    check 'groff has no warning' sh -c "cat '$T/warnings'; ! [ -s '$T/warnings' ]"
fi
if has man 'the man page'; then
    MANWIDTH=100 LC_ALL=C.UTF-8 man --warnings=w -l "$page" >"$T/page" 2>"$T/warnings"
    check 'man has no warning' sh -c "cat '$T/warnings'; ! [ -s '$T/warnings' ]"
    check 'man shows its sections and options' sh -c \
        "for t in SYNOPSIS 'WEFT run' '--cache-type-k TYPE' 'EXIT STATUS'; do grep -qF -e \"\$t\" '$T/page' || exit 1; done"
fi
has lexgrog 'apropos' && check 'apropos finds it' sh -c "lexgrog '$page' | grep -F 'weft - run GGUF language models'"
check 'bash reads its completion' bash -c "source '$prefix/share/bash-completion/completions/weft' && complete -p weft"

check 'make uninstall' in_tree "PREFIX=$prefix" uninstall
check 'nothing is left' test -z "$(files "$prefix")"
check 'make uninstall from DESTDIR' distribution uninstall
check 'nothing is left there' test -z "$(files "$root")"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
