#include "base/hash.h"

#include <sys/random.h>
#include <time.h>

struct hash_seed hash_seed_draw(void)
{
    struct hash_seed seed;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed) {
        struct timespec now = { 0 };
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        const uint64_t where = (uintptr_t)&seed;
        seed.start = hash64_word(hash64_word(HASH64_START, where), (uint64_t)now.tv_nsec);
        seed.factor = hash64_word(seed.start, (uint64_t)now.tv_sec);
    }
    seed.factor |= 1;
    return seed;
}
