/* What the two files of the parser share. */
#ifndef WEFT_GRAMMAR_PARSE_H
#define WEFT_GRAMMAR_PARSE_H

#include "draw/grammar.h"

struct grammar_parser {
    struct grammar *g;
    const char *text;
    size_t n, at;
    size_t depth;  /* of parentheses */
    size_t copied; /* elements, by all repetitions so far */
    weft_error *err;
    struct hash_seed seed; /* of the rules' names */
    /* of the character class being read */
    struct char_range *set;
    size_t n_set, cap_set;
};

/* The byte at the current place, -1 at the end. */
static inline int parser_peek(const struct grammar_parser *p)
{
    return p->at < p->n ? (unsigned char)p->text[p->at] : -1;
}
/* Moves behind c if it stands here. */
static inline bool parser_take(struct grammar_parser *p, char c)
{
    bool found = parser_peek(p) == (unsigned char)c;
    p->at += found;
    return found;
}
/* The message about what stands here instead of what was expected. */
weft_status parser_expected(const struct grammar_parser *p, const char *what);
weft_status parser_no_memory(const struct grammar_parser *p);
/* Room for n more elements. */
weft_status parser_room(const struct grammar_parser *p, uint64_t n);
weft_status parser_emit(struct grammar_parser *p, enum grammar_kind kind, size_t arg, size_t n);
weft_status parser_add_range(struct grammar_parser *p, uint32_t first, uint32_t last);

/* Behind the " of a literal, the [ of a class, and a full stop: emit what they match. */
weft_status parser_literal(struct grammar_parser *p);
weft_status parser_class(struct grammar_parser *p);
weft_status parser_any(struct grammar_parser *p);

#endif
