/* How long files with many names take to open, compared with other files in the same process: a
 * time by itself says more about the machine than about the parser. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "format/gguf.h"
#include "support/colliding.h"
#include "support/scratch.h"
#include "synth/writer.h"

/* Other programs can only add to a time: the shortest of several tries counts. */
enum { TRIES = 5, N_NAMES = 20000, MOST_KEYS = 65536 };

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static const char *finish(struct gguf_writer *w)
{
    struct bytes b = { 0 };
    assert_int_equal(writer_finish(w, &b, NULL), WEFT_OK);
    writer_free(w);
    const char *path = scratch_write("names.gguf", b.data, b.n);
    free(b.data);
    return path;
}

/* Returns the shortest milliseconds in which the file is opened and every name is found. */
static double find_ms(const char *path, const struct colliding_name *names)
{
    double best = 0;
    for (int i = 0; i < TRIES; i++) {
        struct gguf *g = NULL;
        double start = cpu_ms();
        assert_int_equal(gguf_open(path, true, &g, NULL), WEFT_OK);
        for (size_t k = 0; k < g->n_kv && names != NULL; k++) {
            assert_ptr_equal(gguf_find(g, names[k].text), &g->kv[k]);
            assert_ptr_equal(gguf_find_tensor(g, names[k].text), &g->tensors[k]);
        }
        double ms = cpu_ms() - start;
        gguf_close(g);
        best = i == 0 || ms < best ? ms : best;
    }
    return best;
}

/* The names collide in a table of 131,072 slots that is indexed by FNV-1a and a mix of its bits. */
static bool collides(uint64_t h)
{
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return ((h ^ h >> 32) & 0x1ffff) < 64;
}

static bool any_hash(uint64_t h)
{
    (void)h;
    return true;
}

/* Writes a file with a key and a tensor of each of n names whose hashes hit, and measures it. */
static double names_ms(bool (*hits)(uint64_t hash))
{
    struct colliding_name *names = colliding_names(N_NAMES, hits);
    struct gguf_writer w;
    const float value = 0;
    writer_init(&w);
    for (size_t i = 0; i < N_NAMES; i++) {
        writer_u32(&w, names[i].text, 0);
        writer_tensor(&w, names[i].text, 1, (uint64_t[]){ 1 }, QUANT_F32, &value, sizeof value);
    }
    double ms = find_ms(finish(&w), names);
    free(names);
    return ms;
}

/* Names of keys and tensors that were made to be slow are found about as quickly as others. If they
 * collided, each would be compared with thousands of others. */
static void test_colliding_names(void **state)
{
    (void)state;
    double others = names_ms(any_hash), ms = names_ms(collides);
    if (ms > 4 * others) {
        fail_msg("names made to collide took %.1f ms, others %.1f", ms, others);
    }
}

static double keys_ms(unsigned n)
{
    struct gguf_writer w;
    char name[32];
    writer_init(&w);
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof name, "some.key.%u", i);
        writer_u32(&w, name, i);
    }
    const char *path = finish(&w);
    double ms = find_ms(path, NULL);
    struct gguf *g = NULL;
    assert_int_equal(gguf_open(path, true, &g, NULL), WEFT_OK);
    assert_ptr_equal(gguf_find(g, "some.key.0"), &g->kv[0]);
    snprintf(name, sizeof name, "some.key.%u", n - 1);
    assert_ptr_equal(gguf_find(g, name), &g->kv[n - 1]);
    snprintf(name, sizeof name, "some.key.%u", n);
    assert_null(gguf_find(g, name));
    gguf_close(g);
    return ms;
}

/* As many keys as are allowed take eight times as long as an eighth of them, not 64 times. */
static void test_many_keys(void **state)
{
    (void)state;
    double few = keys_ms(MOST_KEYS / 8), ms = keys_ms(MOST_KEYS);
    if (ms > 24 * few) {
        fail_msg("%d keys took %.1f ms, an eighth of them %.1f", MOST_KEYS, ms, few);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_colliding_names),
        cmocka_unit_test(test_many_keys),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
