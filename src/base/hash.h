/* A 64-bit hash that reads eight bytes at a time: FNV-1a's step over words, with a shift that
 * brings the high bits down. A step can be undone, so two texts of the same length that differ in
 * one word never have the same hash. */
#ifndef WEFT_HASH_H
#define WEFT_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HASH64_START UINT64_C(0xcbf29ce484222325)

static inline uint64_t hash64_word(uint64_t h, uint64_t word)
{
    h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 32;
}

/* Goes on from h with data[n] and with n itself. */
static inline uint64_t hash64(uint64_t h, const void *data, size_t n)
{
    const char *at = data;
    uint64_t word;
    for (size_t i = 0; i < n / sizeof word; i++, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        h = hash64_word(h, word);
    }
    word = 0;
    if (n % sizeof word > 0) {
        memcpy(&word, at, n % sizeof word);
    }
    return hash64_word(hash64_word(h, word), n);
}

#endif
