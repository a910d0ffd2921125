"""Attention of rows one by one (attend.cu) as events: blocks take the slots of the SMs in their
order, ask DRAM for pages of K and V, compute on them, and leave their sums; the last block of a row
and its heads combines.

How many blocks are launched and how many of them find pages comes from the host code, what a page
costs and how the combine loop loads from the machine code.
"""
import heapq
import math
import random

PAGE = 64       # positions
MAX_HEADS = 8   # of a block


def blocks_of_heads(group):
    """attend.cu deal_heads(): (blocks for a KV head, query heads of a block)."""
    blocks = -(-group // MAX_HEADS)
    heads = -(-group // blocks)
    return -(-group // heads), heads


def page_bytes(job):
    """K and V of a page and KV head."""
    dim = job['head_dim']
    return sum(PAGE * (dim + dim // 16 if q8 else 2 * dim) for q8 in job['q8'])


def combine_us(device, facts, threads, heads, dim, splits):
    """The last block sums the splits of its heads. Threads beside each other take the columns that
    one of them loads at once; `lanes` of them share a column and take every lanes-th split;
    `chunks` such groups of columns are loaded together. Each group of loads costs a trip to L2,
    all bytes their transfer."""
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
    """A launch: job, grid and threads from the record, facts of its kernel from the machine code."""

    def __init__(self, device, record, facts, resident):
        self.device, self.facts, self.job = device, facts, record['attend']
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
        return self.simulate() / 1e3

    def simulate(self):
        """ns until the last block with work has ended."""
        d, v = self.device, self.device.v
        rand = random.Random(1)
        # the first blocks go to SMs of their own
        slots = [(0.0, k, k % d.sms) for k in range(d.sms * self.resident)]
        pipe, dram, end = [0.0] * d.sms, 0.0, 0.0
        n_bytes = page_bytes(self.job) / 2
        half = self.facts['page']['n'] / 2
        busy, alone = d.cycles(half), d.cycles(v['attend_chain'] * half)
        # between the first copy of K and that of V: 16 bytes of each thread in turn
        copies = d.cycles(v['attend_copy'] * n_bytes / 16 / self.threads)
        arrived, events, serial = {}, [], 0
        waiting = [(x, y, z) for z in range(self.grid[2]) for y in range(self.grid[1])
                   for x in range(self.rows)]
        waiting.reverse()
        last = d.cycles(0) + v['attend_arrive'] * 1e3 + 1e3 * combine_us(
            d, self.facts, self.threads, self.heads, self.job['head_dim'], self.job['splits'])

        def fetch(now):
            """A page's K or V, asked for at `now`."""
            nonlocal dram
            dram = max(dram, now) + n_bytes / d.bandwidth
            spread = rand.uniform(1 - v['latency_spread'], 1 + v['latency_spread'])
            return max(now + d.latency * spread, dram + v['latency_behind_queue'] * d.latency)

        def start():
            nonlocal serial
            now, slot, sm = heapq.heappop(slots)
            x, y, z = waiting.pop()
            n = self.pages_of(z)
            heapq.heappush(events, (now + v['attend_start'] * 1e3, serial, 'fetch' if n else 'empty',
                                    (slot, sm), (x, y), [n, 0.0, 0.0]))
            serial += 1

        def compute(now, place):
            sm = place[1]
            begin = max(now, pipe[sm])
            pipe[sm] = begin + busy
            return max(begin + busy, now + alone)

        while waiting and slots:
            start()
        while events:
            now, _, what, place, row, block = heapq.heappop(events)
            if what == 'fetch':
                block[1] = fetch(now)
                after, what = now + copies, 'fetch v'
            elif what == 'fetch v':
                block[2] = fetch(now)
                after, what = block[1], 'scores'
            elif what == 'scores':
                after, what = compute(now, place), 'mix'
                block[0] -= 1
                if block[0] > 0:
                    block[1] = fetch(after)
                after = max(after, block[2])
            elif what == 'mix':
                after, what = compute(now, place), 'leave'
                if block[0] > 0:
                    block[2] = fetch(after)
                    after, what = max(after, block[1]), 'scores'
                else:
                    after += v['attend_leave'] * 1e3
            else:
                arrived[row] = arrived.get(row, 0) + (what == 'leave')
                if what == 'leave' and self.job['splits'] > 1 and arrived[row] == self.job['splits']:
                    now += last
                end = max(end, now)
                heapq.heappush(slots, (now,) + place)
                if waiting:
                    start()
                continue
            heapq.heappush(events, (after, serial, what, place, row, block))
            serial += 1
        return end
