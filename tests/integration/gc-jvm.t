#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The JVM's collectors under the preload, where there is a JDK."""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import gcs  # noqa: E402
import harness  # noqa: E402
from gcs import Runtime  # noqa: E402
from harness import Tap, which  # noqa: E402

BURST = """
import java.io.*;
import java.util.*;
public class Burst {
  static List<byte[]> live = new ArrayList<>();
  static void fill() {
    List<byte[]> dropped = new ArrayList<>();
    for (int i = 0; i < 600 * 64; i++) {
      byte[] b = new byte[16 << 10]; b[7] = (byte) i;
      (i % 16 == 0 ? live : dropped).add(b);
    }
  }
  public static void main(String[] a) throws Exception {
    fill();
    System.out.println("ready");
    while (!new File(a[0]).exists()) Thread.sleep(10);
    long sum = 0; for (byte[] b : live) sum += b[7] + b.length;
    System.out.println(sum);
    System.exit(3);
  }
}
"""

CHURN = """
public class Churn {
  static long work(int rounds, int seed) {
    long sum = 0; Object[] kept = new Object[64];
    for (int i = 0; i < rounds; i++) {
      int[] x = new int[256 + (i * 31 + seed) % 4096]; x[3] = i;
      int[] old = (int[]) kept[i % 64];
      if (old != null) sum = sum * 31 + old[3] + old.length;
      kept[i % 64] = x;
    }
    return sum;
  }
  public static void main(String[] a) throws Exception {
    int rounds = (int) (Double.parseDouble(a[0]) * 200000);
    long[] sums = new long[3];
    Thread[] t = new Thread[3];
    for (int i = 0; i < 3; i++) {
      int n = i; t[i] = new Thread(() -> sums[n] = work(rounds, n)); t[i].start();
    }
    for (Thread x : t) x.join();
    System.out.println(java.util.Arrays.toString(sums));
    System.exit(3);
  }
}
"""

SHORT = """
public class Short {
  public static void main(String[] a) {
    byte[][] b = new byte[2000][];
    for (int i = 0; i < b.length; i++) b[i] = new byte[10000];
    System.out.println(b.length);
    System.exit(4);
  }
}
"""


def main():
    tap = Tap()
    harness.need(tap, interposer=harness.interposer(), spillway=harness.cli())
    java, javac = which("java"), which("javac")
    if not java or not javac:
        tap.skip_all("no java and javac")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("Burst", BURST), ("Churn", CHURN),
                           ("Short", SHORT)):
            with open(os.path.join(folder, name + ".java"), "w",
                      encoding="ascii") as file:
                file.write(text)
            subprocess.run([javac, "-d", folder, name + ".java"], check=True,
                           cwd=folder)
        common = [java, "-cp", folder, "-Xmx1000m"]
        for flag, most in (("-XX:+UseG1GC", 200), ("-XX:+UseSerialGC", 250),
                           ("-XX:+UseShenandoahGC", 200)):
            probe = harness.run(common + [flag, "-version"])
            if probe.returncode != 0:
                tap.skip(flag, "this JVM does not have it")
                continue
            runtime = Runtime(tap, "jvm", common + [flag, "-Xms64m", "Burst"],
                              common + [flag, "Churn"])
            runtime.returns(flag[8:], 400, most, settle=1.5)
        runtime = Runtime(tap, "jvm", common + ["Burst"], common + ["Churn"])
        runtime.stress("java, three threads", gcs.SECONDS)
        runtime.hammer("java", common + ["Short"])
    tap.end()


main()
