/* Looks for several short texts in bytes that come one at a time, by the method of Knuth, Morris
 * and Pratt: each byte is looked at once. What has been found so far is a small value apart from
 * the texts, so that a search may also be tried, and go on from where it was. */
#ifndef WEFT_SEARCH_H
#define WEFT_SEARCH_H

#include "base/error.h"

enum { SEARCH_MAX_TEXTS = 16, SEARCH_MAX_TEXT = 256 };

/* border[i] is the length of the longest proper prefix of text that text[0..i] ends with. */
struct search_text {
    size_t n;
    char text[SEARCH_MAX_TEXT];
    uint16_t border[SEARCH_MAX_TEXT];
};

/* All zeros: there is no text, and nothing is ever found. */
struct search {
    struct search_text *texts; /* [n] */
    size_t n;
};

/* How many bytes of each text the bytes so far end with. All zeros: the beginning. */
struct search_at {
    uint16_t matched[SEARCH_MAX_TEXTS];
};

/* Copies the texts. `what` is the name of one in messages. WEFT_E_ARG: too many texts, an empty
 * one, or one that is too long. */
weft_status search_open(struct search *s, const char *what, const char *const *texts, size_t n,
                        weft_error *err);
/* dst may be uninitialised; it is empty after a failure. */
weft_status search_copy(struct search *dst, const struct search *src, weft_error *err);
void search_free(struct search *s);
/* Returns the bytes of memory besides *s. */
size_t search_bytes(const struct search *s);

/* Takes one more byte. Returns the length of the longest text that is now complete, 0 if there is
 * none. After a complete text the search must begin again. */
size_t search_feed(const struct search *s, struct search_at *at, char byte);
/* Returns how many of the last bytes may still become one of the texts. */
size_t search_held(const struct search *s, const struct search_at *at);

#endif
