/* Weft: GGUF language models in C. This is the only header a program includes.
 *
 * There are three handles, each holding a reference on the one to its left, so that a program may
 * release them in any order:
 *
 *     weft_model  <-  weft_engine  <-  weft_seq
 *     the file        device, KV      one text being read or written
 *
 * A program opens a model, an engine on it, and any number of sequences; it appends tokens, calls
 * weft_engine_step() until a sequence is ready, and takes the next token with weft_seq_next().
 * The loop of a program, without its checks for errors:
 *
 *     weft_seq_append(seq, prompt, n, &err);
 *     while (weft_seq_finish(seq) == WEFT_RUNNING) {
 *         weft_engine_step(engine, &ready, &err);  // computes the waiting tokens of all sequences
 *         if (ready > 0) {
 *             weft_seq_next(seq, &token, &err);    // samples and accepts, exactly once
 *             weft_seq_text(seq, text, sizeof text, &n, &err);
 *         }
 *     }
 *
 * Rules that hold for every function below:
 *
 *   - Every fallible function returns a weft_status and fills `err` when it fails; `err` may be
 *     NULL. A call that fails changes nothing, except where its comment says so.
 *   - Input arrays are copied. Output goes to memory of the caller: a function with (dst, cap,
 *     needed) stores the full size in *needed; if that exceeds cap, nothing is written or consumed
 *     and WEFT_E_BUFFER is returned. dst may be NULL when cap is 0; `needed` may be NULL.
 *   - Parameter structs start with their own size; initialise them with the WEFT_..._INIT macro.
 *     A NULL pointer to one means the defaults.
 *   - Functions on a model are free-threaded. Functions on an engine or a sequence take the
 *     engine's lock, first come, first served: they may wait for a running step. weft_seq_text(),
 *     weft_seq_finish() and weft_seq_cancel() never wait. When two threads are inside one sequence,
 *     the second gets WEFT_E_BUSY. No other thread may use a handle while its last reference
 *     is released.
 *   - The library never exits, aborts, prints, reads the environment, or keeps mutable globals.
 */
#ifndef WEFT_H
#define WEFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_VERSION "0.1.0"
#define WEFT_ABI_VERSION 1u

/* Sets `size`, and every other field to 0. */
#ifdef __cplusplus
#define WEFT_INIT(type) weft_init<type>()
#else
#define WEFT_INIT(type)                                                                            \
    {                                                                                              \
        .size = sizeof(type)                                                                       \
    }
#endif

#if defined(__GNUC__)
#define WEFT_API __attribute__((visibility("default")))
#else
#define WEFT_API
#endif

typedef enum weft_status {
    WEFT_OK = 0,
    WEFT_E_ARG,    /* an argument is NULL, out of range or contradicts another */
    WEFT_E_HANDLE, /* this is no live handle of this type */
    WEFT_E_STATE,  /* not possible now: there are no logits yet, or the sequence has finished */
    WEFT_E_BUSY,   /* another thread is inside this sequence */
    WEFT_E_BUFFER, /* dst is too small; *needed says how much */
    WEFT_E_NOMEM,  /* not enough host memory */
    WEFT_E_DEVMEM, /* not enough device memory */
    WEFT_E_IO, /* the operating system refused a read, or the file changed while it was in use */
    WEFT_E_FORMAT,      /* the file is malformed */
    WEFT_E_UNSUPPORTED, /* the file is well-formed, but this build cannot run it */
    WEFT_E_KV_FULL,     /* the KV pool does not have enough free pages */
    WEFT_E_CTX_FULL,    /* the sequence would exceed n_ctx */
    WEFT_E_CANCELLED,   /* weft_seq_cancel() was called */
    /* The device failed; this engine computes no more. The message says whether a new one will, or
     * whether a faulty kernel has lost CUDA for the whole process. */
    WEFT_E_DEVICE_LOST,
    WEFT_E_INTERNAL, /* a bug in Weft */
    /* This engine cannot do what was asked. The message says how to open an engine that can. */
    WEFT_E_ENGINE
} weft_status;

/* What went wrong in a call that failed. `message` names the thing, what was found, what was
 * expected, and the remedy. */
typedef struct weft_error {
    weft_status code;
    char message[508];
} weft_error;

typedef struct weft_file weft_file;
typedef struct weft_model weft_model;
typedef struct weft_engine weft_engine;
typedef struct weft_seq weft_seq;

WEFT_API const char *weft_version(void);              /* "0.1.0" */
WEFT_API uint32_t weft_abi_version(void);             /* to be compared with WEFT_ABI_VERSION */
WEFT_API const char *weft_status_name(weft_status s); /* "WEFT_E_ARG"; never NULL */

/* ---------------------------------------------------------------- log */

typedef enum weft_log_level { WEFT_LOG_INFO = 0, WEFT_LOG_WARN = 1 } weft_log_level;

/* Gets a line of the log. The library calls it on the thread that has called the library. It is not
 * called for a problem that the call returns as an error. `text` is one line without a newline and
 * lives only during the call. */
typedef void (*weft_log_fn)(void *user, weft_log_level level, const char *text);

/* ---------------------------------------------------------------- devices */

/* What this machine and this build of the library can compute with. Both functions may be called
 * from any thread at any time. */

typedef struct weft_platform_info {
    size_t size;      /* set by the caller to sizeof(weft_platform_info) */
    bool cuda_built;  /* the library was built with CUDA */
    int cuda_driver;  /* newest CUDA version that the driver runs, 13010 = 13.1; 0 = no driver */
    int cuda_runtime; /* CUDA version that the library was built with; 0 = without CUDA */
    char cuda_problem[200]; /* why there is no GPU, and the remedy; "" if there is one */
    char cpu_name[64];
    char cpu_features[96];     /* instructions that the CPU kernels can use: "avx2 fma f16c" */
    const char *cpu_kernels;   /* the set of CPU kernels that would be used: "avx2" */
    size_t n_cores, n_threads; /* physical cores and hardware threads that this process may use */
    size_t n_devices;          /* number of devices that weft_device_get() knows */
} weft_platform_info;

typedef struct weft_device_info {
    size_t size;           /* set by the caller to sizeof(weft_device_info) */
    char name[32];         /* the name that weft_engine_params.device takes: "cuda:0", "cpu" */
    char description[128]; /* "NVIDIA H200" */
    int major, minor;      /* compute capability of a GPU; 0 on the CPU */
    size_t n_units;        /* multiprocessors of a GPU, physical cores of the CPU */
    uint64_t total_bytes, free_bytes; /* memory; 0 = unknown */
    bool usable;
    char why[200]; /* why the device cannot be used; "" if it can */
} weft_device_info;

WEFT_API weft_status weft_platform_get(weft_platform_info *info, weft_error *err);
/* Describes the i-th device: first come the GPUs in the driver's order, then the CPU. "auto" is the
 * first device that is usable. The call opens a context on a GPU, to ask for its free memory; the
 * context takes some hundred MiB there until the process ends. Errors: WEFT_E_ARG (i is past the
 * last device). */
WEFT_API weft_status weft_device_get(size_t i, weft_device_info *info, weft_error *err);

/* ---------------------------------------------------------------- file */

/* A GGUF file (v2 or v3, little-endian; a split file is opened by its first part). It is parsed and
 * fully bounds-checked, but no model is made of it: this is for inspection and validation. A
 * weft_file is read-only after opening, and any number of threads may use it. */

typedef struct weft_key_info {
    const char *name;    /* lives as long as the file */
    const char *type;    /* "u32", "f32", "bool", "str", "arr" ... */
    const char *element; /* type of the elements of an array; equals `type` for a scalar */
    size_t n;            /* number of elements of an array; 1 for a scalar */
} weft_key_info;

typedef struct weft_tensor_info {
    const char *name; /* lives as long as the file */
    const char *type; /* "Q4_K" */
    size_t n_dims;
    uint64_t shape[4]; /* in the order of GGUF: the row length first; unused dimensions are 1 */
    uint64_t n_bytes;
    uint64_t offset; /* from the start of the part's data section */
    size_t part;     /* index of the split part that holds the tensor, 0 if the file is not split */
} weft_tensor_info;

/* What Weft does with a key. It depends on the name of the key alone. */
typedef enum weft_key_use {
    WEFT_KEY_UNKNOWN = 0, /* Weft does not know the key, and does not obey it */
    WEFT_KEY_OBEYED,
    WEFT_KEY_HARMLESS, /* known, but changes nothing that Weft computes */
    /* The key is known and changes what a model computes, but Weft does not obey it.
     * weft_model_open() refuses the file unless the key has a value that leaves the computation
     * unchanged. */
    WEFT_KEY_REFUSED
} weft_key_use;

WEFT_API weft_status weft_file_open(const char *path, weft_file **out, weft_error *err);
/* Opens the file as weft_file_open() does, but reads it into memory instead of mapping it. This is
 * for files that another program may cut (see no_mmap of weft_model_params), and for file systems
 * that cannot map. */
WEFT_API weft_status weft_file_load(const char *path, weft_file **out, weft_error *err);
WEFT_API void weft_file_release(weft_file **file);
WEFT_API uint32_t weft_file_version(const weft_file *file); /* 2 or 3 */
WEFT_API uint64_t weft_file_bytes(const weft_file *file);   /* bytes of all parts */
WEFT_API size_t weft_file_n_parts(const weft_file *file);
/* Returns the path of the i-th part, or NULL past the last. It lives as long as the file. */
WEFT_API const char *weft_file_part(const weft_file *file, size_t i);
WEFT_API size_t weft_file_n_keys(const weft_file *file);
WEFT_API size_t weft_file_n_tensors(const weft_file *file);
WEFT_API weft_status weft_file_key(const weft_file *file, size_t i, weft_key_info *out,
                                   weft_error *err);
WEFT_API weft_status weft_file_tensor(const weft_file *file, size_t i, weft_tensor_info *out,
                                      weft_error *err);
/* Says what Weft does with key `i`. A key belongs to the architecture if its name begins with the
 * value of general.architecture and a dot; keys of other architectures are unknown. Errors:
 * WEFT_E_ARG (there is no such key). */
WEFT_API weft_status weft_file_key_use(const weft_file *file, size_t i, weft_key_use *out,
                                       weft_error *err);
/* Writes element `j` of key `i` as text. A string is written as its bytes; it may contain any byte,
 * also NUL, and no NUL is added at its end. Integers are decimal, floats have enough digits to
 * round-trip, bools are true or false. */
WEFT_API weft_status weft_file_value(const weft_file *file, size_t i, size_t j, char *dst,
                                     size_t cap, size_t *needed, weft_error *err);

/* ---------------------------------------------------------------- model */

/* A model is the file, its vocabulary and its validated weights. It does not change after opening:
 * any number of engines and threads may share one. */

typedef struct weft_model_params {
    size_t size;
    /* Load only the tokenizer: for files without tensors, or to tokenize quickly. */
    bool vocab_only;
    /* Read the file into memory instead of mapping it. This is for files that another program may
     * cut or write to. If a mapped file was cut, Weft notices it before the next step (WEFT_E_IO);
     * but if it is cut during a step, or if its disk fails, the process ends with SIGBUS. */
    bool no_mmap;
    weft_log_fn log; /* gets progress and remarks, also of later calls; NULL = nobody */
    void *log_user;
} weft_model_params;
#define WEFT_MODEL_PARAMS_INIT WEFT_INIT(weft_model_params)

typedef struct weft_model_info {
    size_t size;              /* set by the caller to sizeof(weft_model_info) */
    const char *architecture; /* "qwen2"; the strings live as long as the model */
    const char *name;         /* general.name, or "" */
    const char *type; /* the tensor type that holds most weights, "Q4_K"; "" without tensors */
    const char *chat_template; /* "file": the file has a chat template that can be used; or NULL */
    size_t n_vocab;
    /* The sizes are 0 if vocab_only. Where layers differ, they are the largest values of any layer;
     * weft_model_get_layer() describes each layer. n_ctx_train is the longest context. It is the
     * length that the model was trained for or, where the file asks for YaRN, the length to which
     * YaRN stretches the original context, if that is longer. */
    size_t n_ctx_train, n_layers, dim, n_heads, n_kv_heads, head_dim, n_ff;
    uint64_t n_params; /* elements of all tensors */
    uint64_t n_bytes;  /* bytes of all tensors */
    int32_t bos, eos;  /* token ids, -1 if the vocabulary has none */
    bool adds_bos;     /* whether the model wants BOS at the start of a text */
    /* The number of positions that a token sees, itself included, in the layer where it sees most.
     * 0 = all positions up to its own. */
    size_t n_window;
    bool adds_eos; /* whether the model wants EOS at the end of a text that is embedded */
    /* Why the file's chat template cannot be used, such as "the file has no chat template"; NULL if
     * it can. */
    const char *chat_remark;
    /* LongRoPE: texts of at most this many tokens are computed with the short RoPE factors of the
     * file, longer ones with the long factors; 0 = there is only one set of factors. When a
     * sequence grows beyond this length (or is rewound below it), all its positions wait to be
     * computed again, so that it has the bits of a text that was appended as a whole. */
    size_t n_rope_short;
    /* Labels of a reranker's classifier, see weft_rank(); 0 = the model is no reranker. */
    size_t n_labels;
} weft_model_info;

/* Opens and validates the model file `path`; for a split model, `path` is its first part. Any
 * thread. Errors: WEFT_E_ARG (`path` is a later part), WEFT_E_IO, WEFT_E_FORMAT (malformed),
 * WEFT_E_UNSUPPORTED (architecture, tensor type, tokenizer, a WEFT_KEY_REFUSED key),
 * WEFT_E_NOMEM. */
WEFT_API weft_status weft_model_open(const char *path, const weft_model_params *params,
                                     weft_model **out, weft_error *err);
/* Gives up the caller's reference and sets *model to NULL. Both `model` and *model may be NULL. Any
 * thread; handles may be released in any order. */
WEFT_API void weft_model_release(weft_model **model);
WEFT_API weft_status weft_model_get_info(const weft_model *model, weft_model_info *info,
                                         weft_error *err);

/* What a layer of the model is. A member is 0 if this kind of layer has nothing that the member
 * counts. */
typedef struct weft_layer_info {
    size_t size;         /* set by the caller to sizeof(weft_layer_info) */
    const char *mixer;   /* how positions see one another: "attention" */
    const char *ffn;     /* the feed-forward part: "dense" */
    size_t n_heads;      /* heads of queries */
    size_t n_kv_heads;   /* heads of K and of V */
    size_t k_dim, v_dim; /* values in a head of K and of V */
    size_t n_window;     /* positions that a token sees, itself included; 0 = all up to its own */
    size_t n_ff;         /* hidden size of the feed-forward part */
    uint64_t n_bytes;    /* bytes of the layer's tensors in the file */
} weft_layer_info;

/* Describes layer i; layer 0 follows the embedding. Any thread. Errors: WEFT_E_ARG (there is no
 * such layer; a model that was opened vocab_only has none). */
WEFT_API weft_status weft_model_get_layer(const weft_model *model, size_t i, weft_layer_info *info,
                                          weft_error *err);

enum {
    WEFT_TOKENIZE_BOS = 1u,       /* prepend BOS if the model wants it */
    WEFT_TOKENIZE_SPECIAL = 2u,   /* parse control tokens in the text; never for a user's text */
    WEFT_TOKENIZE_NO_PREFIX = 4u, /* the text continues another text: add no leading space (SPM) */
    /* Append EOS if the model wants it and the text does not end with it. This is for complete
     * texts (embeddings), never for a prompt. */
    WEFT_TOKENIZE_EOS = 8u
};
/* Converts text[n] (any bytes, at most 256 MiB) to ids dst[cap]; *needed is the number of all ids.
 * Bytes for which a BPE vocabulary has no token are left out: SmolLM2 has none for 0x04, and none
 * for the bytes that UTF-8 does not use. Any thread. */
WEFT_API weft_status weft_tokenize(const weft_model *model, const char *text, size_t n,
                                   unsigned flags, int32_t *dst, size_t cap, size_t *needed,
                                   weft_error *err);

enum {
    WEFT_DETOKENIZE_SPECIAL = 1u /* write control tokens as their text, instead of nothing */
};
/* Converts tokens[n] to bytes dst[cap], not NUL-terminated: the inverse of weft_tokenize() for a
 * text without BOS. */
WEFT_API weft_status weft_detokenize(const weft_model *model, const int32_t *tokens, size_t n,
                                     unsigned flags, char *dst, size_t cap, size_t *needed,
                                     weft_error *err);
/* Writes the token's text as the vocabulary stores it, for display. */
WEFT_API weft_status weft_token_text(const weft_model *model, int32_t token, char *dst, size_t cap,
                                     size_t *needed, weft_error *err);
/* True if the token ends a text or a turn. False for ids outside the vocabulary. */
WEFT_API bool weft_token_is_end(const weft_model *model, int32_t token);

/* ---------------------------------------------------------------- chat */

/* Conversations become token ids by the chat template in the model's file, which is Jinja source:
 * the library interprets what the templates of models use of that language, with the result of
 * jinja2 in the Transformers library. A template in the file called tool_use is used when there are
 * tools. Built-in templates have names, and are for files that have none.
 *
 * Every byte of the rendered text is known to come from the template or from the caller. Text
 * between control tokens is tokenized as one, whoever wrote it, but no control token, and no
 * user-defined token that the template's own text contains (<think>, <tool_call>, but not white
 * space), ever comes from a caller's bytes: a text that looks like one is plain text. Transformers
 * and llama.cpp make control tokens of it. The names of roles count as the template's. */

typedef struct weft_message {
    const char *role;    /* "system", "user" or "assistant" */
    const char *content; /* UTF-8; never parsed for control tokens */
} weft_message;

typedef struct weft_chat_params {
    size_t size;
    const char *template_name; /* a built-in template; NULL = the template of the model's file */
    bool no_prompt;            /* do not open the assistant's turn at the end */
    /* The messages continue a conversation that is already in the sequence. BOS and the default
     * system prompt are left out, and the assistant's turn that precedes the messages is closed. */
    bool continues;
    /* With `continues`: points to the last token that the sequence holds. If that token ends no
     * turn, the answer was cut (by a limit, a stop string, a cancel), and the turn is ended first.
     * NULL means that the answer was not cut. */
    const int32_t *last;
} weft_chat_params;
#define WEFT_CHAT_PARAMS_INIT WEFT_INIT(weft_chat_params)

/* Converts messages[n] to ids: the template's own control tokens, BOS where the template or the
 * model wants it, and the contents as plain text. Any thread. Errors: WEFT_E_UNSUPPORTED (the file
 * has no template, or one that cannot be used; the name is unknown; the vocabulary lacks what the
 * built-in template needs), WEFT_E_ARG (a role is unknown, or the template refuses the messages:
 * the message has its words), WEFT_E_NOMEM. */
WEFT_API weft_status weft_chat_tokens(const weft_model *model, const weft_message *messages,
                                      size_t n, const weft_chat_params *params, int32_t *dst,
                                      size_t cap, size_t *needed, weft_error *err);
/* Returns the name of the i-th built-in template, or NULL past the last. */
WEFT_API const char *weft_chat_template_name(size_t i);

/* A conversation that was rendered: its text, who wrote each byte, and its ids. It does not change,
 * and holds a reference on the model. */
typedef struct weft_prompt weft_prompt;

/* Texts are JSON in UTF-8, nested at most 128 deep; NULL = none. Lengths are in bytes. */
typedef struct weft_prompt_params {
    size_t size;
    /* An array of messages in the shape of OpenAI's API. `role` is system, developer (system, where
     * the template does not know it), user, assistant or tool; `content` is a string or an array of
     * {"type": "text", "text": ...}; an assistant's may be null. An assistant's message may have
     * `tool_calls` (arguments as an object or as the text of one; another text stays a text) and
     * `reasoning_content`, a tool's `tool_call_id` and `name`. What else is there reaches the
     * template too. */
    const char *messages;
    size_t n_messages;
    /* An array of tools: {"type": "function", "function": {"name", "description", "parameters"}}.
     * Tools of other types are refused. */
    const char *tools;
    size_t n_tools;
    /* An object: further variables of the template, such as {"enable_thinking": false}. */
    const char *variables;
    size_t n_variables;
    const char *template_name;   /* a built-in template, in place of the file's */
    const char *template_source; /* Jinja source, in place of the file's; not with a name */
    size_t n_template_source;
    bool no_prompt; /* do not open the assistant's turn at the end */
    /* Continue the last message, which is an assistant's: the text ends with its content, without
     * the white space that the template trims. Not with `continues`. */
    bool prefill;
    /* As in weft_chat_params. The text begins behind the content of the preceding answer; the ids
     * begin behind the token that ends its turn or, if it was cut, with that token. */
    bool continues;
    const int32_t *last;
    /* What a template that asks for the date sees: seconds since 1970 on the caller's clock, in the
     * caller's time zone. 0 = now, in UTC; the first second of 1970 cannot be asked for. */
    int64_t now;
} weft_prompt_params;
#define WEFT_PROMPT_PARAMS_INIT WEFT_INIT(weft_prompt_params)

/* n bytes of a prompt's text that one writer wrote. */
typedef struct weft_run {
    size_t n;
    bool caller; /* false: the template */
} weft_run;

/* Renders a conversation. Any thread. Errors: those of weft_chat_tokens(); WEFT_E_ARG also names
 * the message and member that is wrong, or the line and column where the template failed;
 * WEFT_E_UNSUPPORTED also for a template outside the language, with line and column, and for one
 * that takes too many steps or too much memory. */
WEFT_API weft_status weft_prompt_open(const weft_model *model, const weft_prompt_params *params,
                                      weft_prompt **out, weft_error *err);
/* Frees the prompt and sets *prompt to NULL. Both `prompt` and *prompt may be NULL. */
WEFT_API void weft_prompt_release(weft_prompt **prompt);
/* Copies the ids of the prompt. With `from` > 0, these are the ids of its text from that byte on,
 * for a sequence that holds the text before it already. Any thread. Errors: WEFT_E_ARG (`from` is
 * beyond the text). */
WEFT_API weft_status weft_prompt_tokens(const weft_prompt *prompt, size_t from, int32_t *dst,
                                        size_t cap, size_t *needed, weft_error *err);
/* These copy the text of the prompt, in which a BOS that only the model wants does not stand; and
 * the runs of the text, whose lengths add up to it. Any thread. */
WEFT_API weft_status weft_prompt_text(const weft_prompt *prompt, char *dst, size_t cap,
                                      size_t *needed, weft_error *err);
WEFT_API weft_status weft_prompt_runs(const weft_prompt *prompt, weft_run *dst, size_t cap,
                                      size_t *needed, weft_error *err);

/* ---------------------------------------------------------------- engine */

typedef enum weft_cpu_isa {
    WEFT_ISA_AUTO = 0, /* the best set that this processor can run */
    WEFT_ISA_SCALAR,
    WEFT_ISA_AVX2,  /* needs AVX2, FMA and F16C */
    WEFT_ISA_AVX512 /* needs AVX-512 F, BW, DQ, VL and VNNI */
} weft_cpu_isa;

/* The format of K and V in the KV pool. */
typedef enum weft_kv_type {
    WEFT_KV_F16 = 0,
    WEFT_KV_Q8_0 /* 8 bits, and a scale for each 32 values: 53 % of the memory of f16 */
} weft_kv_type;

#define WEFT_CTX_MODEL SIZE_MAX /* value of n_ctx: n_ctx_train of weft_model_info */
#define WEFT_CTX_DEFAULT 4096   /* the default of n_ctx and n_kv in weft_engine_params */
#define WEFT_KV_PAGE 64         /* positions of a page of the KV pool */
/* The largest n_top and n_ahead, and the largest top_k that does not need all logits. */
#define WEFT_TOP_MAX 64

/* Called while weights are uploaded or repacked: `done` bytes of `total` are finished. The call
 * comes on the thread that is inside weft_engine_open(). If it returns false, opening ends with
 * WEFT_E_CANCELLED. It must not open another engine of the same model; if another thread opens one
 * meanwhile, that thread may have to wait. */
typedef bool (*weft_progress_fn)(void *user, uint64_t done, uint64_t total);

/* Values between two stages of the transformer. They help to find where two implementations
 * diverge. */
typedef struct weft_checkpoint {
    /* Says what the values are. They come in this order: "embed"; then in every layer "q", "k", "v"
     * (after bias, norm and RoPE; a GPU gives k and v as rounded by its KV cache), "attention"
     * (before its output matrix), "attn_out" (the residual stream behind it), "ffn_act" (silu(gate)
     * * up), "ffn_out" (the residual stream behind it); at the end, for the tokens that want
     * logits, "head_norm" (the result of the last norm) and "logits". */
    const char *name;
    size_t layer; /* SIZE_MAX outside the layers: embed, head_norm, logits */
    /* There is one row for each token of the step; "head_norm" and "logits" have one for each token
     * that wants logits. */
    size_t n_rows, n_cols;
    const float *values; /* [n_rows, n_cols] in host memory, valid during the call */
} weft_checkpoint;
/* Called inside weft_engine_step() for every checkpoint. The engine's lock is held, so the function
 * must not call functions of the engine or its sequences. */
typedef void (*weft_trace_fn)(void *user, const weft_checkpoint *checkpoint);

/* A stage of a step that has been computed. */
typedef struct weft_stage {
    /* "embed", "attn_in", "attend", "attn_out", "ffn_in", "ffn_out", "head_norm", "head" */
    const char *name;
    size_t layer;    /* SIZE_MAX outside the layers: embed, head_norm, head */
    size_t n_rows;   /* rows that the stage was computed for */
    double seconds;  /* time from its beginning until its results were there */
    uint64_t bytes;  /* bytes of weights and of K and V that it has to read, each counted once */
    uint64_t n_macs; /* multiply-adds in its matrix products and dot products */
} weft_stage;
/* Called inside weft_engine_step() for every stage. The engine's lock is held, so the function must
 * not call functions of the engine or its sequences. */
typedef void (*weft_profile_fn)(void *user, const weft_stage *stage);

typedef struct weft_engine_params {
    size_t size;
    /* NULL or "auto": the first GPU that can be used. If there is none, or if its kernels cannot
     * run this model, "auto" is the CPU, and in a build with CUDA a line of the log says why.
     * "cuda": the first GPU that can be used. "cuda:1" and "cpu" name a device. */
    const char *device;
    /* The most tokens of one sequence. 0 = WEFT_CTX_DEFAULT, or the model's context if that is
     * shorter. */
    size_t n_ctx;
    /* Positions in the KV pool, which all sequences share, rounded up to whole pages. 0 = n_ctx,
     * but at least WEFT_CTX_DEFAULT. */
    size_t n_kv;
    /* The most rows that one step computes. 0 = 512 on the CPU; on a GPU 2048, or 1024 or 512 if
     * there is no room for more. More rows make prompts faster, but then sequences that generate
     * wait longer for a step that they share with a prompt. */
    size_t n_batch;
    /* 0 = one thread for each physical core that this process may use, but no more than the CPU
     * quota of its control groups (of a container) allows. With a GPU these threads, at most 8 of
     * them, read the weights while the engine opens. */
    size_t n_threads;
    weft_cpu_isa cpu_isa; /* forces one set of CPU kernels; all give the same bits */
    /* If true, a sequence's logits depend neither on the other sequences that are computed with it,
     * nor on how its prompt was cut into steps. On the CPU this is always so; on a GPU it makes
     * prompts slower. */
    bool deterministic;
    /* How many greedy tokens a GPU may compute ahead of weft_seq_next() in one go, without waiting
     * for the host; 0 or 1 = none, at most WEFT_TOP_MAX. The text stays the same. weft_seq_next()
     * then gives several tokens without a step between them. The logits of these tokens are not
     * kept, so weft_seq_logits() returns WEFT_E_STATE until the step after the last of them. */
    size_t n_ahead;
    /* If true, every text is computed from its first token on, even if it begins like an earlier
     * one. By default, whole pages (of WEFT_KV_PAGE positions) of K and V that are still in memory
     * are used again; they may be pages of running or of released sequences. On a GPU without
     * `deterministic` the last bits of these K and V may differ from newly computed ones. */
    bool no_prefix_cache;
    /* If true, the CPU reads weights in the layout of the file. By default it repacks them when the
     * first engine of a model opens. That takes about a second for a gigabyte. The repacked weights
     * need about as much memory as those in the file; the system can then drop the pages of a
     * mapped file, so that the weights are in memory only once. Repacked weights are several times
     * faster. */
    bool no_repack;
    weft_kv_type type_k, type_v; /* WEFT_KV_Q8_0 needs a head size that is a multiple of 32 */
    weft_progress_fn progress;   /* called while weights are uploaded or repacked; may be NULL */
    void *progress_user;
    /* `trace` and `profile` may be NULL. If either is set, a step runs stage by stage, and waits
     * for each. */
    weft_trace_fn trace;
    void *trace_user;
    weft_profile_fn profile;
    void *profile_user;
    /* On the CPU, every thread of the engine stays on a core; each has its own core as long as
     * there are enough. The first core is left to the thread that calls weft_engine_step(); the
     * system may move that thread. This is for a machine that does nothing else: two engines would
     * get the same cores. */
    bool pin_threads;
    /* For finding a fault on a GPU. All three cost speed, and none changes the text. no_graphs: the
     * kernels of a step are launched one by one, not as a CUDA graph. no_pdl: a kernel begins only
     * when the kernel before it has ended (no programmatic dependent launch). no_arena: each buffer
     * on the device is its own allocation, so that compute-sanitizer notices an index beyond its
     * end. */
    bool no_graphs, no_pdl, no_arena;
} weft_engine_params;
#define WEFT_ENGINE_PARAMS_INIT WEFT_INIT(weft_engine_params)

typedef struct weft_engine_info {
    size_t size;         /* set by the caller to sizeof(weft_engine_info) */
    const char *backend; /* "cpu" */
    const char *kernels; /* "avx512-vnni" */
    size_t n_ctx, n_kv, n_batch, n_threads;
    size_t n_kv_free; /* positions in free pages */
    size_t n_seqs;    /* open sequences */
    uint64_t weight_bytes, kv_bytes, scratch_bytes;
    uint64_t n_steps, n_rows; /* steps and rows computed since the engine was opened */
    uint64_t n_cached;        /* rows that did not have to be computed, see no_prefix_cache */
    /* The least work of a step. step_weight_bytes: the weights that a step of one row reads; where
     * a row uses only some experts of a layer, only those experts are counted. row_macs:
     * multiply-adds of one row with weights, the output matrix included. kv_position_bytes: the
     * memory of K and V of one position, of all layers together; weft_engine_kv_read() says how
     * much of it a row reads. */
    uint64_t step_weight_bytes, row_macs, kv_position_bytes;
    uint64_t most_weight_bytes; /* the most bytes of weights that a step of any size reads */
    size_t page; /* positions of a page of the KV pool, WEFT_KV_PAGE of the library in use */
} weft_engine_info;

/* What an engine holds at this moment, and what it has done since it was opened. Every number is
 * exact, and all are of the same moment; after the last sequence was released nothing is used. */
typedef struct weft_engine_stats {
    size_t size; /* set by the caller to sizeof(weft_engine_stats) */
    /* Pages of K and V, of WEFT_KV_PAGE positions each. Where layers keep K and V in several pools,
     * the pages of all pools are counted. n_pages = n_pages_used + n_pages_free. */
    size_t n_pages, n_pages_used, n_pages_free;
    /* Free pages whose text is remembered. A new text with the same beginning uses such a page
     * again, if the pages before it are remembered too. */
    size_t n_pages_known;
    /* Pages that more than one sequence uses; a running weft_embed() counts as a sequence. */
    size_t n_pages_shared;
    /* Used pages, each counted once for every sequence that uses it: the number that would be
     * needed if nothing were shared. */
    size_t n_page_refs;
    /* n_seqs: the open sequences. n_tokens: their tokens. n_computed: the tokens that are computed.
     * n_stored: the positions whose K and V are stored for these tokens, shared ones counted once.
     * n_tokens >= n_computed >= n_stored. */
    size_t n_seqs, n_tokens, n_computed, n_stored;
    /* Memory; the first four numbers are memory of the device. page_bytes: the bytes of a page, or
     * of the largest page where pools differ. Where there is one pool, n_pages * page_bytes =
     * kv_bytes. */
    uint64_t page_bytes, kv_bytes, weight_bytes, scratch_bytes;
    /* Host memory of the open sequences: tokens, text, logits, sampler, stop strings, page tables,
     * and the position of each in its grammar, but not the grammars, which forks share. */
    uint64_t seq_bytes;
    /* Counts since the engine was opened. n_rows = n_prompt_rows + n_decode_rows. Decode rows are
     * the rows of tokens that weft_seq_next() drew or that were computed ahead of it; all others
     * are prompt rows, also those computed again after a rewind and those of weft_embed(). n_opened
     * - n_released = n_seqs; a fork counts as opened. */
    uint64_t n_steps, n_rows, n_prompt_rows, n_decode_rows;
    uint64_t n_cached;      /* rows that did not have to be computed, see no_prefix_cache */
    uint64_t n_page_copies; /* shared pages that were copied before a sequence wrote to them */
    uint64_t n_opened, n_released;
    uint64_t n_cancelled; /* calls that returned WEFT_E_CANCELLED */
    uint64_t n_kv_full;   /* calls that returned WEFT_E_KV_FULL */
    /* Host memory of draws that look at all logits: for running draws, and up to 8 spare buffers
     * for later ones. */
    uint64_t draw_bytes;
    /* Rows that were computed but could no longer be used once their sequence had crossed
     * n_rope_short of the model. */
    uint64_t n_again;
} weft_engine_stats;

/* What the engine's device can do at best, measured with the engine's threads. Measuring takes
 * about a second and, on the CPU, 256 MiB of memory while it lasts. */
typedef struct weft_limits {
    size_t size;             /* set by the caller to sizeof(weft_limits) */
    double read_bytes_per_s; /* bytes read from memory, in the way that a weight matrix is read */
    /* Multiply-adds of the instruction that the matrix products of a prompt use: int8 on the CPU,
     * half precision on tensor cores. */
    double macs_per_s;
} weft_limits;

/* Opens an engine, which holds a reference on the model. Any thread. Errors: WEFT_E_ARG
 * (contradictory sizes), WEFT_E_STATE (the model is vocab_only), WEFT_E_UNSUPPORTED (device, ISA, a
 * type of K or V), WEFT_E_IO (the file was cut since it was opened), WEFT_E_CANCELLED (by
 * `progress`), WEFT_E_NOMEM, WEFT_E_DEVMEM, WEFT_E_DEVICE_LOST (a call of CUDA failed, or
 * an earlier engine of this process has lost CUDA). */
WEFT_API weft_status weft_engine_open(weft_model *model, const weft_engine_params *params,
                                      weft_engine **out, weft_error *err);
WEFT_API void weft_engine_release(weft_engine **engine);
WEFT_API weft_status weft_engine_get_info(const weft_engine *engine, weft_engine_info *info,
                                          weft_error *err);
/* Fills *stats. The call looks once at every page number and at every sequence; a program can
 * afford it after every step. */
WEFT_API weft_status weft_engine_get_stats(const weft_engine *engine, weft_engine_stats *stats,
                                           weft_error *err);

/* Returns the least number of bytes of K and V that a row at position `pos` of a sequence reads. In
 * each layer these are the bytes of the positions that it sees there. Returns 0 if `engine` is no
 * engine. Any thread. */
WEFT_API uint64_t weft_engine_kv_read(const weft_engine *engine, size_t pos);

/* Measures the limits of the device. Errors: WEFT_E_NOMEM, WEFT_E_DEVMEM, WEFT_E_DEVICE_LOST. */
WEFT_API weft_status weft_engine_measure(weft_engine *engine, weft_limits *limits, weft_error *err);

/* Computes one step: the waiting tokens of all sequences, at most n_batch rows; a long prompt takes
 * several steps. *ready (may be NULL) is the number of sequences that now have logits, so that
 * weft_seq_next() can be called on them; sequences from which another thread is drawing at this
 * moment are not counted. If there is nothing to do, the call returns WEFT_OK at once. Errors:
 * WEFT_E_IO, WEFT_E_DEVICE_LOST, WEFT_E_NOMEM (for the logits of an observer); nothing was computed
 * then. */
WEFT_API weft_status weft_engine_step(weft_engine *engine, size_t *ready, weft_error *err);

/* Sleeps until a step would have rows. It is for a thread that steps an engine to which other
 * threads append. *ready (may be NULL) is true when there are rows; if there are some already, the
 * call returns at once. *ready is false if `ms` milliseconds have passed (negative = no limit), or
 * if one of these events has ended the wait: a sequence was cancelled or released; pages of the KV
 * pool became free in another way, so that a call that found the pool full may work now;
 * weft_engine_wake() was called. An event ends the waits of all threads that are inside; if no
 * thread waits, it ends the next call, whichever thread makes it. The engine's lock is not held
 * while the thread sleeps, but the call may first wait for a running step. Errors: WEFT_E_ARG,
 * WEFT_E_HANDLE.
 *
 * This call serves one thread well, the one that steps. Several threads may call it. But an
 * event that comes while no thread waits ends only one later call, perhaps that of another thread,
 * so each of several threads must give a limit of time. Threads that
 * wait for their logits, or for pages, sleep on a condition variable of the program's own, which
 * the stepping thread signals when this call or weft_engine_step() has returned. */
WEFT_API weft_status weft_engine_wait(weft_engine *engine, int ms, bool *ready, weft_error *err);
/* Makes all threads inside weft_engine_wait() return; if no thread waits, the next call returns at
 * once because of it. Any thread, also a signal handler. `engine` may be NULL. */
WEFT_API void weft_engine_wake(weft_engine *engine);

/* ---------------------------------------------------------------- embeddings */

/* How the states of a text's tokens are combined into one vector. */
typedef enum weft_pooling {
    /* The pooling_type of the file. If the file has none: WEFT_POOL_RANK for a reranker,
     * WEFT_POOL_MEAN for other models. */
    WEFT_POOL_MODEL = 0,
    WEFT_POOL_MEAN,
    WEFT_POOL_LAST, /* the state of the last token, which has seen all others */
    WEFT_POOL_CLS,  /* the first token's state; refused: in these models it has seen only itself */
    /* The labels of a reranker (n_labels of weft_model_info), which its classifier computes from
     * the state of the last token. */
    WEFT_POOL_RANK
} weft_pooling;

typedef struct weft_embed_params {
    size_t size;
    weft_pooling pooling;
    /* Do not scale the vector to length 1. For labels: give the sums of the classifier, not the
     * probabilities that are made from them (by softmax, or by 1 / (1 + exp(-sum)) for a single
     * label). */
    bool raw;
    /* The number of values to keep, at most `dim` of the model; 0 = all. The first values of the
     * vector are kept and scaled to length 1. This is for models that were trained for it
     * (Matryoshka), such as Qwen3-Embedding. For labels it must be 0, because they are not cut. */
    size_t dimensions;
} weft_embed_params;
#define WEFT_EMBED_PARAMS_INIT WEFT_INIT(weft_embed_params)

/* Computes the vector dst[dim] of a text: the states behind the last layer and its norm, pooled and
 * scaled to length 1. With `dimensions` it is dst[dimensions], with WEFT_POOL_RANK dst[n_labels].
 * It computes in its own steps, between those of weft_engine_step(); its KV pages are free again
 * when it returns. Errors: WEFT_E_ARG (n is 0, an id is outside the vocabulary, `dimensions` is
 * more than `dim`, or it is not 0 although the result is labels), WEFT_E_UNSUPPORTED (a pooling
 * that this model cannot do), WEFT_E_CTX_FULL, WEFT_E_KV_FULL, WEFT_E_STATE (a state is not finite,
 * or all are zero), and those of weft_engine_step(). */
WEFT_API weft_status weft_embed(weft_engine *engine, const int32_t *tokens, size_t n,
                                const weft_embed_params *params, float *dst, size_t cap,
                                size_t *needed, weft_error *err);
/* Computes the vectors of n_texts texts as weft_embed() does, several texts in a step, which is
 * faster than one after the other. `tokens` holds the texts one behind the other, and lengths[i] is
 * the number of tokens of text i. dst[n_texts, values of a vector] gets the vectors in this order;
 * *needed and cap count values. On the CPU the bits are those of weft_embed(). Other threads that
 * use the engine wait for one step at most. Each step takes as many texts as there are free KV
 * pages for, so WEFT_E_KV_FULL means that one text alone does not fit. Error messages number the
 * texts from 0. Errors: those of weft_embed(); nothing is written then. */
WEFT_API weft_status weft_embed_texts(weft_engine *engine, const int32_t *tokens,
                                      const size_t *lengths, size_t n_texts,
                                      const weft_embed_params *params, float *dst, size_t cap,
                                      size_t *needed, weft_error *err);
/* Scores n_documents documents by how well they answer the query, with a reranker: dst[n_documents]
 * gets the probability of the label "yes", or of the first label if none has that name. `documents`
 * holds their bytes one behind the other, UTF-8, and lengths[i] is the number of bytes of document
 * i. Query and documents are never parsed for control tokens. The prompt around them is the one
 * that Qwen3-Reranker was trained with. The beginning that the prompts share is computed once;
 * steps and pages are as in weft_embed_texts(). A file of Qwen3-Reranker that lacks the classifier
 * (cls.output.weight) gets it from the rows "yes" and "no" of its output matrix. Errors:
 * WEFT_E_UNSUPPORTED (the model is no reranker; it was trained with another prompt, because
 * tokenizer.chat_template.rerank of its file is not that of Qwen3-Reranker, or because it is a
 * Qwen3-VL-Reranker; its vocabulary lacks a control token of the prompt), and those of
 * weft_embed_texts(). */
WEFT_API weft_status weft_rank(weft_engine *engine, const char *query, size_t n_query,
                               const char *documents, const size_t *lengths, size_t n_documents,
                               float *dst, size_t cap, size_t *needed, weft_error *err);

/* ---------------------------------------------------------------- sequence */

typedef struct weft_logit_bias {
    int32_t token;
    float bias; /* added to the logit; -INFINITY bans the token */
} weft_logit_bias;

/* How the next token is drawn. The order is fixed: first logit bias, penalties and grammar; then
 * greedy if temperature is 0, otherwise top-k, typical, top-p, min-p, temperature and draw. Ranges
 * are checked (WEFT_E_ARG names the field). */
typedef struct weft_sampling {
    size_t size;
    float temperature;           /* 0 = greedy; at most 100 */
    int32_t top_k;               /* 0 = off */
    float top_p;                 /* in (0, 1]; 1 = off */
    float min_p;                 /* in [0, 1]; 0 = off */
    float typical_p;             /* in (0, 1]; 1 = off */
    float repeat_penalty;        /* > 0; 1 = off */
    float frequency_penalty;     /* in [-2, 2]; 0 = off */
    float presence_penalty;      /* in [-2, 2]; 0 = off */
    int32_t repeat_last_n;       /* number of latest tokens that the penalties consider; -1 = all */
    uint64_t seed;               /* the same seed gives the same text */
    bool ignore_end;             /* end tokens are never drawn */
    const weft_logit_bias *bias; /* copied */
    size_t n_bias;               /* at most 1024, each token once */
} weft_sampling;
/* The values stand in the order of the fields, because C++ before C++20 cannot name fields. */
#define WEFT_SAMPLING_INIT                                                                         \
    {                                                                                              \
        sizeof(weft_sampling), 0.8f, 40, 0.95f, 0.05f, 1.0f, 1.0f, 0.0f, 0.0f, 64, 0, false, NULL, \
            0                                                                                      \
    }

/* Fields of weft_sampling that a file can recommend. */
enum {
    WEFT_SAMPLING_TEMPERATURE = 1u,
    WEFT_SAMPLING_TOP_K = 2u,
    WEFT_SAMPLING_TOP_P = 4u,
    WEFT_SAMPLING_MIN_P = 8u,
    WEFT_SAMPLING_REPEAT_PENALTY = 16u,
    WEFT_SAMPLING_REPEAT_LAST_N = 32u
};
/* Gives the sampling that the model's file recommends (keys general.sampling.*): WEFT_SAMPLING_INIT
 * with the file's values. The caller sets sampling->size. *fields (may be NULL) says which fields
 * the file sets. No other function uses these values: a program passes them to weft_seq_open().
 * Advice that cannot be followed is no error: if a value is out of range or not a number, if Weft
 * lacks a sampler (mirostat, XTC), or if the file has its own order of samplers, this advice is
 * left out, and each call says so in the model's log. A negative top_k becomes 0; a penalty_last_n
 * of 0 becomes a repeat_penalty of 1. Any thread. Errors: WEFT_E_ARG, WEFT_E_IO (the file was cut
 * since it was opened). */
WEFT_API weft_status weft_model_get_sampling(const weft_model *model, weft_sampling *sampling,
                                             unsigned *fields, weft_error *err);

typedef enum weft_finish {
    WEFT_RUNNING = 0,
    WEFT_FINISH_END,    /* the model ended its text or turn */
    WEFT_FINISH_STOP,   /* a stop string appeared */
    WEFT_FINISH_LENGTH, /* the last token filled n_ctx, or weft_seq_end() was called */
    WEFT_FINISH_GRAMMAR /* the grammar allows no token here */
} weft_finish;

/* Opens an empty sequence, which holds a reference on the engine. `sampling` may be NULL, which
 * means WEFT_SAMPLING_INIT. */
WEFT_API weft_status weft_seq_open(weft_engine *engine, const weft_sampling *sampling,
                                   weft_seq **out, weft_error *err);
/* Opens a second sequence with the tokens, text state and logits of this one. The two share KV
 * pages; a page is copied before one of them writes to it. Errors: WEFT_E_KV_FULL (the copy needs
 * pages of its own for tokens that wait), WEFT_E_NOMEM, WEFT_E_DEVICE_LOST. */
WEFT_API weft_status weft_seq_fork(weft_seq *seq, weft_seq **out, weft_error *err);
WEFT_API void weft_seq_release(weft_seq **seq);
/* Sets new sampling values, from the next token on. The random state restarts at the seed. */
WEFT_API weft_status weft_seq_set_sampling(weft_seq *seq, const weft_sampling *sampling,
                                           weft_error *err);
/* Sets the strings that end the text: at most 16, of at most 256 bytes each; they are copied. They
 * are matched, across borders of tokens, in the text generated from now on, and are not part of the
 * text that weft_seq_text() gives. */
WEFT_API weft_status weft_seq_set_stops(weft_seq *seq, const char *const *stops, size_t n,
                                        weft_error *err);
/* From now on only text that this grammar allows is generated. gbnf[n] is copied; n = 0 removes the
 * grammar. GBNF is the notation of llama.cpp: rules `name ::= ...`, beginning with `root`;
 * alternatives a|b; ( ); * + ? {m} {m,} {,n} {m,n}; "literals"; classes [a-z] [^0-9]; . for any
 * character; comments behind #; the escapes \n \r \t \\ \" \[ \] \- \^ \xHH \uHHHH \UHHHHHHHH.
 * weft_schema_grammar() makes a grammar of a JSON schema.
 *
 * A text begins behind the last appended token and may end where the grammar lets it end. End
 * tokens may be drawn only there; if nothing else may follow, an end token is drawn. After a
 * rewind, the generated tokens that were kept are the beginning of the text; after weft_seq_load()
 * the text begins again. A fork has the same grammar at the same place. Sometimes neither a token
 * nor an end token is allowed: no token spells what the grammar wants, or all such tokens are
 * banned, or the grammar is so ambiguous that following it takes too long. Then weft_seq_next()
 * returns WEFT_OK with the token -1, adds nothing, and the sequence has finished with
 * WEFT_FINISH_GRAMMAR. Control tokens are never drawn.
 *
 * Errors: WEFT_E_FORMAT, whose message names line and column: a syntax error, undefined rules, left
 * recursion, or more than 1 MiB of text, 10,000 rules, 200,000 elements (x{100} counts x a hundred
 * times) or 200 levels of ( ). */
WEFT_API weft_status weft_seq_set_grammar(weft_seq *seq, const char *gbnf, size_t n,
                                          weft_error *err);

/* Where weft_seq_set_trigger() begins a grammar: behind the first of these texts that is complete,
 * or behind one of these tokens. At most 16 texts of 1 to 256 bytes, and 16 tokens that do not end
 * a text. */
typedef struct weft_trigger {
    size_t size;
    const char *const *texts;
    size_t n_texts;
    const int32_t *tokens;
    size_t n_tokens;
    /* Between these two texts, of 1 to 256 bytes, nothing is a trigger. hold_open = NULL: the text
     * is held at most at its beginning; hold_close must not be NULL where it is or may be held. */
    const char *hold_open, *hold_close;
    bool held; /* every text begins between them, as where the prompt ends with hold_open */
} weft_trigger;
#define WEFT_TRIGGER_INIT WEFT_INIT(weft_trigger)
/* From now on text is generated freely up to a trigger; behind it, only text that the grammar
 * gbnf[n] allows. All is copied. A call replaces an earlier one and weft_seq_set_grammar(), and is
 * replaced by it. trigger = NULL, one without texts and tokens, or n = 0 removes both trigger and
 * grammar.
 *
 * A text begins as under weft_seq_set_grammar(), and is free at its beginning. It is searched for
 * the trigger texts across borders of tokens; control tokens count as the texts that they have in
 * the vocabulary. The text that is complete first is the trigger, so "<tool_call>" beside "<tool"
 * never is. One of the trigger tokens is a trigger as a whole, whatever its text. Behind hold_open
 * only hold_close is searched for; behind that, the search begins again. A trigger that is complete
 * at the same byte as hold_open is one. A trigger token that begins in held text is read like any
 * other. In free text, held or not, every token may be drawn, except one that completes a trigger
 * text and goes on with bytes that the grammar does not allow at its beginning, or whose bytes it
 * would take too long to follow. So nothing is ever taken back. The other tokens are drawn as if
 * there were only them. From the byte behind the trigger on, the rules of weft_seq_set_grammar()
 * hold until the turn ends: text that is to follow the first call of a tool must be part of the
 * grammar. An end token in free text ends the turn as usual. After an append, a rewind to before
 * the trigger or weft_seq_load(), the text is free again.
 *
 * While the text is free, it is generated as fast as without a trigger, and tokens are computed
 * ahead. Errors: WEFT_E_ARG (too many texts or tokens, an empty or a too long text, a token outside
 * the vocabulary or one that ends a text, no hold_close), WEFT_E_FORMAT as from
 * weft_seq_set_grammar(). */
WEFT_API weft_status weft_seq_set_trigger(weft_seq *seq, const weft_trigger *trigger,
                                          const char *gbnf, size_t n, weft_error *err);

/* For weft_schema_grammar(): what a grammar cannot hold is left out of it. */
enum { WEFT_SCHEMA_WIDEN = 1 };

/* Writes the grammar, in GBNF, of a JSON schema: a text that it allows is JSON that the schema
 * accepts. schema[n] is JSON; n = 0 means any JSON value. The grammar is narrower than the schema:
 * properties come in the schema's order, and others are allowed only with additionalProperties.
 *
 * flags is 0 or WEFT_SCHEMA_WIDEN. With 0, what the grammar cannot express is refused, never
 * ignored. With WEFT_SCHEMA_WIDEN it is left out, so that the grammar lets more through than the
 * schema does: keywords and combinations that are not supported, patterns outside the subset,
 * lengths above 2,000, references without end; of a schema that would take too much room, its
 * lengths, ranges and patterns, and at last everything but its type. JSON that is no schema is
 * taken for {}. The grammar then keeps the limits of weft_seq_set_grammar().
 *
 * Any thread. Errors: WEFT_E_ARG (more than 16 MiB), WEFT_E_FORMAT (the schema is no JSON or, with
 * flags 0, asks for what a grammar cannot hold; the message begins with the JSON pointer of the
 * place), WEFT_E_NOMEM. */
WEFT_API weft_status weft_schema_grammar(const char *schema, size_t n, unsigned flags, char *dst,
                                         size_t cap, size_t *needed, weft_error *err);

/* Adds tokens[n], which are copied, for later steps to compute. It adds all of them or none:
 * WEFT_E_ARG names an id outside the vocabulary, WEFT_E_CTX_FULL and WEFT_E_KV_FULL say how much is
 * needed and how much there is. A finished sequence runs again after this. */
WEFT_API weft_status weft_seq_append(weft_seq *seq, const int32_t *tokens, size_t n,
                                     weft_error *err);
/* Sets memory aside for n more tokens than the sequence holds. Appending and drawing these tokens
 * then fails neither with WEFT_E_KV_FULL nor with WEFT_E_NOMEM for token lists, whatever other
 * sequences do. A later call replaces this one. n = 0 gives the memory back, and so do
 * weft_seq_rewind(), weft_seq_load() and the release. A fork has no memory set aside. But the fork
 * at once takes free pages of its own for what the forked sequence is going to write: for the last
 * page, or for all pages if the tokens for which memory is set aside cross n_rope_short. Errors:
 * WEFT_E_CTX_FULL, WEFT_E_KV_FULL, WEFT_E_NOMEM. */
WEFT_API weft_status weft_seq_reserve(weft_seq *seq, size_t n, weft_error *err);
/* Gives the KV pages of the sequence to others. Everything else stays: tokens, text, finish, and
 * the state of sampler, stop strings and grammar. So the text goes on after weft_seq_unpark() as if
 * nothing had happened; on the CPU, and on a GPU with `deterministic`, it is the same text. While
 * the sequence is parked, no step computes it, and calls that need its pages return WEFT_E_STATE:
 * weft_seq_append() of tokens, weft_seq_reserve(), weft_seq_next() and weft_seq_logits(). Memory
 * set aside is given back. weft_seq_rewind() and weft_seq_load() end the parking; a fork is parked
 * too. Parking twice is allowed. */
WEFT_API weft_status weft_seq_park(weft_seq *seq, weft_error *err);
/* Takes pages again. Pages that still hold the beginning of the text are found; the tokens behind
 * them wait to be computed once more. Does nothing if the sequence is not parked. Errors:
 * WEFT_E_KV_FULL (it stays parked). */
WEFT_API weft_status weft_seq_unpark(weft_seq *seq, weft_error *err);
/* Samples the next token and accepts it, exactly once: the token is part of the sequence and waits
 * for the next step, unless the engine has computed ahead. *token is -1 if a grammar allows none. A
 * draw that looks at all logits (one with a temperature and a top_k of 0 or above 64, or with a
 * bias, penalties, a grammar or log-probabilities) holds no lock while it lasts, so other threads
 * can step the engine and draw from other sequences meanwhile. Errors: WEFT_E_STATE (there are no
 * fresh logits, or the sequence has finished), WEFT_E_CTX_FULL and WEFT_E_KV_FULL (there is no room
 * for another token), WEFT_E_CANCELLED (once after a cancel), WEFT_E_NOMEM, and WEFT_E_DEVICE_LOST
 * and WEFT_E_IO as from weft_engine_step(), because a draw may read logits from the device, or
 * compute them again if they were not kept. */
WEFT_API weft_status weft_seq_next(weft_seq *seq, int32_t *token, weft_error *err);
/* Takes the text generated since the last call: only whole UTF-8 characters, and nothing that may
 * still become a stop string. Bytes that are no character become U+FFFD. When the sequence has
 * finished, all the remaining text comes out. If it ends inside a character, that character becomes
 * U+FFFD after an end token or a stop string; otherwise it is left out, because the text may go on.
 * If the tokens before a text (appended, kept or loaded ones) end inside a character, the text
 * begins with that whole character. So when a sequence is cut and goes on, also from a saved state,
 * the texts put together are what an uninterrupted sequence gives. Not NUL-terminated.
 *
 * Control tokens have no text here. A program that shows them (<think>, <tool_call>) asks for the
 * text of each token that weft_seq_next() gives. If weft_detokenize() of the token alone is empty,
 * but not with WEFT_DETOKENIZE_SPECIAL, the token is a control token, and weft_token_text() gives
 * its text too. That text belongs behind the text taken so far; text that is held back at that
 * moment, as the possible beginning of a stop string, comes later. */
WEFT_API weft_status weft_seq_text(weft_seq *seq, char *dst, size_t cap, size_t *needed,
                                   weft_error *err);
/* Ends the text here, for a limit of the caller's own. The sequence finishes with
 * WEFT_FINISH_LENGTH, so weft_seq_text() then gives also the text that was held back as a possible
 * stop string. A finished sequence stays as it is. */
WEFT_API weft_status weft_seq_end(weft_seq *seq, weft_error *err);
/* Copies the logits dst[n_vocab] that weft_seq_next() would draw from, before any sampling step.
 * Errors: WEFT_E_STATE (the sequence is empty, tokens wait to be computed, or the next tokens were
 * computed ahead); and those of weft_engine_step(), because logits that were not kept are computed
 * again. Once a step has computed other sequences, the logits of a finished sequence are no longer
 * kept. */
WEFT_API weft_status weft_seq_logits(weft_seq *seq, float *dst, size_t cap, size_t *needed,
                                     weft_error *err);
/* A token, and the natural logarithm of the probability that the model gives it before any sampling
 * step. */
typedef struct weft_logprob {
    int32_t token;
    float logprob;
} weft_logprob;
/* From now on weft_seq_next() keeps the log-probabilities of the token that it gives and of the
 * n_top best tokens, at most WEFT_TOP_MAX. While they are kept, no tokens are computed ahead. n_top
 * = -1 stops keeping them. */
WEFT_API weft_status weft_seq_set_logprobs(weft_seq *seq, int n_top, weft_error *err);
/* Copies the log-probabilities of the last token: dst[0] is the token itself; from dst[1] on follow
 * the best tokens, the best first, and of equal ones the lower id first. Errors: WEFT_E_STATE (they
 * were not kept). */
WEFT_API weft_status weft_seq_logprobs(weft_seq *seq, weft_logprob *dst, size_t cap, size_t *needed,
                                       weft_error *err);
/* Gets the logits of one position: the model's prediction for the token behind tokens [0, pos].
 * `logits`[n_vocab] lives during the call. */
typedef void (*weft_logits_fn)(void *user, size_t pos, const float *logits, size_t n_vocab);
/* From now on, weft_engine_step() calls fn with the logits of every position of the sequence that
 * it computes, in order. This is for scoring a text that exists already. The engine's lock is held,
 * so fn must not call functions of the engine or its sequences, except weft_seq_cancel(). An
 * observed sequence gets at most 256 rows of a step. Positions that are computed again are given
 * again. fn = NULL stops the calls. A fork is not
 * observed. */
WEFT_API weft_status weft_seq_observe(weft_seq *seq, weft_logits_fn fn, void *user,
                                      weft_error *err);
/* Copies all tokens of the sequence. */
WEFT_API weft_status weft_seq_tokens(weft_seq *seq, int32_t *dst, size_t cap, size_t *needed,
                                     weft_error *err);
/* Keeps the first n tokens and forgets the rest. Text that was not taken yet is dropped, and a
 * finished sequence runs again. The last kept token is computed again, so that logits are ready
 * after the next step; all tokens are computed again if the sequence had more than n_rope_short
 * tokens and now has at most that many. Errors: WEFT_E_ARG, WEFT_E_KV_FULL (pages that will be
 * computed again are shared, and there are too few for copies; nothing has changed then). */
WEFT_API weft_status weft_seq_rewind(weft_seq *seq, size_t n, weft_error *err);

/* A saved state holds the tokens of a sequence, how many of them are computed, and the K and V of
 * the computed ones. With it, a later process or another engine on the same model goes on without
 * computing them again. It does not hold text that was not taken yet, stop strings, sampling,
 * random state or logits. The format is the same for all devices, n_ctx and n_batch; K and V have
 * the types of the engine. The K and V of a loaded state are trusted, whoever wrote them. Therefore
 * the prefix cache gives them to no other sequence. It also gives away nothing that the loaded
 * sequence, or a fork of it, computes afterwards, until that sequence is rewound to 0 tokens. */

/* Writes the state as *needed bytes; the sequence is not changed. Errors: WEFT_E_BUFFER, WEFT_E_IO
 * (the model's file was cut), WEFT_E_DEVICE_LOST. */
WEFT_API weft_status weft_seq_save(weft_seq *seq, void *dst, size_t cap, size_t *needed,
                                   weft_error *err);
/* Replaces the content of the sequence. As after weft_seq_rewind(), text that was not taken yet is
 * dropped, a finished sequence runs again, and the last token is computed again, so that logits are
 * ready after the next step. Of the other tokens, only those that waited when the state was saved
 * are computed. But all tokens are computed again if their K was made with other RoPE factors than
 * the length of the text asks for (n_rope_short); version 0.1.0 could save such states. The
 * sequence keeps its own sampling, stop strings and observer; the random state restarts at the
 * seed. The first bytes and n are checked before the rest is read. Errors: WEFT_E_FORMAT (`data` is
 * no saved state, or is cut or damaged), WEFT_E_UNSUPPORTED (another version of the format),
 * WEFT_E_ARG (it is of another model), WEFT_E_ENGINE (its K or V have other types than this
 * engine's), WEFT_E_CTX_FULL and WEFT_E_KV_FULL (it is too long; the pages of the sequence itself
 * count as free), WEFT_E_DEVICE_LOST (the sequence may now be empty). */
WEFT_API weft_status weft_seq_load(weft_seq *seq, const void *data, size_t n, weft_error *err);
/* Save a state to a file and load it from one, as weft_seq_save() and weft_seq_load() do with
 * memory. Saving writes a new file beside `path`, which only its owner can read, and which gets the
 * name `path` when it is complete: whatever fails (WEFT_E_IO), an old file stays whole. Both need
 * host memory of the file's size while they run; if the first bytes or the size of a file show that
 * it must be refused, loading reads no more of it. Only regular files are loaded. */
WEFT_API weft_status weft_seq_save_file(weft_seq *seq, const char *path, weft_error *err);
WEFT_API weft_status weft_seq_load_file(weft_seq *seq, const char *path, weft_error *err);

/* Return the number of tokens in the sequence, and how many of them wait to be computed. They
 * return 0 where another function would return WEFT_E_BUSY. */
WEFT_API size_t weft_seq_len(weft_seq *seq);
WEFT_API size_t weft_seq_pending(weft_seq *seq);
/* Returns the number of positions of this sequence, since it was opened, whose K and V were found
 * in the KV pool and not computed. */
WEFT_API size_t weft_seq_cached(weft_seq *seq);
WEFT_API weft_finish weft_seq_finish(const weft_seq *seq);
/* Takes the sequence out of the next step, and ends a running step if all its sequences are
 * cancelled. Any thread, also a signal handler. The sequence's waiting tokens stay. The next call
 * of weft_seq_next() or weft_seq_append(), also an append of no tokens, reports WEFT_E_CANCELLED
 * once and clears the cancel. weft_seq_rewind() does not clear it, and a fork is not cancelled. */
WEFT_API void weft_seq_cancel(weft_seq *seq);

/* ---------------------------------------------------------------- replies */

/* Splits the answer to a prompt into content, reasoning and tool calls while it is generated, and
 * sets the grammar that the answer must follow. How a model writes calls and reasoning is read off
 * the chat template. A reply is for one answer; one thread at a time may use it. */
typedef struct weft_reply weft_reply;

typedef enum weft_tool_choice {
    WEFT_TOOLS_AUTO = 0, /* the model decides; without tools this is WEFT_TOOLS_NONE */
    WEFT_TOOLS_NONE,     /* no calls: what looks like one is content */
    WEFT_TOOLS_REQUIRED, /* at least one call */
    WEFT_TOOLS_NAMED     /* calls of the tool choice_name: what calls another one is content */
} weft_tool_choice;

typedef struct weft_reply_params {
    size_t size;
    weft_tool_choice choice;
    const char *choice_name; /* the tool of WEFT_TOOLS_NAMED, otherwise NULL */
    bool no_parallel;        /* one call at most: text behind it is content */
    bool keep_reasoning;     /* reasoning stays in the content, with its markers */
    bool strict_schema; /* refuse a schema that a grammar cannot hold, instead of widening it */
    const char *schema; /* JSON: the content follows this schema; NULL = any content */
    size_t n_schema;
    uint64_t seed; /* of the ids of calls; 0 = a random one. The same seed gives the same ids. */
} weft_reply_params;
#define WEFT_REPLY_PARAMS_INIT WEFT_INIT(weft_reply_params)

typedef enum weft_reply_kind {
    WEFT_REPLY_CONTENT = 0, /* text */
    WEFT_REPLY_REASONING,   /* text */
    WEFT_REPLY_CALL,        /* a call begins: index, id, name */
    WEFT_REPLY_ARGUMENTS,   /* index, and text: a piece of its arguments, which are a JSON object */
    WEFT_REPLY_CALL_END     /* index, complete */
} weft_reply_kind;

/* A piece of an answer. The pointers live until the next call of weft_reply_add(), weft_reply_end()
 * or weft_reply_release(). */
typedef struct weft_reply_event {
    size_t size; /* set by the caller to sizeof(weft_reply_event) */
    weft_reply_kind kind;
    size_t index;     /* of the call, from 0 */
    const char *id;   /* of a call: "call_" and 16 letters and digits, nine for Mistral's models */
    const char *name; /* of the tool */
    const char *text; /* [n_text] UTF-8 if the answer is; not terminated */
    size_t n_text;
    /* The texts of the arguments put together are a JSON object. It is false where the answer ended
     * inside the call, or went on with what cannot be part of it: the arguments so far were given,
     * and the rest is content. */
    bool complete;
    /* Of content and reasoning: how many bytes of the answer stand before the text, which is part
     * of it as it was added. So a program knows which tokens the text comes from. */
    size_t from;
} weft_reply_event;
#define WEFT_REPLY_EVENT_INIT WEFT_INIT(weft_reply_event)

/* Opens the reply to a prompt; the prompt may be released at once. The form of calls is that of the
 * template: those of Hermes and Qwen, Qwen-Coder, Llama 3, Mistral, Phi-4-mini, GLM, DeepSeek and
 * some others are known. A template that does not read the list of tools has weft_prompt_open()
 * tell the model about them, and calls are JSON then. Templates that list tools for a form that is
 * not known (gpt-oss, Gemma 4, Kimi, LFM2, Cohere) are rendered as they are: what the model writes
 * is content, and a call that must come is JSON. Any thread. Errors: WEFT_E_ARG (the choice needs a
 * tool that is not there, more than 512 tools, a tool without a usable name), WEFT_E_FORMAT (the
 * schema is no JSON, or strict_schema and a grammar cannot hold it; the grammar exceeds the limits
 * of weft_seq_set_grammar()), WEFT_E_NOMEM. */
WEFT_API weft_status weft_reply_open(const weft_prompt *prompt, const weft_reply_params *params,
                                     weft_reply **out, weft_error *err);
/* Frees the reply and sets *reply to NULL. Both `reply` and *reply may be NULL. */
WEFT_API void weft_reply_release(weft_reply **reply);
/* Sets the grammar that the choice and the schema ask for, and where it begins, on a sequence that
 * holds the prompt: calls of WEFT_TOOLS_AUTO begin behind the text that announces a call, but not
 * between the markers of reasoning; calls that must come and the schema begin at once, but where
 * the prompt has opened reasoning, behind its end. Schemas of tools are widened
 * (WEFT_SCHEMA_WIDEN). If nothing is asked for, a grammar that was set is removed. Errors: those of
 * weft_seq_set_trigger(). */
WEFT_API weft_status weft_reply_constrain(const weft_reply *reply, weft_seq *seq, weft_error *err);
/* Adds text[n] of the answer: what weft_seq_text() gives, and the texts of control tokens in their
 * places. It may be cut anywhere. What is no call is content, so no text is an error. At most about
 * 16 KiB are held back, besides a parameter of a call that is no text and stands between tags;
 * longer white space inside a call ends it, incomplete. The memory of a reply grows with what is
 * held back and with the pieces that were not taken yet, not with the length of the text. Errors:
 * WEFT_E_ARG (more than 256 MiB), WEFT_E_STATE (the answer has ended), WEFT_E_NOMEM (nothing was
 * read). */
WEFT_API weft_status weft_reply_add(weft_reply *reply, const char *text, size_t n, weft_error *err);
/* The answer ends here: everything that was held back comes out. Calling it again does nothing.
 * Errors: WEFT_E_NOMEM. */
WEFT_API weft_status weft_reply_end(weft_reply *reply, weft_error *err);
/* Gives the next piece of the answer that no later text can change. Returns false if there is none
 * so far, or if an argument is not usable.
 *
 * All content put together is the answer without reasoning, calls, and white space around them. A
 * call is announced once the name of a tool of the request was read and its arguments begin; a name
 * that is no tool's makes the text content. The arguments come as JSON whatever the model's form
 * is. Reasoning is what stands between the markers of the template, if the answer begins with it or
 * the prompt has opened it; without an end everything is reasoning. */
WEFT_API bool weft_reply_next(weft_reply *reply, weft_reply_event *event);

#ifdef __cplusplus
}

template <class T> inline T weft_init()
{
    T t = T();
    t.size = sizeof(T);
    return t;
}
#endif
#endif
