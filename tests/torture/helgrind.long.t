#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The cache's tests under helgrind: no report but those that are explained.

Runs in `./quickstart check --all`, on build/check/clang, which has what
base/rcu.h tells helgrind about grace periods (assertions of level 2, and
valgrind/helgrind.h at compile time), else on the usual build. It watches
mutexes: their order, what is unlocked by whom, and data that only they guard.
tests/helgrind.suppressions says what it cannot see, protocol by protocol.
Torture runs SPW_TORTURE_SECONDS (60) each; children are not watched.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.dont_write_bytecode = True
from harness import BUILD, Tap  # noqa: E402

SUPPRESSIONS = os.path.join(HERE, "..", "helgrind.suppressions")
PROGRAMS = ("unit/lock", "unit/cache", "torture/cache", "torture/cache_kept")
SECONDS = os.environ.get("SPW_TORTURE_SECONDS", "60")
SUMMARY = re.compile(r"ERROR SUMMARY: (\d+) errors from (\d+) contexts")


def build():
    debug = os.path.join(BUILD, "check", "clang")
    there = os.path.exists(os.path.join(debug, "tests", "unit", "cache"))
    return debug if there else BUILD


def helgrind(program, suppressions):
    """How many reports, or None; and what they are."""
    with tempfile.NamedTemporaryFile("r", suffix=".log") as log:
        command = ["valgrind", "--tool=helgrind", "--history-level=none",
                   "--child-silent-after-fork=yes", "--num-callers=12",
                   "--gen-suppressions=all", f"--log-file={log.name}"]
        if suppressions:
            command.append(f"--suppressions={SUPPRESSIONS}")
        # What the program itself says of its speed is of no interest here.
        subprocess.run([*command, program], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False, timeout=3000,
                       env={**os.environ, "SPW_TORTURE_SECONDS": SECONDS})
        said = log.read()
    found = SUMMARY.findall(said)
    return (int(found[-1][0]) if found else None), said


def main():
    tap = Tap()
    if not shutil.which("valgrind"):
        tap.skip_all("no valgrind (Debian: apt install valgrind)")
    folder = build()
    for name in PROGRAMS:
        program = os.path.join(folder, "tests", name)
        if not os.path.exists(program):
            tap.skip(name, f"{program} is not there")
            continue
        reports, said = helgrind(program, True)
        tap.ok(reports == 0, f"{name}: no report", f"{reports} reports",
               said[:6000])
    program = os.path.join(folder, "tests", "unit", "cache")
    if os.path.exists(program):
        reports, said = helgrind(program, False)
        tap.ok(bool(reports), "without its suppressions it has some", said)
    tap.end()


if __name__ == "__main__":
    main()
