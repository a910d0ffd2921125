/* Requests of HTTP: however the input is cut, the same requests are found in it; what is accepted
 * has one meaning only, and takes bounded memory. The first byte says how the input is cut. */
#include "fuzz.h"

#include "serve/http/hosts.h"
#include "serve/http/parser.h"
#include "serve/http/routes.h"

enum { MAX_BODY_BYTES = 4096 };

/* What an input gave: a hash of all events, with the pieces of a body joined. */
struct story {
    uint64_t hash;
    size_t n_requests, n_body;
    int status;
};

static void add(struct story *s, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        s->hash = (s->hash ^ (unsigned char)data[i]) * 0x100000001b3u;
    }
}

static void add_text(struct story *s, const char *text) { add(s, text, strlen(text) + 1); }

static size_t count(const struct head *h, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n_fields; i++) {
        n += strcmp(h->text + h->fields[i].name, name) == 0;
    }
    return n;
}

/* Nothing that another reader could understand differently has passed. */
static void check_head(const struct head *h)
{
    MUST(h->n_fields <= HEAD_MAX_FIELDS);
    MUST(h->cap <= 2 * (HEAD_MAX_LINE + HEAD_MAX_BLOCK));
    MUST(h->path != 0 && strlen(h->text + h->path) <= HEAD_MAX_TARGET);
    MUST(h->text[h->path] == '/' || strcmp(h->text + h->path, "*") == 0);
    MUST(count(h, "content-length") == (h->has_length ? 1 : 0));
    MUST(count(h, "transfer-encoding") == (h->chunked ? 1 : 0));
    MUST(!h->chunked || (!h->has_length && h->minor == 1));
    MUST(count(h, "host") + (h->minor == 0) >= 1 && count(h, "host") <= 1);
    MUST(!h->has_length || h->length <= MAX_BODY_BYTES);
}

static void add_head(struct story *s, const struct head *h)
{
    unsigned allowed;
    check_head(h);
    add_text(s, head_method_name(h->method));
    add_text(s, h->text + h->path);
    add_text(s, h->query != 0 ? h->text + h->query : "");
    add_text(s, head_host(h));
    for (size_t i = 0; i < h->n_fields; i++) {
        MUST(h->text[h->fields[i].name] != '\0');
        add_text(s, h->text + h->fields[i].name);
        add_text(s, h->text + h->fields[i].value);
    }
    add(s, (const char[]){ (char)h->minor, h->close, h->expects, h->chunked }, 4);
    routes_find(h->text + h->path, h->method, &allowed);
    const char *origin = head_get(h, "origin");
    add(s, (const char[]){ host_is_known(head_host(h), NULL, 0) }, 1);
    if (origin != NULL) {
        add(s, (const char[]){ origin_is_known(origin, head_host(h), NULL, 0) }, 1);
    }
}

static void on_end(struct story *s, struct parser *p)
{
    MUST(!p->head.has_length || s->n_body == p->head.length);
    MUST(s->n_body <= MAX_BODY_BYTES);
    add_text(s, "end");
    s->n_requests++;
    s->n_body = 0;
    parser_reset(p);
}

/* Feeds one piece. Returns false if it was refused. */
static bool feed(struct parser *p, struct story *s, const char *data, size_t n)
{
    enum parsed what;
    do {
        size_t used = parser_feed(p, data, n, &what);
        MUST(used <= n && (what != PARSED_MORE || used == n));
        data += used;
        n -= used;
        switch (what) {
        case PARSED_HEAD: add_head(s, &p->head); break;
        case PARSED_BODY:
            MUST(p->n_piece > 0);
            add(s, p->piece, p->n_piece);
            s->n_body += p->n_piece;
            break;
        case PARSED_END: on_end(s, p); break;
        case PARSED_BAD:
            MUST(p->status >= 400 && p->status <= 599 && p->why[0] != '\0');
            s->status = p->status;
            add_text(s, p->why);
            break;
        case PARSED_MORE: break;
        }
    } while (what != PARSED_MORE && what != PARSED_BAD);
    return what != PARSED_BAD;
}

/* Feeds data[n] in pieces of `most` bytes at most, of lengths that `seed` chooses. */
static struct story read_all(const char *data, size_t n, size_t most, uint32_t seed)
{
    struct story s = { .hash = 0xcbf29ce484222325u };
    struct parser p;
    parser_init(&p, MAX_BODY_BYTES);
    for (size_t at = 0, take; at < n; at += take) {
        seed = seed * 1664525u + 1013904223u;
        take = 1 + (seed >> 16) % most;
        take = take < n - at ? take : n - at;
        /* A copy, so that reading behind a piece is noticed. */
        char *piece = malloc(take);
        MUST(piece != NULL);
        memcpy(piece, data + at, take);
        bool goes_on = feed(&p, &s, piece, take);
        free(piece);
        if (!goes_on) {
            break;
        }
    }
    parser_free(&p);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    uint8_t how = fuzz_byte(&in);
    const char *text = (const char *)in.data;
    struct story whole = read_all(text, in.n, in.n + 1, 0);
    struct story cut = read_all(text, in.n, how % 4 == 0 ? 1 : 1 + how, how);
    MUST(whole.hash == cut.hash && whole.status == cut.status &&
         whole.n_requests == cut.n_requests);
    return 0;
}
