/* Finds the text around calls by the patterns of format.h. */
#ifndef WEFT_REPLY_PATTERN_H
#define WEFT_REPLY_PATTERN_H

#include "reply/format.h"
#include "reply/tools.h"

enum reply_match {
    MATCH_NO,
    MATCH_YES,
    MATCH_MORE /* the text ends before this is certain */
};

struct reply_found {
    size_t n; /* bytes that the pattern takes */
    const struct reply_tool *tool;
    char kind;              /* what follows: o j x k as in format.h */
    bool whole;             /* %o: the object has ended; */
    size_t at, n_arguments; /* its arguments are there, n_arguments 0 = none */
};

/* Matches the beginning of text[n]. A pattern ends where the arguments of a call begin. The answer
 * for a text stays the same for every longer text, unless it is MATCH_MORE. */
enum reply_match reply_match(const struct reply_format *format, const struct reply_tools *tools,
                             const char *pattern, const char *text, size_t n,
                             struct reply_found *found);

/* Returns true for white space of JSON. */
static inline bool reply_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

#endif
