/* Opens a file that may be a model, and uses it. */
#ifndef FUZZ_OPEN_H
#define FUZZ_OPEN_H

#include "fuzz.h"
#include "weft.h"

/* Reads everything of the file that weft inspect reads. */
static inline void fuzz_walk_file(const char *path)
{
    weft_file *file = NULL;
    weft_error err = { 0 };
    if (weft_file_open(path, &file, &err) != WEFT_OK) {
        MUST(err.code != WEFT_OK && err.message[0] != '\0' && err.code != WEFT_E_INTERNAL);
        return;
    }
    for (size_t i = 0; i < weft_file_n_keys(file); i++) {
        weft_key_info key;
        char value[256];
        size_t n;
        MUST(weft_file_key(file, i, &key, &err) == WEFT_OK);
        for (size_t j = 0; j < key.n && j < 8; j++) {
            weft_status s = weft_file_value(file, i, j, value, sizeof value, &n, &err);
            MUST(s == WEFT_OK || (s == WEFT_E_BUFFER && n > sizeof value));
        }
    }
    for (size_t i = 0; i < weft_file_n_tensors(file); i++) {
        weft_tensor_info t;
        MUST(weft_file_tensor(file, i, &t, &err) == WEFT_OK);
        MUST(t.n_bytes <= weft_file_bytes(file));
    }
    weft_file_release(&file);
}

/* Generates four tokens; the engine refuses what it cannot run. */
static inline void fuzz_generate(weft_model *model, weft_cpu_isa isa)
{
    weft_engine *engine = NULL;
    weft_seq *seq = NULL;
    weft_error err = { 0 };
    weft_model_info info = { .size = sizeof info };
    MUST(weft_model_get_info(model, &info, &err) == WEFT_OK);
    weft_engine_params params = WEFT_ENGINE_PARAMS_INIT;
    params.n_ctx = info.n_ctx_train < 16 ? info.n_ctx_train : 16;
    params.n_kv = 64;
    params.n_batch = 4;
    params.n_threads = 1;
    params.cpu_isa = isa;
    if (weft_engine_open(model, &params, &engine, &err) != WEFT_OK) {
        MUST(err.code != WEFT_E_INTERNAL);
        return;
    }
    MUST(weft_seq_open(engine, NULL, &seq, &err) == WEFT_OK);
    int32_t token = 0;
    weft_status s = weft_seq_append(seq, &token, 1, &err);
    for (int i = 0; i < 4 && s == WEFT_OK && weft_seq_finish(seq) == WEFT_RUNNING; i++) {
        MUST(weft_engine_step(engine, NULL, &err) == WEFT_OK);
        /* Weights of any bits may give NaN, which the sampler reports, and a context may be one
         * token long. */
        s = weft_seq_next(seq, &token, &err);
        MUST(s == WEFT_OK || s == WEFT_E_STATE || s == WEFT_E_CTX_FULL);
    }
    weft_seq_release(&seq);
    weft_engine_release(&engine);
}

#endif
