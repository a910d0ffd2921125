"""Attention of rows one by one (attend.cu) as events: blocks take the slots of the SMs in their
order, ask DRAM for pages of K and V, compute on them, and leave their sums; the last block of a row
and its heads combines.

The host code tells how many blocks are launched and how many of them find pages. The machine code
tells what a page costs and how the combine loop loads.
"""
import heapq
import math
import random

PAGE = 64       # positions
MAX_HEADS = 8   # of a block


def blocks_of_heads(group):
    """Returns what deal_heads() of attend.cu does: (blocks for a KV head, query heads of a block)."""
    blocks = -(-group // MAX_HEADS)
    heads = -(-group // blocks)
    return -(-group // heads), heads


def page_bytes(job):
    """Returns the bytes of K and V of a page and KV head."""
    dim = job['head_dim']
    return sum(PAGE * (dim + dim // 16 if q8 else 2 * dim) for q8 in job['q8'])


def combine_us(device, facts, threads, heads, dim, splits):
    """Returns how long the last block takes to combine the splits of its heads. A load of a thread
    covers a few columns, and the loads of neighbouring threads cover the columns beside them: a
    group of columns. `lanes` threads share a column, and each takes every lanes-th split; `chunks`
    groups are loaded together. Each set of loads costs a trip to L2, and all bytes cost their
    transfer."""
    if splits == 1:
        return 0.0
    v, c = device.v, facts['combine']
    width = c['bytes'] // c['loads']  # bytes of a load
    groups = math.ceil(heads * dim * 4 / (threads // c['lanes'] * width))
    passes = math.ceil(groups / c['chunks'])
    at_once = max(1, c['loads'] // c['chunks'])  # splits that a thread has under way
    trips = passes * math.ceil(splits / (c['lanes'] * at_once))
    moved = splits * heads * dim * 4 / v['l2_bytes_per_cycle']
    stores = passes * math.ceil(min(groups, c['chunks']) / c['lanes'])
    barriers = 2 * passes if c['lanes'] > 1 else 0
    return device.cycles(trips * v['combine_trip'] + moved + stores * v['combine_fixed'] +
                         barriers * v['barrier']) / 1e3


class Attention:
    """A launch: job, grid and threads come from the record, facts from the machine code."""

    def __init__(self, device, record, facts, resident, early=0.0):
        self.device, self.facts, self.job = device, facts, record['attend']
        # us before the wait is released, if the kernel already asks for pages of K and V then
        self.early = early if facts.get('prefetches') else 0.0
        self.grid, self.threads, self.resident = record['grid'], record['block'][0], resident
        job = self.job
        self.blocks, self.heads = blocks_of_heads(job['n_heads'] // job['n_kv_heads'])
        self.per = -(-job['pages'] // job['splits'])  # pages of a split
        self.rows = self.grid[0]
        self.launched = self.grid[0] * self.grid[1] * self.grid[2]
        self.live = job['rows'] * self.grid[1] * job['splits']
        if self.grid[1] != job['n_kv_heads'] * self.blocks or self.grid[2] < job['splits']:
            raise SystemExit(f'a launch of attention has the grid {self.grid} for {job}: attend.py '
                             'and attend.cu differ')

    @property
    def bytes(self):
        return self.rows * self.grid[1] * self.job['pages'] * page_bytes(self.job)

    def pages_of(self, split):
        return max(0, min(self.per, self.job['pages'] - split * self.per))

    def us(self):
        return Simulation(self).run() / 1e3


class Block:
    __slots__ = ('place', 'row', 'pages', 'k', 'v')

    def __init__(self, place, row, pages):
        self.place = place  # (slot, SM)
        self.row = row      # and heads
        self.pages = pages  # left
        self.k = self.v = 0.0  # when they are there


class Simulation:
    """Simulates a launch. Blocks that find no page occupy a slot for as long as they need to notice
    it."""

    def __init__(self, launch, seed=1):
        d, job = launch.device, launch.job
        v = d.v
        self.launch, self.device, self.splits = launch, d, job['splits']
        self.uniform = random.Random(seed).uniform
        self.spread = (d.latency * (1 - v['latency_spread']), d.latency * (1 + v['latency_spread']))
        self.n_bytes = page_bytes(job) / 2
        half = launch.facts['page']['n'] / 2  # K and V take about as many instructions
        self.busy, self.alone = d.cycles(half), d.cycles(v['attend_chain'] * half)
        # between the first copy of K and the first of V: 16 bytes of each thread in turn
        self.copies = d.cycles(v['attend_copy'] * self.n_bytes / 16 / launch.threads)
        combine = combine_us(d, launch.facts, launch.threads, launch.heads, job['head_dim'],
                             self.splits)
        self.last = 1e3 * (v['attend_arrive'] + combine)
        # the first blocks go to SMs of their own
        self.slots = [(0.0, k, k % d.sms) for k in range(d.sms * launch.resident)]
        grid = launch.grid
        self.waiting = [(x, y, z) for z in range(grid[2]) for y in range(grid[1])
                        for x in range(grid[0])]
        self.waiting.reverse()
        self.pipe, self.dram, self.end = [0.0] * d.sms, 0.0, 0.0
        # if row and page are loaded before the wait, only q is missing after it
        known = self.launch.facts.get('early_loads', 0) >= 2
        self.first_load = d.l2 if known else v['attend_start'] * 1e3
        self.ready = {}  # for each block of the first wave: when its first page is in L2
        if launch.early:
            self.prefetch(v['attend_start'] * 1e3 - launch.early * 1e3)
        self.arrived, self.events, self.serial = {}, [], 0

    def prefetch(self, now):
        """Lets all blocks ask for K first, then for V, as they do later."""
        first = [b for b in self.waiting[-len(self.slots):][::-1] if self.launch.pages_of(b[2])]
        self.dram = now
        for _ in range(2):
            for place in first:
                self.dram += self.n_bytes / self.device.bandwidth
                self.ready.setdefault(place, []).append(self.dram + self.device.latency)

    def put(self, at, what, block):
        heapq.heappush(self.events, (at, self.serial, what, block))
        self.serial += 1

    def run(self):
        """Returns the ns until the last block has ended."""
        while self.waiting and self.slots:
            self.start()
        while self.events:
            now, _, what, block = heapq.heappop(self.events)
            what(now, block)
        return self.end

    def start(self):
        now, slot, sm = heapq.heappop(self.slots)
        x, y, z = place = self.waiting.pop()
        block = Block((slot, sm), (x, y), self.launch.pages_of(z))
        ready = self.ready.get(place)
        if ready is not None:
            there = now + self.first_load + self.device.l2
            block.k, block.v = (max(there, at) for at in ready)
            self.put(block.k, self.scores, block)
            return
        self.put(now + self.device.v['attend_start'] * 1e3,
                 self.fetch_k if block.pages else self.leave, block)

    def fetch(self, now):
        """Returns when the K or V of a page arrives that is asked for now."""
        self.dram = max(self.dram, now) + self.n_bytes / self.device.bandwidth
        behind = self.device.v['latency_behind_queue'] * self.device.latency
        return max(now + self.uniform(*self.spread), self.dram + behind)

    def compute(self, now, block):
        sm = block.place[1]
        self.pipe[sm] = end = max(now, self.pipe[sm]) + self.busy
        return max(end, now + self.alone)

    def fetch_k(self, now, block):
        block.k = self.fetch(now)
        self.put(now + self.copies, self.fetch_v, block)

    def fetch_v(self, now, block):
        block.v = self.fetch(now)
        self.put(max(now, block.k), self.scores, block)

    def scores(self, now, block):
        """After the scores, K of the next page is asked for, and V of this page is waited for."""
        after = self.compute(now, block)
        block.pages -= 1
        if block.pages > 0:
            block.k = self.fetch(after)
        self.put(max(after, block.v), self.mix, block)

    def mix(self, now, block):
        after = self.compute(now, block)
        if block.pages > 0:
            block.v = self.fetch(after)
            self.put(max(after, block.k), self.scores, block)
        else:
            self.put(after + self.device.v['attend_leave'] * 1e3, self.arrive, block)

    def arrive(self, now, block):
        n = self.arrived[block.row] = self.arrived.get(block.row, 0) + 1
        self.leave(now + self.last if n == self.splits > 1 else now, block)

    def leave(self, now, block):
        self.end = max(self.end, now)
        heapq.heappush(self.slots, (now,) + block.place)
        if self.waiting:
            self.start()
