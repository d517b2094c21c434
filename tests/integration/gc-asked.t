#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""SBCL and Mono, whose own thread collects: examples/asked."""

import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import gcs  # noqa: E402
import harness  # noqa: E402
from gcs import Runtime  # noqa: E402
from harness import Tap, which  # noqa: E402

ASKED = os.path.abspath(os.path.join(harness.SOURCE, "..", "..", "examples",
                                     "asked"))

LISP = """
(load "%s/spillway.lisp")
(defvar *live* nil)
(defun block-of (size value)
  (make-array size :element-type '(unsigned-byte 8) :initial-element value))
(defun fill-it (mib)
  (let ((dropped nil))
    (dotimes (i (* mib 64) (length dropped))
      (let ((b (block-of 16384 (mod i 256))))
        (if (zerop (mod i 16)) (push b *live*) (push b dropped))))))
(defun end (code) (finish-output) (sb-ext:exit :code code))
(defun burst (go)
  (fill-it 600)
  (format t "ready~%%") (finish-output)
  (loop until (probe-file go) do (sleep 0.01))
  (format t "~a~%%" (loop for b in *live* sum (+ (aref b 7) (length b))))
  (end 3))
(defun work (n mib)
  (let ((kept (make-array 1000 :initial-element nil)) (sum n) (made 0))
    (loop for i from 0 while (< made (* mib 1048576 1/3)) do
      (let* ((b (block-of (+ 1024 (mod (* (mod i 4099) 7919) 31744))
                          (mod i 256)))
             (at (mod (* i 2654435761) 1000)) (old (aref kept at)))
        (incf made (length b))
        (when old
          (setf sum (mod (+ (* sum 31) (length old) (aref old 0)) 1000003)))
        (setf (aref kept at) b)))
    sum))
(defun churn (mib)
  (format t "~a~%%"
    (mapcar #'sb-thread:join-thread
      (loop for n below 3 collect
        (let ((n n)) (sb-thread:make-thread (lambda () (work n mib)))))))
  (end 3))
(let ((why (and (not (sb-posix:getenv "ALONE")) (spillway-attach)))
      (words (cdr sb-ext:*posix-argv*)))
  (when why (format *error-output* "~a~%%" why))
  (cond ((equal (first words) "burst") (burst (second words)))
        ((equal (first words) "churn")
         (churn (floor (read-from-string (second words)))))
        (t (fill-it 20) (format t "short~%%") (end 4))))
"""

CSHARP = """
using System; using System.Collections.Generic; using System.IO;
using System.Threading;
public static class Program {
  static List<byte[]> live = new List<byte[]>();
  static void Fill(int mib) {
    var dropped = new List<byte[]>();
    for (int i = 0; i < mib * 256; i++) {
      var b = new byte[4000]; b[7] = (byte) i;
      (i % 16 == 0 ? live : dropped).Add(b);
    }
  }
  static int End(int code, string said) {
    Console.WriteLine(said); Console.Out.Flush(); return code;
  }
  static long Work(int n, int mib) {
    long sum = n, made = 0; var kept = new byte[1000][];
    for (int i = 0; made < mib * 1048576L / 3; i++) {
      var b = new byte[1024 + i % 4099 * 7919 % 31744]; b[0] = (byte) i;
      made += b.Length;
      long at = i * 2654435761L % 1000; var old = kept[at];
      if (old != null) sum = (sum * 31 + old.Length + old[0]) % 1000003;
      kept[at] = b;
    }
    return sum;
  }
  public static int Main(string[] a) {
    string why = Environment.GetEnvironmentVariable("ALONE") == null
        ? Spillway.Attach() : null;
    if (why != null) Console.Error.WriteLine(why);
    if (a[0] == "burst") {
      Fill(600);
      Console.WriteLine("ready"); Console.Out.Flush();
      while (!File.Exists(a[1])) Thread.Sleep(10);
      long sum = 0; foreach (var b in live) sum += b[7] + b.Length;
      return End(3, sum.ToString());
    }
    if (a[0] == "churn") {
      int mib = (int) double.Parse(a[1]);
      var sums = new long[3]; var t = new Thread[3];
      for (int i = 0; i < 3; i++) {
        int n = i; t[i] = new Thread(() => sums[n] = Work(n, mib));
        t[i].Start();
      }
      foreach (var x in t) x.Join();
      return End(3, string.Join(" ", sums));
    }
    Fill(20);
    return End(4, "short");
  }
}
"""


def build(folder):
    """libasked.so below folder; None and the reason."""
    library = os.path.dirname(os.path.realpath(harness.library()))
    done = harness.run([
        "make", "-C", ASKED, f"OUT={folder}",
        f"SPILLWAY_CFLAGS=-I{ASKED}/../../include",
        f"SPILLWAY_LIBS=-L{library} -lspillway -Wl,-rpath,{library}"])
    return done.returncode == 0, done.stderr[-600:]


def sbcl(folder):
    """The command, or why there is none."""
    tool = which("sbcl")
    if not tool:
        return None, "no sbcl"
    with open(folder + "/program.lisp", "w", encoding="ascii") as file:
        file.write(LISP % ASKED)
    return [tool, "--dynamic-space-size", "2000", "--script",
            folder + "/program.lisp"], None


def mono(folder):
    tool, compiler = which("mono"), which("mcs")
    if not tool or not compiler:
        return None, "no mono and mcs"
    with open(folder + "/program.cs", "w", encoding="ascii") as file:
        file.write(CSHARP)
    done = harness.run([compiler, f"-out:{folder}/program.exe",
                        folder + "/program.cs", ASKED + "/Spillway.cs"])
    if done.returncode != 0:
        return None, done.stderr[-600:]
    return [tool, folder + "/program.exe"], None


def main():
    tap = Tap()
    harness.need(tap, library=harness.library(), spillway=harness.cli())
    if not which("cc") or not which("make"):
        tap.skip_all("no cc and make")
    if not which("sbcl") and not which("mono"):
        tap.skip_all("no sbcl, and no mono")
    with tempfile.TemporaryDirectory() as folder:
        good, why = build(folder)
        if not tap.ok(good, "libasked.so is built", why):
            tap.end()
        os.environ["ASKED_LIBRARY"] = folder + "/libasked.so"
        os.environ["LD_LIBRARY_PATH"] = folder
        for name, make, most in (("sbcl", sbcl, 120), ("mono", mono, 120)):
            command, why = make(folder)
            if not command:
                if tap.ok(why.startswith("no "), f"{name}: it is built", why):
                    tap.skip(f"{name}: it is asked", why)
                continue
            runtime = Runtime(tap, name, command + ["burst"],
                              command + ["churn"], "gc:auto", preload=False)
            runtime.returns(name, 400, most)
            runtime.stress(f"{name}, three threads", 300 * gcs.SECONDS)
            runtime.hammer(name, command + ["short"])
    tap.end()


main()
