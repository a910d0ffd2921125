"""Simulates a launch of matvec.cu as events. Every warp asks for the weights of a step, waits for
them, and computes. DRAM is a server that delivers `bandwidth`; each quarter of an SM is a server
that issues instructions.

The cost of a step comes from the machine code (sass.py), the division of the launch from the host
code (launches.py), and everything else from assumptions.py. Times are in ns. Time 0 is when the
kernel's wait for the kernel before it is released.
"""
import heapq
import random

from sass import WARP

UNITS = 4   # rows of weights in a warp's task (dot.cuh)
WARPS = 8   # warps of a block
LANES = WARP
LINE = 128  # bytes that a lane's prefetch asks for


class Device:
    """The assumptions about the device, in ns and bytes per ns."""

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
    """One turn of a type's dot loop: the bytes that it loads, and what computing it costs."""

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
    """A tile of one matrix, or of gate and up together: the steps of its warps, and its bytes."""
    __slots__ = ('steps', 'first')

    def __init__(self, steps, first):
        self.steps = steps  # for each warp: [(Step, share of the lanes)]
        self.first = first  # for each warp: whether the step's bytes are among those prefetched


class Matvec:
    """The tiles of a launch. job: the "matvec" of its record; facts: the facts of its kernel."""

    def __init__(self, job, block, resident, facts, types, device):
        self.device, self.job, counts = device, job, facts['types']
        # The bytes of each plane that are prefetched: of the block's first tile before the kernel's
        # wait, of each other tile when the tile before it begins.
        most = job.get('prefetch', device.v['prefetch_plane'])
        self.early_bytes = most if facts['prefetches'] else 0
        self.next_bytes = most if facts.get('later_prefetches') else 0
        self.swiglu, self.adds = job['mode'] == 'swiglu', job['mode'] == 'add'
        self.split, self.units = job['split'], job['units']
        self.warps = block // WARP
        self.resident = resident
        self.loops = {w['type']: [Step(c, c['weights'] * types[w['type']].bytes_per_weight, device)
                                  for c in counts[w['type']]] for w in job['w']}
        # A type may have a loop for each part of a task's rows; together the loops have UNITS rows.
        self.columns = {w['type']: sum(c['weights'] for c in counts[w['type']]) // UNITS
                        for w in job['w']}
        self.types, self.known = types, {}
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
        """Returns [(step, share of its lanes that have a piece, whether it is prefetched)] of a
        warp."""
        matrix = 0 if self.swiglu else self.tiles[tile][0]
        key = (matrix, warp, first)
        if key not in self.known:
            self.known[key] = self.find_steps(tile, warp, first)
        return self.known[key]

    def find_steps(self, tile, warp, first):
        out = []
        row = (warp // self.split) * UNITS
        for k in self.matrices(tile):
            w = self.job['w'][k]
            lane = self.columns[w['type']] // LANES  # columns of a lane's piece
            pieces = w['cols'] // lane
            code = self.types[w['type']].code_bytes * w['cols'] // 32
            hit = (row + UNITS) * code <= (self.early_bytes if first else self.next_bytes)
            for step in self.loops[w['type']]:
                for at in range((warp % self.split) * LANES, pieces, LANES * self.split):
                    out.append((step, min(LANES, pieces - at) / LANES, hit))
        return out

    def prefetched(self, tile, most):
        """Returns the bytes of a tile that are prefetched: at most `most` bytes of each plane."""
        n = 0
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


class Warp:
    __slots__ = ('block', 'number', 'tile', 'steps', 'at', 'pipes', 'quarter')

    def __init__(self, block, number, tile, steps, pipes, quarter):
        self.block, self.number, self.tile = block, number, tile
        self.steps, self.at = steps, 0
        self.pipes, self.quarter = pipes, quarter  # when the pipes of its SM are free, and its own quarter


# The rounds of tiles that are simulated; those in the middle of a long launch are alike.
MOST_ROUNDS = 6


class Simulation:
    """Simulates a launch. residual: cycles that the loads behind the dot take; early: ns for which
    the blocks are there before their wait is released; prologue: ns from the released wait to
    the first load."""

    def __init__(self, launch, grid, early, prologue, residual, seed=1, most_rounds=MOST_ROUNDS):
        self.m, self.device, self.grid = launch, launch.device, grid
        self.uniform = random.Random(seed).uniform
        self.prologue = prologue
        d, v = self.device, self.device.v
        if grid > launch.resident * d.sms:
            raise SystemExit(f'{grid} blocks of a mat-vec where {launch.resident * d.sms} run at '
                             'once: matvec.py knows only blocks that loop over tiles')
        self.issue = d.cycles(v['issue_loads'])
        self.spread = (d.latency * (1 - v['latency_spread']), d.latency * (1 + v['latency_spread']))
        self.queue_end = v['latency_behind_queue'] * d.latency
        self.tile_end = d.cycles(v['tile_end'] + (residual if launch.adds else 0))
        self.tile_next, self.barrier = d.cycles(v['tile_next']), d.cycles(v['barrier'])
        self.meets = launch.swiglu or launch.split > 1
        rounds = -(-len(launch.tiles) // grid)
        self.skipped = max(0, rounds - most_rounds)
        self.n_tiles = len(launch.tiles) - self.skipped * grid
        self.round_end = [0.0] * (rounds + 1)
        self.pipe = [[prologue] * d.quarters for _ in range(d.sms)]
        self.events, self.serial, self.loaded, self.arrived = [], 0, 0.0, {}
        self.prefetch(early)

    def prefetch(self, early):
        d = self.device
        self.dram, self.ready = -early, []
        for b in range(self.grid):
            self.dram += self.m.prefetched(b, self.m.early_bytes) / d.bandwidth
            self.ready.append(self.dram + d.latency)
        # For later tiles: how many warps have asked for their part, and when all parts are there.
        self.asked = {}

    def prefetch_next(self, now, warp):
        """Asks for the warp's part of the block's next tile. Returns when its loads can begin."""
        m, d, tile = self.m, self.device, warp.tile + self.grid
        if not m.next_bytes or tile >= self.n_tiles:
            return now
        n_bytes = m.prefetched(tile, m.next_bytes) / m.warps
        free = warp.pipes[warp.quarter]
        lines = n_bytes / LINE / WARP
        issued = (now if now > free else free) + d.cycles(lines * d.v['prefetch_issue'])
        warp.pipes[warp.quarter] = issued
        self.dram = max(self.dram, issued) + n_bytes / d.bandwidth
        n, there = self.asked.get((warp.block, tile), (0, 0.0))
        self.asked[warp.block, tile] = (n + 1, max(there, issued + d.latency,
                                                   self.dram + self.queue_end))
        return issued

    def ready_at(self, warp):
        """Returns when the prefetched part of the warp's tile is in the L2 cache; None if not all
        of it has been asked for yet."""
        if warp.tile == warp.block:
            return self.ready[warp.block]
        n, there = self.asked.get((warp.block, warp.tile), (0, 0.0))
        return there if n == self.m.warps else None

    def put(self, at, what, warp):
        heapq.heappush(self.events, (at, self.serial, what, warp))
        self.serial += 1

    def run(self):
        """Returns the ns until the last store of the kernel is visible."""
        m, d = self.m, self.device
        for b in range(self.grid):
            pipes = self.pipe[b % d.sms]
            for w in range(m.warps):
                quarter = (w + b // d.sms * m.warps) % d.quarters
                warp = Warp(b, w, b, m.steps(b, w, True), pipes, quarter)
                self.put(self.prologue, self.begin, warp)
        events, pop = self.events, heapq.heappop
        while events:
            now, _, what, warp = pop(events)
            what(now, warp)
        ends = [e for e in self.round_end if e > 0]
        end = ends[-1]
        if self.skipped:
            end += self.skipped * (ends[-2] - ends[1]) / (len(ends) - 3)
        return end + d.cycles(d.v['tail_swiglu' if m.swiglu else 'tail'])

    def begin(self, now, warp):
        self.put(self.prefetch_next(now, warp), self.load, warp)

    def load(self, now, warp):
        step, share, hit = warp.steps[warp.at]
        pipes, q = warp.pipes, warp.quarter
        free = pipes[q]
        issued = pipes[q] = (now if now > free else free) + self.issue
        n_bytes = step.bytes * share
        self.loaded += n_bytes
        ready = self.ready_at(warp) if hit else None
        if ready is not None:
            done = max(ready, issued + self.device.l2)
        else:
            self.dram = max(self.dram, issued) + n_bytes / self.device.bandwidth
            done = max(issued + self.uniform(*self.spread), self.dram + self.queue_end)
        self.put(done, self.compute, warp)

    def compute(self, now, warp):
        step = warp.steps[warp.at][0]
        pipes, q = warp.pipes, warp.quarter
        free = pipes[q]
        pipes[q] = busy = (now if now > free else free) + step.busy
        end = max(busy, now + step.alone)
        warp.at += 1
        if warp.at < len(warp.steps):
            self.put(max(now, end - step.alone) if step.pipelined else end, self.load, warp)
            return
        end += self.tile_end
        if not self.meets:
            self.next_tile(end, warp)
            return
        there = self.arrived.setdefault((warp.block, warp.tile), [])
        there.append((end, warp))
        if len(there) == self.m.warps:
            last = max(e for e, _ in there) + self.barrier
            for _, other in there:
                self.next_tile(last, other)

    def next_tile(self, now, warp):
        this = warp.tile // self.grid
        self.round_end[this] = max(self.round_end[this], now)
        warp.tile += self.grid
        if warp.tile < self.n_tiles:
            warp.steps, warp.at = self.m.steps(warp.tile, warp.number, False), 0
            self.put(now + self.tile_next, self.begin, warp)


def simulate(launch, grid, early, prologue, residual):
    s = Simulation(launch, grid, early, prologue, residual)
    us = s.run() / 1e3
    return Result(us, launch.bytes, s.loaded)
