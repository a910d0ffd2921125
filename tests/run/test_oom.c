/* Every allocation fails once. The path from opening a model to saving and loading a forked
 * sequence runs again and again on a tiny model of each kind of vocabulary; the k-th allocation (or
 * thread) of the library fails, for k = 1, 2, ... until the path gets through without reaching it.
 * Each time the answer must be WEFT_E_NOMEM, no block may be left behind, and when only the one
 * allocation failed, the same call again must work and the text come out as if nothing had
 * happened. The program is linked with --wrap for the allocator, free and pthread_create. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "run/engine.h"
#include "support/models.h"
#include "support/rig.h"
#include "support/top_backend.h"
#include "synth/synth.h"

/* ---------------------------------------------------------------- the allocator */

static atomic_bool armed;     /* allocations count, and may fail */
static atomic_long countdown; /* the allocation that brings it to 0 fails */
static atomic_bool for_good;  /* all later allocations fail too */
static atomic_size_t n_failed, n_live;
static void (*meanwhile)(void); /* what another thread does at that moment; NULL = nothing */

/* Returns true if this allocation has to fail. */
static bool fails(void)
{
    if (!atomic_load(&armed)) {
        return false;
    }
    long left = atomic_fetch_sub(&countdown, 1) - 1;
    bool fail = left == 0 || (left < 0 && atomic_load(&for_good));
    atomic_fetch_add(&n_failed, fail);
    if (fail && meanwhile != NULL) {
        atomic_store(&armed, false);
        meanwhile();
    }
    return fail;
}

static void *counted(void *block)
{
    atomic_fetch_add(&n_live, block != NULL);
    return block;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
int __real_posix_memalign(void **p, size_t alignment, size_t n);
char *__real_strdup(const char *s);
void __real_free(void *p);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);
int __wrap_posix_memalign(void **p, size_t alignment, size_t n);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);

void *__wrap_malloc(size_t n) { return fails() ? NULL : counted(__real_malloc(n)); }

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n)
{
    if (fails()) {
        return NULL;
    }
    void *block = __real_realloc(p, n);
    return p == NULL ? counted(block) : block;
}

void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
    return fails() ? NULL : counted(__real_aligned_alloc(alignment, n));
}

int __wrap_posix_memalign(void **p, size_t alignment, size_t n)
{
    if (fails()) {
        return 12 /* ENOMEM */;
    }
    int failed = __real_posix_memalign(p, alignment, n);
    atomic_fetch_add(&n_live, failed == 0);
    return failed;
}

char *__wrap_strdup(const char *s) { return fails() ? NULL : counted(__real_strdup(s)); }

void __wrap_free(void *p)
{
    atomic_fetch_sub(&n_live, p != NULL);
    __real_free(p);
}

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    return fails() ? 11 /* EAGAIN */ : __real_pthread_create(t, attr, fn, arg);
}

/* ---------------------------------------------------------------- the path */

enum { N_NEW = 8 };

struct path {
    bool again; /* a call that ran out of memory is made a second time */
    weft_model *model;
    weft_engine *engine;
    weft_seq *seq, *copy;
    size_t n_tokens, n_text;
    uint8_t state[40000]; /* the state of the sequence; `file` is the file that it is in */
    const char *file;
    int32_t tokens[64]; /* the prompt, then what was drawn */
    char text[256];
    float vectors[3 * 512], scores[2];
};

#define RUN(p, call)                                                                               \
    do {                                                                                           \
        weft_status status_ = (call);                                                              \
        if (status_ == WEFT_E_NOMEM && (p)->again) {                                               \
            status_ = (call);                                                                      \
        }                                                                                          \
        if (status_ != WEFT_OK) {                                                                  \
            return status_;                                                                        \
        }                                                                                          \
    } while (0)

static weft_status open_all(struct path *p, const char *file)
{
    static const char *const stops[] = { "no such text", "nor this" };
    static const char grammar[] = "root ::= (word | [^ab])*\nword ::= [a\\u00e9] \"x\"?";
    const weft_engine_params params = {
        .size = sizeof params, .n_threads = 2, .n_batch = 16, .n_kv = 1024
    };
    static const weft_logit_bias bias = { 5, -1.0f };
    weft_sampling sampling = WEFT_SAMPLING_INIT;
    sampling.ignore_end = true;
    sampling.bias = &bias;
    sampling.n_bias = 1;
    sampling.seed = 7;
    RUN(p, weft_model_open(file, NULL, &p->model, E));
    RUN(p, weft_engine_open(p->model, &params, &p->engine, E));
    RUN(p, weft_seq_open(p->engine, NULL, &p->seq, E));
    RUN(p, weft_seq_set_stops(p->seq, stops, 2, E));
    RUN(p, weft_seq_set_grammar(p->seq, grammar, sizeof grammar - 1, E));
    RUN(p, weft_seq_set_sampling(p->seq, &sampling, E));
    return WEFT_OK;
}

static weft_status generate(struct path *p, weft_seq *seq, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        while (weft_seq_pending(seq) > 0) {
            RUN(p, weft_engine_step(p->engine, NULL, E));
        }
        RUN(p, weft_seq_next(seq, &p->tokens[p->n_tokens], E));
        p->n_tokens++;
    }
    return WEFT_OK;
}

/* Draws free text of the copy, which has a trigger, from all logits and from the best, and in a
 * fork that takes the place of the copy. */
static weft_status write_freely(struct path *p)
{
    static const char *const texts[] = { "e", "th" };
    static const char grammar[] = "root ::= [^ab]*";
    const weft_trigger trigger = {
        .size = sizeof trigger, .texts = texts, .n_texts = 2, .hold_open = "o", .hold_close = "a"
    };
    weft_sampling best = WEFT_SAMPLING_INIT;
    weft_seq *fork = NULL;
    best.ignore_end = true;
    best.top_k = 20;
    RUN(p, weft_seq_set_trigger(p->copy, &trigger, grammar, sizeof grammar - 1, E));
    TRY(generate(p, p->copy, 2));
    RUN(p, weft_seq_fork(p->copy, &fork, E));
    weft_seq_release(&p->copy);
    p->copy = fork;
    TRY(generate(p, p->copy, 2));
    RUN(p, weft_seq_set_sampling(p->copy, &best, E));
    return generate(p, p->copy, N_NEW);
}

/* Makes the copy what the sequence was, through memory and through a file. */
static weft_status save_and_load(struct path *p)
{
    size_t n = 0;
    RUN(p, weft_seq_save(p->seq, p->state, sizeof p->state, &n, E));
    RUN(p, weft_seq_save_file(p->seq, p->file, E));
    RUN(p, weft_seq_rewind(p->seq, 3, E));
    RUN(p, weft_seq_load(p->copy, p->state, n, E));
    RUN(p, weft_seq_load_file(p->seq, p->file, E));
    return weft_seq_len(p->copy) == weft_seq_len(p->seq) ? WEFT_OK : WEFT_E_INTERNAL;
}

/* Embeds three texts that begin alike and, if the model is a reranker, scores two documents. */
static weft_status embed(struct path *p)
{
    static const size_t lengths[] = { 20, 22, 18 }, bytes[] = { 3, 2 };
    int32_t tokens[60];
    weft_model_info info = { .size = sizeof info };
    RUN(p, weft_model_get_info(p->model, &info, E));
    for (size_t i = 0, at = 0; i < 3; at += lengths[i++]) {
        for (size_t j = 0; j < lengths[i]; j++) {
            tokens[at + j] = (int32_t)(300 + j + (j > 16 ? i : 0));
        }
    }
    RUN(p, weft_embed_texts(
               p->engine, tokens, lengths, 3,
               &(weft_embed_params){ .size = sizeof(weft_embed_params), .pooling = WEFT_POOL_LAST },
               p->vectors, 3 * 512, NULL, E));
    if (info.n_labels > 0) {
        RUN(p, weft_rank(p->engine, "a", 1, "onebc", bytes, 2, p->scores, 2, NULL, E));
    }
    return WEFT_OK;
}

static weft_status walk(struct path *p, const char *file)
{
    static const char text[] = "What is the capital of the world? 12 \xf0\x9f\x8c\x8d";
    static const weft_message hello = { "user", "Hello" };
    char bytes[128];
    size_t n = 0;
    TRY(open_all(p, file));
    RUN(p, weft_chat_tokens(p->model, &hello, 1, NULL, p->tokens, 64, &n, E));
    RUN(p, weft_tokenize(p->model, text, sizeof text - 1, 0, p->tokens, 48, &p->n_tokens, E));
    RUN(p, weft_detokenize(p->model, p->tokens, p->n_tokens, 0, bytes, sizeof bytes, &n, E));
    RUN(p, weft_seq_append(p->seq, p->tokens, p->n_tokens, E));
    p->n_tokens = 0;
    TRY(generate(p, p->seq, N_NEW));
    RUN(p, weft_seq_reserve(p->seq, 100, E));
    RUN(p, weft_seq_fork(p->seq, &p->copy, E));
    RUN(p, weft_seq_park(p->copy, E));
    RUN(p, weft_seq_unpark(p->copy, E));
    TRY(generate(p, p->copy, N_NEW));
    RUN(p, weft_engine_wait(p->engine, 0, NULL, E));
    RUN(p, weft_seq_text(p->copy, p->text, sizeof p->text, &p->n_text, E));
    TRY(write_freely(p));
    TRY(embed(p));
    return save_and_load(p);
}

static void release(struct path *p)
{
    weft_seq_release(&p->copy);
    weft_seq_release(&p->seq);
    weft_engine_release(&p->engine);
    weft_model_release(&p->model);
}

/* Walks the path while the k-th allocation fails. Returns true if there were at least k
 * allocations. */
static bool run(struct path *p, const char *file, long k, bool again, weft_status *status)
{
    static const char *state;
    state = state != NULL ? state : model_path("state");
    *p = (struct path){ .again = again, .file = state };
    size_t live = atomic_load(&n_live);
    atomic_store(&n_failed, 0);
    atomic_store(&countdown, k);
    atomic_store(&for_good, !again);
    atomic_store(&armed, true);
    *status = walk(p, file);
    release(p);
    atomic_store(&armed, false);
    if (atomic_load(&n_live) != live) {
        fail_msg("%zd blocks are left behind when allocation %ld fails",
                 (ssize_t)(atomic_load(&n_live) - live), k);
    }
    return atomic_load(&n_failed) > 0;
}

static void check_model(const char *name, const char *file)
{
    struct path clean, p;
    weft_status status;
    run(&clean, file, LONG_MAX, false, &status);
    rig_expect(status, WEFT_OK, "the path with all the memory it wants", __FILE__, __LINE__);
    assert_true(clean.n_text > 0);
    long k = 1;
    for (; run(&p, file, k, false, &status); k++) {
        rig_expect(status, WEFT_E_NOMEM, "with no memory from here on", __FILE__, __LINE__);
        bool reached = run(&p, file, k, true, &status);
        assert_true(reached);
        rig_expect(status, WEFT_OK, "one failure, then the call again", __FILE__, __LINE__);
        assert_int_equal(p.n_tokens, clean.n_tokens);
        assert_memory_equal(p.tokens, clean.tokens, clean.n_tokens * sizeof *clean.tokens);
        assert_int_equal(p.n_text, clean.n_text);
        assert_memory_equal(p.text, clean.text, clean.n_text);
        assert_memory_equal(p.vectors, clean.vectors, sizeof p.vectors);
        assert_memory_equal(p.scores, clean.scores, sizeof p.scores);
    }
    rig_expect(status, WEFT_OK, "the path past its last allocation", __FILE__, __LINE__);
    assert_memory_equal(p.tokens, clean.tokens, clean.n_tokens * sizeof *clean.tokens);
    print_message("%s: %ld allocations failed, each by itself and with all after it\n", name,
                  k - 1);
    assert_true(k > 50);
}

static void test_bpe(void **state)
{
    (void)state;
    check_model("tiny-qwen2", model_file("tiny-qwen2"));
}

static void test_llama3(void **state)
{
    (void)state;
    check_model("tiny-llama", model_file("tiny-llama"));
}

static void test_spm(void **state)
{
    (void)state;
    check_model("tiny-phi3", model_file("tiny-phi3"));
}

static void test_reranker(void **state)
{
    (void)state;
    struct synth_spec spec;
    assert_true(synth_preset("tiny-qwen3", &spec));
    spec.n_ctx = 1024;
    spec.n_labels = 2;
    check_model("a reranker", model_file_of(&spec));
}

/* ---------------------------------------------------------------- tokens computed ahead */

enum { N_PROMPT = 58, N_GREEDY = 14 }; /* on into the second page */

/* Draws greedily from an engine whose backend computes ahead. The k-th allocation after the prompt
 * fails, and the failed call is made a second time. Returns false if there were fewer than k
 * allocations. */
static bool run_ahead(long k, int32_t *tokens)
{
    struct path p = { .again = true };
    static struct top_backend top;
    weft_engine_params params = WEFT_ENGINE_PARAMS_INIT;
    weft_sampling greedy = WEFT_SAMPLING_INIT;
    params.n_threads = 1;
    params.device = "cpu";
    params.n_ahead = N_GREEDY;
    greedy.temperature = 0;
    struct rig r = rig_open(model_file("tiny-qwen2"), &params);
    top_backend_wrap(&top, r.engine, TOP_BEST | TOP_AHEAD, 1);
    p.engine = r.engine;
    p.seq = rig_seq(&r, &greedy);
    rig_tokens(&r, 1, tokens, N_PROMPT);
    OK(weft_seq_append(p.seq, tokens, N_PROMPT, E));
    rig_compute(&r, p.seq);
    atomic_store(&n_failed, 0);
    atomic_store(&for_good, false);
    atomic_store(&countdown, k);
    atomic_store(&armed, true);
    weft_status status = generate(&p, p.seq, N_GREEDY);
    atomic_store(&armed, false);
    rig_expect(status, WEFT_OK, "one failure, then the call again", __FILE__, __LINE__);
    OK(weft_seq_tokens(p.seq, tokens, N_PROMPT + N_GREEDY, NULL, E));
    weft_seq_release(&p.seq);
    rig_close(&r);
    return atomic_load(&n_failed) > 0;
}

static void test_ahead(void **state)
{
    (void)state;
    int32_t want[N_PROMPT + N_GREEDY], got[N_PROMPT + N_GREEDY];
    long k = 1;
    run_ahead(LONG_MAX, want);
    for (; run_ahead(k, got); k++) {
        assert_memory_equal(got, want, sizeof got);
    }
    assert_true(k > N_GREEDY);
}

/* ---------------------------------------------------------------- a draw beside a step */

static weft_engine *idle_engine;
static size_t n_stepped;

/* A draw from all logits allocates while it holds no lock, so the step of another thread may come
 * in between. This is such a step. */
static void step_meanwhile(void)
{
    if (!idle_engine->lock.held) {
        OK(weft_engine_step(idle_engine, NULL, E));
        n_stepped++;
    }
}

/* Makes a first draw whose k-th allocation fails. If a step came in between, it has overwritten the
 * logits. Nothing has changed for the sequence. Returns false if there were fewer than k
 * allocations. */
static bool draw_without(long k, bool look)
{
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_sampling s = WEFT_SAMPLING_INIT;
    int32_t tokens[30], got = -1, want;
    s.top_k = 0;
    rig_tokens(&r, 1, tokens, 30);
    weft_seq *seq = rig_seq(&r, &s), *twin = rig_seq(&r, &s), *other = rig_seq(&r, NULL);
    OK(weft_seq_append(seq, tokens, 30, E));
    rig_compute(&r, seq);
    OK(weft_seq_append(other, tokens, 20, E));
    idle_engine = r.engine;
    meanwhile = step_meanwhile;
    atomic_store(&n_failed, 0);
    atomic_store(&for_good, false);
    atomic_store(&countdown, k);
    atomic_store(&armed, true);
    weft_status status = weft_seq_next(seq, &got, E);
    atomic_store(&armed, false);
    meanwhile = NULL;
    bool reached = atomic_load(&n_failed) > 0;
    rig_expect(status, reached ? WEFT_E_NOMEM : WEFT_OK, "a draw", __FILE__, __LINE__);
    if (reached && look) {
        rig_check(&r, seq, tokens, 30, "after the draw that failed");
    }
    OK(weft_seq_append(twin, tokens, 30, E));
    rig_compute(&r, twin);
    OK(weft_seq_next(twin, &want, E));
    if (reached) {
        OK(weft_seq_next(seq, &got, E));
    }
    assert_int_equal(got, want);
    weft_seq_release(&seq);
    weft_seq_release(&twin);
    weft_seq_release(&other);
    rig_close(&r);
    return reached;
}

static void test_draw_beside_step(void **state)
{
    (void)state;
    n_stepped = 0;
    for (int look = 0; look < 2; look++) {
        long k = 1;
        for (; draw_without(k, look); k++) {
            ;
        }
        assert_true(k > 5);
    }
    assert_true(n_stepped >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bpe),   cmocka_unit_test(test_llama3),
        cmocka_unit_test(test_spm),   cmocka_unit_test(test_reranker),
        cmocka_unit_test(test_ahead), cmocka_unit_test(test_draw_beside_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
