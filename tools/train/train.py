"""Trains one demo model on the small world of `corpus.py` and writes it as a GGUF file.

    python train.py --arch qwen2 --out ../../models/weft-demo-qwen2.gguf
"""

import argparse
import functools
import random
import time
from pathlib import Path

import jax
import numpy as np
import optax

import corpus
from export import write_gguf
from model import CONFIGS, init_params, loss
from vocab import VOCABS

WARMUP_STEPS = 100
# Some rows are read as one long text: later documents then stand at later positions.
UNBROKEN_ROWS = 0.4
# In the last quarter of the steps rows are STRETCH times as long, and a batch has that many times fewer of them.
STRETCH, STRETCHED_STEPS = 4, 0.25


def pack_rows(vocab, rng, n_tokens):
    """Yields (tokens, segments, weights), each [n_tokens]: documents end to end, the last cut."""
    while True:
        tokens, segments, weights, segment = [], [], [], 0
        unbroken = rng.random() < UNBROKEN_ROWS
        while len(tokens) < n_tokens:
            ids, id_weights = vocab.document(corpus.document(rng), rng)
            tokens += ids
            weights += id_weights
            segments += [segment] * len(ids)
            segment += not unbroken
        yield tokens[:n_tokens], segments[:n_tokens], weights[:n_tokens]


def batches(vocab, seed, n_rows, n_tokens):
    """Yields (tokens, segments, weights), each [n_rows, n_tokens]."""
    rows = pack_rows(vocab, random.Random(seed), n_tokens)
    while True:
        tokens, segments, weights = zip(*(next(rows) for _ in range(n_rows)))
        yield (np.array(tokens, np.int32), np.array(segments, np.int32),
               np.array(weights, np.float32))


def make_optimizer(n_steps, learning_rate):
    """AdamW with warm-up and cosine decay to zero; norms and biases are not decayed."""
    def is_matrix(params):
        return {name: value.ndim == 2 for name, value in params.items()}

    schedule = optax.warmup_cosine_decay_schedule(0.0, learning_rate, WARMUP_STEPS, n_steps)
    adamw = optax.adamw(schedule, b2=0.98, weight_decay=0.05, mask=is_matrix)
    return optax.chain(optax.clip_by_global_norm(1.0), adamw)


def train(config, vocab, args):
    """The trained parameters after `args.steps` steps."""
    params = {name: jax.numpy.asarray(value) for name, value in
              init_params(config, args.seed).items()}
    optimizer = make_optimizer(args.steps, args.learning_rate)
    state = optimizer.init(params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(params, state, *batch):
        value, grads = jax.value_and_grad(lambda p: loss(config, p, *batch))(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    start = time.monotonic()
    short = batches(vocab, args.seed, args.rows, args.tokens)
    long = batches(vocab, args.seed + 1, args.rows // STRETCH, args.tokens * STRETCH)
    n_short = round(args.steps * (1 - STRETCHED_STEPS))
    for step in range(1, args.steps + 1):
        batch = next(short if step <= n_short else long)
        params, state, value = update(params, state, *batch)
        if step % args.log_every == 0 or step == args.steps:
            print(f"step {step}  loss {value:.4f}  {time.monotonic() - start:.0f} s", flush=True)
        if args.save_every and step % args.save_every == 0:
            write_gguf(args.out, config, vocab, params)
    return params


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", choices=sorted(CONFIGS), required=True)
    parser.add_argument("--out", type=Path, required=True, help="the GGUF file to write")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--rows", type=int, default=8, help="rows of a batch")
    parser.add_argument("--tokens", type=int, default=256, help="tokens of a row")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--save-every", type=int, default=0, help="write the file every N steps")
    args = parser.parse_args()

    config, vocab = CONFIGS[args.arch], VOCABS[args.arch]()
    assert len(vocab.tokens) == config.n_vocab
    params = train(config, vocab, args)
    write_gguf(args.out, config, vocab, params)
    n_params = sum(value.size for value in params.values())
    print(f"{args.out}: {n_params} parameters, {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
