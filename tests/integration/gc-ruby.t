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

# Objects of many kinds, one in 64 lives: each has moved when it is looked at.
MOVED = """
require "json"; require "stringio"; require "bigdecimal"; require "set"
Pair = Struct.new(:number, :text)
GC.disable
kept = {}
made = (1..200_000).map { |i|
  all = [i.to_s * 3, [i, i.to_s], { i => i.to_s.to_sym }, Pair.new(i, i.to_s),
         BigDecimal(i) / 7, StringIO.new(i.to_s), 2**70 + i, i + 0.5,
         Set[i, i.to_s], proc { i }, Object.new]
  kept[all[2]] = [i, all] if i % 64 == 0
  all }
made = nil
GC.enable
puts "ready"; $stdout.flush
sleep 0.01 until File.exist?(ARGV[0])
good = kept.count { |key, (i, all)|
  kept.key?(key) && all[0] == i.to_s * 3 && all[1] == [i, i.to_s] &&
  all[2][i] == i.to_s.to_sym && all[3].text == i.to_s &&
  all[4] == BigDecimal(i) / 7 && all[5].read == i.to_s &&
  all[6] - 2**70 == i && all[7] == i + 0.5 && all[8].include?(i.to_s) &&
  all[9].call == i && JSON.parse(JSON.dump(all[1])) == [i, i.to_s] }
puts good, GC.stat(:compact_count) > 0 == (ENV["COMPACTS"] == "1")
exit 3
"""

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

# What is raised in a thread from outside arrives, also while it is compacted.
RAISED = """
require "timeout"
late = killed = 0
8.times {
  begin
    Timeout.timeout(0.004) { loop { (1..300).map { |i| "t#{i}" } } }
  rescue Timeout::Error
    late += 1
  end
  main = Thread.current
  sleep 0.001
  Thread.new { sleep 0.005; main.raise ArgumentError }
  begin
    loop { (1..300).map { |i| [i] } }
  rescue ArgumentError
    killed += 1
  end
}
p late, killed
exit 3
"""

SHORT = """
x = (1..150_000).map { |i| i.to_s * 10 }
puts x.size
exit 4
"""

# Its process lives on when its VM is gone.
LATE = SHORT.replace("exit 4", """
require "fiddle"
libc = Fiddle.dlopen(nil)
Fiddle::Function.new(libc["__cxa_atexit"], [Fiddle::TYPE_VOIDP] * 3,
                     Fiddle::TYPE_INT).call(libc["usleep"], 600_000, 0)
exit 4
""")


def moved(tap, command):
    """What lives is where it says it is, and less is kept around it."""
    left = {}
    for conf, compacts in (("gc:ruby", "0"), ("gc:ruby-compact", "1")):
        burst = gcs.Burst(command, conf, COMPACTS=compacts)
        gcs.time.sleep(1.5)
        gcs.collected(burst.pid, "ruby")
        gcs.time.sleep(1)
        left[conf] = burst.resident()
        code, out = burst.end()
        tap.ok((code, out.split("\n")[1:3]) == (3, ["3125", "true"]),
               f"{conf}: every object is what it was", code, out)
    tap.ok(left["gc:ruby-compact"] < left["gc:ruby"],
           "one in 64 lives: compacted, less is kept", left)


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
        compacts = Runtime(tap, "ruby", runtime.burst, runtime.churn,
                           "gc:ruby-compact")
        compacts.returns("ruby, compacted", 400, 210, settle=1.5)
        moved(tap, command("moved", MOVED))
        burst = gcs.Burst(command("asleep", ASLEEP), "gc:ruby")
        gcs.time.sleep(1.5)
        seen = gcs.collected(burst.pid, "ruby", 12)
        burst.end()
        tap.ok(seen.get("collections", 0) >= 1,
               "a main thread that sleeps is woken for it", seen)
        runtime.stress("ruby, three threads", gcs.SECONDS)
        compacts.stress("ruby, compacted, three threads", gcs.SECONDS)
        compacts.hammer("ruby, compacted, interrupted",
                        command("raised", RAISED), max(gcs.RUNS // 2, 3))
        runtime.hammer("ruby", command("short", SHORT))
        if harness.run([ruby, "-rfiddle", "-e", ""]).returncode == 0:
            runtime.hammer("ruby, whose process ends later",
                           command("late", LATE), max(gcs.RUNS // 2, 3))
        else:
            tap.skip("ruby, whose process ends later", "no fiddle")
    tap.end()


main()
