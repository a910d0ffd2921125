/* Why a request gets no answer: an error in the shape of OpenAI's API. */
#ifndef WEFT_SERVE_FAULT_H
#define WEFT_SERVE_FAULT_H

#include <jansson.h>

#include "weft.h"

struct fault {
    int status;       /* of HTTP; 0 = no fault */
    const char *type; /* "invalid_request_error"; static */
    char param[64];   /* the field of the request that is wrong, or "" */
    char message[512];
    size_t n_prompt, n_ctx; /* of exceed_context_size_error, otherwise 0 */
    int retry_after;        /* seconds, 0 = nothing to say */
};

/* Each sets *f, and returns false for `return fault_...()`. `param` is NULL if no field is meant.
 */
__attribute__((format(printf, 3, 4))) bool fault_request(struct fault *f, const char *param,
                                                         const char *fmt, ...); /* 400 */
__attribute__((format(printf, 4, 5))) bool fault_set(struct fault *f, int status, const char *type,
                                                     const char *fmt, ...);
bool fault_context(struct fault *f, size_t n_prompt, size_t n_ctx);
bool fault_memory(struct fault *f);
/* The fault of a call of the library: 400 for WEFT_E_ARG, WEFT_E_FORMAT, WEFT_E_CTX_FULL and
 * WEFT_E_BUFFER, 501 for WEFT_E_UNSUPPORTED, 503 for a full pool and a lost device, otherwise 500.
 */
bool fault_library(struct fault *f, weft_status status, const weft_error *err);

/* Returns {"error":{"message","type","code","param"}} as text, to be freed with free(); NULL if
 * there is not enough memory. */
char *fault_json(const struct fault *f);

#endif
