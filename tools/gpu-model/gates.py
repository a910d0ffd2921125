#!/usr/bin/env python3
"""Gates on the machine code of the kernels, which need no GPU:

    gates.py --launches FILE [--objects DIR] [--table FILE] [--write]

Every kernel, every type of a dot loop, and every pair of kernels that follow one another in a
decode step has a row in gates.json. A gate fails where a number has become worse than its row by more
than its tolerance, where a kernel has no row or a row no kernel, and where a number misses its aim
and reasons.toml does not say why, in words. --write refreshes gates.json; people write the reasons.
"""
import argparse
import fnmatch
import glob
import json
import os
import sys
import tomllib

import assumptions
import launches
import sass
from decode import graph_kernels, resident

HERE = os.path.dirname(os.path.abspath(__file__))

# For each metric: the direction that is worse (1: up, -1: down), and the tolerance.
METRICS = {
    'instr_per_byte': (1, 0.02),    # in a dot loop, for each byte of weights
    'alu_per_byte': (1, 0.02),      # cycles of the ALU pipe there
    'loads': (-1, 0),               # in flight when the first is used
    'prefetches': (-1, 0),          # lines requested before the kernel's wait
    'later_prefetches': (-1, 0),    # lines requested behind it
    'generic': (1, 0),              # accesses to a memory space unknown to the compiler
    'late_loads': (1, 0),           # loads behind the dot loops
    'registers': (1, 0.04),
    'shared': (1, 0.05),            # bytes, without what the launch adds
    'spills': (1, 0),               # bytes of the stack
    'page': (1, 0.03),              # instructions of a page of attention
    'combine_bytes': (-1, 0),       # in flight in a thread that combines splits
    'combine_lanes': (-1, 0),       # threads that share a column there
    'hmma_per_ldsm': (-1, 0),
    'instr_per_weight': (1, 0.02),  # of a thread that dequantises
    'over_registers': (1, 0.02),    # that a kernel and the next one lack on an SM
    'over_shared': (1, 0.02),
}

AIMS = {  # metric: (what is wanted, is it met)
    'loads': ('at least 8 loads under way before the first use', lambda n: n >= 8),
    'generic': ('no generic loads or stores in loops', lambda n: n == 0),
    'late_loads': ('nothing loaded behind the dot', lambda n: n == 0),
    'spills': ('no spills', lambda n: n == 0),
    'combine_bytes': ('at least 128 bytes under way in a thread', lambda n: n >= 128),
    'hmma_per_ldsm': ('at least 4 HMMA for an LDSM', lambda n: n >= 4),
    'over_registers': ('room for a block of the next kernel', lambda n: n == 0),
    'over_shared': ('room for a block of the next kernel', lambda n: n == 0),
}
ONE_ROW_TBS, EIGHT_ROWS_TBS = 6.5, 5.0


# --- what there is -------------------------------------------------------------------------------

def dot_rows(name, facts):
    for kind, loops in facts['types'].items():
        n_bytes = sum(x['weights'] for x in loops) * launches.TYPES[kind].bytes_per_weight
        yield f'{name} {kind}', {
            'instr_per_byte': round(sum(x['n'] for x in loops) / n_bytes, 4),
            'alu_per_byte': round(2 * sum(x['alu'] for x in loops) / n_bytes, 4),
            'loads': min(x['loads'] for x in loops),
            'generic': sum(x['generic'] for x in loops),
        }


def kernel_row(facts):
    row = {'registers': facts['registers'], 'shared': facts['shared'],
           'spills': facts['local'] + facts['stack'], 'generic': facts['generic']}
    for kind in ('prefetches', 'later_prefetches'):
        if facts[kind]:
            row[kind] = facts[kind]
    if 'late_loads' in facts:
        row['late_loads'] = facts['late_loads']
    if 'page' in facts:
        row['page'] = facts['page']['n']
    if 'combine' in facts:
        row['combine_bytes'] = facts['combine']['bytes']
        row['combine_lanes'] = facts['combine']['lanes']
    if 'tensor' in facts:
        row['hmma_per_ldsm'] = round(facts['tensor']['HMMA'] / max(1, facts['tensor']['LDSM']), 2)
    return row


def residency(kernels, cases, v):
    """For every pair of kernels that follow one another in a decode step, returns how much the blocks
    of the first kernel on the fullest SM and one block of the second need beyond what an SM has. If
    that is 0, the second kernel can ask for weights before the first has ended."""
    rows = {}
    for key, records in cases.items():
        if key[1] != 'decode' or key[2] != 1:
            continue
        chain = graph_kernels(records)
        for first, then in zip(chain, chain[1:]):
            a, b = kernels.get(first['name']), kernels.get(then['name'])
            if a is None or b is None:
                continue
            need = [0, 0]
            grid = first['grid'][0] * first['grid'][1] * first['grid'][2]
            blocks = min(resident(v, a, first['block'][0], first['shared']),
                         -(-grid // int(v['sms'])))
            for facts, r, n in ((a, first, blocks), (b, then, 1)):
                need[0] += n * -(-facts['registers'] // 8) * 8 * r['block'][0]
                need[1] += n * (facts['shared'] + r['shared'] + 1024)
            over = (need[0] - v['registers'], need[1] - (v['shared_kb'] + 1) * 1024)
            row = rows.setdefault(f'{label(first)} -> {label(then)}',
                                  {'over_registers': 0, 'over_shared': 0})
            for metric, n in zip(row, over):
                row[metric] = max(row[metric], int(n))
    return rows


def label(record):
    mode = record.get('matvec', {}).get('mode')
    return record['name'] + (f' {mode}' if mode else '')


def measure(facts, cases, v):
    """Returns {row: {metric: number}}."""
    rows, kernels = {}, {}
    for found in facts.values():
        kernels.update(found)
    for name, f in kernels.items():
        rows[name] = kernel_row(f)
        if name.startswith('matvec_rows<'):
            rows.update(dot_rows(name, f))
        if name.startswith('dequant_row'):
            for kind, x in f['types'].items():
                rows[f'{name} {kind}'] = {
                    'instr_per_weight': round(x['n'] * sass.WARP / x['weights'], 3)}
    rows.update(residency(kernels, cases, v))
    return rows


# --- gates ---------------------------------------------------------------------------------------

def bound_tbs(per_byte, v):
    """Returns the TB/s of all quarters of all SMs at so many cycles per byte."""
    return v['sms'] * v['quarters'] * v['clock'] / per_byte / 1e3


def missed(key, row, v):
    """Returns (metric, sentence) for the aims that a row misses."""
    found = [(metric, f'{metric} is {row[metric]}, wanted: {text}')
             for metric, (text, met) in AIMS.items() if metric in row and not met(row[metric])]
    if 'instr_per_byte' in row:
        issue, alu = bound_tbs(row['instr_per_byte'], v), bound_tbs(row['alu_per_byte'], v)
        if key.startswith('matvec_rows<1') and alu < ONE_ROW_TBS:
            found.append(('alu_per_byte', f'the ALU pipe allows {alu:.1f} TB/s of weights, wanted: '
                                          f'{ONE_ROW_TBS}'))
        if key.startswith('matvec_rows<8') and issue < EIGHT_ROWS_TBS:
            found.append(('instr_per_byte', f'instructions allow {issue:.1f} TB/s of weights, '
                                            f'wanted: {EIGHT_ROWS_TBS}'))
    return found


def worse(row, was):
    for metric, now in row.items():
        way, tolerance = METRICS[metric]
        then = was.get(metric)
        if then is None:
            yield f'{metric} is not in the row'
        elif way * (now - then) > tolerance * abs(then) + 1e-9:
            yield f'{metric} is {now}, the row has {then}'
    for metric in sorted(set(was) - set(row)):
        yield f'{metric} is not found any more, the row has {was[metric]}'


def check(rows, table, reasons, v):
    """Returns what is wrong, one sentence each."""
    wrong, used = [], set()
    for key, row in sorted(rows.items()):
        was = table.get(key)
        if was is None:
            wrong.append(f'{key}: has no row in gates.json; gates.py --write makes it')
            continue
        for text in worse(row, was):
            wrong.append(f'{key}: {text}; mend the kernel, or run gates.py --write and say why in '
                         'the commit')
        for metric, text in missed(key, row, v):
            why = [i for i, r in enumerate(reasons) if r['metric'] == metric and
                   any(fnmatch.fnmatchcase(key, pattern) for pattern in r['rows'])]
            used.update(why)
            if not why:
                wrong.append(f'{key}: {text}; mend the kernel, or say why not in reasons.toml')
    for key in sorted(set(table) - set(rows)):
        wrong.append(f'{key}: has a row in gates.json, but there is no such kernel, type or pair; '
                     'gates.py --write removes it')
    for i, r in enumerate(reasons):
        if i not in used:
            wrong.append(f'reasons.toml: no row of {r["rows"]} misses the aim of {r["metric"]} any '
                         'more; remove the reason')
    return wrong


def write_table(path, table):
    """Writes one line for each row, so that changes are easy to read."""
    lines = ',\n'.join(f'{json.dumps(k)}: {json.dumps(row)}' for k, row in sorted(table.items()))
    with open(path, 'w', encoding='utf-8') as f:
        f.write(f'{{\n{lines}\n}}\n')


def main():
    a = argparse.ArgumentParser(usage=__doc__)
    a.add_argument('--launches', required=True)
    a.add_argument('--objects', default='build/kernels')
    a.add_argument('--table', default=os.path.join(HERE, 'gates.json'))
    a.add_argument('--cuda')
    a.add_argument('--write', action='store_true')
    o = a.parse_args()
    v = assumptions.VALUE
    objects = sorted(glob.glob(os.path.join(o.objects, '*.o')))
    facts = sass.collect(objects, cuda=o.cuda, cache='build/gpu-model')
    rows = measure(facts, launches.read(o.launches), v)
    with open(os.path.join(HERE, 'reasons.toml'), 'rb') as f:
        reasons = tomllib.load(f)['reason']
    if o.write:
        write_table(o.table, rows)
    with open(o.table, encoding='utf-8') as f:
        table = json.load(f)
    wrong = check(rows, table, reasons, v)
    for text in wrong:
        print(text, file=sys.stderr)
    if not wrong:
        below = sum(1 for key, row in rows.items() if missed(key, row, v))
        print(f'machine code: {len(rows)} rows, {below} of them below an aim, for {len(reasons)} '
              'reasons')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
