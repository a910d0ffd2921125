/* Runs one decode step for a profiler. The profiler records from cudaProfilerStart() on, so that it
 * sees only the kernels of this step (ncu --profile-from-start off). Without graphs, each kernel is
 * a launch of its own. */
#include <cuda_profiler_api.h>
#include <stdio.h>
#include <string.h>

#include "gpu-bench/gpu.h"

static void compute(weft_engine *engine, weft_seq *seq)
{
    while (weft_seq_pending(seq) > 0) {
        OK(weft_engine_step(engine, NULL, &bench_error));
    }
}

bool bench_step(struct bench *b, const char *path)
{
    enum { DEPTH = 512, SHALLOW = 20 };
    const size_t depth = b->smoke ? SHALLOW : DEPTH;
    const char *slash = strrchr(path, '/');
    int32_t tokens[DEPTH];
    weft_model *model;
    weft_engine *engine;
    weft_seq *seq;
    weft_engine_params params = WEFT_ENGINE_PARAMS_INIT;
    weft_sampling greedy = WEFT_SAMPLING_INIT;
    params.device = "cuda:0";
    params.n_ctx = depth + 64;
    params.n_ahead = 1;
    params.no_graphs = true;
    params.no_pdl = b->no_pdl;
    params.no_arena = b->no_arena;
    greedy.temperature = 0.0f;
    OK(weft_model_open(path, NULL, &model, &bench_error));
    OK(weft_engine_open(model, &params, &engine, &bench_error));
    OK(weft_seq_open(engine, &greedy, &seq, &bench_error));
    random_tokens(model, 1, tokens, depth);
    OK(weft_seq_append(seq, tokens, depth, &bench_error));
    compute(engine, seq);
    /* The third step is recorded. A text may end, so the tokens are given. */
    for (size_t i = 0; i < 3; i++) {
        OK(weft_seq_append(seq, &tokens[i], 1, &bench_error));
        if (i == 2) {
            CU(cudaProfilerStart());
        }
        compute(engine, seq);
    }
    CU(cudaDeviceSynchronize());
    CU(cudaProfilerStop());
    report_fact(b, "step", "%s: one token at depth %zu", slash != NULL ? slash + 1 : path,
                depth + 2);
    weft_seq_release(&seq);
    weft_engine_release(&engine);
    weft_model_release(&model);
    return true;
}
