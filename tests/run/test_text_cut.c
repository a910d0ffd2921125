/* A text may be cut anywhere, even inside a character, and go on: after it was saved and loaded,
 * after a rewind, in a fork, or as the prompt of a new sequence. The two parts together are the
 * text without the cut. Tokens are forced by a bias, so the text is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"

/* "aé日🙂z", an incomplete 日 before a letter, and a last character that stays incomplete. */
static const char whole[] = "a\xc3\xa9\xe6\x97\xa5\xf0\x9f\x99\x82z\xe6\x97y\xf0\x9f\x99";
/* The same bytes as they are shown: the broken character in the middle is replaced; the one at the
 * end may still be completed. */
static const char shown[] = "a\xc3\xa9\xe6\x97\xa5\xf0\x9f\x99\x82z\xef\xbf\xbdy";
enum { N_BYTES = sizeof whole - 1, MAX_TEXT = 256 };

static const char *const presets[] = { "tiny-qwen2", "tiny-llama" };
static struct rig rig;
static int32_t ids[N_BYTES]; /* the token of each byte */

/* Returns the token that is this byte and nothing else. */
static int32_t token_of(char byte)
{
    for (int32_t id = 0; (size_t)id < rig.n_vocab; id++) {
        char text[64];
        size_t n = 0;
        if (weft_detokenize(rig.model, &id, 1, 0, text, sizeof text, &n, NULL) == WEFT_OK &&
            n == 1 && text[0] == byte) {
            return id;
        }
    }
    fail_msg("no token is the byte %02x", (unsigned)(unsigned char)byte);
    return -1;
}

static void rig_begin(const char *preset)
{
    rig = rig_open(model_file(preset), NULL);
    for (size_t i = 0; i < N_BYTES; i++) {
        ids[i] = token_of(whole[i]);
    }
}

/* Opens a sequence of one token, from which nothing was drawn. */
static weft_seq *begin(void)
{
    weft_seq *seq = rig_seq(&rig, NULL);
    int32_t first = token_of('x');
    OK(weft_seq_append(seq, &first, 1, E));
    return seq;
}

/* Draws ids[from, to). */
static void draw(weft_seq *seq, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        const weft_logit_bias bias = { ids[i], 1e6f };
        weft_sampling s = WEFT_SAMPLING_INIT;
        int32_t token;
        s.temperature = 0;
        s.bias = &bias;
        s.n_bias = 1;
        OK(weft_seq_set_sampling(seq, &s, E));
        rig_compute(&rig, seq);
        OK(weft_seq_next(seq, &token, E));
        assert_int_equal(token, ids[i]);
    }
}

/* Appends the text that is ready to `to`. */
static void take(weft_seq *seq, char *to)
{
    size_t n = 0, at = strlen(to);
    OK(weft_seq_text(seq, to + at, MAX_TEXT - at - 1, &n, E));
    to[at + n] = '\0';
}

static weft_seq *saved_and_loaded(weft_seq *seq)
{
    size_t n = 0;
    (void)weft_seq_save(seq, NULL, 0, &n, NULL);
    uint8_t *data = malloc(n);
    OK(weft_seq_save(seq, data, n, NULL, E));
    weft_seq *other = rig_seq(&rig, NULL);
    OK(weft_seq_load(other, data, n, E));
    free(data);
    weft_seq_release(&seq);
    return other;
}

static weft_seq *rewound(weft_seq *seq)
{
    OK(weft_seq_rewind(seq, weft_seq_len(seq), E));
    return seq;
}

static weft_seq *forked(weft_seq *seq)
{
    weft_seq *copy = NULL;
    OK(weft_seq_fork(seq, &copy, E));
    weft_seq_release(&seq);
    return rewound(copy);
}

/* Appends the same tokens to a new sequence, as a prompt that ends there, and releases the old
 * one. */
static weft_seq *prompted(weft_seq *seq)
{
    int32_t tokens[2 * N_BYTES];
    size_t n = 0;
    OK(weft_seq_tokens(seq, tokens, 2 * N_BYTES, &n, E));
    weft_seq *other = rig_seq(&rig, NULL);
    OK(weft_seq_append(other, tokens, n, E));
    weft_seq_release(&seq);
    return other;
}

static weft_seq *(*const ways[])(weft_seq *seq) = { saved_and_loaded, rewound, forked, prompted };
enum { N_WAYS = sizeof ways / sizeof ways[0] };

static void test_cut_once(void **state)
{
    (void)state;
    for (size_t p = 0; p < 2; p++) {
        rig_begin(presets[p]);
        for (size_t way = 0; way < N_WAYS; way++) {
            for (size_t cut = 0; cut <= N_BYTES; cut++) {
                char text[MAX_TEXT] = "";
                weft_seq *seq = begin();
                draw(seq, 0, cut);
                OK(weft_seq_end(seq, E));
                take(seq, text);
                seq = ways[way](seq);
                draw(seq, cut, N_BYTES);
                OK(weft_seq_end(seq, E));
                take(seq, text);
                assert_string_equal(text, shown);
                weft_seq_release(&seq);
            }
        }
        rig_close(&rig);
    }
}

/* The text is cut behind every token, each time in another way. */
static void test_cut_everywhere(void **state)
{
    (void)state;
    rig_begin(presets[0]);
    char text[MAX_TEXT] = "";
    weft_seq *seq = begin();
    for (size_t i = 0; i < N_BYTES; i++) {
        draw(seq, i, i + 1);
        OK(weft_seq_end(seq, E));
        take(seq, text);
        seq = ways[i % N_WAYS](seq);
    }
    assert_string_equal(text, shown);
    weft_seq_release(&seq);
    rig_close(&rig);
}

/* The first bytes of a stop string come before the cut. */
static void test_stop(void **state)
{
    (void)state;
    rig_begin(presets[0]);
    static const char *const stop = "\xe6\x97\xa5";
    char text[MAX_TEXT] = "";
    weft_seq *seq = begin();
    draw(seq, 0, 5);
    OK(weft_seq_end(seq, E));
    take(seq, text);
    assert_string_equal(text, "a\xc3\xa9");
    seq = saved_and_loaded(seq);
    OK(weft_seq_set_stops(seq, &stop, 1, E));
    draw(seq, 5, 6);
    assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_STOP);
    take(seq, text);
    assert_string_equal(text, "a\xc3\xa9");
    weft_seq_release(&seq);
    rig_close(&rig);
}

/* If tokens are appended where a character is incomplete, it stays incomplete. The appended tokens
 * may begin another character. */
static void test_appended(void **state)
{
    (void)state;
    rig_begin(presets[0]);
    char text[MAX_TEXT] = "";
    weft_seq *seq = begin();
    /* ids[6] and ids[7] are the first two bytes of a character of four. */
    const int32_t other[] = { token_of('q'), ids[6], ids[7] };
    draw(seq, 0, 5);
    OK(weft_seq_append(seq, other, 3, E));
    draw(seq, 8, 11);
    take(seq, text);
    assert_string_equal(text, "a\xc3\xa9\xf0\x9f\x99\x82z");
    weft_seq_release(&seq);
    rig_close(&rig);
}

/* A text that fills the context is cut there as well. */
static void test_full(void **state)
{
    (void)state;
    weft_engine_params brief = { .size = sizeof brief, .device = "cpu", .n_ctx = 6 };
    char text[MAX_TEXT] = "";
    rig = rig_open(model_file(presets[0]), &brief);
    for (size_t i = 0; i < N_BYTES; i++) {
        ids[i] = token_of(whole[i]);
    }
    weft_seq *seq = begin();
    draw(seq, 0, 5);
    assert_int_equal(weft_seq_finish(seq), WEFT_FINISH_LENGTH);
    take(seq, text);
    assert_string_equal(text, "a\xc3\xa9");
    weft_seq_release(&seq);
    rig_close(&rig);
}

/* Shows how a program displays control tokens that a model writes inside its text: the text comes
 * without them, and the id of each token tells which one it is. */
static void test_control_tokens(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    static const char name[] = "<|im_start|>";
    int32_t control, token, tokens[10];
    char seen[200] = "", text[100];
    size_t n, n_seen = 0, n_control = 0;
    OK(weft_tokenize(r.model, name, sizeof name - 1, WEFT_TOKENIZE_SPECIAL, &control, 1, &n, E));
    assert_int_equal(n, 1);
    rig_tokens(&r, 3, tokens, 10);
    weft_sampling s = WEFT_SAMPLING_INIT;
    const weft_logit_bias bias = { control, 1e6f };
    s.temperature = 0;
    s.ignore_end = true;
    weft_seq *seq = rig_fed(&r, tokens, 10);
    for (int i = 0; i < 6; i++) {
        s.bias = &bias;
        s.n_bias = i == 2 || i == 4;
        OK(weft_seq_set_sampling(seq, &s, E));
        OK(weft_seq_next(seq, &token, E));
        OK(weft_seq_text(seq, text, sizeof text, &n, E));
        memcpy(seen + n_seen, text, n);
        n_seen += n;
        size_t n_plain, n_special;
        OK(weft_detokenize(r.model, &token, 1, 0, text, sizeof text, &n_plain, E));
        OK(weft_detokenize(r.model, &token, 1, WEFT_DETOKENIZE_SPECIAL, text, sizeof text,
                           &n_special, E));
        if (n_plain == 0 && n_special > 0) {
            assert_int_equal(token, control);
            assert_int_equal(n, 0);
            OK(weft_token_text(r.model, token, seen + n_seen, sizeof seen - n_seen, &n, E));
            assert_int_equal(n, sizeof name - 1);
            n_seen += n;
            n_control++;
        }
        rig_compute(&r, seq);
    }
    assert_int_equal(n_control, 2);
    OK(weft_seq_end(seq, E));
    OK(weft_seq_text(seq, text, sizeof text, &n, E));
    memcpy(seen + n_seen, text, n);
    n_seen += n;
    /* The pieces together are what the whole sequence says, except for a character that was not
     * complete. */
    int32_t all[16];
    OK(weft_seq_tokens(seq, all, 16, NULL, E));
    OK(weft_detokenize(r.model, all + 10, 6, WEFT_DETOKENIZE_SPECIAL, text, sizeof text, &n, E));
    assert_true(n_seen <= n && n_seen >= 2 * (sizeof name - 1));
    assert_non_null(memmem(seen, n_seen, name, sizeof name - 1));
    weft_seq_release(&seq);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_once), cmocka_unit_test(test_cut_everywhere),
        cmocka_unit_test(test_stop),     cmocka_unit_test(test_appended),
        cmocka_unit_test(test_full),     cmocka_unit_test(test_control_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
