/* weft_seq_park(): a sequence that gives its pages away goes on with the same tokens and text,
 * whatever its sampler, grammar and stop strings remember, and wherever it is parked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/models.h"
#include "support/rig.h"

enum { PAGE = 64, N_CTX = 256, N_PAGES = 8, N_NEW = 90, N_PROMPT = 70, N_KINDS = 6 };

static struct rig open_small(bool prefix_cache)
{
    const weft_engine_params p = { .size = sizeof p,
                                   .n_ctx = N_CTX,
                                   .n_kv = N_PAGES * PAGE,
                                   .n_batch = 16,
                                   .n_threads = 1,
                                   .device = "cpu",
                                   .no_prefix_cache = !prefix_cache };
    return rig_open_as(model_file("tiny-qwen2"), &p);
}

/* A sequence whose next token depends on more than its tokens. */
static weft_seq *open_kind(const struct rig *r, size_t kind)
{
    static const char grammar[] = "root ::= ([a-f]+ \" \" [0-9]+ \" \")*";
    static const char *const texts[] = { "e", "a" }, *const stops[] = { "zzzz", "the end" };
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.seed = 7 + kind;
    s.ignore_end = true;
    s.temperature = kind == 0 ? 0 : 1.2f;
    s.top_k = kind == 1 ? 0 : 40;
    s.repeat_penalty = kind == 2 ? 1.3f : 1;
    weft_seq *seq = rig_seq(r, &s);
    if (kind == 3) {
        OK(weft_seq_set_grammar(seq, grammar, sizeof grammar - 1, E));
    } else if (kind == 4) {
        const weft_trigger t = { .size = sizeof t, .texts = texts, .n_texts = 2 };
        OK(weft_seq_set_trigger(seq, &t, grammar, sizeof grammar - 1, E));
    } else if (kind == 5) {
        OK(weft_seq_set_logprobs(seq, 3, E));
        OK(weft_seq_set_stops(seq, stops, 2, E));
    }
    return seq;
}

struct told {
    int32_t tokens[N_NEW];
    float logprobs[N_NEW];
    char text[4096];
    size_t n_text, n;
};

static void take_text(weft_seq *seq, struct told *t)
{
    size_t n = 0;
    OK(weft_seq_text(seq, t->text + t->n_text, sizeof t->text - t->n_text, &n, E));
    t->n_text += n;
}

/* Draws the next token of a sequence that is ready. */
static void draw(weft_seq *seq, struct told *t)
{
    weft_logprob list[4];
    OK(weft_seq_next(seq, &t->tokens[t->n], E));
    if (weft_seq_logprobs(seq, list, 4, NULL, NULL) == WEFT_OK) {
        t->logprobs[t->n] = list[0].logprob;
    }
    t->n++;
    if (t->n % 3 == 0) {
        take_text(seq, t);
    }
}

/* Generates; parks with a chance of 1 in `every` (0 = never) before and behind each draw. */
static void generate(const struct rig *r, size_t kind, uint32_t every, struct told *t)
{
    int32_t prompt[N_PROMPT];
    uint64_t random = 1234 + kind;
    *t = (struct told){ .n = 0 };
    rig_tokens(r, 5, prompt, N_PROMPT);
    weft_seq *seq = open_kind(r, kind);
    OK(weft_seq_append(seq, prompt, N_PROMPT, E));
    while (t->n < N_NEW && weft_seq_finish(seq) == WEFT_RUNNING) {
        for (int i = 0; i < 2; i++) {
            if (every > 0 && rig_random(&random, every) == 0) {
                OK(weft_seq_park(seq, E));
                assert_int_equal(rig_free(r), N_PAGES * PAGE);
                FAILS(WEFT_E_STATE, weft_seq_next(seq, &prompt[0], E));
                OK(weft_seq_unpark(seq, E));
            }
            if (i == 0) {
                rig_compute(r, seq);
            }
        }
        rig_compute(r, seq);
        draw(seq, t);
    }
    OK(weft_seq_end(seq, E));
    take_text(seq, t);
    weft_seq_release(&seq);
}

static void test_same_text(void **state)
{
    (void)state;
    static struct told want, got;
    for (size_t cached = 0; cached < 2; cached++) {
        struct rig r = open_small(cached == 1);
        for (size_t kind = 0; kind < N_KINDS; kind++) {
            generate(&r, kind, 0, &want);
            assert_in_range(want.n, 10, N_NEW);
            for (uint32_t every = 2; every <= 32; every *= 4) {
                generate(&r, kind, every, &got);
                assert_int_equal(got.n, want.n);
                assert_memory_equal(got.tokens, want.tokens, want.n * sizeof *want.tokens);
                assert_memory_equal(got.logprobs, want.logprobs, want.n * sizeof *want.logprobs);
                assert_int_equal(got.n_text, want.n_text);
                assert_memory_equal(got.text, want.text, want.n_text);
            }
        }
        rig_close(&r);
    }
}

/* The pages that are given away serve another sequence; while that one has them, the parked one
 * stays parked. */
static void test_pages(void **state)
{
    (void)state;
    struct rig r = open_small(true);
    int32_t tokens[N_CTX], token;
    rig_tokens(&r, 1, tokens, N_CTX);
    weft_seq *seq = rig_fed(&r, tokens, 200), *other = rig_seq(&r, NULL), *more = rig_seq(&r, NULL);
    OK(weft_seq_append(other, tokens + 1, 250, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_append(more, tokens + 2, 10, E));
    OK(weft_seq_park(seq, E));
    OK(weft_seq_append(more, tokens + 2, 10, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_unpark(seq, E));
    FAILS(WEFT_E_STATE, weft_seq_append(seq, tokens, 1, E));
    OK(weft_seq_append(seq, NULL, 0, E));
    assert_int_equal(weft_seq_pending(seq), 200);
    rig_compute(&r, other); /* a step does not look at what is parked */
    weft_seq_release(&more);
    OK(weft_seq_unpark(seq, E));
    rig_compute(&r, seq);
    weft_seq_release(&other);
    rig_check(&r, seq, tokens, 200, "a sequence that was parked");
    OK(weft_seq_next(seq, &token, E));
    weft_seq_release(&seq);
    rig_close(&r);
}

/* Other calls on a parked sequence. */
static void test_calls(void **state)
{
    (void)state;
    struct rig r = open_small(false);
    static uint8_t saved[1 << 20];
    int32_t tokens[100];
    size_t n;
    rig_tokens(&r, 1, tokens, 100);
    weft_seq *seq = rig_fed(&r, tokens, 100), *copy = NULL, *loaded = rig_seq(&r, NULL);
    OK(weft_seq_park(seq, E));
    OK(weft_seq_fork(seq, &copy, E));
    assert_int_equal(rig_free(&r), N_PAGES * PAGE);
    FAILS(WEFT_E_STATE, weft_seq_append(copy, tokens, 1, E));
    OK(weft_seq_save(seq, saved, sizeof saved, &n, E));
    OK(weft_seq_rewind(seq, 70, E));
    rig_compute(&r, seq);
    rig_check(&r, seq, tokens, 70, "rewound while it was parked");
    OK(weft_seq_park(loaded, E));
    OK(weft_seq_load(loaded, saved, n, E));
    rig_compute(&r, loaded);
    rig_check(&r, loaded, tokens, 100, "loaded while it was parked");
    OK(weft_seq_unpark(copy, E));
    rig_compute(&r, copy);
    rig_check(&r, copy, tokens, 100, "the copy of a parked sequence");
    weft_seq_release(&copy);
    weft_seq_release(&loaded);
    weft_seq_release(&seq);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_text),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
