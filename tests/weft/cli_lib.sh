# For the black-box tests: runs weft, judges its output, and counts. Scripts source this; $WEFT is the program.

LC_ALL=C
export LC_ALL
# The texts that are compared here are those of the CPU. GPUs are hidden, so that a build with CUDA finds none.
CUDA_VISIBLE_DEVICES=
export CUDA_VISIBLE_DEVICES
. "$(dirname "$0")/../verdict.sh"
HOME=$T
export HOME

ok() {
    passed=$((passed + 1))
    echo "ok $1"
}

bad() {
    failed=$((failed + 1))
    echo "FAIL $1: $2"
    sed 's/^/    /' "$T/err" | head -n 5
}

skip() { echo "skip $1: $2"; }

# Runs weft with the arguments; standard output and error to files, the exit code to $code.
weft() {
    timeout 120 "$WEFT" "$@" >"$T/out" 2>"$T/err" </dev/null
    code=$?
}

# check NAME EXPECTED_CODE TEXT_IN_STDERR ARGUMENT...
check() {
    name=$1 want=$2 text=$3
    shift 3
    weft "$@"
    if [ "$code" -ne "$want" ]; then
        bad "$name" "exit code $code, expected $want"
    elif [ -n "$text" ] && ! grep -qF -e "$text" "$T/err"; then
        bad "$name" "standard error does not say '$text'"
    elif [ "$want" -eq 2 ] && [ -s "$T/out" ]; then
        bad "$name" "a usage error wrote to standard output"
    else
        ok "$name"
    fi
}

# same NAME FILE FILE
same() {
    if cmp -s "$2" "$3"; then
        ok "$1"
    else
        bad "$1" "$(cmp "$2" "$3" 2>&1)"
    fi
}

# holds NAME TEXT FILE
holds() {
    if grep -qF -e "$2" "$3"; then
        ok "$1"
    else
        bad "$1" "'$2' not in: $(head -c 200 "$3")"
    fi
}

# json NAME: $T/out must hold valid JSON
json() {
    if ! command -v python3 >/dev/null 2>&1; then
        skip "$1" 'no python3'
    elif python3 -m json.tool "$T/out" >/dev/null 2>"$T/err"; then
        ok "$1"
    else
        bad "$1" 'not valid JSON'
    fi
}

[ -x "$WEFT" ] || {
    echo "FAIL no program $WEFT"
    echo '0 passed, 1 failed'
    exit 1
}
