#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Three runs of each survival mode, and one of a malloc that is killed.

The long form, 200 runs of each mode, is survive.long.t.
"""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import Tap  # noqa: E402

RUNS = int(os.environ.get("SURVIVE_RUNS", "3"))
WORDS = {
    "a": "a freed heap makes room for mmap",
    "b": "a freed heap with one block in 200 kept makes room for mmap",
    "c": "an OSv-style cache makes room for a neighbour",
    "d": "libspillway.so on the C library's malloc makes room",
    "e": "a lock held across malloc does not keep the cache from shrinking",
}


def runs_of(*arguments):
    done = subprocess.run(
        [os.path.join(harness.SOURCE, "survive"), "--json", *arguments],
        stdout=subprocess.PIPE, text=True, check=False)
    return json.loads(done.stdout) if done.stdout else []


def figures(tap, runs):
    for key in ("rss_start_mib", "cache_min_mib", "cache_end_mib"):
        found = [run[key] for run in runs if key in run]
        if found:
            tap.note(f"  least {key} {min(found):.1f}")
    for key in ("stall_max_ms", "malloc_max_ms", "gate_wait_max_ms",
                "response_max_ms", "seconds"):
        found = [run[key] for run in runs if key in run]
        if found:
            tap.note(f"  greatest {key} {max(found):.1f}")


def main():
    tap = Tap()
    version, reason = harness.memory_parent()
    if not version:
        tap.skip_all(reason)
    harness.need(tap, survivor=harness.program("survivor"),
                 interposer=harness.interposer(), library=harness.library())
    if "jemalloc" in harness.peers():
        runs = runs_of("--mode", "ab", "--runs", "1", "--peer", "jemalloc",
                       "--only-peers")
        tap.ok(len(runs) == 2 and all(run["killed"] for run in runs),
               "these programs are killed with plain jemalloc", runs)
    else:
        tap.skip("these programs are killed with plain jemalloc",
                 "jemalloc is not installed")
    runs = runs_of("--runs", str(RUNS), "--jobs", "2")
    for mode, words in WORDS.items():
        mine = [run for run in runs if run["mode"] == mode]
        bad = [run for run in mine if run["why"]]
        tap.ok(len(mine) == RUNS and not bad,
               f"{words}: 0 of {len(mine)} runs failed" if not bad else
               f"{words}: {len(bad)} of {len(mine)} runs failed",
               *bad[:5])
        figures(tap, mine)
    tap.end()


if __name__ == "__main__":
    main()
