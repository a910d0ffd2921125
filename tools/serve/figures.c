/* The clock and the histograms. The bounds are those of vLLM, under whose names /metrics shows the
 * histograms, so that both can be added up in one query. */
#include "serve/figures.h"

#include <string.h>
#include <time.h>

#define LENGTH(array) (sizeof(array) / sizeof *(array))

/* Seconds until the first token, between two tokens, and of whole phases of a request. */
static const double first_bounds[] = { 0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                       0.25,  0.5,   0.75, 1,    2.5,  5,    7.5,  10,
                                       20,    40,    80,   160,  640,  2560 };
static const double next_bounds[] = { 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
                                      0.75, 1,     2.5,  5,     7.5, 10,   20,  40,  80 };
static const double phase_bounds[] = { 0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                       30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680 };
static const double step_bounds[] = {
    1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384
};
static const double token_bounds[HISTOGRAM_BOUNDS] = { 1,   2,   5,   1e1, 2e1, 5e1, 1e2, 2e2,
                                                       5e2, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5,
                                                       2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 2e7, 5e7 };
_Static_assert(LENGTH(first_bounds) <= HISTOGRAM_BOUNDS, "of the first token");
_Static_assert(LENGTH(next_bounds) <= HISTOGRAM_BOUNDS, "of the next token");
_Static_assert(LENGTH(phase_bounds) <= HISTOGRAM_BOUNDS, "of the phases");

double figures_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void histogram_add(struct histogram *h, double value)
{
    size_t i = 0;
    while (i < h->n_bounds && value > h->bounds[i]) {
        i++;
    }
    h->counts[i]++;
    h->sum += value;
}

static void set_bounds(struct histogram *h, const double *bounds, size_t n)
{
    h->bounds = bounds;
    h->n_bounds = n;
}

void figures_init(struct core_figures *figures, size_t n_ctx)
{
    struct core_figures *f = figures;
    memset(f, 0, sizeof *f);
    struct histogram *const phases[] = { &f->whole, &f->queued, &f->prefill, &f->decode,
                                         &f->inference };
    struct histogram *const tokens[] = { &f->prompt_tokens, &f->generated_tokens, &f->max_tokens };
    size_t n_tokens = 0;
    while (n_tokens < HISTOGRAM_BOUNDS && token_bounds[n_tokens] <= (double)n_ctx) {
        n_tokens++;
    }
    set_bounds(&f->first_token, first_bounds, LENGTH(first_bounds));
    set_bounds(&f->next_token, next_bounds, LENGTH(next_bounds));
    set_bounds(&f->step_tokens, step_bounds, LENGTH(step_bounds));
    for (size_t i = 0; i < LENGTH(phases); i++) {
        set_bounds(phases[i], phase_bounds, LENGTH(phase_bounds));
    }
    for (size_t i = 0; i < LENGTH(tokens); i++) {
        set_bounds(tokens[i], token_bounds, n_tokens);
    }
}
