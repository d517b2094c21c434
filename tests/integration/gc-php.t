#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""PHP's collector under the preload, where php 8.2 (no ZTS) is installed.

The compiler of opcache only where SPILLWAY_GC_SECONDS is over 10.
"""

import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import gcs  # noqa: E402
import harness  # noqa: E402
from gcs import Runtime  # noqa: E402
from harness import Tap, which  # noqa: E402

NODE = """<?php
class Node {
    public $me, $text;
    function __construct($i) { $this->me = $this; $this->text = [$i, $i + 1]; }
}
"""

# Cycles, made while nobody collects: only the collector frees them.
BURST = NODE + """
gc_disable();
$kept = $made = [];
for ($i = 0; $i < 1000; $i++) $kept[] = new Node($i);
$many = (int)(getenv("MANY") ?: 1100000);
for ($i = 0; $i < $many; $i++) $made[] = new Node($i);
$made = null;
if (!getenv("STAY")) gc_enable();
echo "ready\\n";
$go = end($argv);
while (!file_exists($go)) { usleep(10000); clearstatcache(); }
$sum = 0;
foreach ($kept as $node) $sum += $node->text[0];
echo $sum, " ", gc_enabled() ? "on" : "off", "\\n";
exit(3);
"""

# What lives in the heap in all its ways, destructors, and signal handlers of
# pcntl, which have the interrupt function before us.
CHURN = NODE + """
class Loud extends Node {
    static $ended = 0;
    function __destruct() { self::$ended++; }
}
function numbers($n) { for ($k = 0; $k < $n; $k++) yield [$k, "v$k"]; }
$signals = 0;
if (function_exists("pcntl_async_signals")) {
    pcntl_async_signals(true);
    pcntl_signal(SIGUSR1, function () use (&$signals) { $signals++; });
}
$rounds = (int)($argv[1] * 2000);
$sum = $met = 0; $pile = [];
$map = new WeakMap; $store = new SplObjectStorage; $kept = [];
for ($i = 0; $i < $rounds; $i++) {
    $some = [];
    // Growth is what makes a request due.
    $pile[] = str_repeat("y", 1000);
    for ($k = 0; $k < 700; $k++) $some[] = new Node($k);
    $some[0]->text[] = &$some;
    new Loud($i);
    $key = new Loud($i);
    $map[$key] = $i;
    $store[$key] = str_repeat("x", $i % 5000);
    $kept[$i % 50] = $key;
    if (count($store) > 60) $store = new SplObjectStorage;
    foreach (numbers(200) as [$n, $v]) $sum += $n + strlen($v);
    $copy = $some; $copy[1] = null;
    $f = function ($a) use ($some, &$f) { return count($some) + $a; };
    $sum += $f($i);
    for ($k = 0; $k < 200; $k++)
        try { throw new Exception("e$k"); }
        catch (Exception $e) { $sum += strlen($e->getMessage()); }
    $fiber = new Fiber(function ($x) {
        $y = Fiber::suspend(new Node($x)); return $y + 1; });
    $got = $fiber->start($i); $fiber->resume($i); $sum += $fiber->getReturn();
    $sum += unserialize(serialize($got))->text[1];
    $sum += array_sum(array_map(fn($node) => $node->text[0], $copy[2] ?
        array_slice($copy, 2) : []));
    if ($signals === $met && $i % 10 === 0 && function_exists("posix_kill")) {
        posix_kill(getmypid(), SIGUSR1);
        while ($signals === $met) usleep(100);
        $met++;
    }
}
foreach ($kept as $key) $sum += $map[$key];
$kept = $store = $map = $some = $copy = $f = $key = $got = $node = null;
gc_collect_cycles();
echo $sum, " ", Loud::$ended, " ", $signals, "\\n";
exit(3);
"""
SHORT = NODE + """
$made = [];
for ($i = 0; $i < 60000; $i++) $made[] = new Node($i);
echo count($made);
exit(4);
"""
FORKS = NODE + """
gc_disable(); gc_enable();
echo "ready\\n";
$bad = 0;
for ($i = 0; $i < 20; $i++) {
    $made = [];
    for ($k = 0; $k < 40000; $k++) $made[] = new Node($k);
    $pid = pcntl_fork();
    if ($pid === 0) {
        $more = [];
        for ($k = 0; $k < 20000; $k++) $more[] = new Node($k);
        exit(count($more) + count($made) === 60000 ? 0 : 1);
    }
    pcntl_waitpid($pid, $status);
    $bad += $status !== 0;
}
echo $bad, "\\n";
exit(3);
"""
# Few objects, of which each holds much: PHP counts objects.
LEAKS = NODE + """
$total = 0;
for ($i = 0; $i < (int)$argv[1]; $i++) {
    for ($k = 0; $k < 30; $k++) {
        $node = new Node($k);
        $node->text = str_repeat(chr(65 + $k), 30000);
        $total += strlen($node->text);
    }
    usleep(2000);
}
echo $total, "\\n";
"""
SLEEPS = NODE + """
$made = [];
for ($i = 0; $i < 100000; $i++) $made[] = new Node($i);
$made = null;
echo "ready\\n";
$began = microtime(true);
$left = sleep(2);
echo $left, " ", microtime(true) - $began > 1.9 ? "whole" : "cut", "\\n";
exit(3);
"""


def disabled(tap, burst):
    """gc_disable() and zend.enable_gc=0 stay."""
    for what, command, more in (
            ("gc_disable()", burst, {"STAY": "1"}),
            ("zend.enable_gc=0",
             burst[:1] + ["-d", "zend.enable_gc=0"] + burst[1:],
             {"STAY": "1"})):
        one = gcs.Burst(command, "gc:php", MANY="200000", **more)
        gcs.time.sleep(1.2)
        before = one.resident()
        gcs.reclaim(one.pid)
        gcs.time.sleep(0.5)
        after = one.resident()
        code, out = one.end()
        tap.ok(code == 3 and out.split("\n")[1].endswith(" off") and
               after > before * 0.8, f"{what} is respected",
               f"{before} -> {after} MiB", out[-300:])


def main():
    tap = Tap()
    harness.need(tap, interposer=harness.interposer(), spillway=harness.cli())
    php = which("php")
    version = php and harness.run(
        [php, "-n", "-r", "echo PHP_VERSION, PHP_ZTS ? ' ZTS' : '';"]).stdout
    if not version or not version.startswith("8.2.") or "ZTS" in version:
        tap.skip_all(f"no PHP 8.2 without thread safety ({version or 'none'})")
    with tempfile.TemporaryDirectory() as folder:
        def command(name, text, *flags):
            path = os.path.join(folder, name + ".php")
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            return [php, "-d", "memory_limit=-1", *flags, path]

        runtime = Runtime(tap, "php", command("burst", BURST),
                          command("churn", CHURN))
        runtime.returns("php", 380, 55, settle=1.5)
        disabled(tap, runtime.burst)
        one = gcs.Burst(command("sleeps", SLEEPS), "gc:php,gc-interval:0")
        asked = sum(gcs.reclaim(one.pid, 1) in (0, 1) for _ in range(3))
        code, out = one.end()
        tap.ok(code == 3 and "0 whole" in out and asked > 0,
               "sleep() is not cut short", out)
        runtime.stress("php", gcs.SECONDS)
        if gcs.SECONDS > 10:
            runtime.stress("php with opcache's compiler", gcs.SECONDS / 3,
                           command=command(
                               "churn", CHURN, "-d", "opcache.enable_cli=1",
                               "-d", "opcache.jit=tracing", "-d",
                               "opcache.jit_buffer_size=32M"))
        runtime.hammer("php", command("short", SHORT))
        gcs.forks(tap, command("forks", FORKS),
                  "gc:php,gc-interval:0,start:0")
        runtime.churn = command("leaks", LEAKS)
        runtime.survives("php that leaves cycles", 100, 700, alone="killed")
    tap.end()


main()
