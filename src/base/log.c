#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/error.h"

void log_line(const struct log *log, weft_log_level level, const char *fmt, ...)
{
    if (log->fn == NULL) {
        return;
    }
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    error_clean(text);
    log->fn(log->user, level, text);
}
