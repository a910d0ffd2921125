/* Every place of the text is searched for a token, by a binary search among the tokens that begin
 * with the byte of that place; at most places there are none. Then the tokens take their places,
 * the longest first. Whatever the file and the text, a place costs at most SPECIAL_MAX bytes for
 * each of its log2(tokens) comparisons and for each time that its token gives way to a shorter one.
 * It would be simpler to search the text once for each token, but Gemma has 6,242 of them: that
 * takes 0.8 s for a megabyte of HTML, where this takes 7 ms. */
#include "text/special.h"

#include <stdlib.h>
#include <string.h>

static int compare(struct gguf_str x, struct gguf_str y)
{
    int order = memcmp(x.s, y.s, size_min(x.n, y.n));
    return order != 0 ? order : (x.n > y.n) - (x.n < y.n);
}

static int by_text(const void *a, const void *b)
{
    const struct special_token *x = a;
    const struct special_token *y = b;
    return compare(x->text, y->text);
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool is_blank(struct gguf_str text)
{
    size_t n = 0;
    while (n < text.n && is_space(text.s[n])) {
        n++;
    }
    return n == text.n;
}

static bool is_special(const struct vocab *v, size_t i)
{
    return v->type[i] == TOKEN_CONTROL || v->type[i] == TOKEN_UNKNOWN ||
           v->type[i] == TOKEN_USER_DEFINED;
}

static weft_status collect(const struct vocab *v, const uint8_t *strips, struct specials *s,
                           weft_error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < v->n; i++) {
        count += is_special(v, i);
    }
    s->tokens = mem_array(count, sizeof *s->tokens);
    if (s->tokens == NULL) {
        return error_nomem(err, "the special tokens", count * sizeof *s->tokens);
    }
    size_t total = 0;
    for (size_t i = 0; i < v->n; i++) {
        int32_t id = (int32_t)i;
        struct gguf_str t = vocab_text(v, id);
        /* Of several tokens with the same text the first one counts. An empty token is nowhere in a
         * text. */
        if (!is_special(v, i) || t.n == 0 || vocab_find(v, t.s, t.n) != id) {
            continue;
        }
        if (t.n > SPECIAL_MAX) {
            return error_set(err, WEFT_E_FORMAT,
                             "token %zu is a special token of %zu bytes, expected at most %d", i,
                             t.n, SPECIAL_MAX);
        }
        total += t.n;
        if (total > SPECIAL_TOTAL) {
            return error_set(err, WEFT_E_FORMAT,
                             "the special tokens up to token %zu have %zu bytes, expected at most "
                             "%d for all of them",
                             i, total, SPECIAL_TOTAL);
        }
        bool always = v->type[i] == TOKEN_USER_DEFINED;
        s->any_always = s->any_always || always;
        s->tokens[s->n++] = (struct special_token){ t,           id,
                                                    -1,          always,
                                                    is_blank(t), strips != NULL ? strips[i] : 0 };
    }
    return WEFT_OK;
}

/* Finds for each token the longest other token that it begins with. This is the token before it in
 * the order, or one of the tokens that that token begins with in turn. */
static void find_shorter(struct specials *s)
{
    for (size_t i = 0; i < s->n; i++) {
        struct special_token *t = &s->tokens[i];
        int32_t p = (int32_t)i - 1;
        while (p >= 0 && (s->tokens[p].text.n > t->text.n ||
                          memcmp(s->tokens[p].text.s, t->text.s, s->tokens[p].text.n) != 0)) {
            p = s->tokens[p].shorter;
        }
        t->shorter = p;
    }
}

/* Finds where the tokens with each first byte begin. */
static void find_first(struct specials *s)
{
    for (size_t i = 0, byte = 0; byte < 256; byte++) {
        while (i < s->n && (uint8_t)s->tokens[i].text.s[0] == byte) {
            i++;
        }
        s->first[byte + 1] = (uint32_t)i;
    }
}

weft_status specials_open(const struct vocab *v, const uint8_t *strips, struct specials *s,
                          weft_error *err)
{
    memset(s, 0, sizeof *s);
    weft_status status = collect(v, strips, s, err);
    if (status == WEFT_OK) {
        qsort(s->tokens, s->n, sizeof *s->tokens, by_text);
        find_shorter(s);
        find_first(s);
    } else {
        specials_close(s);
    }
    return status;
}

void specials_close(struct specials *s)
{
    free(s->tokens);
    memset(s, 0, sizeof *s);
}

/* A place where a special token may stand, and the longest token that is not yet ruled out. */
struct place {
    size_t at;
    size_t cut;    /* where the text is cut because a token does not count here; 0 = nowhere */
    int32_t token; /* index into tokens, -1 if none is left */
    int32_t next;  /* the next place in the same list */
    bool taken;
};

struct search {
    const struct specials *s;
    const char *text;
    size_t n;
    bool all;
    const struct written *by; /* NULL: one writer */
    uint64_t *own;            /* with `by`: a bit for each token, set for the template's own */
    struct place *places;     /* in the order of the text */
    size_t n_places, cap;
    int32_t lists[SPECIAL_MAX + 1]; /* places whose token has this length */
    struct place **queue;           /* [n_places] the places of the list at work, sorted */
    uint8_t *used; /* [n] 1 = a byte of a token that was found, 2 = white space that it took */
};

static bool is_own(const struct search *q, int32_t token)
{
    return (q->own[token / 64] >> (token % 64) & 1) != 0;
}

/* Returns true if a caller wrote one of the bytes that the token takes at a place. */
static bool is_foreign(const struct search *q, int32_t token, size_t at)
{
    return memchr(q->by->foreign + at, 1, q->s->tokens[token].text.n) != NULL;
}

/* Returns true if the token counts in this search where it stands. */
static bool counts(const struct search *q, int32_t token, size_t at)
{
    const bool always = q->s->tokens[token].always;
    if (q->by == NULL) {
        return q->all || always;
    }
    return !is_foreign(q, token, at) || (always && !is_own(q, token));
}

/* Puts place i into the list of its token, or of the next shorter token that counts in this
 * search. */
static void enlist(struct search *q, size_t i)
{
    struct place *p = &q->places[i];
    while (p->token >= 0 && !counts(q, p->token, p->at)) {
        p->token = q->s->tokens[p->token].shorter;
    }
    if (p->token >= 0) {
        int32_t *list = &q->lists[q->s->tokens[p->token].text.n];
        p->next = *list;
        *list = (int32_t)i;
    }
}

/* Returns the longest token that text[n] begins with, -1 if there is none. It first finds the last
 * token that does not come after the text in the order of tokens. Every token that the text begins
 * with is also a beginning of that one, so the wanted token is that one or one of its shorter
 * ones. */
static int32_t longest_at(const struct specials *s, const char *text, size_t n)
{
    const uint8_t byte = (uint8_t)text[0];
    size_t low = s->first[byte], high = s->first[byte + 1], same = 0;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (compare(s->tokens[middle].text, (struct gguf_str){ text, n }) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == s->first[byte]) {
        return -1;
    }
    int32_t i = (int32_t)low - 1;
    const struct gguf_str t = s->tokens[i].text;
    while (same < t.n && same < n && t.s[same] == text[same]) {
        same++;
    }
    while (i >= 0 && s->tokens[i].text.n > same) {
        i = s->tokens[i].shorter;
    }
    return i;
}

/* Marks every token that text[n] contains as one of the template's own, but for white space: by a
 * token for two line breaks no template tells its text from a caller's. */
static void mark_own(struct search *q, const char *text, size_t n)
{
    for (size_t at = 0; at < n; at++) {
        for (int32_t i = longest_at(q->s, text + at, n - at); i >= 0; i = q->s->tokens[i].shorter) {
            q->own[i / 64] |= (uint64_t)!q->s->tokens[i].blank << (i % 64);
        }
    }
}

/* Finds the template's own tokens. */
static bool find_own(struct search *q)
{
    q->own = mem_array(q->s->n / 64 + 1, sizeof *q->own);
    if (q->own == NULL) {
        return false;
    }
    mark_own(q, q->by->own, q->by->n_own);
    return true;
}

/* Returns where to cut the text so that no tokenizer makes a user-defined token of it that does not
 * count here: behind the first character of the token. Returns 0 if every such token counts. */
static size_t cut_behind(const struct search *q, int32_t token, size_t at)
{
    size_t first = 1;
    while (token >= 0 && (!q->s->tokens[token].always || counts(q, token, at))) {
        token = q->s->tokens[token].shorter;
    }
    if (token < 0) {
        return 0;
    }
    const struct gguf_str text = q->s->tokens[token].text;
    while (first < text.n && ((uint8_t)text.s[first] & 0xc0) == 0x80) {
        first++;
    }
    return at + (first < text.n ? first : 1);
}

static bool find_places(struct search *q)
{
    for (size_t at = 0; at < q->n; at++) {
        int32_t token = longest_at(q->s, q->text + at, q->n - at);
        if (token < 0) {
            continue;
        }
        if (q->n_places >= INT32_MAX ||
            !mem_reserve(&q->places, &q->cap, q->n_places + 1, sizeof *q->places)) {
            return false;
        }
        q->places[q->n_places] = (struct place){ at, cut_behind(q, token, at), token, -1, false };
        enlist(q, q->n_places++);
    }
    return true;
}

/* Only one thing counts here: one token is searched in the whole text before the next. Tokens are
 * sorted by text, so for tokens of one length their index is as good an order as any. */
static int by_token(const void *a, const void *b)
{
    const struct place *x = *(struct place *const *)a;
    const struct place *y = *(struct place *const *)b;
    if (x->token != y->token) {
        return (x->token > y->token) - (x->token < y->token);
    }
    return (x->at > y->at) - (x->at < y->at);
}

/* Takes the text of a place for its token, unless a longer token has part of it; then the next
 * shorter token waits for its turn. If this token overlaps a token that is at least as long, its
 * first or its last byte lies in that token: two looks are enough. */
static void take(struct search *q, struct place *p)
{
    const struct special_token *t = &q->s->tokens[p->token];
    size_t end = p->at + t->text.n;
    if (q->used[p->at]) {
        return;
    }
    if (q->used[end - 1]) {
        do {
            p->token = q->s->tokens[p->token].shorter;
        } while (p->token >= 0 && q->used[p->at + q->s->tokens[p->token].text.n - 1]);
        enlist(q, (size_t)(p - q->places));
        return;
    }
    memset(q->used + p->at, 1, t->text.n);
    while (t->strips & STRIPS_RIGHT && end < q->n && !q->used[end] && is_space(q->text[end])) {
        q->used[end++] = 2;
    }
    for (size_t at = p->at;
         t->strips & STRIPS_LEFT && at-- > 0 && !q->used[at] && is_space(q->text[at]);) {
        q->used[at] = 2;
    }
    p->taken = true;
}

static void take_all(struct search *q)
{
    for (size_t length = SPECIAL_MAX; length > 0; length--) {
        size_t n = 0;
        for (int32_t i = q->lists[length]; i >= 0; i = q->places[i].next) {
            q->queue[n++] = &q->places[i];
        }
        qsort(q->queue, n, sizeof *q->queue, by_token);
        for (size_t i = 0; i < n; i++) {
            take(q, q->queue[i]);
        }
    }
}

static bool add(struct fragments *out, size_t start, size_t n, int32_t id)
{
    if (!mem_reserve(&out->at, &out->cap, out->n + 1, sizeof *out->at)) {
        return false;
    }
    out->at[out->n++] = (struct fragment){ start, n, id };
    return true;
}

/* Adds the plain text from `start` to `end`, cut where the places up to number `last` ask for it.
 */
static bool add_plain(const struct search *q, size_t start, size_t end, size_t *place, size_t last,
                      struct fragments *out)
{
    for (; *place < last; ++*place) {
        const size_t cut = q->places[*place].cut;
        if (cut > start && cut < end) {
            if (!add(out, start, cut - start, -1)) {
                return false;
            }
            start = cut;
        }
    }
    return start == end || add(out, start, end - start, -1);
}

static bool write_fragments(const struct search *q, struct fragments *out)
{
    size_t done = 0, place = 0;
    for (size_t i = 0; i < q->n_places; i++) {
        const struct place *p = &q->places[i];
        if (!p->taken) {
            continue;
        }
        const struct special_token *t = &q->s->tokens[p->token];
        size_t end = p->at;
        while (end > done && q->used[end - 1] == 2) {
            end--;
        }
        if (!add_plain(q, done, end, &place, i, out) || !add(out, p->at, t->text.n, t->id)) {
            return false;
        }
        done = p->at + t->text.n;
        while (done < q->n && q->used[done] == 2) {
            done++;
        }
    }
    return add_plain(q, done, q->n, &place, q->n_places, out);
}

weft_status specials_split(const struct specials *s, const char *text, size_t n, bool all,
                           const struct written *by, struct fragments *out, weft_error *err)
{
    if (s->n == 0 || (!all && !s->any_always)) {
        return n == 0 || add(out, 0, n, -1) ? WEFT_OK : error_nomem(err, "fragments", n);
    }
    struct search q = { .s = s, .text = text, .n = n, .all = all, .by = by };
    memset(q.lists, 0xff, sizeof q.lists);
    bool ok = (by == NULL || find_own(&q)) && find_places(&q);
    if (ok && q.n_places > 0) {
        q.queue = mem_array(q.n_places, sizeof *q.queue);
        q.used = mem_array(n, 1);
        ok = q.queue != NULL && q.used != NULL;
        if (ok) {
            take_all(&q);
        }
    }
    ok = ok && write_fragments(&q, out);
    free(q.own);
    free(q.places);
    free(q.queue);
    free(q.used);
    return ok ? WEFT_OK : error_nomem(err, "finding special tokens", n);
}
