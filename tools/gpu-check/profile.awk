# Sums ncu's table (--csv --page raw; the second line of the table holds the units) by kernel: -v model=NAME.
function split_csv(line, out,    n, rest) {
    n = 0
    rest = line
    while (rest != "") {
        if (match(rest, /^"[^"]*"/)) { out[++n] = substr(rest, 2, RLENGTH - 2); rest = substr(rest, RLENGTH + 2) }
        else { match(rest, /^[^,]*/); out[++n] = substr(rest, 1, RLENGTH); rest = substr(rest, RLENGTH + 2) }
    }
    return n
}
function plain(text) { gsub(",", "", text); return text + 0 }
/^"ID"/ { n = split_csv($0, head); for (i = 1; i <= n; i++) at[head[i]] = i; units = 1; next }
units == 1 { split_csv($0, unit); units = 2; next }
units == 2 && /^"[0-9]+"/ {
    split_csv($0, v)
    name = v[at["Kernel Name"]]
    sub(/\([^()]*\)$/, "", name)
    sub(/^void /, "", name)
    if (!(name in count)) order[++kinds] = name
    u = unit[at["gpu__time_duration.sum"]]
    us = plain(v[at["gpu__time_duration.sum"]]) * (u == "ns" || u == "nsecond" ? 1e-3 : u == "ms" || u == "msecond" ? 1e3 : 1)
    count[name]++
    time[name] += us
    all += us
    dram[name] += us * plain(v[at["dram__throughput.avg.pct_of_peak_sustained_elapsed"]])
    warps[name] += us * plain(v[at["sm__warps_active.avg.pct_of_peak_sustained_active"]])
}
END {
    if (all == 0) { print "profile of " model ": no kernels in ncu's output"; exit }
    printf "%-34s %8s %10s %7s %12s %8s\n", "one step of " model, "launches", "us", "of all", "DRAM of peak", "warps"
    for (k = 1; k <= kinds; k++) {
        best = ""
        for (name in time) if (best == "" || time[name] > time[best]) best = name
        printf "%-34s %8d %10.1f %5.1f %% %10.1f %% %6.1f %%\n", substr(best, 1, 34), count[best], time[best], \
            100 * time[best] / all, dram[best] / time[best], warps[best] / time[best]
        delete time[best]
    }
    printf "%-34s %8s %10.1f\n", "all, one after another", "", all
}
