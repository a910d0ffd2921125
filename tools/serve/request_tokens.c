/* /tokenize and /detokenize, each in the shapes of llama-server and of vLLM. */
#include <string.h>

#include "base/utf8.h"
#include "serve/reading.h"

struct tokenize {
    json_t *content, *prompt;
    int add_special; /* -1 = not given */
    int parse_special;
    bool with_pieces;
};
static const struct field fields[] = {
    { .name = "content", .kind = FIELD_ANY, .offset = offsetof(struct tokenize, content) },
    { .name = "prompt", .kind = FIELD_ANY, .offset = offsetof(struct tokenize, prompt) },
    { "add_special",
      { "add_special_tokens" },
      FIELD_SWITCH,
      offsetof(struct tokenize, add_special),
      0,
      0,
      NULL },
    { .name = "parse_special",
      .kind = FIELD_SWITCH,
      .offset = offsetof(struct tokenize, parse_special) },
    { .name = "with_pieces", .kind = FIELD_BOOL, .offset = offsetof(struct tokenize, with_pieces) },
};

static bool is_utf8(const char *text, size_t n)
{
    for (size_t i = 0, len; i < n; i += len) {
        if (utf8_next(text + i, n - i, &len) != UTF8_CHAR) {
            return false;
        }
    }
    return true;
}

/* Writes a token with its text, or with its bytes where they are no text. */
static bool put_piece(struct reading *r, struct json_put *p, int32_t token)
{
    struct bytes text = { 0 };
    const bool ok = add_tokens_text(r, &token, 1, &text);
    json_put(p, "{'id':%d,'piece':", (int)token);
    if (ok && is_utf8(text.data, text.n)) {
        json_put_string(p, text.data, text.n);
    } else if (ok) {
        json_put_bytes(p, text.data, text.n);
    }
    json_put(p, "}");
    bytes_free(&text);
    return ok;
}

static bool put_tokens(struct reading *r, const struct tokenize *t, const struct tokens *tokens,
                       struct json_put *p)
{
    bool ok = true;
    json_put(p, "{'tokens':[");
    for (size_t i = 0; i < tokens->n && ok; i++) {
        json_put_raw(p, ",", i > 0);
        if (t->with_pieces) {
            ok = put_piece(r, p, tokens->data[i]);
        } else {
            json_put(p, "%d", (int)tokens->data[i]);
        }
    }
    json_put(p, "]");
    if (t->content == NULL) {
        json_put(p, ",'count':%zu,'max_model_len':%zu", tokens->n, r->scope->n_ctx);
    }
    json_put(p, "}");
    return ok;
}

/* vLLM adds BOS unless told otherwise, llama-server only if told. */
bool read_tokenize(struct reading *r)
{
    struct tokenize t = { .add_special = -1, .parse_special = 1 };
    struct tokens tokens = { 0 };
    struct json_put p = { 0 };
    if (!fields_read(r->body, "", fields, sizeof fields / sizeof *fields, &t, r->fault)) {
        return false;
    }
    const json_t *text = t.content != NULL ? t.content : t.prompt;
    const bool special = t.add_special == 1 || (t.content == NULL && t.add_special == -1);
    const unsigned flags =
        (special ? WEFT_TOKENIZE_BOS : 0u) | (t.parse_special == 1 ? WEFT_TOKENIZE_SPECIAL : 0u);
    const char *name = t.content == NULL && t.prompt != NULL ? "prompt" : "content";
    bool ok = add_prompt(r, text, name, flags, &tokens) && put_tokens(r, &t, &tokens, &p);
    free(tokens.data);
    char *answer = json_put_end(&p);
    if (ok) {
        return answer_ready(r, answer);
    }
    free(answer);
    return false;
}

/* Both servers take `tokens`; llama-server gives `content` and vLLM `prompt`. */
bool read_detokenize(struct reading *r)
{
    const json_t *list = field_get(r->body, "tokens"), *id;
    struct tokens tokens = { 0 };
    struct bytes text = { 0 };
    size_t i;
    if (!json_is_array(list)) {
        return field_wrong(r->fault, "tokens", list, "a list of ids");
    }
    bool ok = true;
    json_array_foreach(list, i, id) { ok = ok && add_token(r, id, "tokens", &tokens); }
    ok = ok && add_tokens_text(r, tokens.data, tokens.n, &text);
    struct json_put p = { 0 };
    if (ok) {
        json_put(&p, "{'content':%.*s,'prompt':%.*s}", (int)text.n, text.data, (int)text.n,
                 text.data);
    }
    free(tokens.data);
    bytes_free(&text);
    return ok && answer_ready(r, json_put_end(&p));
}
