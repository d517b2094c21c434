#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""V8's collector in an unmodified Node under the preload."""

import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import gcs  # noqa: E402
import harness  # noqa: E402
from gcs import Runtime  # noqa: E402
from harness import Tap, which  # noqa: E402

BURST = """
const fs = require("fs");
const kept = [];
for (let i = 0; i < 1000; i++) kept.push({ n: i, text: "k" + i });
let made = [];
for (let i = 0; i < 4000000; i++) made.push({ n: i, text: "x" + i, a: [i, i] });
made = null;
console.log("ready");
const timer = setInterval(() => {
  if (!fs.existsSync(process.argv[2])) return;
  clearInterval(timer);
  console.log(kept.reduce((sum, k) => sum + k.n + k.text.length, 0));
  process.exitCode = 3;
}, 20);
"""

# It sleeps in epoll_wait(2) without a timer: only the signal gets it out.
ASLEEP = BURST.split("const timer")[0].replace("4000000", "400000") + """
fs.watch(require("path").dirname(process.argv[2]), () => {
  if (!fs.existsSync(process.argv[2])) return;
  console.log(kept.length);
  process.exit(3);
});
"""

# The main thread in turns and in long stretches, two workers beside it, and
# workers that come and go: some return, some are terminated.
CHURN = """
const { Worker, isMainThread, workerData, parentPort } =
  require("worker_threads");
const rounds = Math.ceil(Number(process.argv[2] || workerData.rounds) * 50);
function make(round, count) {
  let sum = 0;
  const some = [];
  for (let k = 0; k < count; k++) some.push({ k, text: "t" + round * k });
  for (const s of some) sum += s.k + s.text.length;
  return sum;
}
async function turns(count) {
  let sum = 0;
  for (let i = 0; i < rounds; i++) {
    sum += make(i, count);
    await new Promise((done) => setTimeout(done, i % 3));
  }
  return sum;
}
function long() {
  let sum = 0;
  for (let i = 0; i < 40; i++) sum += make(i, 4000);
  return sum;
}
function worker(kind) {
  return new Promise((done, failed) => {
    const w = new Worker(__filename,
                         { workerData: { kind, rounds: rounds / 50 } });
    w.on("error", failed);
    if (kind === "killed")
      w.on("online", () => setTimeout(() => w.terminate().then(done), 5));
    else
      w.on("message", (m) => w.on("exit", () => done(m)));
  });
}
async function come_and_go() {
  let sum = 0;
  for (let i = 0; i < rounds / 12; i++) {
    sum += await worker("short");
    await worker("killed");
  }
  return sum;
}
async function main() {
  const all = [turns(4000), worker("turns"), worker("turns"), come_and_go()];
  let sum = 0;
  for (let i = 0; i < rounds / 50; i++) {
    sum += long();
    await new Promise((done) => setTimeout(done, 100));
  }
  console.log(sum, ...await Promise.all(all));
  process.exitCode = 3;
}
if (isMainThread) main();
else if (workerData.kind === "turns")
  turns(2000).then((sum) => parentPort.postMessage(sum));
else if (workerData.kind === "short")
  parentPort.postMessage(make(7, 20000));
else
  setInterval(() => make(1, 2000), 1);
"""

# Never in its event loop.
SYNC = """
const fs = require("fs");
const until = Date.now() + 20000;
let kept = [];
console.log("ready");
while (Date.now() < until && !fs.existsSync(process.argv[2])) {
  for (let k = 0; k < 3000; k++) kept.push({ k, text: "t" + k });
  if (kept.length > 200000) kept = [];
}
console.log("done");
process.exit(3);
"""

# Some hundred milliseconds, and several ways to end.
SHORT = """
const made = [];
let left = 25;
const end = {
  code() { process.exitCode = 4; },
  exit() { process.exit(4); },
  busy() {
    const until = Date.now() + 60;
    while (Date.now() < until) made.push({ x: 1 });
    process.exit(4);
  },
  thrown() { throw new Error("on purpose"); },
};
function turn() {
  for (let i = 0; i < 3000; i++) made.push({ i, text: "t" + i });
  if (--left) return setTimeout(turn, left % 3);
  console.log(process.argv[2]);
  end[process.argv[2]]();
}
turn();
"""

FORKS = """
const child = require("child_process");
if (process.argv[2] === "child") {
  const made = [];
  for (let i = 0; i < 20000; i++) made.push({ i });
  process.send(made.length, () => process.exit(5));
} else {
  console.log("ready");
  let left = 6, bad = 0;
  const next = () => {
    const made = [];
    for (let i = 0; i < 100000; i++) made.push({ i });
    if (child.execFileSync("/bin/echo", ["x"]).toString() !== "x\\n") bad++;
    const c = child.fork(__filename, ["child"]);
    let said = 0;
    c.on("message", (m) => { said = m; });
    c.on("exit", (code) => {
      if (code !== 5 || said !== 20000 || made.length !== 100000) bad++;
      if (--left) next();
      else { console.log(bad); process.exitCode = 3; }
    });
  };
  next();
}
"""


LIMIT = 320  # MiB, for five processes
ADDON = os.path.join(harness.SOURCE, "..", "..", "examples", "node")


def build_addon(node, folder):
    """The addon's index.js, built below folder, or why it is not."""
    prefix = harness.run([node, "-p", "require('path').resolve("
                          "process.execPath, '../..')"]).stdout.strip()
    if not os.path.exists(prefix + "/include/node/node_api.h"):
        prefix = "/usr"
    if not os.path.exists(prefix + "/include/node/node_api.h"):
        return None, "no node_api.h (Debian: libnode-dev)"
    if not harness.library() or not which("make") or not which("cc"):
        return None, "no libspillway.so, make or cc"
    library = os.path.dirname(os.path.realpath(harness.library()))
    done = harness.run([
        "make", "-C", ADDON, f"OUT={folder}/build", f"NODE_PREFIX={prefix}",
        f"SPILLWAY_CFLAGS=-I{ADDON}/../../include",
        f"SPILLWAY_LIBS=-L{library} -lspillway -Wl,-rpath,{library}"])
    if done.returncode != 0:
        return None, done.stderr[-600:]
    shutil.copy(os.path.join(ADDON, "index.js"), folder)
    return os.path.join(folder, "index.js"), None


def addon(tap, runtime, node, folder):
    """Without a preload: what the program requires registers V8."""
    index, why = build_addon(node, folder)
    if not index:
        tap.ok("no " in why, "addon: it is built", why)
        tap.skip("addon: it gives back", why)
        return
    runtime.conf = None
    burst = gcs.Burst([node, "-r", index] + runtime.burst[1:], preload=False)
    before = burst.resident()
    seen = gcs.collected(burst.pid, "node")
    after = burst.falls(75)
    code, out = burst.end()
    tap.note(f"addon: {before} -> {after}")
    tap.ok(code == 3 and after <= 75 < 400 < before and
           seen.get("collections", 0) >= 1,
           "addon: it gives back, without a preload",
           f"{before} -> {after}, exit {code}", seen, out)
    command = [node, "-r", index] + runtime.churn[1:] + ["1"]
    free = harness.run(runtime.churn + ["1"])
    churn = gcs.subprocess.Popen(
        command, text=True, stdout=gcs.subprocess.PIPE,
        env=harness.environment(conf="gc-interval:0"))
    asked = 0
    while churn.poll() is None:
        asked += gcs.reclaim(churn.pid, 1) in (0, 1)
    out = churn.communicate()[0]
    tap.ok((churn.returncode, out) == (free.returncode, free.stdout) and
           asked > 5, f"addon: workers come and go in {asked} requests",
           churn.returncode, out)


# Processes that take turns at a burst, and idle on their garbage between:
# each sizes its heap as if it were alone in its group.
TURNS = """
const child = require("child_process");
async function burst(seed) {
  const made = [];
  for (let i = 0; i < 500000; i++) {
    made.push({ n: i * seed, text: "x" + i, a: [i, i] });
    if (i % 20000 === 0) await new Promise((done) => setTimeout(done, 10));
  }
  return made.reduce((sum, m) => (sum + m.n + m.text.length) % 1000003, 0);
}
async function main() {
  const all = [1, 2, 3, 4].map(() => child.fork(__filename, ["child"]));
  const said = [];
  for (const c of all)
    c.on("exit", (code) => { if (code) process.exit(9); });
  for (let i = 0; i < Number(process.argv[2]); i++)
    for (const c of all) {
      c.send(i + 1);
      said.push(await new Promise((done) => c.once("message", done)));
      await new Promise((done) => setTimeout(done, 200));
    }
  console.log(said.join(" "));
  for (const c of all) c.disconnect();
}
if (process.argv[2] === "child")
  process.on("message", async (seed) => process.send(await burst(seed)));
else
  main();
"""


def main():
    tap = Tap()
    harness.need(tap, interposer=harness.interposer(), spillway=harness.cli())
    node = which("node")
    version = node and harness.run(
        [node, "-p", "process.versions.node"]).stdout.strip()
    if not version or int(version.split(".")[0]) < 18:
        tap.skip_all(f"no Node 18 or later ({version or 'none'})")
    with tempfile.TemporaryDirectory() as folder:
        def command(name, text, *words):
            path = os.path.join(folder, name + ".js")
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            return [node, path, *words]

        runtime = Runtime(tap, "node", command("burst", BURST),
                          command("churn", CHURN))
        runtime.returns("node", 400, 75)
        burst = gcs.Burst(command("asleep", ASLEEP), "gc:node,start:0")
        gcs.time.sleep(1)
        before = burst.resident()
        gcs.collected(burst.pid, "node")
        after = burst.falls(70)
        code, out = burst.end()
        tap.ok(before > 70 > after and code == 3 and out == "ready\n1000\n",
               "an event loop that sleeps without a timer is woken",
               f"{before} -> {after}", code, out)
        runtime.stress("node, with workers", gcs.SECONDS,
                       seconds=2 * gcs.SECONDS)
        burst = gcs.Burst(command("sync", SYNC), "gc:node,start:0")
        gcs.time.sleep(1)
        seen = gcs.collected(burst.pid, "node")
        code, out = burst.end()
        tap.ok(seen.get("collections", 0) >= 1 and code == 3 and
               out == "ready\ndone\n", "a script that is never in its event "
               "loop is interrupted", seen, code, out)
        ways = ("exit", "busy", "code", "thrown")
        for how in ways if gcs.RUNS > 10 else ways[:2]:
            runtime.hammer(f"node, {how}", command("short", SHORT, how))
        burst = gcs.Burst(command("forks", FORKS), "gc:node,gc-interval:0")
        asked = 0
        while burst.child.poll() is None:
            asked += gcs.reclaim(burst.pid, 1) in (0, 1)
        code, out = burst.end()
        tap.ok(code == 3 and out.split("\n")[1] == "0" and asked > 1,
               f"children are made while {asked} requests run", out)
        runtime.churn = command("turns", TURNS)
        runtime.survives("node, in turns", LIMIT, 1, alone="killed")
        runtime.churn = command("churn", CHURN)
        addon(tap, runtime, node, folder)
    tap.end()


main()
