/* Every option of every sub-command, once: the table that parses and documents the options and
 * holds their defaults, and the checks and conversions that several sub-commands share. */
#ifndef WEFT_OPTIONS_H
#define WEFT_OPTIONS_H

#include "weft.h"
#include "weft/args.h"

enum {
    CMD_RUN = 1u,
    CMD_CHAT = 2u,
    CMD_TOKENIZE = 4u,
    CMD_DETOKENIZE = 8u,
    CMD_INSPECT = 16u,
    CMD_DOCTOR = 32u,
    CMD_HELP = 64u,
    CMD_VERSION = 128u,
    CMD_BENCH = 256u,
    CMD_LOGITS = 512u,
    CMD_PERPLEXITY = 1024u,
    CMD_EMBED = 2048u,
    CMD_TEMPLATE = 4096u,
    CMD_BATCH = 8192u,
    CMD_SERVE = 16384u
};

/* Commands that share options. */
enum {
    CMDS_GENERATE = CMD_RUN | CMD_CHAT,
    CMDS_REQUESTS = CMD_BATCH | CMD_SERVE, /* they answer requests of OpenAI's API */
    CMDS_SAMPLE = CMDS_GENERATE | CMDS_REQUESTS,
    CMDS_SCORE = CMD_LOGITS | CMD_PERPLEXITY,
    CMDS_ENGINE = CMDS_SAMPLE | CMDS_SCORE | CMD_EMBED,
    CMDS_TEXT = CMD_TOKENIZE | CMD_DETOKENIZE | CMD_TEMPLATE,
    CMDS_TEMPLATE = CMDS_GENERATE | CMD_TEMPLATE,
    CMDS_MESSAGES = CMD_RUN | CMD_TEMPLATE
};

/* Remarks about options that were accepted and change nothing, although one might expect it. */
enum { MAX_REMARKS = 8 };

enum { MOST_STOPS = 16, MOST_STOP_BYTES = 256, MOST_BIAS = 1024 };

enum { MAX_BENCH_MODELS = 32, MAX_BENCH_PAIRS = 16 };

/* The options of weft bench: every combination is a row. */
struct bench_options {
    /* Paths, or several paths with commas between them. */
    const char *models[MAX_BENCH_MODELS];
    size_t n_models;
    struct arg_list n_prompt, n_gen, n_depth, n_parallel, n_threads;
    struct {
        int64_t n_prompt, n_gen;
    } pairs[MAX_BENCH_PAIRS];
    size_t n_pairs;
    int64_t reps;
    size_t format; /* an index into the choices of the table */
    bool profile;
    const char *prompt_ids;
};

/* Values of an option that may be given several times, each with commas between several. */
enum { MAX_WORDS = 16 };
struct word_list {
    const char *at[MAX_WORDS];
    size_t n;
};

/* The options of weft serve. */
struct serve_options {
    struct word_list hosts, names, origins, keys;
    const char *prefix, *key_file;
    int64_t port, threads, timeout, ping, max_connections, max_unfinished, max_body, max_waiting,
        wait, drain_delay, drain_timeout;
    bool unified, metrics, no_slots, embeddings, strict_model, log_json, no_log;
};

struct options {
    const char *model;
    bool no_mmap, no_repack, pin_threads;
    const char *device;
    size_t cpu_isa;                  /* an index into the choices of the table */
    int64_t ctx, kv, batch, threads; /* -1 (ctx) or 0: the engine chooses */
    size_t type_k, type_v;           /* weft_kv_type, as the choices of the table */
    bool deterministic, no_graphs, no_pdl, no_arena;
    int64_t logprobs; /* -1: none */
    int64_t ahead;    /* 0: options_engine() chooses */
    const char *prompt, *file, *system, *log_logits;
    /* The chat template: a name or Jinja source, or a file with such source; and its variables. */
    const char *chat_template, *template_file, *template_vars;
    const char *messages, *tools_file; /* files with JSON */
    bool prefill, no_prompt, runs;
    int64_t now; /* seconds since 1970 for templates with a date; -1 = the clock */
    const char *save_state, *load_state;                            /* for run */
    const char *tokens, *output, *full_logits, *trace, *full_trace; /* for logits */
    const char *save_base, *kl_base;                                /* for perplexity */
    int64_t chunks;
    bool no_bos;
    size_t pooling; /* for embed: a weft_pooling */
    bool raw, sort;
    int64_t dimensions; /* 0: all */
    const char *rerank; /* the query; NULL: texts become vectors */
    /* Texts, and files with such texts. */
    const char *grammar, *grammar_file, *schema, *schema_file;
    bool any_json;
    bool escape, chat, ignore_end, no_stream, special, display_prompt, null, quiet;
    int64_t n_predict, parallel; /* n_predict -1: until the end */
    double temperature, top_p, min_p, typical_p, repeat_penalty, frequency_penalty,
        presence_penalty;
    int64_t top_k, repeat_last_n;
    /* Sets of WEFT_SAMPLING_*: the fields that the user typed, and those taken from the model's
     * file. */
    unsigned given, followed;
    uint64_t seed;
    bool seed_given;
    const char *stops[MOST_STOPS];
    size_t n_stops;
    weft_logit_bias bias[MOST_BIAS];
    size_t n_bias;
    bool no_history, commands; /* for chat */
    /* For commands that answer requests. */
    const char *alias;
    size_t reasoning;        /* enum reasoning_format; 3 is auto too, by another name */
    int64_t at_once;         /* requests; 0 = as the KV cache allows */
    const char *input;       /* for batch */
    int64_t shard, n_shards; /* for batch; n_shards 0: all lines */
    bool ids, bos, count;
    bool json, keys, tensors, full, no_check;
    struct bench_options bench;
    struct serve_options serve;
    bool man;
    const char *completion; /* a shell; NULL: none was named */
    const char *remarks[MAX_REMARKS];
    size_t n_remarks;
};

extern const struct arg_option option_table[];

/* Sets all defaults; those of sampling come from WEFT_SAMPLING_INIT. */
void options_init(struct options *o);
/* Checks what no single option shows: contradictions, and values that the library must know
 * (template names). */
bool options_check(const struct options *o, unsigned command, struct arg_error *err);
/* Returns true if the value of --chat-template is Jinja source, not a name. */
bool options_is_source(const char *value);
/* Returns true if `path`, which may be NULL, leads to the model's file, under whatever name. */
bool options_is_model(const struct options *o, const char *path);

/* Draws a random seed unless one was given. */
void options_seed(struct options *o);
/* Takes from *s the fields that the user has not given. */
void options_follow(struct options *o, const weft_sampling *s, unsigned fields);
/* Writes "temp 0.6, top-k 20": the values that were taken in this way and still hold; "" if there
 * are none. */
void options_followed(const struct options *o, char *dst, size_t cap);
/* Returns the sampling that the options describe; it borrows o->bias. */
weft_sampling options_sampling(const struct options *o);
weft_engine_params options_engine(const struct options *o);
/* Returns the name of a weft_kv_type for -ctk and -ctv, such as "f16". */
const char *options_kv_type(size_t type);

#endif
