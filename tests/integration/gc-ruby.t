#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Ruby's collector under the preload, where Ruby 3.1 or 3.2 is installed."""

import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import gcs  # noqa: E402
import harness  # noqa: E402
from gcs import Runtime  # noqa: E402
from harness import Tap, which  # noqa: E402

BURST = """
GC.disable
kept = (1..1000).map { |i| "k#{i}" * 20 }
made = (1..4_000_000).map { |i| i.to_s * 8 }
made = nil
GC.enable
puts "ready"; $stdout.flush
sleep 0.01 until File.exist?(ARGV[0])
puts kept.sum(&:length)
exit 3
"""

ASLEEP = BURST.replace("sleep 0.01 until File.exist?(ARGV[0])",
                       "Thread.new { loop { sleep 0.05; "
                       "exit! 9 if File.exist?(ARGV[0]) } }; sleep 20")

CHURN = """
rounds = (ARGV[0].to_f * 40).to_i
sums = 3.times.map { |n| Thread.new {
  sum = 0
  rounds.times { |i| sum += (1..2000).map { |k| "#{i * k + n}" * 3 }.sum(&:length) }
  sum
} }.map(&:value)
p sums
exit 3
"""

SHORT = """
x = (1..150_000).map { |i| i.to_s * 10 }
puts x.size
exit 4
"""


def main():
    tap = Tap()
    harness.need(tap, interposer=harness.interposer(), spillway=harness.cli())
    ruby = which("ruby")
    version = ruby and harness.run([ruby, "-e", "print RUBY_VERSION"]).stdout
    if not version or version[:3] not in ("3.1", "3.2"):
        tap.skip_all(f"no Ruby 3.1 or 3.2 ({version or 'none'})")
    with tempfile.TemporaryDirectory() as folder:
        def command(name, text):
            path = os.path.join(folder, name + ".rb")
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            return [ruby, path]

        runtime = Runtime(tap, "ruby", command("burst", BURST),
                          command("churn", CHURN))
        runtime.returns("ruby", 400, 370, settle=1.5)
        burst = gcs.Burst(command("asleep", ASLEEP), "gc:ruby")
        gcs.time.sleep(1.5)
        gcs.reclaim(burst.pid)
        gcs.time.sleep(1)
        seen = gcs.collectors(burst.pid).get("ruby", {})
        burst.end()
        tap.ok(seen.get("collections", 0) >= 1,
               "a main thread that sleeps is woken for it", seen)
        runtime.stress("ruby, three threads", gcs.SECONDS)
        runtime.hammer("ruby", command("short", SHORT))
    tap.end()


main()
