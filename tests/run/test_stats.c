/* weft_engine_get_stats(): its numbers are checked after every step of a story, and the bytes of
 * sequences are compared with what the allocator was asked for. The program is linked with --wrap
 * for the allocator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"
#include "support/top_backend.h"

/* ---------------------------------------------------------------- the allocator */

enum { MAX_BLOCKS = 4096 };

/* The blocks that were asked for while `on` was set, by one thread. */
static struct {
    bool on;
    struct {
        void *at; /* NULL = freed */
        size_t n;
    } blocks[MAX_BLOCKS];
    size_t n;
} heap;

static void *took(void *at, size_t n)
{
    if (heap.on && at != NULL && heap.n < MAX_BLOCKS) {
        heap.blocks[heap.n].at = at;
        heap.blocks[heap.n++].n = n;
    }
    return at;
}

static void gave(const void *at)
{
    for (size_t i = 0; i < heap.n && at != NULL; i++) {
        if (heap.blocks[i].at == at) {
            heap.blocks[i].at = NULL;
        }
    }
}

static size_t heap_bytes(void)
{
    size_t n = 0;
    assert_in_range(heap.n, 0, MAX_BLOCKS - 1);
    for (size_t i = 0; i < heap.n; i++) {
        n += heap.blocks[i].at != NULL ? heap.blocks[i].n : 0;
    }
    return n;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

void *__wrap_malloc(size_t n) { return took(__real_malloc(n), n); }
void *__wrap_calloc(size_t n, size_t size) { return took(__real_calloc(n, size), n * size); }

void *__wrap_realloc(void *p, size_t n)
{
    gave(p);
    return took(__real_realloc(p, n), n);
}

void __wrap_free(void *p)
{
    gave(p);
    __real_free(p);
}

/* ---------------------------------------------------------------- the story */

enum { PAGE = 64 };

static weft_engine_stats stats_of(const struct rig *r)
{
    weft_engine_stats s = { .size = sizeof s };
    OK(weft_engine_get_stats(r->engine, &s, E));
    assert_int_equal(s.n_pages_used + s.n_pages_free, s.n_pages);
    assert_int_equal(s.n_prompt_rows + s.n_decode_rows, s.n_rows);
    assert_int_equal(s.n_opened - s.n_released, s.n_seqs);
    assert_true(s.n_stored <= s.n_computed && s.n_computed <= s.n_tokens);
    return s;
}

static struct rig open_engine(size_t n_kv, size_t n_ahead)
{
    const weft_engine_params p = {
        .size = sizeof p, .device = "cpu", .n_kv = n_kv, .n_ahead = n_ahead, .n_threads = 1
    };
    return rig_open_as(model_file("tiny-qwen2"), &p);
}

#define PAGES(s, used, known, shared, refs)                                                        \
    do {                                                                                           \
        assert_int_equal((s).n_pages_used, used);                                                  \
        assert_int_equal((s).n_pages_known, known);                                                \
        assert_int_equal((s).n_pages_shared, shared);                                              \
        assert_int_equal((s).n_page_refs, refs);                                                   \
    } while (0)
#define POSITIONS(s, tokens, computed, stored)                                                     \
    do {                                                                                           \
        assert_int_equal((s).n_tokens, tokens);                                                    \
        assert_int_equal((s).n_computed, computed);                                                \
        assert_int_equal((s).n_stored, stored);                                                    \
    } while (0)
#define ROWS(s, steps, prompt, decode, cached)                                                     \
    do {                                                                                           \
        assert_int_equal((s).n_steps, steps);                                                      \
        assert_int_equal((s).n_prompt_rows, prompt);                                               \
        assert_int_equal((s).n_decode_rows, decode);                                               \
        assert_int_equal((s).n_cached, cached);                                                    \
    } while (0)

/* A text and its fork, which writes on, are both released, and the same text is found again. */
static void test_pages(void **state)
{
    (void)state;
    struct rig r = open_engine(8 * PAGE, 0);
    int32_t tokens[150], token;
    weft_seq *copy = NULL;
    rig_tokens(&r, 1, tokens, 150);
    weft_engine_stats s = stats_of(&r);
    PAGES(s, 0, 0, 0, 0);
    POSITIONS(s, 0, 0, 0);
    assert_int_equal(s.n_pages, 8);
    weft_seq *seq = rig_seq(&r, NULL);
    OK(weft_seq_append(seq, tokens, 150, E));
    s = stats_of(&r);
    PAGES(s, 3, 0, 0, 3);
    POSITIONS(s, 150, 0, 0);
    rig_compute(&r, seq);
    s = stats_of(&r);
    PAGES(s, 3, 0, 0, 3);
    POSITIONS(s, 150, 150, 150);
    ROWS(s, 1, 150, 0, 0);
    OK(weft_seq_fork(seq, &copy, E));
    s = stats_of(&r);
    PAGES(s, 3, 0, 3, 6);
    POSITIONS(s, 300, 300, 150);
    assert_int_equal(s.n_page_copies, 0);
    /* The last page is written to, so from now on each sequence has its own. */
    OK(weft_seq_next(copy, &token, E));
    rig_compute(&r, copy);
    s = stats_of(&r);
    PAGES(s, 4, 0, 2, 6);
    POSITIONS(s, 301, 301, 150 + 151 - 128);
    ROWS(s, 2, 150, 1, 0);
    assert_int_equal(s.n_page_copies, 1);
    /* Tokens that are computed again after a rewind do not count as drawn. */
    OK(weft_seq_rewind(copy, 151, E));
    rig_compute(&r, copy);
    ROWS(stats_of(&r), 3, 151, 1, 0);
    weft_seq_release(&seq);
    s = stats_of(&r);
    PAGES(s, 3, 0, 0, 3);
    POSITIONS(s, 151, 151, 151);
    weft_seq_release(&copy);
    s = stats_of(&r);
    PAGES(s, 0, 2, 0, 0);
    POSITIONS(s, 0, 0, 0);
    seq = rig_fed(&r, tokens, 150);
    s = stats_of(&r);
    PAGES(s, 3, 0, 0, 3);
    POSITIONS(s, 150, 150, 150);
    ROWS(s, 4, 151 + 22, 1, 128);
    assert_int_equal(s.n_opened, 3);
    assert_int_equal(s.n_released, 2);
    weft_seq_release(&seq);
    rig_close(&r);
}

static void test_refusals(void **state)
{
    (void)state;
    struct rig r = open_engine(2 * PAGE, 0);
    int32_t tokens[150], token;
    float vector[512];
    rig_tokens(&r, 1, tokens, 150);
    weft_seq *seq = rig_fed(&r, tokens, 128);
    FAILS(WEFT_E_KV_FULL, weft_seq_next(seq, &token, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_append(seq, tokens, 22, E));
    FAILS(WEFT_E_KV_FULL, weft_embed(r.engine, tokens, 3, NULL, vector, 512, NULL, E));
    assert_int_equal(stats_of(&r).n_kv_full, 3);
    weft_seq_cancel(seq);
    weft_seq_cancel(seq);
    assert_int_equal(stats_of(&r).n_cancelled, 0);
    FAILS(WEFT_E_CANCELLED, weft_seq_next(seq, &token, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_next(seq, &token, E));
    weft_engine_stats s = stats_of(&r);
    assert_int_equal(s.n_cancelled, 1);
    assert_int_equal(s.n_kv_full, 4);
    PAGES(s, 2, 0, 0, 2);
    weft_seq_release(&seq);
    /* The pages of an embedding do not belong to a sequence, and nobody can find them. */
    OK(weft_embed(r.engine, tokens, 100, NULL, vector, 512, NULL, E));
    s = stats_of(&r);
    ROWS(s, 2, 228, 0, 0);
    assert_int_equal(s.n_pages_used, 0);
    rig_close(&r);
}

/* Tokens that a backend computes ahead count as decode rows when they are computed. */
static void test_ahead(void **state)
{
    (void)state;
    struct rig r = open_engine(8 * PAGE, 4);
    static struct top_backend top;
    weft_sampling greedy = WEFT_SAMPLING_INIT;
    int32_t tokens[10], token;
    greedy.temperature = 0;
    greedy.top_k = 1;
    top_backend_wrap(&top, r.engine, TOP_BEST | TOP_AHEAD, 1);
    rig_tokens(&r, 1, tokens, 10);
    weft_seq *seq = rig_seq(&r, &greedy);
    OK(weft_seq_append(seq, tokens, 10, E));
    rig_compute(&r, seq);
    OK(weft_seq_next(seq, &token, E));
    OK(weft_engine_step(r.engine, NULL, E));
    weft_engine_stats s = stats_of(&r);
    ROWS(s, 5, 10, 4, 0);
    POSITIONS(s, 11, 11, 11);
    for (size_t i = 0; i < 4; i++) {
        OK(weft_seq_next(seq, &token, E));
    }
    s = stats_of(&r);
    ROWS(s, 5, 10, 4, 0);
    POSITIONS(s, 15, 14, 14);
    weft_seq_release(&seq);
    rig_close(&r);
}

/* ---------------------------------------------------------------- memory */

/* Returns the bytes of the sequences and of the memory in which they draw. */
static uint64_t host_bytes(const struct rig *r)
{
    weft_engine_stats s = stats_of(r);
    return s.seq_bytes + s.draw_bytes;
}

/* The bytes that the engine reports for its sequences are exactly those that it allocated, after
 * every call that gives a sequence memory. All forks share the parsed grammar and count it once, so
 * with a grammar only the bytes that a fork adds are compared. */
static void test_seq_bytes(void **state)
{
    (void)state;
    static const char grammar[] = "root ::= ([a-z ] | other)*\nother ::= [^a-z]";
    static const weft_logit_bias bias[] = { { 5, -1.0f }, { 6, -1.0f } };
    const char *const stops[] = { "no such text", "nor this" };
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    int32_t tokens[200], token;
    char text[512];
    weft_seq *seq = NULL, *copy = NULL;
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.ignore_end = true;
    s.bias = bias;
    s.n_bias = 2;
    rig_tokens(&r, 1, tokens, 200);
    /* Now the engine's list of sequences grows no more. */
    weft_seq *other = rig_fed(&r, tokens, 30);
    const size_t base = host_bytes(&r);
#define EXACT() assert_int_equal(host_bytes(&r) - base, heap_bytes())
    heap.on = true;
    OK(weft_seq_open(r.engine, NULL, &seq, E));
    EXACT();
    OK(weft_seq_set_sampling(seq, &s, E));
    EXACT();
    OK(weft_seq_set_stops(seq, stops, 2, E));
    EXACT();
    OK(weft_seq_append(seq, tokens, 200, E));
    EXACT();
    for (size_t i = 0; i < 20; i++) {
        rig_compute(&r, seq);
        OK(weft_seq_next(seq, &token, E));
        EXACT();
    }
    OK(weft_seq_text(seq, text, sizeof text, NULL, E));
    EXACT();
    OK(weft_seq_fork(seq, &copy, E));
    EXACT();
    weft_seq_release(&copy);
    EXACT();
    heap.on = false;
    OK(weft_seq_set_grammar(seq, grammar, sizeof grammar - 1, E));
    const size_t before = stats_of(&r).seq_bytes, n = heap_bytes();
    heap.on = true;
    OK(weft_seq_fork(seq, &copy, E));
    assert_int_equal(stats_of(&r).seq_bytes - before, heap_bytes() - n);
    for (size_t i = 0; i < 20; i++) {
        rig_compute(&r, copy);
        OK(weft_seq_next(copy, &token, E));
        assert_int_equal(stats_of(&r).seq_bytes - before, heap_bytes() - n);
    }
    weft_seq_release(&copy);
    /* The fork leaves behind the logits of the first sequence, which had to be kept when the fork
     * was computed. */
    assert_int_equal(stats_of(&r).seq_bytes - before, heap_bytes() - n);
    weft_seq_release(&seq);
    heap.on = false;
    /* The logits of `other` and the memory of a draw are left. */
    EXACT();
    assert_true(stats_of(&r).draw_bytes > 0);
    weft_seq_release(&other);
    assert_int_equal(stats_of(&r).seq_bytes, 0);
    rig_close(&r);
}

/* Checks the bytes of weights, KV pool and scratch memory, which do not depend on sequences.
 * Weights count as many bytes as in the file. */
static void test_memory(void **state)
{
    (void)state;
    struct rig r = open_engine(8 * PAGE, 0);
    weft_model_info info = { .size = sizeof info };
    OK(weft_model_get_info(r.model, &info, E));
    weft_engine_stats s = stats_of(&r);
    weft_engine_info e = rig_info(&r);
    assert_int_equal(s.weight_bytes, info.n_bytes);
    assert_int_equal(s.kv_bytes, 8 * s.page_bytes);
    assert_int_equal(s.page_bytes, PAGE * e.kv_position_bytes);
    assert_int_equal(s.kv_bytes, e.kv_bytes);
    assert_int_equal(s.scratch_bytes, e.scratch_bytes);
    /* The struct is that of an older caller, which is shorter: nothing behind its end is
     * written. */
    s.size = offsetof(weft_engine_stats, n_pages_free);
    s.n_pages_free = 77;
    OK(weft_engine_get_stats(r.engine, &s, E));
    assert_int_equal(s.n_pages_free, 77);
    rig_close(&r);
}

/* What the layers say of themselves adds up to what the model and the engine say. */
static void test_layers(void **state)
{
    (void)state;
    static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3", "tiny-phi3", "tiny-llama" };
    for (size_t i = 0; i < 4; i++) {
        struct rig r = rig_open(model_file(presets[i]), NULL);
        weft_model_info m = { .size = sizeof m };
        weft_engine_info e = rig_info(&r);
        uint64_t position = 0, n_bytes = 0, read = 0, at = 40;
        OK(weft_model_get_info(r.model, &m, E));
        for (size_t j = 0; j < m.n_layers; j++) {
            weft_layer_info l = { .size = sizeof l };
            OK(weft_model_get_layer(r.model, j, &l, E));
            assert_string_equal(l.mixer, "attention");
            assert_string_equal(l.ffn, "dense");
            assert_int_equal(l.n_heads, m.n_heads);
            assert_int_equal(l.n_ff, m.n_ff);
            assert_int_equal(l.n_window, m.n_window);
            position += l.n_kv_heads * (l.k_dim + l.v_dim) * 2; /* f16 */
            bool all = l.n_window == 0 || l.n_window > at;
            read += l.n_kv_heads * (l.k_dim + l.v_dim) * 2 * (all ? at + 1 : l.n_window);
            n_bytes += l.n_bytes;
        }
        assert_int_equal(position, e.kv_position_bytes);
        assert_int_equal(weft_engine_kv_read(r.engine, at), read);
        assert_int_equal(weft_engine_kv_read(NULL, at), 0);
        assert_int_equal(e.most_weight_bytes, e.step_weight_bytes);
        /* the rest is the embedding, the last norm, perhaps an output matrix, and RoPE factors */
        assert_in_range(n_bytes, m.n_bytes / 10, m.n_bytes);
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),  cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_ahead),  cmocka_unit_test(test_seq_bytes),
        cmocka_unit_test(test_memory), cmocka_unit_test(test_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
