/* Several endings of one beginning: the prompt is computed once, and every fork goes on from there
 * with its own seed. Forks share the pages of their common beginning.
 *
 *   fork model.gguf 'The capital of' 4        cc fork.c -lweft */
#include "example.h"

enum { N_NEW = 16, MAX_FORKS = 16 };

int main(int argc, char **argv)
{
    const char *prompt = argc > 2 ? argv[2] : "The capital of";
    int n_forks = argc > 3 ? atoi(argv[3]) : 3;
    weft_model *model;
    weft_engine *engine;
    weft_sampling sampling = WEFT_SAMPLING_INIT;
    weft_engine_stats stats = { .size = sizeof stats };
    CHECK(weft_model_open(argc > 1 ? argv[1] : "model.gguf", NULL, &model, &err));
    CHECK(weft_engine_open(model, NULL, &engine, &err));
    weft_seq *first = read_text(model, engine, &sampling, prompt), *seqs[MAX_FORKS];
    n_forks = n_forks < 1 ? 1 : n_forks > MAX_FORKS ? MAX_FORKS : n_forks;
    while (weft_seq_pending(first) > 0) {
        CHECK(weft_engine_step(engine, NULL, &err));
    }
    for (int i = 0; i < n_forks; i++) {
        CHECK(weft_seq_fork(first, &seqs[i], &err));
        sampling.seed = (uint64_t)i;
        CHECK(weft_seq_set_sampling(seqs[i], &sampling, &err));
    }
    weft_seq_release(&first); /* the forks keep the shared pages */
    for (int step = 0; step < N_NEW; step++) {
        for (int i = 0; i < n_forks; i++) {
            int32_t token;
            if (weft_seq_finish(seqs[i]) == WEFT_RUNNING) {
                CHECK(weft_seq_next(seqs[i], &token, &err));
            }
        }
        CHECK(weft_engine_step(engine, NULL, &err)); /* one row for each fork */
    }
    CHECK(weft_engine_get_stats(engine, &stats, &err));
    for (int i = 0; i < n_forks; i++) {
        char text[256];
        size_t n;
        CHECK(weft_seq_end(seqs[i], &err));
        CHECK(weft_seq_text(seqs[i], text, sizeof text, &n, &err));
        printf("%d: %s%.*s\n", i, prompt, (int)n, text);
        weft_seq_release(&seqs[i]);
    }
    printf("%zu tokens, of which %llu were computed, in %zu pages of %llu KiB\n", stats.n_tokens,
           (unsigned long long)stats.n_rows, stats.n_pages_used,
           (unsigned long long)stats.page_bytes / 1024);
    weft_engine_release(&engine);
    weft_model_release(&model);
}
