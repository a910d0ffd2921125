#include "draw/sampling.h"

#include <math.h>

enum { MAX_BIAS = 1024 };

struct range {
    const char *name;
    float value, low, high;
    bool low_open; /* the low end itself is refused too */
};

static weft_status check_ranges(const weft_sampling *p, weft_error *err)
{
    const struct range ranges[] = {
        { "temperature", p->temperature, 0, 100, false },
        { "top_p", p->top_p, 0, 1, true },
        { "min_p", p->min_p, 0, 1, false },
        { "typical_p", p->typical_p, 0, 1, true },
        { "repeat_penalty", p->repeat_penalty, 0, 3.402823466e38f, true },
        { "frequency_penalty", p->frequency_penalty, -2, 2, false },
        { "presence_penalty", p->presence_penalty, -2, 2, false },
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const struct range *r = &ranges[i];
        bool inside =
            r->value >= r->low && r->value <= r->high && !(r->low_open && r->value == r->low);
        if (!inside) {
            return error_set(err, WEFT_E_ARG, "sampling: %s is %g, expected %c%g, %g]", r->name,
                             (double)r->value, r->low_open ? '(' : '[', (double)r->low,
                             (double)r->high);
        }
    }
    if (p->top_k < 0) {
        return error_set(err, WEFT_E_ARG, "sampling: top_k is %d, expected 0 (off) or more",
                         (int)p->top_k);
    }
    if (p->repeat_last_n < -1) {
        return error_set(err, WEFT_E_ARG,
                         "sampling: repeat_last_n is %d, expected -1 (all) or more",
                         (int)p->repeat_last_n);
    }
    return WEFT_OK;
}

bool sampling_has_penalties(const weft_sampling *p)
{
    return p->repeat_penalty != 1 || p->frequency_penalty != 0 || p->presence_penalty != 0;
}

weft_status sampling_check(const weft_sampling *p, weft_error *err)
{
    if (p->size != sizeof *p) {
        return error_set(err, WEFT_E_ARG,
                         "sampling: size is %zu, expected %zu (start with WEFT_SAMPLING_INIT)",
                         p->size, sizeof *p);
    }
    TRY(check_ranges(p, err));
    if (p->repeat_last_n == 0 && sampling_has_penalties(p)) {
        return error_set(
            err, WEFT_E_ARG,
            "sampling: repeat_last_n is 0, so that repeat_penalty %g, frequency_penalty %g and "
            "presence_penalty %g look at no token; give it a window or switch them off (1, 0, 0)",
            (double)p->repeat_penalty, (double)p->frequency_penalty, (double)p->presence_penalty);
    }
    if (p->n_bias > MAX_BIAS) {
        return error_set(err, WEFT_E_ARG, "sampling: n_bias is %zu, expected at most %d", p->n_bias,
                         MAX_BIAS);
    }
    if (p->n_bias > 0 && p->bias == NULL) {
        return error_set(err, WEFT_E_ARG, "sampling: bias is NULL, but n_bias is %zu", p->n_bias);
    }
    return WEFT_OK;
}

weft_status sampling_check_bias(const weft_logit_bias *bias, size_t n, size_t n_vocab,
                                weft_error *err)
{
    for (size_t i = 0; i < n; i++) {
        int32_t token = bias[i].token;
        if (token < 0 || (size_t)token >= n_vocab) {
            return error_set(err, WEFT_E_ARG,
                             "sampling: bias of token %d, but the vocabulary has tokens 0 to %zu",
                             (int)token, n_vocab - 1);
        }
        if (isnan(bias[i].bias) || bias[i].bias == INFINITY) {
            return error_set(err, WEFT_E_ARG,
                             "sampling: bias of token %d is %g, expected a number or -inf",
                             (int)token, (double)bias[i].bias);
        }
        /* This makes at most MAX_BIAS times MAX_BIAS comparisons. */
        for (size_t j = 0; j < i; j++) {
            if (bias[j].token == token) {
                return error_set(err, WEFT_E_ARG, "sampling: token %d is biased twice", (int)token);
            }
        }
    }
    return WEFT_OK;
}
