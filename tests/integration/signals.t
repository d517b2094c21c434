#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Signal handlers that map memory while malloc is interrupted."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import Tap  # noqa: E402

SECONDS = 20


def hangs(program, words, conf, runs):
    """How many of so many runs do not end, and how many end badly."""
    hung = bad = 0
    for _ in range(runs):
        try:
            done = subprocess.run(
                [program] + words, timeout=SECONDS, check=False,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=harness.environment(harness.interposer(), conf))
            bad += done.returncode != 0
        except subprocess.TimeoutExpired:
            return hung + 1, bad
    return hung, bad


def main():
    tap = Tap()
    harness.need(tap, interposer=harness.interposer())
    program = harness.program("signal_maps")
    if not program:
        tap.skip_all("signal_maps is not built")
    for title, words, conf, runs in (
            ("its own stack", [], "", 20),
            ("a signal stack", ["stack"], "", 5),
            ("threads:never", [], "threads:never", 10)):
        hung, bad = hangs(program, words, conf, runs)
        tap.ok(not hung and not bad, f"a handler that crosses start: inside "
               f"malloc, {title}: {runs} runs end",
               f"{hung} hung, {bad} ended badly")
    tap.end()


main()
