/* Any bytes as messages of a conversation: refused, or encoded so that the contents add no control
 * token. */
#include "fuzz_models.h"

enum { MAX_MESSAGES = 6 };

/* Counts the tokens of the encoded conversation that write nothing as plain text: the control
 * tokens. Returns SIZE_MAX if the conversation is refused. */
static size_t control_tokens(const weft_model *m, const weft_message *messages, size_t n,
                             const weft_chat_params *params)
{
    static int32_t ids[16384];
    weft_error err = { 0 };
    size_t n_ids = 0, n_control = 0;
    weft_status s = weft_chat_tokens(m, messages, n, params, ids, 16384, &n_ids, &err);
    if (s != WEFT_OK) {
        MUST(s == WEFT_E_ARG || s == WEFT_E_UNSUPPORTED);
        return SIZE_MAX;
    }
    for (size_t i = 0; i < n_ids; i++) {
        char text[64];
        size_t n_text = 0;
        MUST(weft_detokenize(m, &ids[i], 1, 0, text, sizeof text, &n_text, &err) != WEFT_E_ARG);
        size_t n_stored = 0;
        weft_token_text(m, ids[i], NULL, 0, &n_stored, &err);
        /* A lone leading space writes nothing either, but is no control token. It is stored as
         * U+2581, three bytes; the texts of control tokens are longer. */
        n_control += n_text == 0 && n_stored > 3;
    }
    return n_control;
}

static weft_model *models[2];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const roles[] = { "user", "assistant", "system", "tool" };
    struct fuzz_input in = { data, size };
    weft_message messages[MAX_MESSAGES], plain[MAX_MESSAGES];
    char contents[MAX_MESSAGES][300];
    weft_chat_params params = WEFT_CHAT_PARAMS_INIT;
    fuzz_models(models);
    uint8_t how = fuzz_byte(&in);
    const weft_model *m = models[how & 1];
    params.no_prompt = (how & 2) != 0;
    params.continues = (how & 4) != 0;
    params.template_name = (how & 8) != 0 ? weft_chat_template_name(how >> 4) : NULL;
    size_t n = 0;
    for (; n < MAX_MESSAGES && in.n > 0; n++) {
        uint8_t role = fuzz_byte(&in);
        size_t n_text;
        const char *text = fuzz_bytes(&in, role >> 2, &n_text);
        memcpy(contents[n], text, n_text);
        contents[n][n_text] = '\0';
        messages[n] = (weft_message){ roles[role & 3], contents[n] };
        plain[n] = (weft_message){ roles[role & 3], "x" };
    }
    size_t found = control_tokens(m, messages, n, &params);
    if (found != SIZE_MAX) {
        MUST(found == control_tokens(m, plain, n, &params));
    }
    return 0;
}
