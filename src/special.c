/* Tokens sorted by text are a trie without nodes: the tokens that begin as the text does here are a
 * range, which each further byte narrows. Only places where some token stands cost memory, so time
 * does not grow with their number. */
#include "special.h"

#include <stdlib.h>
#include <string.h>

static int by_text(const void *a, const void *b)
{
    const struct special_token *x = a;
    const struct special_token *y = b;
    size_t n = x->text.n < y->text.n ? x->text.n : y->text.n;
    int order = memcmp(x->text.s, y->text.s, n);
    return order != 0 ? order : (x->text.n > y->text.n) - (x->text.n < y->text.n);
}

static bool is_special(const struct vocab *v, size_t i)
{
    return v->type[i] == TOKEN_CONTROL || v->type[i] == TOKEN_UNKNOWN ||
           v->type[i] == TOKEN_USER_DEFINED;
}

static weft_status collect(const struct vocab *v, const bool *strips, struct specials *s,
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
    for (size_t i = 0; i < v->n; i++) {
        int32_t id = (int32_t)i;
        struct gguf_str t = vocab_text(v, id);
        /* of tokens with the same text the first counts; an empty one stands nowhere */
        if (!is_special(v, i) || t.n == 0 || vocab_find(v, t.s, t.n) != id) {
            continue;
        }
        if (t.n > SPECIAL_MAX) {
            return error_set(err, WEFT_E_FORMAT,
                             "token %zu is a special token of %zu bytes, expected at most %d", i,
                             t.n, SPECIAL_MAX);
        }
        bool always = v->type[i] == TOKEN_USER_DEFINED;
        s->any_always = s->any_always || always;
        s->tokens[s->n++] =
            (struct special_token){ t, id, -1, always, strips != NULL && strips[i] };
    }
    return WEFT_OK;
}

weft_status specials_open(const struct vocab *v, const bool *strips, struct specials *s,
                          weft_error *err)
{
    memset(s, 0, sizeof *s);
    weft_status status = collect(v, strips, s, err);
    if (status != WEFT_OK) {
        specials_close(s);
        return status;
    }
    qsort(s->tokens, s->n, sizeof *s->tokens, by_text);
    for (size_t i = 0; i < s->n; i++) {
        struct special_token *t = &s->tokens[i];
        s->first[(unsigned char)t->text.s[0] + 1] = (uint32_t)(i + 1);
        /* the token before this one, or one of those that it begins with in turn */
        int32_t p = (int32_t)i - 1;
        while (p >= 0 && (s->tokens[p].text.n > t->text.n ||
                          memcmp(s->tokens[p].text.s, t->text.s, s->tokens[p].text.n) != 0)) {
            p = s->tokens[p].shorter;
        }
        t->shorter = p;
    }
    for (size_t c = 1; c <= 256; c++) {
        s->first[c] = s->first[c] > s->first[c - 1] ? s->first[c] : s->first[c - 1];
    }
    return WEFT_OK;
}

void specials_close(struct specials *s)
{
    free(s->tokens);
    memset(s, 0, sizeof *s);
}

static int letter(const struct specials *s, size_t i, size_t depth)
{
    return (unsigned char)s->tokens[i].text.s[depth];
}

/* The first of tokens [low, high) whose byte at `depth` is at least c. They are sorted and agree up
 * to there. */
static size_t bound(const struct specials *s, size_t low, size_t high, size_t depth, int c)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (letter(s, middle, depth) < c) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest token that text[n] begins with, -1 if none. */
static int32_t longest_at(const struct specials *s, const char *text, size_t n)
{
    size_t low = s->first[(unsigned char)text[0]];
    size_t high = s->first[(unsigned char)text[0] + 1];
    int32_t best = -1;
    for (size_t depth = 1; low < high; depth++) {
        if (s->tokens[low].text.n == depth) {
            best = (int32_t)low++;
        }
        if (depth == n || low == high) {
            break;
        }
        int c = (unsigned char)text[depth];
        if (letter(s, low, depth) != c || letter(s, high - 1, depth) != c) {
            low = bound(s, low, high, depth, c);
            high = bound(s, low, high, depth, c + 1);
        }
    }
    return best;
}

/* A place where a special token may stand: the longest one not yet ruled out. */
struct place {
    size_t at;
    int32_t token; /* index into tokens, -1 if none is left */
    int32_t next;  /* place in the same list */
    bool taken;
};

struct search {
    const struct specials *s;
    const char *text;
    size_t n;
    bool all;
    struct place *places; /* in the order of the text */
    size_t n_places, cap;
    int32_t lists[SPECIAL_MAX + 1]; /* places whose token has this length */
    struct place **queue;           /* [n_places] the list at work, sorted */
    uint8_t *used; /* [n] 1: byte of a token found, 2: white space it took with it */
};

/* Puts place i into the list of its token, or of the next shorter one that counts in this search.
 */
static void enlist(struct search *q, size_t i)
{
    struct place *p = &q->places[i];
    while (p->token >= 0 && !q->all && !q->s->tokens[p->token].always) {
        p->token = q->s->tokens[p->token].shorter;
    }
    if (p->token >= 0) {
        int32_t *list = &q->lists[q->s->tokens[p->token].text.n];
        p->next = *list;
        *list = (int32_t)i;
    }
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
        q->places[q->n_places] = (struct place){ at, token, -1, false };
        enlist(q, q->n_places++);
    }
    return true;
}

/* Tokens are sorted by text, so their index is as good an order as any for those of one length:
 * what counts is that one token is looked for in the whole text before the next. */
static int by_token(const void *a, const void *b)
{
    const struct place *x = *(struct place *const *)a;
    const struct place *y = *(struct place *const *)b;
    if (x->token != y->token) {
        return (x->token > y->token) - (x->token < y->token);
    }
    return (x->at > y->at) - (x->at < y->at);
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Takes the text of a place for its token, unless a longer token has some of it: then the next
 * shorter one waits for its turn. A token that overlaps one at least as long has its first or last
 * byte in it: two looks are enough. */
static void take(struct search *q, struct place *p)
{
    const struct special_token *t = &q->s->tokens[p->token];
    size_t end = p->at + t->text.n;
    if (q->used[p->at]) {
        return;
    }
    if (q->used[end - 1]) {
        p->token = t->shorter;
        enlist(q, (size_t)(p - q->places));
        return;
    }
    memset(q->used + p->at, 1, t->text.n);
    while (t->strips_right && end < q->n && !q->used[end] && is_space(q->text[end])) {
        q->used[end++] = 2;
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

static bool write_fragments(const struct search *q, struct fragments *out)
{
    size_t done = 0;
    for (size_t i = 0; i < q->n_places; i++) {
        const struct place *p = &q->places[i];
        if (!p->taken) {
            continue;
        }
        const struct special_token *t = &q->s->tokens[p->token];
        if ((p->at > done && !add(out, done, p->at - done, -1)) ||
            !add(out, p->at, t->text.n, t->id)) {
            return false;
        }
        done = p->at + t->text.n;
        while (done < q->n && q->used[done] == 2) {
            done++;
        }
    }
    return done == q->n || add(out, done, q->n - done, -1);
}

weft_status specials_split(const struct specials *s, const char *text, size_t n, bool all,
                           struct fragments *out, weft_error *err)
{
    if (s->n == 0 || (!all && !s->any_always)) {
        return n == 0 || add(out, 0, n, -1) ? WEFT_OK : error_nomem(err, "fragments", n);
    }
    struct search q = { .s = s, .text = text, .n = n, .all = all };
    memset(q.lists, 0xff, sizeof q.lists);
    bool ok = find_places(&q);
    if (ok && q.n_places > 0) {
        q.queue = mem_array(q.n_places, sizeof *q.queue);
        q.used = mem_array(n, 1);
        ok = q.queue != NULL && q.used != NULL;
        if (ok) {
            take_all(&q);
        }
    }
    ok = ok && write_fragments(&q, out);
    free(q.places);
    free(q.queue);
    free(q.used);
    return ok ? WEFT_OK : error_nomem(err, "finding special tokens", n);
}
