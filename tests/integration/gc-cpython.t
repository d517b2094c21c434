#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""CPython's collector under the preload: the python3 that runs this."""

import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import gcs  # noqa: E402
import harness  # noqa: E402
from gcs import Runtime  # noqa: E402
from harness import Tap  # noqa: E402

NODE = """
import gc, os, sys, threading, time
class Node:
    __slots__ = ("number", "me", "more")
    def __init__(self, number):
        self.number, self.me, self.more = number, self, [self]
"""

# Cycles, made while nobody collects: only gc.collect() frees them.
BURST = NODE + """
gc.set_threshold(10**9)
kept = [Node(i) for i in range(1000)]
made = [Node(i) for i in range(1500000)]
made = None
if os.environ.get("STAY_DISABLED") == "1":
    gc.disable()
print("ready", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
print(sum(n.number for n in kept), gc.isenabled())
sys.exit(3)
"""

CHURN = NODE + """
gc.set_threshold(10**9)
sums = [0] * 3
freed = [0]
class Loud(Node):
    def __del__(self):
        freed[0] += 1
def work(which):
    for i in range(int(float(sys.argv[1]) * 6)):
        some = [Node(k) for k in range(1500)]
        Loud(i)
        sums[which] += sum(n.number for n in some)
seen = []
for part in range(10):
    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    gc.collect()  # not before the one that is on its way has ended
    seen.append(freed[0])
print(sums, seen)
sys.exit(3)
"""

# One thread, cycles that nobody collects: a gigabyte in all.
LEAKS = NODE + """
gc.disable()
total = 0
for i in range(int(sys.argv[1])):
    some = [Node(k) for k in range(3000)]
    total += sum(n.number * len(str(n.number)) for n in some)
    time.sleep(0.004)
print(total)
"""

# The same by three threads, which share 200 MiB: in a long run.
THREE = NODE + """
gc.disable()
sums = [0] * 3
def work(which):
    for i in range(int(sys.argv[1])):
        some = [Node(k) for k in range(1000)]
        sums[which] += sum(n.number for n in some)
        time.sleep(0.004)
threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sums)
sys.exit(3)
"""

SHORT = NODE + """
made = [Node(i) for i in range(60000)]
print(len(made))
sys.exit(4)
"""

FORKS = NODE + """
bad = 0
gc.set_threshold(10**9)
print("ready", flush=True)
for i in range(20):
    made = [Node(k) for k in range(60000)]
    pid = os.fork()
    if pid == 0:
        more = [Node(k) for k in range(20000)]
        gc.collect()
        os._exit(len(more) != 20000)
    bad += os.waitpid(pid, 0)[1] != 0
print(bad)
sys.exit(3)
"""


def main():
    tap = Tap()
    harness.need(tap, interposer=harness.interposer(), spillway=harness.cli())
    with tempfile.TemporaryDirectory() as folder:
        def command(name, text):
            path = os.path.join(folder, name + ".py")
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            return [sys.executable, path]

        runtime = Runtime(tap, "cpython", command("burst", BURST),
                          command("churn", CHURN))
        runtime.returns("python", 250, 60, settle=1.0)
        burst = gcs.Burst(runtime.burst, "gc:cpython", STAY_DISABLED="1")
        gcs.time.sleep(1.2)
        gcs.collected(burst.pid, "cpython")
        gcs.time.sleep(1)
        gcs.reclaim(burst.pid)
        after = burst.falls(60)
        code, out = burst.end()
        tap.ok(code == 3 and out.split("\n")[1].endswith("False") and
               after <= 60, "gc.disable() stays, and is overruled when all "
               "is asked for", f"{after} MiB", out)
        runtime.stress("python, three threads", gcs.SECONDS)
        runtime.hammer("python", command("short", SHORT))
        gcs.forks(tap, command("forks", FORKS),
                  "gc:cpython,gc-interval:0")
        runtime.churn = command("leaks", LEAKS)
        runtime.survives("python that leaves cycles", 300, 1500,
                         alone="killed")
        if gcs.SECONDS > 10:
            runtime.churn = command("three", THREE)
            runtime.survives("three threads that leave cycles", 200, 1200,
                             alone="killed")
    tap.end()


main()
