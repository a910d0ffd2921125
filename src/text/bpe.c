/* GPT-2's alphabet writes each byte as one printable character. Bytes that are printable in Latin-1
 * stand for themselves; the others follow in order from U+0100 on. */
#include "text/bpe.h"

#include "base/utf8.h"
#include "text/spaces.h"

#include <string.h>

static uint32_t letter_of(uint8_t byte)
{
    if (byte <= 0x20) {
        return 0x100u + byte;
    }
    if (byte >= 0x7f && byte <= 0xa0) {
        return 0x121u + (byte - 0x7fu);
    }
    return byte == 0xad ? 0x143u : byte;
}

/* Returns the byte that this character of the alphabet stands for, -1 if it is not in the
 * alphabet. */
static int byte_of(uint32_t letter)
{
    if (letter >= 0x100 && letter <= 0x120) {
        return (int)(letter - 0x100);
    }
    if (letter >= 0x121 && letter <= 0x142) {
        return (int)(letter - 0x121 + 0x7f);
    }
    if (letter == 0x143) {
        return 0xad;
    }
    return letter < 0x100 && letter_of((uint8_t)letter) == letter ? (int)letter : -1;
}

/* Returns the slot of this pair, or the empty slot where it would go. */
static struct bpe_merge *find_slot(const struct bpe *b, int32_t left, int32_t right)
{
    const size_t mask = b->n_slots - 1;
    size_t i = (size_t)hash_number(&b->seed, (uint64_t)(uint32_t)left << 32 | (uint32_t)right);
    for (;; i++) {
        struct bpe_merge *m = &b->merges[i & mask];
        if (m->id < 0 || (m->left == left && m->right == right)) {
            return m;
        }
    }
}

static weft_status bad_merge(size_t i, struct gguf_str t, const char *why, weft_error *err)
{
    return error_set(err, WEFT_E_FORMAT, "tokenizer.ggml.merges[%zu] is '%.*s': %s", i,
                     (int)size_min(t.n, 64), t.s, why);
}

/* Adds merge i, "left right". */
static weft_status add_merge(struct bpe *b, const struct vocab *v, size_t i, struct gguf_str t,
                             struct bytes *joined, weft_error *err)
{
    const char *space = t.n > 1 ? memchr(t.s + 1, ' ', t.n - 1) : NULL;
    if (space == NULL || space + 1 == t.s + t.n) {
        return bad_merge(i, t, "expected two token texts with a space between them", err);
    }
    size_t n_left = (size_t)(space - t.s);
    joined->n = 0;
    if (!bytes_add(joined, t.s, n_left) || !bytes_add(joined, space + 1, t.n - n_left - 1)) {
        return error_nomem(err, "a merge", t.n);
    }
    int32_t left = vocab_find(v, t.s, n_left);
    int32_t right = vocab_find(v, space + 1, t.n - n_left - 1);
    int32_t id = vocab_find(v, joined->data, joined->n);
    if (left < 0 || right < 0 || id < 0) {
        const char *why = left < 0    ? "the left text is not in tokenizer.ggml.tokens"
                          : right < 0 ? "the right text is not in tokenizer.ggml.tokens"
                                      : "the merged text is not in tokenizer.ggml.tokens";
        return bad_merge(i, t, why, err);
    }
    /* Ordinary text never becomes a control token, whatever the merges say. */
    if (!vocab_is_text(v, left) || !vocab_is_text(v, right) || !vocab_is_text(v, id)) {
        return WEFT_OK;
    }
    struct bpe_merge *m = find_slot(b, left, right);
    if (m->id < 0) {
        *m = (struct bpe_merge){ left, right, (uint32_t)i, id };
    }
    return WEFT_OK;
}

static weft_status read_merges(const struct gguf *g, const struct vocab *v, struct bpe *b,
                               weft_error *err)
{
    const struct gguf_kv *kv = NULL;
    TRY(gguf_get_array(g, "tokenizer.ggml.merges", GGUF_STR, &kv, err));
    b->seed = hash_seed_draw();
    b->n_slots = 16;
    while (b->n_slots < 2 * kv->n) {
        b->n_slots *= 2;
    }
    b->merges = mem_array(b->n_slots, sizeof *b->merges);
    if (b->merges == NULL) {
        return error_nomem(err, "the merges", b->n_slots * sizeof *b->merges);
    }
    for (size_t i = 0; i < b->n_slots; i++) {
        b->merges[i].id = -1;
    }
    struct bytes joined = { 0 };
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < kv->n && status == WEFT_OK; i++) {
        status = add_merge(b, v, i, kv->strs[i], &joined, err);
    }
    free(joined.data);
    return status;
}

/* Finds the token of each byte: the token of its letter. */
static void find_letters(const struct vocab *v, int32_t *byte_id)
{
    for (int byte = 0; byte < 256; byte++) {
        char letter[UTF8_MAX];
        int32_t id = vocab_find(v, letter, utf8_write(letter_of((uint8_t)byte), letter));
        byte_id[byte] = id >= 0 && vocab_is_text(v, id) ? id : -1;
    }
}

static weft_status read_all(const struct gguf *g, const struct vocab *v, const char *pre,
                            struct bpe *b, weft_error *err)
{
    struct gguf_str name = { pre, pre != NULL ? strlen(pre) : 0 };
    if (pre == NULL) {
        TRY(gguf_opt_str(g, "tokenizer.ggml.pre", &name, err));
    }
    /* Early files do not name their pre-tokenizer: remarks.h reports it. */
    name = name.n == 0 ? (struct gguf_str){ "default", 7 } : name;
    TRY(pretokenizer_open(name, &b->pre, err));
    b->traits = pretokenizer_traits(b->pre);
    if (b->traits & PRE_CHARACTERS) {
        vocab_byte_tokens(v, -1, b->byte_id);
    } else {
        find_letters(v, b->byte_id);
    }
    return read_merges(g, v, b, err);
}

weft_status bpe_open(const struct gguf *g, const struct vocab *v, const char *pre, struct bpe *b,
                     weft_error *err)
{
    memset(b, 0, sizeof *b);
    weft_status status = read_all(g, v, pre, b, err);
    if (status != WEFT_OK) {
        bpe_close(b);
    }
    return status;
}

void bpe_close(struct bpe *b)
{
    pretokenizer_close(b->pre);
    free(b->merges);
    memset(b, 0, sizeof *b);
}

static bool rule(const void *user, const struct symbol *left, const struct symbol *right,
                 uint32_t *order, int32_t *id)
{
    const struct bpe_merge *m = find_slot(user, left->id, right->id);
    if (m->id < 0) {
        return false;
    }
    *order = m->rank;
    *id = m->id;
    return true;
}

/* Returns true if a token that is the whole word stands for the word, whatever the merges would
 * make. */
static bool is_taken_whole(const struct bpe *b, const char *text, size_t n)
{
    size_t newlines = 0;
    while (b->traits & PRE_WHOLE_NEWLINES && newlines < n && text[newlines] == '\n') {
        newlines++;
    }
    return b->traits & PRE_WHOLE_WORDS || newlines == n;
}

/* Finds the token that is the whole word, -1 if there is none. */
static weft_status find_word(const struct bpe *b, const struct vocab *v, const char *text, size_t n,
                             struct bytes *word, int32_t *id, weft_error *err)
{
    *id = -1;
    if (n > v->longest) {
        return WEFT_OK;
    }
    word->n = 0;
    bool ok = !(b->traits & PRE_CHARACTERS) || bytes_add(word, text, n);
    for (size_t i = 0; ok && !(b->traits & PRE_CHARACTERS) && i < n; i++) {
        char letter[UTF8_MAX];
        ok = bytes_add(word, letter, utf8_write(letter_of((uint8_t)text[i]), letter));
    }
    if (!ok) {
        return error_nomem(err, "a word", n);
    }
    int32_t found = vocab_find(v, word->data, word->n);
    *id = found >= 0 && vocab_is_text(v, found) ? found : -1;
    return WEFT_OK;
}

/* Adds a symbol for each byte of the word, or for each character; it need not have a token. */
static weft_status add_symbols(const struct bpe *b, const struct vocab *v, const char *text,
                               size_t n, struct merger *m, weft_error *err)
{
    m->n = 0;
    bool ok = true;
    for (size_t at = 0, len = 1; ok && at < n; at += len) {
        int32_t id = b->byte_id[(uint8_t)text[at]];
        if (b->traits & PRE_CHARACTERS) {
            len = utf8_next(text + at, n - at, &len) == UTF8_CHAR ? len : 1;
            id = vocab_find(v, text + at, len);
            id = id >= 0 && vocab_is_text(v, id) ? id : -1;
        }
        ok = merger_add(m, at, len, id);
    }
    return ok ? WEFT_OK : error_nomem(err, "tokenizing a word", n * sizeof *m->symbols);
}

/* Adds the tokens of the bytes that no merge has taken. Bytes without a token were borders and are
 * left out. */
static bool add_bytes(const struct bpe *b, const char *text, size_t n, struct tokens *out)
{
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        int32_t id = b->byte_id[(uint8_t)text[i]];
        ok = id < 0 || tokens_add(out, id);
    }
    return ok;
}

static weft_status encode_word(const struct bpe *b, const struct vocab *v, const char *text,
                               size_t n, struct bpe_work *work, struct tokens *out, weft_error *err)
{
    struct merger *m = &work->merger;
    int32_t whole = -1;
    if (is_taken_whole(b, text, n)) {
        TRY(find_word(b, v, text, n, &work->word, &whole, err));
    }
    if (whole >= 0) {
        return tokens_add(out, whole) ? WEFT_OK : error_nomem(err, "tokens", sizeof whole);
    }
    TRY(add_symbols(b, v, text, n, m, err));
    bool ok = merger_run(m, rule, b);
    for (int32_t i = ok && m->n > 0 ? 0 : -1; ok && i >= 0; i = m->symbols[i].next) {
        const struct symbol *s = &m->symbols[i];
        ok = s->id >= 0 ? tokens_add(out, s->id) : add_bytes(b, text + s->start, s->n, out);
    }
    return ok ? WEFT_OK : error_nomem(err, "tokenizing a word", n * sizeof *m->symbols);
}

weft_status bpe_encode(const struct bpe *b, const struct vocab *v, const char *text, size_t n,
                       struct bpe_work *work, struct tokens *out, weft_error *err)
{
    if (work->splitter == NULL) {
        TRY(splitter_open(b->pre, &work->splitter, err));
    }
    if (b->traits & PRE_CHARACTERS) {
        if (!spaces_write(text, n, false, &work->escaped)) {
            return error_nomem(err, "text to tokenize", n);
        }
        text = work->escaped.data;
        n = work->escaped.n;
    }
    const size_t *ends;
    size_t n_words;
    TRY(splitter_run(work->splitter, text, n, &ends, &n_words, err));
    for (size_t i = 0, begin = 0; i < n_words; begin = ends[i++]) {
        TRY(encode_word(b, v, text + begin, ends[i] - begin, work, out, err));
    }
    return WEFT_OK;
}

void bpe_work_free(struct bpe_work *work)
{
    merger_free(&work->merger);
    splitter_close(work->splitter);
    free(work->word.data);
    free(work->escaped.data);
}

bool bpe_piece(const struct bpe *b, const struct vocab *v, int32_t id, struct bytes *out)
{
    struct gguf_str t = vocab_text(v, id);
    if (b->traits & PRE_CHARACTERS) {
        return spaces_read(t, out);
    }
    for (size_t at = 0, len; at < t.n; at += len) {
        int byte = -1;
        if (utf8_next(t.s + at, t.n - at, &len) != UTF8_CHAR) {
            len = 1;
        } else if (len <= 2) {
            byte = byte_of(utf8_code_point(t.s + at, len));
        }
        /* Bytes outside the alphabet are written as they are. */
        char raw = (char)byte;
        if (!(byte >= 0 ? bytes_add(out, &raw, 1) : bytes_add(out, t.s + at, len))) {
            return false;
        }
    }
    return true;
}
