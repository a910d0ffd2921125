/* Reads requests of HTTP/1.0 and 1.1: bytes go in, in pieces of any size, and events come out. It
 * knows no sockets, so that it can be fuzzed.
 *
 * libevent's own evhttp is not used, for measured reasons (tools/compare/NOTES.md): it takes two
 * lengths of a body and reads the rest as a second request, reads "Content-Length : 5" as no
 * length, takes folded lines, bare line feeds and zeros, shows a connection to the application only
 * when its first request is complete, and keeps every byte that a client does not read.
 *
 * Where RFC 9112 lets a server choose between mending and refusing, this one refuses: whoever
 * stands in front of it must not see other borders between requests than it does. */
#ifndef WEFT_HTTP_PARSER_H
#define WEFT_HTTP_PARSER_H

#include "serve/http/head.h"

enum parsed {
    PARSED_MORE, /* everything was read, and the request goes on */
    PARSED_HEAD, /* the head is complete */
    PARSED_BODY, /* `piece` is the next piece of the body */
    PARSED_END,  /* the request is complete; parser_reset() begins the next one */
    PARSED_BAD   /* `status` and `why` say why; where the next request begins is not known */
};

enum parser_state {
    PARSER_LINE, /* the request line */
    PARSER_FIELDS,
    PARSER_BODY,
    PARSER_CHUNK, /* the size of a chunk */
    PARSER_EXTENSION,
    PARSER_CHUNK_LF,
    PARSER_DATA,
    PARSER_DATA_CR,
    PARSER_DATA_LF,
    PARSER_TRAILERS,
    PARSER_END, /* the event is still to be told */
    PARSER_DONE,
    PARSER_BAD
};

struct parser {
    enum parser_state state;
    struct head head;
    uint64_t max_body;
    uint64_t n_body; /* bytes so far */
    uint64_t left;   /* bytes of the body or the chunk that are to come */
    const char *piece;
    size_t n_piece;
    size_t line;    /* where the line in head.text begins */
    size_t n_block; /* bytes of header lines and trailers */
    size_t n_extra; /* bytes of extensions of chunks */
    unsigned n_digits;
    bool cr, begun, skipped;
    int status;
    char why[160];
};

void parser_init(struct parser *p, uint64_t max_body);
void parser_free(struct parser *p);
void parser_reset(struct parser *p);
/* Reads data[n] until something is to be told. Returns how many bytes were read. PARSED_MORE:
 * everything was. `piece` points into data. */
size_t parser_feed(struct parser *p, const char *data, size_t n, enum parsed *what);

#endif
