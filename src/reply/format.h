/* The forms in which models write tool calls and reasoning, a row each. A form is recognised by
 * marks in the chat template's source. */
#ifndef WEFT_REPLY_FORMAT_H
#define WEFT_REPLY_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

/* Patterns describe the text around a call:
 *
 *     %s  any white space, also none
 *     %n  the name of a tool
 *     %i  letters and digits, also none
 *     %o  an object with "name" and "arguments" (or "parameters"), up to the value of the arguments
 *     %e  the rest of that object behind the arguments
 *     %j  the arguments: a JSON object begins here
 *     %x  parameters between tags begin here, or the call ends here
 *     %k  parameters as in f(k="v") begin here
 *     ^   in front: only where the answer begins
 *
 * Everything else stands for itself. */

/* Parameters between tags. */
struct reply_tags {
    const char *key;     /* in front of a key */
    const char *between; /* a pattern: behind a key, in front of its value */
    const char *end;     /* behind a value */
    const char *close;   /* behind the last value */
    bool lines;          /* a value stands on lines of its own */
};

/* What the grammar makes of a call: first "f" middle ARGUMENTS last, then next "g" middle ..., and
 * `final` behind all. */
struct reply_shape {
    const char *trigger; /* free text ends behind it; NULL = none */
    const char *behind;  /* between the trigger and the first name */
    const char *first;   /* in front of the first name, where a call must be made */
    const char *middle, *last;
    const char *next; /* NULL = one call at most */
    const char *final;
};

enum { REPLY_MAX_PATTERNS = 6 };

struct reply_format {
    const char *name;
    /* The template has the first two texts of a row, and not the third; each may be NULL. */
    const char *marks[3][3];
    const char *heads[REPLY_MAX_PATTERNS]; /* how a call begins in free text */
    const char *nexts[REPLY_MAX_PATTERNS]; /* how another call begins behind a call */
    const char *tails[REPLY_MAX_PATTERNS]; /* what may stand behind a call */
    struct reply_tags tags;
    struct reply_shape shape;
    bool short_ids;  /* ids of 9 letters and digits */
    bool names_free; /* triggers with the names of tools: the first text is no sure sign */
    bool own_text;   /* the template does not tell the model about tools */
};

/* Returns the row of a template; the last one, JSON by instruction, if no other fits. */
const struct reply_format *reply_format_of(const char *source, size_t n);

/* Markers of reasoning. */
struct reply_marks {
    const char *open, *close;
};
/* Returns the markers that a template has; NULL if it has none. */
const struct reply_marks *reply_marks_of(const char *source, size_t n);

#endif
