/* The vocabularies of the demo models, one of each kind, opened once. */
#ifndef FUZZ_MODELS_H
#define FUZZ_MODELS_H

#include "fuzz.h"
#include "weft.h"

static inline void fuzz_models(weft_model **models)
{
    static const char *const paths[2] = { "models/weft-demo-qwen2.gguf",
                                          "models/weft-demo-phi3.gguf" };
    for (int i = 0; i < 2 && models[i] == NULL; i++) {
        weft_model_params params = WEFT_MODEL_PARAMS_INIT;
        weft_error err;
        params.vocab_only = true;
        MUST(weft_model_open(paths[i], &params, &models[i], &err) == WEFT_OK);
    }
}

#endif
