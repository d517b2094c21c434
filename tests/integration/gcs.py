# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of collectors share.

A runtime is tested by two programs of its own language. `burst` makes
garbage, drops it, prints "ready" and idles until the file named by its last
argument is there; then it prints a sum. `churn` makes garbage all the time,
keeps some, and prints a sum; its argument is how long it works.

SPILLWAY_GC_SECONDS (3) is how long a stress lasts, SPILLWAY_GC_RUNS (6) how
many short programs are started.
"""

import json
import os
import subprocess
import tempfile
import threading
import time

import harness
from harness import MIB

SECONDS = float(os.environ.get("SPILLWAY_GC_SECONDS", "3"))
RUNS = int(os.environ.get("SPILLWAY_GC_RUNS", "6"))
SLOW = 180  # seconds: what takes longer hangs, also on a busy machine


def resident_mib(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 // MIB


def reclaim(pid, timeout=10):
    """Asks for all there is: the exit code."""
    return subprocess.run(
        [harness.cli(), "reclaim", "-q", "-t", f"{timeout}s", str(pid), "max"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        check=False).returncode


def stat(pid):
    """What `spillway stat` says, or {}."""
    done = subprocess.run([harness.cli(), "stat", "--json", str(pid)],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False, text=True)
    try:
        return json.loads(done.stdout)
    except ValueError:
        return {}


def collectors(pid):
    """{name: line} of what it says of them, or {}."""
    return {c["name"]: c for c in stat(pid).get("collectors", [])}


def collected(pid, name, timeout=30):
    """Asks until there was a collection, and what `spillway stat` says then.

    On a busy machine one request may only find the runtime, or end before
    the runtime came to where it collects.
    """
    until = time.monotonic() + timeout
    seen = {}
    while time.monotonic() < until:
        reclaim(pid)
        again = min(until, time.monotonic() + 2)
        while time.monotonic() < again:
            seen = collectors(pid).get(name, seen)
            if seen.get("collections"):
                return seen
            time.sleep(0.02)
    return seen


class Burst:
    """A program that has dropped its garbage and idles."""

    def __init__(self, command, conf="", preload=True, **more):
        self.folder = tempfile.mkdtemp(prefix="spillway-gc-")
        self.go = os.path.join(self.folder, "go")
        env = harness.environment(
            harness.interposer() if preload else None, conf, **more)
        self.child = subprocess.Popen(
            command + [self.go], env=env, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self.pid = self.child.pid
        self.first = self.child.stdout.readline().strip()

    def resident(self):
        return resident_mib(self.pid)

    def falls(self, most_mib, timeout=3):
        """Its resident memory: waits for some time until it is that."""
        until = time.monotonic() + timeout
        while self.resident() > most_mib and time.monotonic() < until:
            time.sleep(0.02)
        return self.resident()

    def end(self):
        """(exit code, all that it wrote)."""
        with open(self.go, "w", encoding="ascii"):
            pass
        try:
            out, err = self.child.communicate(timeout=SLOW)
        except subprocess.TimeoutExpired:
            self.child.kill()
            out, err = self.child.communicate()
            return 124, self.first + "\n" + out + err
        os.unlink(self.go)
        os.rmdir(self.folder)
        return self.child.returncode, self.first + "\n" + out + err


def forks(tap, command, conf):
    """A program that makes 20 children while it is asked; 0: none was bad."""
    burst = Burst(command, conf)
    asked = 0
    while burst.child.poll() is None:
        asked += reclaim(burst.pid, 1) in (0, 1)
    code, out = burst.end()
    tap.ok(code == 3 and out.split("\n")[1] == "0" and asked > 1,
           f"20 forks while {asked} requests run", out)


class Runtime:
    """One runtime's tests; `burst` and `churn` are commands."""

    def __init__(self, tap, name, burst, churn, conf=None, preload=True):
        self.tap, self.name = tap, name
        self.preload = harness.interposer() if preload else None
        self.burst, self.churn = burst, churn
        self.conf = conf or f"gc:{name}"

    def returns(self, what, least, most, settle=0.5):
        """One request returns garbage: from over `least` to `most` MiB."""
        tap = self.tap
        plain = Burst(self.burst, preload=False)
        time.sleep(settle)
        kept = plain.resident()
        wanted = plain.end()
        with_it = Burst(self.burst, self.conf, self.preload)
        time.sleep(max(settle, 1.2))
        before = with_it.resident()
        seen = collected(with_it.pid, self.name)
        time.sleep(settle)
        if with_it.falls(most) > most and self.was_late(with_it.pid):
            reclaim(with_it.pid)  # what it freed to malloc since
        after = with_it.falls(most)
        seen = collectors(with_it.pid).get(self.name, seen)
        got = with_it.end()
        tap.note(f"{what}: alone it keeps {kept} MiB; {before} -> {after}")
        tap.ok(seen.get("collections", 0) >= 1,
               f"{what}: its collector is found, and asked", seen)
        tap.ok(before >= least and after <= most,
               f"{what}: it gives back to {most} MiB",
               f"{before} -> {after}", got[1][-600:])
        tap.ok(got == wanted, f"{what}: nobody sees the difference",
               f"wanted {wanted}", f"got {got}")
        if "last_ns" in seen:
            tap.note(f"{what}: {seen['last_ns'] / 1e6:.0f} ms")

    def was_late(self, pid):
        """On a machine that is busy: the request did not wait for it."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            seen = collectors(pid).get(self.name, {})
            if seen.get("collections"):
                return seen["last_ns"] > 700e6
            time.sleep(0.1)
        return False

    def survives(self, what, limit_mib, argument, conf="", alone=None):
        """In a group in which it is killed alone, the same output."""
        tap = self.tap
        command = self.churn + [str(argument)]
        free = harness.run(command, env=harness.environment(), timeout=SLOW)
        try:
            with harness.Group(limit_mib) as group:
                plain = harness.run(command, group, timeout=SLOW,
                                    env=harness.environment())
                kills = group.kills()
            with harness.Group(limit_mib) as group:
                done = harness.run(
                    command, group, timeout=SLOW, env=harness.environment(
                        self.preload, self.conf + conf))
                ours = group.kills()
        except OSError as error:
            tap.skip(f"{what}: survives {limit_mib} MiB", str(error))
            return
        tap.note(f"{what}, {limit_mib} MiB: alone exit {plain.returncode}, "
                 f"{kills} kills; with it exit {done.returncode}, {ours}")
        if alone == "killed":
            tap.ok(kills > 0 or plain.returncode != free.returncode,
                   f"{what}: alone it is killed at {limit_mib} MiB")
        tap.ok(done.returncode == free.returncode and ours == 0 and
               done.stdout == free.stdout,
               f"{what}: it survives {limit_mib} MiB, output the same",
               f"exit {done.returncode}, {ours} kills", done.stderr[-600:],
               f"wanted {free.stdout[-200:]}", f"got {done.stdout[-200:]}")

    def lasting(self, command, argument, seconds):
        """The command, with so much to do that it works so long alone, and
        what came of it. A machine's speed is not known before."""
        while True:
            began = time.monotonic()
            free = harness.run(command + [str(argument)], timeout=SLOW,
                               env=harness.environment())
            took = time.monotonic() - began
            if took >= seconds or free.returncode < 0 or \
                    isinstance(argument, str):
                return command + [str(argument)], free
            argument = type(argument)(
                argument * min(8, 1.2 * seconds / took) + 1)

    def stress(self, what, argument, least=0.9, command=None,
               seconds=SECONDS):
        """Requests every 50 ms while it works."""
        tap = self.tap
        command, free = self.lasting(command or self.churn, argument, seconds)
        child = subprocess.Popen(
            command, text=True, errors="replace", stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=harness.environment(self.preload,
                                    self.conf + ",gc-interval:0,start:0"))
        asked, ran, last, stop = [0], [0], [{}], threading.Event()

        def ask():
            while not stop.wait(0.05) and \
                    self.name not in collectors(child.pid):
                reclaim(child.pid, 1)  # of one that makes garbage: all of it
            while not stop.wait(0.05):
                before = last[0].get("collections", 0)
                if reclaim(child.pid, 5) not in (0, 1):
                    continue
                until = time.monotonic() + 6
                again = until - 5.55
                while time.monotonic() < until:
                    if time.monotonic() > again:
                        # What has not grown is not asked twice in 400 ms.
                        reclaim(child.pid, 5)
                        again += 0.45
                    last[0] = collectors(child.pid).get(self.name) or last[0]
                    if last[0].get("collections", 0) > before:
                        ran[0] += 1
                        break
                    if child.poll() is not None:
                        return
                    time.sleep(0.01)
                asked[0] += 1

        asker = threading.Thread(target=ask)
        asker.start()
        try:
            out, err = child.communicate(timeout=SLOW + 10 * SECONDS)
            code = child.returncode
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            code = 124
        stop.set()
        asker.join()
        tap.note(f"{what}: {asked[0]} requests, {ran[0]} ran, longest "
                 f"{last[0].get('ns_max', 0) / 1e6:.0f} ms")
        tap.ok((code, out) == (free.returncode, free.stdout),
               f"{what}: requests every 50 ms change nothing",
               f"wanted {free.returncode} {free.stdout[-200:]}",
               f"got {code} {out[-200:]}", err[-600:])
        tap.ok(ran[0] >= least * (asked[0] - 2) and ran[0] > 0,
               f"{what}: nine of ten requests really collect",
               f"{ran[0]} of {asked[0]}, {last[0]}")

    def hammer(self, what, command, runs=RUNS):
        """Short lives that end while they are being asked."""
        wanted = harness.run(command, env=harness.environment(), timeout=SLOW)
        bad, met = [], 0
        for _ in range(runs):
            child = subprocess.Popen(
                command, text=True, errors="replace",
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, env=harness.environment(
                    self.preload, self.conf +
                    ",gc-interval:0,start:0"))
            seen, until = False, time.monotonic() + SLOW
            while child.poll() is None:
                if time.monotonic() > until:
                    child.kill()
                seen |= reclaim(child.pid, 1) in (0, 1, 5)
                time.sleep(0.001)
            out, err = child.communicate(timeout=SLOW)
            met += seen
            if (child.returncode, out, bool(err)) != \
                    (wanted.returncode, wanted.stdout, bool(wanted.stderr)):
                bad.append((child.returncode, out[-200:], err[:300]))
        self.tap.ok(not bad and met > runs // 2,
                    f"{what}: {runs} short lives, asked until they end",
                    f"{len(bad)} went wrong; {met} were met", *bad[:3])
