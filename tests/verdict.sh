# Sourced by scripts that count what is right: $T is a folder of their own, gone when they end.

passed=0
failed=0
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT

verdict() { # description, 0 if right
    if [ "$2" = 0 ]; then
        echo "ok $1"
        passed=$((passed + 1))
    else
        echo "FAIL $1"
        [ ! -e "$T/err" ] || cat "$T/err"
        failed=$((failed + 1))
    fi
}

# The last line of a script, and its exit code.
finish() {
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
}
