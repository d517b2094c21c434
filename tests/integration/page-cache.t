#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Page cache is not pressure.

200 MiB of freed heap sit in a 256 MiB group while another process of the
group reads 2 GB of files: nothing may be given back, nothing may be tried.
The counters of the group prove that the kernel did hit the limit. The heap's
own growth was real, so counting starts when that has calmed down.
"""

import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import MIB, Group, Tap  # noqa: E402

HEAP_MIB = 186  # 200 with what blocks of 1 KB cost
FILE_MIB = 700
READ_MIB = 2100


def file_make(folder):
    """A file of which no page is cached, so that readers are charged."""
    path = os.path.join(folder, "stream")
    with open(path, "wb") as file:
        block = os.urandom(MIB)
        for _ in range(FILE_MIB):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return path


def report(process):
    text = ""
    while not text.endswith("said=1\n"):
        line = process.stdout.readline()
        if not line:
            break
        text += line
    return harness.values(text)


def ask(process):
    process.stdin.write("\n")
    process.stdin.flush()
    return report(process)


def limit_hits(group):
    if group.version == 2:
        return group.number("memory.events", "max")
    return int(group.read("memory.failcnt"))


def main():
    tap = Tap()
    version, reason = harness.memory_parent()
    if not version:
        tap.skip_all(reason)
    survivor = harness.program("survivor")
    harness.need(tap, survivor=survivor, interposer=harness.interposer())
    folder = os.environ.get("TMPDIR") or harness.BUILD
    status = os.statvfs(folder)
    if status.f_bavail * status.f_frsize < 1024 * MIB:
        tap.skip_all(f"less than 1 GiB free in {folder}")
    with tempfile.TemporaryDirectory(dir=folder) as folder, \
            Group(256) as group:
        path = file_make(folder)
        with subprocess.Popen(
                [survivor, "--heap", str(HEAP_MIB), "idle"], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                preexec_fn=group.join,
                env=harness.environment(harness.interposer())) as process:
            report(process)
            time.sleep(5)
            before = ask(process)
            for _ in range(READ_MIB // FILE_MIB):
                harness.run(["dd", "if=" + path, "of=/dev/null", "bs=1M"],
                            group, 60)
            after = ask(process)
            process.stdin.close()
            process.wait(10)
        hits = limit_hits(group)
        tap.note(f"before: {before}")
        tap.note(f"after: {after}")
        if hits < 100:
            tap.skip_all(f"the file system is not cached: {hits} limit hits")
        tap.ok(process.returncode == 0 and group.kills() == 0,
               "nothing is killed")
        tap.ok(before.get("rss_mib", 0) >= 194,
               "the freed heap is resident before")
        tap.ok(after.get("rss_mib", 0) >= before.get("rss_mib", 1e9) - 1,
               f"it stays resident through {hits} limit hits", after)
        for key, words in (("passes", "no pass was made"),
                           ("reclaimed_mib", "nothing was reclaimed"),
                           ("events", "the level never rose")):
            tap.ok(key in after and after[key] == before[key], words,
                   before, after)
        tap.ok(after.get("wakeups", 1e9) - before.get("wakeups", 0) < 2000,
               "and the monitor did not spin", after)
    tap.end()


if __name__ == "__main__":
    main()
