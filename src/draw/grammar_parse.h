/* Shared by the two files of the parser. */
#ifndef WEFT_GRAMMAR_PARSE_H
#define WEFT_GRAMMAR_PARSE_H

#include "draw/grammar.h"

struct grammar_parser {
    struct grammar *g;
    const char *text;
    size_t n, at;
    size_t depth;  /* of parentheses */
    size_t copied; /* elements copied by all repetitions so far */
    weft_error *err;
    struct hash_seed seed; /* of the rules' names */
    /* These belong to the character class that is being read. */
    struct char_range *set;
    size_t n_set, cap_set;
};

/* Returns the byte at the current place, -1 at the end. */
static inline int parser_peek(const struct grammar_parser *p)
{
    return p->at < p->n ? (unsigned char)p->text[p->at] : -1;
}
/* If c stands here, moves behind it and returns true. */
static inline bool parser_take(struct grammar_parser *p, char c)
{
    bool found = parser_peek(p) == (unsigned char)c;
    p->at += found;
    return found;
}
/* Sets the message that names what stands here and what was expected. */
weft_status parser_expected(const struct grammar_parser *p, const char *what);
weft_status parser_no_memory(const struct grammar_parser *p);
/* Makes room for n more elements. */
weft_status parser_room(const struct grammar_parser *p, uint64_t n);
weft_status parser_emit(struct grammar_parser *p, enum grammar_kind kind, size_t arg, size_t n);
weft_status parser_add_range(struct grammar_parser *p, uint32_t first, uint32_t last);

/* Each emits the operation for what it reads: a literal from behind its ", a class from behind its
 * [, and any character behind a full stop. */
weft_status parser_literal(struct grammar_parser *p);
weft_status parser_class(struct grammar_parser *p);
weft_status parser_any(struct grammar_parser *p);

#endif
