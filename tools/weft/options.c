/* The option table, and the defaults. A new option is one row here and one field in options.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve/http/server.h"
#include "weft/options_values.h"

#define NAMES(...) .names = { __VA_ARGS__ }
#define ROW(k, who, field, what, text)                                                             \
    .kind = k, .commands = who, .offset = offsetof(struct options, field), .value = what,          \
    .help = text
/* For a row whose value the model's file may give instead: its WEFT_SAMPLING_*. */
#define GIVEN(field) .given = offsetof(struct options, given), .given_bit = WEFT_SAMPLING_##field
#define INT_MAX_F 2147483647.0
#define SPELL(value) #value
#define SPELLED(macro) SPELL(macro)

#define TAKEN(who) .kind = ARG_TAKEN, .commands = who

// clang-format off
const struct arg_option option_table[] = {
    /* the model and the engine */
    { NAMES("-m", "--model"), ROW(ARG_STRING, CMDS_ENGINE | CMDS_TEXT | CMD_INSPECT, model, "FILE",
      "GGUF file; of a split model the first part") },
    { NAMES("-m", "--model"), ROW(ARG_STRING, CMD_DOCTOR, model, "FILE",
      "also say whether this model fits on each device") },
    { NAMES("-c", "--ctx-size"), ROW(ARG_INT, CMDS_GENERATE | CMD_BATCH | CMD_LOGITS | CMD_EMBED | CMD_DOCTOR, ctx, "N",
      "longest text in tokens, prompt included; 0 = the longest the model has"),
      .otherwise = SPELLED(WEFT_CTX_DEFAULT) ", or less if the model has less", .min = 0, .max = INT_MAX_F },
    { NAMES("-c", "--ctx-size"), ROW(ARG_INT, CMD_SERVE, ctx, "N",
      "tokens of context that all requests share, prompts included; 0 = the longest text the model "
      "can have"),
      .otherwise = SPELLED(WEFT_CTX_DEFAULT) ", or less if the model has less", .min = 0, .max = INT_MAX_F },
    { NAMES("-c", "--ctx-size"), ROW(ARG_INT, CMD_PERPLEXITY, ctx, "N",
      "tokens of a window; 0 = the longest the model has"),
      .otherwise = "512", .min = 0, .max = INT_MAX_F },
    { NAMES("-b", "--batch-size"), ROW(ARG_INT, CMDS_ENGINE, batch, "N",
      "most tokens computed in one step"),
      .otherwise = "512 on the CPU, on a GPU 2048 if there is room", .min = 1, .max = 65536 },
    { NAMES("-m", "--model"), ROW(ARG_CUSTOM, CMD_BENCH, bench.models, "FILE",
      "GGUF file; several with commas between them, or by repeating the option"),
      .parse = options_parse_model },
    { NAMES("-t", "--threads"), ROW(ARG_LIST, CMD_BENCH, bench.n_threads, "LIST",
      "threads that compute"),
      .otherwise = "one per physical core, or as many as the quota of a container allows", .min = 1, .max = 1024 },
    { NAMES("--batch-size", "-ub"), ROW(ARG_INT, CMD_BENCH, batch, "N",
      "most tokens computed in one step"),
      .otherwise = "512 on the CPU, on a GPU 2048 if there is room", .min = 1, .max = 65536 },
    { NAMES("--ahead"), ROW(ARG_INT, CMD_BENCH, ahead, "N",
      "greedy tokens that a GPU computes in one go"),
      .otherwise = "8", .min = 1, .max = WEFT_TOP_MAX },
    { NAMES("-t", "--threads"), ROW(ARG_INT, CMDS_ENGINE, threads, "N",
      "threads that compute; with a GPU, those that read the weights, at most 8"),
      .otherwise = "one per physical core, or as many as the quota of a container allows", .min = 1, .max = 1024 },
    { NAMES("--device"), ROW(ARG_CUSTOM, CMDS_ENGINE | CMD_BENCH, device, "NAME",
      "where to compute: auto (a GPU if one can be used), cpu, cuda (the first GPU) or cuda:N; "
      "weft doctor lists them"),
      .otherwise = "auto", .choices = "auto|cpu|cuda", .parse = options_parse_device },
    { NAMES("--deterministic"), ROW(ARG_FLAG, CMDS_ENGINE | CMD_BENCH, deterministic, NULL,
      "on a GPU: the same bits however a prompt is cut and whatever runs beside it, at the price "
      "of slower prompts") },
    { NAMES("--no-graphs"), ROW(ARG_FLAG, CMDS_ENGINE | CMD_BENCH, no_graphs, NULL,
      "on a GPU: launch the kernels of a step one by one, not as a CUDA graph; to find a fault") },
    { NAMES("--no-pdl"), ROW(ARG_FLAG, CMDS_ENGINE | CMD_BENCH, no_pdl, NULL,
      "on a GPU: no programmatic dependent launch, each kernel waits for the one before; to find a "
      "fault") },
    { NAMES("--no-arena"), ROW(ARG_FLAG, CMDS_ENGINE | CMD_BENCH, no_arena, NULL,
      "on a GPU: an allocation for each buffer, so that compute-sanitizer notices an index beyond "
      "its end; to find a fault") },
    { NAMES("--ahead"), ROW(ARG_INT, CMDS_GENERATE, ahead, "N",
      "greedy tokens that a GPU computes in one go"),
      .otherwise = "8 with --temp 0 and without --log-logits, else 1", .min = 1, .max = WEFT_TOP_MAX },
    { NAMES("--pin-threads"), ROW(ARG_FLAG, CMDS_ENGINE | CMD_BENCH, pin_threads, NULL,
      "on the CPU: each thread stays on a core; for a machine that does nothing else") },
    { NAMES("--cpu-isa"), ROW(ARG_CHOICE, CMDS_ENGINE | CMD_BENCH, cpu_isa, "NAME",
      "CPU kernels: auto, scalar, avx2 or avx512; all give the same text"),
      .choices = "auto|scalar|avx2|avx512" },
    { NAMES("--kv"), ROW(ARG_INT, (CMDS_ENGINE & ~CMD_SERVE) | CMD_DOCTOR, kv, "N",
      "positions in the KV cache, shared by all sequences"),
      .otherwise = "what the sequences need", .min = 1, .max = INT_MAX_F },
    { NAMES("-ctk", "--cache-type-k"), ROW(ARG_CHOICE, CMDS_ENGINE | CMD_BENCH | CMD_DOCTOR, type_k, "TYPE",
      "how K is kept in the KV cache: f16, or q8_0, which takes 53 % of its memory"),
      .choices = "f16|q8_0" },
    { NAMES("-ctv", "--cache-type-v"), ROW(ARG_CHOICE, CMDS_ENGINE | CMD_BENCH | CMD_DOCTOR, type_v, "TYPE",
      "how V is kept in the KV cache: f16 or q8_0"),
      .choices = "f16|q8_0" },
    { NAMES("--no-mmap"), ROW(ARG_FLAG, CMDS_ENGINE | CMD_BENCH | CMDS_TEXT | CMD_INSPECT, no_mmap, NULL,
      "read the file into memory instead of mapping it") },
    { NAMES("--no-repack"), ROW(ARG_FLAG, CMDS_ENGINE | CMD_BENCH, no_repack, NULL,
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
    { NAMES("-sys", "--system-prompt"), ROW(ARG_STRING, CMDS_GENERATE, system, "TEXT",
      "system prompt of the chat"), .otherwise = "the template's own" },
    { NAMES("--messages"), ROW(ARG_STRING, CMDS_MESSAGES, messages, "FILE",
      "the conversation: a JSON array of messages as in OpenAI's API; - is standard input") },
    { NAMES("--tools-file"), ROW(ARG_STRING, CMDS_MESSAGES, tools_file, "FILE",
      "tools that the model may call: a JSON array as in OpenAI's API; - is standard input") },
    { NAMES("--prefill"), ROW(ARG_FLAG, CMDS_MESSAGES, prefill, NULL,
      "continue the last of the --messages, which is the assistant's") },
    { NAMES("--chat-template"), ROW(ARG_STRING, CMDS_TEMPLATE | CMDS_REQUESTS, chat_template, "TEMPLATE",
      "chat template: the name of a built-in one, or Jinja source"),
      .otherwise = "the one in the model" },
    { NAMES("--chat-template-file"), ROW(ARG_STRING, CMDS_TEMPLATE | CMDS_REQUESTS, template_file, "FILE",
      "read the Jinja source of the chat template from a file; - is standard input") },
    { NAMES("--chat-template-kwargs"), ROW(ARG_STRING, CMDS_TEMPLATE | CMDS_REQUESTS, template_vars, "JSON",
      "variables of the chat template, such as {\"enable_thinking\": false}") },
    { NAMES("--no-generation-prompt"), ROW(ARG_FLAG, CMD_TEMPLATE, no_prompt, NULL,
      "do not open the assistant's turn at the end") },
    { NAMES("--now"), ROW(ARG_INT, CMDS_TEMPLATE, now, "SECONDS",
      "what a template that asks for the date sees: seconds since 1970"),
      .otherwise = "the clock", .min = 1, .max = 253402300799.0 },
    { NAMES("--runs"), ROW(ARG_FLAG, CMD_TEMPLATE, runs, NULL,
      "a line of JSON for each stretch of text, with who wrote it: the template or the caller") },
    { NAMES("-np", "--parallel"), ROW(ARG_INT, CMD_RUN, parallel, "N",
      "answer N times at once, with seeds S, S+1, ...; a newline ends each of several texts"),
      .min = 1, .max = 1024 },
    { NAMES("-0", "--null"), ROW(ARG_FLAG, CMD_RUN, null, NULL,
      "a NUL byte ends each text, for xargs -0 and read -d ''") },

    { NAMES("-p", "--prompt"), ROW(ARG_STRING, CMDS_SCORE, prompt, "TEXT",
      "the text; with --special control tokens in it count") },
    { NAMES("-f", "--file"), ROW(ARG_STRING, CMDS_SCORE, file, "FILE",
      "read the text from a file, byte by byte; - is standard input") },
    { NAMES("-p", "--prompt"), ROW(ARG_STRING, CMD_EMBED, prompt, "TEXT", "one text") },
    { NAMES("-f", "--file"), ROW(ARG_STRING, CMD_EMBED, file, "FILE",
      "every line of the file is a text; - is standard input") },
    { NAMES("-e", "--escape"), ROW(ARG_FLAG, CMDS_SCORE | CMD_EMBED, escape, NULL,
      "in -p: \\n \\t \\r \\\\ \\\" \\' \\xHH are one byte each") },
    { NAMES("--tokens"), ROW(ARG_STRING, CMDS_SCORE, tokens, "FILE",
      "in place of a text: ids between white space, taken as they are; - is standard input") },
    { NAMES("--no-bos"), ROW(ARG_FLAG, CMDS_SCORE | CMD_EMBED, no_bos, NULL,
      "no BOS before the text, even if the model wants it") },
    { NAMES("--special"), ROW(ARG_FLAG, CMDS_SCORE | CMD_EMBED, special, NULL,
      "control tokens such as <|im_end|> in the text are one token") },

    /* requests */
    { NAMES("-i", "--input"), ROW(ARG_STRING, CMD_BATCH, input, "FILE",
      "the requests, a line of JSON for each; - is standard input") },
    { NAMES("-o", "--output"), ROW(ARG_STRING, CMD_BATCH, output, "FILE",
      "append the answers there, a line of JSON for each; what the file answers already is not "
      "computed again; - is standard output"), .otherwise = "standard output" },
    { NAMES("--shard"), ROW(ARG_CUSTOM, CMD_BATCH, shard, "I/N",
      "only every Nth line of the input, from line I on, counted from 0"),
      .otherwise = "all lines", .parse = options_parse_shard },
    { NAMES("-np", "--parallel"), ROW(ARG_INT, CMD_BATCH, at_once, "N",
      "requests computed at once; without --kv, the KV cache has room for N texts of -c tokens"),
      .otherwise = "as many as the KV cache has room for", .min = 1, .max = 1024 },
    { NAMES("-a", "--alias"), ROW(ARG_STRING, CMDS_REQUESTS, alias, "NAME",
      "the model's name in answers"), .otherwise = "the name of the file" },
    { NAMES("-n", "--predict", "--n-predict"), ROW(ARG_INT, CMDS_REQUESTS, n_predict, "N",
      "most tokens of one answer, whatever the request asks for; -1 = no limit"), .min = -1, .max = INT_MAX_F },
    { NAMES("--reasoning-format"), ROW(ARG_CHOICE, CMDS_REQUESTS, reasoning, "NAME",
      "where reasoning goes: auto or deepseek (into reasoning_content), none (it stays in the "
      "content) or deepseek-legacy (both)"), .choices = "auto|none|deepseek-legacy|deepseek" },

    /* serve */
    { NAMES("--host"), ROW(ARG_CUSTOM, CMD_SERVE, serve.hosts, "ADDRESS",
      "where to listen: an address, a name, or a Unix socket (unix:PATH, or a path that ends in "
      ".sock); several with commas between them, or by repeating the option"),
      .otherwise = "127.0.0.1", .parse = options_parse_host },
    { NAMES("--port"), ROW(ARG_INT, CMD_SERVE, serve.port, "N", "port; 0 = any that is free"),
      .min = 0, .max = 65535 },
    { NAMES("--strict-model"), ROW(ARG_FLAG, CMD_SERVE, serve.strict_model, NULL,
      "refuse requests that name another model") },
    { NAMES("-np", "--parallel"), ROW(ARG_INT, CMD_SERVE, at_once, "N",
      "requests computed at once; each may then use the N-th part of the context, unless -kvu is given"),
      .otherwise = "as many as fit, each with all of the context", .min = 1, .max = 1024 },
    { NAMES("-kvu", "--kv-unified"), ROW(ARG_FLAG, CMD_SERVE, serve.unified, NULL,
      "with -np: each request may use all of the context") },
    { NAMES("--max-waiting"), ROW(ARG_INT, CMD_SERVE, serve.max_waiting, "N",
      "requests that may wait for others; more are refused with 503"), .min = 0, .max = 65536 },
    { NAMES("--wait"), ROW(ARG_INT, CMD_SERVE, serve.wait, "SECONDS",
      "a request that has waited for so long is refused with 503; 0 = never"), .min = 0, .max = INT_MAX_F },
    { NAMES("--embeddings", "--embedding"), ROW(ARG_FLAG, CMD_SERVE, serve.embeddings, NULL,
      "only embeddings and scores, no text") },
    { NAMES("--api-key"), ROW(ARG_CUSTOM, CMD_SERVE, serve.keys, "KEY",
      "requests must bring this key; several with commas between them"), .parse = options_parse_key },
    { NAMES("--api-key-file"), ROW(ARG_STRING, CMD_SERVE, serve.key_file, "FILE",
      "keys, a line each: KEY, or NAME KEY, where NAME stands in the log") },
    { NAMES("--allowed-host"), ROW(ARG_CUSTOM, CMD_SERVE, serve.names, "NAME",
      "without keys: a name that requests may call this server by, besides addresses, localhost, names "
      "without a dot, and those in .local and .internal"), .parse = options_parse_name },
    { NAMES("--cors-origin"), ROW(ARG_CUSTOM, CMD_SERVE, serve.origins, "ORIGIN",
      "without keys: web pages that may ask, such as https://chat.example, besides local ones; * = all"),
      .parse = options_parse_origin },
    { NAMES("--api-prefix"), ROW(ARG_STRING, CMD_SERVE, serve.prefix, "PATH",
      "stands in front of all paths, such as /llm") },
    { NAMES("--metrics"), ROW(ARG_FLAG, CMD_SERVE, serve.metrics, NULL,
      "GET /metrics shows counters, for Prometheus") },
    { NAMES("--no-slots"), ROW(ARG_FLAG, CMD_SERVE, serve.no_slots, NULL,
      "GET /slots does not show what runs") },
    { NAMES("--threads-http"), ROW(ARG_INT, CMD_SERVE, serve.threads, "N",
      "threads that prepare requests: JSON, templates, tokens, grammars"), .min = 1, .max = 64 },
    { NAMES("-to", "--timeout"), ROW(ARG_INT, CMD_SERVE, serve.timeout, "SECONDS",
      "a client that neither sends nor reads anything for so long is given up"), .min = 1, .max = INT_MAX_F },
    { NAMES("--sse-ping-interval"), ROW(ARG_INT, CMD_SERVE, serve.ping, "SECONDS",
      "a comment in a stream after so much silence, so that nobody believes it dead; -1 = never"),
      .min = -1, .max = INT_MAX_F },
    { NAMES("--max-conns"), ROW(ARG_INT, CMD_SERVE, serve.max_connections, "N",
      "connections at once; more are refused with 503"), .min = 1, .max = 65536 },
    { NAMES("--max-unfinished"), ROW(ARG_INT, CMD_SERVE, serve.max_unfinished, "N",
      "requests of one address that arrive slowly, over more than a second; more are refused with "
      "429"), .min = 1, .max = 65536 },
    { NAMES("--max-body"), ROW(ARG_INT, CMD_SERVE, serve.max_body, "MIB",
      "size of a request in MiB"), .min = 1, .max = 1024 },
    { NAMES("--drain-delay"), ROW(ARG_INT, CMD_SERVE, serve.drain_delay, "SECONDS",
      "time between SIGTERM, when /health begins to fail, and the refusal of new requests; for "
      "balancers"), .min = 0, .max = 3600 },
    { NAMES("--drain-timeout"), ROW(ARG_INT, CMD_SERVE, serve.drain_timeout, "SECONDS",
      "time that running requests then have to finish"), .min = 0, .max = 86400 },
    { NAMES("--log-json"), ROW(ARG_FLAG, CMD_SERVE, serve.log_json, NULL,
      "the log is JSON, an object in each line") },
    { NAMES("--log-disable"), ROW(ARG_FLAG, CMD_SERVE, serve.no_log, NULL,
      "no line for each request; -q leaves out all but errors") },

    /* what comes out */
    { NAMES("-o", "--output"), ROW(ARG_STRING, CMD_LOGITS | CMD_EMBED, output, "FILE",
      "write the lines of JSON there"), .otherwise = "standard output" },
    { NAMES("--pooling"), ROW(ARG_CHOICE, CMD_EMBED | CMDS_REQUESTS, pooling, "NAME",
      "how the states of the tokens become one vector: model (as the file says, else the mean), "
      "mean or last; rank gives the labels of a reranker"),
      .choices = "model|mean|last|cls|rank" },
    { NAMES("--raw"), ROW(ARG_FLAG, CMD_EMBED, raw, NULL,
      "do not scale the vectors to length 1, nor labels to probabilities") },
    { NAMES("--dimensions"), ROW(ARG_INT, CMD_EMBED, dimensions, "N",
      "only the first N values of a vector, scaled to length 1, for models trained for it"),
      .otherwise = "all", .min = 1, .max = INT_MAX_F },
    { NAMES("--rerank"), ROW(ARG_STRING, CMD_EMBED, rerank, "QUERY",
      "with a reranker: how well each text answers the query, a score from 0 to 1, in place of "
      "vectors") },
    { NAMES("--sort"), ROW(ARG_FLAG, CMD_EMBED, sort, NULL, "with --rerank: best first") },
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
    { NAMES("-r", "--reverse-prompt", "--stop"), ROW(ARG_CUSTOM, CMDS_GENERATE, stops, "TEXT",
      "stop when this text appears; may be given 16 times"), .parse = options_parse_stop },
    { NAMES("--grammar"), ROW(ARG_STRING, CMDS_GENERATE, grammar, "GBNF",
      "generate only what this grammar (GBNF, as in llama.cpp) allows") },
    { NAMES("--grammar-file"), ROW(ARG_STRING, CMDS_GENERATE, grammar_file, "FILE",
      "the same with a grammar in a file; - is standard input") },
    { NAMES("-j", "--json-schema"), ROW(ARG_STRING, CMDS_GENERATE, schema, "SCHEMA",
      "generate only JSON that this JSON schema accepts") },
    { NAMES("-jf", "--json-schema-file"), ROW(ARG_STRING, CMDS_GENERATE, schema_file, "FILE",
      "the same with a schema in a file; - is standard input") },
    { NAMES("--json"), ROW(ARG_FLAG, CMDS_GENERATE, any_json, NULL, "generate only JSON") },
    { NAMES("--ignore-eos"), ROW(ARG_FLAG, CMDS_GENERATE | CMD_SERVE, ignore_end, NULL,
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
    { NAMES("-q", "--quiet"), ROW(ARG_FLAG, CMDS_ENGINE | CMD_BENCH, quiet, NULL,
      "nothing on standard error but errors") },
    { NAMES("--commands"), ROW(ARG_FLAG, CMD_CHAT, commands, NULL,
      "obey lines that begin with / also where standard input is no terminal, for scripts") },
    { NAMES("--no-history"), ROW(ARG_FLAG, CMD_CHAT, no_history, NULL,
      "neither read nor write ~/.weft_history") },

    /* how tokens are drawn */
    { NAMES("-s", "--seed"), ROW(ARG_CUSTOM, CMDS_GENERATE, seed, "N",
      "seed of the random numbers; same seed, same text"),
      .otherwise = "random, shown at the end", .parse = options_parse_seed },
    { NAMES("--temp", "--temperature"), ROW(ARG_FLOAT, CMDS_SAMPLE, temperature, "T",
      "0 = always the most likely token; higher is more varied"), .min = 0, .max = 100, GIVEN(TEMPERATURE) },
    { NAMES("--top-k"), ROW(ARG_INT, CMDS_SAMPLE, top_k, "N",
      "draw from the N most likely tokens; 0 = off"),
      .min = 0,
      .max = INT_MAX_F, GIVEN(TOP_K) },
    { NAMES("--top-p"), ROW(ARG_FLOAT, CMDS_SAMPLE, top_p, "P",
      "draw from the most likely tokens that hold P of the probability; 1 = off"),
      .min = 0, .max = 1,
      .above_min = true, GIVEN(TOP_P) },
    { NAMES("--min-p"), ROW(ARG_FLOAT, CMDS_SAMPLE, min_p, "P",
      "drop tokens less likely than P times the most likely one; 0 = off"), .min = 0, .max = 1, GIVEN(MIN_P) },
    { NAMES("--typical", "--typical-p"), ROW(ARG_FLOAT, CMDS_SAMPLE, typical_p, "P",
      "locally typical sampling; 1 = off"), .min = 0, .max = 1, .above_min = true },
    { NAMES("--repeat-penalty"), ROW(ARG_FLOAT, CMDS_SAMPLE, repeat_penalty, "X",
      "divide the logits of recent tokens; 1 = off"), .min = 0, .max = 1e6, .above_min = true, GIVEN(REPEAT_PENALTY) },
    { NAMES("--repeat-last-n"), ROW(ARG_INT, CMDS_SAMPLE, repeat_last_n, "N",
      "tokens the penalties look back at; -1 = all, 0 = none"), .min = -1, .max = INT_MAX_F, GIVEN(REPEAT_LAST_N) },
    { NAMES("--presence-penalty"), ROW(ARG_FLOAT, CMDS_SAMPLE, presence_penalty, "X",
      "subtracted from the logits of recent tokens; 0 = off"), .min = -2, .max = 2 },
    { NAMES("--frequency-penalty"), ROW(ARG_FLOAT, CMDS_SAMPLE, frequency_penalty, "X",
      "subtracted once for every time a recent token occurred; 0 = off"), .min = -2, .max = 2 },
    { NAMES("-l", "--logit-bias"), ROW(ARG_CUSTOM, CMDS_GENERATE, bias, "TOKEN+BIAS",
      "change a token's logit; TOKEN-BIAS lowers it, TOKEN-inf bans it; may be repeated"),
      .parse = options_parse_bias },

    /* tokenize, inspect, help */
    { NAMES("--ids"), ROW(ARG_FLAG, CMD_TOKENIZE | CMD_TEMPLATE, ids, NULL, "only the ids, on one line") },
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
      "tests ppP+tgN: both in one time; may be repeated"), .parse = options_parse_pair },
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
    { NAMES("--jinja", "--mlock", "-cb", "--cont-batching"), TAKEN(CMDS_GENERATE | CMD_SERVE) },
    { NAMES("--warmup", "--no-warmup", "--perf", "--no-perf"), TAKEN(CMDS_GENERATE | CMD_SERVE) },
    { NAMES("--no-display-prompt", "--log-disable", "--color", "-co"), TAKEN(CMDS_GENERATE) },
    { NAMES("--simple-io", "--no-context-shift", "-st", "--single-turn"), TAKEN(CMDS_GENERATE) },
    { NAMES("-no-cnv", "--no-conversation", "--offline", "--check-tensors"), TAKEN(CMDS_GENERATE) },
    { NAMES("-kvu", "--kv-unified", "--swa-full", "--no-op-offload"), TAKEN(CMDS_GENERATE) },
    { NAMES("--offline", "--check-tensors", "--swa-full", "--no-op-offload"), TAKEN(CMD_SERVE) },
    { NAMES("--slots", "--no-webui", "--webui", "--no-context-shift"), TAKEN(CMD_SERVE) },
    { NAMES("--cache-prompt", "--reranking", "--rerank", "--verbose"), TAKEN(CMD_SERVE) },
    { NAMES("--cache-reuse", "-cram", "-sps", "--log-verbosity"), TAKEN(CMD_SERVE), .value = "N" },
    { NAMES("-fa", "--flash-attn"), TAKEN(CMDS_ENGINE), .choices = "on|off|auto|1|0|true|false" },
    { NAMES("-ub", "--ubatch-size"), TAKEN(CMDS_ENGINE), .value = "N" },
    { NAMES("--numa"), TAKEN(CMDS_ENGINE), .value = "TYPE" },
    { NAMES("--prio", "--poll", "--keep"), TAKEN(CMDS_GENERATE | CMD_SERVE), .value = "N" },
    { NAMES("-ngl", "--gpu-layers", "--n-gpu-layers"), TAKEN(CMDS_ENGINE), .value = "N",
      .parse = options_remark_gpu_layers },
    { NAMES("-sm", "--split-mode", "-ts", "--tensor-split"), TAKEN(CMDS_ENGINE), .value = "HOW",
      .parse = options_remark_one_gpu },
    { NAMES("-mg", "--main-gpu"), TAKEN(CMDS_ENGINE), .value = "N", .parse = options_remark_main_gpu },
    { NAMES("-tb", "--threads-batch"), TAKEN(CMDS_ENGINE), .value = "N", .parse = options_remark_threads },
    { NAMES("-cnv", "--conversation"), TAKEN(CMD_RUN), .parse = options_remark_chat },
    { NAMES("--no-jinja"), TAKEN(CMDS_GENERATE | CMD_SERVE), .parse = options_remark_templates },
    { NAMES("--context-shift"), TAKEN(CMDS_GENERATE | CMD_SERVE), .parse = options_remark_shift },
    { NAMES("-nkvo", "--no-kv-offload"), TAKEN(CMDS_ENGINE), .parse = options_remark_kv },
    { NAMES("--man"), ROW(ARG_FLAG, CMD_HELP, man, NULL, "the manual page, in roff") },
    { NAMES("--completion"), ROW(ARG_CUSTOM, CMD_HELP, completion, "SHELL",
      "what completes commands, options and values in a shell: bash or zsh"),
      .choices = "bash|zsh", .parse = options_parse_shell },
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
    o->now = -1;
    o->n_predict = -1;
    o->parallel = 1;
    o->bench.n_prompt = (struct arg_list){ .at = { 512 }, .n = 1 };
    o->bench.n_gen = (struct arg_list){ .at = { 128 }, .n = 1 };
    o->bench.n_depth = (struct arg_list){ .at = { 0 }, .n = 1 };
    o->bench.n_parallel = (struct arg_list){ .at = { 1 }, .n = 1 };
    o->bench.reps = 5;
    o->serve = (struct serve_options){ .port = SERVER_PORT,
                                       .threads = 2,
                                       .timeout = SERVER_TIMEOUT,
                                       .ping = SERVER_PING,
                                       .max_connections = SERVER_CONNECTIONS,
                                       .max_unfinished = SERVER_UNFINISHED,
                                       .max_body = MAX_BODY >> 20,
                                       .max_waiting = 256,
                                       .wait = 60,
                                       .drain_timeout = SERVER_DRAIN };
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
