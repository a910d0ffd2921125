/* The matcher against a second one, written the slow way from the meaning of each construct, on
 * random grammars and texts; and the masks of tokens against reading every token by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "draw/matcher.h"
#include "format/gguf.h"
#include "support/level.h"
#include "support/models.h"
#include "support/rig.h"

/* ---------------------------------------------------------------- the second matcher */

enum { MAX_TEXT = 12, N_RULES = 3, MAX_TREES = 400, N_LETTERS = 5 };

/* Characters of one to four bytes. */
static const char *const letters[N_LETTERS] = { "a", "b", "\xc3\xa9", "\xe4\xb8\xad",
                                                "\xf0\x9f\x98\x80" };

enum kind { LITERAL, CLASS, SEQUENCE, CHOICE, REPEAT, RULE };

struct tree {
    enum kind kind;
    int letters[2], n_letters; /* LITERAL */
    unsigned members;          /* CLASS: one bit for each letter */
    int child[2];              /* SEQUENCE, CHOICE; REPEAT has one */
    int min, max;              /* REPEAT; max -1 = without end */
    int rule;
};

struct trees {
    struct tree at[MAX_TREES];
    int n, rules[N_RULES];
    uint64_t seed;
    const int *text; /* [n_text] letters */
    int n_text;
};

static int below(struct trees *t, uint32_t n) { return (int)rig_random(&t->seed, n); }

/* Makes a random tree for a rule. The tree may call the rules after this one. Behind a literal it
 * may call any rule, because a recursion then reads something first. */
static int grow(struct trees *t, int rule, int depth, bool guarded)
{
    int index = t->n++;
    struct tree tree = { .kind = LITERAL };
    int what = depth == 0 || t->n > MAX_TREES - 20 ? below(t, 2) : below(t, 8);
    if (what == 0 || what == 2) {
        tree.n_letters = 1 + below(t, 2);
        tree.letters[0] = below(t, N_LETTERS);
        tree.letters[1] = below(t, N_LETTERS);
    } else if (what == 1) {
        tree.kind = CLASS;
        tree.members = 1 + (unsigned)below(t, (1 << N_LETTERS) - 1);
    } else if (what == 3 && guarded) {
        tree.kind = RULE;
        tree.rule = below(t, N_RULES);
    } else if (what == 3 && rule + 1 < N_RULES) {
        tree.kind = RULE;
        tree.rule = rule + 1 + below(t, (uint32_t)(N_RULES - rule - 1));
    } else if (what <= 5) {
        tree.kind = SEQUENCE;
        tree.child[0] = grow(t, rule, depth - 1, guarded);
        tree.child[1] = grow(t, rule, depth - 1, guarded || t->at[tree.child[0]].kind == LITERAL);
    } else if (what == 6) {
        tree.kind = CHOICE;
        tree.child[0] = grow(t, rule, depth - 1, guarded);
        tree.child[1] = grow(t, rule, depth - 1, guarded);
    } else {
        tree.kind = REPEAT;
        tree.min = below(t, 3);
        tree.max = below(t, 3) == 0 ? -1 : tree.min + below(t, 3);
        tree.child[0] = grow(t, rule, depth - 1, guarded);
    }
    t->at[index] = tree;
    return index;
}

static void put(struct bytes *b, const char *text)
{
    assert_true(bytes_add(b, text, strlen(text)));
}

static void write_repeat(struct bytes *b, const struct tree *t)
{
    char text[32];
    if (t->min == 0 && t->max == -1) {
        put(b, "*");
    } else if (t->min == 1 && t->max == -1) {
        put(b, "+");
    } else if (t->min == 0 && t->max == 1) {
        put(b, "?");
    } else {
        snprintf(text, sizeof text, t->max == -1 ? "{%d,}" : "{%d,%d}", t->min, t->max);
        put(b, text);
    }
}

/* Writes the tree as GBNF. */
static void write_tree(const struct trees *t, int index, struct bytes *b)
{
    const struct tree *tree = &t->at[index];
    char text[32];
    switch (tree->kind) {
    case LITERAL:
        put(b, "\"");
        for (int i = 0; i < tree->n_letters; i++) {
            put(b, letters[tree->letters[i]]);
        }
        put(b, "\"");
        break;
    case CLASS:
        put(b, "[");
        for (int i = 0; i < N_LETTERS; i++) {
            put(b, tree->members >> i & 1 ? letters[i] : "");
        }
        put(b, "]");
        break;
    case RULE:
        snprintf(text, sizeof text, tree->rule == 0 ? "root" : "r%d", tree->rule);
        put(b, text);
        break;
    case SEQUENCE:
    case CHOICE:
        put(b, "(");
        write_tree(t, tree->child[0], b);
        put(b, tree->kind == CHOICE ? " | " : " ");
        write_tree(t, tree->child[1], b);
        put(b, ")");
        break;
    case REPEAT:
        put(b, "(");
        write_tree(t, tree->child[0], b);
        put(b, ")");
        write_repeat(b, tree);
        break;
    }
}

/* Returns the places (bits) where the tree that begins at `from` may end. *open is set if the tree
 * may go on behind the end of the text. */
static unsigned ends(const struct trees *t, int index, int from, bool *open)
{
    const struct tree *tree = &t->at[index];
    unsigned found = 0, now, next;
    bool ignored = false;
    if (from == t->n_text) {
        *open = true;
    }
    switch (tree->kind) {
    case LITERAL:
        for (int i = 0; i < tree->n_letters; i++) {
            if (from + i == t->n_text) {
                *open = true;
                return 0;
            }
            if (t->text[from + i] != tree->letters[i]) {
                return 0;
            }
        }
        return 1u << (from + tree->n_letters);
    case CLASS:
        return from < t->n_text && tree->members >> t->text[from] & 1 ? 1u << (from + 1) : 0;
    case RULE: return ends(t, t->rules[tree->rule], from, open);
    case SEQUENCE:
        now = ends(t, tree->child[0], from, open);
        for (int i = from; i <= t->n_text; i++) {
            found |= now >> i & 1 ? ends(t, tree->child[1], i, open) : 0;
        }
        return found;
    case CHOICE: return ends(t, tree->child[0], from, open) | ends(t, tree->child[1], from, open);
    case REPEAT:
        now = 1u << from;
        for (int k = 0; k <= (tree->max == -1 ? tree->min + MAX_TEXT : tree->max); k++) {
            found |= k >= tree->min ? now : 0;
            bool more = tree->max == -1 || k < tree->max;
            next = 0;
            for (int i = from; i <= t->n_text && more; i++) {
                next |= now >> i & 1 ? ends(t, tree->child[0], i, more ? open : &ignored) : 0;
            }
            if (next == 0 || (next == now && k >= tree->min)) {
                break;
            }
            now = next;
        }
        return found;
    }
    return 0;
}

/* ---------------------------------------------------------------- the comparison */

static struct matcher *random_matcher(struct trees *t, struct bytes *text)
{
    struct grammar *g = NULL;
    struct matcher *m = NULL;
    t->n = 0;
    for (int i = N_RULES - 1; i >= 0; i--) {
        char name[32];
        t->rules[i] = grow(t, i, 4, false);
        snprintf(name, sizeof name, i == 0 ? "root ::= " : "r%d ::= ", i);
        put(text, name);
        write_tree(t, t->rules[i], text);
        put(text, "\n");
    }
    OK(grammar_parse(text->data, text->n, &g, E));
    OK(matcher_open(g, &m, E));
    grammar_release(g);
    return m;
}

/* Most letters are letters that the grammar allows, so that texts are not refused at once. */
static int random_text(struct trees *t, struct matcher *m, int *text)
{
    int n = 0;
    matcher_restart(m);
    while (n < MAX_TEXT && below(t, 10) > 0) {
        text[n] = below(t, N_LETTERS);
        for (int tries = 0; tries < 8; tries++) {
            struct matcher *copy = NULL;
            OK(matcher_copy(m, &copy, E));
            OK(matcher_read(copy, letters[text[n]], strlen(letters[text[n]]), E));
            bool alive = matcher_alive(copy);
            matcher_close(copy);
            if (alive) {
                break;
            }
            text[n] = below(t, N_LETTERS);
        }
        OK(matcher_read(m, letters[text[n]], strlen(letters[text[n]]), E));
        n++;
    }
    return n;
}

/* Reads the letters in pieces of random length; a piece may end inside a character. */
static void read_cut(struct trees *t, struct matcher *m, const int *text, int n)
{
    struct bytes b = { 0 };
    for (int i = 0; i < n; i++) {
        put(&b, letters[text[i]]);
    }
    matcher_restart(m);
    for (size_t at = 0; at < b.n;) {
        size_t piece = 1 + (size_t)below(t, 4);
        piece = piece < b.n - at ? piece : b.n - at;
        OK(matcher_read(m, b.data + at, piece, E));
        at += piece;
    }
    free(b.data);
}

/* Returns true if a set came near its limit, because a text may be read in thousands of ways, as
 * with nested repetitions. */
static bool met_limit(const struct matcher *m)
{
    for (size_t i = 0; i < m->n_sets; i++) {
        if (m->sets[i].n > MATCHER_MAX_STACKS / 8) {
            return true;
        }
    }
    return false;
}

static void test_texts(void **state)
{
    (void)state;
    static struct trees t;
    size_t n_whole = 0, n_open = 0, n_refused = 0, n_limited = 0;
    int text[MAX_TEXT];
    t.seed = 1;
    const int n_rounds = level_all("four of five random grammars with texts") ? 1500 : 300;
    for (int round = 0; round < n_rounds; round++) {
        struct bytes gbnf = { 0 };
        struct matcher *m = random_matcher(&t, &gbnf);
        for (int k = 0; k < 20; k++) {
            t.n_text = random_text(&t, m, text);
            t.text = text;
            read_cut(&t, m, text, t.n_text);
            bool open = false;
            bool whole = ends(&t, t.rules[0], 0, &open) >> t.n_text & 1;
            bool alive = whole || open;
            if (matcher_may_end(m) == whole && matcher_alive(m) == alive) {
                n_whole += whole;
                n_open += alive && !whole;
                n_refused += !alive;
            } else if (!matcher_alive(m) && met_limit(m)) {
                n_limited++;
            } else {
                fail_msg("round %d: %d letters: may end %d, expected %d; alive %d, expected %d; "
                         "grammar:\n%.*s",
                         round, t.n_text, matcher_may_end(m), whole, matcher_alive(m), alive,
                         (int)gbnf.n, gbnf.data);
            }
        }
        matcher_close(m);
        free(gbnf.data);
    }
    print_message("%zu texts complete, %zu not yet, %zu refused; %zu beyond the limits\n", n_whole,
                  n_open, n_refused, n_limited);
    const size_t n_texts = 20 * (size_t)n_rounds;
    assert_true(n_whole > n_texts / 12 && n_open > n_texts / 12 && n_refused > n_texts / 12);
    assert_true(n_limited < n_texts / 300);
}

/* ---------------------------------------------------------------- masks */

struct vocabulary {
    struct gguf *file;
    struct tokenizer *t;
    struct token_trie *trie;
};

static struct vocabulary open_vocabulary(const char *path)
{
    struct vocabulary v = { 0 };
    OK(gguf_open(path, true, &v.file, E));
    OK(tokenizer_open(v.file, &v.t, E));
    OK(token_trie_open(v.t, &v.trie, E));
    return v;
}

static void close_vocabulary(struct vocabulary *v)
{
    token_trie_close(v->trie);
    tokenizer_close(v->t);
    gguf_close(v->file);
}

/* Returns true if the token may follow; tries it by reading the token. */
static bool may_follow(const struct vocabulary *v, const struct matcher *m, int32_t token)
{
    enum token_type type = tokenizer_type(v->t, token);
    struct bytes piece = { 0 };
    struct matcher *copy = NULL;
    if (tokenizer_is_end(v->t, token)) {
        return matcher_may_end(m);
    }
    if (type != TOKEN_NORMAL && type != TOKEN_BYTE && type != TOKEN_USER_DEFINED) {
        return false;
    }
    OK(tokenizer_piece(v->t, token, 0, &piece, E));
    OK(matcher_copy(m, &copy, E));
    OK(matcher_read(copy, piece.data, piece.n, E));
    bool alive = piece.n > 0 && matcher_alive(copy);
    matcher_close(copy);
    free(piece.data);
    return alive;
}

static size_t check_mask(const struct vocabulary *v, struct matcher *m, const char *what)
{
    const uint64_t *mask = NULL;
    size_t n = 0;
    OK(matcher_mask(m, v->trie, &mask, E));
    for (size_t i = 0; i < tokenizer_n_vocab(v->t); i++) {
        bool set = mask[i / 64] >> i % 64 & 1;
        if (set != may_follow(v, m, (int32_t)i)) {
            fail_msg("%s: token %zu is %s", what, i, set ? "in the mask" : "not in the mask");
        }
        n += set;
    }
    return n;
}

static void test_masks(void **state)
{
    (void)state;
    static const char *const presets[] = { "tiny-qwen2", "tiny-phi3" };
    static const struct {
        const char *gbnf, *text;
    } cases[] = {
        { "root ::= [^\"]* \"\\\"\"", "abc" },
        { "root ::= [^\"]* \"\\\"\"", "ab\xe4\xb8" },
        { "root ::= [\\u4e00-\\u4e3f] | \"a\" | \"\"", "" },
        { "root ::= [\\u4e00-\\u4e3f]", "\xe4" },
        { "root ::= [\\u4e00-\\u4e3f]", "\xe4\xb8" },
        { "root ::= \"\xed\x9f\xbf\" | \"\xee\x80\x80\" | \"\xf4\x8f\xbf\xbf\"", "" },
        { "root ::= \"\xed\x9f\xbf\" | \"\xee\x80\x80\" | \"\xf4\x8f\xbf\xbf\"", "\xf4\x8f" },
        { "root ::= .", "\xed" },
        { "root ::= .", "\xe0" },
        { "root ::= .*", "" },
        /* Any number of plain characters, a few of them, all but one of them. */
        { "root ::= [^\"\\\\\\x00-\\x1f]* \"\\\"\"", "a" },
        { "root ::= .{0,2}", "" },
        { "root ::= .{0,2}", "a" },
        { "root ::= .{5}", "" },
        { "root ::= .{0,40}", "" },
        { "root ::= [^\"\\\\]{2,4} \"!\"", "" },
        { "root ::= [^\"\\\\]{2,4} \"!\"", "ab" },
        { "root ::= [^e]*", "" },
        { "root ::= [^\\u00e9]*", "" },
        { "root ::= [^\\U0001f600]*", "" },
        { "root ::= [ -~]*", "" },
        { "root ::= ([^h] | \"h\" [^e])*", "" },
        { "root ::= (\" \"? [a-z]+)*", "the " },
        { "root ::= (\" \"? [a-z]+){3}", " the" },
        { "root ::= \"a\"", "a" },
        { "root ::= \"a\"", "b" },
    };
    for (size_t p = 0; p < 2; p++) {
        struct vocabulary v = open_vocabulary(model_file(presets[p]));
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct grammar *g = NULL;
            struct matcher *m = NULL;
            OK(grammar_parse(cases[i].gbnf, strlen(cases[i].gbnf), &g, E));
            OK(matcher_open(g, &m, E));
            grammar_release(g);
            OK(matcher_read(m, cases[i].text, strlen(cases[i].text), E));
            size_t n = check_mask(&v, m, cases[i].gbnf);
            assert_int_equal(n == 0, !matcher_alive(m));
            /* The kept answers give the same mask again. */
            assert_int_equal(check_mask(&v, m, cases[i].gbnf), n);
            matcher_close(m);
        }
        close_vocabulary(&v);
    }
}

static void test_random_masks(void **state)
{
    (void)state;
    static struct trees t;
    struct vocabulary v = open_vocabulary(model_file("tiny-phi3"));
    int text[MAX_TEXT];
    size_t n = 0;
    t.seed = 2;
    const int n_rounds = level_all("three of four random grammars with masks") ? 200 : 50;
    for (int round = 0; round < n_rounds; round++) {
        struct bytes gbnf = { 0 };
        struct matcher *m = random_matcher(&t, &gbnf);
        for (int k = 0; k < 3; k++) {
            t.n_text = random_text(&t, m, text);
            read_cut(&t, m, text, t.n_text);
            const char *partial = "\xf0\x9f\x98";
            OK(matcher_read(m, partial, (size_t)below(&t, 4), E));
            n += check_mask(&v, m, "a random grammar");
        }
        matcher_close(m);
        free(gbnf.data);
    }
    close_vocabulary(&v);
    print_message("%zu tokens allowed\n", n);
    assert_true(n > (size_t)n_rounds / 2);
}

/* If a mask would take more work than the limit, it allows no token. A matcher that has already
 * done much of that work gives the same answer. */
static void test_work(void **state)
{
    (void)state;
    struct vocabulary v = open_vocabulary(model_file("tiny-qwen2"));
    struct bytes b = { 0 };
    struct grammar *g = NULL;
    struct matcher *m = NULL;
    put(&b, "root ::= (\"~\"");
    for (int i = 0; i < 9000; i++) {
        char text[16];
        snprintf(text, sizeof text, "|[\\x%02x]", 0x20 + i % 94);
        put(&b, text);
    }
    put(&b, ")*");
    OK(grammar_parse(b.data, b.n, &g, E));
    OK(matcher_open(g, &m, E));
    for (int i = 0; i < 3; i++) {
        const uint64_t *mask = NULL;
        OK(matcher_mask(m, v.trie, &mask, E));
        for (size_t w = 0; w < m->n_words; w++) {
            assert_int_equal(mask[w], 0);
        }
        memset(m->masked, 0, sizeof m->masked);
    }
    matcher_close(m);
    grammar_release(g);
    free(b.data);
    close_vocabulary(&v);
}

/* A grammar of a few bytes with very many ways through it, and with very many classes of characters
 * under one lead byte. Whatever the grammar, the work of a mask is bounded by its limit and one
 * move. */
static void test_work_of_classes(void **state)
{
    (void)state;
    enum { N_WAYS = 16000, N_CLASSES = 3000 };
    static const char *const ends[] = { "", "*", "+ \"x\"" };
    struct vocabulary v = open_vocabulary(model_file("tiny-qwen2"));
    for (size_t e = 0; e < sizeof ends / sizeof ends[0]; e++) {
        struct bytes b = { 0 };
        struct grammar *g = NULL;
        struct matcher *m = NULL;
        const uint64_t *mask = NULL;
        put(&b, "root ::= (\"a\"");
        for (int i = 1; i < N_WAYS; i++) {
            put(&b, "|\"a\"");
        }
        put(&b, ")");
        put(&b, ends[e]);
        put(&b, "\nz ::= [");
        for (uint32_t i = 0; i < N_CLASSES; i++) {
            char text[16];
            snprintf(text, sizeof text, "\\U%08x", 0x10000 + 2 * i);
            put(&b, text);
        }
        put(&b, "]");
        OK(grammar_parse(b.data, b.n, &g, E));
        OK(matcher_open(g, &m, E));
        OK(matcher_mask(m, v.trie, &mask, E));
        assert_in_range(m->mask_steps, 1, MATCHER_MASK_STEPS + 64 * N_WAYS);
        matcher_close(m);
        grammar_release(g);
        free(b.data);
    }
    close_vocabulary(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),           cmocka_unit_test(test_masks),
        cmocka_unit_test(test_random_masks),    cmocka_unit_test(test_work),
        cmocka_unit_test(test_work_of_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
