/* Reads bytes through the grammar, and finds the tokens that may follow. */
#include "draw/matcher.h"

#include <string.h>

#include "base/mem.h"

/* Caches that have grown beyond these limits are emptied between two tokens. */
enum { KEEP_NODES = 1 << 18, KEEP_THREADS = 1 << 20, KEEP_MOVES = 1 << 18 };
enum { LAST_CHAR = 0x10ffff };

/* ---------------------------------------------------------------- bytes */

/* Finds the characters that the bytes so far can become. Returns false if there are none. */
static bool range_of(const struct matcher_place *p, struct char_range *r)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned bits = 6u * p->missing;
    r->first = p->value << bits;
    r->last = r->first | ((1u << bits) - 1);
    r->first = r->first > least[p->length] ? r->first : least[p->length];
    r->last = r->last < LAST_CHAR ? r->last : LAST_CHAR;
    bool surrogates = r->first >= 0xd800 && r->last <= 0xdfff;
    return r->first <= r->last && !surrogates;
}

/* Calls matcher_move(); a move that was found for this mask is found again quickly. */
static inline weft_status move(struct matcher *m, uint32_t set, uint32_t class, uint32_t *to,
                               weft_error *err)
{
    uint64_t key = (uint64_t)set << 32 | class;
    struct matcher_fast *fast = &m->fast[(set * 31 + class) % MATCHER_FAST];
    if (fast->key != key || fast->mask != m->mask_number) {
        uint32_t next;
        TRY(matcher_move(m, set, class, &next, err));
        *fast = (struct matcher_fast){ .key = key, .to = next, .mask = m->mask_number };
    }
    *to = fast->to;
    return WEFT_OK;
}

/* Returns false for a class that holds only surrogates, which no text contains. */
static bool has_text(const struct grammar *g, uint32_t c)
{
    uint32_t last = c + 1 < g->n_classes ? g->class_first[c + 1] - 1 : LAST_CHAR;
    return g->class_first[c] < 0xd800 || last > 0xdfff;
}

/* Returns true if the mask being made has taken too much work: it will be empty, whatever else is
 * found. Bytes that are read outside a mask are never given up, because a mask has allowed them. */
static bool given_up(const struct matcher *m)
{
    return m->masking && m->mask_steps > MATCHER_MASK_STEPS;
}

/* Makes *p dead unless the bytes so far can become a character that may follow. */
static weft_status check_partial(struct matcher *m, struct matcher_place *p, weft_error *err)
{
    struct char_range r;
    const struct grammar *g = m->g;
    uint32_t set = p->set, to = MATCHER_DEAD;
    p->set = MATCHER_DEAD;
    if (!range_of(p, &r)) {
        return WEFT_OK;
    }
    for (uint32_t c = grammar_class(g, r.first);
         to == MATCHER_DEAD && c < g->n_classes && g->class_first[c] <= r.last && !given_up(m);
         c++) {
        if (has_text(g, c)) {
            TRY(move(m, set, c, &to, err));
        }
    }
    p->set = to != MATCHER_DEAD ? set : MATCHER_DEAD;
    return WEFT_OK;
}

/* Computes the place behind one more byte. */
static weft_status read_byte(struct matcher *m, struct matcher_place from, uint8_t byte,
                             struct matcher_place *to, weft_error *err)
{
    *to = (struct matcher_place){ .set = MATCHER_DEAD };
    if (from.missing == 0 && byte < 0x80) {
        return move(m, from.set, m->g->ascii[byte], &to->set, err);
    }
    if (from.missing == 0) {
        uint8_t length = byte >= 0xf8 || byte < 0xc2 ? 0 : byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
        if (length == 0) {
            return WEFT_OK;
        }
        *to = (struct matcher_place){ .set = from.set,
                                      .value = byte & (0x7fu >> length),
                                      .missing = (uint8_t)(length - 1),
                                      .length = length };
        return check_partial(m, to, err);
    }
    if ((byte & 0xc0) != 0x80) {
        return WEFT_OK;
    }
    *to = from;
    to->value = from.value << 6 | (byte & 0x3fu);
    if (--to->missing > 0) {
        return check_partial(m, to, err);
    }
    struct char_range whole;
    uint32_t class = grammar_class(m->g, to->value);
    bool valid = range_of(to, &whole);
    *to = (struct matcher_place){ .set = MATCHER_DEAD };
    return valid ? move(m, from.set, class, &to->set, err) : WEFT_OK;
}

/* ---------------------------------------------------------------- the whole */

weft_status matcher_open(struct grammar *g, struct matcher **out, weft_error *err)
{
    struct matcher *m = mem_array(1, sizeof *m);
    if (m == NULL) {
        return error_nomem(err, "the state of a grammar", sizeof *m);
    }
    m->g = grammar_retain(g);
    m->seed = hash_seed_draw();
    m->fast = mem_array(MATCHER_FAST, sizeof *m->fast);
    weft_status status = m->fast != NULL ? matcher_begin(m, err)
                                         : error_nomem(err, "the state of a grammar",
                                                       MATCHER_FAST * sizeof *m->fast);
    if (status != WEFT_OK) {
        matcher_close(m);
        return status;
    }
    matcher_restart(m);
    *out = m;
    return WEFT_OK;
}

void matcher_close(struct matcher *m)
{
    if (m != NULL) {
        grammar_release(m->g);
        u64map_free(&m->node_of);
        u64map_free(&m->set_of);
        u64map_free(&m->move_of);
        u64map_free(&m->seen);
        void *all[] = {
            m->nodes, m->threads, m->sets, m->moves, m->work, m->path, m->fast, m->masks
        };
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            free(all[i]);
        }
        free(m);
    }
}

size_t matcher_bytes(const struct matcher *m)
{
    size_t n_slots = m->node_of.cap + m->set_of.cap + m->move_of.cap + m->seen.cap;
    size_t n_masks = m->masks != NULL ? MATCHER_MASKS * m->n_words : 0;
    return sizeof *m + n_slots * sizeof(struct u64map_slot) + m->cap_nodes * sizeof *m->nodes +
           m->cap_threads * sizeof *m->threads + m->cap_sets * sizeof *m->sets +
           m->cap_moves * sizeof *m->moves + m->cap_work * sizeof *m->work +
           m->cap_path * sizeof *m->path + MATCHER_FAST * sizeof *m->fast +
           n_masks * sizeof *m->masks;
}

/* Copies node `node` of src and the nodes below it to dst; dst->seen maps the nodes that are there
 * already. */
static weft_status copy_stack(struct matcher *dst, const struct matcher *src, uint32_t node,
                              uint32_t *copy, weft_error *err)
{
    uint32_t pending[MATCHER_MAX_DEPTH];
    size_t n = 0;
    const uint32_t *known = NULL;
    while (node != 0 && (known = u64map_find(&dst->seen, node)) == NULL) {
        pending[n++] = node;
        node = src->nodes[node].below;
    }
    *copy = node == 0 ? 0 : *known;
    while (n > 0) {
        node = pending[--n];
        TRY(matcher_node(dst, src->nodes[node].op, *copy, copy, err));
        if (!u64map_add(&dst->seen, node, *copy)) {
            return error_nomem(err, "the state of a grammar", dst->seen.n * 16);
        }
    }
    return WEFT_OK;
}

static weft_status copy_place(struct matcher *dst, const struct matcher *src, weft_error *err)
{
    const struct matcher_set *s = &src->sets[src->at.set];
    size_t from = dst->n_threads;
    u64map_clear(&dst->seen);
    if (!mem_reserve(&dst->threads, &dst->cap_threads, from + s->n, sizeof *dst->threads)) {
        return error_nomem(err, "the state of a grammar", s->n * sizeof *dst->threads);
    }
    for (size_t i = 0; i < s->n; i++) {
        struct matcher_thread t = src->threads[s->from + i];
        TRY(copy_stack(dst, src, t.node, &t.node, err));
        dst->threads[dst->n_threads++] = t;
    }
    dst->at = src->at;
    return matcher_set(dst, from, s->ends, &dst->at.set, err);
}

weft_status matcher_copy(const struct matcher *m, struct matcher **out, weft_error *err)
{
    struct matcher *copy = NULL;
    TRY(matcher_open(m->g, &copy, err));
    weft_status status = copy_place(copy, m, err);
    if (status != WEFT_OK) {
        matcher_close(copy);
        return status;
    }
    *out = copy;
    return WEFT_OK;
}

/* Forgets everything but the place if the caches have grown large. */
static weft_status trim(struct matcher *m, weft_error *err)
{
    struct matcher *small = NULL;
    if (m->n_nodes < KEEP_NODES && m->n_threads < KEEP_THREADS && m->n_moves < KEEP_MOVES) {
        return WEFT_OK;
    }
    TRY(matcher_copy(m, &small, err));
    struct matcher large = *m;
    *m = *small;
    *small = large;
    matcher_close(small);
    return WEFT_OK;
}

void matcher_restart(struct matcher *m) { m->at = (struct matcher_place){ .set = m->start }; }

bool matcher_may_end(const struct matcher *m)
{
    return m->at.missing == 0 && m->sets[m->at.set].ends;
}

bool matcher_alive(const struct matcher *m) { return m->at.set != MATCHER_DEAD; }

weft_status matcher_read(struct matcher *m, const char *data, size_t n, weft_error *err)
{
    TRY(trim(m, err));
    struct matcher_place at = m->at;
    for (size_t i = 0; i < n && at.set != MATCHER_DEAD; i++) {
        TRY(read_byte(m, at, (uint8_t)data[i], &at, err));
    }
    m->at = at;
    return WEFT_OK;
}

static void allow(uint64_t *mask, int32_t token)
{
    mask[(size_t)token / 64] |= (uint64_t)1 << (size_t)token % 64;
}

/* Writes to *to the set to which every plain character leads from `set`, or MATCHER_DEAD if plain
 * characters lead to different sets. */
static weft_status plain_move(struct matcher *m, uint32_t set, uint32_t *to, weft_error *err)
{
    const struct grammar *g = m->g;
    *to = MATCHER_DEAD;
    uint32_t first, next;
    TRY(move(m, set, g->ascii[' '], &first, err));
    for (uint8_t c = ' '; c < 0x80; c++) {
        if (trie_plain(c)) {
            TRY(move(m, set, g->ascii[c], &next, err));
            if (next != first || first == MATCHER_DEAD || given_up(m)) {
                return WEFT_OK;
            }
        }
    }
    for (uint32_t c = grammar_class(g, 0x80); c < g->n_classes && g->class_first[c] <= LAST_CHAR;
         c++) {
        if (has_text(g, c)) {
            TRY(move(m, set, c, &next, err));
            if (next != first || given_up(m)) {
                return WEFT_OK;
            }
        }
    }
    *to = first;
    return WEFT_OK;
}

/* Counts how many plain characters may follow, whichever they are, up to MATCHER_PLAIN. Inside a
 * string, where nearly every token is allowed, most of the tree then need not be walked. */
static weft_status count_plain(struct matcher *m, size_t *n, weft_error *err)
{
    uint32_t set = m->at.set, to;
    *n = 0;
    if (m->at.missing > 0 || m->g->n_classes > MATCHER_PLAIN_CLASSES) {
        return WEFT_OK;
    }
    while (*n < MATCHER_PLAIN && m->mask_steps < MATCHER_MASK_STEPS / 8) {
        TRY(plain_move(m, set, &to, err));
        if (to == MATCHER_DEAD) {
            return WEFT_OK;
        }
        *n = to == set ? MATCHER_PLAIN : *n + 1;
        set = to;
    }
    return WEFT_OK;
}

/* Walks the tree of tokens from the matcher's place; stops when the work exceeds its limit. */
static weft_status walk(struct matcher *m, const struct token_trie *trie, uint64_t *mask,
                        weft_error *err)
{
    size_t n_plain;
    TRY(count_plain(m, &n_plain, err));
    m->path[0] = m->at;
    for (uint32_t i = 0; i < trie->n_nodes;) {
        const struct trie_node *node = &trie->nodes[i];
        if (node->n_plain > 0 && node->n_plain <= n_plain) {
            size_t end =
                node->skip < trie->n_nodes ? trie->nodes[node->skip].first : trie->n_tokens;
            for (size_t k = node->first; k < end; k++) {
                allow(mask, trie->tokens[k]);
            }
            i = node->skip;
            continue;
        }
        struct matcher_place *to = &m->path[node->depth];
        TRY(read_byte(m, to[-1], node->byte, to, err));
        if (given_up(m)) {
            return WEFT_OK;
        }
        if (to->set == MATCHER_DEAD) {
            i = node->skip;
            continue;
        }
        for (uint32_t k = 0; k < node->n_tokens; k++) {
            allow(mask, trie->tokens[node->first + k]);
        }
        i++;
    }
    return WEFT_OK;
}

static bool same_place(const struct matcher_place *a, const struct matcher_place *b)
{
    return a->set == b->set && a->value == b->value && a->missing == b->missing &&
           a->length == b->length;
}

static weft_status make_room(struct matcher *m, const struct token_trie *trie, weft_error *err)
{
    size_t n_words = trie->n_vocab / 64 + 1;
    if (m->masks == NULL) {
        m->masks = mem_array(MATCHER_MASKS * n_words, sizeof *m->masks);
        m->n_words = n_words;
    }
    if (m->masks == NULL ||
        !mem_reserve(&m->path, &m->cap_path, trie->depth + 1, sizeof *m->path)) {
        return error_nomem(err, "the tokens that a grammar allows",
                           MATCHER_MASKS * n_words * sizeof *m->masks);
    }
    return WEFT_OK;
}

/* The work is counted from here on. */
static void count_anew(struct matcher *m)
{
    m->mask_number++;
    m->mask_steps = 0;
}

weft_status matcher_mask(struct matcher *m, const struct token_trie *trie, const uint64_t **mask,
                         weft_error *err)
{
    TRY(trim(m, err));
    TRY(make_room(m, trie, err));
    for (size_t i = 0; i < MATCHER_MASKS; i++) {
        if (m->masked[i].set != MATCHER_DEAD && same_place(&m->masked[i], &m->at)) {
            *mask = m->masks + i * m->n_words;
            return WEFT_OK;
        }
    }
    size_t slot = m->next_mask++ % MATCHER_MASKS;
    uint64_t *fresh = m->masks + slot * m->n_words;
    memset(fresh, 0, m->n_words * sizeof *fresh);
    m->masked[slot].set = MATCHER_DEAD;
    count_anew(m);
    if (m->at.set != MATCHER_DEAD) {
        m->masking = true;
        weft_status status = walk(m, trie, fresh, err);
        m->masking = false;
        TRY(status);
    }
    for (size_t i = 0; i < trie->n_ends && matcher_may_end(m); i++) {
        allow(fresh, trie->ends[i]);
    }
    if (m->mask_steps > MATCHER_MASK_STEPS) {
        memset(fresh, 0, m->n_words * sizeof *fresh);
    }
    m->masked[slot] = m->at;
    *mask = fresh;
    return WEFT_OK;
}

/* ---------------------------------------------------------------- tries */

weft_status matcher_try_start(struct matcher *m, struct matcher_place *at, weft_error *err)
{
    TRY(trim(m, err));
    count_anew(m);
    *at = (struct matcher_place){ .set = m->start };
    return WEFT_OK;
}

weft_status matcher_try(struct matcher *m, struct matcher_place from, uint8_t byte,
                        struct matcher_place *to, weft_error *err)
{
    m->masking = true;
    weft_status status = read_byte(m, from, byte, to, err);
    m->masking = false;
    if (status == WEFT_OK && m->mask_steps > MATCHER_MASK_STEPS) {
        to->set = MATCHER_DEAD;
    }
    return status;
}
