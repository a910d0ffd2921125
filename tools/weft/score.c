#include "weft/score.h"

#include <math.h>
#include <string.h>

#include "weft/term.h"

/* --- reading the ids --- */

static int read_text(const struct session *s, const struct options *o, const char *path,
                     struct ids *out)
{
    struct bytes text = { 0 };
    unsigned flags = (o->no_bos ? 0 : WEFT_TOKENIZE_BOS) | (o->special ? WEFT_TOKENIZE_SPECIAL : 0);
    int code = EXIT_OK;
    if (o->prompt == NULL) {
        code = io_read(path, &io_text, &text);
    } else if (!(o->escape ? io_unescape(o->prompt, &text)
                           : text_add(&text, o->prompt, strlen(o->prompt)))) {
        code = term_fail(EXIT_MEMORY, "not enough memory for the text");
    }
    if (code == EXIT_OK) {
        code = session_tokenize(s, text.n > 0 ? text.data : "", text.n, flags, out);
    }
    bytes_free(&text);
    return code;
}

int score_read(const struct session *s, const struct options *o, int n_args, char **args,
               const char *command, struct ids *out)
{
    bool dash = n_args == 1 && strcmp(args[0], "-") == 0;
    if ((n_args > 0 && !dash) ||
        (o->prompt != NULL) + (o->file != NULL) + (o->tokens != NULL) + dash != 1) {
        return term_usage(command, "give one text, with -p TEXT, -f FILE, or - for standard "
                                   "input, or its ids with --tokens FILE");
    }
    int code =
        o->tokens != NULL ? ids_read(o->tokens, out) : read_text(s, o, dash ? "-" : o->file, out);
    if (code == EXIT_OK && out->n == 0) {
        code = term_fail(EXIT_USAGE, "the text has no tokens; nothing can be said about it");
    }
    return code;
}

/* --- computing --- */

/* Runs in the signal handler and lets a step end early. */
static void cancel(void *seq) { weft_seq_cancel(seq); }

int score_open(weft_engine *engine, const int32_t *tokens, size_t n, weft_logits_fn fn, void *user,
               weft_seq **out)
{
    weft_error err = { 0 };
    weft_status status = weft_seq_open(engine, NULL, out, &err);
    status = status == WEFT_OK ? weft_seq_observe(*out, fn, user, &err) : status;
    status = status == WEFT_OK ? weft_seq_append(*out, tokens, n, &err) : status;
    if (status != WEFT_OK) {
        weft_seq_release(out);
        return term_status(status, &err);
    }
    return EXIT_OK;
}

int score_run(weft_engine *engine, weft_seq *seq)
{
    weft_error err = { 0 };
    weft_status status = WEFT_OK;
    term_interrupt_hook(cancel, seq);
    while (status == WEFT_OK && weft_seq_pending(seq) > 0 && !term_interrupted()) {
        status = weft_engine_step(engine, NULL, &err);
    }
    term_interrupt_hook(NULL, NULL);
    if (status != WEFT_OK) {
        return term_status(status, &err);
    }
    return term_interrupted() ? EXIT_INTERRUPTED : EXIT_OK;
}

/* --- figures --- */

double score_lse(const float *logits, size_t n)
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

static bool better(const float *logits, int32_t a, int32_t b)
{
    return logits[a] > logits[b] || (isnan(logits[b]) && !isnan(logits[a]));
}

size_t score_top(const float *logits, size_t n, size_t k, int32_t *ids)
{
    size_t n_ids = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = n_ids;
        while (at > 0 && better(logits, (int32_t)i, ids[at - 1])) {
            at--;
        }
        if (at < k) {
            n_ids += n_ids < k;
            memmove(ids + at + 1, ids + at, (n_ids - 1 - at) * sizeof *ids);
            ids[at] = (int32_t)i;
        }
    }
    return n_ids;
}
