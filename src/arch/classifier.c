/* Where a classifier comes from. llama.cpp's converter writes cls.output.weight with the rows "yes"
 * and "no" of the output matrix, the labels' names and the pooling type. Other files of
 * Qwen3-Reranker lack some or all of that; the rows are then taken from the output matrix here. */
#include "arch/describe.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "text/rank_prompt.h"

/* Returns true if the text contains the name Qwen3-Reranker. Upper and lower case are equal, and
 * instead of the hyphen there may be a space, '_' or '.': "Qwen3 Reranker 0.6B". */
static bool names_reranker(struct gguf_str s)
{
    static const char name[] = "qwen3-reranker";
    const size_t n = sizeof name - 1;
    for (size_t at = 0; at + n <= s.n; at++) {
        size_t i = 0;
        while (i < n && (name[i] == '-' ? strchr("-_ .", s.s[at + i]) != NULL && s.s[at + i] != '\0'
                                        : tolower((unsigned char)s.s[at + i]) == name[i])) {
            i++;
        }
        if (i == n) {
            return true;
        }
    }
    return false;
}

static bool is_reranker(const struct model *m)
{
    struct gguf_str name = { m->name, strlen(m->name) }, base = { "", 0 };
    return m->config.pooling == POOLING_RANK || names_reranker(name) ||
           (gguf_opt_str(m->file, "general.basename", &base, NULL) == WEFT_OK &&
            names_reranker(base));
}

static weft_status alloc_rows(struct model *m, size_t n_labels, weft_error *err)
{
    struct classifier *c = &m->classifier;
    const size_t dim = m->config.dim;
    if (n_labels <= SIZE_MAX / sizeof *c->rows / dim) {
        c->rows = mem_array(n_labels * dim, sizeof *c->rows);
    }
    if (c->rows == NULL) {
        return error_nomem(err, "the classifier", n_labels * dim * sizeof *c->rows);
    }
    c->n_labels = n_labels;
    return WEFT_OK;
}

static void read_row(const struct tensor *t, size_t row, float *dst)
{
    t->type->decode(t->data + row * (t->n_bytes / t->n_rows), dst, t->n_cols);
}

/* Reads cls.output.weight. The names of the labels may be absent; if they are there, they must be
 * as many as the rows. */
static weft_status read_classifier(struct model *m, weft_error *err)
{
    struct classifier *c = &m->classifier;
    const struct tensor *t = &m->weights.cls_output;
    const struct gguf_kv *labels = NULL;
    char key[128];
    snprintf(key, sizeof key, "%.64s.classifier.output_labels", m->arch_name);
    TRY(gguf_opt_array(m->file, key, GGUF_STR, &labels, err));
    if (labels != NULL && labels->n != t->n_rows) {
        return error_set(err, WEFT_E_FORMAT,
                         "key %s has %zu labels, but tensor %s has %zu rows; expected one for each",
                         key, labels->n, t->name, t->n_rows);
    }
    TRY(alloc_rows(m, t->n_rows, err));
    for (size_t i = 0; i < c->n_labels; i++) {
        read_row(t, i, c->rows + i * m->config.dim);
    }
    for (size_t i = 0; labels != NULL && i < labels->n; i++) {
        if (gguf_str_is(labels->strs[i], "yes")) {
            c->yes = i;
            break;
        }
    }
    return WEFT_OK;
}

/* Makes the classifier that the file lacks, if the vocabulary has the tokens "yes" and "no". */
static weft_status take_rows(struct model *m, weft_error *err)
{
    const int32_t yes = tokenizer_find(m->tokenizer, "yes", 3),
                  no = tokenizer_find(m->tokenizer, "no", 2);
    if (yes < 0 || no < 0) {
        return WEFT_OK;
    }
    TRY(alloc_rows(m, 2, err));
    read_row(&m->weights.output, (size_t)yes, m->classifier.rows);
    read_row(&m->weights.output, (size_t)no, m->classifier.rows + m->config.dim);
    return WEFT_OK;
}

weft_status arch_classifier(const struct arch *arch, struct model *m, weft_error *err)
{
    struct gguf_str prompt = { "", 0 };
    TRY(gguf_opt_str(m->file, "tokenizer.chat_template.rerank", &prompt, err));
    /* Rerankers that also read images were trained with another prompt than Qwen3-Reranker. */
    m->classifier.other_prompt =
        prompt.n > 0 ? !rank_prompt_known(prompt.s, prompt.n) : arch->unread != NULL;
    if (m->weights.cls_output.name != NULL) {
        return read_classifier(m, err);
    }
    return arch->classifier != ABSENT && is_reranker(m) ? take_rows(m, err) : WEFT_OK;
}
