/* Vocabularies made by rule. They have enough structure that every text tokenizes and that merges
 * compete, and their special tokens are where real models have them, at the end. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/utf8.h"
#include "format/gguf.h"
#include "synth/parts.h"
#include "text/tokenizer.h"

#define MIN_VOCAB 512
#define MAX_PIECE 40

/* The prefixes of these words, letter by letter, come first, so that common words are single
 * tokens. A space stands for the word border of the vocabulary. */
static const char *const words[] = {
    " the", " and", " of",    " to",   " in",   " is",   " that", " it",    " for",   " was",
    " you", " he",  " on",    " with", " as",   " are",  " this", " be",    " have",  " from",
    " not", " one", " which", " what", " your", " when", "ing",   "er",     "tion",   "ed",
    "ly",   "es",   "est",    "ment",  "Hello", "The",   "What",  " Paris", " world", " capital",
};

/* Pieces in the order of their ids, and a set that keeps them unique. */
struct pieces {
    char (*text)[MAX_PIECE];
    uint8_t *split; /* bytes of the left half of the merge that makes a piece */
    size_t n, cap;
    uint32_t *set; /* [slots], index + 1 */
    size_t slots;
    struct hash_seed seed;
};

static bool pieces_init(struct pieces *p, size_t cap)
{
    *p = (struct pieces){ .cap = cap, .slots = 16, .seed = hash_seed_draw() };
    while (p->slots < 4 * cap) {
        p->slots *= 2;
    }
    p->text = mem_array(cap, sizeof *p->text);
    p->split = mem_array(cap, 1);
    p->set = mem_array(p->slots, sizeof *p->set);
    return p->text != NULL && p->split != NULL && p->set != NULL;
}

static void pieces_free(struct pieces *p)
{
    free(p->text);
    free(p->split);
    free(p->set);
}

/* Returns the slot of the text, or the free slot where it belongs. */
static size_t pieces_slot(const struct pieces *p, const char *text)
{
    size_t slot = (size_t)hash_bytes(&p->seed, text, strlen(text)) & (p->slots - 1);
    while (p->set[slot] != 0 && strcmp(p->text[p->set[slot] - 1], text) != 0) {
        slot = (slot + 1) & (p->slots - 1);
    }
    return slot;
}

/* Adds left + right unless it is there, it is too long, or the table is full. */
static void pieces_add(struct pieces *p, const char *left, const char *right)
{
    char text[MAX_PIECE];
    int n = snprintf(text, sizeof text, "%s%s", left, right);
    if (p->n == p->cap || n < 0 || n >= MAX_PIECE) {
        return;
    }
    size_t slot = pieces_slot(p, text);
    if (p->set[slot] == 0) {
        memcpy(p->text[p->n], text, (size_t)n + 1);
        p->split[p->n] = (uint8_t)strlen(left);
        p->set[slot] = (uint32_t)++p->n;
    }
}

static void grow_word(struct pieces *p, const char *word, const char *space)
{
    char left[MAX_PIECE] = "";
    for (const char *c = word; *c != '\0'; c++) {
        char right[8];
        snprintf(right, sizeof right, "%s", *c == ' ' ? space : (char[2]){ *c, '\0' });
        if (left[0] != '\0') {
            pieces_add(p, left, right);
        }
        memcpy(left + strlen(left), right, strlen(right) + 1);
    }
}

/* Fills the table up: runs of spaces, the words, then every string of letters in order of
 * length. */
static void grow_all(struct pieces *p, const char *space)
{
    size_t first = p->n;
    char spaces[MAX_PIECE];
    pieces_add(p, space, space);
    snprintf(spaces, sizeof spaces, "%s%s", space, space);
    pieces_add(p, spaces, spaces);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        grow_word(p, words[i], space);
    }
    for (char c = 'a'; c <= 'z'; c++) {
        for (char d = 'a'; d <= 'z'; d++) {
            pieces_add(p, (char[2]){ c, '\0' }, (char[2]){ d, '\0' });
        }
        pieces_add(p, space, (char[2]){ c, '\0' });
    }
    for (size_t i = first; i < p->n && p->n < p->cap; i++) {
        for (char c = 'a'; c <= 'z'; c++) {
            pieces_add(p, p->text[i], (char[2]){ c, '\0' });
        }
    }
}

/* Writes the id of a special token, which is among the last n ids, to its key. */
static void put_ids(struct gguf_writer *w, const char *const *special, size_t n, size_t n_vocab,
                    const char *key, const char *token)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(special[i], token) == 0) {
            writer_u32(w, key, (uint32_t)(n_vocab - n + i));
        }
    }
}

static const char *const chatml_special[] = { "<|endoftext|>", "<|im_start|>", "<|im_end|>" };
static const char *const llama3_special[] = { "<|begin_of_text|>", "<|end_of_text|>",
                                              "<|start_header_id|>", "<|end_header_id|>",
                                              "<|eot_id|>" };
static const char *const phi3_special[] = {
    "<|endoftext|>",    "<|assistant|>",    "<|placeholder1|>", "<|placeholder2|>",
    "<|placeholder3|>", "<|placeholder4|>", "<|system|>",       "<|end|>",
    "<|placeholder5|>", "<|placeholder6|>", "<|user|>"
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char chatml_template[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' "
    "}}{% endif %}";
static const char phi3_template[] =
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' "
    "+ "
    "'\n' + message['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n'}}{% elif "
    "(message['role'] == 'assistant') %}{{message['content'] + '<|end|>' + '\n'}}{% endif %}{% "
    "endfor %}";
static const char llama3_template[] =
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
    "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim "
    "+ "
    "'<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ "
    "content }}{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}";

static void put_template(const struct synth_spec *spec, struct gguf_writer *w, const char *usual)
{
    const char *text = spec->chat_template != NULL ? spec->chat_template : usual;
    if (text[0] != '\0') {
        writer_str(w, "tokenizer.chat_template", text);
    }
}

/* Writes the character that stands for a byte in byte-level BPE: printable Latin-1 characters stand
 * for themselves, the others follow from U+0100 on. */
static void byte_symbol(unsigned byte, unsigned *next, char out[UTF8_MAX + 1])
{
    bool direct = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    unsigned c = direct ? byte : (*next)++;
    out[utf8_write(c, out)] = '\0';
}

static void put_pieces(struct gguf_writer *w, const struct pieces *p, const char *const *special,
                       size_t n_special)
{
    for (size_t i = 0; i < p->n; i++) {
        writer_add_str(w, p->text[i], strlen(p->text[i]));
    }
    for (size_t i = 0; i < n_special; i++) {
        writer_add_str(w, special[i], strlen(special[i]));
    }
}

static void put_merges(struct gguf_writer *w, const struct pieces *p, size_t n)
{
    writer_strs(w, "tokenizer.ggml.merges", n);
    for (size_t i = 256; i < 256 + n; i++) {
        char text[MAX_PIECE + 1];
        size_t left = p->split[i];
        int len = snprintf(text, sizeof text, "%.*s %s", (int)left, p->text[i], p->text[i] + left);
        writer_add_str(w, text, (size_t)len);
    }
}

static weft_status bpe_write(const struct synth_spec *spec, struct gguf_writer *w, struct pieces *p,
                             int32_t *types, weft_error *err)
{
    bool llama3 = strcmp(spec->pre, "llama-bpe") == 0;
    const char *const *special = llama3 ? llama3_special : chatml_special;
    size_t n_special = llama3 ? COUNT(llama3_special) : COUNT(chatml_special);
    p->cap = spec->n_vocab - n_special;
    for (unsigned b = 0, next = 0x100; b < 256; b++) {
        char symbol[UTF8_MAX + 1];
        byte_symbol(b, &next, symbol);
        pieces_add(p, "", symbol);
    }
    grow_all(p, "\xc4\xa0"); /* U+0120, the symbol of the space byte */
    if (p->n < p->cap) {
        return error_set(err, WEFT_E_ARG, "n_vocab is %zu; the vocabulary cannot be made so large",
                         spec->n_vocab);
    }
    for (size_t i = p->n; i < spec->n_vocab; i++) {
        types[i] = TOKEN_CONTROL;
    }
    size_t n_merges = p->n - 256;
    n_merges = spec->n_merges > 0 ? size_min(spec->n_merges, n_merges) : n_merges;
    writer_str(w, "tokenizer.ggml.model", "gpt2");
    writer_str(w, "tokenizer.ggml.pre", spec->pre);
    writer_strs(w, "tokenizer.ggml.tokens", spec->n_vocab);
    put_pieces(w, p, special, n_special);
    writer_array(w, "tokenizer.ggml.token_type", GGUF_I32, spec->n_vocab, types,
                 spec->n_vocab * sizeof *types);
    put_merges(w, p, n_merges);
    const char *bos = llama3 ? "<|begin_of_text|>" : "<|endoftext|>";
    const char *eos = llama3 ? "<|eot_id|>" : "<|im_end|>";
    put_ids(w, special, n_special, spec->n_vocab, "tokenizer.ggml.bos_token_id", bos);
    put_ids(w, special, n_special, spec->n_vocab, "tokenizer.ggml.eos_token_id", eos);
    put_ids(w, special, n_special, spec->n_vocab, "tokenizer.ggml.padding_token_id",
            llama3 ? "<|end_of_text|>" : "<|endoftext|>");
    writer_bool(w, "tokenizer.ggml.add_bos_token", llama3);
    put_template(spec, w, llama3 ? llama3_template : chatml_template);
    return WEFT_OK;
}

/* Single characters come last, with the lowest scores, as a SentencePiece trainer orders them. */
static void spm_pieces(struct pieces *p, size_t n)
{
    static const char *const more[] = { "\u2581", "é", "ü", "ß", "ñ", "→", "日", "本", "語", "я" };
    pieces_add(p, "", "<unk>");
    pieces_add(p, "", "<s>");
    pieces_add(p, "", "</s>");
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", b);
        pieces_add(p, "", text);
    }
    size_t n_singles = 0x7e - 0x20 + COUNT(more);
    p->cap = n - n_singles;
    grow_all(p, more[0]);
    p->cap = n;
    for (size_t i = 0; i < COUNT(more); i++) {
        pieces_add(p, "", more[i]);
    }
    for (char c = 0x21; c <= 0x7e; c++) {
        pieces_add(p, "", (char[2]){ c, '\0' });
    }
}

static weft_status spm_write(const struct synth_spec *spec, struct gguf_writer *w, struct pieces *p,
                             int32_t *types, float *scores, weft_error *err)
{
    bool phi3 = strcmp(spec->arch, "phi3") == 0;
    size_t n_special = phi3 ? COUNT(phi3_special) : 0;
    spm_pieces(p, spec->n_vocab - n_special);
    if (p->n < p->cap) {
        return error_set(err, WEFT_E_ARG, "n_vocab is %zu; the vocabulary cannot be made so large",
                         spec->n_vocab);
    }
    for (size_t i = 0; i < spec->n_vocab; i++) {
        bool special = i < 3 || i >= p->n;
        types[i] = i == 0    ? TOKEN_UNKNOWN
                   : special ? TOKEN_CONTROL
                   : i < 259 ? TOKEN_BYTE
                             : TOKEN_NORMAL;
        scores[i] = special ? -1000.0f : i < 259 ? 0.0f : -(float)(i - 259);
    }
    writer_str(w, "tokenizer.ggml.model", "llama");
    writer_str(w, "tokenizer.ggml.pre", "default");
    writer_strs(w, "tokenizer.ggml.tokens", spec->n_vocab);
    put_pieces(w, p, phi3_special, n_special);
    writer_array(w, "tokenizer.ggml.scores", GGUF_F32, spec->n_vocab, scores,
                 spec->n_vocab * sizeof *scores);
    writer_array(w, "tokenizer.ggml.token_type", GGUF_I32, spec->n_vocab, types,
                 spec->n_vocab * sizeof *types);
    writer_u32(w, "tokenizer.ggml.bos_token_id", 1);
    writer_u32(w, "tokenizer.ggml.eos_token_id", phi3 ? (uint32_t)p->n : 2);
    writer_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    writer_bool(w, "tokenizer.ggml.add_bos_token", true);
    writer_bool(w, "tokenizer.ggml.add_eos_token", false);
    put_template(spec, w, phi3 ? phi3_template : "");
    return WEFT_OK;
}

weft_status vocab_write(const struct synth_spec *spec, struct gguf_writer *w, weft_error *err)
{
    if (spec->n_vocab < MIN_VOCAB || spec->n_vocab > 400000) {
        return error_set(err, WEFT_E_ARG, "n_vocab is %zu; %d to 400000 is expected", spec->n_vocab,
                         MIN_VOCAB);
    }
    struct pieces p;
    int32_t *types = mem_array(spec->n_vocab, sizeof *types);
    float *scores = mem_array(spec->n_vocab, sizeof *scores);
    weft_status status;
    if (!pieces_init(&p, spec->n_vocab) || types == NULL || scores == NULL) {
        status = error_nomem(err, "a vocabulary", spec->n_vocab * MAX_PIECE);
    } else {
        for (size_t i = 0; i < spec->n_vocab; i++) {
            types[i] = TOKEN_NORMAL;
        }
        status = spec->vocab == SYNTH_BPE ? bpe_write(spec, w, &p, types, err)
                                          : spm_write(spec, w, &p, types, scores, err);
    }
    pieces_free(&p);
    free(types);
    free(scores);
    return status;
}
