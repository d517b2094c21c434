# SPDX-License-Identifier: BSD-2-Clause
"""What the tests in a virtual machine share: its root, boot, and answers.

Usage: need(tap); for kernel in KERNELS: if prepare(tap, kernel): boot(...)
A guest script prints "run key=value ..." and key=value lines for each line of
its plan; parse() gives a dict for each.
"""

import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.dont_write_bytecode = True
import harness  # noqa: E402

KERNELS = os.environ.get("SPILLWAY_VM_KERNELS", "6.1 6.12").split()
MEM_MIB = 1536


def need(tap):
    """Ends the test where a tool is missing."""
    for tool in ("qemu-system-x86_64", "cpio", "xz", "busybox", "dpkg-deb"):
        if not shutil.which(tool):
            tap.skip_all(f"{tool} is not installed")


def real_file(path):
    """The built file behind libtool's wrapper script."""
    folder, name = os.path.split(path)
    hidden = os.path.join(folder, ".libs", name)
    return hidden if os.path.exists(hidden) else path


def prepare(tap, kernel):
    """Fetches the kernel; False and a skipped test where it cannot be had."""
    done = subprocess.run([os.path.join(HERE, "vm-boot"), "prepare", kernel],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode:
        tap.skip(f"kernel {kernel}",
                 done.stdout.strip()[-200:].replace("\n", " "))
    return done.returncode == 0


def root_make(folder, files, texts):
    """Copies files to /t with all that they are linked with, loader too."""
    os.makedirs(os.path.join(folder, "t"))
    needed = set()
    for name, path in files.items():
        shutil.copy(os.path.realpath(path), os.path.join(folder, "t", name))
        done = harness.run(["ldd", path], env=harness.environment())
        needed |= set(re.findall(r"(/\S+) \(0x", done.stdout))
    for path in needed:
        target = folder + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(os.path.realpath(path), target)
    for name, text in texts.items():
        with open(os.path.join(folder, "t", name), "w",
                  encoding="ascii") as file:
            file.write(text)


def boot(folder, kernel, script, files, texts, timeout_s):
    """Runs the script in a machine that has files and texts in /t."""
    root = os.path.join(folder, "root")
    root_make(root, files, texts)
    return subprocess.run(
        [os.path.join(HERE, "vm-boot"), "run", kernel,
         os.path.join(HERE, script)],
        env={**os.environ, "VM_ROOT": root, "VM_MEM": str(MEM_MIB),
             "VM_TIMEOUT": str(timeout_s)},
        stdout=subprocess.PIPE, text=True, errors="replace", check=False)


def parse(text):
    runs = []
    for part in re.split(r"^run ", text, flags=re.M)[1:]:
        first, _, rest = part.partition("\n")
        run = harness.values(first.replace(" ", "\n"))
        run.update(harness.values(rest))
        run["stderr"] = " | ".join(re.findall("^stderr=(.*)", rest, re.M))
        runs.append(run)
    return runs
