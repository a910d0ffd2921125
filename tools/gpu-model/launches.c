/* weft-launches: records what the host's code launches for models of real size on an H200, without
 * a GPU and without computing anything. The engine runs through the public API on the simulator in
 * its dry mode, on files whose weights are holes. It writes one line of JSON for each launch;
 * README.md describes the lines. Exit codes: 0 done, 1 failed, 2 wrong usage. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "describe.h"
#include "synth/synth.h"
#include "weft.h"

enum {
    N_CTX = 4096 + 128,
    MOST_SEQS = 64,
    DEPTH = 512, /* of steps of several sequences */
    AHEAD = 8
};

static const char *const models[] = { "qwen2.5-0.5b", "phi-3-mini", "qwen2.5-7b", "llama-3.2-1b",
                                      "qwen2.5-1.5b" };

/* The lines of a load are many and similar, so they are counted. */
enum { MOST_GROUPS = 64 };
struct group {
    struct cudasim_entry first;
    size_t n, bytes;
};

struct run {
    FILE *out;
    const char *only_model, *only_case; /* NULL = all */
    struct place at;
    bool counts, graph_told, graph_again;
    struct group groups[MOST_GROUPS];
    size_t n_groups;
    weft_model *model;
    weft_engine *engine;
    weft_error err;
};

/* Ends the program with a message; the records so far have been printed. */
static void check(struct run *r, weft_status status, const char *call)
{
    if (status != WEFT_OK) {
        fflush(r->out);
        fprintf(stderr, "weft-launches: %s, %s, %.*s: %s\n", r->at.model, r->at.mode,
                (int)strcspn(call, "("), call, r->err.message);
        exit(1);
    }
}
#define OK(call) check(r, call, #call)

/* --- the recorder ------------------------------------------------------------------------------
 */

static bool alike(const struct cudasim_entry *a, const struct cudasim_entry *b)
{
    return a->kind == b->kind && a->stream == b->stream && a->direction == b->direction &&
           (a->name == b->name ||
            (a->name != NULL && b->name != NULL && !strcmp(a->name, b->name)));
}

static void count(struct run *r, const struct cudasim_entry *e)
{
    size_t i = 0;
    while (i < r->n_groups && !alike(&r->groups[i].first, e)) {
        i++;
    }
    if (i == MOST_GROUPS) {
        fprintf(stderr, "weft-launches: a load has more than %d kinds of lines\n", MOST_GROUPS);
        exit(1);
    }
    if (i == r->n_groups) {
        r->groups[r->n_groups++] = (struct group){ .first = *e };
    }
    r->groups[i].n++;
    r->groups[i].bytes += described_bytes(e);
}

static void hear(void *user, const struct cudasim_entry *e)
{
    struct run *r = user;
    if (r->counts) {
        count(r, e);
        return;
    }
    if (e->kind == CUDASIM_GRAPH) {
        r->graph_again = r->graph_told;
        r->graph_told = true;
    }
    if (e->in_graph && r->graph_again) {
        return; /* the nodes are those of the first replay in this case */
    }
    describe(r->out, &r->at, e);
    r->at.i++;
}

static void begin(struct run *r, const char *mode, size_t rows, size_t pos, bool counts)
{
    r->at.mode = mode;
    r->at.rows = rows;
    r->at.pos = pos;
    r->at.step = r->at.i = 0;
    r->counts = counts;
    r->graph_told = r->graph_again = false;
    r->n_groups = 0;
    cudasim_record(hear, r);
}

static void end(struct run *r)
{
    (void)cudaDeviceSynchronize(); /* for work that nobody has waited for */
    cudasim_record(NULL, NULL);
    for (size_t i = 0; i < r->n_groups; i++, r->at.i++) {
        describe_many(r->out, &r->at, &r->groups[i].first, r->groups[i].n, r->groups[i].bytes);
    }
    r->n_groups = 0;
}

static bool wanted(const struct run *r, const char *mode)
{
    return r->only_case == NULL || strcmp(r->only_case, mode) == 0;
}

/* --- sequences ---------------------------------------------------------------------------------
 */

static void step(struct run *r)
{
    OK(weft_engine_step(r->engine, NULL, &r->err));
    r->at.step++;
}

static void compute(struct run *r, weft_seq *const *seqs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        while (weft_seq_pending(seqs[i]) > 0) {
            step(r);
        }
    }
}

/* Opens a greedy sequence of n tokens that are not computed yet. */
static weft_seq *open_seq(struct run *r, size_t n)
{
    weft_sampling greedy = WEFT_SAMPLING_INIT;
    weft_seq *seq;
    int32_t *tokens = calloc(n, sizeof *tokens);
    if (tokens == NULL) {
        fprintf(stderr, "weft-launches: no memory for %zu tokens\n", n);
        exit(1);
    }
    for (size_t i = 0; i < n; i++) {
        tokens[i] = (int32_t)(100 + i % 100);
    }
    greedy.temperature = 0.0f;
    OK(weft_seq_open(r->engine, &greedy, &seq, &r->err));
    OK(weft_seq_append(seq, tokens, n, &r->err));
    free(tokens);
    return seq;
}

/* Draws the next token of n sequences and runs the step after which each sees `pos` positions. */
static void decode(struct run *r, const char *mode, size_t n, size_t pos)
{
    weft_seq *seqs[MOST_SEQS];
    int32_t token;
    for (size_t i = 0; i < n; i++) {
        seqs[i] = open_seq(r, pos - 1);
    }
    compute(r, seqs, n);
    (void)cudaDeviceSynchronize();
    begin(r, mode, n, pos, false);
    for (size_t i = 0; i < n; i++) {
        OK(weft_seq_next(seqs[i], &token, &r->err));
        if (weft_seq_finish(seqs[i]) != WEFT_RUNNING) {
            fprintf(stderr, "weft-launches: token %d has ended the text\n", token);
            exit(1);
        }
    }
    step(r);
    end(r);
    for (size_t i = 0; i < n; i++) {
        weft_seq_release(&seqs[i]);
    }
}

static void prefill(struct run *r, size_t n)
{
    weft_seq *seq = open_seq(r, n);
    begin(r, "prefill", n, n, false);
    compute(r, &seq, 1);
    end(r);
    weft_seq_release(&seq);
}

/* --- a model -----------------------------------------------------------------------------------
 */

static void open_engine(struct run *r, size_t n_ahead)
{
    weft_engine_params params = WEFT_ENGINE_PARAMS_INIT;
    params.device = "cuda:0";
    params.n_ctx = N_CTX;
    params.n_kv = (size_t)MOST_SEQS * (DEPTH + 128);
    params.n_ahead = n_ahead;
    params.no_prefix_cache = true;
    OK(weft_engine_open(r->model, &params, &r->engine, &r->err));
}

static void load(struct run *r)
{
    begin(r, "load", 0, 0, true);
    open_engine(r, 1);
    if (!wanted(r, "load")) {
        r->n_groups = 0;
    }
    end(r);
}

static void run_cases(struct run *r)
{
    static const size_t depths[] = { 100, DEPTH, 4096 }, many[] = { 2, 4, 8, 16, MOST_SEQS },
                        prompts[] = { 512, 2048 };
    r->at.mode = "load";
    load(r);
    for (size_t i = 0; i < 3 && wanted(r, "decode"); i++) {
        decode(r, "decode", 1, depths[i]);
    }
    for (size_t i = 0; i < 5 && wanted(r, "decode"); i++) {
        decode(r, "decode", many[i], DEPTH);
    }
    for (size_t i = 0; i < 2 && wanted(r, "prefill"); i++) {
        prefill(r, prompts[i]);
    }
    weft_engine_release(&r->engine);
    if (wanted(r, "ahead")) {
        r->at.mode = "ahead";
        open_engine(r, AHEAD);
        decode(r, "ahead", 1, DEPTH);
        weft_engine_release(&r->engine);
    }
}

static void run_model(struct run *r, const char *directory)
{
    char path[512];
    struct synth_spec spec;
    if (!synth_preset(r->at.model, &spec)) {
        fprintf(stderr, "weft-launches: there is no model %s\n", r->at.model);
        exit(2);
    }
    spec.sparse = true;
    spec.n_ctx = size_max(spec.n_ctx, N_CTX);
    r->at.type = spec.type_mix;
    r->at.mode = "open";
    snprintf(path, sizeof path, "%s/%s.gguf", directory, r->at.model);
    OK(synth_write(&spec, path, &r->err));
    weft_status status = weft_model_open(path, NULL, &r->model, &r->err);
    (void)unlink(path);
    check(r, status, "weft_model_open");
    run_cases(r);
    weft_model_release(&r->model);
}

/* Makes the simulated device an H200. */
static void set_device(struct run *r)
{
    struct cudasim_config *s = cudasim_settings();
    s->dry = true;
    s->order = CUDASIM_ASCENDING;
    s->sm_count = 132;
    s->compute_capability = 90;
    s->shared_opt_in = 227 << 10;
    s->l2_bytes = 50 << 20;
    s->device_memory = (size_t)141 * 1000 * 1000 * 1000;
    r->at.queue = (struct dqueue){ .programmatic = true,
                                   .n_sms = (uint32_t)s->sm_count,
                                   .shared_bytes = (uint32_t)s->shared_opt_in };
}

static const char usage[] =
    "usage: weft-launches [--model NAME] [--case load|decode|ahead|prefill]\n";

int main(int argc, char **argv)
{
    struct run *r = calloc(1, sizeof *r);
    const char *base = getenv("TMPDIR");
    char directory[256];
    for (int i = 1; i < argc; i += 2) {
        bool model = strcmp(argv[i], "--model") == 0, mode = strcmp(argv[i], "--case") == 0;
        if ((!model && !mode) || i + 1 == argc) {
            fputs(usage, stderr);
            return 2;
        }
        *(model ? &r->only_model : &r->only_case) = argv[i + 1];
    }
    snprintf(directory, sizeof directory, "%s/weft-launches-XXXXXX", base ? base : "/tmp");
    if (r == NULL || mkdtemp(directory) == NULL) {
        perror("weft-launches");
        return 1;
    }
    r->out = stdout;
    set_device(r);
    if (r->only_model != NULL) {
        r->at.model = r->only_model;
        run_model(r, directory);
    }
    for (size_t i = 0; r->only_model == NULL && i < sizeof models / sizeof models[0]; i++) {
        r->at.model = models[i];
        run_model(r, directory);
    }
    (void)rmdir(directory);
    free(r);
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
