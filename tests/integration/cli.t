#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""`spillway` itself: what it says to wrong words, PIDs that are not, other
users' processes, processes without spillway and processes that die; exit
codes; stat and reclaim on a real process; the demonstration, shortened.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import MIB, Tap  # noqa: E402

USAGE, NO_PROCESS, NO_SPILLWAY, DIED, TIMEOUT = 2, 3, 4, 5, 124
NOBODY = 65534
# 96 MiB in blocks of 256 KiB, freed; then it waits for its input to end.
HOLDER = """
import sys
blocks = [bytearray(b"x" * 262144) for _ in range(384)]
del blocks
print("ready", flush=True)
sys.stdin.read()
"""


def spillway(*words, **more):
    more.setdefault("env", harness.environment())
    return harness.run([harness.cli(), *map(str, words)], **more)


def as_nobody(command):
    return ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY),
            "--clear-groups", *command]


@contextlib.contextmanager
def holder(wrapped=True, prefix=(), conf=None, **more):
    """A python3 that has freed 96 MiB, under spillway or plain."""
    # One that other users may run too.
    python = "/usr/bin/python3"
    if not os.access(python, os.X_OK):
        python = harness.which("python3")
    command = [python, "-c", HOLDER]
    if wrapped:
        command = [harness.cli(), "run", "--", *command]
    env = harness.environment(conf=conf, PYTHONMALLOC="malloc")
    with subprocess.Popen([*prefix, *command], env=env, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          **more) as process:
        try:
            process.stdout.readline()
            yield process
        finally:
            process.kill()
            process.wait()


def wait_for_socket(pid):
    """The threads start from a malloc, the socket a moment later."""
    for _ in range(100):
        done = spillway("stat", "--json", pid)
        if done.returncode == 0:
            return done
        time.sleep(0.05)
    return done


def words(tap):
    """Every mistake is named, and the exit code is 2."""
    here = os.getpid()
    cases = [
        ((), "command is missing"), (("reclam",), "spillway reclaim"),
        (("zzzzz",), "zzzzz"), (("--bogus",), "--bogus"),
        (("stat",), "PID"), (("stat", "abc"), "abc"), (("stat", "0"), "0"),
        (("stat", "4294967296"), "4294967296"), (("stat", "12x"), "12x"),
        (("stat", "1", "2"), '"2"'), (("stat", "--bogus", "1"), "--bogus"),
        (("stat", "-z", "1"), "-z"), (("stat", "--watch"), "--watch"),
        (("stat", "--watch", "soon", here), "soon"),
        (("stat", "--watch", "1us", here), "1us"),
        (("stat", "--json=1", here), "--json"),
        (("reclaim", here), "SIZE"), (("reclaim",), "PID"),
        (("reclaim", here, "lots"), "lots"), (("reclaim", here, "0"), "0"),
        (("reclaim", here, "12Q"), "12Q"), (("reclaim", here, "-5"), "-5"),
        (("reclaim", here, "9999999999G"), "9999999999G"),
        (("reclaim", here, "1M", "2M"), "2M"),
        (("reclaim", "--timeout", "5", here, "1M"), "5"),
        (("reclaim", "--older-than", "old", here, "1M"), "old"),
        (("reclaim", "--rate", "fast/s", here, "1M"), "fast"),
        (("pressure", "1", "2"), '"2"'), (("pressure", "x"), "x"),
        (("demo", "--limit", "1M"), "1M"), (("demo", "--seconds", "5"), "5"),
        (("demo", "--seconds", "x"), "x"), (("demo", "now"), "now"),
    ]
    for arguments, named in cases:
        done = spillway(*arguments)
        tap.ok(done.returncode == USAGE and named in done.stderr
               and not done.stdout,
               f"spillway {' '.join(map(str, arguments)).replace('#', '')}: "
               "refused, and named",
               f"{done.returncode} {done.stdout} {done.stderr}")
    for arguments, code, named in (
            (("run",), 125, "missing"), (("run", "--bogus"), 125, "--bogus"),
            (("run", "--limit", "x", "true"), 125, "x"),
            (("run", "--conf", "limt:1M", "true"), 125, "limt"),
            (("run", "--library", "/none.so", "true"), 125, "/none.so"),
            (("run", ""), 127, '""'), (("run", "/"), 126, "/"),
            (("run", "no-such-program"), 127, "no-such-program")):
        done = spillway(*arguments)
        tap.ok(done.returncode == code and named in done.stderr,
               f"spillway {' '.join(arguments)}: exit code {code}, named",
               f"{done.returncode} {done.stderr}")


def helps(tap):
    for command in ("run", "stat", "reclaim", "pressure", "demo"):
        done = spillway(command, "--help")
        again = spillway("help", command)
        tap.ok(done.returncode == 0 and not done.stderr
               and f"Usage: spillway {command}" in done.stdout
               and "Exit codes:" in done.stdout
               and done.stdout.startswith(again.stdout),
               f"spillway {command} --help: usage and exit codes",
               done.stdout, done.stderr)
    done = spillway("--version")
    tap.ok(done.returncode == 0
           and re.fullmatch(r"spillway \d+\.\d+\.\d+\n", done.stdout),
           "--version: a version", done.stdout)
    with open("/dev/full", "w", encoding="ascii") as full:
        done = spillway("--help", stdout=full)
        tap.ok(done.returncode == 1 and "No space left" in done.stderr,
               "a full disk: said", f"{done.returncode} {done.stderr}")


def processes(tap):
    """PIDs that cannot be asked."""
    gone = subprocess.Popen(["true"])  # pylint: disable=consider-using-with
    gone.wait()
    for command in (("stat", gone.pid), ("reclaim", gone.pid, "max"),
                    ("pressure", gone.pid)):
        done = spillway(*command)
        tap.ok(done.returncode == NO_PROCESS
               and f"no process {gone.pid}" in done.stderr,
               f"{command[0]}: a process that is not: exit code 3",
               f"{done.returncode} {done.stderr}")
    with holder(wrapped=False) as plain:
        done = spillway("stat", plain.pid)
        tap.ok(done.returncode == NO_SPILLWAY
               and "without spillway" in done.stderr
               and str(plain.pid) in done.stderr,
               "a process without spillway: exit code 4",
               f"{done.returncode} {done.stderr}")
        done = harness.run(
            as_nobody([harness.cli(), "stat", str(plain.pid)])) \
            if os.geteuid() == 0 and shutil.which("setpriv") else None
        title = "another user's process: exit code 3, the user named"
        if done:
            tap.ok(done.returncode == NO_PROCESS
                   and "belongs to user 0" in done.stderr, title,
                   f"{done.returncode} {done.stderr}")
        else:
            tap.skip(title, "needs root and setpriv")
    with holder(conf="control:off") as quiet:
        done = spillway("stat", quiet.pid)
        tap.ok(done.returncode == NO_SPILLWAY
               and "no control socket" in done.stderr,
               "control:off: said to have no socket",
               f"{done.returncode} {done.stderr}")


def statistics(tap, pid):
    done = wait_for_socket(pid)
    if not tap.ok(done.returncode == 0, "stat --json answers",
                  f"{done.returncode} {done.stderr}"):
        return
    told = json.loads(done.stdout)
    tap.ok(told["pid"] == pid and told["resident_bytes"] > MIB
           and told["committed_bytes"] > MIB
           and told["counters"]["wakeups"] > 0
           and told["sources"] and told["shrinkers"],
           "stat --json: heap, counters, sources, shrinkers", done.stdout)
    done = spillway("stat", pid)
    tap.ok(done.returncode == 0 and "jemalloc" in done.stdout
           and f"{pid} (python" in done.stdout
           and "shrinkers" in done.stdout, "stat: the same as text",
           done.stdout)
    done = spillway("pressure", pid)
    tap.ok(done.returncode == 0 and "sources" in done.stdout,
           "pressure PID: what the process feels", done.stdout)
    done = harness.run(["timeout", "-s", "INT", "1", harness.cli(), "stat",
                        "-j", "-w", "100ms", str(pid)])
    lines = done.stdout.splitlines()
    tap.ok(len(lines) >= 5 and all(json.loads(line) for line in lines),
           "stat --watch: again and again", f"{len(lines)} lines")


def resident(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def reclaiming(tap):
    with holder() as process:
        statistics(tap, process.pid)
        before = resident(process.pid)
        done = spillway("reclaim", process.pid, "8M")
        after = resident(process.pid)
        tap.ok(done.returncode == 0 and done.stdout.strip().isdigit()
               and int(done.stdout) >= 8 * MIB
               and before - after >= 7 * MIB,  # the kernel counts in lumps
               "reclaim 8M: exit code 0, 8 MiB and more went",
               f"{done.returncode} {done.stdout}{done.stderr} "
               f"RSS {before} -> {after}")
        start = time.monotonic()
        done = spillway("reclaim", "--rate", "1M/s", "--timeout=1s",
                        process.pid, "max")
        took = time.monotonic() - start
        tap.ok(done.returncode == TIMEOUT and 0.9 < took < 3
               and 0 < int(done.stdout) < 16 * MIB,
               "reclaim --rate --timeout: exit code 124, with what it has",
               f"{done.returncode} {done.stdout}{done.stderr} {took:.2f} s")
        done = harness.run(["timeout", "-s", "INT", "1", harness.cli(),
                            "reclaim", "-r", "1M/s", str(process.pid),
                            "64M"])
        tap.ok(done.returncode == TIMEOUT and done.stdout.strip().isdigit()
               and int(done.stdout) > 0,
               "SIGINT: what it has is printed",
               f"{done.returncode} {done.stdout}{done.stderr}")
        done = spillway("reclaim", process.pid, "max")
        after = resident(process.pid)
        tap.ok(done.returncode == 0 and int(done.stdout) > 16 * MIB
               and before - after > 80 * MIB,
               "reclaim max: the 96 MiB that were freed are gone",
               f"{done.returncode} {done.stdout}{done.stderr} "
               f"RSS {before} -> {after}")
        done = spillway("reclaim", process.pid, "1T")
        tap.ok(done.returncode == 1 and done.stdout.strip().isdigit(),
               "reclaim of more than there is: exit code 1",
               f"{done.returncode} {done.stdout}{done.stderr}")


def sigint_code(tap):
    """timeout(1) has an exit code of its own: so without it."""
    with holder() as process:
        wait_for_socket(process.pid)
        with subprocess.Popen([harness.cli(), "reclaim", "-r", "1M/s",
                               str(process.pid), "64M"], text=True,
                              stdout=subprocess.PIPE,
                              env=harness.environment()) as asking:
            time.sleep(0.7)
            asking.send_signal(signal.SIGINT)
            out, _ = asking.communicate(timeout=10)
        tap.ok(asking.returncode == 1 and 0 < int(out) < 16 * MIB,
               "SIGINT: exit code 1", f"{asking.returncode} {out}")


def dying(tap):
    for command in (["stat", "-j", "-w", "50ms"],
                    ["reclaim", "-r", "1M/s"]):
        with holder() as process:
            wait_for_socket(process.pid)
            size = ["max"] if command[0] == "reclaim" else []
            with subprocess.Popen([harness.cli(), *command,
                                   str(process.pid), *size], text=True,
                                  stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE,
                                  env=harness.environment()) as asking:
                time.sleep(0.5)
                process.kill()
                process.wait()
                _, err = asking.communicate(timeout=10)
            tap.ok(asking.returncode == DIED and "died meanwhile" in err,
                   f"{command[0]}: the process dies meanwhile: exit code 5",
                   f"{asking.returncode} {err}")
    with holder() as process:
        wait_for_socket(process.pid)
        process.send_signal(signal.SIGSTOP)
        done = spillway("stat", process.pid)
        tap.ok(done.returncode == TIMEOUT and "stopped" in done.stderr,
               "a process that is stopped: exit code 124, said",
               f"{done.returncode} {done.stderr}")


def namespaces(tap):
    """A socket with an abstract name in another network namespace."""
    titles = ("root enters another network namespace",
              "another user is told that root alone may")
    able = os.geteuid() == 0 and all(map(shutil.which,
                                         ("unshare", "setpriv")))
    if not able or harness.run(["unshare", "-n", "true"]).returncode != 0:
        for title in titles:
            tap.skip(title, "needs root, unshare and setpriv")
        return
    prefix = ["env", "-u", "XDG_RUNTIME_DIR", "unshare", "-n",
              *as_nobody([])]
    with holder(prefix=prefix) as process:
        done = wait_for_socket(process.pid)
        tap.ok(done.returncode == 0, titles[0],
               f"{done.returncode} {done.stderr}")
        done = harness.run(
            as_nobody([harness.cli(), "stat", str(process.pid)]),
            env=harness.environment())
        tap.ok(done.returncode == NO_PROCESS
               and "network namespace" in done.stderr, titles[1],
               f"{done.returncode} {done.stderr}")


def sockets(tap):
    """Files of the dead go; folder and file are closed to others."""
    folder = os.environ.get("XDG_RUNTIME_DIR", "/run") + "/spillway"
    with holder() as process:
        wait_for_socket(process.pid)
        path = f"{folder}/{process.pid}.sock"
        if not os.path.exists(path):
            tap.skip("socket 0600 in a folder 0700", f"no {path}")
            tap.skip("the socket of a dead process is swept", f"no {path}")
            return
        tap.ok(os.stat(path).st_mode & 0o777 == 0o600
               and os.stat(folder).st_mode & 0o777 == 0o700,
               "socket 0600 in a folder 0700")
    left = os.path.exists(path)
    with holder() as process:
        wait_for_socket(process.pid)
        tap.ok(left and not os.path.exists(path),
               "the socket of a dead process is swept",
               f"left behind: {left}")


def here(tap):
    done = spillway("pressure", "--json")
    told = json.loads(done.stdout) if done.returncode == 0 else {}
    tap.ok(told.get("level") in ("none", "low", "medium", "critical")
           and told.get("sources"), "pressure --json: level and sources",
           done.stdout, done.stderr)
    done = spillway("pressure")
    tap.ok(done.returncode == 0 and "pressure" in done.stdout
           and "sources" in done.stdout, "pressure: the same as text",
           done.stdout, done.stderr)
    for word in (line.split()[0] for line in
                 done.stdout.partition("sources\n")[2].splitlines()):
        if word not in ("yes", "no"):
            tap.ok(False, "each source works or does not", word)


def demo(tap):
    done = spillway("demo", "--json", "--seconds", 8, timeout=90)
    told = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    title = "demo: dies without spillway, lives with it"
    if not told:
        tap.ok(False, title, f"{done.returncode} {done.stdout}{done.stderr}")
        return
    tap.ok(done.returncode == 0 and not told["without"]["survived"]
           and told["with"]["survived"], title, done.stdout)
    least = told["with"]["cache_bytes_min"]
    tap.ok(least is None or least > told["limit_bytes"] / 16,
           "demo: the cache never falls to nothing", done.stdout)
    with subprocess.Popen([harness.cli(), "demo"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=harness.environment()) as process:
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    group = re.search(r"^(/\S*spillway-demo-\d+)", out, re.M)
    tap.ok(process.returncode == 130 and "interrupted" in err
           and not (group and os.path.exists(group.group(1))),
           "demo: SIGINT ends it, the group is removed",
           f"{process.returncode} {out}{err}")


def completion(tap):
    file = os.path.join(harness.SOURCE, "../../cli/completion.bash")
    bash = shutil.which("bash")
    for line, wanted in (("spillway re", ["reclaim"]),
                         ("spillway stat --j", ["--json"]),
                         ("spillway run --lim", ["--limit"]),
                         ("spillway reclaim 1 m", ["max"])):
        title = f"completion of '{line}'"
        if not bash:
            tap.skip(title, "no bash")
            continue
        script = (f". {file}; COMP_WORDS=({line}); "
                  "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _spillway; "
                  "printf '%s\\n' \"${COMPREPLY[@]}\"")
        done = harness.run([bash, "-c", script])
        tap.ok(done.stdout.split() == wanted, title, done.stdout,
               done.stderr)


def main():
    tap = Tap()
    harness.need(tap, spillway=harness.cli(), interposer=harness.interposer())
    words(tap)
    helps(tap)
    processes(tap)
    reclaiming(tap)
    sigint_code(tap)
    dying(tap)
    namespaces(tap)
    sockets(tap)
    here(tap)
    completion(tap)
    demo(tap)
    tap.end()


if __name__ == "__main__":
    main()
