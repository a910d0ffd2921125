#include "weft/logprobs_log.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "weft/jsonl.h"
#include "weft/session.h"
#include "weft/term.h"

enum { MOST = 65 };

/* Returns the token's text; bytes that are not a whole character become U+FFFD. */
static json_t *piece_of(const weft_model *model, int32_t token)
{
    struct bytes bytes = { 0 }, text = { 0 };
    size_t bad;
    bool ok = session_detokenize(model, &token, 1, WEFT_DETOKENIZE_SPECIAL, &bytes) == EXIT_OK &&
              io_utf8(bytes.n > 0 ? bytes.data : "", bytes.n, &text, &bad);
    json_t *piece = ok ? json_stringn(text.n > 0 ? text.data : "", text.n) : NULL;
    bytes_free(&bytes);
    bytes_free(&text);
    return piece;
}

static json_t *entry(const weft_model *model, const weft_logprob *l)
{
    return json_pack("{s:i, s:o, s:o}", "token", l->token, "piece", piece_of(model, l->token),
                     "logprob", jsonl_number((double)l->logprob));
}

static json_t *line_of(const weft_model *model, const weft_logprob *l, size_t n, size_t text,
                       size_t token)
{
    json_t *line = entry(model, &l[0]), *top = json_array();
    jsonl_set(&line, "text", json_integer((json_int_t)text));
    jsonl_set(&line, "index", json_integer((json_int_t)token));
    for (size_t i = 1; i < n; i++) {
        jsonl_append(&top, entry(model, &l[i]));
    }
    jsonl_set(&line, "top", top);
    return line;
}

int logprobs_line(const weft_model *model, weft_seq *seq, size_t text, size_t token,
                  struct bytes *out)
{
    weft_logprob l[MOST];
    weft_error err = { 0 };
    size_t n;
    weft_status status = weft_seq_logprobs(seq, l, MOST, &n, &err);
    if (status != WEFT_OK) {
        return term_status(status, &err);
    }
    json_t *line = line_of(model, l, n, text, token);
    char *dump = line != NULL ? json_text(line, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(line);
    bool ok = dump != NULL && text_add(out, dump, strlen(dump)) && text_add(out, "\n", 1);
    free(dump);
    return ok ? EXIT_OK : term_fail(EXIT_MEMORY, "not enough memory for the log-probabilities");
}
