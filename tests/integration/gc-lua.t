#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Lua's collector under the preload: the stock lua5.4, a host of liblua, and
examples/spillway-lua, each where it is there."""

import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import gcs  # noqa: E402
import harness  # noqa: E402
from gcs import Runtime  # noqa: E402
from harness import Tap, which  # noqa: E402

WAIT = """
print("ready") io.stdout:flush()
local go = arg[#arg]
local function there()
	local f = io.open(go)
	if f then f:close() end
	return f
end
while not there() do
	local t = os.clock() + 0.005
	while os.clock() < t do end
end
"""

# Much is made before the collector, with this pause, looks again.
BURST = """
collectgarbage("incremental", 1000)
local kept, made = {}, {}
for i = 1, 1000 do kept[i] = ("k" .. i):rep(20) end
for i = 1, arg[2] and arg[1] or 2200000 do
	made[i] = { i, tostring(i):rep(4) }
end
made = nil
""" + WAIT + """
local sum = 0
for _, k in ipairs(kept) do sum = sum + #k end
print(sum, os.getenv("LUA_INIT_5_4"))
os.exit(3)
"""

STOPPED = """
collectgarbage("stop")
local weak = setmetatable({}, { __mode = "v" })
for i = 1, 300000 do weak[i] = { i } end
""" + WAIT + """
local there = 0
for i = 1, 300000 do there = there + (weak[i] and 1 or 0) end
print(there, collectgarbage("isrunning"))
os.exit(3)
"""

# All that allocates: coroutines, closures, strings, sorting, compiling,
# errors, finalizers that make garbage; weak tables, a hook, both modes.
CHURN = """
local rounds, sum, freed = math.floor(tonumber((...)) * 400), 0, 0
local cache = setmetatable({}, { __mode = "k" })
local kept = {}
local loud = { __gc = function(t) freed = freed + #(t[1] .. "x") * 0 + 1 end }
local function walk(t, n)
	for i = 1, n do coroutine.yield({ i, t .. i }) end
	return {}
end
for i = 1, rounds do
	if i % 4 == 0 then
		collectgarbage(i % 8 == 0 and "generational" or "incremental")
	end
	local co = coroutine.wrap(walk)
	for k = 1, 400 do sum = sum + #co("c" .. i, 400)[2] end
	local t = {}
	for k = 1, 400 do t[k] = tostring((k * 7919 + i) % 1000) end
	table.sort(t, function(a, b) return a .. "z" < b .. "z" end)
	sum = sum + #table.concat(t, ",") + #(t[1]:gsub("%d", "<%0>"))
	local f = load("local a = ... return function() return a + " .. i .. " end")
	sum = sum + f(i)()
	local ok, why = pcall(error, { "e" .. i })
	sum = sum + #why[1]
	cache[why] = setmetatable({ "l" .. i }, loud)
	kept[i % 100] = { t, f }
	local inner <close> = setmetatable({}, { __close = function()
		sum = sum + #("closed" .. i) end })
	debug.sethook(i % 3 == 0 and function() kept.hooked = { i } end or nil,
		"", 1000)
end
debug.sethook()
for i, k in pairs(kept) do
	if k[2] then sum = sum + #k[1] end
end
cache, kept = nil, nil
collectgarbage() collectgarbage()
io.write(sum .. " " .. freed .. " " .. rounds .. "\\n")
if HOST then return 3 end
os.exit(3, true)
"""

SHORT = """
local made = {}
for i = 1, 150000 do made[i] = { tostring(i) } end
print(#made)
os.exit(4, true)
"""

FORKS = """
collectgarbage("incremental", 1000)
print("ready") io.stdout:flush()
local bad = 0
for i = 1, 20 do
	local made = {}
	for k = 1, 30000 do made[k] = { tostring(k) } end
	if not os.execute("true") then bad = bad + 1 end
	local p = io.popen("echo " .. i)
	if p:read("n") ~= i or not p:close() then bad = bad + 1 end
end
print(bad)
os.exit(3)
"""

# 100 MiB live: the collector looks again at 200.
LEAKS = """
collectgarbage("incremental")
local kept, sum = {}, 0
for i = 1, 100000 do kept[i] = ("x"):rep(980) .. i end
for i = 1, tonumber(arg[1]) do
	local s = ("y"):rep(980) .. i
	sum = sum + #s + #kept[i % 100000 + 1]
end
print(sum)
"""

ENVIRONMENT = """
print(os.getenv("LUA_INIT_5_4"), os.getenv("LUA_INIT"), mine)
os.execute("env | grep -c LUA_INIT")
"""


CHUNKS = """
local s = 0
for r = 1, 20 do
	for i = 1, 200 do
		local f, e = load("local a, b = ... ; return (a or 0) * " .. i ..
			" + y", "=c" .. i, "t", { y = r })
		s = s + assert(f, e)(i)
	end
end
print(s, load("x = ", "=bad"))
"""

# States of which each has the allocator of the first, on four threads.
TWINS = """
local twins = assert(package.loadlib(arg[1], "luaopen_twins"))()
for i = 1, 3 do
	print(twins([[
		local sum = 0
		for r = 1, 60 do
			local t = {}
			for i = 1, 2000 do t[i] = { tostring(i) } end
			setmetatable({}, { __gc = function() t[1] = {} end })
			sum = sum + #t[2000][1]
		end
		return sum]]))
end
os.exit(3, true)
"""


def stays(tap, what, command, conf, expected, name="lua"):
    """A stopped collector is not started."""
    burst = gcs.Burst(command, conf)
    gcs.time.sleep(1.2)
    for _ in range(3):
        gcs.reclaim(burst.pid, 2)
        gcs.time.sleep(0.1)
    seen = gcs.collectors(burst.pid).get(name, {})
    code, out = burst.end()
    tap.ok(code == 3 and out.split("\n")[1] == expected and
           not seen.get("collections") and seen.get("refused"),
           f"{what}: collectgarbage(\"stop\") is respected", code, out, seen)


def forks(tap, what, command, conf):
    burst = gcs.Burst(command, conf + ",gc-interval:0")
    asked = 0
    while burst.child.poll() is None:
        asked += gcs.reclaim(burst.pid, 1) in (0, 1)
    code, out = burst.end()
    tap.ok(code == 3 and out.split("\n")[1] == "0" and asked > 1,
           f"{what}: os.execute and io.popen while {asked} requests run", out)


def environment(tap, command):
    """The variable that brings the state to us is gone when a script runs."""
    wanted = harness.run(command, env=harness.environment())
    same = harness.run(command, env=harness.environment(harness.interposer()))
    tap.ok(same.stdout == wanted.stdout, "lua5.4: its environment is as it was",
           wanted.stdout, same.stdout, same.stderr)
    own = {"LUA_INIT": "mine = 7"}
    wanted = harness.run(command, env=harness.environment(**own))
    same = harness.run(command, env=harness.environment(harness.interposer(),
                                                        **own))
    tap.ok(same.stdout == wanted.stdout and "7" in same.stdout,
           "lua5.4: a LUA_INIT of the user's own runs", same.stdout)


def stock(tap, command):
    runtime = Runtime(tap, "lua", command("burst", BURST),
                      command("churn", CHURN))
    runtime.returns("lua5.4", 400, 50, settle=1.5)
    environment(tap, command("environment", ENVIRONMENT))
    stays(tap, "lua5.4", command("stopped", STOPPED), "gc:lua", "300000\tfalse")
    runtime.stress("lua5.4", gcs.SECONDS)
    runtime.hammer("lua5.4", command("short", SHORT))
    forks(tap, "lua5.4", command("forks", FORKS), "gc:lua")
    runtime.churn = command("leaks", LEAKS)
    runtime.survives("lua5.4 that leaves strings", 160, 250000,
                     alone="killed")


def shared(tap, folder, command):
    """States with the allocator of another's: nobody's is asked."""
    module = os.path.join(folder, "twins.so")
    source = os.path.join(harness.SOURCE, "gc_lua_twins.c")
    flags = harness.run(["pkg-config", "--cflags", "lua5.4"])
    done = harness.run([os.environ.get("CC", "cc"), "-O2", "-pthread",
                        "-shared", "-fPIC", "-o", module, source] +
                       flags.stdout.split())
    if flags.returncode or done.returncode:
        tap.skip("states that share an allocator",
                 "no liblua5.4-dev or compiler")
        return
    Runtime(tap, "lua", None, None).hammer(
        "states that share an allocator",
        command("twins", TWINS) + [module], max(gcs.RUNS // 2, 2))


def host(tap, folder, command):
    """Three threads with states of their own, made and closed all the time."""
    program = os.path.join(folder, "gc_lua")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                          "gc_lua.c")
    include = os.path.join(os.path.dirname(source), "../../include")
    flags = harness.run(["pkg-config", "--cflags", "--libs", "lua5.4"])
    done = harness.run([os.environ.get("CC", "cc"), "-O2", "-pthread", "-o",
                        program, source, f"-I{include}"] +
                       flags.stdout.split())
    if flags.returncode or done.returncode:
        tap.skip("a host with three states", "no liblua5.4-dev or compiler")
        return
    churn = command("churn", CHURN)[1]
    runtime = Runtime(tap, "lua", None, [program, churn])
    runtime.stress("three threads with a state each", gcs.SECONDS / 4)
    runtime.hammer("three threads with a state each",
                   [program, churn, "0.05"])
    for every, size in (("1", "0.005"), ("7", "0.03")):
        wanted = harness.run([program, churn, size],
                             env=harness.environment())
        got = harness.run([program, churn, size, "refuse", every],
                          env=harness.environment())
        tap.ok((got.returncode, got.stdout) == (3, wanted.stdout),
               f"Lua collects where object {every} of {every} is refused",
               got.returncode, got.stdout, got.stderr)
    wanted = harness.run([program, churn, "1"], env=harness.environment())
    got = harness.run([program, churn, "1", harness.library()],
                      env=harness.environment(conf="gc-interval:0"))
    line, _, rest = got.stdout.partition("collected\n")
    tap.ok((got.returncode, line + rest) == (3, wanted.stdout) and
           line != got.stdout,
           "states that are handed to libspillway.so are collected",
           got.returncode, got.stdout, got.stderr)


def example(tap, folder):
    """The same programs on examples/spillway-lua, without a preload."""
    program = harness.built("examples/spillway-lua")
    if not program:
        tap.skip("examples/spillway-lua", "not built: no Lua 5.4 at configure")
        return

    def command(name):
        return [program, os.path.join(folder, name + ".lua")]

    runtime = Runtime(tap, "spillway-lua", command("burst") + ["1000000"],
                      command("churn"), conf="gc-interval:10s", preload=False)
    runtime.returns("spillway-lua", 200, 50, settle=1.0)
    runtime.stress("spillway-lua", gcs.SECONDS)
    runtime.hammer("spillway-lua", command("short"))
    chunks = os.path.join(folder, "chunks.lua")
    with open(chunks, "w", encoding="ascii") as file:
        file.write(CHUNKS)
    wanted = harness.run([which("lua5.4"), chunks],
                         env=harness.environment())
    got = harness.run([program, "--stats", chunks], env=harness.environment())
    tap.ok(got.stdout == wanted.stdout and got.returncode == 0 and
           "3800 found, 201 compiled" in got.stderr,
           "spillway-lua: load() compiles a text once", got.stdout, got.stderr)
    codes = [harness.run([program] + words, input=text, stdin=None)
             for words, text in (([], ""), (["--what"], ""), (["nix.lua"], ""),
                                 (["-"], "error{}"), (["-"], "os.exit(7)"),
                                 (["--help"], ""), (["-", "a"], "return"))]
    tap.ok([c.returncode for c in codes] == [2, 2, 1, 1, 7, 0, 0] and
           all(c.stderr for c in codes[:4]),
           "spillway-lua: exit codes and messages",
           [(c.returncode, c.stderr) for c in codes])


def script_alone(tap, command):
    """A script that opens libspillway.so, which lua closes at its end."""
    handed = f"package.loadlib('{harness.library()}', 'spw_gc_lua')()"
    burst = gcs.Burst(command("burst") + ["1000000"], "", False,
                      LUA_INIT=handed)
    gcs.time.sleep(0.5)
    before = burst.resident()
    gcs.reclaim(burst.pid)
    if Runtime(tap, "lua", None, None).was_late(burst.pid):
        gcs.reclaim(burst.pid)
    after = burst.resident()
    code, out = burst.end()
    tap.ok(code == 3 and before > 200 and after <= 50,
           "lua5.4 with libspillway.so alone gives back to 50 MiB",
           f"{before} -> {after}", code, out)
    done = harness.run(command("short") + ["end"],
                       env=harness.environment(LUA_INIT=handed))
    tap.ok(done.returncode == 4 and done.stdout == "150000\n",
           "and it ends as it does alone", done.returncode, done.stderr)


def main():
    tap = Tap()
    harness.need(tap, interposer=harness.interposer(), spillway=harness.cli())
    lua = which("lua5.4")
    if not lua:
        tap.skip_all("no lua5.4")
    with tempfile.TemporaryDirectory() as folder:
        def command(name, text, program=lua):
            path = os.path.join(folder, name + ".lua")
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            return [program, path]

        stock(tap, command)
        shared(tap, folder, command)
        host(tap, folder, command)
        script_alone(tap, lambda name: [
            lua, os.path.join(folder, name + ".lua")])
        example(tap, folder)
    tap.end()


main()
