/* weft perplexity: measures how well the model predicts a text, and how far its probabilities are
 * from those of another run. The windows, and which of their tokens are scored, are as in
 * llama.cpp's perplexity. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft/base_file.h"
#include "weft/commands.h"
#include "weft/io.h"
#include "weft/jsonl.h"
#include "weft/score.h"
#include "weft/statistics.h"

enum { DEFAULT_WINDOW = 512 };

struct perplexity {
    const struct options *o;
    struct session session;
    struct ids ids;
    /* The tokens of a window, the number of windows, and the number of those computed so far. */
    size_t window, n_windows, n_done;
    bool bos; /* each window begins with BOS */
    /* The file that is written, or compared with; path NULL = neither. */
    struct base_file base;
    float *base_logits; /* [n_vocab] of the current position */
    const int32_t *at;  /* the current window */
    int code;           /* the failure inside the observer */
    struct mean nll, base_nll, difference, kl, p_change, p_change2, same_top;
    double *kls; /* [n_scored()] */
};

/* Only the second half of a window is scored, because the first tokens have too little context. */
static size_t first_scored(const struct perplexity *p) { return p->window / 2; }
static size_t n_scored(const struct perplexity *p)
{
    return p->n_windows * (p->window - 1 - first_scored(p));
}

/* --- one position --- */

static void compare(struct perplexity *p, const float *logits, size_t n, int32_t next)
{
    const float *base = p->base_logits;
    double lse = score_lse(logits, n), base_lse = score_lse(base, n), kl = 0;
    int32_t top, base_top;
    for (size_t i = 0; i < n; i++) {
        double log_p = (double)base[i] - base_lse, log_q = (double)logits[i] - lse;
        kl += log_p > -INFINITY ? exp(log_p) * (log_p - log_q) : 0;
    }
    double log_p = (double)base[next] - base_lse, log_q = (double)logits[next] - lse,
           change = exp(log_q) - exp(log_p);
    mean_add(&p->base_nll, -log_p);
    mean_add(&p->difference, log_p - log_q);
    p->kls[p->kl.n] = kl;
    mean_add(&p->kl, kl);
    mean_add(&p->p_change, change);
    mean_add(&p->p_change2, change * change);
    score_top(logits, n, 1, &top);
    score_top(base, n, 1, &base_top);
    mean_add(&p->same_top, top == base_top);
}

static void score(void *user, size_t pos, const float *logits, size_t n_vocab)
{
    struct perplexity *p = user;
    if (pos < first_scored(p) || pos + 1 == p->window || p->code != EXIT_OK) {
        return;
    }
    int32_t next = p->at[pos + 1];
    double nll = score_lse(logits, n_vocab) - (double)logits[next];
    if (!isfinite(nll)) {
        p->code = term_fail(EXIT_RUNTIME,
                            "window %zu, token %zu: the model gives no probability to %d; a NaN "
                            "or infinity is among its logits",
                            p->n_done, pos, next);
        return;
    }
    mean_add(&p->nll, nll);
    if (p->o->save_base != NULL) {
        p->code = base_write(&p->base, logits);
    } else if (p->o->kl_base != NULL) {
        p->code = base_read(&p->base, p->base_logits);
        if (p->code == EXIT_OK && !(p->base_logits[next] > -INFINITY)) {
            /* the run that wrote the file has scored this token too */
            p->code = term_fail(EXIT_RUNTIME,
                                "%s is damaged: window %zu, token %zu: it gives no probability to "
                                "%d; make it again with --save-base",
                                p->base.path, p->n_done, pos, next);
        }
        if (p->code == EXIT_OK) {
            compare(p, logits, n_vocab, next);
        }
    }
}

/* --- all windows --- */

static int score_windows(struct perplexity *p)
{
    int32_t *window = calloc(p->window, sizeof *window);
    int code = window == NULL ? term_fail(EXIT_MEMORY, "not enough memory for a window") : EXIT_OK;
    double started = term_seconds();
    for (p->n_done = 0; p->n_done < p->n_windows && code == EXIT_OK; p->n_done++) {
        memcpy(window, p->ids.at + p->n_done * p->window, p->window * sizeof *window);
        window[0] = p->bos ? p->session.info.bos : window[0];
        p->at = window;
        weft_seq *seq = NULL;
        code = score_open(p->session.engine, window, p->window, score, p, &seq);
        code = code != EXIT_OK ? code : score_run(p->session.engine, seq);
        code = code != EXIT_OK ? code : p->code;
        weft_seq_release(&seq);
        double each = (term_seconds() - started) / (double)(p->n_done + 1);
        term_progress("window %zu of %zu: perplexity %.4f; %.0f s left", p->n_done + 1,
                      p->n_windows, exp(p->nll.mean),
                      each * (double)(p->n_windows - p->n_done - 1));
    }
    term_progress_clear();
    free(window);
    bool whole = p->n_windows == p->ids.n / p->window;
    return code == EXIT_OK && p->o->kl_base != NULL && whole ? base_end(&p->base) : code;
}

/* --- output --- */

/* These two use the mean of squares: the RMS and its standard error. */
static double rms(const struct perplexity *p) { return sqrt(p->p_change2.mean); }
static double rms_error(const struct perplexity *p)
{
    return rms(p) > 0 ? mean_error(&p->p_change2) / (2 * rms(p)) : 0;
}

static double ppl_error(const struct mean *nll) { return exp(nll->mean) * mean_error(nll); }

static void print_text(const struct perplexity *p)
{
    printf("perplexity      %.4f ± %.4f\n", exp(p->nll.mean), ppl_error(&p->nll));
    printf("scored          %zu tokens in %zu windows of %zu\n", p->nll.n, p->n_done, p->window);
    if (p->o->kl_base == NULL) {
        return;
    }
    size_t n = p->kl.n;
    printf("base            %.4f ± %.4f\n", exp(p->base_nll.mean), ppl_error(&p->base_nll));
    printf("ln(PPL ratio)   %.6f ± %.6f\n", p->difference.mean, mean_error(&p->difference));
    printf("KL mean         %.3e ± %.1e\n", p->kl.mean, mean_error(&p->kl));
    printf("KL median       %.3e\n", quantile(p->kls, n, 0.5));
    printf("KL 99 %%         %.3e\n", quantile(p->kls, n, 0.99));
    printf("KL 99.9 %%       %.3e\n", quantile(p->kls, n, 0.999));
    printf("KL max          %.3e\n", quantile(p->kls, n, 1));
    printf("Δp mean         %.4f ± %.4f %%\n", 100 * p->p_change.mean,
           100 * mean_error(&p->p_change));
    printf("Δp RMS          %.4f ± %.4f %%\n", 100 * rms(p), 100 * rms_error(p));
    printf("same top token  %.3f ± %.3f %%\n", 100 * p->same_top.mean,
           100 * mean_error(&p->same_top));
}

static int print_json(const struct perplexity *p)
{
    json_t *j =
        json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "engine", "weft", "version",
                  weft_version(), "ppl", jsonl_number(exp(p->nll.mean)), "ppl_error",
                  jsonl_number(ppl_error(&p->nll)), "nll", jsonl_number(p->nll.mean), "nll_error",
                  jsonl_number(mean_error(&p->nll)), "n_scored", (json_int_t)p->nll.n, "n_windows",
                  (json_int_t)p->n_done, "window", (json_int_t)p->window);
    if (p->o->kl_base != NULL && j != NULL) {
        const struct {
            const char *key;
            double value;
        } more[] = { { "base_ppl", exp(p->base_nll.mean) },
                     { "ln_ppl_ratio", p->difference.mean },
                     { "ln_ppl_ratio_error", mean_error(&p->difference) },
                     { "kl_mean", p->kl.mean },
                     { "kl_error", mean_error(&p->kl) },
                     { "kl_median", quantile(p->kls, p->kl.n, 0.5) },
                     { "kl_99", quantile(p->kls, p->kl.n, 0.99) },
                     { "kl_99_9", quantile(p->kls, p->kl.n, 0.999) },
                     { "kl_max", quantile(p->kls, p->kl.n, 1) },
                     { "p_change_mean", p->p_change.mean },
                     { "p_change_rms", rms(p) },
                     { "p_change_rms_error", rms_error(p) },
                     { "same_top", p->same_top.mean },
                     { "same_top_error", mean_error(&p->same_top) } };
        for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
            jsonl_set(&j, more[i].key, jsonl_number(more[i].value));
        }
    }
    struct jsonl out;
    (void)jsonl_open(NULL, &out);
    jsonl_add(&out, j);
    return jsonl_close(&out);
}

/* Prints the results, even those before Ctrl-C or a failure. */
static int print_all(const struct perplexity *p)
{
    if (p->nll.n == 0 || (p->o->kl_base != NULL && p->kl.n == 0)) {
        return EXIT_OK;
    }
    if (p->o->json) {
        return print_json(p);
    }
    print_text(p);
    return io_flush();
}

/* --- beginning --- */

/* Hashes the texts of all tokens, so that another tokenizer of the same size is noticed. */
static int vocab_hash(const struct session *s, uint32_t *hash)
{
    struct bytes text = { 0 };
    int code = EXIT_OK;
    *hash = 0x811c9dc5u; /* FNV-1a */
    for (int32_t id = 0; (size_t)id < s->info.n_vocab && code == EXIT_OK; id++) {
        text.n = 0;
        code = session_detokenize(s->model, &id, 1, WEFT_DETOKENIZE_SPECIAL, &text);
        for (size_t i = 0; i <= text.n && text.data != NULL; i++) {
            *hash = (*hash ^ (uint8_t)text.data[i]) * 0x01000193u;
        }
    }
    bytes_free(&text);
    return code;
}

static int read_base(struct perplexity *p, int n_args)
{
    const struct options *o = p->o;
    if (n_args > 0 || o->prompt != NULL || o->file != NULL || o->tokens != NULL || o->ctx > 0) {
        return term_usage("perplexity", "--kl-base FILE holds the text and its windows; give "
                                        "neither a text nor -c");
    }
    p->base.path = o->kl_base;
    int code = base_open(&p->base);
    if (code != EXIT_OK) {
        return code;
    }
    if (p->base.n_vocab != p->session.info.n_vocab) {
        return term_fail(EXIT_RUNTIME,
                         "%s is of a model whose vocabulary has %u entries, but this one has %zu; "
                         "only models with the same tokens can be compared",
                         o->kl_base, p->base.n_vocab, p->session.info.n_vocab);
    }
    uint32_t hash;
    code = vocab_hash(&p->session, &hash);
    if (code == EXIT_OK && hash != p->base.vocab_hash) {
        code = term_fail(EXIT_RUNTIME,
                         "%s is of a model with other tokens than this one; only models with the "
                         "same vocabulary can be compared",
                         o->kl_base);
    }
    if (code != EXIT_OK) {
        return code;
    }
    p->window = p->base.window;
    p->bos = p->base.bos != 0;
    p->ids = p->base.tokens;
    if (p->bos && p->session.info.bos < 0) {
        return term_fail(EXIT_RUNTIME,
                         "%s has windows that begin with BOS, and this model has none", o->kl_base);
    }
    return EXIT_OK;
}

static int read_text(struct perplexity *p, int n_args, char **args)
{
    const struct options *o = p->o;
    size_t trained = p->session.info.n_ctx_train;
    p->window = o->ctx > 0 ? (size_t)o->ctx
                           : (o->ctx < 0 && DEFAULT_WINDOW < trained ? DEFAULT_WINDOW : trained);
    p->bos = p->session.info.adds_bos && p->session.info.bos >= 0 && !o->no_bos;
    if (p->window < 4) {
        return term_usage("perplexity", "-c is less than 4; a window that short scores nothing");
    }
    return score_read(&p->session, o, n_args, args, "perplexity", &p->ids);
}

static int start(struct perplexity *p)
{
    struct options o = *p->o;
    p->n_windows = p->ids.n / p->window;
    if (p->n_windows == 0) {
        return term_fail(EXIT_USAGE,
                         "the text has %zu tokens, but a window has %zu; take a longer text or a "
                         "smaller -c",
                         p->ids.n, p->window);
    }
    if (o.chunks > 0 && (size_t)o.chunks < p->n_windows) {
        p->n_windows = (size_t)o.chunks;
    }
    p->kls = calloc(n_scored(p), sizeof *p->kls);
    p->base_logits = calloc(p->session.info.n_vocab, sizeof *p->base_logits);
    if (p->kls == NULL || p->base_logits == NULL) {
        return term_fail(EXIT_MEMORY, "not enough memory for the figures of %zu tokens",
                         n_scored(p));
    }
    o.ctx = (int64_t)p->window;
    return session_engine(&p->session, &o, size_max(p->window, WEFT_KV_PAGE));
}

static int create_base(struct perplexity *p)
{
    if (p->o->save_base == NULL) {
        return EXIT_OK;
    }
    p->base = (struct base_file){ .path = p->o->save_base,
                                  .n_vocab = (uint32_t)p->session.info.n_vocab,
                                  .window = (uint32_t)p->window,
                                  .bos = p->bos,
                                  .tokens = p->ids };
    /* The tokens that --chunks leaves out have no logits in the file, so the file does not list
     * them. */
    p->base.tokens.n = p->n_windows * p->window;
    int code = vocab_hash(&p->session, &p->base.vocab_hash);
    return code != EXIT_OK ? code : base_create(&p->base);
}

int cmd_perplexity(const struct options *o, int n_args, char **args)
{
    struct perplexity p = { .o = o };
    if (!o->quiet) {
        term_progress_on();
    }
    int code = session_model(&p.session, o, false);
    if (code == EXIT_OK) {
        code = o->kl_base != NULL ? read_base(&p, n_args) : read_text(&p, n_args, args);
    }
    code = code != EXIT_OK ? code : start(&p);
    code = code != EXIT_OK ? code : create_base(&p);
    if (code == EXIT_OK) {
        term_on_interrupt(TERM_FLAG_ONCE);
        code = score_windows(&p);
        term_on_interrupt(TERM_KILL);
        int printed = print_all(&p);
        code = code != EXIT_OK ? code : printed;
    }
    int closed = base_close(&p.base);
    free(p.kls);
    free(p.base_logits);
    free(o->kl_base != NULL ? p.base.tokens.at : p.ids.at);
    session_close(&p.session);
    return code != EXIT_OK ? code : closed;
}
