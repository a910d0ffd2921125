/* Measures the time and memory that a server needs outside the backend. usage: between MODEL
 * [N_SEQS [N_TOKENS [N_THREADS]]]. It draws from many sequences at once, with the default sampling
 * and with one that looks at all logits, and prints which part of the time was not spent in stages
 * of the backend. Then it prints how much of the process's memory an idle sequence takes. Includes
 * only weft.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "weft.h"

#define TRY(call)                                                                                  \
    do {                                                                                           \
        if ((call) != WEFT_OK) {                                                                   \
            fprintf(stderr, "between: %s\n", err.message);                                         \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static weft_error err;
static double in_stages; /* seconds */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void profile(void *user, const weft_stage *stage)
{
    (void)user;
    in_stages += stage->seconds;
}

static double resident(void)
{
    unsigned long all, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%lu %lu", &all, &pages) != 2) {
        exit(1);
    }
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static weft_seq *open_seq(weft_engine *engine, size_t i, float penalty)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    weft_seq *seq = NULL;
    int32_t prompt[4] = { 1000 + (int32_t)i, 2000, 3000, 4000 };
    s.seed = i;
    s.ignore_end = true;
    s.repeat_penalty = penalty;
    TRY(weft_seq_open(engine, &s, &seq, &err));
    TRY(weft_seq_append(seq, prompt, 4, &err));
    return seq;
}

/* Draws n_tokens from each sequence. */
static void generate(weft_engine *engine, weft_seq **seqs, size_t n_seqs, size_t n_tokens)
{
    for (size_t t = 0; t < n_tokens; t++) {
        for (size_t ready = 0; ready < n_seqs;) {
            TRY(weft_engine_step(engine, &ready, &err));
        }
        for (size_t i = 0; i < n_seqs; i++) {
            char text[256];
            int32_t token;
            TRY(weft_seq_next(seqs[i], &token, &err));
            TRY(weft_seq_text(seqs[i], text, sizeof text, NULL, &err));
        }
    }
}

static void measure(weft_engine *engine, size_t n_seqs, size_t n_tokens, float penalty)
{
    weft_seq **seqs = calloc(n_seqs, sizeof(weft_seq *));
    for (size_t i = 0; seqs != NULL && i < n_seqs; i++) {
        seqs[i] = open_seq(engine, i, penalty);
    }
    generate(engine, seqs, n_seqs, 1);
    in_stages = 0;
    double begin = now();
    generate(engine, seqs, n_seqs, n_tokens);
    double all = now() - begin;
    printf("%zu sequences, repeat_penalty %.1f: %.2f ms a step, %.2f ms of it outside the stages "
           "(%.1f %%)\n",
           n_seqs, (double)penalty, 1e3 * all / (double)n_tokens,
           1e3 * (all - in_stages) / (double)n_tokens, 100 * (all - in_stages) / all);
    for (size_t i = 0; i < n_seqs; i++) {
        weft_seq_release(&seqs[i]);
    }
    free(seqs);
}

/* Prints how much memory an idle sequence takes: one that drew a token and waits. Earlier sequences
 * have touched every page of the pool, so the pool adds nothing to the difference. */
static void weigh(weft_engine *engine, size_t n_seqs)
{
    weft_seq **seqs = calloc(n_seqs, sizeof(weft_seq *));
    double before = resident();
    for (size_t i = 0; seqs != NULL && i < n_seqs; i++) {
        seqs[i] = open_seq(engine, i, i % 2 == 0 ? 1 : 1.1f);
        for (size_t ready = 0; ready == 0;) {
            TRY(weft_engine_step(engine, &ready, &err));
        }
        int32_t token;
        TRY(weft_seq_next(seqs[i], &token, &err));
        TRY(weft_seq_end(seqs[i], &err));
    }
    weft_engine_stats stats = { .size = sizeof stats };
    TRY(weft_engine_get_stats(engine, &stats, &err));
    printf("an idle sequence: %.1f KiB more resident, %.1f KiB by the engine's count\n",
           (resident() - before) / (double)n_seqs / 1024,
           (double)stats.seq_bytes / (double)n_seqs / 1024);
    for (size_t i = 0; i < n_seqs; i++) {
        weft_seq_release(&seqs[i]);
    }
    free(seqs);
}

int main(int argc, char **argv)
{
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    weft_model *model = NULL;
    weft_engine *engine = NULL;
    if (argc < 2) {
        fprintf(stderr, "usage: between MODEL [N_SEQS [N_TOKENS [N_THREADS]]]\n");
        return 2;
    }
    size_t n_seqs = argc > 2 ? strtoul(argv[2], NULL, 10) : 64;
    size_t n_tokens = argc > 3 ? strtoul(argv[3], NULL, 10) : 8;
    p.n_threads = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
    p.device = "cpu";
    p.n_ctx = 256;
    p.n_kv = n_seqs * 64; /* a page for each */
    p.no_prefix_cache = true;
    p.profile = profile;
    TRY(weft_model_open(argv[1], NULL, &model, &err));
    TRY(weft_engine_open(model, &p, &engine, &err));
    measure(engine, n_seqs, n_tokens, 1);
    measure(engine, n_seqs, n_tokens, 1.1f);
    weigh(engine, n_seqs);
    weft_engine_release(&engine);
    weft_model_release(&model);
    return 0;
}
