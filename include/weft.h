/* Weft: GGUF language models in C. This is the only header a program includes.
 *
 * Three handles, each holding a reference on the one to its left, so that they may be released in
 * any order:
 *
 *     weft_model  <-  weft_engine  <-  weft_seq
 *     the file        device, KV      one text being read or written
 *
 * A program opens a model, an engine on it, and any number of sequences; it appends tokens, calls
 * weft_engine_step() until a sequence is ready, and takes the next token with weft_seq_next().
 * Without the checks for errors:
 *
 *     weft_seq_append(seq, prompt, n, &err);
 *     while (weft_seq_finish(seq) == WEFT_RUNNING) {
 *         weft_engine_step(engine, &ready, &err);  // computes what waits, in all sequences at once
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
 *   - Functions on a model are free-threaded. Those on an engine or a sequence take the engine's
 *     lock, in the order in which they come: they may wait for a step under way. weft_seq_text(),
 *     weft_seq_finish() and weft_seq_cancel() never wait. When two threads are inside one sequence,
 *     the second gets WEFT_E_BUSY. A handle must not be in use elsewhere while its last reference
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

/* A struct of which only `size` is set. */
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
    WEFT_E_ARG,         /* an argument is NULL, out of range or contradicts another */
    WEFT_E_HANDLE,      /* not a live handle of this type */
    WEFT_E_STATE,       /* not now: no logits yet, or the sequence has finished */
    WEFT_E_BUSY,        /* another thread is inside this sequence */
    WEFT_E_BUFFER,      /* dst is too small; *needed says how much */
    WEFT_E_NOMEM,       /* host memory */
    WEFT_E_DEVMEM,      /* device memory */
    WEFT_E_IO,          /* the operating system refused a read, or the file changed under us */
    WEFT_E_FORMAT,      /* the file is malformed */
    WEFT_E_UNSUPPORTED, /* well-formed, but not something this build runs */
    WEFT_E_KV_FULL,     /* no free pages in the KV pool */
    WEFT_E_CTX_FULL,    /* the sequence would exceed n_ctx */
    WEFT_E_CANCELLED,   /* weft_seq_cancel() was called */
    WEFT_E_DEVICE_LOST, /* the device failed; this engine computes no more. The message says whether
                           a new one will, or the fault of a kernel has lost CUDA for the process */
    WEFT_E_INTERNAL,    /* a bug in Weft */
    WEFT_E_ENGINE       /* not with this engine; one that is opened as the message says can */
} weft_status;

/* Filled by a failing call. `message` names the thing, what was found, what was expected, and the
 * remedy. */
typedef struct weft_error {
    weft_status code;
    char message[508];
} weft_error;

typedef struct weft_file weft_file;
typedef struct weft_model weft_model;
typedef struct weft_engine weft_engine;
typedef struct weft_seq weft_seq;

WEFT_API const char *weft_version(void);              /* "0.1.0" */
WEFT_API uint32_t weft_abi_version(void);             /* compare with WEFT_ABI_VERSION */
WEFT_API const char *weft_status_name(weft_status s); /* "WEFT_E_ARG"; never NULL */

/* ---------------------------------------------------------------- log */

typedef enum weft_log_level { WEFT_LOG_INFO = 0, WEFT_LOG_WARN = 1 } weft_log_level;

/* Called on the thread that is inside the library, never while an error is being returned instead.
 * `text` is one line without a newline and lives only during the call. */
typedef void (*weft_log_fn)(void *user, weft_log_level level, const char *text);

/* ---------------------------------------------------------------- devices */

/* What this machine and this build of the library can compute with. Any thread, any time. */

typedef struct weft_platform_info {
    size_t size;            /* set by the caller to sizeof(weft_platform_info) */
    bool cuda_built;        /* the library was built with CUDA */
    int cuda_driver;        /* newest CUDA that the driver runs, 13010 = 13.1; 0 = no driver */
    int cuda_runtime;       /* CUDA that the library was built with; 0 = without */
    char cuda_problem[200]; /* why there is no GPU, and the remedy; "" if there is one */
    char cpu_name[64];
    char cpu_features[96];     /* instructions the CPU kernels can use: "avx2 fma f16c" */
    const char *cpu_kernels;   /* the set of CPU kernels that would run: "avx2" */
    size_t n_cores, n_threads; /* physical cores and hardware threads this process may use */
    size_t n_devices;          /* for weft_device_get() */
} weft_platform_info;

typedef struct weft_device_info {
    size_t size;                      /* set by the caller to sizeof(weft_device_info) */
    char name[32];                    /* what weft_engine_params.device takes: "cuda:0", "cpu" */
    char description[128];            /* "NVIDIA H200" */
    int major, minor;                 /* compute capability of a GPU; 0 on the CPU */
    size_t n_units;                   /* multiprocessors of a GPU, physical cores of the CPU */
    uint64_t total_bytes, free_bytes; /* memory; 0 = unknown */
    bool usable;
    char why[200]; /* why it cannot be used, "" if it can */
} weft_device_info;

WEFT_API weft_status weft_platform_get(weft_platform_info *info, weft_error *err);
/* The i-th device: the GPUs as the driver counts them, then the CPU. WEFT_E_ARG past the last.
 * "auto" is the first that is usable. Asking a GPU for its free memory opens a context on it, which
 * takes some hundred MiB there until the process ends. */
WEFT_API weft_status weft_device_get(size_t i, weft_device_info *info, weft_error *err);

/* ---------------------------------------------------------------- file */

/* A GGUF file (v2 or v3, little-endian, split files through their first part), parsed and
 * fully bounds-checked, without a model being made of it. For inspection and validation. A
 * weft_file is read-only after opening and may be used from any number of threads. */

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
    uint64_t shape[4]; /* as GGUF writes it: the row length first; unused dimensions are 1 */
    uint64_t n_bytes;
    uint64_t offset; /* from the start of the part's data section */
    size_t part;     /* index of the split part that holds it, 0 when not split */
} weft_tensor_info;

/* What Weft makes of a key, by its name alone. */
typedef enum weft_key_use {
    WEFT_KEY_UNKNOWN = 0, /* no key that Weft knows: it is not obeyed */
    WEFT_KEY_OBEYED,
    WEFT_KEY_HARMLESS, /* known, and changes nothing that Weft computes */
    /* Known, changes what a model computes, and is not obeyed: weft_model_open() refuses a file in
     * which it has another value than the one that asks for nothing. */
    WEFT_KEY_REFUSED
} weft_key_use;

WEFT_API weft_status weft_file_open(const char *path, weft_file **out, weft_error *err);
/* The same, but the file is read into memory instead of being mapped: for files that somebody else
 * may cut, as no_mmap of weft_model_params, and for file systems that cannot map. */
WEFT_API weft_status weft_file_load(const char *path, weft_file **out, weft_error *err);
WEFT_API void weft_file_release(weft_file **file);
WEFT_API uint32_t weft_file_version(const weft_file *file); /* 2 or 3 */
WEFT_API uint64_t weft_file_bytes(const weft_file *file);   /* of all parts */
WEFT_API size_t weft_file_n_parts(const weft_file *file);
/* Path of the i-th part; NULL past the last. Lives as long as the file. */
WEFT_API const char *weft_file_part(const weft_file *file, size_t i);
WEFT_API size_t weft_file_n_keys(const weft_file *file);
WEFT_API size_t weft_file_n_tensors(const weft_file *file);
WEFT_API weft_status weft_file_key(const weft_file *file, size_t i, weft_key_info *out,
                                   weft_error *err);
WEFT_API weft_status weft_file_tensor(const weft_file *file, size_t i, weft_tensor_info *out,
                                      weft_error *err);
/* What Weft makes of key `i`; keys of the architecture are those that begin with the file's
 * general.architecture. WEFT_E_ARG: there is no such key. */
WEFT_API weft_status weft_file_key_use(const weft_file *file, size_t i, weft_key_use *out,
                                       weft_error *err);
/* Element `j` of key `i` as text: strings as their bytes (may hold any byte, NUL included; not
 * terminated), integers in decimal, floats with enough digits to round-trip, bools as true/false.
 */
WEFT_API weft_status weft_file_value(const weft_file *file, size_t i, size_t j, char *dst,
                                     size_t cap, size_t *needed, weft_error *err);

/* ---------------------------------------------------------------- model */

/* The file, its vocabulary and its validated weights. Immutable after opening: any number of
 * engines and threads may share one. */

typedef struct weft_model_params {
    size_t size;
    bool vocab_only; /* only the tokenizer: for files without tensors, or to tokenize quickly */
    /* Read the file into memory instead of mapping it: for files that somebody else may cut or
     * write to. A mapped one that was cut is noticed before each step (WEFT_E_IO), but one that is
     * cut during a step, or whose disk fails, ends the process with SIGBUS. */
    bool no_mmap;
    weft_log_fn log; /* progress and remarks, also of later calls; NULL = silence */
    void *log_user;
} weft_model_params;
#define WEFT_MODEL_PARAMS_INIT WEFT_INIT(weft_model_params)

typedef struct weft_model_info {
    size_t size;              /* set by the caller to sizeof(weft_model_info) */
    const char *architecture; /* "qwen2"; strings live as long as the model */
    const char *name;         /* general.name, or "" */
    const char *type; /* the tensor type that holds most weights, "Q4_K"; "" without tensors */
    const char *chat_template; /* name of the recognised template, or NULL */
    size_t n_vocab;
    /* 0 if vocab_only. Where layers differ, the most that one of them has; weft_model_get_layer()
     * tells them apart. */
    size_t n_ctx_train, n_layers, dim, n_heads, n_kv_heads, head_dim, n_ff;
    uint64_t n_params; /* elements of all tensors */
    uint64_t n_bytes;  /* bytes of all tensors */
    int32_t bos, eos;  /* token ids, -1 if the vocabulary has none */
    bool adds_bos;     /* whether the model wants BOS at the start of a text */
    /* Positions that a token sees, itself included, in the layer that shows most; 0 = all before
     * it. */
    size_t n_window;
    bool adds_eos; /* whether the model wants EOS at the end of a text that is embedded */
    /* What of the file's own chat template (Jinja source) may be missing in `chat_template`, a
     * sentence; NULL if that renders conversations just as the source does. */
    const char *chat_remark;
} weft_model_info;

/* Opens and validates `path`; for a split model, the path of its first part.
 * Errors: WEFT_E_ARG (the path of a later part), WEFT_E_IO, WEFT_E_FORMAT (malformed),
 * WEFT_E_UNSUPPORTED (architecture, tensor type, tokenizer, a WEFT_KEY_REFUSED key),
 * WEFT_E_NOMEM. */
WEFT_API weft_status weft_model_open(const char *path, const weft_model_params *params,
                                     weft_model **out, weft_error *err);
/* Gives up the caller's reference and clears *model. NULL and *model == NULL are fine. Any thread,
 * any order. */
WEFT_API void weft_model_release(weft_model **model);
WEFT_API weft_status weft_model_get_info(const weft_model *model, weft_model_info *info,
                                         weft_error *err);

/* What a layer of the model is. Later kinds of layers leave 0 what they have none of. */
typedef struct weft_layer_info {
    size_t size;         /* set by the caller to sizeof(weft_layer_info) */
    const char *mixer;   /* how positions see one another: "attention" */
    const char *ffn;     /* the feed-forward part: "dense" */
    size_t n_heads;      /* of queries */
    size_t n_kv_heads;   /* of K and of V */
    size_t k_dim, v_dim; /* values of a head of K and of V */
    size_t n_window;     /* positions that a token sees, itself included; 0 = all before it */
    size_t n_ff;         /* columns between the matrices of the feed-forward part */
    uint64_t n_bytes;    /* of the layer's tensors in the file */
} weft_layer_info;

/* Layer i, counted from the one that comes behind the embedding. Any thread. Errors: WEFT_E_ARG
 * (there is no such layer, as in a model that was opened vocab_only). */
WEFT_API weft_status weft_model_get_layer(const weft_model *model, size_t i, weft_layer_info *info,
                                          weft_error *err);

enum {
    WEFT_TOKENIZE_BOS = 1u,       /* prepend BOS if the model wants it */
    WEFT_TOKENIZE_SPECIAL = 2u,   /* parse control tokens in the text; never for text of a user */
    WEFT_TOKENIZE_NO_PREFIX = 4u, /* the text continues another: no leading space (SPM) */
    WEFT_TOKENIZE_EOS = 8u        /* append EOS if the model wants it and it is not there; for texts
                                     that are complete: embeddings. Never for a prompt. */
};
/* Text (n bytes, at most 256 MiB, any bytes) to ids dst[cap], *needed ids in all. Bytes for which a
 * BPE vocabulary has no token are left out (SmolLM2 has none for 0x04, nor for those that
 * UTF-8 does not use). */
WEFT_API weft_status weft_tokenize(const weft_model *model, const char *text, size_t n,
                                   unsigned flags, int32_t *dst, size_t cap, size_t *needed,
                                   weft_error *err);

enum {
    WEFT_DETOKENIZE_SPECIAL = 1u /* write control tokens as their text, instead of nothing */
};
/* Ids to bytes dst[cap] (not NUL-terminated), the inverse of weft_tokenize for text without BOS. */
WEFT_API weft_status weft_detokenize(const weft_model *model, const int32_t *tokens, size_t n,
                                     unsigned flags, char *dst, size_t cap, size_t *needed,
                                     weft_error *err);
/* The token's text as the vocabulary stores it (for display). */
WEFT_API weft_status weft_token_text(const weft_model *model, int32_t token, char *dst, size_t cap,
                                     size_t *needed, weft_error *err);
/* True if the token ends a text or a turn. False for ids outside the vocabulary. */
WEFT_API bool weft_token_is_end(const weft_model *model, int32_t token);

/* ---------------------------------------------------------------- chat */

typedef struct weft_message {
    const char *role;    /* "system", "user" or "assistant" */
    const char *content; /* UTF-8; never parsed for control tokens */
} weft_message;

typedef struct weft_chat_params {
    size_t size;
    const char *template_name; /* NULL = the one the model's file names */
    bool no_prompt;            /* do not open the assistant's turn at the end */
    /* The messages continue a conversation already in the sequence: no BOS, no default system
     * prompt, and the end of the assistant's turn before them is completed. */
    bool continues;
    /* With `continues`: the last token that the sequence holds. If it ends no turn, the answer was
     * cut (by a limit, a stop string, a cancel) and its turn is ended first. NULL: it was not. */
    const int32_t *last;
} weft_chat_params;
#define WEFT_CHAT_PARAMS_INIT WEFT_INIT(weft_chat_params)

/* Messages to ids: the template's own control tokens, BOS where the template or the model wants
 * it, and the contents as plain text. WEFT_E_UNSUPPORTED if the template is unknown (the message
 * lists the names), WEFT_E_ARG if a role is unknown or the template cannot express the order of the
 * messages.
 */
WEFT_API weft_status weft_chat_tokens(const weft_model *model, const weft_message *messages,
                                      size_t n, const weft_chat_params *params, int32_t *dst,
                                      size_t cap, size_t *needed, weft_error *err);
/* Name of the i-th built-in template, NULL past the last. */
WEFT_API const char *weft_chat_template_name(size_t i);

/* ---------------------------------------------------------------- engine */

typedef enum weft_cpu_isa {
    WEFT_ISA_AUTO = 0, /* the best this processor has */
    WEFT_ISA_SCALAR,
    WEFT_ISA_AVX2,  /* needs AVX2, FMA and F16C */
    WEFT_ISA_AVX512 /* needs AVX-512 F, BW, DQ, VL and VNNI */
} weft_cpu_isa;

/* How K and V are kept in the KV pool. */
typedef enum weft_kv_type {
    WEFT_KV_F16 = 0,
    WEFT_KV_Q8_0 /* 8 bits and a scale for each 32 values: 53 % of the memory */
} weft_kv_type;

#define WEFT_CTX_MODEL SIZE_MAX /* n_ctx: all positions the model was trained for */
#define WEFT_CTX_DEFAULT 4096   /* what n_ctx and n_kv are if they are 0, see there */
#define WEFT_KV_PAGE 64         /* positions of a page of the KV pool */
#define WEFT_TOP_MAX 64         /* most of the best tokens that are found, or computed ahead */

/* Bytes of weights that have been uploaded or repacked, of all that will be. Called on the thread
 * inside weft_engine_open(); false ends it with WEFT_E_CANCELLED. It must not open another engine
 * of the model; one that another thread opens meanwhile may wait. */
typedef bool (*weft_progress_fn)(void *user, uint64_t done, uint64_t total);

/* Values between two stages of the transformer, for finding where two implementations part. */
typedef struct weft_checkpoint {
    /* What they are, in the order in which they come: "embed", then in every layer "q", "k", "v"
     * (after bias, norm and RoPE; a GPU gives k and v as its KV cache has rounded them),
     * "attention" (before its output matrix), "attn_out" (the residual stream behind it), "ffn_act"
     * (silu(gate) * up), "ffn_out" (the residual stream behind it); at the end, for the tokens that
     * want logits, "head_norm" (what the last norm leaves) and "logits". */
    const char *name;
    size_t layer;          /* SIZE_MAX where there is none: embed, head_norm, logits */
    size_t n_rows, n_cols; /* one row for each token of the step; of "head_norm" and "logits", for
                              those that want logits */
    const float *values;   /* [n_rows, n_cols] in host memory, during the call */
} weft_checkpoint;
/* Called inside weft_engine_step(), for every checkpoint. The engine's lock is held: functions of
 * the engine and its sequences must not be called. */
typedef void (*weft_trace_fn)(void *user, const weft_checkpoint *checkpoint);

/* One stage of a step, computed. */
typedef struct weft_stage {
    /* "embed", "attn_in", "attend", "attn_out", "ffn_in", "ffn_out", "head_norm", "head" */
    const char *name;
    size_t layer;    /* SIZE_MAX where there is none: embed, head_norm, head */
    size_t n_rows;   /* rows it was computed for */
    double seconds;  /* from its beginning until its results were there */
    uint64_t bytes;  /* of weights and of K and V, each counted once, that it has to read */
    uint64_t n_macs; /* multiply-adds of its matrix products and dot products */
} weft_stage;
/* Called as a weft_trace_fn is. */
typedef void (*weft_profile_fn)(void *user, const weft_stage *stage);

typedef struct weft_engine_params {
    size_t size;
    /* NULL or "auto": the first GPU that can be used, or the CPU if there is none or its kernels do
     * not run this model; then a line of the log says why (in a build with CUDA). "cuda": the first
     * GPU that can be used. "cuda:1", "cpu". */
    const char *device;
    size_t n_ctx; /* most tokens of one sequence; 0 = WEFT_CTX_DEFAULT, or what the model has if
                     that is less */
    size_t n_kv;  /* positions in the KV pool, shared by all sequences, rounded up to whole pages;
                     0 = n_ctx, at least WEFT_CTX_DEFAULT */
    /* Most rows computed in one step; 0 = 512 on the CPU, and on a GPU 2048, or 1024 or 512 if
     * there is no room for more. More rows make prompts faster, and sequences that generate wait
     * longer for a step that they share with a prompt. */
    size_t n_batch;
    /* 0 = one per physical core that this process may use, at most what the CPU quota of its
     * control groups (a container) amounts to. With a GPU these threads read the weights while the
     * engine opens, at most 8 of them. */
    size_t n_threads;
    weft_cpu_isa cpu_isa; /* forces one set of CPU kernels; all give the same bits */
    /* A sequence's logits do not depend on what other sequences are computed with it, nor on how
     * its prompt was cut into steps. Always so on the CPU; slower prompts on a GPU. */
    bool deterministic;
    /* Greedy tokens that a GPU may compute ahead of weft_seq_next() in one go, without waiting for
     * the host; 0 or 1 = none, at most WEFT_TOP_MAX. The text is the same. weft_seq_next() then
     * gives several tokens without a step between them; their logits are not kept, so that
     * weft_seq_logits() returns WEFT_E_STATE until the step after the last of them. */
    size_t n_ahead;
    /* Texts are computed from their first token on, also where they begin like an earlier one. By
     * default K and V of whole pages (of WEFT_KV_PAGE positions) that are still there are used
     * again, of sequences that run and of released ones. On a GPU without `deterministic` their
     * last bits may differ from those that would be computed anew. */
    bool no_prefix_cache;
    /* The CPU reads weights as they are in the file. By default it lays them out anew when the
     * first engine of a model opens, which takes about a second for a gigabyte and memory for the
     * weights (about as much as the file took; those of a mapped file are then not in memory
     * twice), and computes several times faster. */
    bool no_repack;
    weft_kv_type type_k, type_v; /* WEFT_KV_Q8_0 needs heads of a multiple of 32 */
    weft_progress_fn progress;   /* of the upload or the repacking of weights; may be NULL */
    void *progress_user;
    /* NULL = nobody. With one of these, every step goes stage by stage, and waits for each. */
    weft_trace_fn trace;
    void *trace_user;
    weft_profile_fn profile;
    void *profile_user;
    /* On the CPU every thread of the engine stays on a core, one of its own as long as there are
     * enough; the first core is left to the thread that calls weft_engine_step(), which goes where
     * the system puts it. For a machine that does nothing else: two engines get the same cores. */
    bool pin_threads;
    /* For finding a fault on a GPU; all cost speed, none changes the text. no_graphs: the kernels
     * of a step are launched one by one, not as a CUDA graph. no_pdl: a kernel begins when the one
     * before it has ended (no programmatic dependent launch). no_arena: each buffer on the device
     * is an allocation of its own, so that compute-sanitizer notices an index beyond its end. */
    bool no_graphs, no_pdl, no_arena;
} weft_engine_params;
#define WEFT_ENGINE_PARAMS_INIT WEFT_INIT(weft_engine_params)

typedef struct weft_engine_info {
    size_t size;         /* set by the caller */
    const char *backend; /* "cpu" */
    const char *kernels; /* "avx512-vnni" */
    size_t n_ctx, n_kv, n_batch, n_threads;
    size_t n_kv_free; /* positions in free pages */
    size_t n_seqs;    /* open sequences */
    uint64_t weight_bytes, kv_bytes, scratch_bytes;
    uint64_t n_steps, n_rows; /* computed since the engine was opened */
    uint64_t n_cached;        /* rows that did not have to be, see no_prefix_cache */
    /* What a step costs at least. step_weight_bytes: weights that a step of one row reads; where a
     * row uses some of a layer's experts, only those. row_macs: multiply-adds of one row with
     * weights, the output matrix included. kv_position_bytes: what one position takes while every
     * layer keeps its K and V; what a row reads of them, weft_engine_kv_read() says. */
    uint64_t step_weight_bytes, row_macs, kv_position_bytes;
    uint64_t most_weight_bytes; /* weights that a step of any number of rows reads at most */
    size_t page; /* positions of a page of the KV pool: WEFT_KV_PAGE of the library that runs */
} weft_engine_info;

/* What an engine holds at this moment and has done since it was opened. Every number is exact, and
 * all are of the same moment; after the last sequence was released nothing is used. */
typedef struct weft_engine_stats {
    size_t size; /* set by the caller to sizeof(weft_engine_stats) */
    /* K and V, in pages of WEFT_KV_PAGE positions; where layers keep them in several pools, the
     * pages of all. n_pages = n_pages_used + n_pages_free. */
    size_t n_pages, n_pages_used, n_pages_free;
    size_t n_pages_known;  /* free, but with a text that is remembered; a text that begins like it
                              finds a page as long as those before it are remembered too */
    size_t n_pages_shared; /* used by more than one sequence; a weft_embed() under way is one */
    size_t n_page_refs;    /* used pages, each counted once for every sequence that uses it: what
                              they would take if nothing were shared */
    /* The open sequences. Tokens of all of them; those that are computed; and the positions whose K
     * and V are stored for these, shared ones counted once. Each is at most the one before. */
    size_t n_seqs, n_tokens, n_computed, n_stored;
    /* Memory; the first four are on the device. page_bytes: of a page, of the largest where pools
     * differ. Where there is one pool, n_pages * page_bytes = kv_bytes. */
    uint64_t page_bytes, kv_bytes, weight_bytes, scratch_bytes;
    uint64_t seq_bytes; /* host memory of the open sequences: tokens, text, logits, sampler, stop
                           strings, page tables, and where each stands in its grammar; not the
                           grammars themselves, which forks share */
    /* Since the engine was opened. n_rows = n_prompt_rows + n_decode_rows; decode rows are those of
     * tokens that weft_seq_next() drew, or that were computed ahead of it; what is computed again
     * after a rewind is not, nor is the text of a weft_embed(). n_opened - n_released = n_seqs;
     * forks are opened too. */
    uint64_t n_steps, n_rows, n_prompt_rows, n_decode_rows;
    uint64_t n_cached;      /* rows that did not have to be computed, see no_prefix_cache */
    uint64_t n_page_copies; /* shared pages that were copied before somebody wrote to them */
    uint64_t n_opened, n_released;
    uint64_t n_cancelled; /* calls that returned WEFT_E_CANCELLED */
    uint64_t n_kv_full;   /* calls that returned WEFT_E_KV_FULL */
    /* Host memory for draws from all logits, as much as threads have made at the same time; it is
     * kept until the engine is closed. */
    uint64_t draw_bytes;
} weft_engine_stats;

/* What the engine's device can do at best, measured now, with the engine's threads; takes about a
 * second and, on the CPU, 256 MiB of memory while it lasts. */
typedef struct weft_limits {
    size_t size;             /* set by the caller to sizeof(weft_limits) */
    double read_bytes_per_s; /* reading memory, as a weight matrix is read */
    double macs_per_s;       /* multiply-adds of the instruction that the matrix products of a
                                prompt use: int8 on the CPU, half on tensor cores */
} weft_limits;

/* Takes a reference on the model. Errors: WEFT_E_ARG (contradictory sizes), WEFT_E_STATE (the model
 * is vocab_only), WEFT_E_UNSUPPORTED (device, ISA, a type of K or V), WEFT_E_IO (the file was cut
 * since it was opened), WEFT_E_CANCELLED (by `progress`), WEFT_E_NOMEM, WEFT_E_DEVMEM,
 * WEFT_E_DEVICE_LOST (a call of CUDA failed, or an engine of this process has lost it before). */
WEFT_API weft_status weft_engine_open(weft_model *model, const weft_engine_params *params,
                                      weft_engine **out, weft_error *err);
WEFT_API void weft_engine_release(weft_engine **engine);
WEFT_API weft_status weft_engine_get_info(const weft_engine *engine, weft_engine_info *info,
                                          weft_error *err);
/* Looks at every page number and every sequence once: cheap enough to be called after each step. */
WEFT_API weft_status weft_engine_get_stats(const weft_engine *engine, weft_engine_stats *stats,
                                           weft_error *err);

/* Bytes of K and V that a row at this position of a sequence reads at least: in each layer, those
 * of the positions that it sees there. 0 for what is no engine. Any thread. */
WEFT_API uint64_t weft_engine_kv_read(const weft_engine *engine, size_t pos);

/* Errors: WEFT_E_NOMEM, WEFT_E_DEVMEM, WEFT_E_DEVICE_LOST. */
WEFT_API weft_status weft_engine_measure(weft_engine *engine, weft_limits *limits, weft_error *err);

/* Computes one step: the waiting tokens of all sequences, at most n_batch rows; a long prompt takes
 * several steps. *ready (may be NULL) = number of sequences that now have logits, so that
 * weft_seq_next() can be called on them. With nothing to do it returns WEFT_OK at once. WEFT_E_IO,
 * WEFT_E_DEVICE_LOST: nothing was computed. */
WEFT_API weft_status weft_engine_step(weft_engine *engine, size_t *ready, weft_error *err);

/* Sleeps until a step would have rows, for a thread that steps an engine which other threads
 * append to. *ready (may be NULL) = true then, at once if there are some; false after `ms`
 * milliseconds (-1 = no limit), and when it returns for another reason: a sequence was cancelled or
 * released, so that memory may be free now, or weft_engine_wake() was called. The engine's lock is
 * not held while this sleeps, but as other functions it may first wait for a step under way. Any
 * number of threads. Errors: WEFT_E_ARG, WEFT_E_HANDLE. */
WEFT_API weft_status weft_engine_wait(weft_engine *engine, int ms, bool *ready, weft_error *err);
/* All threads inside weft_engine_wait() return; if there is none, the next call returns at once.
 * Any thread, also from a signal handler; NULL is fine. */
WEFT_API void weft_engine_wake(weft_engine *engine);

/* ---------------------------------------------------------------- embeddings */

/* How the states of a text's tokens become one vector. */
typedef enum weft_pooling {
    WEFT_POOL_MODEL = 0, /* as the file's pooling_type says; the mean if it says nothing */
    WEFT_POOL_MEAN,
    WEFT_POOL_LAST, /* the last token's, which has seen all others */
    WEFT_POOL_CLS   /* the first token's; refused, as in these models it has seen nothing else */
} weft_pooling;

typedef struct weft_embed_params {
    size_t size;
    weft_pooling pooling;
    bool raw; /* not scaled to length 1 */
} weft_embed_params;
#define WEFT_EMBED_PARAMS_INIT WEFT_INIT(weft_embed_params)

/* The vector dst[dim] of a text: states behind the last layer and its norm, pooled, of length 1.
 * Computes in steps of its own, between those of weft_engine_step(); its KV pages are free again
 * when it returns. Errors: WEFT_E_ARG (n is 0, an id outside the vocabulary), WEFT_E_UNSUPPORTED (a
 * pooling that this model cannot do), WEFT_E_CTX_FULL, WEFT_E_KV_FULL, those of
 * weft_engine_step(). */
WEFT_API weft_status weft_embed(weft_engine *engine, const int32_t *tokens, size_t n,
                                const weft_embed_params *params, float *dst, size_t cap,
                                size_t *needed, weft_error *err);

/* ---------------------------------------------------------------- sequence */

typedef struct weft_logit_bias {
    int32_t token;
    float bias; /* added to the logit; -INFINITY bans the token */
} weft_logit_bias;

/* How the next token is drawn. The order is fixed: logit bias, penalties, grammar, then greedy if
 * temperature is 0, else top-k, typical, top-p, min-p, temperature, draw. Ranges are checked
 * (WEFT_E_ARG names the field). */
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
    int32_t repeat_last_n;       /* tokens the penalties look back at; -1 = all */
    uint64_t seed;               /* same seed, same text */
    bool ignore_end;             /* end tokens are never drawn */
    const weft_logit_bias *bias; /* copied */
    size_t n_bias;               /* at most 1024, each token once */
} weft_sampling;
/* Every field, in order; C++ before C++20 cannot name them. */
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
/* The sampling that the model's file recommends (keys general.sampling.*): WEFT_SAMPLING_INIT with
 * the file's values; the caller sets sampling->size. *fields (may be NULL) = which fields these
 * are. No other function uses them: what this gives is for weft_seq_open(), which takes it as it
 * is. Advice that cannot be followed is no error: a value out of range or no number, and samplers
 * that Weft lacks (mirostat, XTC, an order of their own) are left out, and each call says so to the
 * model's log. A negative top_k is 0; a penalty_last_n of 0 is a repeat_penalty of 1. Any thread.
 * Errors: WEFT_E_ARG, WEFT_E_IO (the file was cut since it was opened). */
WEFT_API weft_status weft_model_get_sampling(const weft_model *model, weft_sampling *sampling,
                                             unsigned *fields, weft_error *err);

typedef enum weft_finish {
    WEFT_RUNNING = 0,
    WEFT_FINISH_END,    /* the model ended its text or turn */
    WEFT_FINISH_STOP,   /* a stop string appeared */
    WEFT_FINISH_LENGTH, /* the last token filled n_ctx, or weft_seq_end() was called */
    WEFT_FINISH_GRAMMAR /* the grammar allows no token here */
} weft_finish;

/* Takes a reference on the engine. `sampling` NULL = WEFT_SAMPLING_INIT. */
WEFT_API weft_status weft_seq_open(weft_engine *engine, const weft_sampling *sampling,
                                   weft_seq **out, weft_error *err);
/* A second sequence with the same tokens, text state and logits. Full KV pages are shared, copied
 * on write. */
WEFT_API weft_status weft_seq_fork(weft_seq *seq, weft_seq **out, weft_error *err);
WEFT_API void weft_seq_release(weft_seq **seq);
/* New sampling values, from the next token on; the random state restarts at the seed. */
WEFT_API weft_status weft_seq_set_sampling(weft_seq *seq, const weft_sampling *sampling,
                                           weft_error *err);
/* Strings that end the text, copied; at most 16 of at most 256 bytes. They are matched across token
 * borders in the text generated from now on, and are not part of the text that comes out. */
WEFT_API weft_status weft_seq_set_stops(weft_seq *seq, const char *const *stops, size_t n,
                                        weft_error *err);
/* Only text that this grammar allows is generated from now on; gbnf[n] is copied, n = 0 ends it.
 * GBNF is the notation of llama.cpp: rules `name ::= ...`, beginning with `root`; alternatives a|b;
 * ( ); * + ? {m} {m,} {,n} {m,n}; "literals"; classes [a-z] [^0-9]; . for any character; comments
 * behind #; the escapes \n \r \t \\ \" \[ \] \- \^ \xHH \uHHHH \UHHHHHHHH. JSON schemas are not
 * part of the library: `weft run --json-schema` makes grammars of them.
 *
 * A text begins behind the last appended token and ends where the grammar lets it; only then end
 * tokens may be drawn, and where nothing else may follow they are. After a rewind the generated
 * tokens that were kept are the beginning of the text; after weft_seq_load() it begins anew. A fork
 * has the same grammar at the same place. Where neither a token nor an end token is allowed (none
 * spells what the grammar wants, or they are banned, or the grammar is so ambiguous that following
 * it takes too long), weft_seq_next() returns WEFT_OK with the token -1, adds nothing, and the
 * sequence has finished with WEFT_FINISH_GRAMMAR. Control tokens are never drawn.
 *
 * WEFT_E_FORMAT names line and column: syntax, undefined rules, left recursion, or more than 1 MiB
 * of text, 10,000 rules, 200,000 elements (x{100} counts x a hundred times), 200 levels of ( ). */
WEFT_API weft_status weft_seq_set_grammar(weft_seq *seq, const char *gbnf, size_t n,
                                          weft_error *err);

/* Adds tokens (copied), to be computed by later steps. All or nothing: WEFT_E_ARG names an id
 * outside the vocabulary, WEFT_E_CTX_FULL and WEFT_E_KV_FULL give both numbers. A finished sequence
 * runs again after this. */
WEFT_API weft_status weft_seq_append(weft_seq *seq, const int32_t *tokens, size_t n,
                                     weft_error *err);
/* Sets memory aside for n more tokens than the sequence holds: appending and drawing them then
 * fails neither for WEFT_E_KV_FULL nor for WEFT_E_NOMEM of token lists, whatever other sequences
 * do. A later call replaces this one, n = 0 gives the memory back, and so do weft_seq_rewind(),
 * weft_seq_load() and the release. A fork has none set aside, and needs a page of its own if the
 * sequence has. Errors: WEFT_E_CTX_FULL, WEFT_E_KV_FULL, WEFT_E_NOMEM. */
WEFT_API weft_status weft_seq_reserve(weft_seq *seq, size_t n, weft_error *err);
/* Samples the next token and accepts it, exactly once: it is part of the sequence and waits for the
 * next step, unless the engine has computed ahead; -1 if a grammar allows none. WEFT_E_STATE if
 * there are no fresh logits or the sequence has finished; WEFT_E_CTX_FULL, WEFT_E_KV_FULL if there
 * is no room for another token; WEFT_E_CANCELLED once after a cancel; WEFT_E_NOMEM. Logits are read
 * from the device when the draw needs them, and computed once more if they were not kept, so
 * WEFT_E_DEVICE_LOST and WEFT_E_IO may come of it, as from weft_engine_step(). A draw that looks at
 * all logits (no top_k, or more than 64; a bias, penalties, a grammar, log-probabilities) holds no
 * lock while it lasts: other threads step the engine and draw from other sequences meanwhile. */
WEFT_API weft_status weft_seq_next(weft_seq *seq, int32_t *token, weft_error *err);
/* Takes the text generated since the last call: whole UTF-8 characters only, nothing that may still
 * become a stop string. When the sequence has finished, all that is left comes out (a broken
 * character as U+FFFD); a character that is not complete is left out if neither an end token nor a
 * stop string ended the text. A text behind tokens that end inside a character (appended ones, kept
 * ones, loaded ones) begins with that whole character, so that the texts of a sequence that was cut
 * and goes on, also from a saved state, are together the text without the cut. Not NUL-terminated.
 *
 * Control tokens have no text here. A program that shows them (<think>, <tool_call>) asks for the
 * text of each token that weft_seq_next() gives: where weft_detokenize() of it alone is empty, but
 * not with WEFT_DETOKENIZE_SPECIAL, that is a control token, whose text weft_token_text() gives
 * too. It stands behind the text taken so far; what is held back then, as the possible beginning of
 * a stop string, comes later. */
WEFT_API weft_status weft_seq_text(weft_seq *seq, char *dst, size_t cap, size_t *needed,
                                   weft_error *err);
/* Ends the text here, for a limit of the caller's own: the sequence finishes with
 * WEFT_FINISH_LENGTH, so that what was held back as a possible stop string comes out. Does nothing
 * to a finished one. */
WEFT_API weft_status weft_seq_end(weft_seq *seq, weft_error *err);
/* Logits dst[n_vocab] that weft_seq_next() would draw from, before any sampling step. WEFT_E_STATE
 * if the sequence is empty, if tokens wait to be computed, or if they were computed ahead. */
WEFT_API weft_status weft_seq_logits(weft_seq *seq, float *dst, size_t cap, size_t *needed,
                                     weft_error *err);
/* A token with the natural logarithm of the probability that the model gives it, before any
 * sampling step. */
typedef struct weft_logprob {
    int32_t token;
    float logprob;
} weft_logprob;
/* From now on weft_seq_next() keeps the log-probabilities of the token that it gives and of the
 * n_top best ones, at most WEFT_TOP_MAX; n_top -1 ends this. Tokens are then not computed ahead. */
WEFT_API weft_status weft_seq_set_logprobs(weft_seq *seq, int n_top, weft_error *err);
/* Those of the last token: dst[0] is the token itself, dst[1] and on are the best, best first, the
 * lower id first among equals. WEFT_E_STATE if they were not kept. */
WEFT_API weft_status weft_seq_logprobs(weft_seq *seq, weft_logprob *dst, size_t cap, size_t *needed,
                                       weft_error *err);
/* Logits of one position: what the model says comes behind tokens [0, pos]. `logits` lives during
 * the call. */
typedef void (*weft_logits_fn)(void *user, size_t pos, const float *logits, size_t n_vocab);
/* From now on every position of the sequence that is computed gives its logits to fn, in order,
 * inside weft_engine_step(), for scoring a text that is already there. The engine's lock is held:
 * functions of the engine and its sequences must not be called, except weft_seq_cancel(). Such a
 * sequence gets at most 256 rows of a step. fn NULL ends this. A fork is not observed. */
WEFT_API weft_status weft_seq_observe(weft_seq *seq, weft_logits_fn fn, void *user,
                                      weft_error *err);
/* All tokens of the sequence. */
WEFT_API weft_status weft_seq_tokens(weft_seq *seq, int32_t *dst, size_t cap, size_t *needed,
                                     weft_error *err);
/* Keeps the first n tokens and forgets the rest; the text not yet taken is dropped and a finished
 * sequence runs again. The last kept token is computed again, so that logits are ready after the
 * next step. */
WEFT_API weft_status weft_seq_rewind(weft_seq *seq, size_t n, weft_error *err);

/* Saved state: the tokens of a sequence, how many of them are computed, and K and V of those; so
 * that a later process, or another engine on the same model, goes on without computing them again.
 * Not part of it: text not yet taken, stop strings, sampling, random state, logits. The format is
 * the same for all devices, n_ctx and n_batch; K and V have the engine's types. K and V of a loaded
 * state are believed, whoever wrote them; other sequences that begin with the same tokens do not
 * find them, and neither does anybody find what such a sequence or its forks compute, until they
 * are rewound to 0 tokens. */

/* The state as *needed bytes; the sequence goes on as if nothing had happened. Errors:
 * WEFT_E_BUFFER, WEFT_E_IO (the model's file was cut), WEFT_E_DEVICE_LOST. */
WEFT_API weft_status weft_seq_save(weft_seq *seq, void *dst, size_t cap, size_t *needed,
                                   weft_error *err);
/* Replaces what the sequence holds. As after weft_seq_rewind(), text not yet taken is dropped, a
 * finished sequence runs again, and the last token is computed again, so that logits are ready
 * after the next step; of the other tokens only those that waited when they were saved. Sampling,
 * stop strings and observer stay this sequence's own; the random state restarts at the seed.
 * The first bytes and n are judged before the rest is looked at. WEFT_E_FORMAT: `data` is no saved
 * state, cut or damaged. WEFT_E_UNSUPPORTED: another version of the format. WEFT_E_ARG: it is of
 * another model. WEFT_E_ENGINE: it has K or V of other types than this engine, or was computed with
 * the RoPE factors of another n_ctx. WEFT_E_CTX_FULL, WEFT_E_KV_FULL: too long; the pages of the
 * sequence itself count as free. WEFT_E_DEVICE_LOST: the sequence may now be empty. */
WEFT_API weft_status weft_seq_load(weft_seq *seq, const void *data, size_t n, weft_error *err);
/* The same with a file. Saving writes a new file beside `path`, readable by its owner alone, which
 * takes the name when it is complete: whatever fails (WEFT_E_IO), an old file stays whole. Both
 * need host memory of the file's size while they run; what a file's first bytes or its size refuse
 * is not read. Only regular files are loaded. */
WEFT_API weft_status weft_seq_save_file(weft_seq *seq, const char *path, weft_error *err);
WEFT_API weft_status weft_seq_load_file(weft_seq *seq, const char *path, weft_error *err);

/* Number of tokens in the sequence, and how many of them wait to be computed. 0 where another
 * function would return WEFT_E_BUSY. */
WEFT_API size_t weft_seq_len(weft_seq *seq);
WEFT_API size_t weft_seq_pending(weft_seq *seq);
/* Positions of this sequence whose K and V were found, not computed, since it was opened. */
WEFT_API size_t weft_seq_cached(weft_seq *seq);
WEFT_API weft_finish weft_seq_finish(const weft_seq *seq);
/* Any thread, also from a signal handler: takes the sequence out of the next step, and ends a step
 * under way whose sequences are all cancelled. Its waiting tokens stay. The next call of
 * weft_seq_next() or weft_seq_append(), also one of no tokens, reports WEFT_E_CANCELLED once and
 * clears it; weft_seq_rewind() leaves it, and a fork is not cancelled. */
WEFT_API void weft_seq_cancel(weft_seq *seq);

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
