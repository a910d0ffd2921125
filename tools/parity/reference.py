"""The transformer in f32, from the papers: what a GGUF file means, without an engine's shortcuts.

Weights are dequantised by the gguf package; matrix products run in f32 (numpy), norms, RoPE angles
and softmax in f64. K and V stay f32. Every stage is a function of its inputs, so that it can also
be fed with what another engine had there (stages.py).

- RMSNorm: Zhang and Sennrich 2019. RoPE: Su et al. 2021; rows of "llama" files are permuted, so
  that neighbours pair.
- Grouped-query attention: Ainslie et al. 2023. SwiGLU: Shazeer 2020. Long and short RoPE factors:
  Ding et al. 2024 (LongRoPE). YaRN: Peng et al. 2023, with the ramp of their code, along the index
  of the pairs. Vision models read a text: with equal positions M-RoPE is RoPE (Wang et al. 2024).
- A sliding window counts the position itself. Keys of the file are read as src/config.c reads them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize

ARCHITECTURES = ("llama", "phi3", "qwen2", "qwen2vl", "qwen3", "qwen3vl")
CACHED_PARAMS = 100_000_000  # a model with fewer keeps its dequantised weights
ROWS = 256  # query positions attended at a time, to bound the score matrix

Trace = Callable[[str, int | None, np.ndarray], None]  # checkpoint, layer, values [n, columns]


@dataclass
class Yarn:
    factor: float
    beta_fast: float  # pairs that make as many turns within n_ctx keep their angles
    beta_slow: float  # pairs that make no more get them divided by the factor
    kept: float  # which part of its own angle a fast pair keeps
    n_ctx: int


@dataclass
class Model:
    path: str
    arch: str
    tensors: dict
    n_layers: int
    dim: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    n_rot: int
    norm_eps: float
    rope_base: float
    rope_scale: float  # multiplies positions
    attn_factor: float  # multiplies sine and cosine
    yarn: Yarn | None
    n_ctx_train: int  # the longest context; YaRN may stretch the trained one
    n_ctx_orig: int  # longer texts use the long factors
    window: int  # 0 = none
    n_vocab: int = 0
    cache: dict = field(default_factory=dict)
    n_params: int = 0

    def type_of(self, name: str) -> str:
        return self.tensors[name].tensor_type.name

    def matrix_types(self) -> set[str]:
        return {t.tensor_type.name for t in self.tensors.values() if len(t.shape) > 1}


def split_parts(path: str) -> list[str]:
    """Returns all parts of a split file, in order, or the file itself if it is not split."""
    match = re.fullmatch(r"(.*-)00001-of-(\d{5})(\.gguf)", path)
    if not match:
        return [path]
    return [f"{match[1]}{i + 1:05}-of-{match[2]}{match[3]}" for i in range(int(match[2]))]


def open_model(path: str | Path) -> Model:
    readers = [GGUFReader(part) for part in split_parts(str(path))]
    keys = readers[0].fields

    def key(name, default=None):
        if name in keys:
            return keys[name].contents()
        if default is None:
            raise ValueError(f"{path}: key {name} is missing")
        return default

    arch = key("general.architecture")
    if arch not in ARCHITECTURES:
        raise ValueError(f"{path}: architecture '{arch}' is not one of {', '.join(ARCHITECTURES)}")
    n_heads, dim = key(f"{arch}.attention.head_count"), key(f"{arch}.embedding_length")
    head_dim = key(f"{arch}.attention.key_length", dim // n_heads)
    scaling = key(f"{arch}.rope.scaling.type", "linear")
    factor = key(f"{arch}.rope.scaling.factor", key(f"{arch}.rope.scale_linear", 0.0))
    n_ctx_train = key(f"{arch}.context_length")
    n_ctx_orig = key(f"{arch}.rope.scaling.original_context_length", n_ctx_train)
    yarn = None
    if scaling == "yarn":
        kept = key(f"{arch}.rope.scaling.yarn_ext_factor", -1.0)
        yarn = Yarn(
            factor=factor or 1.0,
            beta_fast=key(f"{arch}.rope.scaling.yarn_beta_fast", 32.0),
            beta_slow=key(f"{arch}.rope.scaling.yarn_beta_slow", 1.0),
            kept=1.0 if kept < 0 else kept,
            n_ctx=n_ctx_orig,
        )
    tensors = {t.name: t for reader in readers for t in reader.tensors}
    return Model(
        path=str(path),
        arch=arch,
        tensors=tensors,
        n_layers=key(f"{arch}.block_count"),
        dim=dim,
        n_heads=n_heads,
        n_kv_heads=key(f"{arch}.attention.head_count_kv", n_heads),
        head_dim=head_dim,
        n_rot=key(f"{arch}.rope.dimension_count", head_dim),
        norm_eps=key(f"{arch}.attention.layer_norm_rms_epsilon"),
        rope_base=key(f"{arch}.rope.freq_base", 10000.0),
        rope_scale=1.0 / factor if scaling == "linear" and factor else 1.0,
        attn_factor=key(f"{arch}.rope.scaling.attn_factor", 1.0) * yarn_attn_factor(yarn),
        yarn=yarn,
        n_ctx_train=max(n_ctx_train, int(n_ctx_orig * yarn.factor) if yarn else 0),
        n_ctx_orig=n_ctx_orig,
        window=key(f"{arch}.attention.sliding_window", 0),
        n_vocab=int(tensors["token_embd.weight"].shape[1]),
        n_params=sum(int(t.n_elements) for t in tensors.values()),
    )


def weight(m: Model, name: str) -> np.ndarray | None:
    """Returns the tensor in f32, rows first; None if the file has none of that name."""
    if name not in m.tensors:
        return None
    if name not in m.cache:
        t = m.tensors[name]
        values = dequantize(t.data, GGMLQuantizationType(t.tensor_type)).astype(
            np.float32, copy=False
        )
        values = values.reshape([int(n) for n in reversed(t.shape)])
        if m.n_params > CACHED_PARAMS:
            return values
        m.cache[name] = values
    return m.cache[name]


def layer_weight(m: Model, layer: int, name: str) -> np.ndarray | None:
    return weight(m, f"blk.{layer}.{name}")


def qkv_parts(m: Model, layer: int, what: str) -> list[np.ndarray | None]:
    """Returns the parts of q, k and v, which have a tensor each or are rows of one. what: weight or
    bias."""
    fused = layer_weight(m, layer, f"attn_qkv.{what}")
    if fused is None:
        return [layer_weight(m, layer, f"attn_{x}.{what}") for x in "qkv"]
    n_q, n_kv = m.n_heads * m.head_dim, m.n_kv_heads * m.head_dim
    return np.split(fused, [n_q, n_q + n_kv])


def qkv_weights(m: Model, layer: int) -> list[np.ndarray]:
    return qkv_parts(m, layer, "weight")


def gate_up_weights(m: Model, layer: int) -> list[np.ndarray]:
    if m.arch != "phi3":
        return [layer_weight(m, layer, f"ffn_{x}.weight") for x in ("gate", "up")]
    return np.split(layer_weight(m, layer, "ffn_up.weight"), 2)


def add_bias(x: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    return x if bias is None else x + bias


def output_name(m: Model) -> str:
    return "output.weight" if "output.weight" in m.tensors else "token_embd.weight"


def output_weight(m: Model) -> np.ndarray:
    return weight(m, output_name(m))


# ---------------------------------------------------------------- stages


def rms_norm(x: np.ndarray, w: np.ndarray, eps: float) -> np.ndarray:
    x = x.astype(np.float64)
    return (x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * w).astype(np.float32)


def yarn_attn_factor(yarn: Yarn | None) -> float:
    return 0.1 * np.log(yarn.factor) + 1.0 if yarn and yarn.factor > 1.0 else 1.0


def yarn_scale(m: Model) -> np.ndarray:
    """Returns what YaRN multiplies the angle of each pair by. Pairs are counted on as far as n_rot,
    beyond the last one."""
    pair = np.arange(m.n_rot)
    turns = m.yarn.n_ctx / (2.0 * np.pi) * m.rope_base ** (-2.0 * pair / m.n_rot)
    fast, slow = pair[turns >= m.yarn.beta_fast], pair[turns <= m.yarn.beta_slow]
    first, last = max(fast, default=0), min(slow, default=m.n_rot - 1)
    own = np.interp(pair, [first, max(last, first + 1)], [m.yarn.kept, 0.0])[: m.n_rot // 2]
    return own + (1.0 - own) / m.yarn.factor


def rope_frequencies(m: Model, n_tokens: int) -> np.ndarray:
    scale = yarn_scale(m) if m.yarn else m.rope_scale
    freq = m.rope_base ** (-2.0 * np.arange(m.n_rot // 2) / m.n_rot) * scale
    factors = weight(m, "rope_freqs.weight")
    if "rope_factors_long.weight" in m.tensors:
        factors = weight(m, f"rope_factors_{'long' if n_tokens > m.n_ctx_orig else 'short'}.weight")
    return freq if factors is None else freq / factors.astype(np.float64)


def rope(m: Model, heads: np.ndarray, back: bool = False) -> np.ndarray:
    """Turns the first n_rot values of each of heads [n, h, head_dim] of a whole text, at positions
    0..n-1; with `back`, turns them back."""
    angle = np.arange(len(heads))[:, None] * rope_frequencies(m, len(heads))[None]
    cos, sin = (m.attn_factor * f(-angle if back else angle)[:, None] for f in (np.cos, np.sin))
    half = m.n_rot // 2
    first, second = (
        (slice(0, m.n_rot, 2), slice(1, m.n_rot, 2))
        if m.arch == "llama"
        else (slice(0, half), slice(half, m.n_rot))
    )
    out, a, b = (
        heads.copy(),
        heads[..., first].astype(np.float64),
        heads[..., second].astype(np.float64),
    )
    out[..., first], out[..., second] = a * cos - b * sin, a * sin + b * cos
    return out


def finish_head(m: Model, layer: int, which: str, x: np.ndarray) -> np.ndarray:
    """Applies bias, per-head norm and RoPE to a product x [n, h * head_dim], where which is q, k or
    v."""
    x = add_bias(x, qkv_parts(m, layer, "bias")["qkv".index(which)])
    if which == "v":
        return x
    heads = x.reshape(len(x), -1, m.head_dim)
    norm = layer_weight(m, layer, f"attn_{which}_norm.weight")
    if norm is not None:
        heads = rms_norm(heads, norm, m.norm_eps)
    return rope(m, heads).reshape(x.shape)


def embed(m: Model, tokens: np.ndarray) -> np.ndarray:
    t = m.tensors["token_embd.weight"]
    return dequantize(t.data[tokens], GGMLQuantizationType(t.tensor_type)).astype(
        np.float32, copy=False
    )


def attn_norm(m: Model, layer: int, x: np.ndarray) -> np.ndarray:
    return rms_norm(x, layer_weight(m, layer, "attn_norm.weight"), m.norm_eps)


def ffn_norm(m: Model, layer: int, x: np.ndarray) -> np.ndarray:
    return rms_norm(x, layer_weight(m, layer, "ffn_norm.weight"), m.norm_eps)


def output_norm(m: Model, x: np.ndarray) -> np.ndarray:
    return rms_norm(x, weight(m, "output_norm.weight"), m.norm_eps)


def qkv(m: Model, layer: int, x: np.ndarray) -> list[np.ndarray]:
    x = attn_norm(m, layer, x)
    return [
        finish_head(m, layer, which, x @ w.T)
        for which, w in zip("qkv", qkv_weights(m, layer))
    ]


def attend(m: Model, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    n, group = len(q), m.n_heads // m.n_kv_heads
    q, k, v = (x.reshape(n, -1, m.head_dim).transpose(1, 0, 2) for x in (q, k, v))
    out = np.empty((n, m.n_heads, m.head_dim), np.float32)
    for start in range(0, n, ROWS):
        rows, columns = np.arange(start, min(start + ROWS, n))[:, None], np.arange(
            min(start + ROWS, n)
        )
        seen = (columns <= rows) & ((columns > rows - m.window) if m.window else True)
        for h in range(m.n_heads):
            scores = (
                q[h, start : start + ROWS]
                @ k[h // group, : len(columns)].T
                / np.sqrt(np.float64(m.head_dim))
            )
            scores = np.where(seen, scores, -np.inf)
            p = np.exp(scores - scores.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            out[start : start + ROWS, h] = p @ v[h // group, : len(columns)]
    return out.reshape(n, -1)


def attn_out(m: Model, layer: int, attention: np.ndarray) -> np.ndarray:
    product = attention @ layer_weight(m, layer, "attn_output.weight").T
    return add_bias(product, layer_weight(m, layer, "attn_output.bias"))


def swiglu(gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    gate = gate.astype(np.float64)
    return (gate / (1.0 + np.exp(-gate)) * up).astype(np.float32)


def gate_up(m: Model, layer: int, x: np.ndarray) -> list[np.ndarray]:
    """Returns gate and up of the output of ffn_norm."""
    biases = (layer_weight(m, layer, f"ffn_{part}.bias") for part in ("gate", "up"))
    return [add_bias(x @ w.T, b) for w, b in zip(gate_up_weights(m, layer), biases)]


def ffn_act(m: Model, layer: int, x: np.ndarray) -> np.ndarray:
    return swiglu(*gate_up(m, layer, ffn_norm(m, layer, x)))


def ffn_out(m: Model, layer: int, act: np.ndarray) -> np.ndarray:
    product = act @ layer_weight(m, layer, "ffn_down.weight").T
    return add_bias(product, layer_weight(m, layer, "ffn_down.bias"))


def head(m: Model, x: np.ndarray) -> np.ndarray:
    """Returns the logits of the output of output_norm."""
    return add_bias(x @ output_weight(m).T, weight(m, "output.bias"))


def logits(m: Model, x: np.ndarray) -> np.ndarray:
    return head(m, output_norm(m, x))


def forward(
    m: Model, tokens, trace: Trace = lambda name, layer, values: None
) -> np.ndarray:
    """Returns the logits [n, n_vocab] behind every token; trace gets the checkpoints of weft logits
    --trace."""
    x = embed(m, np.asarray(tokens))
    trace("embed", None, x)
    for layer in range(m.n_layers):
        q, k, v = qkv(m, layer, x)
        attention = attend(m, q, k, v)
        for name, values in zip(("q", "k", "v", "attention"), (q, k, v, attention)):
            trace(name, layer, values)
        x = x + attn_out(m, layer, attention)
        trace("attn_out", layer, x)
        act = ffn_act(m, layer, x)
        trace("ffn_act", layer, act)
        x = x + ffn_out(m, layer, act)
        trace("ffn_out", layer, x)
    normed = output_norm(m, x)
    trace("head_norm", None, normed)
    out = head(m, normed)
    trace("logits", None, out)
    return out
