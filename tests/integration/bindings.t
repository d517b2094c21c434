#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What the loader binds the malloc family to, read from LD_DEBUG=bindings.

A symbol version on malloc disables a preload without a word while linked
tests still pass: here every binding of every object of a real program must
end in the preload. The program's own are bound at its start (LD_BIND_NOW).
"""

import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import Tap, which  # noqa: E402

FAMILY = {
    "malloc", "free", "calloc", "realloc", "reallocarray", "memalign",
    "posix_memalign", "aligned_alloc", "valloc", "pvalloc", "cfree",
    "malloc_usable_size", "malloc_trim", "mallinfo", "mallinfo2", "mallopt",
    "malloc_stats", "malloc_info",
    # jemalloc's own names, for programs that are linked with it
    "mallocx", "rallocx", "xallocx", "sallocx", "dallocx", "sdallocx",
    "nallocx", "mallctl", "mallctlnametomib", "mallctlbymib",
    "malloc_stats_print",
}
# operator new and delete, in all their forms
CXX = re.compile(r"_Z(nw|na|dl|da)[A-Za-z]")
LINE = re.compile(r"binding file (\S+) \[\d+\] to (\S+) \[\d+\]: "
                  r"normal symbol `([^']+)'(?: \[(\S+)\])?")


def bindings(command, preload):
    with tempfile.TemporaryDirectory() as folder:
        done = harness.run(command, timeout=60, env=harness.environment(
            preload, LD_DEBUG="bindings", LD_BIND_NOW="1",
            LD_DEBUG_OUTPUT=os.path.join(folder, "ld")))
        text = ""
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), errors="replace",
                      encoding="utf-8") as file:
                text += file.read()
    return done, [m.groups() for m in LINE.finditer(text)]


def main():
    tap = Tap()
    preload = harness.interposer()
    harness.need(tap, interposer=preload)
    own = os.path.basename(preload)
    for name, command in (
            ("python3", [sys.executable, "-c",
                         "import json, ctypes, sqlite3, ssl"]),
            ("node", [which("node"), "-e", "1"]),
            ("redis-server, linked with jemalloc",
             [which("redis-server"), "--version"]),
            ("git", [which("git"), "--version"])):
        title = f"{name}: the malloc family is the preload's everywhere"
        if not command[0]:
            tap.skip(title, "it is not installed")
            continue
        done, found = bindings(command, preload)
        mine = [b for b in found
                if b[2] in FAMILY or CXX.match(b[2])]
        reached = {(b[0], b[2]) for b in mine
                   if os.path.basename(b[1]) == own}
        # A program at a fixed address has one stub for each function whose
        # address it takes; others may bind to it, and it to the preload.
        wrong = [b for b in mine if os.path.basename(b[1]) != own
                 and (b[1], b[2]) not in reached]
        names = {b[2] for b in mine}
        if not mine:
            tap.ok(False, title, "no binding was seen", done.stderr[-300:])
            continue
        tap.ok(done.returncode == 0 and not wrong
               and {"malloc", "free", "calloc", "realloc"} <= names, title,
               *wrong[:10], f"seen: {sorted(names)}")
        tap.note(f"  {len(mine)} bindings of {len(names)} names in "
                 f"{len({b[0] for b in mine})} objects")
    tap.end()


if __name__ == "__main__":
    main()
