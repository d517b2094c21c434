#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Ways of living that break an allocator; see process.c for the programs.

Each program runs without the preload first: what fails there says nothing
about spillway and is skipped. What `spillway run` says about programs that
the loader gives no preload to is in run.t.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import Group, Tap  # noqa: E402

FINE = 7
# A limit of its own, so that the reclaimer works while the program does.
PRESSED = "limit:56M"


def fine(done):
    return done.returncode == FINE and done.stdout.endswith("fine\n")


def why(done):
    return (f"exit code {done.returncode}, output {done.stdout[-200:]!r}, "
            f"messages {done.stderr[-300:]!r}")


def both(tap, title, command, conf=None, todo=None, **more):
    """Without, then with the preload."""
    plain = harness.run(command, timeout=30, env=harness.environment(None),
                        **more)
    if not fine(plain):
        return tap.skip(title, "fails without the preload too: "
                        + why(plain).replace("\n", " "))
    done = harness.run(command, timeout=60, env=harness.environment(
        harness.interposer(), conf), **more)
    if todo and not fine(done):
        return tap.todo(title, todo, why(done))
    return tap.ok(fine(done), title, why(done))


def simple(tap, program):
    for words, title in (
            (["fork"], "fork while threads allocate, and in children"),
            (["spawn"], "vfork, posix_spawn and system beside a busy thread"),
            (["threads"], "threads that allocate in destructors and at exit"),
            (["seccomp"], "a filter that answers EPERM to all but malloc"),
            (["seccomp-kill"], "a filter that kills for all but malloc"),
            (["seccomp-direct"], "the same by the system call of its own")):
        command = [program, *words]
        both(tap, title, command)
        if not words[0].startswith("seccomp"):
            both(tap, title + ", under pressure", command, PRESSED)
    both(tap, "a filter that kills, with threads:never",
         [program, "seccomp-kill"], "threads:never")


def libraries(tap, program):
    plugin = harness.built("plugin.so", "tests/integration/.libs/plugin.so")
    if plugin:
        both(tap, "a library opened with RTLD_DEEPBIND",
             [program, "deepbind", plugin])
        both(tap, "memory that crosses RTLD_DEEPBIND",
             [program, "deepbind-across", plugin],
             todo="documented in spillway(7): it frees what it allocates")
    else:
        tap.skip("RTLD_DEEPBIND", "plugin.so is not built")
    user = harness.program("jemalloc_user")
    if user:
        both(tap, "a program that is linked with libjemalloc", [user])
    else:
        tap.skip("a program that is linked with libjemalloc", "not built")
    library = harness.library()
    for preload, title in (
            (harness.interposer(), "libspillway.so opened under the preload"),
            (None, "libspillway.so opened without it")):
        if library:
            done = harness.run([program, "dlopen", library],
                               env=harness.environment(preload))
            tap.ok(fine(done), title, why(done))
        else:
            tap.skip(title, "libspillway.so is not built")
    done = harness.run([program, "linked"],
                       env=harness.environment(harness.interposer()))
    tap.ok(fine(done), "spillway's functions found in the preload", why(done))
    if library:
        for first, second in ((library, harness.interposer()),
                              (harness.interposer(), library)):
            done = harness.run([program, "linked"], env=harness.environment(
                first + ":" + second))
            tap.ok(fine(done), "both libraries in one process, "
                   f"{os.path.basename(first)} first", why(done))


def descriptors(tap, program):
    for conf in (None, PRESSED):
        with tempfile.TemporaryDirectory() as folder:
            both(tap, "a daemon that closes every descriptor and reuses the "
                 "numbers" + (", under pressure" if conf else ""),
                 [program, "close", folder], conf)
        both(tap, "nobody takes a descriptor's number, not for a microsecond" +
             (", under pressure" if conf else ""), [program, "lowest"], conf)


def settings(tap, program):
    preload = harness.interposer()

    def threads(mode, conf):
        done = harness.run([program, mode],
                           env=harness.environment(preload, conf))
        return harness.values(done.stdout).get("threads"), why(done), done

    count, words, _ = threads("small", None)
    tap.ok(count == 1, "a small program has no thread", words)
    count, words, _ = threads("threads-of-large", None)
    tap.ok(count is not None and 1 < count <= 4,
           "a large one has two or three more", words)
    for conf in ("off", "threads:never"):
        count, words, done = threads("threads-of-large", conf)
        tap.ok(count == 1 and fine(done) and not done.stderr,
               f"SPILLWAY_CONF={conf}: no thread, no message", words)
    both(tap, "SPILLWAY_CONF=off: fork under threads", [program, "fork"],
         "off")
    both(tap, "threads:never: under pressure", [program, "work"],
         "threads:never," + PRESSED)
    for conf, named in (
            ("bogus:1", "bogus"), ("limit:12Q", "limit"), ("limit", "limit"),
            ("threads:sometimes", "threads"), ("limit:400M,psi:", "psi"),
            ("oom:panic", "oom"), ("limit:-1", "limit"),
            ("gate:soon", "gate"), ("x" * 5000 + ":1", "xxx")):
        done = harness.run([program, "work"],
                           env=harness.environment(preload, conf))
        tap.ok(fine(done) and named in done.stderr
               and "spillway" in done.stderr.lower(),
               f"SPILLWAY_CONF={conf[:20]}: named, and the program goes on",
               why(done))
    done = harness.run([program, "work"],
                       env=harness.environment(preload, ""))
    tap.ok(fine(done) and not done.stderr, "an empty SPILLWAY_CONF is none",
           why(done))


def bookkeeping(tap):
    """Static memory is the anonymous map behind the library's own last."""
    for library in (harness.interposer(), harness.library()):
        done = harness.run(["cat", "/proc/self/smaps"],
                           env=harness.environment(library))
        real = os.path.realpath(library)
        found = re.search(
            rf"-(\w+) rw-p .* {re.escape(real)}\n(?:[A-Z].*\n)+"
            r"\1-.*\n(?:[A-Z].*\n)*?VmFlags:(.*)", done.stdout)
        tap.ok(found and " nh" in found[2], "static memory of "
               f"{os.path.basename(library)} never is huge pages",
               found and found[2], done.stdout[:200])


def places(tap, program):
    preload = harness.interposer()
    done = harness.run(["unshare", "-m", "sh", "-c",
                        "umount -l /proc 2>&1 && exec env "
                        f'LD_PRELOAD={preload} "$0" work', program],
                       env=harness.environment())
    if done.returncode == FINE or not re.search(
            "unshare|umount|not permitted", done.stdout + done.stderr):
        tap.ok(fine(done), "no /proc", why(done))
    else:
        tap.skip("no /proc", why(done).replace("\n", " "))
    with open("/dev/full", "w", encoding="ascii") as full:
        done = harness.run([program, "work"], stderr=full,
                           env=harness.environment(
                               preload, "log:debug," + PRESSED))
        tap.ok(fine(done), "a full disk under the log", done.stdout)
        done = harness.run([program, "work"], stderr=full,
                           env=harness.environment(preload, "bogus:1"))
        tap.ok(fine(done), "a full disk under a complaint", done.stdout)
    done = harness.run(["sh", "-c", 'exec "$0" work 2>&-', program],
                       env=harness.environment(preload,
                                               "log:debug," + PRESSED))
    tap.ok(fine(done), "a closed standard error", why(done))


def setuid(tap, program):
    title = "a setuid program (the loader leaves the preload out)"
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return tap.skip(title, "needs root and setpriv")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "process")
        # The program itself, not libtool's wrapper around it.
        real = os.path.join(os.path.dirname(program), ".libs", "process")
        shutil.copy(real if os.path.exists(real) else program, path)
        os.chmod(folder, 0o755)
        os.chown(path, 0, 0)
        os.chmod(path, 0o4755)
        words = ["setpriv", "--reuid", "65534", "--regid", "65534",
                 "--clear-groups", path, "work"]
        done = harness.run(words, env=harness.environment(
            harness.interposer()))
    return tap.ok(fine(done), title, why(done))


def moved(tap):
    """Sensed in one group, then moved to a smaller one at run time."""
    title = "a process that is moved to another cgroup survives there"
    version, reason = harness.memory_parent()
    survivor = harness.program("survivor")
    if not version or not survivor:
        return tap.skip(title, reason or "survivor is not built")
    with Group(2000) as first, Group(400) as second:
        with subprocess.Popen(
                [survivor, "--wait", "32", "burst"], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                preexec_fn=first.join,
                env=harness.environment(harness.interposer())) as process:
            process.stdout.readline()
            time.sleep(0.5)
            second.write("cgroup.procs", process.pid)
            out = process.communicate("\n", timeout=60)[0]
        kills = first.kills() + second.kills()
    run = harness.values(out)
    return tap.ok(process.returncode == 0 and not kills
                  and run.get("rss_start_mib", 0) >= 290, title,
                  f"exit code {process.returncode}, {kills} kills", run)


def main():
    tap = Tap()
    program = harness.program("process")
    harness.need(tap, process=program, interposer=harness.interposer())
    simple(tap, program)
    libraries(tap, program)
    descriptors(tap, program)
    settings(tap, program)
    bookkeeping(tap)
    places(tap, program)
    setuid(tap, program)
    moved(tap)
    tap.end()


if __name__ == "__main__":
    main()
