#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Each torture test for minutes, with a seed of its own.

Runs in `./quickstart check --all`; SPW_TORTURE_SECONDS each (300). The seed
is printed: SPW_TORTURE_SEED=N tests/torture/NAME does the same again.
"""

import os
import secrets
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.dont_write_bytecode = True
from harness import Tap  # noqa: E402

NAMES = ("gate", "registry", "arena", "fork", "gate_heap", "reclaimable")
SECONDS = os.environ.get("SPW_TORTURE_SECONDS", "300")


def main():
    tap = Tap()
    build = os.environ.get("SPILLWAY_BUILD", os.getcwd())
    for name in NAMES:
        program = os.path.join(build, "tests", "torture", name)
        if not os.path.exists(program):
            tap.skip(name, "was not built")
            continue
        seed = str(secrets.randbits(31))
        done = subprocess.run(
            [program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", check=False,
            env={**os.environ, "SPW_TORTURE_SECONDS": SECONDS,
                 "SPW_TORTURE_SEED": seed, "SPILLWAY_BUILD": build})
        bad = [line for line in done.stdout.split("\n")
               if line.startswith("not ok")]
        tap.ok(done.returncode == 0 and not bad,
               f"{name} for {SECONDS} s, seed {seed}",
               f"exit code {done.returncode}", *bad[:3], done.stdout[-400:])
    tap.end()


if __name__ == "__main__":
    main()
