/* Any bytes as a saved state with a matching checksum. It is refused, or loaded and used. Whatever
 * it contained, every other sequence of the engine gives what it would give alone. */
#include "base/hash.h"
#include "fuzz_engine.h"

enum { N_ENGINES = 2, N_STATES = 5, MAX_TOKENS = 256, POOL = 1024, N_SEQS = 4 };
enum { AT_TOKENS = 64, AT_COMPUTED = 72, HEADER = 80, CHECKSUM = 8 }; /* src/run/saved.h */

/* The tokens of the honest states, and how many of them wait. */
static const size_t lengths[N_STATES][2] = { { 0, 0 }, { 1, 0 }, { 64, 0 }, { 70, 3 }, { 140, 0 } };

static struct world {
    weft_engine *engine, *clean; /* `clean` has no prefix cache */
    struct bytes states[N_STATES];
    size_t position_bytes;
} worlds[N_ENGINES];

static void save(weft_seq *seq, struct bytes *out)
{
    MUST(weft_seq_save(seq, NULL, 0, &out->n, NULL) == WEFT_E_BUFFER);
    out->data = malloc(out->n);
    MUST(out->data != NULL && weft_seq_save(seq, out->data, out->n, NULL, NULL) == WEFT_OK);
}

static void open_worlds(void)
{
    struct synth_spec spec = fuzz_spec();
    weft_model *model = fuzz_open(&spec);
    for (size_t i = 0; i < N_ENGINES; i++) {
        struct world *w = &worlds[i];
        weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
        p.n_kv = POOL;
        p.n_batch = 96;
        p.type_k = p.type_v = i == 0 ? WEFT_KV_F16 : WEFT_KV_Q8_0;
        w->engine = fuzz_engine(model, &p);
        p.no_prefix_cache = true;
        w->clean = fuzz_engine(model, &p);
        for (size_t k = 0; k < N_STATES; k++) {
            int32_t tokens[MAX_TOKENS];
            weft_seq *seq = NULL;
            for (size_t t = 0; t < lengths[k][0]; t++) {
                tokens[t] = (int32_t)(t * 37 % FUZZ_VOCAB);
            }
            size_t n = lengths[k][0] - lengths[k][1];
            MUST(weft_seq_open(w->clean, NULL, &seq, NULL) == WEFT_OK);
            MUST(weft_seq_append(seq, tokens, n, NULL) == WEFT_OK);
            fuzz_compute(w->clean, seq);
            MUST(weft_seq_append(seq, tokens + n, lengths[k][1], NULL) == WEFT_OK);
            save(seq, &w->states[k]);
            weft_seq_release(&seq);
        }
        w->position_bytes = w->states[1].n - HEADER - CHECKSUM - sizeof(int32_t);
    }
    weft_model_release(&model);
}

/* Makes the state as long as its header promises, if that is not far more than any state of this
 * engine. */
static void fit(const struct world *w, uint8_t *data, size_t *n, size_t cap)
{
    uint64_t n_tokens, n_computed;
    if (*n < HEADER + CHECKSUM) {
        return;
    }
    memcpy(&n_tokens, data + AT_TOKENS, sizeof n_tokens);
    memcpy(&n_computed, data + AT_COMPUTED, sizeof n_computed);
    if (n_tokens <= 2 * MAX_TOKENS && n_computed <= 2 * MAX_TOKENS) {
        size_t want =
            HEADER + n_tokens * sizeof(int32_t) + n_computed * w->position_bytes + CHECKSUM;
        MUST(want <= cap);
        for (size_t i = *n; i < want; i++) {
            data[i] = data[i - HEADER];
        }
        *n = want;
    }
}

/* Uses a sequence, which may hold anything, as the input says. */
static void use(struct world *w, weft_seq **seqs, struct fuzz_input *in)
{
    weft_error err;
    uint8_t what = fuzz_byte(in);
    weft_seq **seq = &seqs[what >> 4 & (N_SEQS - 1)], **other = &seqs[what >> 6];
    int32_t token = what * 2;
    struct bytes state = { 0 };
    if (*seq == NULL) {
        return;
    }
    switch (what & 7) {
    case 0: MUST(weft_engine_step(w->engine, NULL, NULL) == WEFT_OK); break;
    case 1: fuzz_may(weft_seq_next(*seq, &token, &err), &err); break;
    case 2:
        if (*other == NULL) {
            fuzz_may(weft_seq_fork(*seq, other, &err), &err);
        }
        break;
    case 3:
        if (fuzz_byte(in) <= weft_seq_len(*seq)) {
            fuzz_may(weft_seq_rewind(*seq, in->n > 0 ? in->data[0] : 0, &err), &err);
        }
        break;
    case 4: fuzz_may(weft_seq_append(*seq, &token, 1, &err), &err); break;
    case 5:
        if (*other != NULL) {
            save(*seq, &state);
            fuzz_may(weft_seq_load(*other, state.data, state.n, &err), &err);
            free(state.data);
        }
        break;
    case 6: weft_seq_release(seq); break;
    default: fuzz_compute(w->engine, *seq); break;
    }
}

/* Loads the state; its tokens go to tokens[*n]. Returns false if it is refused, which changes
 * nothing. */
static bool load(weft_seq *seq, const uint8_t *data, size_t size, int32_t *tokens, size_t *n)
{
    weft_error err = { 0 };
    weft_status s = fuzz_may(weft_seq_load(seq, data, size, &err), &err);
    MUST(s == WEFT_OK || s == WEFT_E_FORMAT || s == WEFT_E_UNSUPPORTED || s == WEFT_E_ARG ||
         s == WEFT_E_ENGINE || s == WEFT_E_CTX_FULL);
    MUST(weft_seq_tokens(seq, tokens, MAX_TOKENS, n, NULL) == WEFT_OK);
    MUST(s != WEFT_OK ? *n == 1 : HEADER + *n * sizeof *tokens + CHECKSUM <= size);
    MUST(s != WEFT_OK || *n == 0 || memcmp(tokens, data + HEADER, *n * sizeof *tokens) == 0);
    return s == WEFT_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t state[1 << 18];
    struct fuzz_input in = { data, size };
    weft_seq *seqs[N_SEQS] = { NULL };
    int32_t tokens[MAX_TOKENS], first = 7;
    size_t n_tokens, n_uses, n;
    if (worlds[0].engine == NULL) {
        open_worlds();
    }
    uint8_t how = fuzz_byte(&in);
    struct world *w = &worlds[how & 1];
    struct fuzz_input uses = { .data =
                                   (const uint8_t *)fuzz_bytes(&in, fuzz_byte(&in) % 24, &n_uses),
                               .n = n_uses };
    if ((how >> 1 & 7) < N_STATES) {
        const struct bytes *honest = &w->states[how >> 1 & 7];
        n = honest->n;
        memcpy(state, honest->data, n);
        fuzz_patch(&in, state, n);
    } else {
        n = in.n;
        memcpy(state, in.data, n);
    }
    if ((how & 16) != 0) {
        fit(w, state, &n, sizeof state);
    }
    if (n >= CHECKSUM) {
        uint64_t sum = hash64(HASH64_START, state, n - CHECKSUM);
        memcpy(state + n - CHECKSUM, &sum, sizeof sum);
    }
    MUST(weft_seq_open(w->engine, NULL, &seqs[0], NULL) == WEFT_OK);
    MUST(weft_seq_append(seqs[0], &first, 1, NULL) == WEFT_OK);
    if (load(seqs[0], state, n, tokens, &n_tokens)) {
        while (uses.n > 0) {
            use(w, seqs, &uses);
        }
        for (size_t i = 0; i < N_SEQS; i++) {
            if (seqs[i] != NULL) {
                fuzz_compute(w->engine, seqs[i]);
            }
        }
        n_tokens = n_tokens < 132 ? n_tokens : 132;
        tokens[n_tokens++] = 9;
        fuzz_same(w->engine, w->clean, tokens, n_tokens);
    }
    for (size_t i = 0; i < N_SEQS; i++) {
        weft_seq_release(&seqs[i]);
    }
    fuzz_idle(w->engine);
    return 0;
}
