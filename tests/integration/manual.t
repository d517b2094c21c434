#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What the documents show works: manuals are clean, examples run.

Every program with a main() in doc/man/*.3 and README.md is compiled with all
warnings as errors, but for unused parameters, and run, both with
libspillway.so and under the preload.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import Tap  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(harness.SOURCE))
FLAGS = ["-std=gnu11", "-pthread", "-Wall", "-Wextra", "-Werror",
         "-Wno-unused-parameter", "-I", os.path.join(ROOT, "include")]


def plain(roff):
    """The text of a literal block."""
    return roff.replace("\\e", "\\").replace("\\-", "-").replace("\\&", "")


def programs():
    """(title, source) of each program in the documents."""
    for path in sorted(glob.glob(os.path.join(ROOT, "doc/man/*.3"))):
        with open(path, encoding="utf-8") as page:
            text = page.read()
        blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", text,
                            re.S | re.M)
        blocks = [plain(b) for b in blocks if "main(void)" in b]
        for number, block in enumerate(blocks, 1):
            yield f"{os.path.basename(path)}, example {number}", block
        if not blocks:
            yield f"{os.path.basename(path)}, example", None
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
        for block in re.findall(r"^```c\n(.*?)^```$", readme.read(),
                                re.S | re.M):
            yield "README.md's program", block


def manuals(tap):
    pages = sorted(glob.glob(os.path.join(ROOT, "doc/man/*.[1-8]")))
    tap.ok(len(pages) >= 5, f"there are {len(pages)} manual pages")
    if not shutil.which("mandoc"):
        tap.skip("manual pages are clean", "no mandoc")
        return
    for page in pages:
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page],
                              capture_output=True, text=True, check=False)
        tap.ok(done.returncode == 0,
               f"{os.path.basename(page)} is clean", done.stdout)


def examples(tap, folder, compiler, library):
    for number, (title, source) in enumerate(programs()):
        if source is None:
            tap.ok(False, f"{title}: there is one")
            continue
        name = os.path.join(folder, f"example{number}")
        with open(name + ".c", "w", encoding="utf-8") as file:
            file.write(source)
        where = os.path.dirname(library)
        done = subprocess.run(
            [compiler, *FLAGS, name + ".c", "-o", name, "-L", where,
             "-lspillway", f"-Wl,-rpath,{where}"],
            capture_output=True, text=True, check=False)
        if not tap.ok(done.returncode == 0, f"{title}: compiles",
                      done.stderr):
            continue
        for preload, how in ((None, "with libspillway.so"),
                             (harness.interposer(), "under the preload")):
            if how.startswith("under") and not preload:
                tap.skip(f"{title}: runs {how}", "no interposer is built")
                continue
            done = harness.run([name], timeout=30,
                               env=harness.environment(preload))
            if "arena" in title and not preload:
                tap.ok(done.returncode == 1 and "no jemalloc" in done.stderr,
                       f"{title}: says what is missing without jemalloc",
                       f"exit code {done.returncode}", done.stderr)
                continue
            tap.ok(done.returncode == 0, f"{title}: runs {how}",
                   f"exit code {done.returncode}", done.stdout, done.stderr)
            if title.startswith("README") and done.returncode == 0:
                tap.ok(re.fullmatch(r"(6[0-9]|7[0-9]) MiB\n", done.stdout),
                       f"{title}: gives its cache back {how}", done.stdout)


def main():
    tap = Tap()
    manuals(tap)
    compiler = os.environ.get("CC", "").split(" ")[0] or shutil.which(
        "cc") or shutil.which("gcc")
    library = harness.library()
    if not library or not compiler:
        tap.skip("examples run", "no compiler, or libspillway.so not built")
    else:
        with tempfile.TemporaryDirectory() as folder:
            examples(tap, folder, compiler, library)
    tap.end()


main()
