#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""spillway-cached at its limit under full load, again and again.

In a memory group of 300 MiB, without a neighbour: one load of values of
100 KB, one of 300 bytes, and both at once, each with clients that store what
they missed. Every value is checked by the load; nobody may be killed.
SPILLWAY_RUNS (default 20) says how often.
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import cached  # noqa: E402
import harness  # noqa: E402
from cached import Server  # noqa: E402
from harness import Group, Tap  # noqa: E402

RUNS = int(os.environ.get("SPILLWAY_RUNS", "20"))
LIMIT_MIB = 300
SECONDS = 5

LARGE = ["--value", "100000", "--keys", "10000", "--first", "5000000",
         "--connections", "8", "--depth", "4"]
SMALL = ["--value", "300", "--keys", "2000000", "--connections", "8",
         "--depth", "16"]
MIXES = {"large values": [LARGE], "small values": [SMALL],
         "large and small values": [LARGE, SMALL]}


def once(loads):
    """What went wrong in one run; empty where nothing did."""
    with Group(LIMIT_MIB, "cached") as group, \
            Server([cached.program(), "-t", "2"], group, port=True) as server:
        running = [subprocess.Popen(
            [harness.built("bench/cached-load"), "--port", str(server.port),
             *words, "--sets", "20", "--aside", "--seconds", str(SECONDS)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for words in loads]
        errors = [load.communicate(timeout=120)[1].strip()
                  for load in running]
        if group.kills():
            return "killed"
        return "; ".join(error for error in errors if error)


def main():
    tap = Tap()
    harness.need(tap, spillway_cached=cached.program(),
                 cached_load=harness.built("bench/cached-load"))
    version, reason = harness.memory_parent()
    if not version:
        tap.skip_all(reason)
    for name, loads in MIXES.items():
        problems = [problem for problem in
                    (once(loads) for _ in range(RUNS)) if problem]
        tap.ok(not problems, f"{name}: {RUNS} runs, no kill, no wrong value",
               f"{len(problems)} of {RUNS} failed", *problems)
    tap.end()


if __name__ == "__main__":
    main()
