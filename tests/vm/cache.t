#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A cache on cgroup v2 whose memory.high falls to a fifth: RSS a second later.

Kernels 6.1 and 6.12, in a small machine that is emulated and 10 to 20 times
slower than this one. Above memory.high a thread sleeps for what it is charged
with: who reclaims must take nothing. (A memory.max that falls below usage kills
at once.) Runs in `./quickstart check --all`.
"""

import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import guest  # noqa: E402
from guest import harness  # noqa: E402
from harness import Tap  # noqa: E402

FULL, LOW = 500, 100
RUNS = int(os.environ.get("SPILLWAY_VM_RUNS", "3"))


def report(tap, kernel, runs):
    for run in runs:
        ratio = run.get("rss_kib", 1e9) / 1024 / LOW
        where = f"{kernel}, {run['file']} from {FULL} MiB to {LOW} MiB"
        tap.ok(run.get("rc") == 0 and not run["kills"] and not run["wrong"]
               and run.get("before_kib", 0) > FULL * 1024,
               f"{where}: it lives", run)
        tap.ok(ratio <= 1.05, f"{where}: RSS / limit a second later: "
               f"{ratio:.2f}", run)


def main():
    tap = Tap()
    guest.need(tap)
    filler = harness.program("filler", "vm")
    harness.need(tap, filler=filler, library=harness.library())
    plan = f"{FULL} {LOW} memory.high\n" * RUNS
    for kernel in guest.KERNELS:
        if not guest.prepare(tap, kernel):
            continue
        with tempfile.TemporaryDirectory() as folder:
            done = guest.boot(folder, kernel, "cache-guest",
                              {"filler": guest.real_file(filler),
                               "libspillway.so.0": harness.library()},
                              {"plan": plan}, 60 + 60 * RUNS)
        runs = guest.parse(done.stdout)
        if tap.ok(len(runs) == plan.count("\n") and done.returncode == 0,
                  f"kernel {kernel}: all runs came to an end",
                  f"{len(runs)} runs, exit code {done.returncode}",
                  done.stdout[-600:]):
            report(tap, kernel, runs)
    tap.end()


if __name__ == "__main__":
    main()
