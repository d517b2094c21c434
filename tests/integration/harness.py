# SPDX-License-Identifier: BSD-2-Clause
"""What the integration tests share: TAP lines, memory groups, built files.

Usage: from harness import Tap, Group, built, preload
A test that cannot run says why with Tap.skip(); it never passes instead.
Groups are children of this process's own memory cgroup (v1 or v2, whichever
the machine has), without swap, and are removed when the `with` block ends.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("SPILLWAY_BUILD") or os.environ.get(
    "abs_top_builddir") or os.getcwd()
MIB = 1 << 20


class Tap:
    """TAP on standard output; plan() is printed at the end."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def ok(self, good, name, *notes):
        self.count += 1
        if not good:
            self.failed += 1
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}")
        for note in notes if not good else ():
            self.note(note)
        sys.stdout.flush()
        return good

    def todo(self, name, reason, *notes):
        """A failure that is documented: reported, and no failed test."""
        self.count += 1
        print(f"not ok {self.count} - {name} # TODO {reason}")
        for note in notes:
            self.note(note)

    def skip(self, name, reason):
        self.count += 1
        print(f"ok {self.count} - {name} # SKIP {reason}", flush=True)

    @staticmethod
    def note(text):
        for line in str(text).splitlines():
            print(f"# {line}", flush=True)

    def end(self):
        print(f"1..{self.count}", flush=True)
        sys.exit(1 if self.failed else 0)

    @staticmethod
    def skip_all(reason):
        print(f"1..0 # SKIP {reason}", flush=True)
        sys.exit(0)


def built(*names):
    """The first of these files that the build has, or None."""
    for name in names:
        for folder in ("", ".libs/", "tests/integration/"):
            path = os.path.join(BUILD, folder + name)
            if os.path.isfile(path):
                return os.path.abspath(path)
    return None


def interposer():
    return os.environ.get("SPILLWAY_PRELOAD") or built("libspillway-malloc.so")


def library():
    return os.environ.get("SPILLWAY_LIBRARY") or built(
        "libspillway.so", "libspillway.so.0")


def cli():
    return os.environ.get("SPILLWAY_CLI") or built("spillway")


def program(name, kind="integration"):
    return built(f"tests/{kind}/{name}", name)


def need(tap, **files):
    """Ends the test where something of the build is missing."""
    for name, path in files.items():
        if not path:
            tap.skip_all(f"{name} is not built below {BUILD}")


def environment(preload=None, conf=None, **more):
    """This process's environment, with or without the preload."""
    env = {k: v for k, v in os.environ.items()
           if k not in ("LD_PRELOAD", "SPILLWAY_CONF")}
    if preload:
        env["LD_PRELOAD"] = preload
    if conf is not None:
        env["SPILLWAY_CONF"] = conf
    env.update(more)
    return env


def peers():
    """Names and files of the mallocs that are compared with."""
    found = {"glibc": ""}
    for name, file in (("jemalloc", "libjemalloc.so.2"),
                       ("mimalloc", "libmimalloc.so.2"),
                       ("tcmalloc", "libtcmalloc_minimal.so.4")):
        for folder in ("/usr/lib/x86_64-linux-gnu",
                       "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib",
                       "/usr/local/lib"):
            path = os.path.join(folder, file)
            if os.path.exists(path):
                found[name] = path
                break
    return found


def memory_parent():
    """(version, folder) of this process's memory cgroup, or a reason."""
    own = {}
    try:
        with open("/proc/self/cgroup", encoding="ascii") as file:
            for line in file:
                _, names, path = line.rstrip("\n").split(":", 2)
                own[names] = path
    except OSError as error:
        return None, f"no /proc/self/cgroup: {error.strerror}"
    if "memory" in own:
        for path in (own["memory"], ""):
            folder = "/sys/fs/cgroup/memory" + path.rstrip("/")
            if os.access(folder, os.W_OK):
                return 1, folder
        return None, "the v1 memory controller is not writable"
    if "" not in own:
        return None, "no memory controller"
    folder = "/sys/fs/cgroup" + own[""].rstrip("/")
    try:
        with open(folder + "/cgroup.subtree_control", "w",
                  encoding="ascii") as file:
            file.write("+memory")
    except OSError as error:
        return None, f"no memory controller for children: {error.strerror}"
    return 2, folder


class Group:
    """A memory cgroup of its own for one run."""

    def __init__(self, limit_mib=None, name="spillway"):
        self.version, self.parent = memory_parent()
        if not self.version:
            raise OSError(self.parent)
        self.folder = tempfile.mkdtemp(prefix=name + "-", dir=self.parent)
        if limit_mib is not None:
            self.limit(limit_mib * MIB)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def write(self, file, value):
        with open(os.path.join(self.folder, file), "w",
                  encoding="ascii") as f:
            f.write(str(value))

    def read(self, file):
        with open(os.path.join(self.folder, file), encoding="ascii") as f:
            return f.read()

    def limit(self, limit_bytes):
        if self.version == 2:
            self.write("memory.max", limit_bytes)
            with contextlib.suppress(OSError):
                self.write("memory.swap.max", 0)
            return
        self.write("memory.limit_in_bytes", limit_bytes)
        with open("/proc/swaps", encoding="ascii") as swaps:
            if len(swaps.readlines()) < 2:
                return  # with it, hits would not count in memory.failcnt
        with contextlib.suppress(OSError):
            self.write("memory.memsw.limit_in_bytes", limit_bytes)

    def usage(self):
        return int(self.read("memory.current" if self.version == 2
                             else "memory.usage_in_bytes"))

    def number(self, file, key):
        for line in self.read(file).splitlines():
            words = line.split()
            if words[0] == key:
                return int(words[1])
        return 0

    def kills(self):
        return self.number("memory.events" if self.version == 2
                           else "memory.oom_control", "oom_kill")

    def join(self):
        """To be called in the child, before exec."""
        self.write("cgroup.procs", os.getpid())

    def pids(self):
        return [int(p) for p in self.read("cgroup.procs").split()]

    def remove(self):
        for _ in range(200):
            with contextlib.suppress(OSError):
                for pid in self.pids():
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGKILL)
            try:
                os.rmdir(self.folder)
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)


def run(command, group=None, timeout=60, **more):
    """subprocess.run in a group; output as text; a timeout is rc 124."""
    more.setdefault("stdout", subprocess.PIPE)
    more.setdefault("stderr", subprocess.PIPE)
    more.setdefault("stdin", subprocess.DEVNULL)
    if group:
        more["preexec_fn"] = group.join
    try:
        return subprocess.run(command, timeout=timeout, text=True,
                              errors="replace", check=False, **more)
    except subprocess.TimeoutExpired as late:
        text = late.stdout or b""
        if isinstance(text, bytes):
            text = text.decode(errors="replace")
        return subprocess.CompletedProcess(
            command, 124, text, f"timed out after {timeout} s")


def values(text):
    """key=value lines as a dict; numbers as float."""
    result = {}
    for line in text.splitlines():
        key, found, value = line.partition("=")
        if not found:
            continue
        try:
            result[key] = float(value)
        except ValueError:
            result[key] = value
    return result


def which(name):
    """A program's file, past a version manager's shim."""
    path = shutil.which(name)
    if path and "/shims/" in path:
        path = shutil.which(name, path="/usr/bin:/bin:/usr/local/bin") or path
    return path
