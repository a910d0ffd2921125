/* Shows what a stranger's file does to the other sequences of an engine.
 *
 *   engine state MODEL VALUE
 *     loads a saved state whose K and V are all this half (hexadecimal); its checksum fits
 *   engine grammar MODEL FILE
 *     times a grammar: parsing, then tokens, which hold the engine's lock
 *
 * Prints what was found. Exit code 0, or 1 if the file had an effect on the other sequences. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "tests/support/slowed.h"
#include "weft.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != WEFT_OK) {                                                                   \
            printf("%s: %s\n", #call, err.message);                                                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

enum { N = 100, N_VOCAB = 200000, HEADER = 80, CHECKSUM = 8 };

static weft_error err;
static float honest[N_VOCAB], found[N_VOCAB];

static weft_engine *open_engine(weft_model *model)
{
    weft_engine *engine = NULL;
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    p.device = "cpu";
    p.n_threads = 1;
    p.n_ctx = 256;
    p.n_kv = 1024;
    OK(weft_engine_open(model, &p, &engine, &err));
    return engine;
}

/* Opens a sequence of the text and computes it. Gives its logits, their number, and how many
 * positions were known. */
static weft_seq *compute(weft_engine *engine, float *logits, size_t *n, size_t *n_known)
{
    weft_seq *seq = NULL;
    int32_t tokens[N];
    for (int i = 0; i < N; i++) {
        tokens[i] = 260 + i * 7 % 100;
    }
    OK(weft_seq_open(engine, NULL, &seq, &err));
    OK(weft_seq_append(seq, tokens, N, &err));
    *n_known = weft_seq_cached(seq);
    while (weft_seq_pending(seq) > 0) {
        OK(weft_engine_step(engine, NULL, &err));
    }
    OK(weft_seq_logits(seq, logits, N_VOCAB, n, &err));
    return seq;
}

static int state(weft_model *model, const char *value)
{
    size_t n = 0, n_known;
    uint16_t half = (uint16_t)strtoul(value, NULL, 16);
    weft_engine *engine = open_engine(model);
    weft_seq *seq = compute(engine, honest, &n, &n_known);
    size_t n_bytes = 0;
    weft_seq_save(seq, NULL, 0, &n_bytes, NULL);
    unsigned char *forged = malloc(n_bytes);
    OK(weft_seq_save(seq, forged, n_bytes, NULL, &err));
    weft_seq_release(&seq);
    weft_engine_release(&engine);
    for (size_t i = HEADER + N * sizeof(int32_t); i + CHECKSUM < n_bytes; i += sizeof half) {
        memcpy(forged + i, &half, sizeof half);
    }
    uint64_t sum = hash64(HASH64_START, forged, n_bytes - CHECKSUM);
    memcpy(forged + n_bytes - CHECKSUM, &sum, sizeof sum);

    engine = open_engine(model);
    OK(weft_seq_open(engine, NULL, &seq, &err));
    OK(weft_seq_load(seq, forged, n_bytes, &err));
    weft_seq_release(&seq);
    seq = compute(engine, found, &n, &n_known);
    int differ = memcmp(honest, found, n * sizeof *found) != 0;
    printf("state of %s: %zu of %d positions are taken from it, the logits are %s\n", value,
           n_known, N, differ ? "others" : "the same");
    weft_seq_release(&seq);
    weft_engine_release(&engine);
    free(forged);
    return n_known > 0 || differ;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A grammar may take a second, of which it may hold the lock for 50 ms; ten times as much if
 * slowed. */
#ifdef SLOWED
static const double most_whole = 10, most_locked = 0.5;
#else
static const double most_whole = 1, most_locked = 0.05;
#endif

static int grammar(weft_model *model, const char *path)
{
    static char text[8 << 20];
    FILE *f = fopen(path, "rb");
    size_t n = f != NULL ? fread(text, 1, sizeof text, f) : 0, n_logits, n_known;
    if (f == NULL || n == 0 || n == sizeof text) {
        printf("%s: cannot read it\n", path);
        return 1;
    }
    fclose(f);
    weft_engine *engine = open_engine(model);
    weft_seq *seq = compute(engine, honest, &n_logits, &n_known);
    /* The first grammar of an engine also sorts the vocabulary, which is the same for all
     * grammars. */
    OK(weft_seq_set_grammar(seq, "root ::= \"a\"", 12, &err));
    double start = seconds(), worst = 0;
    weft_status status = weft_seq_set_grammar(seq, text, n, &err);
    double whole = seconds() - start;
    printf("%s: %zu bytes, %s in %.3f s\n", path, n, weft_status_name(status), whole);
    for (int i = 0; i < 8 && status == WEFT_OK; i++) {
        int32_t token = -1;
        start = seconds();
        status = weft_seq_next(seq, &token, &err);
        double took = seconds() - start;
        worst = took > worst ? took : worst;
        if (status != WEFT_OK || token < 0) {
            break;
        }
        OK(weft_engine_step(engine, NULL, &err));
    }
    printf("  a token in at most %.3f s%s%s\n", worst, status == WEFT_OK ? "" : "; ",
           status == WEFT_OK ? "" : err.message);
    weft_seq_release(&seq);
    weft_engine_release(&engine);
    return whole > most_whole || worst > most_locked;
}

int main(int argc, char **argv)
{
    weft_model *model = NULL;
    if (argc != 4) {
        printf("usage: engine state MODEL HALF | grammar MODEL FILE\n");
        return 1;
    }
    OK(weft_model_open(argv[2], NULL, &model, &err));
    int code = strcmp(argv[1], "state") == 0 ? state(model, argv[3]) : grammar(model, argv[3]);
    weft_model_release(&model);
    return code;
}
