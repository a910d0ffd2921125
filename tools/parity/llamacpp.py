"""llama.cpp on the CPU, by the C API that llama-cpp-python binds: logits, tokens, templates."""

import ctypes
from contextlib import contextmanager

import llama_cpp as C
import numpy as np


@C.llama_log_callback
def _silent(level, text, user):
    pass


C.llama_log_set(_silent, ctypes.c_void_p(0))
C.llama_backend_init()


@contextmanager
def load(path: str, vocab_only: bool = False):
    """Opens the model; the end of the with block frees it."""
    params = C.llama_model_default_params()
    params.n_gpu_layers = 0
    params.vocab_only = vocab_only
    model = C.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise RuntimeError(f"{path}: llama.cpp refuses this file")
    try:
        yield model
    finally:
        C.llama_model_free(model)


def logits(
    model,
    tokens,
    n_ctx: int,
    n_batch: int = 512,
    n_threads: int = 2,
    f32: bool = False,
    kv: tuple[str, str] = ("f16", "f16"),
    yarn=None,
) -> np.ndarray:
    """Teacher-forced logits [n, n_vocab], computed as by default, with flash attention, and K and
    V of these types; f32: without, and K and V in f32.

    n_ctx should be a multiple of 256: llama.cpp rounds it up, and takes long RoPE factors by the
    rounded number. yarn: a reference.Yarn; llama.cpp does not read these numbers from files of the
    architectures that Weft knows.
    """
    params = C.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = n_ctx, n_batch, n_batch, 1
    params.n_threads = params.n_threads_batch = n_threads
    params.type_k, params.type_v = (getattr(C, f"GGML_TYPE_{name.upper()}") for name in kv)
    params.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_ENABLED  # a quantised V needs it
    if f32:  # flash attention turns K and V into halves, however they are stored
        params.type_k = params.type_v = C.GGML_TYPE_F32
        params.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_DISABLED
    if yarn:
        params.yarn_ext_factor, params.yarn_orig_ctx = yarn.kept, yarn.n_ctx
        params.yarn_beta_fast, params.yarn_beta_slow = yarn.beta_fast, yarn.beta_slow
    params.no_perf = True
    context = C.llama_init_from_model(model, params)
    if not context:
        raise RuntimeError(f"llama.cpp makes no context of {n_ctx}")
    try:
        return _decode_all(
            context, tokens, n_batch, C.llama_vocab_n_tokens(C.llama_model_get_vocab(model))
        )
    finally:
        C.llama_free(context)


def _decode_all(context, tokens, n_batch: int, n_vocab: int) -> np.ndarray:
    out = np.empty((len(tokens), n_vocab), np.float32)
    # one batch of full size, which is freed once; only its contents and n_tokens change
    batch = C.llama_batch_init(n_batch, 0, 1)
    try:
        for start in range(0, len(tokens), n_batch):
            chunk = tokens[start : start + n_batch]
            batch.n_tokens = len(chunk)
            for i, token in enumerate(chunk):
                batch.token[i] = int(token)
                batch.pos[i] = start + i
                batch.n_seq_id[i] = 1
                batch.seq_id[i][0] = 0
                batch.logits[i] = 1
            status = C.llama_decode(context, batch)
            if status != 0:
                raise RuntimeError(f"llama_decode at position {start} returns {status}")
            for i in range(len(chunk)):
                row = C.llama_get_logits_ith(context, i)
                out[start + i] = np.ctypeslib.as_array(row, shape=(n_vocab,))
    finally:
        C.llama_batch_free(batch)
    return out


def embeddings(model, texts, n_ctx: int, pooling: int | None = None) -> list[np.ndarray]:
    """The pooled state of each text, which is a list of ids; of a reranker its labels.

    pooling: a LLAMA_POOLING_TYPE; None is the file's.
    """
    params = C.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = n_ctx
    params.n_seq_max = 1
    params.n_threads = params.n_threads_batch = 2
    params.embeddings = True
    if pooling is not None:
        params.pooling_type = pooling
    params.no_perf = True
    context = C.llama_init_from_model(model, params)
    if not context:
        raise RuntimeError(f"llama.cpp makes no context of {n_ctx}")
    try:
        ranks = C.llama_pooling_type(context) == C.LLAMA_POOLING_TYPE_RANK
        n = C.llama_model_n_cls_out(model) if ranks else C.llama_model_n_embd(model)
        return [_pooled(context, text, n) for text in texts]
    finally:
        C.llama_free(context)


def _pooled(context, text, n: int) -> np.ndarray:
    ids = (C.llama_token * len(text))(*text)
    C.llama_memory_clear(C.llama_get_memory(context), True)
    status = C.llama_decode(context, C.llama_batch_get_one(ids, len(text)))
    if status != 0:
        raise RuntimeError(f"llama_decode of {len(text)} tokens returns {status}")
    values = C.llama_get_embeddings_seq(context, 0)
    return np.ctypeslib.as_array(values, shape=(n,)).copy()


def tokenize(model, text: bytes, add_special: bool, parse_special: bool) -> list[int]:
    vocab = C.llama_model_get_vocab(model)
    ids = (
        C.llama_token * (len(text) + 8)
    )()  # a token has at least one byte; BOS and EOS are added
    n = C.llama_tokenize(vocab, text, len(text), ids, len(ids), add_special, parse_special)
    if n < 0:
        ids = (C.llama_token * -n)()
        n = C.llama_tokenize(vocab, text, len(text), ids, len(ids), add_special, parse_special)
    if n < 0:
        raise RuntimeError(f"llama_tokenize returns {n} for {len(text)} bytes")
    return list(ids[:n])


def apply_template(
    template: str, messages: list[dict], add_generation_prompt: bool
) -> bytes | None:
    """Returns the rendered chat of {"role", "content"}; None if llama.cpp does not know the
    template."""
    texts = [(m["role"].encode(), m["content"].encode()) for m in messages]
    chat = (C.llama_chat_message * len(texts))(
        *(C.llama_chat_message(role=r, content=c) for r, c in texts)
    )
    size = 1024
    while True:
        buffer = ctypes.create_string_buffer(size)
        n = C.llama_chat_apply_template(
            template.encode(), chat, len(texts), add_generation_prompt, buffer, size
        )
        if n < 0:
            return None
        if n <= size:
            return buffer.raw[:n]
        size = n
