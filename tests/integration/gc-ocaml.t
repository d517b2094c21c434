#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""OCaml's collector under the preload, where ocamlopt 4.10 to 4.14 is.

Bytecode, and some others, only where SPILLWAY_GC_SECONDS is over 10.
"""

import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import gcs  # noqa: E402
import harness  # noqa: E402
from gcs import Runtime  # noqa: E402
from harness import Tap, which  # noqa: E402

LONG = gcs.SECONDS > 10

# Small objects, dropped: the heap keeps their pages until it is compacted.
BURST = """
let kept = List.init 1000 string_of_int
let made = ref []
let () =
  (match Sys.getenv_opt "STAY" with
   | Some _ -> Gc.set { (Gc.get ()) with Gc.max_overhead = 1000000 }
   | None -> ());
  let many = try int_of_string (Sys.getenv "MANY") with Not_found -> 1700000 in
  for i = 1 to many do
    made := (i, string_of_int i, Array.make 8 i) :: !made
  done;
  made := [];
  print_endline "ready";
  let go = Sys.argv.(Array.length Sys.argv - 1) in
  while not (Sys.file_exists go) do
    Unix.sleepf 0.01
  done;
  print_int (List.fold_left (fun n s -> n + String.length s) 0 kept);
  print_endline "";
  exit 3
"""

# All that can live in the heap, and whose addresses a compaction changes.
WORK = """
module Table = Ephemeron.K1.Make (struct
  type t = string
  let equal = String.equal
  let hash = Hashtbl.hash
end)
let ended = ref 0
let work rounds n =
  let sum = ref 0 and kept = Hashtbl.create 16 in
  let table = Table.create 16 and weak = Weak.create 64 in
  let floats = Array.init 512 float_of_int in
  let outside = Bigarray.(Array1.create float64 c_layout 64) in
  Bigarray.Array1.fill outside 1.5;
  for i = 1 to rounds do
    let some = List.init 1500 (fun k -> string_of_int (i * k + n)) in
    let arrays = Array.init 40 (fun k -> Array.make (k * 10) (i + k)) in
    let next = ref 0 in
    let closures = List.map (fun a () -> next := !next + Array.length a)
        (Array.to_list arrays) in
    List.iter (fun f -> f ()) closures;
    let key = string_of_int (i mod 50) in
    Hashtbl.replace kept key some;
    Table.replace table key (ref i);
    Weak.set weak (i mod 64) (Some key);
    Gc.finalise (fun _ -> incr ended) (ref i);
    floats.(i mod 512) <- floats.(i mod 512) +. outside.{i mod 64};
    let copy : string list =
      Marshal.from_string (Marshal.to_string some []) 0 in
    if copy <> some then failwith "changed";
    (try raise (Failure key) with Failure k -> sum := !sum + String.length k);
    sum := !sum + !next + List.fold_left (fun n s -> n + String.length s) 0 some
  done;
  Hashtbl.iter (fun key some ->
      sum := !sum + int_of_string key + List.length some) kept;
  Array.iter (fun f -> sum := !sum + int_of_float f) floats;
  !sum
let rounds = int_of_float (float_of_string Sys.argv.(1) *. %d.)
let over () =
  Gc.full_major (); Gc.full_major ();
  Printf.printf "%%d\\n" !ended; exit 3
"""
CHURN = WORK % 1000 + """
let () = Printf.printf "%d\\n" (work rounds 1); over ()
"""
THREADS = WORK % 400 + """
let () =
  let sums = Array.make 3 0 in
  let threads = List.init 3 (fun n ->
      Thread.create (fun () -> sums.(n) <- work rounds n) ()) in
  List.iter Thread.join threads;
  Array.iter (Printf.printf "%d\\n") sums; over ()
"""
# One that sleeps more than it runs, with a handler that allocates.
IDLE = WORK % 200 + """
let alarms = ref []
let () =
  Sys.set_signal Sys.sigalrm (Sys.Signal_handle (fun n ->
      alarms := string_of_int n :: (if List.length !alarms > 20 then []
                                    else !alarms)));
  ignore (Unix.setitimer Unix.ITIMER_REAL
            { Unix.it_interval = 0.0011; it_value = 0.0011 });
  let from, into = Unix.pipe () and sum = ref 0 in
  let rec again f =
    try f () with Unix.Unix_error (Unix.EINTR, _, _) -> again f in
  for i = 1 to rounds do
    sum := !sum + work 2 i;
    let text = Bytes.of_string (string_of_int i) and got = Bytes.create 9 in
    ignore (again (fun () -> Unix.write into text 0 (Bytes.length text)));
    (try ignore (Unix.select [] [] [] 0.001)
     with Unix.Unix_error (Unix.EINTR, _, _) -> ());
    let n = again (fun () -> Unix.read from got 0 9) in
    sum := !sum + int_of_string (Bytes.sub_string got 0 n);
    if i mod 8 = 0 then Unix.sleepf 0.004
  done;
  Printf.printf "%%d\n" !sum; over ()
""".replace("%%", "%")
SLEEPS = """
let () =
  let made = ref [] in
  for i = 1 to 400_000 do made := (i, string_of_int i) :: !made done;
  made := [];
  print_endline "ready";
  Unix.sleepf 1.0;
  Unix.sleepf 5.5;
  print_endline "over"; exit 3
"""
SHORT = """
let () =
  let x = List.init 300000 string_of_int in
  print_int (List.length x); exit 4
"""
FORKS = """
let () =
  print_endline "ready";
  let bad = ref 0 in
  for i = 1 to 20 do
    let made = List.init 60000 (fun k -> string_of_int (i + k)) in
    match Unix.fork () with
    | 0 ->
      let more = List.init 20000 string_of_int in
      Gc.compact ();
      Unix._exit (if List.length more + List.length made = 80000 then 0 else 1)
    | child ->
      if snd (Unix.waitpid [] child) <> Unix.WEXITED 0 then incr bad
  done;
  print_int !bad; print_endline ""; exit 3
"""
# A heap of which a quarter stays, too little for the runtime to compact it,
# and then memory outside of it.
LEAKS = """
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
  print_int !sum; print_endline ""
"""


class Compiler:
    def __init__(self, folder):
        self.folder = folder

    def __call__(self, name, text, tool="ocamlopt", *flags):
        source = os.path.join(self.folder, name + ".ml")
        target = os.path.join(self.folder, name + "-" + tool)
        kind = "cma" if tool == "ocamlc" else "cmxa"
        with open(source, "w", encoding="ascii") as file:
            file.write(text)
        done = harness.run(
            [which(tool), "-I", "+threads", "unix." + kind]
            + (["threads." + kind] if "Thread" in text else [])
            + [*flags, source, "-o", target], cwd=self.folder, timeout=120)
        if done.returncode != 0:
            raise OSError(done.stdout + done.stderr)
        return [target]


def alone(tap, burst):
    """Programs that are not asked, and why."""
    one = gcs.Burst(burst, "gc:ocaml", STAY="1", MANY="400000")
    gcs.time.sleep(1.2)
    before = one.resident()
    gcs.reclaim(one.pid)
    after, seen = one.resident(), gcs.collectors(one.pid).get("ocaml", {})
    code, out = one.end()
    tap.ok(code == 3 and seen.get("collections") == 0 and after > before / 2,
           "a program that forbids compaction is not asked",
           f"{before} -> {after} MiB", seen, out[-300:])
    one = gcs.Burst(burst, "gc:ocaml,log:warning", MANY="400000",
                    OCAMLRUNPARAM="c")
    gcs.time.sleep(1.2)
    gcs.reclaim(one.pid)
    code, out = one.end()
    tap.ok(code == 3 and "gc ocaml: cannot be asked: it frees its heap" in out,
           "nor one that frees its heap at exit, which is told", out[-300:])


def sleeps(tap, compile_it):
    """With ocaml-idle one that sleeps is collected meanwhile, and else not."""
    command = compile_it("sleeps", SLEEPS)
    ran = {"ocaml": 0, "ocaml ended": (3, "ready\nover\n")}
    for word in ("ocaml", "ocaml-idle") if LONG else ("ocaml-idle",):
        one = gcs.Burst(command, f"gc:{word},gc-interval:0,start:0")
        gcs.time.sleep(0.3)
        gcs.reclaim(one.pid, 1)
        gcs.time.sleep(1.2)  # the second sleep has begun
        ran[word] = 0
        until = gcs.time.monotonic() + 4
        while ran[word] < 3 and gcs.time.monotonic() < until:
            gcs.reclaim(one.pid, 1)
            gcs.time.sleep(0.5)
            seen = gcs.collectors(one.pid).get("ocaml", {})
            ran[word] = max(ran[word], seen.get("collections", 0))
        ran[word + " ended"] = one.end()
    tap.ok(ran["ocaml"] == 0 and ran["ocaml-idle"] >= 3 and
           ran["ocaml ended"] == ran["ocaml-idle ended"] ==
           (3, "ready\nover\n"),
           "with ocaml-idle a program that sleeps is collected meanwhile", ran)


def hidden(tap, compile_it):
    command = compile_it("hidden", BURST, "ocamlopt", "-ccopt",
                         "-Wl,--no-export-dynamic")
    plain = gcs.Burst(command, preload=False, MANY="400000")
    wanted = plain.end()
    one = gcs.Burst(command, "gc:auto,log:warning", MANY="400000")
    gcs.time.sleep(1.2)
    gcs.reclaim(one.pid)
    code, out = one.end()
    tap.ok(code == wanted[0] == 3 and "gc ocaml: cannot be asked" in out and
           wanted[1].split("\n")[1] in out.split("\n"),
           "a program whose symbols are hidden is told, and left alone",
           out[-300:], wanted)


def main():
    tap = Tap()
    harness.need(tap, interposer=harness.interposer(), spillway=harness.cli())
    version = which("ocamlopt") and harness.run(
        [which("ocamlopt"), "-version"]).stdout.strip()
    if not version or not re.match(r"4\.1[0-4]\.", version):
        tap.skip_all(f"no ocamlopt 4.10 to 4.14 ({version or 'none'})")
    with tempfile.TemporaryDirectory() as folder:
        compile_it = Compiler(folder)
        runtime = Runtime(tap, "ocaml", compile_it("burst", BURST),
                          compile_it("churn", CHURN))
        runtime.returns("ocaml", 220, 15)
        alone(tap, runtime.burst)
        hidden(tap, compile_it)
        if LONG:
            runtime.burst = compile_it("burst", BURST, "ocamlc")
            runtime.returns("ocamlrun", 220, 15)
            runtime.stress("ocaml", gcs.SECONDS)
            runtime.stress("ocamlrun", gcs.SECONDS / 3,
                           command=compile_it("churn", CHURN, "ocamlc"))
        runtime.stress("ocaml, three threads", gcs.SECONDS,
                       command=compile_it("threads", THREADS))
        sleeps(tap, compile_it)
        runtime.conf = "gc:ocaml-idle"
        runtime.stress("ocaml that sleeps, ocaml-idle", gcs.SECONDS / 2,
                       command=compile_it("idle", IDLE))
        runtime.conf = "gc:ocaml"
        runtime.hammer("ocaml", compile_it("short", SHORT))
        gcs.forks(tap, compile_it("forks", FORKS),
                  "gc:ocaml,gc-interval:0,start:0")
        runtime.churn = compile_it("leaks", LEAKS)
        runtime.survives("ocaml whose heap was larger", 200, 110,
                         alone="killed")
    tap.end()


main()
