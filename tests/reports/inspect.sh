# weft inspect shows every value as it is, in text and in JSON.

SYNTH=$(dirname "$WEFT")/weft-synth
"$SYNTH" --like tiny-qwen2 -o "$T/odd.gguf" --key 'x.big=u64:18446744073709551615' --key 'x.low=i64:-9223372036854775808' \
    --key 'x.nan=f32:nan' --key 'x.inf=f64:-inf' --key 'x.half=f32:0.5' --key 'x.yes=bool:true' --key 'x.no=bool:false' \
    --key 'x.list=i32[]:1,-2,3' --key "x.long=u16[]:$(seq -s, 1 40)" --key 'x.text=str:tab	 "quotes" \ é' >"$T/out" 2>"$T/err"
[ $? -eq 0 ] && ok 'a file of odd values' || bad 'a file of odd values' 'not written'
check 'odd values as text' 0 '' inspect "$T/odd.gguf"
holds 'the largest number' 18446744073709551615 "$T/out"
holds 'the smallest number' -9223372036854775808 "$T/out"
holds 'keys that nobody knows are named' 'metadata that Weft does not know and does not obey:' "$T/out"
check 'only the metadata' 0 '' inspect "$T/odd.gguf" --keys
if grep -q '^tensors' "$T/out"; then bad 'no tensors among the metadata' 'there are'; else ok 'no tensors among the metadata'; fi
check 'only the tensors' 0 '' inspect "$T/odd.gguf" --tensors
if grep -q 'x\.big' "$T/out"; then bad 'no metadata among the tensors' 'there is'; else ok 'no metadata among the tensors'; fi
# judged NAME EXPRESSION: the Python expression must be true; m is the metadata of the JSON in $T/out
judged() {
    if ! command -v python3 >/dev/null 2>&1; then
        skip "$1" 'no python3'
    elif python3 -c 'import json, sys
j = json.load(open(sys.argv[1]))
m = {k: (v["type"], v["value"]) for k, v in j["metadata"].items()}
assert eval(sys.argv[2]), {k: v for k, v in m.items() if k.startswith("x.")}' "$T/out" "$2" 2>"$T/err"; then
        ok "$1"
    else
        bad "$1" "$(tail -n 1 "$T/err" | cut -c1-300)"
    fi
}
check 'odd values as JSON' 0 '' inspect "$T/odd.gguf" --json
judged 'a number beyond 63 bits is a text' 'm["x.big"] == ("u64", "18446744073709551615")'
judged 'the smallest number is one' 'm["x.low"] == ("i64", -2 ** 63)'
judged 'NaN and infinity are texts' 'm["x.nan"] == ("f32", "nan") and m["x.inf"] == ("f64", "-inf")'
judged 'a float, two booleans' 'm["x.half"][1] == 0.5 and m["x.yes"][1] is True and m["x.no"][1] is False'
judged 'a text' 'm["x.text"] == ("str", "tab\t \"quotes\" \\ é")'
judged 'a short list' 'm["x.list"][1] == {"n": 3, "first": [1, -2, 3]}'
judged 'the beginning of a long one' 'm["x.long"][1]["n"] == 40 and m["x.long"][1]["first"] == list(range(1, 1 + len(m["x.long"][1]["first"]))) and len(m["x.long"][1]["first"]) < 40'
judged 'all that nobody knows' '{k for k in m if k.startswith("x.")} <= set(j["unknown_keys"])'
judged 'sums of the types' 'sum(t["bytes"] for t in j["types"].values()) == sum(t["bytes"] for t in j["tensors"]) and j["check"]["ok"] is True'
check 'odd values as JSON in full' 0 '' inspect "$T/odd.gguf" --json --full
judged 'a long list in full' 'm["x.long"][1] == list(range(1, 41))'
check 'no check' 0 '' inspect "$T/odd.gguf" --json --no-check
judged 'then there is no verdict' '"check" not in j'
check 'two files' 2 'give one FILE' inspect "$T/odd.gguf" "$T/odd.gguf"
check 'a file twice' 2 'give one FILE' inspect "$T/odd.gguf" -m "$T/odd.gguf"
"$WEFT" inspect "$T/odd.gguf" --json >/dev/full 2>"$T/err"
[ $? -eq 1 ] && holds 'JSON on a full disk' 'No space' "$T/err" || bad 'JSON on a full disk' 'exit code is not 1'
"$WEFT" inspect "$T/odd.gguf" >/dev/full 2>"$T/err"
[ $? -eq 1 ] && holds 'text on a full disk' 'No space' "$T/err" || bad 'text on a full disk' 'exit code is not 1'
