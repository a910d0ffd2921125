"""tests/order.py and tests/lengths.py, on small trees that break the law, each in one way."""
import contextlib
import io
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import lengths  # noqa: E402
import order  # noqa: E402

# one file in most rooms, each arrow allowed
HOUSE = {
    'include/weft.h': '',
    'src/base/mem.h': '#include "weft.h"\n',
    'src/format/quant.h': '#include "base/mem.h"\n',
    'src/text/vocab.h': '#include "format/quant.h"\n',
    'src/draw/sampler.c': '#include "text/vocab.h"\n',
    'src/model.h': '#include "format/quant.h"\n#include "text/vocab.h"\n',
    'src/arch/llama.c': '#include "model.h"\n',
    'src/cpu/cpu.c': '#include "cpu/kernels/ops.h"\n#include "model.h"\n',
    'src/cpu/kernels/ops.h': '#include <math.h>\n',
    'src/run/engine.c': '#include "model.h"\n#include "schema/json.h"\n',
    'src/run/engine.h': '',
    'kernels/kernels.h': '#include "weft.h"\n',
    'kernels/rows.cuh': '#include "kernels.h"\n#include "format/quant.h"\n',
    'kernels/cu.cuh': '#include "cudasim/launch.h"\n',
    'cuda/cuda.h': '#include "kernels/kernels.h"\n#include "model.h"\n',
    'src/schema/json.h': '#include "base/mem.h"\n',
    'tools/weft/weft.c': '#include "weft.h"\n#include "base/mem.h"\n',
    'tools/weft/bench/run.c': '#include "base/mem.h"\n',
    'tools/synth/synth.h': '#include "format/quant.h"\n',
    'tests/cudasim/launch.h': '',
    'tests/support/rig.h': '#include "model.h"\n#include "synth/synth.h"\n',
    'tests/run/test_engine.c': '#include "run/engine.h"\n#include "support/rig.h"\n',
    'tests/api/test_api.c': '#include "support/rig.h"\n#include "weft.h"\n',
}


def body(n, name='f'):
    """A function of n lines."""
    return f'int {name}(void)\n{{\n' + '    ;\n' * (n - 3) + '}\n\n'


class House(unittest.TestCase):
    def run_on(self, script, **changed):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**HOUSE, **changed}.items():
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), 'w', encoding='utf-8') as f:
                    f.write(text)
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                code = script.main(root)
        return code, out.getvalue()

    def refused(self, path, text, *said):
        code, out = self.run_on(order, **{path: text})
        self.assertEqual(code, 1, out)
        for line in said:
            self.assertIn(line, out.split('\n'))
        self.assertIn(f'FAIL order: {len(said)} to mend', out)

    def test_in_order(self):
        code, out = self.run_on(order)
        self.assertEqual((code, out), (0, f'ok order: {len(HOUSE)} files, 18 rooms, 25 arrows, 0 up\n'))

    def test_up(self):
        for path, text, there in (('src/base/mem.h', 'format/quant.h', 'src/format'),
                                  ('src/format/quant.h', 'text/vocab.h', 'src/text'),
                                  ('src/text/vocab.h', 'model.h', 'src'), ('src/model.h', 'run/engine.h', 'src/run'),
                                  ('src/cpu/kernels/ops.h', 'run/engine.h', 'src/run'),
                                  ('src/cpu/cpu.c', 'cuda/cuda.h', 'cuda'), ('kernels/rows.cuh', 'cuda/cuda.h', 'cuda'),
                                  ('src/schema/json.h', 'run/engine.h', 'src/run'),
                                  ('tools/synth/synth.h', 'support/rig.h', 'tests/support'),
                                  ('kernels/rows.cuh', 'cudasim/launch.h', 'tests/cudasim')):
            here = 'src' if path == 'src/model.h' else 'kernels' if path.startswith('kernels') else '/'.join(path.split('/')[:2])
            # In some rows the included header includes `path` in turn, so order.py also prints a circle.
            code, out = self.run_on(order, **{path: f'\n#include "{text}"\n'})
            self.assertEqual(code, 1)
            self.assertIn(f'{path}:2 includes {text}: room {here} is below room {there}\n', out)

    def test_beside(self):
        for path, text, here, there in (('src/run/engine.c', 'kernels/kernels.h', 'src/run', 'kernels'),
                                        ('src/draw/sampler.c', 'src/model.h', 'src/draw', None),
                                        ('tools/weft/weft.c', 'model.h', 'tools/weft', 'src'),
                                        ('tools/weft/bench/run.c', 'format/quant.h', 'tools/weft', 'src/format'),
                                        ('cuda/cuda.h', 'cpu/kernels/ops.h', 'cuda', 'src/cpu'),
                                        ('tests/api/test_api.c', 'run/engine.h', 'tests/api', 'src/run')):
            why = f'room {here} does not see room {there}' if there else f'room {here} is below room src'
            self.refused(path, f'#include "{text}"\n', f'{path}:1 includes {text}: {why}')

    def test_single_files(self):
        self.refused('cuda/cuda.h', '#include "kernels/rows.cuh"\n',
                     'cuda/cuda.h:1 includes kernels/rows.cuh: room cuda sees of room kernels only kernels/kernels.h')

    def test_circle(self):
        self.refused('src/model.h', '#include "config.h"\n', 'src/model.h:1 includes config.h: there is no such file')
        code, out = self.run_on(order, **{'src/model.h': '#include "config.h"\n', 'src/config.h': '#include "model.h"\n'})
        self.assertEqual(code, 1)
        self.assertIn('circle of headers: src/config.h includes src/model.h includes src/config.h\n', out)

    def test_backend_asks_the_config(self):
        self.refused('src/cpu/attend.c', 'size_t n = m->config.dim + m->config.n_heads;\n',
                     'src/cpu/attend.c:1 asks for config.n_heads: what a layer is stands in struct layer')
        self.refused('cuda/stages.c', '\nconst struct config *c;\n',
                     'cuda/stages.c:2 asks for struct config: what a layer is stands in struct layer')

    def test_parser(self):
        for path, call in (('src/schema/json.h', 'json_loads(s, 0, NULL)'), ('tools/weft/weft.c', 'json_load_file(s, 0, NULL)')):
            self.refused(path, f'\nx = {call};\n', f'{path}:2 calls {call.split("(", maxsplit=1)[0]}(): base/json_read.h reads JSON')
        code, _ = self.run_on(order, **{'tests/api/test_api.c': 'x = json_loads(s, 0, NULL);\n'})
        self.assertEqual(code, 0)

    def test_no_room(self):
        self.refused('src/attic/old.c', '', 'src/attic/old.c: stands in no room: name its folder in tests/order.py')

    def test_crowded(self):
        code, out = self.run_on(order, **{f'src/{i}.c': '' for i in range(13)})
        self.assertEqual(code, 0, out)
        code, out = self.run_on(order, **{f'src/{i}.c': '' for i in range(14)})
        self.assertEqual(code, 1)
        self.assertIn('src: 15 files stand directly in it, 14 are the most: give them a room\n', out)

    def test_table(self):
        names = list(order.ROOMS)
        for name, sees in order.ROOMS.items():
            for other in sees.split():
                room = other if other in names else order.room_of(other)
                self.assertLess(names.index(room), names.index(name), f'{name} sees {other}')

    def test_too_long(self):
        short = body(5) * 20
        code, out = self.run_on(lengths, **{'src/short.c': short, 'src/long.c': '/* why */\n' + body(60)})
        self.assertEqual(code, 0, out)
        self.assertIn('21 functions, median / p90 / max 5 / 5 / 60 lines', out)
        code, out = self.run_on(lengths, **{'src/short.c': short, 'src/long.c': '/* why */\n' + body(61)})
        self.assertEqual(code, 1)
        self.assertIn('src/long.c:2: a function of 61 lines, 60 are the most: divide it\n', out)

    def test_become_long(self):
        code, out = self.run_on(lengths, **{'cuda/a.c': body(12) * 3 + 'static int one(void) { return 1; }\n'})
        self.assertEqual(code, 1)
        self.assertIn('functions have become long: median 12 lines, 11 is the most; p90 12, 25 is the most\n', out)
        code, out = self.run_on(lengths, **{'src/short.c': body(5) * 8 + body(26) * 2})
        self.assertEqual(code, 1)
        self.assertIn('median 5 lines, 11 is the most; p90 26, 25 is the most\n', out)

    def test_not_held(self):
        code, out = self.run_on(lengths, **{'src/short.c': body(5), 'tests/run/test_long.c': body(99)})
        self.assertEqual(code, 0, out)
        self.assertRegex(out, 'tests: [0-9]+ functions, median / p90 / max .* 99 lines\n')


if __name__ == '__main__':
    unittest.main()
