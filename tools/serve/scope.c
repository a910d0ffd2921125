#include "serve/scope.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

/* Takes a field that the command line does not give from the file. */
#define FOLLOW(field, bit)                                                                         \
    if ((scope->sampling_given & (bit)) == 0) {                                                    \
        scope->sampling.field = from->field;                                                       \
    }

static void follow(struct scope *scope, const weft_sampling *from)
{
    FOLLOW(temperature, WEFT_SAMPLING_TEMPERATURE)
    FOLLOW(top_k, WEFT_SAMPLING_TOP_K)
    FOLLOW(top_p, WEFT_SAMPLING_TOP_P)
    FOLLOW(min_p, WEFT_SAMPLING_MIN_P)
    FOLLOW(repeat_penalty, WEFT_SAMPLING_REPEAT_PENALTY)
    FOLLOW(repeat_last_n, WEFT_SAMPLING_REPEAT_LAST_N)
}

/* A file that cannot be read any more is noticed by the engine. */
static void set_sampling(struct scope *scope)
{
    weft_sampling from = WEFT_SAMPLING_INIT;
    if (!scope->ignore_file_sampling) {
        weft_model_get_sampling(scope->model, &from, NULL, NULL);
    }
    follow(scope, &from);
    scope->sampling.size = sizeof scope->sampling;
}

/* A control token has text in the vocabulary, but none in a text. Returns false if there is not
 * enough memory. */
static bool find_control(const weft_model *model, int32_t token, uint8_t *is_control)
{
    size_t plain = 0, special = 0;
    if (weft_detokenize(model, &token, 1, 0, NULL, 0, &plain, NULL) == WEFT_E_NOMEM ||
        weft_detokenize(model, &token, 1, WEFT_DETOKENIZE_SPECIAL, NULL, 0, &special, NULL) ==
            WEFT_E_NOMEM) {
        return false;
    }
    *is_control = plain == 0 && (special > 0 || weft_token_is_end(model, token));
    return true;
}

void scope_set_name(struct scope *scope)
{
    if (scope->alias == NULL) {
        const char *path = scope->path != NULL ? scope->path : "model";
        const char *slash = strrchr(path, '/');
        scope->alias = slash != NULL ? slash + 1 : path;
    }
}

bool scope_complete(struct scope *scope)
{
    const size_t n = scope->info.n_vocab;
    scope->is_control = mem_array(n, 1);
    if (scope->is_control == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!find_control(scope->model, (int32_t)i, &scope->is_control[i])) {
            scope_free(scope);
            return false;
        }
    }
    set_sampling(scope);
    scope->n_ctx = size_min(scope->engine_info.n_ctx,
                            scope->engine_info.n_kv / size_max(scope->n_sequences, 1));
    scope->created = (int64_t)time(NULL);
    return true;
}

void scope_free(struct scope *scope)
{
    free(scope->is_control);
    scope->is_control = NULL;
}
