/* Each pattern of a name splits the pieces that the patterns before it have left. The text between
 * two matches is a word as well. */
#include "text/pretokenize.h"

#include "base/utf8.h"

#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

struct pretokenizer {
    const struct pretokenizer_name *name;
    size_t n;
    pcre2_code *codes[PRETOKENIZER_MAX_PATTERNS];
};

/* Byte offsets where words end. */
struct ends {
    size_t *at;
    size_t n, cap;
};

struct splitter {
    const struct pretokenizer *p;
    pcre2_general_context *general;
    pcre2_match_context *match;
    pcre2_match_data *data;
    bool out_of_memory; /* an allocation of PCRE2 failed */
    struct ends words, next;
    struct bytes valid; /* the text, with each byte replaced that is not UTF-8 */
};

/* PCRE2 takes its memory from here; `failed` distinguishes a lack of memory from a missing
 * feature. */
static void *allocate(size_t n, void *failed)
{
    void *p = malloc(n);
    if (p == NULL) {
        *(bool *)failed = true;
    }
    return p;
}

static void release(void *p, void *failed)
{
    (void)failed;
    free(p);
}

static weft_status pcre_failed(const char *doing, int code, weft_error *err)
{
    PCRE2_UCHAR text[120] = "";
    pcre2_get_error_message(code, text, sizeof text);
    return error_set(err, WEFT_E_INTERNAL, "PCRE2 failed when %s: %s (error %d)", doing,
                     (const char *)text, code);
}

static weft_status compile_one(const char *pattern, pcre2_compile_context *context,
                               const bool *failed, pcre2_code **out, weft_error *err)
{
    int code;
    PCRE2_SIZE where;
    *out = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code,
                         &where, context);
    if (*out == NULL) {
        return *failed ? error_nomem(err, "a pre-tokenizer pattern", strlen(pattern))
                       : pcre_failed("compiling a pre-tokenizer pattern", code, err);
    }
    /* Without a JIT compiler on this machine the pattern is interpreted. */
    pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE);
    return *failed ? error_nomem(err, "a pre-tokenizer pattern", strlen(pattern)) : WEFT_OK;
}

static weft_status compile(struct pretokenizer *p, weft_error *err)
{
    bool failed = false;
    pcre2_general_context *general = pcre2_general_context_create(allocate, release, &failed);
    pcre2_compile_context *context = general ? pcre2_compile_context_create(general) : NULL;
    weft_status status = context ? WEFT_OK : error_nomem(err, "PCRE2", 0);
    while (status == WEFT_OK && p->name->patterns[p->n] != NULL) {
        status = compile_one(p->name->patterns[p->n], context, &failed, &p->codes[p->n], err);
        p->n++;
    }
    pcre2_compile_context_free(context);
    pcre2_general_context_free(general);
    return status;
}

weft_status pretokenizer_open(struct gguf_str name, struct pretokenizer **out, weft_error *err)
{
    const struct pretokenizer_name *found;
    TRY(pretokenizers_find(name, &found, err));
    struct pretokenizer *p = mem_array(1, sizeof *p);
    if (p == NULL) {
        return error_nomem(err, "the pre-tokenizer", sizeof *p);
    }
    p->name = found;
    weft_status status = compile(p, err);
    if (status != WEFT_OK) {
        pretokenizer_close(p);
        return status;
    }
    *out = p;
    return WEFT_OK;
}

void pretokenizer_close(struct pretokenizer *p)
{
    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < p->n; i++) {
        pcre2_code_free(p->codes[i]);
    }
    free(p);
}

unsigned pretokenizer_traits(const struct pretokenizer *p) { return p->name->traits; }

weft_status splitter_open(const struct pretokenizer *p, struct splitter **out, weft_error *err)
{
    enum { HEAP_KIB = 64 * 1024 };
    struct splitter *s = mem_array(1, sizeof *s);
    if (s == NULL) {
        return error_nomem(err, "splitting text", sizeof *s);
    }
    s->p = p;
    s->general = pcre2_general_context_create(allocate, release, &s->out_of_memory);
    if (s->general != NULL) {
        s->match = pcre2_match_context_create(s->general);
        s->data = pcre2_match_data_create(1, s->general);
    }
    if (s->out_of_memory) {
        splitter_close(s);
        return error_nomem(err, "splitting text", sizeof *s);
    }
    pcre2_set_heap_limit(s->match, HEAP_KIB);
    *out = s;
    return WEFT_OK;
}

void splitter_close(struct splitter *s)
{
    if (s == NULL) {
        return;
    }
    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->match);
    pcre2_general_context_free(s->general);
    free(s->words.at);
    free(s->next.at);
    free(s->valid.data);
    free(s);
}

static bool add_end(struct ends *e, size_t at)
{
    if (!mem_reserve(&e->at, &e->cap, e->n + 1, sizeof *e->at)) {
        return false;
    }
    e->at[e->n++] = at;
    return true;
}

/* Replaces each byte that is not UTF-8 by U+001A, which is not a letter, a digit or white space,
 * just as U+FFFD is none of these. A byte is replaced by one byte, so offsets stay. The words are
 * taken from the text itself. */
static weft_status make_valid(struct splitter *s, const char **text, size_t n, weft_error *err)
{
    const char *in = *text;
    bool copied = false;
    for (size_t at = 0, len; at < n; at += len) {
        if (utf8_next(in + at, n - at, &len) == UTF8_CHAR) {
            continue;
        }
        len = 1;
        if (!copied) {
            s->valid.n = 0;
            if (!bytes_add(&s->valid, in, n)) {
                return error_nomem(err, "text to split", n);
            }
            copied = true;
            *text = s->valid.data;
        }
        s->valid.data[at] = 0x1a;
    }
    return WEFT_OK;
}

/* Looks for one match from `from` on. *found is false if there is none. */
static weft_status match_once(struct splitter *s, const pcre2_code *code, const char *text,
                              size_t n, size_t from, bool *found, weft_error *err)
{
    int rc = pcre2_match(code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, s->data, s->match);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
        /* 32 KiB of the thread's stack have always been enough for the JIT; the interpreter needs
         * none. */
        rc = pcre2_match(code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         s->data, s->match);
    }
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) {
        return s->out_of_memory ? error_nomem(err, "splitting text", n)
                                : pcre_failed("splitting text into words", rc, err);
    }
    *found = rc >= 0;
    return WEFT_OK;
}

/* Splits text[begin, end) by one pattern. */
static weft_status split_word(struct splitter *s, const pcre2_code *code, const char *text,
                              size_t begin, size_t end, weft_error *err)
{
    size_t n = end - begin;
    size_t done = 0;
    bool ok = true;
    while (ok && done < n) {
        bool found = false;
        TRY(match_once(s, code, text + begin, n, done, &found, err));
        const PCRE2_SIZE *match = pcre2_get_ovector_pointer(s->data);
        if (!found || match[1] <= done) {
            ok = add_end(&s->next, end);
            break;
        }
        if (match[0] > done) {
            ok = add_end(&s->next, begin + match[0]);
        }
        done = match[1];
        ok = ok && add_end(&s->next, begin + done);
    }
    return ok ? WEFT_OK : error_nomem(err, "the words of a text", s->next.n * sizeof(size_t));
}

weft_status splitter_run(struct splitter *s, const char *text, size_t n, const size_t **ends,
                         size_t *n_words, weft_error *err)
{
    /* Every pattern needs a few steps per byte; the limit only guards against a mistake in a
     * pattern. */
    enum { STEPS_PER_BYTE = 64, STEPS_MORE = 1000000 };
    size_t limit = n > (UINT32_MAX - STEPS_MORE) / STEPS_PER_BYTE ? UINT32_MAX
                                                                  : n * STEPS_PER_BYTE + STEPS_MORE;
    pcre2_set_match_limit(s->match, (uint32_t)limit);
    TRY(make_valid(s, &text, n, err));
    s->words.n = 0;
    if (n > 0 && !add_end(&s->words, n)) {
        return error_nomem(err, "the words of a text", sizeof(size_t));
    }
    for (size_t i = 0; i < s->p->n; i++) {
        s->next.n = 0;
        for (size_t w = 0, begin = 0; w < s->words.n; begin = s->words.at[w++]) {
            TRY(split_word(s, s->p->codes[i], text, begin, s->words.at[w], err));
        }
        struct ends swap = s->words;
        s->words = s->next;
        s->next = swap;
    }
    *ends = s->words.at;
    *n_words = s->words.n;
    return WEFT_OK;
}
