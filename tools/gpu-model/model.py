#!/usr/bin/env python3
"""Predicts what the kernels take on an H200 that nobody has: decode steps of 1 .. 64 sequences,
prompts, loading, for the models whose launches were recorded.

    model.py --launches FILE            the lines of build/sim/weft-launches
             [--objects DIR]            where the kernels' objects are (build/kernels)
             [--figures FILE]           recorded figures (figures.json beside this file)
             [--check | --write]        compare with the recorded figures, or record these
             [--model NAME] [--detail]  one model; each kernel of its decode steps

The launches come from the host's code, the instructions from the machine code (sass.py), the rest
from assumptions.py. The figures are not measurements: README.md says what they are good for.
"""
import argparse
import glob
import json
import os
import sys

import assumptions
import launches
import load
import many
import sass
from decode import Predictor, graph_kernels, token
from matvec import Device

HERE = os.path.dirname(os.path.abspath(__file__))
TOLERANCE = 0.02
PEAK_TFLOPS = 989  # halves on tensor cores, dense [data sheet]


class Figure:
    """The us, and the least that the device's limits allow; `line` is printed."""

    def __init__(self, name, us, line):
        self.name, self.us, self.line = name, us, line


def thousands(n):
    return f'{n:,.0f}'


def decode_figure(p, cases, key):
    model, _, rows, pos = key
    many_rows = not graph_kernels(cases[key])
    if many_rows:
        records = cases[key]
        us, n_bytes = many.many_us(p, records), many.step_bytes(records)
    else:
        us, n_bytes, _ = token(p, cases, model, rows, pos)
    share = 100 * n_bytes / p.v['peak_bandwidth'] / 1e6 / us
    what = f'{model} ctx {pos}' if rows == 1 else f'{model} {rows} sequences ctx {pos}'
    speed = '' if rows == 1 else f', {thousands(rows / us * 1e6)} tokens/s'
    return Figure(what, us, f'{what}: {thousands(us)} us{speed} ({share:.0f} % of the limit)')


def prefill_figure(p, cases, key):
    model, _, rows, _ = key
    us = many.many_us(p, cases[key])
    work = sum(2 * r['m'] * r['n'] * r['k'] for r in cases[key] if r['kind'] == 'gemm')
    share = 100 * work / PEAK_TFLOPS / 1e6 / us
    what = f'{model} prefill {rows}'
    return Figure(what, us, f'{what}: {us / 1e3:.1f} ms, {thousands(rows / us * 1e6)} tokens/s '
                            f'({share:.0f} % of the limit)')


def load_figure(p, cases, key, upload):
    us, n_bytes = load.load_us(p.v, cases[key], upload)
    what = f'{key[0]} load'
    return Figure(what, us, f'{what}: {n_bytes / us / 1e3:.1f} GB/s, {us / 1e3:.0f} ms')


def order(key):
    """Sorts a decode step of one row first, then prompts, several sequences, loading."""
    _, case, rows, pos = key
    kind = {'decode': 0 if rows == 1 else 2, 'prefill': 1, 'load': 3}[case]
    return kind, rows, pos


def figures(p, cases, upload, only=None):
    models = list(dict.fromkeys(k[0] for k in cases))
    for model in models:
        keys = [k for k in cases if k[0] == model and k[1] in ('decode', 'prefill', 'load')]
        for key in sorted(keys, key=order):
            if only not in (None, model):
                continue
            if key[1] == 'decode':
                yield decode_figure(p, cases, key)
            elif key[1] == 'prefill':
                yield prefill_figure(p, cases, key)
            else:
                yield load_figure(p, cases, key, upload)


def detail(p, cases, only):
    """Prints the kernels of a decode step of one row."""
    for key in cases:
        if key[1] != 'decode' or key[2] != 1 or only not in (None, key[0]):
            continue
        us, _, rows = token(p, cases, key[0], key[2], key[3])
        print(f'{key[0]} ctx {key[3]}: {us:.1f} us, {len(rows)} kernels')
        seen = {}
        for record, cost, n in rows:
            label = (record['name'], record.get('matvec', {}).get('mode', ''),
                     tuple(record['grid']), round(cost.us, 3), round(cost.bytes))
            seen[label] = seen.get(label, 0) + n
        for (name, mode, grid, each, n_bytes), n in seen.items():
            rate = f'{n_bytes / each / 1e6:5.2f} TB/s' if n_bytes else ''
            grid = 'x'.join(map(str, grid))
            print(f'  {n:4d} x {name + " " + mode:28s} {grid:>12s} {each:8.2f} us '
                  f'{n_bytes / 1e6:8.2f} MB {rate}')


# --- what was recorded ---------------------------------------------------------------------------

def read_recorded(path):
    if not os.path.exists(path):
        return {'assumptions': {}, 'figures': {}}
    with open(path, encoding='utf-8') as f:
        return json.load(f)


def compare(recorded, found, values):
    """Returns what is wrong, one sentence each."""
    wrong = []
    for name in sorted(set(values) | set(recorded['assumptions'])):
        was, now = recorded['assumptions'].get(name), values.get(name)
        if was != now:
            wrong.append(f'assumption {name}: is {now}, recorded with the figures is {was}; a '
                         'change of an assumption is a commit of its own, with model.py --write')
    old = recorded['figures']
    for f in found:
        was = old.get(f.name)
        if was is None:
            wrong.append(f'{f.name}: no figure was recorded; record it with model.py --write')
        elif f.us > was * (1 + TOLERANCE):
            more = 100 * (f.us / was - 1)
            wrong.append(f'{f.name}: {f.us:.1f} us, recorded are {was:.1f}: {more:.1f} % more, '
                         f'allowed are {100 * TOLERANCE:.0f}; find what has become slower with '
                         '--detail, or record it with model.py --write and say why')
    for name in sorted(set(old) - {f.name for f in found}):
        wrong.append(f'{name}: was recorded, but is not predicted any more; was its case left out '
                     'of weft-launches?')
    return wrong


def write(path, recorded, found, values):
    """Records the figures, and shows the old ones."""
    with open(path, 'w', encoding='utf-8') as out:
        json.dump({'assumptions': values, 'figures': {f.name: round(f.us, 1) for f in found}}, out,
                  indent=1, sort_keys=True)
        out.write('\n')
    for name in sorted(values):
        was = recorded['assumptions'].get(name)
        if was not in (None, values[name]):
            print(f'assumption {name}: {was} -> {values[name]}')
    for f in found:
        was = recorded['figures'].get(f.name)
        if was is None or abs(f.us - was) >= 0.05:
            change = '' if was is None else f' ({100 * (f.us / was - 1):+.1f} %)'
            print(f'{f.name}: {"new" if was is None else f"{was:.1f}"} -> {f.us:.1f} us{change}')


def parse_arguments():
    a = argparse.ArgumentParser(usage=__doc__)
    a.add_argument('--launches', required=True)
    a.add_argument('--objects', default='build/kernels')
    a.add_argument('--cuda')
    a.add_argument('--figures', default=os.path.join(HERE, 'figures.json'))
    a.add_argument('--model')
    a.add_argument('--set', action='append', default=[], metavar='NAME=VALUE',
                   help='another value for an assumption, to see what it moves')
    for flag in ('check', 'write', 'detail'):
        a.add_argument('--' + flag, action='store_true')
    return a.parse_args()


def main():
    o = parse_arguments()
    values = dict(assumptions.VALUE)
    if o.write and (o.model is not None or o.set):
        raise SystemExit('--write records all models with the assumptions of assumptions.py: leave '
                         'out --model and --set')
    for change in o.set:
        name, value = change.split('=')
        if name not in values:
            raise SystemExit(f'{name}: no such assumption; assumptions.py has them')
        values[name] = float(value)
    objects = sorted(glob.glob(os.path.join(o.objects, '*.o')))
    facts = sass.collect(objects, cuda=o.cuda, cache='build/gpu-model')
    p, cases = Predictor(Device(values), facts), launches.read(o.launches)
    if o.detail:
        detail(p, cases, o.model)
        return 0
    found = []
    for f in figures(p, cases, load.read_source(), o.model):
        print(f.line, flush=True)
        found.append(f)
    recorded = read_recorded(o.figures)
    if o.model is not None:
        recorded['figures'] = {name: us for name, us in recorded['figures'].items()
                               if name.startswith(o.model + ' ')}
    if o.write:
        write(o.figures, recorded, found, values)
    elif o.check:
        wrong = compare(recorded, found, values)
        for sentence in wrong:
            print(sentence, file=sys.stderr)
        return 1 if wrong else 0
    return 0


if __name__ == '__main__':
    sys.exit(main())
