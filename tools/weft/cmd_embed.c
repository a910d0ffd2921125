/* weft embed: turns texts into vectors, one for -p, or one for each line of a file. */
#include <stdlib.h>
#include <string.h>

#include "weft/commands.h"
#include "weft/io.h"
#include "weft/jsonl.h"
#include "weft/session.h"

struct embed {
    const struct options *o;
    struct session session;
    struct bytes text;
    struct ids ids;
    float *vector; /* [info.dim] */
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

static int write_vector(struct embed *e, size_t index)
{
    json_t *values = json_array();
    for (size_t i = 0; i < e->session.info.dim; i++) {
        jsonl_append(&values, jsonl_number((double)e->vector[i]));
    }
    jsonl_add(&e->out, json_pack("{s:I, s:I, s:o}", "index", (json_int_t)index, "n_tokens",
                                 (json_int_t)e->ids.n, "embedding", values));
    return e->out.code;
}

static int embed_text(struct embed *e, size_t index, const char *text, size_t n)
{
    weft_error err = { 0 };
    weft_embed_params p = WEFT_EMBED_PARAMS_INIT;
    unsigned flags = WEFT_TOKENIZE_EOS | (e->o->no_bos ? 0 : WEFT_TOKENIZE_BOS) |
                     (e->o->special ? WEFT_TOKENIZE_SPECIAL : 0);
    p.pooling = (weft_pooling)e->o->pooling;
    p.raw = e->o->raw;
    int code = session_tokenize(&e->session, text, n, flags, &e->ids);
    if (code != EXIT_OK) {
        return code;
    }
    if (n == 0) {
        return term_fail(EXIT_USAGE, "text %zu is empty; there is nothing to embed", index + 1);
    }
    weft_status status = weft_embed(e->session.engine, e->ids.at, e->ids.n, &p, e->vector,
                                    e->session.info.dim, NULL, &err);
    if (status != WEFT_OK) {
        term_fail(0, "text %zu:", index + 1);
        return term_status(status, &err);
    }
    return write_vector(e, index);
}

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
        code = text > 0 ? embed_text(e, line, at, text) : EXIT_OK;
        at += stop != NULL ? n + 1 : n;
        term_progress("%zu texts", line + 1);
    }
    term_progress_clear();
    if (code == EXIT_OK && n_empty == line) {
        code = term_fail(EXIT_USAGE, "all lines are empty; there is nothing to embed");
    } else if (n_empty > 0 && !e->o->quiet) {
        term_note("weft: %zu of %zu lines are empty and have no vector", n_empty, line);
    }
    return code == EXIT_OK && term_interrupted() ? EXIT_INTERRUPTED : code;
}

static int embed_all(struct embed *e)
{
    e->vector = calloc(e->session.info.dim, sizeof *e->vector);
    if (e->vector == NULL) {
        return term_fail(EXIT_MEMORY, "not enough memory for a vector");
    }
    if (e->o->prompt != NULL || e->text.n == 0) {
        return embed_text(e, 0, e->text.n > 0 ? e->text.data : "", e->text.n);
    }
    return embed_lines(e);
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
    free(e.vector);
    free(e.ids.at);
    bytes_free(&e.text);
    session_close(&e.session);
    return code;
}
