"""A decode step: the launches of its graph one after the other, each kernel once for each of its
shapes, with a gap between dependent kernels."""
from attend import Attention
from launches import TYPES, weight_bytes
from matvec import Matvec, simulate

BLOCK_KEPT = 1024  # bytes of shared memory that an SM keeps for each block
PICKING = ('k_best', 'k_merge', 'k_advance')
# Small kernels by the beginning of their names, and the assumption that holds their time.
SMALL = {'embed_row': 'embed', 'k_heads': 'heads', 'k_best<': 'small_kernel',
         'k_merge<': 'small_kernel', 'k_advance': 'small_kernel'}


def resident(values, facts, threads, shared):
    """Returns how many blocks of a kernel an SM holds at once, from their registers and shared
    memory."""
    registers = max(1, -(-facts['registers'] // 8) * 8 * threads)
    by_registers = values['registers'] // registers
    room = (values['shared_kb'] + 1) * 1024
    by_shared = room // (facts['shared'] + shared + BLOCK_KEPT)
    return int(max(1, min(by_registers, by_shared, 2048 // threads, 32)))


class Cost:
    """The us that a kernel takes, and the bytes that it has to read."""

    def __init__(self, us, n_bytes=0.0):
        self.us, self.bytes = us, n_bytes


class Predictor:
    def __init__(self, device, facts):
        self.device, self.v = device, device.v
        self.facts = {name: row for rows in facts.values() for name, row in rows.items()}
        self.known = {}

    def kernel_facts(self, name):
        if name not in self.facts:
            raise SystemExit(f'{name}: was launched, but build/kernels/*.o have no such kernel; '
                             'record the launches anew or build the kernels')
        return self.facts[name]

    def cost(self, record, before):
        """Returns the cost of a launch that follows the launch `before`."""
        early = self.early(before)
        job = dict(record.get('matvec') or record.get('attend') or record.get('best') or {}, first=0)
        key = (record['name'], str(record['grid']), str(job), early)
        if key not in self.known:
            if 'matvec' in record:
                cost = self.matvec(record, early)
            elif 'attend' in record:
                a = Attention(self.device, record, *self.attend_facts(record), early)
                cost = Cost(a.us(), a.bytes)
            else:
                cost = self.small(record)
            self.known[key] = cost
        return self.known[key]

    def early(self, before):
        """Returns for how many us a block runs, and asks for weights, before its wait is released.
        That depends on how many places the kernel before leaves free."""
        if before is None or 'attend' in before:
            return self.v['early_attend' if before else 'early_full']
        facts = self.facts.get(before['name'], {'registers': 0, 'shared': 0})
        places = resident(self.v, facts, before['block'][0], before['shared']) * self.device.sms
        x, y, z = before['grid']
        return self.v['early_room' if x * y * z < places else 'early_full']

    def attend_facts(self, record):
        facts = self.kernel_facts(record['name'])
        return facts, resident(self.v, facts, record['block'][0], record['shared'])

    def small(self, record):
        """Returns the cost of a kernel that takes a few trips to memory, or as long as the logits
        that it reads."""
        name = record['name']
        for start, assumption in SMALL.items():
            if name.startswith(start):
                read = record.get('best', {}).get('bytes', 0) / self.device.bandwidth / 1e3
                return Cost(max(self.v[assumption], read))
        raise SystemExit(f'{name}: nothing is known of what this kernel takes, or its line lacks what '
                         'its parameters say; decode.py, many.py and describe.c have to know it')

    def prologue(self, record, facts):
        """Returns the ns from the released wait to the first load. A kernel that normalises does it
        in this time. More rows cost at least what their instructions take to issue, in all
        blocks of an SM."""
        d, v, job = self.device, self.v, record['matvec']
        if not job['normed']:
            return d.cycles(v['prologue'])
        columns = job['w'][0]['cols']
        row = v['norm_column'] * columns
        blocks = min(resident(v, facts, record['block'][0], record['shared']),
                     -(-record['grid'][0] // d.sms))
        issue = facts['norm_chunk'] * -(-columns // 128) * blocks / d.quarters
        return d.cycles(v['norm'] + row + (job['n'] - 1) * max(row, issue))

    def matvec(self, record, early):
        job, facts = record['matvec'], self.kernel_facts(record['name'])
        v = self.v
        launch = Matvec(job, record['block'][0],
                        resident(v, facts, record['block'][0], record['shared']),
                        facts, TYPES, self.device)
        r = simulate(launch, record['grid'][0], early * 1e3, self.prologue(record, facts),
                     v['residual'] if facts['late_loads'] else 0)
        return Cost(r.us, launch.bytes)

    def step(self, records):
        """Returns the cost of the kernels of a graph: us with their gaps, bytes, and (name, us,
        count) of each."""
        us = n_bytes = 0.0
        rows, before = [], None
        for r in records:
            if r['kind'] != 'kernel':
                continue
            n, cost = r.get('count', 1), self.cost(r, before)
            us += n * (cost.us + self.v['gap'])
            n_bytes += n * cost.bytes
            rows.append((r, cost, n))
            before = r
        return us, n_bytes, rows


def is_picking(record):
    return record['kind'] == 'kernel' and record['name'].startswith(PICKING)


def graph_kernels(records):
    return [r for r in records if r['kind'] == 'kernel' and r.get('graph')]


def token(predictor, cases, model, rows, pos):
    """Returns the us of a step of `rows` sequences that see `pos` positions, and the bytes that it
    has to read. The kernels that pick the next token are those of the steps ahead."""
    kernels = [r for r in graph_kernels(cases[model, 'decode', rows, pos]) if not is_picking(r)]
    ahead = next((c for k, c in cases.items() if k[:2] == (model, 'ahead')), [])
    us, n_bytes, table = predictor.step(kernels + [r for r in ahead if is_picking(r)])
    return us + predictor.v['graph_border'], n_bytes, table


__all__ = ['Predictor', 'token', 'weight_bytes', 'resident']
