#include <stdlib.h>
#include <string.h>

#include "gpu-bench/gpu.h"

weft_error bench_error;

void engine_expect(weft_status status, const weft_error *err, const char *call)
{
    if (status != WEFT_OK) {
        bench_die("%.*s: %s: %s", (int)strcspn(call, "("), call, weft_status_name(status),
                  err->message);
    }
}

void random_tokens(const weft_model *model, uint64_t seed, int32_t *dst, size_t n)
{
    weft_model_info info = { .size = sizeof info };
    uint64_t state = seed * 2654435761u + 1;
    OK(weft_model_get_info(model, &info, &bench_error));
    for (size_t i = 0; i < n; i++) {
        do {
            state = state * 6364136223846793005u + 1442695040888963407u;
            dst[i] = (int32_t)((state >> 33) % info.n_vocab);
        } while (weft_token_is_end(model, dst[i]));
    }
}

weft_seq *random_text(const weft_model *model, weft_engine *engine, uint64_t seed, size_t n)
{
    weft_sampling greedy = WEFT_SAMPLING_INIT;
    weft_seq *seq;
    int32_t *tokens = malloc(n * sizeof *tokens);
    if (tokens == NULL) {
        bench_die("no memory for %zu tokens", n);
    }
    greedy.temperature = 0.0f;
    random_tokens(model, seed, tokens, n);
    OK(weft_seq_open(engine, &greedy, &seq, &bench_error));
    OK(weft_seq_append(seq, tokens, n, &bench_error));
    free(tokens);
    return seq;
}
