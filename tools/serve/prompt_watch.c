#include "serve/prompt_watch.h"

#include <math.h>

#include "base/mem.h"

bool prompt_watch_open(struct prompt_watch *w, const int32_t *tokens, size_t n, size_t n_top)
{
    *w = (struct prompt_watch){ .tokens = tokens, .n = n, .n_top = n_top };
    size_t n_all;
    w->at = mul_ok(n, 1 + n_top, &n_all) ? mem_array(n_all, sizeof *w->at) : NULL;
    for (size_t i = 0; w->at != NULL && i < n_all; i++) {
        w->at[i].token = -1;
    }
    return w->at != NULL;
}

void prompt_watch_free(struct prompt_watch *w)
{
    free(w->at);
    w->at = NULL;
}

/* Returns the logarithm of the sum of exp(logits), with its largest part taken out. */
static double log_sum(const float *logits, size_t n)
{
    float most = logits[0];
    double sum = 0;
    for (size_t i = 1; i < n; i++) {
        most = logits[i] > most ? logits[i] : most;
    }
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)(logits[i] - most));
    }
    return (double)most + log(sum);
}

/* Keeps the best tokens in order; of equal ones the lower id stands first. */
static void keep(weft_logprob *best, size_t n_top, int32_t token, float logit)
{
    size_t i = n_top;
    if (n_top == 0 || (best[n_top - 1].token >= 0 && logit <= best[n_top - 1].logprob)) {
        return;
    }
    for (i = n_top - 1; i > 0 && (best[i - 1].token < 0 || logit > best[i - 1].logprob); i--) {
        best[i] = best[i - 1];
    }
    best[i] = (weft_logprob){ token, logit };
}

void prompt_watch_see(void *watch, size_t pos, const float *logits, size_t n_vocab)
{
    struct prompt_watch *w = watch;
    if (pos + 1 >= w->n) {
        return; /* what follows the prompt is drawn */
    }
    weft_logprob *at = w->at + (pos + 1) * (1 + w->n_top);
    const double sum = log_sum(logits, n_vocab);
    for (size_t i = 0; i <= w->n_top; i++) {
        at[i].token = -1;
    }
    for (size_t i = 0; i < n_vocab; i++) {
        keep(at + 1, w->n_top, (int32_t)i, logits[i]);
    }
    for (size_t i = 1; i <= w->n_top && at[i].token >= 0; i++) {
        at[i].logprob = (float)((double)at[i].logprob - sum);
    }
    const int32_t token = w->tokens[pos + 1];
    at[0] = (weft_logprob){ token, (float)((double)logits[token] - sum) };
}
