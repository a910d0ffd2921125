/* Texts and ids of clients become tokens. */
#include <string.h>

#include "serve/reading.h"

bool add_text_tokens(struct reading *r, const char *text, size_t n, unsigned flags,
                     struct tokens *out)
{
    weft_error err;
    size_t room = n / 2 + 16, needed = 0;
    weft_status status = WEFT_E_BUFFER;
    while (status == WEFT_E_BUFFER) {
        if (!mem_reserve(&out->data, &out->cap, out->n + room, sizeof *out->data)) {
            return fault_memory(r->fault);
        }
        status =
            weft_tokenize(r->scope->model, text, n, flags, out->data + out->n, room, &needed, &err);
        room = needed;
    }
    out->n += status == WEFT_OK ? needed : 0;
    return status == WEFT_OK || fault_library(r->fault, status, &err);
}

bool add_token(struct reading *r, const json_t *id, const char *name, struct tokens *out)
{
    const json_int_t value = json_integer_value(id);
    if (!json_is_integer(id) || value < 0 || (size_t)value >= r->scope->info.n_vocab) {
        char expected[64] = "ids of tokens, 0 to ";
        char number[24];
        size_t last = r->scope->info.n_vocab - 1, i = sizeof number - 1;
        number[i] = '\0';
        do {
            number[--i] = (char)('0' + last % 10);
            last /= 10;
        } while (last > 0);
        strcat(expected, number + i);
        return field_wrong(r->fault, name, id, expected);
    }
    return tokens_add(out, (int32_t)value) || fault_memory(r->fault);
}

bool is_token_list(const json_t *list)
{
    const json_t *one;
    size_t i;
    json_array_foreach(list, i, one)
    {
        if (json_is_number(one)) {
            return true;
        }
    }
    return false;
}

static bool add_string(struct reading *r, const json_t *text, unsigned flags, struct tokens *out)
{
    return add_text_tokens(r, json_string_value(text), json_string_length(text), flags, out);
}

/* A text in front gets BOS as the only text would; ids are taken as they are. */
static bool add_mixed(struct reading *r, const json_t *list, const char *name, unsigned flags,
                      struct tokens *out)
{
    const json_t *one;
    size_t i;
    const unsigned later =
        (flags & ~(unsigned)(WEFT_TOKENIZE_BOS | WEFT_TOKENIZE_EOS)) | WEFT_TOKENIZE_NO_PREFIX;
    json_array_foreach(list, i, one)
    {
        const bool ok = json_is_string(one) ? add_string(r, one, i == 0 ? flags : later, out)
                                            : add_token(r, one, name, out);
        if (!ok) {
            return false;
        }
    }
    return true;
}

bool add_prompt(struct reading *r, const json_t *prompt, const char *name, unsigned flags,
                struct tokens *out)
{
    const json_t *text = field_get(prompt, "prompt_string");
    if (field_get(prompt, "multimodal_data") != NULL) {
        return fault_request(r->fault, name, "%s has multimodal_data; only text can be read", name);
    }
    prompt = text != NULL ? text : prompt;
    if (json_is_string(prompt)) {
        return add_string(r, prompt, flags, out);
    }
    if (json_is_array(prompt)) {
        return add_mixed(r, prompt, name, flags, out);
    }
    return field_wrong(r->fault, name, prompt, "a string, or a list of ids and strings");
}

/* A text needs room behind the prompt. */
bool check_context(struct reading *r, size_t n_prompt)
{
    const size_t n_ctx = r->scope->n_ctx, room = r->out->generation.n_max > 0;
    return n_prompt + room <= n_ctx || fault_context(r->fault, n_prompt, n_ctx);
}

bool add_tokens_text(struct reading *r, const int32_t *tokens, size_t n, struct bytes *out)
{
    weft_error err;
    const weft_model *model = r->scope->model;
    size_t needed = 0;
    weft_status status =
        weft_detokenize(model, tokens, n, WEFT_DETOKENIZE_SPECIAL, NULL, 0, &needed, &err);
    if (status == WEFT_E_BUFFER) {
        if (!text_reserve(out, needed)) {
            return fault_memory(r->fault);
        }
        status = weft_detokenize(model, tokens, n, WEFT_DETOKENIZE_SPECIAL, out->data + out->n,
                                 needed, &needed, &err);
        out->n += needed;
    }
    if (status != WEFT_OK) {
        return fault_library(r->fault, status, &err);
    }
    return text_add(out, "", 0) || fault_memory(r->fault);
}
