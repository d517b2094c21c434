#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What spillway costs a process that does nothing.

Context switches of all its threads and their time on a CPU, as the kernel
counts them: in a roomy group it sleeps; in one that is nearly full of memory
that nobody can give back it may look, but not labour.
"""

import glob
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import Group, Tap  # noqa: E402

SECONDS = 8
# What takes processors away from a virtual machine counts as ours at times;
# what we do ourselves we do every time.
TRIES = 3
CPU_PERCENT = 0.1


def cost(pid):
    """(context switches, ns on a CPU) of every thread."""
    switches = cpu_ns = 0
    for folder in glob.glob(f"/proc/{pid}/task/*"):
        with open(folder + "/status", encoding="ascii") as file:
            switches += sum(int(line.split()[1]) for line in file
                            if "ctxt_switches" in line)
        with open(folder + "/schedstat", encoding="ascii") as file:
            cpu_ns += int(file.read().split()[0])
    return switches, cpu_ns


def window(pid):
    """Context switches a second and per cent of a CPU."""
    before = cost(pid)
    time.sleep(SECONDS)
    after = cost(pid)
    return {"switches": (after[0] - before[0]) / SECONDS,
            "cpu": (after[1] - before[1]) / SECONDS / 1e7}


def measured(group, words, settle):
    with subprocess.Popen(
            [harness.program("survivor"), *words, "idle"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=harness.environment(harness.interposer()),
            preexec_fn=group.join) as process:
        time.sleep(settle)
        threads = len(os.listdir(f"/proc/{process.pid}/task"))
        for _ in range(TRIES):
            spent = window(process.pid)
            if spent["cpu"] <= CPU_PERCENT:
                break
        usage = group.usage()
        out = process.communicate("\n")[0].partition("said=1\n")[2]
    return {"threads": threads, "rc": process.returncode, **spent,
            "usage_mib": usage / harness.MIB, **harness.values(out)}


def main():
    tap = Tap()
    version, reason = harness.memory_parent()
    if not version:
        tap.skip_all(reason)
    harness.need(tap, survivor=harness.program("survivor"),
                 interposer=harness.interposer())
    with Group(400) as group:
        roomy = measured(group, ["--heap", "64"], 3)
    tap.ok(roomy["rc"] == 0 and roomy["threads"] > 1,
           "a large process has threads", roomy)
    tap.ok(roomy["switches"] <= 1, "it wakes at most once a second: "
           f"{roomy['switches']:.2f}", roomy)
    tap.ok(roomy["cpu"] <= CPU_PERCENT,
           f"it uses {roomy['cpu']:.4f} % of a CPU", roomy)
    # All of the heap stays in use: nothing can be given back.
    for heap, where in ((365, "the soft watermark"),
                        (377, "the hard watermark")):
        with Group(400) as group:
            near = measured(group, ["--heap", str(heap), "--keep", "1"], 8)
        tap.ok(near["rc"] == 0 and near["cpu"] <= CPU_PERCENT,
               f"{400 - near['usage_mib']:.0f} MiB below the limit, below "
               f"{where}, nothing to free: {near['cpu']:.4f} % of a CPU",
               near)
        tap.note(f"  {near['switches']:.1f} context switches a second, "
                 f"{near.get('passes')} passes, {near.get('futile')} futile")
    tap.end()


if __name__ == "__main__":
    main()
