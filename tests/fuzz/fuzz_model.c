/* Models as an honest writer makes them, of every architecture, whole and in parts, with numbers,
 * bytes and lengths changed. A file is refused with a message, or opened and run for four tokens.
 * Neither takes memory or time out of proportion to the file. */
#include "fuzz_open.h"
#include "fuzz_parts.h"

enum { N_MODELS = 5, MAX_FILE = 1 << 20 };

/* The memory of an opened model: bytes for each byte of the file, and the bytes of the smallest
 * model. */
enum { MODEL_BYTES = 64, MODEL_FIXED = 4 << 20 };

static struct fuzz_parts models[N_MODELS];
static char directory[] = "/tmp/weft-fuzz-XXXXXX";

static void remove_all(void)
{
    char path[64];
    for (size_t count = 1; count <= FUZZ_MAX_PARTS; count++) {
        for (size_t i = 0; i < count; i++) {
            fuzz_part_path(directory, i, count, path);
            unlink(path);
        }
    }
    rmdir(directory);
}

static void open_models(void)
{
    struct synth_spec qwen3 = fuzz_spec(), qwen2 = qwen3, llama = qwen3, phi3 = qwen3;
    qwen2.arch = "qwen2";
    qwen2.type_mix = "q8_0+f16+q4_0";
    static const char *const yarn[] = { "qwen2.rope.scaling.yarn_ext_factor=f32:1",
                                        "qwen2.rope.scaling.yarn_beta_fast=f32:32",
                                        "qwen2.rope.scaling.yarn_beta_slow=f32:1",
                                        "qwen2.rope.scaling.yarn_attn_factor=f32:1" };
    qwen2.rope_scaling_type = "yarn";
    qwen2.rope_scaling_factor = 4.0f;
    qwen2.n_ctx_orig = 64;
    qwen2.keys = yarn;
    qwen2.n_keys = sizeof yarn / sizeof yarn[0];
    llama.arch = "llama";
    llama.pre = "llama-bpe";
    llama.dim = llama.n_ff = 256;
    llama.n_layers = 1;
    llama.type_mix = "q4_k+q6_k+q5_k";
    llama.rope_freqs = true;
    phi3.arch = "phi3";
    phi3.vocab = SYNTH_SPM;
    phi3.sliding_window = 20;
    phi3.rope_long_short = true;
    phi3.n_ctx_orig = 128;
    phi3.n_ctx = 512;
    phi3.type_mix = "q5_1+bf16";
    MUST(mkdtemp(directory) != NULL);
    atexit(remove_all);
    fuzz_parts_open(&qwen3, 1, directory, &models[0]);
    fuzz_parts_open(&qwen2, 1, directory, &models[1]);
    fuzz_parts_open(&llama, 1, directory, &models[2]);
    fuzz_parts_open(&phi3, 1, directory, &models[3]);
    fuzz_parts_open(&qwen3, 3, directory, &models[4]);
}

/* Takes a number that a forger would choose: small, or with few bits. */
static uint64_t number(struct fuzz_input *in)
{
    uint8_t how = fuzz_byte(in);
    uint64_t value = fuzz_u16(in);
    return how < 64 ? value : how < 128 ? value & 15 : how < 192 ? value << how % 56 : -value;
}

/* Makes one change to the part; *n is its length. */
static void change(struct fuzz_input *in, const struct fuzz_part *p, uint8_t *data, size_t *n)
{
    uint8_t how = fuzz_byte(in) % 8;
    if (how < 5) {
        const struct fuzz_place *place = &p->places[fuzz_u16(in) % p->n_places];
        uint64_t value = number(in);
        memcpy(data + place->at, &value, place->n);
    } else if (how < 7) {
        size_t most = how == 5 ? p->n_head : p->file.n, n_bytes;
        size_t at = (fuzz_u16(in) | (size_t)fuzz_byte(in) << 16) % most;
        const char *bytes = fuzz_bytes(in, 1 + fuzz_byte(in) % 8, &n_bytes);
        memcpy(data + at, bytes, n_bytes < most - at ? n_bytes : most - at);
    } else {
        *n = (fuzz_u16(in) | (size_t)fuzz_byte(in) << 16) % (p->file.n + 1);
    }
}

/* Writes the changed parts. In all parts but the last, four bytes of the input say where the
 * changes end. Returns the bytes of all parts. */
static size_t write_parts(const struct fuzz_parts *m, struct fuzz_input *in)
{
    static uint8_t data[MAX_FILE];
    char path[64];
    size_t sum = 0;
    for (size_t i = m->n; i-- > 0;) {
        const struct fuzz_part *p = &m->at[i];
        size_t n = p->file.n, n_changes = i > 0 ? fuzz_byte(in) % 4 : SIZE_MAX;
        MUST(n <= sizeof data);
        memcpy(data, p->file.data, n);
        for (; n_changes > 0 && in->n > 0; n_changes--) {
            change(in, p, data, &n);
        }
        fuzz_part_path(directory, i, m->n, path);
        fuzz_write(path, data, n);
        sum += n;
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    weft_model *model = NULL;
    weft_error err = { 0 };
    char path[64];
    if (models[0].n == 0) {
        open_models();
    }
    uint8_t how = fuzz_byte(&in);
    const struct fuzz_parts *m = &models[how % 8 % N_MODELS];
    size_t n = write_parts(m, &in);
    fuzz_part_path(directory, 0, m->n, path);
    struct fuzz_cost cost = fuzz_begin();
    fuzz_walk_file(path);
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.no_mmap = (how & 8) != 0;
    weft_status s = weft_model_open(path, &params, &model, &err);
    fuzz_end(cost, n);
    MUST(fuzz_peak - cost.bytes <= MODEL_FIXED + MODEL_BYTES * n);
    if (s == WEFT_OK) {
        cost = fuzz_begin();
        fuzz_generate(model, (how & 16) != 0 ? WEFT_ISA_SCALAR : WEFT_ISA_AUTO);
        fuzz_end(cost, n);
    } else {
        MUST(s != WEFT_E_INTERNAL && s != WEFT_E_NOMEM && err.message[0] != '\0');
    }
    weft_model_release(&model);
    return 0;
}
