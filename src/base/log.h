/* Remarks to the caller's log function. Errors are never reported in this way. */
#ifndef WEFT_LOG_H
#define WEFT_LOG_H

#include "weft.h"

struct log {
    weft_log_fn fn; /* NULL = silence */
    void *user;
};

__attribute__((format(printf, 3, 4))) void log_line(const struct log *log, weft_log_level level,
                                                    const char *fmt, ...);

#endif
