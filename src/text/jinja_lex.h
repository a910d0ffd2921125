/* A template as tokens, with the white space between tags already trimmed. */
#ifndef WEFT_JINJA_LEX_H
#define WEFT_JINJA_LEX_H

#include "text/jinja_value.h"

/* The type of an operator of one character is that character. */
enum jtoken_type {
    JT_EOF = 128,
    JT_DATA,
    JT_PRINT,     /* {{ */
    JT_PRINT_END, /* }} */
    JT_TAG,       /* {% */
    JT_TAG_END,   /* %} */
    JT_NAME,
    JT_STRING, /* with its quotes */
    JT_INT,
    JT_FLOAT,
    JT_POW,
    JT_FLOORDIV,
    JT_EQ,
    JT_NE,
    JT_LE,
    JT_GE
};

struct jtoken {
    uint32_t type, pos, n; /* bytes pos..pos+n of the source */
};

struct jtokens {
    struct jtoken *data;
    size_t n, cap;
};

/* Appends all tokens of the source and JT_EOF. Faults are JINJA_SYNTAX. */
void jlex(struct jwork *w, struct jval source, struct jtokens *out);
/* Returns the value of a token JT_STRING. */
struct jval jlex_string(struct jwork *w, struct jval source, struct jtoken t);

#endif
