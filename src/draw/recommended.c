/* Recommendations are only advice: they are followed if they can be, and never a reason to refuse a
 * file. */
#include "draw/recommended.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "draw/sampling.h"

#define SAMPLING "general.sampling."

static const struct advice {
    const char *key;
    unsigned field;
    size_t offset; /* in weft_sampling */
    bool whole;    /* an int32_t, else a float */
} advices[] = {
    { SAMPLING "temp", WEFT_SAMPLING_TEMPERATURE, offsetof(weft_sampling, temperature), false },
    { SAMPLING "top_k", WEFT_SAMPLING_TOP_K, offsetof(weft_sampling, top_k), true },
    { SAMPLING "top_p", WEFT_SAMPLING_TOP_P, offsetof(weft_sampling, top_p), false },
    { SAMPLING "min_p", WEFT_SAMPLING_MIN_P, offsetof(weft_sampling, min_p), false },
    { SAMPLING "penalty_repeat", WEFT_SAMPLING_REPEAT_PENALTY,
      offsetof(weft_sampling, repeat_penalty), false },
    { SAMPLING "penalty_last_n", WEFT_SAMPLING_REPEAT_LAST_N,
      offsetof(weft_sampling, repeat_last_n), true },
};
enum { N_ADVICES = sizeof advices / sizeof advices[0] };

/* Stores v in the field. Returns false if the field cannot hold v. */
static bool store(const struct advice *a, double v, weft_sampling *s)
{
    char *field = (char *)s + a->offset;
    if (!a->whole) {
        float f = (float)v;
        memcpy(field, &f, sizeof f);
        return true;
    }
    if (!(v >= INT32_MIN && v <= INT32_MAX) || v != floor(v)) {
        return false;
    }
    int32_t i = (int32_t)v;
    /* Other engines take every number below 1 for off. */
    i = a->field == WEFT_SAMPLING_TOP_K && i < 0 ? 0 : i;
    memcpy(field, &i, sizeof i);
    return true;
}

/* Follows one recommendation. Returns true if the file has it and it can be followed. */
static bool follow(const struct gguf *g, const struct log *log, const struct advice *a,
                   weft_sampling *s)
{
    const struct gguf_kv *kv = gguf_find(g, a->key);
    weft_sampling with = *s;
    weft_error err = { 0 };
    double v = 0;
    if (kv == NULL) {
        return false;
    }
    if (kv->type == GGUF_ARR || !gguf_number_at(kv, 0, &v)) {
        log_line(log, WEFT_LOG_WARN, "%s is %s, not a number, and is not followed", a->key,
                 gguf_type_name(kv->type));
        return false;
    }
    if (!store(a, v, &with)) {
        log_line(log, WEFT_LOG_WARN, "%s is %g, expected a whole number; it is not followed",
                 a->key, v);
        return false;
    }
    /* Whether a penalty has a window is checked when both are known. */
    weft_sampling alone = with;
    alone.repeat_last_n = alone.repeat_last_n == 0 ? -1 : alone.repeat_last_n;
    if (sampling_check(&alone, &err) != WEFT_OK) {
        log_line(log, WEFT_LOG_WARN, "%s is not followed: %s", a->key, err.message);
        return false;
    }
    *s = with;
    return true;
}

/* Returns true if the file has a value other than 0 under this key. */
static bool wants(const struct gguf *g, const char *key)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    double v = 0;
    return kv != NULL && kv->type != GGUF_ARR && gguf_number_at(kv, 0, &v) && v != 0;
}

/* Logs the samplers that Weft lacks. */
static void log_lacking(const struct gguf *g, const struct log *log)
{
    const char *const names[] = {
        wants(g, SAMPLING "xtc_probability") ? ", XTC (" SAMPLING "xtc_probability)" : "",
        wants(g, SAMPLING "mirostat") ? ", mirostat (" SAMPLING "mirostat)" : "",
        gguf_find(g, SAMPLING "sequence") != NULL ? ", an order of its own (" SAMPLING "sequence)"
                                                  : "",
    };
    char text[256];
    snprintf(text, sizeof text, "%s%s%s", names[0], names[1], names[2]);
    if (text[0] != '\0') {
        log_line(log, WEFT_LOG_WARN,
                 "the file recommends ways to draw that Weft does not have, and does without: %s",
                 text + 2);
    }
}

/* A window of no tokens turns the penalty off; weft_sampling would refuse it beside a penalty. */
static unsigned no_window(weft_sampling *s, unsigned fields)
{
    const weft_sampling defaults = WEFT_SAMPLING_INIT;
    s->repeat_penalty = defaults.repeat_penalty;
    s->repeat_last_n = defaults.repeat_last_n;
    return (fields & ~(unsigned)WEFT_SAMPLING_REPEAT_LAST_N) | WEFT_SAMPLING_REPEAT_PENALTY;
}

unsigned recommended_read(const struct gguf *g, const struct log *log, weft_sampling *s)
{
    unsigned fields = 0;
    for (size_t i = 0; i < N_ADVICES; i++) {
        fields |= follow(g, log, &advices[i], s) ? advices[i].field : 0;
    }
    if (s->repeat_last_n == 0) {
        fields = no_window(s, fields);
    }
    log_lacking(g, log);
    return fields;
}
