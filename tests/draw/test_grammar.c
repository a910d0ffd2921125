/* Grammars: every construct of GBNF, every error with its line and column, the limits, and the
 * matcher against a second one that is written the slow way, on random grammars and texts. */
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
#include "support/rig.h"

static struct grammar *parse(const char *text)
{
    struct grammar *g = NULL;
    OK(grammar_parse(text, strlen(text), &g, E));
    return g;
}

static struct matcher *open_matcher(const char *text)
{
    struct matcher *m = NULL;
    struct grammar *g = parse(text);
    OK(matcher_open(g, &m, E));
    grammar_release(g);
    return m;
}

enum verdict { REFUSED, BEGINS, WHOLE };

/* Tells what the text is to the grammar. The text is read in pieces of `cut` bytes, or as a whole
 * if `cut` is 0. */
static enum verdict judge(struct matcher *m, const char *text, size_t n, size_t cut)
{
    matcher_restart(m);
    for (size_t i = 0; i < n;) {
        size_t piece = cut == 0 || cut > n - i ? n - i : cut;
        OK(matcher_read(m, text + i, piece, E));
        i += piece;
    }
    return matcher_may_end(m) ? WHOLE : matcher_alive(m) ? BEGINS : REFUSED;
}

/* Checks texts that belong to the grammar, then NULL, then texts that do not, then NULL. */
static void check_texts(const char *grammar, const char *const *texts)
{
    struct matcher *m = open_matcher(grammar);
    for (int whole = 1; whole >= 0; whole--, texts++) {
        for (; *texts != NULL; texts++) {
            for (size_t cut = 0; cut < 3; cut++) {
                if ((judge(m, *texts, strlen(*texts), cut) == WHOLE) != whole) {
                    fail_msg("grammar %s: the text '%s' is judged wrongly", grammar, *texts);
                }
            }
        }
    }
    matcher_close(m);
}
#define TEXTS(grammar, ...) check_texts(grammar, (const char *const[]){ __VA_ARGS__, NULL })

/* ---------------------------------------------------------------- constructs */

static void test_constructs(void **state)
{
    (void)state;
    TEXTS("root ::= \"ab\" \"c\"", "abc", NULL, "", "ab", "abcd", "abd");
    TEXTS("root ::= \"a\" | \"b\" | \"\"", "a", "b", "", NULL, "ab", "c");
    TEXTS("root ::= (\"a\" | \"b\")* \"c\"", "c", "ac", "babc", NULL, "", "ab", "cc");
    TEXTS("root ::= \"ab\"+", "ab", "ababab", NULL, "", "aba", "abb");
    TEXTS("root ::= \"ab\"?", "", "ab", NULL, "abab", "a");
    TEXTS("root ::= [a-c]{2}", "ab", "cc", NULL, "a", "abc", "dd");
    TEXTS("root ::= \"a\"{2,}", "aa", "aaaaa", NULL, "", "a", "aab");
    TEXTS("root ::= \"a\"{,2}", "", "aa", NULL, "aaa", "b");
    TEXTS("root ::= \"a\"{ , 1 } \"b\"", "b", "ab", NULL, "aab");
    TEXTS("root ::= \"a\"{0,}", "", "aaaaa", NULL, "b");
    TEXTS("root ::= \"ab\"{1,3} \"!\"", "ab!", "abab!", "ababab!", NULL, "!", "abababab!");
    TEXTS("root ::= \"a\" {0} \"b\"{ 0 , 1 } \"c\"{0,0}", "", "b", NULL, "a", "c", "bb");
    TEXTS("root ::= (\"a\"{2} | \"b\"){2}", "aaaa", "bb", "aab", NULL, "aa", "aba");
    TEXTS("root ::= [^a-c\\n] .", "d\n", "\xc3\xa9z", "xa", NULL, "ab", "\nb", "d");
    TEXTS("root ::= [-a] [a-] [\\]\\-^] [\\^]", "-a]^", "a--^", "--^^", NULL, "b-]^", "a-a^");
    TEXTS("root ::= \"\\x41\\u00e9\\U0001F600\\n\\r\\t\\\\\\\"\\[\\]\"",
          "A\xc3\xa9\xf0\x9f\x98\x80\n\r\t\\\"[]", NULL, "A");
    TEXTS("root ::= [\\u4e00-\\u9fff]+", "\xe4\xb8\xad\xe6\x96\x87", NULL, "a", "\xe3\x81\x82");
    TEXTS("root ::= \"\xe4\xb8\xad\" [\xc3\xa0-\xc3\xbf]", "\xe4\xb8\xad\xc3\xa9", NULL,
          "\xc3\xa9");
}

static void test_rules(void **state)
{
    (void)state;
    TEXTS("# a list\nroot ::= item (\",\" item)* # comment\nitem ::= [0-9]+\n", "1,23", "4", NULL,
          "", "1,");
    /* Rules that call each other, lines in parentheses, and alternatives on lines of their own. */
    TEXTS("root ::= (\n  list\n  | atom # one\n)\nlist ::= \"(\" (root\n )* \")\"\natom ::= [a-z]",
          "a", "(ab(c)())", NULL, "", "(", "())", "ab");
    TEXTS("x ::=\n  \"a\" |\n  \"b\"\n  | \"c\"\r\n\r\nroot ::= x_1 x\nx_1 ::= \"1\"", "1a", "1b",
          "1c", NULL, "1", "a");
    TEXTS("root ::= \"(\" root? \")\" | \"x\"", "x", "(x)", "((()))", NULL, "((x)", "(xx)");
    TEXTS("root ::= a\na ::= \"a\" a | \"\"", "", "aaaa", NULL, "b");
    /* An element that matches nothing may be repeated. */
    TEXTS("root ::= (\"a\"? | \"\"){2,}  (\"b\"*)* (\"c\"*)+", "", "aaabbccc", NULL, "ba", "d");
    TEXTS("root ::= (\"\")* \"a\"", "a", NULL, "", "aa");
    /* Alternatives that begin alike. */
    TEXTS("root ::= \"ab\" | \"abc\" | \"abcd\"", "ab", "abc", "abcd", NULL, "a", "abcde");
}

static void test_no_text(void **state)
{
    (void)state;
    struct matcher *m = open_matcher("root ::= \"a\" root");
    assert_int_equal(judge(m, "aaaa", 4, 0), BEGINS);
    assert_int_equal(judge(m, "b", 1, 0), REFUSED);
    matcher_close(m);
}

/* ---------------------------------------------------------------- errors */

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *place, *what;
    } cases[] = {
        { "", "line 1, column 1", "no rule 'root'" },
        { "a ::= \"x\"\n", "line 2, column 1", "no rule 'root'" },
        { "root \"a\"", "line 1, column 6", "found '\"', expected ::=" },
        { "root ::= \"a\" )", "line 1, column 14", "found ')'" },
        { "\n\nroot ::= (\"a\"\n", "line 4, column 1", "found the end of the grammar" },
        { "root ::= \"a\nb\"", "line 1, column 12", "found the end of the line, expected \"" },
        { "root ::= [ab", "line 1, column 13", "] at the end" },
        { "root ::= []", "line 1, column 11", "[] matches nothing" },
        { "root ::= [b-a]", "line 1, column 11", "U+0062 to U+0061" },
        { "root ::= [^\\x00-\\U0010FFFF]", "line 1, column 12", "no character" },
        { "root ::= \"\\q\"", "line 1, column 12", "found 'q'" },
        { "root ::= \"\\x4g\"", "line 1, column 14", "hexadecimal" },
        { "root ::= \"\\uD800\"", "line 1, column 13", "U+D800 is no character" },
        { "root ::= \"\\U00110000\"", "line 1, column 13", "U+110000" },
        { "root ::= \"\xff\"", "line 1, column 11", "found the byte 0xFF, expected UTF-8" },
        { "root ::= * \"a\"", "line 1, column 10", "found '*', expected an element" },
        { "root ::= \"a\" | {2}", "line 1, column 16", "found '{'" },
        { "root ::= \"a\"{,}", "line 1, column 15", "expected a number" },
        { "root ::= \"a\"{}", "line 1, column 14", "expected a number" },
        { "root ::= \"a\"{3,2}", "line 1, column 14", "at least 3 and at most 2" },
        { "root ::= \"a\"{3;", "line 1, column 15", "found ';', expected }" },
        { "root ::= \"a\"{999999}", "line 1, column 19", "more than 200000" },
        { "root ::= \"\xc3\xa9\" b", "line 1, column 14", "rule 'b' is not defined" },
        { "root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1", "'root' is defined a second" },
        { "::= \"a\"", "line 1, column 1", "the name of a rule" },
        { "root ::= <think>", "line 1, column 10", "tokens" },
        { "root ::= root \"a\"", "line 1, column 1", "'root' calls itself" },
        { "root ::= \"x\" a\na ::= b? c\nb ::= \"b\"\nc ::= \"\" | a \"c\"", "line 2, column 1",
          "'a' calls itself" },
        { "root ::= (root | \"a\")*", "line 1, column 1", "left recursion" },
        { "root ::= a b\nb ::= \"b\"\na ::= \"\" | c root\nc ::= \"c\"*", "line 1, column 1",
          "'root' calls itself" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar *g = NULL;
        FAILS(WEFT_E_FORMAT, grammar_parse(cases[i].text, strlen(cases[i].text), &g, E));
        assert_null(g);
        rig_message((const char *const[]){ cases[i].place, cases[i].what, NULL });
    }
}

/* Writes `begin`, then `times` repetitions of a piece, in which %d becomes a number that counts up,
 * then `end`. */
static struct bytes written(const char *begin, const char *piece, size_t times, const char *end)
{
    struct bytes b = { 0 };
    assert_true(bytes_add(&b, begin, strlen(begin)));
    for (size_t i = 0; i < times; i++) {
        char text[64];
        const char *number = strstr(piece, "%d");
        size_t head = number != NULL ? (size_t)(number - piece) : strlen(piece);
        int n = number != NULL
                    ? snprintf(text, sizeof text, "%.*s%zu%s", (int)head, piece, i, number + 2)
                    : snprintf(text, sizeof text, "%s", piece);
        assert_true(bytes_add(&b, text, (size_t)n));
    }
    assert_true(bytes_add(&b, end, strlen(end)));
    return b;
}

static void check_size(struct bytes b, const char *word)
{
    struct grammar *g = NULL;
    if (word == NULL) {
        OK(grammar_parse(b.data, b.n, &g, E));
        grammar_release(g);
    } else {
        FAILS(WEFT_E_FORMAT, grammar_parse(b.data, b.n, &g, E));
        rig_message((const char *const[]){ word, NULL });
    }
    free(b.data);
}

static void test_sizes(void **state)
{
    (void)state;
    check_size(written("root ::= \"a\"\n#", "-", (1 << 20) - 14, ""), NULL);
    check_size(written("root ::= \"a\"\n#", "-", (1 << 20) - 13, ""), "1048577 bytes");
    check_size(written("root ::= \"a\"\n", "r%d ::= \"a\"\n", 9999, ""), NULL);
    check_size(written("root ::= \"a\"\n", "r%d ::= \"a\"\n", 10000, ""), "10000 rules");
    check_size(written("root ::= ", "(", 200, "\"a\""), "found the end");
    check_size(written("root ::= ", "(", 201, "\"a\""), "200 deep");
    check_size(written("root ::= \"a\"{99999}", "", 0, ""), NULL);
    check_size(written("root ::= \"a\"{100000,200000}", "", 0, ""), "200000 elements");
    check_size(written("root ::= ((\"a\"{1000}){1000}){1000}", "", 0, ""), "200000 elements");
    check_size(written("root ::= [", "ab", 90000, "]"), NULL);
    check_size(written("root ::= \"", "aa", 100000, "\""), "200000 elements");
    /* With several operators behind each other, the numbers of operations that they copy add up,
     * except those of {1}. */
    check_size(written("root ::= \"a\"", "?", 25000, ""), "copy more than 4000000");
    check_size(written("root ::= \"a\"", "{2}?", 60, ""), "200000 elements");
    check_size(written("root ::= [a]{99000}", "{1}", 300000, ""), NULL);
    check_size(written("root ::= [a]{90000}", "{1,1}*", 3, ""), NULL);
    /* Long chains of rules: no function may recurse on them, or search them for each other. */
    struct bytes chain = { 0 };
    for (int i = 0; i < 9000; i++) {
        char text[64];
        int n = snprintf(text, sizeof text, "r%d ::= r%d?\n", i, i + 1);
        assert_true(bytes_add(&chain, text, (size_t)n));
    }
    assert_true(bytes_add(&chain, "r9000 ::= \"a\"\nroot ::= r0", 25));
    check_size(chain, NULL);
}

/* ---------------------------------------------------------------- limits of the matcher */

static void test_depth(void **state)
{
    (void)state;
    struct matcher *m = open_matcher("root ::= \"(\" root \")\" | \"x\"");
    char *text = malloc(3 * MATCHER_MAX_DEPTH);
    memset(text, '(', MATCHER_MAX_DEPTH);
    text[MATCHER_MAX_DEPTH] = '(';
    assert_int_equal(judge(m, text, MATCHER_MAX_DEPTH + 1, 0), REFUSED);
    text[MATCHER_MAX_DEPTH] = 'x';
    memset(text + MATCHER_MAX_DEPTH + 1, ')', MATCHER_MAX_DEPTH);
    assert_int_equal(judge(m, text, MATCHER_MAX_DEPTH + 1, 0), BEGINS);
    assert_int_equal(judge(m, text, 2 * MATCHER_MAX_DEPTH, 0), BEGINS);
    assert_int_equal(judge(m, text, 2 * MATCHER_MAX_DEPTH + 1, 0), WHOLE);
    matcher_close(m);
    /* A recursion at the end of a rule needs no stack. */
    m = open_matcher("root ::= \"(\" root | \"(\" (root | \"y\")");
    memset(text, '(', 3 * MATCHER_MAX_DEPTH);
    assert_int_equal(judge(m, text, 3 * MATCHER_MAX_DEPTH, 0), BEGINS);
    free(text);
    matcher_close(m);
}

static void test_stacks(void **state)
{
    (void)state;
    struct bytes few = written("root ::= \"b\" (\"x\"", " | \"a\"", MATCHER_MAX_STACKS - 1, ")");
    struct bytes many = written("root ::= \"b\" (\"x\"", " | \"a\"", MATCHER_MAX_STACKS, ")");
    for (int i = 0; i < 2; i++) {
        struct bytes *b = i == 0 ? &few : &many;
        struct grammar *g = NULL;
        struct matcher *m = NULL;
        OK(grammar_parse(b->data, b->n, &g, E));
        OK(matcher_open(g, &m, E));
        assert_int_equal(judge(m, "ba", 2, 0), i == 0 ? WHOLE : REFUSED);
        matcher_close(m);
        grammar_release(g);
        free(b->data);
    }
}

/* Each further character can be read in more ways than the one before it, but the matcher keeps all
 * ways in one small set. */
static void test_ambiguous(void **state)
{
    (void)state;
    struct matcher *m = open_matcher("root ::= x x x x x x x x x x\nx ::= y*\ny ::= \"a\" | a | "
                                     "a a\na ::= \"a\"");
    char text[3000];
    memset(text, 'a', sizeof text);
    assert_int_equal(judge(m, text, sizeof text, 0), WHOLE);
    assert_true(m->n_nodes < 1000);
    matcher_close(m);
}

/* A matcher that has grown large forgets what it does not need, but not where it is. */
static void test_trim(void **state)
{
    (void)state;
    struct matcher *m = open_matcher("root ::= \"(\" root \")\" | [a-z] root \"]\" | \"x\"");
    uint64_t seed = 3;
    size_t largest = 0;
    char text[2001];
    for (int round = 0; round < 400; round++) {
        size_t n = 1000;
        for (size_t i = 0; i < n; i++) {
            uint32_t r = rig_random(&seed, 20);
            text[i] = r < 10 ? '(' : (char)('a' + r);
            text[2 * n - i] = r < 10 ? ')' : ']';
        }
        text[n] = 'x';
        matcher_restart(m);
        OK(matcher_read(m, text, n / 2, E));
        OK(matcher_read(m, text + n / 2, n / 2 + 1, E));
        OK(matcher_read(m, text + n + 1, n - 1, E));
        assert_false(matcher_may_end(m));
        OK(matcher_read(m, text + 2 * n, 1, E));
        assert_true(matcher_may_end(m));
        largest = m->n_moves > largest ? m->n_moves : largest;
    }
    assert_true(largest > 1 << 17 && largest < 1 << 19);
    matcher_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constructs), cmocka_unit_test(test_rules),
        cmocka_unit_test(test_no_text),    cmocka_unit_test(test_errors),
        cmocka_unit_test(test_sizes),      cmocka_unit_test(test_depth),
        cmocka_unit_test(test_stacks),     cmocka_unit_test(test_ambiguous),
        cmocka_unit_test(test_trim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
