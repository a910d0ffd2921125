/* What a model gives, as hashes: one line "MODEL SETUP CASE WHAT HASH" for each thing that a change
 * of the engine's insides must leave as it is. It uses nothing but weft.h, so that the same source
 * is compiled against two versions of the library; manifest.py builds both and compares what they
 * print.
 *
 *     manifest [--device NAME] [--isa NAME] [--kv K/V] [--ctx N] [--prompt N] [--new N] [--few]
 *              [--deterministic] [--plant WHAT] MODEL.gguf
 *
 * No line names the instruction set: all give the same bits. --few leaves cases out, for sets of
 * kernels that are slow. --plant spoils the hash of WHAT, or of "all", to show that the comparison
 * can fail. Exit status: 0, or 1 after a message. */
#include "manifest_rig.h"

#define N_AHEAD 4u

static const char *const isa_names[] = { "auto", "scalar", "avx2", "avx512" }; /* weft_cpu_isa */

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

/* Goes back to the prompts, and draws other tokens behind them. */
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

/* Draws greedily and saves, then goes back to the prompts and draws again. */
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

/* A text that begins like another finds the pages that the other has computed. A fork and a loaded
 * state go on like the sequence that they come from. */
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

/* Logits of every position, then log-probabilities, then text that a grammar allows. */
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

/* Each name of a checkpoint has a hash and a line of its own. So a checkpoint that only one of two
 * versions has changes no line of the others. */
enum { MAX_CHECKPOINTS = 32 };
struct checkpoints {
    size_t n;
    struct {
        char name[32];
        uint64_t hash;
    } of[MAX_CHECKPOINTS];
};

static void see_values(void *user, const weft_checkpoint *c)
{
    struct checkpoints *all = user;
    size_t i = 0;
    while (i < all->n && strcmp(all->of[i].name, c->name) != 0) {
        i++;
    }
    if (i == MAX_CHECKPOINTS) {
        fprintf(stderr, "more than %d checkpoints have names\n", MAX_CHECKPOINTS);
        exit(1);
    }
    if (i == all->n) {
        snprintf(all->of[i].name, sizeof all->of[i].name, "%s", c->name);
        all->of[i].hash = HASH_START;
        all->n++;
    }
    hash_number(&all->of[i].hash, c->layer);
    hash_number(&all->of[i].hash, c->n_rows);
    hash_number(&all->of[i].hash, c->n_cols);
    hash_bytes(&all->of[i].hash, c->values, c->n_rows * c->n_cols * sizeof *c->values);
}

/* Adds up the costs of all stages, whatever their names are. */
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
    struct checkpoints values = { 0 };
    uint64_t costs = HASH_START, sums[2] = { 0 }, ids = HASH_START;
    snprintf(rig->name, sizeof rig->name, "stages");
    params.trace = see_values;
    params.trace_user = &values;
    params.profile = see_cost;
    params.profile_user = sums;
    run_open(&run, rig, &params, 2);
    append(&run, false);
    generate(&run, &ids, NULL);
    hash_bytes(&costs, sums, sizeof sums);
    for (size_t i = 0; i < values.n; i++) {
        report(rig, values.of[i].name, values.of[i].hash);
    }
    report(rig, "costs", costs);
    report(rig, "ids", ids);
    run_close(&run);
}

/* Tokens that a GPU computes ahead; a CPU computes none ahead. */
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

/* The descriptions of the file, and the costs of a step. */
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
