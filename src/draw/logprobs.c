#include "draw/logprobs.h"

#include <math.h>
#include <string.h>

static double log_sum_exp(const float *logits, size_t n)
{
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, (double)logits[i]);
    }
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)logits[i] - most);
    }
    return most + log(sum);
}

void logprobs_take(struct logprobs *l, const float *logits, size_t n_vocab, int32_t token)
{
    double lse = log_sum_exp(logits, n_vocab);
    weft_logprob *top = l->list + 1;
    size_t n = 0;
    for (size_t i = 0; i < n_vocab && l->n_top > 0; i++) {
        float logprob = (float)((double)logits[i] - lse);
        size_t at = n;
        while (at > 0 && logprob > top[at - 1].logprob) {
            at--;
        }
        if (at < l->n_top) {
            n += n < l->n_top;
            memmove(top + at + 1, top + at, (n - 1 - at) * sizeof *top);
            top[at] = (weft_logprob){ .token = (int32_t)i, .logprob = logprob };
        }
    }
    l->list[0] = (weft_logprob){ .token = token, .logprob = (float)((double)logits[token] - lse) };
    l->n = 1 + n;
}
