#!/usr/bin/env python3
"""Who may include whom. Reads the #include "..." lines of the tree and refuses an arrow that runs up, a circle of headers, and
a file that stands in no room; a backend that asks the config what only a layer says; and jansson's own parser. usage:
tests/order.py [ROOT]

The rooms stand here lowest first; a room is a folder with all below it, but `src` is only the files directly in it. A room sees
itself and what is named beside it: rooms that stand before it, or single files."""
import os
import re
import sys

LIBRARY = 'include src/base src/format src/text'
INSIDE = LIBRARY + ' src/schema src/reply src/chat src/draw src src/arch src/cpu src/run'
# the tests that know a program only from outside
BLACK_BOX = 'include src/base tools/serve tools/serve/http tools/weft tools/synth tests/support'
WHITE_BOX = INSIDE + ' tools/synth tests/support'
ROOMS = {
    'include': '',
    'src/base': 'include',
    'src/format': 'include src/base',
    'src/text': 'include src/base src/format',
    'src/draw': LIBRARY,
    'src/schema': 'include src/base',
    'src/reply': 'include src/base src/schema',
    'src/chat': LIBRARY + ' src/schema src/reply',
    'src': LIBRARY,
    # these three stand side by side
    'src/arch': LIBRARY + ' src',
    'src/cpu': LIBRARY + ' src',
    'kernels': 'include src/format/quant.h src/format/quant_types.h',
    'cuda': LIBRARY + ' src kernels/kernels.h',
    'src/run': LIBRARY + ' src/schema src/reply src/chat src/draw src',
    # tools: the library only by weft.h, and base; synth, gpu-bench and gpu-model look inside
    # the server: without sockets, and what puts HTTP around it
    'tools/serve': 'include src/base',
    'tools/serve/http': 'include src/base tools/serve',
    'tools/weft': 'include src/base tools/serve tools/serve/http',
    'tools/examples': 'include',
    'tools/synth': LIBRARY,
    'tests/cudasim': 'include kernels src/format/quant.h src/format/quant_types.h',
    'tools/gpu-bench': LIBRARY + ' kernels tools/synth',
    'tools/gpu-model': LIBRARY + ' kernels tools/synth tests/cudasim/testing.h',
    'tests/simde': '',
    'tests/support': INSIDE + ' tools/synth',
    'tests/base': WHITE_BOX,
    'tests/format': WHITE_BOX,
    'tests/text': WHITE_BOX,
    'tests/chat': WHITE_BOX,
    'tests/draw': WHITE_BOX,
    'tests/model': WHITE_BOX,
    'tests/cpu': WHITE_BOX,
    'tests/run': WHITE_BOX,
    'tests/schema': WHITE_BOX,
    'tests/reply': WHITE_BOX,
    'tests/fuzz': WHITE_BOX + ' tools/serve tools/serve/http tools/weft',
    'tests/cuda': WHITE_BOX + ' cuda kernels tools/gpu-bench tests/cudasim',
    'tests/api': BLACK_BOX,
    'tests/weft': BLACK_BOX,
    'tests/serve': BLACK_BOX,
    'tests/reports': BLACK_BOX,
    'tests/soak': BLACK_BOX,
    'tests/manifest': 'include',
}
# The one way up: what the simulator must know of a kernel, which no other build includes.
EXCEPTIONS = {('kernels/cu.cuh', 'tests/cudasim/launch.h'), ('kernels/ptx.cuh', 'tests/cudasim/ptx.h')}
MOST_IN_SRC = 14
# struct layer says what a layer is: backends ask the config only about the model as a whole.
BACKENDS = ('src/cpu', 'cuda')
OF_THE_MODEL = {'n_vocab', 'dim', 'n_layers', 'norm_eps'}
ASKED = re.compile(r'\bconfig(?:\.|->)(\w+)|\b(struct (?:config|arch))\b')
# jansson's parser ends the process, or says that the text is wrong, if memory runs out inside a string.
PARSER = re.compile(r'\bjson_load\w*(?=\()')
PARSES = ('src', 'cuda', 'tools')
FOLDERS = ('include', 'src', 'cuda', 'kernels', 'tools', 'tests')
# The folders in which compilers look for headers; the folder of the including file comes before them.
PATHS = ('include', 'src', 'tools', '', 'tests', 'tests/cudasim/include')
INCLUDE = re.compile(r'\s*#\s*include\s*"([^"]+)"')


def room_of(path):
    """Returns the name of the room that a file stands in, or None."""
    folder = os.path.dirname(path)
    if folder in ROOMS:
        return folder
    while '/' in folder:
        folder = os.path.dirname(folder)
        if folder in ROOMS and folder != 'src':
            return folder
    return None


def sources(root):
    for top in FOLDERS:
        for folder, folders, files in os.walk(os.path.join(root, top)):
            folders.sort()
            for name in sorted(files):
                if name.endswith(('.c', '.h', '.cu', '.cuh', '.cpp', '.inc')):
                    yield os.path.relpath(os.path.join(folder, name), root)


def find(name, path, files):
    """Returns the file that an #include of `path` means, or None."""
    for start in (os.path.dirname(path), *PATHS):
        found = os.path.normpath(os.path.join(start, name))
        if found in files:
            return found
    return None


def includes(root, path):
    with open(os.path.join(root, path), encoding='utf-8') as f:
        for number, line in enumerate(f, 1):
            m = INCLUDE.match(line)
            if m:
                yield number, m[1]


def complaint(path, found):
    """Returns the reason why the file must not include what was found, or None if it may."""
    here, there = room_of(path), room_of(found)
    sees = ROOMS[here].split()
    if here == there or there in sees or found in sees or (path, found) in EXCEPTIONS:
        return None
    names = list(ROOMS)
    if names.index(there) > names.index(here):
        return f'room {here} is below room {there}'
    only = [s for s in sees if room_of(s) == there and s not in ROOMS]
    return f'room {here} sees of room {there} only {", ".join(only)}' if only else f'room {here} does not see room {there}'


def questions(root, path):
    """Returns the places where a backend asks the config for what only a layer says."""
    if room_of(path) not in BACKENDS:
        return
    with open(os.path.join(root, path), encoding='utf-8') as f:
        for number, line in enumerate(f, 1):
            for m in ASKED.finditer(line):
                if m[1] not in OF_THE_MODEL:
                    yield f'{path}:{number} asks for {m[0]}: what a layer is stands in struct layer'


def parsers(root, path):
    """Returns the places where the library or a tool calls jansson's own parser."""
    if path.split('/')[0] not in PARSES:
        return
    with open(os.path.join(root, path), encoding='utf-8') as f:
        for number, line in enumerate(f, 1):
            for m in PARSER.finditer(line):
                yield f'{path}:{number} calls {m[0]}(): base/json_read.h reads JSON'


def circles(graph):
    """Returns each circle of a graph {node: [nodes]} once, as a list from its least node back to
    it."""
    state, stack, found = {}, [], []

    def visit(node):
        state[node] = 'open'
        stack.append(node)
        for other in graph[node]:
            if state.get(other) == 'open':
                circle = stack[stack.index(other):]
                first = circle.index(min(circle))
                found.append(circle[first:] + circle[:first + 1])
            elif other in graph and other not in state:
                visit(other)
        stack.pop()
        state[node] = 'done'

    for node in graph:
        if node not in state:
            visit(node)
    return found


def check(root):
    """Returns what is wrong, a line each, and the numbers of files, rooms, and arrows between
    rooms."""
    files = set(sources(root))
    wrong, arrows, headers = [], set(), {}
    for path in sorted(files):
        if room_of(path) is None:
            wrong.append(f'{path}: stands in no room: name its folder in tests/order.py')
            continue
        wrong += questions(root, path)
        wrong += parsers(root, path)
        for number, name in includes(root, path):
            found = find(name, path, files)
            if found is None:
                wrong.append(f'{path}:{number} includes {name}: there is no such file')
            elif room_of(found) is not None:
                why = complaint(path, found)
                if why is not None:
                    wrong.append(f'{path}:{number} includes {name}: {why}')
                if room_of(path) != room_of(found):
                    arrows.add((room_of(path), room_of(found)))
                if not path.endswith(('.c', '.cu', '.cpp')):
                    headers.setdefault(path, []).append(found)
    wrong += ['circle of headers: ' + ' includes '.join(c) for c in circles(headers)]
    n_src = sum(os.path.dirname(f) == 'src' for f in files)
    if n_src > MOST_IN_SRC:
        wrong.append(f'src: {n_src} files stand directly in it, {MOST_IN_SRC} are the most: give them a room')
    return wrong, (len(files), len({room_of(f) for f in files}), len(arrows))


def main(root):
    wrong, (n_files, n_rooms, n_arrows) = check(root)
    if wrong:
        print('\n'.join(wrong))
        print(f'FAIL order: {len(wrong)} to mend')
        return 1
    print(f'ok order: {n_files} files, {n_rooms} rooms, {n_arrows} arrows, 0 up')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')))
