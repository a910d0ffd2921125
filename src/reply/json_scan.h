/* Follows one JSON value byte by byte, and writes it as clean JSON: what a model gets slightly
 * wrong inside a string becomes right. A control character becomes an escape, a broken character or
 * half of a surrogate pair becomes U+FFFD, \' becomes '. */
#ifndef WEFT_JSON_SCAN_H
#define WEFT_JSON_SCAN_H

#include "base/mem.h"

enum { JSON_SCAN_DEPTH = 512 };

enum json_scan_state {
    SCAN_VALUE, /* a value must come */
    SCAN_FIRST, /* a value or ] */
    SCAN_KEY,   /* a key */
    SCAN_KEYS,  /* a key or } */
    SCAN_COLON,
    SCAN_NEXT, /* a comma or the end of the container */
    SCAN_STRING,
    SCAN_WORD,   /* inside true, false or null */
    SCAN_MINUS,  /* behind - */
    SCAN_ZERO,   /* behind a leading 0 */
    SCAN_INT,    /* among the digits */
    SCAN_POINT,  /* behind . */
    SCAN_DIGITS, /* among the digits behind . */
    SCAN_E,      /* behind e */
    SCAN_SIGN,   /* behind e+ */
    SCAN_POWER   /* among the digits behind e */
};

/* Set it to zeros at first. */
struct json_scan {
    uint8_t state;
    bool key;                               /* the string is a key */
    size_t depth;                           /* open containers */
    uint64_t objects[JSON_SCAN_DEPTH / 64]; /* which of them are objects */
    const char *word;                       /* what must follow */
    /* Bytes of a string that were read and not written: an escape, or part of a character. */
    char hold[16];
    size_t n_hold;
};

enum json_scan_result {
    SCAN_MORE,
    SCAN_DONE,   /* the byte was the last of the value */
    SCAN_BEFORE, /* the value, a number, has ended before the byte */
    SCAN_BAD     /* the byte cannot follow; it was not read */
};

/* Reads a byte, and appends to *out, if it is not NULL, what is certain by now. *ok becomes false
 * if memory is out. */
enum json_scan_result json_scan(struct json_scan *s, char byte, struct bytes *out, bool *ok);
/* Returns the length of the value at the beginning of text[n]; 0 if it goes on, SIZE_MAX if there
 * is none. */
size_t json_scan_value(const char *text, size_t n);

/* Appends text as the inside of a JSON string. */
bool json_escape(struct bytes *out, const char *text, size_t n);

#endif
