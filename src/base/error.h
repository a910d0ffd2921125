/* Every fallible function returns a weft_status and fills a weft_error through these functions. */
#ifndef WEFT_ERROR_H
#define WEFT_ERROR_H

#include "weft.h"

/* Makes a formatted text fit for one line of a terminal. Drops a character that vsnprintf has cut,
 * and replaces control characters by '?': a hostile file may use them in names. */
void error_clean(char *text);

/* Stores the code and the formatted, cleaned message in err (may be NULL), and returns the code. */
__attribute__((format(printf, 3, 4))) weft_status error_set(weft_error *err, weft_status code,
                                                            const char *fmt, ...);

/* Sets the message for every failed allocation: what it was for, and its size. */
weft_status error_nomem(weft_error *err, const char *what, size_t bytes);

/* Puts "prefix: " in front of the message, if the callee does not know the file's name. Returns
 * err's code. */
weft_status error_prefix(weft_error *err, weft_status code, const char *prefix);

/* Returns from the calling function if expr fails. */
#define TRY(expr)                                                                                  \
    do {                                                                                           \
        weft_status try_status_ = (expr);                                                          \
        if (try_status_ != WEFT_OK) {                                                              \
            return try_status_;                                                                    \
        }                                                                                          \
    } while (0)

#endif
