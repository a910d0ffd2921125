/* Any bytes as a model file: refused with a message, or opened, walked through, and run for four
 * tokens. */
#include "fuzz_open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = fuzz_file(data, size, path);
    fuzz_walk_file(path);
    for (int vocab_only = 0; vocab_only < 2; vocab_only++) {
        weft_model_params params = WEFT_MODEL_PARAMS_INIT;
        params.vocab_only = vocab_only != 0;
        params.no_mmap = (size & 1) != 0;
        weft_model *model = NULL;
        weft_error err = { 0 };
        if (weft_model_open(path, &params, &model, &err) != WEFT_OK) {
            MUST(err.code != WEFT_OK && err.message[0] != '\0' && err.code != WEFT_E_INTERNAL);
        } else if (vocab_only) {
            int32_t ids[64];
            size_t n;
            weft_tokenize(model, " Hello\xff 1", 9, 3, ids, 64, &n, &err);
        } else {
            fuzz_generate(model, WEFT_ISA_SCALAR);
        }
        weft_model_release(&model);
    }
    close(fd);
    return 0;
}
