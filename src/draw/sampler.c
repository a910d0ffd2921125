/* One pass over the logits copies them and looks for NaN. Bias and penalties change single tokens
 * of the copy. top-k is a bounded heap; typical and top-p pop a heap until they have enough. So
 * nothing sorts the vocabulary. All sums run in double in the order of the candidates, and random
 * numbers and exp() are our own, so the bits are the same on every machine. */
#include "draw/sampler.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "draw/sampling.h"

struct candidate {
    double key;    /* the order of the heap */
    double weight; /* exp(logit - highest logit) */
    float logit;
    int32_t id;
};

struct sampler {
    weft_sampling p; /* bias points to `bias` */
    size_t n_vocab;
    uint64_t random;       /* splitmix64 */
    weft_logit_bias *bias; /* [p.n_bias] */
};

struct sampler_scratch {
    size_t n_vocab;
    float *given;                 /* [n_vocab] for the caller, see sampler_scratch_logits() */
    float *logits;                /* [n_vocab] the copy that a draw changes */
    uint32_t *count;              /* [n_vocab] all 0 between draws */
    struct candidate *candidates; /* [cap] */
    size_t cap;
};

void sampler_close(struct sampler *s)
{
    if (s != NULL) {
        free(s->bias);
        free(s);
    }
}

size_t sampler_bytes(const struct sampler *s)
{
    return sizeof *s + mem_array_bytes(s->p.n_bias, sizeof *s->bias);
}

/* Returns a sampler with all its memory. Copies the bias of `p`, and checks nothing. */
static struct sampler *make(const weft_sampling *p, size_t n_vocab)
{
    struct sampler *s = mem_array(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->p = *p;
    s->n_vocab = n_vocab;
    s->random = p->seed;
    s->bias = mem_array(p->n_bias, sizeof *s->bias);
    if (s->bias == NULL) {
        sampler_close(s);
        return NULL;
    }
    if (p->n_bias > 0) {
        memcpy(s->bias, p->bias, p->n_bias * sizeof *s->bias);
    }
    s->p.bias = s->bias;
    return s;
}

weft_status sampler_open(const weft_sampling *p, size_t n_vocab, struct sampler **out,
                         weft_error *err)
{
    static const weft_sampling defaults = WEFT_SAMPLING_INIT;
    p = p == NULL ? &defaults : p;
    if (n_vocab == 0 || n_vocab > INT32_MAX) {
        return error_set(err, WEFT_E_ARG, "sampling: a vocabulary of %zu tokens, expected 1 to %d",
                         n_vocab, INT32_MAX);
    }
    TRY(sampling_check(p, err));
    TRY(sampling_check_bias(p->bias, p->n_bias, n_vocab, err));
    struct sampler *s = make(p, n_vocab);
    if (s == NULL) {
        return error_nomem(err, "a sampler", sizeof *s + p->n_bias * sizeof *p->bias);
    }
    *out = s;
    return WEFT_OK;
}

weft_status sampler_copy(const struct sampler *s, struct sampler **out, weft_error *err)
{
    struct sampler *copy = make(&s->p, s->n_vocab);
    if (copy == NULL) {
        return error_nomem(err, "the copy of a sampler", sampler_bytes(s));
    }
    copy->random = s->random;
    *out = copy;
    return WEFT_OK;
}

void sampler_restart(struct sampler *s) { s->random = s->p.seed; }

/* ---------------------------------------------------------------- scratch */

weft_status sampler_scratch_open(size_t n_vocab, struct sampler_scratch **out, weft_error *err)
{
    struct sampler_scratch *m = mem_array(1, sizeof *m);
    if (m != NULL) {
        m->n_vocab = n_vocab;
        m->given = mem_array(n_vocab, sizeof *m->given);
        m->logits = mem_array(n_vocab, sizeof *m->logits);
        m->count = mem_array(n_vocab, sizeof *m->count);
    }
    if (m == NULL || m->given == NULL || m->logits == NULL || m->count == NULL) {
        sampler_scratch_close(m);
        return error_nomem(err, "the memory of a draw", 3 * n_vocab * sizeof(float));
    }
    *out = m;
    return WEFT_OK;
}

void sampler_scratch_close(struct sampler_scratch *m)
{
    if (m != NULL) {
        free(m->given);
        free(m->logits);
        free(m->count);
        free(m->candidates);
        free(m);
    }
}

size_t sampler_scratch_bytes(const struct sampler_scratch *m)
{
    return sizeof *m + m->n_vocab * (sizeof *m->given + sizeof *m->logits + sizeof *m->count) +
           m->cap * sizeof *m->candidates;
}

float *sampler_scratch_logits(struct sampler_scratch *m) { return m->given; }

/* ---------------------------------------------------------------- arithmetic */

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Returns exp(x) for x <= 0: 2^n times a Taylor polynomial on |r| <= ln(2)/2. The error is below 2
 * ulp. Below the normal range the result is 0. */
static double exp_fixed(double x)
{
    /* The values of 1 / k!. */
    static const double c[] = {
        1.0,
        1.0,
        1.0 / 2,
        1.0 / 6,
        1.0 / 24,
        1.0 / 120,
        1.0 / 720,
        1.0 / 5040,
        1.0 / 40320,
        1.0 / 362880,
        1.0 / 3628800,
        1.0 / 39916800,
        1.0 / 479001600,
        1.0 / 6227020800,
    };
    if (x < -708) {
        return 0;
    }
    double n = (double)(int)(x * 1.4426950408889634 - 0.5);
    /* ln(2) is in two parts; the product with the upper part is exact. */
    double r = x - n * 6.93147180369123816490e-01 - n * 1.90821492927058770002e-10;
    double sum = 0;
    for (size_t i = sizeof c / sizeof c[0]; i > 0; i--) {
        sum = sum * r + c[i - 1];
    }
    uint64_t bits = (uint64_t)(1023 + (int64_t)n) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return sum * scale;
}

/* Returns exp(logit - highest); equal infinities have weight 1. */
static double weight_of(double logit, double highest, double temperature)
{
    return logit == highest ? 1 : exp_fixed((logit - highest) / temperature);
}

/* ---------------------------------------------------------------- the steps before top-k */

/* Applies the logit bias and bans the end tokens. A ban is absolute: it also holds against a logit
 * of +inf. */
static void apply_bias(const struct sampler *s, float *logits, const int32_t *end, size_t n_end)
{
    for (size_t i = 0; i < s->p.n_bias; i++) {
        float *logit = &logits[s->bias[i].token];
        *logit = s->bias[i].bias == -INFINITY ? -INFINITY : *logit + s->bias[i].bias;
    }
    for (size_t i = 0; s->p.ignore_end && i < n_end; i++) {
        if (end[i] >= 0 && (size_t)end[i] < s->n_vocab) {
            logits[end[i]] = -INFINITY;
        }
    }
}

/* Penalises each token of the window once, according to how often it is there. */
static void apply_penalties(const struct sampler *s, struct sampler_scratch *m, const int32_t *past,
                            size_t n_past)
{
    if (!sampling_has_penalties(&s->p)) {
        return;
    }
    size_t n = n_past;
    if (s->p.repeat_last_n >= 0 && (size_t)s->p.repeat_last_n < n) {
        n = (size_t)s->p.repeat_last_n;
    }
    const int32_t *window = past + (n_past - n);
    for (size_t i = 0; i < n; i++) {
        if (window[i] >= 0 && (size_t)window[i] < s->n_vocab) {
            m->count[window[i]]++;
        }
    }
    for (size_t i = 0; i < n; i++) {
        int32_t token = window[i];
        if (token < 0 || (size_t)token >= s->n_vocab || m->count[token] == 0) {
            continue;
        }
        float logit = m->logits[token];
        logit = logit > 0 ? logit / s->p.repeat_penalty : logit * s->p.repeat_penalty;
        logit -= (float)m->count[token] * s->p.frequency_penalty + s->p.presence_penalty;
        m->logits[token] = logit;
        m->count[token] = 0;
    }
}

static int32_t highest_logit(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return (int32_t)best;
}

/* ---------------------------------------------------------------- candidates */

/* The order of a heap: the higher key comes first, of equal keys the lower id. */
static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->key != b->key ? a->key > b->key : a->id < b->id;
}

/* Restores the heap below `at`. `last_first` reverses the order: the root is then the worst
 * candidate. */
static void sift_down(struct candidate *c, size_t n, size_t at, bool last_first)
{
    struct candidate moved = c[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n) {
            break;
        }
        if (child + 1 < n && before(&c[child + 1], &c[child]) != last_first) {
            child++;
        }
        if (before(&c[child], &moved) == last_first) {
            break;
        }
        c[at] = c[child];
        at = child;
    }
    c[at] = moved;
}

static void heapify(struct candidate *c, size_t n, bool last_first)
{
    for (size_t i = n / 2; i > 0; i--) {
        sift_down(c, n, i - 1, last_first);
    }
}

/* Sorts a few candidates into the order of the heap. */
static void sort_few(struct candidate *c, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct candidate moved = c[i];
        size_t at = i;
        for (; at > 0 && before(&moved, &c[at - 1]); at--) {
            c[at] = c[at - 1];
        }
        c[at] = moved;
    }
}

static void set_candidate(struct candidate *c, int32_t id, float logit)
{
    *c = (struct candidate){ .key = (double)logit, .logit = logit, .id = id };
}

/* Returns the largest number of candidates that top_k leaves. */
static size_t most_candidates(const struct sampler *s)
{
    return s->p.top_k > 0 && (size_t)s->p.top_k < s->n_vocab ? (size_t)s->p.top_k : s->n_vocab;
}

/* Fills c[most] with the `most` highest logits that are not banned. Returns their number. Ids rise,
 * so a later token never replaces an equal one. A few candidates come out in the order that a
 * backend's top() has too. */
static size_t take_top(struct candidate *c, size_t most, const float *logits, size_t n_vocab)
{
    size_t n = 0;
    size_t i = 0;
    for (; i < n_vocab && n < most; i++) {
        if (logits[i] != -INFINITY) {
            set_candidate(&c[n++], (int32_t)i, logits[i]);
        }
    }
    if (i < n_vocab) {
        heapify(c, n, true);
    }
    for (; i < n_vocab; i++) {
        if (logits[i] > c[0].logit) {
            set_candidate(&c[0], (int32_t)i, logits[i]);
            sift_down(c, n, 0, true);
        }
    }
    if (most <= SAMPLER_TOP) {
        sort_few(c, n);
    }
    return n;
}

static double highest_of(const struct candidate *c, size_t n)
{
    float highest = c[0].logit;
    for (size_t i = 1; i < n; i++) {
        highest = c[i].logit > highest ? c[i].logit : highest;
    }
    return (double)highest;
}

/* Sets the weights at `temperature` and returns their sum. */
static double weigh(struct candidate *c, size_t n, double temperature)
{
    double highest = highest_of(c, n);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        c[i].weight = weight_of((double)c[i].logit, highest, temperature);
        sum += c[i].weight;
    }
    return sum;
}

/* Keeps the first candidates by key whose weights together reach `enough`, or exceed it if
 * `beyond`; at least one. They move to the front, in order. Returns their number. */
static size_t keep_first(struct candidate *c, size_t n, double enough, bool beyond)
{
    heapify(c, n, false);
    size_t left = n;
    double sum = 0;
    while (left > 0) {
        sum += c[0].weight;
        struct candidate first = c[0];
        left--;
        c[0] = c[left];
        c[left] = first;
        if (sum > enough || (!beyond && sum == enough)) {
            break;
        }
        sift_down(c, left, 0, false);
    }
    size_t kept = n - left;
    /* The candidates that are kept stand at the end, in reverse order. */
    for (size_t i = 0; i < kept / 2; i++) {
        struct candidate swapped = c[left + i];
        c[left + i] = c[n - 1 - i];
        c[n - 1 - i] = swapped;
    }
    memmove(c, c + left, kept * sizeof *c);
    return kept;
}

/* Locally typical sampling keeps the tokens nearest to the entropy. -log p = d + log(sum) with d =
 * highest - logit, and the entropy is the mean of d + log(sum), so the logarithm cancels in the
 * difference. */
static size_t apply_typical(const struct sampler *s, struct candidate *c, size_t n)
{
    if (s->p.typical_p >= 1 || n < 2) {
        return n;
    }
    double sum = weigh(c, n, 1);
    double highest = highest_of(c, n);
    double mean = 0;
    for (size_t i = 0; i < n; i++) {
        c[i].key = (double)c[i].logit == highest ? 0 : highest - (double)c[i].logit;
        mean += c[i].weight > 0 ? c[i].weight / sum * c[i].key : 0;
    }
    for (size_t i = 0; i < n; i++) {
        c[i].key = -fabs(c[i].key - mean);
    }
    return keep_first(c, n, (double)s->p.typical_p * sum, true);
}

static size_t apply_top_p(const struct sampler *s, struct candidate *c, size_t n)
{
    if (s->p.top_p >= 1 || n < 2) {
        return n;
    }
    double sum = weigh(c, n, 1);
    for (size_t i = 0; i < n; i++) {
        c[i].key = (double)c[i].logit;
    }
    return keep_first(c, n, (double)s->p.top_p * sum, false);
}

/* The weight of the most probable token is 1. */
static size_t apply_min_p(const struct sampler *s, struct candidate *c, size_t n)
{
    if (s->p.min_p <= 0 || n < 2) {
        return n;
    }
    weigh(c, n, 1);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (c[i].weight >= (double)s->p.min_p) {
            c[kept++] = c[i];
        }
    }
    return kept;
}

static int32_t draw(struct sampler *s, struct candidate *c, size_t n)
{
    double sum = weigh(c, n, (double)s->p.temperature);
    double target = (double)(random_next(&s->random) >> 11) * 0x1p-53 * sum;
    size_t last = 0;
    for (size_t i = 0; i < n; i++) {
        if (c[i].weight > 0) {
            last = i;
            target -= c[i].weight;
            if (target < 0) {
                break;
            }
        }
    }
    return c[last].id;
}

static weft_status all_banned(const struct sampler *s, weft_error *err)
{
    return error_set(err, WEFT_E_STATE,
                     "sampling: every token of the vocabulary (%zu) is banned, its logit is -inf",
                     s->n_vocab);
}

/* Applies the steps behind top-k to n candidates, and draws one. */
static weft_status pick_candidate(struct sampler *s, struct candidate *c, size_t n, int32_t *token,
                                  weft_error *err)
{
    if (n == 0) {
        return all_banned(s, err);
    }
    n = apply_typical(s, c, n);
    n = apply_top_p(s, c, n);
    n = apply_min_p(s, c, n);
    *token = draw(s, c, n);
    return WEFT_OK;
}

/* ---------------------------------------------------------------- a draw from all logits */

/* Bans the tokens that the mask does not hold. Returns false if no token is left. */
static bool apply_mask(float *logits, size_t n, const uint64_t *allowed)
{
    bool left = false;
    for (size_t i = 0; i < n; i++) {
        bool may = allowed[i / 64] >> i % 64 & 1;
        logits[i] = may ? logits[i] : -INFINITY;
        left |= logits[i] != -INFINITY;
    }
    return left;
}

/* Copies the logits. Returns WEFT_E_STATE if one is NaN. */
static weft_status copy_logits(float *dst, const float *logits, size_t n, weft_error *err)
{
    int nan = 0;
    for (size_t i = 0; i < n; i++) {
        dst[i] = logits[i];
        nan |= logits[i] != logits[i];
    }
    for (size_t i = 0; nan && i < n; i++) {
        if (isnan(logits[i])) {
            return error_set(err, WEFT_E_STATE,
                             "sampling: the logit of token %zu is NaN, expected a number", i);
        }
    }
    return WEFT_OK;
}

/* Draws from the logits that were changed. */
static weft_status pick_from_all(struct sampler *s, struct sampler_scratch *m, int32_t *token,
                                 weft_error *err)
{
    if (s->p.temperature > 0) {
        const size_t n = take_top(m->candidates, most_candidates(s), m->logits, s->n_vocab);
        return pick_candidate(s, m->candidates, n, token, err);
    }
    int32_t best = highest_logit(m->logits, s->n_vocab);
    if (m->logits[best] == -INFINITY) {
        return all_banned(s, err);
    }
    *token = best;
    return WEFT_OK;
}

weft_status sampler_pick(struct sampler *s, struct sampler_scratch *m, const float *logits,
                         const struct draw_context *in, int32_t *token, weft_error *err)
{
    if (s->p.temperature > 0 &&
        !mem_reserve(&m->candidates, &m->cap, most_candidates(s), sizeof *m->candidates)) {
        return error_nomem(err, "the candidates of a draw",
                           most_candidates(s) * sizeof *m->candidates);
    }
    TRY(copy_logits(m->logits, logits, s->n_vocab, err));
    apply_bias(s, m->logits, in->end, in->n_end);
    apply_penalties(s, m, in->past, in->n_past);
    if (in->allowed != NULL && !apply_mask(m->logits, s->n_vocab, in->allowed)) {
        *token = -1;
        return WEFT_OK;
    }
    return pick_from_all(s, m, token, err);
}

/* ---------------------------------------------------------------- a draw from the best logits */

/* Returns true if a draw uses the logits as they are. */
static bool takes_logits(const struct sampler *s)
{
    return s->p.n_bias == 0 && !sampling_has_penalties(&s->p);
}

bool sampler_top(const struct sampler *s, size_t n_end, size_t *k)
{
    bool greedy = s->p.temperature == 0;
    *k = (greedy ? 1 : most_candidates(s)) + (s->p.ignore_end ? n_end : 0);
    *k = *k < s->n_vocab ? *k : s->n_vocab;
    return takes_logits(s) && (greedy || s->p.top_k > 0) && *k <= SAMPLER_TOP;
}

bool sampler_greedy(const struct sampler *s) { return takes_logits(s) && s->p.temperature == 0; }

bool sampler_bans(const struct sampler *s, const int32_t *end, size_t n_end, int32_t token)
{
    bool banned = false;
    for (size_t i = 0; s->p.ignore_end && i < n_end; i++) {
        banned |= end[i] == token;
    }
    return banned;
}

weft_status sampler_pick_top(struct sampler *s, const int32_t *ids, const float *values, size_t n,
                             const int32_t *end, size_t n_end, int32_t *token, weft_error *err)
{
    struct candidate c[SAMPLER_TOP];
    if (ids[0] < 0) {
        return error_set(err, WEFT_E_STATE, "sampling: a logit is NaN, expected a number");
    }
    /* sampler_top() has said that there are at most SAMPLER_TOP of them. */
    const size_t most = s->p.temperature == 0 ? 1 : most_candidates(s);
    size_t kept = 0;
    for (size_t i = 0; i < n && kept < most && kept < SAMPLER_TOP && values[i] != -INFINITY; i++) {
        if (!sampler_bans(s, end, n_end, ids[i])) {
            set_candidate(&c[kept++], ids[i], values[i]);
        }
    }
    if (s->p.temperature > 0) {
        return pick_candidate(s, c, kept, token, err);
    }
    if (kept == 0) {
        return all_banned(s, err);
    }
    *token = c[0].id;
    return WEFT_OK;
}
