#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A collected heap that is largely in swap is not read back to be marked.

A program on libgc with a live heap, zram, and memory.high that falls to two
fifths of it: its major faults in the 15 s after that alone, under spillway with
collectors off, on, asked at every pass, and asked by `spillway reclaim` once it
is in swap; beside them those of reading the heap once, which is what a mark
does. Runs in `./quickstart check --all`.
"""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import guest  # noqa: E402
from guest import harness  # noqa: E402
from harness import Tap  # noqa: E402

LIVE_MIB = 200
PRELOAD = "/t/libspillway-malloc.so"
PLAN = (("alone", "-", "-"), ("off", PRELOAD, "gc:off"),
        ("auto", PRELOAD, "gc:auto"),
        ("eager", PRELOAD, "gc:boehm,gc-interval:0"),
        ("asked", PRELOAD, "gc:boehm,log:info"))


def compile_program(folder):
    path = os.path.join(folder, "gc_boehm")
    done = subprocess.run(
        [os.environ.get("CC", "cc"), "-O1", "-pthread", "-o", path,
         os.path.join(harness.SOURCE, "gc_boehm.c"), "-lgc"],
        capture_output=True, check=False)
    return path if done.returncode == 0 else None


def report(tap, kernel, runs):
    alone = runs["alone"]
    for name, run in runs.items():
        tap.note(f"{name}: {run['faults']:.0f} major faults, "
                 f"{run['own_faults']:.0f} as it reads its heap, "
                 f"{run.get('swap_kib', 0) / 1024:.0f} MiB in swap")
        tap.ok(run["rc"] == 3 and run["sum"] == alone["sum"],
               f"{kernel}, {name}: it ends as ever", run)
        tap.ok(run["swap_kib"] > LIVE_MIB * 1024 / 4,
               f"{kernel}, {name}: it was largely in swap", run)
    limit = alone["faults"] + alone["own_faults"] / 10
    tap.ok("gc boehm: level 1" in runs["asked"]["stderr"],
           f"{kernel}, asked: its collector was asked, at level low",
           runs["asked"])
    for name in ("off", "auto", "eager", "asked"):
        tap.ok(runs[name]["faults"] <= limit, f"{kernel}, {name}: at most a "
               "tenth of its heap was read back", runs[name], alone)


def main():
    tap = Tap()
    guest.need(tap)
    harness.need(tap, interposer=harness.interposer(), spillway=harness.cli())
    plan = "".join(" ".join(line) + "\n" for line in PLAN)
    for kernel in guest.KERNELS:
        if not guest.prepare(tap, kernel):
            continue
        with tempfile.TemporaryDirectory() as folder:
            program = compile_program(folder)
            if not program:
                tap.skip(f"kernel {kernel}", "no libgc-dev")
                continue
            done = guest.boot(folder, kernel, "swap-guest",
                              {"gc_boehm": program,
                               "libspillway-malloc.so": harness.interposer(),
                               "spillway": guest.real_file(harness.cli())},
                              {"plan": plan, "live": f"{LIVE_MIB}\n"}, 900)
        runs = {run["name"]: run for run in guest.parse(done.stdout)}
        if tap.ok(len(runs) == len(PLAN) and done.returncode == 0,
                  f"kernel {kernel}: all runs came to an end",
                  f"{len(runs)} runs, exit code {done.returncode}",
                  done.stdout[-900:]):
            report(tap, kernel, runs)
    tap.end()


if __name__ == "__main__":
    main()
