#include "support/colliding.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct search {
    bool (*hits)(uint64_t hash);
    struct colliding_name *names, name;
    size_t n, want;
};

static void extend(struct search *s, size_t at, uint64_t hash)
{
    if (at == COLLIDING_LETTERS) {
        if (s->hits(hash)) {
            s->names[s->n++] = s->name;
        }
        return;
    }
    for (char c = 'a'; c <= 'z' && s->n < s->want; c++) {
        s->name.text[at] = c;
        extend(s, at + 1, (hash ^ (unsigned char)c) * 0x100000001b3u);
    }
}

struct colliding_name *colliding_names(size_t n, bool (*hits)(uint64_t hash))
{
    struct search s = { .hits = hits, .names = calloc(n, sizeof *s.names), .want = n };
    assert_non_null(s.names);
    extend(&s, 0, 0xcbf29ce484222325u);
    assert_int_equal(s.n, n);
    return s.names;
}
