/* The common part of both algorithms: the special tokens of the file, which of them end a text, and
 * the way from text to fragments and back. It follows the choices of llama.cpp, so that a file
 * gives the same ids in both. */
#include "text/bpe.h"
#include "text/spaces.h"
#include "text/special.h"
#include "text/spm.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Offsets and symbol numbers fit into 32 bits, even if each space becomes three bytes. */
enum { MAX_TEXT = 1 << 28 };

/* The values that tokenizer.ggml.model may have. */
static const struct kind {
    const char *name;
    bool is_spm;
    /* The pre-tokenizer that the value implies; NULL: the file names it. */
    const char *pre;
    /* Why Weft does not run it; NULL: Weft runs it. */
    const char *why;
} kinds[] = {
    { "gpt2", false, NULL, NULL },
    { "llama", true, NULL, NULL },
    { "gemma4", false, "gemma4", NULL },
    { "bert", false, NULL, "WordPiece is for encoder models, none of which Weft runs" },
    { "t5", false, NULL, "unigrams are for T5 and encoder models, none of which Weft runs" },
    { "rwkv", false, NULL, "it is for RWKV models, which Weft does not run" },
    { "plamo2", false, NULL, "it is for PLaMo models, which Weft does not run" },
    { "hybriddna", false, NULL, "it reads DNA in <dna> by k-mers, for Carbon models only" },
    { "whitespace", false, NULL, "it drops white space, for one embedding model only" },
    { "none", false, NULL, "convert the model again, with its tokenizer" },
    { "no_vocab", false, NULL, "convert the model again, with its tokenizer" },
};

struct tokenizer {
    struct vocab vocab;
    struct specials specials;
    bool *ends; /* [n_vocab] */
    int32_t bos, eos, unknown;
    bool adds_bos, adds_eos;
    bool is_spm, adds_prefix;
    struct spm spm; /* if is_spm */
    struct bpe bpe; /* otherwise */
};

/* Tokens that are known by their text. Files often give them another type. As control tokens they
 * are recognised only in calls that ask for control tokens. Those with `ends` end a text or a
 * turn. */
static const struct known {
    const char *text;
    bool ends;
    /* If this token exists, the type of the file is right. */
    const char *unless;
} known_tokens[] = {
    { "</s>", true, "<|tool_response>" }, /* Gemma 4 uses it for HTML */
    { "<eos>", true, NULL },
    { "<turn|>", true, NULL },
    { "<|tool_response>", true, NULL },
    { "[e~[", true, NULL },
    { "[EOS]", true, NULL },
    { "<|endoftext|>", true, NULL },
    { "<|end_of_text|>", true, NULL },
    { "<|im_end|>", true, NULL },
    { "<|end|>", true, NULL },
    { "<|eot_id|>", true, NULL },
    { "<|eom_id|>", true, NULL },
    { "<end_of_turn>", true, NULL },
    { "<end_of_utterance>", true, NULL },
    { "<EOT>", true, NULL },
    { "_<EOT>", true, NULL },
    { "[EOT]", true, NULL },
    { "<\xef\xbd\x9c"
      "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
      true, NULL },
    { "<|fim_pad|>", true, NULL },
    { "<fim-pad>", true, NULL },
    { "<fim_pad>", true, NULL },
    { "<PAD>", true, NULL },
    { "[PAD]", true, NULL },
    { "<|fim_repo|>", true, NULL },
    { "<|repo_name|>", true, NULL },
    { "<fim-repo>", true, NULL },
    { "<REPO>", true, NULL },
    { "<reponame>", true, NULL },
    { "<|file_sep|>", true, NULL },
    { "<|fim_prefix|>", false, NULL },
    { "<fim-prefix>", false, NULL },
    { "<fim_prefix>", false, NULL },
    { "<PRE>", false, NULL },
    { "\xe2\x96\x81<PRE>", false, NULL },
    { "<|fim_suffix|>", false, NULL },
    { "<fim-suffix>", false, NULL },
    { "<fim_suffix>", false, NULL },
    { "<SUF>", false, NULL },
    { "\xe2\x96\x81<SUF>", false, NULL },
    { "<|fim_middle|>", false, NULL },
    { "<fim-middle>", false, NULL },
    { "<fim_middle>", false, NULL },
    { "<MID>", false, NULL },
    { "\xe2\x96\x81<MID>", false, NULL },
    { "<|code_prefix|>", false, NULL },
    { "<|code_suffix|>", false, NULL },
    { "<|code_middle|>", false, NULL },
    { "<|prefix|>", false, NULL },
    { "<|suffix|>", false, NULL },
    { "<|middle|>", false, NULL },
    { "<\xef\xbd\x9c"
      "fim\xe2\x96\x81"
      "begin\xef\xbd\x9c>",
      false, NULL },
    { "<\xef\xbd\x9c"
      "fim\xe2\x96\x81"
      "hole\xef\xbd\x9c>",
      false, NULL },
    { "<\xef\xbd\x9c"
      "fim\xe2\x96\x81"
      "end\xef\xbd\x9c>",
      false, NULL },
};

/* Reads the id under a key. It is -1 if the key is absent or if no token has this id, which gives a
 * warning about the file. */
static weft_status read_id(const struct gguf *g, const char *key, size_t n_vocab, int32_t *out,
                           weft_error *err)
{
    uint32_t id = UINT32_MAX;
    if (gguf_find(g, key) == NULL) {
        *out = -1;
        return WEFT_OK;
    }
    TRY(gguf_get_u32(g, key, &id, err));
    *out = id < n_vocab ? (int32_t)id : -1;
    return WEFT_OK;
}

/* Files of the first SPM models do not name their special tokens. */
static int32_t or_default(int32_t id, const struct tokenizer *t, int32_t usual)
{
    return id >= 0 || !t->is_spm || (size_t)usual >= t->vocab.n ? id : usual;
}

/* Some files list all their end tokens. */
static weft_status read_end_ids(const struct gguf *g, struct tokenizer *t, weft_error *err)
{
    const char *key = "tokenizer.ggml.eos_token_ids";
    const struct gguf_kv *kv = gguf_find(g, key);
    if (kv == NULL) {
        return WEFT_OK;
    }
    if (kv->type != GGUF_ARR || (kv->element != GGUF_U32 && kv->element != GGUF_I32)) {
        return error_set(err, WEFT_E_FORMAT, "%s is no array of u32 or i32", key);
    }
    for (size_t i = 0; i < kv->n; i++) {
        int32_t id = gguf_i32_at(kv, i);
        if (id >= 0 && (size_t)id < t->vocab.n) {
            t->ends[id] = true;
        }
    }
    return WEFT_OK;
}

/* Returns true if the file itself gives the token a role. */
static bool is_named(const struct gguf *g, const struct tokenizer *t, int32_t id)
{
    static const char *const keys[] = {
        "padding", "seperator", "separator", "mask",    "cls",     "prefix",  "suffix",
        "middle",  "fim_pre",   "fim_suf",   "fim_mid", "fim_pad", "fim_rep", "fim_sep",
    };
    if (t->ends[id] || id == t->bos || id == t->unknown) {
        return true;
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char key[64];
        uint32_t v = UINT32_MAX;
        snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", keys[i]);
        if (gguf_opt_u32(g, key, &v, NULL) == WEFT_OK && v == (uint32_t)id) {
            return true;
        }
    }
    return false;
}

/* Returns true if a merge "left right" of the file makes this text. */
static bool is_merged(const struct gguf *g, const char *text)
{
    const struct gguf_kv *kv = gguf_find(g, "tokenizer.ggml.merges");
    size_t n = strlen(text);
    for (size_t i = 0; kv != NULL && kv->strs != NULL && i < kv->n; i++) {
        struct gguf_str m = kv->strs[i];
        const char *space = m.n == n + 1 ? memchr(m.s, ' ', m.n) : NULL;
        size_t left = space != NULL ? (size_t)(space - m.s) : 0;
        if (space != NULL && memcmp(m.s, text, left) == 0 &&
            memcmp(space + 1, text + left, n - left) == 0) {
            return true;
        }
    }
    return false;
}

static weft_status read_specials(const struct gguf *g, struct tokenizer *t, weft_error *err)
{
    size_t n = t->vocab.n;
    t->ends = mem_array(n, sizeof *t->ends);
    if (t->ends == NULL) {
        return error_nomem(err, "the end tokens", n);
    }
    int32_t eot = -1;
    int32_t eom = -1;
    TRY(read_id(g, "tokenizer.ggml.bos_token_id", n, &t->bos, err));
    TRY(read_id(g, "tokenizer.ggml.eos_token_id", n, &t->eos, err));
    TRY(read_id(g, "tokenizer.ggml.unknown_token_id", n, &t->unknown, err));
    TRY(read_id(g, "tokenizer.ggml.eot_token_id", n, &eot, err));
    TRY(read_id(g, "tokenizer.ggml.eom_token_id", n, &eom, err));
    t->bos = or_default(t->bos, t, 1);
    t->eos = or_default(t->eos, t, 2);
    for (size_t i = 0; i < n && t->is_spm && t->unknown < 0; i++) {
        t->unknown = t->vocab.type[i] == TOKEN_UNKNOWN ? (int32_t)i : -1;
    }
    const int32_t ends[] = { t->eos, eot, eom };
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        if (ends[i] >= 0) {
            t->ends[ends[i]] = true;
        }
    }
    TRY(read_end_ids(g, t, err));
    for (size_t i = 0; i < sizeof known_tokens / sizeof known_tokens[0]; i++) {
        const struct known *k = &known_tokens[i];
        int32_t id = vocab_find(&t->vocab, k->text, strlen(k->text));
        bool excepted =
            k->unless != NULL && vocab_find(&t->vocab, k->unless, strlen(k->unless)) >= 0;
        /* an ordinary token that looks special, such as HTML's "</s>" in Qwen's vocabulary */
        bool ordinary = id >= 0 && !t->is_spm && t->vocab.type[id] == TOKEN_NORMAL &&
                        !is_named(g, t, id) && is_merged(g, k->text);
        if (id >= 0 && !ordinary && !excepted) {
            t->vocab.type[id] = TOKEN_CONTROL;
            t->ends[id] = t->ends[id] || k->ends;
        }
    }
    return WEFT_OK;
}

static bool names_phi3(struct gguf_str name)
{
    static const char *const parts[] = { "phi-3", "phi3" };
    for (size_t p = 0; p < 2; p++) {
        size_t len = strlen(parts[p]);
        for (size_t i = 0; i + len <= name.n; i++) {
            if (strncasecmp(name.s + i, parts[p], len) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Finds the special tokens that include white space; GGUF has no key for that. strips: [n_vocab] */
static void find_strips(const struct tokenizer *t, struct gguf_str name, uint8_t *strips)
{
    static const char *const plain[] = { "<unk>", "<s>", "<|endoftext|>" };
    if (names_phi3(name)) {
        memset(strips, STRIPS_RIGHT, t->vocab.n);
        for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
            int32_t id = vocab_find(&t->vocab, plain[i], strlen(plain[i]));
            if (id >= 0) {
                strips[id] = 0;
            }
        }
    }
    int32_t mask = vocab_find(&t->vocab, "<mask>", 6);
    if (mask >= 0 && t->bpe.traits & PRE_MASK_STRIPS) {
        strips[mask] = STRIPS_LEFT;
    }
}

static weft_status index_specials(const struct gguf *g, struct tokenizer *t, weft_error *err)
{
    struct gguf_str name = { "", 0 };
    TRY(gguf_opt_str(g, "general.name", &name, err));
    uint8_t *strips = mem_array(t->vocab.n, sizeof *strips);
    if (strips == NULL) {
        return error_nomem(err, "the special tokens", t->vocab.n);
    }
    find_strips(t, name, strips);
    weft_status status = specials_open(&t->vocab, strips, &t->specials, err);
    free(strips);
    return status;
}

/* The file asks to add a token (key `asks`) that it does not have (key `names`). If the id is out
 * of range, a warning has been given. If there is no id, it is an error, because the file should be
 * complete. */
static weft_status cannot_add(const struct gguf *g, const char *asks, const char *names, bool *adds,
                              weft_error *err)
{
    *adds = false;
    return gguf_find(g, names) != NULL
               ? WEFT_OK
               : error_set(err, WEFT_E_FORMAT, "%s is true, but there is no %s", asks, names);
}

static weft_status read_bos(const struct gguf *g, struct tokenizer *t, weft_error *err)
{
    const char *key = "tokenizer.ggml.add_bos_token";
    unsigned traits = t->is_spm ? PRE_ADDS_BOS : t->bpe.traits;
    t->adds_bos = t->bos >= 0 && traits & PRE_ADDS_BOS;
    TRY(gguf_opt_bool(g, key, &t->adds_bos, err));
    /* Converters wrote false for models whose chat template adds it in Transformers. */
    t->adds_bos = t->adds_bos || (t->bos >= 0 && traits & PRE_ALWAYS_BOS);
    return t->adds_bos && t->bos < 0
               ? cannot_add(g, key, "tokenizer.ggml.bos_token_id", &t->adds_bos, err)
               : WEFT_OK;
}

static weft_status read_eos(const struct gguf *g, struct tokenizer *t, weft_error *err)
{
    const char *key = "tokenizer.ggml.add_eos_token";
    TRY(gguf_opt_bool(g, key, &t->adds_eos, err));
    return t->adds_eos && t->eos < 0
               ? cannot_add(g, key, "tokenizer.ggml.eos_token_id", &t->adds_eos, err)
               : WEFT_OK;
}

static weft_status read_kind(const struct gguf *g, const struct kind **out, weft_error *err)
{
    struct gguf_str model;
    TRY(gguf_get_str(g, "tokenizer.ggml.model", &model, err));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        *out = &kinds[i];
        if (gguf_str_is(model, kinds[i].name)) {
            return kinds[i].why == NULL
                       ? WEFT_OK
                       : error_set(err, WEFT_E_UNSUPPORTED,
                                   "tokenizer.ggml.model is '%s', expected gpt2, llama or gemma4: "
                                   "%s",
                                   kinds[i].name, kinds[i].why);
        }
    }
    return error_set(err, WEFT_E_UNSUPPORTED,
                     "tokenizer.ggml.model is '%.*s'; expected gpt2, llama or gemma4",
                     (int)size_min(model.n, 64), model.s);
}

static weft_status read_all(const struct gguf *g, struct tokenizer *t, weft_error *err)
{
    const struct kind *kind;
    TRY(read_kind(g, &kind, err));
    t->is_spm = kind->is_spm;
    TRY(vocab_open(g, &t->vocab, err));
    TRY(read_specials(g, t, err));
    if (t->is_spm) {
        t->adds_prefix = true;
        TRY(gguf_opt_bool(g, "tokenizer.ggml.add_space_prefix", &t->adds_prefix, err));
        TRY(spm_open(&t->vocab, t->unknown, &t->spm, err));
    } else {
        TRY(bpe_open(g, &t->vocab, kind->pre, &t->bpe, err));
    }
    TRY(index_specials(g, t, err));
    TRY(read_bos(g, t, err));
    return read_eos(g, t, err);
}

weft_status tokenizer_open(const struct gguf *g, struct tokenizer **out, weft_error *err)
{
    struct tokenizer *t = mem_array(1, sizeof *t);
    if (t == NULL) {
        return error_nomem(err, "the tokenizer", sizeof *t);
    }
    weft_status status = read_all(g, t, err);
    if (status != WEFT_OK) {
        tokenizer_close(t);
        return status;
    }
    *out = t;
    return WEFT_OK;
}

void tokenizer_close(struct tokenizer *t)
{
    if (t == NULL) {
        return;
    }
    bpe_close(&t->bpe);
    specials_close(&t->specials);
    vocab_close(&t->vocab);
    free(t->ends);
    free(t);
}

/* Memory of one call of tokenizer_encode(). */
struct work {
    /* SPM uses the merger of this one. */
    struct bpe_work bpe;
    struct bytes escaped;
    struct fragments fragments;
};

static weft_status add_id(struct tokens *out, int32_t id, weft_error *err)
{
    return tokens_add(out, id) ? WEFT_OK : error_nomem(err, "tokens", out->n * sizeof id);
}

/* Appends the ids of the fragments of a text. */
static weft_status encode_fragments(const struct tokenizer *t, const char *text, bool prefix,
                                    struct work *w, struct tokens *out, weft_error *err)
{
    for (size_t i = 0; i < w->fragments.n; i++) {
        const struct fragment *f = &w->fragments.at[i];
        if (f->id >= 0) {
            TRY(add_id(out, f->id, err));
            prefix = t->adds_prefix;
        } else if (t->is_spm) {
            TRY(spm_encode(&t->spm, &t->vocab, text + f->start, f->n, prefix, &w->bpe.merger,
                           &w->escaped, out, err));
            prefix = false;
        } else {
            TRY(bpe_encode(&t->bpe, &t->vocab, text + f->start, f->n, &w->bpe, out, err));
        }
    }
    return WEFT_OK;
}

static weft_status encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
                          struct work *w, struct tokens *out, weft_error *err)
{
    size_t first = out->n;
    if ((flags & WEFT_TOKENIZE_BOS) && t->adds_bos) {
        TRY(add_id(out, t->bos, err));
    }
    TRY(specials_split(&t->specials, text, n, (flags & WEFT_TOKENIZE_SPECIAL) != 0, NULL,
                       &w->fragments, err));
    bool prefix = t->adds_prefix && !(flags & WEFT_TOKENIZE_NO_PREFIX);
    TRY(encode_fragments(t, text, prefix, w, out, err));
    bool ends = out->n > first && out->data[out->n - 1] == t->eos;
    return (flags & WEFT_TOKENIZE_EOS) && t->adds_eos && !ends ? add_id(out, t->eos, err) : WEFT_OK;
}

static weft_status encode_written(const struct tokenizer *t, const char *text, size_t n,
                                  const struct written *by, unsigned flags, struct work *w,
                                  struct tokens *out, weft_error *err)
{
    TRY(specials_split(&t->specials, text, n, true, by, &w->fragments, err));
    const bool has_bos = w->fragments.n > 0 && w->fragments.at[0].id == t->bos;
    if ((flags & WEFT_TOKENIZE_BOS) && t->adds_bos && !has_bos) {
        TRY(add_id(out, t->bos, err));
    }
    return encode_fragments(t, text, t->adds_prefix && !(flags & WEFT_TOKENIZE_NO_PREFIX), w, out,
                            err);
}

static weft_status check_length(size_t n, weft_error *err)
{
    return n <= MAX_TEXT ? WEFT_OK
                         : error_set(err, WEFT_E_ARG, "the text has %zu bytes, expected at most %d",
                                     n, MAX_TEXT);
}

/* Frees the memory of a call, and takes back what a call that failed has appended. */
static weft_status finish(struct work *w, size_t before, struct tokens *out, weft_status status)
{
    if (status != WEFT_OK) {
        out->n = before;
    }
    bpe_work_free(&w->bpe);
    free(w->escaped.data);
    free(w->fragments.at);
    return status;
}

weft_status tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
                             struct tokens *out, weft_error *err)
{
    const unsigned known =
        WEFT_TOKENIZE_BOS | WEFT_TOKENIZE_SPECIAL | WEFT_TOKENIZE_NO_PREFIX | WEFT_TOKENIZE_EOS;
    if (flags & ~known) {
        return error_set(err, WEFT_E_ARG,
                         "flags are 0x%x, expected WEFT_TOKENIZE_* values, a combination of 0x%x",
                         flags, known);
    }
    TRY(check_length(n, err));
    struct work w = { 0 };
    size_t before = out->n;
    return finish(&w, before, out, encode(t, text, n, flags, &w, out, err));
}

weft_status tokenizer_encode_written(const struct tokenizer *t, const char *text, size_t n,
                                     const struct written *by, unsigned flags, struct tokens *out,
                                     weft_error *err)
{
    TRY(check_length(n, err));
    struct work w = { 0 };
    size_t before = out->n;
    return finish(&w, before, out, encode_written(t, text, n, by, flags, &w, out, err));
}

weft_status tokenizer_check(const struct tokenizer *t, const int32_t *tokens, size_t n,
                            weft_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] < 0 || (size_t)tokens[i] >= t->vocab.n) {
            return error_set(err, WEFT_E_ARG, "token %zu is %d, expected 0 to %zu (the vocabulary)",
                             i, tokens[i], t->vocab.n - 1);
        }
    }
    return WEFT_OK;
}

static bool add_piece(const struct tokenizer *t, int32_t id, unsigned flags, struct bytes *out)
{
    struct gguf_str text = vocab_text(&t->vocab, id);
    switch ((enum token_type)t->vocab.type[id]) {
    case TOKEN_NORMAL:
        return t->is_spm ? spaces_read(text, out) : bpe_piece(&t->bpe, &t->vocab, id, out);
    case TOKEN_BYTE: {
        uint8_t byte = vocab_byte(&t->vocab, id);
        return bytes_add(out, &byte, 1);
    }
    case TOKEN_USER_DEFINED: return bytes_add(out, text.s, text.n);
    case TOKEN_CONTROL:
    case TOKEN_UNKNOWN: return !(flags & WEFT_DETOKENIZE_SPECIAL) || bytes_add(out, text.s, text.n);
    case TOKEN_UNUSED: break;
    }
    return true;
}

weft_status tokenizer_piece(const struct tokenizer *t, int32_t token, unsigned flags,
                            struct bytes *out, weft_error *err)
{
    size_t before = out->n;
    if (!add_piece(t, token, flags, out)) {
        out->n = before;
        return error_nomem(err, "the text of a token", vocab_text(&t->vocab, token).n);
    }
    return WEFT_OK;
}

weft_status tokenizer_decode(const struct tokenizer *t, const int32_t *tokens, size_t n,
                             unsigned flags, struct bytes *out, weft_error *err)
{
    if (flags & ~(unsigned)WEFT_DETOKENIZE_SPECIAL) {
        return error_set(err, WEFT_E_ARG,
                         "flags are 0x%x, expected WEFT_DETOKENIZE_* values, 0 or 0x%x", flags,
                         WEFT_DETOKENIZE_SPECIAL);
    }
    TRY(tokenizer_check(t, tokens, n, err));
    size_t before = out->n, from = before;
    bool at_start = t->adds_prefix;
    for (size_t i = 0; i < n; i++) {
        weft_status status = tokenizer_piece(t, tokens[i], flags, out, err);
        if (status != WEFT_OK) {
            out->n = before;
            return status;
        }
        enum token_type type = (enum token_type)t->vocab.type[tokens[i]];
        if (type != TOKEN_NORMAL && type != TOKEN_BYTE) {
            /* A new text begins behind a special token. */
            from = out->n;
            at_start = t->adds_prefix;
        } else if (at_start && out->n > from) {
            at_start = false;
            /* This is the space that encoding put in front of the text. */
            if (out->data[from] == ' ') {
                memmove(out->data + from, out->data + from + 1, --out->n - from);
            }
        }
    }
    return WEFT_OK;
}

size_t tokenizer_n_vocab(const struct tokenizer *t) { return t->vocab.n; }

struct gguf_str tokenizer_text(const struct tokenizer *t, int32_t token)
{
    return vocab_text(&t->vocab, token);
}

enum token_type tokenizer_type(const struct tokenizer *t, int32_t token)
{
    return (enum token_type)t->vocab.type[token];
}

int32_t tokenizer_find(const struct tokenizer *t, const char *text, size_t n)
{
    return vocab_find(&t->vocab, text, n);
}

bool tokenizer_is_end(const struct tokenizer *t, int32_t token)
{
    return token >= 0 && (size_t)token < t->vocab.n && t->ends[token];
}

int32_t tokenizer_bos(const struct tokenizer *t) { return t->bos; }

int32_t tokenizer_eos(const struct tokenizer *t) { return t->eos; }

bool tokenizer_adds_bos(const struct tokenizer *t) { return t->adds_bos; }

bool tokenizer_adds_eos(const struct tokenizer *t) { return t->adds_eos; }
