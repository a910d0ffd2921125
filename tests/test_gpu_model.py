"""The model of an H200 in tools/gpu-model: what it conserves, cases that can be computed by hand, and
the figures that it gave for the kernels of commit f4705f1, which its assumptions have to keep."""
import json
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tools', 'gpu-model'))

import assumptions  # noqa: E402
import attend  # noqa: E402
import gates  # noqa: E402
import launches  # noqa: E402
import load  # noqa: E402
import many  # noqa: E402
import matvec  # noqa: E402
import model  # noqa: E402
import sass  # noqa: E402
from decode import Predictor, resident, token  # noqa: E402

DATA = os.path.join(HERE, 'data', 'gpu-model')


def values(**changed):
    return dict(assumptions.VALUE, **changed)


def device(**changed):
    return matvec.Device(values(**changed))


def counts(n=100, weights=4096, **more):
    return dict({'n': n, 'alu': 0, 'products': 0, 'quarter': 0, 'weights': weights, 'generic': 0,
                 'generic_waits': 0, 'loads': 8, 'load_bytes': 128, 'pipelined': False}, **more)


def job(rows, cols, split=1, mode='store', kind='Q4_0', n_w=1):
    units = 32 // split
    tiles = -(-rows // units) * (1 if mode == 'swiglu' else n_w)
    return {'mode': mode, 'normed': False, 'w': [{'type': kind, 'rows': rows, 'cols': cols}] * n_w,
            'split': split, 'units': units, 'tiles': tiles, 'n': 1, 'first': 0}


def run(d, j, grid, early=0.0, prologue=0.0, residual=0, table=None, rounds=matvec.MOST_ROUNDS,
        prefetches=1, later=0):
    table = table or {t: [counts()] for t in launches.TYPES}
    facts = {'types': table, 'prefetches': prefetches, 'later_prefetches': later}
    launch = matvec.Matvec(j, 256, 2, facts, launches.TYPES, d)
    s = matvec.Simulation(launch, grid, early, prologue, residual, most_rounds=rounds)
    return s.run(), s.loaded, launch


class MatvecTest(unittest.TestCase):
    def test_bytes(self):
        """Every byte of the weights is loaded once, however the columns and rows are dealt."""
        for j, grid in ((job(4096, 2048), 128), (job(4096, 4096, split=4), 264),
                        (job(1024, 2048, mode='swiglu', n_w=2), 32), (job(512, 3072, n_w=3), 48)):
            _, loaded, launch = run(device(), j, grid, rounds=1000)
            self.assertAlmostEqual(loaded, launch.bytes, delta=1)

    def test_bytes_of_parts(self):
        """Covers types whose loop has half of the rows at a time."""
        table = {'Q4_0': [counts(weights=2048), counts(weights=2048)]}
        _, loaded, launch = run(device(), job(4096, 2048), 128, table=table, rounds=1000)
        self.assertAlmostEqual(loaded, launch.bytes, delta=1)

    def test_by_hand(self):
        """One block, one step: prologue, issue, latency, the step alone, end of the tile, tail."""
        d = device(latency_spread=0, prefetch_plane=0, bandwidth=1e6)
        ns, _, _ = run(d, job(32, 1024), 1, prologue=100.0)
        v = d.v
        # two warps share a quarter of the SM: the second one's loads are issued behind the first's
        cycles = 2 * v['issue_loads'] + v['chain'] * 100 + v['tile_end'] + v['tail']
        self.assertAlmostEqual(ns, 100.0 + v['latency'] + d.cycles(cycles), delta=0.5)

    def test_rate(self):
        """A long launch with little to compute comes near to what DRAM gives, and never above."""
        d = device()
        ns, loaded, launch = run(d, job(132 * 2 * 32 * 8, 8192), 264, rounds=1000)
        self.assertLess(loaded / ns, d.bandwidth)
        self.assertGreater(loaded / ns, 0.9 * d.bandwidth)

    def test_issue_bound(self):
        """Where instructions are many, the quarters of the SMs are the bound."""
        d = device(latency=1, prefetch_plane=0)
        table = {'Q4_0': [counts(n=20000)]}
        ns, _, _ = run(d, job(132 * 32, 1024), 132, table=table)
        self.assertGreaterEqual(ns, d.cycles(2 * (20000 - d.v['issue_loads'])))
        self.assertLess(ns, d.cycles(2 * 20000 * d.v['chain']))

    def test_monotonic(self):
        """More latency, less bandwidth or a later residual never make it faster."""
        j = job(8192, 3072, split=2, mode='add')
        times = [run(device(latency=n), j, 256)[0] for n in (400, 550, 700)]
        self.assertEqual(times, sorted(times))
        self.assertLess(run(device(bandwidth=4.5), j, 256)[0], run(device(bandwidth=3.0), j, 256)[0])
        late = run(device(), j, 256, residual=230)[0]
        self.assertGreater(late - run(device(), j, 256)[0], device().cycles(200))

    def test_pipelined(self):
        """The next step's loads come before this step's arithmetic."""
        d, j = device(), job(8448, 4096)
        table = {'Q4_0': [counts(n=300, pipelined=True)]}
        slow = run(d, j, 132, table={'Q4_0': [counts(n=300)]})[0]
        self.assertLess(run(d, j, 132, table=table)[0], slow)

    def test_prefetch(self):
        """Nobody waits for DRAM if the weights were asked for early enough."""
        j, d = job(132 * 32, 1024), device()
        early = run(d, j, 132, early=5000.0, prologue=100.0)[0]
        late = run(d, j, 132, early=5000.0, prologue=100.0, prefetches=0)[0]
        self.assertGreater(late - early, 0.5 * (d.latency - d.l2))

    def test_prefetch_next(self):
        """Tiles that are asked for while the tile before is computed come faster, but not faster
        than DRAM delivers. Bytes beyond the plan's are waited for as before."""
        d, table = device(), {'Q4_0': [counts(n=283)]}
        for mode, n_w in (('store', 1), ('swiglu', 2)):
            j = dict(job(132 * 2 * 32 * 4, 3584, mode=mode, n_w=n_w), prefetch=65536)
            slow = run(d, j, 264, rounds=1000, table=table)[0]
            fast, loaded, launch = run(d, j, 264, rounds=1000, table=table, later=1)
            bound = loaded / d.bandwidth
            self.assertGreater(fast, bound)
            self.assertLess(fast - bound, 0.6 * (slow - bound))
            self.assertAlmostEqual(loaded, launch.bytes, delta=1)
            part = run(d, dict(j, prefetch=16384), 264, rounds=1000, table=table, later=1)[0]
            self.assertLess(fast, part)

    def test_same_twice(self):
        j = job(4096, 4096, split=4)
        self.assertEqual(run(device(), j, 256)[0], run(device(), j, 256)[0])

    def test_rounds_left_out(self):
        """Rounds in the middle that are not simulated count like those that are."""
        j = job(132 * 2 * 32 * 14 - 40, 3584)
        whole, short = run(device(), j, 264, rounds=1000)[0], run(device(), j, 264)[0]
        self.assertAlmostEqual(short / whole, 1, delta=0.01)

    def test_other_tiles(self):
        j = dict(job(4096, 2048), tiles=5)
        with self.assertRaises(SystemExit):
            run(device(), j, 5)


def attention(pages, splits, kv_heads=4, group=7, dim=128, grid_z=64, rows=1):
    return {'name': 'k', 'grid': [rows, kv_heads, grid_z], 'block': [128, 1, 1], 'shared': 0,
            'attend': {'n_heads': kv_heads * group, 'n_kv_heads': kv_heads, 'head_dim': dim,
                       'q8': [False, False], 'rows': rows, 'splits': splits, 'pages': pages,
                       'window': 0, 'forms': ['q8']}}


FACTS = {'page': {'n': 1771}, 'combine': {'loads': 4, 'bytes': 16, 'lanes': 1, 'chunks': 1}}


def attend_us(record, facts=None, blocks=3, **changed):
    return attend.Attention(device(**changed), record, facts or FACTS, blocks).us()


class AttendTest(unittest.TestCase):
    def test_one_page(self):
        """One page, by hand: the block starts, waits for K, computes one half of the page, during which V arrives,
        then the other half, and leaves."""
        v = values()
        us = attend_us(attention(1, 1, kv_heads=1), latency_spread=0)
        by_hand = v['attend_start'] + v['attend_leave'] + v['latency'] / 1e3 + \
            v['attend_chain'] * 1771 / v['clock'] / 1e3
        self.assertAlmostEqual(us, by_hand, delta=0.05)

    def test_combine(self):
        """7 heads of 128 columns: 7 groups of columns for 128 threads of 4 bytes; 64 splits are 16
        groups of 4 loads."""
        d = device()
        v = d.v
        trip = v['combine_trip'] + 4 * 128 * 4 / v['l2_bytes_per_cycle']
        us = attend.combine_us(d, FACTS, 128, 7, 128, 64)
        self.assertAlmostEqual(us, d.cycles(7 * (16 * trip + v['combine_fixed'])) / 1e3, delta=1e-9)
        self.assertEqual(attend.combine_us(d, FACTS, 128, 7, 128, 1), 0)

    def test_more_in_flight(self):
        wide = dict(FACTS, combine={'loads': 16, 'bytes': 256, 'lanes': 4, 'chunks': 8})
        self.assertLess(attend.combine_us(device(), wide, 128, 7, 128, 16),
                        attend.combine_us(device(), FACTS, 128, 7, 128, 16) / 2)

    def test_bytes_bound(self):
        """32 KV heads at 4,096 positions: not below what K and V take, nor far above."""
        record = attention(64, 64, kv_heads=32, group=1, dim=96)
        a = attend.Attention(device(), record, dict(FACTS, page={'n': 927}), 8)
        least = a.bytes / device().bandwidth / 1e3
        self.assertEqual(a.bytes, 2 * 2 * 32 * 96 * 4096)
        self.assertGreater(a.us(), least)
        self.assertLess(a.us(), 1.6 * least)

    def test_monotonic(self):
        times = [attend_us(attention(n, n)) for n in (2, 8, 32, 64)]
        self.assertEqual(times, sorted(times))
        self.assertLess(attend_us(attention(8, 8), latency=400), attend_us(attention(8, 8)))

    def test_prefetch(self):
        """Pages that are asked for before the wait save time, but not more than K and V take."""
        facts = dict(FACTS, prefetches=2, early_loads=2)
        record, d = attention(8, 8), device()
        now = attend.Attention(d, record, FACTS, 3, 1.5).us()
        then = attend.Attention(d, record, facts, 3, 1.5).us()
        self.assertLess(then, now - 0.3)
        self.assertGreater(then, now - d.v['attend_start'] - d.latency * 1.2e-3 - 0.3)

    def test_other_grid(self):
        with self.assertRaises(SystemExit):
            attend_us(attention(64, 64, grid_z=16))


class ManyTest(unittest.TestCase):
    def gemm(self, m, n, k, out='f32'):
        return many.gemm_us(values(), {'m': m, 'n': n, 'k': k, 'types': ['f16', 'f16', out]})

    def test_waves(self):
        """A tile more than a wave costs a wave; whole waves run at the rate that is assumed."""
        v = values()
        wave = 2 * 128 * 256 * 8192 / (v['gemm_tflops_256'] * 1e6 / v['sms'])
        one = self.gemm(128 * 132, 256, 8192)
        self.assertAlmostEqual(one, wave + v['gemm_fixed'] + many.transfer_us(v, 128 * 132 * 256 * 4),
                               delta=0.1)
        self.assertGreater(self.gemm(128 * 134, 256, 8192), one + 0.4 * wave)

    def test_wave_table(self):
        full, blocks, waves = many.gemm_waves(values(), {'m': 37888, 'n': 2048, 'k': 3584,
                                                         'types': ['f16', 'f16', 'f16']})
        self.assertEqual((blocks, waves), (2368, 18))
        self.assertAlmostEqual(full, 0.997, delta=0.001)

    def test_never_above_the_peak(self):
        for m, n, k in ((4096, 64, 4096), (128, 2048, 18944), (37888, 4096, 3584), (512, 512, 512)):
            self.assertGreater(self.gemm(m, n, k), 2 * m * n * k / model.PEAK_TFLOPS / 1e6)

    def load(self, upload, streams):
        records = [{'kind': 'copy', 'direction': 'h2d', 'count': 2, 'stream': n,
                    'bytes': 10 ** 10 // len(streams)} for n in streams]
        records.append({'kind': 'kernel', 'name': 'repack_blocks', 'stream': 1, 'bytes': 10 ** 10})
        us, n = load.load_us(values(copy_fixed=0), records, upload)
        return n / us / 1e3

    def test_load(self):
        """One reader of a mapped file is the bound. Eight readers that read(), with room in the
        ring, are not: then the way to the device is the bound, if its work overlaps."""
        v = values()
        self.assertAlmostEqual(self.load(load.Upload(1, 2, True), [1]), v['memcpy'], delta=0.01)
        eight = min(8 * v['pread'], v['host_memory'], v['pcie'])
        self.assertAlmostEqual(self.load(load.Upload(8, 10, False), [2, 3]), eight, delta=0.01)
        self.assertLess(self.load(load.Upload(8, 8, False), [2, 3]), eight / 1.5)
        sixteen = load.Upload(16, 18, False)
        self.assertLess(self.load(sixteen, [1]), self.load(sixteen, [2]))

    def test_source_of_load(self):
        upload = load.read_source(os.path.join(HERE, '..', 'cuda'))
        self.assertGreater(upload.ring, 1)


CODE = '''
\t.section\t.text.k,"ax",@progbits
.text.k:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
\t//## File "/x/kernels/dequant.cuh", line 7 inlined at "/x/kernels/dot.cuh", line 9
\t//## File "/x/kernels/dot.cuh", line 9
        /*0010*/                   LDG.E.NA.128.CONSTANT R4, desc[UR4][R2.64] ;
        /*0020*/                   LDG.E.U16.CONSTANT R8, desc[UR4][R2.64+0x10] ;
\t//## File "/x/kernels/dot.cuh", line 9
        /*0030*/                   LD.E.128 R12, desc[UR4][R10.64] ;
        /*0040*/                   LOP3.LUT R4, R4, 0xf0f0f0f, RZ, 0xc0, !PT ;
        /*0050*/                   IDP.4A.S8.S8 R20, R4, R12, RZ ;
        /*0060*/              @!P0 BRA `(.L_x_0) ;
        /*0070*/                   LDG.E R21, desc[UR4][R2.64] ;
        /*0080*/                   EXIT ;
'''


class FakeSource:
    types = {('dequant.cuh', 7): 'Q4_0'}


class SassTest(unittest.TestCase):
    def setUp(self):
        self.kernel = sass.parse(CODE)['k']

    def test_loop(self):
        (a, b), = self.kernel.loops()
        loop = sass.Loop(self.kernel.code[a:b + 1])
        self.assertEqual((loop.n, loop.alu, loop.products, loop.generic), (6, 1, 1, 1))
        c = sass.dot_counts(loop, 1, FakeSource())
        self.assertEqual((c['loads'], c['load_bytes'], c['generic_waits'], c['weights']),
                         (2, 18, 1, 4 * 32))
        self.assertFalse(c['pipelined'])

    def test_pipelined(self):
        """A register is loaded behind its use: the next turn uses it, and the load is still under
        way then."""
        lines = CODE.split('\n')
        first, use = (next(i for i, x in enumerate(lines) if text in x)
                      for text in ('LDG.E.NA', 'IDP'))
        moved = lines[:first] + lines[first + 2:use + 1] + lines[first - 2:first] + \
            lines[first:first + 2] + lines[use + 1:]
        (a, b), = sass.parse('\n'.join(moved))['k'].loops()
        kernel = sass.parse('\n'.join(moved))['k']
        c = sass.dot_counts(sass.Loop(kernel.code[a:b + 1]), 1, FakeSource())
        self.assertTrue(c['pipelined'])
        self.assertEqual(c['loads'], 2)

    def test_places(self):
        (a, _), = self.kernel.loops()
        self.assertEqual(self.kernel.code[a].places, (('dequant.cuh', 7), ('dot.cuh', 9)))
        self.assertEqual(self.kernel.code[a + 2].places, (('dot.cuh', 9),))

    def test_late(self):
        source = sass.Source(os.path.join(HERE, '..', 'kernels'))
        self.assertEqual(sass.matvec_facts(self.kernel, 1, source)['late_loads'], 2)

    def test_source(self):
        """Lines of the types are found in the source as it is."""
        source = sass.Source(os.path.join(HERE, '..', 'kernels'))
        self.assertEqual({t for t in launches.TYPES} - set(source.types.values()), set())
        for name in ('combine', 'write_normed'):
            self.assertGreater(len(source.function(name)), 10, name)

    def test_names(self):
        self.assertEqual(sass.short_name('void k<(int)1, (bool)1>(struct a)'), 'k<1, true>')


class GatesTest(unittest.TestCase):
    V = assumptions.VALUE
    ROW = {'registers': 100, 'shared': 1000, 'spills': 0, 'generic': 0}

    def wrong(self, row, reasons=(), table=None):
        return gates.check({'k': dict(self.ROW, **row)}, table or {'k': dict(self.ROW)}, reasons, self.V)

    def test_as_it_was(self):
        self.assertEqual(self.wrong({}), [])
        self.assertEqual(self.wrong({'registers': 104}), [])
        self.assertEqual(self.wrong({'registers': 90}), [])

    def test_worse(self):
        for row, text in (({'registers': 105}, 'registers is 105'), ({'spills': 8}, 'spills is 8'),
                          ({'generic': 1}, 'generic is 1')):
            wrong = self.wrong(row)
            self.assertIn(text, wrong[0])

    def test_lost(self):
        """A kernel that no longer asks for anything ahead has no number for it."""
        def row(**more):
            return gates.kernel_row(dict(self.ROW, local=0, stack=0, prefetches=0, later_prefetches=0,
                                         **more))
        table = {'k': dict(row(), prefetches=2)}
        self.assertIn('prefetches is not found', gates.check({'k': row()}, table, (), self.V)[0])

    def test_new_and_gone(self):
        self.assertIn('no row', gates.check({'new': self.ROW}, {}, (), self.V)[0])
        self.assertIn('no such kernel', gates.check({}, {'old': self.ROW}, (), self.V)[0])

    def test_reasons(self):
        table = {'k': dict(self.ROW, spills=8)}
        self.assertIn('say why not', self.wrong({'spills': 8}, table=table)[0])
        why = [{'rows': ['k'], 'metric': 'spills', 'why': 'x'}]
        self.assertEqual(self.wrong({'spills': 8}, why, table), [])
        self.assertIn('remove the reason', self.wrong({}, why)[0])

    def test_bounds(self):
        """The table of the one-row loops: Q4_K 283 instructions and 320 cycles for 2,304 bytes."""
        self.assertAlmostEqual(gates.bound_tbs(283 / 2304, self.V), 7.5, delta=0.05)
        self.assertAlmostEqual(gates.bound_tbs(320 / 2304, self.V), 6.7, delta=0.05)
        row = {'instr_per_byte': 0.123, 'alu_per_byte': 0.15, 'loads': 8, 'generic': 0}
        self.assertEqual([m for m, _ in gates.missed('matvec_rows<1> Q', row, self.V)], ['alu_per_byte'])
        self.assertEqual(gates.missed('matvec_rows<2> Q', row, self.V), [])

    def test_residency(self):
        """Two blocks of 126 registers leave no room; one leaves room for a small kernel."""
        def kernel(name, blocks):
            return {'kind': 'kernel', 'graph': True, 'name': name, 'grid': [blocks, 1, 1],
                    'block': [256, 1, 1], 'shared': 0}
        facts = {n: {'registers': r, 'shared': 0} for n, r in (('big', 126), ('small', 32))}
        cases = {('m', 'decode', 1, 512): [kernel('big', 264), kernel('small', 1), kernel('big', 100),
                                           kernel('small', 1)]}
        rows = gates.residency(facts, cases, self.V)
        self.assertEqual(rows['big -> small'], {'over_registers': 32 * 256, 'over_shared': 0})
        self.assertEqual(rows['small -> big'], {'over_registers': 0, 'over_shared': 0})


class FiguresTest(unittest.TestCase):
    EXPECTED = {('qwen2.5-0.5b', 100): 474, ('qwen2.5-0.5b', 512): 492, ('qwen2.5-0.5b', 4096): 745,
                ('phi-3-mini', 100): 1239, ('phi-3-mini', 512): 1245, ('phi-3-mini', 4096): 1663,
                ('qwen2.5-7b', 100): 1994, ('qwen2.5-7b', 512): 2031, ('qwen2.5-7b', 4096): 2547}

    def test_f4705f1(self):
        """The figures of the first version of this model, with its launches and machine code: a
        changed assumption that improves today's figures would move these."""
        with open(os.path.join(DATA, 'f4705f1-sass.json'), encoding='utf-8') as f:
            p = Predictor(device(), json.load(f))
        cases = launches.read(os.path.join(DATA, 'f4705f1.jsonl'))
        for (name, pos), expected in self.EXPECTED.items():
            for r in cases[name, 'decode', 1, pos]:
                if r.get('attend', {}).get('window') and pos == 4096:
                    # the first version knew no window
                    r['attend'].update(window=0, pages=64, splits=64)
            us, _, _ = token(p, cases, name, 1, pos)
            self.assertAlmostEqual(us / expected, 1, delta=0.02, msg=f'{name} {pos}: {us:.0f}')

    def test_unknown_kernel(self):
        """An unknown kernel does not count as one that costs nothing."""
        p = Predictor(device(), {})
        with self.assertRaises(SystemExit):
            p.small({'name': 'k_new', 'grid': [1, 1, 1]})
        logits = {'name': 'k_best<true>', 'grid': [75, 64, 1], 'best': {'bytes': 4 * 64 * 152064}}
        self.assertGreater(p.small(logits).us, 8)

    def test_compare(self):
        recorded = {'assumptions': {'clock': 1.755, 'gap': 0.5}, 'figures': {'a': 100.0, 'c': 1.0}}
        found = [model.Figure('a', 102.5, ''), model.Figure('b', 1.0, '')]
        wrong = model.compare(recorded, found, {'clock': 1.755, 'gap': 0.75})
        self.assertEqual([w.split(':')[0] for w in wrong], ['assumption gap', 'a', 'b', 'c'])
        self.assertEqual(model.compare({'assumptions': {}, 'figures': {'a': 100.0}},
                                       [model.Figure('a', 101.9, '')], {}), [])

    def test_assumptions(self):
        """Every assumption says where it comes from, and lies in its range."""
        for name, a in assumptions.TABLE.items():
            self.assertTrue(a.low <= a.value <= a.high, name)
            self.assertGreater(len(a.source), 10, name)

    def test_resident(self):
        facts = {'registers': 126, 'shared': 3616}
        self.assertEqual(resident(values(), facts, 256, 4480), 2)
        self.assertEqual(resident(values(), dict(facts, registers=64), 128, 24576), 7)


if __name__ == '__main__':
    unittest.main()
