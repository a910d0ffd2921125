#!/usr/bin/env python3
"""Writes tests/data/quant_golden.txt: what the gguf package makes of blocks of every tensor type.

Lines are `decode TYPE <block bytes> <f32 bits>` and `encode TYPE <f32 bits> <block bytes>`, all in hex; f32 bits are
eight digits each, as the number reads (not byte-swapped). Random bytes, scales forced finite; seeded, so that a second
run writes the same file. Needs numpy and gguf (tools/parity/requirements.txt).

    python3 tools/parity/make_quant_golden.py > tests/data/quant_golden.txt
"""

import numpy as np
from gguf import GGML_QUANT_SIZES
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize, quantize

# byte offsets of the half-float scales in a block
SCALES = {
    T.F32: [], T.F16: [], T.BF16: [], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0],
}
ENCODED = [T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0]
BLOCKS = 2


def f32_hex(values):
    return "".join(f"{v:08x}" for v in np.ascontiguousarray(values, np.float32).view(np.uint32).ravel())


def random_block(rng, qtype):
    elements, size = GGML_QUANT_SIZES[qtype]
    if elements == 1:
        values = rng.standard_normal(32).astype(np.float32)
        return quantize(values, qtype).view(np.uint8).ravel()
    block = rng.integers(0, 256, size, dtype=np.uint8)
    for offset in SCALES[qtype]:
        scale = np.float16(rng.standard_normal() * 0.01)
        block[offset:offset + 2] = np.frombuffer(scale.tobytes(), np.uint8)
    return block


def encode_inputs(rng):
    yield rng.standard_normal(32)
    yield rng.standard_normal(32) * 0.02 + 0.05
    # the peak makes the step 1 for Q4_0, Q5_0 and Q8_0, so half of the other values are ties
    for peak in (-8.0, -16.0, -127.0):
        x = np.arange(32) * 0.5 - 8.0
        x[0] = peak
        yield x
    yield np.zeros(32)


def main():
    rng = np.random.default_rng(20240917)
    print("# made by tools/parity/make_quant_golden.py with the gguf package; do not edit")
    for qtype in SCALES:
        for _ in range(BLOCKS):
            block = random_block(rng, qtype)
            values = dequantize(block.reshape(1, -1), qtype)
            print("decode", qtype.name, block.tobytes().hex(), f32_hex(values))
    for qtype in ENCODED:
        for x in encode_inputs(rng):
            x = x.astype(np.float32)
            print("encode", qtype.name, f32_hex(x), quantize(x, qtype).tobytes().hex())


if __name__ == "__main__":
    main()
