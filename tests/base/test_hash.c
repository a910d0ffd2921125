/* hash.h: seeds differ, even if the system gives no random numbers; keys that share a slot under an
 * unseeded hash are spread; and the hash of files stays as it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/u64map.h"

/* The most bytes that one call of getrandom() gives. The getrandom() below replaces that of the C
 * library. */
static size_t most_random = SIZE_MAX;

ssize_t getrandom(void *dst, size_t n, unsigned flags)
{
    return most_random == 0 ? -1
                            : syscall(SYS_getrandom, dst, n < most_random ? n : most_random, flags);
}

static void test_seeds(void **state)
{
    (void)state;
    static const size_t gives[] = { SIZE_MAX, 0, 5 };
    for (size_t k = 0; k < 3; k++) {
        most_random = gives[k];
        size_t n_same = 0;
        struct hash_seed before = hash_seed_draw();
        for (size_t i = 0; i < 100; i++) {
            struct hash_seed seed = hash_seed_draw();
            assert_true(seed.factor & 1);
            n_same += seed.start == before.start || seed.factor == before.factor;
            before = seed;
        }
        /* A clock may stand still for a moment. */
        assert_true(k == 0 ? n_same == 0 : n_same < 50);
    }
    most_random = SIZE_MAX;
}

/* The length counts, and so does every byte, at every place in a word. */
static void test_bytes(void **state)
{
    (void)state;
    const struct hash_seed seed = hash_seed_draw();
    static const char zeros[40];
    char text[40] = { 0 };
    for (size_t n = 0; n < sizeof text; n++) {
        assert_int_not_equal(hash_bytes(&seed, zeros, n), hash_bytes(&seed, zeros, n + 1));
        for (size_t i = 0; i < n; i++) {
            text[i] = (char)0x80;
            assert_int_not_equal(hash_bytes(&seed, zeros, n), hash_bytes(&seed, text, n));
            text[i] = 0;
        }
        assert_int_equal(hash_bytes(&seed, zeros, n), hash_bytes(&seed, text, n));
    }
}

/* The two texts differ in two words, in such a way that hash64() gives the same for both, whatever
 * it begins with. With a seed their hashes differ. */
static void test_differences(void **state)
{
    (void)state;
    const uint64_t plain[2] = { 0 };
    const uint64_t changed[2] = { UINT64_C(1) << 63, UINT64_C(1) << 63 | UINT64_C(1) << 31 };
    for (int i = 0; i < 100; i++) {
        const struct hash_seed seed = hash_seed_draw();
        assert_int_equal(hash64(seed.start, plain, sizeof plain),
                         hash64(seed.start, changed, sizeof changed));
        assert_int_not_equal(hash_bytes(&seed, plain, sizeof plain),
                             hash_bytes(&seed, changed, sizeof changed));
    }
}

/* Returns the longest run of full slots when key(i) of n keys go into twice as many slots. */
static size_t longest_run(const struct hash_seed *seed, uint64_t (*key)(uint64_t i))
{
    enum { N = 4096, SLOTS = 2 * N };
    static bool full[SLOTS];
    size_t run = 0, longest = 0;
    memset(full, 0, sizeof full);
    for (uint64_t i = 0; i < N; i++) {
        size_t at = hash_number(seed, key(i)) % SLOTS;
        while (full[at]) {
            at = (at + 1) % SLOTS;
        }
        full[at] = true;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        run = full[i] ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest;
}

static uint64_t low(uint64_t i) { return i; }
static uint64_t middle(uint64_t i) { return i << 26; }
static uint64_t high(uint64_t i) { return i << 52; }
static uint64_t both(uint64_t i) { return i << 32 | (i * 7 & 0xfff); }

/* Keys with a pattern, with a hundred seeds that are always the same: no seed is a bad case. */
static void test_spread(void **state)
{
    (void)state;
    uint64_t (*const keys[])(uint64_t i) = { low, middle, high, both };
    uint64_t x = 1;
    size_t longest = 0;
    for (size_t i = 0; i < 100; i++) {
        struct hash_seed seed = { x = hash64_word(x, i), (x = hash64_word(x, i)) | 1 };
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            size_t run = longest_run(&seed, keys[k]);
            longest = run > longest ? run : longest;
        }
    }
    /* With random keys the longest run is about 60. */
    assert_in_range(longest, 20, 100);
}

/* Saved states and the fingerprints of models hold these hashes. */
static void test_files(void **state)
{
    (void)state;
    assert_true(hash64(HASH64_START, "", 0) == UINT64_C(0x860389c57a9c1205));
    assert_true(hash64(HASH64_START, "weft and warp", 13) == UINT64_C(0x9c5492ce899f0128));
}

/* A map gives back what was put into it, also after it was cleared. */
static void test_map(void **state)
{
    (void)state;
    struct u64map m = { 0 };
    assert_null(u64map_find(&m, 0));
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 5000; i++) {
            assert_null(u64map_find(&m, (uint64_t)i << 40));
            assert_true(u64map_add(&m, (uint64_t)i << 40, i + round));
        }
        for (uint32_t i = 0; i < 5000; i++) {
            const uint32_t *found = u64map_find(&m, (uint64_t)i << 40);
            assert_true(found != NULL && *found == i + round);
        }
        assert_null(u64map_find(&m, 1));
        u64map_clear(&m);
    }
    u64map_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds),       cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_differences), cmocka_unit_test(test_spread),
        cmocka_unit_test(test_files),       cmocka_unit_test(test_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
