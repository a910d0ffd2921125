# Schemas of little text that once took much time or memory. A second (two, for slow machines) and 256 MiB besides the
# program itself must be enough for each of them.

# bounded NAME CODE TEXT_IN_STDERR SCHEMA
bounded() {
    (ulimit -t 2 -v 600000 2>/dev/null; timeout 20 "$WEFT" run -m "$BPE" --device cpu -t 1 -p x -n 1 -q --json-schema "$4" >"$T/out" 2>"$T/err" </dev/null)
    code=$?
    if [ $code -ne "$2" ]; then
        bad "$1" "exit code $code, expected $2"
    elif [ -n "$3" ] && ! grep -qF -e "$3" "$T/err"; then
        bad "$1" "standard error does not say '$3'"
    else
        ok "$1"
    fi
}
case " ${SAN:-} " in *sanitize*) ulimit() { :; } ;; esac # sanitizers reserve terabytes of addresses

A=$IN/attacks
bounded 'a type twice, 18 levels' 0 '' "$A/schema-types-18.json"
bounded 'a type twice, 40 levels' 0 '' "$A/schema-types-40.json"
bounded 'allOf of one $ref, 18 levels' 0 '' "$A/schema-allof-18.json"
bounded 'allOf of one $ref, 40 levels' 0 '' "$A/schema-allof-40.json"
bounded 'prefixItems, deep' 2 'more than' "$A/schema-prefix-deep.json"
# nest N BEGIN END: writes a schema to $T/s.json: BEGIN N times, the type null, END N times
nest() {
    awk -v n="$1" -v b="$2" -v e="$3" 'BEGIN { for (i = 0; i < n; i++) printf "%s", b; printf "{\"type\":\"null\"}"
        for (i = 0; i < n; i++) printf "%s", e }' >"$T/s.json"
}
nest 60 '{"type":["array","string","array","null","array"],"items":' '}'
bounded 'an array three times, 60 levels' 0 '' "$T/s.json"
nest 40 '{"type":["array","object"],"items":{"type":"null"},"properties":{"a":' '}}'
bounded 'arrays and objects, 40 levels' 0 '' "$T/s.json"
awk 'BEGIN { printf "{\"type\":\"object\",\"properties\":{"; for (i = 0; i < 400; i++) printf "%s\"p%d\":{\"allOf\":[{\"$ref\":\"#/$defs/big\"}]}", i ? "," : "", i
    printf "},\"$defs\":{\"big\":{\"type\":\"object\",\"properties\":{\"q\":{\"type\":\"null\",\"examples\":[0"
    for (i = 0; i < 200000; i++) printf ",0"; printf "]}}}}}" }' >"$T/s.json"
bounded 'allOf of a large remark, 400 times' 0 '' "$T/s.json"
required() {
    awk -v n="$1" 'BEGIN { printf "{\"type\":\"object\",\"required\":[\"k\""; for (i = 0; i < n; i++) printf ",\"k%d\"", i; printf "]}" }' >"$T/s.json"
}
required 2000
bounded 'required, 2,000 names' 0 '' "$T/s.json"
required 90000
bounded 'required, 90,000 names' 2 'at most' "$T/s.json"

bounded '$ref to a word of an array' 2 'is not supported' "$IN/ref-junk-index.json"
for i in 1x 01x x -1 '' +1 '%31'; do
    printf '{"anyOf":[{"type":"null"},{"type":"array","items":{"$ref":"#/anyOf/%s"}}]}' "$i" >"$T/s.json"
    bounded "\$ref to item '$i' of an array" 2 '' "$T/s.json"
done
printf '{"anyOf":[{"type":"null"},{"type":"array","items":{"$ref":"#/anyOf/0"}}]}' >"$T/s.json"
bounded '$ref to item 0 of an array' 0 '' "$T/s.json"

# A message about a mistake uses the words of the schema.
bounded 'a pattern {2,1}' 2 'smaller number comes last' "$A/schema-pattern-min-max.json"
bounded 'a pattern {1,2,3}' 2 'three numbers' "$A/schema-pattern-repeat.json"
bounded 'a schema that is itself' 2 'leads back to the schema itself' "$A/schema-self-ref.json"
printf '{"type":"string","pattern":"^a{3,2}b$"}' >"$T/s.json"
bounded 'another' 2 'smaller number comes last' "$T/s.json"
printf '{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}' >"$T/s.json"
bounded 'two that are each other' 2 'leads back to the schema itself' "$T/s.json"
printf '{"type":"string","pattern":"^a{2,}b{0,3}$"}' >"$T/s.json"
bounded 'sound repetitions' 0 '' "$T/s.json"
printf '{"type":"string","pattern":"^a{2}b{1,3}$"}' >"$T/s.json"
bounded 'a repetition before another' 0 '' "$T/s.json"

# A nested schema is followed on a small stack, or refused.
nested() {
    (ulimit -s 512 2>/dev/null; bounded "$@" "$(cat "$T/s.json")"; echo "$passed $failed" >"$T/counts")
    read -r passed failed <"$T/counts"
}
# deep N BEGIN INSIDE END: prints BEGIN N times, INSIDE once, END N times
deep() {
    awk -v n="$1" -v b="$2" -v i="$3" -v e="$4" 'BEGIN { for (k = 0; k < n; k++) printf "%s", b; printf "%s", i
        for (k = 0; k < n; k++) printf "%s", e }'
}
{ printf '{"const":'; deep 500 '[' 1 ']'; printf '}'; } >"$T/s.json"
nested 'a constant, 500 deep' 0 ''
{ printf '{"const":'; deep 2000 '[' 1 ']'; printf '}'; } >"$T/s.json"
nested 'a constant, 2,000 deep' 2 'line 1, column 521: brackets nested more than 512 deep'
{ printf '{"enum":[0,\n'; deep 2000 '{"a":' 1 '}'; printf ']}'; } >"$T/s.json"
nested 'an enum, 2,000 deep' 2 'line 2, column 2551: brackets nested more than 512 deep'
deep 2000 '{"properties":{"a":' '{}' '}}' >"$T/s.json"
nested 'objects, 2,000 deep' 2 'nested more than'
deep 600 '{"allOf":[' '{"type":"object"}' ']}' >"$T/s.json"
nested 'allOf, 600 deep' 2 'nested more than'
deep 190 '{"type":"array","items":' '{"type":"null"}' '}' >"$T/s.json"
nested 'arrays, 190 deep' 0 ''
printf '{"const":"' >"$T/s.json" && deep 3000 '[{\\"' '' '' >>"$T/s.json" && printf '"}' >>"$T/s.json"
nested 'brackets in a text' 0 ''
