#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The survival modes on cgroup v2: kernels 6.1 and 6.12, in a small machine.

With memory.max alone and with memory.high at 92 % of it. The machine is
emulated and 10 to 20 times slower than this one, so the neighbour grows as
fast as it can and the cache refills slowly; the sizes are those of a 400 MiB
limit. Runs in `./quickstart check --all`; SPILLWAY_VM_RUNS runs of each (3).

With QEMU 7.2, on 6.12, about one run in 25 has somebody stand for 1 to 7 s where
a huge page is zeroed; where that was the program with a lock of malloc's it was
killed, and a cache that stands does not refill. With 10.0, which vm-boot takes,
nobody does. With both, zeroing is slow (with VM_CPU=max,cx16=off,erms=off,
fsrm=off and 7.2 it is three times faster, madvise(2) is not, and 7 of 12 were
killed): what an emulated machine says is bound to the ratio of the two.
"""

import collections
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import guest  # noqa: E402
from guest import harness  # noqa: E402
import survival  # noqa: E402
from harness import Tap  # noqa: E402

LIMIT = 400
HIGH = 92
RUNS = int(os.environ.get("SPILLWAY_VM_RUNS", "3"))
MODES = os.environ.get("SPILLWAY_VM_MODES", survival.MODES)


def plan(peers):
    """Lines for survive-guest, interleaved."""
    lines = []
    for _ in range(RUNS):
        for high in (0, HIGH):
            for mode in MODES:
                words = survival.arguments(mode, LIMIT, 0, 30)
                if mode == "d":
                    words[:0] = ["--library", "/t/libspillway.so.0"]
                preload = "-" if mode == "d" else "/t/libspillway-malloc.so"
                lines.append([mode, str(high), preload, *words])
                for peer in peers:
                    if mode in "ab":
                        lines.append([mode, str(high), "/t/" + peer, *words])
    return "\n".join(" ".join(line) for line in lines) + "\n"


def parse(text):
    runs = guest.parse(text)
    for run in runs:
        run["killed"] = run["kills"] > 0
        if run["tenths"] >= 1000:
            run["error"] = "stuck for 100 s: " + run["stderr"]
    return runs


def report(tap, kernel, runs):
    groups = collections.defaultdict(list)
    for run in runs:
        groups[run["mode"], run["high"], run["preload"]].append(run)
    for (mode, high, preload), rows in sorted(groups.items()):
        where = f"{kernel}, " + (f"memory.high at {HIGH:.0f} %" if high else
                                 "memory.max alone")
        kills = sum(run["killed"] for run in rows)
        if "spillway" not in preload and mode != "d":
            tap.note(f"{where}, mode {mode}, {os.path.basename(preload)}: "
                     f"{kills} of {len(rows)} killed")
            continue
        bad = [(survival.judge(mode, LIMIT, run, int(high)), run)
               for run in rows]
        bad = [item for item in bad if item[0]]
        tap.ok(not bad, f"{where}, mode {mode}: {len(bad)} of {len(rows)} "
               "failed", *bad[:3])
        for key in ("stall_max_ms", "gate_wait_max_ms", "cache_end_mib"):
            found = [run[key] for run in rows if key in run]
            if found:
                tap.note(f"  {key} {min(found):.1f} to {max(found):.1f}")


def main():
    tap = Tap()
    guest.need(tap)
    harness.need(tap, survivor=harness.program("survivor"),
                 interposer=harness.interposer(), library=harness.library())
    files = {
        "survivor": guest.real_file(harness.program("survivor")),
        "libspillway-malloc.so": harness.interposer(),
        "libspillway.so.0": harness.library(),
    }
    peers = {os.path.basename(path): path for name, path in
             harness.peers().items() if name == "jemalloc"}
    for kernel in guest.KERNELS:
        if not guest.prepare(tap, kernel):
            continue
        with tempfile.TemporaryDirectory() as folder:
            done = guest.boot(folder, kernel, "survive-guest",
                              {**files, **peers},
                              {"plan": plan(peers), "limit": f"{LIMIT}\n"},
                              120 + RUNS * 2 * 60 * len(MODES))
        runs = parse(done.stdout)
        expected = plan(peers).count("\n")
        if not tap.ok(len(runs) == expected and done.returncode == 0,
                      f"kernel {kernel}: {expected} runs came to an end",
                      f"{len(runs)} runs, exit code {done.returncode}",
                      done.stdout[-600:]):
            continue
        report(tap, kernel, runs)
    tap.end()


if __name__ == "__main__":
    main()
