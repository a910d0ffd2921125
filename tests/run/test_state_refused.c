/* States that must be refused: cut, changed, forged, of another model, too long. A refusal changes
 * nothing. Every test ends with all pages free. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "support/models.h"
#include "support/rig.h"
#include "support/state.h"
#include "synth/synth.h"

enum { PAGE = 64, MAX_TOKENS = 256 };

/* A sequence that every refusal must leave as it is. */
struct victim {
    struct rig r;
    weft_seq *seq;
    int32_t tokens[90];
    float *logits;
    size_t n_free;
};

static void victim_open(struct victim *v, struct rig r)
{
    *v = (struct victim){ .r = r };
    rig_tokens(&r, 77, v->tokens, 90);
    v->seq = rig_fed(&r, v->tokens, 90);
    v->logits = rig_logits(&r, v->seq);
    v->n_free = rig_free(&r);
}

static void victim_unchanged(const struct victim *v)
{
    float *logits = rig_logits(&v->r, v->seq);
    rig_same(&v->r, logits, v->logits, "after a refusal");
    free(logits);
    state_tokens(v->seq, v->tokens, 90);
    assert_int_equal(rig_free(&v->r), v->n_free);
}

static void victim_close(struct victim *v)
{
    int32_t token = 1;
    victim_unchanged(v);
    OK(weft_seq_append(v->seq, &token, 1, E));
    rig_compute(&v->r, v->seq);
    weft_seq_release(&v->seq);
    free(v->logits);
    rig_close(&v->r);
}

static struct state small_state(const struct rig *r, size_t n)
{
    int32_t tokens[MAX_TOKENS];
    rig_tokens(r, 3, tokens, n);
    weft_seq *seq = rig_fed(r, tokens, n);
    struct state s = state_save(seq);
    weft_seq_release(&seq);
    return s;
}

static void test_cut(void **state)
{
    (void)state;
    struct victim v;
    victim_open(&v, state_rig(0, 0));
    struct state s = small_state(&v.r, 5);
    for (size_t n = 0; n < s.n; n++) {
        /* The copy has its own memory, so that a sanitizer sees a read behind it. */
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, s.data, n);
        FAILS(WEFT_E_FORMAT, weft_seq_load(v.seq, cut, n, E));
        free(cut);
    }
    victim_unchanged(&v);
    FAILS(WEFT_E_FORMAT, weft_seq_load(v.seq, s.data, s.n - 1, E));
    char expected[32];
    snprintf(expected, sizeof expected, "expected %zu", s.n);
    rig_message((const char *const[]){ "cut", expected, NULL });
    uint8_t *more = calloc(1, s.n + 1);
    memcpy(more, s.data, s.n);
    FAILS(WEFT_E_FORMAT, weft_seq_load(v.seq, more, s.n + 1, E));
    free(more);
    free(s.data);
    victim_close(&v);
}

static void test_flips(void **state)
{
    (void)state;
    struct victim v;
    uint64_t random = 11;
    victim_open(&v, state_rig(0, 0));
    struct state s = small_state(&v.r, 70);
    for (size_t i = 0; i < 2000; i++) {
        /* First every byte of the header and the checksum, then bytes anywhere. */
        size_t at = i < STATE_HEADER                    ? i
                    : i < STATE_HEADER + STATE_CHECKSUM ? s.n - 1 - (i - STATE_HEADER)
                                                        : rig_random(&random, (uint32_t)s.n);
        uint8_t flip = (uint8_t)(1 + rig_random(&random, 255));
        s.data[at] ^= flip;
        weft_status status = weft_seq_load(v.seq, s.data, s.n, E);
        /* Some changes to the header are refused before the checksum is read, as another version or
         * another model. */
        bool believed =
            at >= STATE_VERSION && at < STATE_TOKENS &&
            (status == WEFT_E_UNSUPPORTED || status == WEFT_E_ARG || status == WEFT_E_ENGINE);
        assert_true(status == WEFT_E_FORMAT || believed);
        s.data[at] ^= flip;
    }
    victim_unchanged(&v);
    OK(weft_seq_load(v.seq, s.data, s.n, E));
    OK(weft_seq_rewind(v.seq, 0, E));
    OK(weft_seq_append(v.seq, v.tokens, 90, E));
    rig_compute(&v.r, v.seq);
    free(s.data);
    victim_close(&v);
}

/* States that somebody has made up, with a checksum that fits. */
static void test_forged(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint64_t value;
        size_t bytes;
        weft_status want;
        const char *word;
    } lies[] = {
        { STATE_VERSION, 2, 4, WEFT_E_UNSUPPORTED, "version 2, expected 1" },
        { STATE_TYPE, 0, 4, WEFT_E_UNSUPPORTED, "type 0, expected 1 to 4" },
        { STATE_TYPE, 5, 4, WEFT_E_UNSUPPORTED, "type 5" },
        { STATE_TYPE, 4, 4, WEFT_E_FORMAT, "contradicts" },
        { STATE_PAGE, 32, 4, WEFT_E_UNSUPPORTED, "page size of 32" },
        { STATE_LAYERS, 0, 4, WEFT_E_FORMAT, "contradicts" },
        { STATE_LAYERS, UINT32_MAX, 4, WEFT_E_FORMAT, "was cut" },
        { STATE_TOKENS, 0, 8, WEFT_E_FORMAT, "contradicts" },
        { STATE_TOKENS, 71, 8, WEFT_E_FORMAT, "was cut" },
        { STATE_TOKENS, UINT64_MAX, 8, WEFT_E_FORMAT, "contradicts" },
        { STATE_TOKENS, UINT64_MAX / 4 + 1 + 70, 8, WEFT_E_FORMAT,
          "contradicts" }, /* wraps to 70 */
        { STATE_DONE, 71, 8, WEFT_E_FORMAT, "contradicts" },
        { STATE_DONE, UINT64_MAX, 8, WEFT_E_FORMAT, "contradicts" },
        { STATE_HEADER, 0xffffffff, 4, WEFT_E_FORMAT, "token 0" },
        { STATE_HEADER + 69 * 4, 0x7fffffff, 4, WEFT_E_FORMAT, "token 69" },
    };
    struct victim v;
    victim_open(&v, state_rig(0, 0));
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct state s = small_state(&v.r, 70);
        state_put(&s, lies[i].at, lies[i].value, lies[i].bytes);
        FAILS(lies[i].want, weft_seq_load(v.seq, s.data, s.n, E));
        rig_message((const char *const[]){ lies[i].word, NULL });
        free(s.data);
    }
    victim_close(&v);
}

/* More positions are computed than there are tokens, in a file whose size fits. */
static void test_forged_counts(void **state)
{
    (void)state;
    struct victim v;
    victim_open(&v, state_rig(0, 0));
    struct state s = small_state(&v.r, 70);
    size_t position = (s.n - STATE_HEADER - STATE_CHECKSUM - 70 * 4) / 70;
    struct state more = { calloc(1, s.n + position), s.n + position };
    memcpy(more.data, s.data, s.n - STATE_CHECKSUM);
    state_put(&more, STATE_DONE, 71, 8);
    FAILS(WEFT_E_FORMAT, weft_seq_load(v.seq, more.data, more.n, E));
    rig_message((const char *const[]){ "contradicts", "71", "70", NULL });
    free(more.data);
    free(s.data);
    victim_close(&v);
}

static void test_other_model(void **state)
{
    (void)state;
    struct victim v;
    victim_open(&v, state_rig(0, 0));
    static const char *const presets[] = { "tiny-qwen3", "tiny-phi3", "tiny-llama" };
    for (size_t m = 0; m < sizeof presets / sizeof presets[0]; m++) {
        struct rig other = rig_open(model_file(presets[m]), NULL);
        struct state s = small_state(&other, 20);
        FAILS(WEFT_E_ARG, weft_seq_load(v.seq, s.data, s.n, E));
        rig_message((const char *const[]){ "another model", NULL });
        free(s.data);
        rig_close(&other);
    }
    /* A model of the same shapes with other weights, and one with another number of layers. */
    struct synth_spec spec;
    assert_true(synth_preset("tiny-qwen2", &spec));
    for (size_t i = 0; i < 2; i++) {
        spec.seed += i == 0;
        spec.n_layers += i;
        struct rig other = rig_open(model_file_of(&spec), NULL);
        struct state s = small_state(&other, 20);
        FAILS(WEFT_E_ARG, weft_seq_load(v.seq, s.data, s.n, E));
        rig_message((const char *const[]){ i == 0 ? "fingerprint" : "layers", NULL });
        free(s.data);
        rig_close(&other);
    }
    victim_close(&v);
}

/* The types of K and V are not those of the engine, in either direction. */
static void test_other_types(void **state)
{
    (void)state;
    static const char *const names[] = { "f16", "q8_0" };
    struct rig rigs[4];
    struct state states[4];
    for (unsigned i = 0; i < 4; i++) {
        weft_engine_params p = state_params(0, 0);
        p.type_k = i & 1 ? WEFT_KV_Q8_0 : WEFT_KV_F16;
        p.type_v = i & 2 ? WEFT_KV_Q8_0 : WEFT_KV_F16;
        rigs[i] = rig_open(model_file("tiny-qwen3"), &p);
        states[i] = small_state(&rigs[i], 20);
    }
    for (unsigned i = 0; i < 4; i++) {
        struct victim v;
        victim_open(&v, rigs[i]);
        for (unsigned j = 0; j < 4; j++) {
            char has[64], keeps[64], remedy[96];
            if (i == j) {
                continue;
            }
            snprintf(has, sizeof has, "has K in %s and V in %s", names[j & 1], names[j >> 1]);
            snprintf(keeps, sizeof keeps, "keeps K in %s and V in %s", names[i & 1], names[i >> 1]);
            snprintf(remedy, sizeof remedy, "open the engine with type_k %s and type_v %s",
                     names[j & 1], names[j >> 1]);
            FAILS(WEFT_E_ENGINE, weft_seq_load(v.seq, states[j].data, states[j].n, E));
            rig_message((const char *const[]){ has, keeps, remedy, NULL });
        }
        victim_close(&v);
    }
    for (size_t i = 0; i < 4; i++) {
        free(states[i].data);
    }
}

/* A model with one set of RoPE factors has no states of another, and there are only two. */
static void test_rope_factors(void **state)
{
    (void)state;
    const char *const files[] = { model_file("tiny-phi3"), model_file_long(100) };
    for (uint32_t i = 0; i < 2; i++) {
        struct rig r = rig_open(files[i], NULL);
        struct state s = small_state(&r, 20);
        weft_seq *seq = rig_seq(&r, NULL);
        assert_int_equal(s.data[STATE_FACTORS], i);
        state_put(&s, STATE_FACTORS, i == 0 ? 1 : 0, 4);
        FAILS(WEFT_E_ARG, weft_seq_load(seq, s.data, s.n, E));
        rig_message((const char *const[]){ "RoPE", "compute its text again", NULL });
        state_put(&s, STATE_FACTORS, 3, 4);
        FAILS(WEFT_E_ARG, weft_seq_load(seq, s.data, s.n, E));
        state_put(&s, STATE_FACTORS, i, 4);
        OK(weft_seq_load(seq, s.data, s.n, E));
        weft_seq_release(&seq);
        free(s.data);
        rig_close(&r);
    }
}

/* A state is refused if one number of YaRN is another, because K depends on each of them. */
static void test_yarn(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "qwen2.rope.scaling.yarn_beta_fast=f32:32", /* the value that holds without the key */
        "qwen2.rope.scaling.yarn_beta_fast=f32:31",
        "qwen2.rope.scaling.yarn_beta_slow=f32:2",
        "qwen2.rope.scaling.yarn_ext_factor=f32:0.5",
        "qwen2.rope.scaling.attn_factor=f32:1.5",
        "qwen2.rope.scaling.factor=f32:3",
        "qwen2.rope.scaling.original_context_length=u32:200",
        "qwen2.rope.scaling.type=str:linear",
    };
    struct synth_spec spec;
    assert_true(synth_preset("tiny-qwen2", &spec));
    spec.rope_scaling_type = "yarn";
    spec.rope_scaling_factor = 2.0f;
    struct victim v;
    victim_open(&v, rig_open(model_file_of(&spec), NULL));
    spec.n_keys = 1;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        spec.keys = &keys[i];
        struct rig other = rig_open(model_file_of(&spec), NULL);
        struct state s = small_state(&other, 20);
        if (i == 0) {
            weft_seq *seq = rig_seq(&v.r, NULL);
            OK(weft_seq_load(seq, s.data, s.n, E));
            weft_seq_release(&seq);
        } else {
            FAILS(WEFT_E_ARG, weft_seq_load(v.seq, s.data, s.n, E));
            rig_message((const char *const[]){ "another model", "fingerprint", NULL });
        }
        free(s.data);
        rig_close(&other);
    }
    victim_close(&v);
}

static void test_too_long(void **state)
{
    (void)state;
    struct rig big = state_rig(0, 0);
    struct state s = small_state(&big, 200), half = small_state(&big, 100);
    struct victim v;
    victim_open(&v, state_rig(199, 4 * PAGE));
    FAILS(WEFT_E_CTX_FULL, weft_seq_load(v.seq, s.data, s.n, E));
    rig_message((const char *const[]){ "200", "199", NULL });
    victim_close(&v);
    /* The pool has 4 pages, of which the sequence itself has 2: they count as free unless a fork
     * has them too. */
    victim_open(&v, state_rig(256, 4 * PAGE));
    weft_seq *twin = NULL;
    OK(weft_seq_fork(v.seq, &twin, E));
    FAILS(WEFT_E_KV_FULL, weft_seq_load(v.seq, s.data, s.n, E));
    rig_message((const char *const[]){ "4 pages", "2 of them free", "needs 4", NULL });
    victim_unchanged(&v);
    weft_seq_release(&twin);
    OK(weft_seq_load(v.seq, s.data, s.n, E));
    assert_int_equal(rig_free(&v.r), 0);
    rig_compute(&v.r, v.seq);
    OK(weft_seq_load(v.seq, half.data, half.n, E));
    assert_int_equal(rig_free(&v.r), 2 * PAGE);
    OK(weft_seq_rewind(v.seq, 0, E));
    OK(weft_seq_append(v.seq, v.tokens, 90, E));
    rig_compute(&v.r, v.seq);
    victim_close(&v);
    free(s.data);
    free(half.data);
    rig_close(&big);
}

static void test_arguments(void **state)
{
    (void)state;
    struct victim v;
    victim_open(&v, state_rig(0, 0));
    struct state s = small_state(&v.r, 5);
    size_t needed = 0;
    FAILS(WEFT_E_BUFFER, weft_seq_save(v.seq, s.data, s.n - 1, &needed, E));
    assert_true(needed > s.n);
    FAILS(WEFT_E_ARG, weft_seq_save(v.seq, NULL, needed, NULL, E));
    FAILS(WEFT_E_ARG, weft_seq_load(v.seq, NULL, s.n, E));
    FAILS(WEFT_E_ARG, weft_seq_save_file(v.seq, NULL, E));
    FAILS(WEFT_E_ARG, weft_seq_load_file(v.seq, NULL, E));
    FAILS(WEFT_E_ARG, weft_seq_load(NULL, s.data, s.n, E));
    FAILS(WEFT_E_HANDLE, weft_seq_load((weft_seq *)(void *)v.r.engine, s.data, s.n, E));
    /* The state may stand at any address. */
    uint8_t *odd = malloc(s.n + 1);
    memcpy(odd + 1, s.data, s.n);
    weft_seq *seq = rig_seq(&v.r, NULL);
    OK(weft_seq_load(seq, odd + 1, s.n, E));
    rig_compute(&v.r, seq);
    OK(weft_seq_save(seq, odd + 1, s.n, NULL, E));
    assert_memory_equal(odd + 1, s.data, s.n);
    weft_seq_release(&seq);
    free(odd);
    free(s.data);
    victim_close(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),         cmocka_unit_test(test_flips),
        cmocka_unit_test(test_forged),      cmocka_unit_test(test_forged_counts),
        cmocka_unit_test(test_other_model), cmocka_unit_test(test_rope_factors),
        cmocka_unit_test(test_yarn),        cmocka_unit_test(test_other_types),
        cmocka_unit_test(test_too_long),    cmocka_unit_test(test_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
