# Prints the clocks of the multiprocessors and the power while the GPU was working, from the lines of nvidia-smi: time, MHz,
# MHz of memory, W, degrees, per cent of use.
$6 + 0 > 20 {
    n++
    mhz[n] = $2 + 0
    if ($4 + 0 > most_power) most_power = $4 + 0
    if ($5 + 0 > most_heat) most_heat = $5 + 0
    power += $4
}
END {
    if (n == 0) { print "clocks: the GPU was never seen at work"; exit }
    for (i = 2; i <= n; i++) {
        x = mhz[i]
        for (j = i; j > 1 && mhz[j - 1] > x; j--) mhz[j] = mhz[j - 1]
        mhz[j] = x
    }
    printf "clocks at work: %d MHz in the middle, %d to %d; %.0f W on average, %.0f at most; %d degrees; seen %d times\n", \
        mhz[int((n + 1) / 2)], mhz[1], mhz[n], power / n, most_power, most_heat, n
}
