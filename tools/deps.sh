#!/bin/sh
# Makes sure that everything is installed that the build and the tests need: by apt-get if that is possible without asking
# (as root, or with sudo without a password), otherwise by printing the command. With "parity", "gpu-model", "serve", "real",
# "coverage" or "ci", the packages for these are included.
set -eu

missing=""
has_header() { # true if the compiler finds the header
    printf '#include <stddef.h>\n#include <stdint.h>\n#include <stdarg.h>\n#include <setjmp.h>\n%s\n#include <%s>\n' "$3" "$1" |
        ${CC:-gcc} -E -x c - >/dev/null 2>&1 || missing="$missing $2"
}
has_program() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }

has_program "${CC:-gcc}" gcc
has_program ld binutils
has_header stdio.h libc6-dev ""
has_header pcre2.h libpcre2-dev "#define PCRE2_CODE_UNIT_WIDTH 8"
has_header jansson.h libjansson-dev ""
has_header nettle/sha2.h nettle-dev ""
has_header event2/event.h libevent-dev ""
has_header cmocka.h libcmocka-dev ""
has_header histedit.h libedit-dev ""
has_header simde/simde-common.h libsimde-dev ""
if [ "${1:-}" = parity ]; then
    has_program python3 "python3 python3-venv"
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
    has_program g++ g++
fi
if [ "${1:-}" = gpu-model ] || [ "${1:-}" = serve ]; then
    has_program python3 "python3 python3-venv"
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
fi
# Either pip or venv is enough to get a package.
if [ "${1:-}" = real ]; then
    has_program python3 "python3 python3-venv"
    python3 -c 'import pip' 2>/dev/null || python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
fi
[ "${1:-}" = coverage ] && has_program gcovr gcovr
# A few tests are skipped where these are not installed; CI has them.
if [ "${1:-}" = ci ]; then
    has_program clang clang
    has_program g++ g++
    has_program pkg-config pkg-config
    has_program man man-db
    has_program groff groff-base
    has_program zsh zsh
fi
[ -z "$missing" ] && exit 0

install="apt-get install -y --no-install-recommends$missing"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "missing:$missing (names of Debian packages); install them with your package manager" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    sudo=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    sudo="sudo"
else
    echo "missing packages; run:  sudo $install" >&2
    exit 1
fi
echo "installing:$missing"
$sudo env DEBIAN_FRONTEND=noninteractive sh -c "apt-get update -qq && $install -qq </dev/null >/dev/null"
