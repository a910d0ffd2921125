/* What a backend must do: eight stages over a step of rows, and the plumbing around them. forward.c
 * calls the stages in order; a backend sees nothing of files, vocabularies or sequences. src/cpu
 * and cuda implement this. */
#ifndef WEFT_BACKEND_H
#define WEFT_BACKEND_H

#include <stdatomic.h>

#include "base/error.h"
#include "base/log.h"
#include "model.h"

enum {
    KV_PAGE = 64,    /* positions of a page; one page number addresses the pool of every layer */
    BACKEND_TOP = 64 /* most candidates that `top` gives */
};

/* The rows of one sequence in a step: consecutive positions, consecutive rows. */
struct step_seq {
    const uint32_t *pages; /* pages[p / KV_PAGE] holds position p, for all p < pos + n_rows */
    size_t pos;            /* position of the first row */
    size_t row, n_rows;    /* rows [row, row + n_rows) of the step */
    const atomic_bool *cancelled; /* another thread may set it during the step; NULL = nobody */
};

/* One pass of the transformer over the packed tokens of any number of sequences. A row attends to
 * all positions of its own sequence up to itself: earlier steps' (in the pages) and those of its
 * own step. */
struct step {
    size_t n_rows;         /* at most n_batch */
    const int32_t *tokens; /* [n_rows] */
    size_t n_seqs;
    const struct step_seq *seqs; /* [n_seqs], ascending rows, covering all */
    size_t n_out;                /* at most n_out of backend_params */
    const uint32_t *out_rows;    /* [n_out] rows whose logits are wanted, ascending */
};

struct backend_params {
    size_t n_ctx;     /* longest sequence */
    size_t n_pages;   /* of the KV pool */
    size_t n_batch;   /* most rows of a step; 0 = the backend's choice, at least n_out */
    size_t n_out;     /* most rows of a step with logits */
    size_t n_threads; /* 0 = the backend's choice */
    weft_cpu_isa isa;
    weft_kv_type kv_type[2]; /* of K and of V; head_dim is a multiple of their blocks */
    int device;              /* which of the backend's devices */
    bool pin_threads;        /* threads but the caller's stay on a core each */
    bool no_repack;          /* weights are read as they are in the file */
    bool deterministic;      /* a row's logits do not depend on the other rows of its step */
    bool no_graphs;          /* kernels are launched one by one */
    bool no_pdl;             /* kernels do not overlap */
    bool no_arena;           /* each buffer of the device is an allocation of its own */
    bool values;             /* VALUE_FFN_ACT will be read */
    const struct log *log;
    weft_progress_fn progress; /* of the upload of weights; NULL = nobody listens */
    void *progress_user;
};

struct backend_info {
    const char *kernels; /* which set of kernels runs */
    size_t n_batch;      /* most rows of a step */
    size_t n_threads;
    uint64_t weight_bytes, kv_bytes, scratch_bytes;
    bool process_lost; /* after WEFT_E_DEVICE_LOST: another backend on the device will fail too */
};

/* What stages leave behind for the next one, a row of floats for each row of the step. */
enum backend_value {
    VALUE_X,         /* [dim] the residual stream, after embed, attn_out and ffn_out */
    VALUE_Q,         /* [n_heads * head_dim] after attn_in */
    VALUE_K,         /* [n_kv_heads * head_dim] after attn_in */
    VALUE_V,         /* the same */
    VALUE_ATTENTION, /* [n_heads * head_dim] o, after attend */
    VALUE_FFN_ACT    /* [n_ff] h, after ffn_in */
};

/* What the device can do at best. */
struct backend_limits {
    double read_bytes_per_s, macs_per_s;
};

struct backend; /* each backend's own struct begins with `const struct backend_ops *ops` */

struct backend_ops {
    const char *name;

    /* Stages. Each returns after its results are usable by the next stage; x [n_rows, dim] is the
     * residual stream. */

    /* x = rows of the embedding table */
    weft_status (*embed)(struct backend *, const struct step *, weft_error *);
    /* rmsnorm(x) -> q, k, v (+ bias) -> per-head norm -> RoPE -> k, v into the rows' pages */
    weft_status (*attn_in)(struct backend *, const struct step *, size_t layer, weft_error *);
    /* o [n_rows, n_heads * head_dim] = causal attention of q over the pages */
    weft_status (*attend)(struct backend *, const struct step *, size_t layer, weft_error *);
    /* x += o * attn_output^T (+ bias) */
    weft_status (*attn_out)(struct backend *, const struct step *, size_t layer, weft_error *);
    /* rmsnorm(x) -> gate, up (+ bias) -> h [n_rows, n_ff] = silu(gate) * up */
    weft_status (*ffn_in)(struct backend *, const struct step *, size_t layer, weft_error *);
    /* x += h * ffn_down^T (+ bias) */
    weft_status (*ffn_out)(struct backend *, const struct step *, size_t layer, weft_error *);
    /* logits [n_out, n_vocab] = rmsnorm(x) * output^T (+ bias), for the rows that want them */
    weft_status (*head)(struct backend *, const struct step *, weft_error *);
    /* (optional) The k best logits of each wanted row of the last step, best first, equal ones by
     * ascending id: ids and values [n_out, k], so that 8 k bytes come back instead of the
     * vocabulary. A row with a NaN among its logits gives id -1 first. k <= BACKEND_TOP. */
    weft_status (*top)(struct backend *, size_t k, int32_t *ids, float *values, weft_error *);

    /* (optional) The whole step at once, in place of the stages up to head. *done = false: this
     * step goes through the stages. */
    weft_status (*step)(struct backend *, const struct step *, bool *done, weft_error *);
    /* (optional) k steps: the given one, in which every sequence has one row and wants its logits,
     * and k - 1 more, each with the best token of the one before. The pages cover them all.
     * ids [k, n_rows]: the best token after each step; -1 where a logit was NaN, and after that.
     * Logits are left of the last step. At most ahead_rows rows. */
    weft_status (*ahead)(struct backend *, const struct step *, size_t k, int32_t *ids,
                         weft_error *);
    size_t ahead_rows;

    /* Copies the logits of the i-th wanted row of the last step to dst[n_vocab] in host memory. */
    weft_status (*read_logits)(struct backend *, size_t i, float *dst, weft_error *);
    /* Copies what the last stage left of all rows of its step to dst [n_rows, cols]. */
    weft_status (*read_values)(struct backend *, const struct step *, enum backend_value,
                               float *dst, weft_error *);
    /* (optional) Waits until what was asked for is computed. */
    weft_status (*wait)(struct backend *, weft_error *);
    /* Measures the device, with the threads that compute. */
    weft_status (*limits)(struct backend *, struct backend_limits *, weft_error *);
    /* Copies a page of the KV pool, in every layer. Fails only with WEFT_E_DEVICE_LOST. */
    weft_status (*copy_page)(struct backend *, uint32_t dst, uint32_t src, weft_error *);
    /* Copy the first n positions of a page, in every layer, to and from host memory of any
     * alignment: [n_layers, 2 (K, V), n_kv_heads, n, kv_type_bytes() of head_dim values], whatever
     * the pages look like; K of q8_0 is rotated by kv_rotate(). As copy_page, they fail only with
     * WEFT_E_DEVICE_LOST. */
    weft_status (*read_kv)(struct backend *, uint32_t page, size_t n, uint8_t *dst, weft_error *);
    weft_status (*write_kv)(struct backend *, uint32_t page, size_t n, const uint8_t *src,
                            weft_error *);
    void (*info)(const struct backend *, struct backend_info *);
    void (*close)(struct backend *);
};

struct backend {
    const struct backend_ops *ops;
};

/* The model outlives the backend. */
weft_status cpu_backend_open(const struct model *m, const struct backend_params *p,
                             struct backend **out, weft_error *err);
/* WEFT_E_UNSUPPORTED when the build has no CUDA or the model a shape that kernels do not run;
 * WEFT_E_DEVMEM with the plan's numbers when it does not fit. */
weft_status cuda_backend_open(const struct model *m, const struct backend_params *p,
                              struct backend **out, weft_error *err);

/* What there is of CUDA, asked without taking any device memory. */
struct cuda_platform {
    bool built;          /* this build has the backend */
    int driver, runtime; /* 13010 = 13.1; 0 = none */
    size_t n_devices;
    char problem[200]; /* why there is no device, "" if there is one */
    bool lost;         /* there was one, until a kernel failed in this process */
};
void cuda_platform_get(struct cuda_platform *p);
struct cuda_device {
    char description[128];
    int major, minor; /* compute capability */
    size_t n_sms;
    uint64_t total_bytes, free_bytes; /* free_bytes 0 = unknown */
    char problem[200];                /* why it cannot be used, "" if it can */
    bool lost;                        /* it could, until a kernel failed in this process */
};
/* i < n_devices */
void cuda_device_get(size_t i, struct cuda_device *d);

/* What the CPU backend has to compute with. */
struct cpu_platform {
    char name[64];
    char features[96];         /* instructions that its kernels can use, "avx2 fma f16c" */
    const char *kernels;       /* the set that would run */
    size_t n_cores, n_threads; /* physical cores, hardware threads that this process may use */
    uint64_t total_bytes, free_bytes; /* memory of this machine or container; 0 = unknown */
};
void cpu_platform_get(struct cpu_platform *p);
/* How many threads should run at once if nobody says: one per physical core that this process may
 * use, at most what its CPU quota amounts to, at least 1. */
size_t cpu_default_threads(void);

/* Runs one step on the backend: the only description of the transformer (forward.c).
 * WEFT_E_CANCELLED, with err untouched, when all sequences of the step were cancelled under way. */
weft_status forward(struct backend *b, size_t n_layers, const struct step *s, weft_error *err);

#endif
