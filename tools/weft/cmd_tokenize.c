/* weft tokenize and weft detokenize: text to ids and back, byte for byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft/commands.h"
#include "weft/io.h"
#include "weft/session.h"

static int read_text(const struct options *o, int n_args, char **args, struct bytes *text)
{
    bool dash = n_args == 1 && strcmp(args[0], "-") == 0;
    if ((n_args > 0 && !dash) || (o->prompt != NULL) + (o->file != NULL) + dash != 1) {
        return term_usage("tokenize",
                          "give one text, with -p TEXT, -f FILE, or - for standard input");
    }
    if (o->prompt == NULL) {
        return io_read(dash ? "-" : o->file, &io_text, text);
    }
    bool ok =
        o->escape ? io_unescape(o->prompt, text) : text_add(text, o->prompt, strlen(o->prompt));
    return ok ? EXIT_OK : term_fail(EXIT_MEMORY, "not enough memory for the text");
}

static int print_token(const struct session *s, int32_t id)
{
    weft_error err = { 0 };
    struct bytes text = { 0 }, line = { 0 };
    size_t n = 0;
    weft_status status = weft_token_text(s->model, id, NULL, 0, &n, &err);
    if (status == WEFT_E_BUFFER && text_reserve(&text, n)) {
        status = weft_token_text(s->model, id, text.data, n, &n, &err);
    }
    int code = status == WEFT_OK         ? EXIT_OK
               : status == WEFT_E_BUFFER ? term_fail(EXIT_MEMORY, "not enough memory for a token")
                                         : term_status(status, &err);
    if (code == EXIT_OK && !io_escape(text.data, n, 0, &line)) {
        code = term_fail(EXIT_MEMORY, "not enough memory for a token");
    }
    if (code == EXIT_OK) {
        printf("%d\t", id);
        fwrite(line.data, 1, line.n, stdout);
        putchar('\n');
    }
    bytes_free(&text);
    bytes_free(&line);
    return code;
}

static int print_tokens(const struct options *o, const struct session *s, const struct ids *ids)
{
    int code = EXIT_OK;
    if (o->count) {
        printf("%zu\n", ids->n);
    }
    for (size_t i = 0; i < ids->n && code == EXIT_OK && !o->count; i++) {
        if (o->ids) {
            printf(i > 0 ? " %d" : "%d", ids->at[i]);
        } else {
            code = print_token(s, ids->at[i]);
        }
    }
    if (o->ids) {
        putchar('\n');
    }
    return code;
}

int cmd_tokenize(const struct options *o, int n_args, char **args)
{
    struct session s = { 0 };
    struct bytes text = { 0 };
    struct ids ids = { 0 };
    unsigned flags = (o->bos ? WEFT_TOKENIZE_BOS : 0) | (o->special ? WEFT_TOKENIZE_SPECIAL : 0);
    int code = read_text(o, n_args, args, &text);
    code = code != EXIT_OK ? code : session_model(&s, o, true);
    code = code != EXIT_OK ? code
                           : session_tokenize(&s, text.n > 0 ? text.data : "", text.n, flags, &ids);
    code = code != EXIT_OK ? code : print_tokens(o, &s, &ids);
    free(ids.at);
    bytes_free(&text);
    session_close(&s);
    int flushed = io_flush();
    return code != EXIT_OK ? code : flushed;
}

int cmd_detokenize(const struct options *o, int n_args, char **args)
{
    struct session s = { 0 };
    struct bytes text = { 0 };
    struct ids ids = { 0 };
    bool dash = n_args == 1 && strcmp(args[0], "-") == 0;
    int code = EXIT_OK;
    if ((n_args > 0) + (o->file != NULL) != 1) {
        return term_usage("detokenize",
                          "give the ids as arguments, or with -f FILE, or - for standard input");
    }
    if (o->file != NULL || dash) {
        code = ids_read(dash ? "-" : o->file, &ids);
    }
    for (int i = 0; i < n_args && !dash && code == EXIT_OK; i++) {
        code = ids_parse(args[i], &ids);
    }
    code = code != EXIT_OK ? code : session_model(&s, o, true);
    if (code == EXIT_OK) {
        code = session_detokenize(s.model, ids.at, ids.n, o->special ? WEFT_DETOKENIZE_SPECIAL : 0,
                                  &text);
    }
    code = code != EXIT_OK ? code : io_write(text.data, text.n);
    free(ids.at);
    bytes_free(&text);
    session_close(&s);
    return code;
}
