#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""`spillway run` on programs that an LD_PRELOAD cannot reach.

It says so on standard error, by the program's name and with the reason, and
runs the program all the same, with its output and exit code.
"""

import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import Tap  # noqa: E402

SOURCE = """
#include <stdio.h>
#include <stdlib.h>
int main(void) { printf("here %d\\n", malloc(100) != 0); return 7; }
"""


def compiled(folder, name, *flags):
    """A program built here and now, or None."""
    source = os.path.join(folder, "program.c")
    path = os.path.join(folder, name)
    with open(source, "w", encoding="ascii") as file:
        file.write(SOURCE)
    compiler = os.environ.get("CC", "cc").split()
    if not shutil.which(compiler[0]):
        return None
    done = harness.run([*compiler, *flags, "-o", path, source])
    return path if done.returncode == 0 else None


def said(tap, title, command, words, prefix=()):
    done = harness.run([*prefix, harness.cli(), "run", "--", *command],
                       env=harness.environment())
    text = done.stderr.lower()
    good = (done.returncode == 7 and done.stdout == "here 1\n"
            and (any(w in text for w in words) if words else not text))
    tap.ok(good, title, f"exit code {done.returncode}, {done.stdout!r}, "
           f"{done.stderr!r}")


def other_libc(tap, folder):
    """A loader of musl's name; it is the C library's own underneath."""
    title = "a program of another libc: said, and it runs"
    plain = compiled(folder, "plain")
    loader = None
    if plain:
        done = harness.run(["ldd", plain])
        loader = next((w for line in done.stdout.splitlines() for w in
                       line.split() if "ld-linux" in w and w[0] == "/"), None)
    if not loader:
        return tap.skip(title, "no compiler or no loader")
    musl = os.path.join(folder, "ld-musl-x86_64.so.1")
    os.symlink(loader, musl)
    program = compiled(folder, "musl", f"-Wl,--dynamic-linker={musl}")
    if not program:
        return tap.skip(title, "cannot be linked here")
    return said(tap, title, [program], ("musl", "another libc",
                                        "another c library"))


def main():
    tap = Tap()
    harness.need(tap, spillway=harness.cli(), interposer=harness.interposer())
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program = compiled(folder, "dynamic")
        if program:
            said(tap, "an ordinary program: nothing is said", [program], ())
        else:
            tap.skip("an ordinary program: nothing is said", "no compiler")
        program = compiled(folder, "static", "-static")
        if program:
            said(tap, "a static program: said, and it runs", [program],
                 ("static",))
        else:
            tap.skip("a static program: said, and it runs",
                     "no static C library")
        other_libc(tap, folder)
        program = compiled(folder, "setuid")
        if program and os.geteuid() == 0 and shutil.which("setpriv"):
            os.chmod(program, 0o4755)
            said(tap, "a setuid program: said, and it runs", [program],
                 ("setuid", "set-user-id"),
                 ("setpriv", "--reuid", "65534", "--regid", "65534",
                  "--clear-groups"))
        else:
            tap.skip("a setuid program: said, and it runs",
                     "needs root, setpriv and a compiler")
    for words, code, named in (
            (["/nonexistent/program"], 127, "/nonexistent/program"),
            (["/etc/passwd"], 126, "/etc/passwd")):
        done = harness.run([harness.cli(), "run", "--", *words],
                           env=harness.environment())
        tap.ok(done.returncode == code and named in done.stderr,
               f"run -- {words[0]}: exit code {code}, named",
               f"{done.returncode} {done.stderr}")
    done = harness.run([harness.cli(), "run", "--conf", "bogus:1", "--",
                        "true"], env=harness.environment())
    tap.ok("bogus" in done.stderr, "run --conf with a bad setting names it",
           f"{done.returncode} {done.stderr}")
    done = harness.run(
        [harness.cli(), "run", "--", "sh", "-c", "echo $LD_PRELOAD"],
        env=harness.environment("libm.so.6"))
    tap.ok("libm.so.6" in done.stdout
           and "libspillway-malloc.so" in done.stdout,
           "run appends to an LD_PRELOAD that is there", done.stdout)
    tap.end()


if __name__ == "__main__":
    main()
