/* Any bytes as the contents of a conversation, in every built-in template and in those of two
 * models: refused, or encoded so that the contents add no control token. Any bytes as JSON of
 * messages, tools and variables, and as a template's source: refused, or rendered so that the runs
 * add up to the text. */
#include "fuzz_models.h"

enum { MAX_MESSAGES = 6, MAX_IDS = 16384 };

/* Counts the tokens of the encoded conversation that write nothing as plain text: the control
 * tokens. Returns SIZE_MAX if the conversation is refused. */
static size_t control_tokens(const weft_model *m, const weft_message *messages, size_t n,
                             const weft_chat_params *params)
{
    static int32_t ids[MAX_IDS];
    weft_error err = { 0 };
    size_t n_ids = 0, n_control = 0;
    weft_status s = weft_chat_tokens(m, messages, n, params, ids, MAX_IDS, &n_ids, &err);
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
        /* SPM decodes a lone space to nothing too. It is stored as U+2581, three bytes, and no
         * control token is that short. */
        n_control += n_text == 0 && n_stored > 3;
    }
    return n_control;
}

static weft_model *models[2];

/* Encodes contents that are any bytes. */
static void try_contents(struct fuzz_input *in, uint8_t how)
{
    static const char *const roles[] = { "user", "assistant", "system", "tool" };
    weft_message messages[MAX_MESSAGES], plain[MAX_MESSAGES];
    char contents[MAX_MESSAGES][300];
    weft_chat_params params = WEFT_CHAT_PARAMS_INIT;
    const weft_model *m = models[how & 1];
    params.no_prompt = (how & 2) != 0;
    params.continues = (how & 4) != 0;
    params.template_name = (how & 8) != 0 ? weft_chat_template_name(how >> 4) : NULL;
    size_t n = 0;
    for (; n < MAX_MESSAGES && in->n > 0; n++) {
        uint8_t role = fuzz_byte(in);
        size_t n_text;
        const char *text = fuzz_bytes(in, role >> 2, &n_text);
        memcpy(contents[n], text, n_text);
        contents[n][n_text] = '\0';
        messages[n] = (weft_message){ roles[role & 3], contents[n] };
        plain[n] = (weft_message){ roles[role & 3], "x" };
    }
    size_t found = control_tokens(m, messages, n, &params);
    if (found != SIZE_MAX) {
        MUST(found == control_tokens(m, plain, n, &params));
    }
}

static void check_prompt(const weft_prompt *p)
{
    weft_error err = { 0 };
    size_t n_text = 0, n_runs = 0, n_ids = 0, sum = 0;
    weft_prompt_text(p, NULL, 0, &n_text, &err);
    weft_prompt_runs(p, NULL, 0, &n_runs, &err);
    MUST(weft_prompt_tokens(p, n_text, NULL, 0, &n_ids, &err) == WEFT_OK && n_ids == 0);
    weft_run *runs = calloc(n_runs + 1, sizeof *runs);
    MUST(runs != NULL && weft_prompt_runs(p, runs, n_runs, NULL, &err) == WEFT_OK);
    for (size_t i = 0; i < n_runs; i++) {
        MUST(runs[i].n > 0 && (i == 0 || runs[i].caller != runs[i - 1].caller));
        sum += runs[i].n;
    }
    MUST(sum == n_text);
    free(runs);
}

/* Renders JSON and a template that are any bytes. */
static void try_json(struct fuzz_input *in, uint8_t how)
{
    weft_prompt_params p = WEFT_PROMPT_PARAMS_INIT;
    weft_prompt *prompt = NULL;
    weft_error err = { 0 };
    if ((how & 4) != 0) {
        p.template_source = fuzz_bytes(in, fuzz_byte(in), &p.n_template_source);
    }
    if ((how & 8) != 0) {
        p.tools = fuzz_bytes(in, fuzz_byte(in), &p.n_tools);
    }
    if ((how & 16) != 0) {
        p.variables = fuzz_bytes(in, fuzz_byte(in), &p.n_variables);
    }
    p.no_prompt = (how & 32) != 0;
    p.prefill = (how & 64) != 0;
    p.continues = (how & 128) != 0;
    p.messages = fuzz_bytes(in, in->n, &p.n_messages);
    weft_status s = weft_prompt_open(models[how & 1], &p, &prompt, &err);
    MUST(s == WEFT_OK || s == WEFT_E_ARG || s == WEFT_E_UNSUPPORTED);
    if (s == WEFT_OK) {
        check_prompt(prompt);
    }
    weft_prompt_release(&prompt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    fuzz_models(models);
    const bool json = (fuzz_byte(&in) & 1) != 0;
    const uint8_t how = fuzz_byte(&in);
    if (json) {
        try_json(&in, how);
    } else {
        try_contents(&in, how);
    }
    return 0;
}
