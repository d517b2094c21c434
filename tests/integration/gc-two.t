#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Two collectors in one process: CPython with libgc, initialised through the
preload. Both are asked, and neither disturbs the other."""

import ctypes.util
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import gcs  # noqa: E402
import harness  # noqa: E402
from gcs import Runtime  # noqa: E402
from harness import Tap  # noqa: E402

# What Python alone points to is not seen by libgc: hence uncollectable.
TWO = """
import ctypes, gc, sys, threading
ctypes.CDLL("libgc.so.1", ctypes.RTLD_GLOBAL)
boehm = ctypes.CDLL(None)
for name in ("GC_malloc", "GC_malloc_uncollectable"):
    getattr(boehm, name).restype = ctypes.c_void_p
    getattr(boehm, name).argtypes = [ctypes.c_size_t]
boehm.GC_free.argtypes = [ctypes.c_void_p]
boehm.GC_init()
gc.set_threshold(10**9)
class Node:
    __slots__ = ("number", "me")
    def __init__(self, number):
        self.number, self.me = number, self
sums = [0, 0]
rounds = int(float(sys.argv[1]) * 100)
def cycles():
    for i in range(rounds):
        sums[0] += sum(n.number for n in [Node(k) for k in range(1500)])
thread = threading.Thread(target=cycles)
thread.start()
for i in range(rounds * 40):
    for _ in range(8):
        boehm.GC_malloc(3000)
    kept = boehm.GC_malloc_uncollectable(2000)
    ctypes.memset(kept, i % 251, 2000)
    sums[1] += ctypes.string_at(kept, 2000).count(bytes([i % 251]))
    boehm.GC_free(kept)
thread.join()
print(sums)
sys.exit(3)
"""


def main():
    tap = Tap()
    harness.need(tap, interposer=harness.interposer(), spillway=harness.cli())
    library = ctypes.util.find_library("gc")
    if not library:
        tap.skip_all("no libgc1")
    # There from the start: the scout looks for later ones every 5 s only.
    os.environ["SPILLWAY_PRELOAD"] = harness.interposer() + ":" + library
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "two.py")
        with open(path, "w", encoding="ascii") as file:
            file.write(TWO)
        for name in ("boehm", "cpython"):
            runtime = Runtime(tap, name, None, [sys.executable, path],
                              "gc:auto")
            runtime.stress(f"python and libgc, {name}", gcs.SECONDS)
    tap.end()


main()
