#include "text/search.h"

#include <string.h>

#include "base/mem.h"

static weft_status check(const char *what, const char *const *texts, size_t n, weft_error *err)
{
    if (n > SEARCH_MAX_TEXTS) {
        return error_set(err, WEFT_E_ARG, "%zu %ss given, at most %d are possible", n, what,
                         SEARCH_MAX_TEXTS);
    }
    if (n > 0 && texts == NULL) {
        return error_set(err, WEFT_E_ARG, "the %ss are NULL, but n is %zu", what, n);
    }
    for (size_t i = 0; i < n; i++) {
        size_t len = texts[i] == NULL ? 0 : strlen(texts[i]);
        if (len == 0 || len > SEARCH_MAX_TEXT) {
            return error_set(err, WEFT_E_ARG, "%s %zu is %s, expected 1 to %d bytes (it has %zu)",
                             what, i,
                             texts[i] == NULL ? "NULL"
                             : len == 0       ? "empty"
                                              : "too long",
                             SEARCH_MAX_TEXT, len);
        }
    }
    return WEFT_OK;
}

static void text_init(struct search_text *t, const char *text, size_t n)
{
    memcpy(t->text, text, n);
    t->n = n;
    size_t border = 0;
    for (size_t i = 1; i < n; i++) {
        while (border > 0 && text[i] != text[border]) {
            border = t->border[border - 1];
        }
        border += text[i] == text[border];
        t->border[i] = (uint16_t)border;
    }
}

weft_status search_open(struct search *s, const char *what, const char *const *texts, size_t n,
                        weft_error *err)
{
    TRY(check(what, texts, n, err));
    struct search fresh = { .n = n };
    if (n > 0) {
        fresh.texts = mem_array(n, sizeof *fresh.texts);
        if (fresh.texts == NULL) {
            return error_nomem(err, what, n * sizeof *fresh.texts);
        }
    }
    for (size_t i = 0; i < n; i++) {
        text_init(&fresh.texts[i], texts[i], strlen(texts[i]));
    }
    *s = fresh;
    return WEFT_OK;
}

weft_status search_copy(struct search *dst, const struct search *src, weft_error *err)
{
    *dst = (struct search){ 0 };
    if (src->n > 0) {
        dst->texts = malloc(search_bytes(src));
        if (dst->texts == NULL) {
            return error_nomem(err, "the copy of a search", search_bytes(src));
        }
        memcpy(dst->texts, src->texts, search_bytes(src));
        dst->n = src->n;
    }
    return WEFT_OK;
}

void search_free(struct search *s)
{
    free(s->texts);
    *s = (struct search){ 0 };
}

size_t search_bytes(const struct search *s) { return s->n * sizeof *s->texts; }

size_t search_feed(const struct search *s, struct search_at *at, char byte)
{
    size_t complete = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct search_text *t = &s->texts[i];
        size_t matched = at->matched[i];
        while (matched > 0 && t->text[matched] != byte) {
            matched = t->border[matched - 1];
        }
        matched += t->text[matched] == byte;
        at->matched[i] = (uint16_t)matched;
        complete = matched == t->n ? size_max(matched, complete) : complete;
    }
    return complete;
}

size_t search_held(const struct search *s, const struct search_at *at)
{
    size_t held = 0;
    for (size_t i = 0; i < s->n; i++) {
        held = size_max(at->matched[i], held);
    }
    return held;
}
