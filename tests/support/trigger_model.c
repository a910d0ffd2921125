#include "support/trigger_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "support/rig.h"

struct trigger_model trigger_model_open(const struct tokenizer *t, const weft_trigger *trigger,
                                        const char *gbnf)
{
    struct trigger_model m = { .tokenizer = t, .trigger = trigger };
    struct grammar *g = NULL;
    OK(grammar_parse(gbnf, strlen(gbnf), &g, E));
    OK(matcher_open(g, &m.matcher, E));
    grammar_release(g);
    return m;
}

void trigger_model_close(struct trigger_model *m)
{
    matcher_close(m->matcher);
    free(m->text.data);
}

static bool is_trigger(const struct trigger_model *m, int32_t token)
{
    bool is = false;
    for (size_t i = 0; i < m->trigger->n_tokens; i++) {
        is |= m->trigger->tokens[i] == token;
    }
    return is;
}

static bool ends_with(const struct bytes *text, const char *end)
{
    size_t n = end != NULL ? strlen(end) : SIZE_MAX;
    return n <= text->n && memcmp(text->data + text->n - n, end, n) == 0;
}

/* Returns true if the text ends with one of the trigger texts. */
static bool ends_with_trigger(const struct trigger_model *m, const struct bytes *text)
{
    for (size_t i = 0; i < m->trigger->n_texts; i++) {
        if (ends_with(text, m->trigger->texts[i])) {
            return true;
        }
    }
    return false;
}

/* Adds a byte to a free text; `text` then is what may become a trigger or a marker. */
static void add_free(const struct trigger_model *m, char byte, struct bytes *text, bool *pulled,
                     bool *held)
{
    assert_true(bytes_add(text, &byte, 1));
    if (!*held && ends_with_trigger(m, text)) {
        *pulled = true;
        text->n = 0;
    } else if (ends_with(text, *held ? m->trigger->hold_close : m->trigger->hold_open)) {
        *held = !*held;
        text->n = 0;
    }
}

/* Adds a token to a text and what is known of it. */
static void add(const struct trigger_model *m, int32_t token, struct bytes *text, bool *pulled,
                bool *held)
{
    struct bytes piece = { 0 };
    if (tokenizer_is_end(m->tokenizer, token)) {
        text->n = 0;
        *pulled = false;
        *held = m->trigger->held;
        return;
    }
    if (!*pulled && !*held && is_trigger(m, token)) {
        text->n = 0;
        *pulled = true;
        return;
    }
    unsigned flags = *pulled ? 0 : WEFT_DETOKENIZE_SPECIAL;
    OK(tokenizer_piece(m->tokenizer, token, flags, &piece, E));
    for (size_t i = 0; i < piece.n; i++) {
        if (*pulled) {
            assert_true(bytes_add(text, &piece.data[i], 1));
        } else {
            add_free(m, piece.data[i], text, pulled, held);
        }
    }
    free(piece.data);
}

void trigger_model_read(struct trigger_model *m, const int32_t *tokens, size_t start, size_t n)
{
    m->text.n = 0;
    m->pulled = false;
    m->held = m->trigger->held;
    for (size_t i = start; i < n; i++) {
        add(m, tokens[i], &m->text, &m->pulled, &m->held);
    }
}

/* Returns the state of the matcher behind a text of the grammar. */
static bool alive(struct trigger_model *m, const struct bytes *text)
{
    matcher_restart(m->matcher);
    if (text->n > 0) {
        OK(matcher_read(m->matcher, text->data, text->n, E));
    }
    return matcher_alive(m->matcher);
}

static bool has_text(enum token_type type)
{
    return type == TOKEN_NORMAL || type == TOKEN_USER_DEFINED || type == TOKEN_BYTE;
}

/* Returns the text behind a further token; the caller frees it. */
static struct bytes behind(const struct trigger_model *m, int32_t token, bool *pulled)
{
    struct bytes text = { 0 };
    bool held = m->held;
    *pulled = m->pulled;
    assert_true(bytes_add(&text, m->text.data, m->text.n));
    add(m, token, &text, pulled, &held);
    return text;
}

bool trigger_model_allows(struct trigger_model *m, int32_t token)
{
    bool end = tokenizer_is_end(m->tokenizer, token), pulled;
    if (end && m->pulled) {
        return alive(m, &m->text) && matcher_may_end(m->matcher);
    }
    if (end || (m->pulled && !has_text(tokenizer_type(m->tokenizer, token)))) {
        return end;
    }
    struct bytes text = behind(m, token, &pulled);
    bool empty = m->pulled && text.n == m->text.n; /* tokens without bytes */
    bool allowed = !pulled || (!empty && (text.n == 0 || alive(m, &text)));
    free(text.data);
    return allowed;
}

bool trigger_model_goes_on(struct trigger_model *m, int32_t token)
{
    bool pulled;
    struct bytes text = behind(m, token, &pulled);
    bool on = !m->pulled && pulled && text.n > 0;
    free(text.data);
    return on;
}

size_t trigger_model_mask(struct trigger_model *m, uint64_t *mask)
{
    size_t n = 0, n_vocab = tokenizer_n_vocab(m->tokenizer);
    memset(mask, 0, (n_vocab / 64 + 1) * sizeof *mask);
    for (size_t i = 0; i < n_vocab; i++) {
        bool allowed = trigger_model_allows(m, (int32_t)i);
        mask[i / 64] |= (uint64_t)allowed << i % 64;
        n += allowed;
    }
    return n;
}
