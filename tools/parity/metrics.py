"""How far apart two sets of logits [n_pos, n_vocab] are, in f64, a block of rows at a time."""

import numpy as np

BLOCK = 64  # positions at a time


def nmse(ref: np.ndarray, x: np.ndarray) -> float:
    """Normalised mean squared error: sum((x - ref)^2) / sum(ref^2)."""
    error = energy = 0.0
    for i in range(0, len(ref), BLOCK):
        r = ref[i : i + BLOCK].astype(np.float64)
        error += np.sum((x[i : i + BLOCK] - r) ** 2)
        energy += np.sum(r * r)
    return float(error / energy) if energy else float(error > 0)


def rms_difference(ref: np.ndarray, x: np.ndarray) -> float:
    total = sum(
        np.sum((x[i : i + BLOCK].astype(np.float64) - ref[i : i + BLOCK]) ** 2)
        for i in range(0, len(ref), BLOCK)
    )
    return float(np.sqrt(total / ref.size))


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Returns KL(softmax(p) || softmax(q)) of every position, in nats."""
    out = np.empty(len(p))
    for i in range(0, len(p), BLOCK):
        a, b = log_softmax(p[i : i + BLOCK]), log_softmax(q[i : i + BLOCK])
        out[i : i + BLOCK] = np.sum(np.exp(a) * (a - b), axis=-1)
    return np.maximum(out, 0.0)  # rounding may leave -1e-17


def mean_se(values: np.ndarray) -> tuple[float, float]:
    """Returns the mean and its standard error."""
    n = len(values)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0


def margins(ref: np.ndarray) -> np.ndarray:
    """Returns the best logit minus the second best, per position."""
    top = np.partition(ref, -2, axis=-1)[:, -2:]
    return top.max(axis=1).astype(np.float64) - top.min(axis=1)


def compare(ref: np.ndarray, x: np.ndarray) -> dict:
    """Returns the numbers of a table row for x against ref; "kl", "same" and "margin" have a value
    per position."""
    forward, backward = kl(ref, x), kl(x, ref)
    same = ref.argmax(axis=1) == x.argmax(axis=1)
    mean, se = mean_se(forward)
    first = int(np.argmin(same)) if not same.all() else None
    margin = margins(ref)
    return {
        "nmse": nmse(ref, x),
        "kl_mean": mean,
        "kl_se": se,
        "kl_999": float(np.quantile(forward, 0.999)),
        "kl_back_mean": float(backward.mean()),
        "same_top": float(same.mean()),
        "rms": rms_difference(ref, x),
        "divergence": None if first is None else {"pos": first, "margin": float(margin[first])},
        "kl": forward,
        "same": same,
        "margin": margin,
    }
