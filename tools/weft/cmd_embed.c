/* weft embed: turns texts into vectors, one for -p, or one for each line of a file; or scores them
 * by a query (--rerank). The library gets several texts in one call. */
#include <stdlib.h>
#include <string.h>

#include "weft/commands.h"
#include "weft/io.h"
#include "weft/jsonl.h"
#include "weft/session.h"

/* The most texts in one call. Their results are written when all of them are computed, and Ctrl-C
 * is obeyed between calls. */
enum { MAX_TEXTS = 64 };

/* A line of the result of --rerank. */
struct score {
    size_t index;
    double value;
};

struct embed {
    const struct options *o;
    struct session session;
    struct bytes text; /* all of the input */
    /* The texts of the next call: the numbers of their lines, their lengths, and what they hold:
     * tokens, or bytes for --rerank. */
    size_t n, index[MAX_TEXTS], lengths[MAX_TEXTS];
    struct ids tokens;
    struct bytes documents;
    struct ids ids; /* of one text */
    size_t n_batch;
    /* [n, values of a vector], or [n] scores */
    float *values;
    size_t cap;
    /* For --sort: all scores so far. */
    struct score *scores;
    size_t n_scores, cap_scores;
    struct jsonl out;
};

static int read_texts(struct embed *e, int n_args, char **args)
{
    const struct options *o = e->o;
    bool dash = n_args == 1 && strcmp(args[0], "-") == 0;
    if ((n_args > 0 && !dash) || (o->prompt != NULL) + (o->file != NULL) + dash != 1) {
        return term_usage("embed", "give one text with -p TEXT, or a text on each line with -f "
                                   "FILE, or - for standard input");
    }
    if (o->prompt == NULL) {
        return io_read_text(dash ? "-" : o->file, &io_text, &e->text);
    }
    bool ok = o->escape ? io_unescape(o->prompt, &e->text)
                        : text_add(&e->text, o->prompt, strlen(o->prompt));
    return ok ? EXIT_OK : term_fail(EXIT_MEMORY, "not enough memory for the text");
}

/* ---------------------------------------------------------------- what is written */

static void write_vector(struct embed *e, size_t i, const float *vector, size_t n)
{
    json_t *values = json_array();
    for (size_t j = 0; j < n; j++) {
        jsonl_append(&values, jsonl_number((double)vector[j]));
    }
    jsonl_add(&e->out, json_pack("{s:I, s:I, s:o}", "index", (json_int_t)e->index[i], "n_tokens",
                                 (json_int_t)e->lengths[i], "embedding", values));
}

static void write_score(struct embed *e, struct score s)
{
    jsonl_add(&e->out, json_pack("{s:I, s:o}", "index", (json_int_t)s.index, "score",
                                 jsonl_number(s.value)));
}

/* Writes a score, or keeps it for sorting. */
static int add_score(struct embed *e, struct score s)
{
    if (!e->o->sort) {
        write_score(e, s);
        return e->out.code;
    }
    if (!mem_reserve(&e->scores, &e->cap_scores, e->n_scores + 1, sizeof *e->scores)) {
        return term_fail(EXIT_MEMORY, "not enough memory for the scores");
    }
    e->scores[e->n_scores++] = s;
    return EXIT_OK;
}

/* The best comes first; equal ones stay in the order of the lines. */
static int by_score(const void *a, const void *b)
{
    const struct score *x = a, *y = b;
    return x->value != y->value ? (x->value < y->value) - (x->value > y->value)
                                : (x->index > y->index) - (x->index < y->index);
}

static int write_sorted(struct embed *e)
{
    if (e->n_scores > 0) {
        qsort(e->scores, e->n_scores, sizeof *e->scores, by_score);
    }
    for (size_t i = 0; i < e->n_scores; i++) {
        write_score(e, e->scores[i]);
    }
    return e->out.code;
}

/* ---------------------------------------------------------------- calls of the library */

/* Returns where text i begins. */
static size_t start_of(const struct embed *e, size_t i)
{
    size_t at = 0;
    for (size_t j = 0; j < i; j++) {
        at += e->lengths[j];
    }
    return at;
}

/* Computes the vectors or scores of texts [first, first + n). *got is the number of all values. */
static weft_status compute(struct embed *e, size_t first, size_t n, size_t *got, weft_error *err)
{
    const struct options *o = e->o;
    weft_engine *engine = e->session.engine;
    const size_t at = start_of(e, first), *lengths = e->lengths + first;
    if (o->rerank != NULL) {
        const char *documents = e->documents.data + at;
        return weft_rank(engine, o->rerank, strlen(o->rerank), documents, lengths, n, e->values,
                         e->cap, got, err);
    }
    weft_embed_params p = WEFT_EMBED_PARAMS_INIT;
    p.pooling = (weft_pooling)o->pooling;
    p.raw = o->raw;
    p.dimensions = (size_t)o->dimensions;
    return weft_embed_texts(engine, e->tokens.at + at, lengths, n, &p, e->values, e->cap, got, err);
}

static int take(struct embed *e, size_t first, size_t n, size_t n_values)
{
    int code = EXIT_OK;
    for (size_t i = 0; i < n && code == EXIT_OK; i++) {
        const float *value = e->values + i * n_values;
        if (e->o->rerank != NULL) {
            code = add_score(e, (struct score){ e->index[first + i], (double)*value });
        } else {
            write_vector(e, first + i, value, n_values);
            code = e->out.code;
        }
    }
    return code;
}

/* Computes texts [first, first + n) and takes the results. If that fails because of one of them,
 * those before it have their results nevertheless. */
static int compute_texts(struct embed *e, size_t first, size_t n)
{
    weft_error err = { 0 };
    size_t got = 0;
    weft_status status = compute(e, first, n, &got, &err);
    if (status == WEFT_OK) {
        return take(e, first, n, got / n);
    }
    if (n > 1 && status != WEFT_E_NOMEM) {
        int code = EXIT_OK;
        for (size_t i = 0; i < n && code == EXIT_OK; i++) {
            code = compute_texts(e, first + i, 1);
        }
        return code;
    }
    term_fail(0, "text %zu:", e->index[first] + 1);
    return term_status(status, &err);
}

static int flush(struct embed *e)
{
    int code = e->n > 0 ? compute_texts(e, 0, e->n) : EXIT_OK;
    e->n = e->tokens.n = e->documents.n = 0;
    return code;
}

/* Returns true if the next call has no room for n more tokens or bytes. A call should fill a step,
 * which n_batch tokens do, or with documents two steps, as it first computes what their prompts
 * share. A token of a document has about four bytes. */
static bool is_full(const struct embed *e, size_t n)
{
    size_t most = e->o->rerank != NULL ? 8 * e->n_batch : e->n_batch;
    return e->n == MAX_TEXTS || (e->n > 0 && start_of(e, e->n) + n > most);
}

static int add_document(struct embed *e, size_t index, const char *text, size_t n)
{
    int code = is_full(e, n) ? flush(e) : EXIT_OK;
    if (code == EXIT_OK && !bytes_add(&e->documents, text, n)) {
        code = term_fail(EXIT_MEMORY, "not enough memory for the texts");
    }
    e->index[e->n] = index;
    e->lengths[e->n++] = n;
    return code;
}

static int add_tokens(struct embed *e, size_t index, const char *text, size_t n)
{
    unsigned flags = WEFT_TOKENIZE_EOS | (e->o->no_bos ? 0 : WEFT_TOKENIZE_BOS) |
                     (e->o->special ? WEFT_TOKENIZE_SPECIAL : 0);
    int code = session_tokenize(&e->session, text, n, flags, &e->ids);
    if (code == EXIT_OK && is_full(e, e->ids.n)) {
        code = flush(e);
    }
    if (code == EXIT_OK && !ids_reserve(&e->tokens, e->tokens.n + e->ids.n)) {
        code = term_fail(EXIT_MEMORY, "not enough memory for the texts");
    }
    if (code != EXIT_OK) {
        return code;
    }
    if (e->ids.n > 0) {
        memcpy(e->tokens.at + e->tokens.n, e->ids.at, e->ids.n * sizeof *e->ids.at);
    }
    e->tokens.n += e->ids.n;
    e->index[e->n] = index;
    e->lengths[e->n++] = e->ids.n;
    return EXIT_OK;
}

static int add_text(struct embed *e, size_t index, const char *text, size_t n)
{
    if (n == 0) {
        return term_fail(EXIT_USAGE, "text %zu is empty; there is nothing to %s", index + 1,
                         e->o->rerank != NULL ? "score" : "embed");
    }
    return e->o->rerank != NULL ? add_document(e, index, text, n) : add_tokens(e, index, text, n);
}

/* ---------------------------------------------------------------- the command */

/* -p is one text, including its line breaks. In a file each line is a text; lines may end as on
 * Windows. Empty lines are skipped but counted, so that "index" is the number of the line. */
static int embed_lines(struct embed *e)
{
    const char *at = e->text.data, *end = at + e->text.n;
    size_t line = 0, n_empty = 0;
    int code = EXIT_OK;
    for (; at < end && code == EXIT_OK && !term_interrupted(); line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((stop != NULL ? stop : end) - at);
        size_t text = n > 0 && at[n - 1] == '\r' ? n - 1 : n;
        n_empty += text == 0;
        code = text > 0 ? add_text(e, line, at, text) : EXIT_OK;
        at += stop != NULL ? n + 1 : n;
        term_progress("%zu texts", line + 1);
    }
    code = code == EXIT_OK && !term_interrupted() ? flush(e) : code;
    term_progress_clear();
    if (code == EXIT_OK && n_empty == line) {
        code = term_fail(EXIT_USAGE, "all lines are empty; there is nothing to %s",
                         e->o->rerank != NULL ? "score" : "embed");
    } else if (n_empty > 0 && !e->o->quiet) {
        term_note("weft: %zu of %zu lines are empty and have no %s", n_empty, line,
                  e->o->rerank != NULL ? "score" : "vector");
    }
    return code == EXIT_OK && term_interrupted() ? EXIT_INTERRUPTED : code;
}

static int embed_all(struct embed *e)
{
    weft_engine_info info = { .size = sizeof info };
    weft_error err = { 0 };
    weft_status status = weft_engine_get_info(e->session.engine, &info, &err);
    if (status != WEFT_OK) {
        return term_status(status, &err);
    }
    e->n_batch = info.n_batch;
    e->cap = MAX_TEXTS * (e->session.info.dim + e->session.info.n_labels);
    e->values = calloc(e->cap, sizeof *e->values);
    if (e->values == NULL) {
        return term_fail(EXIT_MEMORY, "not enough memory for the vectors");
    }
    int code;
    if (e->o->prompt != NULL || e->text.n == 0) {
        code = add_text(e, 0, e->text.n > 0 ? e->text.data : "", e->text.n);
        code = code == EXIT_OK ? flush(e) : code;
    } else {
        code = embed_lines(e);
    }
    /* Texts before one that failed have their scores nevertheless. */
    const int sorted = write_sorted(e);
    return code == EXIT_OK ? sorted : code;
}

int cmd_embed(const struct options *o, int n_args, char **args)
{
    struct embed e = { .o = o };
    if (!o->quiet) {
        term_progress_on();
    }
    int code = read_texts(&e, n_args, args);
    code = code != EXIT_OK ? code : session_model(&e.session, o, false);
    code = code != EXIT_OK ? code : session_engine(&e.session, o, 0);
    code = code != EXIT_OK ? code : jsonl_open(o->output, &e.out);
    if (code == EXIT_OK) {
        term_on_interrupt(TERM_FLAG_ONCE);
        code = embed_all(&e);
        int closed = jsonl_close(&e.out);
        code = code != EXIT_OK ? code : closed;
    }
    free(e.values);
    free(e.scores);
    free(e.ids.at);
    free(e.tokens.at);
    bytes_free(&e.documents);
    bytes_free(&e.text);
    session_close(&e.session);
    return code;
}
