"""A launch of matvec.cu as events: every warp asks for the weights of a step, waits for them, and
computes; DRAM is a server that gives `bandwidth`, each quarter of an SM one that issues.

What a step costs comes from the machine code (sass.py), how the launch is cut up from the host
code (launches.py); all else is in assumptions.py. Times are in ns from the moment at which the
kernel's wait for the one before is released.
"""
import heapq
import random

from sass import WARP

UNITS = 4   # rows of weights of a warp's task (dot.cuh)
WARPS = 8   # of a block
LANES = WARP


class Device:
    """Assumptions in ns and bytes per ns."""

    def __init__(self, values):
        self.v = values
        self.cycle = 1 / values['clock']
        self.sms = int(values['sms'])
        self.quarters = int(values['quarters'])
        self.bandwidth = values['bandwidth'] * 1e3
        self.latency = values['latency']
        self.l2 = values['l2_latency']

    def cycles(self, n):
        return n * self.cycle


class Step:
    """One turn of a type's dot loop: bytes that it loads, and what it costs to compute."""

    def __init__(self, counts, n_bytes, device):
        v = device.v
        self.bytes = n_bytes
        issue = device.cycles(v['issue_loads'])
        busiest = max(counts['n'], 2 * counts['alu'], 2 * counts['products'], 8 * counts['quarter'])
        self.busy = device.cycles(busiest) - issue
        self.alone = device.cycles(v['chain'] * counts['n'] +
                                   v['generic_load'] * counts['generic_waits'])
        self.pipelined = counts['pipelined']


class Tile:
    """Of one matrix, or of gate and up at once: the steps of its warps, and its bytes."""
    __slots__ = ('steps', 'first')

    def __init__(self, steps, first):
        self.steps = steps  # of each warp: [(Step, share of the lanes)]
        self.first = first  # of each warp: are the step's bytes among those prefetched


class Matvec:
    """The tiles of a launch. job: the record's "matvec"; counts: (type, rows) -> SASS counts."""

    def __init__(self, job, block, resident, counts, types, device):
        self.device, self.job = device, job
        self.swiglu, self.adds = job['mode'] == 'swiglu', job['mode'] == 'add'
        self.split, self.units = job['split'], job['units']
        self.warps = block // WARP
        self.resident = resident
        self.loops = {w['type']: [Step(c, c['weights'] * types[w['type']].bytes_per_weight, device)
                                  for c in counts[w['type']]] for w in job['w']}
        # a type may have a loop for each part of a task's rows: together they have the UNITS
        self.columns = {w['type']: sum(c['weights'] for c in counts[w['type']]) // UNITS
                        for w in job['w']}
        self.types = types
        self.tiles = []
        last = len(job['w']) if not self.swiglu else 1
        for k in range(last):
            n = -(-job['w'][k]['rows'] // self.units)
            self.tiles += [(k, i) for i in range(n)]
        if len(self.tiles) != job['tiles']:
            raise SystemExit(f'a launch with {job["tiles"]} tiles was recorded where its matrices '
                             f'make {len(self.tiles)}; matvec.py and matvec.cu differ')
        self.bytes = sum(w['rows'] * w['cols'] * types[w['type']].bytes_per_weight
                         for w in job['w'])

    def matrices(self, tile):
        return (0, 1) if self.swiglu else (self.tiles[tile][0],)

    def steps(self, tile, warp, first):
        """[(step, part of its lanes that have a piece, is it prefetched)] of a warp."""
        out = []
        row = (warp // self.split) * UNITS
        for k in self.matrices(tile):
            w = self.job['w'][k]
            lane = self.columns[w['type']] // LANES  # columns of a lane's piece
            pieces = w['cols'] // lane
            code = self.types[w['type']].code_bytes * w['cols'] // 32
            hit = first and (row + UNITS) * code <= self.device.v['prefetch_plane']
            for step in self.loops[w['type']]:
                for at in range((warp % self.split) * LANES, pieces, LANES * self.split):
                    out.append((step, min(LANES, pieces - at) / LANES, hit))
        return out

    def prefetched(self, tile):
        """Bytes of a block's first tile that are asked for early: at most so many of each plane."""
        most, n = self.device.v['prefetch_plane'], 0
        for k in self.matrices(tile):
            w = self.job['w'][k]
            rows = min(self.units, w['rows'] - self.tiles[tile][1] * self.units)
            t = self.types[w['type']]
            codes = rows * w['cols'] // 32 * t.code_bytes
            rest = rows * w['cols'] * t.bytes_per_weight - codes
            n += min(most, codes) + min(most, rest)
        return n


class Result:
    def __init__(self, us, n_bytes, loaded):
        self.us, self.bytes, self.loaded = us, n_bytes, loaded

    @property
    def rate(self):
        return self.loaded / self.us / 1e6 if self.us else 0.0


class Simulation:
    def __init__(self, launch, grid, early, prologue, residual, seed=1):
        self.m, self.device, self.grid = launch, launch.device, grid
        self.random = random.Random(seed)
        self.residual, self.prologue = residual, prologue
        d = self.device
        self.pipe = [[prologue] * d.quarters for _ in range(d.sms)]
        self.dram = -early
        self.ready = []
        for b in range(grid):
            self.dram += launch.prefetched(b) / d.bandwidth
            self.ready.append(self.dram + d.latency)
        self.events, self.serial, self.loaded = [], 0, 0.0
        self.arrived = {}

    def put(self, at, what, warp):
        heapq.heappush(self.events, (at, self.serial, what, warp))
        self.serial += 1

    def run(self):
        """ns until the last store of the kernel is visible."""
        m, v = self.m, self.device.v
        blocks = min(self.grid, m.resident * self.device.sms)
        if blocks < self.grid:
            raise SystemExit(f'{self.grid} blocks of a mat-vec where {blocks} run at once: matvec.py '
                             'knows only blocks that loop over tiles')
        for b in range(self.grid):
            for w in range(m.warps):
                self.put(self.prologue, self.load, [b, w, b, m.steps(b, w, True), 0])
        end = 0.0
        while self.events:
            now, _, what, warp = heapq.heappop(self.events)
            what(now, warp)
            end = now
        return end + self.device.cycles(v['tail_swiglu' if m.swiglu else 'tail'])

    def quarter(self, warp):
        b, w = warp[0], warp[1]
        pipes = self.pipe[b % self.device.sms]
        return pipes, (w + b // self.device.sms * self.m.warps) % self.device.quarters

    def load(self, now, warp):
        d, v = self.device, self.device.v
        step, share, hit = warp[3][warp[4]]
        pipes, q = self.quarter(warp)
        issued = pipes[q] = max(now, pipes[q]) + d.cycles(v['issue_loads'])
        n_bytes = step.bytes * share
        self.loaded += n_bytes
        if hit:
            done = max(self.ready[warp[0]], issued + d.l2)
        else:
            self.dram = max(self.dram, issued) + n_bytes / d.bandwidth
            spread = self.random.uniform(1 - v['latency_spread'], 1 + v['latency_spread'])
            done = max(issued + d.latency * spread,
                       self.dram + v['latency_behind_queue'] * d.latency)
        self.put(done, self.compute, warp)

    def compute(self, now, warp):
        d, v = self.device, self.device.v
        step = warp[3][warp[4]][0]
        pipes, q = self.quarter(warp)
        start = max(now, pipes[q])
        pipes[q] = start + step.busy
        end = max(start + step.busy, now + step.alone)
        warp[4] += 1
        if warp[4] < len(warp[3]):
            self.put(max(now, end - step.alone) if step.pipelined else end, self.load, warp)
            return
        end += d.cycles(v['tile_end'] + (self.residual if self.m.adds else 0))
        if not self.m.swiglu and self.m.split == 1:
            self.put(end, self.next_tile, warp)
            return
        there = self.arrived.setdefault((warp[0], warp[2]), [])
        there.append((end, warp))
        if len(there) == self.m.warps:
            last = max(e for e, _ in there) + d.cycles(v['barrier'])
            for _, other in there:
                self.put(last, self.next_tile, other)

    def next_tile(self, now, warp):
        warp[2] += self.grid
        if warp[2] < len(self.m.tiles):
            warp[3], warp[4] = self.m.steps(warp[2], warp[1], False), 0
            self.put(now + self.device.cycles(self.device.v['tile_next']), self.load, warp)


def simulate(launch, grid, early, prologue, residual):
    s = Simulation(launch, grid, early, prologue, residual)
    us = s.run() / 1e3
    return Result(us, launch.bytes, s.loaded)
