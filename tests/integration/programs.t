#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Programs that nobody here wrote, without and with the preload.

Output, messages and exit code must be the same. Each program allocates enough
(tens of MiB, threads, children) that spillway's own threads start. Programs
that run and end are in LOADS; the servers have their own test, servers.t.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import Tap, which  # noqa: E402

PYTHON = """
import hashlib, json, subprocess, sys, threading
words = {str(i): [i, str(i * i)] for i in range(200000)}
text = json.dumps(words, sort_keys=True)
print(len(text), hashlib.sha256(text.encode()).hexdigest())
sums = [0] * 8
def work(n):
    sums[n] = sum(len(bytes(k % 4096)) for k in range(20000))
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(sums)
del words
print(subprocess.run(["sh", "-c", "echo child; exit 4"]).returncode)
sys.exit(3)
"""

PERL = r"""
my %h; for my $i (1..200000) { push @{$h{$i % 5003}}, "x$i" x 3; }
my $sum = 0; $sum += length(join ",", sort @{$h{$_}}) for keys %h;
print "$sum ", scalar(keys %h), "\n";
my $text = "abc def " x 500000; my $n = () = $text =~ /d(e)f/g;
print "$n\n"; undef %h;
my $pid = fork; if (!$pid) { my @a = (1..300000); exit 5; }
waitpid $pid, 0; print $? >> 8, "\n"; exit 3;
"""

RUBY = """
h = {}
300_000.times { |i| h[i.to_s] = "v" * (i % 200) }
puts h.size, h.values.sum(&:length)
t = 4.times.map { |n| Thread.new { (1..50_000).map { |i| i.to_s * n }.join.size } }
p t.map(&:value)
h = nil; GC.start
pid = fork { exit 5 }
Process.wait pid; puts $?.exitstatus
exit 3
"""

NODE = """
const { Worker, isMainThread, parentPort } = require('worker_threads');
const { createHash } = require('crypto');
const m = new Map();
for (let i = 0; i < 300000; i++) m.set('k' + i, { i, s: 'x'.repeat(i % 50) });
let n = 0; for (const v of m.values()) n += v.s.length;
console.log(m.size, n);
const b = []; for (let i = 0; i < 200; i++) b.push(Buffer.alloc(100000, i));
console.log(createHash('sha256').update(Buffer.concat(b)).digest('hex'));
const w = new Worker(`require('worker_threads').parentPort.postMessage(
  Array.from({length: 200000}, (_, i) => String(i)).join('').length)`,
  { eval: true });
w.on('message', v => { console.log(v); process.exitCode = 3; });
"""

JAVA = """
import java.util.*;
import java.util.concurrent.*;
public class Load {
  public static void main(String[] a) throws Exception {
    Map<String, byte[]> m = new HashMap<>();
    long sum = 0;
    for (int i = 0; i < 100000; i++) m.put("k" + i, new byte[i % 700]);
    for (byte[] v : m.values()) sum += v.length;
    System.out.println(m.size() + " " + sum);
    ExecutorService e = Executors.newFixedThreadPool(8);
    List<Future<Integer>> f = new ArrayList<>();
    for (int n = 0; n < 16; n++) f.add(e.submit(() -> {
      java.nio.ByteBuffer b = java.nio.ByteBuffer.allocateDirect(2 << 20);
      java.util.zip.Deflater d = new java.util.zip.Deflater();
      d.setInput(new byte[1 << 20]); d.finish();
      int k = d.deflate(new byte[1 << 16]);
      d.end(); return k; }));
    for (Future<Integer> x : f) System.out.print(x.get() + " ");
    System.out.println();
    e.shutdown(); System.exit(3);
  }
}
"""

GUILE = """
(define (build n) (let loop ((i 0) (l '()))
  (if (= i n) l (loop (+ i 1) (cons (make-vector 10 i) l)))))
(define h (make-hash-table))
(do ((i 0 (+ i 1))) ((= i 100000)) (hash-set! h i (number->string i)))
(display (hash-count (const #t) h)) (newline)
(display (apply + (map (lambda (v) (vector-ref v 0)) (build 200000))))
(newline) (gc) (exit 3)
"""

SQL = """
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 300000)
  INSERT INTO t SELECT i, hex(i * 7919) || '-' || (i % 977), i / 7.0 FROM n;
CREATE INDEX b ON t(b);
SELECT count(*), sum(length(b)), round(sum(c), 3) FROM t;
SELECT substr(b, 1, 2) p, count(*) FROM t GROUP BY p ORDER BY 2 DESC, 1 LIMIT 9;
DELETE FROM t WHERE a % 3 = 0; VACUUM;
SELECT count(DISTINCT b) FROM t; SELECT * FROM missing;
"""


def generated_c():
    parts = ["#include <stdio.h>\n#include <stdlib.h>\n"]
    for i in range(600):
        parts.append(
            f"int f{i}(int a, int b) {{ int s = {i};\n"
            f"for (int k = 0; k < a; k++) s += k * b ^ (s >> {i % 7});\n"
            f"switch (s % 9) {{ case 1: s *= 3; break; case 2: s -= b; break;\n"
            f"case 3: s = abs(s); break; default: s ^= {i * 31}; }}\n"
            f"char *p = malloc(s & 255); if (p) {{ p[0] = s; s += p[0]; }}\n"
            f"free(p); return s; }}\n")
    parts.append("int main(void) { int s = 0;\n")
    parts += [f"s += f{i}({i % 13}, s);\n" for i in range(600)]
    parts.append('printf("%d\\n", s); return s & 7; }\n')
    return "".join(parts)


def git_input():
    """A fast-import stream: 300 commits over 60 files."""
    lines = []
    for i in range(300):
        body = "\n".join(f"{i} {k} {k * i % 251}" for k in range(400))
        lines.append(
            "commit refs/heads/main\n"
            f"committer a <a@b> {1700000000 + i} +0000\ndata 3\nc{i % 10}\n"
            f"M 644 inline file{i % 60}\ndata {len(body)}\n{body}\n")
    return "\n".join(lines)


GIT = ("export GIT_CONFIG_NOSYSTEM=1 HOME=$PWD; git init -q -b main repo && "
       "cd repo && git fast-import --quiet < ../input.fi && "
       "git repack -q -adf --threads=2 --window=20 && "
       "git gc -q --prune=now && git fsck --full && "
       "git rev-list --objects --all | sha256sum && git status --short | "
       "wc -l && exit 3")


def loads(folder):
    """name, the program that must exist, command, files it needs."""
    sql, java = which("sqlite3"), which("java")
    return (
        ("python3", sys.executable, [sys.executable, "load.py"],
         {"load.py": PYTHON}),
        ("perl", which("perl"), ["perl", "-e", PERL], {}),
        ("ruby", which("ruby"), ["ruby", "-e", RUBY], {}),
        ("node", which("node"), ["node", "load.js"], {"load.js": NODE}),
        ("java", java, ["java", "-Xmx256m", "Load.java"],
         {"Load.java": JAVA}),
        ("guile", which("guile"),
         ["guile", "--no-auto-compile", "-c", GUILE], {}),
        ("gcc compiling 600 functions", which("gcc"),
         ["gcc", "-O2", "-S", "-o", "-", "big.c"], {"big.c": generated_c()}),
        ("git gc", which("git"), ["sh", "-c", GIT],
         {"input.fi": git_input()}),
        ("sqlite3", sql, ["sh", "-c", "sqlite3 :memory: < load.sql"],
         {"load.sql": SQL}),
    )


def once(command, files, preload, folder):
    """Runs in an empty folder of the same name each time."""
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    for name, text in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    start = time.monotonic()
    done = harness.run(command, timeout=60, cwd=folder,
                       env=harness.environment(preload))
    done.seconds = time.monotonic() - start
    return done


def difference(plain, with_it):
    if plain.returncode != with_it.returncode:
        return (f"exit code {with_it.returncode}, without it "
                f"{plain.returncode}: {with_it.stderr[:300]}")
    for name in ("stdout", "stderr"):
        a, b = getattr(plain, name), getattr(with_it, name)
        if a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y),
                      min(len(a), len(b)))
            return (f"{name} differs from byte {at}: {b[at:at + 80]!r}, "
                    f"without it {a[at:at + 80]!r}")
    return ""


def main():
    tap = Tap()
    preload = harness.interposer()
    harness.need(tap, interposer=preload)
    with tempfile.TemporaryDirectory() as top:
        folder = os.path.join(top, "run")
        for name, path, command, files in loads(folder):
            title = f"{name}: output and exit code as without the preload"
            if not path:
                tap.skip(title, f"{name} is not installed")
                continue
            plain = once(command, files, None, folder)
            if plain.returncode in (124, 127) or not plain.stdout:
                tap.skip(title, f"{name} does not run here: "
                         f"{plain.stderr.strip()[:100]}")
                continue
            with_it = once(command, files, preload, folder)
            what = difference(plain, with_it)
            tap.ok(not what, title, what)
            digest = hashlib.sha256(plain.stdout.encode()).hexdigest()[:12]
            tap.note(f"  exit code {plain.returncode}, output {digest}, "
                     f"{plain.seconds:.2f} s without, "
                     f"{with_it.seconds:.2f} s with")
    tap.end()


if __name__ == "__main__":
    main()
