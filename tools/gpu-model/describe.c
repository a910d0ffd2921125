#include "describe.h"

#include <library_types.h>
#include <stdbool.h>
#include <string.h>

#include "format/quant.h"
#include "kernels/matvec_plan.h"
#include "weft.h"

/* Returns the i-th parameter if it has the expected size. A kernel whose parameters have changed is
 * described without them, and gates.py will say that they are missing. */
static const void *arg(const struct cudasim_entry *e, int i, size_t size)
{
    return i < e->n_args && e->arg_bytes[i] == size ? e->args[i] : NULL;
}

static size_t number(const struct cudasim_entry *e, int i)
{
    const void *p = i < e->n_args ? e->args[i] : NULL;
    uint64_t wide = 0;
    uint32_t narrow = 0;
    if (p != NULL && e->arg_bytes[i] == sizeof wide) {
        memcpy(&wide, p, sizeof wide);
    } else if (p != NULL && e->arg_bytes[i] == sizeof narrow) {
        memcpy(&narrow, p, sizeof narrow);
        wide = narrow;
    }
    return (size_t)wide;
}

static const char *truth(bool b) { return b ? "true" : "false"; }

static size_t row_bytes(const struct dmatrix *m)
{
    size_t bytes = 0;
    for (enum weight_plane p = 0; p < WEIGHT_PLANES; p++) {
        bytes += plane_row_bytes(m->type, p, m->n_cols);
    }
    return bytes;
}

static void put_matrix(FILE *out, const struct dmatrix *m)
{
    fprintf(out, "{\"type\":\"%s\",\"rows\":%u,\"cols\":%u,\"bytes\":%zu}", quant_name(m->type),
            m->n_rows, m->n_cols, m->n_rows * row_bytes(m));
}

static void put_forms(FILE *out, const struct dacts *a)
{
    static const struct {
        uint32_t form;
        const char *name;
    } forms[] = { { ACT_Q8, "q8" }, { ACT_F32, "f32" }, { ACT_F16, "f16" } };
    const char *comma = "";
    fprintf(out, ",\"forms\":[");
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (a->forms & forms[i].form) {
            fprintf(out, "%s\"%s\"", comma, forms[i].name);
            comma = ",";
        }
    }
    fputs("]", out);
}

/* --- kernels ------------------------------------------------------------------------------------
 */

static void put_matvec(FILE *out, const struct cudasim_entry *e, const struct place *at)
{
    static const char *const modes[] = { "store", "add", "swiglu" };
    const struct matvec *job = arg(e, 0, sizeof *job);
    const struct matvec_plan *plan = arg(e, 1, sizeof *plan);
    (void)at;
    if (job == NULL || plan == NULL) {
        return;
    }
    fprintf(out, ",\"matvec\":{\"mode\":\"%s\",\"normed\":%s,\"w\":[", modes[job->mode],
            truth(job->norm.x.at != 0));
    for (uint32_t k = 0; k < job->n_w; k++) {
        fputs(k > 0 ? "," : "", out);
        put_matrix(out, &job->w[k]);
    }
    fprintf(out, "],\"split\":%u,\"units\":%u,\"tiles\":%u,\"n\":%u,\"first\":%zu,\"prefetch\":%u}",
            1u << plan->log2_split, plan->units, plan->n_tiles, plan->n, plan->first,
            plan->prefetch);
}

static void put_kv(FILE *out, const struct dkv *kv)
{
    fprintf(out, "\"n_heads\":%u,\"n_kv_heads\":%u,\"head_dim\":%u,\"q8\":[%s,%s]", kv->n_heads,
            kv->n_kv_heads, kv->head_dim, truth(kv->type[0] == WEFT_KV_Q8_0),
            truth(kv->type[1] == WEFT_KV_Q8_0));
}

static void put_attend(FILE *out, const struct cudasim_entry *e, const struct place *at)
{
    const struct attend *job = arg(e, 0, sizeof *job);
    if (job == NULL) {
        return;
    }
    size_t last = at->pos - 1;
    size_t first = job->window > 0 && last >= job->window ? last - job->window + 1 : 0;
    size_t pages = last / ATTEND_PAGE - first / ATTEND_PAGE + 1;
    fputs(",\"attend\":{", out);
    put_kv(out, &job->kv);
    fprintf(out, ",\"rows\":%u,\"splits\":%zu,\"pages\":%zu,\"window\":%u", e->grid[0],
            attend_splits(&job->kv, pages, &at->queue), pages, job->window);
    put_forms(out, &job->o);
    fputs("}", out);
}

static void put_tiled(FILE *out, const struct cudasim_entry *e, const struct place *at)
{
    const struct attend *job = arg(e, 0, sizeof *job);
    (void)at;
    if (job == NULL) {
        return;
    }
    fputs(",\"tiled\":{", out);
    put_kv(out, &job->kv);
    fprintf(out, ",\"tiles\":%u,\"window\":%u", e->grid[0], job->window);
    put_forms(out, &job->o);
    fputs("}", out);
}

static void put_heads(FILE *out, const struct cudasim_entry *e, const struct place *at)
{
    const struct heads *job = arg(e, 0, sizeof *job);
    (void)at;
    if (job == NULL) {
        return;
    }
    fputs(",\"heads\":{", out);
    put_kv(out, &job->kv);
    fprintf(out, ",\"rows\":%u,\"n_rot\":%u,\"bias\":%s,\"norm\":%s}", e->grid[0], job->n_rot,
            truth(job->bias[0].at != 0), truth(job->q_norm.at != 0));
}

static void put_embed(FILE *out, const struct cudasim_entry *e, const struct place *at)
{
    const struct dmatrix *m = arg(e, 0, sizeof *m);
    (void)at;
    if (m != NULL) {
        fprintf(out, ",\"embed\":{\"type\":\"%s\",\"rows\":%u,\"cols\":%u,\"bytes\":%zu}",
                quant_name(m->type), e->grid[0], m->n_cols, e->grid[0] * row_bytes(m));
    }
}

static void put_dequant(FILE *out, const struct cudasim_entry *e, const struct place *at)
{
    const struct dmatrix *m = arg(e, 0, sizeof *m);
    (void)at;
    if (m != NULL) {
        fprintf(out,
                ",\"dequant\":{\"type\":\"%s\",\"rows\":%u,\"cols\":%u,\"bytes\":%zu,"
                "\"bytes_out\":%zu}",
                quant_name(m->type), e->grid[0], m->n_cols, described_bytes(e),
                e->grid[0] * number(e, 2) * sizeof(uint16_t));
    }
}

static void put_repack(FILE *out, const struct cudasim_entry *e, const struct place *at)
{
    const struct dmatrix *m = arg(e, 0, sizeof *m);
    (void)at;
    if (m != NULL) {
        fprintf(out, ",\"repack\":{\"type\":\"%s\",\"cols\":%u,\"bytes\":%zu}", quant_name(m->type),
                m->n_cols, described_bytes(e));
    }
}

static void put_rows(FILE *out, const struct cudasim_entry *e, const struct place *at)
{
    const struct dacts *to = arg(e, 1, sizeof *to);
    (void)at;
    if (to != NULL) {
        fprintf(out, ",\"rows_of\":{\"rows\":%u,\"cols\":%u", e->grid[0], to->n_cols);
        put_forms(out, to);
        fputs("}", out);
    }
}

static void put_add(FILE *out, const struct cudasim_entry *e, const struct place *at)
{
    (void)at;
    fprintf(out, ",\"add\":{\"rows\":%u,\"cols\":%zu}", e->grid[0], number(e, 3));
}

static void put_best(FILE *out, const struct cudasim_entry *e, const struct place *at)
{
    (void)at;
    fprintf(out, ",\"best\":{\"rows\":%u,\"n_vocab\":%zu,\"k\":%zu,\"bytes\":%zu}", e->grid[1],
            number(e, 1), number(e, 2), e->grid[1] * number(e, 1) * sizeof(float));
}

static void put_merge(FILE *out, const struct cudasim_entry *e, const struct place *at)
{
    (void)at;
    fprintf(out, ",\"merge\":{\"rows\":%u,\"keys\":%zu,\"k\":%zu}", e->grid[0], number(e, 1),
            number(e, 2));
}

/* The kernels by the beginning of their names, longer names first. */
static const struct {
    const char *name;
    void (*put)(FILE *out, const struct cudasim_entry *e, const struct place *at);
} kernels[] = {
    { "matvec_rows<", put_matvec }, { "k_attend_tiled<", put_tiled },
    { "k_attend<", put_attend },    { "k_heads", put_heads },
    { "embed_row", put_embed },     { "dequant_row", put_dequant },
    { "repack_", put_repack },      { "write_rows<", put_rows },
    { "add_rows", put_add },        { "k_best<", put_best },
    { "k_merge<", put_merge },
};

/* repack_blocks: blocks [first, first + n) of the file. repack_row and dequant_row: each block of
 * threads has one row. */
size_t described_bytes(const struct cudasim_entry *e)
{
    const struct dmatrix *m = arg(e, 0, sizeof *m);
    if (e->kind != CUDASIM_KERNEL || m == NULL) {
        return e->bytes;
    }
    const struct quant_type *t = quant_find(m->type);
    if (strcmp(e->name, "repack_blocks") == 0 && t != NULL) {
        return number(e, 4) * t->bytes;
    }
    bool by_row = strncmp(e->name, "repack_", 7) == 0 || strncmp(e->name, "dequant_", 8) == 0;
    return by_row ? e->grid[0] * row_bytes(m) : 0;
}

/* --- lines -------------------------------------------------------------------------------------
 */

static const char *kind_name(enum cudasim_work kind)
{
    static const char *const names[] = {
        [CUDASIM_NOTHING] = "nothing", [CUDASIM_KERNEL] = "kernel",
        [CUDASIM_GEMM] = "gemm",       [CUDASIM_COPY] = "copy",
        [CUDASIM_SET] = "set",         [CUDASIM_HOST_CALL] = "host_call",
        [CUDASIM_GRAPH] = "graph",     [CUDASIM_GRAPH_END] = "graph_end",
        [CUDASIM_MALLOC] = "malloc",   [CUDASIM_PIN] = "pin",
        [CUDASIM_WAIT] = "wait",
    };
    return names[kind];
}

static const char *direction_name(int direction)
{
    static const char *const names[] = { "h2h", "h2d", "d2h", "d2d" };
    return names[direction & 3];
}

static const char *data_type(int type)
{
    return type == CUDA_R_32F ? "f32" : type == CUDA_R_16F ? "f16" : "bf16";
}

static void put_place(FILE *out, const struct place *at, enum cudasim_work kind)
{
    fprintf(out,
            "{\"model\":\"%s\",\"type\":\"%s\",\"case\":\"%s\",\"rows\":%zu,\"pos\":%zu,"
            "\"step\":%zu,\"i\":%zu,\"kind\":\"%s\"",
            at->model, at->type, at->mode, at->rows, at->pos, at->step, at->i, kind_name(kind));
}

static void put_kernel(FILE *out, const struct place *at, const struct cudasim_entry *e)
{
    fprintf(out,
            ",\"name\":\"%s\",\"grid\":[%u,%u,%u],\"block\":[%u,%u,%u],\"shared\":%zu,"
            "\"programmatic\":%s,\"graph\":%s,\"stream\":%zu",
            e->name, e->grid[0], e->grid[1], e->grid[2], e->block[0], e->block[1], e->block[2],
            e->shared, truth(e->programmatic), truth(e->in_graph), e->stream);
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) {
        if (strncmp(e->name, kernels[k].name, strlen(kernels[k].name)) == 0) {
            kernels[k].put(out, e, at);
            break;
        }
    }
}

void describe(FILE *out, const struct place *at, const struct cudasim_entry *e)
{
    put_place(out, at, e->kind);
    switch (e->kind) {
    case CUDASIM_KERNEL: put_kernel(out, at, e); break;
    case CUDASIM_GEMM:
        fprintf(out, ",\"m\":%d,\"n\":%d,\"k\":%d,\"types\":[\"%s\",\"%s\",\"%s\"]", e->m, e->n,
                e->k, data_type(e->types[0]), data_type(e->types[1]), data_type(e->types[2]));
        break;
    case CUDASIM_COPY: fprintf(out, ",\"direction\":\"%s\"", direction_name(e->direction)); break;
    case CUDASIM_GRAPH: fprintf(out, ",\"nodes\":%zu", e->n_nodes); break;
    case CUDASIM_WAIT: fprintf(out, ",\"name\":\"%s\"", e->name); break;
    default: break;
    }
    if (e->kind == CUDASIM_COPY || e->kind == CUDASIM_SET || e->kind == CUDASIM_MALLOC ||
        e->kind == CUDASIM_PIN) {
        fprintf(out, ",\"bytes\":%zu", e->bytes);
    }
    if (e->kind != CUDASIM_KERNEL && e->kind < CUDASIM_MALLOC) {
        fprintf(out, ",\"graph\":%s,\"stream\":%zu", truth(e->in_graph), e->stream);
    }
    fputs("}\n", out);
}

void describe_many(FILE *out, const struct place *at, const struct cudasim_entry *e, size_t n,
                   size_t bytes)
{
    put_place(out, at, e->kind);
    if (e->kind == CUDASIM_KERNEL || e->kind == CUDASIM_WAIT) {
        fprintf(out, ",\"name\":\"%s\"", e->name);
    }
    if (e->kind == CUDASIM_COPY) {
        fprintf(out, ",\"direction\":\"%s\"", direction_name(e->direction));
    }
    fprintf(out, ",\"stream\":%zu,\"count\":%zu,\"bytes\":%zu}\n", e->stream, n, bytes);
}
