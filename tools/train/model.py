"""The transformer of both architectures in JAX, with the tensor names and layouts of GGUF.

Parameters are one flat dict, name -> array; a matrix is [n_out, n_in] as in the file.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Config:
    """The shape of a model."""

    arch: str
    n_vocab: int = 1024
    dim: int = 256
    n_layers: int = 3
    n_heads: int = 4
    n_kv_heads: int = 2
    head_dim: int = 64
    ffn_dim: int = 512
    n_context: int = 1024
    rope_base: float = 10000.0
    norm_eps: float = 1e-5


CONFIGS = {
    "qwen2": Config("qwen2", rope_base=1e6, norm_eps=1e-6),
    "phi3": Config("phi3", rope_base=1e4, norm_eps=1e-5),
}


def init_params(config, seed):
    """Random parameters: norms 1, biases 0, matrices normal with 1/sqrt(n_in)."""
    rng = np.random.default_rng(seed)
    dim, ffn_dim = config.dim, config.ffn_dim
    q_dim, kv_dim = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim

    def matrix(n_out, n_in, scale=1.0):
        return rng.normal(0.0, scale / n_in**0.5, (n_out, n_in)).astype(np.float32)

    params = {"token_embd.weight": matrix(config.n_vocab, dim, 0.5),
              "output_norm.weight": np.ones(dim, np.float32)}
    if config.arch == "phi3":
        params["output.weight"] = matrix(config.n_vocab, dim, 0.5)
    residual_scale = (2 * config.n_layers) ** -0.5
    for l in range(config.n_layers):
        block = {"attn_norm.weight": np.ones(dim, np.float32),
                 "ffn_norm.weight": np.ones(dim, np.float32),
                 "attn_output.weight": matrix(dim, q_dim, residual_scale),
                 "ffn_down.weight": matrix(dim, ffn_dim, residual_scale)}
        if config.arch == "phi3":
            block["attn_qkv.weight"] = matrix(q_dim + 2 * kv_dim, dim)
            block["ffn_up.weight"] = matrix(2 * ffn_dim, dim)
        else:
            for name, n_out in (("q", q_dim), ("k", kv_dim), ("v", kv_dim)):
                block[f"attn_{name}.weight"] = matrix(n_out, dim)
                block[f"attn_{name}.bias"] = np.zeros(n_out, np.float32)
            block["ffn_gate.weight"] = matrix(ffn_dim, dim)
            block["ffn_up.weight"] = matrix(ffn_dim, dim)
        params |= {f"blk.{l}.{name}": value for name, value in block.items()}
    return params


def rms_norm(x, weight, eps):
    """x [..., dim] scaled to a root mean square of 1, times weight [dim]."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps) * weight


def rope(x, base):
    """Rotates x [n_rows, n_tokens, n_heads, head_dim] by position, half against half (NEOX)."""
    n_tokens, half = x.shape[1], x.shape[-1] // 2
    angle = np.arange(n_tokens)[:, None] * base ** (-np.arange(half) / half)
    cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
    low, high = x[..., :half], x[..., half:]
    return jnp.concatenate([low * cos - high * sin, high * cos + low * sin], -1).astype(x.dtype)


def qkv(config, block, x):
    """Queries, keys and values of x [n_rows, n_tokens, dim].

    Each is [n_rows, n_tokens, its own number of heads, head_dim].
    """
    q_dim, kv_dim = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    if config.arch == "phi3":
        fused = x @ block["attn_qkv.weight"].T
        parts = jnp.split(fused, (q_dim, q_dim + kv_dim), axis=-1)
    else:
        parts = [x @ block[f"attn_{name}.weight"].T + block[f"attn_{name}.bias"] for name in "qkv"]
    return [part.reshape(*part.shape[:-1], -1, config.head_dim) for part in parts]


def attention(config, block, x, mask):
    """Grouped-query attention of x [n_rows, n_tokens, dim] to itself.

    mask [n_rows, n_tokens, n_tokens] is true where a token (second) sees another (third).
    """
    q, k, v = qkv(config, block, x)
    q, k = rope(q, config.rope_base), rope(k, config.rope_base)
    group = config.n_heads // config.n_kv_heads
    q = q.reshape(*q.shape[:2], config.n_kv_heads, group, config.head_dim)
    scores = jnp.einsum("btkgd,bskd->bkgts", q, k) * config.head_dim**-0.5
    scores = jnp.where(mask[:, None, None], scores, -1e9)
    mixed = jnp.einsum("bkgts,bskd->btkgd", jax.nn.softmax(scores, -1), v)
    return mixed.reshape(*x.shape[:2], -1) @ block["attn_output.weight"].T


def feed_forward(config, block, x):
    """SwiGLU of x [n_rows, n_tokens, dim]; Phi-3 keeps gate and up in one matrix, gate first."""
    if config.arch == "phi3":
        gate, up = jnp.split(x @ block["ffn_up.weight"].T, 2, axis=-1)
    else:
        gate, up = x @ block["ffn_gate.weight"].T, x @ block["ffn_up.weight"].T
    return (jax.nn.silu(gate) * up) @ block["ffn_down.weight"].T


def forward(config, params, tokens, segments):
    """Logits [n_rows, n_tokens, n_vocab] of tokens [n_rows, n_tokens].

    A token sees itself and what is before it in the same segment [n_rows, n_tokens].
    """
    causal = np.tril(np.ones((tokens.shape[1], tokens.shape[1]), bool))
    mask = causal & (segments[:, :, None] == segments[:, None, :])
    x = params["token_embd.weight"][tokens]
    for l in range(config.n_layers):
        prefix = f"blk.{l}."
        block = {name.removeprefix(prefix): value for name, value in params.items()
                 if name.startswith(prefix)}
        x += attention(config, block, rms_norm(x, block["attn_norm.weight"], config.norm_eps), mask)
        x += feed_forward(config, block, rms_norm(x, block["ffn_norm.weight"], config.norm_eps))
    x = rms_norm(x, params["output_norm.weight"], config.norm_eps)
    return x @ params.get("output.weight", params["token_embd.weight"]).T


def loss(config, params, tokens, segments, weights):
    """Mean negative log-likelihood of each next token, weighted; nothing crosses a segment.

    All three arrays are [n_rows, n_tokens]; weights[i] is the weight of the
    prediction of tokens[i] in the mean.
    """
    logits = forward(config, params, tokens, segments)[:, :-1]
    target = tokens[:, 1:]
    chosen = jnp.take_along_axis(logits, target[..., None], -1)[..., 0]
    nll = jax.nn.logsumexp(logits, -1) - chosen
    weight = weights[:, 1:] * (segments[:, 1:] == segments[:, :-1])
    return jnp.sum(nll * weight) / jnp.sum(weight)
