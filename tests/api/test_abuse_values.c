/* Abuse by values. Functions without a status must return 0 for what is not a handle. Sampling and
 * engine parameters are out of range, NaN or infinite. Every function of a sequence is called in
 * every state that a sequence can be in. Includes only weft.h of the library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "support/abuse_rig.h"

/* ---------------------------------------------------------------- functions without a status */

static uint64_t f_version(void *h) { return weft_file_version(h); }
static uint64_t f_bytes(void *h) { return weft_file_bytes(h); }
static uint64_t f_parts(void *h) { return weft_file_n_parts(h); }
static uint64_t f_part(void *h) { return weft_file_part(h, 0) != NULL; }
static uint64_t f_keys(void *h) { return weft_file_n_keys(h); }
static uint64_t f_tensors(void *h) { return weft_file_n_tensors(h); }
static uint64_t m_is_end(void *h)
{
    weft_model_info info = { .size = sizeof info };
    OK(weft_model_get_info(rig.model, &info, E));
    return weft_token_is_end(h, info.eos);
}
static uint64_t s_len(void *h) { return weft_seq_len(h); }
static uint64_t s_cached(void *h)
{
    bool works = weft_seq_append(h, ids_in, 1, NULL) == WEFT_OK;
    /* No earlier text begins with this token, so weft_seq_cached() returns 0 for a good handle,
     * too. The append, which works only with a good handle, makes the difference. */
    return weft_seq_cached(h) + works;
}
static uint64_t s_finish(void *h) { return weft_seq_finish(h) != WEFT_FINISH_END; }
static uint64_t s_pending(void *h)
{
    return weft_seq_append(h, ids_in, 1, NULL) == WEFT_OK ? weft_seq_pending(h) : 0;
}
static uint64_t s_cancel(void *h)
{
    weft_seq_cancel(h);
    return weft_seq_append(h, ids_in, 1, NULL) == WEFT_E_CANCELLED;
}

static const struct value_row {
    const char *name;
    uint64_t (*get)(void *); /* returns 0 for any handle but a good one, and not 0 for a good one */
    enum kind kind;
} value_rows[] = {
    { "file_version", f_version, FILE_HANDLE },
    { "file_bytes", f_bytes, FILE_HANDLE },
    { "file_n_parts", f_parts, FILE_HANDLE },
    { "file_part", f_part, FILE_HANDLE },
    { "file_n_keys", f_keys, FILE_HANDLE },
    { "file_n_tensors", f_tensors, FILE_HANDLE },
    { "token_is_end", m_is_end, MODEL },
    { "seq_len", s_len, SEQ },
    { "seq_pending", s_pending, SEQ },
    { "seq_cached", s_cached, SEQ },
    { "seq_finish", s_finish, SEQ },
    { "seq_cancel", s_cancel, SEQ },
};

static void check_value(const struct value_row *r, void *handle, bool want)
{
    n_cases++;
    if ((r->get(handle) != 0) != want) {
        fail_msg("weft_%s: %s", r->name, want ? "0 for a good handle" : "not 0 for a bad handle");
    }
}

static void test_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof value_rows / sizeof value_rows[0]; i++) {
        const struct value_row *r = &value_rows[i];
        weft_seq *seq = NULL;
        OK(weft_seq_fork(base, &seq, E));
        check_value(r, handle_of(r->kind, seq), true);
        check_value(r, NULL, false);
        check_value(r, released(r->kind), false);
        check_value(r, (void *)(uintptr_t)zeros, false);
        for (int kind = MODEL; kind < N_KINDS; kind++) {
            if (kind != (int)r->kind) {
                check_value(r, handle_of((enum kind)kind, seq), false);
            }
        }
        weft_seq_release(&seq);
        still_the_same(r->name);
    }
}

/* A handle that is NULL, cleared or of another type: a release does nothing and leaves the
 * pointer. */
static void test_releases(void **state)
{
    (void)state;
    for (int kind = MODEL; kind < N_KINDS; kind++) {
        void *handle = released((enum kind)kind);
        assert_null(handle);
        release((enum kind)kind, &handle);
        assert_null(handle);
        release((enum kind)kind, NULL);
        handle = (void *)(uintptr_t)zeros;
        release((enum kind)kind, &handle);
        assert_ptr_equal(handle, zeros);
        n_cases += 3;
        for (int other = MODEL; other < N_KINDS; other++) {
            if (other != kind) {
                void *const before = handle_of((enum kind)other, base);
                handle = before;
                release((enum kind)kind, &handle);
                assert_ptr_equal(handle, before);
                n_cases++;
            }
        }
    }
    still_the_same("..._release");
}

static void test_lists(void **state)
{
    (void)state;
    static const size_t beyond[] = { 10000, SIZE_MAX / 2, SIZE_MAX };
    static const int32_t outside[] = { -1, INT32_MIN, INT32_MAX, 1 << 30 };
    for (size_t i = 0; i < 3; i++) {
        assert_null(weft_chat_template_name(beyond[i]));
        assert_null(weft_file_part(file, beyond[i]));
        n_cases += 2;
    }
    for (size_t i = 0; i < 4; i++) {
        assert_false(weft_token_is_end(rig.model, outside[i]));
        assert_non_null(weft_status_name((weft_status)outside[i]));
        n_cases += 2;
    }
}

/* ---------------------------------------------------------------- parameters */

static void try_sampling(weft_sampling s, weft_status want, const char *field)
{
    weft_seq *opened = NULL, *seq = NULL;
    OK(weft_seq_fork(base, &seq, E));
    if (want == WEFT_OK) {
        int32_t token;
        OK(weft_seq_open(rig.engine, &s, &opened, E));
        OK(weft_seq_set_sampling(seq, &s, E));
        OK(weft_seq_next(seq, &token, E));
        assert_in_range(token, 0, rig.n_vocab - 1);
    } else {
        FAILS(want, weft_seq_open(rig.engine, &s, &opened, E));
        rig_message((const char *const[]){ field, NULL });
        FAILS(want, weft_seq_set_sampling(seq, &s, E));
        rig_message((const char *const[]){ field, NULL });
        assert_null(opened);
    }
    n_cases += 2;
    weft_seq_release(&opened);
    weft_seq_release(&seq);
}

static void test_sampling(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t offset;
        float good[3], bad[6];
    } fields[] = {
#define FIELD(name) #name, offsetof(weft_sampling, name)
        { FIELD(temperature), { 0, 1e-30f, 100 }, { -1e-30f, -1, 101, NAN, INFINITY, -INFINITY } },
        { FIELD(top_p), { 1e-30f, 0.5f, 1 }, { 0, -1, 1.001f, NAN, INFINITY, -INFINITY } },
        { FIELD(min_p), { 0, 1e-30f, 1 }, { -1e-30f, -1, 1.001f, NAN, INFINITY, -INFINITY } },
        { FIELD(typical_p), { 1e-30f, 0.5f, 1 }, { 0, -1, 1.001f, NAN, INFINITY, -INFINITY } },
        { FIELD(repeat_penalty), { 1e-30f, 1, 3e38f }, { 0, -0.0f, -1, NAN, INFINITY, -INFINITY } },
        { FIELD(frequency_penalty), { -2, 0, 2 }, { -2.1f, 2.1f, 1e9f, NAN, INFINITY, -INFINITY } },
        { FIELD(presence_penalty), { -2, 0, 2 }, { -2.1f, 2.1f, 1e9f, NAN, INFINITY, -INFINITY } },
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        for (size_t j = 0; j < 9; j++) {
            weft_sampling s = WEFT_SAMPLING_INIT;
            const float *value = j < 3 ? &fields[i].good[j] : &fields[i].bad[j - 3];
            memcpy((char *)&s + fields[i].offset, value, sizeof *value);
            try_sampling(s, j < 3 ? WEFT_OK : WEFT_E_ARG, fields[i].name);
        }
    }
    static const int32_t numbers[] = { 0, 1, INT32_MAX, -2, INT32_MIN };
    for (size_t i = 0; i < 5; i++) {
        weft_sampling s = WEFT_SAMPLING_INIT;
        s.top_k = numbers[i];
        try_sampling(s, i < 3 ? WEFT_OK : WEFT_E_ARG, "top_k");
        s = (weft_sampling)WEFT_SAMPLING_INIT;
        s.repeat_last_n = numbers[i];
        try_sampling(s, i < 3 ? WEFT_OK : WEFT_E_ARG, "repeat_last_n");
    }
    still_the_same("sampling parameters");
}

static void try_bias(int32_t token, float bias, weft_status want)
{
    const weft_logit_bias b = { token, bias };
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.bias = &b;
    s.n_bias = 1;
    try_sampling(s, want, "bias");
}

static void test_bias(void **state)
{
    (void)state;
    weft_logit_bias all[1025];
    weft_sampling s = WEFT_SAMPLING_INIT;
    static const int32_t outside[] = { -1, INT32_MIN, INT32_MAX };
    for (size_t i = 0; i < 3; i++) {
        try_bias(outside[i], 1, WEFT_E_ARG);
    }
    try_bias((int32_t)rig.n_vocab, 1, WEFT_E_ARG);
    try_bias(3, NAN, WEFT_E_ARG);
    try_bias(3, INFINITY, WEFT_E_ARG);
    try_bias(3, -INFINITY, WEFT_OK);
    try_bias(3, 3.4e38f, WEFT_OK);
    try_bias(3, -3.4e38f, WEFT_OK);
    static const size_t counts[] = { 1025, SIZE_MAX, SIZE_MAX / sizeof *all + 2 };
    for (size_t i = 0; i < 3; i++) {
        s.bias = i == 0 ? all : NULL;
        s.n_bias = counts[i];
        try_sampling(s, WEFT_E_ARG, "bias");
    }
    all[0] = all[1] = (weft_logit_bias){ 7, 1 };
    s.bias = all;
    s.n_bias = 2;
    try_sampling(s, WEFT_E_ARG, "twice");
    /* Nothing is left to draw. The draw is refused, and works again with other values. */
    weft_seq *seq = NULL;
    int32_t token = -7;
    assert_in_range(rig.n_vocab, 1, 1024);
    for (size_t i = 0; i < rig.n_vocab; i++) {
        all[i] = (weft_logit_bias){ (int32_t)i, -INFINITY };
    }
    s.n_bias = rig.n_vocab;
    OK(weft_seq_fork(base, &seq, E));
    OK(weft_seq_set_sampling(seq, &s, E));
    FAILS(WEFT_E_STATE, weft_seq_next(seq, &token, E));
    FAILS(WEFT_E_STATE, weft_seq_next(seq, &token, E));
    assert_int_equal(token, -7);
    OK(weft_seq_set_sampling(seq, NULL, E));
    OK(weft_seq_next(seq, &token, E));
    n_cases += 3;
    weft_seq_release(&seq);
    still_the_same("logit bias");
}

static void test_engine_params(void **state)
{
    (void)state;
    static char long_name[5000];
    memset(long_name, 'c', sizeof long_name - 1);
#define P(...)                                                                                     \
    {                                                                                              \
        .size = sizeof(weft_engine_params), .n_threads = 1, __VA_ARGS__                            \
    }
    const weft_engine_params refused[] = {
        P(.n_ctx = 257),
        P(.n_ctx = SIZE_MAX - 1),
        P(.n_ctx = SIZE_MAX / 2 + 1),
        P(.n_kv = 1),
        P(.n_kv = 63),
        P(.n_kv = SIZE_MAX),
        P(.n_kv = SIZE_MAX - 62),
        P(.n_batch = 65537),
        P(.n_batch = SIZE_MAX),
        P(.n_ahead = 65),
        P(.n_ahead = SIZE_MAX),
        P(.cpu_isa = (weft_cpu_isa)4),
        P(.cpu_isa = (weft_cpu_isa)99),
        { .size = sizeof(weft_engine_params), .n_threads = 1025 },
        { .size = sizeof(weft_engine_params), .n_threads = SIZE_MAX },
    };
    const char *const devices[] = { "",         "CPU",     "cpu ",    "cpu:0",
                                    "cuda:",    "cuda:-1", "cuda:1x", "cuda:99999999999999999999",
                                    "\xff\xfe", long_name };
    weft_engine *engine = NULL;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++, n_cases++) {
        FAILS(WEFT_E_ARG, weft_engine_open(rig.model, &refused[i], &engine, E));
        assert_null(engine);
    }
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++, n_cases++) {
        const weft_engine_params p = P(.device = devices[i]);
        FAILS(WEFT_E_UNSUPPORTED, weft_engine_open(rig.model, &p, &engine, E));
        assert_null(engine);
    }
    const weft_engine_params smallest = P(.device = "cpu", .n_ctx = 1, .n_kv = 64, .n_batch = 1);
    OK(weft_engine_open(rig.model, &smallest, &engine, E));
    weft_engine_release(&engine);
    n_cases++;
    still_the_same("engine parameters");
}

static void test_others(void **state)
{
    (void)state;
    static const int poolings[] = { -1, 5, 99, INT32_MAX };
    static const weft_message wrong[] = {
        { NULL, "x" }, { "user", NULL }, { NULL, NULL }, { "", "x" }, { "USER", "x" },
    };
    static const int tops[] = { -2, 65, 100000, INT_MAX, INT_MIN };
    static const char *const grammars[] = {
        "x", "root ::= (", "root ::= other", "root ::= root", "\xff", "root ::= [z-a]"
    };
    const char *const stops[][1] = { { NULL }, { "" } };
    float *vector = calloc(1024, sizeof *vector);
    int32_t tokens[64];
    for (size_t i = 0; i < 4; i++, n_cases++) {
        const weft_embed_params p = { .size = sizeof p, .pooling = (weft_pooling)poolings[i] };
        FAILS(WEFT_E_ARG, weft_embed(rig.engine, ids_in, 3, &p, vector, 1024, NULL, E));
    }
    const weft_embed_params cls = { .size = sizeof cls, .pooling = WEFT_POOL_CLS };
    FAILS(WEFT_E_UNSUPPORTED, weft_embed(rig.engine, ids_in, 3, &cls, vector, 1024, NULL, E));
    const weft_embed_params rank = { .size = sizeof rank, .pooling = WEFT_POOL_RANK };
    FAILS(WEFT_E_UNSUPPORTED, weft_embed(rig.engine, ids_in, 3, &rank, vector, 1024, NULL, E));
    const weft_embed_params wide = { .size = sizeof wide, .dimensions = SIZE_MAX };
    FAILS(WEFT_E_ARG, weft_embed(rig.engine, ids_in, 3, &wide, vector, 1024, NULL, E));
    FAILS(WEFT_E_UNSUPPORTED,
          weft_rank(rig.engine, "q", 1, "d", &(size_t){ 1 }, 1, vector, 1024, NULL, E));
    for (size_t i = 0; i < 5; i++, n_cases++) {
        FAILS(WEFT_E_ARG, weft_chat_tokens(rig.model, &wrong[i], 1, NULL, tokens, 64, NULL, E));
    }
    for (size_t i = 0; i < 2; i++, n_cases++) {
        FAILS(WEFT_E_ARG, weft_seq_set_stops(base, stops[i], 1, E));
    }
    for (size_t i = 0; i < sizeof tops / sizeof tops[0]; i++, n_cases++) {
        FAILS(WEFT_E_ARG, weft_seq_set_logprobs(base, tops[i], E));
    }
    for (size_t i = 0; i < sizeof grammars / sizeof grammars[0]; i++, n_cases++) {
        FAILS(WEFT_E_FORMAT, weft_seq_set_grammar(base, grammars[i], strlen(grammars[i]), E));
    }
    for (size_t i = 0; i < 2; i++, n_cases += 2) {
        const int32_t ids[] = { -1, (int32_t)rig.n_vocab };
        const weft_trigger by_text = { .size = sizeof by_text, .texts = stops[i], .n_texts = 1 };
        const weft_trigger by_id = { .size = sizeof by_id, .tokens = ids + i, .n_tokens = 1 };
        FAILS(WEFT_E_ARG, weft_seq_set_trigger(base, &by_text, "root ::= .", 10, E));
        FAILS(WEFT_E_ARG, weft_seq_set_trigger(base, &by_id, "root ::= .", 10, E));
    }
    const weft_chat_params chat = { .size = sizeof chat, .template_name = "" };
    FAILS(WEFT_E_UNSUPPORTED, weft_chat_tokens(rig.model, &(weft_message){ "user", "x" }, 1, &chat,
                                               tokens, 64, NULL, E));
    n_cases += 2;
    free(vector);
    still_the_same("other parameters");
}

/* ---------------------------------------------------------------- states */

enum state_of_seq {
    EMPTY,
    WAITING,
    READY,
    DRAWN,
    END,
    STOP,
    LENGTH,
    ENDED,
    FULL,
    CANCELLED,
    N_STATES
};
static const char *const state_names[] = { "empty",
                                           "waiting",
                                           "ready",
                                           "drawn",
                                           "at an end token",
                                           "at a stop string",
                                           "at its full length",
                                           "ended",
                                           "full",
                                           "cancelled" };

static void draw(weft_seq *seq, int32_t token)
{
    const weft_logit_bias bias = { token, 1e4f };
    weft_sampling s = WEFT_SAMPLING_INIT;
    int32_t got;
    s.temperature = 0;
    s.bias = &bias;
    s.n_bias = 1;
    rig_compute(&rig, seq);
    OK(weft_seq_set_sampling(seq, &s, E));
    OK(weft_seq_next(seq, &got, E));
    assert_int_equal(got, token);
}

static weft_seq *seq_in(enum state_of_seq state)
{
    weft_model_info info = { .size = sizeof info };
    int32_t tokens[64];
    char text[64];
    size_t n = 0;
    rig_tokens(&rig, 1, tokens, 64);
    weft_seq *seq = rig_seq(&rig, NULL);
    OK(weft_seq_append(seq, tokens,
                       state == EMPTY    ? 0
                       : state == LENGTH ? 63
                       : state == FULL   ? 64
                                         : 5,
                       E));
    if (state != WAITING) {
        rig_compute(&rig, seq);
    }
    switch (state) {
    case DRAWN: draw(seq, 300); break;
    case LENGTH: draw(seq, 300); break;
    case END:
        OK(weft_model_get_info(rig.model, &info, E));
        draw(seq, info.eos);
        break;
    case STOP:
        OK(weft_detokenize(rig.model, ids_in, 1, 0, text, sizeof text - 1, &n, E));
        text[n] = '\0';
        OK(weft_seq_set_stops(seq, (const char *const[]){ text }, 1, E));
        draw(seq, ids_in[0]);
        break;
    case ENDED: OK(weft_seq_end(seq, E)); break;
    case CANCELLED: weft_seq_cancel(seq); break;
    default: break;
    }
    return seq;
}

static weft_status do_append(weft_seq *s) { return weft_seq_append(s, ids_in, 1, E); }
static weft_status do_append_0(weft_seq *s) { return weft_seq_append(s, NULL, 0, E); }
static weft_status do_next(weft_seq *s) { return weft_seq_next(s, &(int32_t){ 0 }, E); }
static weft_status do_text(weft_seq *s)
{
    char text[64];
    return weft_seq_text(s, text, sizeof text, NULL, E);
}
static weft_status do_logits(weft_seq *s)
{
    float logits[1024];
    return weft_seq_logits(s, logits, 1024, NULL, E);
}
static weft_status do_tokens(weft_seq *s)
{
    int32_t tokens[64];
    return weft_seq_tokens(s, tokens, 64, NULL, E);
}
static weft_status do_unpark(weft_seq *s) { return weft_seq_unpark(s, E); }
static weft_status do_park(weft_seq *s)
{
    OK(weft_seq_park(s, E));
    assert_int_equal(weft_seq_len(s), weft_seq_pending(s));
    FAILS(WEFT_E_STATE, weft_seq_reserve(s, 1, E));
    if (weft_seq_finish(s) == WEFT_RUNNING) {
        FAILS(WEFT_E_STATE, weft_seq_logits(s, NULL, 0, NULL, E));
    }
    return weft_seq_park(s, E);
}
static weft_status do_end(weft_seq *s) { return weft_seq_end(s, E); }
static weft_status do_rewind(weft_seq *s) { return weft_seq_rewind(s, weft_seq_len(s) / 2, E); }
static weft_status do_rewind_0(weft_seq *s) { return weft_seq_rewind(s, 0, E); }
static weft_status do_rewind_all(weft_seq *s) { return weft_seq_rewind(s, weft_seq_len(s), E); }
static weft_status do_rewind_on(weft_seq *s) { return weft_seq_rewind(s, weft_seq_len(s) + 1, E); }
static weft_status do_sampling(weft_seq *s) { return weft_seq_set_sampling(s, NULL, E); }
static weft_status do_stops(weft_seq *s) { return weft_seq_set_stops(s, NULL, 0, E); }
static weft_status do_observe(weft_seq *s) { return weft_seq_observe(s, NULL, NULL, E); }
static weft_status do_step(weft_seq *s) { return (void)s, weft_engine_step(rig.engine, NULL, E); }
static weft_status do_save(weft_seq *s)
{
    static uint8_t state[1 << 16];
    return weft_seq_save(s, state, sizeof state, NULL, E);
}
static weft_status do_save_file(weft_seq *s)
{
    static const char *path;
    path = path != NULL ? path : model_path("another state");
    return weft_seq_save_file(s, path, E);
}
static weft_status do_load(weft_seq *s) { return weft_seq_load(s, state_in, n_state_in, E); }
static weft_status do_load_file(weft_seq *s) { return weft_seq_load_file(s, state_path, E); }
static weft_status do_load_cut(weft_seq *s)
{
    return weft_seq_load(s, state_in, n_state_in - 1, E);
}
static weft_status do_grammar(weft_seq *s) { return weft_seq_set_grammar(s, "root ::= .*", 11, E); }
static weft_status do_no_grammar(weft_seq *s) { return weft_seq_set_grammar(s, NULL, 0, E); }
static weft_status do_trigger(weft_seq *s)
{
    static const char *const text = "e";
    const weft_trigger t = { .size = sizeof t, .texts = &text, .n_texts = 1 };
    return weft_seq_set_trigger(s, &t, "root ::= .*", 11, E);
}
static weft_status do_no_trigger(weft_seq *s) { return weft_seq_set_trigger(s, NULL, NULL, 0, E); }
static weft_status do_set_logprobs(weft_seq *s) { return weft_seq_set_logprobs(s, 64, E); }
static weft_status do_logprobs(weft_seq *s)
{
    weft_logprob list[65];
    return weft_seq_logprobs(s, list, 65, NULL, E);
}
static weft_status do_stats(weft_seq *s)
{
    weft_engine_stats stats = { .size = sizeof stats };
    weft_status status = weft_engine_get_stats(rig.engine, &stats, E);
    assert_int_equal(stats.n_seqs, 2);
    assert_int_equal(stats.n_tokens, weft_seq_len(base) + weft_seq_len(s));
    return status;
}
static weft_status do_fork(weft_seq *s)
{
    weft_seq *copy = NULL;
    weft_status status = weft_seq_fork(s, &copy, E);
    if (status == WEFT_OK) {
        assert_int_equal(weft_seq_len(copy), weft_seq_len(s));
        assert_int_equal(weft_seq_finish(copy), weft_seq_finish(s));
    }
    weft_seq_release(&copy);
    return status;
}

#define ARG WEFT_E_ARG
#define STATE WEFT_E_STATE
#define CTX WEFT_E_CTX_FULL
#define GONE WEFT_E_CANCELLED
#define FORMAT WEFT_E_FORMAT
#define EVER(status)                                                                               \
    {                                                                                              \
        status, status, status, status, status, status, status, status, status, status             \
    }

static const struct {
    const char *name;
    weft_status (*call)(weft_seq *);
    weft_status want[N_STATES];
} in_state[] = {
    /* Columns: empty, waiting, ready, drawn, end, stop, length, ended, full, cancelled. */
    { "append", do_append, { 0, 0, 0, 0, 0, 0, CTX, 0, CTX, GONE } },
    { "append nothing", do_append_0, { 0, 0, 0, 0, 0, 0, 0, 0, 0, GONE } },
    { "next", do_next, { STATE, STATE, 0, STATE, STATE, STATE, STATE, STATE, CTX, GONE } },
    { "text", do_text, { 0 } },
    { "logits", do_logits, { STATE, STATE, 0, STATE, STATE, STATE, STATE, 0, 0, 0 } },
    { "tokens", do_tokens, { 0 } },
    { "park", do_park, { 0 } },
    { "unpark", do_unpark, { 0 } },
    { "end", do_end, { 0 } },
    { "rewind", do_rewind, { 0 } },
    { "rewind to nothing", do_rewind_0, { 0 } },
    { "rewind to all", do_rewind_all, { 0 } },
    { "rewind forwards", do_rewind_on, EVER(ARG) },
    { "save", do_save, { 0 } },
    { "save_file", do_save_file, { 0 } },
    { "load", do_load, { 0 } },
    { "load_file", do_load_file, { 0 } },
    { "load of a cut state", do_load_cut, EVER(FORMAT) },
    { "set_grammar", do_grammar, { 0 } },
    { "set_grammar to none", do_no_grammar, { 0 } },
    { "set_trigger", do_trigger, { 0 } },
    { "set_trigger to none", do_no_trigger, { 0 } },
    { "set_logprobs", do_set_logprobs, { 0 } },
    { "logprobs", do_logprobs, EVER(STATE) },
    { "stats", do_stats, { 0 } },
    { "set_sampling", do_sampling, { 0 } },
    { "set_stops", do_stops, { 0 } },
    { "observe", do_observe, { 0 } },
    { "step", do_step, { 0 } },
    { "fork", do_fork, { 0 } },
};

static void test_states(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof in_state / sizeof in_state[0]; i++) {
        for (int j = 0; j < N_STATES; j++, n_cases++) {
            weft_seq *seq = seq_in((enum state_of_seq)j);
            size_t len = weft_seq_len(seq), pending = weft_seq_pending(seq);
            weft_finish finish = weft_seq_finish(seq);
            weft_status got = in_state[i].call(seq), want = in_state[i].want[j];
            if (got != want) {
                fail_msg("%s of a sequence that is %s: %s, expected %s", in_state[i].name,
                         state_names[j], weft_status_name(got), weft_status_name(want));
            }
            if (want != WEFT_OK) {
                assert_int_equal(weft_seq_len(seq), len);
                assert_int_equal(weft_seq_pending(seq), pending);
                assert_int_equal(weft_seq_finish(seq), finish);
            }
            weft_seq_release(&seq);
        }
        still_the_same(in_state[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_releases),
        cmocka_unit_test(test_lists),  cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_bias),   cmocka_unit_test(test_engine_params),
        cmocka_unit_test(test_others), cmocka_unit_test(test_states),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
