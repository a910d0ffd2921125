/* Two hashes. hash64() is the same everywhere and always; checksums and files use it. hash_bytes()
 * and hash_number() begin with a seed that is drawn for each table, so that nobody who writes names
 * into a file can know which of them will share a slot. */
#ifndef WEFT_HASH_H
#define WEFT_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HASH64_START UINT64_C(0xcbf29ce484222325)

/* The step of FNV-1a, over words, with a shift that brings the high bits down. A step can be
 * undone, so two texts of the same length that differ in one word never have the same hash. */
static inline uint64_t hash64_word(uint64_t h, uint64_t word)
{
    h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 32;
}

/* Continues from h with data[n] and with n itself. */
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

struct hash_seed {
    uint64_t start, factor; /* factor is odd */
};

/* Draws a new seed from the system's random numbers or, if the system gives none, from the time and
 * from addresses of memory. Nothing that the library returns may depend on the seed. */
struct hash_seed hash_seed_draw(void);

/* Folds all 128 bits of a product. The factor decides which pairs of words collide, so nobody knows
 * such a pair without the seed. */
static inline uint64_t hash_step(const struct hash_seed *seed, uint64_t h, uint64_t word)
{
    const unsigned __int128 product = (unsigned __int128)(h ^ word) * seed->factor;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* One step is not enough: with some factors, keys with a pattern would crowd together. */
static inline uint64_t hash_number(const struct hash_seed *seed, uint64_t number)
{
    return hash_step(seed, hash_step(seed, seed->start, number), seed->start);
}

static inline uint64_t hash_bytes(const struct hash_seed *seed, const void *data, size_t n)
{
    const char *at = data;
    uint64_t word, h = seed->start;
    for (size_t i = 0; i < n / sizeof word; i++, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        h = hash_step(seed, h, word);
    }
    if (n % sizeof word > 0) {
        word = 0;
        memcpy(&word, at, n % sizeof word);
        h = hash_step(seed, h, word);
    }
    return hash_step(seed, h, n);
}

#endif
