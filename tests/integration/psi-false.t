#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""PSI triggers fire once for nothing after they were armed.

The kernel compares a new trigger with a total of zero, so a machine that has
ever stalled answers at once. A program under spillway arms such triggers; it
must not act on that first event. A trigger of our own shows whether this
kernel has the fault; the test holds either way.
"""

import contextlib
import os
import select
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


def stall(folder):
    """Makes the machine stall a little: files read in a tiny group."""
    path = os.path.join(folder, "psi-false.data")
    try:
        with open(path, "wb") as file:
            for _ in range(64):
                file.write(bytes(MIB))
            file.flush()
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with Group(8) as group:
            for _ in range(20):
                harness.run(["cat", path], group, 20,
                            stdout=subprocess.DEVNULL)
                if total() > 0:
                    break
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


def fires_falsely():
    """Whether a trigger of 1.9 s in 2 s fires within 4 s of calm."""
    try:
        fd = os.open(FILE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fd, b"some 1900000 2000000\0")
            poll = select.poll()
            poll.register(fd, select.POLLPRI)
            return bool(poll.poll(4000))
        finally:
            os.close(fd)
    except OSError as error:
        return f"no trigger: {error.strerror}"


def main():
    tap = Tap()
    survivor = harness.program("survivor")
    harness.need(tap, survivor=survivor, interposer=harness.interposer())
    if not os.access(FILE, os.R_OK):
        tap.skip_all("no " + FILE)
    if harness.memory_parent()[0] and total() == 0:
        stall(harness.BUILD)
    if total() == 0:
        tap.skip_all("this machine has never stalled, and cannot be made to")
    start = total()
    tap.note(f"stalled for {start} us so far; a trigger of our own fires "
             f"falsely: {fires_falsely()}")
    start = total()
    with subprocess.Popen(
            [survivor, "--heap", "64", "idle"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=harness.environment(harness.interposer())) as process:
        time.sleep(5)
        out = process.communicate("\n", timeout=20)[0]
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
