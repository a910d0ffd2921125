"""What the compiler made of the kernels, counted in the machine code of build/kernels/*.o.

    objects -> cubins (cuobjdump) -> text with source lines (nvdisasm) -> kernels, loops, counts

A loop is a backward branch; only loops without a loop inside are counted. Which type of weights a
loop decodes is told by the lines that its instructions come from: the objects are compiled with
-lineinfo, and nvdisasm says through which calls an instruction was inlined, so an instruction that
passes through `struct Codes<QUANT_Q4_K>` belongs to Q4_K. gates.py compares the counts with
gates.json, model.py takes them from here.
"""
import collections
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile

ARCH = 'sm_90a'
WARP = 32
# Inlined calls make the text five times as long; they are needed where one kernel has a loop for
# each type.
WITH_CALLS = ('matvec', 'dequant')

# The pipes of a quarter SM. An instruction of a warp takes one cycle to issue. The ALU pipe (16
# lanes wide) and the pipe of integer products are busy for two cycles, transcendental functions and
# conversions of 16 bit integers for eight.
ALU = frozenset('''LOP3 SHF PRMT IADD3 LEA I2FP ISETP VIADD VIMNMX IMNMX SEL FSEL FSETP FMNMX MOV
                PLOP3 P2R R2P LOP IABS SGXT BMSK VABSDIFF4 F2FP'''.split())
PRODUCTS = frozenset('IMAD IDP IDP4A IMUL'.split())
STORES = frozenset('ST STG STS STL RED ATOMS'.split())
QUARTER = frozenset('I2F F2I MUFU F2F FRND POPC FLO BREV'.split())


REGISTER = re.compile(r'\bR(\d+)\b')


class Instruction:
    __slots__ = ('at', 'op', 'base', 'text', 'places', 'numbers')

    def __init__(self, at, text, places):
        self.at, self.places = at, places
        if text[0] == '@':
            text = text.split(None, 1)[1]
        self.text, self.numbers = text, None
        self.op = text.split(None, 1)[0]
        self.base = self.op.split('.', 1)[0]

    @property
    def registers(self):
        """Returns the register numbers in the order of the operands: what is written comes first."""
        if self.numbers is None:
            self.numbers = [int(n) for n in REGISTER.findall(self.text)]
        return self.numbers


class Kernel:
    """A kernel: its instructions in the order of addresses, and the places of the labels among
    them."""

    def __init__(self, name):
        self.name, self.code, self.labels = name, [], {}
        self.registers = self.shared = self.stack = self.local = 0

    def all_loops(self):
        """Returns (first, last) of all loops, as ranges of instructions."""
        back = {}
        for i, ins in enumerate(self.code):
            if ins.base != 'BRA':
                continue
            target = re.search(r'\((\.L_x_\d+)\)', ins.text)
            first = self.labels.get(target.group(1)) if target else None
            if first is not None and first < i:
                back[first] = max(back.get(first, 0), i)
        return sorted(back.items())

    def loops(self):
        """Returns the loops that hold no other loop."""
        ranges = self.all_loops()
        return [(a, b) for a, b in ranges if not any(a < c <= b for c, _ in ranges)]


# --- from an object to kernels -------------------------------------------------------------------

def find_tool(name, cuda=None):
    places = [os.environ.get('GPU_MODEL_TOOLS'), cuda and os.path.join(cuda, 'bin')]
    for place in filter(None, places):
        path = os.path.join(place, name)
        if os.access(path, os.X_OK):
            return path
    path = shutil.which(name)
    if path is None:
        raise SystemExit(f'{name}: not found in PATH, CUDA or GPU_MODEL_TOOLS; install it with the '
                         f'CUDA toolkit, or `pip install nvidia-cuda-{name}`')
    return path


def run(*args, cwd=None):
    done = subprocess.run(args, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f'{" ".join(args)}: failed: {done.stderr.strip()}')
    return done.stdout


def demangle(names):
    out = subprocess.run(['c++filt'], input='\n'.join(names), capture_output=True, text=True,
                         check=True).stdout.splitlines()
    return dict(zip(names, (short_name(n) for n in out)))


def short_name(name):
    """Shortens a name: void k<1, (bool)1>(struct a) -> k<1, true>."""
    name = re.sub(r'^void ', '', name).split('(anonymous namespace)::')[-1]
    name = name.replace('(bool)1', 'true').replace('(bool)0', 'false')
    name = re.sub(r'\((?:unsigned )?(?:int|long)\)(\d+)', r'\1', name)
    return name.split('(', 1)[0]


PLACE = re.compile(r'File "(?:[^"]*/)?([^"/]+)", line (\d+)')
CODE = re.compile(r'\s*/\*([0-9a-f]{4,})\*/\s+(?:\{\s*)?(.*?)\s*;')


def parse(text):
    """Returns kernels by their mangled names, from the text of nvdisasm -c -g or -gi."""
    kernels, kernel, places, fresh, known = {}, None, (), False, {}
    for line in text.splitlines():
        if line.startswith('\t//## File'):
            place = known.get(line)
            if place is None:
                found = PLACE.search(line)
                place = known[line] = (found.group(1), int(found.group(2)))
            places = (place,) if fresh else places + (place,)
            fresh = False
            continue
        fresh = True
        if line.startswith('.L_x_') and kernel is not None:
            kernel.labels[line.rstrip(':')] = len(kernel.code)
        elif line.startswith('\t.section'):
            name = re.match(r'\t\.section\s+\.text\.([^,\s]+)', line)
            kernel = kernels.setdefault(name.group(1), Kernel(name.group(1))) if name else None
            places = ()
        elif kernel is not None:
            code = CODE.match(line)
            if code:
                kernel.code.append(Instruction(int(code.group(1), 16), code.group(2), places))
    return kernels


USAGE = re.compile(r'Function (\S+?):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)')


def read_object(path, cuda=None):
    """Returns the kernels of an object, by their readable names."""
    cuobjdump, nvdisasm = find_tool('cuobjdump', cuda), find_tool('nvdisasm', cuda)
    stem = os.path.basename(path)[:-2]
    with tempfile.TemporaryDirectory() as scratch:
        run(cuobjdump, '-xelf', ARCH, os.path.abspath(path), cwd=scratch)
        cubins = [os.path.join(scratch, f) for f in os.listdir(scratch)]
        if len(cubins) != 1:
            raise SystemExit(f'{path}: has {len(cubins)} cubins for {ARCH}, expected one; build it '
                             f'with CUDA_ARCH containing {ARCH}')
        kernels = parse(run(nvdisasm, '-c', '-gi' if stem in WITH_CALLS else '-g', cubins[0]))
        usage = run(cuobjdump, '-res-usage', cubins[0])
    for name, *numbers in USAGE.findall(usage):
        if name in kernels:
            k = kernels[name]
            k.registers, k.stack, k.shared, k.local = map(int, numbers)
    names = demangle(list(kernels))
    return {names[k]: v for k, v in kernels.items()}


# --- places in the source ------------------------------------------------------------------------

class Source:
    """Places in kernels/: ranges of lines, which tell what an instruction belongs to."""

    def __init__(self, folder):
        self.text = {}
        for name in sorted(os.listdir(folder)):
            if name.endswith(('.cu', '.cuh')):
                with open(os.path.join(folder, name), encoding='utf-8') as f:
                    self.text[name] = f.read().split('\n')
        self.types = {}  # (file, line) -> type
        for name, lines in self.text.items():
            for i, line in enumerate(lines):
                found = re.search(r'struct (?:Codes|Floats)<QUANT_(\w+)>', line)
                for k in range(i, self.end(lines, i) + 1) if found else ():
                    self.types[name, k + 1] = found.group(1)
        # Only types call these functions. nvdisasm leaves a call out of an instruction's places
        # when the caller's own call happens to stand on the line of the same number in its file.
        self.readers = set().union(*(self.function(n) for n in ('load_nibbles', 'load_d', 'load_d_m')))

    @staticmethod
    def end(lines, i):
        """Returns the line that closes the braces which open at or after line i."""
        depth, opened = 0, False
        for k in range(i, len(lines)):
            code = re.sub(r"'.'|\"[^\"]*\"|//.*", '', lines[k])
            depth += code.count('{') - code.count('}')
            opened |= '{' in code
            if opened and depth <= 0 or not opened and code.rstrip().endswith(';'):
                return k
        return len(lines) - 1

    def function(self, name):
        """Returns the lines of a function, or of all functions with this name: a set of (file,
        line)."""
        found = set()
        for file, lines in self.text.items():
            for i, line in enumerate(lines):
                if re.search(rf'^[^/]*(?:__device__|__global__|^\s+)[^/;=]*\b{name}\(', line) and \
                        not line.rstrip().endswith(';'):
                    end = self.end(lines, i)
                    if '{' in ''.join(lines[i:end + 1]):
                        found.update((file, k + 1) for k in range(i, end + 1))
        return found


# --- counting ------------------------------------------------------------------------------------

WIDTH = {'U8': 1, 'S8': 1, 'U16': 2, 'S16': 2, '64': 8, '128': 16}


def load_bytes(op):
    """Returns the bytes that a lane loads."""
    return next((WIDTH[part] for part in op.split('.') if part in WIDTH), 4)


def is_generic(ins):
    return ins.base in ('LD', 'ST')


def loaded_registers(ins):
    first = ins.registers
    if not first:
        return set()
    return set(range(first[0], first[0] + max(1, load_bytes(ins.op) // 4)))


def registers_read(ins):
    """Returns the registers that are read. The first operand is written if it is a register and
    nothing is stored."""
    operands = ins.text.split(None, 1)
    writes = len(operands) > 1 and operands[1][0] == 'R' and ins.base not in STORES
    return ins.registers[1:] if writes else ins.registers


def in_flight(code, wanted):
    """Returns the most loads of a loop that are under way when the first of them is used, with
    their bytes per lane, and how often the loop has to wait for such a group. It looks at two
    turns, because loads of the next turn may be issued in this one."""
    under_way, most, most_bytes, waits = {}, 0, 0, 0
    for turn in range(2):
        for ins in code:
            is_load, reads = wanted(ins), registers_read(ins)
            hit = [k for k, (regs, _) in under_way.items() if any(r in regs for r in reads)]
            if hit:
                total = sum(b for _, b in under_way.values())
                if (len(under_way), total) > (most, most_bytes):
                    most, most_bytes = len(under_way), total
                waits += turn
                under_way.clear()
            if is_load:
                under_way[ins.at] = (loaded_registers(ins), load_bytes(ins.op))
    return most, most_bytes, waits


class Loop:
    """Counts of a loop. cycles: of a quarter SM, for one turn of the loop by one warp."""

    def __init__(self, code):
        self.code = code
        self.count = collections.Counter(i.base for i in code)
        self.n = len(code)
        self.alu = sum(v for k, v in self.count.items() if k in ALU)
        self.products = sum(v for k, v in self.count.items() if k in PRODUCTS)
        self.quarter = sum(v for k, v in self.count.items() if k in QUARTER)
        self.generic = sum(1 for i in code if is_generic(i))
        self.ops = collections.Counter(i.op for i in code)

    def type_of(self, source):
        votes = collections.Counter()
        for ins in self.code:
            for place in ins.places:
                if place in source.types:
                    votes[source.types[place]] += 1
                    break
        return votes.most_common(1)[0][0] if votes else None

    def share(self, places):
        """Returns the share of the instructions that come from these lines."""
        return sum(1 for i in self.code if any(p in places for p in i.places)) / self.n


def loads_weights(ins, source):
    """Returns True if the instruction loads weights. Activations may come from global memory too,
    but not through the lines of a type or of the functions that only types call."""
    return ins.base == 'LDG' and any(p in source.types or p in source.readers for p in ins.places)


def dot_counts(loop, rows, source):
    """Returns the counts of a loop over weights. The weights of a turn are computed from the
    products: an IDP multiplies four weights with one row of activations, an FFMA one weight if
    the weights are floats."""
    products = 4 * loop.count['IDP'] if loop.count['IDP'] else loop.count['FFMA']
    loads, load_bytes, _ = in_flight(loop.code, lambda i: loads_weights(i, source))
    return {'n': loop.n, 'alu': loop.alu, 'products': loop.products, 'quarter': loop.quarter,
            'weights': products // rows * WARP, 'generic': loop.generic,
            'generic_waits': in_flight(loop.code, lambda i: i.base == 'LD')[2],
            'loads': loads, 'load_bytes': load_bytes, 'pipelined': is_pipelined(loop.code, source)}


def is_pipelined(code, source):
    """Returns True if the weights that a turn loads are used in the next turn."""
    carried = used = 0
    for k, ins in enumerate(code):
        if loads_weights(ins, source):
            wanted = loaded_registers(ins)
            here = any(wanted & set(registers_read(i)) for i in code[k + 1:])
            carried, used = carried + (not here), used + here
    return carried > used


def matvec_facts(kernel, rows, source):
    types, last = collections.defaultdict(list), 0
    for a, b in kernel.loops():
        loop = Loop(kernel.code[a:b + 1])
        name = loop.type_of(source)
        if name is not None and loop.count['IDP'] + loop.count['FFMA'] >= 16:
            types[name].append(dot_counts(loop, rows, source))
            last = max(last, b)
    # loads behind all dot loops, of residual and bias, are waited for after the product
    late = sum(1 for i in kernel.code[last + 1:]
               if i.base in ('LD', 'LDG') and 'CONSTANT' not in i.op)
    facts = {'types': dict(types), 'late_loads': late}
    # The loop that normalises: one chunk of 128 columns needs as many shuffles in each of its
    # forms, so their number tells how many chunks a turn has.
    write = source.function('write_normed') | source.function('quantize128')
    norm = [Loop(kernel.code[a:b + 1]) for a, b in kernel.all_loops()]
    norm = [c for c in norm if c.share(write) > 0.5 and c.count['SHFL']]
    if norm:
        one, most = min(c.count['SHFL'] for c in norm), max(norm, key=lambda c: c.count['SHFL'])
        facts['norm_chunk'] = most.n * one / most.count['SHFL']
    return facts


WARPS = 4  # of a block of attention


def combine_deal(name, found, source):
    """Returns how the combine loop deals splits: `lanes` threads share a column and take every
    lanes-th split, and `chunks` groups of columns are loaded at once. add_splits() does it by
    warps, for all columns of the kernel's heads; before add_splits() existed, all threads took
    columns."""
    if not source.function('add_splits'):
        return {'lanes': 1, 'chunks': 1}
    dim, heads = re.search(r'<(\d+), (\d+)', name).groups()
    n_bytes = 4 * (int(dim) or 256) * int(heads)
    return {'lanes': WARPS, 'chunks': -(-n_bytes // (found['bytes'] // found['loads'] * WARP))}


def attend_facts(name, kernel, source):
    """Returns the counts of the loop over pages, and the loads that the combine loop has under way."""
    combine, facts = source.function('combine') | source.function('add_splits'), {}
    for a, b in kernel.all_loops():
        loop = Loop(kernel.code[a:b + 1])
        if loop.count['LDGSTS'] >= 2 and loop.count['BAR'] >= 3 and not loop.share(combine):
            facts['page'] = {'n': max(loop.n, facts.get('page', {'n': 0})['n']),
                             'generic': loop.generic}
    for a, b in kernel.loops():
        loop = Loop(kernel.code[a:b + 1])
        if loop.share(combine) > 0.3 and loop.count['LDG'] and loop.count['FFMA'] and \
                not loop.count['SHFL']:
            loads, n_bytes, _ = in_flight(loop.code, lambda i: i.base == 'LDG')
            if loads > facts.get('combine', {'loads': 0})['loads']:
                facts['combine'] = {'loads': loads, 'bytes': n_bytes, 'generic': loop.generic}
    if 'combine' in facts:
        facts['combine'].update(combine_deal(name, facts['combine'], source))
    return facts


def tensor_facts(kernel):
    """Returns the HMMA and LDSM of the innermost loops that have both or either."""
    found = collections.Counter()
    for a, b in kernel.all_loops():
        loop = Loop(kernel.code[a:b + 1])
        if loop.count['HMMA'] > found['HMMA'] and not loop.count['STG']:
            found = collections.Counter({k: loop.count[k] for k in ('HMMA', 'LDSM', 'MUFU')},
                                        n=loop.n, generic=loop.generic)
    return dict(found)


def dequant_facts(kernel, source):
    types = {}
    for a, b in kernel.loops():
        loop = Loop(kernel.code[a:b + 1])
        name = loop.type_of(source)
        if name is not None:
            stores = sum(v for k, v in loop.ops.items() if k.startswith('STG.E.128'))
            types[name] = {'n': loop.n, 'alu': loop.alu, 'products': loop.products,
                           'quarter': loop.quarter, 'weights': 8 * stores * WARP}
    return {'types': types}


def is_prefetch(i):
    return i.op.startswith('CCTL') and 'PF2' in i.op


def before_wait(kernel):
    """Returns what a kernel does before it waits for the kernel before it (ACQBULK): its loads, and
    the lines that it asks the L2 cache for; and how many places in the code ask for lines later."""
    bases = [i.base for i in kernel.code]
    wait = bases.index('ACQBULK') if 'ACQBULK' in bases else 0
    early, later = kernel.code[:wait], kernel.code[wait:]
    return {'early_loads': sum(1 for i in early if i.base in ('LDG', 'LD')),
            'prefetches': sum(map(is_prefetch, early)),
            'later_prefetches': sum(map(is_prefetch, later))}


def kernel_facts(name, kernel, source):
    facts = {'registers': kernel.registers, 'shared': kernel.shared, 'local': kernel.local,
             'stack': kernel.stack, 'n': len(kernel.code),
             'generic': sum(1 for a, b in kernel.loops()
                            for i in kernel.code[a:b + 1] if is_generic(i))}
    facts.update(before_wait(kernel))
    if name.startswith('matvec_rows<'):
        facts.update(matvec_facts(kernel, int(re.search(r'<(\d+)', name).group(1)), source))
    elif name.startswith('k_attend<'):
        facts.update(attend_facts(name, kernel, source))
    elif name.startswith('dequant_row'):
        facts.update(dequant_facts(kernel, source))
    elif any(i.base == 'HMMA' for i in kernel.code):
        facts['tensor'] = tensor_facts(kernel)
    return facts


def digest(paths):
    h = hashlib.sha256()
    for path in paths:
        with open(path, 'rb') as f:
            h.update(f.read())
    return h.hexdigest()[:16]


def object_facts(path, kernels, cuda, cache):
    """Returns {kernel: facts} of an object. cache: a folder, because disassembling takes seconds."""
    source = Source(kernels)
    texts = [os.path.join(kernels, n) for n in source.text]
    stem = os.path.basename(path)[:-2]
    kept = cache and os.path.join(cache, f'{stem}-{digest([path, __file__] + texts)}.json')
    if kept and os.path.exists(kept):
        with open(kept, encoding='utf-8') as f:
            return json.load(f)
    found = {name: kernel_facts(name, k, source)
             for name, k in sorted(read_object(path, cuda).items())}
    if kept:
        os.makedirs(cache, exist_ok=True)
        part = f'{kept}.{os.getpid()}'
        with open(part, 'w', encoding='utf-8') as f:
            json.dump(found, f)
        os.replace(part, kept)
    return found


def collect(objects, kernels='kernels', cuda=None, cache=None):
    """Returns {"matvec": {kernel: facts}} of all objects, the largest first, on all cores."""
    objects = sorted(objects, key=os.path.getsize, reverse=True)
    if not objects:
        raise SystemExit('no objects of kernels; build them first: make')
    n = len(objects)
    with concurrent.futures.ProcessPoolExecutor() as pool:
        found = pool.map(object_facts, objects, [kernels] * n, [cuda] * n, [cache] * n)
        return {os.path.basename(path)[:-2]: facts for path, facts in zip(objects, found)}
