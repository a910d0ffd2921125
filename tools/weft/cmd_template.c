/* weft template: prints the prompt that a chat template makes of a conversation. */
#include <stdlib.h>
#include <string.h>

#include "weft/commands.h"
#include "weft/jsonl.h"
#include "weft/prompt.h"

static int no_memory(void) { return term_fail(EXIT_MEMORY, "not enough memory for the prompt"); }

/* Prints a line of JSON for every run of bytes with one writer. */
static int print_runs(const struct bytes *text, const weft_run *runs, size_t n)
{
    struct jsonl lines;
    int code = jsonl_open(NULL, &lines);
    for (size_t i = 0, at = 0; i < n && code == EXIT_OK; at += runs[i++].n) {
        json_t *part = json_stringn_nocheck(text->data + at, runs[i].n);
        jsonl_add(&lines, json_pack("{s:s, s:o}", "from", runs[i].caller ? "caller" : "template",
                                    "text", part));
        code = lines.code;
    }
    return code;
}

static int show_runs(const weft_prompt *prompt, const struct bytes *text)
{
    weft_error err = { 0 };
    size_t n = 0;
    weft_status status = weft_prompt_runs(prompt, NULL, 0, &n, &err);
    weft_run *runs = calloc(n + 1, sizeof *runs);
    if (runs == NULL) {
        return no_memory();
    }
    if (status == WEFT_E_BUFFER) {
        status = weft_prompt_runs(prompt, runs, n, &n, &err);
    }
    int code = status == WEFT_OK ? print_runs(text, runs, n) : term_status(status, &err);
    free(runs);
    return code;
}

static int show_ids(const weft_prompt *prompt)
{
    struct ids ids = { 0 };
    int code = prompt_ids(prompt, 0, &ids);
    for (size_t i = 0; i < ids.n && code == EXIT_OK; i++) {
        printf(i > 0 ? " %d" : "%d", ids.at[i]);
    }
    if (code == EXIT_OK) {
        putchar('\n');
    }
    free(ids.at);
    return code;
}

static int show(const struct options *o, const weft_prompt *prompt)
{
    struct bytes text = { 0 };
    int code = o->ids ? show_ids(prompt) : prompt_text(prompt, &text);
    if (code == EXIT_OK && !o->ids) {
        code = o->runs ? show_runs(prompt, &text) : io_write(text.data, text.n);
    }
    bytes_free(&text);
    return code;
}

int cmd_template(const struct options *o, int n_args, char **args)
{
    (void)n_args;
    (void)args;
    struct session s = { 0 };
    struct prompt_setup setup;
    const struct prompt_form form = { .no_prompt = o->no_prompt, .prefill = o->prefill };
    weft_prompt *prompt = NULL;
    int code = prompt_setup(o, &setup);
    code = code != EXIT_OK ? code : session_model(&s, o, true);
    code = code != EXIT_OK ? code : prompt_open(&s, &setup, NULL, &form, &prompt);
    code = code != EXIT_OK ? code : show(o, prompt);
    weft_prompt_release(&prompt);
    prompt_setup_free(&setup);
    session_close(&s);
    int flushed = io_flush();
    return code != EXIT_OK ? code : flushed;
}
