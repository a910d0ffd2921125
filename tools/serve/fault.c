#include "serve/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "serve/json_put.h"

static bool set(struct fault *f, int status, const char *type, const char *param, const char *fmt,
                va_list args)
{
    char message[2 * sizeof f->message];
    *f = (struct fault){ .status = status, .type = type };
    snprintf(f->param, sizeof f->param, "%s", param != NULL ? param : "");
    vsnprintf(message, sizeof message, fmt, args);
    const size_t n = utf8_fit(message, strlen(message), sizeof f->message - 1);
    memcpy(f->message, message, n);
    return false;
}

bool fault_request(struct fault *f, const char *param, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    set(f, 400, "invalid_request_error", param, fmt, args);
    va_end(args);
    return false;
}

bool fault_set(struct fault *f, int status, const char *type, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    set(f, status, type, NULL, fmt, args);
    va_end(args);
    return false;
}

/* Programs look for "exceeds the available context size" to shorten their history. */
bool fault_context(struct fault *f, size_t n_prompt, size_t n_ctx)
{
    fault_set(f, 400, "exceed_context_size_error",
              "request (%zu tokens) exceeds the available context size (%zu tokens); shorten the "
              "prompt, or serve the model with a longer context",
              n_prompt, n_ctx);
    f->n_prompt = n_prompt;
    f->n_ctx = n_ctx;
    return false;
}

bool fault_memory(struct fault *f)
{
    return fault_set(f, 500, "server_error", "not enough memory for this request");
}

bool fault_library(struct fault *f, weft_status status, const weft_error *err)
{
    switch (status) {
    case WEFT_E_ARG:
    case WEFT_E_FORMAT:
    case WEFT_E_CTX_FULL:
    case WEFT_E_BUFFER: return fault_request(f, NULL, "%s", err->message);
    case WEFT_E_UNSUPPORTED: return fault_set(f, 501, "not_supported_error", "%s", err->message);
    case WEFT_E_NOMEM: return fault_memory(f);
    case WEFT_E_KV_FULL:
    case WEFT_E_DEVICE_LOST:
        fault_set(f, 503, "unavailable_error", "%s", err->message);
        f->retry_after = 1;
        return false;
    default: return fault_set(f, 500, "server_error", "%s", err->message);
    }
}

char *fault_json(const struct fault *f)
{
    struct json_put p = { 0 };
    json_put(&p, "{'error':{'message':%s,'type':%s,'code':%d,'param':", f->message, f->type,
             f->status);
    json_put_text(&p, f->param[0] != '\0' ? f->param : NULL);
    if (f->n_ctx > 0) {
        json_put(&p, ",'n_prompt_tokens':%zu,'n_ctx':%zu", f->n_prompt, f->n_ctx);
    }
    json_put(&p, "}}");
    return json_put_end(&p);
}
