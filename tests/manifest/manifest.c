/* What a model gives, as hashes: one line "MODEL SETUP CASE WHAT HASH" for each thing that a change
 * of the engine's insides must leave as it is. It uses nothing but weft.h, so that the same source
 * is compiled against two versions of the library; manifest.py builds both and compares what they
 * print.
 *
 *     manifest [--device NAME] [--isa NAME] [--kv K/V] [--ctx N] [--prompt N] [--new N] [--few]
 *              [--deterministic] [--plant WHAT] MODEL.gguf
 *
 * No line names the instruction set: all give the same bits. --few leaves cases out, for sets of
 * kernels that are slow. --plant spoils the hash of WHAT, to show that the comparison can fail.
 * Exit status: 0, or 1 after a message. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft.h"

#define MAX_SEQS 16u
#define PIECE_BATCH 24u /* rows of a step where a prompt goes in pieces */
#define N_AHEAD 4u

struct setup {
    const char *device, *kv, *plant, *path;
    weft_cpu_isa isa;
    size_t n_ctx, n_prompt, n_new;
    bool deterministic, few;
};

/* Values that several functions need. */
struct rig {
    const struct setup *setup;
    weft_model *model;
    weft_model_info info;
    char name[64]; /* of the case that runs */
    int32_t *text;
    size_t n_text; /* tokens of `passage` */
    float *logits; /* [n_vocab] */
};

/* One engine with sequences on it. */
struct run {
    struct rig *rig;
    weft_engine *engine;
    weft_seq *seqs[MAX_SEQS];
    size_t n_seqs;
};

static const char *const isa_names[] = { "auto", "scalar", "avx2", "avx512" }; /* weft_cpu_isa */

static const char passage[] =
    "The weaver threw the shuttle through the shed and beat the weft into place. In 1804 Joseph "
    "Marie "
    "Jacquard showed a loom that read its pattern from cards; \"a card for each row\", he said. "
    "Caf\xc3\xa9s "
    "sold 3,141 of them for 27.18 francs apiece.\n\nint main(void) { return 0; }\n\tThe capital of "
    "France is "
    "Paris, and that of Norway is Oslo. \xe4\xbd\xa0\xe5\xa5\xbd, \xd0\xbc\xd0\xb8\xd1\x80! "
    "\xf0\x9f\x99\x82 "
    "What is woven once can be worn for years; what is written once is read a thousand times. ";

/* ---------------------------------------------------------------- hashes and errors */

#define HASH_START 0xcbf29ce484222325u

/* FNV-1a of 64 bits. */
static void hash_bytes(uint64_t *hash, const void *data, size_t n)
{
    const unsigned char *bytes = data;
    uint64_t h = *hash;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ bytes[i]) * 0x100000001b3u;
    }
    *hash = h;
}

static void hash_number(uint64_t *hash, uint64_t value) { hash_bytes(hash, &value, sizeof value); }

static void report(const struct rig *rig, const char *what, uint64_t hash)
{
    const struct setup *s = rig->setup;
    const char *slash = strrchr(s->path, '/');
    if (s->plant != NULL && strcmp(s->plant, what) == 0) {
        hash ^= 1;
    }
    printf("%s %s,%zu,%zu+%zu%s %s %s %016" PRIx64 "\n", slash == NULL ? s->path : slash + 1, s->kv,
           s->n_ctx, s->n_prompt, s->n_new, s->deterministic ? ",deterministic" : "", rig->name,
           what, hash);
}

static void must(const struct rig *rig, weft_status status, const weft_error *err)
{
    if (status != WEFT_OK) {
        fprintf(stderr, "manifest: %s, %s: %s: %s\n", rig->setup->path, rig->name,
                weft_status_name(status), err->message);
        exit(1);
    }
}

static void *must_alloc(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (p == NULL) {
        fprintf(stderr, "manifest: no memory for %zu values of %zu bytes\n", n, size);
        exit(1);
    }
    return p;
}

/* ---------------------------------------------------------------- prompts */

/* Sequences of even numbers read the passage, from different places on; those of odd ones ids that
 * no text has. The first is the longest, so that it fills more than a page. */
static size_t make_prompt(const struct rig *rig, size_t i, int32_t *dst)
{
    size_t n = i == 0 ? rig->setup->n_prompt : 1 + i * 29 % (1 + rig->setup->n_prompt / 5);
    uint64_t random = 12345 + i;
    for (size_t k = 0; k < n; k++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        dst[k] = i % 2 == 0 ? rig->text[(7 * i + k) % rig->n_text]
                            : (int32_t)((random >> 33) % rig->info.n_vocab);
    }
    return n;
}

static weft_sampling greedy(void)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.temperature = 0;
    s.ignore_end = true;
    return s;
}

static weft_sampling drawn(size_t i)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.temperature = 1.5f;
    s.repeat_penalty = 1.1f;
    s.seed = 7 + i;
    s.ignore_end = true;
    return s;
}

/* ---------------------------------------------------------------- engine and sequences */

static weft_engine_params engine_params(const struct rig *rig, bool pieces, size_t n_seqs)
{
    const struct setup *s = rig->setup;
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    p.device = s->device;
    p.cpu_isa = s->isa;
    p.n_ctx = s->n_ctx;
    p.n_kv = n_seqs * (s->n_prompt + 3 * s->n_new + 64);
    p.n_batch = pieces ? PIECE_BATCH : 0;
    p.n_threads = n_seqs > 1 ? 2 : 1;
    p.deterministic = s->deterministic;
    p.no_prefix_cache = true;
    p.type_k = strncmp(s->kv, "q8_0/", 5) == 0 ? WEFT_KV_Q8_0 : WEFT_KV_F16;
    p.type_v = strcmp(strchr(s->kv, '/'), "/q8_0") == 0 ? WEFT_KV_Q8_0 : WEFT_KV_F16;
    return p;
}

static void run_open(struct run *run, struct rig *rig, const weft_engine_params *params,
                     size_t n_seqs)
{
    weft_error err = { 0 };
    weft_sampling sampling = greedy();
    *run = (struct run){ .rig = rig, .n_seqs = n_seqs };
    must(rig, weft_engine_open(rig->model, params, &run->engine, &err), &err);
    for (size_t i = 0; i < n_seqs; i++) {
        must(rig, weft_seq_open(run->engine, &sampling, &run->seqs[i], &err), &err);
    }
}

static void run_close(struct run *run)
{
    for (size_t i = 0; i < run->n_seqs; i++) {
        weft_seq_release(&run->seqs[i]);
    }
    weft_engine_release(&run->engine);
}

static void step(struct run *run, size_t *ready)
{
    weft_error err = { 0 };
    must(run->rig, weft_engine_step(run->engine, ready, &err), &err);
}

/* Steps until all sequences have logits. */
static void settle(struct run *run)
{
    size_t ready = 0;
    do {
        step(run, &ready);
    } while (ready < run->n_seqs);
}

/* Appends all prompts; in pieces of growing size with a step between them, or each in one. */
static void append(struct run *run, bool pieces)
{
    struct rig *rig = run->rig;
    weft_error err = { 0 };
    int32_t *prompt = must_alloc(rig->setup->n_prompt, sizeof *prompt);
    size_t done = 0;
    for (size_t size = pieces ? 1 : rig->setup->n_prompt; done < rig->setup->n_prompt; size *= 3) {
        for (size_t i = 0; i < run->n_seqs; i++) {
            size_t n = make_prompt(rig, i, prompt);
            size_t from = done < n ? done : n;
            size_t left = n - from;
            must(rig, weft_seq_append(run->seqs[i], prompt + from, left < size ? left : size, &err),
                 &err);
        }
        done += size;
        size_t ready;
        step(run, &ready);
    }
    free(prompt);
}

static void hash_logits(struct run *run, weft_seq *seq, uint64_t *hash)
{
    struct rig *rig = run->rig;
    weft_error err = { 0 };
    must(rig, weft_seq_logits(seq, rig->logits, rig->info.n_vocab, NULL, &err), &err);
    hash_bytes(hash, rig->logits, rig->info.n_vocab * sizeof *rig->logits);
}

static void hash_text(struct run *run, weft_seq *seq, uint64_t *hash)
{
    char text[4096];
    size_t n = 0;
    weft_error err = { 0 };
    must(run->rig, weft_seq_text(seq, text, sizeof text, &n, &err), &err);
    hash_bytes(hash, text, n);
}

/* n_new tokens in every sequence. `logits` may be NULL: those of tokens computed ahead are not
 * kept. */
static void generate(struct run *run, uint64_t *ids, uint64_t *logits)
{
    struct rig *rig = run->rig;
    weft_error err = { 0 };
    for (size_t k = 0; k < rig->setup->n_new; k++) {
        settle(run);
        for (size_t i = 0; i < run->n_seqs; i++) {
            int32_t token;
            if (logits != NULL) {
                hash_logits(run, run->seqs[i], logits);
            }
            must(rig, weft_seq_next(run->seqs[i], &token, &err), &err);
            hash_number(ids, (uint64_t)token);
            hash_text(run, run->seqs[i], ids);
        }
    }
}

static void *save(struct run *run, weft_seq *seq, size_t *n)
{
    weft_error err = { 0 };
    (void)weft_seq_save(seq, NULL, 0, n, NULL);
    void *state = must_alloc(*n, 1);
    must(run->rig, weft_seq_save(seq, state, *n, n, &err), &err);
    return state;
}

/* ---------------------------------------------------------------- cases */

static void report_stats(struct run *run)
{
    weft_error err = { 0 };
    weft_engine_stats s = { .size = sizeof s };
    uint64_t hash = HASH_START;
    must(run->rig, weft_engine_get_stats(run->engine, &s, &err), &err);
    const uint64_t numbers[] = { s.n_pages,  s.n_pages_used,  s.n_pages_shared, s.n_page_refs,
                                 s.n_tokens, s.n_computed,    s.n_stored,       s.page_bytes,
                                 s.kv_bytes, s.n_steps,       s.n_rows,         s.n_prompt_rows,
                                 s.n_cached, s.n_page_copies, s.n_decode_rows };
    hash_bytes(&hash, numbers, sizeof numbers);
    report(run->rig, "stats", hash);
}

/* Back to the prompts, and other tokens behind them. */
static void draw_again(struct run *run)
{
    weft_error err = { 0 };
    uint64_t ids = HASH_START, logits = HASH_START;
    for (size_t i = 0; i < run->n_seqs; i++) {
        weft_sampling sampling = drawn(i);
        size_t n_prompt = weft_seq_len(run->seqs[i]) - run->rig->setup->n_new;
        must(run->rig, weft_seq_rewind(run->seqs[i], n_prompt, &err), &err);
        must(run->rig, weft_seq_set_sampling(run->seqs[i], &sampling, &err), &err);
    }
    generate(run, &ids, &logits);
    report(run->rig, "drawn-ids", ids);
    report(run->rig, "drawn-logits", logits);
}

/* Greedy, saved, then back to the prompts and drawn. */
static void case_texts(struct rig *rig, size_t n_seqs, bool pieces)
{
    struct run run;
    weft_engine_params params = engine_params(rig, pieces, n_seqs);
    uint64_t ids = HASH_START, logits = HASH_START, states = HASH_START;
    snprintf(rig->name, sizeof rig->name, "seqs=%zu,%s", n_seqs, pieces ? "pieces" : "one");
    run_open(&run, rig, &params, n_seqs);
    append(&run, pieces);
    generate(&run, &ids, &logits);
    report(rig, "ids", ids);
    report(rig, "logits", logits);
    for (size_t i = 0; i < n_seqs; i++) {
        size_t n;
        void *state = save(&run, run.seqs[i], &n);
        hash_bytes(&states, state, n);
        free(state);
    }
    report(rig, "states", states);
    if (!rig->setup->few) {
        draw_again(&run);
        report_stats(&run);
    }
    run_close(&run);
}

static void case_embed(struct rig *rig, bool pieces)
{
    struct run run;
    weft_error err = { 0 };
    weft_engine_params params = engine_params(rig, pieces, 1);
    int32_t *prompt = must_alloc(rig->setup->n_prompt, sizeof *prompt);
    float *vector = must_alloc(rig->info.dim, sizeof *vector);
    uint64_t hash = HASH_START;
    snprintf(rig->name, sizeof rig->name, "embed,%s", pieces ? "pieces" : "one");
    run_open(&run, rig, &params, 0);
    for (size_t i = 0; i < 2; i++) {
        size_t n = make_prompt(rig, i, prompt);
        weft_embed_params how = WEFT_EMBED_PARAMS_INIT;
        how.pooling = i == 0 ? WEFT_POOL_MODEL : WEFT_POOL_LAST;
        how.raw = i == 1;
        must(rig, weft_embed(run.engine, prompt, n, &how, vector, rig->info.dim, NULL, &err), &err);
        hash_bytes(&hash, vector, rig->info.dim * sizeof *vector);
    }
    report(rig, "embeddings", hash);
    run_close(&run);
    free(vector);
    free(prompt);
}

/* A text that begins like another finds what that computed; a fork and a loaded state go on like
 * the sequence that they come from. */
static void case_reuse(struct rig *rig)
{
    struct run run;
    weft_error err = { 0 };
    weft_engine_params params = engine_params(rig, false, 4);
    uint64_t ids = HASH_START, logits = HASH_START;
    size_t n;
    snprintf(rig->name, sizeof rig->name, "reuse");
    params.no_prefix_cache = false;
    run_open(&run, rig, &params, 1);
    append(&run, false);
    generate(&run, &ids, &logits);
    void *state = save(&run, run.seqs[0], &n);
    weft_sampling sampling = greedy();
    must(rig, weft_seq_fork(run.seqs[0], &run.seqs[1], &err), &err);
    must(rig, weft_seq_open(run.engine, &sampling, &run.seqs[2], &err), &err);
    must(rig, weft_seq_load(run.seqs[2], state, n, &err), &err);
    must(rig, weft_seq_open(run.engine, &sampling, &run.seqs[3], &err), &err);
    int32_t *tokens = must_alloc(weft_seq_len(run.seqs[0]), sizeof *tokens);
    must(rig, weft_seq_tokens(run.seqs[0], tokens, weft_seq_len(run.seqs[0]), &n, &err), &err);
    must(rig, weft_seq_append(run.seqs[3], tokens, n, &err), &err);
    run.n_seqs = 4;
    generate(&run, &ids, &logits);
    report(rig, "ids", ids);
    report(rig, "logits", logits);
    report_stats(&run);
    run_close(&run);
    free(tokens);
    free(state);
}

static void see_logits(void *user, size_t pos, const float *logits, size_t n_vocab)
{
    hash_number(user, pos);
    hash_bytes(user, logits, n_vocab * sizeof *logits);
}

/* Logits of every position, then log-probabilities, then what a grammar allows. */
static void case_observed(struct rig *rig)
{
    static const char grammar[] = "root ::= [a-z]+ (\" \" [a-z]+)*";
    struct run run;
    weft_error err = { 0 };
    weft_engine_params params = engine_params(rig, false, 1);
    uint64_t positions = HASH_START, best = HASH_START, ids = HASH_START;
    snprintf(rig->name, sizeof rig->name, "observed");
    run_open(&run, rig, &params, 1);
    weft_seq *seq = run.seqs[0];
    must(rig, weft_seq_observe(seq, see_logits, &positions, &err), &err);
    append(&run, false);
    settle(&run);
    report(rig, "positions", positions);
    must(rig, weft_seq_observe(seq, NULL, NULL, &err), &err);
    must(rig, weft_seq_set_logprobs(seq, 5, &err), &err);
    for (size_t k = 0; k < rig->setup->n_new; k++) {
        weft_logprob all[6];
        int32_t token;
        size_t n;
        settle(&run);
        must(rig, weft_seq_next(seq, &token, &err), &err);
        must(rig, weft_seq_logprobs(seq, all, 6, &n, &err), &err);
        hash_bytes(&best, all, n * sizeof all[0]);
    }
    report(rig, "logprobs", best);
    weft_sampling sampling = drawn(0);
    sampling.ignore_end = false;
    must(rig, weft_seq_rewind(seq, rig->setup->n_prompt, &err), &err);
    must(rig, weft_seq_set_sampling(seq, &sampling, &err), &err);
    must(rig, weft_seq_set_grammar(seq, grammar, strlen(grammar), &err), &err);
    for (size_t k = 0; k < rig->setup->n_new && weft_seq_finish(seq) == WEFT_RUNNING; k++) {
        int32_t token;
        settle(&run);
        must(rig, weft_seq_next(seq, &token, &err), &err);
        hash_number(&ids, (uint64_t)token);
    }
    report(rig, "grammar-ids", ids);
    run_close(&run);
}

static void see_values(void *user, const weft_checkpoint *c)
{
    hash_bytes(user, c->name, strlen(c->name));
    hash_number(user, c->layer);
    hash_number(user, c->n_rows);
    hash_number(user, c->n_cols);
    hash_bytes(user, c->values, c->n_rows * c->n_cols * sizeof *c->values);
}

/* What all stages cost together, whatever they are called. */
static void see_cost(void *user, const weft_stage *stage)
{
    uint64_t *sums = user;
    sums[0] += stage->bytes;
    sums[1] += stage->n_macs;
}

static void case_stages(struct rig *rig)
{
    struct run run;
    weft_engine_params params = engine_params(rig, true, 2);
    uint64_t values = HASH_START, costs = HASH_START, sums[2] = { 0 }, ids = HASH_START;
    snprintf(rig->name, sizeof rig->name, "stages");
    params.trace = see_values;
    params.trace_user = &values;
    params.profile = see_cost;
    params.profile_user = sums;
    run_open(&run, rig, &params, 2);
    append(&run, false);
    generate(&run, &ids, NULL);
    hash_bytes(&costs, sums, sizeof sums);
    report(rig, "values", values);
    report(rig, "costs", costs);
    report(rig, "ids", ids);
    run_close(&run);
}

/* Tokens that a GPU computes ahead; a CPU does without. */
static void case_ahead(struct rig *rig)
{
    struct run run;
    weft_engine_params params = engine_params(rig, false, 2);
    uint64_t ids = HASH_START;
    snprintf(rig->name, sizeof rig->name, "ahead");
    params.n_ahead = N_AHEAD;
    run_open(&run, rig, &params, 2);
    append(&run, false);
    generate(&run, &ids, NULL);
    generate(&run, &ids, NULL);
    report(rig, "ids", ids);
    report_stats(&run);
    run_close(&run);
}

/* What the file is said to be, and what a step is said to cost. */
static void case_info(struct rig *rig)
{
    struct run run;
    weft_error err = { 0 };
    const weft_model_info *m = &rig->info;
    weft_engine_params params = engine_params(rig, false, 1);
    weft_engine_info e = { .size = sizeof e };
    uint64_t model = HASH_START, engine = HASH_START, tokens = HASH_START;
    snprintf(rig->name, sizeof rig->name, "info");
    const uint64_t of_model[] = { m->n_vocab,       m->n_ctx_train, m->n_layers, m->dim,
                                  m->n_heads,       m->n_kv_heads,  m->head_dim, m->n_ff,
                                  m->n_params,      m->n_bytes,     m->n_window, (uint64_t)m->bos,
                                  (uint64_t)m->eos, m->adds_bos };
    hash_bytes(&model, of_model, sizeof of_model);
    hash_bytes(&model, m->architecture, strlen(m->architecture));
    hash_bytes(&model, m->type, strlen(m->type));
    report(rig, "model", model);
    run_open(&run, rig, &params, 1);
    must(rig, weft_engine_get_info(run.engine, &e, &err), &err);
    const uint64_t of_engine[] = {
        e.n_ctx,    e.n_kv,     e.n_batch,           e.weight_bytes,
        e.kv_bytes, e.row_macs, e.step_weight_bytes, e.kv_position_bytes
    };
    hash_bytes(&engine, of_engine, sizeof of_engine);
    report(rig, "engine", engine);
    if (rig->setup->isa != WEFT_ISA_AUTO &&
        strncmp(e.kernels, isa_names[rig->setup->isa], strlen(isa_names[rig->setup->isa])) != 0) {
        fprintf(stderr, "manifest: the kernels that run are %s, asked for were %s\n", e.kernels,
                isa_names[rig->setup->isa]);
        exit(1);
    }
    hash_bytes(&tokens, rig->text, rig->n_text * sizeof *rig->text);
    report(rig, "tokens", tokens);
    run_close(&run);
}

/* ---------------------------------------------------------------- the program */

static void all_cases(struct rig *rig)
{
    case_info(rig);
    for (size_t pieces = 0; pieces < 2; pieces++) {
        case_texts(rig, 1, pieces);
        case_texts(rig, MAX_SEQS, pieces);
        case_embed(rig, pieces);
    }
    if (rig->setup->few) {
        return;
    }
    case_reuse(rig);
    case_observed(rig);
    case_stages(rig);
    case_ahead(rig);
}

static int usage(const char *what)
{
    fprintf(stderr, "manifest: %s; see the top of its source for usage\n", what);
    return 1;
}

static bool parse_isa(const char *name, weft_cpu_isa *isa)
{
    for (size_t i = 0; i < sizeof isa_names / sizeof isa_names[0]; i++) {
        if (strcmp(isa_names[i], name) == 0) {
            *isa = (weft_cpu_isa)i;
            return true;
        }
    }
    return false;
}

static bool parse_option(struct setup *s, const char *option, const char *value)
{
    size_t *number = strcmp(option, "--ctx") == 0      ? &s->n_ctx
                     : strcmp(option, "--prompt") == 0 ? &s->n_prompt
                     : strcmp(option, "--new") == 0    ? &s->n_new
                                                       : NULL;
    const char **text = strcmp(option, "--device") == 0  ? &s->device
                        : strcmp(option, "--kv") == 0    ? &s->kv
                        : strcmp(option, "--plant") == 0 ? &s->plant
                                                         : NULL;
    if (number != NULL) {
        *number = strtoul(value, NULL, 10);
        return *number > 0;
    }
    if (text != NULL) {
        *text = value;
        return true;
    }
    return strcmp(option, "--isa") == 0 && parse_isa(value, &s->isa);
}

int main(int argc, char **argv)
{
    struct setup setup = {
        .device = "cpu", .kv = "f16/f16", .n_ctx = 256, .n_prompt = 70, .n_new = 5
    };
    struct rig rig = { .setup = &setup, .info = { .size = sizeof rig.info }, .name = "open" };
    weft_model *model = NULL;
    weft_error err = { 0 };
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            setup.path = argv[i];
        } else if (strcmp(argv[i], "--deterministic") == 0) {
            setup.deterministic = true;
        } else if (strcmp(argv[i], "--few") == 0) {
            setup.few = true;
        } else if (i + 1 >= argc || !parse_option(&setup, argv[i], argv[i + 1])) {
            return usage(argv[i]);
        } else {
            i++;
        }
    }
    if (setup.path == NULL || strchr(setup.kv, '/') == NULL) {
        return usage("no model, or no / between the types of K and V");
    }
    must(&rig, weft_model_open(setup.path, NULL, &model, &err), &err);
    rig.model = model;
    must(&rig, weft_model_get_info(model, &rig.info, &err), &err);
    rig.text = must_alloc(sizeof passage, 4 * sizeof *rig.text);
    must(&rig,
         weft_tokenize(model, passage, strlen(passage), WEFT_TOKENIZE_BOS, rig.text,
                       4 * sizeof passage, &rig.n_text, &err),
         &err);
    rig.logits = must_alloc(rig.info.n_vocab, sizeof *rig.logits);
    all_cases(&rig);
    free(rig.logits);
    free(rig.text);
    weft_model_release(&model);
    return 0;
}
