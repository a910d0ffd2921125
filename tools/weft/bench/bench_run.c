/* One row of weft bench: an engine of the sizes that the row needs, sequences filled to the depth,
 * and a clock around only the steps that count. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft/bench/bench.h"
#include "weft/generate.h"
#include "weft/term.h"

enum { WARM_UP_TOKENS = 16 };

struct run {
    struct bench *b;
    const struct bench_row *row;
    struct bench_result *out;
    weft_engine *engine;
    weft_seq **seqs;  /* [n_parallel] */
    int32_t *prompt;  /* [n_parallel, n_tokens]: those of the depth and of the test */
    size_t n_tokens;  /* of each sequence, before it generates */
    struct ids *ids;  /* [n_parallel] ids generated in the last repetition */
    bool recording;   /* stages are counted */
    const char *what; /* for the progress line */
};

void bench_row_name(const struct bench_row *row, char *dst, size_t cap)
{
    int n = 0;
    if (row->n_prompt > 0) {
        n = snprintf(dst, cap, "pp%zu%s", row->n_prompt, row->n_gen > 0 ? "+" : "");
    }
    if (row->n_gen > 0 && n >= 0 && (size_t)n < cap) {
        n += snprintf(dst + n, cap - (size_t)n, "tg%zu", row->n_gen);
    }
    if (row->n_depth > 0 && n >= 0 && (size_t)n < cap) {
        snprintf(dst + n, cap - (size_t)n, "@d%zu", row->n_depth);
    }
}

void bench_result_free(struct bench_result *r)
{
    free(r->seconds);
    free(r->ids.at);
    *r = (struct bench_result){ 0 };
}

/* ---------------------------------------------------------------- errors */

/* Reports the error of a call, with the name of its row. */
static int fail(const struct run *r, weft_status status, const weft_error *err)
{
    char name[96];
    weft_error named = { .code = status };
    bench_row_name(r->row, name, sizeof name);
    snprintf(named.message, sizeof named.message, "%.80s: %s: %.320s", r->b->path, name,
             err->message);
    return term_status(status, &named);
}

static int no_memory(void)
{
    return term_fail(EXIT_MEMORY, "not enough memory for the tokens of a row");
}

/* ---------------------------------------------------------------- steps */

static size_t pending(const struct run *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->row->n_parallel; i++) {
        n += weft_seq_pending(r->seqs[i]);
    }
    return n;
}

/* Steps until no sequence waits. */
static weft_status settle(const struct run *r, weft_error *err)
{
    weft_status status = WEFT_OK;
    while (status == WEFT_OK && !term_interrupted() && pending(r) > 0) {
        status = weft_engine_step(r->engine, NULL, err);
    }
    return status;
}

/* Draws n tokens for every sequence. The last ones are not computed. */
static weft_status decode(struct run *r, size_t n, weft_error *err)
{
    for (size_t i = 0; i < n; i++) {
        weft_status status = settle(r, err);
        for (size_t s = 0; s < r->row->n_parallel && status == WEFT_OK && !term_interrupted();
             s++) {
            status = weft_seq_next(r->seqs[s], &r->ids[s].at[i], err);
            r->ids[s].n = i + 1;
        }
        if (status != WEFT_OK || term_interrupted()) {
            return status;
        }
    }
    return WEFT_OK;
}

/* Brings every sequence to `from` computed tokens, and appends its tokens up to `to`. */
static weft_status place(struct run *r, size_t from, size_t to, weft_error *err)
{
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < r->row->n_parallel && status == WEFT_OK; i++) {
        status = weft_seq_rewind(r->seqs[i], from, err);
    }
    /* A rewind computes the last token that it keeps again. */
    status = status == WEFT_OK ? settle(r, err) : status;
    for (size_t i = 0; i < r->row->n_parallel && status == WEFT_OK && !term_interrupted(); i++) {
        status = weft_seq_append(r->seqs[i], r->prompt + i * r->n_tokens + from, to - from, err);
    }
    return status;
}

static weft_status count_steps(const struct run *r, uint64_t *n, weft_error *err)
{
    weft_engine_info info = { .size = sizeof info };
    weft_status status = weft_engine_get_info(r->engine, &info, err);
    *n = info.n_steps;
    return status;
}

/* The part that is timed. tgN takes N steps, each of one token for every sequence, as ppN computes
 * N tokens; ppP+tgN does both. */
static weft_status test(struct run *r, size_t n_gen, weft_error *err)
{
    weft_status status = decode(r, n_gen, err);
    bool all = r->row->n_prompt > 0;
    return status == WEFT_OK && all ? settle(r, err) : status;
}

/* Runs one repetition. *seconds and *n_steps are those of the part that is timed. */
static weft_status repeat(struct run *r, size_t n_gen, double *seconds, uint64_t *n_steps,
                          weft_error *err)
{
    uint64_t before = 0, after = 0;
    weft_status status = place(r, r->row->n_depth, r->n_tokens, err);
    status = status == WEFT_OK ? count_steps(r, &before, err) : status;
    if (status != WEFT_OK || term_interrupted()) {
        return status;
    }
    r->recording = true;
    double begin = term_seconds();
    status = test(r, n_gen, err);
    *seconds = term_seconds() - begin;
    r->recording = false;
    status = status == WEFT_OK ? count_steps(r, &after, err) : status;
    *n_steps = after - before;
    return status;
}

/* ---------------------------------------------------------------- open, close */

/* Returns the length that a sequence reaches at most. If the test ends with a prompt, one token is
 * generated too, for the hash, if the model has room for it. */
static size_t needed(const struct run *r)
{
    size_t n = r->n_tokens + r->row->n_gen;
    if (r->row->n_prompt > 0 && r->row->n_gen > 0) {
        return n + 1; /* a sequence that has filled the context computes no more */
    }
    return r->row->n_gen == 0 && n < r->b->session.info.n_ctx_train ? n + 1 : n;
}

static bool generates(const struct run *r) { return needed(r) > r->n_tokens; }

static void on_stage(void *user, const weft_stage *stage)
{
    struct run *r = user;
    struct bench_profile *p = &r->out->profile;
    size_t i = 0;
    while (i < p->n_stages && strcmp(p->stages[i].name, stage->name) != 0) {
        i++;
    }
    if (!r->recording || i == BENCH_STAGES) {
        return;
    }
    p->n_stages = i == p->n_stages ? i + 1 : p->n_stages;
    p->stages[i].name = stage->name;
    p->stages[i].n_calls++;
    p->stages[i].seconds += stage->seconds;
    p->stages[i].bytes += stage->bytes;
    p->stages[i].n_macs += stage->n_macs;
}

static int open_engine(struct run *r, bool profile)
{
    weft_error err = { 0 };
    weft_engine_params p = options_engine(r->b->o);
    size_t n = needed(r), pages = ceil_div(n, WEFT_KV_PAGE);
    p.n_threads = r->row->n_threads;
    p.n_ahead = r->b->o->ahead > 0 ? (size_t)r->b->o->ahead : 8;
    p.n_ctx = n;
    p.no_prefix_cache = true; /* all sequences are computed, even with the same tokens */
    if (__builtin_mul_overflow(pages * WEFT_KV_PAGE, r->row->n_parallel, &p.n_kv)) {
        p.n_kv = SIZE_MAX;
    }
    if (profile) {
        p.profile = on_stage;
        p.profile_user = r;
    }
    term_progress("%s: opening the engine", r->what);
    weft_status status = weft_engine_open(r->b->session.model, &p, &r->engine, &err);
    if (status != WEFT_OK) {
        int code = fail(r, status, &err);
        /* Here the device or the instruction set is unsupported, not the model. */
        return status == WEFT_E_UNSUPPORTED ? EXIT_RUNTIME : code;
    }
    return EXIT_OK;
}

static int open_sequences(struct run *r)
{
    weft_error err = { 0 };
    weft_sampling greedy = WEFT_SAMPLING_INIT;
    greedy.temperature = 0;
    greedy.ignore_end = true;
    for (size_t i = 0; i < r->row->n_parallel; i++) {
        weft_status status = weft_seq_open(r->engine, &greedy, &r->seqs[i], &err);
        if (status != WEFT_OK) {
            return fail(r, status, &err);
        }
    }
    return EXIT_OK;
}

static void close_engine(struct run *r)
{
    term_interrupt_hook(NULL, NULL);
    for (size_t i = 0; i < r->row->n_parallel; i++) {
        weft_seq_release(&r->seqs[i]);
    }
    weft_engine_release(&r->engine);
}

/* Runs in the signal handler and lets a step end early. */
static void cancel(void *arg)
{
    const struct run *r = arg;
    for (size_t i = 0; i < r->row->n_parallel; i++) {
        weft_seq_cancel(r->seqs[i]);
    }
}

/* Fills the cache to the depth and runs the test once, so that pages, code and clocks are ready. */
static int warm_up(struct run *r)
{
    weft_error err = { 0 };
    double seconds;
    uint64_t n_steps;
    size_t n = size_min(r->row->n_gen, WARM_UP_TOKENS);
    term_progress("%s: warming up", r->what);
    weft_status status = place(r, 0, r->row->n_depth, &err);
    status = status == WEFT_OK ? settle(r, &err) : status;
    if (status == WEFT_OK && !term_interrupted()) {
        status = repeat(r, n, &seconds, &n_steps, &err);
    }
    r->out->profile = (struct bench_profile){ 0 };
    return term_interrupted()  ? EXIT_INTERRUPTED
           : status == WEFT_OK ? EXIT_OK
                               : fail(r, status, &err);
}

static int start(struct run *r, bool profile)
{
    int code = open_engine(r, profile);
    code = code == EXIT_OK ? open_sequences(r) : code;
    if (code == EXIT_OK) {
        term_interrupt_hook(cancel, r);
        code = warm_up(r);
    }
    return code;
}

/* ---------------------------------------------------------------- results */

/* Keeps the hash of the ids of the last repetition. Returns true if it equals the hash of the
 * repetition before. */
static bool keep_ids(struct run *r)
{
    uint32_t hash = IDS_HASH_START;
    for (size_t i = 0; i < r->row->n_parallel; i++) {
        hash = ids_hash(hash, r->ids[i].at, r->ids[i].n);
    }
    bool same = !r->out->has_ids || hash == r->out->hash;
    r->out->has_ids = true;
    r->out->hash = hash;
    return same;
}

/* Returns the multiply-adds of a layer's attention, for rows at n positions from `pos` on. */
static double attention_macs(const weft_layer_info *l, size_t pos, size_t n)
{
    double visible = 0;
    for (size_t i = pos + 1; i <= pos + n; i++) {
        visible += (double)(l->n_window > 0 ? size_min(i, l->n_window) : i);
    }
    return visible * (double)(l->n_heads * (l->k_dim + l->v_dim));
}

/* Returns the multiply-adds of the attention of all layers. */
static double all_attention_macs(const struct run *r, size_t pos, size_t n)
{
    double macs = 0;
    for (size_t i = 0; i < r->b->session.info.n_layers; i++) {
        weft_layer_info l = { .size = sizeof l };
        if (weft_model_get_layer(r->b->session.model, i, &l, NULL) == WEFT_OK) {
            macs += attention_macs(&l, pos, n);
        }
    }
    return macs;
}

static uint64_t kv_read(const struct run *r, size_t pos, size_t n)
{
    uint64_t bytes = 0;
    for (size_t i = pos; i < pos + n; i++) {
        bytes += weft_engine_kv_read(r->engine, i);
    }
    return bytes;
}

/* Computes the least that a repetition costs. Logits are computed only for the last token of a
 * prompt. */
static void count_cost(struct run *r, uint64_t n_steps)
{
    const struct bench_row *row = r->row;
    const weft_model_info *m = &r->b->session.info;
    const weft_engine_info *e = &r->out->engine;
    double n_seqs = (double)row->n_parallel, n_gen = (double)row->n_gen;
    const size_t n = row->n_prompt + row->n_gen;
    double head = (double)m->dim * (double)m->n_vocab;
    double macs = all_attention_macs(r, row->n_depth, n) + n_gen * (double)e->row_macs;
    if (row->n_prompt > 0) {
        macs += (double)row->n_prompt * ((double)e->row_macs - head) + head;
    } else {
        r->out->bytes = n_steps * e->step_weight_bytes +
                        (uint64_t)row->n_parallel * kv_read(r, row->n_depth, n);
    }
    r->out->macs = n_seqs * macs;
}

static int measure_limits(struct run *r)
{
    weft_error err = { 0 };
    struct bench *b = r->b;
    if (!b->limits_known || b->limits_threads != r->row->n_threads) {
        b->limits.size = sizeof b->limits;
        term_progress("%s: measuring the device", r->what);
        weft_status status = weft_engine_measure(r->engine, &b->limits, &err);
        if (status != WEFT_OK) {
            return fail(r, status, &err);
        }
        b->limits_known = true;
        b->limits_threads = r->row->n_threads;
    }
    r->out->limits = b->limits;
    return EXIT_OK;
}

static int time_repetitions(struct run *r)
{
    weft_error err = { 0 };
    weft_status status = WEFT_OK;
    uint64_t n_steps = 0;
    bool same = true;
    size_t reps = (size_t)r->b->o->bench.reps;
    r->out->seconds = calloc(reps, sizeof *r->out->seconds);
    if (r->out->seconds == NULL) {
        return no_memory();
    }
    for (size_t i = 0; i < reps && status == WEFT_OK && !term_interrupted(); i++) {
        term_progress("%s: repetition %zu of %zu", r->what, i + 1, reps);
        status = repeat(r, r->row->n_gen, &r->out->seconds[r->out->n++], &n_steps, &err);
        if (status == WEFT_OK && r->row->n_gen == 0 && generates(r)) {
            status = decode(r, 1, &err);
        }
        same = (status == WEFT_OK && generates(r) ? keep_ids(r) : true) && same;
    }
    if (term_interrupted() || status != WEFT_OK) {
        return term_interrupted() ? EXIT_INTERRUPTED : fail(r, status, &err);
    }
    if (!same && !r->b->o->quiet) {
        term_note("weft: %s: repetitions generated different tokens", r->what);
    }
    for (size_t i = 0; i < r->ids[0].n && r->out->has_ids; i++) {
        if (!ids_add(&r->out->ids, r->ids[0].at[i])) {
            return no_memory();
        }
    }
    r->out->engine.size = sizeof r->out->engine;
    status = weft_engine_get_info(r->engine, &r->out->engine, &err);
    count_cost(r, n_steps);
    return status == WEFT_OK ? EXIT_OK : fail(r, status, &err);
}

/* Waiting for every stage makes steps slower, so the profile has a run of its own. */
static int profile(struct run *r)
{
    weft_error err = { 0 };
    double seconds;
    uint64_t n_steps = 0;
    int code = start(r, true);
    if (code == EXIT_OK) {
        term_progress("%s: profile", r->what);
        weft_status status = repeat(r, r->row->n_gen, &seconds, &n_steps, &err);
        code = status == WEFT_OK ? EXIT_OK : fail(r, status, &err);
    }
    r->out->profile.n_steps = n_steps;
    close_engine(r);
    return term_interrupted() ? EXIT_INTERRUPTED : code;
}

static int check_context(const struct run *r)
{
    size_t trained = r->b->session.info.n_ctx_train;
    weft_error err = { .message = "" };
    if (needed(r) <= trained) {
        return EXIT_OK;
    }
    snprintf(
        err.message, sizeof err.message,
        "needs a context of %zu tokens, and the longest of the model is %zu; ask for less with "
        "-p, -n or -d",
        needed(r), trained);
    return fail(r, WEFT_E_CTX_FULL, &err);
}

static int allocate(struct run *r)
{
    size_t n_parallel = r->row->n_parallel, n_gen = r->row->n_gen > 0 ? r->row->n_gen : 1;
    r->seqs = calloc(n_parallel, sizeof *r->seqs);
    r->ids = calloc(n_parallel, sizeof *r->ids);
    r->prompt = calloc(n_parallel, r->n_tokens * sizeof *r->prompt);
    bool ok = r->seqs != NULL && r->ids != NULL && r->prompt != NULL;
    for (size_t i = 0; i < n_parallel && ok; i++) {
        r->ids[i].at = calloc(n_gen, sizeof *r->ids[i].at);
        ok = r->ids[i].at != NULL;
    }
    int code = ok ? EXIT_OK : no_memory();
    for (size_t i = 0; i < n_parallel && code == EXIT_OK; i++) {
        code = bench_tokens(r->b, i, r->n_tokens, r->prompt + i * r->n_tokens);
    }
    return code;
}

static void release(struct run *r)
{
    for (size_t i = 0; i < r->row->n_parallel && r->ids != NULL; i++) {
        free(r->ids[i].at);
    }
    free(r->ids);
    free(r->seqs);
    free(r->prompt);
}

int bench_run(struct bench *b, const struct bench_row *row, struct bench_result *out)
{
    char what[160];
    struct run r = { .b = b, .row = row, .out = out, .what = what };
    bench_row_name(row, what, sizeof what);
    r.n_tokens = row->n_depth + (row->n_prompt > 0 ? row->n_prompt : 1);
    int code = check_context(&r);
    code = code == EXIT_OK ? allocate(&r) : code;
    if (code == EXIT_OK) {
        code = start(&r, false);
        code = code == EXIT_OK ? measure_limits(&r) : code;
        code = code == EXIT_OK ? time_repetitions(&r) : code;
        close_engine(&r);
    }
    if (code == EXIT_OK && b->o->bench.profile) {
        code = profile(&r);
    }
    term_progress_clear();
    release(&r);
    return code;
}
