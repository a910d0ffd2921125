/* Abuse in time: every order of releasing five handles, a model given up while its sequences write,
 * callbacks that call back, eight threads in one sequence, on one engine, and on two engines of one
 * model, and releases that race with steps. The threads only count what they see; the test's own
 * thread judges after they have ended. Includes only weft.h of the library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "support/abuse_rig.h"

enum { N_THREADS = 8 };

/* ---------------------------------------------------------------- orders of release */

/* Writes the i-th permutation of the numbers 0 to 4. */
static void order_of(size_t i, size_t *order)
{
    for (size_t k = 0; k < 5; k++) {
        size_t at = i % (k + 1);
        i /= k + 1;
        memmove(order + at + 1, order + at, (k - at) * sizeof *order);
        order[at] = k;
    }
}

/* Makes every call that a sequence allows after its engine was given up: all but a step. */
static void use(weft_seq *seq)
{
    int32_t tokens[64];
    size_t n;
    weft_seq *copy = NULL;
    if (seq == NULL) {
        return;
    }
    OK(weft_seq_tokens(seq, tokens, 64, &n, E));
    OK(weft_seq_append(seq, ids_in, 1, E));
    OK(weft_seq_fork(seq, &copy, E));
    OK(weft_seq_park(copy, E));
    OK(weft_seq_unpark(copy, E));
    OK(weft_seq_rewind(copy, 1, E));
    weft_seq_release(&copy);
    OK(weft_seq_rewind(seq, n, E));
}

/* A model, an engine, a sequence, its fork, and a sequence that still waits to be computed are
 * released in every order. */
static void test_orders(void **state)
{
    (void)state;
    for (size_t i = 0; i < 120; i++, n_cases++) {
        struct rig r = rig_open(model_file("tiny-qwen2"), &engine_params);
        weft_seq *seqs[3] = { NULL };
        size_t order[5];
        order_of(i, order);
        seqs[0] = rig_fed(&r, ids_in, 3);
        OK(weft_seq_fork(seqs[0], &seqs[1], E));
        seqs[2] = rig_seq(&r, NULL);
        OK(weft_seq_append(seqs[2], ids_in, 3, E));
        for (size_t k = 0; k < 5; k++) {
            switch (order[k]) {
            case 0: weft_model_release(&r.model); break;
            case 1: weft_engine_release(&r.engine); break;
            default: weft_seq_release(&seqs[order[k] - 2]); break;
            }
            if (r.engine != NULL) {
                OK(weft_engine_step(r.engine, NULL, E));
            }
            for (size_t j = 0; j < 3; j++) {
                use(seqs[j]);
            }
        }
        assert_true(r.model == NULL && r.engine == NULL);
    }
}

/* Two engines of one model, each with a sequence, are released in every order. */
static void test_orders_of_two(void **state)
{
    (void)state;
    for (size_t i = 0; i < 120; i++, n_cases++) {
        weft_model *model = NULL;
        weft_engine *engines[2] = { NULL };
        weft_seq *seqs[2] = { NULL };
        size_t order[5];
        order_of(i, order);
        OK(weft_model_open(model_file("tiny-qwen2"), NULL, &model, E));
        for (size_t j = 0; j < 2; j++) {
            OK(weft_engine_open(model, &engine_params, &engines[j], E));
            OK(weft_seq_open(engines[j], NULL, &seqs[j], E));
            OK(weft_seq_append(seqs[j], ids_in, 3, E));
        }
        for (size_t k = 0; k < 5; k++) {
            switch (order[k]) {
            case 0: weft_model_release(&model); break;
            case 1:
            case 2: weft_engine_release(&engines[order[k] - 1]); break;
            default: weft_seq_release(&seqs[order[k] - 3]); break;
            }
            for (size_t j = 0; j < 2; j++) {
                use(seqs[j]);
                if (engines[j] != NULL) {
                    OK(weft_engine_step(engines[j], NULL, E));
                }
            }
        }
    }
}

static void test_model_released(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), &engine_params);
    int32_t ids[N_REFERENCE];
    weft_seq *seq = rig_fed(&r, ids_in, 3), *copy = NULL;
    weft_model_release(&r.model);
    write_ids(r.engine, ids, N_REFERENCE);
    assert_memory_equal(ids, reference, sizeof ids);
    OK(weft_seq_fork(seq, &copy, E));
    OK(weft_seq_next(copy, &ids[0], E));
    weft_seq_release(&seq);
    rig_compute(&r, copy);
    OK(weft_seq_next(copy, &ids[0], E));
    weft_engine_release(&r.engine);
    weft_seq_cancel(copy);
    FAILS(WEFT_E_CANCELLED, weft_seq_next(copy, &ids[0], E));
    FAILS(WEFT_E_BUFFER, weft_seq_text(copy, NULL, 0, NULL, E));
    weft_seq_release(&copy);
    n_cases += 4;
}

/* ---------------------------------------------------------------- callbacks */

struct caller {
    weft_model *model;
    weft_seq *seq;
    size_t n_calls, n_wrong;
};

/* Functions of a model may be called from everywhere, also from a callback. */
static void call_model(struct caller *c)
{
    int32_t ids[8];
    size_t n;
    weft_model_info info = { .size = sizeof info };
    c->n_calls++;
    c->n_wrong += weft_tokenize(c->model, "the", 3, 0, ids, 8, &n, NULL) != WEFT_OK ||
                  weft_model_get_info(c->model, &info, NULL) != WEFT_OK ||
                  weft_token_is_end(c->model, ids[0]);
}

static void on_log(void *user, weft_log_level level, const char *text)
{
    struct caller *c = user;
    (void)level, (void)text;
    if (c->model != NULL) {
        call_model(c);
    }
}

static void on_checkpoint(void *user, const weft_checkpoint *checkpoint)
{
    (void)checkpoint;
    call_model(user);
}

static void on_stage(void *user, const weft_stage *stage)
{
    (void)stage;
    call_model(user);
}

static void on_logits(void *user, size_t pos, const float *logits, size_t n_vocab)
{
    struct caller *c = user;
    (void)logits, (void)n_vocab;
    call_model(c);
    if (pos == 2) {
        weft_seq_cancel(c->seq);
    }
}

static void test_callbacks(void **state)
{
    (void)state;
    struct caller c = { 0 };
    weft_model_params mp = WEFT_MODEL_PARAMS_INIT;
    weft_engine_params ep = engine_params;
    mp.log = on_log;
    mp.log_user = ep.trace_user = ep.profile_user = &c;
    ep.trace = on_checkpoint;
    ep.profile = on_stage;
    struct rig r = { .n_vocab = rig.n_vocab };
    OK(weft_model_open(model_file("tiny-qwen2"), &mp, &r.model, E));
    c.model = r.model;
    OK(weft_engine_open(r.model, &ep, &r.engine, E));
    assert_int_equal(c.n_calls, 1);
    c.seq = rig_seq(&r, NULL);
    OK(weft_seq_observe(c.seq, on_logits, &c, E));
    OK(weft_seq_append(c.seq, ids_in, 3, E));
    OK(weft_engine_step(r.engine, NULL, E));
    assert_true(c.n_calls > 20);
    assert_int_equal(c.n_wrong, 0);
    FAILS(WEFT_E_CANCELLED, weft_seq_append(c.seq, ids_in, 1, E));
    n_cases += 4;
    weft_seq_release(&c.seq);
    rig_close(&r);
}

/* ---------------------------------------------------------------- threads */

static void run_threads(void *(*fn)(void *), void *args, size_t size)
{
    pthread_t threads[N_THREADS];
    for (size_t i = 0; i < N_THREADS; i++, n_cases++) {
        assert_int_equal(pthread_create(&threads[i], NULL, fn, (char *)args + i * size), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

struct intruder {
    weft_engine *engine;
    weft_seq *seq;
    uint64_t random;
    size_t n_appended, n_other;
};

/* Returns true if the engine's numbers fit together, that is, if they are of one moment. Other
 * threads may do anything meanwhile. */
static bool consistent(weft_engine *engine)
{
    weft_engine_stats s = { .size = sizeof s };
    return weft_engine_get_stats(engine, &s, NULL) == WEFT_OK &&
           s.n_pages_used + s.n_pages_free == s.n_pages && s.n_pages_used <= s.n_page_refs &&
           s.n_stored <= s.n_computed && s.n_computed <= s.n_tokens &&
           s.n_tokens <= s.n_page_refs * 64 && s.n_prompt_rows + s.n_decode_rows == s.n_rows &&
           s.n_opened - s.n_released == s.n_seqs;
}

/* Makes a random call, but none that shortens the sequence. Each call works, is turned away because
 * the sequence is busy, or comes in a wrong state. */
static weft_status intrude_once(struct intruder *t)
{
    char text[256];
    int32_t ids[64];
    float logits[1024];
    weft_logprob logprobs[3];
    uint8_t state[1 << 16];
    weft_seq *copy = NULL;
    static const char *const texts[] = { "the", "e " };
    const weft_trigger trigger = { .size = sizeof trigger, .texts = texts, .n_texts = 2 };
    weft_status status;
    switch (rig_random(&t->random, 15)) {
    case 0:
        status = weft_seq_append(t->seq, ids_in, 1, NULL);
        t->n_appended += status == WEFT_OK;
        return status;
    case 1: return weft_engine_step(t->engine, NULL, NULL);
    case 2: return weft_seq_text(t->seq, text, sizeof text, NULL, NULL);
    case 3: return weft_seq_tokens(t->seq, ids, 64, NULL, NULL);
    case 4: return weft_seq_logits(t->seq, logits, 1024, NULL, NULL);
    case 5: return weft_seq_set_sampling(t->seq, NULL, NULL);
    case 6: return weft_seq_set_stops(t->seq, (const char *const[]){ "stop" }, 1, NULL);
    case 7: return weft_seq_len(t->seq) <= 64 ? WEFT_OK : WEFT_E_INTERNAL;
    case 8: return weft_seq_cached(t->seq) == 0 ? WEFT_OK : WEFT_E_INTERNAL;
    case 9: return weft_seq_set_grammar(t->seq, "root ::= [a-z]*", 15, NULL);
    case 10: return weft_seq_set_logprobs(t->seq, 2, NULL);
    case 11: return weft_seq_logprobs(t->seq, logprobs, 3, NULL, NULL);
    case 12: return weft_seq_save(t->seq, state, sizeof state, NULL, NULL);
    case 13: return weft_seq_set_trigger(t->seq, &trigger, "root ::= [a-z]*", 15, NULL);
    case 14: return consistent(t->engine) ? WEFT_OK : WEFT_E_INTERNAL;
    default:
        status = weft_seq_fork(t->seq, &copy, NULL);
        weft_seq_release(&copy);
        return status;
    }
}

static void *intrude(void *arg)
{
    struct intruder *t = arg;
    for (size_t i = 0; i < 120; i++) {
        switch (intrude_once(t)) {
        case WEFT_OK:
        case WEFT_E_BUSY:
        case WEFT_E_STATE:
        case WEFT_E_CTX_FULL: break;
        default: t->n_other++; break;
        }
    }
    return NULL;
}

static void test_one_sequence(void **state)
{
    (void)state;
    struct intruder threads[N_THREADS];
    weft_seq *seq = rig_seq(&rig, NULL);
    size_t n = 0;
    for (size_t i = 0; i < N_THREADS; i++) {
        threads[i] = (struct intruder){ .engine = rig.engine, .seq = seq, .random = i };
    }
    run_threads(intrude, threads, sizeof *threads);
    for (size_t i = 0; i < N_THREADS; i++) {
        assert_int_equal(threads[i].n_other, 0);
        n += threads[i].n_appended;
    }
    assert_in_range(n, 1, 64);
    assert_int_equal(weft_seq_len(seq), n);
    int32_t tokens[64];
    for (size_t i = 0; i < n; i++) {
        tokens[i] = ids_in[0];
    }
    rig_compute(&rig, seq);
    rig_check(&rig, seq, tokens, n, "a sequence of eight threads");
    weft_seq_release(&seq);
    still_the_same("eight threads in one sequence");
}

/* Loads, steps and saves at random, with other threads in the same sequence. All threads load the
 * same state, so a state that is saved is never larger than that one. */
static void *load_again(void *arg)
{
    struct intruder *t = arg;
    static const char grammar[] = "root ::= [a-z]*";
    uint8_t state[MAX_STATE];
    for (size_t i = 0; i < 60; i++) {
        weft_status status;
        size_t n = 0;
        switch (rig_random(&t->random, 6)) {
        case 0:
        case 1: status = weft_seq_load(t->seq, state_in, n_state_in, NULL); break;
        case 2: status = weft_seq_load_file(t->seq, state_path, NULL); break;
        case 3: status = weft_engine_step(t->engine, NULL, NULL); break;
        case 4: status = weft_seq_set_grammar(t->seq, grammar, sizeof grammar - 1, NULL); break;
        default:
            status = weft_seq_save(t->seq, state, sizeof state, &n, NULL);
            t->n_other += status == WEFT_OK && n > n_state_in;
            break;
        }
        t->n_other += status != WEFT_OK && status != WEFT_E_BUSY;
    }
    return NULL;
}

static void test_one_sequence_loaded(void **state)
{
    (void)state;
    struct intruder threads[N_THREADS];
    int32_t tokens[64];
    size_t n;
    weft_seq *seq = rig_seq(&rig, NULL);
    OK(weft_seq_load(seq, state_in, n_state_in, E));
    for (size_t i = 0; i < N_THREADS; i++) {
        threads[i] = (struct intruder){ .engine = rig.engine, .seq = seq, .random = 100 + i };
    }
    run_threads(load_again, threads, sizeof *threads);
    for (size_t i = 0; i < N_THREADS; i++) {
        assert_int_equal(threads[i].n_other, 0);
    }
    rig_compute(&rig, seq);
    OK(weft_seq_tokens(base, tokens, 64, &n, E));
    rig_check(&rig, seq, tokens, n, "a sequence loaded by eight threads");
    weft_seq_release(&seq);
    still_the_same("eight threads that load");
}

struct writer {
    weft_model *model; /* may be NULL; is given up first */
    weft_engine *engine;
    bool owns_engine; /* the writer gives up the engine at the end */
    size_t n_rounds, n_wrong;
    weft_status status;
};

/* Writes the reference text, while the steps of other threads may do the work. An error ends the
 * text. */
static weft_status write_once(struct writer *w, weft_engine *engine)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    int32_t prompt[30], token;
    weft_seq *seq = NULL, *copy = NULL;
    s.seed = 5;
    s.ignore_end = true;
    rig_tokens(&rig, 5, prompt, 30);
    weft_status status = weft_seq_open(engine, &s, &seq, NULL);
    if (status == WEFT_OK) {
        status = weft_seq_append(seq, prompt, 30, NULL);
    }
    for (size_t i = 0; i < N_REFERENCE && status == WEFT_OK; i++) {
        while (status == WEFT_OK && weft_seq_pending(seq) > 0) {
            status = weft_engine_step(engine, NULL, NULL);
        }
        status = status == WEFT_OK ? weft_seq_next(seq, &token, NULL) : status;
        w->n_wrong += status == WEFT_OK && token != reference[i];
        /* The text goes on in a fork, and the first sequence is released. */
        if (status == WEFT_OK && i % 7 == 3) {
            status = weft_seq_fork(seq, &copy, NULL);
            weft_seq_release(&seq);
            seq = copy;
            copy = NULL;
        }
    }
    weft_seq_release(&seq);
    return status;
}

static void *write_rounds(void *arg)
{
    struct writer *w = arg;
    weft_model_release(&w->model);
    for (size_t i = 0; i < w->n_rounds && w->status == WEFT_OK; i++) {
        w->status = write_once(w, w->engine);
    }
    if (w->owns_engine) {
        weft_engine_release(&w->engine);
    }
    return NULL;
}

static void expect_written(const struct writer *writers)
{
    for (size_t i = 0; i < N_THREADS; i++) {
        assert_int_equal(writers[i].status, WEFT_OK);
        assert_int_equal(writers[i].n_wrong, 0);
    }
}

static void test_one_engine(void **state)
{
    (void)state;
    const weft_engine_params p = {
        .size = sizeof p, .device = "cpu", .n_ctx = 64, .n_kv = 1024, .n_batch = 40, .n_threads = 2
    };
    struct rig r = rig_open(model_file("tiny-qwen2"), &p);
    struct writer writers[N_THREADS];
    for (size_t i = 0; i < N_THREADS; i++) {
        writers[i] = (struct writer){ .engine = r.engine, .n_rounds = 2 };
    }
    run_threads(write_rounds, writers, sizeof *writers);
    expect_written(writers);
    rig_close(&r);
}

/* One of the threads gives up the model while all of them write. */
static void test_two_engines(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), &engine_params);
    weft_engine *second = NULL;
    struct writer writers[N_THREADS];
    OK(weft_engine_open(r.model, &engine_params, &second, E));
    for (size_t i = 0; i < N_THREADS; i++) {
        writers[i] = (struct writer){ .engine = i % 2 ? second : r.engine, .n_rounds = 1 };
    }
    writers[3].model = r.model;
    run_threads(write_rounds, writers, sizeof *writers);
    expect_written(writers);
    r.model = NULL;
    weft_engine_release(&second);
    rig_close(&r);
}

/* Each thread gives up its own engine. All engines belong to one model, which is freed with the
 * last of them. */
static void test_engines_released(void **state)
{
    (void)state;
    struct writer writers[N_THREADS];
    weft_model *model = NULL;
    OK(weft_model_open(model_file("tiny-qwen2"), NULL, &model, E));
    for (size_t i = 0; i < N_THREADS; i++) {
        writers[i] = (struct writer){ .n_rounds = 1, .owns_engine = true };
        OK(weft_engine_open(model, &engine_params, &writers[i].engine, E));
    }
    writers[5].model = model;
    run_threads(write_rounds, writers, sizeof *writers);
    expect_written(writers);
}

/* ---------------------------------------------------------------- release against step */

struct stepper {
    weft_engine *engine;
    size_t number, n_failed;
};

/* The first two threads only step; the others open, feed, and release sequences while steps run. */
static void *come_and_go(void *arg)
{
    struct stepper *t = arg;
    float vector[512];
    uint8_t state[MAX_STATE];
    for (size_t i = 0; i < 60; i++) {
        weft_seq *seq = NULL, *copy = NULL;
        size_t n;
        t->n_failed += !consistent(t->engine);
        weft_status status = weft_engine_step(t->engine, NULL, NULL);
        t->n_failed += status != WEFT_OK;
        if (t->number < 2) {
            continue;
        }
        if (t->number == 2) {
            t->n_failed +=
                weft_embed(t->engine, ids_in, 3, NULL, vector, 512, NULL, NULL) != WEFT_OK;
            t->n_failed += weft_embed_texts(t->engine, ids_in, (const size_t[]){ 1, 2 }, 2, NULL,
                                            vector, 512, NULL, NULL) != WEFT_OK;
            continue;
        }
        t->n_failed += weft_seq_open(t->engine, NULL, &seq, NULL) != WEFT_OK ||
                       weft_seq_append(seq, ids_in, 3, NULL) != WEFT_OK ||
                       weft_seq_fork(seq, &copy, NULL) != WEFT_OK ||
                       weft_seq_save(seq, state, sizeof state, &n, NULL) != WEFT_OK ||
                       weft_seq_load(copy, state, n, NULL) != WEFT_OK;
        if (i % 3 == 0) {
            weft_seq_cancel(copy);
        }
        weft_seq_release(i % 2 == 0 ? &seq : &copy);
        t->n_failed += weft_engine_step(t->engine, NULL, NULL) != WEFT_OK;
        weft_seq_release(&seq);
        weft_seq_release(&copy);
    }
    return NULL;
}

static void test_release_against_step(void **state)
{
    (void)state;
    struct stepper threads[N_THREADS];
    for (size_t i = 0; i < N_THREADS; i++) {
        threads[i] = (struct stepper){ .engine = rig.engine, .number = i };
    }
    run_threads(come_and_go, threads, sizeof *threads);
    for (size_t i = 0; i < N_THREADS; i++) {
        assert_int_equal(threads[i].n_failed, 0);
    }
    assert_int_equal(rig_info(&rig).n_seqs, 1);
    still_the_same("releases against steps");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders),           cmocka_unit_test(test_orders_of_two),
        cmocka_unit_test(test_model_released),   cmocka_unit_test(test_callbacks),
        cmocka_unit_test(test_one_sequence),     cmocka_unit_test(test_one_sequence_loaded),
        cmocka_unit_test(test_one_engine),       cmocka_unit_test(test_two_engines),
        cmocka_unit_test(test_engines_released), cmocka_unit_test(test_release_against_step),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
