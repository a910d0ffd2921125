/* Any bytes as a JSON schema. The schema is refused with a reason, or turned into a grammar, which
 * the parser of grammars accepts unless it is too large. A text that follows the grammar's masks is
 * JSON that the schema accepts, wherever the text may end. The schema's size bounds the grammar,
 * the time and the memory. Widened, any JSON gives a grammar that the parser accepts, also as the
 * arguments of a tool among others, and what it allows is JSON. */
#include <jansson.h>

#include "fuzz_accepts.h"
#include "fuzz_models.h"
#include "fuzz_walk.h"
#include "schema/json_schema.h"

/* A byte of a schema gives at most so many bytes of grammar, besides the rules that all schemas
 * share. */
enum { COMMON = 4096, GRAMMAR_BYTES = 256, MAX_WALK = 64, MAX_TEXT = 4096 };

static weft_model *models[2];
static struct token_trie *trie;

/* JSON numbers may have any exponent, but not all of them are a double. */
static void must_be_accepted(const json_t *schema, bool widened, const char *text, size_t n)
{
    json_error_t e;
    json_t *value = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    MUST(value != NULL || json_error_code(&e) == json_error_numeric_overflow);
    if (value != NULL && !widened && !fuzz_accepts(schema, value)) {
        fprintf(stderr, "not accepted: %.*s\n", (int)n, text);
        MUST(false);
    }
    json_decref(value);
}

/* Returns true for the only errors that a grammar made from a schema may have: it has no mistakes
 * of its own. */
static bool is_limit(const char *message)
{
    static const char *const limits[] = { "more than" };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (strstr(message, limits[i]) != NULL) {
            return true;
        }
    }
    fprintf(stderr, "%s\n", message);
    return false;
}

static void walk(const json_t *schema, bool widened, struct grammar *g, struct fuzz_input *in)
{
    struct matcher *m = NULL;
    char text[MAX_TEXT];
    size_t n = 0;
    MUST(matcher_open(g, &m, NULL) == WEFT_OK);
    for (size_t i = 0; i < MAX_WALK && in->n > 0; i++) {
        struct bytes piece = { 0 };
        int32_t token = fuzz_choose(m, trie, fuzz_byte(in));
        if (token < 0) {
            break;
        }
        MUST(tokenizer_piece(models[0]->model->tokenizer, token, 0, &piece, NULL) == WEFT_OK);
        if (piece.n > MAX_TEXT - n) {
            free(piece.data);
            break;
        }
        MUST(matcher_read(m, piece.data, piece.n, NULL) == WEFT_OK && matcher_alive(m));
        memcpy(text + n, piece.data, piece.n);
        n += piece.n;
        free(piece.data);
        if (matcher_may_end(m)) {
            must_be_accepted(schema, widened, text, n);
        }
    }
    matcher_close(m);
}

static void parse(const struct bytes *gbnf, struct grammar **g)
{
    weft_error err = { 0 };
    if (grammar_parse(gbnf->data, gbnf->n, g, &err) != WEFT_OK) {
        fprintf(stderr, "%s\n%.*s\n", err.message, (int)gbnf->n, gbnf->data);
        MUST(false);
    }
}

/* The schema three times, as three tools would have it, in room that may be too small. */
static void several(const json_t *schema, size_t elements)
{
    struct schema_item items[3] = { { .root = schema, .at = schema, .object = true },
                                    { .root = schema, .at = json_object_get(schema, "items") },
                                    { .root = schema, .at = schema } };
    const struct schema_size room = { SCHEMA_TEXT / 2, SCHEMA_RULES / 2, elements };
    struct bytes gbnf = { 0 };
    struct grammar *g = NULL;
    char root[100];
    MUST(json_schema_items(items, 3, room, &gbnf));
    int n = snprintf(root, sizeof root, "root ::= \"x\" %s %s %s\n", items[0].rule, items[1].rule,
                     items[2].rule);
    MUST(bytes_add(&gbnf, root, (size_t)n));
    parse(&gbnf, &g);
    MUST(g->n_ops + g->n_ranges <= elements + 20);
    grammar_release(g);
    bytes_free(&gbnf);
}

static void widened(const char *text, size_t n, struct fuzz_input *in)
{
    struct grammar *g = NULL;
    struct bytes gbnf = { 0 };
    struct schema_error refused;
    struct fuzz_cost cost = fuzz_begin();
    if (json_schema_grammar(text, n, true, &gbnf, &refused)) {
        parse(&gbnf, &g);
        fuzz_end(cost, n);
        json_t *schema = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        walk(schema, true, g, in);
        if (schema != NULL) {
            several(schema, 2000 + (size_t)fuzz_u16(in));
        }
        json_decref(schema);
        grammar_release(g);
    } else {
        MUST(json_loadb(text, n, JSON_DECODE_ANY, NULL) == NULL && refused.text[0] != '\0');
    }
    bytes_free(&gbnf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    struct grammar *g = NULL;
    struct bytes gbnf = { 0 };
    struct schema_error refused;
    weft_error err = { 0 };
    size_t n;
    if (trie == NULL) {
        fuzz_models(models);
        MUST(token_trie_open(models[0]->model->tokenizer, &trie, NULL) == WEFT_OK);
        fuzz_closers(models[0]);
    }
    char *text = fuzz_text(&in, &n);
    struct fuzz_cost cost = fuzz_begin();
    if (in.n > 0 && fuzz_byte(&in) % 2 == 1) {
        widened(text, n, &in);
    } else if (json_schema_grammar(text, n, false, &gbnf, &refused)) {
        MUST(gbnf.n <= COMMON + GRAMMAR_BYTES * n);
        weft_status s = grammar_parse(gbnf.data, gbnf.n, &g, &err);
        fuzz_end(cost, n);
        if (s == WEFT_OK) {
            json_t *schema = json_loadb(text, n, JSON_DECODE_ANY, NULL);
            MUST(schema != NULL);
            walk(schema, false, g, &in);
            json_decref(schema);
            grammar_release(g);
        } else {
            MUST(s == WEFT_E_FORMAT && is_limit(err.message));
        }
    } else {
        fuzz_end(cost, n);
        MUST(refused.text[0] != '\0');
    }
    bytes_free(&gbnf);
    free(text);
    return 0;
}
