#!/usr/bin/env python3
"""Measures how long functions are, from the line of their name to their last line. Functions of the library and the tools must not
exceed the limits below; for functions of the tests the lengths are only printed. usage: tests/lengths.py [ROOT]

The files must be formatted by clang-format: a function's body begins with a line that is { and ends with a line that is }, or the
function is a single line."""
import os
import re
import sys

MEDIAN, P90, MOST = 11, 25, 60
HELD = ('src', 'cuda', 'kernels', 'tools')
TOLD = ('tests',)
# A function on a single line. The pattern matches neither a macro nor the end of an array or a structure.
ONE_LINE = re.compile(r'[A-Za-z_].*\w\(.*\) \{.*\}$')


def functions(lines):
    """Returns (number of the first line, lines) of each function."""
    start = None
    for i, line in enumerate(lines):
        if line == '{':
            start = i
            while start > 0 and not ends(lines[start - 1]):
                start -= 1
        elif line == '}' and start is not None:
            yield start + 1, i - start + 1
            start = None
        elif start is None and ONE_LINE.match(line):
            yield i + 1, 1


def ends(line):
    """Returns True if this line ends what stands before a function."""
    return line == '' or line.startswith(('#', '//', '}', ' *')) or line.endswith((';', '*/', '}', '\\'))


def measure(root, top):
    """Returns [(lines, place)] of a folder, the shortest first."""
    found = []
    for folder, _, files in os.walk(os.path.join(root, top)):
        for name in files:
            if name.endswith(('.c', '.h', '.cu', '.cuh', '.cpp', '.inc')):
                path = os.path.join(folder, name)
                with open(path, encoding='utf-8') as f:
                    lines = f.read().split('\n')
                found += [(n, f'{os.path.relpath(path, root)}:{at}') for at, n in functions(lines)]
    return sorted(found)


def figures(found):
    return found[len(found) // 2][0], found[len(found) * 9 // 10][0], found[-1][0]


def main(root):
    held = sorted(sum((measure(root, top) for top in HELD), []))
    median, p90, most = figures(held)
    wrong = [f'{place}: a function of {n} lines, {MOST} are the most: divide it' for n, place in held if n > MOST]
    if median > MEDIAN or p90 > P90:
        wrong.append(f'functions have become long: median {median} lines, {MEDIAN} is the most; p90 {p90}, {P90} is the most')
    for top in TOLD:
        found = measure(root, top)
        if found:
            print('%s: %d functions, median / p90 / max %d / %d / %d lines' % (top, len(found), *figures(found)))
    for line in wrong:
        print(line)
    print('%s lengths of %s: %d functions, median / p90 / max %d / %d / %d lines; at most %d / %d / %d' %
          ('FAIL' if wrong else 'ok', ' and '.join(HELD), len(held), median, p90, most, MEDIAN, P90, MOST))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')))
