/* Grammars in GBNF, the notation of llama.cpp, compiled to a small program over characters. A
 * parsed grammar never changes; forks of a sequence share one. */
#ifndef WEFT_GRAMMAR_H
#define WEFT_GRAMMAR_H

#include <stdatomic.h>

#include "base/error.h"
#include "base/u64map.h"

/* The limits of a grammar. Elements are operations of the program and ranges of characters; x{100}
 * counts x a hundred times. */
enum {
    GRAMMAR_MAX_TEXT = 1 << 20,
    GRAMMAR_MAX_RULES = 10000,
    GRAMMAR_MAX_ELEMENTS = 200000,
    /* Elements that repetitions copy while the grammar is parsed. */
    GRAMMAR_MAX_COPIED = 20 * GRAMMAR_MAX_ELEMENTS,
    GRAMMAR_MAX_NESTING = 200
};

/* An operation of the program. Jumps are relative, so that a piece of program can be moved and
 * repeated. */
enum grammar_kind {
    /* Takes one character out of ranges[arg .. arg + n). */
    GRAMMAR_CHAR,
    /* Goes on both at the next operation and at the operation arg from here. */
    GRAMMAR_SPLIT,
    /* Goes on at the operation arg from here. */
    GRAMMAR_JUMP,
    /* Calls rule number arg. n = 1 means that nothing comes behind the call in this rule. */
    GRAMMAR_CALL,
    GRAMMAR_RETURN /* the end of a rule */
};
struct grammar_op {
    uint32_t kind, n;
    int32_t arg;
};

struct char_range {
    uint32_t first, last;
};

struct grammar_rule {
    const char *name; /* in the text, not terminated */
    size_t n_name;
    size_t mentioned; /* the first place in the text that mentions it */
    /* The place in the text that defines it; SIZE_MAX = none. */
    size_t defined;
    uint32_t start; /* its first operation */
    /* The next rule whose name has the same hash; UINT32_MAX = none. */
    uint32_t same_hash;
};

struct grammar {
    atomic_size_t refs;
    char *text; /* [n_text] a copy, for the names */
    size_t n_text;
    struct grammar_op *ops;
    struct char_range *ranges;
    struct grammar_rule *rules;
    size_t n_ops, cap_ops, n_ranges, cap_ranges, n_rules, cap_rules;
    struct u64map names; /* hash of a name to the rule */
    uint32_t root;
    /* Classes of code points that no operation distinguishes: class c begins at class_first[c] and
     * ends before class_first[c + 1]. */
    uint32_t *class_first;
    size_t n_classes;
    uint32_t ascii[128]; /* the classes of the ASCII characters */
};

/* Parses text[n]. WEFT_E_FORMAT names line and column, what was found and what was expected: the
 * text may have a syntax error, a rule that is not defined, a rule that calls itself before any
 * character, or exceed a limit. */
weft_status grammar_parse(const char *text, size_t n, struct grammar **out, weft_error *err);
struct grammar *grammar_retain(struct grammar *g);
/* Accepts NULL. */
void grammar_release(struct grammar *g);

/* Returns the class of a code point. */
uint32_t grammar_class(const struct grammar *g, uint32_t c);
/* Returns true if ranges[n], which are in order, hold c. */
bool grammar_holds(const struct char_range *ranges, size_t n, uint32_t c);

/* For the files of the parser: sets a message about the place `at` in the text. */
__attribute__((format(printf, 4, 5))) weft_status grammar_error(const struct grammar *g, size_t at,
                                                                weft_error *err, const char *fmt,
                                                                ...);
/* Reads the rules of g->text into ops, ranges and rules. */
weft_status grammar_read(struct grammar *g, weft_error *err);

#endif
