#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A freed burst of 512 MiB: kept while nothing presses, back when it does.

The event is real: a neighbour in the same memory group takes the room. RSS
must be within 10 % of the floor half a second after its growth ended. The
floor is what jemalloc's own full purge leaves of the same program.
"""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import Group, Tap  # noqa: E402

LIMIT_MIB = 800
SHAPES = (
    ("a freed burst", []),
    ("a burst with a random 10 % kept", ["--keep", "10", "--random"]),
)


class Idle:
    """survivor idle, and what it says when it is asked."""

    def __init__(self, words, preload, group=None):
        self.process = subprocess.Popen(
            [harness.program("survivor"), "--heap", "512", *words, "idle"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            bufsize=0, env=harness.environment(preload),
            preexec_fn=group.join if group else None)
        self.said()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        if self.process.poll() is None and self.process.wait(30) == 0:
            return
        self.process.wait()

    def said(self):
        text = ""
        while not text.endswith("said=1\n"):
            line = self.process.stdout.readline()
            if not line:
                break
            text += line
        return harness.values(text)

    def ask(self, command="\n"):
        self.process.stdin.write(command)
        return self.said()

    def rss_mib(self):
        with open(f"/proc/{self.process.pid}/statm",
                  encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096 / harness.MIB


def floor_of(words):
    preload = harness.peers().get("jemalloc") or harness.interposer()
    with Idle(words, preload) as idle:
        return idle.ask("p")["rss_mib"]


def pressed(tap, name, words, floor):
    neighbour_mib = int(LIMIT_MIB - floor - 45)
    with Group(LIMIT_MIB) as group, \
            Idle(words, harness.interposer(), group) as idle, \
            subprocess.Popen(
                ["sh", "-c", 'exec "$0" "$@" 3>&1',
                 harness.program("survivor"), "--neighbour",
                 str(neighbour_mib), "grow"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env=harness.environment(),
                preexec_fn=group.join) as neighbour:
        full = idle.rss_mib()
        time.sleep(3)
        before = idle.rss_mib()
        tap.ok(before >= full - 1 and full >= 512,
               f"{name}: nothing is returned in 3 s without pressure",
               f"{full:.0f} MiB, then {before:.0f}")
        neighbour.stdin.write(b"g")
        neighbour.stdin.flush()
        grown = len(neighbour.stdout.read(16)) == 16
        end = time.monotonic()
        took = None
        while time.monotonic() - end < 3:
            if idle.rss_mib() <= floor * 1.1:
                took = time.monotonic() - end
                break
            time.sleep(0.002)
        at_last = idle.rss_mib()
        kills = group.kills()
        stats = idle.ask() if not kills else {}
        neighbour.stdin.close()
    tap.ok(grown and not kills, f"{name}: nobody is killed by the event",
           f"{kills} kills")
    tap.ok(took is not None and took <= 0.5 and not kills,
           f"{name}: within 10 % of the floor in 0.5 s after the event",
           f"floor {floor:.1f} MiB, RSS {at_last:.1f} MiB, took {took}",
           stats)
    tap.note(f"  floor {floor:.1f} MiB, RSS {before:.0f} -> {at_last:.1f} "
             f"MiB, {took if took is None else round(took, 3)} s after the "
             "neighbour's last page")


def asked(tap, name, words, floor):
    if not harness.cli():
        return tap.skip(f"{name}: spillway reclaim PID max",
                        "spillway is not built")
    with Idle(words, harness.interposer()) as idle:
        before = idle.rss_mib()
        start = time.monotonic()
        done = harness.run([harness.cli(), "reclaim",
                            str(idle.process.pid), "max"],
                           env=harness.environment())
        took = time.monotonic() - start
        after = idle.rss_mib()
    tap.note(f"  {before:.0f} -> {after:.1f} MiB in {took:.3f} s; "
             + done.stdout.strip().replace("\n", " | ")[-100:])
    return tap.ok(done.returncode == 0 and after <= floor * 1.1
                  and took <= 0.5,
                  f"{name}: spillway reclaim PID max reaches the floor in "
                  "0.5 s", f"exit code {done.returncode}, RSS {after:.1f}, "
                  f"floor {floor:.1f}, took {took:.3f}", done.stderr)


def main():
    tap = Tap()
    version, reason = harness.memory_parent()
    if not version:
        tap.skip_all(reason)
    harness.need(tap, survivor=harness.program("survivor"),
                 interposer=harness.interposer())
    for name, words in SHAPES:
        floor = floor_of(words)
        pressed(tap, name, words, floor)
        asked(tap, name, words, floor)
    tap.end()


if __name__ == "__main__":
    main()
