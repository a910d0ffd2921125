/* The sampling that the options describe; where they do not, the model's file does. */
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "weft/options.h"

weft_sampling options_sampling(const struct options *o)
{
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.temperature = (float)o->temperature;
    s.top_k = (int32_t)o->top_k;
    s.top_p = (float)o->top_p;
    s.min_p = (float)o->min_p;
    s.typical_p = (float)o->typical_p;
    s.repeat_penalty = (float)o->repeat_penalty;
    s.frequency_penalty = (float)o->frequency_penalty;
    s.presence_penalty = (float)o->presence_penalty;
    s.repeat_last_n = (int32_t)o->repeat_last_n;
    s.seed = o->seed;
    s.ignore_end = o->ignore_end;
    s.bias = o->bias;
    s.n_bias = o->n_bias;
    return s;
}

void options_follow(struct options *o, const weft_sampling *s, unsigned fields)
{
    const struct {
        unsigned field;
        double *to;
        double value;
    } numbers[] = {
        { WEFT_SAMPLING_TEMPERATURE, &o->temperature, (double)s->temperature },
        { WEFT_SAMPLING_TOP_P, &o->top_p, (double)s->top_p },
        { WEFT_SAMPLING_MIN_P, &o->min_p, (double)s->min_p },
        { WEFT_SAMPLING_REPEAT_PENALTY, &o->repeat_penalty, (double)s->repeat_penalty },
    };
    o->followed = fields & ~o->given;
    if (o->given & WEFT_SAMPLING_REPEAT_LAST_N && o->repeat_last_n == 0) {
        /* Without a window the penalty could look at no token. */
        o->followed &= ~(unsigned)WEFT_SAMPLING_REPEAT_PENALTY;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        *numbers[i].to = o->followed & numbers[i].field ? numbers[i].value : *numbers[i].to;
    }
    o->top_k = o->followed & WEFT_SAMPLING_TOP_K ? s->top_k : o->top_k;
    o->repeat_last_n =
        o->followed & WEFT_SAMPLING_REPEAT_LAST_N ? s->repeat_last_n : o->repeat_last_n;
}

void options_followed(const struct options *o, char *dst, size_t cap)
{
    const struct {
        unsigned field;
        const char *name;
        double value;
    } all[] = {
        { WEFT_SAMPLING_TEMPERATURE, "temp", o->temperature },
        { WEFT_SAMPLING_TOP_K, "top-k", (double)o->top_k },
        { WEFT_SAMPLING_TOP_P, "top-p", o->top_p },
        { WEFT_SAMPLING_MIN_P, "min-p", o->min_p },
        { WEFT_SAMPLING_REPEAT_PENALTY, "repeat-penalty", o->repeat_penalty },
        { WEFT_SAMPLING_REPEAT_LAST_N, "repeat-last-n", (double)o->repeat_last_n },
    };
    size_t n = 0;
    dst[0] = '\0';
    for (size_t i = 0; i < sizeof all / sizeof *all && n < cap; i++) {
        if (o->followed & ~o->given & all[i].field) {
            n += (size_t)snprintf(dst + n, cap - n, "%s%s %.6g", n > 0 ? ", " : "", all[i].name,
                                  all[i].value);
        }
    }
}

void options_seed(struct options *o)
{
    uint32_t random;
    if (o->seed_given) {
        return;
    }
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        random = (uint32_t)t.tv_nsec ^ (uint32_t)t.tv_sec;
    }
    o->seed = random;
}
