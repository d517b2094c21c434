# SPDX-License-Identifier: BSD-2-Clause
"""Programs of bench/gc, in the languages whose collectors the bridge asks.

BURSTS: each makes MANY objects, keeps some, drops the rest, prints "ready",
idles until the file GO is there, and prints what it kept. MANY and GO are its
arguments. PLAIN is one of them in C, without a runtime. LIVES: Java that makes
garbage all the time.

Members: file and text; compile, where it must be; run, the command that takes
what was compiled or the file; many; own, the environment with the runtime's
own best setting, and wait, for how many seconds that is given; group, what it
needs in a memory group (Node takes half of that); conf, settings of spillway.
"""
import sys

JAVA = """
import java.io.File;
import java.util.*;
public class Burst {
  static List<byte[]> live = new ArrayList<>();
  static void fill(int many) {
    List<byte[]> dropped = new ArrayList<>();
    for (int i = 0; i < many; i++) {
      byte[] b = new byte[16 << 10]; b[7] = (byte) i;
      (i % 18 == 0 ? live : dropped).add(b);
    }
  }
  public static void main(String[] a) throws Exception {
    fill(Integer.parseInt(a[0]));
    System.out.println("ready");
    while (!new File(a[1]).exists()) Thread.sleep(10);
    long sum = 0; for (byte[] b : live) sum += b[7] + b.length;
    System.out.println(sum);
  }
}
"""


def java(*options, conf="", own=None):
    """1,152 MiB made, 64 of them live."""
    return {"file": "Burst.java", "many": 73728, "conf": conf, "wait": 5,
            "own": own and {"JAVA_TOOL_OPTIONS": own}, "text": JAVA,
            "compile": ["javac", "-d", "."],
            "run": ["java", "-Xmx1400m", *options, "-cp", "."]}


RUBY = {"file": "burst.rb", "many": 5800000, "run": ["ruby"], "text": """
GC.disable
kept = (1..1000).map { |i| "k#{i}" * 20 }
made = (1..ARGV[0].to_i).map { |i| i.to_s * 8 }
made = nil
GC.enable
puts "ready"; $stdout.flush
sleep 0.01 until File.exist?(ARGV[1])
puts kept.sum(&:length)
"""}

# libgc's own settings for giving memory back.
UNMAP = {"GC_FORCE_UNMAP_ON_GCOLLECT": "1", "GC_UNMAP_THRESHOLD": "1"}

BURSTS = {
    "boehm": {"file": "gc-boehm.c", "many": 500, "own": UNMAP,
              "compile": ["cc", "-O2", "-rdynamic", "-o", "gc-boehm"],
              "libraries": ["-lgc"], "run": ["./gc-boehm", "burst"]},
    "guile": {"file": "burst.scm", "many": 2950, "own": UNMAP,
              "run": ["guile", "--no-auto-compile", "-s"], "text": """
(define many (string->number (cadr (command-line))))
(define go (caddr (command-line)))
(define (build n)
  (let loop ((i 0) (l '()))
    (if (= i n) l (loop (+ i 1) (cons (make-string 100 #\\a) l)))))
(define all (make-vector many #f))
(let loop ((i 0))
  (when (< i many) (vector-set! all i (build 900)) (loop (+ i 1))))
(define kept (build 1000))
(vector-fill! all #f)
(display "ready") (newline) (force-output)
(let loop () (unless (file-exists? go) (usleep 10000) (loop)))
(display (apply + (map string-length kept))) (newline)
"""},
    "ecl": {"file": "burst.lisp", "many": 2600, "own": UNMAP,
            "run": ["ecl", "--shell"], "text": """
(defun build (n) (let ((l nil)) (dotimes (i n l) (push (make-string 20) l))))
(defvar *go* (car (last (ext:command-args))))
(defvar *many* (parse-integer (car (last (ext:command-args) 2))))
(defvar *all* (make-array *many*))
(dotimes (i *many*) (setf (aref *all* i) (build 1000)))
(defvar *kept* (build 1000))
(fill *all* nil)
(format t "ready~%") (finish-output)
(loop until (probe-file *go*) do (sleep 0.01))
(format t "~a~%" (reduce #'+ (mapcar #'length *kept*)))
(ext:quit 0)
"""},
    "java-g1": java("-XX:+UseG1GC", own="-XX:G1PeriodicGCInterval=500 "
                    "-XX:MinHeapFreeRatio=5 -XX:MaxHeapFreeRatio=10"),
    "java-g1-Xms": java("-XX:+UseG1GC", "-Xms1400m"),
    "java-shenandoah": java(
        "-XX:+UseShenandoahGC", own="-XX:+UnlockExperimentalVMOptions "
        "-XX:ShenandoahUncommitDelay=500 "
        "-XX:ShenandoahGuaranteedGCInterval=1000"),
    "java-serial": java("-XX:+UseSerialGC"),
    "java-serial-sweep": java("-XX:+UseSerialGC", "-Xms1400m",
                              conf="gc:jvm-sweep"),
    "java-parallel-sweep": java("-XX:+UseParallelGC", "-Xms1400m",
                                conf="gc:jvm-sweep"),
    "node": {"file": "burst.js", "many": 4000000, "run": ["node"],
             "own": {"NODE_OPTIONS": "--max-old-space-size=900"},
             "group": {"NODE_OPTIONS": "--max-old-space-size=2000"},
             "text": """
const fs = require("fs"), [many, go] = process.argv.slice(2);
const kept = [];
for (let i = 0; i < 1000; i++) kept.push({ n: i, text: "k" + i });
let made = [];
for (let i = 0; i < Number(many); i++)
  made.push({ n: i, text: "x" + i, a: [i, i] });
made = null;
console.log("ready");
const timer = setInterval(() => {
  if (!fs.existsSync(go)) return;
  clearInterval(timer);
  console.log(kept.reduce((sum, k) => sum + k.n + k.text.length, 0));
}, 10);
"""},
    "cpython": {"file": "burst.py", "many": 3500000, "run": [sys.executable],
                "text": """
import gc, os, sys, time
class Node:
    __slots__ = ("number", "me", "more")
    def __init__(self, number):
        self.number, self.me, self.more = number, self, [self]
gc.set_threshold(10**9)
kept = [Node(i) for i in range(1000)]
made = [Node(i) for i in range(int(sys.argv[1]))]
made = None
print("ready", flush=True)
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
print(sum(n.number for n in kept))
"""},
    "ruby": RUBY,
    "ruby-compact": {**RUBY, "conf": "gc:ruby-compact"},
    "lua": {"file": "burst.lua", "many": 2200000, "run": ["lua5.4"],
            "text": """
collectgarbage("incremental", 1000)
local kept, made = {}, {}
for i = 1, 1000 do kept[i] = ("k" .. i):rep(20) end
for i = 1, tonumber(arg[1]) do made[i] = { i, tostring(i):rep(4) } end
made = nil
print("ready") io.stdout:flush()
local f
repeat
  local t = os.clock() + 0.005
  while os.clock() < t do end
  f = io.open(arg[2])
until f
local sum = 0
for _, k in ipairs(kept) do sum = sum + #k end
print(sum)
"""},
    "php": {"file": "burst.php", "many": 1250000,
            "run": ["php", "-d", "memory_limit=-1"], "text": """<?php
class Node {
    public $me, $text;
    function __construct($i) { $this->me = $this; $this->text = [$i, $i + 1]; }
}
gc_disable();
for ($i = 0; $i < 1000; $i++) $kept[] = new Node($i);
for ($i = 0; $i < (int)$argv[1]; $i++) $made[] = new Node($i);
$made = null;
gc_enable();
echo "ready\\n";
while (!file_exists($argv[2])) { usleep(10000); clearstatcache(); }
$sum = 0;
foreach ($kept as $node) $sum += $node->text[0];
echo $sum, "\\n";
"""},
    "ocaml": {"file": "burst.ml", "many": 1700000,
              "own": {"OCAMLRUNPARAM": "O=0"}, "run": ["./burst-ocaml"],
              "compile": ["ocamlopt", "-o", "burst-ocaml", "unix.cmxa"],
              "text": """
let kept = List.init 1000 string_of_int
let made = ref []
let () =
  for i = 1 to int_of_string Sys.argv.(1) do
    made := (i, string_of_int i, Array.make 8 i) :: !made
  done;
  made := [];
  print_endline "ready";
  while not (Sys.file_exists Sys.argv.(2)) do Unix.sleepf 0.01 done;
  print_int (List.fold_left (fun n s -> n + String.length s) 0 kept)
"""},
}

# Each makes what only a collection frees, argument many, and puts out a sum;
# limit: MiB in which it is killed alone.
LEAKS = {
    "cpython": {"file": "leaks.py", "many": 1500, "limit": 300,
                "run": [sys.executable], "text": """
import gc, sys, time
class Node:
    __slots__ = ("number", "me", "more")
    def __init__(self, number):
        self.number, self.me, self.more = number, self, [self]
gc.disable()
total = 0
for i in range(int(sys.argv[1])):
    some = [Node(k) for k in range(3000)]
    total += sum(n.number * len(str(n.number)) for n in some)
    time.sleep(0.004)
print(total)
"""},
    "php": {"file": "leaks.php", "many": 700, "limit": 100,
            "run": ["php", "-d", "memory_limit=-1"], "text": """<?php
class Node { public $me, $text; }
$total = 0;
for ($i = 0; $i < (int)$argv[1]; $i++) {
    for ($k = 0; $k < 30; $k++) {
        $node = new Node; $node->me = $node;
        $node->text = str_repeat(chr(65 + $k), 30000);
        $total += strlen($node->text);
    }
    usleep(2000);
}
echo $total, "\\n";
"""},
    "ocaml": {"file": "leaks.ml", "many": 110, "limit": 200,
              "run": ["./leaks-ocaml"],
              "compile": ["ocamlopt", "-o", "leaks-ocaml", "unix.cmxa"],
              "text": """
let all = ref [||] and outside = ref []
let () =
  all := Array.init 1_200_000 (fun i ->
      String.make 96 (Char.chr (i land 63 + 32)));
  let kept = Array.init 300_000 (fun i -> !all.(i * 4)) in
  all := [||];
  for i = 1 to int_of_string Sys.argv.(1) do
    let more = Bigarray.(Array1.create char c_layout 1048576) in
    Bigarray.Array1.fill more (Char.chr (i land 127));
    outside := more :: !outside;
    Unix.sleepf 0.005
  done;
  let sum = ref 0 in
  Array.iter (fun s -> sum := !sum + Char.code s.[95]) kept;
  List.iter (fun more -> sum := !sum + Char.code more.{77777}) !outside;
  print_int !sum
"""},
}

PLAIN = {"file": "none.c", "many": 400000, "run": ["./none"],
         "compile": ["cc", "-O1", "-o", "none"], "text": """
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
	int many = argc > 2 ? atoi(argv[1]) : 0;
	char **made = calloc(many, sizeof *made);
	for (int i = 0; i < many; i++) *(made[i] = malloc(100)) = 1;
	for (int i = 0; i < many; i++) free(made[i]);
	puts("ready"); fflush(stdout);
	while (access(argv[2], F_OK)) usleep(10000);
	return 0;
}
"""}

PROGRAMS = {**BURSTS, "none": PLAIN,
            **{"leaks-" + name: what for name, what in LEAKS.items()}}

LIVES = """
public class Lives {
  public static void main(String[] a) throws Exception {
    int live = Integer.parseInt(a[0]); long made = Long.parseLong(a[1]) << 20;
    long[] sums = new long[2]; Thread[] t = new Thread[2];
    for (int n = 0; n < 2; n++) { int me = n;
      t[n] = new Thread(() -> {
        byte[][] kept = new byte[live * 32][]; long sum = 0, done = 0; int i = 0;
        while (done < made / 2) {
          int size = 1024 + (i % 4099 * 7919 + me) % 31744;
          byte[] b = new byte[size]; b[i % size] = (byte) i; done += size;
          if (i % 16 == 0) {
            int at = (int) ((i / 16 * 2654435761L & 0x7fffffff) % kept.length);
            if (kept[at] != null) sum = sum * 31 + kept[at].length + kept[at][0];
            kept[at] = b;
          }
          i++;
        }
        sums[me] = sum; });
      t[n].start(); }
    for (Thread x : t) x.join();
    System.out.println(java.util.Arrays.toString(sums));
  }
}
"""
