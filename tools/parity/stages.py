"""Checks every stage of an engine by itself: the reference computes the stage from the engine's own inputs.

An error cannot hide behind those of the stages before it, so the first finding names the stage and layer that is wrong. Each
stage is computed twice: exactly, and with the rounding that an engine may do: inputs of a product with quantised weights in 8
bits, in blocks of 32 with one scale; all others in half floats. (K and V are half floats in the exact one, too: that is what the
cache holds.) The energy of the difference of the two is the allowed noise, and the engine's error is measured in it:

- ratio: energy of the error by energy of the allowed noise, for each group of columns (a head, or 64 columns), for each column
  and for each row. Sound engines have 1.0 where they round as above and less where they do not.
- scale: the least-squares factor of the error along the exact values of a group, which is how a wrong factor on one head shows
  that is smaller than the noise: noise is random, and its mean over many positions vanishes.
"""

from dataclasses import dataclass

import numpy as np

import reference
from reference import Model
from weft import Checkpoints

GROUP = 64  # columns, where there are no heads
FLOAT_TYPES = {"F32", "F16", "BF16"}
# f32 sums: energy of their error relative to the result; measured 1e-14 to 1e-12 on sums of 256 to 4864 terms
F32_NOISE = 1e-11
MAX_GROUP_RATIO = 2.0
MAX_COLUMN_RATIO = 4.0
MAX_ROW_RATIO = 4.0
MAX_SCALE = 2e-3


@dataclass
class Stage:
    """One checkpoint: what the engine has, what it should have, and the same with the allowed rounding."""
    name: str
    layer: int | None
    got: np.ndarray
    exact: np.ndarray
    rough: np.ndarray
    group: int
    base: np.ndarray | float = 0.0  # the residual stream that `got` was added to, which rounded it


@dataclass
class Finding:
    stage: str
    layer: int | None
    what: str

    def __str__(self) -> str:
        where = self.stage if self.layer is None else f"layer {self.layer}, {self.stage}"
        return f"{where}: {self.what}"


def _half(x: np.ndarray) -> np.ndarray:
    """Rounded to 11 bits, whatever the exponent."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(mantissa * 2048) / 2048, exponent).astype(np.float32)


def _int8(x: np.ndarray) -> np.ndarray:
    """Rounded to 8 bits in blocks of 32 columns, as activations are for products with quantised weights."""
    n = x.shape[1]
    blocks = np.pad(x, ((0, 0), (0, -n % 32))).reshape(len(x), -1, 32)
    step = np.abs(blocks).max(axis=2, keepdims=True) / 127
    return (np.round(blocks / np.where(step > 0, step, 1)) * step).reshape(len(x), -1)[:, :n].astype(np.float32)


def _rough(m: Model, name: str, x: np.ndarray) -> np.ndarray:
    return _half(x) if m.type_of(name) in FLOAT_TYPES else _int8(x)


def _attention_stages(m: Model, layer: int, x: np.ndarray, n_ctx: int, got: Checkpoints):
    normed = reference.attn_norm(m, layer, x)
    for which, w in zip("qkv", reference.qkv_weights(m, layer)):
        name = f"blk.{layer}.attn_{'qkv' if m.arch == 'phi3' else which}.weight"
        exact, rough = (reference.finish_head(m, layer, which, h @ w.T, n_ctx) for h in
                        (normed, _rough(m, name, normed)))
        yield Stage(which, layer, got[which, layer], exact, rough, m.head_dim)
    q = got["q", layer]
    k, v = (got[which, layer].astype(np.float16).astype(np.float32) for which in "kv")
    exact, rough = reference.attend(m, q, k, v), _half(reference.attend(m, _half(q), k, v))
    yield Stage("attention", layer, got["attention", layer], exact, rough, m.head_dim)


def stages(m: Model, tokens, n_ctx: int, got: Checkpoints):
    """Every checkpoint in order. Those of the residual stream are given without what they were added to."""
    exact = reference.embed(m, np.asarray(tokens))
    yield Stage("embed", None, got["embed", None], exact, exact, GROUP)
    x = got["embed", None]
    for layer in range(m.n_layers):
        yield from _attention_stages(m, layer, x, n_ctx, got)
        attention, mid = got["attention", layer], got["attn_out", layer]
        exact, rough = (reference.attn_out(m, layer, a) for a in
                        (attention, _rough(m, f"blk.{layer}.attn_output.weight", attention)))
        yield Stage("attn_out", layer, mid - x, exact, rough, GROUP, x)
        normed = reference.ffn_norm(m, layer, mid)
        name = f"blk.{layer}.ffn_up.weight"
        exact, rough = (reference.swiglu(*(h @ w.T for w in reference.gate_up_weights(m, layer))) for h in
                        (normed, _rough(m, name, normed)))
        yield Stage("ffn_act", layer, got["ffn_act", layer], exact, rough, GROUP)
        act = got["ffn_act", layer]
        exact, rough = (reference.ffn_out(m, layer, a) for a in
                        (act, _rough(m, f"blk.{layer}.ffn_down.weight", act)))
        yield Stage("ffn_out", layer, got["ffn_out", layer] - mid, exact, rough, GROUP, mid)
        x = got["ffn_out", layer]
    normed, w = reference.output_norm(m, x), reference.output_weight(m)
    name = "output.weight" if "output.weight" in m.tensors else "token_embd.weight"
    yield Stage("logits", None, got["logits", None], normed @ w.T, _rough(m, name, normed) @ w.T, GROUP)


def _group_sums(s: Stage, values: np.ndarray) -> np.ndarray:
    return np.add.reduceat(values, np.arange(0, values.shape[-1], s.group), axis=-1)


def measure(s: Stage) -> dict[str, np.ndarray]:
    """Ratios of error to allowed noise by group, column and row, and the scale of each group."""
    exact = s.exact.astype(np.float64)
    error = s.got - exact
    # the last term: what adding to the residual stream in f32 rounds off
    noise = (s.rough - exact) ** 2 + F32_NOISE * exact ** 2 + (2.0 ** -24 * np.asarray(s.base, np.float64)) ** 2
    tiny = 1e-30  # of a column or row of zeros
    by_column = error ** 2, noise, error * exact, exact ** 2
    squares, allowed, along, energy = (x.sum(axis=0) for x in by_column)
    groups = [_group_sums(s, x) for x in (squares, allowed, along, energy)]
    return {
        "group": groups[0] / (groups[1] + tiny), "column": squares / (allowed + tiny),
        "row": (error ** 2).sum(axis=1) / (noise.sum(axis=1) + tiny), "scale": groups[2] / (groups[3] + tiny),
        "nmse": groups[0] / (groups[3] + tiny),
    }
