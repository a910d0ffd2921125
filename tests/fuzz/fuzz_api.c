/* Any order of calls on an engine with a small pool and on its sequences. Each call is refused with
 * a message or does what it says, and the engine's books are right after every call. Whatever was
 * shared, forked, rewound, saved and loaded: the logits of a sequence equal those that its tokens
 * give in a clean engine, bit for bit. */
#include "fuzz_engine.h"

enum { N_SEQS = 5, N_STATES = 3, N_CTX = 256, DIM = 32, MAX_CALLS = 200 };

static weft_model *model;
static weft_engine *clean_engines[4]; /* one for each pair of types of K and V */

struct world {
    weft_engine *engine, *clean;
    weft_seq *seqs[N_SEQS];
    bool greedy[N_SEQS];         /* only the logits and a grammar decide */
    const char *grammar[N_SEQS]; /* NULL = none */
    struct bytes states[N_STATES];
    struct fuzz_input in;
};

static const char letters_grammar[] = "root ::= [a-z ]*";
static const char *const grammars[] = { letters_grammar, "root ::= \"{\" [^}]{0,4} \"}\"",
                                        "root ::= (\"a\" | \"the\" | root2)+\nroot2 ::= [0-9]{2}",
                                        "root ::= root" };

/* Makes texts of few families, so that some begin alike. */
static size_t some_tokens(struct world *w, int32_t *tokens)
{
    static const size_t lengths[] = { 0, 1, 2, 9, 63, 64, 65, 130, N_CTX, N_CTX + 1 };
    uint8_t what = fuzz_byte(&w->in);
    size_t n = lengths[what % 10];
    for (size_t i = 0; i < n; i++) {
        tokens[i] = (int32_t)((i * 37 + (size_t)(what & 1) * 5 + 3) % FUZZ_VOCAB);
    }
    if (n > 0 && what >= 240) {
        tokens[n - 1] = what == 255 ? -1 : FUZZ_VOCAB; /* this token is refused */
    }
    return n;
}

static void call_open(struct world *w, size_t i)
{
    weft_error err = { 0 };
    weft_sampling s = WEFT_SAMPLING_INIT;
    uint8_t how = fuzz_byte(&w->in);
    s.temperature = (how & 1) != 0 ? 0.9f : 0;
    s.repeat_penalty = (how & 2) != 0 ? 1.2f : 1;
    s.ignore_end = (how & 4) != 0;
    s.seed = how;
    if (w->seqs[i] == NULL) {
        fuzz_may(weft_seq_open(w->engine, &s, &w->seqs[i], &err), &err);
        w->grammar[i] = NULL;
    } else {
        fuzz_may(weft_seq_set_sampling(w->seqs[i], &s, &err), &err);
    }
    w->greedy[i] = (how & 7) == 0;
}

/* Checks that a greedy token is the first of the best. */
static void must_be_best(const float *logits, int32_t token)
{
    for (int32_t i = 0; i < FUZZ_VOCAB; i++) {
        MUST(i < token ? logits[i] < logits[token] : logits[i] <= logits[token]);
    }
}

static void must_be_letters(int32_t token)
{
    char text[64];
    size_t n;
    MUST(weft_detokenize(model, &token, 1, 0, text, sizeof text, &n, NULL) == WEFT_OK);
    for (size_t i = 0; i < n; i++) {
        MUST((text[i] >= 'a' && text[i] <= 'z') || text[i] == ' ');
    }
}

static void call_next(struct world *w, size_t i)
{
    static float logits[FUZZ_VOCAB];
    weft_error err = { 0 };
    int32_t token = -7;
    bool known = weft_seq_logits(w->seqs[i], logits, FUZZ_VOCAB, NULL, NULL) == WEFT_OK;
    size_t n = weft_seq_len(w->seqs[i]);
    weft_status s = fuzz_may(weft_seq_next(w->seqs[i], &token, &err), &err);
    MUST((s == WEFT_OK && token >= 0) == (weft_seq_len(w->seqs[i]) == n + 1));
    if (s != WEFT_OK || token < 0) {
        MUST(s != WEFT_OK || weft_seq_finish(w->seqs[i]) == WEFT_FINISH_GRAMMAR);
        return;
    }
    MUST(known);
    if (w->greedy[i] && w->grammar[i] == NULL) {
        must_be_best(logits, token);
    } else if (w->grammar[i] == letters_grammar) {
        must_be_letters(token);
    }
}

static void call_grammar(struct world *w, size_t i)
{
    weft_error err = { 0 };
    size_t which = fuzz_byte(&w->in) % 5;
    const char *text = which < 4 ? grammars[which] : NULL;
    if (fuzz_may(weft_seq_set_grammar(w->seqs[i], text, text != NULL ? strlen(text) : 0, &err),
                 &err) == WEFT_OK) {
        MUST(which != 3);
        w->grammar[i] = text;
    }
}

/* Draws under a trigger are checked only as draws under any grammar are. */
static void call_trigger(struct world *w, size_t i)
{
    static const char *const texts[] = { "a", "the", "t", "aab" };
    weft_error err = { 0 };
    uint8_t how = fuzz_byte(&w->in);
    const int32_t token = fuzz_byte(&w->in);
    const char *text = grammars[1 + how / 64 % 2];
    const weft_trigger p = { .size = sizeof p,
                             .texts = texts + how % 4,
                             .n_texts = how % 4 == 0 ? how / 4 % 4 : 1,
                             .tokens = &token,
                             .n_tokens = how / 32 % 2,
                             .hold_open = how / 16 % 2 == 0 ? NULL : texts[how / 2 % 4],
                             .hold_close = texts[how / 4 % 4],
                             .held = how % 2 == 0 };
    if (fuzz_may(weft_seq_set_trigger(w->seqs[i], &p, text, strlen(text), &err), &err) == WEFT_OK) {
        w->grammar[i] = p.n_texts + p.n_tokens > 0 ? text : NULL;
    }
}

static void call_save(struct world *w, size_t i)
{
    struct bytes *state = &w->states[fuzz_byte(&w->in) % N_STATES];
    free(state->data);
    *state = (struct bytes){ 0 };
    MUST(weft_seq_save(w->seqs[i], NULL, 0, &state->n, NULL) == WEFT_E_BUFFER);
    state->data = malloc(state->n);
    MUST(state->data != NULL);
    MUST(weft_seq_save(w->seqs[i], state->data, state->n, NULL, NULL) == WEFT_OK);
}

static void call_load(struct world *w, size_t i)
{
    weft_error err = { 0 };
    const struct bytes *state = &w->states[fuzz_byte(&w->in) % N_STATES];
    if (state->data != NULL) {
        fuzz_may(weft_seq_load(w->seqs[i], state->data, state->n, &err), &err);
    }
}

static void call_fork(struct world *w, size_t i)
{
    weft_error err = { 0 };
    size_t to = fuzz_byte(&w->in) % N_SEQS;
    if (w->seqs[to] == NULL) {
        fuzz_may(weft_seq_fork(w->seqs[i], &w->seqs[to], &err), &err);
        w->greedy[to] = w->greedy[i];
        w->grammar[to] = w->grammar[i];
    }
}

static void call_embed(struct world *w)
{
    weft_error err = { 0 };
    int32_t tokens[N_CTX + 1];
    float got[DIM], want[DIM];
    size_t n = some_tokens(w, tokens);
    if (fuzz_may(weft_embed(w->engine, tokens, n, NULL, got, DIM, NULL, &err), &err) == WEFT_OK) {
        MUST(weft_embed(w->clean, tokens, n, NULL, want, DIM, NULL, NULL) == WEFT_OK);
        MUST(memcmp(got, want, sizeof got) == 0);
    }
}

/* Embeds up to four texts at once, which may begin alike. */
static void call_embed_texts(struct world *w)
{
    weft_error err = { 0 };
    int32_t tokens[4 * (N_CTX + 1)], *at = tokens;
    float got[4 * DIM], want[DIM];
    size_t lengths[4], n = 1 + fuzz_byte(&w->in) % 4;
    const weft_embed_params p = { .size = sizeof p,
                                  .pooling = n % 2 == 0 ? WEFT_POOL_LAST : WEFT_POOL_MEAN };
    for (size_t i = 0; i < n; at += lengths[i++]) {
        lengths[i] = some_tokens(w, at);
    }
    weft_status s = weft_embed_texts(w->engine, tokens, lengths, n, &p, got, 4 * DIM, NULL, &err);
    if (fuzz_may(s, &err) != WEFT_OK) {
        return;
    }
    at = tokens;
    for (size_t i = 0; i < n; at += lengths[i++]) {
        MUST(weft_embed(w->clean, at, lengths[i], &p, want, DIM, NULL, NULL) == WEFT_OK);
        MUST(memcmp(got + i * DIM, want, sizeof want) == 0);
    }
}

static void call_text(struct world *w, size_t i)
{
    static const char *const stops[] = { "a", "the", "\xc3\xa9" };
    char text[2048];
    size_t n;
    weft_error err = { 0 };
    size_t n_stops = fuzz_byte(&w->in) % 4;
    MUST(weft_seq_text(w->seqs[i], text, sizeof text, &n, NULL) == WEFT_OK);
    fuzz_may(weft_seq_set_stops(w->seqs[i], stops, n_stops, &err), &err);
    fuzz_may(weft_seq_set_logprobs(w->seqs[i], (int)n_stops - 1, &err), &err);
}

/* Checks that the sequence's tokens alone give the same logits, bit for bit. */
static void check(struct world *w, size_t i)
{
    static float got[FUZZ_VOCAB], want[FUZZ_VOCAB];
    int32_t tokens[N_CTX];
    size_t n;
    fuzz_compute(w->engine, w->seqs[i]);
    MUST(weft_seq_tokens(w->seqs[i], tokens, N_CTX, &n, NULL) == WEFT_OK);
    MUST(n == weft_seq_len(w->seqs[i]));
    if (weft_seq_logits(w->seqs[i], got, FUZZ_VOCAB, NULL, NULL) == WEFT_OK) {
        MUST(fuzz_logits(w->clean, tokens, n, want));
        MUST(memcmp(got, want, sizeof got) == 0);
    }
}

/* Makes a call on an open sequence. */
static void call_seq(struct world *w, size_t i, uint8_t what)
{
    weft_error err = { 0 };
    int32_t tokens[N_CTX + 1];
    weft_seq *seq = w->seqs[i];
    size_t n;
    switch (what) {
    case 1:
        n = some_tokens(w, tokens);
        fuzz_may(weft_seq_append(seq, tokens, n, &err), &err);
        break;
    case 2:
    case 3: call_next(w, i); break;
    case 4: call_fork(w, i); break;
    case 5: fuzz_may(weft_seq_rewind(seq, fuzz_byte(&w->in), &err), &err); break;
    case 6: call_save(w, i); break;
    case 7: call_load(w, i); break;
    case 8: weft_seq_release(&w->seqs[i]); break;
    case 9: (fuzz_byte(&w->in) % 2 == 0 ? call_grammar : call_trigger)(w, i); break;
    case 10: check(w, i); break;
    case 11: call_text(w, i); break;
    case 12: weft_seq_cancel(seq); break;
    case 13:
        MUST(weft_seq_park(seq, NULL) == WEFT_OK);
        if (fuzz_byte(&w->in) % 4 > 0) {
            fuzz_may(weft_seq_unpark(seq, &err), &err);
        }
        break;
    default: MUST(weft_seq_end(seq, NULL) == WEFT_OK); break;
    }
}

static void call(struct world *w)
{
    uint8_t byte = fuzz_byte(&w->in), what = byte & 15;
    size_t i = (size_t)(byte >> 4) % N_SEQS;
    if (what == 0) {
        call_open(w, i);
    } else if (what == 14) {
        MUST(weft_engine_step(w->engine, NULL, NULL) == WEFT_OK);
    } else if (what == 15) {
        (i % 2 == 0 ? call_embed : call_embed_texts)(w);
    } else if (w->seqs[i] != NULL) {
        call_seq(w, i, what);
    }
    fuzz_stats(w->engine);
}

static void open_world(struct world *w)
{
    static const size_t pools[] = { 256, 320, 512, 1024 }, batches[] = { 1, 7, 96, 512 };
    uint8_t how = fuzz_byte(&w->in), more = fuzz_byte(&w->in);
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    if (model == NULL) {
        struct synth_spec spec = fuzz_spec();
        model = fuzz_open(&spec);
    }
    p.type_k = (how & 1) != 0 ? WEFT_KV_Q8_0 : WEFT_KV_F16;
    p.type_v = (how & 2) != 0 ? WEFT_KV_Q8_0 : WEFT_KV_F16;
    weft_engine **clean = &clean_engines[how & 3];
    if (*clean == NULL) {
        p.n_kv = 2 * N_CTX;
        p.no_prefix_cache = true;
        *clean = fuzz_engine(model, &p);
    }
    p.n_kv = pools[how >> 2 & 3];
    p.n_batch = batches[how >> 4 & 3];
    p.no_prefix_cache = (how >> 6) == 3;
    p.no_repack = (more & 1) != 0;
    p.no_graphs = (more & 2) != 0;
    p.no_pdl = (more & 4) != 0;
    p.cpu_isa = more >= 240 ? WEFT_ISA_SCALAR : WEFT_ISA_AUTO; /* slow */
    w->clean = *clean;
    w->engine = fuzz_engine(model, &p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = { .in = { data, size } };
    open_world(&w);
    for (size_t i = 0; i < MAX_CALLS && w.in.n > 0; i++) {
        call(&w);
    }
    for (size_t i = 0; i < N_SEQS; i++) {
        if (w.seqs[i] != NULL) {
            weft_seq_append(w.seqs[i], NULL, 0, NULL); /* reports a cancel */
            weft_seq_rewind(w.seqs[i], weft_seq_len(w.seqs[i]), NULL);
            check(&w, i);
        }
    }
    for (size_t i = 0; i < N_SEQS; i++) {
        weft_seq_release(&w.seqs[i]);
    }
    fuzz_idle(w.engine);
    weft_engine_release(&w.engine);
    for (size_t i = 0; i < N_STATES; i++) {
        free(w.states[i].data);
    }
    return 0;
}
