#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Caches under torture for minutes: in every build, with several seeds.

Runs in `./quickstart check --all`. Programs: cache (everything at once),
cache_kept (plenty of memory: a miss is a loss), and both with generations of
2 bits. Builds: the usual one; that of clang (build/check/clang), which has
assertions of level 2 and fails every eighth allocation; AddressSanitizer's;
ThreadSanitizer's. Each pair takes SPW_TORTURE_SECONDS (300) in SEEDS (3) runs.
A seed is printed: SPW_TORTURE_SEED=N BUILD/tests/torture/NAME does the same
again. SPW_TORTURE_BUILDS (folders, by `:`) says which builds instead.
"""

import os
import secrets
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.dont_write_bytecode = True
from harness import BUILD, Tap  # noqa: E402

PROGRAMS = ("cache", "cache_wrap", "cache_kept", "cache_kept_wrap")
VARIANTS = ("clang", "address,undefined", "thread")
SECONDS = int(os.environ.get("SPW_TORTURE_SECONDS", "300"))
SEEDS = 3
# As in quickstart: a child may start threads, and its parent's are no leak.
TSAN = ("die_after_fork=0 report_thread_leaks=0 suppressions="
        + os.path.join(HERE, "..", "thread.suppressions"))
REPORTS = ("WARNING: ThreadSanitizer", "ERROR: AddressSanitizer",
           "ERROR: LeakSanitizer", "runtime error:", "Assertion")


def builds():
    asked = os.environ.get("SPW_TORTURE_BUILDS")
    if asked:
        return asked.split(":")
    return [BUILD] + [os.path.join(BUILD, "check", name) for name in VARIANTS]


def torture(program, seconds, seed):
    """Whether it went well, and what it said."""
    env = {"TSAN_OPTIONS": TSAN, **os.environ,
           "SPW_TORTURE_SECONDS": str(seconds), "SPW_TORTURE_SEED": seed}
    try:
        done = subprocess.run([program], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, env=env,
                              errors="replace", check=False,
                              timeout=seconds + 300)
    except subprocess.TimeoutExpired as error:
        return False, f"no end: {(error.stdout or b'')[-400:]!r}"
    good = (done.returncode == 0 and "not ok" not in done.stdout
            and not any(text in done.stdout for text in REPORTS))
    return good, f"exit code {done.returncode}\n" + done.stdout[-3000:]


def main():
    tap = Tap()
    for build in builds():
        where = os.path.relpath(build, BUILD) if build != BUILD else "build"
        for name in PROGRAMS:
            program = os.path.join(build, "tests", "torture", name)
            title = f"{where}: {name}"
            if not os.path.exists(program):
                tap.skip(title, f"{program} is not there: "
                         "./quickstart check builds it")
                continue
            for _ in range(SEEDS):
                seed = str(secrets.randbits(31))
                seconds = max(1, SECONDS // SEEDS)
                good, said = torture(program, seconds, seed)
                tap.ok(good, f"{title}, {seconds} s, seed {seed}", said)
                tap.note("\n".join(
                    line for line in said.splitlines()
                    if " puts" in line or " shrinks" in line
                    or " waves" in line))
    tap.end()


if __name__ == "__main__":
    main()
