# For scripts that count their results: $T is a folder of the script, which is removed when the script ends. Scripts source
# this.

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
