"""The time of steps of many rows. Matrices become halves and are multiplied by cuBLAS; the kernels are
launched one by one on a stream. The time is computed by hand from waves of tiles, bytes,
instructions and borders between kernels."""
import math

from launches import TYPES

WARP = 32
# Tiles of cuBLAS: rows of weights, rows of activations, and the assumption that holds the rate.
TILES = ((128, 256, 'gemm_tflops_256'), (256, 128, 'gemm_tflops_256'),
         (128, 128, 'gemm_tflops_128'), (128, 64, 'gemm_tflops_64'), (64, 64, 'gemm_tflops_small'))
SKINNY = 64  # rows of activations up to which cuBLAS splits the columns: then weights are the bound
ELEMENT = {'f16': 2, 'bf16': 2, 'f32': 4}
TILE_ROWS = PAGE = 64  # the tiles of attention on tensor cores


def transfer_us(v, n_bytes):
    return n_bytes / v['bandwidth'] / 1e6


def issue_us(device, counts, weights):
    """Returns the us of a kernel that does counts['n'] instructions for counts['weights'] weights,
    on all SMs."""
    busiest = max(counts['n'], 2 * counts['alu'], 2 * counts['products'], 8 * counts['quarter'])
    return device.cycles(busiest * weights / counts['weights'] / device.sms / device.quarters) / 1e3


def tilings(v, r):
    """Returns (us, blocks) for each of cuBLAS's tilings. If rows are few, it splits the columns."""
    m, n, k = r['m'], r['n'], r['k']
    element, out = ELEMENT[r['types'][0]], ELEMENT[r['types'][2]]
    for rows, columns, name in TILES:
        rate = v[name] * 1e6 / v['sms'] * (v['gemm_tf32'] if r['types'][0] == 'f32' else 1)
        tiles = math.ceil(m / rows) * math.ceil(n / columns)
        split = max(1, min(int(v['sms'] // tiles), int(k // v['gemm_split']))) if n <= SKINNY else 1
        waves = math.ceil(tiles * split / v['sms'])
        busy = min(v['sms'], tiles * split)
        compute = waves * 2 * rows * columns * (k / split) / rate
        # Each tile is written when it is done; nothing hides the time of writing the last tile of an SM.
        written = transfer_us(v, m * n * out * (1 if split == 1 else 2 * split + 1))
        # With few rows, each trip to DRAM brings as much as the stages of a block hold.
        under_way = busy * v['gemm_in_flight'] * 1024
        reach = min(v['gemm_bandwidth'] * 1e6, under_way / v['latency'] * 1e3)
        read = (m * k + n * k) * element / reach
        yield max(compute, read) + written + v['gemm_fixed'], tiles * split


def gemm_us(v, r):
    return min(tilings(v, r))[0]


def gemm_waves(v, r):
    """Returns for the fastest tiling: (how full its waves are, blocks, waves)."""
    blocks = min(tilings(v, r))[1]
    waves = math.ceil(blocks / v['sms'])
    return blocks / (waves * v['sms']), blocks, waves


def tiled_us(device, r, facts, first_tile):
    """Returns the time of attention on tensor cores: blocks of 4 warps with 64 rows, for the pages
    up to their own."""
    v, job, t = device.v, r['tiled'], facts['tensor']
    warps = r['block'][0] // WARP
    seen = math.inf if job['window'] == 0 else job['window'] // PAGE + 1
    pages = sum(min(first_tile + i + 1, seen) for i in range(job['tiles'])) * job['n_heads']
    products = t['HMMA'] * warps * 16 * 8 * 16 * 2 / (v['tensor_flops'] * v['mma_sync'])
    shared = t['LDSM'] * warps * 512 / v['shared_bytes_per_cycle']
    issue = t['n'] * warps / device.quarters
    cycles = pages * max(products, shared, issue) / v['attend_tiled_overlap'] / device.sms
    return device.cycles(cycles) / 1e3 + v['attend_start'] + v['attend_leave']


class Stream:
    """The launches of a step, one after the other."""

    def __init__(self, predictor):
        self.p, self.v, self.device = predictor, predictor.v, predictor.device
        self.tiles = 0         # of attention, in the steps before
        self.step_tiles = 0
        self.gate = 'f32'      # the type that the last product left

    def rows_bytes(self, r):
        """Returns the bytes of write_rows: floats or halves in, the forms out."""
        job = r['rows_of']
        n = job['rows'] * job['cols']
        out = sum({'q8': 1.25, 'f32': 4, 'f16': 2}[f] for f in job['forms'])
        read = 2 * ELEMENT[self.gate] if 'Swiglu' in r['name'] else 4
        return n * (read + out)

    def us(self, r, before):
        v, name = self.v, r.get('name', '')
        if r['kind'] == 'gemm':
            self.gate = r['types'][2]
            return gemm_us(v, r)
        if 'dequant' in r:
            d = r['dequant']
            counts = self.p.kernel_facts(name)['types'][d['type']]
            return max(transfer_us(v, d['bytes'] + d['bytes_out']),
                       issue_us(self.device, counts, d['rows'] * d['cols'])) + \
                v['latency'] / 1e3
        if 'rows_of' in r:
            return max(v['small_kernel'], transfer_us(v, self.rows_bytes(r)))
        if 'add' in r:
            return max(v['small_kernel'], transfer_us(v, 12 * r['add']['rows'] * r['add']['cols']))
        if 'tiled' in r:
            self.step_tiles = r['tiled']['tiles']
            return tiled_us(self.device, r, self.p.kernel_facts(name), self.tiles)
        if 'heads' in r:
            h = r['heads']
            n = h['rows'] * h['head_dim'] * (8 * h['n_heads'] + 12 * h['n_kv_heads'])
            return max(v['heads'], transfer_us(v, n))
        return self.p.cost(r, before).us

    def border(self, r, before):
        """Returns the gap between two launches: cuBLAS's kernels do not start early, nor do the
        kernels behind them."""
        early = r.get('programmatic') and before is not None and before['kind'] == 'kernel'
        return self.v['gap' if early else 'eager_border']

    def total(self, records):
        """Returns the us of all steps: of the device, or of the host if launching takes longer."""
        device = host = 0.0
        before, step = None, None
        for r in records:
            if r['step'] != step:
                self.tiles, self.step_tiles = self.tiles + self.step_tiles, 0
                step = r['step']
            n = r.get('count', 1)
            if r['kind'] in ('kernel', 'gemm'):
                device += n * (self.us(r, before) + self.border(r, before))
                host += n * self.v['host_launch']
                before = r
            elif r['kind'] == 'copy':
                device += n * self.v['host_copy']
        return max(device, host)


def many_us(predictor, records):
    return Stream(predictor).total(records)


def step_bytes(records):
    """Returns the bytes of weights that a step has to read at least."""
    return sum(r['dequant']['bytes'] for r in records if 'dequant' in r) + \
        sum(w['rows'] * w['cols'] * TYPES[w['type']].bytes_per_weight
            for r in records if 'matvec' in r and r['matvec']['first'] == 0
            for w in r['matvec']['w'])
