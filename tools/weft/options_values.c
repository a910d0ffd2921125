#include "weft/options_values.h"

#include <math.h>
#include <string.h>

bool options_parse_seed(void *fields, const char *value, struct arg_error *err)
{
    struct options *o = fields;
    if (strcmp(value, "-1") == 0) {
        o->seed_given = false;
        return true;
    }
    uint64_t seed = 0;
    for (const char *c = value; *c != '\0' || c == value; c++) {
        if (*c < '0' || *c > '9') {
            return args_refuse(
                err,
                "expected a whole number from 0 to 18446744073709551615, or -1 for a random one");
        }
        if (__builtin_mul_overflow(seed, 10u, &seed) ||
            __builtin_add_overflow(seed, (uint64_t)(*c - '0'), &seed)) {
            return args_refuse(err, "more than 18446744073709551615");
        }
    }
    o->seed = seed;
    o->seed_given = true;
    return true;
}

bool options_parse_stop(void *fields, const char *value, struct arg_error *err)
{
    struct options *o = fields;
    if (*value == '\0' || strlen(value) > MOST_STOP_BYTES) {
        return args_refuse(err, "a stop string has 1 to 256 bytes");
    }
    if (o->n_stops == MOST_STOPS) {
        return args_refuse(err, "at most 16 stop strings");
    }
    o->stops[o->n_stops++] = value;
    return true;
}

/* Checks the form of a name. The library finds out, when the device is opened, whether it
 * exists. */
bool options_parse_device(void *fields, const char *value, struct arg_error *err)
{
    struct options *o = fields;
    int64_t n;
    bool numbered = strncmp(value, "cuda:", 5) == 0 && value[5] >= '0' && value[5] <= '9' &&
                    args_int(value + 5, &n) && n < 1000;
    if (strcmp(value, "auto") != 0 && strcmp(value, "cpu") != 0 && strcmp(value, "cuda") != 0 &&
        !numbered) {
        return args_refuse(
            err, "expected auto, cpu, cuda (the first GPU) or the number of a GPU, such as "
                 "cuda:1");
    }
    o->device = value;
    return true;
}

bool options_parse_shell(void *fields, const char *value, struct arg_error *err)
{
    struct options *o = fields;
    if (strcmp(value, "bash") != 0 && strcmp(value, "zsh") != 0) {
        return args_refuse(err, "expected bash or zsh");
    }
    o->completion = value;
    return true;
}

/* Parses TOKEN+BIAS or TOKEN-BIAS; a bias of "-inf" bans the token. */
bool options_parse_bias(void *fields, const char *value, struct arg_error *err)
{
    struct options *o = fields;
    char token[16] = "";
    size_t n = strspn(value, "0123456789");
    double bias;
    int64_t id;
    memcpy(token, value, n < sizeof token ? n : 0);
    if ((value[n] != '+' && value[n] != '-') || value[n + 1] == '+' || value[n + 1] == '-' ||
        !args_int(token, &id) || id > INT32_MAX) {
        return args_refuse(
            err, "expected TOKEN+BIAS or TOKEN-BIAS with the token's number, such as 15043-1.5");
    }
    if (strcmp(value + n, "-inf") == 0) {
        bias = -(double)INFINITY;
    } else if (!args_float(value + n, &bias) || fabs(bias) > 1e6) {
        return args_refuse(
            err, "the bias is a number from -1000000 to 1000000, or -inf to ban the token");
    }
    if (o->n_bias == MOST_BIAS) {
        return args_refuse(err, "at most 1024 tokens can be biased");
    }
    for (size_t i = 0; i < o->n_bias; i++) {
        if (o->bias[i].token == (int32_t)id) {
            return args_refuse(err, "this token already has a bias");
        }
    }
    o->bias[o->n_bias++] = (weft_logit_bias){ .token = (int32_t)id, .bias = (float)bias };
    return true;
}

bool options_parse_model(void *fields, const char *value, struct arg_error *err)
{
    struct bench_options *b = &((struct options *)fields)->bench;
    if (b->n_models == MAX_BENCH_MODELS) {
        return args_refuse(err, "at most 32 models");
    }
    b->models[b->n_models++] = value;
    return true;
}

/* Parses I/N. */
bool options_parse_shard(void *fields, const char *value, struct arg_error *err)
{
    struct options *o = fields;
    char first[24] = "";
    int64_t i, n;
    const size_t slash = strcspn(value, "/");
    memcpy(first, value, slash < sizeof first ? slash : 0);
    if (value[slash] != '/' || !args_int(first, &i) || !args_int(value + slash + 1, &n) || i < 0 ||
        n < 1) {
        return args_refuse(err, "expected I/N, such as 0/4 for the first of four shards");
    }
    if (i >= n) {
        return args_refuse(err,
                           "shards count from 0, so the last of %lld is %lld/%lld; a job array of "
                           "Slurm is --array=0-%lld",
                           (long long)n, (long long)n - 1, (long long)n, (long long)n - 1);
    }
    o->shard = i;
    o->n_shards = n;
    return true;
}

/* Parses P,N. */
bool options_parse_pair(void *fields, const char *value, struct arg_error *err)
{
    struct bench_options *b = &((struct options *)fields)->bench;
    char prompt[16] = "";
    int64_t p, n;
    size_t comma = strcspn(value, ",");
    memcpy(prompt, value, comma < sizeof prompt ? comma : 0);
    if (value[comma] != ',' || !args_int(prompt, &p) || !args_int(value + comma + 1, &n) || p < 1 ||
        n < 1 || p > INT32_MAX || n > INT32_MAX) {
        return args_refuse(err, "expected PROMPT,GENERATED, two numbers of tokens such as 512,128");
    }
    if (b->n_pairs == MAX_BENCH_PAIRS) {
        return args_refuse(err, "at most 16 pairs");
    }
    b->pairs[b->n_pairs].n_prompt = p;
    b->pairs[b->n_pairs++].n_gen = n;
    return true;
}

/* --- lists of weft serve --- */

static bool add_words(struct word_list *list, const char *value, struct arg_error *err)
{
    if (*value == '\0') {
        return args_refuse(err, "the value is empty");
    }
    if (list->n == MAX_WORDS) {
        return args_refuse(err, "it may be given 16 times; put commas between the values");
    }
    list->at[list->n++] = value;
    return true;
}

bool options_parse_host(void *fields, const char *value, struct arg_error *err)
{
    return add_words(&((struct options *)fields)->serve.hosts, value, err);
}

bool options_parse_name(void *fields, const char *value, struct arg_error *err)
{
    return add_words(&((struct options *)fields)->serve.names, value, err);
}

bool options_parse_origin(void *fields, const char *value, struct arg_error *err)
{
    return add_words(&((struct options *)fields)->serve.origins, value, err);
}

bool options_parse_key(void *fields, const char *value, struct arg_error *err)
{
    return add_words(&((struct options *)fields)->serve.keys, value, err);
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
bool options_remark_gpu_layers(void *fields, const char *value, struct arg_error *err)
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
    bool name(void *fields, const char *value, struct arg_error *err)                              \
    {                                                                                              \
        (void)value;                                                                               \
        (void)err;                                                                                 \
        return remark(fields, text);                                                               \
    }
REMARK(options_remark_one_gpu, "the model is not split: it is on one device, --device")
REMARK(options_remark_main_gpu, "-mg is not obeyed: --device cuda:N chooses a GPU")
REMARK(options_remark_threads, "-tb is not obeyed: -t is for prompts and generation")
REMARK(options_remark_chat,
       "-cnv is not obeyed: weft chat is the conversation, --chat sends one message")
REMARK(options_remark_templates,
       "--no-jinja changes nothing: the template in the file is interpreted; --chat-template NAME "
       "takes a built-in one")
REMARK(options_remark_shift, "--context-shift is not obeyed: a text ends where the context is full")
REMARK(options_remark_kv, "-nkvo is not obeyed: the KV cache is on the device")
