# Makes one table of the JSON lines of weft-gpu-bench (weft.jsonl) and llama-bench (llama.jsonl); -v llama=1 adds
# llama.cpp's columns.
function field(key,    at) {
    if (!match($0, "\"" key "\": *(\"[^\"]*\"|[^\",}]*)")) return ""
    at = substr($0, RSTART, RLENGTH)
    sub("\"" key "\": *", "", at)
    gsub("\"", "", at)
    return at
}
function file(path) { sub(".*/", "", path); sub("[.]gguf$", "", path); return path }
function number(value) { return value == "" ? "-" : sprintf("%.1f", value) }

FILENAME ~ /weft.jsonl$/ && field("section") ~ /^model:/ {
    m = file(substr(field("section"), 7))
    if (!(m in seen)) { seen[m] = 1; order[++n] = m }
    key = m SUBSEP (field("name") == "load" ? "load, " : "") field("column")
    known[key] = 1
    if (field("name") == "1 at a time") one[key] = field("value")
    if (field("name") == "8 ahead") { eight[key] = field("value"); part[key] = field("percent") }
    if (field("name") == "8 ahead, deterministic") exact[key] = field("value")
    if (field("name") == "load") one[key] = field("value")
}
# The best of llama-bench's sizes of micro-batches is taken. Its deepest depth stands beside ours.
FILENAME ~ /llama.jsonl$/ && field("avg_ts") != "" {
    m = file(field("model_filename"))
    deep = field("n_depth") + 0
    column = field("n_gen") > 0 ? "decode " (deep > 512 || (deep > 10 && deep < 512) ? 4096 : deep > 0 ? 512 : 0) \
                                : "prefill " field("n_prompt")
    if (field("avg_ts") > other[m, column] + 0) other[m, column] = field("avg_ts")
}
END {
    printf "%-22s %-17s %12s %12s %14s %9s", "model", "tok/s", "1 at a time", "8 ahead", "deterministic", "of limit"
    if (llama) printf " %12s %6s", "llama.cpp", "ratio"
    print ""
    n_columns = split("prefill 512,prefill 2048,decode 0,decode 512,decode 4096,8 x decode 512,load- GB/s,load- upload- ms", columns, ",")
    for (i = 1; i <= n; i++) {
        for (c = 1; c <= n_columns; c++) {
            column = columns[c]
            gsub("-", ",", column)
            key = order[i] SUBSEP column
            if (!(key in known)) continue
            printf "%-22s %-17s %12s %12s %14s %9s", order[i], column, number(one[key]), number(eight[key]), number(exact[key]), \
                (part[key] == "" ? "-" : sprintf("%.0f %%", part[key]))
            if (llama) printf " %12s %6s", number(other[key]), (other[key] > 0 && eight[key] > 0 ? sprintf("%.2f", eight[key] / other[key]) : "-")
            print ""
        }
    }
}
