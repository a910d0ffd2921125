/* The option table and its parsers. A new option is one row here and one field in options.h. */
#include "weft/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
    GENERATE = CMD_RUN | CMD_CHAT,
    SCORE = CMD_LOGITS | CMD_PERPLEXITY,
    ENGINE = GENERATE | SCORE | CMD_EMBED,
    TEXT = CMD_TOKENIZE | CMD_DETOKENIZE
};
enum { DEFAULT_AHEAD = 8 };
#define NAMES(...) .names = { __VA_ARGS__ }
#define ROW(k, who, field, what, text)                                                             \
    .kind = k, .commands = who, .offset = offsetof(struct options, field), .value = what,          \
    .help = text
/* For a row whose value the model's file may give instead: its WEFT_SAMPLING_*. */
#define GIVEN(field) .given = offsetof(struct options, given), .given_bit = WEFT_SAMPLING_##field
#define INT_MAX_F 2147483647.0
#define SPELL(value) #value
#define SPELLED(macro) SPELL(macro)

static bool say(struct arg_error *err, const char *text)
{
    snprintf(err->text, sizeof err->text, "%s", text);
    return false;
}

static bool parse_seed(void *fields, const char *value, struct arg_error *err)
{
    struct options *o = fields;
    if (strcmp(value, "-1") == 0) {
        o->seed_given = false;
        return true;
    }
    uint64_t seed = 0;
    for (const char *c = value; *c != '\0' || c == value; c++) {
        if (*c < '0' || *c > '9') {
            return say(
                err,
                "expected a whole number from 0 to 18446744073709551615, or -1 for a random one");
        }
        if (__builtin_mul_overflow(seed, 10u, &seed) ||
            __builtin_add_overflow(seed, (uint64_t)(*c - '0'), &seed)) {
            return say(err, "more than 18446744073709551615");
        }
    }
    o->seed = seed;
    o->seed_given = true;
    return true;
}

static bool parse_stop(void *fields, const char *value, struct arg_error *err)
{
    struct options *o = fields;
    if (*value == '\0' || strlen(value) > MAX_STOP_BYTES) {
        return say(err, "a stop string has 1 to 256 bytes");
    }
    if (o->n_stops == MAX_STOPS) {
        return say(err, "at most 16 stop strings");
    }
    o->stops[o->n_stops++] = value;
    return true;
}

/* Checks the form of a name. The library finds out, when the device is opened, whether it
 * exists. */
static bool parse_device(void *fields, const char *value, struct arg_error *err)
{
    struct options *o = fields;
    int64_t n;
    bool numbered = strncmp(value, "cuda:", 5) == 0 && value[5] >= '0' && value[5] <= '9' &&
                    args_int(value + 5, &n) && n < 1000;
    if (strcmp(value, "auto") != 0 && strcmp(value, "cpu") != 0 && strcmp(value, "cuda") != 0 &&
        !numbered) {
        return say(err, "expected auto, cpu, cuda (the first GPU) or the number of a GPU, such as "
                        "cuda:1");
    }
    o->device = value;
    return true;
}

static bool parse_shell(void *fields, const char *value, struct arg_error *err)
{
    struct options *o = fields;
    if (strcmp(value, "bash") != 0 && strcmp(value, "zsh") != 0) {
        return say(err, "expected bash or zsh");
    }
    o->completion = value;
    return true;
}

/* Parses TOKEN+BIAS or TOKEN-BIAS; a bias of "-inf" bans the token. */
static bool parse_bias(void *fields, const char *value, struct arg_error *err)
{
    struct options *o = fields;
    char token[16] = "";
    size_t n = strspn(value, "0123456789");
    double bias;
    int64_t id;
    memcpy(token, value, n < sizeof token ? n : 0);
    if ((value[n] != '+' && value[n] != '-') || value[n + 1] == '+' || value[n + 1] == '-' ||
        !args_int(token, &id) || id > INT32_MAX) {
        return say(err,
                   "expected TOKEN+BIAS or TOKEN-BIAS with the token's number, such as 15043-1.5");
    }
    if (strcmp(value + n, "-inf") == 0) {
        bias = -(double)INFINITY;
    } else if (!args_float(value + n, &bias) || fabs(bias) > 1e6) {
        return say(err, "the bias is a number from -1000000 to 1000000, or -inf to ban the token");
    }
    if (o->n_bias == MAX_BIAS) {
        return say(err, "at most 1024 tokens can be biased");
    }
    for (size_t i = 0; i < o->n_bias; i++) {
        if (o->bias[i].token == (int32_t)id) {
            return say(err, "this token already has a bias");
        }
    }
    o->bias[o->n_bias++] = (weft_logit_bias){ .token = (int32_t)id, .bias = (float)bias };
    return true;
}

static bool parse_model(void *fields, const char *value, struct arg_error *err)
{
    struct bench_options *b = &((struct options *)fields)->bench;
    if (b->n_models == MAX_BENCH_MODELS) {
        return say(err, "at most 32 models");
    }
    b->models[b->n_models++] = value;
    return true;
}

/* Parses P,N. */
static bool parse_pair(void *fields, const char *value, struct arg_error *err)
{
    struct bench_options *b = &((struct options *)fields)->bench;
    char prompt[16] = "";
    int64_t p, n;
    size_t comma = strcspn(value, ",");
    memcpy(prompt, value, comma < sizeof prompt ? comma : 0);
    if (value[comma] != ',' || !args_int(prompt, &p) || !args_int(value + comma + 1, &n) || p < 1 ||
        n < 1 || p > INT32_MAX || n > INT32_MAX) {
        return say(err, "expected PROMPT,GENERATED, two numbers of tokens such as 512,128");
    }
    if (b->n_pairs == MAX_BENCH_PAIRS) {
        return say(err, "at most 16 pairs");
    }
    b->pairs[b->n_pairs].n_prompt = p;
    b->pairs[b->n_pairs++].n_gen = n;
    return true;
}

/* --- options of llama.cpp that are taken; a remark where something else may be expected --- */

static bool remark(void *fields, const char *text)
{
    struct options *o = fields;
    if (o->n_remarks < MAX_REMARKS) {
        o->remarks[o->n_remarks++] = text;
    }
    return true;
}

/* Weft has all layers on one device. A value that asks for all layers needs no remark. */
static bool remark_gpu_layers(void *fields, const char *value, struct arg_error *err)
{
    int64_t n;
    (void)err;
    if (!args_int(value, &n) || n < 0 || n >= 99) {
        return true;
    }
    return remark(fields, n == 0 ? "-ngl 0 is not obeyed: --device cpu computes on the CPU"
                                 : "-ngl is not obeyed: all layers are on one device, --device");
}

#define REMARK(name, text)                                                                         \
    static bool name(void *fields, const char *value, struct arg_error *err)                       \
    {                                                                                              \
        (void)value;                                                                               \
        (void)err;                                                                                 \
        return remark(fields, text);                                                               \
    }
REMARK(remark_one_gpu, "the model is not split: it is on one device, --device")
REMARK(remark_main_gpu, "-mg is not obeyed: --device cuda:N chooses a GPU")
REMARK(remark_threads, "-tb is not obeyed: -t is for prompts and generation")
REMARK(remark_chat, "-cnv is not obeyed: weft chat is the conversation, --chat sends one message")
REMARK(remark_templates, "--no-jinja changes nothing: templates are built in")
REMARK(remark_shift, "--context-shift is not obeyed: a text ends where the context is full")
REMARK(remark_kv, "-nkvo is not obeyed: the KV cache is on the device")

#define TAKEN(who) .kind = ARG_TAKEN, .commands = who

// clang-format off
const struct arg_option option_table[] = {
    /* the model and the engine */
    { NAMES("-m", "--model"), ROW(ARG_STRING, ENGINE | TEXT | CMD_INSPECT, model, "FILE",
      "GGUF file; of a split model the first part") },
    { NAMES("-m", "--model"), ROW(ARG_STRING, CMD_DOCTOR, model, "FILE",
      "also say whether this model fits on each device") },
    { NAMES("-c", "--ctx-size"), ROW(ARG_INT, GENERATE | CMD_LOGITS | CMD_EMBED | CMD_DOCTOR, ctx, "N",
      "longest text in tokens, prompt included; 0 = all the model was trained for"),
      .otherwise = SPELLED(WEFT_CTX_DEFAULT) ", or less if the model was trained for less", .min = 0, .max = INT_MAX_F },
    { NAMES("-c", "--ctx-size"), ROW(ARG_INT, CMD_PERPLEXITY, ctx, "N",
      "tokens of a window; 0 = all the model was trained for"),
      .otherwise = "512", .min = 0, .max = INT_MAX_F },
    { NAMES("-b", "--batch-size"), ROW(ARG_INT, ENGINE, batch, "N",
      "most tokens computed in one step"),
      .otherwise = "512 on the CPU, on a GPU 2048 if there is room", .min = 1, .max = 65536 },
    { NAMES("-m", "--model"), ROW(ARG_CUSTOM, CMD_BENCH, bench.models, "FILE",
      "GGUF file; several with commas between them, or by repeating the option"),
      .parse = parse_model },
    { NAMES("-t", "--threads"), ROW(ARG_LIST, CMD_BENCH, bench.n_threads, "LIST",
      "threads that compute"),
      .otherwise = "one per physical core, or as many as the quota of a container allows", .min = 1, .max = 1024 },
    { NAMES("--batch-size", "-ub"), ROW(ARG_INT, CMD_BENCH, batch, "N",
      "most tokens computed in one step"),
      .otherwise = "512 on the CPU, on a GPU 2048 if there is room", .min = 1, .max = 65536 },
    { NAMES("--ahead"), ROW(ARG_INT, CMD_BENCH, ahead, "N",
      "greedy tokens that a GPU computes in one go"),
      .otherwise = "8", .min = 1, .max = WEFT_TOP_MAX },
    { NAMES("-t", "--threads"), ROW(ARG_INT, ENGINE, threads, "N",
      "threads that compute; with a GPU, those that read the weights, at most 8"),
      .otherwise = "one per physical core, or as many as the quota of a container allows", .min = 1, .max = 1024 },
    { NAMES("--device"), ROW(ARG_CUSTOM, ENGINE | CMD_BENCH, device, "NAME",
      "where to compute: auto (a GPU if one can be used), cpu, cuda (the first GPU) or cuda:N; "
      "weft doctor lists them"),
      .otherwise = "auto", .choices = "auto|cpu|cuda", .parse = parse_device },
    { NAMES("--deterministic"), ROW(ARG_FLAG, ENGINE | CMD_BENCH, deterministic, NULL,
      "on a GPU: the same bits however a prompt is cut and whatever runs beside it, at the price "
      "of slower prompts") },
    { NAMES("--no-graphs"), ROW(ARG_FLAG, ENGINE | CMD_BENCH, no_graphs, NULL,
      "on a GPU: launch the kernels of a step one by one, not as a CUDA graph; to find a fault") },
    { NAMES("--no-pdl"), ROW(ARG_FLAG, ENGINE | CMD_BENCH, no_pdl, NULL,
      "on a GPU: no programmatic dependent launch, each kernel waits for the one before; to find a "
      "fault") },
    { NAMES("--no-arena"), ROW(ARG_FLAG, ENGINE | CMD_BENCH, no_arena, NULL,
      "on a GPU: an allocation for each buffer, so that compute-sanitizer notices an index beyond "
      "its end; to find a fault") },
    { NAMES("--ahead"), ROW(ARG_INT, GENERATE, ahead, "N",
      "greedy tokens that a GPU computes in one go"),
      .otherwise = "8 with --temp 0 and without --log-logits, else 1", .min = 1, .max = WEFT_TOP_MAX },
    { NAMES("--pin-threads"), ROW(ARG_FLAG, ENGINE | CMD_BENCH, pin_threads, NULL,
      "on the CPU: each thread stays on a core; for a machine that does nothing else") },
    { NAMES("--cpu-isa"), ROW(ARG_CHOICE, ENGINE | CMD_BENCH, cpu_isa, "NAME",
      "CPU kernels: auto, scalar, avx2 or avx512; all give the same text"),
      .choices = "auto|scalar|avx2|avx512" },
    { NAMES("--kv"), ROW(ARG_INT, ENGINE | CMD_DOCTOR, kv, "N",
      "positions in the KV cache, shared by all sequences"),
      .otherwise = "what the sequences need", .min = 1, .max = INT_MAX_F },
    { NAMES("-ctk", "--cache-type-k"), ROW(ARG_CHOICE, ENGINE | CMD_BENCH | CMD_DOCTOR, type_k, "TYPE",
      "how K is kept in the KV cache: f16, or q8_0, which takes 53 % of its memory"),
      .choices = "f16|q8_0" },
    { NAMES("-ctv", "--cache-type-v"), ROW(ARG_CHOICE, ENGINE | CMD_BENCH | CMD_DOCTOR, type_v, "TYPE",
      "how V is kept in the KV cache: f16 or q8_0"),
      .choices = "f16|q8_0" },
    { NAMES("--no-mmap"), ROW(ARG_FLAG, ENGINE | CMD_BENCH | TEXT | CMD_INSPECT, no_mmap, NULL,
      "read the file into memory instead of mapping it") },
    { NAMES("--no-repack"), ROW(ARG_FLAG, ENGINE | CMD_BENCH, no_repack, NULL,
      "on the CPU: start at once and read the weights as they are in the file, several times "
      "slower") },

    /* what goes in */
    { NAMES("-p", "--prompt"), ROW(ARG_STRING, CMD_RUN, prompt, "TEXT",
      "the prompt; control tokens in it count, except with --chat") },
    { NAMES("-p", "--prompt"), ROW(ARG_STRING, CMD_TOKENIZE, prompt, "TEXT", "the text") },
    { NAMES("-f", "--file"), ROW(ARG_STRING, CMD_RUN, file, "FILE",
      "read the prompt from a file, byte by byte; - is standard input") },
    { NAMES("-f", "--file"), ROW(ARG_STRING, CMD_TOKENIZE, file, "FILE",
      "read the text from a file, byte by byte; - is standard input") },
    { NAMES("-f", "--file"), ROW(ARG_STRING, CMD_DETOKENIZE, file, "FILE",
      "read the ids from a file; - is standard input") },
    { NAMES("-e", "--escape"), ROW(ARG_FLAG, CMD_RUN | CMD_TOKENIZE, escape, NULL,
      "in -p: \\n \\t \\r \\\\ \\\" \\' \\xHH are one byte each") },
    { NAMES("--chat"), ROW(ARG_FLAG, CMD_RUN, chat, NULL,
      "the prompt is one message of a user, sent through the chat template") },
    { NAMES("-sys", "--system-prompt"), ROW(ARG_STRING, GENERATE, system, "TEXT",
      "system prompt of the chat"), .otherwise = "the template's own" },
    { NAMES("--chat-template"), ROW(ARG_STRING, GENERATE, template_name, "NAME",
      "chat template to use"),
      .otherwise = "the one in the model" },
    { NAMES("-np", "--parallel"), ROW(ARG_INT, CMD_RUN, parallel, "N",
      "answer N times at once, with seeds S, S+1, ...; a newline ends each of several texts"),
      .min = 1, .max = 1024 },
    { NAMES("-0", "--null"), ROW(ARG_FLAG, CMD_RUN, null, NULL,
      "a NUL byte ends each text, for xargs -0 and read -d ''") },

    { NAMES("-p", "--prompt"), ROW(ARG_STRING, SCORE, prompt, "TEXT",
      "the text; with --special control tokens in it count") },
    { NAMES("-f", "--file"), ROW(ARG_STRING, SCORE, file, "FILE",
      "read the text from a file, byte by byte; - is standard input") },
    { NAMES("-p", "--prompt"), ROW(ARG_STRING, CMD_EMBED, prompt, "TEXT", "one text") },
    { NAMES("-f", "--file"), ROW(ARG_STRING, CMD_EMBED, file, "FILE",
      "every line of the file is a text; - is standard input") },
    { NAMES("-e", "--escape"), ROW(ARG_FLAG, SCORE | CMD_EMBED, escape, NULL,
      "in -p: \\n \\t \\r \\\\ \\\" \\' \\xHH are one byte each") },
    { NAMES("--tokens"), ROW(ARG_STRING, SCORE, tokens, "FILE",
      "in place of a text: ids between white space, taken as they are; - is standard input") },
    { NAMES("--no-bos"), ROW(ARG_FLAG, SCORE | CMD_EMBED, no_bos, NULL,
      "no BOS before the text, even if the model wants it") },
    { NAMES("--special"), ROW(ARG_FLAG, SCORE | CMD_EMBED, special, NULL,
      "control tokens such as <|im_end|> in the text are one token") },

    /* what comes out */
    { NAMES("-o", "--output"), ROW(ARG_STRING, CMD_LOGITS | CMD_EMBED, output, "FILE",
      "write the lines of JSON there"), .otherwise = "standard output" },
    { NAMES("--pooling"), ROW(ARG_CHOICE, CMD_EMBED, pooling, "NAME",
      "how the states of the tokens become one vector: model (as the file says, else the mean), "
      "mean or last"),
      .choices = "model|mean|last|cls" },
    { NAMES("--raw"), ROW(ARG_FLAG, CMD_EMBED, raw, NULL, "do not scale the vectors to length 1") },
    { NAMES("--full"), ROW(ARG_STRING, CMD_LOGITS, full_logits, "FILE",
      "write all logits: float32, little-endian, a row for each position") },
    { NAMES("--trace"), ROW(ARG_STRING, CMD_LOGITS, trace, "FILE",
      "write a line of JSON for every stage of every layer: shape, sum, L2, first and last values") },
    { NAMES("--trace-full"), ROW(ARG_STRING, CMD_LOGITS, full_trace, "FILE",
      "write all values of the trace: float32, little-endian") },
    { NAMES("--chunks"), ROW(ARG_INT, CMD_PERPLEXITY, chunks, "N",
      "only the first N windows"), .otherwise = "all", .min = 1, .max = INT_MAX_F },
    { NAMES("--save-base"), ROW(ARG_STRING, CMD_PERPLEXITY, save_base, "FILE",
      "keep all logits for --kl-base: 4 bytes for each entry of the vocabulary and scored token") },
    { NAMES("--kl-base"), ROW(ARG_STRING, CMD_PERPLEXITY, kl_base, "FILE",
      "compare with the logits that --save-base kept, on the text that is in that file") },
    { NAMES("-n", "--predict", "--n-predict"), ROW(ARG_INT, CMD_RUN, n_predict, "N",
      "most tokens to generate; -1 = until the end of the text, 0 = only compute the prompt"),
      .min = -1,
      .max = INT_MAX_F },
    { NAMES("-n", "--predict", "--n-predict"), ROW(ARG_INT, CMD_CHAT, n_predict, "N",
      "most tokens of one answer; -1 = until its end"), .min = -1, .max = INT_MAX_F },
    { NAMES("-r", "--reverse-prompt", "--stop"), ROW(ARG_CUSTOM, GENERATE, stops, "TEXT",
      "stop when this text appears; may be given 16 times"), .parse = parse_stop },
    { NAMES("--grammar"), ROW(ARG_STRING, GENERATE, grammar, "GBNF",
      "generate only what this grammar (GBNF, as in llama.cpp) allows") },
    { NAMES("--grammar-file"), ROW(ARG_STRING, GENERATE, grammar_file, "FILE",
      "the same with a grammar in a file; - is standard input") },
    { NAMES("-j", "--json-schema"), ROW(ARG_STRING, GENERATE, schema, "SCHEMA",
      "generate only JSON that this JSON schema accepts") },
    { NAMES("-jf", "--json-schema-file"), ROW(ARG_STRING, GENERATE, schema_file, "FILE",
      "the same with a schema in a file; - is standard input") },
    { NAMES("--json"), ROW(ARG_FLAG, GENERATE, any_json, NULL, "generate only JSON") },
    { NAMES("--ignore-eos"), ROW(ARG_FLAG, GENERATE, ignore_end, NULL,
      "never draw a token that ends the text") },
    { NAMES("--no-stream"), ROW(ARG_FLAG, CMD_RUN, no_stream, NULL,
      "write the text in one piece at the end") },
    { NAMES("--special"), ROW(ARG_FLAG, CMD_RUN | CMD_DETOKENIZE, special, NULL,
      "write control tokens as text") },
    { NAMES("--special"), ROW(ARG_FLAG, CMD_TOKENIZE, special, NULL,
      "control tokens such as <|im_end|> in the text are one token") },
    { NAMES("--display-prompt"), ROW(ARG_FLAG, CMD_RUN, display_prompt, NULL,
      "write the prompt before the text") },
    { NAMES("--log-logits"), ROW(ARG_STRING, CMD_RUN, log_logits, "FILE",
      "write a line of JSON with the logits behind every generated token") },
    { NAMES("--load-state"), ROW(ARG_STRING, CMD_RUN, load_state, "FILE",
      "go on behind the text that --save-state kept; the prompt continues it, and may be missing. "
      "What both runs wrote is one text, also if a character was divided between them") },
    { NAMES("--save-state"), ROW(ARG_STRING, CMD_RUN, save_state, "FILE",
      "keep prompt and text in computed form when the text has ended or Ctrl-C has stopped it") },
    { NAMES("--logprobs"), ROW(ARG_INT, CMD_RUN, logprobs, "K",
      "at the end, a line of JSON on standard error for every generated token: its log-probability "
      "and those of the K best"),
      .otherwise = "none", .min = 0, .max = WEFT_TOP_MAX },
    { NAMES("-q", "--quiet"), ROW(ARG_FLAG, ENGINE | CMD_BENCH, quiet, NULL,
      "nothing on standard error but errors") },
    { NAMES("--commands"), ROW(ARG_FLAG, CMD_CHAT, commands, NULL,
      "obey lines that begin with / also where standard input is no terminal, for scripts") },
    { NAMES("--no-history"), ROW(ARG_FLAG, CMD_CHAT, no_history, NULL,
      "neither read nor write ~/.weft_history") },

    /* how tokens are drawn */
    { NAMES("-s", "--seed"), ROW(ARG_CUSTOM, GENERATE, seed, "N",
      "seed of the random numbers; same seed, same text"),
      .otherwise = "random, shown at the end", .parse = parse_seed },
    { NAMES("--temp", "--temperature"), ROW(ARG_FLOAT, GENERATE, temperature, "T",
      "0 = always the most likely token; higher is more varied"), .min = 0, .max = 100, GIVEN(TEMPERATURE) },
    { NAMES("--top-k"), ROW(ARG_INT, GENERATE, top_k, "N",
      "draw from the N most likely tokens; 0 = off"),
      .min = 0,
      .max = INT_MAX_F, GIVEN(TOP_K) },
    { NAMES("--top-p"), ROW(ARG_FLOAT, GENERATE, top_p, "P",
      "draw from the most likely tokens that hold P of the probability; 1 = off"),
      .min = 0, .max = 1,
      .above_min = true, GIVEN(TOP_P) },
    { NAMES("--min-p"), ROW(ARG_FLOAT, GENERATE, min_p, "P",
      "drop tokens less likely than P times the most likely one; 0 = off"), .min = 0, .max = 1, GIVEN(MIN_P) },
    { NAMES("--typical", "--typical-p"), ROW(ARG_FLOAT, GENERATE, typical_p, "P",
      "locally typical sampling; 1 = off"), .min = 0, .max = 1, .above_min = true },
    { NAMES("--repeat-penalty"), ROW(ARG_FLOAT, GENERATE, repeat_penalty, "X",
      "divide the logits of recent tokens; 1 = off"), .min = 0, .max = 1e6, .above_min = true, GIVEN(REPEAT_PENALTY) },
    { NAMES("--repeat-last-n"), ROW(ARG_INT, GENERATE, repeat_last_n, "N",
      "tokens the penalties look back at; -1 = all, 0 = none"), .min = -1, .max = INT_MAX_F, GIVEN(REPEAT_LAST_N) },
    { NAMES("--presence-penalty"), ROW(ARG_FLOAT, GENERATE, presence_penalty, "X",
      "subtracted from the logits of recent tokens; 0 = off"), .min = -2, .max = 2 },
    { NAMES("--frequency-penalty"), ROW(ARG_FLOAT, GENERATE, frequency_penalty, "X",
      "subtracted once for every time a recent token occurred; 0 = off"), .min = -2, .max = 2 },
    { NAMES("-l", "--logit-bias"), ROW(ARG_CUSTOM, GENERATE, bias, "TOKEN+BIAS",
      "change a token's logit; TOKEN-BIAS lowers it, TOKEN-inf bans it; may be repeated"),
      .parse = parse_bias },

    /* tokenize, inspect, help */
    { NAMES("--ids"), ROW(ARG_FLAG, CMD_TOKENIZE, ids, NULL, "only the ids, on one line") },
    { NAMES("--count"), ROW(ARG_FLAG, CMD_TOKENIZE, count, NULL, "only the number of tokens") },
    { NAMES("--bos"), ROW(ARG_FLAG, CMD_TOKENIZE, bos, NULL,
      "start with BOS if the model wants it") },
    { NAMES("--json"), ROW(ARG_FLAG, CMD_INSPECT | CMD_DOCTOR | CMD_PERPLEXITY, json, NULL,
      "one JSON object with everything") },
    { NAMES("--keys"), ROW(ARG_FLAG, CMD_INSPECT, keys, NULL, "only the metadata") },
    { NAMES("--tensors"), ROW(ARG_FLAG, CMD_INSPECT, tensors, NULL, "only the tensors") },
    { NAMES("--full"), ROW(ARG_FLAG, CMD_INSPECT, full, NULL, "arrays and texts in full length") },
    { NAMES("--no-check"), ROW(ARG_FLAG, CMD_INSPECT, no_check, NULL,
      "do not try to open the file as a model") },

    /* bench */
    { NAMES("-p", "--n-prompt"), ROW(ARG_LIST, CMD_BENCH, bench.n_prompt, "LIST",
      "tests ppN: compute a prompt of N tokens; 0 = none"), .min = 0, .max = INT_MAX_F },
    { NAMES("-n", "--n-gen"), ROW(ARG_LIST, CMD_BENCH, bench.n_gen, "LIST",
      "tests tgN: generate N tokens, one after another; 0 = none"), .min = 0, .max = INT_MAX_F },
    { NAMES("-pg"), ROW(ARG_CUSTOM, CMD_BENCH, bench.pairs, "P,N",
      "tests ppP+tgN: both in one time; may be repeated"), .parse = parse_pair },
    { NAMES("-d", "--n-depth"), ROW(ARG_LIST, CMD_BENCH, bench.n_depth, "LIST",
      "tokens that are in the KV cache before the clock starts"), .min = 0, .max = INT_MAX_F },
    { NAMES("-b", "-np", "--parallel"), ROW(ARG_LIST, CMD_BENCH, bench.n_parallel, "LIST",
      "sequences computed at once, each with the tokens of the test"), .min = 1, .max = 1024 },
    { NAMES("-r", "--repetitions"), ROW(ARG_INT, CMD_BENCH, bench.reps, "N",
      "times that every test is repeated"), .min = 1, .max = 1000 },
    { NAMES("--prompt-ids"), ROW(ARG_STRING, CMD_BENCH, bench.prompt_ids, "FILE",
      "token ids between white space to compute, in place of random ones") },
    { NAMES("-o", "--output"), ROW(ARG_CHOICE, CMD_BENCH, bench.format, "FORMAT",
      "md, json, jsonl or csv"), .choices = "md|json|jsonl|csv" },
    { NAMES("--profile"), ROW(ARG_FLAG, CMD_BENCH, bench.profile, NULL,
      "after each test, where its time goes: a line for each stage of a step") },
    /* Options of llama.cpp that mean nothing here. No option that would change the text is among
     * them. */
    { NAMES("--jinja", "--mlock", "-cb", "--cont-batching"), TAKEN(GENERATE) },
    { NAMES("--warmup", "--no-warmup", "--perf", "--no-perf"), TAKEN(GENERATE) },
    { NAMES("--no-display-prompt", "--log-disable", "--color", "-co"), TAKEN(GENERATE) },
    { NAMES("--simple-io", "--no-context-shift", "-st", "--single-turn"), TAKEN(GENERATE) },
    { NAMES("-no-cnv", "--no-conversation", "--offline", "--check-tensors"), TAKEN(GENERATE) },
    { NAMES("-kvu", "--kv-unified", "--swa-full", "--no-op-offload"), TAKEN(GENERATE) },
    { NAMES("-fa", "--flash-attn"), TAKEN(ENGINE), .choices = "on|off|auto|1|0|true|false" },
    { NAMES("-ub", "--ubatch-size"), TAKEN(ENGINE), .value = "N" },
    { NAMES("--numa"), TAKEN(ENGINE), .value = "TYPE" },
    { NAMES("--prio", "--poll", "--keep"), TAKEN(GENERATE), .value = "N" },
    { NAMES("-ngl", "--gpu-layers", "--n-gpu-layers"), TAKEN(ENGINE), .value = "N",
      .parse = remark_gpu_layers },
    { NAMES("-sm", "--split-mode", "-ts", "--tensor-split"), TAKEN(ENGINE), .value = "HOW",
      .parse = remark_one_gpu },
    { NAMES("-mg", "--main-gpu"), TAKEN(ENGINE), .value = "N", .parse = remark_main_gpu },
    { NAMES("-tb", "--threads-batch"), TAKEN(ENGINE), .value = "N", .parse = remark_threads },
    { NAMES("-cnv", "--conversation"), TAKEN(CMD_RUN), .parse = remark_chat },
    { NAMES("--no-jinja"), TAKEN(GENERATE), .parse = remark_templates },
    { NAMES("--context-shift"), TAKEN(GENERATE), .parse = remark_shift },
    { NAMES("-nkvo", "--no-kv-offload"), TAKEN(ENGINE), .parse = remark_kv },
    { NAMES("--man"), ROW(ARG_FLAG, CMD_HELP, man, NULL, "the manual page, in roff") },
    { NAMES("--completion"), ROW(ARG_CUSTOM, CMD_HELP, completion, "SHELL",
      "what completes commands, options and values in a shell: bash or zsh"),
      .choices = "bash|zsh", .parse = parse_shell },
    { .names = { NULL } },
};
// clang-format on

void options_init(struct options *o)
{
    const weft_sampling s = WEFT_SAMPLING_INIT;
    memset(o, 0, sizeof *o);
    o->device = "auto";
    o->ctx = -1;
    o->logprobs = -1;
    o->n_predict = -1;
    o->parallel = 1;
    o->bench.n_prompt = (struct arg_list){ .at = { 512 }, .n = 1 };
    o->bench.n_gen = (struct arg_list){ .at = { 128 }, .n = 1 };
    o->bench.n_depth = (struct arg_list){ .at = { 0 }, .n = 1 };
    o->bench.n_parallel = (struct arg_list){ .at = { 1 }, .n = 1 };
    o->bench.reps = 5;
    /* These decimals are the shortest that give the same floats, so that the help shows 0.95 and
     * not 0.949999988. */
    char text[32];
    const float from[] = { s.temperature, s.top_p, s.min_p, s.typical_p, s.repeat_penalty };
    double *to[] = { &o->temperature, &o->top_p, &o->min_p, &o->typical_p, &o->repeat_penalty };
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
        snprintf(text, sizeof text, "%.6g", (double)from[i]);
        *to[i] = strtod(text, NULL);
    }
    o->frequency_penalty = (double)s.frequency_penalty;
    o->presence_penalty = (double)s.presence_penalty;
    o->top_k = s.top_k;
    o->repeat_last_n = s.repeat_last_n;
}

static bool known_template(const char *name, struct arg_error *err)
{
    size_t n = (size_t)snprintf(err->text, sizeof err->text,
                                "option --chat-template: '%.60s' is unknown; known are", name);
    for (size_t i = 0; weft_chat_template_name(i) != NULL; i++) {
        if (strcmp(weft_chat_template_name(i), name) == 0) {
            return true;
        }
        if (n < sizeof err->text) {
            n += (size_t)snprintf(err->text + n, sizeof err->text - n, " %s",
                                  weft_chat_template_name(i));
        }
    }
    return false;
}

bool options_check(const struct options *o, unsigned command, struct arg_error *err)
{
    bool runs = (command & ENGINE) != 0;
    if (o->model == NULL && (command & (ENGINE | TEXT)) != 0) {
        return say(err, "no model; name one with -m FILE");
    }
    if (o->prompt != NULL && o->file != NULL) {
        return say(err, "-p and -f contradict each other; give one of them");
    }
    if (command == CMD_RUN && !o->chat && (o->system != NULL || o->template_name != NULL)) {
        return say(err, o->system != NULL ? "-sys needs --chat" : "--chat-template needs --chat");
    }
    if (o->escape && o->prompt == NULL) {
        return say(err, "-e needs -p; the bytes of a file are taken as they are");
    }
    if ((o->grammar != NULL) + (o->grammar_file != NULL) + (o->schema != NULL) +
            (o->schema_file != NULL) + o->any_json >
        1) {
        return say(err, "--grammar, --grammar-file, --json-schema, --json-schema-file and --json "
                        "contradict each other; give one of them");
    }
    if (o->ids && o->count) {
        return say(err, "--ids and --count contradict each other");
    }
    bool penalises =
        o->repeat_penalty != 1 || o->frequency_penalty != 0 || o->presence_penalty != 0;
    if (runs && penalises && o->repeat_last_n == 0) {
        return say(err, "a penalty needs tokens to look back at, and --repeat-last-n is 0");
    }
    if (o->logprobs >= 0 && o->ahead > 1) {
        return say(err, "--logprobs needs the logits of every token, and --ahead keeps only the "
                        "last; give one of them");
    }
    if (o->log_logits != NULL && o->ahead > 1) {
        return say(err, "--log-logits needs the logits of every token, and --ahead keeps only the "
                        "last; give one of them");
    }
    if (o->save_state != NULL && o->parallel > 1) {
        return say(err, "--save-state keeps one text, and -np asks for several");
    }
    if (o->full_trace != NULL && o->trace == NULL) {
        return say(err, "--trace-full holds the values that --trace FILE lists; give both");
    }
    if (o->tokens != NULL && (o->special || o->no_bos)) {
        return say(err, "--tokens takes ids as they are; --special and --no-bos are for texts");
    }
    if (o->save_base != NULL && o->kl_base != NULL) {
        return say(err, "--save-base and --kl-base contradict each other; give one of them");
    }
    if (o->kv > 0 && o->ctx > o->kv) {
        return say(err, "--kv is smaller than -c; one sequence could not hold its text");
    }
    return o->template_name == NULL || known_template(o->template_name, err);
}

void options_seed(struct options *o)
{
    uint32_t random;
    if (o->seed_given) {
        return;
    }
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        random = (uint32_t)t.tv_nsec ^ (uint32_t)t.tv_sec;
    }
    o->seed = random;
}

const char *options_kv_type(size_t type) { return type == WEFT_KV_Q8_0 ? "q8_0" : "f16"; }

weft_engine_params options_engine(const struct options *o)
{
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    bool keeps = o->log_logits != NULL || o->logprobs >= 0;
    size_t ahead = o->temperature == 0 && !keeps ? DEFAULT_AHEAD : 1;
    p.device = o->device;
    p.deterministic = o->deterministic;
    p.no_graphs = o->no_graphs;
    p.no_pdl = o->no_pdl;
    p.no_arena = o->no_arena;
    p.pin_threads = o->pin_threads;
    p.no_repack = o->no_repack;
    p.n_ahead = o->ahead > 0 ? (size_t)o->ahead : ahead;
    p.cpu_isa = (weft_cpu_isa)o->cpu_isa;
    p.n_ctx = o->ctx < 0 ? 0 : o->ctx == 0 ? WEFT_CTX_MODEL : (size_t)o->ctx;
    p.n_kv = (size_t)o->kv;
    p.n_batch = (size_t)o->batch;
    p.n_threads = (size_t)o->threads;
    p.type_k = (weft_kv_type)o->type_k;
    p.type_v = (weft_kv_type)o->type_v;
    return p;
}
