/* Whole models through the public API: loading, prompts, generation; greedy, on the first GPU. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu-bench/gpu.h"

enum { MANY = 8 /* sequences at once */, AHEAD = 8, N_LOADS = 3, N_RUNS = 5 };

/* The least that a token costs, computed from the file's tensors. */
struct cost {
    /* Read in each step: all matrices but the embedding. */
    uint64_t weight_bytes;
    uint64_t kv_bytes;                    /* of one position */
    double layer_elements, head_elements; /* of matrices */
    /* For a pair of positions, in all layers. */
    double attend_flop;
    size_t n_ctx;
};

struct load {
    const char *path;
    weft_model *model;
    weft_engine *engine;
    bool no_graphs, no_pdl, no_arena;
    double model_seconds, engine_seconds;
};

/* Sizes of the runs; the smoke test has its own. */
struct sizes {
    size_t n_tokens, prompts[2], depths[3], n_ctx, n_batch;
};

/* --- the model --- */

static void close_load(struct load *l)
{
    weft_engine_release(&l->engine);
    weft_model_release(&l->model);
}

static void open_load(struct load *l, const struct sizes *s, size_t n_ahead, bool deterministic)
{
    const size_t each = s->depths[1] + s->n_tokens + 128, all = MANY * each;
    weft_engine_params params = WEFT_ENGINE_PARAMS_INIT;
    params.device = "cuda:0";
    params.n_ctx = s->n_ctx;
    params.n_kv = size_max(s->n_ctx, all);
    params.n_batch = s->n_batch;
    params.n_ahead = n_ahead;
    params.deterministic = deterministic;
    params.no_graphs = l->no_graphs;
    params.no_pdl = l->no_pdl;
    params.no_arena = l->no_arena;
    double start = bench_now();
    OK(weft_model_open(l->path, NULL, &l->model, &bench_error));
    double middle = bench_now();
    OK(weft_engine_open(l->model, &params, &l->engine, &bench_error));
    l->model_seconds = middle - start;
    l->engine_seconds = bench_now() - middle;
}

static struct cost read_cost(const char *path)
{
    struct cost c = { 0 };
    uint64_t table_bytes = 0;
    double table_elements = 0;
    weft_file *file;
    OK(weft_file_open(path, &file, &bench_error));
    for (size_t i = 0; i < weft_file_n_tensors(file); i++) {
        weft_tensor_info t;
        OK(weft_file_tensor(file, i, &t, &bench_error));
        double elements = (double)t.shape[0] * (double)t.shape[1];
        if (strcmp(t.name, "token_embd.weight") == 0) {
            table_bytes = t.n_bytes;
            table_elements = elements;
        } else if (t.n_dims == 2) {
            bool head = strcmp(t.name, "output.weight") == 0;
            *(head ? &c.head_elements : &c.layer_elements) += elements;
            c.weight_bytes += t.n_bytes;
        }
    }
    if (c.head_elements == 0) { /* the embedding table is the output matrix too */
        c.head_elements = table_elements;
        c.weight_bytes += table_bytes;
    }
    weft_file_release(&file);
    return c;
}

static void add_shape(struct cost *c, const weft_model *model)
{
    weft_model_info m = { .size = sizeof m };
    OK(weft_model_get_info(model, &m, &bench_error));
    c->kv_bytes = 2 * m.n_layers * m.n_kv_heads * m.head_dim * sizeof(uint16_t);
    c->attend_flop = 4.0 * (double)(m.n_layers * m.n_heads * m.head_dim);
    c->n_ctx = m.n_ctx_train;
}

/* --- runs --- */

static void compute(weft_engine *engine, weft_seq *const *seqs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        while (weft_seq_pending(seqs[i]) > 0) {
            OK(weft_engine_step(engine, NULL, &bench_error));
        }
    }
}

static double prefill_once(const struct load *l, uint64_t seed, size_t n)
{
    weft_seq *seq = random_text(l->model, l->engine, seed, n);
    double start = bench_now();
    compute(l->engine, &seq, 1);
    double seconds = bench_now() - start;
    weft_seq_release(&seq);
    return seconds;
}

/* Rewinds n sequences to this depth and returns the seconds in which all of them together get
 * n_tokens tokens each; < 0 if a text ends earlier. */
static double decode_once(weft_engine *engine, weft_seq *const *seqs, size_t n, size_t depth,
                          size_t n_tokens)
{
    int32_t token;
    for (size_t i = 0; i < n; i++) {
        OK(weft_seq_rewind(seqs[i], depth, &bench_error));
    }
    compute(engine, seqs, n);
    double start = bench_now();
    for (size_t t = 0; t < n_tokens; t++) {
        for (size_t i = 0; i < n; i++) {
            OK(weft_seq_next(seqs[i], &token, &bench_error));
            if (weft_seq_finish(seqs[i]) != WEFT_RUNNING) {
                return -1.0;
            }
        }
        OK(weft_engine_step(engine, NULL, &bench_error));
    }
    return bench_now() - start;
}

/* Opens n sequences whose texts are long enough; random models sometimes end a text. Their first
 * run warms up: it records the graphs. */
static bool open_texts(const struct load *l, weft_seq **seqs, size_t n, size_t depth,
                       size_t n_tokens)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        for (size_t i = 0; i < n; i++) {
            seqs[i] = random_text(l->model, l->engine, seed * MANY + i, depth);
        }
        compute(l->engine, seqs, n);
        if (decode_once(l->engine, seqs, n, depth, n_tokens) >= 0.0) {
            return true;
        }
        for (size_t i = 0; i < n; i++) {
            weft_seq_release(&seqs[i]);
        }
    }
    return false;
}

/* --- cells --- */

static size_t n_runs(const struct bench *b) { return b->smoke ? 1 : N_RUNS; }

static void prefill_cells(struct table *t, const struct load *l, const struct cost *c, size_t n)
{
    double seconds[N_RUNS];
    if (n > c->n_ctx) {
        table_skip(t);
        table_skip(t);
        return;
    }
    (void)prefill_once(l, 100, n);
    for (size_t i = 0; i < n_runs(t->bench); i++) {
        seconds[i] = prefill_once(l, i, n);
    }
    struct spread s = spread_of(seconds, n_runs(t->bench));
    double flop = 2.0 * c->layer_elements * (double)n + 2.0 * c->head_elements +
                  c->attend_flop * (double)n * ((double)n + 1) / 2;
    table_cell(t, spread_rate(s, (double)n), "tok/s", -1.0);
    table_cell(t, spread_scale(spread_rate(s, flop), 1e-12), "TFLOP/s", -1.0);
}

static void decode_cell(struct table *t, const struct load *l, const struct cost *c,
                        size_t n_tokens, size_t n_seqs, size_t depth)
{
    double seconds[N_RUNS];
    weft_seq *seqs[MANY];
    size_t from = depth > 0 ? depth : 1; /* an empty text has no next token */
    if (!open_texts(l, seqs, n_seqs, from, n_tokens)) {
        table_skip(t);
        return;
    }
    for (size_t i = 0; i < n_runs(t->bench); i++) {
        seconds[i] = decode_once(l->engine, seqs, n_seqs, from, n_tokens);
        if (seconds[i] < 0.0) {
            bench_die("the same text, generated again, ended earlier");
        }
    }
    for (size_t i = 0; i < n_seqs; i++) {
        weft_seq_release(&seqs[i]);
    }
    struct spread s = spread_of(seconds, n_runs(t->bench));
    double step_bytes = (double)c->weight_bytes +
                        (double)(n_seqs * c->kv_bytes) * ((double)from + (double)n_tokens / 2);
    table_cell(t, spread_rate(s, (double)(n_tokens * n_seqs)), "tok/s",
               bench_percent(t->bench, step_bytes * (double)n_tokens / s.median));
}

static void mode_row(struct table *t, struct load *l, const struct cost *c, const struct sizes *s,
                     const char *name, size_t n_ahead, bool deterministic)
{
    open_load(l, s, n_ahead, deterministic);
    bench_warm_up(t->bench);
    table_row(t, name);
    for (size_t i = 0; i < 2; i++) {
        prefill_cells(t, l, c, s->prompts[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        decode_cell(t, l, c, s->n_tokens, 1, s->depths[i]);
    }
    decode_cell(t, l, c, s->n_tokens, MANY, s->depths[1]);
    table_row_end(t);
    close_load(l);
}

static void load_row(struct bench *b, struct load *l, const struct sizes *s, struct cost *c,
                     const char *section)
{
    static const char *const columns[] = { "open, ms", "upload, ms", "GB/s", "first token, ms",
                                           NULL };
    double open[N_LOADS], upload[N_LOADS], first[N_LOADS];
    size_t n = b->smoke ? 1 : N_LOADS;
    bench_warm_up(b);
    weft_engine_info info = { .size = sizeof info };
    for (size_t i = 0; i < n; i++) {
        open_load(l, s, 1, false);
        open[i] = l->model_seconds;
        upload[i] = l->engine_seconds;
        first[i] = prefill_once(l, 1, 1);
        add_shape(c, l->model);
        OK(weft_engine_get_info(l->engine, &info, &bench_error));
        close_load(l);
    }
    struct table t = table_begin(b, section, "loading; the file is in the page cache", columns);
    struct spread seconds = spread_of(upload, n);
    table_row(&t, "load");
    table_cell(&t, spread_scale(spread_of(open, n), 1e3), "ms", -1.0);
    table_cell(&t, spread_scale(seconds, 1e3), "ms", -1.0);
    table_cell(&t, spread_scale(spread_rate(seconds, (double)info.weight_bytes), 1e-9), "GB/s",
               -1.0);
    table_cell(&t, spread_scale(spread_of(first, n), 1e3), "ms", -1.0);
    table_row_end(&t);
}

/* Behind every depth there is room for 2 n_tokens, so that neither the timed tokens nor tokens
 * computed ahead of them meet the end of the context. */
static struct sizes sizes_for(const struct bench *b, size_t n_ctx)
{
    struct sizes s = { .n_tokens = 128, .prompts = { 512, 2048 }, .depths = { 0, 512, 4096 } };
    if (b->smoke) {
        s = (struct sizes){ .n_tokens = 8, .prompts = { 20, 40 }, .depths = { 0, 10, 30 } };
    }
    if (n_ctx <= s.n_tokens * 3) {
        bench_die("a context of %zu is too short to be timed", n_ctx);
    }
    for (size_t i = 0; i < 3; i++) {
        size_t most = n_ctx - 2 * s.n_tokens;
        s.depths[i] = size_min(s.depths[i], most);
    }
    s.n_ctx = s.depths[2] + 2 * s.n_tokens;
    s.n_ctx = size_max(s.n_ctx, s.prompts[1]);
    s.n_ctx = size_min(s.n_ctx, n_ctx);
    s.n_batch = s.prompts[1];
    return s;
}

static size_t trained_ctx(const char *path)
{
    weft_model *model;
    weft_model_info m = { .size = sizeof m };
    OK(weft_model_open(path, NULL, &model, &bench_error));
    OK(weft_model_get_info(model, &m, &bench_error));
    weft_model_release(&model);
    return m.n_ctx_train;
}

bool bench_model(struct bench *b, const char *path)
{
    static const char *const columns[] = { "prefill 512",  "512 TFLOP/s",    "prefill 2048",
                                           "2048 TFLOP/s", "decode 0",       "decode 512",
                                           "decode 4096",  "8 x decode 512", NULL };
    const char *slash = strrchr(path, '/');
    char section[160], title[96];
    struct load load = {
        .path = path, .no_graphs = b->no_graphs, .no_pdl = b->no_pdl, .no_arena = b->no_arena
    };
    struct cost cost = read_cost(path);
    struct sizes sizes = sizes_for(b, trained_ctx(path));
    snprintf(section, sizeof section, "model:%.140s", slash != NULL ? slash + 1 : path);
    load_row(b, &load, &sizes, &cost, section);
    snprintf(title, sizeof title, "tok/s (part of the read rate); deepest %zu; %.3f GB a token",
             sizes.depths[2], (double)cost.weight_bytes / 1e9);
    struct table t = table_begin(b, section, title, columns);
    mode_row(&t, &load, &cost, &sizes, "1 at a time", 1, false);
    mode_row(&t, &load, &cost, &sizes, "8 ahead", AHEAD, false);
    mode_row(&t, &load, &cost, &sizes, "8 ahead, deterministic", AHEAD, true);
    return true;
}
