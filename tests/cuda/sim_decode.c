/* Decoding on the simulator, where kernels can be counted: how many kernels a token takes, and that
 * steps ahead give the tokens and logits of single steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "cudasim/testing.h"
#include "forward.h"
#include "support/models.h"
#include "support/rig.h"
#include "synth/synth.h"

enum { MAX_SEQS = 9, PAGES = 3, N_AHEAD = 12 };

struct decoder {
    struct model *model;
    struct backend *b;
    uint32_t pages[MAX_SEQS][PAGES];
    struct step_seq seqs[MAX_SEQS];
    int32_t tokens[MAX_SEQS];
    uint32_t out_rows[MAX_SEQS];
};

static void check(weft_status status, const weft_error *err)
{
    if (status != WEFT_OK) {
        fail_msg("%s", err->message);
    }
}

static void open_file(struct decoder *r, const char *path)
{
    weft_error err;
    const weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    static const struct log log;
    const struct backend_params bp = { .n_ctx = PAGES * KV_PAGE,
                                       .n_pages = MAX_SEQS * PAGES,
                                       .n_batch = MAX_SEQS,
                                       .n_out = MAX_SEQS,
                                       .no_arena = true,
                                       .log = &log };
    cudasim_catch_faults();
    check(model_open(path, &params, &r->model, &err), &err);
    check(cuda_backend_open(r->model, &bp, &r->b, &err), &err);
    for (uint32_t i = 0; i < MAX_SEQS; i++) {
        for (uint32_t p = 0; p < PAGES; p++) {
            r->pages[i][p] = (p * MAX_SEQS + i) * 5 % (MAX_SEQS * PAGES);
        }
        r->seqs[i] = (struct step_seq){ .pages = { r->pages[i] }, .row = i, .n_rows = 1 };
        r->tokens[i] = (int32_t)(300 + 11 * i);
        r->out_rows[i] = i;
    }
}

static void open_rig(struct decoder *r, const char *preset) { open_file(r, model_file(preset)); }

static const char *biased_file(void)
{
    struct synth_spec spec;
    assert_true(synth_preset("tiny-llama", &spec));
    spec.biases = true;
    return model_file_of(&spec);
}

static void close_rig(struct decoder *r)
{
    r->b->ops->close(r->b);
    model_close(r->model);
    assert_int_equal(cudasim_leaks(stderr), 0);
}

static struct step step_of(const struct decoder *r, size_t n)
{
    return (struct step){ .n_rows = n,
                          .tokens = r->tokens,
                          .n_seqs = n,
                          .seqs = r->seqs,
                          .n_out = n,
                          .out_rows = r->out_rows };
}

/* Computes one step of n sequences; their best tokens become the next ones. */
static void one_step(struct decoder *r, size_t n)
{
    weft_error err;
    float values[MAX_SEQS];
    struct step s = step_of(r, n);
    check(forward(r->b, &s, &err), &err);
    check(r->b->ops->top(r->b, 1, r->tokens, values, &err), &err);
    for (size_t i = 0; i < n; i++) {
        r->seqs[i].pos++;
    }
}

/* Returns the number of kernels in a step of one row, the last of which is the head. */
static size_t count_kernels(struct decoder *r)
{
    weft_error err;
    one_step(r, 1);
    struct step s = step_of(r, 1);
    float *logits = calloc(r->model->config.n_vocab, sizeof *logits);
    uint64_t before = cudasim_stats()->launches;
    check(forward(r->b, &s, &err), &err);
    check(r->b->ops->read_logits(r->b, 0, logits, &err), &err);
    free(logits);
    return (size_t)(cudasim_stats()->launches - before);
}

/* A step has at most six kernels for each layer, one for the embedding and one for the head. Biases
 * cost three more: one for attn_output, one for ffn_down, and a SwiGLU of its own. */
static void test_kernels_per_layer(void **state)
{
    (void)state;
    static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3", "tiny-phi3", "tiny-llama" };
    struct decoder r;
    size_t n = 0;
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        open_rig(&r, presets[i]);
        n = count_kernels(&r);
        assert_in_range(n, 1, 2 + 6 * r.model->config.n_layers);
        close_rig(&r);
    }
    open_file(&r, biased_file());
    assert_int_equal(count_kernels(&r), n + 3 * r.model->config.n_layers);
    close_rig(&r);
}

static void check_ahead(const char *path)
{
    static const size_t counts[] = { 1, 3, 8 };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        size_t n = counts[i];
        weft_error err;
        struct decoder r;
        int32_t want[N_AHEAD + 1][MAX_SEQS], got[N_AHEAD * MAX_SEQS];
        open_file(&r, path);
        size_t n_vocab = r.model->config.n_vocab;
        float *last = calloc(n_vocab, sizeof *last), *again = calloc(n_vocab, sizeof *again);
        /* The steps begin just before a page's end, so that they cross into the next page. */
        for (size_t t = 0; t < KV_PAGE - 4; t++) {
            one_step(&r, n);
        }
        struct decoder start = r;
        for (size_t t = 0; t < N_AHEAD; t++) {
            one_step(&r, n);
            memcpy(want[t], r.tokens, sizeof want[t]);
        }
        check(r.b->ops->read_logits(r.b, n - 1, last, &err), &err);
        struct step s = step_of(&start, n);
        check(r.b->ops->ahead(r.b, &s, N_AHEAD, got, &err), &err);
        for (size_t t = 0; t < N_AHEAD; t++) {
            assert_memory_equal(got + t * n, want[t], n * sizeof *got);
        }
        check(r.b->ops->read_logits(r.b, n - 1, again, &err), &err);
        assert_memory_equal(again, last, n_vocab * sizeof *last);
        free(last);
        free(again);
        close_rig(&r);
    }
}

static void test_ahead(void **state)
{
    (void)state;
    check_ahead(model_file("tiny-qwen2"));
    check_ahead(biased_file());
}

/* The step has more rows than one pass of the mat-vec kernel: no graph is made, and the logits are
 * the same. */
static void test_nine_rows(void **state)
{
    (void)state;
    struct decoder r;
    weft_error err;
    open_rig(&r, "tiny-llama");
    size_t n_vocab = r.model->config.n_vocab;
    float *one = calloc(n_vocab, sizeof *one), *nine = calloc(n_vocab, sizeof *nine);
    struct step s = step_of(&r, 9);
    check(forward(r.b, &s, &err), &err);
    check(r.b->ops->read_logits(r.b, 0, nine, &err), &err);
    s = step_of(&r, 1);
    check(forward(r.b, &s, &err), &err);
    check(r.b->ops->read_logits(r.b, 0, one, &err), &err);
    assert_memory_equal(one, nine, n_vocab * sizeof *one);
    free(one);
    free(nine);
    close_rig(&r);
}

/* The least and the largest number of splits for which attention by rows was launched. */
struct grids {
    unsigned least, most;
};

static void note_grid(void *user, const struct cudasim_entry *e)
{
    struct grids *g = user;
    if (e->kind == CUDASIM_KERNEL && strncmp(e->name, "k_attend<", 9) == 0) {
        g->least = e->grid[2] < g->least ? e->grid[2] : g->least;
        g->most = e->grid[2] > g->most ? e->grid[2] : g->most;
    }
}

/* Draws greedy tokens, 4 ahead, behind a prompt that ends shortly before position 512. */
static struct grids cross_512(bool no_graphs, int32_t *dst, size_t n)
{
    enum { PROMPT = 505 };
    static int32_t prompt[PROMPT];
    struct grids g = { .least = UINT32_MAX };
    struct synth_spec spec;
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    weft_sampling greedy = WEFT_SAMPLING_INIT;
    greedy.temperature = 0;
    greedy.ignore_end = true;
    assert_true(synth_preset("tiny-qwen2", &spec));
    spec.n_ctx = 1024;
    p.device = "cuda:0", p.n_ctx = 1024, p.n_batch = 512, p.n_ahead = 4, p.no_graphs = no_graphs;
    struct rig r = rig_open(model_file_of(&spec), &p);
    rig_tokens(&r, 5, prompt, PROMPT);
    weft_seq *seq = rig_seq(&r, &greedy);
    OK(weft_seq_append(seq, prompt, PROMPT, E));
    rig_compute(&r, seq);
    cudasim_record(note_grid, &g);
    for (size_t i = 0; i < n; i++) {
        OK(weft_seq_next(seq, &dst[i], E));
        rig_compute(&r, seq);
    }
    cudasim_record(NULL, NULL);
    weft_seq_release(&seq);
    rig_close(&r);
    return g;
}

/* While all steps that are computed ahead together stay below position 512, attention is launched
 * with as many splits as 512 positions need; beyond, with as many as 1024 need. The text is the
 * same as when kernels are launched one by one. */
static void test_bounds(void **state)
{
    (void)state;
    int32_t got[20], want[20];
    int before = cudasim_settings()->sm_count;
    cudasim_settings()->sm_count = 132;
    uint64_t graphs = cudasim_stats()->graph_launches;
    struct grids g = cross_512(false, got, 20);
    assert_true(cudasim_stats()->graph_launches > graphs);
    assert_int_equal(g.least, 512 / KV_PAGE);
    assert_int_equal(g.most, 1024 / KV_PAGE);
    cross_512(true, want, 20);
    assert_memory_equal(got, want, sizeof got);
    cudasim_settings()->sm_count = before;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_kernels_per_layer),
        cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_nine_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
