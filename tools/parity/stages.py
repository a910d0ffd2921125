"""Checks every stage of an engine by itself: recomputed from the engine's own inputs.

An error cannot hide behind those of the stages before it, so the first finding names the stage and
layer that is wrong. Each stage is computed twice: exactly, and with the rounding that an engine may
do: inputs of a product with quantised weights in 8 bits, in blocks of 32 with one scale; all others
in half floats. What attention reads of K and V is rounded to the type of the cache in the exact one,
too; an engine may show "k" and "v" before or after that. The energy of the
difference of the two is the allowed noise, and the engine's error is measured in it:

- ratio: energy of the error by energy of the allowed noise, for each group of columns (a head, or
  64 columns), for each column and for each row. A column or row is allowed the mean of the others,
  too: its own noise may be small by chance. Sound engines have 1.0 in a group where they round as
  above, and less where they do not.
- scale: the least-squares factor of the error along the exact values of a group, which is how a
  wrong factor on one head shows that is smaller than the noise: noise is random, and its mean over
  many positions vanishes.
"""

from dataclasses import dataclass

import gguf
import numpy as np

import reference
from reference import Model
from weft import Checkpoints

GROUP = 64  # columns, where there are no heads
FLOAT_TYPES = {"F32", "F16", "BF16"}
# f32 sums: energy of their error relative to the result; measured 1e-14 to 1e-12 on sums of 256 to
# 4864 terms
F32_NOISE = 1e-11
TINY = 1e-30  # instead of 0 where all values are 0
# Sound engines have at most 1.00, 0.93 and 0.98 (CPU) and 1.00, 0.97 and 1.07 (CUDA) and scales of
# 9e-4, in all types. A factor of 1.01 on one head has a ratio of 4 and more, and a scale of 1e-2.
MAX_RATIO = {"group": 2.0, "column": 3.0, "row": 4.0}
MAX_SCALE = 2e-3


@dataclass
class Stage:
    """A checkpoint: the engine's values, the exact ones, and the exact ones with the allowed
    rounding."""

    name: str
    layer: int | None
    got: np.ndarray
    exact: np.ndarray
    rough: np.ndarray
    group: int
    base: np.ndarray | float = 0.0  # the residual stream that `got` was added to, which rounded it
    halves: bool = False  # may have been rounded to half floats when it was stored


@dataclass
class Finding:
    stage: str
    layer: int | None
    what: str

    def __str__(self) -> str:
        where = self.stage if self.layer is None else f"layer {self.layer}, {self.stage}"
        return f"{where}: {self.what}"


def _half(x: np.ndarray) -> np.ndarray:
    """Rounds to 11 bits, whatever the exponent."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(mantissa * 2048) / 2048, exponent).astype(np.float32)


def _int8(x: np.ndarray) -> np.ndarray:
    """Rounds to 8 bits in blocks of 32 columns, as for products with quantised weights."""
    n = x.shape[1]
    blocks = np.pad(x, ((0, 0), (0, -n % 32))).reshape(len(x), -1, 32)
    step = np.abs(blocks).max(axis=2, keepdims=True) / 127
    return (
        (np.round(blocks / np.where(step > 0, step, 1)) * step)
        .reshape(len(x), -1)[:, :n]
        .astype(np.float32)
    )


def _rough(m: Model, names: list[str], x: np.ndarray) -> np.ndarray:
    """Rounds the input x of products with these weights (those in the file), as an engine may."""
    types = {m.type_of(name) for name in names if name in m.tensors}
    return _half(x) if types <= FLOAT_TYPES else _int8(x)


def _rotate(x: np.ndarray, head_dim: int) -> np.ndarray:
    """By the Walsh-Hadamard matrix of the largest power of two that divides head_dim.

    The sums have the engine's order: where a value is half-way between two codes, the last bit
    decides.
    """
    n, half = min(head_dim & -head_dim, 256), 1
    y = x
    while half < n:
        a, b = np.moveaxis(y.reshape(-1, 2, half), 1, 0)
        y = np.stack([a + b, a - b], axis=1)
        half *= 2
    return (y * (np.float32(1) / np.sqrt(np.float32(n)))).reshape(x.shape)


def _cached(x: np.ndarray, which: str, type_name: str, head_dim: int) -> np.ndarray:
    """Rounds K or V as a cache of this type does; Weft rotates a quantised K."""
    kind = gguf.GGMLQuantizationType[type_name.upper()]
    rotates = which == "k" and type_name != "f16"
    x = _rotate(x, head_dim) if rotates else x
    x = gguf.quants.dequantize(gguf.quants.quantize(x, kind), kind)
    return _rotate(x, head_dim) if rotates else x


def _attention_stages(
    m: Model, layer: int, x: np.ndarray, got: Checkpoints, kv: tuple[str, str]
):
    normed = reference.attn_norm(m, layer, x)
    for which, w in zip("qkv", reference.qkv_weights(m, layer)):
        names = [f"blk.{layer}.attn_{part}.weight" for part in (which, "qkv")]
        exact, rough = (
            reference.finish_head(m, layer, which, h @ w.T)
            for h in (normed, _rough(m, names, normed))
        )
        yield Stage(which, layer, got[which, layer], exact, rough, m.head_dim, halves=which != "q")
    q = got["q", layer]
    k, v = (
        _cached(got[which, layer], which, name, m.head_dim) for which, name in zip("kv", kv)
    )
    exact, rough = reference.attend(m, q, k, v), _half(reference.attend(m, _half(q), k, v))
    yield Stage("attention", layer, got["attention", layer], exact, rough, m.head_dim)


def stages(m: Model, tokens, got: Checkpoints, kv: tuple[str, str]):
    """Yields every checkpoint in order; for the residual stream, what the stage added to it."""
    exact = reference.embed(m, np.asarray(tokens))
    yield Stage("embed", None, got["embed", None], exact, exact, GROUP)
    x = got["embed", None]
    for layer in range(m.n_layers):
        yield from _attention_stages(m, layer, x, got, kv)
        attention, mid = got["attention", layer], got["attn_out", layer]
        exact, rough = (
            reference.attn_out(m, layer, a)
            for a in (attention, _rough(m, [f"blk.{layer}.attn_output.weight"], attention))
        )
        yield Stage("attn_out", layer, mid - x, exact, rough, GROUP, x)
        normed = reference.ffn_norm(m, layer, mid)
        names = [f"blk.{layer}.ffn_{part}.weight" for part in ("gate", "up")]
        exact, rough = (
            reference.swiglu(*reference.gate_up(m, layer, h))
            for h in (normed, _rough(m, names, normed))
        )
        yield Stage("ffn_act", layer, got["ffn_act", layer], exact, rough, GROUP)
        act = got["ffn_act", layer]
        exact, rough = (
            reference.ffn_out(m, layer, a)
            for a in (act, _rough(m, [f"blk.{layer}.ffn_down.weight"], act))
        )
        yield Stage("ffn_out", layer, got["ffn_out", layer] - mid, exact, rough, GROUP, mid)
        x = got["ffn_out", layer]
    normed = reference.output_norm(m, x)
    yield Stage("head_norm", None, got["head_norm", None], normed, normed, GROUP)
    exact, rough = (
        reference.head(m, h) for h in (normed, _rough(m, [reference.output_name(m)], normed))
    )
    yield Stage("logits", None, got["logits", None], exact, rough, GROUP)


@dataclass
class Measured:
    """Error divided by the allowed noise, and its systematic part, for every group, column or row."""

    ratio: dict[str, np.ndarray]
    scale: np.ndarray  # for each group
    max_scale: np.ndarray
    explained: np.ndarray  # share of the error of each group that the scale explains

    def failed(self) -> bool:
        return any((self.ratio[over] > most).any() for over, most in MAX_RATIO.items()) or bool(
            (np.abs(self.scale) > self.max_scale).any()
        )


def measure(s: Stage) -> Measured:
    def sums(values):
        return np.add.reduceat(values.sum(axis=0), np.arange(0, values.shape[1], s.group))

    exact = s.exact.astype(np.float64)
    error, rounding = s.got - exact, s.rough - exact
    # the last term is the rounding of the addition to the residual stream in f32
    noise = (
        rounding**2 + F32_NOISE * exact**2 + (2.0**-24 * np.asarray(s.base, np.float64)) ** 2 + TINY
    )
    if s.halves:
        noise += np.ldexp(1.0, np.frexp(exact)[1] - 11) ** 2 / 12  # a step of the last of 11 bits
    by_column, by_row = noise.sum(axis=0), noise.sum(axis=1)
    groups = sums(noise)
    squares, energy = error**2, sums(exact**2) + TINY
    scale, rounding_scale = sums(error * exact) / energy, sums(rounding * exact) / energy
    return Measured(
        ratio={
            "group": sums(squares) / groups,
            "column": squares.sum(axis=0)
            / (by_column + np.repeat(groups / s.group, s.group)[: len(by_column)]),
            "row": squares.sum(axis=1) / (by_row + by_row.mean()),
        },
        scale=scale,
        explained=scale**2 * energy / (sums(squares) + TINY),
        # a group may consist of a few large values: their rounding does not vanish in a mean
        max_scale=MAX_SCALE
        + 2 * np.abs(rounding_scale)
        + 6 * np.sqrt(sums(noise * exact**2)) / energy,
    )


def _hint(m: Model, s: Stage, worst: int) -> str:
    """Says what kind of error it is, if its shape tells."""
    error = (s.got - s.exact)[:, worst * s.group : (worst + 1) * s.group].astype(np.float64)
    n = len(error)
    if s.name in ("q", "k"):
        quarters = (error**2).sum(axis=1)
        if n >= 8 and quarters[-n // 4 :].mean() > 4 * quarters[: n // 4].mean():
            return "; it grows with the position, as a wrong angle of RoPE does"
        error = reference.rope(m, error.reshape(n, -1, m.head_dim), back=True).reshape(n, -1)
    constant = n * (error.mean(axis=0) ** 2).sum() / ((error**2).sum() + TINY)
    return (
        "; it is the same at all positions, as a wrong bias is" if n >= 8 and constant > 0.7 else ""
    )


def _describe(m: Model, s: Stage, measured: Measured) -> str:
    ratio, scale = measured.ratio["group"], measured.scale
    off = np.abs(scale) > measured.max_scale
    worst = (
        int(np.argmax(np.where(off, np.abs(scale), 0.0))) if off.any() else int(np.argmax(ratio))
    )
    heads = s.group == m.head_dim and s.name in ("q", "k", "v", "attention")
    where = (
        f"head {worst}"
        if heads
        else f"columns {worst * s.group}-{min((worst + 1) * s.group, s.got.shape[1]) - 1}"
    )
    bad = int((off | (ratio > MAX_RATIO["group"])).sum())
    more = f" and {bad - 1} more" if bad > 1 else ""
    text = f"{where}{more}: error energy {ratio[worst]:.3g} times what rounding explains"
    if off[worst] and measured.explained[worst] > 0.5:
        text += f", scaled by {1 + scale[worst]:.4f}"
    if not bad:
        column, row = (int(np.argmax(measured.ratio[over])) for over in ("column", "row"))
        text = (
            f"column {column} {measured.ratio['column'][column]:.3g} times, position {row} "
            f"{measured.ratio['row'][row]:.3g} times what rounding explains"
        )
    return text + _hint(m, s, worst)


def check(
    m: Model, tokens, got: Checkpoints, kv: tuple[str, str] = ("f16", "f16")
) -> tuple[list[Finding], float]:
    """Returns the stages that are wrong, in the order of computation, and the largest ratio of a
    group."""
    findings, largest = [], 0.0
    for s in stages(m, tokens, got, kv):
        if s.got.shape != s.exact.shape or not np.isfinite(s.got).all():
            findings.append(
                Finding(
                    s.name, s.layer, f"shape {s.got.shape}, expected {s.exact.shape}, all finite"
                )
            )
            continue
        measured = measure(s)
        largest = max(largest, float(measured.ratio["group"].max()))
        if measured.failed():
            findings.append(Finding(s.name, s.layer, _describe(m, s, measured)))
    return findings, largest
