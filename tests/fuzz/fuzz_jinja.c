/* Any bytes as a chat template, and further ones as a variable in JSON. The template is refused
 * with a reason, or it renders a text or ends with a fault, in bounded time and memory. The runs of
 * a text add up to its bytes, and neighbours differ. A second rendering gives the same. A byte that
 * is in no part of the template was not written by it. */
#include <jansson.h>

#include "fuzz.h"
#include "text/jinja.h"

/* A rendering may take steps, and so long besides what its input takes. */
enum { NOW = 1700000000, STEPS = 200000, MOST_SECONDS = 2 };

static json_t *conversation;

static void check_runs(const struct jinja_text *text)
{
    size_t n = 0;
    for (size_t i = 0; i < text->n_runs; i++) {
        MUST(text->runs[i].n > 0 && text->runs[i].who <= JINJA_MARKED);
        MUST(i == 0 || text->runs[i].who != text->runs[i - 1].who);
        n += text->runs[i].n;
    }
    MUST(n == text->text.n);
}

/* The caller's texts hold a character that the template does not have unless it makes it by its
 * number. */
static void check_writers(const struct jinja_text *text, const char *source, size_t n)
{
    static const char sign[] = "\xe2\x98\x83";
    size_t at = 0;
    if (memmem(source, n, sign, 3) != NULL || memchr(source, '\\', n) != NULL ||
        memmem(source, n, "format", 6) != NULL || memchr(source, '%', n) != NULL) {
        return;
    }
    for (size_t i = 0; i < text->n_runs; at += text->runs[i++].n) {
        MUST(text->runs[i].who != JINJA_TEMPLATE ||
             memmem(text->text.data + at, text->runs[i].n, sign, 3) == NULL);
    }
}

static void render(const struct jinja *t, const struct jinja_params *p, const char *source,
                   size_t n)
{
    struct jinja_text text = { 0 }, again = { 0 };
    enum jinja_fault fault, second;
    weft_error err = { 0 };
    double begin = fuzz_seconds();
    weft_status s = jinja_render(t, p, &text, &fault, &err);
    MUST(fuzz_seconds() - begin < MOST_SECONDS);
    MUST((s == WEFT_OK) == (fault == JINJA_OK));
    MUST(s == WEFT_OK || fault == JINJA_RAISED || err.message[0] != '\0');
    check_runs(&text);
    check_writers(&text, source, n);
    if (fault != JINJA_LIMIT) {
        MUST(jinja_render(t, p, &again, &second, NULL) == s && second == fault);
        MUST(text.text.n == again.text.n && text.n_runs == again.n_runs);
        MUST(text.text.n == 0 || memcmp(text.text.data, again.text.data, text.text.n) == 0);
    }
    jinja_text_free(&text);
    jinja_text_free(&again);
}

static void open_conversation(void)
{
    static const char text[] =
        "[{\"role\":\"system\",\"content\":\"Be \xe2\x98\x83.\"},{\"role\":\"user\",\"content\":"
        "[{\"type\":\"text\",\"text\":\" a\\n\xe2\x98\x83 "
        "\"}]},{\"role\":\"assistant\",\"content\":null,"
        "\"tool_calls\":[{\"id\":\"x\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1.5}}}]}]";
    conversation = json_loadb(text, sizeof text - 1, 0, NULL);
    MUST(conversation != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    struct jinja *t;
    weft_error err = { 0 };
    size_t n, n_rest;
    if (conversation == NULL) {
        open_conversation();
    }
    char *source = fuzz_text(&in, &n);
    const char *rest = fuzz_bytes(&in, in.n, &n_rest);
    json_t *value =
        n_rest > 0 ? json_loadb(rest, n_rest, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
    struct jinja_var vars[] = { { "messages", conversation, JINJA_CALLER },
                                { "x", value != NULL ? value : conversation, JINJA_CALLER } };
    struct jinja_params p = { .vars = vars, .n_vars = 2, .now = NOW, .max_steps = STEPS };
    const struct jinja_writer marked = {
        json_object_get(json_array_get(conversation, 0), "content"), JINJA_MARKED
    };
    p.writers = &marked;
    p.n_writers = 1;
    struct fuzz_cost cost = fuzz_begin();
    weft_status s = jinja_parse(source, n, &t, &err);
    fuzz_end(cost, n);
    if (s == WEFT_OK) {
        render(t, &p, source, n);
        jinja_close(t);
    } else {
        MUST(s == WEFT_E_UNSUPPORTED && err.message[0] != '\0');
    }
    json_decref(value);
    free(source);
    return 0;
}
