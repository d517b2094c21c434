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

LONG = gcs.SECONDS > 10

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

# LIVE MiB live, MADE MiB made in all, by two threads.
LIVES = """
public class Lives {
  public static void main(String[] a) throws Exception {
    int live = 64; long made = Long.parseLong(a[0]) << 20;
    long[] sums = new long[2]; Thread[] t = new Thread[2];
    for (int n = 0; n < 2; n++) { int me = n;
      t[n] = new Thread(() -> {
        byte[][] kept = new byte[live * 32][]; long sum = 0, done = 0; int i = 0;
        while (done < made / 2) {
          int size = 1024 + (i % 4099 * 7919 + me) % 31744;
          byte[] b = new byte[size]; b[i % size] = (byte) i; done += size;
          if (i % 16 == 0) {
            int at = (int) ((i / 16 * 2654435761L & 0x7fffffff) % kept.length);
            byte[] old = kept[at];
            if (old != null) sum = sum * 31 + old.length + old[0];
            kept[at] = b;
          }
          i++;
        }
        sums[me] = sum; });
      t[n].start(); }
    for (Thread x : t) x.join();
    System.out.println(java.util.Arrays.toString(sums));
    System.exit(3);
  }
}
"""

# What the VM says of its flags.
FLAGS = """
import com.sun.management.HotSpotDiagnosticMXBean;
import java.io.File;
import java.lang.management.ManagementFactory;
public class Flags {
  public static void main(String[] a) throws Exception {
    HotSpotDiagnosticMXBean b = ManagementFactory.getPlatformMXBean(
        HotSpotDiagnosticMXBean.class);
    byte[][] x = new byte[2000][];
    for (int i = 0; i < x.length; i++) x[i] = new byte[10000];
    System.out.println("ready");
    while (!new File(a[0]).exists()) Thread.sleep(10);
    for (String n : new String[] { "GCTimeRatio", "MinHeapFreeRatio",
        "MaxHeapFreeRatio", "G1ExpandByPercentOfAvailable", "MinHeapSize" })
      System.out.println(n + "=" + b.getVMOption(n).getValue());
  }
}
"""


def kept_from_growing(tap, common):
    """Flags that hold the heap small do so, and those of one collection
    are as they were."""
    seen = []
    for asked, interval, settle in ((False, "10s", 0), (True, "10s", 0),
                                    (True, "1s", 2)):
        burst = gcs.Burst(common + ["-XX:+UseG1GC",
                                    "-XX:+UnlockExperimentalVMOptions",
                                    "Flags"],
                          "gc:jvm,gc-interval:" + interval)
        gcs.time.sleep(1.2)
        if asked:
            gcs.reclaim(burst.pid)
        gcs.time.sleep(settle)
        seen.append(harness.values(burst.end()[1]))
    before, held, released = seen
    tap.ok(released == before, "and some time later it may grow again",
           before, released)
    tap.ok(before.get("GCTimeRatio", 0) > 1 and held == {
        **before, "GCTimeRatio": 1, "G1ExpandByPercentOfAvailable": 0},
        "after a collection G1 is kept from growing, no other flag is "
        "touched", before, held)


def main():
    tap = Tap()
    harness.need(tap, interposer=harness.interposer(), spillway=harness.cli())
    java, javac = which("java"), which("javac")
    if not java or not javac:
        tap.skip_all("no java and javac")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("Burst", BURST), ("Churn", CHURN),
                           ("Flags", FLAGS), ("Lives", LIVES),
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
            runtime.returns(flag[8:], 400, most, settle=1.0)
        kept_from_growing(tap, common)
        # The whole heap is there from the start, and never shrinks by itself.
        for flag, conf in (("-XX:+UseG1GC", "gc:jvm"),
                           ("-XX:+UseSerialGC", "gc:jvm-sweep"),
                           ("-XX:+UseParallelGC", "gc:jvm-sweep")):
            fixed = common + [flag, "-Xms1000m"]
            runtime = Runtime(tap, "jvm", fixed + ["Burst"],
                              fixed + ["Churn"], conf)
            runtime.returns(flag[8:] + " -Xms1000m", 400, 200, settle=0.7)
            if "Parallel" in flag or (LONG and "Serial" in flag):
                # Each sweep has the whole of eden touched anew.
                runtime.stress(flag[8:] + ", swept", gcs.SECONDS / 6,
                               seconds=gcs.SECONDS / 6)
        for flag in ("-XX:+UseG1GC", "-XX:+UseSerialGC"):
            runtime = Runtime(tap, "jvm", None, common + [flag, "Churn"])
            runtime.stress(flag[8:] + ", three threads", gcs.SECONDS)
            if LONG or "G1" in flag:
                runtime.hammer(flag[8:], common + [flag, "Short"])
        # 64 MiB live; G1 would grow to its -Xmx.
        runtime = Runtime(tap, "jvm", None,
                          common + ["-XX:+UseG1GC", "Lives"])
        runtime.survives("G1GC -Xmx1000m", 350, 8000, alone="killed")
        if LONG:
            runtime = Runtime(tap, "jvm", None, common + [
                "-XX:+UseShenandoahGC", "Lives"])
            runtime.survives("ShenandoahGC -Xmx1000m", 350, 8000,
                             alone="killed")
            runtime = Runtime(tap, "jvm", None, common + [
                "-XX:+UseParallelGC", "Lives"], "gc:jvm-sweep")
            runtime.survives("ParallelGC -Xmx1000m, swept", 350, 4000,
                             alone="killed")
    tap.end()


main()
