"""What the host code launches, as build/sim/weft-launches records it: a line of JSON for each
launch. A line with `count` stands for that many similar launches."""
import json

# For a row of weights: columns of a block, bytes of a block, and bytes of the plane of codes for 32
# columns (kernels/repack.cu).
BLOCKS = {
    'F32': (1, 4, 128), 'F16': (1, 2, 64), 'BF16': (1, 2, 64),
    'Q4_0': (32, 18, 16), 'Q4_1': (32, 20, 16), 'Q5_0': (32, 22, 16), 'Q5_1': (32, 24, 16),
    'Q8_0': (32, 34, 32), 'Q2_K': (256, 84, 8), 'Q3_K': (256, 110, 8), 'Q4_K': (256, 144, 16),
    'Q5_K': (256, 176, 16), 'Q6_K': (256, 210, 16), 'IQ4_NL': (32, 18, 16),
    'IQ4_XS': (256, 136, 16),
}


class Type:
    def __init__(self, columns, n_bytes, code_bytes):
        self.bytes_per_weight, self.code_bytes = n_bytes / columns, code_bytes


TYPES = {name: Type(*row) for name, row in BLOCKS.items()}


def weight_bytes(matrix):
    return matrix['rows'] * matrix['cols'] * TYPES[matrix['type']].bytes_per_weight


def read(path):
    """Returns {(model, case, rows, pos): [records in their order]}."""
    cases = {}
    with open(path, encoding='utf-8') as f:
        for number, line in enumerate(f, 1):
            try:
                r = json.loads(line)
                key = (r['model'], r['case'], r['rows'], r['pos'])
            except (ValueError, KeyError) as e:
                raise SystemExit(f'{path}:{number}: not a line of weft-launches ({e}); make it '
                                 'anew: build/sim/weft-launches') from e
            cases.setdefault(key, []).append(r)
    return cases
