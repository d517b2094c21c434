#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Surroundings that change, and unusual ways; see changes.c.

Each of these once ended a program, or what spillway does for it: a limit
that falls, a group that is changed, filters, locked memory, large blocks.
"""

import contextlib
import os
import resource
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import MIB, Group, Tap  # noqa: E402

LIMIT = "limit:200M"
# What it knows of its limits is older or younger when it grows again.
MOVED_S = (0.3, 0.4, 0.5)
FILTER_US = range(0, 5001, 250)


def environment(conf=None):
    return harness.environment(harness.interposer(), conf)


def fine(tap, title, words, conf=None, group=None):
    """The program ends as it says that it does; its values, or None."""
    done = harness.run([harness.program("changes"), *words], group=group,
                       timeout=40, env=environment(conf))
    good = done.returncode == 7 and "fine\n" in done.stdout
    tap.ok(good, title, f"exit code {done.returncode}", done.stdout,
           done.stderr[-600:])
    return harness.values(done.stdout) if good else None


@contextlib.contextmanager
def ready(words, group=None):
    """The program once it is ready; it goes on when a line is written."""
    more = {"preexec_fn": group.join} if group else {}
    with subprocess.Popen(
            [harness.program("changes"), *words], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=environment(), **more) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            if process.poll() is None:
                process.kill()


def ended(process):
    """(exit code, output) once it was told to go on."""
    try:
        out = process.communicate("go\n", timeout=40)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return 124, process.communicate()[0]
    return process.returncode, out


def groups(tap):
    title = "a limit that falls to 12 MiB above what an idle process has"
    with Group(400) as group, ready(["lowered"], group) as (process, said):
        time.sleep(1)
        before = group.usage()
        group.limit(before + 12 * MIB)
        time.sleep(0.4)
        returned = before - group.usage()
        result = ended(process)
        tap.ok(said == "ready" and result == (7, "fine\n"), title, result,
               f"{group.kills()} kills")
        tap.note(f"  {returned / MIB:.0f} MiB returned by then")
    for idle_s in MOVED_S:
        with Group(400) as roomy, Group(200) as tight, \
                ready(["moved"], roomy) as (process, said):
            time.sleep(idle_s)
            tight.write("cgroup.procs", process.pid)
            result = ended(process)
            tap.ok(said == "ready" and result == (7, "fine\n"),
                   f"a process that was moved to a tighter group, {idle_s} s "
                   "after it grew", result, f"{tight.kills()} kills")
    with Group(400) as group:
        fine(tap, "one malloc of 300 MiB, freed, then mmap of as much at "
             "400 MiB", ["block"], group=group)


@contextlib.contextmanager
def busy_cores():
    """Every core has something else to do, for 30 s at most."""
    def bounded():
        resource.setrlimit(resource.RLIMIT_CPU, (30, 30))

    loads = [subprocess.Popen([sys.executable, "-c", "while True: pass"],
                              preexec_fn=bounded)
             for _ in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for load in loads:
            load.kill()
            load.wait()


def filters(tap):
    bad = []
    with busy_cores():
        for after_us in FILTER_US:
            done = harness.run([harness.program("changes"), "filter",
                                str(after_us)], timeout=40,
                               env=environment())
            if done.returncode != 7:
                bad.append(f"after {after_us} us: exit code "
                           f"{done.returncode} {done.stderr[-200:]}")
    tap.ok(not bad, "a filter that kills for ppoll and pread64, "
           f"{len(FILTER_US)} times while all cores are busy", *bad)
    fine(tap, "a probe for filters leaves the threads alone", ["probe"])
    values = fine(tap, "a request ends where a filter comes", ["asking"])
    if values:
        tap.note(f"  spw_reclaim: {values['result']:.0f}")


def resident_mib(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / MIB


def locked(tap):
    title = "locked memory is returned by spillway reclaim"
    if not harness.cli():
        tap.skip(title, "spillway is not built")
        return
    with ready(["locked"]) as (process, said):
        if said.startswith("skip="):
            tap.skip(title, said[5:])
            return
        before = resident_mib(process.pid)
        done = harness.run([harness.cli(), "reclaim", str(process.pid),
                            "max"], env=harness.environment())
        after = resident_mib(process.pid)
        code = ended(process)[0]
    tap.ok(done.returncode == 0 and code == 7 and before - after >= 180,
           title, f"{before:.0f} MiB before, {after:.0f} after",
           done.returncode, done.stdout, done.stderr)


def given_nothing(tap):
    # 7,000 wake-ups and 470 calls in the 5 s where neither was weighed by what
    # came true; 50 and 500, 6 and 35 where both are.
    for mode, title in (
            ("counting", "a shrinker that counts what it does not give"),
            ("claiming", "a shrinker that claims what it does not give")):
        with Group(200) as group:
            values = fine(tap, title, [mode], group=group)
        if values:
            tap.ok(values["wakeups"] < 2000 and values["asked"] < 140,
                   "is asked, and looked for, ever more rarely", values)
            tap.note(f"  {values['wakeups']:.0f} wake-ups, asked "
                     f"{values['asked']:.0f} times, {values['cpu']:.3f} % of "
                     "a CPU")


def thread_storage(tap):
    program = harness.program("thread_storage")
    title = "threads start beside 400 KiB of thread-local storage"
    if not program:
        tap.skip(title, "thread_storage is not built")
        return
    done = harness.run([program], env=environment())
    tap.ok(done.returncode == 7, title, f"exit code {done.returncode}",
           done.stdout, done.stderr)


def run_with_bad_settings(tap):
    title = "run --limit beside a bad SPILLWAY_CONF: exit code 125, named"
    if not harness.cli():
        tap.skip(title, "spillway is not built")
        return
    done = harness.run([harness.cli(), "run", "-l", "64M", "--", "echo",
                        "it ran"], env=harness.environment(None, "bogus:1"))
    tap.ok(done.returncode == 125 and not done.stdout
           and "SPILLWAY_CONF" in done.stderr and "bogus" in done.stderr,
           title, f"exit code {done.returncode}", done.stdout, done.stderr)


def main():
    tap = Tap()
    harness.need(tap, changes=harness.program("changes"),
                 interposer=harness.interposer())
    version, reason = harness.memory_parent()
    if version:
        groups(tap)
        given_nothing(tap)
    else:
        tap.skip("limits that fall, groups that change", reason)
    filters(tap)
    thread_storage(tap)
    locked(tap)
    fine(tap, "spw_pressure_grow refuses what cannot fit", ["growing"],
         LIMIT + ",oom:fail")
    run_with_bad_settings(tap)
    tap.end()


if __name__ == "__main__":
    main()
