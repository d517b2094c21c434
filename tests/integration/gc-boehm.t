#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Boehm's collector under the preload: a C program, Guile, ECL, w3m.

Skips what is not installed: libgc-dev with a compiler, guile-3.0, ecl, w3m.
"""

import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import gcs  # noqa: E402
import harness  # noqa: E402
from gcs import Runtime  # noqa: E402
from harness import Tap, which  # noqa: E402

GUILE = """
(define go (cadr (command-line)))
(define (build n)
  (let loop ((i 0) (l '()))
    (if (= i n) l (loop (+ i 1) (cons (make-string 100 #\\a) l)))))
(define all (make-vector 3000 #f))
(let loop ((i 0))
  (when (< i 3000) (vector-set! all i (build 900)) (loop (+ i 1))))
(define kept (build 1000))
(vector-fill! all #f)
(display "ready") (newline) (force-output)
(let loop () (unless (file-exists? go) (usleep 10000) (loop)))
(display (apply + (map string-length kept))) (newline)
(exit 3)
"""

# No deep recursion, no (apply + list): while a thread's VM stack grows, any
# collection of another thread's may zero it (Guile 3.0.8, vm.c: vp->sp is
# still that of the old stack in return_unused_stack_to_os()), also alone.
GUILE_CHURN = """
(define (build n)
  (let loop ((i 0) (l '()))
    (if (= i n) l (loop (+ i 1) (cons (number->string i) l)))))
(define (lengths l)
  (let loop ((l l) (sum 0))
    (if (null? l) sum (loop (cdr l) (+ sum (string-length (car l)))))))
(define rounds (* 200 (string->number (cadr (command-line)))))
(define (work)
  (let loop ((i 0) (sum 0))
    (if (>= i rounds) sum
        (loop (+ i 1) (+ sum (lengths (build 2000)))))))
(use-modules (ice-9 threads))
(define threads (list (make-thread work) (make-thread work)))
(display (map join-thread threads)) (newline)
(exit 3)
"""

ECL = """
(defun build (n) (let ((l nil)) (dotimes (i n l) (push (make-string 20) l))))
(defvar *all* (make-array 2000))
(dotimes (i 2000) (setf (aref *all* i) (build 1000)))
(defvar *kept* (build 1000))
(fill *all* nil)
(format t "ready~%") (finish-output)
(loop until (probe-file (car (last (ext:command-args)))) do (sleep 0.01))
(format t "~a~%" (reduce #'+ (mapcar #'length *kept*)))
(ext:quit 3)
"""


# Two runtimes in one process; libgc is loaded late, and initialised unseen.
LATE = """
import ctypes, os, sys, time
class Node:
    def __init__(self): self.me = self
made = [Node() for _ in range(300000)]
gc = ctypes.CDLL("libgc.so.1")
gc.GC_malloc.restype = ctypes.c_void_p
if sys.argv[1] == "initialised": gc.GC_init()
print("ready", flush=True)
made = None
while not os.path.exists(sys.argv[2]): time.sleep(0.01)
if sys.argv[1] == "initialised":
    for _ in range(10000): gc.GC_malloc(1000)
    gc.GC_gcollect()
print("fine")
"""


def late(tap):
    for how in ("initialised", "half"):
        burst = gcs.Burst([sys.executable, "-c", LATE, how],
                          "log:warning,gc-interval:0")
        if burst.first != "ready":
            tap.skip(f"libgc that is loaded late, {how}", "no libgc1")
            burst.end()
            continue
        for _ in range(3):
            gcs.reclaim(burst.pid, 2)
        seen = gcs.collectors(burst.pid)
        code, out = burst.end()
        tap.ok(code == 0 and "fine" in out and list(seen) == ["cpython"] and
               ("its GC_init() was not seen" in out) == (how != "half"),
               f"libgc that is loaded late, {how}: left alone, and the other "
               "runtime is asked", code, out, seen)


def compile_program(folder):
    """The C program, or why there is none."""
    path = os.path.join(folder, "gc_boehm")
    done = subprocess.run(
        [os.environ.get("CC", "cc"), "-O1", "-pthread", "-o", path,
         os.path.join(harness.SOURCE, "gc_boehm.c"), "-lgc"],
        capture_output=True, text=True, check=False)
    return (path, None) if done.returncode == 0 else (None, "no libgc-dev")


def final_and_fork(tap, program):
    burst = gcs.Burst([program, "final", "5000"], "gc:boehm,gc-interval:0")
    for _ in range(3):
        gcs.reclaim(burst.pid)
    code, out = burst.end()
    tap.ok(code == 3 and out.split("\n")[1] == "1 elsewhere 0",
           "finalizers run on the program's threads alone", out)
    burst = gcs.Burst([program, "fork", "20"], "gc:boehm,gc-interval:0")
    asked = 0
    while burst.child.poll() is None:
        asked += gcs.reclaim(burst.pid, 1) in (0, 1)
    code, out = burst.end()
    tap.ok(code == 3 and out.split("\n")[1].startswith("0 ") and asked > 3,
           f"20 forks while {asked} requests run: children collect", out)


HOG = """
import time
kept = []
for i in range(150):
    kept.append(bytearray(b"x") * (4 << 20)); time.sleep(0.01)
time.sleep(2)
print("done")
"""


def beside_a_hog(command, preload, **more):
    """(exit code, output, kills, MiB before) beside 600 MiB of a neighbour."""
    with harness.Group(900) as group:
        child = subprocess.Popen(
            command, preexec_fn=group.join, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=harness.environment(preload, **more))
        gcs.time.sleep(2)
        before = group.usage() // harness.MIB
        harness.run([sys.executable, "-c", HOG], group,
                    env=harness.environment())
        try:
            out = child.communicate(timeout=100)[0]
        except subprocess.TimeoutExpired:
            child.kill()
            out = child.communicate()[0]
        return child.returncode, out, group.kills(), before


def elastic(tap, program):
    """A fixed large heap is killed where the elastic one makes room."""
    command = [program, "elastic", "64", "6000"]
    free = harness.run(command, env=harness.environment(), timeout=120)
    try:
        fixed = beside_a_hog(command, None, GC_INITIAL_HEAP_SIZE="700M")
        ours = beside_a_hog(command, harness.interposer(), conf="gc:boehm")
    except OSError as error:
        tap.skip("an elastic heap makes room", str(error))
        return
    tap.note(f"fixed: {fixed[3]} MiB, {fixed[2]} kills; elastic: {ours[3]}")
    tap.ok(fixed[2] > 0, "a fixed large heap is killed when somebody else "
           "needs memory", fixed)
    tap.ok(ours[:3] == (3, free.stdout, 0),
           "an elastic one makes room, output the same", ours)


def soft(tap, folder):
    """gc.h's soft references and regions, linked."""
    library = harness.library()
    path = os.path.join(folder, "gc_soft")
    root = os.path.dirname(os.path.dirname(harness.SOURCE))
    done = subprocess.run(
        [os.environ.get("CC", "cc"), "-O1", "-pthread", "-o", path, "-I",
         os.path.join(root, "include"),
         os.path.join(harness.SOURCE, "gc_soft.c"), library, "-lgc",
         "-Wl,-rpath," + os.path.dirname(library)],
        capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tap.ok(False, "a program with soft references compiles", done.stderr)
        return
    for preload, conf in ((None, "gc-interval:0"),
                          (harness.interposer(), "gc-interval:0")):
        done = harness.run([path], env=harness.environment(preload, conf))
        tap.ok(done.returncode == 0, "soft references and regions, "
               f"{'preloaded' if preload else 'linked'}", done.returncode,
               done.stdout[-600:], done.stderr[-600:])


def asked_huge_mib(pid):
    """Of a process, what huge pages were asked for."""
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as f:
        found = re.findall(r"^Size: +(\d+) kB\n(?:[A-Z].*\n)*?VmFlags:(.*)$",
                           f.read(), re.M)
    return sum(int(size) for size, flags in found if " hg" in flags) // 1024


def huge(tap, program):
    """Huge pages are for a time when memory is plentiful."""
    title = "a large heap grows by huge pages, until somebody wants memory"
    burst = gcs.Burst([program, "burst", "64", "400"])
    free = gcs.stat(burst.pid).get("headroom_bytes", 0) >> 30
    if free < 6 or not os.path.exists("/sys/kernel/mm/transparent_hugepage"):
        burst.end()
        tap.skip(title, f"{free} GiB of headroom, 6 needed; or no huge pages")
        return
    before = asked_huge_mib(burst.pid)
    gcs.reclaim(burst.pid)
    after, left = asked_huge_mib(burst.pid), burst.falls(140)
    code, out = burst.end()
    tap.ok(before > 200 and after == 0 and left <= 140 and code == 3, title,
           f"{before} MiB of huge pages, then {after}, resident {left}", out)


def test_c(tap, folder):
    program, why = compile_program(folder)
    if not program:
        tap.skip("a program in C", why)
        return
    runtime = Runtime(tap, "boehm", [program, "burst", "64", "500"],
                      [program, "churn"])
    runtime.returns("C", 500, 140)
    runtime.stress("C, three threads", gcs.SECONDS)
    runtime.hammer("C", [program, "short"])
    final_and_fork(tap, program)
    soft(tap, folder)
    elastic(tap, program)
    huge(tap, program)
    burst = gcs.Burst([program, "burst", "16", "64"], "gc:off")
    gcs.reclaim(burst.pid)
    tap.ok(not gcs.collectors(burst.pid), "gc:off asks nobody")
    burst.end()
    burst = gcs.Burst([program, "burst", "16", "64"], "threads:never")
    code, out = burst.end()
    tap.ok(code == 3, "nor does threads:never", out)


def test_guile(tap, folder):
    guile = which("guile")
    if not guile:
        tap.skip("guile", "no guile-3.0")
        return
    files = {}
    for name, text in (("burst", GUILE), ("churn", GUILE_CHURN)):
        files[name] = os.path.join(folder, name + ".scm")
        with open(files[name], "w", encoding="ascii") as file:
            file.write(text)
    command = [guile, "--no-auto-compile", "-s"]
    runtime = Runtime(tap, "boehm", command + [files["burst"]],
                      command + [files["churn"]])
    runtime.returns("guile", 400, 70)
    runtime.stress("guile, two threads", int(gcs.SECONDS))


def test_ecl(tap, folder):
    ecl = which("ecl")
    if not ecl:
        tap.skip("ecl", "no ecl")
        return
    path = os.path.join(folder, "burst.lisp")
    with open(path, "w", encoding="ascii") as file:
        file.write(ECL)
    command = [ecl, "--shell", path]
    Runtime(tap, "boehm", command, command).returns("ecl", 200, 45)


def test_w3m(tap, folder):
    w3m = which("w3m")
    if not w3m:
        tap.skip("w3m", "no w3m")
        return
    path = os.path.join(folder, "page.html")
    with open(path, "w", encoding="ascii") as file:
        for i in range(60000):
            file.write(f"<p>{i} <a href='x{i}'>text</a><table><tr><td>a"
                       f"<td>{i * 7}</table>\n")
    command = [w3m, "-dump"]
    Runtime(tap, "boehm", command, command).stress("w3m", path)


def main():
    tap = Tap()
    harness.need(tap, interposer=harness.interposer(), spillway=harness.cli())
    with tempfile.TemporaryDirectory() as folder:
        test_c(tap, folder)
        test_guile(tap, folder)
        test_ecl(tap, folder)
        test_w3m(tap, folder)
        late(tap)
    tap.end()


main()
