#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""PSI triggers fire once for nothing after they were armed.

The kernel lets a new unprivileged trigger count from a total that it keeps
for privileged ones, often zero. After the next stall, however short, all that
the machine ever stalled looks like growth within the window. A program
under spillway arms such triggers and must not act on that first event. A
trigger of our own shows whether this kernel has the fault; the test holds
either way.
"""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import MIB, Group, Tap  # noqa: E402

FILE = "/proc/pressure/memory"


def total():
    with open(FILE, encoding="ascii") as file:
        return int(file.readline().rsplit("total=", 1)[1])


def file_make(folder):
    path = os.path.join(folder, "psi-false.data")
    with open(path, "wb") as file:
        for _ in range(64):
            file.write(bytes(MIB))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return path


def stall(path, more_us, seconds, blocks):
    """Makes the machine stall for so long: a file is read in a tiny group."""
    goal = total() + more_us
    end = time.monotonic() + seconds
    with Group(2) as group:
        while total() < goal and time.monotonic() < end:
            harness.run(["dd", "if=" + path, "of=/dev/null", "bs=64k",
                         f"count={blocks}"], group, 20)
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def unprivileged(command):
    """Without CAP_SYS_RESOURCE, where only windows of 2 s are allowed."""
    if os.geteuid() == 0 and harness.which("setpriv"):
        return ["setpriv", "--bounding-set", "-sys_resource"] + command
    return command


TRIGGER = f"""
import os, select, sys
fd = os.open("{FILE}", os.O_RDWR | os.O_NONBLOCK)
os.write(fd, b"some 150000 2000000\\0")
poll = select.poll()
poll.register(fd, select.POLLPRI)
print(bool(poll.poll(5000)))
"""


def main():
    tap = Tap()
    survivor = harness.program("survivor")
    harness.need(tap, survivor=survivor, interposer=harness.interposer())
    if not os.access(FILE, os.R_OK):
        tap.skip_all("no " + FILE)
    version, reason = harness.memory_parent()
    if not version:
        tap.skip_all(reason)
    path = file_make(harness.BUILD)
    try:
        if total() < 500000:
            stall(path, 500000, 20, 1024)
        if total() < 500000:
            tap.skip_all("this machine cannot be made to stall: "
                         f"{total()} us")
        tap.note(f"stalled for {total()} us so far")
        with subprocess.Popen(
                unprivileged([survivor, "--heap", "64", "idle"]), text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env=harness.environment(harness.interposer())) as process, \
            subprocess.Popen(
                unprivileged([sys.executable, "-c", TRIGGER]), text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as trigger:
            time.sleep(1)
            start = total()
            stall(path, 100, 5, 50)
            tap.note("a trigger of our own for 150 ms in 2 s fires after "
                     f"{total() - start} us: {trigger.communicate()[0]}")
            out = process.communicate("\n", timeout=20)[0]
    finally:
        os.unlink(path)
    first, _, rest = out.partition("said=1\n")
    before, after = harness.values(first), harness.values(rest)
    stalled_us = total() - start
    tap.note(f"stalled for {stalled_us} us meanwhile; {after}")
    if stalled_us > 100000:
        tap.skip_all("the machine really stalled meanwhile")
    tap.ok(process.returncode == 0 and after.get("survived") == 1,
           "the program runs to its end")
    tap.ok(after.get("events") == 0, "no level was raised", after)
    tap.ok(after.get("passes") == 0, "no pass was made", after)
    tap.ok(after.get("rss_mib", 0) >= before.get("rss_mib", 1e9) - 1,
           "the freed heap stays resident", before, after)
    tap.end()


if __name__ == "__main__":
    main()
