/* The check of all options together: what is missing, and what contradicts what. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "weft/options.h"

bool options_is_source(const char *value)
{
    return strstr(value, "{{") != NULL || strstr(value, "{%") != NULL;
}

static bool known_template(const char *value, struct arg_error *err)
{
    size_t n = (size_t)snprintf(err->text, sizeof err->text,
                                "option --chat-template: '%.60s' is unknown; give Jinja source or "
                                "one of",
                                value);
    for (size_t i = 0; weft_chat_template_name(i) != NULL; i++) {
        if (strcmp(weft_chat_template_name(i), value) == 0) {
            return true;
        }
        if (n < sizeof err->text) {
            n += (size_t)snprintf(err->text + n, sizeof err->text - n, " %s",
                                  weft_chat_template_name(i));
        }
    }
    return options_is_source(value);
}

/* Checks the options of conversations. */
static bool check_chat(const struct options *o, unsigned command, struct arg_error *err)
{
    const struct {
        const char *option;
        bool given;
    } chat[] = { { "-sys", o->system != NULL },
                 { "--messages", o->messages != NULL },
                 { "--tools-file", o->tools_file != NULL },
                 { "--prefill", o->prefill },
                 { "--chat-template", o->chat_template != NULL },
                 { "--chat-template-file", o->template_file != NULL },
                 { "--chat-template-kwargs", o->template_vars != NULL },
                 { "--now", o->now >= 0 } };
    for (size_t i = 0; command == CMD_RUN && !o->chat && i < sizeof chat / sizeof *chat; i++) {
        if (chat[i].given) {
            return args_refuse(err, "%s needs --chat", chat[i].option);
        }
    }
    if (o->messages != NULL && (o->prompt != NULL || o->file != NULL || o->system != NULL)) {
        return args_refuse(err, "--messages holds the whole conversation; -p, -f and -sys "
                                "contradict it");
    }
    if (command == CMD_TEMPLATE && o->messages == NULL) {
        return args_refuse(err, "no conversation; name a file of messages with --messages FILE");
    }
    if (o->prefill && o->messages == NULL) {
        return args_refuse(err, "--prefill continues the last of the --messages; give them");
    }
    if (o->chat_template != NULL && o->template_file != NULL) {
        return args_refuse(err, "--chat-template and --chat-template-file contradict each other; "
                                "give one of them");
    }
    if (o->runs && o->ids) {
        return args_refuse(err, "--runs and --ids contradict each other; give one of them");
    }
    return o->chat_template == NULL || known_template(o->chat_template, err);
}

/* Checks the options of weft perplexity and weft embed. */
static bool check_scores(const struct options *o, struct arg_error *err)
{
    if (o->save_base != NULL && o->kl_base != NULL) {
        return args_refuse(err,
                           "--save-base and --kl-base contradict each other; give one of them");
    }
    if (o->sort && o->rerank == NULL) {
        return args_refuse(err, "--sort orders scores; --rerank QUERY asks for them");
    }
    if (o->rerank != NULL &&
        (o->pooling != 0 || o->raw || o->dimensions > 0 || o->no_bos || o->special)) {
        return args_refuse(err, "--rerank makes the prompts and scores; --pooling, --raw, "
                                "--dimensions, --no-bos and --special are for vectors");
    }
    return true;
}

bool options_is_model(const struct options *o, const char *path)
{
    struct stat model, other;
    return o->model != NULL && path != NULL && stat(o->model, &model) == 0 &&
           stat(path, &other) == 0 && model.st_dev == other.st_dev && model.st_ino == other.st_ino;
}

/* Refuses to write over the model, which is still being read then. */
static bool keeps_model(const struct options *o, struct arg_error *err)
{
    const struct {
        const char *option, *path;
    } outputs[] = { { "-o", o->output },
                    { "--full", o->full_logits },
                    { "--trace", o->trace },
                    { "--trace-full", o->full_trace },
                    { "--save-base", o->save_base },
                    { "--save-state", o->save_state },
                    { "--log-logits", o->log_logits } };
    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0]; i++) {
        if (options_is_model(o, outputs[i].path)) {
            return args_refuse(err, "%s %.200s would write over the model; name another file",
                               outputs[i].option, outputs[i].path);
        }
    }
    return true;
}

static bool check_serve(const struct options *o, struct arg_error *err)
{
    const char *prefix = o->serve.prefix;
    size_t n = prefix != NULL ? strlen(prefix) : 0;
    if (prefix != NULL && (n < 2 || prefix[0] != '/' || prefix[n - 1] == '/')) {
        return args_refuse(err, "--api-prefix begins with a slash and does not end with one, such "
                                "as /llm");
    }
    if (o->serve.unified && o->at_once == 0) {
        return args_refuse(err, "-kvu says what each of -np N requests may use; without -np each "
                                "may use all of the context anyway");
    }
    return true;
}

bool options_check(const struct options *o, unsigned command, struct arg_error *err)
{
    bool runs = (command & CMDS_ENGINE) != 0;
    if (o->model == NULL && (command & (CMDS_ENGINE | CMDS_TEXT)) != 0) {
        return args_refuse(err, "no model; name one with -m FILE");
    }
    if (o->prompt != NULL && o->file != NULL) {
        return args_refuse(err, "-p and -f contradict each other; give one of them");
    }
    if (o->escape && o->prompt == NULL) {
        return args_refuse(err, "-e needs -p; the bytes of a file are taken as they are");
    }
    if ((o->grammar != NULL) + (o->grammar_file != NULL) + (o->schema != NULL) +
            (o->schema_file != NULL) + o->any_json >
        1) {
        return args_refuse(
            err, "--grammar, --grammar-file, --json-schema, --json-schema-file and --json "
                 "contradict each other; give one of them");
    }
    if (o->ids && o->count) {
        return args_refuse(err, "--ids and --count contradict each other");
    }
    bool penalises =
        o->repeat_penalty != 1 || o->frequency_penalty != 0 || o->presence_penalty != 0;
    if (runs && penalises && o->repeat_last_n == 0) {
        return args_refuse(err, "a penalty needs tokens to look back at, and --repeat-last-n is 0");
    }
    if (o->logprobs >= 0 && o->ahead > 1) {
        return args_refuse(err,
                           "--logprobs needs the logits of every token, and --ahead keeps only the "
                           "last; give one of them");
    }
    if (o->log_logits != NULL && o->ahead > 1) {
        return args_refuse(
            err, "--log-logits needs the logits of every token, and --ahead keeps only the "
                 "last; give one of them");
    }
    if (o->save_state != NULL && o->parallel > 1) {
        return args_refuse(err, "--save-state keeps one text, and -np asks for several");
    }
    if (o->full_trace != NULL && o->trace == NULL) {
        return args_refuse(err, "--trace-full holds the values that --trace FILE lists; give both");
    }
    if (o->tokens != NULL && (o->special || o->no_bos)) {
        return args_refuse(err,
                           "--tokens takes ids as they are; --special and --no-bos are for texts");
    }
    if (o->kv > 0 && o->ctx > o->kv) {
        return args_refuse(err, "--kv is smaller than -c; one sequence could not hold its text");
    }
    return check_chat(o, command, err) && check_scores(o, err) && check_serve(o, err) &&
           keeps_model(o, err);
}
