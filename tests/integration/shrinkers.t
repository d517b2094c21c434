#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Shrinkers that misbehave under real events; see shrinkers.c."""

import os
import resource
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import Tap  # noqa: E402

CONF = "limit:128M,log:info"
MODES = (
    ("reclaim", "spw_reclaim measures what an honest one gave", None),
    ("lie", "one that lies about what it freed keeps nothing from others",
     None),
    ("hang", "one that never returns is quarantined and named", "hangman"),
    ("self", "one that unregisters itself is asked no more", None),
    ("later", "one that pays later", None),
    ("unregister", "unregister waits for the running call", None),
    ("twice", "two of one name are two", None),
)


def main():
    tap = Tap()
    program = harness.program("shrinkers")
    harness.need(tap, shrinkers=program, interposer=harness.interposer())
    for mode, title, named in MODES:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = harness.run([program, mode], timeout=40,
                           env=harness.environment(harness.interposer(),
                                                   CONF))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        good = done.returncode == 7 and done.stdout == "fine\n"
        if named:
            good = good and named in done.stderr
        tap.ok(good, title, f"exit code {done.returncode}", done.stdout,
               done.stderr[-600:])
        tap.note(f"  {after.ru_utime - before.ru_utime:.2f} s user, "
                 f"{after.ru_stime - before.ru_stime:.2f} s system")
    tap.end()


if __name__ == "__main__":
    main()
