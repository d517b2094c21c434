#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Collectors, for long: each gc-*.t with requests every 50 ms for 60 s, and
with 100 short lives.

Usage: tests/integration/gc.long.t [gc-NAME.t ...]

The short form is what those tests do by themselves. Their lines are passed
on with the test's name in front; SPILLWAY_GC_SECONDS and SPILLWAY_GC_RUNS
override 60 and 100.
"""

import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import Tap  # noqa: E402

LINE = re.compile(r"(ok|not ok) \d+ - (.*?)(?: # (SKIP|TODO) (.*))?$")
PLAN = re.compile(r"1\.\.(\d+)(?: # SKIP (.*))?$")


def run(tap, path, env):
    """Passes on what one test says; what it does not say has failed."""
    name = os.path.basename(path)
    said, plan = 0, None
    with subprocess.Popen([sys.executable, path], env=env, text=True,
                          errors="replace", stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE) as child:
        for text in child.stdout:
            line, end = LINE.match(text), PLAN.match(text)
            if end:
                plan = int(end.group(1))
                if plan == 0:
                    tap.skip(name, end.group(2) or "it says no reason")
            elif not line:
                tap.note(text.lstrip("# ").rstrip())
            else:
                said += 1
                title = f"{name}: {line.group(2)}"
                if line.group(3) == "SKIP":
                    tap.skip(title, line.group(4))
                elif line.group(3) == "TODO" and line.group(1) == "not ok":
                    tap.todo(title, line.group(4))
                else:
                    tap.ok(line.group(1) == "ok", title)
    if plan != said:
        tap.ok(False, f"{name} runs to its end",
               f"{said} of {plan} lines, exit {child.returncode}")


def main():
    tap = Tap()
    harness.need(tap, interposer=harness.interposer(), spillway=harness.cli())
    env = dict(os.environ)
    env.setdefault("SPILLWAY_GC_SECONDS", "60")
    env.setdefault("SPILLWAY_GC_RUNS", "100")
    names = sys.argv[1:] or sorted(
        os.path.basename(path)
        for path in glob.glob(os.path.join(harness.SOURCE, "gc-*.t")))
    for name in names:
        run(tap, os.path.join(harness.SOURCE, name), env)
    tap.end()


main()
