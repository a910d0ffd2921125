"""Tests tests/api/abi.py with a small header that is changed in one way after another."""
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import abi  # noqa: E402

HEADER = """
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#define WEFT_ABI_VERSION 3u
#define WEFT_CTX_MODEL SIZE_MAX
#define WEFT_API __attribute__((visibility("default")))
typedef enum color { RED = 1, GREEN } color; /* colors, "of" a thing; */
typedef struct thing thing;
typedef struct params { size_t size; const char *name, *other; int n[4]; bool last; } params;
typedef struct pair { int32_t a, b; } pair;
typedef void (*hook)(void *user, const pair *p);
WEFT_API int thing_open(thing **out, const params *p);
WEFT_API void thing_close(thing *t);
"""


def list_of(text):
    with tempfile.TemporaryDirectory() as folder:
        abi.HEADER = Path(folder, "weft.h")
        abi.HEADER.write_text(text)
        return abi.header_list()


class Abi(unittest.TestCase):
    def setUp(self):
        self.old = list_of(HEADER)

    def changed(self, old, new):
        self.assertIn(old, HEADER)
        return list(abi.differences(self.old, list_of(HEADER.replace(old, new, 1))))

    def breaks(self, old, new, text):
        found = self.changed(old, new)
        self.assertTrue(any(breaks and text in line for breaks, line in found), found)

    def holds(self, old, new, text):
        found = self.changed(old, new)
        self.assertTrue(found and not any(breaks for breaks, _ in found), found)
        self.assertTrue(any(text in line for _, line in found), found)

    def test_list(self):
        for line in [
            "abi 3, in libweft.so.3", "callback hook(void *, const pair *) -> void", "enum color: 4 bytes", "value GREEN = 2",
            "function thing_open(thing **, const params *) -> int", "struct params: 48 bytes",
            "struct params.other: const char *, at 16, 8 bytes", "struct params.n: int[4], at 24, 16 bytes",
        ]:
            self.assertIn(line, self.old)
        self.assertEqual(len(self.old), 17)

    def test_holds(self):
        self.assertEqual(list(abi.differences(self.old, self.old)), [])
        self.holds("bool last;", "bool last; double more;", "struct params.more: double, at 48")
        self.holds("GREEN }", "GREEN, BLUE }", "value BLUE = 3")
        self.holds("WEFT_API void", "WEFT_API int thing_n(void);\nWEFT_API void", "thing_n(void) -> int")
        self.assertEqual(self.changed("thing *t)", "thing *gone)"), [])

    def test_breaks(self):
        self.breaks("bool last;", "bool last, more;", "params.more")
        self.breaks("const char *name,", "int new; const char *name,", "changed: struct params.name")
        self.breaks(" bool last;", "", "gone: struct params.last")
        self.breaks("int n[4]", "int n[5]", "changed: struct params.n")
        self.breaks("int32_t a, b;", "int32_t a, b, c;", "does not begin with its size: struct pair.c")
        self.breaks("RED = 1", "RED = 2", "changed: value RED")
        self.breaks("GREEN }", "BLUE }", "gone: value GREEN")
        self.breaks("thing *t)", "int t)", "changed: function thing_close")
        self.breaks("WEFT_API void thing_close(thing *t);", "", "gone: function thing_close")
        self.breaks("const pair *p)", "pair *p)", "changed: callback hook")

    def test_not_understood(self):
        with self.assertRaises(SystemExit):
            list_of(HEADER + "typedef union word { int i; float f; } word;\n")


if __name__ == "__main__":
    unittest.main()
